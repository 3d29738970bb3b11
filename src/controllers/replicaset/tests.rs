//! ReplicationControllers on a real API server, under virtual time: what they do is what ReplicaSets do.
#![allow(clippy::unwrap_used)]
use super::*;
use crate::controllers::rig::Rig;
use serde_json::{Value, json};

const PODS: &str = "/api/v1/namespaces/default/pods";
const SETS: &str = "/api/v1/namespaces/default/replicationcontrollers";

fn pods(count: usize) -> impl Fn(&Value) -> bool {
    move |pods| pods["items"].as_array().is_some_and(|pods| pods.len() == count)
}

#[tokio::test(start_paused = true)]
async fn a_replication_controller_keeps_its_pods() {
    let rig = Rig::new().await;
    rig.spawn(run_replication_controllers(rig.ctx.clone(), 1));
    let spec = json!({"containers": [{"name": "c", "image": "i"}]});
    let orphan = json!({"metadata": {"name": "orphan", "labels": {"app": "web"}}, "spec": spec.clone()});
    rig.post(PODS, orphan).await;
    // The selector is the template's labels by default.
    let template = json!({"metadata": {"labels": {"app": "web"}}, "spec": spec});
    let set = rig.post(SETS, json!({"metadata": {"name": "web"}, "spec": {"replicas": 3, "template": template}})).await;
    let found = rig.until(PODS, pods(3)).await;
    for pod in found["items"].as_array().unwrap() {
        let owner = &pod["metadata"]["ownerReferences"][0];
        assert_eq!((&owner["kind"], &owner["uid"]), (&json!("ReplicationController"), &set["metadata"]["uid"]));
    }
    let path = format!("{SETS}/web");
    let seen = rig.until(&path, |seen| seen["status"]["replicas"] == 3).await;
    assert_eq!(seen["status"]["fullyLabeledReplicas"], 3);
    let said = |event: &Value| {
        event["source"]["component"] == "replication-controller" && event["reason"] == "SuccessfulCreate"
    };
    rig.until("/api/v1/namespaces/default/events", |events| {
        events["items"].as_array().is_some_and(|all| all.iter().any(said))
    })
    .await;

    let ready = json!({"phase": "Running", "conditions": [{"type": "Ready", "status": "True"}]});
    rig.status(&format!("{PODS}/orphan"), ready).await;
    rig.until(&path, |seen| seen["status"]["readyReplicas"] == 1 && seen["status"]["availableReplicas"] == 1).await;
    let mut scale = rig.get(&format!("{path}/scale")).await;
    assert_eq!(scale["status"]["selector"], "app=web");
    scale["spec"]["replicas"] = json!(1);
    rig.put(&format!("{path}/scale"), scale).await;
    let left = rig.until(PODS, pods(1)).await;
    assert_eq!(left["items"][0]["metadata"]["name"], "orphan", "the one that is ready stays");
    // A pod that is no longer selected is let go, and replaced.
    rig.patch(&format!("{PODS}/orphan"), json!({"metadata": {"labels": {"app": "other"}}})).await;
    rig.until(PODS, pods(2)).await;
    let released = rig.until(&format!("{PODS}/orphan"), |pod| pod["metadata"]["ownerReferences"].is_null()).await;
    assert_eq!(released["metadata"]["labels"]["app"], "other");
}
