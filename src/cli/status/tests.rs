//! The overview as it is printed, and its changes in lines.

#![allow(clippy::unwrap_used)]
use super::watch::changes;
use super::{Lists, overview, shown};
use crate::gitops::application::LABEL;
use serde_json::{Value, json};

fn plain(text: &str) -> String {
    anstream::adapter::strip_str(text).to_string()
}

fn example() -> Lists {
    let application = |name: &str, synced: Value, ready: Value| {
        json!({"metadata": {"name": name}, "spec": {"source": {"repoURL": format!("https://me:secret@host/{name}.git")}},
            "status": {"revision": "0123456789abcdef", "inventory": [{}, {}], "conditions": [synced, ready]}})
    };
    let condition = |kind: &str, status: &str, reason: &str, message: &str| json!({"type": kind, "status": status, "reason": reason, "message": message});
    let workload = |api_version: &str, kind: &str, name: &str, spec: Value, status: Value| json!({"apiVersion": api_version, "kind": kind, "metadata": {"name": name, "namespace": "shop"}, "spec": spec, "status": status});
    let rollout = json!({"replicas": 2, "updatedReplicas": 2, "readyReplicas": 1, "availableReplicas": 1});
    let mut owned = workload("apps/v1", "ReplicaSet", "web-6d4c", json!({"replicas": 2}), json!({}));
    owned["metadata"]["ownerReferences"] = json!([{"uid": "web"}]);
    Lists {
        applications: vec![
            application("shop", condition("Synced", "True", "Synced", ""), condition("Ready", "True", "Ready", "")),
            application("blog", condition("Synced", "False", "Failed", "web.yaml:2:1: no kind \"X\" in v1"), json!({})),
        ],
        application_sets: vec![json!({"metadata": {"name": "shops"}, "status": {"applications": ["shop", "blog"],
                "conditions": [condition("Ready", "False", "Failed", "git https://host/r: no answer")]}})],
        workloads: vec![
            workload("apps/v1", "Deployment", "web", json!({"replicas": 2}), rollout),
            workload(
                "batch/v1",
                "Job",
                "migrate",
                json!({}),
                json!({"succeeded": 1, "conditions": [condition("Complete", "True", "", "")]}),
            ),
            owned,
        ],
        pods: vec![
            json!({"metadata": {"name": "web-a", "namespace": "shop"}, "spec": {"nodeName": "h1"}, "status": {"phase": "Running"}}),
            json!({"metadata": {"name": "web-b", "namespace": "shop"}, "spec": {},
                "status": {"conditions": [condition("PodScheduled", "False", "Unschedulable", "0/2 nodes are available: 2 Insufficient cpu.")]}}),
        ],
        nodes: vec![
            json!({"metadata": {"name": "h1"}, "spec": {}, "status": {"allocatable": {"cpu": "2", "memory": "4Gi"},
                "nodeInfo": {"containerRuntimeVersion": "podman://5.3.1"}, "conditions": [condition("Ready", "True", "", "")]}}),
            json!({"metadata": {"name": "h2"}, "spec": {"unschedulable": true}, "status": {"conditions": [condition("Ready", "Unknown", "", "the kubelet stopped posting status")]}}),
        ],
    }
}

#[test]
fn an_overview_as_text() {
    let coloured = shown(&overview(&example()));
    insta::assert_snapshot!(plain(&coloured));
    insta::assert_snapshot!(coloured.replace('\u{1b}', "␛"));
    assert_eq!(shown(&overview(&Lists::default())), "");
}

#[test]
fn an_overview_for_programs() {
    let overview = overview(&example());
    assert!(!overview.to_string().contains("secret"));
    insta::assert_json_snapshot!(overview);
    let yaml: Value = serde_yaml::from_str(&crate::cli::output::yaml(&overview)).unwrap();
    assert_eq!(yaml, overview);
}

#[test]
fn workloads_are_judged_by_their_application() {
    let mut lists = example();
    lists.applications[0]["spec"]["healthChecks"] = json!([{"apiVersion": "apps/v1", "kind": "Deployment", "failed": "status.readyReplicas < 2", "current": "true"}]);
    assert_eq!(overview(&lists)["workloads"][0]["status"], "Progressing", "nobody's");
    lists.workloads[0]["metadata"]["labels"] = json!({LABEL: "shop"});
    let told = &overview(&lists)["workloads"][0];
    assert_eq!(told["status"], "Failed");
    assert_eq!(told["message"], "health check failed: status.readyReplicas < 2");
}

#[test]
fn changes_are_lines() {
    let (before, mut lists) = (overview(&example()), example());
    assert_eq!(changes(&before, &before), Vec::<String>::new());
    lists.workloads[0]["status"] =
        json!({"replicas": 2, "updatedReplicas": 2, "readyReplicas": 2, "availableReplicas": 2});
    lists.pods[1]["spec"]["nodeName"] = json!("h1");
    lists.nodes.remove(1);
    let told: Vec<String> = changes(&before, &overview(&lists)).iter().map(|line| plain(line)).collect();
    assert_eq!(
        told,
        [
            "host/h2  gone",
            "pod/web-b in shop  waits no longer",
            "deployment/web in shop  2/2  Ready",
            "host/h1  2 pods  Ready"
        ]
    );
}
