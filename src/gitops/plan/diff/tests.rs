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
    show(&diff(before, after, manifest, Some(&schema), &How::default()))
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
    assert_eq!(
        show(&diff(&before, &after, None, None, &How::default())),
        [r#"~ data["a.conf"]:  2| 3| 4|-5|+five| 6| 7| 8"#]
    );
}

#[test]
fn secret_values_never_appear() {
    let secret = |data: Value| {
        json!({"kind": "Secret", "data": data, "metadata": {"annotations":
            {"kubectl.kubernetes.io/last-applied-configuration": "c2VjcmV0"}}})
    };
    let all = [
        diff(
            &secret(json!({"a": "czE=", "b": "czI="})),
            &secret(json!({"a": "czM=", "c": "czQ="})),
            None,
            None,
            &How::default(),
        ),
        diff(&json!({"kind": "Secret", "metadata": {}}), &secret(json!({"a": "czE="})), None, None, &How::default()),
        diff(&secret(json!({"a": "czE=\nczI="})), &secret(json!({"a": "czM=\nczI="})), None, None, &How::default()),
    ];
    assert_eq!(show(&all[0]), ["Changed data.a", "Removed data.b", "Added data.c"]);
    assert_eq!(show(&all[1]), ["Added data.a"]);
    assert_eq!(show(&all[2]), ["Changed data.a"]);
}

#[test]
fn lists_without_keys_go_by_position() {
    let list = |items: Value| json!({"kind": "X", "args": items});
    let compare = |a: Value, b: Value| show(&diff(&list(a), &list(b), None, None, &How::default()));
    assert_eq!(compare(json!(["a", "b"]), json!(["a", "c"])), [r#"~ args[1]: "b" -> "c""#]);
    assert_eq!(compare(json!(["a"]), json!(["a", "c"])), [r#"~ args: ["a"] -> ["a","c"]"#]);
    assert_eq!(compare(json!([{"x": 1}, {"x": 2}]), json!([{"x": 2}])), [r#"- args[0] = {"x":1}"#]);
}

#[test]
fn what_another_object_is_given_in_its_place_is_no_difference() {
    let compare = |(version, kind): (&str, &str), before: Value, after: Value, manifest: Value| {
        let typed = |mut value: Value| {
            (value["apiVersion"], value["kind"]) = (json!(version), json!(kind));
            value
        };
        let (group, version) = version.split_once('/').unwrap_or(("", version));
        let schema = Registry::builtin().schema(group, version, kind).unwrap();
        let how = How { replaced: true, ..How::default() };
        show(&diff(&typed(before), &typed(after), Some(&typed(manifest)), Some(&schema), &how))
    };
    let pod = |volume: &str, command: &str, more: Value| {
        let mount = json!({"name": volume, "mountPath": "/var/run/secrets/kubernetes.io/serviceaccount"});
        let mut pod = json!({"spec": {"volumes": [{"name": volume, "projected": {}}],
            "containers": [{"name": "c", "command": [command], "volumeMounts": [mount]}]}});
        more.as_object().unwrap().iter().for_each(|(name, value)| pod["spec"][name] = value.clone());
        pod
    };
    let manifest = json!({"spec": {"containers": [{"name": "c", "command": ["b"]}]}});
    let before = pod("kube-api-access-one", "a", json!({"nodeName": "h1", "hostname": "old"}));
    assert_eq!(
        compare(("v1", "Pod"), before, pod("kube-api-access-two", "b", json!({})), manifest),
        [r#"~ spec.containers[c].command[0]: "a" -> "b""#, r#"- spec.hostname = "old""#],
        "what it was made with counts, what it was given does not"
    );

    let service = |address: &str, port: u16| json!({"spec": {"clusterIP": address, "clusterIPs": [address], "ports": [{"port": port, "protocol": "TCP"}]}});
    let manifest = json!({"spec": {"ports": [{"port": 81}]}});
    let found = compare(("v1", "Service"), service("10.96.0.7", 80), service("10.96.0.9", 81), manifest);
    assert!(found.iter().all(|change| change.contains("spec.ports")) && !found.is_empty(), "{found:?}");

    let claim = |class: &str, more: Value| {
        let mut claim = json!({"metadata": {"name": "c"}, "spec": {"storageClassName": class}});
        more.as_object().unwrap().iter().for_each(|(name, value)| claim[name] = value.clone());
        claim
    };
    let mut bound = claim("a", json!({}));
    bound["spec"]["volumeName"] = json!("pv-1");
    bound["metadata"]["annotations"] = json!({"pv.kubernetes.io/bind-completed": "yes", "mine": "1"});
    let after = claim("b", json!({"metadata": {"name": "c", "annotations": {"mine": "1"}}}));
    assert_eq!(
        compare(("v1", "PersistentVolumeClaim"), bound, after.clone(), after),
        [r#"~ spec.storageClassName: "a" -> "b""#]
    );

    let secret = |value: &str| json!({"metadata": {"name": "s"}, "immutable": true, "data": {"k": value}});
    let manifest = json!({"metadata": {"name": "s"}, "immutable": true, "stringData": {"k": "2"}});
    assert_eq!(compare(("v1", "Secret"), secret("MQ=="), secret("Mg=="), manifest), ["Changed data.k"]);
}
