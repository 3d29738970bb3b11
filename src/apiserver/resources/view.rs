//! What verbs read: the store, or the store with writes on top that are not committed yet.

use crate::store::{Record, Store, Write};
use std::collections::BTreeMap;
use std::sync::Arc;

/// A consistent enough picture: what matters for a write is repeated in its preconditions.
pub trait View: Sync {
    fn get(&self, key: &str) -> Option<Arc<Record>>;
    /// All records whose key starts with `prefix`, in key order.
    fn scan(&self, prefix: &str) -> Vec<Arc<Record>>;
    /// Whether the key's state here is a pending write rather than the store's.
    fn is_pending(&self, _key: &str) -> bool {
        false
    }
}

/// The store as it is.
pub struct StoreView<'a>(pub &'a dyn Store);

impl View for StoreView<'_> {
    fn get(&self, key: &str) -> Option<Arc<Record>> {
        self.0.get(key)
    }

    fn scan(&self, prefix: &str) -> Vec<Arc<Record>> {
        self.0.range(prefix, None, None, 0).map(|range| range.records).unwrap_or_default()
    }
}

/// Pending writes over another view.
pub struct Overlay<'a> {
    base: &'a dyn View,
    pending: BTreeMap<String, Option<Arc<Record>>>,
}

impl<'a> Overlay<'a> {
    pub fn new(base: &'a dyn View) -> Self {
        Self { base, pending: BTreeMap::new() }
    }

    /// Makes a write visible, as of the record it would leave.
    pub fn put(&mut self, record: Arc<Record>) {
        self.pending.insert(record.key.to_string(), Some(record));
    }

    pub fn delete(&mut self, key: &str) {
        self.pending.insert(key.to_string(), None);
    }

    /// Makes the writes of a transaction visible.
    pub fn absorb(&mut self, writes: &[Write]) {
        for write in writes {
            match write {
                Write::Put { key, value, splice, envelope } => {
                    let before = self.get(key);
                    let (created, modified) = before.map_or((0, 0), |r| (r.created, r.modified));
                    let packed =
                        super::object::Packed { value: value.clone(), splice: *splice, envelope: envelope.clone() };
                    self.put(Arc::new(packed.materialize(key.clone(), created, modified)));
                }
                Write::Delete { key, .. } => self.delete(key),
            }
        }
    }
}

impl View for Overlay<'_> {
    fn get(&self, key: &str) -> Option<Arc<Record>> {
        match self.pending.get(key) {
            Some(pending) => pending.clone(),
            None => self.base.get(key),
        }
    }

    fn scan(&self, prefix: &str) -> Vec<Arc<Record>> {
        let mut found: BTreeMap<String, Arc<Record>> =
            self.base.scan(prefix).into_iter().map(|record| (record.key.to_string(), record)).collect();
        for (key, pending) in self.pending.range(prefix.to_string()..).take_while(|(key, _)| key.starts_with(prefix)) {
            match pending {
                Some(record) => found.insert(key.clone(), record.clone()),
                None => found.remove(key),
            };
        }
        found.into_values().collect()
    }

    fn is_pending(&self, key: &str) -> bool {
        self.pending.contains_key(key)
    }
}
