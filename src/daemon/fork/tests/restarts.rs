//! Containers that start again where they are.

use super::rig::{Rig, pod};
use crate::api::plan::PodAction;
use crate::store::{Store, key};
use serde_json::{Value, json};

fn container_restarts(rig: &Rig, name: &str) -> u64 {
    let record = rig.store.get(&key("", "pods", "default", name)).unwrap();
    let pod: Value = serde_json::from_slice(&record.value.bytes()).unwrap();
    pod["status"]["containerStatuses"][0]["restartCount"].as_u64().unwrap()
}

#[tokio::test(start_paused = true)]
async fn an_image_that_changes_in_place_restarts_its_container() {
    let rig = Rig::new(&["h1"]).await;
    rig.apply(vec![pod("alone", "web:1"), pod("other", "web:1")]).await;
    let found = rig.plan(vec![pod("alone", "web:2"), pod("other", "web:1")], vec![]).consequences;
    let [alone] = found.workloads.as_slice() else { panic!("{found:#?}") };
    assert_eq!((alone.id.name.as_str(), alone.restarted, found.restarts()), ("alone", 1, 1));
    let [step] = alone.steps.as_slice() else { panic!("{alone:#?}") };
    assert_eq!((step.action, step.host.as_str(), step.ready), (PodAction::Restart, "h1", true));
    assert!(found.settled && found.problems.is_empty(), "{found:#?}");
    assert_eq!(found.pulls.iter().map(|pull| pull.image.as_str()).collect::<Vec<_>>(), ["web:2"]);
    rig.apply(vec![pod("alone", "web:2")]).await;
    rig.until(|| container_restarts(&rig, "alone") == 1).await;
    assert_eq!(container_restarts(&rig, "other"), 0);
}

#[tokio::test(start_paused = true)]
async fn a_pod_made_again_under_its_name_is_replaced_and_not_restarted() {
    let rig = Rig::new(&["h1"]).await;
    let with_port = |command: &str| {
        let mut made = pod("alone", "web:1");
        made["spec"]["containers"][0]["command"] = json!([command]);
        made["spec"]["containers"][0]["ports"] = json!([{"containerPort": 80, "hostPort": 8080}]);
        made
    };
    rig.apply(vec![with_port("a")]).await;
    let mut spec = rig.spec(vec![with_port("b")], vec![]);
    spec.replace = true;
    let found = rig.plan_spec(spec).consequences;
    let [alone] = found.workloads.as_slice() else { panic!("{found:#?}") };
    assert_eq!((alone.replaced, alone.restarted, alone.created, alone.deleted), (1, 0, 0, 0), "{alone:#?}");
    assert!(found.settled && alone.steps.iter().all(|step| step.ready), "{found:#?}");
}
