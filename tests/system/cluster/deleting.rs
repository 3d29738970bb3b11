//! `selkie delete --dry-run` says what the deletion then does.

use crate::daemon::Daemon;
use serde_json::Value;
use std::collections::BTreeSet;

const WEB: &str = "apiVersion: apps/v1
kind: Deployment
metadata: {name: web}
spec:
  replicas: 2
  selector: {matchLabels: {app: web}}
  template:
    metadata: {labels: {app: web}}
    spec:
      containers: [{name: web, image: 'web:1'}]
      volumes: [{name: cache, emptyDir: {}}]
";
const KINDS: &str = "deployments,replicasets,pods,configmaps,endpoints,services,serviceaccounts,namespaces";

/// `Kind namespace/name uid` of everything.
fn all(daemon: &Daemon) -> BTreeSet<String> {
    let list: Value = serde_json::from_str(&daemon.kubectl(&["get", KINDS, "-A", "-o", "json"])).expect("a list");
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let name = |object: &Value| {
        let metadata = &object["metadata"];
        format!(
            "{} {}/{} {}",
            text(&object["kind"]),
            text(&metadata["namespace"]),
            text(&metadata["name"]),
            text(&metadata["uid"])
        )
    };
    list["items"].as_array().expect("items").iter().map(name).collect()
}

fn preview(daemon: &Daemon, args: &[&str]) -> Value {
    let said = daemon.selkie(&[&["delete", "--dry-run", "-o", "json"], args].concat());
    serde_json::from_str(&said).expect("a document")
}

/// Of the kinds that [`all`] lists.
fn going(preview: &Value) -> BTreeSet<String> {
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let name = |object: &Value| {
        let of = |field: &str| text(&object[field]);
        format!("{} {}/{} {}", of("kind"), of("namespace"), of("name"), of("uid"))
    };
    preview["objects"].as_array().expect("objects").iter().map(name).collect()
}

fn gone(before: &BTreeSet<String>, after: &BTreeSet<String>) -> BTreeSet<String> {
    before.difference(after).cloned().collect()
}

fn apply(daemon: &Daemon, namespace: &str) {
    let path = daemon.data.join("web.yaml");
    std::fs::write(&path, WEB).expect("a manifest");
    daemon.kubectl(&["apply", "-n", namespace, "-f", &path.display().to_string()]);
    daemon.kubectl(&["rollout", "status", "deploy/web", "-n", namespace, "--timeout=60s"]);
}

#[test]
fn a_preview_says_what_the_deletion_does() {
    let daemon = Daemon::start(&["--no-hosts", "--hollow-hosts", "2"]);
    for cascade in ["foreground", "background", "orphan"] {
        let cascade = format!("--cascade={cascade}");
        apply(&daemon, "default");
        let before = all(&daemon);
        let found = preview(&daemon, &["deploy/web", &cascade]);
        assert_eq!(all(&daemon), before, "nothing has gone yet");
        let planned = going(&found);
        let pods = if cascade.ends_with("orphan") { 0 } else { 2 };
        assert_eq!((found["pods"].as_u64(), planned.len()), (Some(pods), if pods == 0 { 1 } else { 4 }), "{found}");
        daemon.selkie(&["delete", "deploy/web", &cascade]);
        daemon.wait_for("what was planned is gone", || gone(&before, &all(&daemon)) == planned);
        if pods == 0 {
            let rs = daemon.value(&["rs"], "{.items[0].metadata.name}");
            let found = preview(&daemon, &["rs", &rs]);
            let pod = found["objects"].as_array().expect("objects").iter().find(|one| one["kind"] == "Pod");
            assert_eq!(pod.expect("a pod")["volumes"], serde_json::json!(["emptyDir cache"]), "{found}");
            daemon.selkie(&["delete", "rs", &rs]);
        }
    }
    // A pod alone is made again.
    apply(&daemon, "default");
    let pod = daemon.value(&["pods"], "{.items[0].metadata.name}");
    let said = daemon.selkie(&["delete", "pod", &pod, "--dry-run"]);
    assert!(said.contains(&format!("- Pod default/{pod}")) && said.contains("ReplicaSet default/web-"), "{said}");
    assert!(said.contains("makes it again") && said.contains("1 object to delete"), "{said}");

    // What tells of others is only looked for where it is named.
    let event = daemon.value(&["events"], "{.items[0].metadata.name}");
    let said = daemon.selkie(&["delete", "event", &event, "--dry-run"]);
    assert!(said.contains(&event) && said.contains("1 object to delete"), "{said}");

    // What somebody else holds is there for longer.
    daemon.kubectl(&["create", "namespace", "shop"]);
    apply(&daemon, "shop");
    daemon.kubectl(&["create", "configmap", "held", "-n", "shop"]);
    daemon.kubectl(&[
        "patch",
        "configmap",
        "held",
        "-n",
        "shop",
        "-p",
        r#"{"metadata": {"finalizers": ["example.org/x"]}}"#,
    ]);
    let before = all(&daemon);
    let found = preview(&daemon, &["namespace", "shop"]);
    assert_eq!(found["objects"][0]["waitsFor"][0]["name"], "held", "{found}");
    let said = daemon.selkie(&["delete", "namespace", "shop", "--dry-run"]);
    assert!(said.contains("until someone takes away example.org/x"), "{said}");
    let late = daemon.try_selkie(&["delete", "namespace", "shop", "--timeout=3s"]);
    assert!(!late.status.success());
    let names =
        |names: &BTreeSet<String>| names.iter().filter(|one| !one.contains("kube-root-ca.crt")).cloned().collect();
    let (planned, held): (BTreeSet<String>, &str) = (names(&going(&found)), "held");
    let left: BTreeSet<String> = planned.difference(&gone(&before, &all(&daemon))).cloned().collect();
    assert!(
        left.iter().any(|one| one.contains(held)) && left.iter().any(|one| one.starts_with("Namespace ")),
        "{left:?}"
    );
    daemon.kubectl(&["patch", "configmap", "held", "-n", "shop", "-p", r#"{"metadata": {"finalizers": null}}"#]);
    daemon.wait_for("all of it is gone", || planned.is_subset(&gone(&before, &all(&daemon))));

    let missing = daemon.try_selkie(&["delete", "deploy/none", "--dry-run"]);
    assert!(!missing.status.success() && String::from_utf8_lossy(&missing.stderr).contains("none"));
    assert!(daemon.selkie(&["delete", "deploy/none", "--dry-run", "--ignore-not-found"]).contains("Nothing of this"));
}
