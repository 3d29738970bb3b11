//! What verbs read: the store, or the store with writes on top that are not committed yet.

use crate::store::{Record, Store, Write};
use parking_lot::Mutex;
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

/// Remembers what was read of another view.
pub struct Traced<'a> {
    base: &'a dyn View,
    reads: Mutex<Reads>,
}

/// What a preparation stands on: it holds for as long as none of this has changed.
#[derive(Debug, Default)]
pub struct Reads {
    keys: Vec<String>,
    prefixes: Vec<String>,
}

impl<'a> Traced<'a> {
    pub fn new(base: &'a dyn View) -> Self {
        Self { base, reads: Mutex::default() }
    }

    pub fn into_reads(self) -> Reads {
        self.reads.into_inner()
    }
}

impl View for Traced<'_> {
    fn get(&self, key: &str) -> Option<Arc<Record>> {
        self.reads.lock().keys.push(key.to_owned());
        self.base.get(key)
    }

    fn scan(&self, prefix: &str) -> Vec<Arc<Record>> {
        self.reads.lock().prefixes.push(prefix.to_owned());
        self.base.scan(prefix)
    }

    fn is_pending(&self, key: &str) -> bool {
        self.reads.lock().keys.push(key.to_owned());
        self.base.is_pending(key)
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

    /// Whether a pending write changes what was read of the view below.
    pub fn changes(&self, reads: &Reads) -> bool {
        let under = |prefix: &String| {
            let next = self.pending.range(prefix.clone()..).next();
            next.is_some_and(|(key, _)| key.starts_with(prefix.as_str()))
        };
        reads.keys.iter().any(|key| self.pending.contains_key(key)) || reads.prefixes.iter().any(under)
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
        let pending = self.pending.range(prefix.to_string()..).take_while(|(key, _)| key.starts_with(prefix));
        let mut pending = pending.peekable();
        let mut found = Vec::new();
        for record in self.base.scan(prefix) {
            while let Some((_, new)) = pending.next_if(|(key, _)| ***key < *record.key) {
                found.extend(new.clone());
            }
            match pending.next_if(|(key, _)| ***key == *record.key) {
                Some((_, changed)) => found.extend(changed.clone()),
                None => found.push(record),
            }
        }
        found.extend(pending.filter_map(|(_, new)| new.clone()));
        found
    }

    fn is_pending(&self, key: &str) -> bool {
        self.pending.contains_key(key)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Stored(Vec<Arc<Record>>);

    impl View for Stored {
        fn get(&self, key: &str) -> Option<Arc<Record>> {
            self.0.iter().find(|record| &*record.key == key).cloned()
        }

        fn scan(&self, prefix: &str) -> Vec<Arc<Record>> {
            self.0.iter().filter(|record| record.key.starts_with(prefix)).cloned().collect()
        }
    }

    fn record(key: &str, revision: u64) -> Arc<Record> {
        let (value, envelope) = Default::default();
        Arc::new(Record { key: key.into(), value, created: 1, modified: revision, envelope })
    }

    #[test]
    fn pending_writes_take_their_place_in_a_scan() {
        let base = Stored(["/a/2", "/a/4", "/a/5", "/b/1"].map(|key| record(key, 1)).into());
        let mut overlay = Overlay::new(&base);
        for key in ["/a/1", "/a/3", "/a/4", "/a/6", "/b/0"] {
            overlay.put(record(key, 2));
        }
        overlay.delete("/a/5");
        overlay.delete("/a/7");
        let found: Vec<_> = overlay.scan("/a/").iter().map(|one| (one.key.to_string(), one.modified)).collect();
        for (key, prefix, changed) in [("/a/5", "/c/", true), ("/a/2", "/b/", true), ("/a/2", "/b/1", false)] {
            let traced = Traced::new(&base);
            let _ = (traced.get(key), traced.scan(prefix));
            assert_eq!(overlay.changes(&traced.into_reads()), changed, "{key} {prefix}");
        }
        let expected = [("/a/1", 2), ("/a/2", 1), ("/a/3", 2), ("/a/4", 2), ("/a/6", 2)];
        assert_eq!(found, expected.map(|(key, revision)| (key.to_owned(), revision)));
    }
}
