//! Keeps a controller from acting on a cache that does not show its own last writes yet: it would
//! create the same pods twice.
//!
//! The store has one revision counter, and an informer tells how far it has come; a controller
//! remembers the newest revision it wrote for a key and waits until the informer is there. Deleted
//! objects are remembered by uid, because an object that is already gone leaves no newer revision.

use crate::client::{Informer, Kind, ObjectKey};
use parking_lot::Mutex;
use std::collections::{HashMap, HashSet};
use std::time::Duration;
use tokio::time::timeout;

/// How long a pass waits for its informer before it gives way to others.
const PATIENCE: Duration = Duration::from_secs(5);
/// After this many waits in vain the informer is believed: the store may have been replaced by an
/// older one, whose revisions never get there.
const GIVE_UP: u32 = 60;

#[derive(Default)]
struct Entry {
    revision: u64,
    deleted: HashSet<String>,
    waited: u32,
}

/// What a controller wrote, per key of its queue.
#[derive(Default)]
pub struct Freshness(Mutex<HashMap<ObjectKey, Entry>>);

impl Freshness {
    /// The controller wrote an object of the watched kind at this revision, if it wrote one.
    pub fn wrote(&self, key: &ObjectKey, revision: impl Into<Option<u64>>) {
        let Some(revision) = revision.into() else { return };
        let mut entries = self.0.lock();
        let entry = entries.entry(key.clone()).or_default();
        entry.revision = entry.revision.max(revision);
    }

    /// The controller asked for the deletion of the object with this uid.
    pub fn deleted(&self, key: &ObjectKey, uid: &str) {
        self.0.lock().entry(key.clone()).or_default().deleted.insert(uid.to_owned());
    }

    /// Whether a deletion of this object was asked for already.
    pub fn is_deleted(&self, key: &ObjectKey, uid: &str) -> bool {
        self.0.lock().get(key).is_some_and(|entry| entry.deleted.contains(uid))
    }

    /// Drops remembered deletions that the cache shows by now: `pending` are the uids it still shows
    /// as if nothing had happened.
    pub fn settle(&self, key: &ObjectKey, pending: &HashSet<&str>) {
        if let Some(entry) = self.0.lock().get_mut(key) {
            entry.deleted.retain(|uid| pending.contains(uid.as_str()));
        }
    }

    /// The key's object is gone.
    pub fn forget(&self, key: &ObjectKey) {
        self.0.lock().remove(key);
    }

    /// Waits until `informer` shows what was written for `key`; false if it does not in good time.
    pub async fn caught_up<K: Kind>(&self, key: &ObjectKey, informer: &Informer<K>) -> bool {
        let Some(revision) = self.0.lock().get(key).map(|entry| entry.revision) else { return true };
        if timeout(PATIENCE, informer.reached(revision)).await.is_ok() {
            return true;
        }
        let mut entries = self.0.lock();
        let Some(entry) = entries.get_mut(key) else { return true };
        entry.waited += 1;
        if entry.waited >= GIVE_UP {
            *entry = Entry::default();
        }
        false
    }
}
