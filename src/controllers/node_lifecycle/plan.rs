//! Decides what a node's health means for its conditions, taints and pods. Pure.

use jiff::{SignedDuration, Timestamp};
use k8s_openapi::api::core::v1::{Node, NodeCondition, NodeStatus, Pod, Taint, Toleration};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use std::collections::BTreeMap;
use std::time::Duration;

pub const NOT_READY: &str = "node.kubernetes.io/not-ready";
pub const UNREACHABLE: &str = "node.kubernetes.io/unreachable";
const UNSCHEDULABLE: &str = "node.kubernetes.io/unschedulable";
/// Conditions that only keep new pods away, and their taints.
const PRESSURES: [(&str, &str); 4] = [
    ("MemoryPressure", "node.kubernetes.io/memory-pressure"),
    ("DiskPressure", "node.kubernetes.io/disk-pressure"),
    ("PIDPressure", "node.kubernetes.io/pid-pressure"),
    ("NetworkUnavailable", "node.kubernetes.io/network-unavailable"),
];
/// The conditions a kubelet reports, and nobody knows once it is silent.
const REPORTED: [&str; 4] = ["Ready", "MemoryPressure", "DiskPressure", "PIDPressure"];

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Health {
    Ready,
    /// Its kubelet says so.
    NotReady,
    /// Its kubelet says nothing any more.
    Unreachable,
    /// Its kubelet has not said anything yet.
    New,
}

pub fn condition<'a>(node: &'a Node, kind: &str) -> Option<&'a NodeCondition> {
    node.status.as_ref()?.conditions.as_ref()?.iter().find(|condition| condition.type_ == kind)
}

/// `expired`: nothing was heard of the node for longer than the grace.
pub fn health(node: &Node, expired: bool) -> Health {
    match condition(node, "Ready").map(|condition| condition.status.as_str()) {
        _ if expired => Health::Unreachable,
        Some("True") => Health::Ready,
        Some("False") => Health::NotReady,
        Some(_) => Health::Unreachable,
        None => Health::New,
    }
}

/// The status of a node that has gone silent.
pub fn silenced(node: &Node, now: Timestamp) -> NodeStatus {
    let mut status = node.status.clone().unwrap_or_default();
    let conditions = status.conditions.get_or_insert_default();
    for kind in REPORTED {
        let unknown = |reason: &str, message: &str, heartbeat| NodeCondition {
            type_: kind.into(),
            status: "Unknown".into(),
            reason: Some(reason.into()),
            message: Some(message.into()),
            last_heartbeat_time: heartbeat,
            last_transition_time: Some(Time(now)),
        };
        match conditions.iter_mut().find(|condition| condition.type_ == kind) {
            Some(known) if known.status == "Unknown" => {}
            Some(known) => {
                let heartbeat = known.last_heartbeat_time.take();
                *known = unknown("NodeStatusUnknown", "Kubelet stopped posting node status.", heartbeat);
            }
            None => {
                let since = node.metadata.creation_timestamp.clone();
                conditions.push(unknown("NodeStatusNeverUpdated", "Kubelet never posted node status.", since));
            }
        }
    }
    status
}

/// The taints a node should have: those of others as they are, ours as its health asks. `evict` is
/// whether pods may be driven off for it.
pub fn taints(node: &Node, health: Health, evict: bool, now: Timestamp) -> Vec<Taint> {
    let spec = node.spec.as_ref();
    let known = spec.and_then(|spec| spec.taints.clone()).unwrap_or_default();
    let mut wanted = Vec::new();
    let want = |wanted: bool, key: &'static str, effect: &'static str, list: &mut Vec<(&str, &str)>| {
        if wanted {
            list.push((key, effect));
        }
    };
    want(matches!(health, Health::NotReady | Health::New), NOT_READY, "NoSchedule", &mut wanted);
    want(health == Health::Unreachable, UNREACHABLE, "NoSchedule", &mut wanted);
    want(evict && health == Health::NotReady, NOT_READY, "NoExecute", &mut wanted);
    want(evict && health == Health::Unreachable, UNREACHABLE, "NoExecute", &mut wanted);
    for (kind, key) in PRESSURES {
        want(condition(node, kind).is_some_and(|found| found.status == "True"), key, "NoSchedule", &mut wanted);
    }
    want(spec.is_some_and(|spec| spec.unschedulable == Some(true)), UNSCHEDULABLE, "NoSchedule", &mut wanted);
    let asked = |taint: &Taint| wanted.contains(&(taint.key.as_str(), taint.effect.as_str()));
    let mut taints: Vec<Taint> = known.iter().filter(|taint| !is_ours(taint) || asked(taint)).cloned().collect();
    for (key, effect) in &wanted {
        if !taints.iter().any(|taint| taint.key == *key && taint.effect == *effect) {
            let time_added = Some(Time(now));
            taints.push(Taint { key: (*key).into(), effect: (*effect).into(), value: None, time_added });
        }
    }
    taints
}

fn is_ours(taint: &Taint) -> bool {
    let by_condition = taint.effect == "NoSchedule"
        && (taint.key == UNSCHEDULABLE || PRESSURES.iter().any(|(_, key)| *key == taint.key));
    let by_health = matches!(taint.effect.as_str(), "NoSchedule" | "NoExecute");
    by_condition || by_health && (taint.key == NOT_READY || taint.key == UNREACHABLE)
}

/// Whether the taint drives pods off because of the node's health.
pub fn is_eviction(taint: &Taint) -> bool {
    taint.effect == "NoExecute" && (taint.key == NOT_READY || taint.key == UNREACHABLE)
}

/// Nodes of a zone from which on some are given up even when most of it is lost. These three are the defaults of
/// kube-controller-manager: large-cluster-size-threshold, node-eviction-rate (0.1 per second) and
/// secondary-node-eviction-rate (0.01).
const LARGE: usize = 50;
const PACE: Duration = Duration::from_secs(10);
const SLOW_PACE: Duration = Duration::from_secs(100);

/// How much of a zone is lost.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Disruption {
    None,
    /// Rather a fault of the network or of this control plane than of so many hosts. `large`: the zone has more
    /// than 50 nodes.
    Partial {
        large: bool,
    },
    Full,
}

/// Region and zone of a node; empty where it has no labels.
pub fn zone(node: &Node) -> String {
    let label = |key: &str| node.metadata.labels.as_ref().and_then(|labels| labels.get(key)).cloned();
    let region = label("topology.kubernetes.io/region").unwrap_or_default();
    format!("{region}:{}", label("topology.kubernetes.io/zone").unwrap_or_default())
}

/// The disruption of each zone, from its nodes' healths (Kubernetes: 55 %, and more than two nodes).
pub fn disruptions(nodes: impl Iterator<Item = (String, Health)>) -> BTreeMap<String, Disruption> {
    let mut counts = BTreeMap::<String, (usize, usize)>::new();
    for (zone, health) in nodes {
        let (ready, lost) = counts.entry(zone).or_default();
        *(if health == Health::Ready { ready } else { lost }) += 1;
    }
    let judge = |(ready, lost): (usize, usize)| match () {
        () if ready == 0 && lost > 0 => Disruption::Full,
        () if lost > 2 && lost * 100 >= (ready + lost) * 55 => Disruption::Partial { large: ready + lost > LARGE },
        () => Disruption::None,
    };
    counts.into_iter().map(|(zone, counts)| (zone, judge(counts))).collect()
}

/// What to do about the pods of unhealthy nodes of one zone.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Eviction {
    /// Between two nodes of the zone that are given up so much time passes: outages of many are noticed in time.
    Paced(Duration),
    /// Those under way go on, new ones do not start.
    Paused,
    /// All zones are lost: nowhere is there a host to move to, and it is most likely us who are cut off.
    Stopped,
}

pub fn eviction(zones: &BTreeMap<String, Disruption>, zone: &str) -> Eviction {
    if !zones.is_empty() && zones.values().all(|disruption| *disruption == Disruption::Full) {
        return Eviction::Stopped;
    }
    match zones.get(zone) {
        Some(Disruption::Partial { large: false }) => Eviction::Paused,
        Some(Disruption::Partial { large: true }) => Eviction::Paced(SLOW_PACE),
        Some(Disruption::None | Disruption::Full) | None => Eviction::Paced(PACE),
    }
}

/// When a pod must leave its node because of the node's taints; `None`: never. `first_seen` stands in
/// for taints that do not say since when they are there.
pub fn due(pod: &Pod, taints: &[Taint], first_seen: Timestamp) -> Option<Timestamp> {
    let tolerations = pod.spec.as_ref().and_then(|spec| spec.tolerations.as_deref()).unwrap_or_default();
    let mut earliest = None;
    for taint in taints.iter().filter(|taint| taint.effect == "NoExecute") {
        let since = taint.time_added.as_ref().map_or(first_seen, |time| time.0);
        let fitting: Vec<_> = tolerations.iter().filter(|toleration| tolerates(toleration, taint)).collect();
        let due = match fitting.is_empty() {
            true => Some(since),
            false => {
                let shortest = fitting.iter().filter_map(|toleration| toleration.toleration_seconds).min();
                shortest.and_then(|seconds| since.checked_add(SignedDuration::from_secs(seconds.max(0))).ok())
            }
        };
        earliest = [earliest, due].into_iter().flatten().min();
    }
    earliest
}

fn tolerates(toleration: &Toleration, taint: &Taint) -> bool {
    let effect = toleration.effect.as_deref().unwrap_or_default();
    let key = toleration.key.as_deref().unwrap_or_default();
    let value = toleration.value.as_deref().unwrap_or_default();
    let fits = (effect.is_empty() || effect == taint.effect) && (key.is_empty() || key == taint.key);
    fits && match toleration.operator.as_deref().unwrap_or("Equal") {
        "Exists" => true,
        "" | "Equal" => !key.is_empty() && value == taint.value.as_deref().unwrap_or_default(),
        _ => false,
    }
}

#[cfg(test)]
mod tests;
