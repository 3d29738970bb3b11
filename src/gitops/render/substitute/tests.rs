//! Variables in whole objects: what values mean, where errors are, what is left alone.

#![allow(clippy::unwrap_used)]
use super::Variables;
use crate::gitops::kinds::FixedKinds;
use crate::gitops::render::{Rendered, Settings, render_with};
use crate::gitops::sources::Snapshot;
use serde_json::{Value, json};

fn run(text: &str, strict: bool, set: &[(&str, &str)]) -> Rendered {
    let mut variables = Variables::new(strict);
    set.iter().for_each(|(name, value)| variables.set(name, value).unwrap());
    let kinds = FixedKinds::new(&[("v1", "ConfigMap", true)]);
    let settings = Settings { namespace: "default", variables: Some(&variables) };
    render_with(&Snapshot::of(&[("a.yaml", text)]), &kinds, settings)
}

fn value(written: &str, set: &[(&str, &str)]) -> Value {
    let rendered =
        run(&format!("apiVersion: v1\nkind: ConfigMap\nmetadata: {{name: a}}\ndata:\n  key: {written}\n"), false, set);
    assert_eq!(rendered.errors, []);
    rendered.objects[0].value["data"]["key"].clone()
}

#[test]
fn values_mean_what_they_would_mean_in_the_file() {
    for (written, set, meant) in [
        ("${x}", "3", json!(3)),
        ("\"${x}\"", "3", json!(3)),
        ("'${quote}${x}${quote}'", "3", json!("3")),
        ("${x}", "yes", json!(true)),
        ("${x}", "", json!(null)),
        ("${x}", "[a, 2]", json!(["a", 2])),
        ("${x}", "{a: b}", json!({"a": "b"})),
        ("${x}", "text: more # text", json!("text: more # text")),
        ("${x}", "*anchor", json!("*anchor")),
        ("${x}", "[a", json!("[a")),
        ("${x}", "two\nlines", json!("twolines")),
        ("'{{ ${x} }}'", "3", json!("{{ 3 }}")),
        ("'${x} # ${x}'", "3", json!("3 # 3")),
        ("|\n    ${x}\n    $${x}", "3", json!("3\n${x}\n")),
        ("${unset:=2}", "", json!(2)),
    ] {
        assert_eq!(value(written, &[("x", set), ("quote", "\"")]), meant, "{written} {set}");
    }
}

#[test]
fn names_and_keys_are_texts_too() {
    let text = "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: \"app-${env}\", namespace: \"${env}\"}\ndata: {\"${env}.key\": a}\n";
    let rendered = run(text, true, &[("env", "prod")]);
    assert_eq!(rendered.errors, []);
    assert_eq!(rendered.objects[0].describe(), "ConfigMap prod/app-prod");
    assert_eq!(rendered.objects[0].value["data"], json!({"prod.key": "a"}));
    let twice = "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: a}\ndata:\n  \"${env}\": a\n  prod: b\n";
    let rendered = run(twice, true, &[("env", "prod")]);
    assert!(rendered.errors[0].to_string().contains("already set in this map"), "{:?}", rendered.errors);
}

#[test]
fn every_missing_variable_is_named_with_its_place() {
    let text = "apiVersion: v1\nkind: ConfigMap\nmetadata:\n  name: a\ndata:\n  one: ${one}\n  two: ${set} ${two}\n";
    let rendered = run(text, true, &[("set", "hunter2")]);
    let errors: Vec<String> = rendered.errors.iter().map(ToString::to_string).collect();
    assert_eq!(errors.len(), 2, "{errors:?}");
    assert_eq!(errors[0], "a.yaml:6:8: the variable one is not set (set it, or give it a default: ${one:=VALUE})");
    assert!(errors[1].starts_with("a.yaml:7:8: the variable two is not set"), "{errors:?}");
    assert!(rendered.objects.is_empty() && !format!("{errors:?}").contains("hunter2"));
}

#[test]
fn an_object_may_keep_its_dollars() {
    for mark in ["selkie.dev/substitute", "kustomize.toolkit.fluxcd.io/substitute"] {
        for field in ["labels", "annotations"] {
            let text = format!(
                "apiVersion: v1\nkind: ConfigMap\nmetadata:\n  name: a\n  {field}: {{{mark}: disabled}}\ndata: {{run: \"echo $$ ${{x}}\"}}\n"
            );
            assert_eq!(run(&text, true, &[]).objects[0].value["data"]["run"], "echo $$ ${x}");
        }
    }
    let list = "apiVersion: v1\nkind: List\nitems:\n- {apiVersion: v1, kind: ConfigMap, metadata: {name: a, labels: {selkie.dev/substitute: disabled}}, data: {k: \"${x}\"}}\n- {apiVersion: v1, kind: ConfigMap, metadata: {name: b}, data: {k: \"${x}\"}}\n";
    let rendered = run(list, true, &[("x", "3")]);
    let of = |at: usize| rendered.objects[at].value["data"]["k"].clone();
    assert_eq!((of(0), of(1)), (json!("${x}"), json!(3)));
}

#[test]
fn variables_do_not_show_their_values() {
    let mut variables = Variables::new(true);
    variables.set("password", "hunter2").unwrap();
    assert_eq!(format!("{variables:?}"), "{\"password\"}");
    for name in ["", "a-b", "1a", "ca.crt", "\u{fc}"] {
        assert!(variables.set(name, "").is_err(), "{name}");
    }
}

#[test]
fn what_holds_a_value_of_a_secret_is_confidential() {
    let mut variables = Variables::new(false);
    variables.set_secret("password", "1234").unwrap();
    variables.set_secret("covered", "x").unwrap();
    variables.set("covered", "shown").unwrap();
    let kinds = FixedKinds::new(&[("v1", "ConfigMap", true)]);
    let render = |name: &str, text: &str| {
        let file = format!("apiVersion: v1\nkind: ConfigMap\nmetadata: {{name: {name}}}\ndata: {{k: '{text}'}}\n");
        let settings = Settings { namespace: "default", variables: Some(&variables) };
        render_with(&Snapshot::of(&[("a.yaml", &file)]), &kinds, settings)
    };
    for (text, confidential) in [
        ("${password}", true),
        ("a ${password%4}", true),
        ("${#password}", true),
        ("${other:-${password}}", true),
        ("${covered}", false),
        ("$${password}", false),
    ] {
        assert_eq!(render("a", text).objects[0].confidential, confidential, "{text}");
    }
    let wrong = render("\"${password}\"", "x");
    let told = wrong.errors[0].to_string();
    assert!(told.starts_with("a.yaml:3:") && told.contains("metadata.name") && !told.contains("1234"), "{told}");
}
