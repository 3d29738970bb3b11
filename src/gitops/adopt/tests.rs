//! Manifests and live values, before and after.

#![allow(clippy::unwrap_used)]
use super::*;
use crate::gitops::kinds::FixedKinds;
use crate::gitops::render::kustomize::NoRoots;
use crate::gitops::render::render;
use crate::gitops::sources::Snapshot;
use crate::gitops::sources::disk::Disk;
use proptest::prelude::*;
use serde_json::json;

const TEXT: &str = "# The shop.\napiVersion: v1\nkind: ConfigMap\nmetadata: {name: a, labels: {x: 'one', z: two}} # flow\n\
                    data:\n    plain: some words # kept\n    \"quoted\": \"b\"\n    num: '5'\n    block: |\n      many\n      lines\n\
                    list:\n- name: first\n  image: web:1\n- name: second\n  image: &i web:2\n- name: third\n  image: *i\ncount: 3\n";

fn read(text: &str) -> Rendered {
    let kinds = FixedKinds::new(&[("v1", "ConfigMap", true)]);
    render(&Snapshot::of(&[("a.yaml", text)]), &kinds, "default")
}

fn run(text: &str, change: impl FnOnce(&mut Value)) -> (Adopted, Value) {
    let rendered = read(text);
    assert!(rendered.errors.is_empty(), "{:?}", rendered.errors);
    let mut live = rendered.objects[0].value.clone();
    change(&mut live);
    (adopt(text, &[(&rendered.objects[0], &live)], read), live)
}

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
        .replace("'one', z: two", "'uno', z: dos")
        .replace("web:1", "web:3")
        .replace("count: 3", "count: 40");
    assert_eq!(adopted, Adopted { text: expected, left: vec![] });
    assert_eq!(changes(&read(&adopted.text).objects[0].value, &live), []);
}

#[test]
fn what_has_no_place_of_its_own_is_left_and_named() {
    let (adopted, _) = run(TEXT, |live| {
        live["data"]["block"] = json!("one");
        live["data"].as_object_mut().unwrap().remove("num");
        live["list"][1]["image"] = json!("web:7");
        live["list"][2]["image"] = json!("web:8");
    });
    let left: Vec<_> = adopted.left.iter().map(|(origin, why)| format!("{origin}: {why}")).collect();
    assert_eq!(adopted.text, TEXT);
    assert_eq!(
        left,
        [
            "a.yaml:8:5: ConfigMap default/a: data.num: the live object has no such field",
            "a.yaml:9:5: ConfigMap default/a: data.block: the manifest's value has several lines",
            "a.yaml:16:3: ConfigMap default/a: list[1].image: cannot be written in its place",
            "a.yaml:18:3: ConfigMap default/a: list[2].image: cannot be written in its place",
        ]
    );
    let (adopted, _) = run(TEXT, |live| live["list"].as_array_mut().unwrap().truncate(1));
    assert!(adopted.left[0].1.ends_with("list: the live list has 1 entries, not 3"), "{:?}", adopted.left);
}

fn scalar() -> impl Strategy<Value = Value> {
    prop_oneof![
        "[ -~]{0,12}".prop_map(Value::from),
        "[a-z#:,\\[\\]{}'\" äß]{1,8}".prop_map(Value::from),
        any::<i32>().prop_map(Value::from),
        any::<bool>().prop_map(Value::from),
    ]
}

proptest! {
    #[test]
    fn the_file_then_says_what_is_live_and_its_other_bytes_stay(
        old in prop::collection::vec(scalar(), 1..5), new in prop::collection::vec(scalar(), 5), flow in any::<bool>(),
        quoted in any::<bool>()
    ) {
        let written = |value: &Value| match value {
            Value::String(text) if !quoted && crate::gitops::render::scalar::plain(text).is_ok_and(|value| value == *text)
                && text.chars().all(char::is_alphanumeric) => text.clone(),
            other => other.to_string(),
        };
        let with = |values: &[String]| {
            let pairs: Vec<_> = values.iter().enumerate().map(|(at, value)| format!("k{at}: {value}")).collect();
            let spec = if flow { format!(" {{{}}} # end", pairs.join(" ,  ")) } else { format!("\n  {}", pairs.join("  # c, d\r\n  ")) };
            format!("apiVersion: v1 # ä\nkind: ConfigMap\nmetadata: {{name: a}}\nspec:{spec}\n")
        };
        let text = with(&old.iter().map(written).collect::<Vec<_>>());
        let (adopted, live) = run(&text, |live| {
            for (at, value) in new.iter().take(old.len()).enumerate() {
                live["spec"][format!("k{at}")] = value.clone();
            }
        });
        prop_assert_eq!(&adopted.left, &vec![]);
        prop_assert_eq!(changes(&read(&adopted.text).objects[0].value, &live), vec![]);
        // What stands between the values.
        let bare = |text: &str, values: &[Value]| {
            let rendered = read(text);
            let mut spots: Vec<_> = (0..values.len()).map(|at| {
                rendered.objects[0].spans_at(&[compare::Step::Key("spec".into()), compare::Step::Key(format!("k{at}"))]).unwrap()
            }).collect();
            spots.sort_by_key(|at| std::cmp::Reverse((at.line, at.column)));
            let mut text = text.to_owned();
            for (spot, value) in spots.iter().zip(values.iter().rev()) {
                text = scalar::replace(&text, (spot.line, spot.column), value, &json!(0), false).unwrap();
            }
            text.replace("\"0\"", "0").replace("'0'", "0")
        };
        prop_assert_eq!(bare(&text, &old), bare(&adopted.text, &new[..old.len()]));
    }
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
    live["data"] = json!({"level": "debug", "color": "green", "twice": "x"});
    let read = |text: &str| {
        let changed = std::sync::Arc::new(record.with(file, text));
        render(&Snapshot { kustomizations: vec![changed], ..Snapshot::default() }, &kinds, "default")
    };
    let adopted = adopt(base, &[(manifest, &live)], read);
    assert_eq!(adopted.text, base.replace("level: info", "level: debug"));
    let left: Vec<&str> = adopted.left.iter().map(|(_, why)| why.as_str()).collect();
    assert_eq!(left, ["ConfigMap default/prod-a: data.color: cannot be written in its place"]);
}
