//! What a plan says, and what then happens.

use super::rig::{Rig, config_map, deployment};
use crate::api::changeset::ObjectId;
use crate::api::plan::{Consequences, PlanStatus, PodAction};
use crate::daemon::fork::hosts::{PULLING, STARTING, STOPPING};
use proptest::prelude::*;
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::time::Duration;

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

/// Whether the plan says that it does not know which workload gets which host.
fn may_swap_hosts(found: &Consequences) -> bool {
    found.assumptions.iter().any(|assumption| assumption.contains("they may swap hosts"))
}

/// Plans, lets `pause` seconds pass, applies: the pods are where the plan said.
async fn compare(before: Vec<App>, after: Vec<App>, removed: usize, pause: u64, times: [Duration; 3]) {
    let rig = Rig::with(&["h1", "h2", "h3"], times).await;
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
    tokio::time::sleep(Duration::from_secs(pause)).await;
    rig.change_and_rest(objects, deletions).await;
    let now = rig.placed();
    let gone =
        pods.values().flatten().filter(|(uid, _)| !now.values().flatten().any(|(other, _)| other == uid)).count();
    let (foretold, found) = (predicted(&plan.consequences), new_pods(&pods, &now));
    if may_swap_hosts(&plan.consequences) && foretold != found {
        // That is what the plan says of several workloads: how many, and not more.
        let counts = |placement: &Placement| -> Vec<(String, usize)> {
            placement.iter().map(|(owner, hosts)| (owner.clone(), hosts.len())).collect()
        };
        assert_eq!(counts(&foretold), counts(&found), "{:#?}", plan.consequences);
    } else {
        assert_eq!(foretold, found, "{:#?}", plan.consequences);
    }
    let deleted: u64 = plan.consequences.workloads.iter().map(|workload| workload.replaced + workload.deleted).sum();
    assert_eq!(deleted, gone as u64, "{:#?}", plan.consequences);
}

fn compared(before: Vec<App>, after: Vec<App>, removed: usize, pause: u64, times: [Duration; 3]) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build().unwrap();
    runtime.block_on(compare(before, after, removed, pause, times));
}

const ASSUMED: [Duration; 3] = [STARTING, STOPPING, PULLING];

/// Which of the old pods goes first must not be left to their uids.
#[test]
fn the_old_pods_go_in_the_order_foretold() {
    compared(vec![(1, 1, 1, false)], vec![(5, 0, 6, true)], 0, 0, ASSUMED);
}

/// How long a pod that no host took still backs off must not be left to what the scheduler remembers.
#[test]
fn who_waits_gets_a_host_when_foretold() {
    let before = vec![(2, 2, 28, false), (2, 0, 21, false), (3, 0, 32, false)];
    compared(before, vec![(1, 0, 1, false), (4, 0, 1, false)], 0, 0, ASSUMED);
}

/// A case takes half a second: few by default, as many as PROPTEST_CASES asks for.
fn cases() -> u32 {
    std::env::var("PROPTEST_CASES").ok().and_then(|cases| cases.parse().ok()).unwrap_or(12)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: cases(), ..ProptestConfig::default() })]
    /// One change at a time: the placement is exactly what was foretold.
    #[test]
    fn a_plan_comes_true(
        before in prop::collection::vec((1u32..5, 0u8..3, 1u32..9, any::<bool>()), 1..4),
        change in (0u32..6, 0u8..3, 1u32..9, any::<bool>()),
        at in 0usize..4,
        removed in 0usize..2,
    ) {
        let mut after = before.clone();
        if removed == 1 && after.len() > 1 {
            after.pop();
        }
        let at = at % (after.len() + 1);
        match after.get_mut(at) {
            Some(app) => *app = change,
            None => after.push(change),
        }
        compared(before, after, removed, 0, ASSUMED);
    }

    /// Where there is room, containers may start and stop as slowly as they like. Pulls take what the
    /// plan says that it assumes: they decide which pods are ready before others, and so which go.
    #[test]
    fn a_plan_comes_true_on_fast_and_slow_hosts(
        before in prop::collection::vec((1u32..5, 0u8..3, 1u32..9, any::<bool>()), 1..4),
        change in (0u32..6, 0u8..3, 1u32..9, any::<bool>()),
        at in 0usize..3,
        start in 0u64..3000,
        stop in 0u64..20_000,
    ) {
        let mut after = before.clone();
        let at = at % after.len();
        after[at] = change;
        compared(before, after, 0, 0, [Duration::from_millis(start), Duration::from_millis(stop), PULLING]);
    }

    /// All at once, and some time later, where there is room: which of several workloads are left
    /// without it is not foretold.
    #[test]
    fn a_plan_of_everything_comes_true(
        before in prop::collection::vec((1u32..5, 0u8..3, 1u32..9, any::<bool>()), 1..4),
        after in prop::collection::vec((1u32..7, 0u8..3, 1u32..9, any::<bool>()), 1..4),
        removed in 0usize..2,
        pause in 0u64..30,
    ) {
        compared(before, after, removed, pause, ASSUMED);
    }
}
