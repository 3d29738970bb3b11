//! One-shots that take over what Applications hold and what others made.

use super::*;
use crate::gitops::application::TAKEN_OVER;

const MAPS: &str = "/api/v1/namespaces/default/configmaps";

fn adopt() -> Options {
    Options { adopt: true, ..Options::default() }
}

async fn taken(rig: &Rig) -> Value {
    rig.get(SHOP).await.unwrap()["metadata"]["annotations"][TAKEN_OVER].clone()
}

async fn annotate(rig: &Rig, value: Value) {
    rig.patch(SHOP, json!({"metadata": {"annotations": {TAKEN_OVER: value}}})).await;
}

async fn until_held(rig: &Rig, names: &[&str]) {
    rig.until(async || {
        let status = rig.status().await;
        let held = status["inventory"].as_array()?.iter().map(|id| id["name"].as_str().unwrap().to_owned());
        (held.collect::<Vec<_>>() == names).then_some(())
    })
    .await;
}

/// `shop` in sync, with `a` and `x`.
async fn shop() -> (Rig, Folder, mpsc::UnboundedReceiver<Event>) {
    let rig = Rig::new().await;
    let (folder, mut events) = rig.follow(&[("a.yaml", &map("a", "1")), ("x.yaml", &map("x", "1"))]).await;
    next(&mut events, done).await;
    until_held(&rig, &["a", "x"]).await;
    (rig, folder, events)
}

/// The value and the label.
async fn x(rig: &Rig) -> (Value, Value) {
    let x = rig.map("x").await.unwrap();
    (x["data"]["k"].clone(), x["metadata"]["labels"][LABEL].clone())
}

#[tokio::test]
async fn the_application_lets_go_for_good() {
    let (rig, folder, _events) = shop().await;
    let files = [("x.yaml", map("x", "taken"))];
    let files: Vec<(&str, &str)> = files.iter().map(|(name, text)| (*name, text.as_str())).collect();
    let refused = rig.apply(&files, &Options::default()).await.unwrap_err().to_string();
    for part in ["application \"shop\"", "this apply sets it, too", "--adopt", "--force-conflicts"] {
        assert!(refused.contains(part), "no {part:?} in {refused}");
    }
    let said = |outcome: &Outcome| outcome.report.takeovers.iter().map(ToString::to_string).collect::<Vec<_>>();
    let expected = ["ConfigMap default/x is taken over from application \"shop\", which lets go of it for good"];
    assert_eq!(said(&rig.diff(&files, &adopt()).await.unwrap()), expected);
    assert_eq!((taken(&rig).await, x(&rig).await), (Value::Null, (json!("1"), json!("shop"))), "a plan takes nothing");

    assert_eq!(said(&rig.apply(&files, &adopt()).await.unwrap()), expected);
    assert_eq!(x(&rig).await, (json!("taken"), Value::Null));
    // The next revision leaves it alone, says so, and has it no more.
    folder.write("x.yaml", &map("x", "fight"));
    folder.write("a.yaml", &map("a", "2"));
    until_held(&rig, &["a"]).await;
    rig.until(async || (rig.map("a").await?["data"]["k"] == "2").then_some(())).await;
    assert_eq!(x(&rig).await, (json!("taken"), Value::Null));
    let said = rig.until(async || {
        let text = rig.status().await["conditions"].to_string();
        text.contains("taken over by an apply with --adopt").then_some(text)
    });
    assert!(said.await.contains("ConfigMap default/x"));
    // It is this one's now, and nobody's else.
    assert_eq!(rig.apply(&files, &Options::default()).await.unwrap().report.totals().unchanged, 1);
    // Nor does its leaving the source delete it.
    folder.remove("x.yaml");
    folder.write("a.yaml", &map("a", "3"));
    rig.until(async || (rig.map("a").await?["data"]["k"] == "3").then_some(())).await;
    assert_eq!(x(&rig).await.0, json!("taken"));
}

/// Whatever is taken while a sync is under way stays taken.
#[tokio::test]
async fn a_sync_under_way_sets_nothing_back() {
    for wait in 0..12 {
        let (rig, folder, _events) = shop().await;
        folder.write("a.yaml", &map("a", "2"));
        folder.write("x.yaml", &map("x", "fight"));
        tokio::time::sleep(Duration::from_millis(wait)).await;
        rig.apply(&[("x.yaml", &map("x", "taken"))], &adopt()).await.unwrap();
        rig.until(async || (rig.map("a").await?["data"]["k"] == "2").then_some(())).await;
        until_held(&rig, &["a"]).await;
        assert_eq!(x(&rig).await, (json!("taken"), Value::Null), "{wait} ms");
    }
}

#[tokio::test]
async fn one_that_is_suspended_has_let_go_too() {
    let (rig, folder, _events) = shop().await;
    rig.patch(SHOP, json!({"spec": {"suspend": true}})).await;
    rig.seen().await;
    rig.apply(&[("x.yaml", &map("x", "taken"))], &adopt()).await.unwrap();
    rig.patch(SHOP, json!({"spec": {"suspend": false}})).await;
    folder.write("x.yaml", &map("x", "fight"));
    until_held(&rig, &["a"]).await;
    assert_eq!(x(&rig).await.0, json!("taken"));
}

#[tokio::test]
async fn where_nothing_was_committed_nothing_is_lost() {
    let (rig, folder, _events) = shop().await;
    let wrong = "apiVersion: v1\nkind: ConfigMap\nmetadata:\n  name: wrong\n  namespace: absent\n";
    let error = rig.apply(&[("x.yaml", &map("x", "taken")), ("w.yaml", wrong)], &adopt()).await.unwrap_err();
    assert!(error.to_string().contains("namespace \"absent\" does not exist"), "{error}");
    assert_eq!((taken(&rig).await, x(&rig).await), (Value::Null, (json!("1"), json!("shop"))));
    folder.write("x.yaml", &map("x", "2"));
    rig.until(async || (x(&rig).await == (json!("2"), json!("shop"))).then_some(())).await;
    until_held(&rig, &["a", "x"]).await;
}

#[tokio::test]
async fn what_another_took_meanwhile_is_not_given_back() {
    let (rig, _folder, _events) = shop().await;
    let files = [("a.yaml", map("a", "taken")), ("x.yaml", map("x", "taken"))];
    let files: Vec<(&str, &str)> = files.iter().map(|(name, text)| (*name, text.as_str())).collect();
    let rendered = render(&Snapshot::of(&files), &*rig.registry, "default");
    let owned = crate::gitops::sync::owners::Owners::read(&rig.client).await.unwrap();
    let begun = crate::gitops::sync::taking::begin(&rig.client, &*rig.registry, &rendered, &owned).await.unwrap();
    rig.patch(&format!("{MAPS}/x"), json!({"metadata": {"labels": {LABEL: null}}})).await;
    begun.give_back(&rig.client, &*rig.registry).await;
    let left = taken(&rig).await;
    let left = left.as_str().unwrap();
    assert!(left.contains("\"name\":\"x\"") && !left.contains("\"name\":\"a\""), "{left}");
}

#[tokio::test]
async fn one_whose_objects_stay_ends_whatever_its_list_says() {
    let (rig, _folder, _events) = shop().await;
    rig.patch(SHOP, json!({"spec": {"prune": false}})).await;
    annotate(&rig, json!("what?")).await;
    raw::request(&rig.client, Method::DELETE, SHOP, None).await.unwrap();
    rig.until(async || rig.get(SHOP).await.is_none().then_some(())).await;
    assert_eq!(x(&rig).await.0, json!("1"));
}

#[tokio::test]
async fn one_that_adopts_loses_nothing_and_takes_back_what_it_lost() {
    let (rig, _folder, _events) = shop().await;
    rig.apply(&[("x.yaml", &map("x", "taken"))], &adopt()).await.unwrap();
    assert!(taken(&rig).await.as_str().unwrap().contains("\"name\":\"x\""));
    rig.patch(SHOP, json!({"spec": {"adopt": true}})).await;
    rig.until(async || (x(&rig).await == (json!("1"), json!("shop"))).then_some(())).await;
    rig.until(async || taken(&rig).await.is_null().then_some(())).await;
    until_held(&rig, &["a", "x"]).await;
    let refused = rig.apply(&[("x.yaml", &map("x", "again"))], &adopt()).await.unwrap_err().to_string();
    assert!(refused.contains("spec.adopt: true") && refused.contains("application \"shop\""), "{refused}");
}

#[tokio::test]
async fn what_was_lost_is_forgotten_however_often_the_status_is_written() {
    let (rig, _folder, _events) = shop().await;
    rig.patch(SHOP, json!({"spec": {"suspend": true}})).await;
    rig.seen().await;
    annotate(&rig, json!("[]")).await;
    let read = async || -> crate::gitops::application::Application {
        serde_json::from_value(rig.get(SHOP).await.unwrap()).unwrap()
    };
    let forget = async |seen: &_| crate::gitops::sync::taking::forget(&rig.client, seen).await;
    let seen = read().await;
    rig.patch(&format!("{SHOP}/status"), json!({"status": {"lastSyncTime": "2026-01-01T00:00:00Z"}})).await;
    assert!(forget(&seen).await);
    assert_eq!(taken(&rig).await, Value::Null);
    // What was taken since is kept.
    annotate(&rig, json!("[ ]")).await;
    assert!(!forget(&seen).await);
    assert_eq!(taken(&rig).await, "[ ]");
}

#[tokio::test]
async fn a_list_that_cannot_be_read_stops_the_sync_and_the_taking() {
    let (rig, folder, mut events) = shop().await;
    annotate(&rig, json!("what?")).await;
    let errors = next(&mut events, failed).await;
    assert!(errors[0].contains("is no list of objects") && errors[0].contains("taken-over-"), "{errors:?}");
    let refused = rig.apply(&[("x.yaml", &map("x", "taken"))], &adopt()).await.unwrap_err().to_string();
    assert!(refused.contains("x.yaml:1:1: ConfigMap default/x cannot be taken over: the annotation"), "{refused}");
    folder.write("x.yaml", &map("x", "2"));
    annotate(&rig, Value::Null).await;
    rig.until(async || (x(&rig).await == (json!("2"), json!("shop"))).then_some(())).await;
}

#[tokio::test]
async fn who_made_it_with_kubectl_is_told_of_with_the_fields() {
    let rig = Rig::new().await;
    let made = json!({"metadata": {"name": "x"}, "data": {"k": "7", "other": "7"}});
    rig.create(&format!("{MAPS}?fieldManager=kubectl-create"), &made).await;
    let files = map("x", "1");
    let refused = rig.apply(&[("x.yaml", &files)], &Options::default()).await.unwrap_err().to_string();
    for part in ["\"kubectl-create\"", "this apply sets it, too", "--adopt", "--force-conflicts"] {
        assert!(refused.contains(part), "no {part:?} in {refused}");
    }
    let taken = rig.apply(&[("x.yaml", &files)], &adopt()).await.unwrap().report.takeovers;
    let [taken] = taken.as_slice() else { panic!("{taken:?}") };
    let said = taken.to_string();
    assert!(
        said.starts_with("ConfigMap default/x: \"kubectl-create\" (") && said.ends_with(") loses .data.k"),
        "{said}"
    );
    assert_eq!(x(&rig).await.0, json!("1"));
}
