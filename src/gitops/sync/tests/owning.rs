//! Fields that an Application sets and others own.

use super::*;

const MAPS: &str = "/api/v1/namespaces/default/configmaps";

fn with(keys: &[(&str, &str)]) -> String {
    let data: String = keys.iter().map(|(key, value)| format!("  {key}: {value:?}\n")).collect();
    format!("apiVersion: v1\nkind: ConfigMap\nmetadata:\n  name: a\ndata:\n{data}")
}

/// As somebody with kubectl.
async fn edit(rig: &Rig, data: Value) {
    let path = format!("{MAPS}/a?fieldManager=kubectl-edit");
    rig.patch(&path, json!({"data": data})).await;
}

async fn data(rig: &Rig) -> Value {
    rig.map("a").await.map_or(Value::Null, |map| map["data"].clone())
}

async fn wait_data(rig: &Rig, wanted: Value) {
    rig.until(async || (data(rig).await == wanted).then_some(())).await;
}

#[tokio::test]
async fn what_the_application_never_set_is_refused_with_both_owners() {
    let rig = Rig::new().await;
    let (folder, mut events) = rig.follow(&[("a.yaml", &with(&[("k", "1")]))]).await;
    next(&mut events, done).await;
    edit(&rig, json!({"mine": "7"})).await;
    folder.write("a.yaml", &with(&[("k", "2"), ("mine", "8")]));
    let errors = next(&mut events, failed).await;
    let [said] = errors.as_slice() else { panic!("{errors:?}") };
    let place = format!("{}/a.yaml:7:3: ConfigMap default/a: .data.mine: ", folder.0.path().display());
    assert!(said.starts_with(&place), "{said}");
    assert!(said.contains("conflict with \"kubectl-edit\" using v1 (test, 2"), "user and time: {said}");
    assert!(said.contains("application \"shop\" sets it, too, and never did before"), "{said}");
    assert!(said.contains("spec.force: true in application \"shop\""), "the way out: {said}");
    assert_eq!(data(&rig).await, json!({"k": "1", "mine": "7"}), "nothing of the revision is applied");

    // With the same value there is nothing to argue about.
    folder.write("a.yaml", &with(&[("k", "2"), ("mine", "7")]));
    wait_data(&rig, json!({"k": "2", "mine": "7"})).await;
    // By now it is the application's, too: whoever changes it has made drift.
    edit(&rig, json!({"mine": "9"})).await;
    wait_data(&rig, json!({"k": "2", "mine": "7"})).await;
}

#[tokio::test]
async fn what_it_did_set_has_drifted_and_is_set_right_by_the_next_revision_too() {
    let rig = Rig::new().await;
    let (folder, mut events) = rig.follow(&[("a.yaml", &with(&[("k", "1"), ("m", "1")]))]).await;
    next(&mut events, done).await;
    edit(&rig, json!({"k": "7"})).await;
    assert_eq!(next(&mut events, drift).await.totals().change, 1);
    wait_data(&rig, json!({"k": "1", "m": "1"})).await;
    rig.patch(SHOP, json!({"spec": {"drift": "warn"}})).await;
    rig.seen().await;
    edit(&rig, json!({"k": "7", "other": "7"})).await;
    let left = |event: &Event| if let Event::DriftLeft(report) = event { Some(report.totals().change) } else { None };
    assert_eq!(next(&mut events, left).await, 1);
    assert_eq!(data(&rig).await, json!({"k": "7", "m": "1", "other": "7"}));
    // Drift and a field of others at once: only that one is in the way.
    folder.write("a.yaml", &with(&[("k", "2"), ("m", "2"), ("other", "2")]));
    let errors = next(&mut events, failed).await;
    assert!(errors.len() == 1 && errors[0].contains(".data.other: conflict"), "{errors:?}");
    folder.write("a.yaml", &with(&[("k", "2"), ("m", "2")]));
    wait_data(&rig, json!({"k": "2", "m": "2", "other": "7"})).await;
}

#[tokio::test]
async fn a_daemon_that_starts_anew_knows_what_was_set() {
    let rig = Rig::new().await;
    let (folder, mut events) = rig.follow(&[("a.yaml", &with(&[("k", "1")]))]).await;
    next(&mut events, done).await;
    rig.stop.cancel();
    drop(events);
    edit(&rig, json!({"k": "7"})).await;
    folder.write("a.yaml", &with(&[("k", "2")]));
    let stop = CancellationToken::new();
    let _guard = stop.clone().drop_guard();
    let context = Context::new(rig.client.clone(), Clock::System, Ids::seeded(2), stop);
    let (sender, _events) = mpsc::unbounded_channel();
    tokio::spawn(run(context, Settings::new(mirrors(), rig.registry.clone(), Arc::new(Listener(sender)))));
    wait_data(&rig, json!({"k": "2"})).await;
}

#[tokio::test]
async fn one_that_forces_or_adopts_takes_what_others_made() {
    for (spec, taken) in [(json!({}), false), (json!({"force": true}), true), (json!({"adopt": true}), true)] {
        let rig = Rig::new().await;
        let made = json!({"metadata": {"name": "a"}, "data": {"k": "7"}});
        rig.create(&format!("{MAPS}?fieldManager=kubectl-create"), &made).await;
        let folder = Folder(tempfile::tempdir().unwrap());
        folder.write("a.yaml", &with(&[("k", "1")]));
        let source = ApplicationSource::parse(folder.0.path().to_str().unwrap()).unwrap();
        let mut whole = json!({"source": source, "interval": "1h"});
        whole.as_object_mut().unwrap().extend(spec.as_object().unwrap().clone());
        rig.declare(whole).await;
        let mut events = rig.run(Clock::System);
        if taken {
            next(&mut events, done).await;
        } else {
            let errors = next(&mut events, failed).await;
            assert!(errors[0].contains("conflict with \"kubectl-create\""), "{errors:?}");
        }
        assert_eq!(data(&rig).await, json!({"k": if taken { "1" } else { "7" }}), "{spec}");
    }
}

#[tokio::test]
async fn one_that_adopts_takes_no_fields_of_what_it_holds() {
    let rig = Rig::new().await;
    let (folder, mut events) = rig.follow(&[("a.yaml", &with(&[("k", "1")]))]).await;
    next(&mut events, done).await;
    rig.patch(SHOP, json!({"spec": {"adopt": true}})).await;
    rig.seen().await;
    edit(&rig, json!({"mine": "7"})).await;
    folder.write("a.yaml", &with(&[("mine", "8")]));
    let errors = next(&mut events, failed).await;
    assert!(errors[0].contains(".data.mine"), "{errors:?}");
}

#[tokio::test]
async fn a_one_shot_names_both_owners() {
    let rig = Rig::new().await;
    rig.apply(&[("a.yaml", &with(&[("k", "1")]))], &Options::default()).await.unwrap();
    edit(&rig, json!({"k": "7"})).await;
    let error = rig.apply(&[("a.yaml", &with(&[("k", "2")]))], &Options::default()).await.unwrap_err().to_string();
    assert!(error.starts_with("a.yaml:6:3: ConfigMap default/a: .data.k: conflict with \"kubectl-edit\""), "{error}");
    assert!(error.contains("(test, 2") && error.contains("this apply sets it, too"), "{error}");
    assert!(error.contains("--force-conflicts"), "{error}");
}

#[tokio::test]
async fn a_history_that_cannot_be_read_stops_no_sync() {
    let rig = Rig::new().await;
    rig.create(&format!("{MAPS}?fieldManager=kubectl-create"), &json!({"metadata": {"name": "a"}, "data": {"k": "0"}}))
        .await;
    let labels = json!({"selkie.dev/history-of": "shop"});
    // {"number":1}, and what was never packed.
    let revision = json!({"metadata": {"name": "revision.shop.1", "labels": labels}, "type": "selkie.dev/revision",
        "data": {"record": "eyJudW1iZXIiOjF9", "manifests": "AAAA"}});
    rig.create(&format!("/api/v1/namespaces/{NAMESPACE}/secrets"), &revision).await;
    let id = ObjectId {
        api_version: "v1".to_owned(),
        kind: "ConfigMap".to_owned(),
        namespace: "default".to_owned(),
        name: "a".to_owned(),
        uid: String::new(),
    };
    let options = Options { application: "shop".to_owned(), inventory: vec![id], ..Options::default() };
    rig.apply(&[("a.yaml", &with(&[("k", "1")]))], &options).await.unwrap();
    assert_eq!(data(&rig).await, json!({"k": "1"}));
}
