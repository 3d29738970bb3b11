//! Packs what lies still: records that history has passed take less memory from then on.
//!
//! A thread of its own looks through the image each time history was forgotten, and swaps records for packed ones.
//! Small stores stay as they are: reading what is packed takes a little longer.

use super::image::Image;
use super::{Record, Revision, bucket_of};
use crate::api::meta::Envelope;
use std::collections::HashMap;
use std::sync::mpsc::{Receiver, SyncSender, TrySendError, sync_channel};
use std::sync::{Arc, Weak};

/// Bytes of loose values from which on it is worth it.
const PLENTY: usize = 32 << 20;
/// Revisions that history has passed before it is worth another look.
const STEP: u64 = 1024;
/// Records looked at under one lock.
const SLICE: usize = 512;
/// Families that are remembered.
const FAMILIES: usize = 4096;
/// So many that are not like their family's base in a row, and it gets another.
const STRANGERS: u32 = 64;

/// Wakes the thread; it ends when this is dropped.
pub(super) struct Bell(SyncSender<()>);

impl Bell {
    pub(super) fn ring(&self) {
        match self.0.try_send(()) {
            Ok(()) | Err(TrySendError::Full(()) | TrySendError::Disconnected(())) => {}
        }
    }
}

/// Starts the thread, which looks through the image once at first.
pub(super) fn start(image: Arc<Image>) -> std::io::Result<Bell> {
    let (sender, bell) = sync_channel(1);
    let rings = Bell(sender);
    rings.ring();
    std::thread::Builder::new().name("selkie-packing".into()).spawn(move || run(&image, &bell))?;
    Ok(rings)
}

fn run(image: &Image, bell: &Receiver<()>) {
    let mut packer = Packer::default();
    while bell.recv().is_ok() {
        if image.compacted() >= packer.passed + STEP {
            packer.look_through(image, PLENTY);
        }
    }
}

/// Records that are alike.
enum Family {
    /// The only one so far. It stays as it is: alone it would gain nothing.
    First(Weak<Record>),
    Many(Base),
}

/// What records of a family are packed by.
struct Base {
    value: Weak<[u8]>,
    envelope: Arc<Envelope>,
    strangers: u32,
}

impl Family {
    fn is_alive(&self) -> bool {
        match self {
            Self::First(record) => record.strong_count() > 0,
            Self::Many(base) => base.value.strong_count() > 0,
        }
    }
}

/// Others may be like this one, which stays as it is.
fn begin(family: &mut Family, record: &Arc<Record>) -> Option<Arc<Record>> {
    *family = Family::First(Arc::downgrade(record));
    None
}

/// Has the same in memory once.
fn share<T: PartialEq>(one: &mut Arc<T>, known: &Arc<T>) {
    if *one == *known {
        *one = known.clone();
    }
}

#[derive(Default)]
pub(super) struct Packer {
    /// By bucket and the uid of the controller: what one of them made is alike.
    families: HashMap<(Box<str>, Box<str>), Family>,
    /// Where history was at the last look: what lay still then has had its turn.
    passed: Revision,
    scratch: Vec<u8>,
}

impl Packer {
    /// Packs what lies still, if there is more than `plenty` of it.
    pub(super) fn look_through(&mut self, image: &Image, plenty: usize) {
        if image.loose_bytes() < plenty {
            return;
        }
        let compacted = image.compacted();
        let mut from = None;
        while !image.closed() {
            let (still, next) = image.lying_still(self.passed, from.as_deref(), SLICE);
            let packed: Vec<_> = still
                .into_iter()
                .filter_map(|record| Some((self.pack(&record)?, record)))
                .map(|(new, old)| (old, new))
                .collect();
            // What is replaced is freed outside the lock.
            image.exchange(&packed);
            match next {
                Some(next) => from = Some(next),
                None => {
                    self.passed = compacted;
                    return;
                }
            }
        }
    }

    fn pack(&mut self, record: &Arc<Record>) -> Option<Arc<Record>> {
        let family = record.envelope.controller().map_or("", |owner| &owner.uid);
        let name = (Box::from(bucket_of(&record.key)), Box::from(family));
        if self.families.len() >= FAMILIES {
            self.families.retain(|_, family| family.is_alive());
            if self.families.len() >= FAMILIES {
                self.families.clear();
            }
        }
        let family = self.families.entry(name).or_insert_with(|| Family::First(Weak::new()));
        let (base, like) = match family {
            Family::First(first) => match first.upgrade() {
                Some(first) => (Arc::from(&first.value.bytes()[..]), first.envelope.clone()),
                None => return begin(family, record),
            },
            Family::Many(base) => match base.value.upgrade() {
                Some(value) if base.strangers < STRANGERS => (value, base.envelope.clone()),
                _ => return begin(family, record),
            },
        };
        let Some(value) = record.value.pack(&base, &mut self.scratch) else {
            match family {
                Family::First(_) => return begin(family, record),
                Family::Many(base) => base.strangers += 1,
            }
            return None;
        };
        let mut envelope = Envelope::clone(&record.envelope);
        share(&mut envelope.labels, &like.labels);
        share(&mut envelope.owner_references, &like.owner_references);
        *family = Family::Many(Base { value: Arc::downgrade(&base), envelope: like, strangers: 0 });
        Some(Arc::new(Record { value, envelope: Arc::new(envelope), ..Record::clone(record) }))
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::api::meta::OwnerReference;
    use crate::store::history::History;
    use crate::store::memory::Memory;
    use crate::store::{Store, Txn, Value, Write};
    use bytes::Bytes;

    fn pod(number: usize, owner: &str) -> String {
        let common =
            "\"spec\":{\"containers\":[{\"name\":\"service\",\"image\":\"registry.example.com/team/service\"}]}";
        format!("{{\"metadata\":{{\"name\":\"{owner}-{number}\"}},{}{common}}}", "\"more\":\"of the same\",".repeat(20))
    }

    fn put(number: usize, owner: &str) -> Write {
        let owners = vec![OwnerReference { uid: owner.into(), controller: true, ..OwnerReference::default() }];
        let envelope = Arc::new(Envelope { owner_references: owners.into(), ..Envelope::default() });
        let key = format!("/pods./n/{owner}-{number}").into();
        Write::Put { key, value: pod(number, owner).into(), splice: None, envelope }
    }

    fn record(value: Value) -> Arc<Record> {
        let envelope = Arc::default();
        Arc::new(Record { key: "/pods./n/a".into(), value, created: 1, modified: 1, envelope })
    }

    #[test]
    fn what_is_packed_is_what_it_was() {
        let mut packer = Packer::default();
        let first = record(pod(0, "a").into());
        assert!(packer.pack(&first).is_none(), "alone it would gain nothing");
        let mut kept = Vec::new();
        for number in 1..100 {
            let before = record(pod(number, "a").into());
            let after = packer.pack(&before).unwrap();
            assert!(after.value.packed_len().unwrap() < 60, "{:?}", after.value.packed_len());
            assert_eq!(after.value.bytes(), before.value.bytes());
            assert_eq!((after.value.len(), &after.value), (before.value.len(), &before.value));
            assert!(!after.value.is_loose());
            // What others are packed by is there as long as one of them is.
            kept.push(after);
        }
        assert!(!Value::from("{}").is_loose());
    }

    #[test]
    fn what_is_like_nothing_stays() {
        use rand::{Rng, SeedableRng};
        let mut random = rand::rngs::StdRng::seed_from_u64(7);
        let mut packer = Packer::default();
        let mut noise = || {
            let mut bytes = vec![0; 1000];
            random.fill_bytes(&mut bytes);
            record(Value::from(Bytes::from(bytes)))
        };
        // The first may be what others are like, and keeps nothing but itself.
        packer.pack(&noise());
        (0..200).for_each(|_| _ = packer.pack(&noise()));
        assert_eq!(packer.pack(&record(Bytes::from(vec![0; 100 << 10]).into())).map(|_| ()), None);
    }

    #[tokio::test]
    async fn what_changes_is_left_alone_and_what_lies_still_reads_as_before() {
        let image = Image::new(History::default());
        let image = Arc::new(image);
        let store = Memory::of(image.clone());
        let commit = async |write| store.commit(Txn { preconditions: Vec::new(), writes: vec![write] }).await.unwrap();
        for number in 0..40 {
            commit(put(number, if number % 2 == 0 { "a" } else { "b" })).await;
        }
        let mut watch = store.watch("/pods./", 30).unwrap();
        store.compact(30).await.unwrap();
        let before = store.snapshot().1;
        let mut packer = Packer::default();
        packer.look_through(&image, usize::MAX);
        assert!(store.snapshot().1.iter().all(|record| record.value.is_loose()), "there is little");
        packer.look_through(&image, 0);
        let after = store.snapshot().1;
        let first = |record: &Record| ["/pods./n/a-0", "/pods./n/b-1"].contains(&&*record.key);
        for (before, after) in before.iter().zip(&after) {
            assert_eq!((&before.key, &before.value, before.modified), (&after.key, &after.value, after.modified));
            assert_eq!(after.value.is_loose(), after.modified > 30 || first(after), "{}", after.key);
            assert_eq!(before.envelope, after.envelope);
        }
        let (again, _) = image.lying_still(packer.passed, None, usize::MAX);
        assert!(again.is_empty(), "what could not be packed is not looked at for ever");
        assert_eq!(watch.next().await.unwrap().len(), 10);
        let loose = image.loose_bytes();
        commit(put(2, "a")).await;
        assert_eq!(image.loose_bytes(), loose + pod(2, "a").len());
        let event = watch.next().await.unwrap().remove(0);
        assert_eq!(event.previous.as_ref().unwrap().value, event.record.value);
        for number in 0..40 {
            let key = format!("/pods./n/{}-{number}", if number % 2 == 0 { "a" } else { "b" }).into();
            commit(Write::Delete { key, last: None }).await;
        }
        assert_eq!(image.loose_bytes(), 0);
    }
}
