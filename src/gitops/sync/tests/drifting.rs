//! What others change: set right, left, or none of the sync's business.

use super::*;

fn drift(event: &Event) -> Option<String> {
    let Event::Drift(report) = event else { return None };
    Some(report.changes().map(|object| object.note.clone()).collect())
}

async fn set(rig: &Rig, key: &str, value: &str) {
    rig.patch("/api/v1/namespaces/default/configmaps/a", json!({"data": {key: value}})).await;
}

async fn data(rig: &Rig) -> Value {
    rig.map("a").await.unwrap()["data"].clone()
}

async fn synced(rig: &Rig, field: &str) -> String {
    let conditions = rig.status().await["conditions"].as_array().cloned().unwrap_or_default();
    let found = conditions.into_iter().find(|one| one["type"] == "Synced");
    found.and_then(|one| Some(one[field].as_str()?.to_owned())).unwrap_or_default()
}

#[tokio::test]
async fn drift_names_who_made_it() {
    let rig = Rig::new().await;
    let temp = tempfile::tempdir().unwrap();
    fs::write(temp.path().join("a.yaml"), map("a", "1")).unwrap();
    let mut events = rig.start(temp.path().to_str().unwrap()).await;
    next(&mut events, done).await;
    set(&rig, "k", "2").await;
    let said = next(&mut events, drift).await;
    assert!(said.starts_with("changed by test with test at 2"), "{said}");
    let path = "/api/v1/namespaces/default/configmaps/a";
    raw::request(&rig.client, Method::DELETE, path, None).await.unwrap();
    let said = next(&mut events, drift).await;
    assert!(said.contains("deleted by test with test at 2"), "{said}");
    assert_eq!(data(&rig).await, json!({"k": "1"}));
}

#[tokio::test]
async fn drift_is_left_where_the_application_says_so() {
    let rig = Rig::new().await;
    let temp = tempfile::tempdir().unwrap();
    fs::write(temp.path().join("a.yaml"), map("a", "1")).unwrap();
    let mut events = rig.start(temp.path().to_str().unwrap()).await;
    next(&mut events, done).await;
    rig.patch(SHOP, json!({"spec": {"drift": "warn"}})).await;
    rig.seen().await;
    set(&rig, "k", "2").await;
    let left = |event: &Event| if let Event::DriftLeft(report) = event { Some(report.totals().change) } else { None };
    assert_eq!(next(&mut events, left).await, 1);
    rig.until(async || (synced(&rig, "reason").await == "Drifted").then_some(())).await;
    let said = synced(&rig, "message").await;
    assert!(said.contains("ConfigMap default/a"), "{said}");
    assert_eq!(data(&rig).await, json!({"k": "2"}));
    // A new revision is what everything is to be.
    fs::write(temp.path().join("a.yaml"), map("a", "3")).unwrap();
    rig.until(async || (data(&rig).await == json!({"k": "3"})).then_some(())).await;
    rig.until(async || (synced(&rig, "reason").await == "Synced").then_some(())).await;
}

#[tokio::test]
async fn ignored_fields_belong_to_others() {
    let rig = Rig::new().await;
    let temp = tempfile::tempdir().unwrap();
    let write = |k: &str, n: &str| {
        let text = format!("apiVersion: v1\nkind: ConfigMap\nmetadata: {{name: a}}\ndata: {{k: '{k}', m: '{n}'}}\n");
        fs::write(temp.path().join("a.yaml"), text).unwrap();
    };
    write("1", "1");
    let mut events = rig.start(temp.path().to_str().unwrap()).await;
    next(&mut events, done).await;
    rig.patch(SHOP, json!({"spec": {"ignoreDifferences": [{"kind": "ConfigMap", "jsonPointers": ["/data/m"]}]}})).await;
    rig.seen().await;
    set(&rig, "m", "7").await;
    set(&rig, "k", "7").await;
    next(&mut events, drift).await;
    assert_eq!(data(&rig).await, json!({"k": "1", "m": "7"}));
    write("2", "2");
    rig.until(async || (data(&rig).await == json!({"k": "2", "m": "7"})).then_some(())).await;
}
