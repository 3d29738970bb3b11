//! Room that was promised to pods: others made way for them, or are about to.

use super::host::Placed;
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;

/// A pod with a nominated host, by its uid.
pub type Promised = (Arc<str>, Arc<Placed>);

/// Kept up to date by changes.
#[derive(Clone, Debug, Default)]
pub struct Promises {
    by_pod: HashMap<Arc<str>, (String, Arc<Placed>)>,
    by_host: BTreeMap<String, BTreeSet<Arc<str>>>,
    /// How many of the pods keep others away by more than the room they take.
    forbidding: usize,
}

impl Promises {
    /// To a pod that no host is promised to. By way of [`Snapshot`](super::snapshot::Snapshot), which takes note.
    pub(super) fn make(&mut self, uid: &str, host: &str, placed: Placed) {
        let uid: Arc<str> = uid.into();
        self.forbidding += usize::from(placed.forbids());
        self.by_host.entry(host.to_owned()).or_default().insert(uid.clone());
        self.by_pod.insert(uid, (host.to_owned(), Arc::new(placed)));
    }

    /// Returns the host that it was.
    pub(super) fn withdraw(&mut self, uid: &str) -> Option<String> {
        let (host, placed) = self.by_pod.remove(uid)?;
        self.forbidding -= usize::from(placed.forbids());
        if let Some(pods) = self.by_host.get_mut(&host) {
            pods.remove(uid);
            if pods.is_empty() {
                self.by_host.remove(&host);
            }
        }
        Some(host)
    }

    pub fn host_of(&self, uid: &str) -> Option<&str> {
        self.by_pod.get(uid).map(|(host, _)| host.as_str())
    }

    /// The pods whom `host` was promised that a pod of this priority and uid may not push aside.
    pub fn before(&self, host: &str, priority: i32, uid: &str) -> Vec<Promised> {
        let pods = self.by_host.get(host).into_iter().flatten();
        let promised = pods.filter_map(|uid| Some((uid.clone(), self.by_pod.get(uid)?.1.clone())));
        promised.filter(|(other, placed)| placed.priority >= priority && **other != *uid).collect()
    }

    /// The pods of lower priority whom `host` was promised.
    pub fn below(&self, host: &str, priority: i32) -> Vec<Promised> {
        let pods = self.by_host.get(host).into_iter().flatten();
        let promised = pods.filter_map(|uid| Some((uid.clone(), self.by_pod.get(uid)?.1.clone())));
        promised.filter(|(_, placed)| placed.priority < priority).collect()
    }

    /// The pods whom `host` was promised.
    pub fn on_host(&self, host: &str) -> impl Iterator<Item = &Placed> {
        let pods = self.by_host.get(host).into_iter().flatten();
        pods.filter_map(|uid| self.by_pod.get(uid)).map(|(_, placed)| &**placed)
    }

    pub fn on(&self, host: &str) -> bool {
        self.by_host.contains_key(host)
    }

    pub fn hosts(&self) -> impl Iterator<Item = &String> {
        self.by_host.keys()
    }

    /// Whether any of the pods keeps others away by more than the room it takes.
    pub fn forbid(&self) -> bool {
        self.forbidding > 0
    }

    pub fn count(&self) -> usize {
        self.by_pod.len()
    }
}
