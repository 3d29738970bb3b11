//! Reads a store file into an image: the map as of the compacted revision, then the events since.

use super::disk::{DELETED, LOG, Place, SAME, read_meta};
use crate::api::meta::Envelope;
use crate::store::history::History;
use crate::store::image::Image;
use crate::store::{Event, Extract, Record, Revision};
use bytes::Bytes;
use redb::{Database, ReadableDatabase, ReadableTable};
use std::collections::{HashMap, VecDeque};
use std::sync::Arc;

/// Below this many entries, more threads cost more than they save.
const ALONE: usize = 2000;

pub(super) struct Loaded {
    pub(super) image: Image,
    pub(super) compacted: Revision,
    /// Entries that compaction passed but that were not removed before the last stop.
    pub(super) garbage: VecDeque<Place>,
}

struct Entry {
    revision: Revision,
    key: Arc<str>,
    flags: u8,
    created: Revision,
    value: Bytes,
    envelope: Arc<Envelope>,
}

pub(super) fn load(database: &Database, limit: History, extract: &Extract) -> Result<Loaded, redb::Error> {
    let compacted = match read_meta(database, "compacted")? {
        Some(bytes) => number(&bytes).ok_or_else(|| damaged("`compacted` is no revision"))?,
        None => 0,
    };
    let mut entries = read(database)?;
    envelopes(&mut entries, extract);
    let mut garbage = VecDeque::new();
    let mut map: HashMap<Arc<str>, Arc<Record>> = HashMap::with_capacity(entries.len());
    let mut entries = entries.into_iter().peekable();
    while let Some(entry) = entries.next_if(|entry| entry.revision <= compacted) {
        let (revision, key, deleted) = (entry.revision, entry.key.clone(), entry.flags & DELETED != 0);
        let previous = map.remove(&key);
        garbage.extend(previous.as_ref().map(|previous| (previous.modified, key.clone())));
        if deleted {
            garbage.push_back((revision, key));
        } else {
            map.insert(key, record(entry, None));
        }
    }
    let image = Image::load(limit, compacted, map.into_values());
    for entry in entries {
        let previous = image.get(&entry.key);
        let (revision, deleted) = (entry.revision, entry.flags & DELETED != 0);
        let record = record(entry, previous.as_deref());
        image.replay(Arc::new(Event { revision, record, previous, deleted }));
    }
    Ok(Loaded { image, compacted, garbage })
}

fn read(database: &Database) -> Result<Vec<Entry>, redb::Error> {
    let txn = database.begin_read()?;
    let log = txn.open_table(LOG)?;
    let mut entries = Vec::new();
    for entry in log.iter()? {
        let (place, body) = entry?;
        let (place, body) = (place.value(), body.value());
        let parsed = parse(place, body).ok_or_else(|| damaged(&format!("entry {} is malformed", entries.len())))?;
        entries.push(parsed);
    }
    Ok(entries)
}

fn parse(place: &[u8], body: &[u8]) -> Option<Entry> {
    let (revision, key) = place.split_at_checked(8)?;
    let (&flags, body) = body.split_first()?;
    let (created, value) = body.split_first_chunk::<8>()?;
    Some(Entry {
        revision: number(revision)?,
        key: std::str::from_utf8(key).ok()?.into(),
        flags,
        created: u64::from_le_bytes(*created),
        value: Bytes::copy_from_slice(value),
        envelope: Arc::default(),
    })
}

/// Parsing values takes longer than reading them: it is shared among the processors.
fn envelopes(entries: &mut [Entry], extract: &Extract) {
    let fill = |entries: &mut [Entry]| {
        for entry in entries.iter_mut().filter(|entry| entry.flags & DELETED == 0) {
            entry.envelope = Arc::new(extract(&entry.key, &entry.value));
        }
    };
    let threads = std::thread::available_parallelism().map_or(1, |n| n.get().min(8));
    if entries.len() < ALONE || threads == 1 {
        return fill(entries);
    }
    let share = entries.len().div_ceil(threads);
    std::thread::scope(|scope| entries.chunks_mut(share).for_each(|part| drop(scope.spawn(move || fill(part)))));
}

/// The record of an entry. A delete's has the envelope, and maybe the value, of what it removed.
fn record(entry: Entry, previous: Option<&Record>) -> Arc<Record> {
    let Entry { revision, key, flags, created, value, envelope } = entry;
    let (value, envelope) = match previous {
        Some(previous) if flags & SAME != 0 => (previous.value.clone(), previous.envelope.clone()),
        Some(previous) if flags & DELETED != 0 => (value.into(), previous.envelope.clone()),
        _ => (value.into(), envelope),
    };
    Arc::new(Record { key, value, created, modified: revision, envelope })
}

fn number(bytes: &[u8]) -> Option<u64> {
    Some(u64::from_be_bytes(bytes.try_into().ok()?))
}

fn damaged(what: &str) -> redb::Error {
    redb::Error::Corrupted(what.into())
}
