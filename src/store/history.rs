//! How much history a store keeps for watch resume and ranges at older revisions.

use super::{Revision, Store, StoreError};
use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

/// Bounds on the events kept. When one is exceeded, the oldest events go until three quarters of
/// both are left, as if compacted up to there: a watcher or range older than that gets
/// [`StoreError::Compacted`] and lists anew.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct History {
    /// Events over all buckets.
    pub events: usize,
    /// Bytes that only history keeps alive: replaced and deleted records, and bookkeeping.
    pub bytes: usize,
}

impl Default for History {
    /// 100,000 events, 32 MiB.
    fn default() -> Self {
        Self { events: 100_000, bytes: 32 << 20 }
    }
}

/// What history costs, by revision, oldest first: decides up to where to compact.
#[derive(Default)]
pub(super) struct Ledger {
    rows: VecDeque<(Revision, u32, u32)>,
    events: usize,
    bytes: usize,
}

impl Ledger {
    pub(super) fn add(&mut self, revision: Revision, bytes: usize) {
        let bytes = u32::try_from(bytes).unwrap_or(u32::MAX);
        self.events += 1;
        self.bytes += bytes as usize;
        match self.rows.back_mut() {
            Some((last, events, sum)) if *last == revision && sum.checked_add(bytes).is_some() => {
                *events += 1;
                *sum += bytes;
            }
            _ => self.rows.push_back((revision, 1, bytes)),
        }
    }

    pub(super) fn forget(&mut self, up_to: Revision) {
        while self.rows.front().is_some_and(|(revision, ..)| *revision <= up_to) {
            self.pop();
        }
    }

    /// The revision to compact at, if history has outgrown `limit`.
    pub(super) fn overflow(&mut self, limit: &History) -> Option<Revision> {
        if self.events <= limit.events && self.bytes <= limit.bytes {
            return None;
        }
        let mut cut = None;
        while self.events > limit.events / 4 * 3 || self.bytes > limit.bytes / 4 * 3 {
            match self.pop() {
                Some(revision) => cut = Some(revision),
                None => break,
            }
        }
        // The rest of a revision that took several rows goes with it.
        if let Some(revision) = cut {
            self.forget(revision);
        }
        cut
    }

    fn pop(&mut self) -> Option<Revision> {
        let (revision, events, bytes) = self.rows.pop_front()?;
        self.events -= events as usize;
        self.bytes -= bytes as usize;
        Some(revision)
    }
}

/// Compacts `store` forever so that history older than `window` goes (Kubernetes keeps five
/// minutes), until the store is closed. A failed compaction is tried again a window later.
pub async fn keep(store: Arc<dyn Store>, window: Duration) {
    let mut then = store.revision();
    loop {
        tokio::time::sleep(window).await;
        let now = store.revision();
        match store.compact(then).await {
            Err(StoreError::Closed) => return,
            Err(error) => tracing::warn!(%error, revision = then, "compacting the store failed; will try again"),
            Ok(()) => {}
        }
        then = now;
    }
}
