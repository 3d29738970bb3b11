//! Rendering: places, errors, lists, duplicates.

#![allow(clippy::unwrap_used)]
use super::*;
use crate::gitops::kinds::FixedKinds;

fn kinds() -> FixedKinds {
    FixedKinds::new(&[("v1", "ConfigMap", true), ("v1", "Namespace", false), ("apps/v1", "Deployment", true)])
}

fn run(files: &[(&str, &str)]) -> Rendered {
    render(&Snapshot::of(files), &kinds(), "default")
}

fn errors(files: &[(&str, &str)]) -> Vec<String> {
    run(files).errors.iter().map(ToString::to_string).collect()
}

const MAP: &str = "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: a}\n";

#[test]
fn objects_get_their_place_and_namespace() {
    let text = format!("# web\n---\n{MAP}---\napiVersion: v1\nkind: Namespace\nmetadata:\n  name: shop\n");
    let rendered = run(&[("deploy/a.yaml", &text)]);
    assert_eq!(rendered.errors, []);
    let seen: Vec<_> = rendered.objects.iter().map(|m| format!("{} {}", m.origin, m.describe())).collect();
    assert_eq!(seen, ["deploy/a.yaml:3:1 ConfigMap default/a", "deploy/a.yaml:7:1 Namespace shop"]);
    assert_eq!(rendered.objects[0].value["metadata"]["namespace"], "default");
    assert_eq!(rendered.objects[1].origin_of("metadata.name").to_string(), "deploy/a.yaml:10:3");
}

#[test]
fn lists_become_their_items() {
    let text = "apiVersion: v1\nkind: List\nitems:\n- apiVersion: v1\n  kind: ConfigMap\n  metadata: {name: a}\n- kind: ConfigMap\n";
    let rendered = run(&[("l.yaml", text)]);
    assert_eq!(rendered.objects.len(), 1);
    assert_eq!(rendered.objects[0].origin.to_string(), "l.yaml:4:3");
    assert_eq!(rendered.errors[0].to_string(), "l.yaml:7:3: ConfigMap has no apiVersion");
}

#[test]
fn all_errors_of_all_files_are_collected() {
    let found = errors(&[
        ("1.yaml", "just text\n"),
        ("2.yaml", "- 1\n"),
        ("3.yaml", "apiVersion: v1\n"),
        ("4.yaml", "apiVersion: v1\nkind: ConfigMap\n"),
        ("5.yaml", "apiVersion: v1\nkind: ConfigMap\nmetadata:\n  name: 5\n"),
        ("6.yaml", "apiVersion: v1\nkind: Confgmap\nmetadata: {name: a}\n"),
        ("7.yaml", "apiVersion: v1\nkind: Namespace\nmetadata: {name: a, namespace: b}\n"),
        ("8.yaml", "apiVersion: apps/v1beta1\nkind: Deployment\nmetadata: {name: a}\n"),
        ("9.yaml", "a: [\n"),
    ]);
    let expected = [
        "1.yaml:1:1: the document is a string, not an object (a manifest is a map with apiVersion, kind and metadata)",
        "2.yaml:1:1: the document is a list, not an object (a manifest is a map with apiVersion, kind and metadata)",
        "3.yaml:1:1: the document has no kind",
        "4.yaml:1:1: ConfigMap has no metadata.name (every object needs a name)",
        "5.yaml:4:3: metadata.name must be a string, found a number (5) (put it in quotes)",
        "6.yaml:2:1: no kind \"Confgmap\" in v1 (did you mean ConfigMap?)",
        "7.yaml:3:21: Namespace \"a\" has a namespace, but the kind has none (remove metadata.namespace)",
        "8.yaml:2:1: no kind \"Deployment\" in apps/v1beta1 (did you mean apiVersion: apps/v1?)",
    ];
    assert_eq!(found[..8], expected);
    assert!(found[8].starts_with("9.yaml:1:4: not valid YAML"), "{}", found[8]);
}

#[test]
fn the_same_object_twice_names_both_places() {
    let found = errors(&[("a.yaml", MAP), ("b.yaml", &format!("---\n{MAP}"))]);
    assert_eq!(
        found,
        ["b.yaml:2:1: ConfigMap default/a is already defined at a.yaml:1:1 (remove one of the two, or rename it)"]
    );
}

#[test]
fn definitions_in_the_source_make_their_kinds_known() {
    let definition = "apiVersion: apiextensions.k8s.io/v1\nkind: CustomResourceDefinition\nmetadata: {name: x}\n\
                      spec: {group: x.io, scope: Cluster, names: {kind: X}}\n";
    let kinds = FixedKinds::new(&[("apiextensions.k8s.io/v1", "CustomResourceDefinition", false)]);
    let files = [("a.yaml", definition), ("b.yaml", "apiVersion: x.io/v1\nkind: X\nmetadata: {name: a}\n")];
    let rendered = render(&Snapshot::of(&files), &kinds, "default");
    assert_eq!(rendered.errors, []);
    assert_eq!(rendered.objects[1].describe(), "X a");
}

#[test]
fn text_that_is_not_utf8_names_the_line() {
    let mut snapshot = Snapshot::of(&[("a.yaml", "")]);
    snapshot.files[0].bytes = bytes::Bytes::from_static(b"a: 1\nb: \xff\n");
    let rendered = render(&snapshot, &kinds(), "default");
    assert_eq!(rendered.errors[0].to_string(), "a.yaml:2: the file is not UTF-8 text (save it as UTF-8)");
}
