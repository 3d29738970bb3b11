//! Reading YAML: documents, keys, aliases, errors, positions.

#![allow(clippy::unwrap_used)]
use super::*;
use serde_json::json;

fn read(text: &str) -> Result<Vec<Value>, String> {
    documents(&"a.yaml".into(), text)
        .map(|documents| documents.into_iter().map(|d| d.value).collect())
        .map_err(|e| e.to_string())
}

#[test]
fn documents_are_split_and_empty_ones_skipped() {
    assert_eq!(
        read("---\n---\na: 1\n---\n# only a comment\n---\nb: 2\n...\n").unwrap(),
        [json!({"a": 1}), json!({"b": 2})]
    );
    assert_eq!(read("").unwrap(), Vec::<Value>::new());
    assert_eq!(read("# nothing\n").unwrap(), Vec::<Value>::new());
}

#[test]
fn json_files_read_as_they_are() {
    let text = "{\n\t\"a\": [1, 2.5, null, true, \"x\\u00e9\\/\\ud83d\\ude00\"],\n\t\"yes\": \"0644\"\n}";
    assert_eq!(read(text).unwrap(), [json!({"a": [1, 2.5, null, true, "xé/😀"], "yes": "0644"})]);
}

#[test]
fn keys_become_text() {
    assert_eq!(read("8080: a\nyes: b\n\"no\": c\n").unwrap(), [json!({"8080": "a", "true": "b", "no": "c"})]);
    assert_eq!(read("? [a]\n: b\n").unwrap_err(), "a.yaml:1:3: a map key must be text, found a list");
}

#[test]
fn a_duplicate_key_names_both_places() {
    assert_eq!(
        read("a:\n  b: 1\n  c: 2\n  b: 3\n").unwrap_err(),
        "a.yaml:4:3: key \"b\" already set in this map, at line 2 (keep one of the two)"
    );
}

#[test]
fn anchors_aliases_and_merge_keys() {
    let text = "base: &b {x: 1, z: 2}\none: *b\ntwo:\n  <<: *b\n  z: 3\nthree:\n  <<: [{x: 9}, *b]\n";
    let two = json!({"x": 1, "z": 3});
    assert_eq!(
        read(text).unwrap(),
        [json!({"base": {"x": 1, "z": 2}, "one": {"x": 1, "z": 2}, "two": two, "three": {"x": 9, "z": 2}})]
    );
    assert!(read("a: &a [*a]").unwrap_err().contains("part of"));
}

#[test]
fn an_alias_bomb_is_refused() {
    let mut text = "a0: &a0 [x, x, x, x, x, x, x, x, x, x]\n".to_owned();
    for n in 1..12 {
        let reference = format!("*a{}, ", n - 1).repeat(10);
        text += &format!("a{n}: &a{n} [{reference}]\n");
    }
    let error = read(&text).unwrap_err();
    assert!(error.contains("aliases expand to more than"), "{error}");
    assert!(error.starts_with("a.yaml:"), "{error}");
}

#[test]
fn syntax_errors_have_a_place() {
    for text in ["a: b: c\n", "a:\n\t- b\n", "a: [1, 2\n", "a: \"x\n", "{a: 1", "- a\nb: 1\n", "a: *nowhere\n", "\u{0}"]
    {
        let error = read(text).unwrap_err();
        assert!(error.starts_with("a.yaml:"), "{text:?}: {error}");
    }
    let deep = "[".repeat(100_000);
    assert!(read(&deep).is_err());
}

#[test]
fn block_scalars_keep_their_text() {
    assert_eq!(read("a: |\n  x\n   y\nb: >-\n  x\n  y\n").unwrap(), [json!({"a": "x\n y\n", "b": "x y"})]);
    assert_eq!(read("a: |-\n  yes").unwrap(), [json!({"a": "yes"})]);
}

#[test]
fn positions_lead_to_fields() {
    let text = "kind: Pod\nspec:\n  containers:\n  - name: a\n    image: x\n  - name: b\n    image: y\n";
    let document = documents(&"a.yaml".into(), text).unwrap().remove(0);
    let at = |path: &str| {
        let position = document.spans.find(path);
        (position.line, position.column)
    };
    assert_eq!(at("spec.containers[1].image"), (7, 5));
    assert_eq!(at("spec.containers[1]"), (6, 5));
    assert_eq!(at("spec.containers[1].ports[0]"), (6, 5));
    assert_eq!(at("spec.nothing"), (2, 1));
    assert_eq!(at(""), (1, 1));
}
