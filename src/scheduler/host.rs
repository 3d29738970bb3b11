//! One host, and the pods on it reduced to what decisions look at.

use super::requests::{self, Amounts, HostPort};
use super::storage::Inline;
use super::topology::selection::{self, Term};
use super::topology::{Claim, Count, Group};
use crate::api::quantity::Quantity;
use crate::controllers::volume_binder;
use jiff::Timestamp;
use k8s_openapi::api::core::v1::{Node, Pod};
use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

/// One host as the filters and scores see it. Cheap to copy.
#[derive(Clone, Debug)]
pub struct HostState {
    pub name: Arc<str>,
    /// `None`: pods are bound to it, but there is no Node object.
    pub node: Option<Arc<Node>>,
    pub allocatable: Arc<Amounts>,
    pub max_pods: usize,
    pub used: Amounts,
    /// As `used`, with what pods without requests are counted as, and without the pods that are on their
    /// way out: which host is best must not depend on how long those take.
    pub used_for_scoring: (i64, i64),
    /// What those pods ask for and no more: cpu and memory.
    pub asked_for_scoring: (i64, i64),
    pub ports: Vec<HostPort>,
    /// Bytes of each image, by every name it has.
    pub images: Arc<HashMap<String, i64>>,
    /// Another with every change of the host, its pods or whom it is promised; no two hosts have the same, and
    /// none has 0.
    pub generation: u64,
    pod_count: usize,
    pods: HashMap<Arc<str>, Arc<Placed>>,
}

/// A pod on a host, reduced to what it takes and what affinity, spreading and preemption look at.
#[derive(Clone, Debug, PartialEq)]
pub struct Placed {
    pub name: String,
    pub group: Arc<Group>,
    pub priority: i32,
    /// When its host first saw it.
    pub started: Option<Timestamp>,
    /// Makes way for a pod of higher priority.
    pub is_preempted: bool,
    pub(super) terms: Vec<Term>,
    /// Names of its claims.
    pub(super) claims: Vec<String>,
    /// Its other volumes; few pods have such.
    pub(super) inline: Option<Box<Inline>>,
    /// Was told to go: it still takes what it takes, but not for long.
    leaving: bool,
    takes: Amounts,
    takes_for_scoring: (i64, i64),
    ports: Vec<HostPort>,
}

/// The reason of the condition that tells victims apart from others that leave.
pub const PREEMPTED: &str = "PreemptionByScheduler";

pub fn priority(pod: &Pod) -> i32 {
    pod.spec.as_ref().and_then(|spec| spec.priority).unwrap_or(0)
}

fn is_preempted(pod: &Pod) -> bool {
    let conditions = pod.status.as_ref().and_then(|status| status.conditions.as_ref()).into_iter().flatten();
    let told = |reason: Option<&str>| reason == Some(PREEMPTED);
    pod.metadata.deletion_timestamp.is_some()
        && conditions.clone().any(|one| one.type_ == "DisruptionTarget" && told(one.reason.as_deref()))
}

impl Placed {
    pub fn of(pod: &Pod) -> Self {
        let spec = pod.spec.as_ref();
        Self {
            name: pod.metadata.name.clone().unwrap_or_default(),
            group: Arc::new(Group::of(pod)),
            priority: priority(pod),
            started: pod.status.as_ref().and_then(|status| status.start_time.as_ref()).map(|time| time.0),
            is_preempted: is_preempted(pod),
            terms: selection::terms(pod),
            claims: volume_binder::claims(pod).collect(),
            inline: Inline::of(pod),
            leaving: pod.metadata.deletion_timestamp.is_some(),
            takes: requests::held(pod),
            takes_for_scoring: requests::held_for_scoring(pod),
            ports: spec.map(requests::host_ports).unwrap_or_default(),
        }
    }

    pub(super) fn count(&self) -> Count {
        Count { all: 1, staying: i64::from(!self.leaving) }
    }

    /// Whether others have more room than when it was `before`.
    pub(super) fn takes_less_than(&self, before: &Self) -> bool {
        self.takes.cpu < before.takes.cpu || self.takes.memory < before.takes.memory
    }

    /// Whether it keeps others away by more than the room it takes.
    pub fn forbids(&self) -> bool {
        self.terms.iter().any(|term| term.claim == Claim::Forbids)
    }
}

impl HostState {
    pub(super) fn new(name: &str) -> Self {
        Self {
            name: name.into(),
            node: None,
            allocatable: Arc::default(),
            max_pods: 0,
            used: Amounts::default(),
            used_for_scoring: (0, 0),
            asked_for_scoring: (0, 0),
            ports: Vec::new(),
            images: Arc::default(),
            generation: 0,
            pod_count: 0,
            pods: HashMap::new(),
        }
    }

    pub fn pods(&self) -> impl Iterator<Item = &Arc<Placed>> {
        self.pods.values()
    }

    pub fn pods_by_uid(&self) -> impl Iterator<Item = (&Arc<str>, &Arc<Placed>)> {
        self.pods.iter()
    }

    pub fn pod(&self, uid: &str) -> Option<&Arc<Placed>> {
        self.pods.get(uid)
    }

    pub fn pod_count(&self) -> usize {
        self.pod_count
    }

    /// The room as it is, without knowing who takes it: to try something with.
    pub(super) fn emptied(&self) -> Self {
        Self {
            name: self.name.clone(),
            node: self.node.clone(),
            allocatable: self.allocatable.clone(),
            used: self.used.clone(),
            ports: self.ports.clone(),
            images: self.images.clone(),
            pods: HashMap::new(),
            ..*self
        }
    }

    pub(super) fn set_node(&mut self, node: Arc<Node>) {
        let status = node.status.as_ref();
        let allocatable = status.and_then(|status| status.allocatable.as_ref().or(status.capacity.as_ref()));
        self.allocatable = Arc::new(Amounts::of(allocatable));
        // A thousand may be written as 1k.
        let pods = allocatable.and_then(|list| list.get("pods")).and_then(|text| text.0.parse::<Quantity>().ok());
        self.max_pods = pods.and_then(|pods| usize::try_from(pods.value()).ok()).unwrap_or(0);
        let images = status.and_then(|status| status.images.as_ref()).into_iter().flatten();
        let named = images
            .flat_map(|image| image.names.iter().flatten().map(|name| (name.clone(), image.size_bytes.unwrap_or(0))));
        self.images = Arc::new(named.collect());
        self.node = Some(node);
    }

    /// Whether there is room for what one more pod asks for.
    pub fn has_room(&self, requests: &Amounts) -> bool {
        let enough = |asked: i64, used: i64, all: i64| asked <= 0 || asked <= all.saturating_sub(used);
        let of = |list: &BTreeMap<String, i64>, name: &str| list.get(name).copied().unwrap_or(0);
        let (used, all) = (&self.used, &self.allocatable);
        self.pod_count < self.max_pods
            && enough(requests.cpu, used.cpu, all.cpu)
            && enough(requests.memory, used.memory, all.memory)
            && requests.other.iter().all(|(name, asked)| enough(*asked, of(&used.other, name), of(&all.other, name)))
    }

    /// Counts a pod that is not counted here.
    pub(super) fn add(&mut self, uid: &Arc<str>, placed: Arc<Placed>) {
        self.take(&placed);
        self.pods.insert(uid.clone(), placed);
    }

    pub(super) fn remove(&mut self, uid: &str) -> Option<Arc<Placed>> {
        let placed = self.pods.remove(uid)?;
        self.give_back(&placed);
        Some(placed)
    }

    pub(super) fn take(&mut self, placed: &Placed) {
        self.pod_count += 1;
        self.used.add(&placed.takes);
        self.ports.extend(placed.ports.iter().cloned());
        if !placed.leaving {
            self.used_for_scoring.0 += placed.takes_for_scoring.0;
            self.used_for_scoring.1 += placed.takes_for_scoring.1;
            self.asked_for_scoring.0 += placed.takes.cpu;
            self.asked_for_scoring.1 += placed.takes.memory;
        }
    }

    pub(super) fn give_back(&mut self, placed: &Placed) {
        self.pod_count -= 1;
        self.used.subtract(&placed.takes);
        if !placed.leaving {
            self.used_for_scoring.0 -= placed.takes_for_scoring.0;
            self.used_for_scoring.1 -= placed.takes_for_scoring.1;
            self.asked_for_scoring.0 -= placed.takes.cpu;
            self.asked_for_scoring.1 -= placed.takes.memory;
        }
        for port in &placed.ports {
            if let Some(at) = self.ports.iter().position(|taken| taken == port) {
                self.ports.swap_remove(at);
            }
        }
    }
}
