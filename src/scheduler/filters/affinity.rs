//! Node selector and required node affinity.

use super::{Rejection, Wanted};
use crate::api::placement::selects;
use crate::scheduler::snapshot::HostState;
use k8s_openapi::api::core::v1::Node;

pub fn filter(wanted: &Wanted<'_>, host: &HostState, node: &Node) -> Vec<Rejection> {
    if selects(wanted.spec, &host.name, node.metadata.labels.as_ref()) {
        Vec::new()
    } else {
        vec![Rejection::never("node(s) didn't match Pod's node affinity/selector")]
    }
}
