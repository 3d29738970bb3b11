//! Views of a Job and what they lead to, and whole lives of Jobs in a random world.
#![allow(clippy::unwrap_used)]

use super::*;
use proptest::prelude::*;
use serde_json::{Value, from_value, json};

fn start() -> Timestamp {
    "2024-01-01T12:00:00Z".parse().unwrap()
}

/// A Job in a namespace of its own, with the API server's rules for finalizers.
struct World {
    job: Job,
    pods: Vec<Arc<Pod>>,
    now: Timestamp,
    made: usize,
    /// What really happened.
    succeeded: BTreeSet<String>,
    failed: BTreeSet<String>,
}

impl World {
    fn new(spec: Value) -> Self {
        let mut whole = json!({"template": {"spec": {"restartPolicy": "Never", "containers": []}}, "backoffLimit": 3, "parallelism": 2, "completions": 3});
        json_patch::merge(&mut whole, &spec);
        let job =
            from_value(json!({"metadata": {"name": "work", "namespace": "ns", "uid": "job"}, "spec": whole})).unwrap();
        Self { job, pods: vec![], now: start(), made: 0, succeeded: BTreeSet::new(), failed: BTreeSet::new() }
    }

    fn decide(&self) -> Plan {
        plan(&Observed { job: &self.job, pods: &self.pods, doomed: &HashSet::new(), now: self.now }).unwrap()
    }

    /// One pass; the status gets lost if the controller dies before it writes it.
    fn pass(&mut self, dies: bool) -> Plan {
        let plan = self.decide();
        for pod in plan.release.iter().chain(&plan.delete) {
            self.change(pod, |pod| pod.metadata.finalizers = None);
        }
        for pod in plan.delete.iter().chain(&plan.kill) {
            let now = self.now;
            self.change(pod, |pod| pod.metadata.deletion_timestamp = Some(Time(now)));
        }
        for index in &plan.create {
            self.made += 1;
            let name = format!("p{:03}", self.made);
            let before = index.and_then(|index| plan.failures.get(&index)).copied().unwrap_or_default();
            let (counted, ignored) = (before.counted.to_string(), before.ignored.to_string());
            let annotations =
                index.map(|index| json!({ INDEX: index.to_string(), FAILURES: counted, IGNORED: ignored }));
            self.pods.push(Arc::new(
                from_value(json!({"metadata": {"name": name, "uid": name, "finalizers": [FINALIZER], "annotations": annotations}, "status": {"phase": "Pending"}})).unwrap(),
            ));
        }
        if !dies {
            self.job.status = Some(plan.status.clone());
        }
        plan
    }

    fn change(&mut self, pod: &Arc<Pod>, change: impl FnOnce(&mut Pod)) {
        let index = self.pods.iter().position(|known| known.metadata.uid == pod.metadata.uid).unwrap();
        change(Arc::make_mut(&mut self.pods[index]));
        // Without finalizers nothing holds a deleted pod.
        self.pods.retain(|pod| !pods::is_terminating(pod) || is_tracked(pod));
    }

    /// A container of an active pod ends.
    fn end(&mut self, choice: usize, success: bool) {
        let running: Vec<_> = self.pods.iter().filter(|pod| pods::is_active(pod)).cloned().collect();
        if running.is_empty() {
            return;
        }
        let pod = running[choice % running.len()].clone();
        let phase = if success { "Succeeded" } else { "Failed" };
        let (ends, now) = (if success { &mut self.succeeded } else { &mut self.failed }, self.now);
        ends.insert(pods::uid(&pod).to_owned());
        let state = json!({"terminated": {"exitCode": 0, "finishedAt": now.to_string()}});
        let status = json!({"phase": phase, "containerStatuses": [{"name": "c", "image": "", "imageID": "", "ready": false, "restartCount": 0, "state": state}]});
        self.change(&pod, |pod| pod.status = Some(from_value(status).unwrap()));
    }

    fn active(&self) -> i32 {
        self.pods.iter().filter(|pod| pods::is_active(pod)).count() as i32
    }

    fn advance(&mut self, seconds: i64) {
        self.now += SignedDuration::from_secs(seconds);
    }

    fn status(&self) -> JobStatus {
        self.job.status.clone().unwrap_or_default()
    }

    fn reason(&self, kind: &str) -> Option<String> {
        condition(&self.status(), kind).and_then(|condition| condition.reason.clone())
    }
}

/// A Job with one pod that has this status, and is on its way out or not.
fn with_pod(spec: Value, status: Value, leaving: bool) -> World {
    let mut world = World::new(spec);
    let deleted = leaving.then(|| start().to_string());
    let pod = json!({"metadata": {"name": "p", "namespace": "ns", "uid": "p", "finalizers": [FINALIZER],
        "deletionTimestamp": deleted}, "status": status});
    world.pods.push(Arc::new(from_value(pod).unwrap()));
    world
}

#[test]
fn a_policy_ignores_failures_that_it_names() {
    let rule = json!({"action": "Ignore", "onPodConditions": [{"type": "DisruptionTarget", "status": "True"}]});
    let spec = json!({"backoffLimit": 0, "parallelism": 1, "podFailurePolicy": {"rules": [rule]}});
    let target = json!([{"type": "DisruptionTarget", "status": "True"}]);
    let leaving = with_pod(spec.clone(), json!({"phase": "Running", "conditions": target}), true).decide();
    assert_eq!((leaving.status.failed, leaving.status.terminating, leaving.create.len()), (None, Some(1), 0));
    let over = with_pod(spec.clone(), json!({"phase": "Failed", "conditions": target}), true).decide();
    assert_eq!((over.status.failed, over.status.uncounted_terminated_pods, over.release.len()), (None, None, 1));
    let failed = with_pod(spec, json!({"phase": "Failed"}), false).decide();
    assert_eq!(condition(&failed.status, "FailureTarget").unwrap().reason.as_deref(), Some("BackoffLimitExceeded"));
}

#[test]
fn a_policy_fails_the_job_for_an_exit_code() {
    let codes = json!({"containerName": "c", "operator": "In", "values": [1, 42]});
    let spec = json!({"podFailurePolicy": {"rules": [{"action": "FailJob", "onExitCodes": codes}]}});
    let ended = |code: i32| {
        let state = json!({"terminated": {"exitCode": code}});
        let container =
            json!({"name": "c", "image": "i", "imageID": "", "ready": false, "restartCount": 0, "state": state});
        with_pod(spec.clone(), json!({"phase": "Failed", "containerStatuses": [container]}), false).decide()
    };
    let plan = ended(42);
    let target = condition(&plan.status, "FailureTarget").unwrap();
    assert_eq!(target.reason.as_deref(), Some("PodFailurePolicy"));
    let message = "Container c for pod ns/p failed with exit code 42 matching FailJob rule at index 0";
    assert_eq!(target.message.as_deref(), Some(message));
    assert!(condition(&ended(2).status, "FailureTarget").is_none());
}

/// The pods of an index, oldest first.
fn of_index(world: &World, wanted: i32) -> Vec<Arc<Pod>> {
    world.pods.iter().filter(|pod| index(pod) == Some(wanted)).cloned().collect()
}

/// The newest pod of an index ends, with this exit code.
fn ends(world: &mut World, wanted: i32, code: i32) {
    let pod = of_index(world, wanted).pop().unwrap();
    let state = json!({"terminated": {"exitCode": code, "finishedAt": world.now.to_string()}});
    let phase = if code == 0 { "Succeeded" } else { "Failed" };
    let status = json!({"phase": phase, "containerStatuses": [
        {"name": "c", "image": "", "imageID": "", "ready": false, "restartCount": 0, "state": state}]});
    world.change(&pod, |pod| pod.status = Some(from_value(status).unwrap()));
}

#[test]
fn an_index_fails_by_itself() {
    let mut world = World::new(json!({"completionMode": "Indexed", "completions": 2, "backoffLimit": 100,
        "backoffLimitPerIndex": 1}));
    world.pass(false);
    ends(&mut world, 0, 1);
    for _ in 0..3 {
        world.pass(false);
    }
    assert_eq!(world.status().failed_indexes.as_deref(), Some(""), "it may be tried once more");
    assert!(is_tracked(&of_index(&world, 0)[0]), "nothing else says that it has failed before");
    ends(&mut world, 1, 0);
    world.advance(10);
    let plan = world.pass(false);
    assert_eq!((plan.create.clone(), plan.failures[&0].counted), (vec![Some(0)], 1));
    for _ in 0..3 {
        world.pass(false);
    }
    assert!(!is_tracked(&of_index(&world, 0)[0]), "the next one says it");
    ends(&mut world, 0, 1);
    for _ in 0..5 {
        world.pass(false);
    }
    let status = world.status();
    assert_eq!((status.failed_indexes.as_deref(), status.completed_indexes.as_deref()), (Some("0"), Some("1")));
    assert_eq!((status.failed, status.succeeded), (Some(2), Some(1)));
    assert_eq!(world.reason("FailureTarget").as_deref(), Some("FailedIndexes"));
    assert_eq!(world.reason("Failed").as_deref(), Some("FailedIndexes"));
}

#[test]
fn a_job_that_is_deleted_holds_no_pods() {
    let mut world = World::new(json!({"completionMode": "Indexed", "completions": 1, "parallelism": 1,
        "backoffLimit": 100, "backoffLimitPerIndex": 1}));
    world.pass(false);
    ends(&mut world, 0, 1);
    world.pass(false);
    assert_eq!(world.pass(false).release, []);
    world.job.metadata.deletion_timestamp = Some(Time(world.now));
    let plan = world.pass(false);
    assert_eq!((plan.release.len(), plan.create.len()), (1, 0), "a foreground deletion waits for its pods");
}

#[test]
fn an_index_fails_at_once_where_the_policy_says_so_and_too_many_end_the_job() {
    let codes = json!({"operator": "In", "values": [42]});
    let policy = json!({"rules": [{"action": "FailIndex", "onExitCodes": codes}]});
    let mut world = World::new(json!({"completionMode": "Indexed", "completions": 4, "parallelism": 4,
        "backoffLimit": 100, "backoffLimitPerIndex": 5, "maxFailedIndexes": 1, "podFailurePolicy": policy}));
    world.pass(false);
    ends(&mut world, 2, 42);
    world.pass(false);
    assert_eq!((world.status().failed_indexes.as_deref(), world.reason("FailureTarget")), (Some("2"), None));
    assert_eq!(world.pass(false).create, [], "it is not tried again");
    ends(&mut world, 3, 42);
    assert_eq!(world.pass(false).kill.len(), 2);
    assert_eq!(world.reason("FailureTarget").as_deref(), Some("MaxFailedIndexesExceeded"));
}

#[test]
fn some_indexes_are_enough_where_the_policy_says_so() {
    let judge = |rule: Value, done: &[i32]| {
        let mut world = World::new(json!({"completionMode": "Indexed", "completions": 5, "parallelism": 5,
            "successPolicy": {"rules": [{"succeededIndexes": "4"}, rule]}}));
        world.pass(false);
        done.iter().for_each(|index| ends(&mut world, *index, 0));
        for _ in 0..5 {
            world.pass(false);
        }
        let message = condition(&world.status(), "Complete").and_then(|condition| condition.message.clone());
        (world.reason("SuccessCriteriaMet"), message, world.pods.iter().filter(|pod| pods::is_active(pod)).count())
    };
    let met = |rule: &str| (Some("SuccessPolicy".to_owned()), Some(format!("Matched rules at index {rule}")), 0);
    assert_eq!(judge(json!({"succeededCount": 2}), &[0, 1]), met("1"));
    assert_eq!(judge(json!({"succeededCount": 2}), &[0]), (None, None, 4));
    assert_eq!(judge(json!({"succeededIndexes": "0-1"}), &[4]), met("0"));
    assert_eq!(judge(json!({"succeededIndexes": "0-1"}), &[0, 2]), (None, None, 3));
    assert_eq!(judge(json!({"succeededIndexes": "0-2", "succeededCount": 2}), &[0, 2]), met("1"));
    // Nobody writes down two thousand million indexes.
    let policy = from_value(json!({"rules": [{"succeededIndexes": "0-2147483645", "succeededCount": 1}]})).unwrap();
    assert_eq!(success::matching(&policy, &[7].into(), i32::MAX), Some(0));
}

#[test]
fn runs_to_completion() {
    let mut world = World::new(json!({}));
    assert_eq!(world.pass(false).create.len(), 2);
    assert_eq!((world.status().active, world.status().start_time.unwrap().0), (Some(2), start()));
    world.end(0, true);
    let plan = world.pass(false);
    assert_eq!((plan.create.len(), plan.release.len()), (1, 0), "noted first, released later");
    assert_eq!(world.status().uncounted_terminated_pods.unwrap().succeeded.unwrap(), ["p001"]);
    assert_eq!(world.pass(false).release.len(), 1);
    world.pass(false);
    assert_eq!((world.status().succeeded, world.status().uncounted_terminated_pods), (Some(1), None));
    world.end(0, true);
    world.end(0, true);
    for _ in 0..4 {
        world.pass(false);
    }
    assert_eq!(world.reason("SuccessCriteriaMet").as_deref(), Some("CompletionsReached"));
    assert_eq!(world.reason("Complete").as_deref(), Some("CompletionsReached"));
    assert_eq!(
        (world.status().succeeded, world.status().active, world.status().completion_time.is_some()),
        (Some(3), None, true)
    );
}

#[test]
fn failed_pods_are_replaced_more_and_more_slowly() {
    let mut world = World::new(json!({"parallelism": 1, "completions": 1}));
    world.pass(false);
    world.end(0, false);
    let plan = world.pass(false);
    assert_eq!((plan.create.len(), plan.again), (0, Some(SignedDuration::from_secs(10))));
    world.advance(10);
    assert_eq!(world.pass(false).create.len(), 1);
    world.end(0, false);
    assert_eq!(world.pass(false).again, Some(SignedDuration::from_secs(20)));
}

#[test]
fn a_policy_says_when_pods_on_their_way_out_are_replaced() {
    for (policy, at_once) in [("TerminatingOrFailed", 1), ("Failed", 0)] {
        let mut world = World::new(json!({ "podReplacementPolicy": policy }));
        world.pass(false);
        let (pod, now) = (world.pods[0].clone(), world.now);
        world.change(&pod, |pod| pod.metadata.deletion_timestamp = Some(Time(now)));
        // It counts as failed before it is over, or not: then there is a back-off.
        let mut made = world.pass(false).create.len();
        world.advance(600);
        made += world.pass(false).create.len();
        assert_eq!((made, world.status().terminating), (at_once, Some(1)), "{policy}");
        if world.pods.iter().any(|other| other.metadata.uid == pod.metadata.uid) {
            world.change(&pod, |pod| pod.status.as_mut().unwrap().phase = Some("Failed".into()));
        }
        for _ in 0..5 {
            world.advance(600);
            made += world.pass(false).create.len();
        }
        assert_eq!((made, world.active()), (1, 2), "{policy}");
    }
}

#[test]
fn too_many_failures_end_it() {
    let mut world = World::new(json!({"backoffLimit": 0}));
    world.pass(false);
    world.end(0, false);
    let plan = world.pass(false);
    assert_eq!((plan.create.len(), plan.kill.len()), (0, 1));
    assert_eq!(world.reason("FailureTarget").as_deref(), Some("BackoffLimitExceeded"));
    assert_eq!(world.reason("Failed"), None, "not before the last pod is gone");
    for _ in 0..4 {
        world.pass(false);
    }
    assert_eq!(world.reason("Failed").as_deref(), Some("BackoffLimitExceeded"));
    assert_eq!(world.status().failed, Some(2));
}

#[test]
fn ttl_removes_a_job_whoever_manages_it() {
    let mut world = World::new(json!({"managedBy": "example.com/x", "ttlSecondsAfterFinished": 60}));
    let plan = of_another(&world.job, world.now);
    assert_eq!(plan, Plan::default(), "nothing is done for it while it runs");
    world.job.status = from_value(json!({"succeeded": 3, "conditions": [
        {"type": "Complete", "status": "True", "lastTransitionTime": start().to_string()}]}))
    .unwrap();
    let waiting = of_another(&world.job, world.now);
    assert_eq!((waiting.expired, waiting.again), (false, Some(SignedDuration::from_secs(60))));
    assert_eq!(Some(&waiting.status), world.job.status.as_ref(), "its status is the other's");
    assert!(of_another(&world.job, world.now + SignedDuration::from_secs(60)).expired);
    world.job.metadata.deletion_timestamp = Some(Time(world.now));
    assert!(!of_another(&world.job, world.now + SignedDuration::from_secs(60)).expired, "it goes already");
}

#[test]
fn a_deadline_ends_it_and_ttl_removes_it() {
    let mut world = World::new(json!({"activeDeadlineSeconds": 30, "ttlSecondsAfterFinished": 60}));
    assert_eq!(world.pass(false).again, Some(SignedDuration::from_secs(30)));
    world.advance(30);
    for _ in 0..4 {
        world.pass(false);
    }
    assert_eq!(world.reason("Failed").as_deref(), Some("DeadlineExceeded"));
    assert_eq!((world.pass(false).expired, world.decide().again), (false, Some(SignedDuration::from_secs(60))));
    world.advance(61);
    assert!(world.decide().expired);
}

#[test]
fn suspending_removes_pods_without_counting_them() {
    let mut world = World::new(json!({}));
    world.pass(false);
    world.job.spec.as_mut().unwrap().suspend = Some(true);
    let plan = world.pass(false);
    assert_eq!((plan.delete.len(), world.pods.len()), (2, 0));
    assert_eq!((world.reason("Suspended").as_deref(), world.status().start_time), (Some("JobSuspended"), None));
    world.job.spec.as_mut().unwrap().suspend = Some(false);
    assert_eq!(world.pass(false).create.len(), 2);
    assert_eq!((world.status().failed, world.reason("Suspended")), (None, None));
}

#[test]
fn restarts_in_place_count_against_the_limit() {
    let mut world = World::new(json!({"backoffLimit": 2, "template": {"spec": {"restartPolicy": "OnFailure"}}}));
    world.pass(false);
    let pod = world.pods[0].clone();
    let status = json!({"phase": "Running", "containerStatuses": [{"name": "c", "image": "", "imageID": "", "ready": true, "restartCount": 2}]});
    world.change(&pod, |pod| pod.status = Some(from_value(status).unwrap()));
    world.pass(false);
    assert_eq!(world.reason("FailureTarget").as_deref(), Some("BackoffLimitExceeded"));
}

#[test]
fn a_work_queue_ends_with_its_last_pod() {
    let mut world = World::new(json!({"completions": null, "parallelism": 3}));
    world.pass(false);
    world.end(0, true);
    assert_eq!(world.pass(false).create.len(), 0);
    assert_eq!(world.reason("SuccessCriteriaMet"), None);
    world.end(0, true);
    world.end(0, true);
    for _ in 0..4 {
        world.pass(false);
    }
    assert!(world.reason("Complete").is_some());
}

#[derive(Debug, Clone)]
enum Step {
    Pass { dies: bool },
    End { choice: usize, success: bool },
    Advance(i64),
    Parallelism(i32),
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let step = prop_oneof![
        5 => prop::bool::weighted(0.2).prop_map(|dies| Step::Pass { dies }),
        4 => (0usize..5, prop::bool::weighted(0.7)).prop_map(|(choice, success)| Step::End { choice, success }),
        1 => (1i64..500).prop_map(Step::Advance),
        1 => (1i32..5).prop_map(Step::Parallelism),
    ];
    prop::collection::vec(step, 0..60)
}

proptest! {
    /// Never more pods than allowed; it ends; every pod that ended by itself is counted exactly once.
    #[test]
    fn counts_right_and_ends(completions in 1i32..8, parallelism in 1i32..5, indexed: bool, steps in steps()) {
        let mode = if indexed { "Indexed" } else { "NonIndexed" };
        let mut world = World::new(json!({"completions": completions, "parallelism": parallelism, "completionMode": mode}));
        let mut most = parallelism;
        for step in &steps {
            match step {
                Step::Pass { dies } => drop(world.pass(*dies)),
                Step::End { choice, success } => world.end(*choice, *success),
                Step::Advance(seconds) => world.advance(*seconds),
                Step::Parallelism(count) => {
                    world.job.spec.as_mut().unwrap().parallelism = Some(*count);
                    most = most.max(*count);
                }
            }
            prop_assert!(world.active() <= most);
            let running: Vec<_> = world.pods.iter().filter(|pod| pods::is_active(pod)).filter_map(|pod| index(pod)).collect();
            prop_assert_eq!(running.iter().collect::<BTreeSet<_>>().len(), running.len(), "one pod per index");
        }
        for _ in 0..200 {
            world.pass(false);
            world.end(0, true);
            world.advance(400);
        }
        let status = world.status();
        if world.reason("Complete").is_some() {
            prop_assert_eq!(status.succeeded, Some(completions));
        } else {
            prop_assert_eq!(world.reason("Failed"), Some("BackoffLimitExceeded".to_owned()));
            prop_assert!(status.failed > Some(3));
        }
        if !indexed {
            prop_assert_eq!(status.succeeded.unwrap_or(0) as usize, world.succeeded.len());
        }
        prop_assert!(status.failed.unwrap_or(0) as usize >= world.failed.len());
        prop_assert!(world.pods.iter().all(|pod| !is_tracked(pod) && !pods::is_active(pod)));
    }

    /// Each index is tried as often as it may be, whatever the others do, and no more.
    #[test]
    fn each_index_has_its_own_limit(completions in 1i32..6, parallelism in 1i32..5, limit in 0i32..3, steps in steps()) {
        let mut world = World::new(json!({"completions": completions, "parallelism": parallelism,
            "completionMode": "Indexed", "backoffLimit": i32::MAX, "backoffLimitPerIndex": limit}));
        for step in &steps {
            match step {
                Step::Pass { dies } => drop(world.pass(*dies)),
                Step::End { choice, success } => world.end(*choice, *success),
                Step::Advance(seconds) => world.advance(*seconds),
                Step::Parallelism(_) => {}
            }
        }
        for _ in 0..200 {
            world.pass(false);
            world.end(0, true);
            world.advance(400);
        }
        let status = world.status();
        let of = |text: Option<String>| indexes::parse(&text.unwrap_or_default(), completions);
        let (failed, completed) = (of(status.failed_indexes), of(status.completed_indexes));
        prop_assert_eq!(failed.len() + completed.len(), completions as usize);
        prop_assert_eq!(world.reason("Failed").is_some(), !failed.is_empty());
        prop_assert_eq!(status.failed.unwrap_or(0) as usize, world.failed.len());
        for index in 0..completions {
            let failures = of_index(&world, index).iter().filter(|pod| world.failed.contains(pods::uid(pod))).count() as i32;
            prop_assert!(if failed.contains(&index) { failures == limit + 1 } else { failures <= limit }, "{index}: {failures}");
        }
        prop_assert!(world.pods.iter().all(|pod| !is_tracked(pod) && !pods::is_active(pod)));
    }
}
