//! Histories, and the ways back: rollback, undo, resume.

use super::*;
use crate::gitops::application::{Application, REQUEST};
use crate::gitops::sync::history::{self, Record, Verdict};

async fn app(rig: &Rig) -> Application {
    serde_json::from_value(rig.get(SHOP).await.unwrap()).unwrap()
}

/// Asks, waits until it was done, and tells how that went.
async fn ask(rig: &Rig, request: &str) -> (Application, String) {
    rig.patch(SHOP, json!({"metadata": {"annotations": {REQUEST: request}}})).await;
    let done = rig.until(async || {
        let now = app(rig).await;
        (now.status.handled_request == request).then_some(now)
    });
    let done = done.await;
    let error = done.status.request_error.clone();
    (done, error)
}

async fn records(rig: &Rig) -> Vec<Record> {
    history::list(&rig.client, "shop").await.unwrap()
}

async fn value(rig: &Rig, name: &str) -> Option<String> {
    Some(rig.map(name).await?["data"]["k"].as_str().unwrap().to_owned())
}

#[tokio::test]
async fn a_revision_is_recorded_with_who_made_it_and_returned_to_exactly() {
    let rig = Rig::new().await;
    let temp = tempfile::tempdir().unwrap();
    git(temp.path(), &["init", "-q"]);
    commit(temp.path(), "deploy/a.yaml", &map("a", "1"));
    let mut events = rig.start(&format!("git+{}#main:deploy", temp.path().display())).await;
    next(&mut events, done).await;
    let first = git(temp.path(), &["rev-parse", "HEAD"]);
    commit(temp.path(), "README", "says nothing\n");
    fs::remove_file(temp.path().join("deploy/a.yaml")).unwrap();
    let secret = "apiVersion: v1\nkind: Secret\nmetadata: {name: s}\nstringData: {k: hush}\n";
    fs::write(temp.path().join("deploy/s.yaml"), secret).unwrap();
    commit(temp.path(), "deploy/b.yaml", &map("b", "2"));
    assert_eq!(next(&mut events, applied).await, (2, 0, 1));
    next(&mut events, done).await;
    let known = rig.until(async || Some(records(&rig).await).filter(|all| all.len() == 2)).await;
    assert_eq!((known[0].number, known[1].number, known[0].revision.as_str()), (1, 2, first.as_str()));
    let told = known[0].commit.clone().unwrap();
    assert_eq!((told.author.as_str(), told.subject.as_str()), ("t <t@t>", "change"));
    rig.until(async || (records(&rig).await.last()?.result == Verdict::Ready).then_some(())).await;
    let totals = records(&rig).await[1].totals.unwrap();
    assert_eq!((totals.add, totals.delete), (2, 1));
    let stored = rig.get("/api/v1/namespaces/selkie-system/secrets/revision.shop.2").await.unwrap();
    assert_eq!(stored["type"], history::SECRET_TYPE);
    assert!(!stored.to_string().contains("hush"));

    let (back, error) = ask(&rig, "rollback/1@now").await;
    assert_eq!((error.as_str(), back.spec.suspend), ("", true));
    assert_eq!((back.status.revision.as_str(), back.status.revision_number), (first.as_str(), 3));
    assert_eq!((value(&rig, "a").await, value(&rig, "b").await), (Some("1".into()), None));
    let said = rig.until(async || {
        let conditions = app(&rig).await.status.conditions;
        conditions.into_iter().find(|one| one.kind == "Synced" && one.reason == "Suspended")
    });
    let said = said.await.message;
    assert!(said.starts_with("rolled back to revision 1 (") && said.contains("selkie app resume shop"), "{said}");

    // Suspended: the source is not looked at, and a sync is refused with what to do.
    let (_, error) = ask(&rig, "sync@now").await;
    assert!(error.contains("suspended") && error.contains("resume"), "{error}");
    let (_, error) = ask(&rig, "rollback/9@now").await;
    assert!(error.contains("no revision 9; it has 1, 2, 3"), "{error}");
    assert_eq!(value(&rig, "b").await, None);

    rig.patch(SHOP, json!({"spec": {"suspend": false}})).await;
    rig.until(async || value(&rig, "b").await).await;
    assert_eq!(value(&rig, "a").await, None);
    let known = rig.until(async || Some(records(&rig).await).filter(|all| all.len() == 4)).await;
    let ways: Vec<&str> = known.iter().map(|record| record.via.as_str()).collect();
    assert_eq!(ways, ["", "", "rollback to 1", ""]);
    rig.until(async || app(&rig).await.status.pinned.is_empty().then_some(())).await;
}

#[tokio::test]
async fn an_undo_makes_again_what_the_last_sync_removed() {
    let rig = Rig::new().await;
    let (folder, mut events) = rig.follow(&[("a.yaml", &map("a", "1")), ("b.yaml", &map("b", "1"))]).await;
    next(&mut events, done).await;
    let (_, error) = ask(&rig, "undo@0").await;
    assert!(error.contains("one revision only"), "{error}");
    folder.remove("b.yaml");
    assert_eq!(next(&mut events, applied).await, (0, 0, 1));
    let (back, error) = ask(&rig, "undo@1").await;
    assert_eq!((error.as_str(), back.spec.suspend), ("", true));
    assert!(back.status.pinned.starts_with("made 1 object again that revision 2 ("), "{}", back.status.pinned);
    assert_eq!((value(&rig, "a").await, value(&rig, "b").await), (Some("1".into()), Some("1".into())));
    assert_eq!(back.status.inventory.len(), 2, "it is the application's again");
    let (_, error) = ask(&rig, "undo@2").await;
    assert!(error.contains("removed nothing"), "{error}");
    rig.patch(SHOP, json!({"spec": {"suspend": false}})).await;
    rig.until(async || value(&rig, "b").await.is_none().then_some(())).await;
}

#[tokio::test]
async fn an_undo_counts_what_it_makes_again_and_not_what_was_still_there_or_is_only_run() {
    let rig = Rig::new().await;
    let hook = map("hook", "1").replace("  name: hook\n", "  name: hook\n  annotations: {selkie.dev/hook: PostSync}\n");
    let kept = map("c", "1").replace("  name: c\n", "  name: c\n  annotations: {selkie.dev/prune: disabled}\n");
    let (a, b) = (map("a", "1"), map("b", "1"));
    let files = [("a.yaml", a.as_str()), ("b.yaml", &b), ("c.yaml", &kept), ("h.yaml", &hook)];
    let (folder, mut events) = rig.follow(&files).await;
    next(&mut events, done).await;
    for name in ["b.yaml", "c.yaml", "h.yaml"] {
        folder.remove(name);
    }
    rig.until(async || value(&rig, "b").await.is_none().then_some(())).await;
    rig.until(async || (records(&rig).await.len() == 2).then_some(())).await;
    let (back, error) = ask(&rig, "undo@1").await;
    let pinned = &back.status.pinned;
    assert_eq!(error, "");
    assert!(pinned.starts_with("made 1 object again that revision 2 ("), "{pinned}");
    assert!(pinned.ends_with("had removed; 1 more was still there"), "{pinned}");
    rig.until(async || value(&rig, "b").await).await;
}

#[tokio::test]
async fn a_history_keeps_its_limit_and_a_restart_adds_nothing() {
    let rig = Rig::new().await;
    let (folder, mut events) = rig.follow(&[("a.yaml", &map("a", "0"))]).await;
    next(&mut events, done).await;
    rig.patch(SHOP, json!({"spec": {"historyLimit": 2}})).await;
    for value in ["1", "2", "3"] {
        folder.write("a.yaml", &map("a", value));
        next(&mut events, applied).await;
        next(&mut events, done).await;
    }
    let numbers = |known: &[Record]| known.iter().map(|record| record.number).collect::<Vec<_>>();
    assert_eq!(numbers(&records(&rig).await), [3, 4]);
    rig.stop.cancel();
    let (sender, mut events) = mpsc::unbounded_channel();
    let stop = CancellationToken::new();
    let context = Context::new(rig.client.clone(), Clock::System, Ids::seeded(2), stop.clone());
    tokio::spawn(run(context, Settings::new(mirrors(), rig.registry.clone(), Arc::new(Listener(sender)))));
    folder.write("a.yaml", &map("a", "4"));
    next(&mut events, applied).await;
    assert_eq!(numbers(&records(&rig).await), [4, 5]);
    stop.cancel();
}

const WEB: &str = "/apis/apps/v1/namespaces/default/deployments/web";

fn web(image: &str) -> String {
    json!({"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "web"}, "spec": {
        "selector": {"matchLabels": {"app": "web"}}, "template": {"metadata": {"labels": {"app": "web"}},
            "spec": {"containers": [{"name": "c", "image": image}]}}}})
    .to_string()
}

/// Plays the controller: all pods are there and ready, or none of the new ones.
async fn roll_out(rig: &Rig, ready: bool) {
    let generation = rig.get(WEB).await.unwrap()["metadata"]["generation"].clone();
    let pods = u64::from(ready);
    let status = json!({"observedGeneration": generation, "replicas": 1, "updatedReplicas": pods,
        "readyReplicas": pods, "availableReplicas": pods});
    rig.patch(&format!("{WEB}/status"), json!({"status": status})).await;
}

async fn image(rig: &Rig) -> String {
    rig.get(WEB).await.unwrap()["spec"]["template"]["spec"]["containers"][0]["image"].as_str().unwrap().to_owned()
}

/// A pod of `web` that ended with code 1 and was restarted so often.
async fn crashing(rig: &Rig, name: &str, restarts: u64) {
    let pods = "/api/v1/namespaces/default/pods";
    let pod = json!({"metadata": {"name": name, "labels": {"app": "web"}},
        "spec": {"nodeName": "n", "containers": [{"name": "c", "image": "i"}]}});
    rig.create(pods, &pod).await;
    let status = json!({"phase": "Running", "containerStatuses": [{"name": "c", "restartCount": restarts,
        "image": "i", "imageID": "i", "ready": false, "state": {"waiting": {"reason": "CrashLoopBackOff"}},
        "lastState": {"terminated": {"exitCode": 1, "reason": "Error"}}}]});
    rig.patch(&format!("{pods}/{name}/status"), json!({"status": status})).await;
}

#[tokio::test]
async fn a_rollout_that_crashes_returns_to_what_was_ready_and_is_not_tried_again() {
    let rig = Rig::new().await;
    let (folder, mut events) = rig.follow(&[("web.json", &web("web:1"))]).await;
    next(&mut events, applied).await;
    roll_out(&rig, true).await;
    assert_eq!(next(&mut events, done).await.failed, []);
    rig.until(async || (records(&rig).await.last()?.result == Verdict::Ready).then_some(())).await;
    rig.patch(SHOP, json!({"spec": {"rollback": "onFailure"}})).await;

    folder.write("web.json", &web("web:2"));
    next(&mut events, applied).await;
    roll_out(&rig, false).await;
    crashing(&rig, "web-2", 2).await;
    let summary = next(&mut events, done).await;
    assert!(summary.failed[0].message.contains("Pod web-2: CrashLoopBackOff: exited with code 1"), "{summary:?}");
    let warning = |event: &Event| if let Event::Warning(text) = event { Some(text.clone()) } else { None };
    let said = next(&mut events, warning).await;
    assert!(said.contains("back at revision 1 (") && said.contains("--force"), "{said}");
    assert_eq!(image(&rig).await, "web:1");
    raw::request(&rig.client, Method::DELETE, "/api/v1/namespaces/default/pods/web-2?gracePeriodSeconds=0", None)
        .await
        .unwrap();
    roll_out(&rig, true).await;
    let ways = rig.until(async || Some(records(&rig).await).filter(|all| all.len() == 3)).await;
    assert_eq!((ways[1].result, ways[2].via.as_str()), (Verdict::Failed, "automatic rollback to 1"));
    let quarantine = rig.until(async || app(&rig).await.status.quarantine).await;
    assert!(quarantine.cause.contains("Deployment default/web: Pod web-2"), "{quarantine:?}");

    // Not by itself, but when it is asked for; a newer one is.
    let (now, error) = ask(&rig, "sync@1").await;
    assert!(error.contains("failed and was taken back") && !now.spec.suspend, "{error}");
    assert_eq!(image(&rig).await, "web:1");
    let (now, error) = ask(&rig, "sync/force@2").await;
    assert_eq!((error.as_str(), image(&rig).await.as_str()), ("", "web:2"));
    assert_eq!(now.status.quarantine, None);
    roll_out(&rig, true).await;
    folder.write("web.json", &web("web:3"));
    rig.until(async || (image(&rig).await == "web:3").then_some(())).await;
}

#[tokio::test]
async fn a_rollout_that_crashes_only_after_it_was_ready_is_taken_back_too() {
    let rig = Rig::new().await;
    let (folder, mut events) = rig.follow(&[("web.json", &web("web:1"))]).await;
    next(&mut events, applied).await;
    roll_out(&rig, true).await;
    rig.until(async || (records(&rig).await.last()?.result == Verdict::Ready).then_some(())).await;
    rig.patch(SHOP, json!({"spec": {"rollback": "onFailure"}})).await;
    folder.write("web.json", &web("web:2"));
    next(&mut events, applied).await;
    roll_out(&rig, true).await;
    assert_eq!(next(&mut events, done).await.failed, []);
    rig.until(async || is_ready(&rig, true).await).await;
    assert_eq!(records(&rig).await[1].result, Verdict::Progressing, "it is on trial");

    crashing(&rig, "web-2", 2).await;
    roll_out(&rig, false).await;
    rig.until(async || (image(&rig).await == "web:1").then_some(())).await;
    let quarantine = rig.until(async || app(&rig).await.status.quarantine).await;
    assert!(quarantine.cause.contains("Deployment default/web: Pod web-2"), "{quarantine:?}");
    assert_eq!(records(&rig).await[1].result, Verdict::Failed);
}

async fn is_ready(rig: &Rig, wanted: bool) -> Option<()> {
    let status = app(rig).await.status;
    (!status.revision.is_empty() && status.is_ready() == wanted).then_some(())
}

#[tokio::test]
async fn what_is_not_ready_any_more_shows_and_is_not_the_revisions_fault() {
    let rig = Rig::new().await;
    let (_folder, mut events) = rig.follow(&[("web.json", &web("web:1"))]).await;
    next(&mut events, applied).await;
    roll_out(&rig, true).await;
    next(&mut events, done).await;
    rig.until(async || is_ready(&rig, true).await).await;
    crashing(&rig, "web-1", 2).await;
    roll_out(&rig, false).await;
    rig.until(async || is_ready(&rig, false).await).await;
    let why = app(&rig).await.status.conditions.into_iter().find(|one| one.kind == "Ready").unwrap();
    assert_eq!(why.message, "Deployment default/web: 0 of 1 pods updated");
    let failing = |event: &Event| if let Event::Failing(pod) = event { Some(pod.reason.clone()) } else { None };
    assert_eq!(next(&mut events, failing).await, "CrashLoopBackOff");
    roll_out(&rig, true).await;
    let recovered = |event: &Event| matches!(event, Event::Recovered { .. }).then_some(());
    next(&mut events, recovered).await;
    rig.until(async || is_ready(&rig, true).await).await;
    assert_eq!(records(&rig).await[0].result, Verdict::Ready);
}

#[tokio::test]
async fn a_rollout_that_fails_names_the_pod_that_tells_why() {
    let rig = Rig::new().await;
    let (folder, mut events) = rig.follow(&[("a.yaml", &map("a", "1")), ("web.json", &web("web:1"))]).await;
    rig.patch(SHOP, json!({"spec": {"readyTimeout": "1s"}})).await;
    next(&mut events, applied).await;
    roll_out(&rig, false).await;
    crashing(&rig, "web-1", 2).await;
    next(&mut events, done).await;
    let ready = || async {
        let status = app(&rig).await.status;
        status.condition("Ready").filter(|ready| ready.reason == "Failed").cloned()
    };
    let told = rig.until(async || ready().await).await;
    let expected = "Deployment default/web: not ready after 1 s: 0 of 1 pods updated; Pod web-1, container c: \
                    CrashLoopBackOff: exited with code 1";
    assert_eq!(told.message, expected);

    // A pod that has its trouble from outside: only an Event says which.
    folder.write("web.json", &web("web:2"));
    next(&mut events, applied).await;
    let pods = "/api/v1/namespaces/default/pods";
    raw::request(&rig.client, Method::DELETE, &format!("{pods}/web-1?gracePeriodSeconds=0"), None).await.unwrap();
    let pod = json!({"metadata": {"name": "web-2", "labels": {"app": "web"}},
        "spec": {"nodeName": "n", "containers": [{"name": "c", "image": "i"}]}});
    rig.create(pods, &pod).await;
    let uid = rig.get(&format!("{pods}/web-2")).await.unwrap()["metadata"]["uid"].clone();
    let event = json!({"metadata": {"name": "web-2.1"}, "type": "Warning", "reason": "Unhealthy",
        "message": "Readiness probe failed: no answer", "lastTimestamp": "2026-05-01T12:00:00Z",
        "involvedObject": {"kind": "Pod", "namespace": "default", "name": "web-2", "uid": uid,
            "fieldPath": "spec.containers{c}"}});
    let mut over = event.clone();
    (over["metadata"]["name"], over["reason"]) = (json!("web-2.2"), json!("FailedScheduling"));
    over["lastTimestamp"] = json!("2026-05-01T13:00:00Z");
    for event in [event, over] {
        rig.create("/api/v1/namespaces/default/events", &event).await;
    }
    roll_out(&rig, false).await;
    let told = rig.until(async || ready().await.filter(|told| told.message.contains("web-2"))).await.message;
    assert!(told.ends_with("; Pod web-2, container c: Unhealthy: Readiness probe failed: no answer"), "{told}");
}

#[tokio::test]
async fn a_rollout_that_is_not_ready_in_time_returns_too_but_only_where_that_is_asked_for() {
    let rig = Rig::new().await;
    let (folder, mut events) = rig.follow(&[("web.json", &web("web:1"))]).await;
    rig.patch(SHOP, json!({"spec": {"readyTimeout": "1s"}})).await;
    next(&mut events, applied).await;
    roll_out(&rig, true).await;
    rig.until(async || (records(&rig).await.last()?.result == Verdict::Ready).then_some(())).await;
    folder.write("web.json", &web("web:2"));
    next(&mut events, applied).await;
    roll_out(&rig, false).await;
    rig.until(async || (records(&rig).await.last()?.result == Verdict::Failed).then_some(())).await;
    assert_eq!(image(&rig).await, "web:2");
    rig.patch(SHOP, json!({"spec": {"rollback": "onFailure"}})).await;
    rig.until(async || (image(&rig).await == "web:1").then_some(())).await;
    let quarantine = rig.until(async || app(&rig).await.status.quarantine).await;
    assert!(quarantine.cause.contains("not ready after 1 s"), "{quarantine:?}");
}

/// Manifests that take more than one Secret, however they are compressed.
fn large(seed: u64) -> Vec<(String, String)> {
    let ids = Ids::seeded(seed);
    let file = |number: usize| {
        let mut text = String::new();
        while text.len() < 800_000 {
            text.push_str(&ids.uid().replace('-', ""));
        }
        (format!("large-{number}.yaml"), map(&format!("large-{number}"), &text))
    };
    (0..4).map(file).collect()
}

#[tokio::test]
async fn a_large_revision_is_kept_in_parts_and_returned_to() {
    let rig = Rig::new().await;
    let files = large(7);
    let files: Vec<(&str, &str)> = files.iter().map(|(name, text)| (name.as_str(), text.as_str())).collect();
    let (folder, mut events) = rig.follow(&files).await;
    next(&mut events, done).await;
    rig.until(async || (records(&rig).await.last()?.result == Verdict::Ready).then_some(())).await;
    let parts = records(&rig).await[0].parts;
    assert!(parts > 0, "{parts}");
    let first = value(&rig, "large-0").await.unwrap();
    for (name, text) in large(8) {
        folder.write(&name, &text);
    }
    rig.until(async || (records(&rig).await.len() == 2 && value(&rig, "large-0").await? != first).then_some(())).await;
    rig.until(async || (records(&rig).await.last()?.result == Verdict::Ready).then_some(())).await;
    let (_, error) = ask(&rig, "rollback/1@now").await;
    assert_eq!((error.as_str(), value(&rig, "large-0").await), ("", Some(first)));

    // What is not whole is not returned to.
    let part = |revision: u64, part: usize| {
        format!("/api/v1/namespaces/selkie-system/secrets/revision-part.shop.{revision}.{part}")
    };
    raw::request(&rig.client, Method::DELETE, &part(2, 1), None).await.unwrap();
    let (_, error) = ask(&rig, "rollback/2@now").await;
    assert!(error.contains("revision-part.shop.2.1") && error.contains("a part of a revision is not there"), "{error}");
    // The parts go with their revision.
    for number in 1..=parts {
        assert!(rig.get(&part(1, number)).await.is_some());
    }
    rig.patch(SHOP, json!({"spec": {"historyLimit": 1, "suspend": false}})).await;
    rig.until(async || (records(&rig).await.len() == 1).then_some(())).await;
    for number in 1..=parts {
        assert!(rig.get(&part(1, number)).await.is_none());
    }
}
