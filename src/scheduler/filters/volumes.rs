//! Whether the host reaches the volumes of the pod's claims, or can be given one.

use super::{Rejection, Wanted};
use crate::scheduler::snapshot::HostState;
use k8s_openapi::api::core::v1::Node;

pub fn filter(wanted: &Wanted<'_>, _host: &HostState, node: &Node) -> Vec<Rejection> {
    if wanted.claims.is_empty() {
        return Vec::new();
    }
    wanted.storage.requests(&wanted.claims, node).err().into_iter().collect()
}
