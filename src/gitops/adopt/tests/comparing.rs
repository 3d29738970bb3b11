//! What counts as a live change: the server's own form and defaults do not, nor what others added.

use super::*;

const DEPLOYMENT: &str = "apiVersion: apps/v1\nkind: Deployment\nmetadata:\n  name: web\nspec:\n  replicas: 1\n  paused: false\n  selector:\n    matchLabels: {app: web}\n  template:\n    metadata:\n      labels: {app: web}\n    spec:\n      containers:\n      - name: web # main\n        image: web:1\n        ports:\n        - containerPort: 80\n        resources: {limits: {cpu: 1000m}}\n        env: []\n";

fn rules() -> Rules<'static> {
    Rules { registry: Some(&REGISTRY), managers: &[] }
}

/// As the server has it.
fn live(text: &str) -> Value {
    rules().kept(&read(text).objects[0].value).unwrap()
}

fn found(text: &str, live: &Value) -> Vec<String> {
    let found = changes(&read(text).objects[0].value, live, &rules());
    found.iter().map(|change| format!("{} {} {:?}", change.op.word(), change.describe(), change.op.value())).collect()
}

fn adopted(text: &str, live: &Value) -> Adopted {
    adopt(text, &[(&read(text).objects[0], live)], &rules(), "", read)
}

#[test]
fn what_the_server_makes_of_a_manifest_is_no_change() {
    let mut live = live(DEPLOYMENT);
    assert_eq!(found(DEPLOYMENT, &live), [] as [&str; 0]);
    live["metadata"]["uid"] = json!("u");
    live["status"] = json!({"replicas": 1});
    live["metadata"]["labels"] = json!({"selkie.dev/application": "shop"});
    live["metadata"]["managedFields"] = json!([{"manager": "selkie", "fieldsV1": {"f:metadata": {"f:labels": {}}}},
        {"manager": "kubectl", "subresource": "status", "fieldsV1": {"f:metadata": {"f:labels": {}}}}]);
    assert_eq!(found(DEPLOYMENT, &live), [] as [&str; 0], "nor what others set");
}

#[test]
fn entries_are_found_by_their_merge_keys_and_written_without_defaults() {
    let mut live = live(DEPLOYMENT);
    let pod = &mut live["spec"]["template"]["spec"];
    let mut more = pod["containers"][0].clone();
    more["name"] = json!("more");
    more["image"] = json!("more:1");
    for field in ["resources", "ports", "env"] {
        more.as_object_mut().unwrap().remove(field);
    }
    more["resources"] = json!({});
    pod["containers"][0]["ports"] =
        json!([{"containerPort": 81, "protocol": "TCP"}, {"containerPort": 80, "protocol": "TCP"}]);
    pod["containers"].as_array_mut().unwrap().push(more);
    pod["volumes"] = json!([{"name": "v", "configMap": {"name": "c", "defaultMode": 420}}]);
    live["metadata"]["annotations"] = json!({"kubectl.kubernetes.io/last": "x", "note": "kept"});
    live["metadata"]["managedFields"] = json!([{"manager": "kubectl-patch", "operation": "Update", "fieldsV1": {
        "f:metadata": {"f:annotations": {"f:kubectl.kubernetes.io/last": {}, "f:note": {}}},
        "f:spec": {"f:template": {"f:spec": {
            "f:volumes": {".": {}, "k:{\"name\":\"v\"}": {".": {}, "f:name": {}, "f:configMap": {}}},
            "f:containers": {
                "k:{\"name\":\"more\"}": {},
                "k:{\"name\":\"web\"}": {"f:ports": {"k:{\"containerPort\":81,\"protocol\":\"TCP\"}": {".": {}, "f:containerPort": {}}}}}}}}}}]);
    let done = adopted(DEPLOYMENT, &live);
    assert_eq!(done.left, []);
    let expected = DEPLOYMENT
        .replace("  name: web\nspec", "  name: web\n  annotations:\n    note: kept\nspec")
        .replace("        - containerPort: 80\n", "        - containerPort: 81\n        - containerPort: 80\n");
    let expected = format!(
        "{expected}      - name: more\n        image: more:1\n      volumes:\n      - name: v\n        configMap:\n          name: c\n"
    );
    assert_eq!(done.text, expected);
    assert_eq!(found(&done.text, &live), [] as [&str; 0]);
}

#[test]
fn fields_that_are_gone_go() {
    let mut live = live(DEPLOYMENT);
    let container = &mut live["spec"]["template"]["spec"]["containers"][0];
    container.as_object_mut().unwrap().remove("ports");
    container["resources"] = json!({});
    live["spec"]["paused"] = json!(true);
    assert_eq!(
        found(DEPLOYMENT, &live),
        [
            "changed spec.paused Some(Bool(true))",
            "removed spec.template.spec.containers[0].ports None",
            "removed spec.template.spec.containers[0].resources.limits None",
        ]
        .map(|line| line.replace(
            "removed spec.template.spec.containers[0].resources.limits None",
            "changed spec.template.spec.containers[0].resources Some(Object {})"
        ))
    );
    let done = adopted(DEPLOYMENT, &live);
    assert_eq!(done.left, []);
    assert_eq!(found(&done.text, &live), [] as [&str; 0]);
}

#[test]
fn managers_are_asked_for_by_name() {
    let mut live = live(DEPLOYMENT);
    live["spec"]["minReadySeconds"] = json!(5);
    live["metadata"]["managedFields"] = json!([{"manager": "ann", "fieldsV1": {"f:spec": {"f:minReadySeconds": {}}}}]);
    assert_eq!(found(DEPLOYMENT, &live), [] as [&str; 0]);
    let managers = ["ann".to_owned()];
    let rules = Rules { managers: &managers, ..rules() };
    let found = changes(&read(DEPLOYMENT).objects[0].value, &live, &rules);
    assert_eq!(found.len(), 1);
    assert_eq!(found[0].describe(), "spec.minReadySeconds");
}

#[test]
fn allotted_addresses_are_nobodys() {
    let text = "apiVersion: v1\nkind: Service\nmetadata: {name: a}\nspec:\n  ports:\n  - port: 80\n";
    let mut live = live(text);
    live["spec"]["clusterIP"] = json!("10.0.0.1");
    live["spec"]["clusterIPs"] = json!(["10.0.0.1"]);
    live["spec"]["selector"] = json!({"app": "a"});
    as_kubectl(&mut live);
    let done = adopted(text, &live);
    assert_eq!(done.text, format!("{text}  selector:\n    app: a\n"));
}

#[test]
fn notes_of_tools_are_written_nowhere() {
    let text = "apiVersion: v1\nkind: Service\nmetadata:\n  name: a\n  annotations:\nspec:\n  ports:\n  - port: 80\n";
    let with = |annotations: Value| {
        let mut live = live(text);
        live["metadata"]["annotations"] = annotations;
        as_kubectl(&mut live);
        live
    };
    let last = "kubectl.kubernetes.io/last-applied-configuration";
    assert_eq!(found(text, &with(json!({last: "{}"}))), [] as [&str; 0]);
    assert_eq!(
        found(text, &with(json!({last: "{}", "note": "kept"}))),
        ["changed metadata.annotations Some(Object {\"note\": String(\"kept\")})"]
    );
    let copied = text.replace("annotations:\n", &format!("annotations: {{{last}: old}}\n"));
    assert_eq!(found(&copied, &with(json!({last: "new"}))), [] as [&str; 0]);
}

#[test]
fn what_an_autoscaler_set_is_left_and_told_unless_it_is_asked_for() {
    let mut live = live(DEPLOYMENT);
    live["spec"]["replicas"] = json!(7);
    live["metadata"]["managedFields"] = json!([
        {"manager": "scaler", "subresource": "scale", "fieldsV1": {"f:spec": {"f:replicas": {}}}},
        {"manager": "selkie", "fieldsV1": {"f:spec": {"f:paused": {}}}}
    ]);
    let done = adopted(DEPLOYMENT, &live);
    assert_eq!(done.text, DEPLOYMENT);
    let why: Vec<&str> = done.left.iter().map(|left| left.why.as_str()).collect();
    assert_eq!(why, ["Deployment default/web: spec.replicas: it is set by scaler: `--added-by scaler` writes it"]);
    let managers = ["scaler".to_owned()];
    let rules = Rules { managers: &managers, ..rules() };
    assert_eq!(changes(&read(DEPLOYMENT).objects[0].value, &live, &rules).len(), 1);
}

#[test]
fn entries_that_nobody_asked_for_are_not_added_to_lists() {
    let text = DEPLOYMENT.replace("        image: web:1\n", "        image: web:1\n        args: [a]\n");
    let mut live = live(&text);
    live["spec"]["template"]["spec"]["containers"][0]["args"] = json!(["a", "b"]);
    assert_eq!(found(&text, &live), [] as [&str; 0]);
    let fields =
        json!({"f:spec": {"f:template": {"f:spec": {"f:containers": {"k:{\"name\":\"web\"}": {"f:args": {}}}}}}});
    let set_by = |manager: &str, subresource: &str| {
        let mut live = live.clone();
        live["metadata"]["managedFields"] =
            json!([{"manager": manager, "subresource": subresource, "fieldsV1": fields}]);
        found(&text, &live)
    };
    assert_eq!(set_by("selkie", ""), [] as [&str; 0]);
    assert_eq!(set_by("kubectl", "ephemeralcontainers"), [] as [&str; 0], "for kubectl debug");
    assert_eq!(set_by("kubectl", ""), ["added spec.template.spec.containers[0].args[1] Some(String(\"b\"))"]);

    // Nor where the keys do not tell them apart.
    let port = json!({"containerPort": 80, "protocol": "TCP"});
    let mut twice = live.clone();
    twice["spec"]["template"]["spec"]["containers"][0]["ports"] = json!([port, port]);
    assert_eq!(found(&text, &twice), [] as [&str; 0]);
}

#[test]
fn another_order_is_told_where_it_has_a_meaning() {
    let text = DEPLOYMENT.replace(
        "        env: []\n",
        "        env:\n        - {name: A, value: one}\n        - {name: B, value: two}\n",
    );
    let mut live = live(&text);
    let env = &mut live["spec"]["template"]["spec"]["containers"][0]["env"];
    env.as_array_mut().unwrap().reverse();
    as_kubectl(&mut live);
    let done = adopted(&text, &live);
    assert_eq!(done.text, text);
    assert_eq!(done.left.len(), 1, "{:?}", done.left);
    assert!(done.left[0].why.contains("containers[0].env: the entries have another order"), "{:?}", done.left);
}
