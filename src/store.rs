//! Bytes and revisions: the durable, watchable map everything lives in. Knows no kinds.
//!
//! Promises, held by every backend and checked by one conformance suite:
//!
//! - One revision counter; a committed transaction has exactly one revision, larger than any before.
//! - [`Store::commit`] returns only after the transaction is durable (as far as the backend can be).
//!   It is all or nothing: a failed precondition writes nothing.
//! - [`Store::commit_all`] makes several transactions one: each has its own revision, one after the other,
//!   and either all of them are durable or none is; no reader sees some of them only.
//! - Watchers see every event of their prefix, once, in revision order, and never before the
//!   transaction is durable.
//! - A watch or range at a revision older than the compacted one answers [`StoreError::Compacted`].
//!
//! What lies still is packed in memory once there is much of it ([`Value`]); nobody who reads sees a difference.
//!
//! Keys are `/{resource}.{group}/{namespace}/{name}` ([`key`]); the part up to the second slash is
//! the *bucket*: watches and ranges stay within one.

mod batch;
mod cursor;
pub mod history;
mod image;
pub mod memory;
mod packing;
pub mod redb;
mod value;

#[cfg(test)]
mod conformance;

pub use value::Value;

use crate::api::meta::Envelope;
use async_trait::async_trait;
use bytes::Bytes;
use std::sync::Arc;

/// A position in the store's history. 0 is before everything.
pub type Revision = u64;

/// One stored object at one revision. Immutable and shared by cache, lists and watchers.
#[derive(Debug, Clone)]
pub struct Record {
    pub key: Arc<str>,
    /// The object as it is served: JSON with `metadata.resourceVersion` set to `modified`.
    pub value: Value,
    pub created: Revision,
    pub modified: Revision,
    /// What selectors and controllers need without parsing `value`.
    pub envelope: Arc<Envelope>,
}

/// One write of a transaction.
#[derive(Debug, Clone)]
pub enum Write {
    /// Create or replace. The revision's decimal digits are inserted into `value` at `splice`
    /// (a byte offset, normally between the quotes of `"resourceVersion":""`), so that the stored
    /// bytes are exactly the bytes served. `None` stores the value as it is.
    Put { key: Arc<str>, value: Bytes, splice: Option<usize>, envelope: Arc<Envelope> },
    /// Remove; the event carries `last` if given (an object's last state), else the stored record.
    Delete { key: Arc<str>, last: Option<(Bytes, Option<usize>)> },
}

/// What must hold when the transaction is applied.
#[derive(Debug, Clone)]
pub enum Precondition {
    /// The key's `modified` revision is exactly this.
    ModifiedAt {
        key: Arc<str>,
        revision: Revision,
    },
    Absent {
        key: Arc<str>,
    },
    Present {
        key: Arc<str>,
    },
    /// The store's current revision is exactly this (a plan bound to a revision).
    StoreAt(Revision),
}

/// Preconditions and writes, applied all or nothing at one revision.
#[derive(Debug, Clone, Default)]
pub struct Txn {
    pub preconditions: Vec<Precondition>,
    pub writes: Vec<Write>,
}

/// What a commit did: its revision, and for each write of the transaction, in order, the record it
/// left (`Put`) or removed (`Delete`; `None` if there was nothing).
#[derive(Debug, Clone)]
pub struct Committed {
    pub revision: Revision,
    pub records: Vec<Option<Arc<Record>>>,
}

/// A change of one key.
#[derive(Debug, Clone)]
pub struct Event {
    pub revision: Revision,
    /// The new record; for a delete, the last state with `modified` = `revision`.
    pub record: Arc<Record>,
    /// The record this one replaced or removed.
    pub previous: Option<Arc<Record>>,
    pub deleted: bool,
}

/// A consistent slice of the map.
#[derive(Debug, Clone)]
pub struct Range {
    /// The revision the slice shows.
    pub revision: Revision,
    pub records: Vec<Arc<Record>>,
    /// More keys follow after the limit.
    pub more: bool,
    /// Keys in the range from the start key on, the returned ones included.
    pub total: usize,
}

#[derive(Debug, Clone, thiserror::Error)]
pub enum StoreError {
    /// The index of the first precondition that failed and the record found there.
    #[error("precondition {index} failed")]
    Precondition { index: usize, found: Option<Arc<Record>> },
    #[error("revision {requested} is compacted; the oldest kept is {oldest}")]
    Compacted { requested: Revision, oldest: Revision },
    #[error("revision {requested} is in the future; the current one is {current}")]
    Future { requested: Revision, current: Revision },
    /// The backend could not make the write durable (disk full, I/O error). Nothing was applied.
    #[error("the store cannot write: {0}")]
    Unavailable(Arc<str>),
    #[error("the store is closed")]
    Closed,
}

/// A stream of events of one bucket, in revision order, ended by an error or [`StoreError::Closed`].
#[async_trait]
pub trait Watch: Send {
    /// Waits for the next events: at least one, at most what is there (a batch never splits a
    /// revision). Cancel-safe.
    async fn next(&mut self) -> Result<Vec<Arc<Event>>, StoreError>;
    /// Every event of the bucket up to this revision has been returned by `next`.
    fn position(&self) -> Revision;
}

/// The map. All methods but `commit` answer from memory and do not block on I/O.
#[async_trait]
pub trait Store: Send + Sync + 'static {
    /// Applies `txn` and returns when it is durable.
    async fn commit(&self, txn: Txn) -> Result<Committed, StoreError> {
        let committed = self.commit_all(vec![txn]).await?;
        committed.into_iter().next().ok_or(StoreError::Closed)
    }
    /// Applies transactions one on top of the other, all or none, and returns when all are durable. The index of
    /// a failed precondition counts those of all transactions, in order.
    async fn commit_all(&self, txns: Vec<Txn>) -> Result<Vec<Committed>, StoreError>;
    /// The newest durable record.
    fn get(&self, key: &str) -> Option<Arc<Record>>;
    /// Records whose key starts with `prefix` and is `>= start` (if given), in key order, at `at`
    /// (default: now), at most `limit` (0: all).
    fn range(&self, prefix: &str, start: Option<&str>, at: Option<Revision>, limit: usize)
    -> Result<Range, StoreError>;
    /// Events of `prefix` (at least a whole bucket) with a revision greater than `after`.
    fn watch(&self, prefix: &str, after: Revision) -> Result<Box<dyn Watch>, StoreError>;
    /// The newest durable revision.
    fn revision(&self) -> Revision;
    /// The oldest revision that ranges and watches can still start after.
    fn compacted(&self) -> Revision;
    /// Forgets history up to `revision`; current records stay.
    async fn compact(&self, revision: Revision) -> Result<(), StoreError>;
    /// Number of current records whose key starts with `prefix`.
    fn count(&self, prefix: &str) -> usize;
    /// All current records: the snapshot a plan forks from.
    fn snapshot(&self) -> (Revision, Vec<Arc<Record>>);
    /// Finishes what is queued and refuses more. Idempotent.
    async fn close(&self);
}

/// Reads a stored value's envelope when a backend loads it from disk.
pub type Extract = Arc<dyn Fn(&str, &[u8]) -> Envelope + Send + Sync>;

/// `/{resource}.{group}/{namespace}/{name}`; `namespace` is empty for cluster-scoped resources,
/// and the core group's keys read `/pods./default/web`.
pub fn key(group: &str, resource: &str, namespace: &str, name: &str) -> String {
    format!("/{resource}.{group}/{namespace}/{name}")
}

/// The bucket of a key: up to and including its second slash.
pub fn bucket_of(key: &str) -> &str {
    match key.match_indices('/').nth(1) {
        Some((at, _)) => &key[..=at],
        None => key,
    }
}

/// The bucket of a resource: `/{resource}.{group}/`.
pub fn bucket(group: &str, resource: &str) -> String {
    format!("/{resource}.{group}/")
}
