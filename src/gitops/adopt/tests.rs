//! Manifests and live values, before and after.

#![allow(clippy::unwrap_used)]
use super::*;
use crate::api::registry::Registry;
use crate::gitops::kinds::FixedKinds;
use crate::gitops::render::kustomize::NoRoots;
use crate::gitops::render::{Settings, Variables, render, render_with};
use crate::gitops::sources::Snapshot;
use crate::gitops::sources::disk::Disk;
use serde_json::json;
use std::sync::LazyLock;

mod comparing;
mod laying_out;
mod random;
mod writing;

static REGISTRY: LazyLock<Registry> = LazyLock::new(Registry::builtin);
const NO_RULES: Rules<'static> = Rules { registry: None, managers: &[] };

fn read(text: &str) -> Rendered {
    read_as("a.yaml", text)
}

fn read_as(file: &str, text: &str) -> Rendered {
    let kinds = FixedKinds::new(&[("v1", "ConfigMap", true), ("apps/v1", "Deployment", true), ("v1", "Service", true)]);
    render(&Snapshot::of(&[(file, text)]), &kinds, "default")
}

/// All that is not in the manifest counts as kubectl's.
fn as_kubectl(live: &mut Value) {
    fn fields(value: &Value) -> Value {
        match value {
            Value::Object(map) => map.iter().map(|(key, value)| (format!("f:{key}"), fields(value))).collect(),
            _ => json!({}),
        }
    }
    let mut all = fields(live);
    all["f:metadata"].as_object_mut().unwrap().remove("f:name");
    live["metadata"]["managedFields"] = json!([{"manager": "kubectl-edit", "operation": "Update", "fieldsV1": all}]);
}

fn run(text: &str, change: impl FnOnce(&mut Value)) -> (Adopted, Value) {
    run_as("a.yaml", text, change)
}

fn run_as(file: &str, text: &str, change: impl FnOnce(&mut Value)) -> (Adopted, Value) {
    let rendered = read_as(file, text);
    assert!(rendered.errors.is_empty(), "{:?}", rendered.errors);
    let mut live = rendered.objects[0].value.clone();
    change(&mut live);
    as_kubectl(&mut live);
    let adopted = adopt(text, &[(&rendered.objects[0], &live)], &NO_RULES, "", |text| read_as(file, text));
    (adopted, live)
}

/// The text then, which says all of the live object.
#[track_caller]
fn written(text: &str, change: impl FnOnce(&mut Value)) -> String {
    written_as("a.yaml", text, change)
}

#[track_caller]
fn written_as(file: &str, text: &str, change: impl FnOnce(&mut Value)) -> String {
    let (adopted, live) = run_as(file, text, change);
    assert_eq!(adopted.left, [], "{}", adopted.text);
    let after = read_as(file, &adopted.text);
    assert_eq!(changes(&after.objects[0].value, &live, &NO_RULES), []);
    adopted.text
}

fn left(adopted: &Adopted) -> Vec<String> {
    adopted.left.iter().map(|Left { origin, why }| format!("{origin}: {why}")).collect()
}

/// A ConfigMap with this behind its head.
fn map(rest: &str) -> String {
    format!("apiVersion: v1\nkind: ConfigMap\nmetadata: {{name: a}}\n{rest}")
}

const TEXT: &str = "# The shop.\napiVersion: v1\nkind: ConfigMap\nmetadata: {name: a, labels: {x: 'one', z: two}} # flow\n\
                    data:\n    plain: some words # kept\n    \"quoted\": \"b\"\n    num: '5'\n    block: |\n      many\n      lines\n\
                    list:\n- name: first\n  image: web:1\n- name: second\n  image: &i web:2\n- name: third\n  image: *i\ncount: 3\n";

#[test]
fn scalars_are_replaced_in_their_style_and_nothing_else() {
    let (adopted, live) = run(TEXT, |live| {
        live["data"]["plain"] = json!("x: y");
        live["data"]["quoted"] = json!("say \"b\"");
        live["data"]["num"] = json!("it's 6");
        live["metadata"]["labels"] = json!({"x": "uno", "z": "dos", "added": "1"});
        live["count"] = json!(40);
        live["list"].as_array_mut().unwrap().reverse();
        live["list"][2]["image"] = json!("web:3");
        live["status"] = json!({});
    });
    let expected = TEXT
        .replace("some words", "\"x: y\"")
        .replace("\"b\"", "\"say \\\"b\\\"\"")
        .replace("'5'", "'it''s 6'")
        .replace("'one', z: two", "'uno', z: dos, added: \"1\"")
        .replace("web:1", "web:3")
        .replace("count: 3", "count: 40");
    assert_eq!((adopted.text.as_str(), &adopted.left, &adopted.dropped), (expected.as_str(), &vec![], &vec![]));
    assert_eq!(changes(&read(&adopted.text).objects[0].value, &live, &NO_RULES), []);
}

#[test]
fn what_is_shared_by_an_anchor_is_left_and_named_with_its_lines() {
    let (adopted, _) = run(TEXT, |live| {
        live["list"][1]["image"] = json!("web:7");
        live["list"][2]["image"] = json!("web:8");
    });
    assert_eq!(adopted.text, TEXT);
    assert_eq!(
        left(&adopted),
        [
            "a.yaml:16:3: ConfigMap default/a: list[1].image: cannot be written in its place: the anchor at line 16 is \
             used at line 18, too: change all of them, or write the values out",
            "a.yaml:18:3: ConfigMap default/a: list[2].image: cannot be written in its place: it is an alias of &i at \
             line 16: change it there, or write the value out here",
        ]
    );

    let merged = map("base: &b\n  x: 1\n  y: 2\nuser:\n  <<: *b\n  z: 3\n");
    let (adopted, _) = run(&merged, |live| {
        live["user"] = json!({"x": 5, "y": 2, "z": 4, "w": 1});
        live["base"]["y"] = json!(7);
    });
    assert_eq!(adopted.text, merged.replace("  z: 3\n", "  z: 4\n  w: 1\n"));
    let why = left(&adopted);
    assert!(
        why[0].contains("base.y: cannot be written in its place: the anchor at line 4 is used at line 8"),
        "{why:?}"
    );
    assert!(
        why[1].contains("user.x: cannot be written in its place: it comes from the map that `<<` merges at line 8"),
        "{why:?}"
    );
    // An anchor that nobody uses stays where it is.
    let text = written(&map("a: &x one # c\nb: &y\n  k: 1\n"), |live| {
        live["a"] = json!("two");
        live["b"] = json!(3);
    });
    assert_eq!(text, map("a: &x two # c\nb: &y 3\n"));
}

#[test]
fn values_of_a_base_are_written_there_and_those_of_a_patch_nowhere() {
    let folder = tempfile::tempdir().unwrap();
    let write = |name: &str, text: &str| {
        let path = folder.path().join(name);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, text).unwrap();
    };
    let base = "apiVersion: v1\nkind: ConfigMap\nmetadata:\n  name: a\ndata:\n  # how much\n  level: info\n  color: red\n  twice: x\n";
    write("base/a.yaml", base);
    write("base/kustomization.yaml", "resources: [a.yaml]\n");
    let patch = "  - patch: |\n      apiVersion: v1\n      kind: ConfigMap\n      metadata: {name: a}\n      data: {color: blue}\n";
    write("prod/kustomization.yaml", &format!("resources: [../base]\nnamePrefix: prod-\npatches:\n{patch}"));
    let (disk, prod) = Disk::around(&folder.path().join("prod")).unwrap();
    let snapshot = Snapshot::kustomized("prod", &disk, &prod, &NoRoots);
    let record = &snapshot.kustomizations[0];
    let kinds = FixedKinds::new(&[("v1", "ConfigMap", true)]);
    let rendered = render(&snapshot, &kinds, "default");
    assert_eq!(rendered.errors, []);
    let manifest = &rendered.objects[0];
    let file = &manifest.origin.file;
    assert!(file.ends_with("base/a.yaml") && record.has(file) && !record.has("base/other.yaml"), "{file}");

    let mut live = manifest.value.clone();
    live["data"] = json!({"level": "debug", "color": "green", "new": "a\nb\n"});
    as_kubectl(&mut live);
    let read = |text: &str| {
        let changed = std::sync::Arc::new(record.with(file, text));
        render(&Snapshot { kustomizations: vec![changed], ..Snapshot::default() }, &kinds, "default")
    };
    let adopted = adopt(base, &[(manifest, &live)], &NO_RULES, "see prod", read);
    let expected = base.replace("level: info", "level: debug").replace("  twice: x\n", "  new: |\n    a\n    b\n");
    assert_eq!(adopted.text, expected);
    let left: Vec<&str> = adopted.left.iter().map(|left| left.why.as_str()).collect();
    assert_eq!(left, ["ConfigMap default/prod-a: data.color: cannot be written in its place: see prod"]);
}
