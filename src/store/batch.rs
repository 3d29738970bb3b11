//! Evaluates transactions, one after another, on top of an image they have not changed yet, so that
//! a backend can make several durable at once and publish them after.

use super::image::Image;
use super::{Committed, Event, Precondition, Record, Revision, StoreError, Txn, Write};
use bytes::Bytes;
use std::collections::HashMap;
use std::sync::Arc;

/// Transactions that hold in order, and their events, not visible to anyone yet.
///
/// Only the image's one writer may make drafts, and must apply or drop one before the next.
#[derive(Default, Clone)]
pub(super) struct Draft {
    pub(super) revision: Revision,
    pub(super) events: Vec<Arc<Event>>,
    /// What written keys hold after the transactions so far. `None`: deleted.
    pending: HashMap<Arc<str>, Option<Arc<Record>>>,
}

impl Draft {
    pub(super) fn new(image: &Image) -> Self {
        Self { revision: image.revision(), ..Self::default() }
    }

    /// Adds all of `txns`, each on top of the one before, or changes nothing.
    pub(super) fn add_all(&mut self, image: &Image, txns: Vec<Txn>) -> Result<Vec<Committed>, StoreError> {
        if txns.len() <= 1 {
            // One that fails changes nothing by itself.
            return txns.into_iter().map(|txn| self.add(image, txn)).collect();
        }
        let (mut tried, mut before, mut committed) = (self.clone(), 0, Vec::with_capacity(txns.len()));
        for txn in txns {
            let preconditions = txn.preconditions.len();
            committed.push(tried.add(image, txn).map_err(|error| match error {
                StoreError::Precondition { index, found } => StoreError::Precondition { index: before + index, found },
                error => error,
            })?);
            before += preconditions;
        }
        *self = tried;
        Ok(committed)
    }

    /// Adds `txn` if its preconditions hold after the transactions before it, else changes nothing.
    ///
    /// A transaction that changes nothing (no writes, or deletes of absent keys) takes no revision.
    /// A key written twice counts once, with its last write: one revision shows each key once.
    pub(super) fn add(&mut self, image: &Image, txn: Txn) -> Result<Committed, StoreError> {
        for (index, precondition) in txn.preconditions.iter().enumerate() {
            self.check(image, precondition).map_err(|found| StoreError::Precondition { index, found })?;
        }
        let revision = self.revision + 1;
        let first = self.events.len();
        let mut records = Vec::with_capacity(txn.writes.len());
        for write in txn.writes {
            records.push(self.write(image, revision, first, write));
        }
        if self.events.len() > first {
            self.revision = revision;
        }
        Ok(Committed { revision: self.revision, records })
    }

    fn look(&self, image: &Image, key: &str) -> Option<Arc<Record>> {
        match self.pending.get(key) {
            Some(pending) => pending.clone(),
            None => image.get(key),
        }
    }

    fn check(&self, image: &Image, precondition: &Precondition) -> Result<(), Option<Arc<Record>>> {
        let (found, holds) = match precondition {
            Precondition::ModifiedAt { key, revision } => {
                let found = self.look(image, key);
                let holds = found.as_ref().is_some_and(|record| record.modified == *revision);
                (found, holds)
            }
            Precondition::Absent { key } => {
                let found = self.look(image, key);
                let holds = found.is_none();
                (found, holds)
            }
            Precondition::Present { key } => {
                let found = self.look(image, key);
                let holds = found.is_some();
                (found, holds)
            }
            Precondition::StoreAt(revision) => (None, self.revision == *revision),
        };
        if holds { Ok(()) } else { Err(found) }
    }

    fn write(&mut self, image: &Image, revision: Revision, first: usize, write: Write) -> Option<Arc<Record>> {
        let (key, put) = match write {
            Write::Put { key, value, splice, envelope } => (key, Ok((value, splice, envelope))),
            Write::Delete { key, last } => (key, Err(last)),
        };
        let found = self.look(image, &key);
        // An earlier write of this transaction to the same key is replaced.
        let touched = self.pending.contains_key(&key);
        let place = || self.events[first..].iter().position(|event| event.record.key == key);
        let earlier = touched.then(place).flatten();
        let previous = match earlier {
            Some(index) => self.events.remove(first + index).previous.clone(),
            None => found.clone(),
        };
        let deleted = put.is_err();
        let record = match put {
            Ok((value, splice, envelope)) => {
                let value = spliced(value, splice, revision).into();
                let created = found.map_or(revision, |found| found.created);
                Arc::new(Record { key: key.clone(), value, created, modified: revision, envelope })
            }
            Err(last) => {
                let found = found?;
                let value = last.map_or_else(|| found.value.clone(), |(v, splice)| spliced(v, splice, revision).into());
                Arc::new(Record { value, modified: revision, ..Record::clone(&found) })
            }
        };
        self.pending.insert(key, (!deleted).then(|| record.clone()));
        // Created and deleted in one transaction: it never was.
        if previous.is_some() || !deleted {
            self.events.push(Arc::new(Event { revision, record: record.clone(), previous, deleted }));
        }
        Some(record)
    }
}

/// `value` with the revision's digits inserted at `splice`; a splice past the end is the end.
fn spliced(value: Bytes, splice: Option<usize>, revision: Revision) -> Bytes {
    let Some(at) = splice else { return value };
    let (head, tail) = value.split_at(at.min(value.len()));
    let digits = revision.to_string();
    let mut out = Vec::with_capacity(value.len() + digits.len());
    out.extend_from_slice(head);
    out.extend_from_slice(digits.as_bytes());
    out.extend_from_slice(tail);
    Bytes::from(out)
}
