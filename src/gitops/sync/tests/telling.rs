//! Events of an Application, and what is counted of it.

use super::*;
use crate::gitops::application::PRUNE;

/// The messages of the Events with this reason.
async fn messages(rig: &Rig, reason: &str) -> Vec<String> {
    let events = rig.get("/api/v1/namespaces/selkie-system/events").await.unwrap_or_default();
    let of_shop = |event: &&Value| event["involvedObject"]["name"] == "shop" && event["reason"] == reason;
    let events = events["items"].as_array().cloned().unwrap_or_default();
    events.iter().filter(of_shop).map(|event| event["message"].as_str().unwrap().to_owned()).collect()
}

/// The first message with this reason that holds `part`.
async fn told(rig: &Rig, reason: &str, part: &str) -> String {
    let found = rig.until(async || messages(rig, reason).await.into_iter().find(|message| message.contains(part)));
    found.await
}

#[tokio::test]
async fn what_happens_to_an_application_is_an_event() {
    let rig = Rig::new().await;
    let (folder, _events) = rig.follow(&[("a.yaml", &map("a", "1"))]).await;
    told(&rig, "Synced", "applied revision").await;
    told(&rig, "Healthy", "all objects are ready").await;

    folder.write("b.yaml", "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: b}\nfoo: 1\n");
    let refused = told(&rig, "Refused", "b.yaml:").await;
    assert!(refused.contains("unknown field"), "{refused}");
    let refusal = rig.status().await["conditions"][0].clone();
    assert_eq!((refusal["type"].as_str(), refusal["reason"].as_str()), (Some("Synced"), Some("Refused")));
    folder.write("b.yaml", &map("b", "1"));
    rig.until(async || rig.map("b").await).await;

    rig.patch("/api/v1/namespaces/default/configmaps/a", json!({"data": {"k": "other"}})).await;
    let corrected = told(&rig, "DriftCorrected", "ConfigMap default/a").await;
    assert!(corrected.contains("by test"), "{corrected}");

    rig.patch(SHOP, json!({"spec": {"drift": "warn"}})).await;
    rig.seen().await;
    rig.patch("/api/v1/namespaces/default/configmaps/a", json!({"data": {"k": "third"}})).await;
    told(&rig, "DriftDetected", "ConfigMap default/a").await;
    rig.patch(SHOP, json!({"spec": {"suspend": true}})).await;
    told(&rig, "Suspended", "spec.suspend").await;
    rig.patch(SHOP, json!({"spec": {"suspend": false}})).await;
    told(&rig, "Resumed", "followed again").await;
    fs::remove_dir_all(folder.0.path()).unwrap();
    told(&rig, "SourceFailed", "").await;
}

#[tokio::test]
async fn syncs_are_counted_until_their_application_is_gone() {
    let rig = Rig::new().await;
    let (folder, mut events) = rig.follow(&[("a.yaml", &map("a", "1"))]).await;
    next(&mut events, done).await;
    folder.write("b.yaml", "apiVersion: v1\nkind: [\n");
    next(&mut events, failed).await;
    let holds = |parts: &[&str]| {
        let text = rig.metrics.render();
        parts.iter().all(|part| text.contains(part)).then_some(())
    };
    let expected = [
        "selkie_app_syncs_total{name=\"shop\",result=\"succeeded\"} 1",
        "selkie_app_syncs_total{name=\"shop\",result=\"refused\"}",
        "selkie_app_rollouts_total{name=\"shop\",result=\"ready\"} 1",
        "selkie_app_source_fetches_total{name=\"shop\",result=\"succeeded\"}",
        "selkie_app_condition{name=\"shop\",type=\"Synced\",status=\"False\"} 1",
        "selkie_app_condition{name=\"shop\",type=\"Ready\",status=\"True\"} 1",
    ];
    rig.until(async || holds(&expected)).await;
    // Nobody collects here what is deleted.
    rig.patch(SHOP, json!({"metadata": {"annotations": {PRUNE: "disabled"}}})).await;
    raw::request(&rig.client, Method::DELETE, SHOP, None).await.unwrap();
    rig.until(async || rig.get(SHOP).await.is_none().then_some(())).await;
    rig.until(async || (!rig.metrics.render().contains("\"shop\"")).then_some(())).await;
}
