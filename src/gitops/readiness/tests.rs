//! Readiness of each kind, from objects as the API server holds them.

use super::*;
use crate::api::storage::{BETA_CLASS, SELECTED_NODE};
use serde_json::json;

fn check(object: Value, expected: &str) {
    let found = match of(&object) {
        Readiness::Ready => "ready".to_owned(),
        Readiness::Progressing(text) => text,
        Readiness::Failed(text) => format!("FAILED {text}"),
    };
    assert_eq!(found, expected, "{object}");
}

#[test]
fn deployments() {
    let deployment = |status: Value| {
        json!({"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"generation": 2},
               "spec": {"replicas": 2, "progressDeadlineSeconds": 600}, "status": status})
    };
    check(deployment(json!({"observedGeneration": 1, "replicas": 2})), "waiting for the rollout to start");
    check(deployment(json!({"observedGeneration": 2, "replicas": 3, "updatedReplicas": 1})), "1 of 2 pods updated");
    let old = json!({"observedGeneration": 2, "replicas": 3, "updatedReplicas": 2, "availableReplicas": 2});
    check(deployment(old), "1 old pod still there");
    let unready = json!({"observedGeneration": 2, "replicas": 2, "updatedReplicas": 2, "availableReplicas": 1});
    check(deployment(unready), "1 of 2 pods ready");
    let done = json!({"observedGeneration": 2, "replicas": 2, "updatedReplicas": 2, "availableReplicas": 2});
    check(deployment(done), "ready");
    let stuck = json!({"observedGeneration": 2, "conditions": [{"type": "Progressing", "status": "False",
        "reason": "ProgressDeadlineExceeded", "message": "ReplicaSet \"w\" has timed out progressing."}]});
    check(deployment(stuck), "FAILED ReplicaSet \"w\" has timed out progressing. (progress deadline of 600 s)");
}

#[test]
fn pods_that_nobody_asks_are_ready_at_once() {
    let workload = |kind: &str, spec: Value| is_ready_at_once(&json!({"kind": kind, "spec": spec}));
    let (asked, unasked) = (json!({"name": "a", "readinessProbe": {}}), json!({"name": "b"}));
    let template = |containers: Value| json!({"template": {"spec": {"containers": containers}}});
    assert!(workload("Deployment", template(json!([asked, unasked]))));
    assert!(!workload("Deployment", template(json!([asked]))));
    let mut patient = template(json!([unasked]));
    patient["minReadySeconds"] = 5.into();
    assert!(!workload("StatefulSet", patient));
    assert!(workload("Pod", json!({"containers": [unasked]})));
    assert!(!workload("Job", template(json!([unasked]))));
    assert!(!workload("Service", json!({"clusterIP": ""})));
}

#[test]
fn other_kinds() {
    check(json!({"apiVersion": "v1", "kind": "ConfigMap"}), "ready");
    check(json!({"apiVersion": "v1", "kind": "Service", "spec": {"clusterIP": ""}}), "waiting for an address");
    check(json!({"apiVersion": "v1", "kind": "Service", "spec": {"clusterIP": "None"}}), "ready");
    check(json!({"apiVersion": "v1", "kind": "PersistentVolumeClaim"}), "pending");
    let job =
        |status: Value| json!({"apiVersion": "batch/v1", "kind": "Job", "spec": {"completions": 3}, "status": status});
    check(job(json!({"succeeded": 1})), "1 of 3 completions");
    check(job(json!({"conditions": [{"type": "Complete", "status": "True"}]})), "ready");
    let failed = json!({"conditions": [{"type": "Failed", "status": "True", "reason": "BackoffLimitExceeded",
                                        "message": "Job has reached the specified backoff limit"}]});
    check(job(failed), "FAILED BackoffLimitExceeded: Job has reached the specified backoff limit");
    check(json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"deletionTimestamp": "x"}}), "being deleted");
}

#[test]
fn claims_that_nothing_binds_yet_name_their_class() {
    let claim = |annotations: Value, spec: Value, phase: &str| {
        json!({"apiVersion": "v1", "kind": "PersistentVolumeClaim", "metadata": {"annotations": annotations},
               "spec": spec, "status": {"phase": phase}})
    };
    let of_class = json!({"storageClassName": "local"});
    let idle = claim(Value::Null, of_class.clone(), "Pending");
    check(idle.clone(), "pending");
    assert_eq!(class_of_idle_claim(&idle), Some("local"));
    assert_eq!(class_of_idle_claim(&claim(json!({BETA_CLASS: "old"}), json!({}), "Pending")), Some("old"));
    let chosen = claim(json!({SELECTED_NODE: "h1"}), of_class.clone(), "Pending");
    assert_eq!(class_of_idle_claim(&chosen), None, "its volume is being made");
    let named = json!({"storageClassName": "local", "volumeName": "v"});
    assert_eq!(class_of_idle_claim(&claim(Value::Null, named, "Pending")), None);
    assert_eq!(class_of_idle_claim(&claim(Value::Null, of_class, "Bound")), None);
    assert_eq!(class_of_idle_claim(&json!({"apiVersion": "v1", "kind": "ConfigMap"})), None);
    assert!(waits_for_consumer(&json!({"volumeBindingMode": "WaitForFirstConsumer"})));
    assert!(!waits_for_consumer(&json!({"volumeBindingMode": "Immediate"})) && !waits_for_consumer(&json!({})));
}

#[test]
fn pods_say_what_is_wrong() {
    let pod = |status: Value| json!({"apiVersion": "v1", "kind": "Pod", "status": status});
    check(pod(json!({"phase": "Running", "conditions": [{"type": "Ready", "status": "True"}]})), "ready");
    check(pod(json!({"phase": "Pending"})), "starting");
    let crash = pod(json!({"containerStatuses": [{"name": "c", "state": {"waiting": {"reason": "CrashLoopBackOff",
        "message": "back-off 10s"}}, "lastState": {"terminated": {"exitCode": 3}}}]}));
    check(crash.clone(), "CrashLoopBackOff");
    let trouble = Trouble {
        container: "c".into(),
        reason: "CrashLoopBackOff".into(),
        message: "exited with code 3".into(),
        ran: true,
    };
    assert_eq!(troubles(&crash), [trouble]);
    let mut hungry = crash;
    hungry["status"]["containerStatuses"][0]["lastState"]["terminated"] =
        json!({"exitCode": 137, "reason": "OOMKilled"});
    assert_eq!(troubles(&hungry)[0].message, "OOMKilled, exited with code 137");
    let pull = pod(json!({"containerStatuses": [{"name": "c", "state": {"waiting": {"reason": "ErrImagePull",
        "message": "no such image"}}}]}));
    assert_eq!(troubles(&pull)[0].message, "no such image");
    assert!(!troubles(&pull)[0].ran);
}

#[test]
fn custom_resources_say_it_in_conditions() {
    let cron = |status: Value| json!({"apiVersion": "example.org/v1", "kind": "Cron", "metadata": {"generation": 2}, "status": status});
    let with = |kind: &str, status: &str| json!({"conditions": [{"type": kind, "status": status, "reason": "Why", "message": "so"}]});
    check(cron(Value::Null), "ready");
    check(cron(with("Ready", "True")), "ready");
    check(cron(with("Ready", "False")), "Why: so");
    check(cron(with("Stalled", "True")), "FAILED Why: so");
    check(cron(json!({"observedGeneration": 1})), "waiting for its controller");
    let definition = |status: Value| json!({"apiVersion": "apiextensions.k8s.io/v1", "kind": "CustomResourceDefinition", "status": status});
    check(definition(Value::Null), "not established");
    check(definition(with("Established", "True")), "ready");
    check(definition(with("NamesAccepted", "False")), "FAILED so");
}
