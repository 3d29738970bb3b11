//! What the informers of a copy of a cluster need not parse: objects that those of the cluster itself hold in
//! the very state that the copy has. They are shared; where all of a kind are in that state, so is how they are
//! found, and the copy needs no list.

use super::cache::Cache;
use super::specs::Reader;
use super::{Informer, Informers, Kind};
use crate::base::json;
use std::collections::HashMap;
use std::sync::Arc;

/// The objects of one kind at one revision.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Extent {
    pub count: usize,
    /// When the last of them that was written was written.
    pub newest: u64,
}

/// The cluster that was copied.
pub struct Origin {
    pub informers: Arc<Informers>,
    /// The last revision that both have: later ones mean something else in each.
    pub until: u64,
    /// What there was then, by `{resource}.{group}`; nothing of kinds that are not in here.
    pub extents: HashMap<String, Extent>,
}

/// Those of one kind.
pub(super) struct Known<K> {
    informer: Informer<K>,
    until: u64,
    extent: Extent,
}

impl Origin {
    /// `None` of a kind that nobody asked for in the cluster.
    pub(super) fn of<K: Kind>(&self) -> Option<Known<K>> {
        let informer = self.informers.started()?;
        let name = format!("{}.{}", K::plural(&()), K::group(&()));
        let extent = self.extents.get(&name).copied().unwrap_or_default();
        Some(Known { informer, until: self.until, extent })
    }
}

impl<K: Kind> Known<K> {
    pub fn reader(&self) -> &Reader {
        &self.informer.shared.reader
    }

    /// The revision that the copy was made at, and all there was then; `None` unless the cluster's informer shows
    /// exactly that.
    pub fn whole(&self) -> Option<(u64, Cache<K>)> {
        if !self.informer.is_synced() {
            return None;
        }
        let shared = &self.informer.shared;
        let cache = shared.cache.read();
        // What was written since, it does not show yet; of what went since, it has more than there was.
        if *shared.revision.borrow() < self.extent.newest || cache.len() != self.extent.count {
            return None;
        }
        // What it shows already that came later is newer, and what went later is not there.
        let is_later = |object: &Arc<K>| revision_of(&**object).is_none_or(|revision| revision > self.until);
        (!cache.iter().any(is_later)).then(|| (self.until, cache.clone()))
    }

    /// The object that is written here.
    pub fn find(&self, text: &str) -> Option<Arc<K>> {
        let metadata = &text.as_bytes()[json::start(text.as_bytes(), &["metadata"])?..];
        let fields = ["namespace", "name", "uid", "resourceVersion"];
        let [namespace, name, uid, revision] = json::strings(metadata, fields);
        let (uid, revision) = (uid?, revision?);
        let shared = revision.parse().is_ok_and(|revision: u64| revision <= self.until);
        let object = self.informer.get(namespace.unwrap_or_default(), name?).filter(|_| shared)?;
        let meta = object.meta();
        let same = meta.uid.as_deref() == Some(uid) && meta.resource_version.as_deref() == Some(revision);
        same.then_some(object)
    }
}

fn revision_of(object: &impl Kind) -> Option<u64> {
    object.meta().resource_version.as_ref()?.parse().ok()
}
