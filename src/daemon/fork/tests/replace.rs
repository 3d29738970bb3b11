//! What cannot change in place.

use super::rig::{Rig, config_map, deployment};
use crate::api::changeset::{ChangeAction, ChangeSetSpec};
use crate::api::plan::PodAction;
use serde_json::json;

#[tokio::test(start_paused = true)]
async fn what_cannot_change_is_deleted_and_made_again() {
    let rig = Rig::new(&["h1", "h2"]).await;
    rig.apply(vec![deployment("web", 2, "web:1")]).await;
    let mut other = deployment("web", 2, "web:1");
    other["spec"]["selector"]["matchLabels"] = json!({"app": "web", "tier": "front"});
    other["spec"]["template"]["metadata"]["labels"] = json!({"app": "web", "tier": "front"});
    assert!(!rig.plan(vec![other.clone()], vec![]).change.applied);

    let spec = ChangeSetSpec { replace: true, ..rig.spec(vec![other], vec![]) };
    let plan = rig.plan_spec(spec.clone());
    let [result] = plan.change.results.as_slice() else { panic!("{plan:#?}") };
    assert_eq!(
        (result.action, result.reason.as_str()),
        (ChangeAction::Replaced, "spec.selector cannot change in place")
    );
    let found = plan.consequences;
    assert!(found.settled, "{found:#?}");
    assert_eq!(found.restarts(), 2);
    let gone = found.workloads[0].steps.iter().filter(|step| step.action == PodAction::Delete && step.ready);
    assert_eq!(gone.count(), 2);

    let before = rig.api.change(&ChangeSetSpec { dry_run: true, ..spec.clone() }).await.unwrap();
    assert_eq!(before.results[0].action, ChangeAction::Replaced, "a dry run says so too");
    let done = rig.api.change(&spec).await.unwrap();
    assert!(done.applied);
    let uid = |object: &serde_json::Value| object["metadata"]["uid"].clone();
    let result = &done.results[0];
    assert_ne!(uid(result.before.as_ref().unwrap()), uid(result.after.as_ref().unwrap()));
}

#[tokio::test(start_paused = true)]
async fn a_new_namespace_and_what_lives_in_it_are_one_change() {
    let rig = Rig::new(&["h1"]).await;
    let mut web = deployment("web", 1, "web:1");
    web["metadata"]["namespace"] = json!("shop");
    let namespace = json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "shop"}});
    let found = rig.plan(vec![web, namespace], vec![]).consequences;
    assert!(found.settled && found.workloads[0].steps[0].ready, "{found:#?}");
}

#[tokio::test(start_paused = true)]
async fn what_nobody_lets_go_is_where_the_sync_stops() {
    let rig = Rig::new(&["h1"]).await;
    let held = |value: &str| {
        let mut map = config_map("held", value);
        (map["immutable"], map["metadata"]["finalizers"]) = (json!(true), json!(["example.com/hold"]));
        map
    };
    rig.apply(vec![held("1")]).await;
    let spec = ChangeSetSpec { replace: true, ..rig.spec(vec![held("2"), deployment("web", 1, "web:1")], vec![]) };
    let plan = rig.plan_spec(spec);
    assert!(plan.change.results[0].pending && !plan.change.results[1].pending, "{:#?}", plan.change);
    let found = plan.consequences;
    let [problem] = found.problems.as_slice() else { panic!("{found:#?}") };
    assert_eq!((problem.object.name.as_str(), problem.reason.as_str()), ("held", "SyncStops"));
    assert!(problem.message.contains("its finalizer example.com/hold has to be taken away"), "{problem:?}");
    assert!(!found.settled && found.workloads[0].steps[0].ready, "the rest goes on: {found:#?}");
}
