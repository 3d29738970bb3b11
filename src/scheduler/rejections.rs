//! Why hosts can not take a pod, host by host, and in one sentence.

use super::filters::Rejection;
use std::collections::BTreeMap;
use std::sync::Arc;

/// The reasons of one host. Thousands of hosts may give the same: they share them where that is easy.
pub type Why = Arc<[Rejection]>;

/// In the order of the hosts' names.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Rejections(Vec<(Arc<str>, Why)>);

impl Rejections {
    /// `hosts`: in the order of their names.
    pub fn new(hosts: Vec<(Arc<str>, Why)>) -> Self {
        debug_assert!(hosts.is_sorted_by(|(a, _), (b, _)| a < b));
        Self(hosts)
    }

    pub fn get(&self, host: &str) -> Option<&Why> {
        let at = self.0.binary_search_by(|(name, _)| (**name).cmp(host)).ok()?;
        Some(&self.0[at].1)
    }

    pub fn as_slice(&self) -> &[(Arc<str>, Why)] {
        &self.0
    }

    pub fn len(&self) -> usize {
        self.0.len()
    }

    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Neighbours that share their reasons, together: thousands of hosts are a few runs.
    pub fn runs(&self) -> impl Iterator<Item = &[(Arc<str>, Why)]> {
        self.0.chunk_by(|(_, one), (_, next)| Arc::ptr_eq(one, next))
    }

    /// Every rejection of every host, those of a run once.
    pub fn distinct(&self) -> impl Iterator<Item = &Rejection> {
        self.runs().filter_map(|run| run.first()).flat_map(|(_, why)| why.iter())
    }

    /// As Kubernetes words it: `0/3 nodes are available: 1 Insufficient cpu, 2 node(s) were unschedulable.`
    pub fn summary(&self) -> String {
        if self.is_empty() {
            return "no nodes available to schedule pods".into();
        }
        if let Some(rejection) = self.distinct().find(|rejection| rejection.of_pod) {
            return format!("0/{} nodes are available: {}.", self.len(), rejection.reason);
        }
        let mut counts: BTreeMap<&str, usize> = BTreeMap::new();
        for run in self.runs() {
            for rejection in run.first().into_iter().flat_map(|(_, why)| why.iter()) {
                *counts.entry(&rejection.reason).or_default() += run.len();
            }
        }
        let mut reasons: Vec<String> = counts.into_iter().map(|(reason, count)| format!("{count} {reason}")).collect();
        reasons.sort();
        format!("0/{} nodes are available: {}.", self.len(), reasons.join(", "))
    }
}

/// Gives each host its reasons, those of the one before where they are the same.
#[derive(Default)]
pub struct Sharing(Option<Why>);

impl Sharing {
    pub fn share(&mut self, why: Vec<Rejection>) -> Why {
        match &self.0 {
            Some(last) if **last == *why => last.clone(),
            _ => self.0.insert(why.into()).clone(),
        }
    }
}
