//! What the informers of a copy of a cluster need not parse: objects that those of the cluster itself hold in
//! the very state that the copy has. They are shared.

use super::{Informer, Informers, Kind};
use crate::base::json;
use std::sync::Arc;

/// The informers of the cluster that was copied.
pub(super) struct Origin {
    pub informers: Arc<Informers>,
    /// The last revision that both have: later ones mean something else in each.
    pub until: u64,
}

/// Those of one kind.
pub(super) struct Known<K> {
    informer: Informer<K>,
    until: u64,
}

impl Origin {
    /// `None` of a kind that nobody asked for in the cluster.
    pub fn of<K: Kind>(&self) -> Option<Known<K>> {
        Some(Known { informer: self.informers.started()?, until: self.until })
    }
}

impl<K: Kind> Known<K> {
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
