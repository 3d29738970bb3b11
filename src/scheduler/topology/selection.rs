//! Which pods a term means: the vocabulary that pod affinity and topology spreading share.

use crate::api::selector::LabelSelector;
use k8s_openapi::api::core::v1::{Pod, PodAffinityTerm};
use std::collections::{BTreeMap, BTreeSet, HashMap};

pub type Labels = BTreeMap<String, String>;

/// What tells pods apart here. Pods that are equal in it are counted together.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct Group {
    pub namespace: String,
    pub labels: Labels,
}

/// A set of pods: those with these labels, in namespaces of these names or with labels like these.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Clause {
    pub namespaces: BTreeSet<String>,
    pub like: Option<LabelSelector>,
    pub labels: LabelSelector,
}

/// Pods that are in each of these sets.
pub type Selection = Vec<Clause>;

/// What the pods of a host say of others; decides which of them count against, or for, a new pod.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Claim {
    /// Required anti-affinity.
    Forbids,
    /// Required affinity.
    Requires,
    /// Preferred affinity with its weight, negative for anti-affinity.
    Prefers(i32),
}

/// One affinity term of a pod: what it says of which pods, within one domain of `key`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Term {
    pub claim: Claim,
    pub clause: Clause,
    pub key: String,
}

impl Group {
    pub fn of(pod: &Pod) -> Self {
        Self {
            namespace: pod.metadata.namespace.clone().unwrap_or_default(),
            labels: pod.metadata.labels.clone().unwrap_or_default(),
        }
    }
}

impl Clause {
    /// Source: the API's PodAffinityTerm. A term that names no namespace and has no selector of namespaces
    /// means that of its pod. The label keys of the term are part of its selector since the pod was made.
    fn of(term: &PodAffinityTerm, namespace: &str) -> Self {
        let mut namespaces: BTreeSet<String> = term.namespaces.iter().flatten().cloned().collect();
        let like = term.namespace_selector.as_ref().map(|like| LabelSelector::from_typed(Some(like)));
        if namespaces.is_empty() && like.is_none() {
            namespaces.insert(namespace.to_owned());
        }
        Self { namespaces, like, labels: LabelSelector::from_typed(term.label_selector.as_ref()) }
    }

    /// `namespaces`: the labels of each.
    pub fn selects(&self, group: &Group, namespaces: &HashMap<String, Labels>) -> bool {
        let Self { namespaces: named, like, labels } = self;
        let like = || {
            like.as_ref().is_some_and(|like| match namespaces.get(&group.namespace) {
                Some(labels) => like.matches(labels),
                None => like.is_everything(),
            })
        };
        labels.matches(&group.labels) && (named.contains(&group.namespace) || like())
    }

    pub fn looks_at_namespaces(&self) -> bool {
        self.like.is_some()
    }
}

/// All pod affinity terms of a pod.
pub fn terms(pod: &Pod) -> Vec<Term> {
    let namespace = pod.metadata.namespace.as_deref().unwrap_or_default();
    let Some(affinity) = pod.spec.as_ref().and_then(|spec| spec.affinity.as_ref()) else { return Vec::new() };
    let term = |claim: Claim, term: &PodAffinityTerm| Term {
        claim,
        clause: Clause::of(term, namespace),
        key: term.topology_key.clone(),
    };
    let mut terms = Vec::new();
    if let Some(near) = &affinity.pod_affinity {
        let required = near.required_during_scheduling_ignored_during_execution.iter().flatten();
        terms.extend(required.map(|one| term(Claim::Requires, one)));
        let preferred = near.preferred_during_scheduling_ignored_during_execution.iter().flatten();
        terms.extend(preferred.map(|one| term(Claim::Prefers(one.weight), &one.pod_affinity_term)));
    }
    if let Some(apart) = &affinity.pod_anti_affinity {
        let required = apart.required_during_scheduling_ignored_during_execution.iter().flatten();
        terms.extend(required.map(|one| term(Claim::Forbids, one)));
        let preferred = apart.preferred_during_scheduling_ignored_during_execution.iter().flatten();
        terms.extend(preferred.map(|one| term(Claim::Prefers(-one.weight), &one.pod_affinity_term)));
    }
    terms
}
