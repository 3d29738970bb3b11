//! Views of a DaemonSet and what they lead to, and whole lives of sets in a random world.
#![allow(clippy::unwrap_used)]

use super::*;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use proptest::prelude::*;
use serde_json::{Value, from_value, json};

struct World {
    set: DaemonSet,
    nodes: Vec<Arc<Node>>,
    pods: Vec<Arc<Pod>>,
    hash: String,
    held: HashMap<String, SignedDuration>,
    now: Timestamp,
    made: usize,
}

fn node(name: &str) -> Arc<Node> {
    Arc::new(from_value(json!({"metadata": {"name": name}})).unwrap())
}

impl World {
    fn new(hosts: usize, rolling: Value) -> Self {
        let set = from_value(json!({"metadata": {"name": "d", "namespace": "ns", "uid": "set"}, "spec": {
            "selector": {"matchLabels": {"app": "d"}},
            "template": {"metadata": {"labels": {"app": "d"}}, "spec": {"containers": []}},
            "updateStrategy": {"type": "RollingUpdate", "rollingUpdate": rolling},
        }}))
        .unwrap();
        let nodes = (0..hosts).map(|index| node(&format!("n{index}"))).collect();
        let now = "2024-01-01T12:00:00Z".parse().unwrap();
        Self { set, nodes, pods: vec![], hash: "h1".into(), held: HashMap::new(), now, made: 0 }
    }

    fn decide(&self) -> Plan {
        plan(&Observed {
            set: &self.set,
            nodes: &self.nodes,
            pods: &self.pods,
            doomed: &HashSet::new(),
            hash: &self.hash,
            held: &self.held,
            now: self.now,
        })
    }

    /// One pass; returns how many pods were made and how many deleted.
    fn pass(&mut self) -> (usize, usize) {
        let plan = self.decide();
        let now = self.now;
        for pod in plan.delete.iter().chain(&plan.ended) {
            let pod = self.pods.iter_mut().find(|known| pods::uid(known) == pods::uid(pod)).unwrap();
            Arc::make_mut(pod).metadata.deletion_timestamp = Some(Time(now));
        }
        let counts = (plan.create.len(), plan.delete.len() + plan.ended.len());
        for mut pod in plan.create {
            self.made += 1;
            pod.metadata.name = Some(format!("d-{:03}", self.made));
            pod.metadata.uid = pod.metadata.name.clone();
            pod.metadata.creation_timestamp = Some(Time(now));
            self.pods.push(Arc::new(pod));
        }
        self.now += SignedDuration::from_secs(1);
        self.set.status = Some(plan.status);
        counts
    }

    fn report(&mut self, index: usize, phase: &str, ready: bool) {
        let Some(pod) = self.pods.get_mut(index) else { return };
        let conditions = ready.then(|| json!([{"type": "Ready", "status": "True", "lastTransitionTime": self.now}]));
        Arc::make_mut(pod).status = Some(from_value(json!({"phase": phase, "conditions": conditions})).unwrap());
    }

    fn gone(&mut self) {
        self.pods.retain(|pod| !pods::is_terminating(pod));
    }

    fn started(&mut self) {
        for index in 0..self.pods.len() {
            let pod = &self.pods[index];
            if pods::phase(pod) == "Pending" && hosts::target(pod).is_some() {
                let host = hosts::target(pod).map(str::to_owned);
                Arc::make_mut(&mut self.pods[index]).spec.as_mut().unwrap().node_name = host;
                self.report(index, "Running", true);
            }
        }
    }

    fn run(&mut self) {
        let mut quiet = 0;
        for _ in 0..200 {
            let done = self.pass();
            self.gone();
            self.started();
            quiet = if done == (0, 0) { quiet + 1 } else { 0 };
            if quiet > 2 {
                return;
            }
        }
        panic!("no end");
    }

    /// Hosts with an available pod that stays.
    fn served(&self) -> usize {
        let served = self.pods.iter().filter(|pod| pods::is_ready(pod) && pods::is_active(pod));
        served.filter_map(|pod| hosts::target(pod)).collect::<HashSet<_>>().len()
    }

    fn status(&self) -> &DaemonSetStatus {
        self.set.status.as_ref().unwrap()
    }
}

#[test]
fn every_host_has_one_and_new_hosts_get_one() {
    let mut world = World::new(2, Value::Null);
    assert_eq!(world.pass(), (2, 0));
    assert_eq!(world.pass(), (0, 0));
    world.run();
    world.nodes.push(node("n9"));
    assert_eq!(world.pass(), (1, 0));
    world.run();
    let status = world.status();
    assert_eq!((status.desired_number_scheduled, status.number_ready, status.number_available), (3, 3, Some(3)));
    assert_eq!((status.updated_number_scheduled, status.number_unavailable), (Some(3), None));
}

#[test]
fn pods_leave_hosts_they_are_not_for_and_hosts_that_are_gone() {
    let mut world = World::new(2, Value::Null);
    world.run();
    let tainted = |effect: &str| {
        from_value(json!({"metadata": {"name": "n1"}, "spec": {"taints": [{"key": "k", "effect": effect}]}})).unwrap()
    };
    world.nodes[1] = Arc::new(tainted("NoSchedule"));
    assert_eq!(world.pass(), (0, 0), "what runs may stay");
    assert_eq!((world.status().desired_number_scheduled, world.status().number_misscheduled), (1, 1));
    world.nodes[1] = Arc::new(tainted("NoExecute"));
    assert_eq!(world.pass(), (0, 1));

    let mut world = World::new(2, Value::Null);
    world.pass();
    world.nodes.pop();
    assert_eq!(world.pass(), (0, 1), "it waited for a host that is gone");
}

#[test]
fn failed_pods_are_replaced_after_a_while() {
    let mut world = World::new(1, Value::Null);
    world.run();
    world.report(0, "Failed", false);
    world.held.insert("n0".into(), SignedDuration::from_secs(2));
    let plan = world.decide();
    assert_eq!((plan.ended.len(), plan.delete.len(), plan.again), (0, 0, Some(SignedDuration::from_secs(2))));
    world.held.clear();
    assert_eq!(world.decide().ended.len(), 1);
    world.run();
    assert_eq!(world.served(), 1);
}

#[test]
fn updates_leave_out_as_many_hosts_as_allowed() {
    let mut world = World::new(4, json!({"maxUnavailable": "50%"}));
    world.run();
    world.hash = "h2".into();
    assert_eq!(world.pass(), (0, 2));
    assert_eq!(world.pass(), (0, 0), "those are not replaced yet");
    world.run();
    assert!(world.pods.iter().all(|pod| hash(pod) == "h2"));
}

#[test]
fn surging_updates_start_the_new_pod_first() {
    let mut world = World::new(3, json!({"maxUnavailable": 0, "maxSurge": 1}));
    world.run();
    world.hash = "h2".into();
    assert_eq!(world.pass(), (1, 0));
    assert_eq!(world.pass(), (0, 0), "the new one is not available");
    world.started();
    assert_eq!(world.pass(), (1, 1));
    world.run();
    assert_eq!((world.pods.len(), world.served()), (3, 3));
}

#[test]
fn on_delete_leaves_it_to_the_user() {
    let mut world = World::new(2, Value::Null);
    world.set.spec.as_mut().unwrap().update_strategy = from_value(json!({"type": "OnDelete"})).unwrap();
    world.run();
    world.hash = "h2".into();
    assert_eq!(world.pass(), (0, 0));
    world.pods.pop();
    world.run();
    assert_eq!(world.pods.iter().filter(|pod| hash(pod) == "h2").count(), 1);
    assert_eq!(world.status().updated_number_scheduled, Some(1));
}

#[derive(Debug, Clone)]
enum Step {
    Template(u8),
    Gone,
    Started,
    Fail(usize),
    Join(u8),
    Leave(usize),
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        1 => (0u8..3).prop_map(Step::Template),
        4 => Just(Step::Gone),
        4 => Just(Step::Started),
        1 => (0usize..5).prop_map(Step::Fail),
        1 => (0u8..6).prop_map(Step::Join),
        1 => (0usize..6).prop_map(Step::Leave),
    ]
}

proptest! {
    /// Whatever happens: a pass leaves no more hosts without an available pod than allowed, makes no
    /// more pods than allowed, and in the end every host has one of the newest template.
    #[test]
    fn rollouts_keep_their_limits(steps in prop::collection::vec(step(), 1..50), limit in 1usize..3, surging in any::<bool>()) {
        let rolling = if surging { json!({"maxUnavailable": 0, "maxSurge": limit}) } else { json!({"maxUnavailable": limit, "maxSurge": 0}) };
        let mut world = World::new(4, rolling);
        for step in steps {
            match step {
                Step::Template(which) => world.hash = format!("h{which}"),
                Step::Gone => world.gone(),
                Step::Started => world.started(),
                Step::Fail(index) => world.report(index, "Failed", false),
                Step::Join(which) => {
                    let name = format!("n{which}");
                    if world.nodes.iter().all(|node| node.metadata.name.as_ref() != Some(&name)) {
                        world.nodes.push(node(&name));
                    }
                }
                Step::Leave(index) if index < world.nodes.len() => {
                    let name = world.nodes.remove(index).metadata.name.clone();
                    // As the pod garbage collector does.
                    world.pods.retain(|pod| pods::node(pod) != name.as_deref());
                }
                Step::Leave(_) => {}
            }
            let before = world.served();
            world.pass();
            let (after, allowed) = (world.served(), if surging { 0 } else { limit });
            prop_assert!(after >= before || world.nodes.len() - after <= allowed, "{before} -> {after}");
            for name in world.nodes.iter().filter_map(|node| node.metadata.name.as_deref()) {
                let staying = world.pods.iter().filter(|pod| pods::is_active(pod) && hosts::target(pod) == Some(name));
                prop_assert!(staying.count() <= 1 + usize::from(surging), "{name}");
            }
        }
        world.run();
        prop_assert_eq!(world.served(), world.nodes.len());
        prop_assert_eq!(world.pods.len(), world.nodes.len());
        prop_assert!(world.pods.iter().all(|pod| hash(pod) == world.hash));
        prop_assert_eq!(world.status().number_ready as usize, world.nodes.len());
    }
}
