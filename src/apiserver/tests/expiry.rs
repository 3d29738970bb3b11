//! How long Events are kept.

use super::*;
use serde_json::json;
use std::time::Duration;
use tokio::time::sleep;

const EVENTS: &str = "/api/v1/namespaces/default/events";

async fn report(rig: &Rig, name: &str) {
    let involved = json!({"kind": "Pod", "namespace": "default", "name": "p"});
    let event = json!({"metadata": {"name": name}, "involvedObject": involved, "reason": "Started", "type": "Normal"});
    let (code, answer) = rig.post(EVENTS, event).await;
    assert_eq!(code, 201, "{answer}");
}

async fn names(rig: &Rig) -> Vec<String> {
    let (_, list) = rig.get(EVENTS).await;
    let items = list["items"].as_array().unwrap();
    items.iter().map(|event| event["metadata"]["name"].as_str().unwrap().to_owned()).collect()
}

#[tokio::test(start_paused = true)]
async fn they_go_when_nobody_wrote_them_for_an_hour() {
    let rig = Rig::new().await;
    report(&rig, "from-before").await;
    report(&rig, "counted-up").await;
    tokio::spawn(rig.server.clone().expire_events(Kept::default()));
    sleep(Duration::from_secs(1800)).await;
    report(&rig, "later").await;
    let merge = "application/merge-patch+json";
    let (code, _) = rig.send("PATCH", &format!("{EVENTS}/counted-up"), merge, r#"{"count": 2}"#).await;
    assert_eq!(code, 200);
    sleep(Duration::from_secs(1700)).await;
    assert_eq!(names(&rig).await, ["counted-up", "from-before", "later"]);
    sleep(Duration::from_secs(200)).await;
    assert_eq!(names(&rig).await, ["counted-up", "later"]);
    sleep(Duration::from_secs(1800)).await;
    assert!(names(&rig).await.is_empty());
    let (code, _) = rig.get("/api/v1/namespaces/default").await;
    assert_eq!(code, 200, "nothing else goes");
}

#[tokio::test(start_paused = true)]
async fn of_too_many_the_oldest_go_and_watchers_see_it() {
    let rig = Rig::new().await;
    for at in 0..300 {
        report(&rig, &format!("e{at:03}")).await;
    }
    tokio::spawn(rig.server.clone().expire_events(Kept { most: 2, ..Kept::default() }));
    let (_, list) = rig.get(EVENTS).await;
    let revision = list["metadata"]["resourceVersion"].as_str().unwrap().to_owned();
    sleep(Duration::from_secs(61)).await;
    assert_eq!(names(&rig).await, ["e298", "e299"]);
    let seen = rig.watch(&format!("{EVENTS}?watch=true&resourceVersion={revision}"), 298).await;
    assert!(seen.iter().all(|event| event["type"] == "DELETED"), "{seen:?}");
}
