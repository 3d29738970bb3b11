//! The end of an Application: its hooks, and whose its objects are.

use super::*;
use crate::gitops::application::DELETE_HOOKS;

const PODS: &str = "/api/v1/namespaces/default/pods";
const APPLICATIONS: &str = "/apis/selkie.dev/v1alpha1/namespaces/selkie-system/applications";

fn pod(name: &str, annotations: Value) -> String {
    json!({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": name, "annotations": annotations},
        "spec": {"restartPolicy": "Never", "containers": [{"name": "c", "image": "tool:1"}]}})
    .to_string()
}

/// A map, a hook for before its deletion, and one for after it.
fn files() -> Vec<(&'static str, String)> {
    let save = json!({"argocd.argoproj.io/hook": "PreDelete", "selkie.dev/hook-delete-policy": "HookSucceeded"});
    let tidy = json!({"helm.sh/hook": "post-delete"});
    vec![("a.yaml", map("a", "1")), ("save.json", pod("save", save)), ("tidy.json", pod("tidy", tidy))]
}

async fn start(rig: &Rig) -> (Folder, mpsc::UnboundedReceiver<Event>) {
    with_controllers(rig);
    let files = files();
    let files: Vec<_> = files.iter().map(|(name, text)| (*name, text.as_str())).collect();
    let (folder, mut events) = rig.follow(&files).await;
    assert_eq!(next(&mut events, applied).await, (1, 0, 0));
    next(&mut events, done).await;
    (folder, events)
}

/// The uid of a pod, once it is there.
async fn uid(rig: &Rig, name: &str) -> Value {
    rig.until(async || Some(rig.get(&format!("{PODS}/{name}")).await?["metadata"]["uid"].clone())).await
}

async fn end(rig: &Rig, name: &str, phase: &str) {
    rig.patch(&format!("{PODS}/{name}/status"), json!({"status": {"phase": phase}})).await;
}

fn stage(event: &Event) -> Option<String> {
    if let Event::Stage { name, .. } = event { Some(name.clone()) } else { None }
}

fn warning(event: &Event) -> Option<String> {
    if let Event::Warning(text) = event { Some(text.clone()) } else { None }
}

async fn until_gone(rig: &Rig) {
    rig.until(async || rig.get(SHOP).await.is_none().then_some(())).await;
}

/// The message of the condition that tells why it is not gone.
async fn until_said(rig: &Rig, words: &str) {
    rig.until(async || {
        let status = rig.status().await;
        let ready = status["conditions"].as_array()?.iter().find(|one| one["reason"] == "Deleting")?;
        ready["message"].as_str()?.contains(words).then_some(())
    })
    .await;
}

#[tokio::test]
async fn hooks_are_run_before_and_after_the_objects_go() {
    let rig = Rig::new().await;
    // By the time of the deletion the source says nothing any more.
    let (folder, mut events) = start(&rig).await;
    assert!(rig.get(&format!("{PODS}/save")).await.is_none(), "no sync runs it");
    drop(folder);
    delete(&rig, "").await;
    assert_eq!(next(&mut events, stage).await, "PreDelete");
    let first = uid(&rig, "save").await;
    until_said(&rig, "PreDelete: Pod default/save").await;
    end(&rig, "save", "Failed").await;
    let said = next(&mut events, |event| warning(event).filter(|text| text.contains("deletion"))).await;
    let expected = "the deletion does not go on: PreDelete of Pod default/save: the pod failed (delete it, and it is run \
                    again); to go on without hooks: kubectl -n selkie-system annotate application shop \
                    selkie.dev/delete-hooks=disabled";
    assert_eq!(said, expected);
    until_said(&rig, "does not go on").await;
    assert!(rig.map("a").await.unwrap()["metadata"]["deletionTimestamp"].is_null(), "nothing is deleted");

    raw::request(&rig.client, Method::DELETE, &format!("{PODS}/save"), None).await.unwrap();
    rig.until(async || (rig.get(&format!("{PODS}/save")).await?["metadata"]["uid"] != first).then_some(())).await;
    end(&rig, "save", "Succeeded").await;
    assert_eq!(next(&mut events, stage).await, "PostDelete");
    uid(&rig, "tidy").await;
    assert!(rig.map("a").await.is_none() && rig.get(&format!("{PODS}/save")).await.is_none());
    assert!(rig.get(SHOP).await.is_some(), "it waits for its last hook");
    end(&rig, "tidy", "Succeeded").await;
    next(&mut events, ended).await;
    until_gone(&rig).await;
    assert!(rig.get(&format!("{PODS}/tidy")).await.is_some(), "its policy does not say that it goes");
}

#[tokio::test]
async fn a_daemon_that_starts_in_the_middle_runs_no_hook_twice() {
    let rig = Rig::new().await;
    let (_folder, mut events) = start(&rig).await;
    delete(&rig, "").await;
    next(&mut events, stage).await;
    let first = uid(&rig, "save").await;
    let restart = async |stop: CancellationToken| {
        let (sender, events) = mpsc::unbounded_channel();
        let context = Context::new(rig.client.clone(), Clock::System, Ids::seeded(2), stop);
        tokio::spawn(run(context, Settings::new(mirrors(), rig.registry.clone(), Arc::new(Listener(sender)))));
        events
    };
    rig.stop.cancel();
    let (stop, again) = (CancellationToken::new(), CancellationToken::new());
    let _guards = (stop.clone().drop_guard(), again.clone().drop_guard());
    let mut events = restart(stop.clone()).await;
    let context = Context::new(rig.client.clone(), Clock::System, Ids::seeded(10), again.clone());
    tokio::spawn(crate::controllers::run(context, crate::controllers::Timing::default()));
    assert_eq!(next(&mut events, stage).await, "PreDelete");
    assert_eq!(uid(&rig, "save").await, first);
    end(&rig, "save", "Succeeded").await;
    assert_eq!(next(&mut events, stage).await, "PostDelete");
    let last = uid(&rig, "tidy").await;
    stop.cancel();
    let mut events = restart(again.clone()).await;
    assert_eq!(next(&mut events, stage).await, "PostDelete", "what is over is not begun again");
    assert_eq!(uid(&rig, "tidy").await, last);
    end(&rig, "tidy", "Succeeded").await;
    next(&mut events, ended).await;
    assert!(rig.get(&format!("{PODS}/save")).await.is_none());
}

#[tokio::test]
async fn a_hook_that_never_ends_can_be_gone_without() {
    let rig = Rig::new().await;
    let (_folder, mut events) = start(&rig).await;
    rig.patch(SHOP, json!({"spec": {"readyTimeout": "1s"}})).await;
    delete(&rig, "").await;
    let said = next(&mut events, |event| warning(event).filter(|text| text.contains("deletion"))).await;
    assert!(said.contains("PreDelete of Pod default/save: not ready after 1 s: starting"), "{said}");
    assert!(rig.map("a").await.is_some());
    rig.patch(SHOP, json!({"metadata": {"annotations": {DELETE_HOOKS: "disabled"}}})).await;
    until_gone(&rig).await;
    assert!(rig.map("a").await.is_none() && rig.get(&format!("{PODS}/tidy")).await.is_none());
    assert!(rig.get(&format!("{PODS}/save")).await.is_none(), "what was run goes with the objects");
}

#[tokio::test]
async fn what_stays_or_moves_is_no_reason_for_hooks() {
    let rig = Rig::new().await;
    let (folder, mut events) = start(&rig).await;
    // The same source under another name.
    let other = json!({"metadata": {"name": "other"}, "spec": {"source": {"path": folder.0.path()}, "interval": "1h"}});
    rig.create(APPLICATIONS, &other).await;
    delete(&rig, "").await;
    next(&mut events, ended).await;
    until_gone(&rig).await;
    assert!(rig.map("a").await.is_some() && rig.get(&format!("{PODS}/save")).await.is_none());
}

#[tokio::test]
async fn nothing_is_deleted_while_another_may_want_it() {
    let rig = Rig::new().await;
    with_controllers(&rig);
    let (_folder, mut events) = rig.follow(&[("a.yaml", &map("a", "1"))]).await;
    next(&mut events, done).await;
    let before = rig.map("a").await.unwrap()["metadata"]["uid"].clone();
    // A server that takes a connection and says nothing.
    let silent = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}/shop.git", silent.local_addr().unwrap());
    let other = json!({"metadata": {"name": "other"}, "spec": {"source": {"repoURL": url}, "interval": "1h"}});
    rig.create(APPLICATIONS, &other).await;
    delete(&rig, "").await;
    let expected = "nothing is deleted yet: it is not known whether application \"other\" wants any of it, as its source \
                    was not read yet; suspend or delete that one to go on";
    assert_eq!(next(&mut events, warning).await, expected);
    until_said(&rig, expected).await;
    // Nor when it has failed: nothing at all is known of it.
    rig.patch(
        &format!("{APPLICATIONS}/other"),
        json!({"spec": {"source": {"path": "/nowhere/at/all", "repoURL": null}}}),
    )
    .await;
    rig.until(async || {
        let status = rig.get(&format!("{APPLICATIONS}/other")).await?["status"].clone();
        status["errors"][0].as_str()?.contains("/nowhere/at/all").then_some(())
    })
    .await;
    assert!(rig.map("a").await.unwrap()["metadata"]["deletionTimestamp"].is_null());
    let wants = Folder(tempfile::tempdir().unwrap());
    wants.write("a.yaml", &map("a", "1"));
    let source = json!({"path": wants.0.path()});
    rig.patch(&format!("{APPLICATIONS}/other"), json!({"spec": {"source": source}})).await;
    until_gone(&rig).await;
    rig.until(async || (rig.map("a").await?["metadata"]["labels"][LABEL] == "other").then_some(())).await;
    assert_eq!(rig.map("a").await.unwrap()["metadata"]["uid"], before);

    // One that was synced before stands for what it had: its server may be away for long.
    rig.patch(&format!("{APPLICATIONS}/other"), json!({"spec": {"source": {"path": "/nowhere/at/all"}}})).await;
    let third = Folder(tempfile::tempdir().unwrap());
    third.write("c.yaml", &map("c", "1"));
    let app = json!({"metadata": {"name": "third"}, "spec": {"source": {"path": third.0.path()}, "interval": "1h"}});
    rig.create(APPLICATIONS, &app).await;
    rig.until(async || rig.map("c").await).await;
    raw::request(&rig.client, Method::DELETE, &format!("{APPLICATIONS}/third"), None).await.unwrap();
    rig.until(async || rig.map("c").await.is_none().then_some(())).await;
}
