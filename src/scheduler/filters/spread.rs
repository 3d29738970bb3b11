//! Topology spread constraints: those that a host must meet, and those that make it better. Source:
//! Kubernetes' PodTopologySpread.

use super::{Rejection, Wanted, taints};
use crate::api::placement::selects;
use crate::api::selector::LabelSelector;
use crate::scheduler::scores::MAX;
use crate::scheduler::selectors::Selectors;
use crate::scheduler::snapshot::{HostState, Snapshot};
use crate::scheduler::topology::{Clause, Count, Domain, Domains, Group, Labels, Selection, Topology};
use k8s_openapi::api::core::v1::{Node, Pod, PodSpec, TopologySpreadConstraint};
use std::borrow::Cow;
use std::collections::{BTreeSet, HashMap};

const HOSTNAME: &str = "kubernetes.io/hostname";
/// Kubernetes' defaults for pods that say nothing themselves: topology key, maxSkew.
const DEFAULTS: [(&str, i64); 2] = [(HOSTNAME, 3), ("topology.kubernetes.io/zone", 5)];

/// One constraint, without what was counted for it.
struct Constraint {
    selection: Selection,
    key: String,
    max_skew: i64,
    min_domains: i64,
    is_required: bool,
    /// Hosts that the pod's node selector and affinity, or the taints, keep it from do not count.
    by_affinity: bool,
    by_taints: bool,
}

/// A constraint that hosts must meet.
struct Hard<'a> {
    key: String,
    max_skew: i64,
    /// The pods of the emptiest domain.
    least: i64,
    /// 1 if the pod counts for its own constraint.
    itself: i64,
    pods: Pods<'a>,
}

/// Pods per domain.
enum Pods<'a> {
    /// Those of the host itself.
    OfHost(Cow<'a, Domains>),
    /// As they are kept for all.
    Kept(Cow<'a, Domain>),
    /// Those of the hosts that count.
    Counted(HashMap<&'a str, i64>),
}

struct Soft<'a> {
    key: String,
    max_skew: i64,
    pods: Pods<'a>,
}

/// How a pod is to be spread; worked out once per cycle.
pub struct Spread<'a> {
    hard: Vec<Hard<'a>>,
    soft: Vec<Soft<'a>>,
    /// Hosts must have all keys of the soft constraints to be any good; not so with the defaults.
    whole: bool,
}

impl Constraint {
    fn of(constraint: &TopologySpreadConstraint, namespace: &str) -> Self {
        let clause = Clause {
            namespaces: BTreeSet::from([namespace.to_owned()]),
            like: None,
            labels: LabelSelector::from_typed(constraint.label_selector.as_ref()),
        };
        Self {
            selection: vec![clause],
            key: constraint.topology_key.clone(),
            max_skew: constraint.max_skew.into(),
            min_domains: constraint.min_domains.unwrap_or(1).into(),
            is_required: constraint.when_unsatisfiable == "DoNotSchedule",
            by_affinity: constraint.node_affinity_policy.as_deref() != Some("Ignore"),
            by_taints: constraint.node_taints_policy.as_deref() == Some("Honor"),
        }
    }

    /// The constraints of a pod; whether they are its own.
    fn all(pod: &Pod, selectors: &Selectors) -> (Vec<Self>, bool) {
        let namespace = pod.metadata.namespace.as_deref().unwrap_or_default();
        let own = pod.spec.as_ref().and_then(|spec| spec.topology_spread_constraints.as_deref()).unwrap_or_default();
        if !own.is_empty() {
            return (own.iter().map(|one| Self::of(one, namespace)).collect(), true);
        }
        let Some(selection) = selectors.around(pod) else { return (Vec::new(), false) };
        let default = |(key, max_skew): (&str, i64)| Self {
            selection: selection.clone(),
            key: key.to_owned(),
            max_skew,
            min_domains: 1,
            is_required: false,
            by_affinity: true,
            by_taints: false,
        };
        (DEFAULTS.map(default).into(), false)
    }

    fn counts(&self, spec: &PodSpec, host: &HostState, node: &Node) -> bool {
        (!self.by_affinity || selects(spec, &host.name, node.metadata.labels.as_ref()))
            && (!self.by_taints || taints::untolerated(spec, node).is_none())
    }

    /// Whether no host can be left out.
    fn counts_all(&self, spec: &PodSpec) -> bool {
        let narrowed = spec.node_selector.as_ref().is_some_and(|selector| !selector.is_empty())
            || spec.affinity.as_ref().is_some_and(|affinity| affinity.node_affinity.is_some());
        !(self.by_taints || self.by_affinity && narrowed)
    }

    /// Pods per domain on the hosts that count and have all these keys.
    fn count<'a>(&self, spec: &PodSpec, keys: &[String], snapshot: &'a Snapshot) -> HashMap<&'a str, i64> {
        let pods = snapshot.topology.pods(&self.selection);
        let mut counted = HashMap::new();
        for host in snapshot.hosts() {
            let Some(node) = host.node.as_deref() else { continue };
            let Some(value) = value(node, &self.key) else { continue };
            if has_all(node, keys) && self.counts(spec, host, node) {
                *counted.entry(value).or_default() += pods.on(&host.name).staying;
            }
        }
        counted
    }
}

fn labels(node: &Node) -> Option<&Labels> {
    node.metadata.labels.as_ref()
}

fn value<'a>(node: &'a Node, key: &str) -> Option<&'a str> {
    labels(node)?.get(key).map(String::as_str)
}

fn has_all(node: &Node, keys: &[String]) -> bool {
    keys.iter().all(|key| value(node, key).is_some())
}

/// Keeps the counts that the pod asks for, from now on.
pub fn follow(pod: &Pod, selectors: &Selectors, topology: &mut Topology) {
    for constraint in Constraint::all(pod, selectors).0 {
        topology.sum_up(&constraint.selection, &constraint.key);
    }
}

impl<'a> Spread<'a> {
    pub fn of(pod: &Pod, spec: &PodSpec, snapshot: &'a Snapshot) -> Self {
        let (constraints, whole) = Constraint::all(pod, &snapshot.selectors);
        let (hard, soft): (Vec<_>, Vec<_>) = constraints.into_iter().partition(|one| one.is_required);
        let keys = |of: &[Constraint]| of.iter().map(|one| one.key.clone()).collect::<Vec<_>>();
        let (hard_keys, soft_keys) = (keys(&hard), if whole { keys(&soft) } else { Vec::new() });
        let group = (!hard.is_empty()).then(|| Group::of(pod));
        let hard = hard.into_iter().map(|one| {
            let kept = snapshot.topology.values(&one.key).filter(|_| hard_keys.len() <= 1 && one.counts_all(spec));
            let (pods, domains, least) = match kept {
                Some(values) => {
                    let domain = snapshot.topology.domain(&one.selection, &one.key);
                    let pods = |value| domain.get(value).map_or(0, |count: &Count| count.staying);
                    let least = values.keys().map(pods).min();
                    (Pods::Kept(domain), values.len(), least)
                }
                None => {
                    let counted = one.count(spec, &hard_keys, snapshot);
                    let (domains, least) = (counted.len(), counted.values().min().copied());
                    (Pods::Counted(counted), domains, least)
                }
            };
            let is_enough = domains as i64 >= one.min_domains;
            let least = if is_enough { least.unwrap_or(i64::from(i32::MAX)) } else { 0 };
            let itself = group.as_ref().is_some_and(|group| snapshot.topology.means(&one.selection, group));
            Hard { key: one.key, max_skew: one.max_skew, least, itself: itself.into(), pods }
        });
        let soft = soft.into_iter().map(|one| {
            let pods = if one.key == HOSTNAME {
                Pods::OfHost(snapshot.topology.pods(&one.selection))
            } else if soft_keys.len() <= 1 && one.counts_all(spec) {
                Pods::Kept(snapshot.topology.domain(&one.selection, &one.key))
            } else {
                Pods::Counted(one.count(spec, &soft_keys, snapshot))
            };
            Soft { key: one.key, max_skew: one.max_skew, pods }
        });
        Self { hard: hard.collect(), soft: soft.collect(), whole }
    }

    /// Whether it keeps the pod from hosts.
    pub fn is_required(&self) -> bool {
        !self.hard.is_empty()
    }

    /// 0 to 100 per host, high where its domains have few pods for how many domains there are.
    pub fn scores(&self, feasible: &[&HostState]) -> Vec<i64> {
        if self.soft.is_empty() {
            return vec![0; feasible.len()];
        }
        let lacks = |node: &Node| self.whole && self.soft.iter().any(|soft| value(node, &soft.key).is_none());
        let counted: Vec<Option<(&HostState, &Node)>> =
            feasible.iter().map(|host| Some((*host, host.node.as_deref().filter(|node| !lacks(node))?))).collect();
        let weights: Vec<f64> = self.soft.iter().map(|soft| soft.weight(&counted)).collect();
        let raw = |(host, node): (&HostState, &Node)| {
            let worth = |(soft, weight): (&Soft<'_>, &f64)| soft.worth(host, node, *weight);
            self.soft.iter().zip(&weights).map(worth).sum::<f64>().round() as i64
        };
        let raw: Vec<Option<i64>> = counted.into_iter().map(|one| one.map(raw)).collect();
        let least = raw.iter().flatten().min().copied().unwrap_or(0);
        let most = raw.iter().flatten().max().copied().unwrap_or(0);
        let score = |raw: Option<i64>| match raw {
            None => 0,
            Some(_) if most == 0 => MAX,
            Some(raw) => MAX * (most + least - raw) / most,
        };
        raw.into_iter().map(score).collect()
    }
}

impl Pods<'_> {
    /// Those in the host's domain, which has this value.
    fn around(&self, host: &HostState, value: &str) -> i64 {
        match self {
            Self::OfHost(pods) => pods.on(&host.name).staying,
            Self::Kept(domain) => domain.get(value).map_or(0, |count| count.staying),
            Self::Counted(domain) => domain.get(value).copied().unwrap_or(0),
        }
    }
}

impl Soft<'_> {
    /// More domains take more pods to fill: what is rare in many of them counts for more.
    fn weight(&self, counted: &[Option<(&HostState, &Node)>]) -> f64 {
        let hosts = counted.iter().flatten();
        let size = if self.key == HOSTNAME {
            hosts.count()
        } else {
            hosts.filter_map(|(_, node)| value(node, &self.key)).collect::<BTreeSet<_>>().len()
        };
        (size as f64 + 2.0).ln()
    }

    fn worth(&self, host: &HostState, node: &Node, weight: f64) -> f64 {
        let Some(value) = value(node, &self.key) else { return 0.0 };
        self.pods.around(host, value) as f64 * weight + (self.max_skew - 1) as f64
    }
}

pub fn filter(wanted: &Wanted<'_>, host: &HostState, node: &Node) -> Vec<Rejection> {
    let verdict = |hard: &Hard<'_>| {
        let why = "node(s) didn't match pod topology spread constraints";
        let Some(value) = value(node, &hard.key) else {
            return Some(Rejection::never(format!("{why} (missing required label)")));
        };
        let pods = hard.pods.around(host, value);
        (pods + hard.itself - hard.least > hard.max_skew).then(|| Rejection::room(why))
    };
    wanted.spread.hard.iter().find_map(verdict).into_iter().collect()
}

#[cfg(test)]
mod tests;
