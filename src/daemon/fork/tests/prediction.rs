//! What a plan says, and what then happens.

use super::rig::{Rig, config_map, deployment};
use crate::api::changeset::ObjectId;
use crate::api::plan::{Consequences, PlanStatus, PodAction};
use proptest::prelude::*;
use serde_json::{Value, json};
use std::collections::BTreeMap;

/// An app as a change set has it: replicas, image, cpu request in tenths, maxSurge.
type App = (u32, u8, u32, bool);

fn object(index: usize, (replicas, image, cpu, surge): App) -> Value {
    let mut made = deployment(&format!("app-{index}"), replicas, &format!("image:{image}"));
    made["spec"]["template"]["spec"]["containers"][0]["resources"]["requests"]["cpu"] = json!(format!("{cpu}00m"));
    let (most, away) = if surge { (1, 0) } else { (0, 1) };
    made["spec"]["strategy"] =
        json!({"type": "RollingUpdate", "rollingUpdate": {"maxSurge": most, "maxUnavailable": away}});
    made
}

fn id(index: usize) -> ObjectId {
    ObjectId {
        api_version: "apps/v1".into(),
        kind: "Deployment".into(),
        namespace: "default".into(),
        name: format!("app-{index}"),
        uid: String::new(),
    }
}

/// Pods per host, by the ReplicaSet that made them.
type Placement = BTreeMap<String, Vec<String>>;

fn new_pods(
    before: &BTreeMap<String, Vec<(String, String)>>,
    after: &BTreeMap<String, Vec<(String, String)>>,
) -> Placement {
    let known: Vec<&String> = before.values().flatten().map(|(uid, _)| uid).collect();
    let mut placement = Placement::new();
    for (owner, pods) in after {
        let new = pods.iter().filter(|(uid, _)| !known.contains(&uid)).map(|(_, host)| host.clone());
        let mut new: Vec<String> = new.collect();
        new.sort();
        if !new.is_empty() {
            placement.insert(owner.clone(), new);
        }
    }
    placement
}

fn predicted(found: &Consequences) -> Placement {
    let mut placement = Placement::new();
    for step in found.workloads.iter().flat_map(|workload| &workload.steps) {
        if step.action == PodAction::Create {
            let owner = step.pod.trim_end_matches("-*").to_owned();
            placement.entry(owner).or_default().push(step.host.clone());
        }
    }
    placement.values_mut().for_each(|hosts| hosts.sort());
    placement
}

/// Pods by the ReplicaSet that made them.
fn count(placement: &Placement) -> BTreeMap<&str, usize> {
    placement.iter().map(|(owner, hosts)| (owner.as_str(), hosts.len())).collect()
}

/// Whether each pod had a host that was the best by far. Where it had not, what happens in the same
/// moment (a pod that ends, one that becomes ready) decides between hosts that are nearly as good.
fn clear(found: &Consequences) -> bool {
    const LEAD: i64 = 20;
    let created = found.workloads.iter().flat_map(|workload| &workload.steps);
    created.filter(|step| step.action == PodAction::Create).all(|step| {
        let hosts = step.verdict.iter().flat_map(|verdict| &verdict.hosts);
        let mut scores: Vec<i64> = hosts.filter_map(|host| host.score).collect();
        scores.sort_unstable_by(|a, b| b.cmp(a));
        !matches!(scores.as_slice(), [best, second, ..] if best - second < LEAD)
    })
}

async fn compare(before: Vec<App>, after: Vec<App>, removed: usize) {
    let rig = Rig::new(&["h1", "h2", "h3"]).await;
    rig.apply(before.iter().enumerate().map(|(index, app)| object(index, *app)).collect()).await;
    let mut objects: Vec<Value> = after.iter().enumerate().map(|(index, app)| object(index, *app)).collect();
    objects.push(config_map("new", "1"));
    let deletions: Vec<ObjectId> = (after.len()..before.len()).take(removed).map(id).collect();
    let (pods, state) = (rig.placed(), rig.store_state());
    let plan = rig.plan(objects.clone(), deletions.clone());
    let again = rig.plan(objects.clone(), deletions.clone());
    let bytes = |plan: &PlanStatus| serde_json::to_string(&plan.consequences).unwrap();
    assert_eq!(bytes(&plan), bytes(&again), "the same plan, byte for byte");
    assert!(rig.store_state() == state, "planning changes nothing");
    rig.change_and_rest(objects, deletions).await;
    let now = rig.placed();
    let gone =
        pods.values().flatten().filter(|(uid, _)| !now.values().flatten().any(|(other, _)| other == uid)).count();
    let (foretold, came) = (predicted(&plan.consequences), new_pods(&pods, &now));
    if clear(&plan.consequences) {
        assert_eq!(foretold, came, "{:#?}", plan.consequences);
    }
    assert_eq!(count(&foretold), count(&came), "{:#?}", plan.consequences);
    let deleted: u64 = plan.consequences.workloads.iter().map(|workload| workload.replaced + workload.deleted).sum();
    assert_eq!(deleted, gone as u64, "{:#?}", plan.consequences);
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 12, ..ProptestConfig::default() })]
    /// One change at a time: as many pods come and go as was foretold, where it was foretold.
    #[test]
    fn a_plan_comes_true(
        before in prop::collection::vec((1u32..5, 0u8..3, 1u32..9, any::<bool>()), 1..4),
        change in (0u32..6, 0u8..3, 1u32..9, any::<bool>()),
        at in 0usize..4,
        removed in 0usize..2,
    ) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build().unwrap();
        let mut after = before.clone();
        if removed == 1 && after.len() > 1 {
            after.pop();
        }
        let at = at % (after.len() + 1);
        match after.get_mut(at) {
            Some(app) => *app = change,
            None => after.push(change),
        }
        runtime.block_on(compare(before, after, removed));
    }
}
