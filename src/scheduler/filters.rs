//! Which hosts a pod may run on. Each filter says yes, or no with the reason Kubernetes gives.

mod affinity;
mod fit;
mod host;
mod taints;

use super::requests::{self, Amounts, HostPort};
use super::snapshot::HostState;
use k8s_openapi::api::core::v1::{Node, Pod, PodSpec};

/// Why a host can not take a pod.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Rejection {
    /// As it stands in the FailedScheduling event, e.g. `Insufficient cpu`.
    pub reason: String,
    /// Removing pods from the host can not help.
    pub unresolvable: bool,
}

impl Rejection {
    fn room(reason: impl Into<String>) -> Self {
        Self { reason: reason.into(), unresolvable: false }
    }

    fn never(reason: impl Into<String>) -> Self {
        Self { reason: reason.into(), unresolvable: true }
    }
}

/// What the filters need of a pod, worked out once per cycle.
pub struct Wanted<'a> {
    pub pod: &'a Pod,
    pub spec: &'a PodSpec,
    pub requests: Amounts,
    pub ports: Vec<HostPort>,
}

impl<'a> Wanted<'a> {
    /// `None` for a pod without a spec, which the API server does not store.
    pub fn of(pod: &'a Pod) -> Option<Self> {
        let spec = pod.spec.as_ref()?;
        Some(Self { pod, spec, requests: requests::of(spec), ports: requests::host_ports(spec) })
    }
}

type Filter = fn(&Wanted<'_>, &HostState, &Node) -> Vec<Rejection>;

/// In Kubernetes' order: the first that says no decides what is reported for the host.
const FILTERS: [Filter; 6] =
    [host::name, host::unschedulable, taints::filter, affinity::filter, host::ports, fit::filter];

/// Empty: the pod fits. One filter may give several reasons (`Insufficient cpu`, `Insufficient memory`).
pub fn check(wanted: &Wanted<'_>, host: &HostState) -> Vec<Rejection> {
    let Some(node) = host.node.as_deref() else { return vec![Rejection::never("node not found")] };
    FILTERS.iter().map(|filter| filter(wanted, host, node)).find(|reasons| !reasons.is_empty()).unwrap_or_default()
}
