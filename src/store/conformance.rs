//! One suite for every backend: what [`super::Store`] promises, checked on memory and on redb.
#![allow(clippy::unwrap_used)]

mod concurrency;
mod ranges;
mod transactions;
mod watches;

use super::memory::Memory;
use super::redb::Redb;
use super::{Committed, Event, Extract, Record, Store, StoreError, Txn, Watch, Write};
use crate::api::meta::Envelope;
use bytes::Bytes;
use std::sync::Arc;

/// A store and what keeps it alive.
struct Rig {
    store: Arc<dyn Store>,
    _dir: Option<tempfile::TempDir>,
}

fn memory() -> Rig {
    Rig { store: Memory::new(), _dir: None }
}

fn redb() -> Rig {
    let dir = tempfile::tempdir().unwrap();
    let store = Redb::open(dir.path().join("store.redb"), named()).unwrap();
    Rig { store, _dir: Some(dir) }
}

/// Envelopes as [`put`] makes them: the name is the key's last part.
pub(super) fn named() -> Extract {
    Arc::new(|key, _| Envelope { name: key.rsplit('/').next().unwrap_or_default().into(), ..Envelope::default() })
}

/// Runs each named test on every backend.
macro_rules! on_every_backend {
    ($($name:ident),+ $(,)?) => {
        mod memory {
            $(#[tokio::test] async fn $name() { super::$name(crate::store::conformance::memory()).await })+
        }
        mod redb {
            $(#[tokio::test] async fn $name() { super::$name(crate::store::conformance::redb()).await })+
        }
    };
}
use on_every_backend;

pub(super) fn put(key: &str, body: &str) -> Write {
    Write::Put {
        key: key.into(),
        value: Bytes::copy_from_slice(body.as_bytes()),
        splice: None,
        envelope: Arc::new(Envelope { name: key.rsplit('/').next().unwrap().into(), ..Envelope::default() }),
    }
}

pub(super) fn delete(key: &str) -> Write {
    Write::Delete { key: key.into(), last: None }
}

pub(super) fn txn(writes: Vec<Write>) -> Txn {
    Txn { preconditions: Vec::new(), writes }
}

impl Rig {
    async fn commit(&self, writes: Vec<Write>) -> Committed {
        self.store.commit(txn(writes)).await.unwrap()
    }

    fn keys_at(&self, prefix: &str, at: Option<u64>) -> Vec<String> {
        names(&self.store.range(prefix, None, at, 0).unwrap().records)
    }
}

/// `key=value@modified`, the whole record on one line.
pub(super) fn line(record: &Record) -> String {
    format!("{}={}@{}", record.key, String::from_utf8_lossy(&record.value.bytes()), record.modified)
}

fn names(records: &[Arc<Record>]) -> Vec<String> {
    records.iter().map(|record| line(record)).collect()
}

/// `revision +|~|- record`.
pub(super) fn event_line(event: &Event) -> String {
    let sign = match (event.deleted, &event.previous) {
        (true, _) => '-',
        (false, None) => '+',
        (false, Some(_)) => '~',
    };
    format!("{} {sign} {}", event.revision, line(&event.record))
}

async fn next(watch: &mut Box<dyn Watch>) -> Vec<String> {
    watch.next().await.unwrap().iter().map(|event| event_line(event)).collect()
}

fn failed(result: Result<Committed, StoreError>) -> (usize, Option<String>) {
    match result.unwrap_err() {
        StoreError::Precondition { index, found } => (index, found.map(|record| line(&record))),
        other => panic!("expected a failed precondition, got {other}"),
    }
}
