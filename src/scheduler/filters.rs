//! Which hosts a pod may run on. Each filter says yes, or no with the reason Kubernetes gives.

mod affinity;
mod fit;
mod host;
pub mod pod_affinity;
pub mod spread;
mod taints;
mod volumes;

use self::pod_affinity::Neighbours;
use self::spread::Spread;
use super::requests::{self, Amounts, HostPort};
use super::snapshot::{HostState, Snapshot};
use super::storage::{Needs, Storage};
use k8s_openapi::api::core::v1::{Node, Pod, PodSpec};

/// Why a host can not take a pod.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Rejection {
    /// As it stands in the FailedScheduling event, e.g. `Insufficient cpu`.
    pub reason: String,
    /// Removing pods from the host can not help.
    pub unresolvable: bool,
    /// It is the pod's own fault, the same on every host.
    pub of_pod: bool,
}

impl Rejection {
    fn room(reason: impl Into<String>) -> Self {
        Self { reason: reason.into(), unresolvable: false, of_pod: false }
    }

    pub(super) fn never(reason: impl Into<String>) -> Self {
        Self { reason: reason.into(), unresolvable: true, of_pod: false }
    }
}

/// What the filters need of a pod, worked out once per cycle.
pub struct Wanted<'a> {
    pub pod: &'a Pod,
    pub spec: &'a PodSpec,
    pub requests: Amounts,
    pub ports: Vec<HostPort>,
    pub claims: Needs,
    pub storage: &'a Storage,
    pub neighbours: Neighbours<'a>,
    pub spread: Spread<'a>,
}

impl<'a> Wanted<'a> {
    /// `None` for a pod without a spec, which the API server does not store.
    pub fn of(pod: &'a Pod, snapshot: &'a Snapshot) -> Option<Self> {
        let (spec, storage) = (pod.spec.as_ref()?, &snapshot.storage);
        let (requests, ports) = (requests::of(spec), requests::host_ports(spec));
        let neighbours = Neighbours::of(pod, &snapshot.topology);
        let spread = Spread::of(pod, spec, snapshot);
        Some(Self { pod, spec, requests, ports, claims: storage.needs(pod), storage, neighbours, spread })
    }

    /// Whether pods elsewhere have no say in which hosts the pod may run on.
    pub fn looks_at_hosts_alone(&self) -> bool {
        self.neighbours.are_indifferent() && !self.spread.is_required()
    }
}

type Filter = fn(&Wanted<'_>, &HostState, &Node) -> Vec<Rejection>;

/// In Kubernetes' order: the first that says no decides what is reported for the host.
const FILTERS: [Filter; 9] = [
    host::unschedulable,
    host::name,
    taints::filter,
    affinity::filter,
    host::ports,
    fit::filter,
    volumes::filter,
    spread::filter,
    pod_affinity::filter,
];

/// Empty: the pod fits. One filter may give several reasons (`Insufficient cpu`, `Insufficient memory`).
pub fn check(wanted: &Wanted<'_>, host: &HostState) -> Vec<Rejection> {
    if let Some(reason) = wanted.claims.refused() {
        return vec![Rejection { of_pod: true, ..Rejection::never(reason) }];
    }
    let Some(node) = host.node.as_deref() else { return vec![Rejection::never("node not found")] };
    FILTERS.iter().map(|filter| filter(wanted, host, node)).find(|reasons| !reasons.is_empty()).unwrap_or_default()
}
