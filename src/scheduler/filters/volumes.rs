//! Whether the host reaches the volumes of the pod, or can be given one, and other pods leave it room for them.

use super::{Rejection, Wanted};
use crate::scheduler::snapshot::HostState;
use k8s_openapi::api::core::v1::Node;

pub fn restrictions(wanted: &Wanted<'_>, host: &HostState, _: &Node) -> Vec<Rejection> {
    wanted.storage.restrictions(&wanted.claims, host).into_iter().collect()
}

pub fn limits(wanted: &Wanted<'_>, host: &HostState, _: &Node) -> Vec<Rejection> {
    wanted.storage.limits(&wanted.claims, host).into_iter().collect()
}

pub fn binding(wanted: &Wanted<'_>, _: &HostState, node: &Node) -> Vec<Rejection> {
    if wanted.claims.is_empty() {
        return Vec::new();
    }
    wanted.storage.requests(&wanted.claims, node).err().into_iter().collect()
}

pub fn zones(wanted: &Wanted<'_>, _: &HostState, node: &Node) -> Vec<Rejection> {
    wanted.storage.zones(&wanted.claims, node).into_iter().collect()
}
