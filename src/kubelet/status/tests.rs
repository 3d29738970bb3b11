//! The words of a pod's status.
#![allow(clippy::unwrap_used)]
use super::*;
use crate::kubelet::pod::facts::Facts;
use crate::kubelet::pod::plan::plan;
use crate::kubelet::pod::{container_hash, identity};
use crate::kubelet::runtime::{ContainerIdentity, ContainerState, Exit, Sandbox};
use jiff::Timestamp;
use k8s_openapi::api::core::v1::Pod;
use serde_json::{Value, json};
use std::collections::BTreeSet;

fn at(seconds: i64) -> Timestamp {
    Timestamp::from_second(1_700_000_000 + seconds).unwrap()
}

fn pod(spec: Value) -> Pod {
    let meta = json!({"name": "p", "namespace": "ns", "uid": "u", "generation": 1});
    serde_json::from_value(json!({"metadata": meta, "spec": spec})).unwrap()
}

fn life(pod: &Pod, name: &str, count: u32, state: ContainerState) -> Life {
    let container = all_containers(pod.spec.as_ref().unwrap()).find(|(_, c)| c.name == name).unwrap().1;
    Life {
        id: format!("{name}{count}"),
        identity: ContainerIdentity {
            pod: identity(pod),
            container: name.into(),
            restart_count: count,
            hash: container_hash(container),
        },
        sandbox: "s".into(),
        image: "w".into(),
        image_id: "abc".into(),
        created: at(0),
        state,
        labels: Default::default(),
        log_path: String::new(),
        user: None,
        ips: Vec::new(),
    }
}

fn exited(code: i32, oom_killed: bool) -> ContainerState {
    ContainerState::Exited(Exit { code, started: Some(at(0)), finished: at(5), oom_killed, message: None })
}

fn status(pod: &Pod, lives: Vec<Life>) -> Value {
    let sandbox = Sandbox {
        id: "s".into(),
        pod: identity(pod),
        ready: true,
        ips: vec!["10.1.0.9".parse().unwrap()],
        host_network: false,
        lone: false,
        created: at(0),
        labels: Default::default(),
    };
    let (facts, busy) = (Facts::default(), BTreeSet::new());
    let view = View {
        pod,
        sandbox: Some(&sandbox),
        containers: &lives,
        facts: &facts,
        refused: None,
        resize: None,
        busy: &busy,
        sandbox_busy: false,
        now: at(6),
    };
    serde_json::to_value(pod_status(&view, &plan(&view), &NodeAddresses(vec!["10.0.0.1".into()]))).unwrap()
}

fn condition<'a>(status: &'a Value, name: &str) -> &'a Value {
    status["conditions"].as_array().unwrap().iter().find(|c| c["type"] == name).unwrap()
}

const RUNNING: fn() -> ContainerState = || ContainerState::Running { started: at(1), pid: 1 };

#[test]
fn a_running_pod() {
    let pod = pod(json!({"containers": [{"name": "web", "image": "w:1"}]}));
    let status = status(&pod, vec![life(&pod, "web", 0, RUNNING())]);
    assert_eq!(status["phase"], "Running");
    assert_eq!((&status["podIP"], &status["hostIP"]), (&json!("10.1.0.9"), &json!("10.0.0.1")));
    assert_eq!(status["qosClass"], "BestEffort");
    let web = &status["containerStatuses"][0];
    assert_eq!(web["containerID"], "podman://web0");
    assert_eq!(web["imageID"], "sha256:abc");
    assert_eq!((&web["ready"], &web["started"]), (&json!(true), &json!(true)));
    assert_eq!(web["state"]["running"]["startedAt"], "2023-11-14T22:13:21Z");
    for name in ["PodReadyToStartContainers", "Initialized", "Ready", "ContainersReady", "PodScheduled"] {
        assert_eq!(condition(&status, name)["status"], "True", "{name}");
    }
}

#[test]
fn a_pod_that_waits_for_its_readiness_probe() {
    let pod =
        pod(json!({"containers": [{"name": "web", "image": "w", "readinessProbe": {"tcpSocket": {"port": 80}}}]}));
    let status = status(&pod, vec![life(&pod, "web", 0, RUNNING())]);
    let ready = condition(&status, "Ready");
    assert_eq!((&ready["status"], &ready["reason"]), (&json!("False"), &json!("ContainersNotReady")));
    assert_eq!(ready["message"], "containers with unready status: [web]");
}

#[test]
fn an_initializing_pod() {
    let pod = pod(json!({"initContainers": [{"name": "a", "image": "i"}, {"name": "b", "image": "i"}],
        "containers": [{"name": "web", "image": "w"}]}));
    let status = status(&pod, vec![life(&pod, "a", 0, exited(0, false)), life(&pod, "b", 0, RUNNING())]);
    assert_eq!(status["phase"], "Pending");
    assert_eq!(status["initContainerStatuses"][0]["state"]["terminated"]["reason"], "Completed");
    assert_eq!(status["containerStatuses"][0]["state"]["waiting"]["reason"], "PodInitializing");
    let initialized = condition(&status, "Initialized");
    assert_eq!(initialized["reason"], "ContainersNotInitialized");
    assert_eq!(initialized["message"], "containers with incomplete status: [b]");
}

#[test]
fn a_crash_loop_shows_the_last_state() {
    let pod = pod(json!({"containers": [{"name": "web", "image": "w"}]}));
    let status = status(&pod, vec![life(&pod, "web", 3, exited(137, true))]);
    let web = &status["containerStatuses"][0];
    assert_eq!(status["phase"], "Running");
    assert_eq!(web["state"]["waiting"]["reason"], "CrashLoopBackOff");
    assert_eq!(web["state"]["waiting"]["message"], "back-off 40s restarting failed container=web pod=p_ns(u)");
    assert_eq!(web["lastState"]["terminated"]["reason"], "OOMKilled");
    assert_eq!((&web["restartCount"], &web["ready"]), (&json!(3), &json!(false)));
}

#[test]
fn completed_and_failed_pods() {
    let pod = pod(
        json!({"restartPolicy": "Never", "containers": [{"name": "a", "image": "w"}, {"name": "b", "image": "w"}]}),
    );
    let end = |code| status(&pod, vec![life(&pod, "a", 0, exited(0, false)), life(&pod, "b", 0, exited(code, false))]);
    let done = end(0);
    assert_eq!(done["phase"], "Succeeded");
    assert_eq!(condition(&done, "Ready")["reason"], "PodCompleted");
    assert_eq!(condition(&done, "Initialized")["reason"], "PodCompleted");
    let failed = end(3);
    assert_eq!(failed["phase"], "Failed");
    assert_eq!(failed["containerStatuses"][1]["state"]["terminated"]["reason"], "Error");
    assert_eq!(condition(&failed, "Ready")["reason"], "PodFailed");
}

#[test]
fn a_pod_that_is_deleted_before_anything_of_it_ran_has_failed() {
    let mut pod = pod(json!({"containers": [{"name": "web", "image": "w"}]}));
    assert_eq!(status(&pod, vec![])["phase"], "Pending");
    pod.metadata.deletion_timestamp = Some(Time(at(0)));
    assert_eq!(status(&pod, vec![])["phase"], "Failed");
}

#[test]
fn what_still_runs_is_not_over() {
    let spec =
        json!({"restartPolicy": "Never", "activeDeadlineSeconds": 1, "containers": [{"name": "web", "image": "w"}]});
    let mut pod = pod(spec);
    pod.status = serde_json::from_value(json!({"phase": "Running", "startTime": at(0).to_string()})).unwrap();
    let now = |state| status(&pod, vec![life(&pod, "web", 0, state)]);
    let stopping = now(RUNNING());
    assert_eq!((&stopping["phase"], &stopping["reason"]), (&json!("Running"), &Value::Null));
    let stopped = now(exited(143, false));
    assert_eq!((&stopped["phase"], &stopped["reason"]), (&json!("Failed"), &json!("DeadlineExceeded")));
}

#[test]
fn conditions_of_others_stay_and_gates_count() {
    let mut pod =
        pod(json!({"readinessGates": [{"conditionType": "lb/ready"}], "containers": [{"name": "web", "image": "w"}]}));
    let run = |pod: &Pod| status(pod, vec![life(pod, "web", 0, RUNNING())]);
    let ready = condition(&run(&pod), "Ready").clone();
    assert_eq!(ready["reason"], "ReadinessGatesNotReady");
    assert_eq!(ready["message"], "corresponding condition of pod readiness gate \"lb/ready\" does not exist.");
    pod.status = serde_json::from_value(json!({"conditions": [{"type": "lb/ready", "status": "True"}]})).unwrap();
    let status = run(&pod);
    assert_eq!(condition(&status, "Ready")["status"], "True");
    assert_eq!(condition(&status, "lb/ready")["status"], "True");
}

#[test]
fn mounts_and_users() {
    let mounts = json!([{"name": "a", "mountPath": "/a"}, {"name": "b", "mountPath": "/b", "readOnly": true}]);
    let volumes = json!([{"name": "a", "emptyDir": {}}, {"name": "b", "emptyDir": {}}]);
    let spec = json!({"containers": [{"name": "web", "image": "w:1", "volumeMounts": mounts}], "volumes": volumes});
    let mut pod = pod(spec);
    let mut inspected = life(&pod, "web", 0, RUNNING());
    let listed = inspected.clone();
    inspected.user = Some(crate::kubelet::runtime::ProcessUser { uid: 5, gid: 6, groups: vec![6, 7] });
    let told = status(&pod, vec![inspected]);
    let web = &told["containerStatuses"][0];
    let expect = json!([{"name": "a", "mountPath": "/a"},
        {"name": "b", "mountPath": "/b", "readOnly": true, "recursiveReadOnly": "Disabled"}]);
    assert_eq!(web["volumeMounts"], expect);
    assert_eq!(web["user"], json!({"linux": {"uid": 5, "gid": 6, "supplementalGroups": [6, 7]}}));
    pod.status = Some(serde_json::from_value(told.clone()).unwrap());
    let again = status(&pod, vec![listed.clone()]);
    assert_eq!(again["containerStatuses"][0]["user"], web["user"], "a listing does not take it back");
    let other = status(&pod, vec![Life { id: "web1".into(), ..listed }]);
    assert_eq!(other["containerStatuses"][0]["user"], Value::Null, "another life's user is not known yet");
}

#[test]
fn a_pod_is_over_when_none_of_its_containers_starts_again() {
    let rules = json!([{"action": "Restart", "exitCodes": {"operator": "In", "values": [42]}}]);
    let with = |policy: &str, own: Value, code: i32| {
        let mut container = json!({"name": "web", "image": "w"});
        container.as_object_mut().unwrap().extend(own.as_object().unwrap().clone());
        let pod = pod(json!({"restartPolicy": policy, "containers": [container]}));
        status(&pod, vec![life(&pod, "web", 0, exited(code, false))])["phase"].clone()
    };
    let ruled = json!({"restartPolicy": "Never", "restartPolicyRules": rules});
    for (policy, own, code, phase) in [
        ("Always", json!({}), 0, "Running"),
        ("Never", json!({}), 1, "Failed"),
        ("OnFailure", json!({}), 1, "Running"),
        ("OnFailure", json!({}), 0, "Succeeded"),
        ("Always", json!({"restartPolicy": "Never"}), 1, "Failed"),
        ("Always", json!({"restartPolicy": "OnFailure"}), 0, "Succeeded"),
        ("Never", ruled.clone(), 42, "Running"),
        ("Never", ruled, 1, "Failed"),
    ] {
        assert_eq!(with(policy, own.clone(), code), phase, "{policy} {own} {code}");
    }
    let init = |own: Value| {
        let mut container = json!({"name": "prepare", "image": "w"});
        container.as_object_mut().unwrap().extend(own.as_object().unwrap().clone());
        let pod = pod(json!({"initContainers": [container], "containers": [{"name": "web", "image": "w"}]}));
        status(&pod, vec![life(&pod, "prepare", 0, exited(1, false))])["phase"].clone()
    };
    assert_eq!((init(json!({})), init(json!({"restartPolicy": "Never"}))), (json!("Pending"), json!("Failed")));
}
