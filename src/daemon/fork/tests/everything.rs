//! Changes of objects of every kind at once: what the plan says of objects and pods is what then happens.

use super::rig::Rig;
use super::things::{Case, cases, hooks, storage_class};
use crate::api::changeset::{ChangeAction, ChangeResult, ChangeSetSpec, ObjectId};
use crate::api::plan::{Consequences, Order, PodAction};
use crate::daemon::fork::journal::Journal;
use crate::daemon::fork::{Request, pods, stages};
use crate::gitops::readiness::Health;
use crate::gitops::sync::{REPLACED_LIMIT, finish_replacements};
use crate::store::{Record, Store, bucket};
use proptest::strategy::{Strategy, ValueTree};
use proptest::test_runner::{Config, RngAlgorithm, TestRng, TestRunner};
use serde_json::Value;
use std::collections::BTreeMap;
use std::sync::Arc;
use tokio_util::sync::CancellationToken;

/// Cases by default; `EVERYTHING=100..200` tries those seeds instead.
const SEEDS: std::ops::Range<u64> = 0..3;

/// What happens to the pods of one object.
#[derive(Debug, Default, PartialEq)]
struct Fate {
    made: usize,
    /// Of those made.
    ready: usize,
    gone: usize,
    restarted: usize,
    /// Of those made, sorted; where they are not foretold, empty.
    hosts: Vec<String>,
}

type Fates = BTreeMap<String, Fate>;

fn foretold(found: &Consequences) -> Fates {
    let mut fates = Fates::new();
    for workload in &found.workloads {
        let fate = fates.entry(workload.id.name.clone()).or_default();
        for step in &workload.steps {
            match step.action {
                PodAction::Create => {
                    fate.made += 1;
                    fate.ready += usize::from(step.ready);
                    fate.hosts.push(step.host.clone());
                }
                PodAction::Delete => fate.gone += 1,
                PodAction::Restart => fate.restarted += 1,
                PodAction::Bind => {}
            }
        }
        fate.hosts.sort();
        let counted = (workload.created + workload.replaced, workload.deleted + workload.replaced, workload.restarted);
        assert_eq!(counted, (fate.made as u64, fate.gone as u64, fate.restarted as u64), "{workload:#?}");
    }
    fates.retain(|_, fate| *fate != Fate::default());
    fates
}

fn object(record: &Record) -> Value {
    serde_json::from_slice(&record.value.bytes()).unwrap()
}

fn restarts(record: &Record) -> u64 {
    object(record)["status"]["containerStatuses"][0]["restartCount"].as_u64().unwrap_or(0)
}

/// The life of a pod since the change set.
struct Life {
    last: Arc<Record>,
    /// Before it was told to leave.
    ended: bool,
    leaves: bool,
    gone: bool,
}

/// Read from the real cluster's store, by the labels of its pods.
fn found(before: &BTreeMap<String, Arc<Record>>, journal: &Journal) -> Fates {
    let mut lives: BTreeMap<String, Life> = BTreeMap::new();
    for entry in journal.entries() {
        let (record, envelope) = (&entry.event.record, &entry.event.record.envelope);
        let new = || Life { last: record.clone(), ended: false, leaves: false, gone: false };
        let life = lives.entry(envelope.uid.clone()).or_insert_with(new);
        life.last = record.clone();
        life.ended |= pods::is_over(envelope) && envelope.deletion_timestamp.is_none();
        life.leaves |= entry.event.deleted || envelope.deletion_timestamp.is_some();
        life.gone |= entry.event.deleted;
    }
    let mut fates = Fates::new();
    for (uid, life) in lives {
        let pod = object(&life.last);
        let thing = pod["metadata"]["labels"]["thing"].as_str().unwrap().to_owned();
        let fate = fates.entry(thing).or_default();
        match before.get(&uid) {
            None if life.gone && !life.ended => {}
            None => {
                fate.made += 1;
                fate.ready += usize::from(pods::is_ready(&pod));
                fate.hosts.push(pods::host(&life.last.envelope).to_owned());
                fate.hosts.sort();
            }
            Some(before) if pods::is_over(&before.envelope) => {}
            Some(_) if life.leaves => fate.gone += 1,
            Some(before) => fate.restarted += usize::from(restarts(&life.last) > restarts(before)),
        }
    }
    fates.retain(|_, fate| *fate != Fate::default());
    fates
}

/// What the API server did to each object, without what is another each time.
fn outcome(result: &ChangeResult) -> (String, ChangeAction, String, Option<String>) {
    let lasting = |object: &Value| {
        let mut object = object.clone();
        let uid = object["metadata"]["uid"].as_str().unwrap().to_owned();
        object.as_object_mut().unwrap().remove("status");
        if let Some(spec) = object.get_mut("spec").and_then(Value::as_object_mut) {
            spec.retain(|field, _| !field.starts_with("clusterIP"));
        }
        let metadata = object["metadata"].as_object_mut().unwrap();
        metadata.retain(|field, _| ["name", "namespace", "labels", "annotations"].contains(&field.as_str()));
        object.to_string().replace(&uid, "*")
    };
    let id = format!("{} {}", result.id.kind, result.id.name);
    (id, result.action, result.reason.clone(), result.after.as_ref().map(lasting))
}

async fn compare(case: &Case) {
    let rig = Rig::new(&["h1", "h2", "h3"]).await;
    rig.change([vec![storage_class()], case.before()].concat(), vec![]).await;
    rig.quiet().await;
    let spec = ChangeSetSpec { replace: true, ..rig.spec(case.after(), case.deletions()) };
    let state = rig.store_state();
    let order = case.staged.then(|| Order { hooks: hooks(), first: false, stage_seconds: None });
    let request = Request { spec: spec.clone(), order: order.clone(), health: Health::default() };
    let plan = rig.plan_until(request, CancellationToken::new());
    assert!(rig.store_state() == state, "planning changes nothing");

    let all = rig.store.range(&bucket("", "pods"), None, None, 0).unwrap().records;
    let before = all.into_iter().map(|pod| (pod.envelope.uid.clone(), pod)).collect();
    let journal = Journal::follow(rig.store.as_ref(), rig.store.revision()).unwrap();
    let done = rig.api.change(&ChangeSetSpec { dry_run: case.staged, ..spec.clone() }).await.unwrap();
    let outcomes = |results: &[ChangeResult]| results.iter().map(outcome).collect::<Vec<_>>();
    assert_eq!(outcomes(&plan.change.results), outcomes(&done.results));
    assert!(done.applied, "{done:#?}");
    if order.is_none() {
        let mut status = done.clone();
        finish_replacements(&rig.client(), &*rig.registry, &spec, &mut status, REPLACED_LIMIT).await.unwrap();
        assert!(status.applied, "{status:#?}");
    }
    if let Some(order) = order {
        let failed = stages::go_through(&rig.client(), &rig.registry, &spec, &order, &Health::default()).await.unwrap();
        let failed: Vec<ObjectId> = failed.into_iter().map(|one| one.id).collect();
        let stops = plan.consequences.problems.iter().filter(|problem| problem.reason == "SyncStops");
        assert_eq!(stops.map(|problem| problem.object.clone()).collect::<Vec<_>>(), failed);
    }
    rig.quiet().await;

    let (mut foretold, mut found) = (foretold(&plan.consequences), found(&before, &journal));
    if plan.consequences.assumptions.iter().any(|assumption| assumption.contains("they may swap hosts")) {
        foretold.values_mut().chain(found.values_mut()).for_each(|fate| fate.hosts.clear());
    }
    assert_eq!(foretold, found, "foretold, and found; the plan: {:#?}", plan.consequences);
    for result in done.results.iter().filter(|result| result.action == ChangeAction::Deleted) {
        let stays = rig.store.get(&rig.key(&result.id)).is_some();
        let told = plan.consequences.problems.iter().any(|problem| problem.object.name == result.id.name);
        assert_eq!(stays, told, "{:?}: {:#?}", result.id, plan.consequences);
    }
}

fn seeds() -> std::ops::Range<u64> {
    let wanted = std::env::var("EVERYTHING").ok();
    let range = wanted.as_deref().and_then(|text| text.split_once(".."));
    range.map_or(SEEDS, |(from, to)| from.parse().unwrap()..to.parse().unwrap())
}

/// Tries all seeds, and names those that fail; what was different is printed.
fn come_true(shape: impl Fn(Case) -> Case) {
    let mut failed = Vec::new();
    for seed in seeds() {
        let mut bytes = [0; 32];
        bytes[..8].copy_from_slice(&seed.to_le_bytes());
        let rng = TestRng::from_seed(RngAlgorithm::ChaCha, &bytes);
        let mut runner = TestRunner::new_with_rng(Config::default(), rng);
        let case = shape(cases(1..7).new_tree(&mut runner).unwrap().current());
        println!("seed {seed}: {case:#?}");
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build().unwrap();
        let compared = std::panic::AssertUnwindSafe(|| runtime.block_on(compare(&case)));
        if std::panic::catch_unwind(compared).is_err() {
            failed.push(seed);
        }
    }
    assert_eq!(failed, Vec::<u64>::new(), "seeds whose plan did not come true");
}

#[test]
fn a_plan_of_every_kind_comes_true() {
    come_true(|case| case);
}

#[test]
fn a_plan_in_stages_comes_true() {
    come_true(Case::in_stages);
}
