//! The host by name, its schedulability, its ports, its devices.

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

/// Devices that a pod claims: Podman hosts have no drivers that could hand them out.
pub fn devices(wanted: &Wanted<'_>, _host: &HostState, _node: &Node) -> Vec<Rejection> {
    if wanted.claims_devices() { vec![Rejection::room("cannot allocate all claims")] } else { Vec::new() }
}

pub fn ports(wanted: &Wanted<'_>, host: &HostState, _node: &Node) -> Vec<Rejection> {
    let taken = wanted.ports.iter().any(|port| host.ports.iter().any(|other| port.clashes(other)));
    if taken { vec![Rejection::room("node(s) didn't have free ports for the requested pod ports")] } else { Vec::new() }
}

#[cfg(test)]
mod tests {
    use crate::scheduler::rig::{cluster, pod, schedule};
    use serde_json::json;

    #[test]
    fn nobody_hands_out_devices() {
        let mut snapshot = cluster(&[("a", ""), ("b", "")]);
        let claims = json!({"resourceClaims": [{"name": "gpu", "resourceClaimName": "gpu"}]});
        let refused = schedule(&mut snapshot, &pod("p", "app", &claims)).expect_err("refused");
        assert!(refused.starts_with("0/2 nodes are available: 2 cannot allocate all claims."), "{refused}");
        let placed = schedule(&mut snapshot, &pod("q", "app", &json!({"resourceClaims": []})));
        assert!(placed.is_ok(), "{placed:?}");
    }
}
