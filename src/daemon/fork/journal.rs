//! What happened to pods, as the store saw it.

use crate::store::{Event, Revision, Store, StoreError, bucket};
use parking_lot::Mutex;
use std::sync::Arc;
use std::time::Duration;
use tokio::time::Instant;

/// A change of a pod, and how long after the change set it came.
#[derive(Clone)]
pub struct Entry {
    pub at: Duration,
    pub event: Arc<Event>,
}

/// Filled in the background, in the order of revisions.
#[derive(Clone, Default)]
pub struct Journal(Arc<Mutex<Vec<Entry>>>);

impl Journal {
    /// Follows the pods of `store` from after `revision` on.
    pub fn follow(store: &dyn Store, revision: Revision) -> Result<Self, StoreError> {
        let mut watch = store.watch(&bucket("", "pods"), revision)?;
        let (journal, begun) = (Self::default(), Instant::now());
        let entries = journal.0.clone();
        tokio::spawn(async move {
            while let Ok(events) = watch.next().await {
                let at = begun.elapsed();
                entries.lock().extend(events.into_iter().map(|event| Entry { at, event }));
            }
        });
        Ok(journal)
    }

    pub fn entries(&self) -> Vec<Entry> {
        self.0.lock().clone()
    }
}
