//! Which pods to give up first when there are too many. The order is Kubernetes'.

use crate::controllers::claim::controller_of;
use crate::controllers::pods;
use jiff::Timestamp;
use k8s_openapi::api::core::v1::Pod;
use std::cmp::{Ordering, Reverse};
use std::collections::BTreeMap;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::Arc;

/// Pods of one workload per node; a node with many is where one is missed least.
pub type Crowd = BTreeMap<String, usize>;

/// Counts active pods per node.
pub fn crowd<'a>(related: impl IntoIterator<Item = &'a Arc<Pod>>) -> Crowd {
    let mut crowd = Crowd::new();
    for node in related.into_iter().filter(|pod| pods::is_active(pod)).filter_map(|pod| pods::node(pod)) {
        *crowd.entry(node.to_owned()).or_default() += 1;
    }
    crowd
}

/// The `count` pods that are given up first.
pub fn choose(pods: &[Arc<Pod>], count: usize, crowd: &Crowd, now: Timestamp) -> Vec<Arc<Pod>> {
    let mut ranked: Vec<_> = pods.iter().map(|pod| (Rank::of(pod, crowd, now), pod)).collect();
    ranked.sort_by(|(a, _), (b, _)| a.cmp(b));
    ranked.into_iter().take(count).map(|(_, pod)| pod.clone()).collect()
}

/// Compared field by field; the smallest goes first.
#[derive(Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Rank {
    assigned: bool,
    phase: u8,
    ready: bool,
    cost: i64,
    crowded: Reverse<usize>,
    ready_for: Age,
    restarts: Reverse<i32>,
    age: Age,
    /// Among pods of about the same age the draw is by host, the same one whenever the same pods are
    /// where they are: uids are others in a plan than in the cluster.
    lot: u64,
    /// On one host the youngest goes first.
    since: Reverse<(Option<Timestamp>, Option<Timestamp>)>,
    uid: String,
}

impl Rank {
    fn of(pod: &Pod, crowd: &Crowd, now: Timestamp) -> Self {
        let node = pods::node(pod);
        let created = pod.metadata.creation_timestamp.as_ref().map(|time| time.0);
        Self {
            assigned: node.is_some(),
            phase: match pods::phase(pod) {
                "Pending" => 0,
                "Unknown" => 1,
                _ => 2,
            },
            ready: pods::is_ready(pod),
            cost: deletion_cost(pod),
            crowded: Reverse(node.and_then(|node| crowd.get(node)).copied().unwrap_or(0)),
            ready_for: Age::since(pods::ready_since(pod), now),
            restarts: Reverse(pods::restarts(pod)),
            age: Age::since(created, now),
            lot: lot(pod),
            since: Reverse((pods::ready_since(pod), created)),
            uid: pods::uid(pod).to_owned(),
        }
    }
}

/// A number for the pod's host, another one for each workload.
fn lot(pod: &Pod) -> u64 {
    let owner = controller_of(&pod.metadata).map(|owner| owner.name.as_str());
    let mut hasher = DefaultHasher::new();
    (pod.metadata.namespace.as_deref(), owner, pods::node(pod)).hash(&mut hasher);
    hasher.finish()
}

/// Annotation `controller.kubernetes.io/pod-deletion-cost`; 0 without it, or if it is no number.
fn deletion_cost(pod: &Pod) -> i64 {
    let annotations = pod.metadata.annotations.as_ref();
    annotations
        .and_then(|all| all.get("controller.kubernetes.io/pod-deletion-cost"))
        .and_then(|cost| cost.parse().ok())
        .unwrap_or(0)
}

/// Younger is smaller, but only by orders of magnitude (base 2): among pods of about the same age
/// the choice is left to chance ([`lot`]), so that not one zone or host loses all its pods.
#[derive(Debug, PartialEq, Eq)]
struct Age(Option<u32>);

impl Age {
    fn since(moment: Option<Timestamp>, now: Timestamp) -> Self {
        Self(moment.map(|moment| {
            let seconds = now.duration_since(moment).as_secs().max(0) as u64;
            u64::BITS - seconds.leading_zeros()
        }))
    }
}

impl PartialOrd for Age {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Age {
    /// A pod without a time counts as brand new.
    fn cmp(&self, other: &Self) -> Ordering {
        self.0.cmp(&other.0)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use serde_json::{Value, from_value, json};

    fn now() -> Timestamp {
        "2024-01-01T12:00:00Z".parse().unwrap()
    }

    fn pod(uid: &str, node: Option<&str>, phase: &str, ready: Option<&str>, extra: Value) -> Arc<Pod> {
        let conditions = ready.map(|since| json!([{"type": "Ready", "status": "True", "lastTransitionTime": since}]));
        let mut pod = json!({
            "metadata": {"name": uid, "uid": uid, "creationTimestamp": "2024-01-01T00:00:00Z"},
            "spec": {"nodeName": node, "containers": []},
            "status": {"phase": phase, "conditions": conditions},
        });
        json_patch::merge(&mut pod, &extra);
        Arc::new(from_value(pod).unwrap())
    }

    #[test]
    fn the_least_useful_goes_first() {
        let old = Some("2024-01-01T01:00:00Z");
        let pods = [
            pod("9-oldest", Some("a"), "Running", old, json!({})),
            pod(
                "8-restarted",
                Some("a"),
                "Running",
                old,
                json!({"status": {"containerStatuses": [{"name": "c", "image": "", "imageID": "", "ready": true, "restartCount": 3}]}}),
            ),
            pod("7-just-ready", Some("a"), "Running", Some("2024-01-01T11:59:00Z"), json!({})),
            pod("6-crowded", Some("b"), "Running", old, json!({})),
            pod(
                "5-cheap",
                Some("a"),
                "Running",
                old,
                json!({"metadata": {"annotations": {"controller.kubernetes.io/pod-deletion-cost": "-5"}}}),
            ),
            pod("4-not-ready", Some("a"), "Running", None, json!({})),
            pod("3-unknown", Some("a"), "Unknown", None, json!({})),
            pod("2-pending", Some("a"), "Pending", None, json!({})),
            pod("1-unassigned", None, "Pending", None, json!({})),
        ];
        let crowd = Crowd::from([("a".into(), 2), ("b".into(), 3)]);
        let order: Vec<_> = choose(&pods, 9, &crowd, now()).iter().map(|pod| pods::name(pod).to_owned()).collect();
        let expect = [
            "1-unassigned",
            "2-pending",
            "3-unknown",
            "4-not-ready",
            "5-cheap",
            "6-crowded",
            "7-just-ready",
            "8-restarted",
            "9-oldest",
        ];
        assert_eq!(order, expect);
        assert_eq!(choose(&pods, 2, &crowd, now()).len(), 2);
    }

    /// Whatever the uids are: in a plan they are others.
    #[test]
    fn among_equals_the_host_decides() {
        let ready = Some("2024-01-01T00:00:30Z");
        let chosen = |uids: [&str; 4]| {
            let hosts = ["a", "b", "a", "b"];
            let pods: Vec<_> =
                uids.iter().zip(hosts).map(|(uid, host)| pod(uid, Some(host), "Running", ready, json!({}))).collect();
            let chosen = choose(&pods, 3, &crowd(&pods), now());
            chosen.iter().map(|pod| pods::node(pod).map(str::to_owned)).collect::<Vec<_>>()
        };
        assert_eq!(chosen(["1", "2", "3", "4"]), chosen(["4", "3", "2", "1"]));
        assert_eq!(chosen(["1", "2", "3", "4"]), chosen(["2", "3", "1", "4"]));
    }

    #[test]
    fn crowds_are_counted_per_node() {
        let pods = [
            pod("a", Some("x"), "Running", None, json!({})),
            pod("b", Some("x"), "Failed", None, json!({})),
            pod("c", None, "Pending", None, json!({})),
        ];
        assert_eq!(crowd(&pods), Crowd::from([("x".into(), 1)]));
    }
}
