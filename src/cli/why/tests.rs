//! Explanations as they are printed: what was read is made up, the rest is real.

#![allow(clippy::unwrap_used)]
use super::chain::{Facts, Others, explain};
use super::source::Source;
use super::text::text;
use crate::api::plan::{HostVerdict, Verdict};
use crate::api::verdict::{PodName, PodVerdict};
use crate::cli::objects::Place;
use crate::gitops::sources::Commit;
use serde_json::{Value, json};
use std::collections::HashMap;

const NOW: &str = "2026-05-01T12:00:00Z";

fn plain(text: &str) -> String {
    anstream::adapter::strip_str(text).to_string()
}

fn shown(facts: Facts) -> String {
    text(&explain(facts), NOW.parse().unwrap())
}

fn object(api_version: &str, kind: &str, name: &str, more: Value) -> Value {
    let mut object =
        json!({"apiVersion": api_version, "kind": kind, "metadata": {"name": name, "namespace": "shop", "uid": name}});
    for (key, value) in more.as_object().unwrap() {
        object[key] = value.clone();
    }
    object
}

fn deployment() -> Value {
    let status = json!({"observedGeneration": 1, "replicas": 2, "updatedReplicas": 2, "conditions": [
        {"type": "Available", "status": "False", "reason": "MinimumReplicasUnavailable",
            "message": "Deployment does not have minimum availability.", "lastTransitionTime": "2026-05-01T11:55:00Z"},
        {"type": "Progressing", "status": "True", "reason": "ReplicaSetUpdated", "lastTransitionTime": "2026-05-01T11:55:00Z"},
    ]});
    object("apps/v1", "Deployment", "web", json!({"spec": {"replicas": 2}, "status": status}))
}

fn crashing() -> Value {
    let terminated = json!({"reason": "Error", "exitCode": 1, "finishedAt": "2026-05-01T11:59:40Z"});
    let status = json!({"phase": "Running", "containerStatuses": [{
        "name": "web", "ready": false, "restartCount": 3,
        "state": {"waiting": {"reason": "CrashLoopBackOff", "message": "back-off 40s restarting failed container"}},
        "lastState": {"terminated": terminated},
    }]});
    let spec = json!({"nodeName": "h1", "containers": [{"name": "web", "image": "web:2"}]});
    object("v1", "Pod", "web-6d4c-a", json!({"spec": spec, "status": status}))
}

fn waiting() -> Value {
    let scheduled = json!({"type": "PodScheduled", "status": "False", "reason": "Unschedulable", "message": "0/2 nodes are available: 2 Insufficient cpu."});
    let spec = json!({"containers": [{"name": "web", "image": "web:2"}]});
    object("v1", "Pod", "web-6d4c-b", json!({"spec": spec, "status": {"phase": "Pending", "conditions": [scheduled]}}))
}

fn event(reason: &str, kind: &str, message: &str, count: u64, component: &str) -> Value {
    json!({"type": kind, "reason": reason, "message": message, "count": count,
        "lastTimestamp": "2026-05-01T11:59:00Z", "source": {"component": component}})
}

fn verdict(pod: &str, host: &str, message: &str, hosts: Vec<HostVerdict>) -> PodVerdict {
    PodVerdict {
        api_version: "selkie.dev/v1alpha1".into(),
        kind: "Verdict".into(),
        metadata: PodName { namespace: "shop".into(), name: pod.into(), uid: pod.into() },
        time: "2026-05-01T11:55:00Z".into(),
        host: host.into(),
        verdict: Verdict {
            feasible: hosts.iter().filter(|one| one.score.is_some()).count() as u64,
            message: message.into(),
            hosts,
        },
    }
}

fn on(host: &str, score: Option<i64>, reasons: &[&str]) -> HostVerdict {
    HostVerdict { host: host.into(), score, reasons: reasons.iter().map(|one| (*one).to_owned()).collect() }
}

fn source() -> Source {
    Source {
        application: "shop".into(),
        revision: "0123456789abcdef".into(),
        number: 3,
        origin: "https://host/shop.git#main".into(),
        commit: Some(Commit {
            author: "Ann <ann@host>".into(),
            subject: "Use the new image".into(),
            ..Commit::default()
        }),
        applied: "2026-05-01T11:55:00Z".into(),
        place: Some(Place { file: "deploy/web.yaml".into(), line: 7 }),
        pinned: String::new(),
        errors: vec!["deploy/web.yaml:9:3: no field \"replica\"".into()],
    }
}

fn workload() -> Facts {
    let set = object("apps/v1", "ReplicaSet", "web-6d4c", json!({"spec": {"replicas": 2}, "status": {"replicas": 2}}));
    let node = json!({"apiVersion": "v1", "kind": "Node", "metadata": {"name": "h1"},
        "status": {"conditions": [{"type": "Ready", "status": "True"}], "nodeInfo": {"containerRuntimeVersion": "podman://5.3.1"}}});
    let events = HashMap::from([
        (
            "web".to_owned(),
            vec![event(
                "ScalingReplicaSet",
                "Normal",
                "Scaled up replica set web-6d4c from 0 to 2",
                1,
                "deployment-controller",
            )],
        ),
        (
            "web-6d4c-a".to_owned(),
            vec![event("BackOff", "Warning", "Back-off restarting failed container web", 4, "kubelet")],
        ),
    ]);
    let no = "0/2 nodes are available: 2 Insufficient cpu.";
    Facts {
        object: deployment(),
        below: vec![set],
        pods: vec![crashing(), waiting()],
        others: Others { ready: 1, not_ready: 1 },
        source: Some(source()),
        events,
        verdicts: HashMap::from([
            (
                "web-6d4c-a".to_owned(),
                verdict(
                    "web-6d4c-a",
                    "h1",
                    "",
                    vec![on("h1", Some(691), &[]), on("h2", None, &["Insufficient memory"])],
                ),
            ),
            (
                "web-6d4c-b".to_owned(),
                verdict(
                    "web-6d4c-b",
                    "",
                    no,
                    vec![
                        on("h1", None, &["Insufficient cpu"]),
                        on("h2", None, &["Insufficient cpu", "Insufficient memory"]),
                    ],
                ),
            ),
        ]),
        hosts: HashMap::from([("h1".to_owned(), node)]),
        logs: HashMap::from([(
            ("web-6d4c-a".to_owned(), "web".to_owned()),
            vec!["starting".to_owned(), "cannot open \u{1b}[2Jdb".to_owned()],
        )]),
        ..Facts::default()
    }
}

#[test]
fn a_workload_from_the_commit_to_the_container() {
    insta::assert_snapshot!(plain(&shown(workload())));
}

#[test]
fn colours_say_what_is_wrong() {
    insta::assert_snapshot!(shown(workload()).replace('\u{1b}', "␛"));
}

#[test]
fn the_same_for_programs() {
    let why = serde_json::to_value(explain(workload())).unwrap();
    assert_eq!(why["schema"], "selkie.dev/why/v1");
    insta::assert_json_snapshot!(why);
    let yaml: Value = serde_yaml::from_str(&crate::cli::output::yaml(&why)).unwrap();
    assert_eq!(yaml, why);
}

#[test]
fn a_pod_below_its_owners_whose_verdict_is_forgotten() {
    let pod = crashing();
    let facts = Facts { object: pod.clone(), owners: vec![deployment()], pods: vec![pod], ..Facts::default() };
    insta::assert_snapshot!(plain(&shown(facts)));
}

#[test]
fn an_object_that_nobody_holds_and_nothing_ails() {
    let mut map = object("v1", "ConfigMap", "conf", json!({}));
    map["metadata"]["managedFields"] =
        json!([{"manager": "kubectl-client-side-apply", "operation": "Update", "time": "2026-05-01T10:00:00Z"}]);
    insta::assert_snapshot!(plain(&shown(Facts { object: map, ..Facts::default() })));
}

#[test]
fn a_warning_tells_where_no_container_does() {
    let stuck = object("v1", "Pod", "web", json!({"spec": {"nodeName": "h1"}, "status": {"phase": "Pending"}}));
    let said = event("FailedCreatePodSandBox", "Warning", "no such network", 2, "kubelet");
    let events = HashMap::from([("web".to_owned(), vec![said])]);
    let why = explain(Facts { object: stuck.clone(), pods: vec![stuck], events, ..Facts::default() });
    let cause = why.cause.unwrap();
    assert_eq!((cause.reason.as_str(), cause.message.as_str()), ("FailedCreatePodSandBox", "no such network"));
}
