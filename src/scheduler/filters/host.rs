//! The host by name, its schedulability, its ports.

use super::{Rejection, Wanted};
use crate::api::placement::tolerates;
use crate::scheduler::snapshot::HostState;
use k8s_openapi::api::core::v1::{Node, Taint};

pub fn name(wanted: &Wanted<'_>, host: &HostState, _node: &Node) -> Vec<Rejection> {
    match wanted.spec.node_name.as_deref() {
        Some(name) if !name.is_empty() && *name != *host.name => {
            vec![Rejection::never("node(s) didn't match the requested node name")]
        }
        _ => Vec::new(),
    }
}

/// The taint that stands for a cordoned host.
pub fn cordon() -> Taint {
    Taint { key: "node.kubernetes.io/unschedulable".into(), effect: "NoSchedule".into(), ..Taint::default() }
}

pub fn unschedulable(wanted: &Wanted<'_>, _host: &HostState, node: &Node) -> Vec<Rejection> {
    let cordoned = node.spec.as_ref().is_some_and(|spec| spec.unschedulable == Some(true));
    if cordoned && !tolerates(wanted.spec, &cordon()) {
        return vec![Rejection::never("node(s) were unschedulable")];
    }
    Vec::new()
}

pub fn ports(wanted: &Wanted<'_>, host: &HostState, _node: &Node) -> Vec<Rejection> {
    let taken = wanted.ports.iter().any(|port| host.ports.iter().any(|other| port.clashes(other)));
    if taken { vec![Rejection::room("node(s) didn't have free ports for the requested pod ports")] } else { Vec::new() }
}
