//! Which hosts a pod may run on. Each filter says yes, or no with the reason Kubernetes gives.

mod affinity;
mod fit;
pub mod host;
pub mod pod_affinity;
pub mod spread;
pub mod taints;
mod volumes;

use self::pod_affinity::Neighbours;
use self::spread::Spread;
use super::hints::Cause;
use super::profiles::Profile;
use super::requests::{self, Amounts, HostPort};
use super::scores::Images;
use super::snapshot::{HostState, Snapshot};
use super::storage::{Needs, Storage};
use k8s_openapi::api::core::v1::{Node, Pod, PodSpec};
use std::borrow::Cow;

/// Why a host can not take a pod.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Rejection {
    /// As it stands in the FailedScheduling event, e.g. `Insufficient cpu`.
    pub reason: Cow<'static, str>,
    /// Removing pods from the host can not help.
    pub unresolvable: bool,
    /// It is the pod's own fault, the same on every host.
    pub of_pod: bool,
    pub cause: Cause,
}

impl Rejection {
    pub(super) fn room(reason: impl Into<Cow<'static, str>>) -> Self {
        Self { reason: reason.into(), unresolvable: false, of_pod: false, cause: Cause::Other }
    }

    pub(super) fn never(reason: impl Into<Cow<'static, str>>) -> Self {
        Self { reason: reason.into(), unresolvable: true, of_pod: false, cause: Cause::Other }
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
    pub profile: Profile,
    pub images: Images,
}

impl<'a> Wanted<'a> {
    /// `None` for a pod without a spec, which the API server does not store.
    pub fn of(pod: &'a Pod, snapshot: &'a Snapshot) -> Option<Self> {
        let (spec, storage) = (pod.spec.as_ref()?, &snapshot.storage);
        let (requests, ports) = (requests::of(spec), requests::host_ports(spec));
        let neighbours = Neighbours::of(pod, &snapshot.topology);
        let spread = Spread::of(pod, spec, snapshot);
        let (claims, profile) = (storage.needs(pod), snapshot.profiles.for_pod(pod));
        let images = Images::of(spec, snapshot);
        Some(Self { pod, spec, requests, ports, claims, storage, neighbours, spread, profile, images })
    }

    pub fn claims_devices(&self) -> bool {
        self.spec.resource_claims.as_ref().is_some_and(|claims| !claims.is_empty())
    }

    /// Whether pods elsewhere have no say in which hosts the pod may run on.
    pub fn looks_at_hosts_alone(&self) -> bool {
        self.neighbours.are_indifferent() && !self.spread.is_required() && !self.claims.look_at_pods()
    }
}

type Filter = fn(&Wanted<'_>, &HostState, &Node) -> Vec<Rejection>;

/// In Kubernetes' order: the first that says no decides what is reported for the host.
const FILTERS: [(Cause, Filter); 13] = [
    (Cause::Unschedulable, host::unschedulable),
    (Cause::Name, host::name),
    (Cause::Taints, taints::filter),
    (Cause::Affinity, affinity::filter),
    (Cause::Ports, host::ports),
    (Cause::Room, fit::filter),
    (Cause::Volumes, volumes::restrictions),
    (Cause::Volumes, volumes::limits),
    (Cause::Volumes, volumes::binding),
    (Cause::Volumes, volumes::zones),
    (Cause::Spread, spread::filter),
    (Cause::Neighbours, pod_affinity::filter),
    (Cause::Other, host::devices),
];

/// Empty: the pod fits. One filter may give several reasons (`Insufficient cpu`, `Insufficient memory`).
pub fn check(wanted: &Wanted<'_>, host: &HostState) -> Vec<Rejection> {
    if let Some(reason) = wanted.claims.refused() {
        return vec![Rejection { of_pod: true, cause: Cause::Volumes, ..Rejection::never(reason.to_owned()) }];
    }
    let Some(node) = host.node.as_deref() else { return vec![Rejection::never("node not found")] };
    for (cause, filter) in FILTERS {
        let mut reasons = filter(wanted, host, node);
        if !reasons.is_empty() {
            reasons.iter_mut().for_each(|reason| reason.cause = cause);
            return reasons;
        }
    }
    Vec::new()
}
