//! Pod affinity and anti-affinity: the pod's own, and what the pods on hosts say of it. Source:
//! Kubernetes' InterPodAffinity.

use super::{Rejection, Wanted};
use crate::scheduler::scores::MAX;
use crate::scheduler::snapshot::HostState;
use crate::scheduler::topology::selection::{Term, terms};
use crate::scheduler::topology::{Claim, Clause, Domain, Group, Topology};
use k8s_openapi::api::core::v1::{Node, Pod};
use std::borrow::Cow;

/// What the required affinity of a pod on a host is worth to a pod that it means: Kubernetes' default
/// hardPodAffinityWeight.
const REQUIRED_WEIGHT: i64 = 1;

/// Pods per domain of a topology key.
struct Counted<'a> {
    key: Cow<'a, str>,
    domain: Cow<'a, Domain>,
}

/// The pods around, as one pod sees them; worked out once per cycle.
pub struct Neighbours<'a> {
    /// Those that it must be with: each holds the pods that are meant by all of its terms.
    required: Vec<Counted<'a>>,
    /// It is meant by all of these terms itself and no pod is there yet: it may be the first.
    is_first: bool,
    /// Those that it must not be with.
    forbidden: Vec<Counted<'a>>,
    /// Those that must not be with it.
    forbidding: Vec<Counted<'a>>,
    /// Those that it would rather be with, or that would rather be with it; negative for without.
    preferred: Vec<(i64, Counted<'a>)>,
}

impl Counted<'_> {
    /// The pods in the node's domain; `None` where it is in none.
    fn at(&self, node: &Node) -> Option<crate::scheduler::topology::Count> {
        let value = node.metadata.labels.as_ref()?.get(&*self.key)?;
        Some(self.domain.get(value).copied().unwrap_or_default())
    }

    fn is_there(&self, node: &Node) -> bool {
        self.at(node).is_some_and(|count| count.all > 0)
    }
}

impl<'a> Neighbours<'a> {
    pub fn of(pod: &Pod, topology: &'a Topology) -> Self {
        let (group, terms) = (Group::of(pod), terms(pod));
        let of = |claim: Claim| terms.iter().filter(move |term| term.claim == claim);
        let counted = |selection: &Vec<Clause>, key: &str| Counted {
            key: Cow::Owned(key.to_owned()),
            domain: topology.domain(selection, key),
        };
        let alone = |term: &Term| counted(&vec![term.clause.clone()], &term.key);
        let near: Vec<Clause> = of(Claim::Requires).map(|term| term.clause.clone()).collect();
        let required: Vec<Counted<'_>> = of(Claim::Requires).map(|term| counted(&near, &term.key)).collect();
        let mut preferred: Vec<(i64, Counted<'_>)> = Vec::new();
        for term in &terms {
            if let Claim::Prefers(weight) = term.claim {
                preferred.push((weight.into(), alone(term)));
            }
        }
        let mut forbidding = Vec::new();
        for (claim, key, domain) in topology.claims_on(&group) {
            let counted = Counted { key: Cow::Borrowed(key), domain: Cow::Borrowed(domain) };
            match claim {
                Claim::Forbids => forbidding.push(counted),
                Claim::Requires => preferred.push((REQUIRED_WEIGHT, counted)),
                Claim::Prefers(weight) => preferred.push((weight.into(), counted)),
            }
        }
        let nobody = required.iter().all(|counted| counted.domain.is_empty());
        Self {
            is_first: nobody && topology.means(&near, &group),
            required,
            forbidden: of(Claim::Forbids).map(alone).collect(),
            forbidding,
            preferred,
        }
    }

    /// Whether none of them has a say in which hosts the pod may run on.
    pub fn are_indifferent(&self) -> bool {
        self.required.is_empty() && self.forbidden.is_empty() && self.forbidding.is_empty()
    }

    /// 0 to 100 per host.
    pub fn scores(&self, feasible: &[&HostState]) -> Vec<i64> {
        let raw = |host: &&HostState| {
            let Some(node) = host.node.as_deref() else { return 0 };
            let worth = |(weight, counted): &(i64, Counted<'_>)| counted.at(node).map_or(0, |at| at.staying * weight);
            self.preferred.iter().map(worth).sum()
        };
        let raw: Vec<i64> = feasible.iter().map(raw).collect();
        let (least, most) = (raw.iter().min().copied().unwrap_or(0), raw.iter().max().copied().unwrap_or(0));
        raw.iter().map(|one| if most > least { (one - least) * MAX / (most - least) } else { 0 }).collect()
    }
}

pub fn filter(wanted: &Wanted<'_>, _host: &HostState, node: &Node) -> Vec<Rejection> {
    let around = &wanted.neighbours;
    let is_in = |counted: &Counted<'_>| counted.at(node).is_some();
    let is_there = |counted: &Counted<'_>| counted.is_there(node);
    let beside = around.required.iter().all(is_there) || around.is_first && around.required.iter().all(is_in);
    if !beside {
        vec![Rejection::never("node(s) didn't match pod affinity rules")]
    } else if around.forbidden.iter().any(is_there) {
        vec![Rejection::room("node(s) didn't match pod anti-affinity rules")]
    } else if around.forbidding.iter().any(is_there) {
        vec![Rejection::room("node(s) didn't satisfy existing pods anti-affinity rules")]
    } else {
        Vec::new()
    }
}

#[cfg(test)]
mod tests;
