//! Plans of what is applied in stages.

use super::rig::{Rig, config_map, deployment, pod};
use crate::api::changeset::ObjectId;
use crate::api::plan::{Order, PlanStatus, PodAction, PodStep};
use crate::daemon::fork::Request;
use crate::gitops::readiness::Health;
use serde_json::{Value, json};
use tokio_util::sync::CancellationToken;

fn annotated(mut object: Value, name: &str, value: &str) -> Value {
    object["metadata"]["annotations"] = json!({ name: value });
    object
}

fn in_wave(object: Value, wave: &str) -> Value {
    annotated(object, "selkie.dev/sync-wave", wave)
}

fn hook(name: &str, phase: &str) -> Value {
    let job = json!({
        "apiVersion": "batch/v1", "kind": "Job", "metadata": {"name": name, "namespace": "default"},
        "spec": {"template": {"spec": {"restartPolicy": "Never", "containers": [{"name": "c", "image": "tool:1"}]}}},
    });
    annotated(job, "selkie.dev/hook", phase)
}

fn plan(rig: &Rig, objects: Vec<Value>, deletions: Vec<ObjectId>, hooks: Vec<Value>) -> PlanStatus {
    let order = Some(Order { hooks, first: false, stage_seconds: None });
    rig.plan_until(
        Request { spec: rig.spec(objects, deletions), order, health: Health::default() },
        CancellationToken::new(),
    )
}

fn steps<'a>(plan: &'a PlanStatus, name: &str) -> &'a [PodStep] {
    let found = plan.consequences.workloads.iter().find(|workload| workload.id.name == name);
    found.map(|workload| workload.steps.as_slice()).unwrap_or_default()
}

#[tokio::test(start_paused = true)]
async fn each_stage_begins_when_the_one_before_is_ready() {
    let rig = Rig::new(&["h1", "h2"]).await;
    let state = rig.store_state();
    let objects = vec![in_wave(deployment("late", 1, "web:1"), "1"), deployment("web", 2, "web:1")];
    let plan = plan(&rig, objects, vec![], vec![hook("migrate", "PreSync"), hook("check", "PostSync")]);
    assert!(rig.store_state() == state, "planning changes nothing");
    let found = &plan.consequences;
    assert!(found.settled && found.problems.is_empty(), "{found:#?}");
    let began = |name: &str| {
        let steps = steps(&plan, name);
        assert!(!steps.is_empty() && steps.iter().all(|step| step.action == PodAction::Create && step.ready));
        steps[0].at
    };
    let times = ["migrate", "web", "late", "check"].map(began);
    assert!(times.is_sorted_by(|a, b| a < b), "{times:?}");
    let kinds: Vec<_> = plan.change.results.iter().map(|result| result.id.kind.as_str()).collect();
    assert_eq!(kinds, ["Deployment", "Deployment"], "hooks are run, and not kept");
}

#[tokio::test(start_paused = true)]
async fn a_stage_that_does_not_become_ready_ends_the_sync() {
    let rig = Rig::new(&["h1"]).await;
    rig.apply(vec![pod("old", "web:1"), config_map("c", "1")]).await;
    let mut large = deployment("large", 1, "web:1");
    large["spec"]["template"]["spec"]["containers"][0]["resources"] = json!({"requests": {"cpu": "64"}});
    let objects = vec![in_wave(deployment("late", 1, "web:1"), "1"), large];
    let id = |kind: &str, name: &str| ObjectId {
        api_version: "v1".into(),
        kind: kind.into(),
        namespace: "default".into(),
        name: name.into(),
        uid: String::new(),
    };
    let plan = plan(&rig, objects, vec![id("Pod", "old"), id("ConfigMap", "c")], vec![hook("alarm", "SyncFail")]);
    let found = &plan.consequences;
    let told: Vec<_> =
        found.problems.iter().map(|problem| (problem.object.name.as_str(), problem.reason.as_str())).collect();
    assert_eq!(told, [("large", "SyncStops"), ("large", "Unschedulable")], "{found:#?}");
    assert!(!found.settled && found.cut_short.is_empty(), "{found:#?}");
    assert_eq!((steps(&plan, "late").len(), steps(&plan, "old").len(), steps(&plan, "alarm").len()), (0, 0, 1));
}

#[tokio::test(start_paused = true)]
async fn where_nothing_changes_hooks_of_an_application_are_not_run() {
    use crate::api::changeset::{ChangeSetSpec, DeletionLabel};
    let rig = Rig::new(&["h1"]).await;
    rig.apply(vec![config_map("c", "1")]).await;
    let plan = |label: Option<DeletionLabel>| {
        let spec = ChangeSetSpec { deletion_label: label, ..rig.spec(vec![config_map("c", "1")], vec![]) };
        let order = Some(Order { hooks: vec![hook("migrate", "PreSync")], first: false, stage_seconds: None });
        rig.plan_until(Request { spec, order, health: Health::default() }, CancellationToken::new())
    };
    let label = DeletionLabel { name: "selkie.dev/application".into(), value: "shop".into() };
    assert_eq!(plan(Some(label)).consequences.workloads.len(), 0);
    assert_eq!(plan(None).consequences.workloads.len(), 1, "a one-shot always runs them");
}

#[tokio::test(start_paused = true)]
async fn a_stage_has_the_time_that_the_application_gives_it() {
    let rig = Rig::new(&["h1"]).await;
    let mut slow = deployment("slow", 1, "web:1");
    slow["spec"]["minReadySeconds"] = json!(400);
    let objects = vec![in_wave(deployment("late", 1, "web:1"), "1"), slow];
    for (stage_seconds, late) in [(None, 0), (Some(600), 1)] {
        let spec = rig.spec(objects.clone(), vec![]);
        let order = Some(Order { hooks: vec![], first: false, stage_seconds });
        let plan = rig.plan_until(Request { spec, order, health: Health::default() }, CancellationToken::new());
        assert_eq!(steps(&plan, "late").len(), late, "{stage_seconds:?}: {:#?}", plan.consequences);
    }
}
