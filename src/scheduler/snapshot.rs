//! The hosts and what their pods take, kept up to date by changes, never recomputed.

use super::equivalence::Memory;
use super::filters::spread;
pub use super::host::{HostState, Placed};
use super::preemption::Budgets;
use super::profiles::Profiles;
use super::promises::Promises;
use super::requests;
use super::selectors::Selectors;
use super::storage::Storage;
use super::topology::selection::{self, Term};
use super::topology::{Claim, Clause, Topology};
use k8s_openapi::api::core::v1::{Node, Pod};
use std::collections::HashMap;
use std::sync::Arc;

/// What a look at a pod showed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Seen {
    Nothing,
    /// It is on a host, or another than before.
    Placed,
    /// It takes less of its host than before.
    Shrunk,
    /// It was told to go.
    Leaving,
    /// It left its host.
    Left,
}

/// All hosts, ordered by name: in a copy of the cluster they come in another order.
#[derive(Clone, Debug, Default)]
pub struct Snapshot {
    hosts: Vec<HostState>,
    by_name: HashMap<String, usize>,
    /// Where each pod is counted: uid -> host.
    placed: HashMap<String, String>,
    pub storage: Storage,
    pub topology: Topology,
    pub budgets: Budgets,
    pub selectors: Selectors,
    pub promises: Promises,
    pub profiles: Profiles,
    pub memory: Memory,
    /// How many hosts have each image.
    images: HashMap<String, i64>,
    /// Changes of hosts so far.
    changes: u64,
}

impl Snapshot {
    /// The hosts that have a Node object.
    pub fn hosts(&self) -> impl Iterator<Item = &HostState> {
        self.hosts.iter().filter(|host| host.node.is_some())
    }

    pub fn host(&self, name: &str) -> Option<&HostState> {
        self.by_name.get(name).map(|at| &self.hosts[*at]).filter(|host| host.node.is_some())
    }

    fn slot(&mut self, name: &str) -> &mut HostState {
        let at = match self.by_name.get(name) {
            Some(at) => *at,
            None => {
                let at = self.hosts.partition_point(|host| *host.name < *name);
                self.hosts.insert(at, HostState::new(name));
                self.number_from(at);
                at
            }
        };
        self.touch(at);
        &mut self.hosts[at]
    }

    /// The host is another than before: what was known of it is void.
    fn touch(&mut self, at: usize) {
        self.changes += 1;
        self.hosts[at].generation = self.changes;
    }

    /// Promises a host to a pod, and no other any more.
    pub fn promise(&mut self, uid: &str, host: &str, placed: Placed) {
        self.withdraw(uid);
        self.promises.make(uid, host, placed);
        self.touch_named(host);
    }

    /// No host is promised to the pod any more. Returns the host that was.
    pub fn withdraw(&mut self, uid: &str) -> Option<String> {
        let host = self.promises.withdraw(uid)?;
        self.touch_named(&host);
        Some(host)
    }

    fn touch_named(&mut self, host: &str) {
        if let Some(at) = self.by_name.get(host) {
            self.touch(*at);
        }
    }

    /// Keeps the counts that a pod like this one asks for, from now on.
    pub fn follow(&mut self, pod: &Pod) {
        spread::follow(pod, &self.selectors, &mut self.topology);
        let terms = selection::terms(pod);
        let near: Vec<Clause> =
            terms.iter().filter(|term| term.claim == Claim::Requires).map(|term| term.clause.clone()).collect();
        for Term { claim, clause, key } in terms {
            match claim {
                Claim::Requires => self.topology.sum_up(&near, &key),
                Claim::Forbids | Claim::Prefers(_) => self.topology.sum_up(&vec![clause], &key),
            }
        }
    }

    /// Hosts come and go rarely, and new ones mostly at the end.
    fn number_from(&mut self, at: usize) {
        for (number, host) in self.hosts.iter().enumerate().skip(at) {
            self.by_name.insert(host.name.to_string(), number);
        }
    }

    pub fn set_node(&mut self, node: Arc<Node>) {
        let Some(name) = node.metadata.name.clone() else { return };
        self.topology.set_node(&node);
        let host = self.slot(&name);
        let before = host.images.clone();
        host.set_node(node);
        let now = host.images.clone();
        self.count_images(&before, &now);
    }

    fn count_images(&mut self, before: &HashMap<String, i64>, now: &HashMap<String, i64>) {
        if before == now {
            return;
        }
        for image in before.keys() {
            if let Some(hosts) = self.images.get_mut(image) {
                *hosts -= 1;
                if *hosts == 0 {
                    self.images.remove(image);
                }
            }
        }
        now.keys().for_each(|image| *self.images.entry(image.clone()).or_default() += 1);
    }

    /// How many of all hosts have the image, of how many.
    pub fn spread_of(&self, image: &str) -> (i64, i64) {
        (self.images.get(image).copied().unwrap_or(0), self.hosts.len() as i64)
    }

    pub fn remove_node(&mut self, name: &str) {
        let Some(at) = self.by_name.get(name).copied() else { return };
        self.topology.remove_node(name);
        self.hosts[at].node = None;
        let before = std::mem::take(&mut self.hosts[at].images);
        self.count_images(&before, &HashMap::new());
        self.touch(at);
        if self.hosts[at].pod_count() == 0 {
            self.drop_slot(at);
        }
    }

    fn drop_slot(&mut self, at: usize) {
        let gone = self.hosts.remove(at);
        self.by_name.remove(&*gone.name);
        self.number_from(at);
    }

    /// Pods that are counted, on all hosts.
    pub fn placed(&self) -> usize {
        self.placed.len()
    }

    /// Counts the pod on `host`, wherever it was counted before. Returns whether that is news.
    pub fn place(&mut self, uid: &str, host: &str, mut placed: Placed) -> bool {
        if self.host_with(uid).is_some_and(|on| *on.name == *host && on.pod(uid).is_some_and(|known| **known == placed))
        {
            return false;
        }
        self.forget(uid);
        self.placed.insert(uid.to_string(), host.to_string());
        let name = self.slot(host).name.clone();
        placed.group = self.topology.count(&name, &placed.group, &placed.terms, placed.count());
        self.storage.use_claims(&placed.group.namespace, &placed.claims, true);
        self.slot(host).add(&uid.into(), Arc::new(placed));
        true
    }

    /// The host that the pod is counted on.
    fn host_with(&self, uid: &str) -> Option<&HostState> {
        self.by_name.get(self.placed.get(uid)?).map(|at| &self.hosts[*at])
    }

    /// Stops counting the pod.
    pub fn forget(&mut self, uid: &str) {
        let Some(host) = self.placed.remove(uid) else { return };
        let Some(at) = self.by_name.get(&host).copied() else { return };
        if let Some(placed) = self.hosts[at].remove(uid) {
            self.touch(at);
            self.topology.count(&self.hosts[at].name, &placed.group, &placed.terms, -placed.count());
            self.storage.use_claims(&placed.group.namespace, &placed.claims, false);
        }
        if self.hosts[at].node.is_none() && self.hosts[at].pod_count() == 0 {
            self.drop_slot(at);
        }
    }

    /// Follows a pod as the API shows it.
    pub fn observe(&mut self, pod: &Pod) -> Seen {
        let uid = pod.metadata.uid.as_deref().unwrap_or_default();
        let host = pod.spec.as_ref().and_then(|spec| spec.node_name.as_deref()).filter(|name| !name.is_empty());
        match host {
            Some(host) if !requests::is_over(pod) => {
                let leaves = pod.metadata.deletion_timestamp.is_some();
                let placed = Placed::of(pod);
                let before = self.host_with(uid).filter(|on| *on.name == *host).and_then(|on| on.pod(uid));
                let shrunk = before.is_some_and(|before| placed.takes_less_than(before));
                match (self.place(uid, host, placed), leaves) {
                    (false, _) => Seen::Nothing,
                    (true, true) => Seen::Leaving,
                    (true, false) if shrunk => Seen::Shrunk,
                    (true, false) => Seen::Placed,
                }
            }
            Some(_) if self.placed.contains_key(uid) => {
                self.forget(uid);
                Seen::Left
            }
            // Not bound as far as the API knows: an assumed placement stays until its binding ends.
            _ => Seen::Nothing,
        }
    }

    /// Follows whom a host was promised, as the API shows it. Returns true when a promise is over.
    pub fn observe_promise(&mut self, pod: &Pod) -> bool {
        let uid = pod.metadata.uid.as_deref().unwrap_or_default();
        let is_bound = pod.spec.as_ref().and_then(|spec| spec.node_name.as_ref()).is_some_and(|name| !name.is_empty());
        let nominated = pod.status.as_ref().and_then(|status| status.nominated_node_name.as_deref());
        match nominated.filter(|name| !name.is_empty()) {
            _ if is_bound || requests::is_over(pod) || pod.metadata.deletion_timestamp.is_some() => {
                self.withdraw(uid).is_some()
            }
            // One that has its host already, only not yet for the API, needs none.
            Some(host) if !self.placed.contains_key(uid) => {
                self.promise(uid, host, Placed::of(pod));
                false
            }
            // A promise that was just made is not shown yet.
            _ => false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn node(name: &str) -> Arc<Node> {
        Arc::new(serde_json::from_value(json!({"metadata": {"name": name}, "status": {"allocatable": {"cpu": "2", "memory": "1Gi", "pods": "10"}}})).unwrap())
    }

    fn pod(uid: &str, host: &str, phase: &str) -> Pod {
        serde_json::from_value(json!({
            "metadata": {"name": uid, "namespace": "default", "uid": uid},
            "spec": {"nodeName": host, "containers": [{"name": "c", "resources": {"requests": {"cpu": "500m"}}, "ports": [{"containerPort": 80, "hostPort": 80}]}]},
            "status": {"phase": phase}
        }))
        .unwrap()
    }

    #[test]
    fn what_is_placed_is_given_back() {
        let mut snapshot = Snapshot::default();
        snapshot.set_node(node("h1"));
        snapshot.observe(&pod("u1", "h1", "Running"));
        snapshot.observe(&pod("u1", "h1", "Running"));
        let host = snapshot.host("h1").unwrap();
        assert_eq!((host.used.cpu, host.ports.len(), host.pod_count()), (500, 1, 1));
        assert_eq!(snapshot.observe(&pod("u1", "h1", "Succeeded")), Seen::Left);
        let host = snapshot.host("h1").unwrap();
        assert_eq!((host.used.cpu, host.ports.len(), host.pod_count()), (0, 0, 0));
    }

    #[test]
    fn a_pod_gives_back_what_its_host_took_from_it() {
        let mut snapshot = Snapshot::default();
        snapshot.set_node(node("h1"));
        let mut pod = pod("u1", "h1", "Running");
        snapshot.observe(&pod);
        let ask = |pod: &mut Pod, cpu: &str| {
            let resources = json!({"requests": {"cpu": cpu}});
            pod.spec.as_mut().unwrap().containers[0].resources = serde_json::from_value(resources).unwrap();
        };
        pod.status.as_mut().unwrap().container_statuses = serde_json::from_value(json!([{"name": "c", "ready": true,
            "restartCount": 0, "image": "", "imageID": "", "allocatedResources": {"cpu": "500m"},
            "resources": {"requests": {"cpu": "500m"}}}]))
        .unwrap();
        ask(&mut pod, "100m");
        assert_eq!(snapshot.observe(&pod), Seen::Nothing, "it was only told to");
        assert_eq!(snapshot.host("h1").unwrap().used.cpu, 500);
        let status = &mut pod.status.as_mut().unwrap().container_statuses.as_mut().unwrap()[0];
        status.allocated_resources = serde_json::from_value(json!({"cpu": "100m"})).unwrap();
        status.resources = serde_json::from_value(json!({"requests": {"cpu": "100m"}})).unwrap();
        assert_eq!(snapshot.observe(&pod), Seen::Shrunk);
        assert_eq!(snapshot.host("h1").unwrap().used.cpu, 100);
        ask(&mut pod, "300m");
        assert_eq!(snapshot.observe(&pod), Seen::Placed);
        assert_eq!(snapshot.host("h1").unwrap().used.cpu, 300, "what it is to get is set aside at once");
    }

    #[test]
    fn pods_of_an_unknown_host_wait_for_its_node() {
        let mut snapshot = Snapshot::default();
        snapshot.observe(&pod("u1", "h1", "Running"));
        assert!(snapshot.host("h1").is_none());
        snapshot.set_node(node("h1"));
        assert_eq!(snapshot.host("h1").unwrap().used.cpu, 500);
        snapshot.remove_node("h1");
        snapshot.forget("u1");
        assert_eq!(snapshot.hosts.len(), 0);
    }

    #[test]
    fn what_leaves_takes_room_but_has_no_say_in_which_host_is_best() {
        let mut snapshot = Snapshot::default();
        snapshot.set_node(node("h1"));
        let mut leaving = pod("u1", "h1", "Running");
        snapshot.observe(&leaving);
        assert_eq!(snapshot.host("h1").unwrap().used_for_scoring.0, 500);
        leaving.metadata.deletion_timestamp = Some(serde_json::from_value(json!("2024-01-01T00:00:00Z")).unwrap());
        snapshot.observe(&leaving);
        let host = snapshot.host("h1").unwrap();
        assert_eq!((host.used.cpu, host.used_for_scoring.0, host.pod_count()), (500, 0, 1));
        snapshot.forget("u1");
        let host = snapshot.host("h1").unwrap();
        assert_eq!((host.used.cpu, host.used_for_scoring.0, host.pod_count()), (0, 0, 0));
    }

    #[test]
    fn hosts_are_ordered_by_name_however_they_come() {
        let mut snapshot = Snapshot::default();
        ["h2", "h4", "h1", "h3"].into_iter().for_each(|name| snapshot.set_node(node(name)));
        snapshot.observe(&pod("u1", "h4", "Running"));
        snapshot.remove_node("h2");
        assert_eq!(snapshot.hosts().map(|host| &*host.name).collect::<Vec<_>>(), ["h1", "h3", "h4"]);
        assert_eq!(snapshot.host("h4").map(HostState::pod_count), Some(1));
    }
}
