//! Numbers of pods per host, and their sums per topology domain.

use super::Labels;
use std::collections::HashMap;
use std::ops::AddAssign;
use std::sync::Arc;

/// Pods of one place.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Count {
    pub all: i64,
    /// Without those on their way out.
    pub staying: i64,
}

impl AddAssign for Count {
    fn add_assign(&mut self, more: Self) {
        self.all += more.all;
        self.staying += more.staying;
    }
}

impl std::ops::Neg for Count {
    type Output = Self;

    fn neg(self) -> Self {
        Self { all: -self.all, staying: -self.staying }
    }
}

/// The domains of one topology key: pods by the key's value. Values without pods are not listed.
pub type Domain = HashMap<String, Count>;

/// Counts per host, and per domain of those topology keys that were asked for.
#[derive(Clone, Debug, Default)]
pub struct Domains {
    by_host: HashMap<Arc<str>, Count>,
    by_key: HashMap<String, Domain>,
}

fn add<K: std::hash::Hash + Eq + Clone>(to: &mut HashMap<K, Count>, key: &K, count: Count) {
    let sum = to.entry(key.clone()).or_default();
    *sum += count;
    if *sum == Count::default() {
        to.remove(key);
    }
}

impl Domains {
    /// Adds to a host; `labels` are its own, none while it has no Node object.
    pub fn add(&mut self, host: &Arc<str>, labels: Option<&Labels>, count: Count) {
        add(&mut self.by_host, host, count);
        for (key, domain) in &mut self.by_key {
            if let Some(value) = labels.and_then(|labels| labels.get(key)) {
                add(domain, value, count);
            }
        }
    }

    /// The host's labels changed.
    pub fn relabel(&mut self, host: &str, before: Option<&Labels>, after: Option<&Labels>) {
        let Some(count) = self.by_host.get(host).copied() else { return };
        for (key, domain) in &mut self.by_key {
            let value = |labels: Option<&Labels>| labels.and_then(|labels| labels.get(key)).cloned();
            if let Some(value) = value(before) {
                add(domain, &value, -count);
            }
            if let Some(value) = value(after) {
                add(domain, &value, count);
            }
        }
    }

    /// Keeps sums per domain of `key` from now on. `labels`: those of each host that has a Node object.
    pub fn sum_up<'a>(&mut self, key: &str, labels: impl Fn(&str) -> Option<&'a Labels>) {
        if !self.by_key.contains_key(key) {
            let domain = self.of(key, labels);
            self.by_key.insert(key.to_owned(), domain);
        }
    }

    /// The sums of `key`, when they are kept.
    pub fn kept(&self, key: &str) -> Option<&Domain> {
        self.by_key.get(key)
    }

    /// The sums of `key`, made now.
    pub fn of<'a>(&self, key: &str, labels: impl Fn(&str) -> Option<&'a Labels>) -> Domain {
        let mut domain = Domain::new();
        for (host, count) in &self.by_host {
            if let Some(value) = labels(host).and_then(|labels| labels.get(key)) {
                add(&mut domain, value, *count);
            }
        }
        domain
    }

    pub fn on(&self, host: &str) -> Count {
        self.by_host.get(host).copied().unwrap_or_default()
    }

    pub fn hosts(&self) -> impl Iterator<Item = (&Arc<str>, Count)> {
        self.by_host.iter().map(|(host, count)| (host, *count))
    }

    pub fn is_empty(&self) -> bool {
        self.by_host.is_empty()
    }
}
