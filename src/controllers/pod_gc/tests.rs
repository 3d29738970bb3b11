//! Pods without a future, in an API server.
#![allow(clippy::unwrap_used)]
use super::*;
use crate::controllers::rig::Rig;
use serde_json::Value;

const PODS: &str = "/api/v1/namespaces/default/pods";

async fn pod(rig: &Rig, name: &str, node: &str) -> String {
    let spec = json!({"nodeName": node, "containers": [{"name": "c", "image": "i"}]});
    rig.post(PODS, json!({"metadata": {"name": name}, "spec": spec})).await;
    format!("{PODS}/{name}")
}

async fn ready(rig: &Rig, node: &str, status: &str) {
    let conditions = json!({"conditions": [{"type": "Ready", "status": status}]});
    rig.status(&format!("/api/v1/nodes/{node}"), conditions).await;
}

#[tokio::test(start_paused = true)]
async fn pods_go_with_their_node_object() {
    let rig = Rig::new().await;
    rig.spawn(run(rig.ctx.clone()));
    for node in ["a", "b"] {
        rig.post("/api/v1/nodes", json!({"metadata": {"name": node}})).await;
    }
    let (lost, kept) = (pod(&rig, "lost", "a").await, pod(&rig, "kept", "b").await);
    rig.delete(&lost).await;
    let leaving = |pod: &Value| pod["metadata"]["deletionTimestamp"].is_string();
    rig.stays(&lost, Duration::from_secs(300), leaving).await;
    rig.delete("/api/v1/nodes/a").await;
    rig.until(&lost, Value::is_null).await;
    assert!(rig.get(&kept).await.is_object());
}

#[tokio::test(start_paused = true)]
async fn leaving_pods_go_when_their_node_is_out_of_service() {
    let rig = Rig::new().await;
    rig.spawn(run(rig.ctx.clone()));
    rig.post("/api/v1/nodes", json!({"metadata": {"name": "a"}})).await;
    ready(&rig, "a", "Unknown").await;
    let (leaving, staying) = (pod(&rig, "leaving", "a").await, pod(&rig, "staying", "a").await);
    rig.delete(&leaving).await;
    let mut node = rig.get("/api/v1/nodes/a").await;
    node["spec"]["taints"] = json!([{"key": "node.kubernetes.io/out-of-service", "effect": "NoExecute"}]);
    rig.put("/api/v1/nodes/a", node).await;
    rig.until(&leaving, Value::is_null).await;
    assert!(rig.get(&staying).await.is_object());
    rig.delete(&staying).await;
    rig.until(&staying, Value::is_null).await;
}

#[tokio::test(start_paused = true)]
async fn only_so_many_ended_pods_are_kept() {
    let rig = Rig::new().await;
    rig.post("/api/v1/nodes", json!({"metadata": {"name": "a"}})).await;
    rig.spawn(keep(rig.ctx.clone(), 2));
    for name in ["one", "two", "three"] {
        let path = pod(&rig, name, "a").await;
        rig.status(&path, json!({"phase": "Succeeded"})).await;
        // The oldest go first, by whole seconds.
        tokio::time::advance(Duration::from_secs(2)).await;
    }
    rig.until(&format!("{PODS}/one"), Value::is_null).await;
    assert_eq!(rig.items(PODS).await.len(), 2);
}
