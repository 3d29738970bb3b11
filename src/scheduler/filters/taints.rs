//! Taints of the host against the pod's tolerations.

use super::{Rejection, Wanted};
use crate::api::placement::tolerates;
use crate::scheduler::snapshot::HostState;
use k8s_openapi::api::core::v1::{Node, PodSpec, Taint};

/// The first taint that keeps the pod away.
pub fn untolerated<'a>(spec: &PodSpec, node: &'a Node) -> Option<&'a Taint> {
    let taints = node.spec.as_ref().and_then(|spec| spec.taints.as_ref()).into_iter().flatten();
    taints
        .filter(|taint| taint.effect == "NoSchedule" || taint.effect == "NoExecute")
        .find(|taint| !tolerates(spec, taint))
}

pub fn filter(wanted: &Wanted<'_>, _host: &HostState, node: &Node) -> Vec<Rejection> {
    untolerated(wanted.spec, node)
        .map(|taint| {
            let value = taint.value.as_deref().unwrap_or_default();
            Rejection::never(format!("node(s) had untolerated taint {{{}: {value}}}", taint.key))
        })
        .into_iter()
        .collect()
}
