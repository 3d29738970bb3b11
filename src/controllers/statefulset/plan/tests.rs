//! Views of a StatefulSet and what they lead to, and whole lives of sets in a random world.
#![allow(clippy::unwrap_used)]

use super::*;
use crate::controllers::claim::controller_reference;
use crate::controllers::revisions::{HISTORY_LABEL, Source, Upkeep, sort, upkeep};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use proptest::prelude::*;
use serde_json::{Value, from_value, json};

/// A set alone in its namespace, with the API server's rules for names.
struct World {
    set: StatefulSet,
    pods: Vec<Arc<Pod>>,
    claims: HashMap<String, Arc<PersistentVolumeClaim>>,
    revisions: Vec<Arc<ControllerRevision>>,
    held: HashMap<String, SignedDuration>,
    now: Timestamp,
    made: usize,
}

impl World {
    fn new(spec: Value) -> Self {
        let mut whole = json!({"replicas": 3, "serviceName": "svc", "selector": {"matchLabels": {"app": "db"}},
            "template": {"metadata": {"labels": {"app": "db"}}, "spec": {"containers": [{"name": "c", "image": "1"}]}}});
        json_patch::merge(&mut whole, &spec);
        let set =
            from_value(json!({"metadata": {"name": "db", "namespace": "ns", "uid": "set"}, "spec": whole})).unwrap();
        let now = "2024-01-01T12:00:00Z".parse().unwrap();
        Self { set, pods: vec![], claims: HashMap::new(), revisions: vec![], held: HashMap::new(), now, made: 0 }
    }

    fn edit(&mut self, change: Value) {
        let mut set = serde_json::to_value(&self.set).unwrap();
        json_patch::merge(&mut set, &json!({ "spec": change }));
        self.set = from_value(set).unwrap();
    }

    fn image(&mut self, image: &str) {
        self.edit(json!({"template": {"spec": {"containers": [{"name": "c", "image": image}]}}}));
    }

    fn decide(&mut self) -> Plan {
        let spec = self.set.spec.as_ref().unwrap();
        let source = Source {
            owner: controller_reference(&self.set),
            meta: &self.set.metadata,
            template: &spec.template,
            label: HISTORY_LABEL,
            collisions: None,
        };
        match upkeep(&source, &self.revisions) {
            Upkeep::Nothing(_) => {}
            Upkeep::Create(new) => self.revisions.push(Arc::new(*new)),
            Upkeep::Renumber(old, to) => {
                self.revisions.retain(|one| one.metadata.name != old.metadata.name);
                self.revisions.push(Arc::new(ControllerRevision { revision: to, ..(*old).clone() }));
            }
        }
        sort(&mut self.revisions);
        plan(&Observed {
            set: &self.set,
            pods: &self.pods,
            doomed: &HashSet::new(),
            claims: &self.claims,
            revisions: &self.revisions,
            held: &self.held,
            now: self.now,
        })
    }

    /// One pass; returns what was done to pods, as `+db-0` and `-db-0`.
    fn pass(&mut self) -> Vec<String> {
        let plan = self.decide();
        let mut done = Vec::new();
        for action in plan.actions {
            match action {
                Action::Create(pod) => {
                    done.push(format!("+{}", pods::name(&pod)));
                    assert!(self.find(pods::name(&pod)).is_none(), "two pods of one identity");
                    self.made += 1;
                    let mut pod = *pod;
                    pod.metadata.uid = Some(format!("p{}", self.made));
                    self.pods.push(Arc::new(pod));
                }
                Action::Delete(pod) | Action::Recreate(pod) => {
                    done.push(format!("-{}", pods::name(&pod)));
                    let now = self.now;
                    self.change(pods::name(&pod), |pod| pod.metadata.deletion_timestamp = Some(Time(now)));
                }
                Action::CreateClaim { claim, .. } => {
                    self.claims.insert(claim.metadata.name.clone().unwrap(), Arc::new(*claim));
                }
                Action::OwnClaim { claim, owners } => {
                    let name = claim.metadata.name.clone().unwrap();
                    Arc::make_mut(self.claims.get_mut(&name).unwrap()).metadata.owner_references = Some(owners);
                }
                other => panic!("{other:?}"),
            }
        }
        self.revisions.retain(|one| !plan.expired.contains(one));
        self.set.status = Some(plan.status);
        done
    }

    fn find(&self, name: &str) -> Option<&Arc<Pod>> {
        self.pods.iter().find(|pod| pods::name(pod) == name)
    }

    fn change(&mut self, name: &str, change: impl FnOnce(&mut Pod)) {
        let pod = self.pods.iter_mut().find(|pod| pods::name(pod) == name).unwrap();
        change(Arc::make_mut(pod));
    }

    fn report(&mut self, name: &str, phase: &str, ready: bool) {
        let conditions = ready.then(|| json!([{"type": "Ready", "status": "True", "lastTransitionTime": self.now}]));
        let status = from_value(json!({"phase": phase, "conditions": conditions})).unwrap();
        self.change(name, |pod| pod.status = Some(status));
    }

    /// The kubelets do their work: what leaves is gone, what is new runs.
    fn settle(&mut self) {
        self.pods.retain(|pod| !pods::is_terminating(pod));
        for name in self.names() {
            if pods::phase(self.find(&name).unwrap()) == "Pending" {
                self.report(&name, "Running", true);
            }
        }
    }

    fn names(&self) -> Vec<String> {
        let mut names: Vec<_> = self.pods.iter().map(|pod| pods::name(pod).to_owned()).collect();
        names.sort();
        names
    }

    /// What is done until nothing is left to do.
    fn run(&mut self) -> String {
        let (mut all, mut quiet) = (Vec::new(), 0);
        while quiet < 2 {
            let done = self.pass();
            quiet = if done.is_empty() { quiet + 1 } else { 0 };
            all.extend(done);
            self.settle();
            assert!(all.len() < 500, "no end: {all:?}");
        }
        all.join(" ")
    }

    fn status(&self) -> &StatefulSetStatus {
        self.set.status.as_ref().unwrap()
    }
}

#[test]
fn pods_come_in_order_and_go_in_reverse() {
    let mut world = World::new(json!({}));
    assert_eq!(world.pass(), ["+db-0"]);
    assert_eq!(world.pass(), [""; 0], "db-0 is not ready");
    world.settle();
    assert_eq!(world.run(), "+db-1 +db-2");
    world.edit(json!({"replicas": 1}));
    assert_eq!(world.pass(), ["-db-2"]);
    assert_eq!(world.pass(), [""; 0], "db-2 is still there");
    world.settle();
    assert_eq!(world.run(), "-db-1");
    let status = world.status();
    assert_eq!((status.replicas, status.ready_replicas, status.updated_replicas), (1, Some(1), Some(1)));
}

#[test]
fn parallel_sets_wait_for_nobody() {
    let mut world = World::new(json!({"podManagementPolicy": "Parallel", "ordinals": {"start": 5}}));
    assert_eq!(world.pass(), ["+db-5", "+db-6", "+db-7"]);
    world.edit(json!({"replicas": 1}));
    assert_eq!(world.pass(), ["-db-7", "-db-6"]);
}

#[test]
fn pods_know_who_they_are() {
    let mut world = World::new(json!({"volumeClaimTemplates": [
        {"metadata": {"name": "data"}, "spec": {"accessModes": ["ReadWriteOnce"]}}]}));
    world.run();
    let pod = world.find("db-1").unwrap();
    let labels = pod.metadata.labels.as_ref().unwrap();
    assert_eq!((&*labels[identity::POD_NAME], &*labels[identity::POD_INDEX], &*labels["app"]), ("db-1", "1", "db"));
    assert_eq!(Some(&labels["controller-revision-hash"]), world.status().update_revision.as_ref());
    let spec = pod.spec.as_ref().unwrap();
    assert_eq!((spec.hostname.as_deref(), spec.subdomain.as_deref()), (Some("db-1"), Some("svc")));
    let volume = &spec.volumes.as_ref().unwrap()[0];
    assert_eq!(volume.persistent_volume_claim.as_ref().unwrap().claim_name, "data-db-1");
    assert_eq!(world.claims["data-db-1"].metadata.labels.as_ref().unwrap()["app"], "db");
    assert_eq!(world.claims.len(), 3);
}

#[test]
fn an_update_starts_with_the_highest_ordinal_and_stops_at_the_partition() {
    let mut world = World::new(json!({"updateStrategy": {"type": "RollingUpdate", "rollingUpdate": {"partition": 1}}}));
    world.run();
    let old = world.status().current_revision.clone();
    world.image("2");
    assert_eq!(world.run(), "-db-2 +db-2 -db-1 +db-1");
    assert_eq!((world.status().updated_replicas, world.status().current_replicas), (Some(2), Some(1)));
    assert_eq!(world.status().current_revision, old);
    // Below the partition, even a new pod is one of the old revision.
    world.pods.retain(|pod| pods::name(pod) != "db-0");
    assert_eq!(world.run(), "+db-0");
    assert_eq!(Some(identity::revision(world.find("db-0").unwrap())), old.as_deref());
    world.edit(json!({"updateStrategy": {"rollingUpdate": {"partition": 0}}}));
    assert_eq!(world.run(), "-db-0 +db-0");
    assert_eq!(world.status().current_revision, world.status().update_revision);
}

#[test]
fn an_update_waits_for_the_pod_it_replaced() {
    let mut world = World::new(json!({"minReadySeconds": 10}));
    for _ in 0..6 {
        world.pass();
        world.settle();
        world.now += SignedDuration::from_secs(10);
    }
    world.image("2");
    assert_eq!(world.pass(), ["-db-2"]);
    world.settle();
    assert_eq!(world.pass(), ["+db-2"]);
    world.settle();
    assert_eq!(world.pass(), [""; 0], "not ready for long enough");
    assert_eq!(world.decide().again, Some(SignedDuration::from_secs(10)));
    world.now += SignedDuration::from_secs(10);
    assert_eq!(world.pass(), ["-db-1"]);
}

#[test]
fn on_delete_leaves_it_to_the_user() {
    let mut world = World::new(json!({"updateStrategy": {"type": "OnDelete"}}));
    world.run();
    world.image("2");
    assert_eq!(world.run(), "");
    world.pods.retain(|pod| pods::name(pod) != "db-1");
    assert_eq!(world.run(), "+db-1");
    assert_eq!(Some(identity::revision(world.find("db-1").unwrap())), world.status().update_revision.as_deref());
}

#[test]
fn a_failed_pod_makes_room_and_a_lost_one_does_not() {
    let mut world = World::new(json!({}));
    world.run();
    world.report("db-1", "Failed", false);
    assert_eq!(world.pass(), ["-db-1"]);
    for _ in 0..10 {
        assert_eq!(world.pass(), [""; 0], "its host may still run it");
    }
    world.settle();
    assert_eq!(world.run(), "+db-1");
}

#[test]
fn a_rejected_pod_stays_for_a_while() {
    let mut world = World::new(json!({}));
    world.run();
    world.report("db-1", "Failed", false);
    world.change("db-1", |pod| pod.status.as_mut().unwrap().message = Some("Pod was rejected: no room".into()));
    world.held = [("db-1".to_owned(), SignedDuration::from_secs(4))].into();
    let plan = world.decide();
    assert_eq!((plan.actions.len(), plan.again), (0, Some(SignedDuration::from_secs(4))));
    world.held.clear();
    assert_eq!(world.pass(), ["-db-1"]);
    world.settle();
    world.held = [("db-1".to_owned(), SignedDuration::from_secs(4))].into();
    assert_eq!(world.run(), "+db-1");
    world.report("db-1", "Failed", false);
    assert_eq!(world.pass(), ["-db-1"], "it failed by itself");
}

#[test]
fn a_claim_goes_with_the_pod_scaled_away_and_a_new_pod_waits_for_that() {
    let mut world = World::new(json!({"persistentVolumeClaimRetentionPolicy": {"whenScaled": "Delete"},
        "volumeClaimTemplates": [{"metadata": {"name": "data"}, "spec": {}}]}));
    world.run();
    world.edit(json!({"replicas": 2}));
    world.run();
    assert_eq!(world.claims["data-db-2"].metadata.owner_references.as_ref().unwrap()[0].kind, "Pod");
    world.edit(json!({"replicas": 3}));
    assert_eq!(world.run(), "", "the claim of the former db-2 is still there");
    world.claims.remove("data-db-2");
    assert_eq!(world.run(), "+db-2");
}

#[derive(Debug, Clone)]
enum Step {
    Image(u8),
    Scale(u8),
    Settle,
    Fail(usize),
    Lose(usize),
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        1 => (0u8..4).prop_map(Step::Image),
        1 => (0u8..5).prop_map(Step::Scale),
        4 => Just(Step::Settle),
        1 => (0usize..5).prop_map(Step::Fail),
        1 => (0usize..5).prop_map(Step::Lose),
    ]
}

proptest! {
    /// Whatever happens: never two pods of one identity, never more pods taken than allowed, and in
    /// the end all are there in the newest revision.
    #[test]
    fn identity_is_unique_and_rollouts_are_bounded(
        steps in prop::collection::vec(step(), 1..40),
        parallel in any::<bool>(),
        limit in 1usize..4,
    ) {
        let policy = if parallel { "Parallel" } else { "OrderedReady" };
        let mut world = World::new(json!({"podManagementPolicy": policy,
            "updateStrategy": {"type": "RollingUpdate", "rollingUpdate": {"maxUnavailable": limit}}}));
        for step in steps {
            let names = world.names();
            match step {
                Step::Image(image) => world.image(&image.to_string()),
                Step::Scale(replicas) => world.edit(json!({ "replicas": replicas })),
                Step::Settle => world.settle(),
                Step::Fail(index) => if let Some(name) = names.get(index) { world.report(name, "Failed", false) },
                Step::Lose(index) => if let Some(name) = names.get(index) {
                    let now = world.now;
                    world.change(name, |pod| pod.metadata.deletion_timestamp = Some(Time(now)));
                },
            }
            let kept = |world: &World, pod: &Pod| ordinals(&world.set).contains(&ordinal(&world.set, pod).unwrap());
            let serves = |pod: &Pod| pods::is_ready(pod) && pods::is_active(pod);
            let available = |world: &World| world.pods.iter().filter(|pod| serves(pod) && kept(world, pod)).count();
            let (before, wanted) = (available(&world), wanted(&world.set) as usize);
            world.pass();
            let after = available(&world);
            prop_assert!(after >= before || after + limit >= wanted.min(before), "{before} -> {after} of {wanted}");
            prop_assert!(world.revisions.len() <= 4);
        }
        world.run();
        let newest = revisions::name(world.revisions.last().unwrap());
        prop_assert_eq!(world.pods.len() as i64, wanted(&world.set));
        prop_assert!(world.pods.iter().all(|pod| identity::revision(pod) == newest));
        prop_assert_eq!(world.status().current_revision.as_deref(), Some(newest));
        prop_assert_eq!(world.status().ready_replicas.unwrap_or(0), wanted(&world.set) as i32);
    }
}
