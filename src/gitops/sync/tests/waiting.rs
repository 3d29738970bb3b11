//! Sync windows, under virtual time: what is held, and what goes on when they open.

use super::*;
use crate::gitops::application::REQUEST;
use jiff::Timestamp;

const OPENS: &str = "2026-01-05T10:00:00Z";

/// The engine within a deny window that ends in a minute, on a directory with one ConfigMap.
async fn within_a_window(rig: &Rig, manual: bool) -> (Folder, Clock, mpsc::UnboundedReceiver<Event>) {
    let folder = Folder(tempfile::tempdir().unwrap());
    folder.write("a.yaml", &map("a", "1"));
    let window = json!({"kind": "deny", "schedule": "0 9 * * *", "duration": "1h", "manualSync": manual});
    rig.declare(json!({"source": {"path": folder.0.path()}, "interval": "1h", "syncWindows": [window]})).await;
    let clock = Clock::virtual_from("2026-01-05T09:59:00Z".parse().unwrap());
    let events = rig.run(clock.clone());
    (folder, clock, events)
}

fn blocked(event: &Event) -> Option<String> {
    if let Event::Blocked { why, .. } = event { Some(why.clone()) } else { None }
}

fn drift_left(event: &Event) -> Option<()> {
    matches!(event, Event::DriftLeft(_)).then_some(())
}

/// The message of the condition Synced once it has this reason.
async fn synced(rig: &Rig, reason: &str) -> String {
    let found = rig.until(async || {
        let status = rig.status().await;
        let condition = status["conditions"].as_array()?.iter().find(|one| one["type"] == "Synced")?.clone();
        (condition["reason"] == reason).then(|| condition["message"].as_str().unwrap().to_owned())
    });
    found.await
}

async fn ask(rig: &Rig, request: &str) -> String {
    rig.patch(SHOP, json!({"metadata": {"annotations": {REQUEST: request}}})).await;
    let done = rig.until(async || Some(rig.status().await).filter(|status| status["handledRequest"] == request));
    done.await["requestError"].as_str().unwrap().to_owned()
}

fn opens() -> Timestamp {
    OPENS.parse().unwrap()
}

#[tokio::test(start_paused = true)]
async fn a_held_revision_goes_ahead_the_moment_the_window_opens() {
    let rig = Rig::new().await;
    let (_folder, clock, mut events) = within_a_window(&rig, false).await;
    let why = next(&mut events, blocked).await;
    assert!(why.contains("deny window") && why.contains(OPENS), "{why}");
    assert_eq!(synced(&rig, "WindowClosed").await, why);
    let refused = ask(&rig, "sync@1").await;
    assert!(refused.contains(OPENS) && refused.contains("manualSync"), "{refused}");
    assert!(rig.map("a").await.is_none() && clock.now() < opens());

    // However long that takes: `next` would give up first.
    while done(&events.recv().await.unwrap()).is_none() {}
    let late = clock.now().duration_since(opens());
    assert!(late.as_secs() < 5 && !late.is_negative(), "it began {late:?} after the window opened");
    synced(&rig, "Synced").await;
    assert!(rig.map("a").await.is_some());
}

#[tokio::test(start_paused = true)]
async fn within_a_window_people_may_sync_and_drift_stays() {
    let rig = Rig::new().await;
    let (_folder, clock, mut events) = within_a_window(&rig, true).await;
    next(&mut events, blocked).await;
    assert_eq!(ask(&rig, "sync@1").await, "");
    assert!(rig.map("a").await.is_some());
    synced(&rig, "Synced").await;

    rig.patch("/api/v1/namespaces/default/configmaps/a", json!({"data": {"k": "other"}})).await;
    next(&mut events, drift_left).await;
    let why = synced(&rig, "Drifted").await;
    assert!(why.contains("deny window") && why.contains("ConfigMap default/a"), "{why}");
    assert!(clock.now() < opens());
    while drift(&events.recv().await.unwrap()).is_none() {}
    assert!(clock.now() >= opens());
    synced(&rig, "Synced").await;
    assert_eq!(rig.map("a").await.unwrap()["data"]["k"], "1");
}

#[tokio::test(start_paused = true)]
async fn what_is_in_force_is_not_held_when_the_daemon_starts_again() {
    let rig = Rig::new().await;
    let (_folder, _, mut events) = within_a_window(&rig, true).await;
    next(&mut events, blocked).await;
    ask(&rig, "sync@1").await;
    synced(&rig, "Synced").await;
    rig.stop.cancel();
    let again = Rig {
        client: rig.client.clone(),
        registry: rig.registry.clone(),
        stop: CancellationToken::new(),
        metrics: Metrics::default(),
    };
    let clock = Clock::virtual_from("2026-01-05T09:30:00Z".parse().unwrap());
    let mut events = again.run(clock.clone());
    again.patch("/api/v1/namespaces/default/configmaps/a", json!({"data": {"k": "other"}})).await;
    next(&mut events, drift_left).await;
    synced(&again, "Drifted").await;
    assert!(clock.now() < opens());
}
