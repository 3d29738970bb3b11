//! Scenarios of a pod's life, and a simulation that checks plans against a naive host.
#![allow(clippy::unwrap_used)]
mod resizing;
mod restarting;

use super::*;
use crate::kubelet::pod::facts::{Doom, Facts, QUICK, Trouble};
use crate::kubelet::pod::{container_hash, find_container, identity};
use crate::kubelet::resize::{Standing, Whole};
use crate::kubelet::runtime::{ContainerIdentity, ContainerState, Exit, Sandbox};
use k8s_openapi::api::core::v1::Pod;
use proptest::prelude::*;
use serde_json::{Value, json};
use std::collections::BTreeSet;

fn at(seconds: i64) -> Timestamp {
    Timestamp::from_second(1_700_000_000 + seconds).unwrap()
}

/// A host that does what plans say, at once.
struct World {
    pod: Pod,
    sandbox: Option<Sandbox>,
    containers: Vec<ContainerStatus>,
    facts: Facts,
    refused: Option<Failure>,
    resize: Option<Standing>,
    busy: BTreeSet<String>,
    now: i64,
    made: usize,
}

impl World {
    fn new(spec: Value) -> Self {
        let pod = json!({"metadata": {"name": "p", "namespace": "ns", "uid": "u"}, "spec": spec});
        Self {
            pod: serde_json::from_value(pod).unwrap(),
            sandbox: None,
            containers: vec![],
            facts: Facts::default(),
            refused: None,
            resize: None,
            busy: BTreeSet::new(),
            now: 0,
            made: 0,
        }
    }

    fn plan(&self) -> Plan {
        plan(&View {
            pod: &self.pod,
            sandbox: self.sandbox.as_ref(),
            containers: &self.containers,
            facts: &self.facts,
            refused: self.refused.as_ref(),
            resize: self.resize.as_ref(),
            busy: &self.busy,
            sandbox_busy: false,
            now: at(self.now),
        })
    }

    fn act(&mut self, action: &Action) {
        match action {
            Action::EnsureSandbox => {
                self.containers.clear();
                self.sandbox = Some(Sandbox {
                    id: "s".into(),
                    pod: identity(&self.pod),
                    ready: true,
                    ips: vec!["10.0.0.2".parse().unwrap()],
                    host_network: false,
                    lone: false,
                    created: at(self.now),
                    labels: Default::default(),
                });
            }
            Action::Start { container, attempt, streak, made } => {
                self.containers.retain(|c| Some(&c.id) != made.as_ref());
                assert!(!self.running(container), "{container} started twice");
                self.made += 1;
                let id = format!("c{}", self.made);
                self.facts.container_mut(container).lives.at(&id).hook_done = true;
                let spec = self.pod.spec.as_ref().unwrap();
                let hash = container_hash(&find_container(spec, container).unwrap().1);
                self.containers.push(ContainerStatus {
                    id: format!("c{}", self.made),
                    identity: ContainerIdentity {
                        pod: identity(&self.pod),
                        container: container.clone(),
                        restart_count: *attempt,
                        hash,
                    },
                    sandbox: "s".into(),
                    image: "i".into(),
                    image_id: "1".into(),
                    created: at(self.now),
                    state: ContainerState::Running { started: at(self.now), pid: 1 },
                    labels: [(crate::kubelet::pod::step::STREAK.to_string(), streak.to_string())].into(),
                    log_path: String::new(),
                    user: None,
                    ips: Vec::new(),
                });
                self.facts.container_mut(container).reborn = None;
                let id = format!("c{}", self.made);
                self.give(container, &id);
            }
            Action::Stop { container, id, again, .. } => {
                if *again {
                    self.facts.container_mut(container).reborn = Some(id.clone());
                }
                self.exit_id(id, 137);
            }
            Action::Resize { container, id } => self.give(container, id),
            Action::ResizeWhole => self.facts.whole = Some(Whole::of(self.pod.spec.as_ref().unwrap())),
            Action::Remove { id, .. } => self.containers.retain(|c| c.id != *id),
            Action::RemoveSandbox { .. } => {
                self.sandbox = None;
                self.containers.clear();
            }
            Action::Finish => {}
        }
    }

    /// The container's life has what is allocated to it.
    fn give(&mut self, name: &str, id: &str) {
        let found = find_container(self.pod.spec.as_ref().unwrap(), name).unwrap().1.resources.clone();
        let facts = self.facts.container_mut(name);
        facts.lives.at(id).actuated = Some(found.unwrap_or_default());
    }

    fn step(&mut self) -> Plan {
        let plan = self.plan();
        plan.actions.iter().for_each(|action| self.act(action));
        plan
    }

    fn running(&self, name: &str) -> bool {
        self.containers.iter().any(|c| c.identity.container == name && c.state.is_running())
    }

    fn exit_id(&mut self, id: &str, code: i32) {
        let now = at(self.now);
        let life = self.containers.iter_mut().find(|c| c.id == id).unwrap();
        let ContainerState::Running { started, .. } = life.state else { return };
        let exit = Exit { code, started: Some(started), finished: now, oom_killed: false, message: None };
        life.state = ContainerState::Exited(exit);
    }

    fn exit(&mut self, name: &str, code: i32) {
        let life = self.containers.iter().find(|c| c.identity.container == name && c.state.is_running());
        let id = life.unwrap().id.clone();
        self.exit_id(&id, code);
    }

    fn set(&mut self, change: impl Fn(&mut Value)) {
        let mut value = serde_json::to_value(&self.pod).unwrap();
        change(&mut value);
        self.pod = serde_json::from_value(value).unwrap();
    }
}

fn web() -> Value {
    json!({"containers": [{"name": "web", "image": "web:1"}]})
}

#[test]
fn sandbox_then_container_then_nothing() {
    let mut world = World::new(web());
    assert_eq!(world.step().actions, [Action::EnsureSandbox]);
    assert_eq!(world.step().actions, [Action::Start { container: "web".into(), attempt: 0, streak: 0, made: None }]);
    assert_eq!(world.step(), Plan::default());
}

#[test]
fn ephemeral_containers_run_once_beside_the_others() {
    let mut world = World::new(web());
    world.step();
    world.step();
    world.set(|pod| pod["spec"]["ephemeralContainers"] = json!([{"name": "debug", "image": "d"}]));
    assert_eq!(world.step().actions, [Action::Start { container: "debug".into(), attempt: 0, streak: 0, made: None }]);
    world.exit("debug", 1);
    assert_eq!(world.step(), Plan::default());
    world.set(|pod| pod["spec"]["restartPolicy"] = "Never".into());
    world.exit("web", 0);
    assert_eq!(world.step(), Plan::default());
}

#[test]
fn a_pod_that_the_host_does_not_take_fails_before_it_begins() {
    let mut world = World::new(web());
    world.refused = Some(Failure { reason: "NodePorts".into(), message: "Pod was rejected".into() });
    let plan = world.step();
    assert_eq!((plan.failure, plan.actions), (world.refused.clone(), vec![]));
}

#[test]
fn init_containers_run_one_after_the_other() {
    let mut world = World::new(json!({"initContainers": [{"name": "a", "image": "i"}, {"name": "b", "image": "i"}],
        "containers": [{"name": "web", "image": "w"}]}));
    world.step();
    world.step();
    assert!(world.running("a") && !world.running("b"));
    world.exit("a", 0);
    world.step();
    assert!(world.running("b") && !world.running("web"));
    world.exit("b", 1);
    world.step();
    assert!(world.running("b"), "a failed init container is tried again");
    world.exit("b", 0);
    world.step();
    assert!(world.running("web"));
    world.containers.retain(|c| c.identity.container == "web");
    assert_eq!(world.step(), Plan::default(), "removed init containers are not run again");
}

#[test]
fn sidecars_start_first_and_stop_last() {
    let mut world = World::new(json!({"restartPolicy": "Never",
        "initContainers": [{"name": "side", "image": "i", "restartPolicy": "Always"}],
        "containers": [{"name": "web", "image": "w"}]}));
    world.step();
    world.step();
    assert!(world.running("side"));
    world.step();
    assert!(world.running("web"));
    world.exit("web", 0);
    world.step();
    assert!(!world.running("side"));
    assert_eq!(world.step().actions, []);
}

#[test]
fn sidecars_end_one_after_the_other_within_the_grace_of_all() {
    let side = |name: &str| json!({"name": name, "image": "i", "restartPolicy": "Always"});
    let mut world = World::new(json!({"initContainers": [side("a"), {"name": "once", "image": "i"}, side("b")],
        "containers": [{"name": "web", "image": "w"}]}));
    for _ in 0..5 {
        world.step();
        if world.running("once") {
            world.exit("once", 0);
        }
    }
    assert!(world.running("a") && world.running("b") && world.running("web"));
    world.set(|pod| {
        pod["metadata"]["deletionTimestamp"] = json!(at(30).to_string());
        pod["metadata"]["deletionGracePeriodSeconds"] = json!(30);
    });
    let stopped = |plan: &Plan| match &plan.actions[..] {
        [Action::Stop { container, grace, .. }] => (container.clone(), *grace),
        other => panic!("{other:?}"),
    };
    assert_eq!(stopped(&world.step()), ("web".into(), 30));
    world.now = 12;
    assert_eq!(stopped(&world.step()), ("b".into(), 18));
    world.now = 31;
    assert_eq!(stopped(&world.step()), ("a".into(), 2), "a moment, however late");
    assert_eq!(world.step().actions, []);
}

#[test]
fn a_new_image_replaces_the_container() {
    let mut world = World::new(web());
    world.step();
    world.step();
    world.set(|pod| pod["spec"]["containers"][0]["image"] = json!("web:2"));
    let plan = world.step();
    let Action::Stop { message, .. } = &plan.actions[0] else { panic!("{plan:?}") };
    assert_eq!(message, "Container web definition changed, will be restarted");
    assert!(matches!(&world.step().actions[0], Action::Start { attempt: 1, streak: 0, .. }));
}

#[test]
fn deletion_stops_then_reports_then_removes_then_finishes() {
    let mut world = World::new(web());
    world.step();
    world.step();
    world.set(|pod| {
        pod["metadata"]["deletionTimestamp"] = json!("2023-11-14T22:13:20Z");
        pod["metadata"]["deletionGracePeriodSeconds"] = json!(7);
    });
    let plan = world.step();
    assert!(
        matches!(&plan.actions[..], [Action::Stop { grace: 7, message, .. }] if message == "Stopping container web")
    );
    assert_eq!(world.step().actions, [], "the final status is not in the API yet");
    world.set(|pod| pod["status"] = json!({"phase": "Failed"}));
    assert_eq!(world.step().actions, [Action::RemoveSandbox { id: "s".into() }]);
    assert_eq!(world.step().actions, [Action::Finish]);
}

#[test]
fn a_pod_deleted_before_it_began_is_finished_once_that_is_told() {
    let mut world = World::new(web());
    world.set(|pod| pod["metadata"]["deletionTimestamp"] = json!("2023-11-14T22:13:20Z"));
    assert_eq!(world.step().actions, [], "a Job may wait for its end");
    world.set(|pod| pod["status"] = json!({"phase": "Failed"}));
    assert_eq!(world.step().actions, [Action::Finish]);
}

#[test]
fn past_its_deadline_a_pod_fails() {
    let mut world = World::new(json!({"activeDeadlineSeconds": 60, "containers": [{"name": "web", "image": "w"}]}));
    world.set(|pod| pod["status"] = json!({"phase": "Running", "startTime": at(0).to_string()}));
    world.step();
    assert_eq!(world.step().wake, Some(at(60)));
    world.now = 60;
    let plan = world.step();
    assert_eq!(plan.failure.unwrap().reason, "DeadlineExceeded");
    assert!(!world.running("web"));
}

#[test]
fn a_doomed_container_is_stopped_and_started_again() {
    let mut world = World::new(web());
    world.step();
    world.step();
    let doom = Doom {
        id: "c1".into(),
        message: "Container web failed liveness probe, will be restarted".into(),
        grace: Some(3),
    };
    world.facts.container_mut("web").doom = Some(doom.into());
    assert!(matches!(&world.step().actions[..], [Action::Stop { grace: 3, .. }]));
    assert!(matches!(&world.step().actions[..], [Action::Start { attempt: 1, .. }]));
}

#[test]
fn a_life_that_could_not_be_started_counts() {
    let mut world = World::new(web());
    world.step();
    world.step();
    let exit = Exit {
        code: 128,
        started: None,
        finished: at(world.now),
        oom_killed: false,
        message: Some("no such file".into()),
    };
    world.containers[0].state = ContainerState::Exited(exit);
    assert_eq!(world.step().waiting["web"], ("RunContainerError", "no such file".to_string()));
    world.now += 4;
    assert!(matches!(&world.step().actions[..], [Action::Start { attempt: 1, streak: 1, .. }]));
}

#[test]
fn a_hook_holds_up_the_containers_after_its_own() {
    let hook = json!({"postStart": {"sleep": {"seconds": 1}}});
    let mut world = World::new(json!({"containers": [{"name": "a", "image": "i"},
        {"name": "b", "image": "i", "lifecycle": hook}, {"name": "c", "image": "i"}]}));
    world.step();
    let starts = |plan: Plan| -> Vec<String> {
        let name = |action| if let Action::Start { container, .. } = action { Some(container) } else { None };
        plan.actions.into_iter().filter_map(name).collect()
    };
    assert_eq!(starts(world.step()), ["a", "b"]);
    world.busy.insert("b".into());
    assert_eq!(starts(world.plan()), [""; 0]);
    world.busy.clear();
    assert_eq!(starts(world.step()), ["c"]);
}

#[test]
fn a_hook_whose_start_was_cut_off_is_run() {
    let hook = json!({"postStart": {"sleep": {"seconds": 1}}});
    let mut world = World::new(json!({"containers": [{"name": "web", "image": "i", "lifecycle": hook}]}));
    world.step();
    world.step();
    let id = world.containers[0].id.clone();
    world.facts.container_mut("web").lives.clear();
    assert_eq!(
        world.step().actions,
        [Action::Start { container: "web".into(), attempt: 0, streak: 0, made: Some(id) }]
    );
    assert_eq!(world.step(), Plan::default());
}

#[test]
fn an_older_life_that_runs_on_is_stopped_before_anything_else() {
    for crashed in [false, true] {
        let mut world = World::new(web());
        world.step();
        world.step();
        let mut second = world.containers[0].clone();
        second.id = "second".into();
        second.identity.restart_count = 1;
        world.containers.push(second);
        if crashed {
            world.exit_id("second", 1);
        }
        let older = world.containers[0].id.clone();
        let actions = world.step().actions;
        assert!(matches!(&actions[..], [Action::Stop { id, .. }] if *id == older), "{actions:?}");
        world.now += 20;
        match &world.step().actions[..] {
            [] => assert!(!crashed),
            [Action::Start { attempt: 2, made: None, .. }] => assert!(crashed),
            others => panic!("{others:?}"),
        }
    }
}

#[test]
fn a_removed_container_comes_back_with_the_next_count() {
    let mut world = World::new(web());
    world.step();
    world.step();
    world.set(|pod| {
        pod["status"] = json!({"phase": "Running", "containerStatuses": [{"name": "web", "image": "", "imageID": "",
            "ready": true, "restartCount": 2, "containerID": "podman://c1", "state": {"running": {}}}]});
    });
    world.containers.clear();
    assert!(matches!(&world.step().actions[..], [Action::Start { attempt: 3, .. }]));
}

#[test]
fn troubles_wait_until_their_time_or_a_new_spec() {
    let mut world = World::new(web());
    world.step();
    let hash = container_hash(&world.pod.spec.as_ref().unwrap().containers[0]);
    let trouble = Trouble::after(None, "ErrImagePull", "manifest unknown".into(), &hash, at(0), QUICK);
    world.facts.container_mut("web").trouble = Some(Trouble { retry_at: at(10), ..trouble }.into());
    assert_eq!(world.step().waiting["web"], ("ErrImagePull", "manifest unknown".to_string()));
    world.now = 4;
    let expect = "Back-off pulling image \"web:1\": ErrImagePull: manifest unknown".to_string();
    assert_eq!(world.step().waiting["web"], ("ImagePullBackOff", expect));
    world.set(|pod| pod["spec"]["containers"][0]["image"] = json!("web:2"));
    assert!(matches!(&world.step().actions[..], [Action::Start { .. }]));
}

proptest! {
    /// Whatever exits, vanishes or is busy: nothing starts twice, busy containers are left alone, a
    /// restart count never goes back, and old lives do not pile up.
    #[test]
    fn plans_are_safe(policy in prop::sample::select(vec!["Always", "OnFailure", "Never"]),
                      happenings in prop::collection::vec((0..7u8, 0..3usize, 0..400i64), 1..40)) {
        let names = ["a", "web", "db"];
        let mut world = World::new(json!({"restartPolicy": policy, "initContainers": [{"name": "a", "image": "i"}],
            "containers": [{"name": "web", "image": "w"}, {"name": "db", "image": "d"}]}));
        let mut counts = std::collections::BTreeMap::<String, u32>::new();
        for (what, which, wait) in happenings {
            let name = names[which];
            match what {
                0 | 1 if world.running(name) => world.exit(name, i32::from(what)),
                2 => { world.busy.insert(name.to_string()); }
                3 => world.busy.clear(),
                4 => world.now += wait,
                _ => {}
            }
            let plan = world.plan();
            for action in &plan.actions {
                if let Action::Start { container, attempt, .. } = action {
                    prop_assert!(!world.busy.contains(container));
                    let before = counts.insert(container.clone(), *attempt);
                    prop_assert!(before.is_none_or(|before| before < *attempt));
                    prop_assert!(container == "a" || world.containers.iter().any(|c| c.identity.container == "a"
                        && matches!(&c.state, ContainerState::Exited(exit) if exit.code == 0)));
                }
                world.act(action);
            }
            for name in names {
                prop_assert!(world.containers.iter().filter(|c| c.identity.container == name).count() <= 3);
            }
        }
    }
}
