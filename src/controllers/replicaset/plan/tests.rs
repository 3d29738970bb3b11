//! Views of a ReplicaSet and what they lead to.
#![allow(clippy::unwrap_used)]
use super::*;
use crate::controllers::replicaset::Replicated;
use k8s_openapi::api::apps::v1::ReplicaSet;
use proptest::prelude::*;
use serde_json::{from_value, json};

fn now() -> Timestamp {
    "2024-01-01T12:00:00Z".parse().unwrap()
}

fn set(replicas: i32, min_ready: i32) -> ReplicaSet {
    from_value(json!({
        "metadata": {"name": "web", "namespace": "ns", "uid": "set", "generation": 3},
        "spec": {
            "replicas": replicas,
            "minReadySeconds": min_ready,
            "selector": {"matchLabels": {"app": "web"}},
            "template": {"metadata": {"labels": {"app": "web", "v": "1"}}, "spec": {"containers": []}},
        },
    }))
    .unwrap()
}

/// A pod of the simulated namespace.
#[derive(Debug, Clone)]
struct Sketch {
    owner: Option<&'static str>,
    app: &'static str,
    phase: &'static str,
    ready: bool,
    terminating: bool,
}

fn ours(ready: bool) -> Sketch {
    Sketch { owner: Some("set"), app: "web", phase: "Running", ready, terminating: false }
}

fn pod(index: usize, sketch: &Sketch) -> Arc<Pod> {
    let owners = sketch.owner.map(
        |uid| json!([{"apiVersion": "apps/v1", "kind": "ReplicaSet", "name": "web", "uid": uid, "controller": true}]),
    );
    let ready = if sketch.ready { "True" } else { "False" };
    let deleted = sketch.terminating.then_some("2024-01-01T11:00:00Z");
    Arc::new(
        from_value(json!({
            "metadata": {"name": format!("p{index}"), "uid": format!("u{index}"), "labels": {"app": sketch.app, "v": "1"}, "ownerReferences": owners, "deletionTimestamp": deleted},
            "spec": {"containers": []},
            "status": {"phase": sketch.phase, "conditions": [{"type": "Ready", "status": ready, "lastTransitionTime": "2024-01-01T11:59:50Z"}]},
        }))
        .unwrap(),
    )
}

fn decide(set: &ReplicaSet, sketches: &[Sketch], doomed: &HashSet<String>) -> Plan {
    let pods: Vec<_> = sketches.iter().enumerate().map(|(index, sketch)| pod(index, sketch)).collect();
    plan(&Observed { set: &Replicated::set(set), pods: &pods, doomed, crowd: &Crowd::new, now: now() })
}

#[test]
fn counts_what_is_there_and_asks_for_the_rest() {
    let plan = decide(&set(5, 0), &[ours(true), ours(false)], &HashSet::new());
    assert_eq!((plan.create, plan.delete.len()), (3, 0));
    let status = plan.status;
    assert_eq!((status.replicas, status.ready_replicas, status.available_replicas), (2, Some(1), Some(1)));
    assert_eq!((status.fully_labeled_replicas, status.observed_generation), (Some(2), Some(3)));
}

#[test]
fn readiness_must_last() {
    let plan = decide(&set(1, 30), &[ours(true)], &HashSet::new());
    assert_eq!((plan.status.ready_replicas, plan.status.available_replicas), (Some(1), None));
    assert_eq!(plan.again, Some(SignedDuration::from_secs(20)));
}

#[test]
fn finished_terminating_and_doomed_pods_are_no_replicas() {
    let pods = [Sketch { phase: "Failed", ..ours(false) }, Sketch { terminating: true, ..ours(true) }, ours(true)];
    let plan = decide(&set(2, 0), &pods, &HashSet::from(["u2".to_owned()]));
    assert_eq!((plan.create, plan.status.replicas), (2, 0));
}

/// Made so many seconds ago.
fn rejected(index: usize, seconds: i64) -> Arc<Pod> {
    let mut rejected = Pod::clone(&pod(index, &Sketch { phase: "Failed", ..ours(false) }));
    rejected.metadata.creation_timestamp = Some(Time(now() - SignedDuration::from_secs(seconds)));
    rejected.status.as_mut().unwrap().message = Some("Pod was rejected: no room".into());
    Arc::new(rejected)
}

#[test]
fn successors_of_rejected_pods_wait_as_long_as_that_has_gone_on() {
    let wait = |ages: &[i64]| {
        let pods: Vec<_> = ages.iter().enumerate().map(|(index, age)| rejected(index, *age)).collect();
        let (set, doomed) = (set(1, 0), HashSet::new());
        let set = Replicated::set(&set);
        let plan = plan(&Observed { set: &set, pods: &pods, doomed: &doomed, crowd: &Crowd::new, now: now() });
        (plan.create, plan.again.map(|wait| wait.as_secs()))
    };
    assert_eq!(wait(&[0]), (0, Some(1)));
    assert_eq!(wait(&[2]), (1, None));
    assert_eq!(wait(&[30, 10]), (0, Some(10)));
    assert_eq!(wait(&[30, 15]), (1, None));
    assert_eq!(wait(&[599, 0]), (0, Some(300)));
    assert_eq!(wait(&[10_000, 0]), (0, Some(1)), "what was long ago is forgotten");
}

#[test]
fn a_rejected_pod_holds_back_nobody_but_its_successor() {
    let create = |replicas: i32, running: usize, ages: &[i64]| {
        let mut pods: Vec<_> = ages.iter().enumerate().map(|(index, age)| rejected(index, *age)).collect();
        pods.extend((0..running).map(|index| pod(100 + index, &ours(true))));
        let (set, doomed) = (set(replicas, 0), HashSet::new());
        let set = Replicated::set(&set);
        let plan = plan(&Observed { set: &set, pods: &pods, doomed: &doomed, crowd: &Crowd::new, now: now() });
        plan.create
    };
    assert_eq!(create(5, 2, &[0]), 2);
    assert_eq!(create(10, 4, &[256, 255, 252, 248, 240, 224, 192, 128, 0]), 5, "the others had their successors");
    assert_eq!(create(100, 0, &[0; 100]), 0);
    assert_eq!(create(100, 0, &[&[1; 60][..], &[0; 40]].concat()), 60, "those of the second before");
    assert_eq!(create(100, 0, &[&[2; 60][..], &[1; 40], &[0; 60]].concat()), 40);
    assert_eq!(create(100, 0, &[&[3; 60][..], &[2; 40], &[1; 60], &[0; 40]].concat()), 0);
}

#[test]
fn rejections_do_not_make_a_loop() {
    let (mut born, mut second) = (Vec::<i64>::new(), 0);
    while second < 600 {
        let pods: Vec<_> = born.iter().enumerate().map(|(index, born)| rejected(index, second - born)).collect();
        let (set, doomed) = (set(3, 0), HashSet::new());
        let set = Replicated::set(&set);
        let plan = plan(&Observed { set: &set, pods: &pods, doomed: &doomed, crowd: &Crowd::new, now: now() });
        born.extend(std::iter::repeat_n(second, plan.create));
        second += i64::from(plan.create == 0);
    }
    born.dedup();
    assert_eq!(born, [0, 1, 2, 4, 8, 16, 32, 64, 128, 256, 512]);
}

#[test]
fn adopts_and_releases() {
    let pods = [
        Sketch { owner: None, ..ours(true) },
        Sketch { app: "moved", ..ours(true) },
        Sketch { owner: Some("other"), ..ours(true) },
    ];
    let plan = decide(&set(2, 0), &pods, &HashSet::new());
    assert_eq!(plan.adopt.iter().map(|pod| pods::name(pod)).collect::<Vec<_>>(), ["p0"]);
    assert_eq!(plan.release.iter().map(|pod| pods::name(pod)).collect::<Vec<_>>(), ["p1"]);
    assert_eq!(plan.create, 1);
}

#[test]
fn a_set_on_its_way_out_touches_nothing() {
    let mut leaving = set(3, 0);
    leaving.metadata.deletion_timestamp = Some(Time(now()));
    let plan = decide(&leaving, &[ours(true), Sketch { owner: None, ..ours(true) }], &HashSet::new());
    assert_eq!((plan.create, plan.delete.len(), plan.adopt.len()), (0, 0, 0));
}

#[test]
fn failures_are_kept_until_a_pass_succeeds() {
    let mut status = ReplicaSetStatus::default();
    note_failure(&mut status, Some(("FailedCreate", "quota".into())), now());
    note_failure(&mut status, Some(("FailedDelete", "other".into())), now());
    assert_eq!(status.conditions.as_ref().unwrap()[0].message.as_deref(), Some("quota"));
    note_failure(&mut status, None, now());
    assert_eq!(status.conditions, None);
}

prop_compose! {
    fn any_pod()(owner in prop_oneof![Just(None), Just(Some("set")), Just(Some("other"))],
                 app in prop_oneof![4 => Just("web"), 1 => Just("moved")],
                 phase in prop_oneof![Just("Pending"), Just("Running"), Just("Failed"), Just("Succeeded")],
                 ready: bool, terminating in prop::bool::weighted(0.2)) -> Sketch {
        Sketch { owner, app, phase, ready, terminating }
    }
}

proptest! {
    /// After the plan is carried out there are exactly as many replicas as wanted, only our own pods
    /// were deleted, and no ready pod was given up while one that is not ready stays.
    #[test]
    fn converges_in_one_step(replicas in 0i32..8, sketches in prop::collection::vec(any_pod(), 0..12)) {
        let plan = decide(&set(replicas, 0), &sketches, &HashSet::new());
        prop_assert_eq!(plan.status.replicas as usize + plan.create, replicas as usize);
        prop_assert!(plan.create == 0 || plan.delete.is_empty());
        let gone: HashSet<_> = plan.delete.iter().map(|pod| pods::name(pod).to_owned()).collect();
        for (index, sketch) in sketches.iter().enumerate() {
            let name = format!("p{index}");
            if gone.contains(&name) {
                prop_assert!(sketch.app == "web" && sketch.owner != Some("other") && !sketch.terminating);
                let kept_worse = sketches.iter().enumerate().any(|(other, kept)| {
                    !gone.contains(&format!("p{other}")) && kept.owner != Some("other") && kept.app == "web"
                        && kept.phase == sketch.phase && !kept.terminating && sketch.ready && !kept.ready
                });
                prop_assert!(!kept_worse);
            }
        }
    }
}
