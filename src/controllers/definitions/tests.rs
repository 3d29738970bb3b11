//! The end of definitions, and owners among custom resources.
#![allow(clippy::unwrap_used)]

use super::super::garbage_collector;
use super::super::rig::Rig;
use serde_json::{Value, json};

const DEFINITIONS: &str = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions";
const WIDGETS: &str = "/apis/example.org/v1/namespaces/default/widgets";

async fn rig() -> Rig {
    let rig = Rig::new().await;
    rig.spawn(super::run(rig.ctx.clone(), 2));
    rig.spawn(garbage_collector::run(rig.ctx.clone(), 2));
    let definition = json!({"metadata": {"name": "widgets.example.org"}, "spec": {"group": "example.org",
        "scope": "Namespaced", "names": {"plural": "widgets", "kind": "Widget"},
        "versions": [{"name": "v1", "served": true, "storage": true, "schema": {"openAPIV3Schema": {"type": "object",
            "properties": {"spec": {"type": "object", "x-kubernetes-preserve-unknown-fields": true}}}}}]}});
    rig.post(DEFINITIONS, definition).await;
    rig
}

async fn widget(rig: &Rig, name: &str, metadata: Value) -> Value {
    let mut object = json!({"apiVersion": "example.org/v1", "kind": "Widget", "metadata": metadata, "spec": {"a": 1}});
    object["metadata"]["name"] = name.into();
    rig.post(WIDGETS, object).await
}

#[tokio::test(start_paused = true)]
async fn a_definition_takes_its_objects_along() {
    let rig = rig().await;
    widget(&rig, "a", json!({})).await;
    widget(&rig, "b", json!({"finalizers": ["example.org/wait"]})).await;
    let path = format!("{DEFINITIONS}/widgets.example.org");
    rig.delete(&path).await;
    rig.until(&format!("{WIDGETS}/a"), Value::is_null).await;
    let held = rig.until(&format!("{WIDGETS}/b"), |b| b["metadata"]["deletionTimestamp"].is_string()).await;
    assert!(!rig.get(&path).await.is_null());
    let mut released = held;
    released["metadata"]["finalizers"] = json!([]);
    rig.put(&format!("{WIDGETS}/b"), released).await;
    rig.until(&path, Value::is_null).await;
    assert!(rig.get(WIDGETS).await.is_null());
}

#[tokio::test(start_paused = true)]
async fn custom_objects_own_and_are_owned() {
    let rig = rig().await;
    let owner = widget(&rig, "owner", json!({})).await;
    let reference =
        json!([{"apiVersion": "example.org/v1", "kind": "Widget", "name": "owner", "uid": owner["metadata"]["uid"]}]);
    widget(&rig, "owned", json!({"ownerReferences": reference})).await;
    let map = json!({"metadata": {"name": "map", "ownerReferences": reference}});
    rig.post("/api/v1/namespaces/default/configmaps", map).await;
    rig.delete(&format!("{WIDGETS}/owner")).await;
    rig.until(&format!("{WIDGETS}/owned"), Value::is_null).await;
    rig.until("/api/v1/namespaces/default/configmaps/map", Value::is_null).await;
}
