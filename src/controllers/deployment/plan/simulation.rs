//! A random world around the pure plans of Deployment and ReplicaSet: whatever the order in which
//! controllers act, pods become ready and reports arrive, the promises hold and the rollout ends.
#![allow(clippy::unwrap_used)]

use super::{Action, Observed, plan};
use crate::controllers::deployment::sets;
use crate::controllers::replicaset::{Replicated, plan as replicas, rank::Crowd};
use jiff::Timestamp;
use k8s_openapi::api::apps::v1::{Deployment, ReplicaSet, ReplicaSetStatus};
use k8s_openapi::api::core::v1::Pod;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use proptest::prelude::*;
use serde_json::{from_value, json};
use std::collections::HashSet;
use std::sync::Arc;

struct World {
    deployment: Deployment,
    sets: Vec<Arc<ReplicaSet>>,
    pods: Vec<Arc<Pod>>,
    reports: Vec<(Arc<ReplicaSet>, ReplicaSetStatus)>,
    next: usize,
    now: Timestamp,
}

impl World {
    fn new(replicas: i32, surge: i32, unavailable: i32, strategy: &str) -> Self {
        let rolling = (strategy == "RollingUpdate").then(|| json!({"maxSurge": surge, "maxUnavailable": unavailable}));
        let deployment = from_value(json!({
            "metadata": {"name": "web", "namespace": "ns", "uid": "d", "generation": 1},
            "spec": {
                "replicas": replicas,
                "revisionHistoryLimit": 2,
                "progressDeadlineSeconds": 600,
                "selector": {"matchLabels": {"app": "web"}},
                "template": {"metadata": {"labels": {"app": "web"}}, "spec": {"containers": [{"name": "c", "image": "v0"}]}},
                "strategy": {"type": strategy, "rollingUpdate": rolling},
            },
        }));
        Self {
            deployment: deployment.unwrap(),
            sets: vec![],
            pods: vec![],
            reports: vec![],
            next: 0,
            now: "2024-01-01T00:00:00Z".parse().unwrap(),
        }
    }

    fn id(&mut self, prefix: &str) -> String {
        self.next += 1;
        format!("{prefix}{:04}", self.next)
    }

    fn set_image(&mut self, version: u8) {
        let spec = self.deployment.spec.as_mut().unwrap();
        spec.template.spec.as_mut().unwrap().containers[0].image = Some(format!("v{version}"));
        self.deployment.metadata.generation = self.deployment.metadata.generation.map(|generation| generation + 1);
    }

    /// One pass of the deployment controller; true if it did anything.
    fn deploy(&mut self) -> bool {
        let pods = self.pods.clone();
        let running = |set: &ReplicaSet| owned(&pods, set).len();
        let observed = Observed { deployment: &self.deployment, sets: &self.sets, running: &running, now: self.now };
        let plan = plan(&observed).unwrap();
        let busy = !plan.actions.is_empty() || self.deployment.status.as_ref() != Some(&plan.status);
        self.deployment.status = Some(plan.status);
        for action in plan.actions {
            self.apply(action);
        }
        busy
    }

    fn apply(&mut self, action: Action) {
        let at = |world: &Self, set: &Arc<ReplicaSet>| {
            world.sets.iter().position(|known| known.metadata.name == set.metadata.name).unwrap()
        };
        match action {
            Action::Create(mut set) => {
                assert!(self.sets.iter().all(|known| known.metadata.name != set.metadata.name), "created twice");
                set.metadata.uid = Some(self.id("set"));
                set.metadata.generation = Some(1);
                set.metadata.creation_timestamp =
                    Some(Time(self.now + jiff::SignedDuration::from_secs(self.next as i64)));
                self.sets.push(Arc::from(set));
            }
            Action::Scale { set, to, annotations } => {
                let index = at(self, &set);
                let set = Arc::make_mut(&mut self.sets[index]);
                set.spec.as_mut().unwrap().replicas = Some(to);
                set.metadata.generation = set.metadata.generation.map(|generation| generation + 1);
                set.metadata.annotations.get_or_insert_default().extend(annotations);
            }
            Action::Annotate { set, annotations, .. } => {
                let index = at(self, &set);
                Arc::make_mut(&mut self.sets[index]).metadata.annotations.get_or_insert_default().extend(annotations);
            }
            Action::Delete(set) => {
                assert!(owned(&self.pods, &set).is_empty(), "a set with pods was removed");
                let index = at(self, &set);
                self.sets.remove(index);
            }
        }
    }

    /// The ReplicaSet controller acts on one set; what it will report is kept for [`Self::report`].
    /// True if it did anything.
    fn replicate(&mut self, index: usize) -> bool {
        let Some(set) = self.sets.get(index).cloned() else { return false };
        let pods = owned(&self.pods, &set);
        let none = HashSet::new();
        let observed = replicas::Observed {
            set: &Replicated::set(&*set),
            pods: &pods,
            doomed: &none,
            crowd: &Crowd::new,
            now: self.now,
        };
        let mut plan = replicas::plan(&observed);
        replicas::note_created(&mut plan.status, plan.create);
        let busy = plan.create > 0 || !plan.delete.is_empty() || set.status.as_ref() != Some(&plan.status);
        let gone: HashSet<_> = plan.delete.iter().map(|pod| pod.metadata.uid.clone()).collect();
        self.pods.retain(|pod| !gone.contains(&pod.metadata.uid));
        for _ in 0..plan.create {
            let name = self.id("pod");
            self.pods.push(Arc::new(new_pod(&name, &set)));
        }
        self.reports.retain(|(known, _)| known.metadata.uid != set.metadata.uid);
        self.reports.push((set, plan.status));
        busy
    }

    /// A report arrives, and is refused if its set has changed meanwhile; true if it said anything new.
    fn report(&mut self, choice: usize) -> bool {
        if self.reports.is_empty() {
            return false;
        }
        let (seen, status) = self.reports.remove(choice % self.reports.len());
        let Some(set) = self.sets.iter_mut().find(|set| Arc::ptr_eq(set, &seen)) else { return false };
        drop(seen);
        let news = set.status.as_ref() != Some(&status);
        Arc::make_mut(set).status = Some(status);
        news
    }

    fn make_ready(&mut self, choice: usize) -> bool {
        let waiting: Vec<_> =
            (0..self.pods.len()).filter(|index| !crate::controllers::pods::is_ready(&self.pods[*index])).collect();
        let Some(index) = (!waiting.is_empty()).then(|| waiting[choice % waiting.len()]) else { return false };
        let ready = json!({"phase": "Running", "conditions": [{"type": "Ready", "status": "True"}]});
        Arc::make_mut(&mut self.pods[index]).status = Some(from_value(ready).unwrap());
        true
    }

    fn ready(&self) -> i32 {
        self.pods.iter().filter(|pod| crate::controllers::pods::is_ready(pod)).count() as i32
    }

    /// Lets everything happen, in order, until nothing does.
    fn settle(&mut self) {
        for _ in 0..500 {
            let mut busy = self.deploy();
            for index in 0..self.sets.len() {
                busy |= self.replicate(index);
                while !self.reports.is_empty() {
                    busy |= self.report(0);
                }
            }
            busy |= self.make_ready(0);
            self.now += jiff::SignedDuration::from_secs(1);
            if !busy {
                return;
            }
        }
        panic!("does not settle");
    }
}

fn owned(pods: &[Arc<Pod>], set: &ReplicaSet) -> Vec<Arc<Pod>> {
    let uid = set.metadata.uid.as_deref();
    let ours = |pod: &&Arc<Pod>| pod.metadata.owner_references.iter().flatten().any(|owner| Some(&*owner.uid) == uid);
    pods.iter().filter(ours).cloned().collect()
}

fn new_pod(name: &str, set: &ReplicaSet) -> Pod {
    let template = set.spec.as_ref().unwrap().template.clone().unwrap();
    let owner = crate::controllers::claim::controller_reference(set);
    let mut pod = crate::controllers::pods::from_template(&template, Some("ns".into()), "web", owner);
    (pod.metadata.name, pod.metadata.uid) = (Some(name.into()), Some(name.into()));
    pod
}

#[derive(Debug, Clone)]
enum Step {
    Deploy,
    Replicate(usize),
    Report(usize),
    Ready(usize),
    Image(u8),
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let step = prop_oneof![
        4 => Just(Step::Deploy),
        6 => (0usize..6).prop_map(Step::Replicate),
        6 => (0usize..6).prop_map(Step::Report),
        4 => (0usize..20).prop_map(Step::Ready),
        1 => (0u8..5).prop_map(Step::Image),
    ];
    prop::collection::vec(step, 0..120)
}

impl World {
    fn step(&mut self, step: &Step) {
        match step {
            Step::Deploy => {
                self.deploy();
            }
            Step::Replicate(index) => {
                self.replicate(*index);
            }
            Step::Report(choice) => {
                self.report(*choice);
            }
            Step::Ready(choice) => {
                self.make_ready(*choice);
            }
            Step::Image(version) => self.set_image(*version),
        }
    }

    fn check_end(&self, replicas: i32) -> Result<(), TestCaseError> {
        prop_assert_eq!(self.pods.len() as i32, replicas);
        let active: Vec<_> = self.sets.iter().filter(|set| sets::is_active(set)).collect();
        prop_assert!(active.len() <= 1);
        let image = self.deployment.spec.as_ref().unwrap().template.spec.as_ref().unwrap().containers[0].image.clone();
        for pod in &self.pods {
            prop_assert_eq!(&pod.spec.as_ref().unwrap().containers[0].image, &image);
        }
        prop_assert!(self.sets.len() <= 3, "the current set and two old ones are kept");
        let status = self.deployment.status.as_ref().unwrap();
        let reasons: Vec<_> =
            status.conditions.iter().flatten().map(|condition| condition.reason.as_deref().unwrap()).collect();
        prop_assert!(
            reasons.contains(&"NewReplicaSetAvailable") && reasons.contains(&"MinimumReplicasAvailable"),
            "{:?}",
            reasons
        );
        Ok(())
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 200, ..ProptestConfig::default() })]

    /// RollingUpdate: never more pods than allowed, never fewer ready ones once they all were.
    #[test]
    fn rolling_updates_keep_their_promises(replicas in 1i32..7, surge in 0i32..3, unavailable in 0i32..3, steps in steps()) {
        let mut world = World::new(replicas, surge, unavailable, "RollingUpdate");
        world.settle();
        prop_assert_eq!(world.ready(), replicas);
        let limits = sets::Limits::of(&world.deployment);
        for step in &steps {
            world.step(step);
            prop_assert!(world.pods.len() as i32 <= limits.most(), "{:?}: {} pods", step, world.pods.len());
            prop_assert!(world.ready() >= limits.fewest(), "{:?}: {} ready", step, world.ready());
        }
        world.settle();
        world.check_end(replicas)?;
    }

    /// Recreate: pods of two templates never run at the same time.
    #[test]
    fn recreate_never_mixes(replicas in 1i32..5, steps in steps()) {
        let mut world = World::new(replicas, 0, 0, "Recreate");
        world.settle();
        for step in &steps {
            world.step(step);
            let images: HashSet<_> = world.pods.iter().map(|pod| pod.spec.as_ref().unwrap().containers[0].image.clone()).collect();
            prop_assert!(images.len() <= 1, "{:?}", images);
        }
        world.settle();
        world.check_end(replicas)?;
    }

    /// Scaling at any moment of a rollout ends with the number asked for.
    #[test]
    fn scaling_during_a_rollout_converges(from in 1i32..10, to in 0i32..12, paused: bool, steps in steps(), more in steps()) {
        let mut world = World::new(from, 2, 1, "RollingUpdate");
        world.settle();
        steps.iter().for_each(|step| world.step(step));
        let spec = world.deployment.spec.as_mut().unwrap();
        (spec.replicas, spec.paused) = (Some(to), Some(paused));
        let most = sets::Limits::of(&world.deployment).most().max(world.pods.len() as i32);
        for step in &more {
            world.step(step);
            prop_assert!(world.pods.len() as i32 <= most.max(from + 2));
        }
        world.deployment.spec.as_mut().unwrap().paused = Some(false);
        world.settle();
        world.check_end(to)?;
    }
}
