//! Differences: what is shown, what is noise, what stays hidden.

#![allow(clippy::unwrap_used)]
use super::*;
use crate::api::registry::Registry;
use serde_json::json;

fn show(changes: &[FieldChange]) -> Vec<String> {
    changes
        .iter()
        .map(|change| match change {
            FieldChange::Added { path, after } => format!("+ {path} = {after}"),
            FieldChange::Removed { path, before } => format!("- {path} = {before}"),
            FieldChange::Changed { path, before, after } => format!("~ {path}: {before} -> {after}"),
            FieldChange::Text { path, lines } => {
                let lines: Vec<_> = lines.iter().map(|line| format!("{}{}", line.sign, line.text)).collect();
                format!("~ {path}: {}", lines.join("|"))
            }
            FieldChange::Secret { path, what } => format!("{what:?} {path}"),
        })
        .collect()
}

fn deployment(change: impl FnOnce(&mut Value)) -> Value {
    let mut value = json!({
        "apiVersion": "apps/v1", "kind": "Deployment",
        "metadata": {"name": "web", "generation": 1, "resourceVersion": "5", "uid": "u"},
        "spec": {"replicas": 2, "template": {"spec": {"containers": [
            {"name": "web", "image": "a:1", "ports": [{"containerPort": 80, "protocol": "TCP"}],
             "env": [{"name": "A", "value": "1"}, {"name": "B", "value": "2"}]}]}}},
        "status": {"replicas": 2}
    });
    change(&mut value);
    value
}

fn compare(before: &Value, after: &Value, manifest: Option<&Value>) -> Vec<String> {
    let schema = Registry::builtin().schema("apps", "v1", "Deployment").unwrap();
    show(&diff(before, after, manifest, Some(&schema)))
}

#[test]
fn status_and_bookkeeping_are_no_difference() {
    let before = deployment(|_| {});
    let after = deployment(|value| {
        value["status"] = json!({"replicas": 9});
        value["metadata"]["generation"] = json!(2);
        value["metadata"]["resourceVersion"] = json!("9");
        value["metadata"]["managedFields"] = json!([{}]);
        value["metadata"]["annotations"] = json!({"deployment.kubernetes.io/revision": "3"});
    });
    assert_eq!(compare(&before, &after, None), Vec::<String>::new());
}

#[test]
fn list_entries_are_matched_by_key() {
    let before = deployment(|_| {});
    let after = deployment(|value| {
        let container = &mut value["spec"]["template"]["spec"]["containers"][0];
        container["image"] = json!("a:2");
        container["env"] = json!([{"name": "C", "value": "3"}, {"name": "B", "value": "2"}]);
        container["ports"] =
            json!([{"containerPort": 80, "protocol": "TCP"}, {"containerPort": 90, "protocol": "TCP"}]);
    });
    let manifest = json!({"spec": {"template": {"spec": {"containers": [
        {"name": "web", "image": "a:2", "env": [{"name": "C", "value": "3"}, {"name": "B", "value": "2"}],
         "ports": [{"containerPort": 80}, {"containerPort": 90}]}]}}}});
    assert_eq!(
        compare(&before, &after, Some(&manifest)),
        [
            r#"- spec.template.spec.containers[web].env[A] = {"name":"A","value":"1"}"#,
            r#"+ spec.template.spec.containers[web].env[C] = {"name":"C","value":"3"}"#,
            r#"~ spec.template.spec.containers[web].image: "a:1" -> "a:2""#,
            r#"+ spec.template.spec.containers[web].ports[90/TCP] = {"containerPort":90}"#,
        ]
    );
}

#[test]
fn an_order_that_matters_is_shown_once() {
    let before = deployment(|_| {});
    let after = deployment(|value| {
        value["spec"]["template"]["spec"]["containers"][0]["env"] =
            json!([{"name": "B", "value": "2"}, {"name": "A", "value": "1"}]);
    });
    assert_eq!(
        compare(&before, &after, None),
        [r#"~ spec.template.spec.containers[web].env (order): ["A","B"] -> ["B","A"]"#]
    );
}

#[test]
fn defaults_that_come_along_are_noise() {
    let before = deployment(|_| {});
    let after = deployment(|value| {
        value["spec"]["template"]["spec"]["dnsPolicy"] = json!("ClusterFirst");
        value["spec"]["replicas"] = json!(3);
        value["spec"]["strategy"] = json!({"type": "Recreate", "x": 1});
    });
    let manifest = json!({"spec": {"replicas": 3, "strategy": {"type": "Recreate"}}});
    assert_eq!(
        compare(&before, &after, Some(&manifest)),
        ["~ spec.replicas: 2 -> 3", r#"+ spec.strategy = {"type":"Recreate"}"#]
    );
}

#[test]
fn texts_are_compared_by_line() {
    let map = |text: &str| json!({"kind": "ConfigMap", "data": {"a.conf": text}});
    let before = map("1\n2\n3\n4\n5\n6\n7\n8\n9\n");
    let after = map("1\n2\n3\n4\nfive\n6\n7\n8\n9\n");
    assert_eq!(show(&diff(&before, &after, None, None)), [r#"~ data["a.conf"]:  2| 3| 4|-5|+five| 6| 7| 8"#]);
}

#[test]
fn secret_values_never_appear() {
    let secret = |data: Value| {
        json!({"kind": "Secret", "data": data, "metadata": {"annotations":
            {"kubectl.kubernetes.io/last-applied-configuration": "c2VjcmV0"}}})
    };
    let all = [
        diff(&secret(json!({"a": "czE=", "b": "czI="})), &secret(json!({"a": "czM=", "c": "czQ="})), None, None),
        diff(&json!({"kind": "Secret", "metadata": {}}), &secret(json!({"a": "czE="})), None, None),
        diff(&secret(json!({"a": "czE=\nczI="})), &secret(json!({"a": "czM=\nczI="})), None, None),
    ];
    assert_eq!(show(&all[0]), ["Changed data.a", "Removed data.b", "Added data.c"]);
    assert_eq!(show(&all[1]), ["Added data.a"]);
    assert_eq!(show(&all[2]), ["Changed data.a"]);
}

#[test]
fn lists_without_keys_go_by_position() {
    let list = |items: Value| json!({"kind": "X", "args": items});
    let compare = |a: Value, b: Value| show(&diff(&list(a), &list(b), None, None));
    assert_eq!(compare(json!(["a", "b"]), json!(["a", "c"])), [r#"~ args[1]: "b" -> "c""#]);
    assert_eq!(compare(json!(["a"]), json!(["a", "c"])), [r#"~ args: ["a"] -> ["a","c"]"#]);
    assert_eq!(compare(json!([{"x": 1}, {"x": 2}]), json!([{"x": 2}])), [r#"- args[0] = {"x":1}"#]);
}
