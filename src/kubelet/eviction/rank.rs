//! Who has to go, and what it is told. Pure. Source: Kubernetes' eviction manager.

use super::pressure::{self, Condition};
use crate::api::placement;
use crate::api::quantity::{Format, Quantity};
use crate::kubelet::admission::is_critical;
use crate::kubelet::pod::{all_containers, spec};
use crate::kubelet::resources::qos_class;
use crate::kubelet::settings::{Shortage, Signal};
use crate::scheduler::requests;
use k8s_openapi::api::core::v1::{Container, Pod, Taint};
use std::cmp::Reverse;
use std::collections::BTreeMap;
use std::sync::Arc;

/// Bytes and files.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Space {
    pub bytes: u64,
    pub inodes: u64,
}

/// A pod and what it uses, as far as that was measured.
#[derive(Clone, Debug)]
pub struct Using {
    pub pod: Arc<Pod>,
    /// Bytes of memory, by container.
    pub memory: BTreeMap<String, u64>,
    /// What containers wrote into their own file systems and logs.
    pub containers: BTreeMap<String, Space>,
    /// What is in emptyDirs on disk, by volume.
    pub volumes: BTreeMap<String, Space>,
}

impl Using {
    pub fn new(pod: Arc<Pod>) -> Self {
        Self { pod, memory: BTreeMap::new(), containers: BTreeMap::new(), volumes: BTreeMap::new() }
    }

    /// Bytes on disk.
    pub fn disk(&self) -> u64 {
        sum(self.all(), |space| space.bytes)
    }

    fn all(&self) -> impl Iterator<Item = &Space> {
        self.containers.values().chain(self.volumes.values())
    }

    /// What it uses of what is short, and what it asked for. `one_disk`: what containers write is on the disk of the
    /// volumes too.
    fn of(&self, signal: Signal, one_disk: bool) -> (u64, u64) {
        let asked = || requests::of(spec(&self.pod));
        let whole = |amount: i64| u64::try_from(amount).unwrap_or_default();
        let storage = || whole(asked().other.get("ephemeral-storage").copied().unwrap_or_default());
        match signal {
            Signal::Memory => (self.memory.values().sum(), whole(asked().memory)),
            Signal::Images | Signal::Volumes if one_disk => (self.disk(), storage()),
            Signal::Images => (sum(self.containers.values(), |space| space.bytes), storage()),
            Signal::Volumes => (sum(self.volumes.values(), |space| space.bytes), storage()),
            Signal::Inodes => (sum(self.all(), |space| space.inodes), 0),
        }
    }
}

fn sum<'a>(spaces: impl Iterator<Item = &'a Space>, part: impl Fn(&Space) -> u64) -> u64 {
    spaces.map(part).fold(0, u64::saturating_add)
}

/// Critical pods stay, and among them those that no controller would bring back elsewhere: the host's own.
pub fn may_go(pod: &Pod) -> bool {
    !is_critical(pod)
}

/// Who goes.
#[derive(Debug)]
pub enum Choice<'a> {
    Goes(&'a Using),
    /// All that may go together would free no more than this.
    NoneWouldHelp(u64),
    NoneMayGo,
}

/// The pod to go first of those that may: one that uses more than it asked for, then of low priority, then the one
/// that is furthest above its request.
///
/// Unlike in Kubernetes no pod goes for a disk that others filled: on a plain machine the disk is not the node's alone,
/// and with all pods gone it would be as short as before.
pub fn victim<'a>(pods: &'a [Using], shortage: &Shortage, one_disk: bool) -> Choice<'a> {
    let key = |using: &&'a Using| {
        let (used, asked) = using.of(shortage.signal, one_disk);
        let priority = spec(&using.pod).priority.unwrap_or_default();
        (used <= asked, priority, Reverse(i128::from(used) - i128::from(asked)))
    };
    let mut may: Vec<&Using> = pods.iter().filter(|using| may_go(&using.pod)).collect();
    if shortage.signal != Signal::Memory && !may.is_empty() {
        let used = |using: &Using| using.of(shortage.signal, one_disk).0;
        let freed = may.iter().map(|using| used(using)).fold(0, u64::saturating_add);
        if freed < shortage.amount() {
            return Choice::NoneWouldHelp(freed);
        }
        may.retain(|using| used(using) > 0);
    }
    may.into_iter().min_by_key(key).map_or(Choice::NoneMayGo, Choice::Goes)
}

/// Why nobody goes.
pub fn helpless(shortage: &Shortage, freed: u64) -> String {
    let (missing, what) = match shortage.signal {
        Signal::Inodes => (shortage.amount().to_string(), "inodes"),
        _ => (bytes(shortage.amount()).to_string(), "bytes"),
    };
    let freed = if what == "inodes" { freed.to_string() } else { bytes(freed).to_string() };
    format!(
        "No pod is evicted: {missing} {what} of {} have to be freed, and all pods that may go keep {freed}. Others filled the disk: make room there.",
        shortage.signal.name()
    )
}

/// What the pod is told: what was short, and which of its containers used more of it than they asked for.
pub fn message(shortage: &Shortage, using: &Using) -> String {
    let resource = shortage.signal.resource();
    let pod_spec = spec(&using.pod);
    let mut words = pressure::words(shortage);
    let whole = pod_spec.resources.as_ref().and_then(|all| all.requests.as_ref());
    if let Some(asked) = whole.and_then(|requests| requests.get(resource)).filter(|_| resource == "memory") {
        let name = using.pod.metadata.name.as_deref().unwrap_or_default();
        let used = bytes(using.memory.values().sum());
        words += &told("Pod", name, used, parse(&asked.0), resource);
    }
    let mut containers: Vec<&Container> = all_containers(pod_spec).map(|(_, container)| container).collect();
    containers.sort_by_key(|container| !pod_spec.containers.iter().any(|main| main.name == container.name));
    for container in containers {
        let used = match shortage.signal {
            Signal::Memory => using.memory.get(&container.name).copied(),
            Signal::Images | Signal::Volumes => using.containers.get(&container.name).map(|space| space.bytes),
            Signal::Inodes => None,
        };
        let requests = container.resources.as_ref().and_then(|resources| resources.requests.as_ref());
        let asked =
            requests.and_then(|requests| requests.get(resource)).map(|asked| parse(&asked.0)).unwrap_or_default();
        if let Some(used) = used.map(bytes).filter(|used| *used > asked) {
            words += &told("Container", &container.name, used, asked, resource);
        }
    }
    words
}

fn told(what: &str, name: &str, used: Quantity, asked: Quantity, resource: &str) -> String {
    format!("{what} {name} was using {used}, request is {asked}, has larger consumption of {resource}. ")
}

pub fn bytes(amount: u64) -> Quantity {
    Quantity::units(i64::try_from(amount).unwrap_or(i64::MAX), Format::BinarySi)
}

/// What is no quantity asks for nothing: the API server refuses it.
pub fn parse(text: &str) -> Quantity {
    text.parse().unwrap_or_default()
}

/// Why a host in these conditions does not take a new pod. A short memory refuses only those that reserve nothing
/// and do not tolerate that.
pub fn refusal(pod: &Pod, conditions: &[Condition]) -> Option<String> {
    if conditions.is_empty() || is_critical(pod) {
        return None;
    }
    let taint =
        || Taint { key: "node.kubernetes.io/memory-pressure".into(), effect: "NoSchedule".into(), ..Taint::default() };
    if conditions == [Condition::Memory]
        && (qos_class(spec(pod)) != "BestEffort" || placement::tolerates(spec(pod), &taint()))
    {
        return None;
    }
    let names: Vec<_> = conditions.iter().map(|condition| condition.name()).collect();
    Some(format!("The node had condition: [{}]. ", names.join(" ")))
}

#[cfg(test)]
mod tests;
