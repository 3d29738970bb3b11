//! What cannot change in place, and has to end before it is made again.

use super::*;
use crate::api::changeset::{ChangeSetSpec, ChangeSetStatus};

fn frozen(name: &str, value: &str) -> String {
    format!(
        "apiVersion: v1\nkind: ConfigMap\nmetadata:\n  name: {name}\n  finalizers: [example.com/hold]\nimmutable: true\n\
         data:\n  k: {value:?}\n"
    )
}

async fn release(rig: &Rig, name: &str) {
    rig.until(async || rig.map(name).await?["metadata"]["deletionTimestamp"].as_str().map(|_| ())).await;
    let path = format!("/api/v1/namespaces/default/configmaps/{name}");
    rig.patch(&path, json!({"metadata": {"finalizers": null}})).await;
}

#[tokio::test]
async fn an_apply_waits_for_the_end_and_makes_it_again() {
    let rig = Rig::new().await;
    rig.apply(&[("a.yaml", &frozen("a", "1"))], &Options::default()).await.unwrap();
    let uid = rig.map("a").await.unwrap()["metadata"]["uid"].clone();
    let refused = rig.apply(&[("a.yaml", &frozen("a", "2"))], &Options::default()).await.unwrap_err().to_string();
    assert!(refused.contains("--replace"), "{refused}");

    let replace = Options { replace: true, ..Options::default() };
    let (second, b) = (frozen("a", "2"), map("b", "1"));
    let files = [("a.yaml", second.as_str()), ("b.yaml", b.as_str())];
    let (outcome, ()) = tokio::join!(rig.apply(&files, &replace), release(&rig, "a"));
    let outcome = outcome.unwrap();
    assert_eq!(totals(&outcome.report), (2, 0, 1));
    assert!(outcome.report.objects[0].note.contains("its finalizer example.com/hold"), "{:?}", outcome.report);
    let made = rig.map("a").await.unwrap();
    assert!(made["metadata"]["uid"] != uid && made["data"]["k"] == "2", "{made}");
    assert_eq!(outcome.inventory[0].uid, made["metadata"]["uid"], "what may be pruned is the new one");
}

#[tokio::test]
async fn what_does_not_end_is_named_and_the_next_apply_goes_on() {
    let rig = Rig::new().await;
    rig.apply(&[("a.yaml", &frozen("a", "1"))], &Options::default()).await.unwrap();
    let soon = Options { replace: true, stage_limit: Some(Duration::from_millis(100)), ..Options::default() };
    let (second, b) = (frozen("a", "2"), map("b", "1"));
    let files = [("a.yaml", second.as_str()), ("b.yaml", b.as_str())];
    let error = rig.apply(&files, &soon).await.unwrap_err();
    let said = error.to_string();
    assert!(said.starts_with("ConfigMap default/a is to be made again and is still there"), "{said}");
    assert!(said.contains("example.com/hold") && error.is_temporary(), "{said}");
    assert!(rig.map("b").await.is_some(), "the rest is applied");
    let replace = Options { replace: true, ..Options::default() };
    let (again, ()) = tokio::join!(rig.apply(&files, &replace), release(&rig, "a"));
    assert_eq!(totals(&again.unwrap().report), (1, 0, 1));
    assert_eq!(rig.map("a").await.unwrap()["data"]["k"], "2");
}

/// The one that was to end is gone, and another one of that name has to end, too.
#[tokio::test]
async fn what_somebody_else_makes_meanwhile_is_waited_for_as_long() {
    let rig = Rig::new().await;
    rig.apply(&[("a.yaml", &frozen("a", "theirs"))], &Options::default()).await.unwrap();
    let map = json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "a", "namespace": "default"},
        "immutable": true, "data": {"k": "ours"}});
    let id = ObjectId {
        api_version: "v1".into(),
        kind: "ConfigMap".into(),
        namespace: "default".into(),
        name: "a".into(),
        ..ObjectId::default()
    };
    let before = Some(json!({"metadata": {"uid": "gone"}}));
    let pending = ChangeResult { id, action: ChangeAction::Replaced, pending: true, before, ..ChangeResult::default() };
    let mut status = ChangeSetStatus { applied: true, results: vec![pending], ..ChangeSetStatus::default() };
    let spec = ChangeSetSpec {
        field_manager: "test".into(),
        force: true,
        replace: true,
        objects: vec![map],
        ..ChangeSetSpec::default()
    };
    let limit = Duration::from_millis(300);
    let finishing = finish_replacements(&rig.client, &*rig.registry, &spec, &mut status, limit);
    let error = tokio::time::timeout(Duration::from_secs(20), finishing).await.expect("it ends").unwrap_err();
    assert!(error.to_string().contains("example.com/hold"), "{error}");
}

/// The Application is suspended: nothing but the plan that was asked for is carried out.
#[tokio::test]
async fn a_plan_that_was_interrupted_between_end_and_beginning_is_completed() {
    let rig = Rig::new().await;
    let (folder, mut events) = rig.follow(&[("a.yaml", &frozen("a", "1"))]).await;
    next(&mut events, done).await;
    rig.patch(SHOP, json!({"spec": {"suspend": true}})).await;
    rig.seen().await;
    let uid = rig.map("a").await.unwrap()["metadata"]["uid"].clone();
    folder.write("a.yaml", &frozen("a", "2"));

    // As `selkie plan --app shop --replace --out` and `selkie apply` ask for it.
    let app = rig.get(SHOP).await.unwrap();
    let app: Application = serde_json::from_value(app).unwrap();
    let options = Options { replace: true, ..Options::of(&app, "", Vec::new()) };
    let location = app.spec.source.location().unwrap();
    let repositories = crate::gitops::sources::Repositories::new(mirrors());
    let snapshot = repositories.open(&location, true, Default::default()).fetch().await.unwrap();
    let rendered = render(&snapshot, &*rig.registry, "default");
    let planned = once(&rig.client, &*rig.registry, &rendered, &options, How::DryRun).await.unwrap();
    assert_eq!(totals(&planned.report), (1, 0, 1));
    let asked = format!("apply/{}/{}/replace@1", snapshot.revision, planned.report.fingerprint());
    rig.patch(SHOP, json!({"metadata": {"annotations": {"selkie.dev/request": asked}}})).await;
    rig.until(async || rig.map("a").await?["metadata"]["deletionTimestamp"].as_str().map(|_| ())).await;
    assert_eq!(rig.status().await["replacing"]["objects"][0]["name"], "a");

    // The daemon ends here, and the object while there is none.
    rig.stop.cancel();
    drop(events);
    release(&rig, "a").await;
    rig.until(async || rig.map("a").await.is_none().then_some(())).await;
    let stop = CancellationToken::new();
    let _guard = stop.clone().drop_guard();
    let context = Context::new(rig.client.clone(), Clock::System, Ids::seeded(2), stop);
    let (sender, _events) = mpsc::unbounded_channel();
    tokio::spawn(run(context, Settings::new(mirrors(), rig.registry.clone(), Arc::new(Listener(sender)))));
    rig.until(async || (rig.status().await["handledRequest"] == asked.as_str()).then_some(())).await;
    let status = rig.status().await;
    assert_eq!((&status["requestError"], &status["replacing"]), (&json!(""), &Value::Null), "{status}");
    let made = rig.map("a").await.unwrap();
    assert!(made["metadata"]["uid"] != uid && made["data"]["k"] == "2", "{made}");
}
