//! Which pods to remove, and what to say of them first. Pure.

use crate::controllers::pods;
use jiff::Timestamp;
use k8s_openapi::api::core::v1::{Node, Pod, PodCondition};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use serde_json::{Value, json};
use std::sync::Arc;

/// Pods that have ended and are kept.
pub const ENDED_PODS: usize = 12_500;
/// Set by people who have made sure that a host is off.
const OUT_OF_SERVICE: &str = "node.kubernetes.io/out-of-service";

/// Why a pod is removed by force.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Cause {
    NodeGone,
    OutOfService,
    TooMany,
}

/// Taken out of service, and indeed not running.
pub fn is_out_of_service(node: &Node) -> bool {
    let taints = node.spec.as_ref().and_then(|spec| spec.taints.as_ref());
    let conditions = node.status.as_ref().and_then(|status| status.conditions.as_ref());
    let ready = |condition: &k8s_openapi::api::core::v1::NodeCondition| {
        condition.type_ == "Ready" && condition.status == "True"
    };
    taints.into_iter().flatten().any(|taint| taint.key == OUT_OF_SERVICE)
        && !conditions.into_iter().flatten().any(ready)
}

/// The oldest pods that have ended, as far as there are more than `threshold`; evicted ones first.
pub fn surplus(all: Vec<Arc<Pod>>, threshold: usize) -> Vec<Arc<Pod>> {
    let mut ended: Vec<_> =
        all.into_iter().filter(|pod| pods::is_finished(pod) && !pods::is_terminating(pod)).collect();
    let excess = ended.len().saturating_sub(threshold);
    if excess == 0 {
        return Vec::new();
    }
    let evicted =
        |pod: &Pod| pod.status.as_ref().and_then(|status| status.reason.as_deref()).is_some_and(|why| why == "Evicted");
    let born = |pod: &Pod| pod.metadata.creation_timestamp.as_ref().map(|time| time.0);
    ended.sort_by_cached_key(|pod| (!evicted(pod), born(pod), pod.metadata.name.clone()));
    ended.truncate(excess);
    ended
}

/// What the status says before the pod is removed; `None` where it has said enough.
pub fn last_status(pod: &Pod, cause: Cause, now: Timestamp) -> Option<Value> {
    let why = match cause {
        Cause::NodeGone => "PodGC: node no longer exists",
        Cause::OutOfService => "PodGC: node is out of service",
        Cause::TooMany => return None,
    };
    if pods::is_finished(pod) {
        return None;
    }
    let mut conditions = pod.status.as_ref().and_then(|status| status.conditions.clone()).unwrap_or_default();
    conditions.retain(|condition| condition.type_ != "DisruptionTarget");
    conditions.push(PodCondition {
        type_: "DisruptionTarget".into(),
        status: "True".into(),
        reason: Some("DeletionByPodGC".into()),
        message: Some(why.into()),
        last_transition_time: Some(Time(now)),
        ..PodCondition::default()
    });
    Some(json!({ "phase": "Failed", "conditions": conditions }))
}
