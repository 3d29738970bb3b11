//! Owners and dependents in an API server.
#![allow(clippy::unwrap_used)]
use super::*;
use crate::controllers::rig::Rig;
use serde_json::Value;

const MAPS: &str = "/api/v1/namespaces/default/configmaps";

fn path(name: &str) -> String {
    format!("{MAPS}/{name}")
}

fn reference(owner: &Value) -> Value {
    json!({
        "apiVersion": "v1", "kind": "ConfigMap", "name": owner["metadata"]["name"],
        "uid": owner["metadata"]["uid"], "blockOwnerDeletion": true,
    })
}

async fn map(rig: &Rig, name: &str, owners: &[&Value]) -> Value {
    let owners: Vec<_> = owners.iter().map(|owner| reference(owner)).collect();
    rig.post(MAPS, json!({"metadata": {"name": name, "ownerReferences": owners}})).await
}

async fn rig() -> Rig {
    let rig = Rig::new().await;
    rig.spawn(run(rig.ctx.clone(), 2));
    rig
}

#[tokio::test(start_paused = true)]
async fn dependents_follow_their_owner_down() {
    let rig = rig().await;
    let owner = map(&rig, "owner", &[]).await;
    let child = map(&rig, "child", &[&owner]).await;
    map(&rig, "grandchild", &[&child]).await;
    map(&rig, "bystander", &[]).await;
    rig.delete(&path("owner")).await;
    rig.until(&path("grandchild"), Value::is_null).await;
    assert_eq!(rig.get(&path("child")).await, Value::Null);
    assert!(rig.get(&path("bystander")).await.is_object());
}

#[tokio::test(start_paused = true)]
async fn what_happened_while_nobody_looked_is_found() {
    let rig = Rig::new().await;
    let owner = map(&rig, "owner", &[]).await;
    map(&rig, "child", &[&owner]).await;
    rig.delete(&path("owner")).await;
    rig.spawn(run(rig.ctx.clone(), 2));
    rig.until(&path("child"), Value::is_null).await;
    // Born without an owner.
    map(&rig, "late", &[&owner]).await;
    rig.until(&path("late"), Value::is_null).await;
}

#[tokio::test(start_paused = true)]
async fn an_object_lives_as_long_as_one_owner() {
    let rig = rig().await;
    let (one, two) = (map(&rig, "one", &[]).await, map(&rig, "two", &[]).await);
    map(&rig, "child", &[&one, &two]).await;
    rig.delete(&path("one")).await;
    let child = path("child");
    let left = rig.until(&child, |child| child["metadata"]["ownerReferences"].as_array().unwrap().len() == 1);
    assert_eq!(left.await["metadata"]["ownerReferences"][0]["name"], "two");
    rig.delete(&path("two")).await;
    rig.until(&path("child"), Value::is_null).await;
}

#[tokio::test(start_paused = true)]
async fn a_foreground_deletion_waits_for_dependents() {
    let rig = rig().await;
    let owner = map(&rig, "owner", &[]).await;
    let held = json!({"metadata": {"name": "held", "ownerReferences": [reference(&owner)], "finalizers": ["example.org/guard"]}});
    rig.post(MAPS, held).await;
    rig.delete(&(path("owner") + "?propagationPolicy=Foreground")).await;
    let mut held = rig.until(&path("held"), |held| held["metadata"]["deletionTimestamp"].is_string()).await;
    assert!(rig.get(&path("owner")).await["metadata"]["deletionTimestamp"].is_string());
    held["metadata"]["finalizers"] = json!([]);
    rig.put(&path("held"), held).await;
    rig.until(&path("owner"), Value::is_null).await;
}

#[tokio::test(start_paused = true)]
async fn orphans_live_on() {
    let rig = rig().await;
    let owner = map(&rig, "owner", &[]).await;
    map(&rig, "child", &[&owner]).await;
    rig.until(&path("child"), Value::is_object).await;
    rig.delete(&(path("owner") + "?propagationPolicy=Orphan")).await;
    rig.until(&path("owner"), Value::is_null).await;
    let child = rig.get(&path("child")).await;
    assert!(child["metadata"]["ownerReferences"].as_array().is_none_or(Vec::is_empty), "{child}");
}

#[tokio::test(start_paused = true)]
async fn owners_in_other_namespaces_are_absent() {
    let rig = rig().await;
    let owner = map(&rig, "owner", &[]).await;
    rig.post("/api/v1/namespaces", json!({"metadata": {"name": "other"}})).await;
    let child = json!({"metadata": {"name": "child", "ownerReferences": [reference(&owner)]}});
    rig.post("/api/v1/namespaces/other/configmaps", child).await;
    rig.until("/api/v1/namespaces/other/configmaps/child", Value::is_null).await;
    let events = rig.until("/api/v1/namespaces/other/events", |events| !events["items"][0].is_null()).await;
    assert_eq!(events["items"][0]["reason"], "OwnerRefInvalidNamespace");
}

#[tokio::test(start_paused = true)]
async fn owners_of_unknown_kinds_hold() {
    let rig = rig().await;
    let mut owner = reference(&json!({"metadata": {"name": "x", "uid": "x"}}));
    owner["apiVersion"] = json!("example.org/v1");
    rig.post(MAPS, json!({"metadata": {"name": "child", "ownerReferences": [owner]}})).await;
    rig.stays(&path("child"), Duration::from_secs(300), Value::is_object).await;
}
