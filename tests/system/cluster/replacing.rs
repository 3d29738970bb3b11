//! What cannot change in place, and what is at stake when something goes: as the command line shows it and does it.

use crate::daemon::Daemon;
use serde_json::{Value, json};
use std::path::Path;

fn write(folder: &Path, name: &str, objects: &[Value]) -> String {
    let file = folder.join(name);
    let list = json!({"apiVersion": "v1", "kind": "List", "items": objects});
    std::fs::write(&file, list.to_string()).expect("a manifest");
    file.display().to_string()
}

fn web(tier: &str) -> Value {
    let labels = json!({"app": "web", "tier": tier});
    json!({"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "web"}, "spec": {"replicas": 2,
        "selector": {"matchLabels": labels}, "template": {"metadata": {"labels": labels}, "spec": {
            "terminationGracePeriodSeconds": 1, "containers": [{"name": "web", "image": "web:1"}]}}}})
}

fn settings(value: &str) -> Value {
    json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "settings"}, "immutable": true,
        "data": {"k": value}})
}

fn alone(command: &str) -> Value {
    json!({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "alone"}, "spec": {
        "terminationGracePeriodSeconds": 1, "containers": [{"name": "c", "image": "web:1", "command": [command]}]}})
}

fn set(name: &str, when_deleted: &str) -> Value {
    let claim = json!({"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "1Gi"}}});
    json!({"apiVersion": "apps/v1", "kind": "StatefulSet", "metadata": {"name": name}, "spec": {
        "serviceName": name, "selector": {"matchLabels": {"app": name}},
        "persistentVolumeClaimRetentionPolicy": {"whenDeleted": when_deleted},
        "template": {"metadata": {"labels": {"app": name}}, "spec": {
            "terminationGracePeriodSeconds": 1, "containers": [{"name": "c", "image": "db:1"}]}},
        "volumeClaimTemplates": [{"metadata": {"name": "data"}, "spec": claim}]}})
}

#[test]
fn a_plan_with_replace_says_why_and_an_apply_does_it_all_at_once() {
    let folder = tempfile::tempdir().expect("a folder");
    let daemon = Daemon::start(&["--hollow-hosts", "2"]);
    let path = write(folder.path(), "all.json", &[web("a"), settings("1"), alone("a")]);
    daemon.selkie(&["apply", "-f", &path]);
    let uids = || daemon.value(&["deploy/web", "configmap/settings", "pod/alone"], "{.items[*].metadata.uid}");
    let before = uids();
    write(folder.path(), "all.json", &[web("b"), settings("2"), alone("b")]);

    for command in ["plan", "apply"] {
        let refused = daemon.try_selkie(&[command, "-f", &path]);
        let said = String::from_utf8_lossy(&refused.stderr);
        assert!(!refused.status.success() && said.contains("nothing was changed"), "{said}");
        assert!(said.contains("spec.selector: ") && said.contains("--replace deletes the object"), "{said}");
    }
    let plan = daemon.selkie(&["plan", "--replace", "-f", &path]);
    assert!(plan.contains("-/+ Deployment default/web"), "{plan}");
    assert!(plan.contains("spec.selector cannot change in place"), "{plan}");
    assert!(plan.contains("it ends first, then it is made again: its containers have 1 s to stop"), "{plan}");
    assert!(plan.ends_with("Plan: 3 to add, 0 to change, 3 to delete; 3 pods to restart.\n"), "{plan}");
    let document: Value =
        serde_json::from_str(&daemon.selkie(&["plan", "--replace", "-f", &path, "-o", "json"])).expect("JSON");
    assert!(document["objects"].as_array().expect("objects").iter().all(|one| one["action"] == "replace"));
    assert_eq!(document["consequences"]["settled"], true, "{document:#}");
    assert_eq!(uids(), before, "a plan changes nothing");

    // One thing is wrong: none is replaced.
    let mut wrong = settings("3");
    wrong["metadata"]["name"] = json!("NOT-A-NAME");
    let bad = write(folder.path(), "bad.json", &[web("b"), settings("2"), alone("b"), wrong]);
    let refused = daemon.try_selkie(&["apply", "--replace", "-f", &bad]);
    assert!(!refused.status.success(), "{}", String::from_utf8_lossy(&refused.stdout));
    assert_eq!(uids(), before);

    let applied = daemon.selkie(&["apply", "--replace", "-f", &path]);
    assert!(applied.contains("Plan: 3 to add, 0 to change, 3 to delete; 3 pods to restart."), "{applied}");
    let now = uids();
    assert!(before.split(' ').all(|uid| !now.contains(uid)) && now.split(' ').count() == 3, "{before}; {now}");
    assert_eq!(daemon.value(&["pod", "alone"], "{.spec.containers[0].command[0]}"), "b");
    let left = daemon.selkie(&["plan", "-f", &path]);
    assert!(left.contains("No changes."), "{left}");
}

#[test]
fn a_plan_names_the_data_that_goes() {
    let folder = tempfile::tempdir().expect("a folder");
    let manifests = folder.path().join("deploy");
    std::fs::create_dir(&manifests).expect("a folder");
    write(&manifests, "kept.json", &[set("kept", "Retain")]);
    write(&manifests, "gone.json", &[set("gone", "Delete")]);
    write(&manifests, "rest.json", &[settings("1")]);
    let daemon = Daemon::start(&["--hollow-hosts", "1"]);
    daemon.selkie(&["app", "add", &format!("shop={}", manifests.display())]);
    daemon.wait_for("the claims are bound", || {
        daemon.value(&["pvc"], "{.items[*].status.phase}") == "Bound Bound"
            && daemon.value(&["pods"], "{.items[*].status.phase}") == "Running Running"
    });
    daemon.selkie(&["app", "suspend", "shop"]);
    std::fs::remove_file(manifests.join("kept.json")).expect("a manifest");
    std::fs::remove_file(manifests.join("gone.json")).expect("a manifest");
    let plan = daemon.selkie(&["plan", "--app", "shop"]);
    assert!(plan.contains("Data at stake:\n"), "{plan}");
    let (gone, kept) = (
        "- PersistentVolumeClaim default/data-gone-0  1Gi deleted",
        "= PersistentVolumeClaim default/data-kept-0  1Gi kept",
    );
    assert!(plan.contains(gone) && plan.contains(kept) && plan.contains("whenDeleted is Delete"), "{plan}");
    let document: Value = serde_json::from_str(&daemon.selkie(&["plan", "--app", "shop", "-o", "json"])).expect("JSON");
    assert_eq!(document["schema"], "selkie.dev/plan/v1");
    let claims = &document["consequences"]["claims"];
    assert_eq!((&claims[0]["fate"], &claims[1]["fate"]), (&json!("deleted"), &json!("kept")), "{document:#}");
    assert_eq!(claims[0]["with"]["name"], "gone");
    let comment = daemon.selkie(&["plan", "--app", "shop", "-o", "markdown"]);
    assert!(comment.contains("> PersistentVolumeClaim default/data-gone-0: 1Gi deleted"), "{comment}");
}

/// A definition, its object, and the namespace that this is in, come together.
#[test]
fn a_definition_and_its_objects_in_a_new_namespace_are_one_change() {
    let folder = tempfile::tempdir().expect("a folder");
    let daemon = Daemon::start(&["--hollow-hosts", "1"]);
    let definition = json!({"apiVersion": "apiextensions.k8s.io/v1", "kind": "CustomResourceDefinition",
        "metadata": {"name": "boats.example.org"}, "spec": {"group": "example.org", "scope": "Namespaced",
            "names": {"kind": "Boat", "plural": "boats", "singular": "boat"},
            "versions": [{"name": "v1", "served": true, "storage": true, "schema": {"openAPIV3Schema": {
                "type": "object", "properties": {"spec": {"type": "object", "properties": {
                    "length": {"type": "integer"}, "name": {"type": "string"}}}}}}}]}});
    let boat = |spec: Value| {
        json!({"apiVersion": "example.org/v1", "kind": "Boat", "metadata": {"name": "selkie", "namespace": "harbour"},
            "spec": spec})
    };
    let namespace = json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "harbour"}});
    let path = write(folder.path(), "all.json", &[boat(json!({"length": "x"})), definition.clone(), namespace.clone()]);
    let refused = daemon.try_selkie(&["plan", "-f", &path]);
    let said = String::from_utf8_lossy(&refused.stderr);
    assert!(!refused.status.success() && said.contains("Boat harbour/selkie: spec.length"), "by its schema: {said}");

    write(folder.path(), "all.json", &[boat(json!({"length": 9})), definition, namespace]);
    let plan = daemon.selkie(&["plan", "-f", &path]);
    for line in ["+ Boat harbour/selkie", "+ CustomResourceDefinition boats.example.org", "+ Namespace harbour"] {
        assert!(plan.contains(line), "{line}: {plan}");
    }
    assert!(plan.ends_with("Plan: 3 to add, 0 to change, 0 to delete; 0 pods to restart.\n"), "{plan}");
    assert!(!plan.contains("Problems:"), "{plan}");
    assert!(!daemon.try_kubectl(&["get", "namespace", "harbour"]).status.success(), "a plan changes nothing");
    daemon.selkie(&["apply", "-f", &path]);
    assert_eq!(daemon.value(&["boats", "selkie", "-n", "harbour"], "{.spec.length}"), "9");
    write(folder.path(), "all.json", &[boat(json!({"length": 10, "name": "s"}))]);
    let change = daemon.selkie(&["plan", "-f", &path]);
    assert!(change.contains("spec.length") && change.contains("9 -> 10"), "{change}");
}

/// What happens to which object, without what only a write can know.
fn told(document: &Value) -> Vec<(String, String, Value)> {
    let objects = document["objects"].as_array().expect("objects").iter();
    let of = |object: &Value| {
        let text = |field: &str| object[field].as_str().unwrap_or_default().to_owned();
        (text("action"), format!("{} {}/{}", text("kind"), text("namespace"), text("name")), object["fields"].clone())
    };
    objects.map(of).collect()
}

/// A definition, its objects, a new namespace with pods, and what has to be replaced: all of it one change, which
/// does what its plan says.
#[test]
fn a_change_of_all_kinds_does_just_what_its_plan_says() {
    let folder = tempfile::tempdir().expect("a folder");
    let daemon = Daemon::start(&["--hollow-hosts", "3"]);
    let path = write(folder.path(), "all.json", &[web("a"), settings("1"), alone("a")]);
    daemon.selkie(&["apply", "-f", &path]);
    let pods = || {
        let lines = daemon.value(
            &["pods", "-A", "--field-selector", "status.phase=Running"],
            "{range .items[*]}{.metadata.uid} {.metadata.namespace} {.metadata.labels.app} {.spec.nodeName}{\"\\n\"}{end}",
        );
        lines.lines().map(str::to_owned).collect::<Vec<_>>()
    };
    let before = pods();
    let definition = json!({"apiVersion": "apiextensions.k8s.io/v1", "kind": "CustomResourceDefinition",
        "metadata": {"name": "boats.example.org"}, "spec": {"group": "example.org", "scope": "Namespaced",
            "names": {"kind": "Boat", "plural": "boats", "singular": "boat"},
            "versions": [{"name": "v1", "served": true, "storage": true, "schema": {"openAPIV3Schema": {
                "type": "object", "properties": {"spec": {"type": "object", "properties": {
                    "length": {"type": "integer", "default": 7}}}}}}}]}});
    let boat = |name: &str| {
        json!({"apiVersion": "example.org/v1", "kind": "Boat", "metadata": {"name": name, "namespace": "harbour"},
            "spec": {}})
    };
    let namespace = json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "harbour"}});
    let mut crane = web("crane");
    crane["metadata"] = json!({"name": "crane", "namespace": "harbour"});
    let all = [boat("a"), boat("b"), crane, web("b"), settings("2"), alone("b"), definition, namespace];
    write(folder.path(), "all.json", &all);
    let saved = folder.path().join("plan.json").display().to_string();
    let plan = daemon.selkie(&["plan", "--replace", "-f", &path, "-o", "json", "--out", &saved]);
    let plan: Value = serde_json::from_str(&plan).expect("JSON");
    assert_eq!(plan["consequences"]["settled"], true, "{plan:#}");
    let actions = |action: &str| told(&plan).into_iter().filter(|one| one.0 == action).count();
    assert_eq!((actions("create"), actions("replace")), (5, 3), "{plan:#}");
    assert_eq!(pods(), before, "a plan changes nothing");

    let applied: Value = serde_json::from_str(&daemon.selkie(&["apply", &saved, "-o", "json"])).expect("JSON");
    assert_eq!(told(&applied), told(&plan));
    assert_eq!(applied["totals"], plan["totals"], "{applied:#}");
    assert_eq!(daemon.value(&["boats", "-n", "harbour"], "{.items[*].spec.length}"), "7 7");
    let after = pods();
    assert!(before.iter().all(|pod| !after.contains(pod)), "all were replaced: {before:?} {after:?}");
    let workloads = plan["consequences"]["workloads"].as_array().expect("workloads");
    let mut expected: Vec<String> = Vec::new();
    for workload in workloads {
        let steps = workload["steps"].as_array().expect("steps").iter();
        let made = steps.filter(|step| step["action"] == "create");
        let namespace = workload["id"]["namespace"].as_str().unwrap_or_default();
        expected.extend(made.map(|step| format!("{namespace} {}", step["ready"])));
    }
    let mut actual: Vec<String> =
        after.iter().map(|pod| format!("{} true", pod.split(' ').nth(1).unwrap_or_default())).collect();
    expected.sort();
    actual.sort();
    assert_eq!(actual, expected, "as many pods as were foretold, where they were: {plan:#}");
    let left = daemon.selkie(&["plan", "-f", &path]);
    assert!(left.contains("No changes."), "{left}");
}

#[test]
fn a_plan_without_a_daemon_is_made_on_the_data_directory() {
    let folder = tempfile::tempdir().expect("a folder");
    let data = folder.path().join("data");
    let mut daemon = Daemon::start_in(&data, &["--hollow-hosts", "2"]);
    let path = write(folder.path(), "all.json", &[web("a"), settings("1")]);
    daemon.selkie(&["apply", "-f", &path]);
    daemon.stop();
    let mut changed = web("a");
    changed["spec"]["template"]["spec"]["containers"][0]["image"] = json!("web:2");
    write(folder.path(), "all.json", &[changed, settings("1")]);
    let plan = crate::daemon::selkie(&data, &["plan", "-f", &path, "--detailed-exitcode", "-o", "json"]);
    assert_eq!(plan.status.code(), Some(2), "{}", String::from_utf8_lossy(&plan.stderr));
    let document: Value = serde_json::from_slice(&plan.stdout).expect("JSON");
    assert_eq!(document["totals"]["change"], 1, "{document:#}");
    assert_eq!(document["totals"]["restarts"], 2, "{document:#}");
    let pull = &document["consequences"]["pulls"][0];
    assert_eq!((&pull["image"], &pull["hosts"]), (&json!("web:2"), &json!(["hollow-0", "hollow-1"])), "{document:#}");
    assert_eq!(document["consequences"]["settled"], true);
    let again = crate::daemon::selkie(&data, &["plan", "-f", &path]);
    assert!(String::from_utf8_lossy(&again.stdout).contains("2 replaced"), "nothing was changed by the first");
    daemon.restart();
    assert_eq!(daemon.value(&["deploy", "web"], "{.spec.template.spec.containers[0].image}"), "web:1");
}
