//! How many pods of a kind each topology domain holds, kept up to date by changes: what pod affinity
//! and topology spreading ask for costs no look at single pods.
//!
//! Pods are counted in groups that no term can tell apart. A selection that someone asks about is followed
//! from then on: it knows its groups, and its sums change with every pod that comes or goes. A selection
//! that is not followed is counted from the groups, with the same result.

pub mod domains;
mod finder;
pub mod selection;
#[cfg(test)]
mod tests;

pub use domains::{Count, Domain, Domains};
pub use selection::{Claim, Clause, Group, Labels, Selection, Term};

use finder::Finder;
use k8s_openapi::api::core::v1::Node;
use std::borrow::Cow;
use std::collections::{HashMap, HashSet};
use std::sync::Arc;

/// Selections that are followed although no pod on a host names them. Beyond it those that were not asked
/// about for longest are let go of.
const FOLLOWED: usize = 4096;

#[derive(Clone, Debug, Default)]
pub struct Topology {
    /// Hosts that have a Node object.
    nodes: HashMap<Arc<str>, Arc<Node>>,
    /// The labels of each namespace.
    namespaces: HashMap<String, Labels>,
    groups: HashMap<Arc<Group>, Members>,
    by_label: ByLabel,
    followed: HashMap<Arc<Selection>, Tally>,
    /// Finds those of `followed` that may mean a group.
    finder: Finder,
    /// How many hosts have each value of a topology key, for the keys that hosts have and pods asked about.
    values: HashMap<String, HashMap<String, usize>>,
    /// Questions so far.
    asked: u64,
}

/// The groups by a name and a value of their labels.
type ByLabel = HashMap<String, HashMap<String, HashSet<Arc<Group>>>>;

#[derive(Clone, Debug, Default)]
struct Members {
    pods: Domains,
    /// The followed selections that mean this group.
    meant_by: Vec<Arc<Selection>>,
}

/// What is known of a followed selection.
#[derive(Clone, Debug, Default)]
struct Tally {
    /// The pods that it means.
    pods: Domains,
    /// The pods that say something of those it means, each within its topology key.
    claims: HashMap<(Claim, String), Domains>,
    /// When it was last asked about.
    asked: u64,
}

fn labels<'a>(nodes: &'a HashMap<Arc<str>, Arc<Node>>, host: &str) -> Option<&'a Labels> {
    nodes.get(host).and_then(|node| node.metadata.labels.as_ref())
}

fn means(selection: &Selection, group: &Group, namespaces: &HashMap<String, Labels>) -> bool {
    selection.iter().all(|clause| clause.selects(group, namespaces))
}

impl Topology {
    pub fn set_node(&mut self, node: &Arc<Node>) {
        let name: Arc<str> = node.metadata.name.as_deref().unwrap_or_default().into();
        let before = self.nodes.insert(name.clone(), node.clone());
        self.relabel(&name, before.as_deref(), Some(node));
    }

    pub fn remove_node(&mut self, name: &str) {
        let before = self.nodes.remove(name);
        self.relabel(name, before.as_deref(), None);
    }

    fn relabel(&mut self, host: &str, before: Option<&Node>, after: Option<&Node>) {
        let labels = |node: Option<&Node>| node.and_then(|node| node.metadata.labels.clone());
        let (before, after) = (labels(before), labels(after));
        if before == after {
            return;
        }
        for (key, values) in &mut self.values {
            let value = |labels: &Option<Labels>| labels.as_ref().and_then(|labels| labels.get(key)).cloned();
            if let Some(old) = value(&before)
                && let Some(hosts) = values.get_mut(&old)
            {
                *hosts -= 1;
                if *hosts == 0 {
                    values.remove(&old);
                }
            }
            if let Some(new) = value(&after) {
                *values.entry(new).or_default() += 1;
            }
        }
        for tally in self.followed.values_mut() {
            tally.pods.relabel(host, before.as_ref(), after.as_ref());
            tally.claims.values_mut().for_each(|pods| pods.relabel(host, before.as_ref(), after.as_ref()));
        }
    }

    /// The labels of a namespace; `None` when it is gone. Returns whether they are others than before.
    pub fn set_namespace(&mut self, name: &str, labels: Option<Labels>) -> bool {
        let before = match &labels {
            Some(labels) => self.namespaces.insert(name.to_owned(), labels.clone()),
            None => self.namespaces.remove(name),
        };
        if before == labels {
            return false;
        }
        let groups: Vec<Arc<Group>> = self.groups.keys().filter(|group| group.namespace == name).cloned().collect();
        groups.iter().for_each(|group| self.find_again(group));
        true
    }

    /// A group is meant by others than before: its namespace has other labels.
    fn find_again(&mut self, group: &Arc<Group>) {
        let Some(members) = self.groups.get_mut(group) else { return };
        let (nodes, namespaces) = (&self.nodes, &self.namespaces);
        for (selection, tally) in &mut self.followed {
            if !selection.iter().any(Clause::looks_at_namespaces) {
                continue;
            }
            let known = members.meant_by.iter().position(|one| one == selection);
            let sign = match (known, means(selection, group, namespaces)) {
                (None, true) => {
                    members.meant_by.push(selection.clone());
                    1
                }
                (Some(at), false) => {
                    members.meant_by.swap_remove(at);
                    -1
                }
                _ => continue,
            };
            for (host, count) in members.pods.hosts() {
                tally.pods.add(host, labels(nodes, host), if sign > 0 { count } else { -count });
            }
        }
    }

    /// Counts a pod on a host, `count` of 1; or no longer, of -1. Returns the group that it is counted in.
    pub fn count(&mut self, host: &Arc<str>, group: &Arc<Group>, terms: &[Term], count: Count) -> Arc<Group> {
        for term in terms {
            let selection = self.follow(&vec![term.clause.clone()]);
            let Some(tally) = self.followed.get_mut(&selection) else { continue };
            let domains = tally.claims.entry((term.claim, term.key.clone())).or_default();
            domains.sum_up(&term.key, |_| None);
            domains.add(host, labels(&self.nodes, host), count);
            if domains.is_empty() {
                tally.claims.remove(&(term.claim, term.key.clone()));
            }
        }
        let group = match self.groups.get_key_value(group) {
            Some((known, _)) => known.clone(),
            None => {
                let meaning = self.finder.candidates(group).filter(|one| means(one, group, &self.namespaces));
                let members = Members { meant_by: meaning.cloned().collect(), ..Members::default() };
                self.groups.insert(group.clone(), members);
                self.list(group);
                group.clone()
            }
        };
        let labels = labels(&self.nodes, host);
        if let Some(members) = self.groups.get_mut(&group) {
            members.pods.add(host, labels, count);
            for selection in &members.meant_by {
                if let Some(tally) = self.followed.get_mut(selection) {
                    tally.pods.add(host, labels, count);
                }
            }
            if members.pods.is_empty() {
                self.groups.remove(&group);
                self.unlist(&group);
            }
        }
        group
    }

    fn list(&mut self, group: &Arc<Group>) {
        for (key, value) in &group.labels {
            let values = self.by_label.entry(key.clone()).or_default();
            values.entry(value.clone()).or_default().insert(group.clone());
        }
    }

    fn unlist(&mut self, group: &Group) {
        for (key, value) in &group.labels {
            let Some(values) = self.by_label.get_mut(key) else { continue };
            if let Some(groups) = values.get_mut(value) {
                groups.remove(group);
                if groups.is_empty() {
                    values.remove(value);
                }
            }
            if values.is_empty() {
                self.by_label.remove(key);
            }
        }
    }

    /// The groups that the selection means. Only those are looked at that have the rarest of the labels that it
    /// asks for, or all if it asks for none.
    fn meant(&self, selection: &Selection) -> Vec<Arc<Group>> {
        let with = |(key, value): (&str, &str)| self.by_label.get(key).and_then(|values| values.get(value));
        let required = selection.iter().flat_map(|clause| clause.labels.required());
        let is_meant = |group: &&Arc<Group>| means(selection, group, &self.namespaces);
        match required.map(with).min_by_key(|groups| groups.map_or(0, HashSet::len)) {
            Some(groups) => groups.into_iter().flatten().filter(is_meant).cloned().collect(),
            None => self.groups.keys().filter(is_meant).cloned().collect(),
        }
    }

    /// Keeps count of a selection from now on.
    fn follow(&mut self, selection: &Selection) -> Arc<Selection> {
        self.asked += 1;
        if let Some((known, _)) = self.followed.get_key_value(selection) {
            let known = known.clone();
            if let Some(tally) = self.followed.get_mut(selection) {
                tally.asked = self.asked;
            }
            return known;
        }
        self.let_go();
        let selection = Arc::new(selection.clone());
        let mut tally = Tally { asked: self.asked, ..Tally::default() };
        for group in self.meant(&selection) {
            let Some(members) = self.groups.get_mut(&group) else { continue };
            members.meant_by.push(selection.clone());
            for (host, count) in members.pods.hosts() {
                tally.pods.add(host, labels(&self.nodes, host), count);
            }
        }
        self.finder.add(&selection);
        self.followed.insert(selection.clone(), tally);
        selection
    }

    /// Keeps the sums of a selection per domain of `key` from now on: they are asked for often.
    pub fn sum_up(&mut self, selection: &Selection, key: &str) {
        let selection = self.follow(selection);
        if let Some(tally) = self.followed.get_mut(&selection) {
            tally.pods.sum_up(key, |host| labels(&self.nodes, host));
        }
        if !self.values.contains_key(key) {
            let mut values = HashMap::new();
            for value in self.nodes.values().filter_map(|node| node.metadata.labels.as_ref()?.get(key)) {
                *values.entry(value.clone()).or_default() += 1;
            }
            if !values.is_empty() {
                self.values.insert(key.to_owned(), values);
            }
        }
    }

    /// How many hosts have each value of the key; `None` unless it was asked about and some host has it.
    pub fn values(&self, key: &str) -> Option<&HashMap<String, usize>> {
        self.values.get(key)
    }

    /// Half of what nobody but old questions named, when that became too much.
    fn let_go(&mut self) {
        let idle = || self.followed.iter().filter(|(_, tally)| tally.claims.is_empty());
        if idle().count() < FOLLOWED {
            return;
        }
        let mut ages: Vec<u64> = idle().map(|(_, tally)| tally.asked).collect();
        let middle = ages.len() / 2;
        let limit = *ages.select_nth_unstable(middle).1;
        self.followed.retain(|_, tally| !tally.claims.is_empty() || tally.asked >= limit);
        let followed = &self.followed;
        self.finder.retain(|selection| followed.contains_key(selection));
        for members in self.groups.values_mut() {
            members.meant_by.retain(|selection| followed.contains_key(selection));
        }
    }

    /// The pods that a selection means, per host.
    pub fn pods(&self, selection: &Selection) -> Cow<'_, Domains> {
        if let Some(tally) = self.followed.get(selection) {
            return Cow::Borrowed(&tally.pods);
        }
        let mut pods = Domains::default();
        for members in self.meant(selection).iter().filter_map(|group| self.groups.get(group)) {
            members.pods.hosts().for_each(|(host, count)| pods.add(host, None, count));
        }
        Cow::Owned(pods)
    }

    /// The pods that a selection means, per domain of `key`.
    pub fn domain(&self, selection: &Selection, key: &str) -> Cow<'_, Domain> {
        let pods = self.pods(selection);
        if let Cow::Borrowed(followed) = pods
            && let Some(kept) = followed.kept(key)
        {
            return Cow::Borrowed(kept);
        }
        Cow::Owned(pods.of(key, |host| labels(&self.nodes, host)))
    }

    /// What the pods on hosts say of a pod of this group: each claim with the topology key that it holds
    /// within, and how many say so per domain.
    pub fn claims_on<'a>(&'a self, group: &Group) -> Vec<(Claim, &'a str, &'a Domain)> {
        let of = |tally: &'a Tally| {
            let named = tally.claims.iter();
            named.filter_map(|((claim, key), pods)| Some((*claim, key.as_str(), pods.kept(key)?)))
        };
        match self.groups.get(group) {
            Some(members) => members.meant_by.iter().filter_map(|one| self.followed.get(one)).flat_map(of).collect(),
            None => {
                let known = self.finder.candidates(group).filter_map(|one| Some((one, self.followed.get(one)?)));
                let meaning =
                    known.filter(|(one, tally)| !tally.claims.is_empty() && means(one, group, &self.namespaces));
                meaning.flat_map(|(_, tally)| of(tally)).collect()
            }
        }
    }

    /// Whether the selection means pods of this group.
    pub fn means(&self, selection: &Selection, group: &Group) -> bool {
        means(selection, group, &self.namespaces)
    }
}
