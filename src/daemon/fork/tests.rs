//! Plans of a cluster with hollow hosts, beside what the cluster then does.
#![allow(clippy::unwrap_used)]

mod claims;
mod clashes;
mod everything;
mod judging;
mod prediction;
mod replace;
mod restarts;
mod rig;
mod staged;
mod things;

use super::Request;
use crate::api::changeset::ObjectId;
use crate::api::plan::{PodAction, PodStep};
use crate::gitops::readiness::Health;
use rig::{Rig, config_map, deployment};
use serde_json::{Value, json};
use tokio_util::sync::CancellationToken;

fn hosts(steps: &[PodStep], action: PodAction) -> Vec<&str> {
    steps.iter().filter(|step| step.action == action).map(|step| step.host.as_str()).collect()
}

#[tokio::test(start_paused = true)]
async fn a_rollout_is_what_the_chain_does() {
    let rig = Rig::new(&["h1", "h2"]).await;
    rig.apply(vec![deployment("web", 3, "web:1")]).await;
    let before = rig.store_state();
    let plan = rig.plan(vec![deployment("web", 3, "web:2")], vec![]);
    assert_eq!(rig.store_state(), before, "planning changes nothing");
    let found = &plan.consequences;
    assert!(found.settled, "{found:#?}");
    assert_eq!(found.restarts(), 3);
    let [web] = found.workloads.as_slice() else { panic!("{:#?}", found.workloads) };
    assert_eq!((web.id.kind.as_str(), web.replaced, web.created, web.deleted), ("Deployment", 3, 0, 0));
    let new: Vec<_> = web.steps.iter().filter(|step| step.action == PodAction::Create).collect();
    assert!(new.iter().all(|step| step.ready && step.pod.ends_with("-*") && step.verdict.is_some()), "{new:#?}");
    assert_eq!(web.steps[0].action, PodAction::Create, "the surge comes first");
    assert_eq!(found.pulls.len(), 1);
    assert_eq!(found.pulls[0].image, "web:2");
    assert_eq!(found.problems, []);
    // The same again, byte for byte.
    let again = rig.plan(vec![deployment("web", 3, "web:2")], vec![]);
    assert_eq!(serde_json::to_string(&again.consequences).unwrap(), serde_json::to_string(found).unwrap());
}

#[tokio::test(start_paused = true)]
async fn pods_that_come_and_go_on_the_way_are_not_told() {
    let rig = Rig::new(&["h1"]).await;
    rig.apply(vec![deployment("web", 1, "web:1")]).await;
    // The old ReplicaSet grows before it shrinks.
    let found = rig.plan(vec![deployment("web", 2, "web:2")], vec![]).consequences;
    let [web] = found.workloads.as_slice() else { panic!("{:#?}", found.workloads) };
    assert_eq!((web.replaced, web.created, web.deleted), (1, 1, 0), "{web:#?}");
}

#[tokio::test(start_paused = true)]
async fn a_plan_that_gives_up_says_that_it_does_not_know() {
    let rig = Rig::new(&["h1", "h2"]).await;
    rig.apply(vec![deployment("web", 3, "web:1")]).await;
    let stop = CancellationToken::new();
    stop.cancel();
    let request =
        Request { spec: rig.spec(vec![deployment("web", 3, "web:2")], vec![]), order: None, health: Health::default() };
    let found = rig.plan_until(request, stop).consequences;
    assert_eq!(found.cut_short, "looking ahead took longer than 120 s");
    assert!(!found.settled && found.problems.is_empty(), "not ready yet is no problem: {found:#?}");
    let whole = rig.plan(vec![deployment("web", 3, "web:2")], vec![]).consequences;
    assert_eq!((whole.cut_short.as_str(), whole.restarts()), ("", 3));
}

#[tokio::test(start_paused = true)]
async fn what_runs_already_stays() {
    let rig = Rig::new(&["h1", "h2"]).await;
    rig.apply(vec![deployment("web", 2, "web:1"), deployment("other", 2, "web:1"), config_map("c", "1")]).await;
    let plan =
        rig.plan(vec![deployment("web", 3, "web:1"), deployment("other", 2, "web:1"), config_map("c", "2")], vec![]);
    let found = plan.consequences;
    assert!(found.settled && found.pulls.is_empty() && found.problems.is_empty(), "{found:#?}");
    assert_eq!(found.restarts(), 0);
    let [web] = found.workloads.as_slice() else { panic!("{:#?}", found.workloads) };
    assert_eq!((web.created, web.steps.len()), (1, 1));
    let assumed = [
        "containers start and stay up, and probes pass",
        "starting a container takes 0.7 s: where it takes longer, a host may be free earlier or later",
    ];
    assert_eq!(found.assumptions, assumed, "nothing is pulled, nothing stops, and one workload is alone");
    let both = rig.plan(vec![deployment("web", 3, "web:1"), deployment("other", 3, "web:1")], vec![]).consequences;
    assert!(both.assumptions.iter().any(|one| one.contains("of several workloads")), "{:?}", both.assumptions);
    let nothing = rig.plan(vec![deployment("web", 2, "web:1")], vec![]);
    assert!(nothing.change.applied && nothing.consequences.workloads.is_empty());
}

#[tokio::test(start_paused = true)]
async fn what_is_there_to_end_ends() {
    let rig = Rig::new(&["h1"]).await;
    let mut prepared = deployment("prepared", 1, "web:1");
    prepared["spec"]["template"]["spec"]["initContainers"] = json!([{"name": "first", "image": "tool:1"}]);
    let job = json!({
        "apiVersion": "batch/v1", "kind": "Job", "metadata": {"name": "once", "namespace": "default"},
        "spec": {"template": {"spec": {"restartPolicy": "Never", "containers": [{"name": "c", "image": "tool:1"}]}}},
    });
    let found = rig.plan(vec![prepared, job], vec![]).consequences;
    assert!(found.settled, "{found:#?}");
    assert_eq!(found.problems, []);
}

#[tokio::test(start_paused = true)]
async fn what_time_and_load_decide_is_left_out_and_said() {
    let rig = Rig::new(&["h1"]).await;
    let template = json!({"spec": {"restartPolicy": "Never", "containers": [{"name": "c", "image": "tool:1"}]}});
    let nightly = json!({
        "apiVersion": "batch/v1", "kind": "CronJob", "metadata": {"name": "nightly", "namespace": "default"},
        "spec": {"schedule": "0 3 * * *", "jobTemplate": {"spec": {"template": template}}},
    });
    let target = json!({"apiVersion": "apps/v1", "kind": "Deployment", "name": "web"});
    let autoscaler = json!({
        "apiVersion": "autoscaling/v2", "kind": "HorizontalPodAutoscaler",
        "metadata": {"name": "web", "namespace": "default"},
        "spec": {"scaleTargetRef": target, "minReplicas": 2, "maxReplicas": 4},
    });
    let found = rig.plan(vec![deployment("web", 1, "web:1"), nightly, autoscaler], vec![]).consequences;
    let says = |start: &str| found.assumptions.iter().any(|one| one.starts_with(start));
    assert!(says("CronJobs start nothing") && says("autoscalers change nothing"), "{:?}", found.assumptions);
    assert_eq!(found.workloads.iter().map(|one| one.steps.len()).sum::<usize>(), 1);
}

#[tokio::test(start_paused = true)]
async fn no_host_fits_in_the_schedulers_words() {
    let rig = Rig::new(&["h1", "h2"]).await;
    let mut large = deployment("large", 1, "web:1");
    large["spec"]["template"]["spec"]["containers"][0]["resources"] = json!({"requests": {"cpu": "64"}});
    let found = rig.plan(vec![large], vec![]).consequences;
    let [problem] = found.problems.as_slice() else { panic!("{found:#?}") };
    assert_eq!(problem.reason, "Unschedulable");
    assert_eq!(
        problem.message,
        "0/2 nodes are available: 2 Insufficient cpu. preemption: 0/2 nodes are available: 2 Preemption is not helpful for scheduling."
    );
    assert_eq!((problem.object.name.as_str(), problem.pods), ("large", 1));
    assert!(!found.settled);
    let verdict = found.workloads[0].steps[0].verdict.clone().unwrap();
    assert_eq!(verdict.hosts[1].reasons, ["Insufficient cpu"]);
}

#[tokio::test(start_paused = true)]
async fn missing_references_are_named() {
    let rig = Rig::new(&["h1"]).await;
    let mut reads = deployment("reads", 2, "web:1");
    let container = &mut reads["spec"]["template"]["spec"]["containers"][0];
    container["envFrom"] = json!([{"configMapRef": {"name": "settings"}}]);
    let found = rig.plan(vec![reads.clone()], vec![]).consequences;
    let [problem] = found.problems.as_slice() else { panic!("{found:#?}") };
    assert_eq!((problem.reason.as_str(), problem.pods), ("CreateContainerConfigError", 2));
    assert!(problem.message.contains("configmap \"settings\" not found"), "{problem:?}");
    assert_eq!((found.settled, found.cut_short.as_str()), (false, ""), "it comes to rest");
    let found = rig.plan(vec![reads, config_map("settings", "1")], vec![]).consequences;
    assert!(found.settled && found.problems.is_empty(), "{found:#?}");
    let mut mounts = deployment("mounts", 1, "web:1");
    mounts["spec"]["template"]["spec"]["volumes"] = json!([{"name": "conf", "configMap": {"name": "settings"}}]);
    let found = rig.plan(vec![mounts.clone()], vec![]).consequences;
    let [problem] = found.problems.as_slice() else { panic!("{found:#?}") };
    assert_eq!(problem.reason, "FailedMount");
    assert!(problem.message.contains("configmap \"settings\" not found"), "{problem:?}");
    let found = rig.plan(vec![mounts, config_map("settings", "1")], vec![]).consequences;
    assert!(found.settled && found.problems.is_empty(), "{found:#?}");
}

#[tokio::test(start_paused = true)]
async fn all_references_that_lead_nowhere_are_told_at_once() {
    let rig = Rig::new(&["h1"]).await;
    let told = |objects: Vec<Value>, deletions: Vec<ObjectId>| -> Vec<String> {
        let found = rig.plan(objects, deletions).consequences;
        let all = found.problems.iter();
        all.map(|one| format!("{} {}: {}", one.object.name, one.reason, one.message)).collect()
    };
    // Its pods do not come further than to the volume.
    let mut web = deployment("web", 1, "web:1");
    let spec = &mut web["spec"]["template"]["spec"];
    spec["volumes"] = json!([{"name": "keys", "secret": {"secretName": "keys"}}]);
    spec["containers"][0]["env"] = json!([
        {"name": "A", "valueFrom": {"configMapKeyRef": {"name": "settings", "key": "a"}}},
        {"name": "B", "valueFrom": {"configMapKeyRef": {"name": "settings", "key": "b"}}},
        {"name": "C", "valueFrom": {"configMapKeyRef": {"name": "settings", "key": "c", "optional": true}}},
    ]);
    let reading = json!({"name": "c", "image": "tool:1", "envFrom": [{"configMapRef": {"name": "settings"}}]});
    let template = json!({"spec": {"restartPolicy": "Never", "containers": [reading]}});
    let nightly = json!({
        "apiVersion": "batch/v1", "kind": "CronJob", "metadata": {"name": "nightly", "namespace": "default"},
        "spec": {"schedule": "0 3 * * *", "jobTemplate": {"spec": {"template": template}}},
    });
    let mut settings = config_map("settings", "1");
    settings["data"] = json!({"a": "1"});
    let keys = json!({"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "keys", "namespace": "default"}});
    let alone = told(vec![web.clone(), nightly.clone()], vec![]);
    let [pods_say, web_lacks, nightly_lacks] = alone.as_slice() else { panic!("{alone:#?}") };
    assert_eq!(
        nightly_lacks,
        "nightly MissingReference: ConfigMap \"settings\" is not there, and container c needs it"
    );
    assert!(pods_say.starts_with("web FailedMount: ") && pods_say.contains("\"keys\" not found"), "{pods_say}");
    assert_eq!(web_lacks, "web MissingReference: ConfigMap \"settings\" is not there, and container c needs it");
    let some = told(vec![web.clone(), nightly.clone(), settings.clone()], vec![]);
    let [_, lacks_key] = some.as_slice() else { panic!("{some:#?}") };
    assert_eq!(lacks_key, "web MissingReference: ConfigMap \"settings\" has no key \"b\", and container c needs it");
    settings["data"]["b"] = json!("2");
    rig.apply(vec![web, nightly, settings, keys]).await;
    // Who uses it is not in the change set.
    let id = ObjectId { kind: "ConfigMap".into(), api_version: "v1".into(), ..of_default("settings") };
    let gone = told(vec![], vec![id]);
    let goes = "MissingReference: ConfigMap \"settings\" goes, and container";
    assert_eq!(gone, ["web", "nightly"].map(|who| format!("{who} {goes} c needs it")));
}

fn of_default(name: &str) -> ObjectId {
    ObjectId { namespace: "default".into(), name: name.into(), ..ObjectId::default() }
}

#[tokio::test(start_paused = true)]
async fn deletions_name_what_goes_with_them() {
    let rig = Rig::new(&["h1", "h2"]).await;
    let mut store = deployment("store", 2, "web:1");
    store["spec"]["template"]["spec"]["volumes"] = json!([{"name": "cache", "emptyDir": {}}]);
    rig.apply(vec![store]).await;
    let id = ObjectId {
        api_version: "apps/v1".into(),
        kind: "Deployment".into(),
        namespace: "default".into(),
        name: "store".into(),
        uid: String::new(),
    };
    let found = rig.plan(vec![], vec![id]).consequences;
    assert!(found.settled, "{found:#?}");
    assert_eq!((found.losses[0].pods, found.losses[0].volumes.clone()), (2, vec!["emptyDir cache".to_owned()]));
    assert_eq!((found.workloads[0].deleted, found.restarts()), (2, 0));
    assert_eq!(hosts(&found.workloads[0].steps, PodAction::Delete).len(), 2);
}

#[tokio::test(start_paused = true)]
async fn errors_are_all_told_and_nothing_is_run() {
    let rig = Rig::new(&["h1"]).await;
    let mut wrong = deployment("wrong", 1, "web:1");
    wrong["spec"]["replicas"] = json!(-1);
    let mut lost = config_map("lost", "1");
    lost["metadata"]["namespace"] = json!("nowhere");
    let plan = rig.plan(vec![wrong, lost], vec![]);
    assert!(!plan.change.applied);
    assert_eq!(plan.change.results.iter().filter(|result| result.error.is_some()).count(), 2);
    assert!(plan.consequences.workloads.is_empty());
}
