//! Autoscalers on a real API server, under virtual time. The tests play the kubelet.
#![allow(clippy::unwrap_used)]
use super::*;
use crate::apiserver::usage::{ContainerReading, HostReadings, Reading};
use crate::controllers::rig::Rig;
use serde_json::{Value, json};

const PODS: &str = "/api/v1/namespaces/default/pods";
const TARGETS: &str = "/api/v1/namespaces/default/replicationcontrollers";
const AUTOSCALERS: &str = "/apis/autoscaling/v2/namespaces/default/horizontalpodautoscalers";

/// A target of two ready pods on the host `h`; nothing but the autoscaler acts on it.
async fn rig() -> Rig {
    let rig = Rig::new().await;
    rig.spawn(run(rig.ctx.clone(), 1));
    let container = json!({"name": "c", "image": "i", "resources": {"requests": {"cpu": "1"}}});
    let template = json!({"metadata": {"labels": {"app": "web"}}, "spec": {"containers": [container.clone()]}});
    rig.post(TARGETS, json!({"metadata": {"name": "web"}, "spec": {"replicas": 2, "template": template}})).await;
    for name in ["a", "b"] {
        let spec = json!({"nodeName": "h", "containers": [container.clone()]});
        rig.post(PODS, json!({"metadata": {"name": name, "labels": {"app": "web"}}, "spec": spec})).await;
        let ready = json!({"phase": "Running", "startTime": "2023-12-31T23:00:00Z", "conditions": [
            {"type": "Ready", "status": "True", "lastTransitionTime": "2023-12-31T23:00:00Z"}]});
        rig.status(&format!("{PODS}/{name}"), ready).await;
    }
    rig
}

/// Reads every second, whether asked or not; `cores` of each pod.
async fn play_kubelet(rig: &Rig, cores: u64) {
    let (usage, clock) = (rig.usage.clone(), rig.ctx.clock.clone());
    let mut uids = Vec::new();
    for pod in rig.items(PODS).await {
        uids.push(pod["metadata"]["uid"].as_str().unwrap().to_owned());
    }
    usage.join("h");
    let started = clock.now();
    rig.spawn(async move {
        loop {
            let time = clock.now();
            let cpu_nanos = u64::try_from(time.duration_since(started).as_nanos()).unwrap() * cores;
            let reading = Reading { started, time, cpu_nanos, memory: 1 };
            let of = |uid: &String| ContainerReading { pod_uid: uid.clone(), container: "c".into(), reading };
            usage.record("h", Some(HostReadings { machine: None, containers: uids.iter().map(of).collect() }));
            tokio::time::sleep(Duration::from_secs(1)).await;
        }
    });
}

fn autoscaler(name: &str, max: i32, behavior: Value) -> Value {
    let target = json!({"type": "Utilization", "averageUtilization": 50});
    json!({"metadata": {"name": name}, "spec": {
        "scaleTargetRef": {"apiVersion": "v1", "kind": "ReplicationController", "name": "web"}, "minReplicas": 1,
        "maxReplicas": max, "behavior": behavior, "metrics": [{"type": "Resource", "resource": {"name": "cpu", "target": target}}]}})
}

#[tokio::test(start_paused = true)]
async fn replicas_follow_the_load() {
    let rig = rig().await;
    play_kubelet(&rig, 1).await;
    rig.post(AUTOSCALERS, autoscaler("web", 20, Value::Null)).await;
    rig.until(&format!("{TARGETS}/web"), |target| target["spec"]["replicas"] == 4).await;
    let seen = rig.until(&format!("{AUTOSCALERS}/web"), |seen| seen["status"]["desiredReplicas"] == 4).await;
    assert_eq!(seen["status"]["currentMetrics"][0]["resource"]["current"]["averageUtilization"], 100);
    let rescaled = |event: &Value| event["reason"] == "SuccessfulRescale";
    rig.until("/api/v1/namespaces/default/events", |events| {
        events["items"].as_array().is_some_and(|events| events.iter().any(rescaled))
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn bounds_hold_without_any_metrics() {
    let rig = rig().await;
    rig.post(AUTOSCALERS, autoscaler("web", 1, Value::Null)).await;
    rig.until(&format!("{TARGETS}/web"), |target| target["spec"]["replicas"] == 1).await;
    // The spec counts at once, and what cannot be measured is told.
    rig.patch(&format!("{AUTOSCALERS}/web"), json!({"spec": {"minReplicas": 3, "maxReplicas": 9}})).await;
    rig.until(&format!("{TARGETS}/web"), |target| target["spec"]["replicas"] == 3).await;
    let failed = |seen: &Value| seen["status"]["conditions"][1]["reason"] == "FailedGetResourceMetric";
    rig.until(&format!("{AUTOSCALERS}/web"), failed).await;
    rig.stays(&format!("{TARGETS}/web"), Duration::from_secs(60), |target| target["spec"]["replicas"] == 3).await;
}

#[tokio::test(start_paused = true)]
async fn two_of_one_target_do_nothing_and_say_why() {
    let rig = rig().await;
    play_kubelet(&rig, 1).await;
    let disabled = json!({"scaleUp": {"selectPolicy": "Disabled"}});
    for name in ["one", "two"] {
        rig.post(AUTOSCALERS, autoscaler(name, 9, disabled.clone())).await;
    }
    for name in ["one", "two"] {
        let torn = |seen: &Value| seen["status"]["conditions"][1]["reason"] == "AmbiguousSelector";
        let seen = rig.until(&format!("{AUTOSCALERS}/{name}"), torn).await;
        let message = "pods by selector app=web are controlled by multiple HPAs: [default/one default/two]";
        assert_eq!(seen["status"]["conditions"][1]["message"], message);
    }
    rig.delete(&format!("{AUTOSCALERS}/two")).await;
    let alone = |seen: &Value| seen["status"]["conditions"][1]["reason"] == "ValidMetricFound";
    rig.until(&format!("{AUTOSCALERS}/one"), alone).await;
}

#[tokio::test(start_paused = true)]
async fn a_target_that_is_not_there_or_has_no_scale() {
    let rig = rig().await;
    for (name, target, why) in [
        (
            "lost",
            json!({"apiVersion": "apps/v1", "kind": "Deployment", "name": "x"}),
            "deployments.apps \"x\" not found",
        ),
        (
            "fixed",
            json!({"apiVersion": "apps/v1", "kind": "DaemonSet", "name": "x"}),
            "no matches for kind \"DaemonSet\" in version \"apps/v1\": it has no scale",
        ),
    ] {
        let mut wanted = autoscaler(name, 3, Value::Null);
        wanted["spec"]["scaleTargetRef"] = target;
        rig.post(AUTOSCALERS, wanted).await;
        let failed = |seen: &Value| seen["status"]["conditions"][0]["reason"] == "FailedGetScale";
        let seen = rig.until(&format!("{AUTOSCALERS}/{name}"), failed).await;
        let message = seen["status"]["conditions"][0]["message"].as_str().unwrap().to_owned();
        assert!(message.ends_with(why), "{message}");
    }
}
