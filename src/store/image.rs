//! The map in memory that every backend answers reads from: current records, the history behind
//! watches and older ranges, and the revision.
//!
//! One writer (the backend) applies durable events; readers share one lock that is held only for
//! pointer work. Values are never copied: records are shared with callers, lists and watchers.

use super::batch::Draft;
use super::history::{History, Ledger};
use super::{Event, Range, Record, Revision, StoreError, bucket_of};
use parking_lot::RwLock;
use std::collections::{BTreeMap, VecDeque};
use std::ops::Bound;
use std::sync::Arc;
use tokio::sync::Notify;

/// The half of a [`Store`](super::Store) that reads, for stores that keep their [`Image`] in a field
/// `image`.
macro_rules! reads_from_image {
    () => {
        fn get(&self, key: &str) -> Option<Arc<$crate::store::Record>> {
            self.image.get(key)
        }

        fn range(
            &self,
            prefix: &str,
            start: Option<&str>,
            at: Option<$crate::store::Revision>,
            limit: usize,
        ) -> Result<$crate::store::Range, $crate::store::StoreError> {
            self.image.range(prefix, start, at, limit)
        }

        fn watch(
            &self,
            prefix: &str,
            after: $crate::store::Revision,
        ) -> Result<Box<dyn $crate::store::Watch>, $crate::store::StoreError> {
            Ok(Box::new($crate::store::cursor::Cursor::new(self.image.clone(), prefix, after)?))
        }

        fn revision(&self) -> $crate::store::Revision {
            self.image.revision()
        }

        fn compacted(&self) -> $crate::store::Revision {
            self.image.compacted()
        }

        fn count(&self, prefix: &str) -> usize {
            self.image.count(prefix)
        }

        fn snapshot(&self) -> ($crate::store::Revision, Vec<Arc<$crate::store::Record>>) {
            self.image.snapshot()
        }
    };
}
pub(super) use reads_from_image;

/// Bookkeeping per kept event, beside the values it keeps alive: event, record and envelope.
const EVENT_OVERHEAD: usize = 256;

pub struct Image {
    state: RwLock<State>,
    limit: History,
}

#[derive(Default)]
pub(super) struct State {
    pub(super) revision: Revision,
    pub(super) compacted: Revision,
    pub(super) closed: bool,
    buckets: BTreeMap<Arc<str>, Bucket>,
    ledger: Ledger,
    /// Bytes of current values that could be packed.
    loose: usize,
}

/// The records of one resource and the events that led to them.
#[derive(Default)]
pub(super) struct Bucket {
    records: BTreeMap<Arc<str>, Arc<Record>>,
    pub(super) log: VecDeque<Arc<Event>>,
    /// Events that left the front of `log` so far: the sequence number of `log[0]`.
    pub(super) first: u64,
    pub(super) bell: Arc<Notify>,
}

/// The smallest string that is larger than every string with this prefix.
fn successor(prefix: &str) -> Option<String> {
    let mut chars: Vec<char> = prefix.chars().collect();
    while let Some(last) = chars.pop() {
        if let Some(next) = (last..=char::MAX).nth(1) {
            chars.push(next);
            return Some(chars.into_iter().collect());
        }
    }
    None
}

impl Image {
    pub fn new(limit: History) -> Self {
        Self { state: RwLock::default(), limit }
    }

    /// An image that holds `records` at `revision` and no history before it.
    pub fn load(limit: History, revision: Revision, records: impl IntoIterator<Item = Arc<Record>>) -> Self {
        let image = Self::new(limit);
        {
            let mut state = image.state.write();
            state.revision = revision;
            state.compacted = revision;
            for record in records {
                state.loose += loose(&record);
                let bucket = state.bucket(bucket_of(&record.key));
                bucket.records.insert(record.key.clone(), record);
            }
        }
        image
    }

    pub(super) fn read<T>(&self, look: impl FnOnce(&State) -> T) -> T {
        look(&self.state.read())
    }

    pub fn get(&self, key: &str) -> Option<Arc<Record>> {
        self.state.read().buckets.get(bucket_of(key))?.records.get(key).cloned()
    }

    pub fn revision(&self) -> Revision {
        self.state.read().revision
    }

    pub fn compacted(&self) -> Revision {
        self.state.read().compacted
    }

    pub fn count(&self, prefix: &str) -> usize {
        let state = self.state.read();
        let whole = state
            .buckets
            .range::<str, _>((Bound::Included(prefix), Bound::Unbounded))
            .take_while(|(name, _)| name.starts_with(prefix));
        let whole: usize = whole.map(|(_, bucket)| bucket.records.len()).sum();
        let name = bucket_of(prefix);
        let part = if name == prefix { None } else { state.buckets.get(name) };
        whole
            + part.map_or(0, |bucket| bucket.records.range::<str, _>(bounds(prefix, None, &successor(prefix))).count())
    }

    pub fn snapshot(&self) -> (Revision, Vec<Arc<Record>>) {
        let state = self.state.read();
        let mut records = Vec::with_capacity(state.buckets.values().map(|b| b.records.len()).sum());
        records.extend(state.buckets.values().flat_map(|bucket| bucket.records.values().cloned()));
        (state.revision, records)
    }

    /// See [`super::Store::range`].
    pub fn range(
        &self,
        prefix: &str,
        start: Option<&str>,
        at: Option<Revision>,
        limit: usize,
    ) -> Result<Range, StoreError> {
        let state = self.state.read();
        let at = at.unwrap_or(state.revision);
        state.check(at)?;
        let Some(bucket) = state.buckets.get(bucket_of(prefix)) else {
            return Ok(Range { revision: at, records: Vec::new(), more: false, total: 0 });
        };
        let end = successor(prefix);
        let bounds = bounds(prefix, start, &end);
        let undone = if at < state.revision { bucket.undone(at, bounds) } else { BTreeMap::new() };
        let limit = if limit == 0 { usize::MAX } else { limit };
        let (records, total) = if undone.is_empty() {
            let slice = bucket.records.range::<str, _>(bounds);
            let total = if start.is_none() && prefix.len() == bucket_of(prefix).len() {
                bucket.records.len()
            } else {
                slice.clone().count()
            };
            (slice.take(limit).map(|(_, record)| record.clone()).collect(), total)
        } else {
            bucket.past(bounds, &undone, limit)
        };
        Ok(Range { revision: at, more: total > Vec::len(&records), records, total })
    }

    /// Starts following `name`'s log after `after`: the sequence number to read next and the bell.
    pub(super) fn follow(&self, name: &str, after: Revision) -> Result<(u64, Arc<Notify>), StoreError> {
        let mut state = self.state.write();
        state.check(after)?;
        let bucket = state.bucket(name);
        let passed = bucket.log.partition_point(|event| event.revision <= after);
        Ok((bucket.first + passed as u64, bucket.bell.clone()))
    }

    /// Makes a durable draft visible and wakes the watchers it concerns. Returns the events that
    /// history limits dropped, so that their memory is freed, and a disk cleaned, outside the lock.
    pub(super) fn apply(&self, draft: Draft) -> Vec<Arc<Event>> {
        // In order: who is woken first must not be left to chance where a cluster is simulated.
        let mut bells: BTreeMap<Arc<str>, Arc<Notify>> = BTreeMap::new();
        let mut dropped = Vec::new();
        {
            let mut state = self.state.write();
            for event in draft.events {
                let name = bucket_of(&event.record.key);
                state.ledger.add(event.revision, history_bytes(&event));
                let bucket = state.bucket(name);
                if !bells.contains_key(name) {
                    bells.insert(name.into(), bucket.bell.clone());
                }
                let (more, less) = bucket.apply(event);
                state.loose = state.loose + more - less;
            }
            state.revision = draft.revision;
            if let Some(cut) = state.ledger.overflow(&self.limit) {
                state.compact(cut, &mut dropped);
            }
        }
        bells.values().for_each(|bell| bell.notify_waiters());
        dropped
    }

    /// Forgets events up to `revision`; returns them, see [`Image::apply`].
    pub fn compact(&self, revision: Revision) -> Result<Vec<Arc<Event>>, StoreError> {
        let mut dropped = Vec::new();
        let mut state = self.state.write();
        if revision > state.revision {
            return Err(StoreError::Future { requested: revision, current: state.revision });
        }
        state.ledger.forget(revision);
        state.compact(revision, &mut dropped);
        Ok(dropped)
    }

    /// Adds an event read back from disk, in revision order. Nobody watches yet.
    pub(super) fn replay(&self, event: Arc<Event>) {
        let mut state = self.state.write();
        state.ledger.add(event.revision, history_bytes(&event));
        state.revision = event.revision;
        let (more, less) = state.bucket(bucket_of(&event.record.key)).apply(event);
        state.loose = state.loose + more - less;
    }

    /// Bytes of current values that could be packed.
    pub(super) fn loose_bytes(&self) -> usize {
        self.state.read().loose
    }

    /// Out of the next `count` records from the key `from` on, those that could be packed and that history has
    /// passed since it was at `passed`; and the key to go on from, if there are more.
    pub(super) fn lying_still(
        &self,
        passed: Revision,
        from: Option<&str>,
        count: usize,
    ) -> (Vec<Arc<Record>>, Option<Arc<str>>) {
        let state = self.state.read();
        let from = from.unwrap_or_default();
        let buckets = state.buckets.range::<str, _>((Bound::Included(bucket_of(from)), Bound::Unbounded));
        let mut records = buckets.flat_map(|(_, bucket)| {
            bucket.records.range::<str, _>((Bound::Included(from), Bound::Unbounded)).map(|(_, record)| record)
        });
        let news = |revision| revision > passed && revision <= state.compacted;
        let still = |record: &&Arc<Record>| news(record.modified) && record.value.is_loose();
        let found = records.by_ref().take(count).filter(still).cloned().collect();
        (found, records.next().map(|next| next.key.clone()))
    }

    /// Puts records in the place of others that say the same, where those are still current.
    pub(super) fn exchange(&self, records: &[(Arc<Record>, Arc<Record>)]) {
        if records.is_empty() {
            return;
        }
        let mut state = self.state.write();
        for (old, new) in records {
            let Some(bucket) = state.buckets.get_mut(bucket_of(&old.key)) else { continue };
            let Some(current) = bucket.records.get_mut(&old.key).filter(|current| Arc::ptr_eq(current, old)) else {
                continue;
            };
            *current = new.clone();
            state.loose -= loose(old);
        }
    }

    /// Ends all watches after what they have not read yet.
    pub fn close(&self) {
        let mut state = self.state.write();
        state.closed = true;
        state.buckets.values().for_each(|bucket| bucket.bell.notify_waiters());
    }

    pub fn closed(&self) -> bool {
        self.state.read().closed
    }
}

impl State {
    pub(super) fn peek(&self, name: &str) -> Option<&Bucket> {
        self.buckets.get(name)
    }

    fn bucket(&mut self, name: &str) -> &mut Bucket {
        if !self.buckets.contains_key(name) {
            self.buckets.insert(name.into(), Bucket::default());
        }
        self.buckets.entry(name.into()).or_default()
    }

    /// Whether a range or watch may start at this revision.
    fn check(&self, at: Revision) -> Result<(), StoreError> {
        if at > self.revision {
            return Err(StoreError::Future { requested: at, current: self.revision });
        }
        if at < self.compacted {
            return Err(StoreError::Compacted { requested: at, oldest: self.compacted });
        }
        Ok(())
    }

    fn compact(&mut self, up_to: Revision, dropped: &mut Vec<Arc<Event>>) {
        self.compacted = self.compacted.max(up_to);
        for bucket in self.buckets.values_mut() {
            let gone = bucket.log.partition_point(|event| event.revision <= up_to);
            dropped.extend(bucket.log.drain(..gone));
            bucket.first += gone as u64;
            if bucket.log.capacity() > 64 && bucket.log.len() < bucket.log.capacity() / 4 {
                bucket.log.shrink_to_fit();
            }
        }
    }
}

impl Bucket {
    /// Returns by how many bytes there is more to pack, and less.
    fn apply(&mut self, event: Arc<Event>) -> (usize, usize) {
        let (before, more) = if event.deleted {
            (self.records.remove(&event.record.key), 0)
        } else {
            (self.records.insert(event.record.key.clone(), event.record.clone()), loose(&event.record))
        };
        self.log.push_back(event);
        (more, before.map_or(0, |before| loose(&before)))
    }

    /// What keys that changed after `at` held then: undoes events from the newest backwards, so the
    /// oldest event's `previous` stays. Costs only as much as has happened since.
    fn undone(&self, at: Revision, (low, high): (Bound<&str>, Bound<&str>)) -> BTreeMap<&str, Option<&Arc<Record>>> {
        let mut undone = BTreeMap::new();
        let newer = self.log.partition_point(|event| event.revision <= at);
        for event in self.log.range(newer..).rev() {
            let key: &str = &event.record.key;
            let inside = std::ops::RangeBounds::<str>::contains(&(low, high), key);
            if inside {
                undone.insert(key, event.previous.as_ref());
            }
        }
        undone
    }

    /// The records between the bounds with `undone` laid over them, and how many there are.
    fn past(
        &self,
        bounds: (Bound<&str>, Bound<&str>),
        undone: &BTreeMap<&str, Option<&Arc<Record>>>,
        limit: usize,
    ) -> (Vec<Arc<Record>>, usize) {
        let mut now = self.records.range::<str, _>(bounds).map(|(_, record)| record).peekable();
        let mut then = undone.iter().peekable();
        let (mut records, mut total) = (Vec::new(), 0);
        let mut take = |record: &Arc<Record>| {
            total += 1;
            if records.len() < limit {
                records.push(record.clone());
            }
        };
        loop {
            match (now.peek(), then.peek()) {
                (Some(record), Some((key, old))) if record.key.as_ref() >= **key => {
                    if record.key.as_ref() == **key {
                        now.next();
                    }
                    old.iter().for_each(|old| take(old));
                    then.next();
                }
                (Some(record), _) => {
                    take(record);
                    now.next();
                }
                (None, Some((_, old))) => {
                    old.iter().for_each(|old| take(old));
                    then.next();
                }
                (None, None) => return (records, total),
            }
        }
    }
}

fn bounds<'a>(prefix: &'a str, start: Option<&'a str>, end: &'a Option<String>) -> (Bound<&'a str>, Bound<&'a str>) {
    let low = start.map_or(prefix, |start| start.max(prefix));
    match end.as_deref() {
        // A start past the prefix leaves nothing; a map's range panics when low > high.
        Some(high) => (Bound::Included(low.min(high)), Bound::Excluded(high)),
        None => (Bound::Included(low), Bound::Unbounded),
    }
}

/// Bytes that packing could make less.
fn loose(record: &Record) -> usize {
    if record.value.is_loose() { record.value.len() } else { 0 }
}

/// What only this event keeps alive once its key moves on.
fn history_bytes(event: &Event) -> usize {
    let last = if event.deleted { event.record.value.len() } else { 0 };
    EVENT_OVERHEAD + last + event.previous.as_ref().map_or(0, |previous| previous.value.len())
}
