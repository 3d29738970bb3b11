//! Syncs in stages: waves, hooks, and Applications that wait for each other.

use super::*;
use crate::gitops::application::Application;
use crate::gitops::sync::history::{self, Verdict};

const JOBS: &str = "/apis/batch/v1/namespaces/default/jobs";

fn job(name: &str, image: &str, hook: &str) -> String {
    json!({"apiVersion": "batch/v1", "kind": "Job", "metadata": {"name": name, "annotations": {
        "argocd.argoproj.io/hook": hook, "argocd.argoproj.io/hook-delete-policy": "HookSucceeded"}},
        "spec": {"template": {"spec": {"restartPolicy": "Never",
            "containers": [{"name": "c", "image": image}]}}}})
    .to_string()
}

fn waved(name: &str, wave: &str) -> String {
    json!({"apiVersion": "v1", "kind": "ConfigMap",
        "metadata": {"name": name, "annotations": {"selkie.dev/sync-wave": wave}}})
    .to_string()
}

async fn finish(rig: &Rig, name: &str, condition: &str) {
    let now = "2026-01-01T00:00:00Z";
    let mut conditions = vec![json!({"type": condition, "status": "True", "reason": "Test", "message": "so it is",
        "lastTransitionTime": now, "lastProbeTime": now})];
    let gate = if condition == "Complete" { "SuccessCriteriaMet" } else { "FailureTarget" };
    conditions.insert(0, json!({"type": gate, "status": "True", "lastTransitionTime": now, "lastProbeTime": now}));
    let mut status = json!({"startTime": now, "conditions": conditions});
    if condition == "Complete" {
        status["completionTime"] = json!(now);
        status["succeeded"] = json!(1);
    }
    rig.patch(&format!("{JOBS}/{name}/status"), json!({"status": status})).await;
}

async fn hook(rig: &Rig, name: &str) -> Value {
    rig.until(async || rig.get(&format!("{JOBS}/{name}")).await).await
}

async fn app(rig: &Rig) -> Application {
    serde_json::from_value(rig.get(SHOP).await.unwrap()).unwrap()
}

fn stage(event: &Event) -> Option<String> {
    if let Event::Stage { name, .. } = event { Some(name.clone()) } else { None }
}

#[tokio::test]
async fn waves_follow_each_other_and_hooks_are_run_once() {
    let rig = Rig::new().await;
    let temp = tempfile::tempdir().unwrap();
    let write = |name: &str, text: &str| fs::write(temp.path().join(name), text).unwrap();
    write("migrate.json", &job("migrate", "db:1", "PreSync"));
    write("report.json", &job("report", "db:1", "PostSync"));
    write("early.json", &waved("early", "-1"));
    write("late.json", &waved("late", "2"));
    let mut events = rig.start(temp.path().to_str().unwrap()).await;
    assert_eq!(next(&mut events, applied).await, (2, 0, 0), "all of it is shown before anything is done");
    assert_eq!(next(&mut events, stage).await, "PreSync");
    let first = hook(&rig, "migrate").await;
    let under_way = rig.until(async || app(&rig).await.status.operation).await;
    assert_eq!(under_way.doing, "PreSync: Job default/migrate");
    assert_eq!(rig.map("early").await, None);

    // A daemon that starts in the middle goes on there.
    rig.stop.cancel();
    let (sender, mut events) = mpsc::unbounded_channel();
    let stop = CancellationToken::new();
    let context = Context::new(rig.client.clone(), Clock::System, Ids::seeded(2), stop.clone());
    tokio::spawn(run(context, Settings::new(mirrors(), rig.registry.clone(), Arc::new(Listener(sender)))));
    assert_eq!(next(&mut events, stage).await, "PreSync");
    assert_eq!(hook(&rig, "migrate").await["metadata"]["uid"], first["metadata"]["uid"], "it is not run twice");

    finish(&rig, "migrate", "Complete").await;
    for name in ["wave -1", "wave 2", "PostSync"] {
        assert_eq!(next(&mut events, stage).await, name);
    }
    hook(&rig, "report").await;
    assert!(rig.map("early").await.is_some() && rig.map("late").await.is_some());
    assert_eq!(rig.get(&format!("{JOBS}/migrate")).await, None, "it succeeded");
    assert!(!app(&rig).await.status.is_ready());
    finish(&rig, "report", "Complete").await;
    assert_eq!(next(&mut events, done).await.failed, []);
    let status = rig.until(async || Some(app(&rig).await.status).filter(|status| status.is_ready())).await;
    assert_eq!((status.operation, status.inventory.len()), (None, 2));
    rig.until(async || (history::list(&rig.client, "shop").await.unwrap()[0].result == Verdict::Ready).then_some(()))
        .await;

    // What a commit removes goes with the last wave, and hooks are run anew.
    fs::remove_file(temp.path().join("early.json")).unwrap();
    fs::remove_file(temp.path().join("report.json")).unwrap();
    assert_eq!(next(&mut events, stage).await, "PreSync");
    hook(&rig, "migrate").await;
    assert!(rig.map("early").await.is_some());
    finish(&rig, "migrate", "Complete").await;
    assert_eq!(next(&mut events, done).await.failed, []);
    assert_eq!(rig.map("early").await, None);
    stop.cancel();
}

fn claim(name: &str, class: &str) -> String {
    json!({"apiVersion": "v1", "kind": "PersistentVolumeClaim",
        "metadata": {"name": name, "annotations": {"selkie.dev/sync-wave": "-1"}},
        "spec": {"accessModes": ["ReadWriteOnce"], "storageClassName": class,
            "resources": {"requests": {"storage": "1Gi"}}}})
    .to_string()
}

#[tokio::test]
async fn a_claim_that_waits_for_its_first_pod_holds_no_wave_up() {
    let rig = Rig::new().await;
    for (name, mode) in [("later", "WaitForFirstConsumer"), ("now", "Immediate")] {
        let class = json!({"metadata": {"name": name}, "provisioner": "example.org/p", "volumeBindingMode": mode});
        rig.create("/apis/storage.k8s.io/v1/storageclasses", &class).await;
    }
    let (folder, mut events) = rig.follow(&[("a.json", &claim("idle", "later")), ("b.json", &waved("b", "1"))]).await;
    assert_eq!(next(&mut events, done).await.failed, []);
    assert!(rig.map("b").await.is_some());

    folder.write("c.json", &claim("asked", "now"));
    folder.write("d.json", &waved("d", "1"));
    let waits = |event: &Event| if let Event::Progress(objects) = event { Some(objects.clone()) } else { None };
    let told = next(&mut events, waits).await;
    assert_eq!((told[0].id.name.as_str(), told[0].message.as_str()), ("asked", "pending"));
    assert!(rig.map("d").await.is_none());
}

#[tokio::test]
async fn a_hook_that_fails_ends_the_sync_before_anything_changes() {
    let rig = Rig::new().await;
    let temp = tempfile::tempdir().unwrap();
    let write = |name: &str, text: &str| fs::write(temp.path().join(name), text).unwrap();
    write("map.yaml", &map("a", "1"));
    let mut events = rig.start(temp.path().to_str().unwrap()).await;
    next(&mut events, done).await;
    let both = format!("{}\n---\n{}", job("migrate", "db:1", "PreSync"), job("alarm", "db:1", "SyncFail"));
    write("hooks.yaml", &both);
    assert_eq!(next(&mut events, stage).await, "PreSync");
    write("map.yaml", &map("a", "2"));
    hook(&rig, "migrate").await;
    // The newer revision is the one that counts: its hook is made anew.
    assert_eq!(next(&mut events, stage).await, "PreSync");
    rig.until(async || {
        let found = rig.get(&format!("{JOBS}/migrate")).await?;
        let run = found["metadata"]["annotations"]["selkie.dev/hook-run"].clone();
        (run == app(&rig).await.status.operation?.revision.as_str()).then_some(())
    })
    .await;
    finish(&rig, "migrate", "Failed").await;
    let summary = next(&mut events, done).await;
    assert_eq!(summary.failed[0].message, "Test: so it is");
    hook(&rig, "alarm").await;
    assert_eq!(rig.map("a").await.unwrap()["data"]["k"], "1");
    let status = rig
        .until(async || {
            let status = app(&rig).await.status;
            status.conditions.iter().any(|one| one.kind == "Ready" && one.reason == "Failed").then_some(status)
        })
        .await;
    assert!(status.revision != status.attempted_revision);
    let known = history::list(&rig.client, "shop").await.unwrap();
    assert_eq!(known.last().unwrap().result, Verdict::Failed);

    // A mended one goes through, and the broken one's hooks go with its manifests.
    fs::remove_file(temp.path().join("hooks.yaml")).unwrap();
    rig.until(async || (rig.map("a").await.unwrap()["data"]["k"] == "2").then_some(())).await;
    rig.until(async || rig.get(&format!("{JOBS}/alarm")).await.is_none().then_some(())).await;
}

#[tokio::test]
async fn what_is_depended_on_is_waited_for() {
    let rig = Rig::new().await;
    let temp = tempfile::tempdir().unwrap();
    fs::write(temp.path().join("a.yaml"), map("a", "1")).unwrap();
    let mut events = rig.start(temp.path().to_str().unwrap()).await;
    next(&mut events, done).await;
    rig.patch(SHOP, json!({"spec": {"dependsOn": [{"name": "db"}]}})).await;
    rig.until(async || {
        let app = app(&rig).await;
        (Some(app.status.observed_generation) == app.metadata.generation).then_some(())
    })
    .await;
    fs::write(temp.path().join("a.yaml"), map("a", "2")).unwrap();
    let blocked = |event: &Event| if let Event::Blocked { why, .. } = event { Some(why.clone()) } else { None };
    assert_eq!(next(&mut events, blocked).await, "there is no application \"db\"");
    let source = tempfile::tempdir().unwrap();
    fs::write(source.path().join("b.yaml"), map("b", "1")).unwrap();
    let db = json!({"metadata": {"name": "db"}, "spec": {"source": {"path": source.path()}}});
    rig.create(&SHOP.replace("/shop", ""), &db).await;
    rig.until(async || (rig.map("a").await.unwrap()["data"]["k"] == "2").then_some(())).await;
    assert!(rig.map("b").await.is_some());
}
