//! Whether a host has what a pod asks for. Pure.

use crate::api::kinds::resources::is_extended;
use crate::api::quantity::Quantity;
use crate::kubelet::pod::spec;
use crate::scheduler::requests::{self, Amounts};
use k8s_openapi::api::core::v1::{Node, Pod};
use std::fmt;
use std::sync::Arc;

/// Of one resource there is too little: cpu in thousandths of a core, everything else in whole units.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Shortage {
    pub resource: String,
    pub requested: i64,
    pub used: i64,
    pub capacity: i64,
}

impl Shortage {
    /// What is missing.
    pub fn amount(&self) -> i64 {
        self.requested.saturating_sub(self.capacity.saturating_sub(self.used))
    }
}

impl fmt::Display for Shortage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { resource, requested, used, capacity } = self;
        write!(
            f,
            "Node didn't have enough resource: {resource}, requested: {requested}, used: {used}, capacity: {capacity}"
        )
    }
}

/// What `node` has too little of for the pod beside `others`, in Kubernetes' order. Nothing, while the node has not
/// said what it has. Extended resources that it does not know are somebody else's to give.
pub fn shortages(pod: &Pod, node: &Node, others: &[Arc<Pod>]) -> Vec<Shortage> {
    let Some(list) = node.status.as_ref().and_then(|status| status.allocatable.as_ref()) else { return Vec::new() };
    let all = Amounts::of(Some(list));
    let asked = requests::of(spec(pod));
    let mut used = Amounts::default();
    others.iter().for_each(|other| used.add(&requests::of(spec(other))));
    let mut found = Vec::new();
    let mut need = |resource: &str, requested: i64, used: i64, capacity: i64| {
        if requested > 0 && requested > capacity.saturating_sub(used) {
            found.push(Shortage { resource: resource.into(), requested, used, capacity });
        }
    };
    let pods = list.get("pods").and_then(|text| text.0.parse::<Quantity>().ok()).map_or(0, |pods| pods.value());
    need("pods", 1, i64::try_from(others.len()).unwrap_or(i64::MAX), pods);
    need("cpu", asked.cpu, used.cpu, all.cpu);
    need("memory", asked.memory, used.memory, all.memory);
    for (name, amount) in &asked.other {
        if is_extended(name) && !all.other.contains_key(name) {
            continue;
        }
        let of = |amounts: &Amounts| amounts.other.get(name).copied().unwrap_or(0);
        need(name, *amount, of(&used), of(&all));
    }
    found
}

/// What a pod asks for of one resource.
pub fn request(asked: &Amounts, resource: &str) -> i64 {
    match resource {
        "pods" => 1,
        "cpu" => asked.cpu,
        "memory" => asked.memory,
        other => asked.other.get(other).copied().unwrap_or(0),
    }
}
