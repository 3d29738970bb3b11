//! Pods, what they use, and how many there should be.
#![allow(clippy::unwrap_used)]
use super::*;
use proptest::prelude::*;
use serde_json::{Value, from_value, json};

const HERE: Tolerances = Tolerances { down: 0.1, up: 0.1 };

fn now() -> Timestamp {
    "2026-01-01T12:00:00Z".parse().unwrap()
}

/// A pod that requests a core, started an hour ago and ready since.
fn pod(name: &str) -> Value {
    json!({
        "metadata": {"name": name},
        "spec": {"containers": [{"name": "c", "resources": {"requests": {"cpu": "1", "memory": "100"}}}]},
        "status": {"phase": "Running", "startTime": "2026-01-01T11:00:00Z",
            "conditions": [{"type": "Ready", "status": "True", "lastTransitionTime": "2026-01-01T11:00:10Z"}]},
    })
}

fn pending(name: &str) -> Value {
    let mut pod = pod(name);
    pod["status"] = json!({"phase": "Pending"});
    pod
}

/// Started a minute ago, with this state of readiness since `since`.
fn young(name: &str, ready: &str, since: &str) -> Value {
    let mut pod = pod(name);
    pod["status"]["startTime"] = json!("2026-01-01T11:59:00Z");
    pod["status"]["conditions"][0] = json!({"type": "Ready", "status": ready, "lastTransitionTime": since});
    pod
}

fn typed(pods: Vec<Value>) -> Vec<Arc<Pod>> {
    pods.into_iter().map(|pod| Arc::new(from_value(pod).unwrap())).collect()
}

/// Metrics of the pods a, b, c ... in this order; `None` where there are none.
fn metrics(values: &[Option<i64>]) -> BTreeMap<String, Metric> {
    let time = now() - SignedDuration::from_secs(5);
    let metric = |value| Metric { value, time, window: SignedDuration::from_secs(15) };
    let named =
        (b'a'..).zip(values).filter_map(|(name, value)| Some((char::from(name).to_string(), metric((*value)?))));
    named.collect()
}

fn decide(
    resource: &str,
    goal: Goal,
    pods: Vec<Value>,
    values: &[Option<i64>],
    current: i32,
) -> Result<Proposal, String> {
    let target = Target { resource, container: None, goal };
    propose(target, &typed(pods), &metrics(values), current, HERE, now())
}

fn replicas(goal: Goal, pods: Vec<Value>, values: &[Option<i64>], current: i32) -> i32 {
    decide("cpu", goal, pods, values, current).unwrap().replicas
}

fn three() -> Vec<Value> {
    ["a", "b", "c"].map(pod).into()
}

#[test]
fn usage_over_goal_is_how_many_more() {
    let found = decide("cpu", Goal::Utilization(30), three(), &[Some(300), Some(500), Some(700)], 3).unwrap();
    assert_eq!(found, Proposal { replicas: 5, utilization: Some(50), average: 500 });
    let found = decide("memory", Goal::AverageValue(300), three(), &[Some(300), Some(500), Some(700)], 3).unwrap();
    assert_eq!(found, Proposal { replicas: 5, utilization: None, average: 500 });
    assert_eq!(replicas(Goal::Utilization(50), three(), &[Some(100), Some(300), Some(500)], 3), 2);
}

#[test]
fn little_is_tolerated() {
    let exact = [Some(545), Some(545), Some(545)];
    assert_eq!(replicas(Goal::Utilization(50), three(), &exact, 3), 3, "9 % more");
    assert_eq!(replicas(Goal::Utilization(50), three(), &[Some(560), Some(560), Some(560)], 3), 4, "12 % more");
    assert_eq!(replicas(Goal::Utilization(50), three(), &[Some(460), Some(460), Some(460)], 7), 7, "8 % less");
}

#[test]
fn pods_without_metrics_slow_every_change() {
    // Up: they use nothing, and 1500 of 3000 are 50 %.
    assert_eq!(replicas(Goal::Utilization(50), three(), &[Some(1000), Some(500), None], 3), 3);
    assert_eq!(replicas(Goal::Utilization(20), three(), &[Some(1000), Some(500), None], 3), 8);
    // Down: they use all they asked for.
    assert_eq!(
        replicas(Goal::Utilization(50), three(), &[Some(100), Some(100), None], 3),
        3,
        "(0.1 + 0.1 + 1) / 3 is 40 %"
    );
    assert_eq!(replicas(Goal::AverageValue(500), three(), &[Some(100), Some(100), None], 3), 2);
}

#[test]
fn pods_that_only_start_do_not_count() {
    let with = |third| vec![pod("a"), pod("b"), third];
    let values = [Some(600), Some(600), Some(2000)];
    // Up: as if they used nothing.
    assert_eq!(replicas(Goal::Utilization(30), with(pending("c")), &values, 3), 4);
    assert_eq!(replicas(Goal::Utilization(30), with(young("c", "False", "2026-01-01T11:59:10Z")), &values, 3), 4);
    // Ready, but not for the whole window of its metric.
    assert_eq!(replicas(Goal::Utilization(30), with(young("c", "True", "2026-01-01T11:59:50Z")), &values, 3), 4);
    assert_eq!(replicas(Goal::Utilization(30), with(young("c", "True", "2026-01-01T11:59:20Z")), &values, 3), 11);
    // Old pods that were never ready; those that were, count.
    let mut never = pod("c");
    never["status"]["conditions"][0] =
        json!({"type": "Ready", "status": "False", "lastTransitionTime": "2026-01-01T11:00:20Z"});
    assert_eq!(replicas(Goal::Utilization(30), with(never.clone()), &values, 3), 4);
    never["status"]["conditions"][0]["lastTransitionTime"] = json!("2026-01-01T11:40:00Z");
    assert_eq!(replicas(Goal::Utilization(30), with(never), &values, 3), 11);
    // Only CPU is spent on starting.
    let memory =
        decide("memory", Goal::AverageValue(600), with(young("c", "False", "2026-01-01T11:59:10Z")), &values, 3);
    assert_eq!(memory.unwrap().replicas, 6);
}

#[test]
fn pods_on_their_way_out_are_ignored() {
    let mut leaving = pod("c");
    leaving["metadata"]["deletionTimestamp"] = json!("2026-01-01T11:59:00Z");
    let mut failed = pod("c");
    failed["status"]["phase"] = json!("Failed");
    for third in [leaving, failed] {
        let pods = vec![pod("a"), pod("b"), third];
        assert_eq!(replicas(Goal::Utilization(30), pods, &[Some(600), Some(600), Some(5000)], 2), 4);
    }
}

#[test]
fn what_cannot_be_decided_is_said() {
    let goal = Goal::Utilization(50);
    let error = |pods, values: &[Option<i64>]| decide("cpu", goal, pods, values, 1).unwrap_err();
    assert_eq!(error(vec![], &[Some(1)]), "no pods returned by selector while calculating replica count");
    let unready = "did not receive metrics for targeted pods (pods might be unready)";
    assert_eq!(error(vec![pending("a")], &[Some(1)]), unready);
    assert_eq!(error(vec![pod("a")], &[]), unready);
    let mut greedy = pod("a");
    greedy["spec"]["containers"][0]["resources"] = json!({});
    assert_eq!(error(vec![greedy.clone()], &[Some(1)]), "missing request for cpu in container c of Pod a");
    // Of the pod as a whole is as good.
    greedy["spec"]["resources"] = json!({"requests": {"cpu": "2"}});
    assert_eq!(decide("cpu", goal, vec![greedy], &[Some(2000)], 1).unwrap().utilization, Some(100));
    let container = Target { resource: "cpu", container: Some("x"), goal };
    let missing = propose(container, &typed(vec![pod("a")]), &metrics(&[Some(1)]), 1, HERE, now());
    assert_eq!(missing.unwrap_err(), "container x not found in Pod a");
    let mut free = pod("a");
    free["spec"]["containers"][0]["resources"] = json!({"requests": {"cpu": "0"}});
    assert_eq!(error(vec![free], &[Some(1)]), "no metrics returned matched known pods");
}

#[test]
fn sidecars_count_and_one_container_counts_alone() {
    let mut both = pod("a");
    both["spec"]["initContainers"] = json!([
        {"name": "s", "restartPolicy": "Always", "resources": {"requests": {"cpu": "3"}}}, {"name": "i"}]);
    let utilization = |container| {
        let target = Target { resource: "cpu", container, goal: Goal::Utilization(50) };
        propose(target, &typed(vec![both.clone()]), &metrics(&[Some(1000)]), 1, HERE, now()).unwrap().utilization
    };
    assert_eq!((utilization(None), utilization(Some("s")), utilization(Some("c"))), (Some(25), Some(33), Some(100)));
}

#[test]
fn amounts_beyond_reason_do_no_harm() {
    let huge = [Some(i64::MAX), Some(i64::MAX), Some(i64::MAX)];
    assert_eq!(replicas(Goal::Utilization(1), three(), &huge, 3), i32::MAX);
    assert_eq!(replicas(Goal::AverageValue(1), three(), &huge, 3), i32::MAX);
}

fn kind() -> impl Strategy<Value = u8> {
    0u8..4
}

proptest! {
    /// More is asked for only if what is known is above the goal, fewer only if it is below; and what is not
    /// known never makes a change larger.
    #[test]
    fn changes_go_the_way_of_the_usage(
        sketches in proptest::collection::vec((kind(), 0i64..3000), 1..8),
        percent in 1i32..200,
        average in proptest::bool::ANY,
    ) {
        let names: Vec<String> = (b'a'..).take(sketches.len()).map(|name| char::from(name).to_string()).collect();
        let pods = names.iter().zip(&sketches).map(|(name, (kind, _))| match kind {
            0 => pending(name),
            1 => young(name, "False", "2026-01-01T11:59:30Z"),
            _ => pod(name),
        });
        let values: Vec<_> = sketches.iter().map(|(kind, value)| (*kind != 2).then_some(*value)).collect();
        let goal = if average { Goal::AverageValue(i64::from(percent) * 10) } else { Goal::Utilization(percent) };
        let current = sketches.len() as i32;
        let Ok(found) = decide("cpu", goal, pods.collect(), &values, current) else { return Ok(()) };
        let known: Vec<i64> = sketches.iter().filter(|(kind, _)| *kind == 3).map(|(_, value)| *value).collect();
        let mean = known.iter().sum::<i64>() as f64 / known.len() as f64;
        let goal = f64::from(percent) * 10.0;
        prop_assert!(found.replicas >= 0);
        if known.len() == sketches.len() {
            prop_assert!(found.replicas <= current || mean > goal);
            prop_assert!(found.replicas >= current || mean < goal);
        } else if found.replicas > current {
            prop_assert!(f64::from(found.replicas) <= (mean / goal * f64::from(current)).ceil() + 1.0);
        }
    }
}
