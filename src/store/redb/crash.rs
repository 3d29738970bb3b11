//! Crashes, full disks, damage, a second process: what was acknowledged stays, nothing is half done.
#![allow(clippy::unwrap_used)]

use super::faulty::Faulty;
use super::*;
use crate::store::Write;
use crate::store::conformance::{delete, event_line, line, named, put, txn};
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use std::collections::BTreeMap;

/// Small, so that trimming happens during the tests too.
const LIMIT: History = History { events: 40, bytes: 1 << 20 };

fn open(disk: &Faulty) -> Result<Arc<Redb>, OpenError> {
    Redb::open_with(disk.disk(), LIMIT, named())
}

fn contents(store: &Redb) -> Vec<String> {
    store.snapshot().1.iter().map(|record| line(record)).collect()
}

/// The store after a restart, with all that it held.
async fn reopened(disk: &Faulty, store: Arc<Redb>) -> Arc<Redb> {
    let before = contents(&store);
    store.close().await;
    let store = open(disk).unwrap();
    assert_eq!(contents(&store), before);
    store
}

/// The map a history of transactions must lead to, kept as plainly as possible.
#[derive(Clone, Default, PartialEq, Debug)]
struct Model {
    revision: u64,
    map: BTreeMap<String, String>,
}

impl Model {
    fn after(&self, writes: &[Write]) -> Model {
        let mut next = self.clone();
        next.revision += 1;
        for write in writes {
            match write {
                Write::Put { key, value, .. } => {
                    let value = format!("{key}={}@{}", String::from_utf8_lossy(value), next.revision);
                    next.map.insert(key.to_string(), value);
                }
                Write::Delete { key, .. } => drop(next.map.remove(&**key)),
            }
        }
        next
    }

    fn of(store: &Redb) -> Model {
        let map = store.snapshot().1.iter().map(|record| (record.key.to_string(), line(record))).collect();
        Model { revision: store.revision(), map }
    }
}

/// Some puts, and some deletes of what is there.
fn random_writes(random: &mut StdRng, model: &Model) -> Vec<Write> {
    let mut writes = BTreeMap::new();
    for _ in 0..random.random_range(1..6) {
        let key = format!("/a./n/{}", random.random_range(0..20));
        let body = "x".repeat(random.random_range(1..3000));
        let write =
            if model.map.contains_key(&key) && random.random_bool(0.3) { delete(&key) } else { put(&key, &body) };
        writes.insert(key, write);
    }
    writes.into_values().collect()
}

/// Commits until the power goes; returns what was acknowledged and what was on its way.
async fn run_until_dark(store: &Redb, random: &mut StdRng, mut acknowledged: Model) -> (Model, Model) {
    for n in 0..200 {
        let writes = random_writes(random, &acknowledged);
        let mut next = acknowledged.after(&writes);
        let mut txns = vec![txn(writes)];
        if random.random_bool(0.3) {
            let more = random_writes(random, &next);
            next = next.after(&more);
            txns.push(txn(more));
        }
        match store.commit_all(txns).await {
            Ok(committed) => assert_eq!(committed.last().unwrap().revision, next.revision),
            Err(StoreError::Unavailable(_)) => return (acknowledged, next),
            Err(other) => panic!("{other}"),
        }
        acknowledged = next;
        if n % 17 == 16 && store.compact(acknowledged.revision - 5).await.is_err() {
            return (acknowledged.clone(), acknowledged);
        }
    }
    (acknowledged.clone(), acknowledged)
}

#[tokio::test]
async fn power_loss_keeps_what_was_acknowledged_and_halves_nothing() {
    for seed in 0..60 {
        let mut random = StdRng::seed_from_u64(seed);
        let mut disk = Faulty::default();
        let mut model = Model::default();
        for crash in 0..3 {
            let store = open(&disk).unwrap_or_else(|error| panic!("seed {seed}, crash {crash}: {error}"));
            disk.cut_power_after(random.random_range(0..300));
            let (acknowledged, in_flight) = run_until_dark(&store, &mut random, model).await;
            disk.cut_power_after(0);
            drop(store);
            disk = disk.after_power_loss(random.random());
            let store = open(&disk).unwrap_or_else(|error| panic!("seed {seed}, crash {crash}: {error}"));
            model = Model::of(&store);
            assert!(model == acknowledged || model == in_flight, "seed {seed}, crash {crash}");
            check_history(&store, &model).await;
        }
    }
}

#[tokio::test]
async fn power_loss_while_the_file_is_opened_loses_nothing() {
    for seed in 0..60 {
        let mut random = StdRng::seed_from_u64(seed);
        let mut disk = Faulty::default();
        let mut model = Model::default();
        // A new file gets its name when it is whole: the first open needs no power loss.
        open(&disk).unwrap().close().await;
        for crash in 0..6 {
            let at = format!("seed {seed}, crash {crash}");
            disk.cut_power_after(random.random_range(0..12));
            if let Ok(store) = open(&disk) {
                let (acknowledged, in_flight) = run_until_dark(&store, &mut random, model.clone()).await;
                disk.cut_power_after(0);
                drop(store);
                disk = disk.after_power_loss(random.random());
                let store = open(&disk).unwrap_or_else(|error| panic!("{at}: {error}"));
                model = Model::of(&store);
                assert!(model == acknowledged || model == in_flight, "{at}");
            } else {
                disk = disk.after_power_loss(random.random());
                let store = open(&disk).unwrap_or_else(|error| panic!("{at}, opened after an open: {error}"));
                assert_eq!(Model::of(&store), model, "{at}");
                let writes = random_writes(&mut random, &model);
                model = model.after(&writes);
                store.commit(txn(writes)).await.unwrap();
                // Pulled without closing, so that the next open has something to repair.
                disk.cut_power_after(0);
                drop(store);
                disk = disk.after_power_loss(random.random());
            }
        }
    }
}

/// The history that survived leads from the oldest kept map to the current one.
async fn check_history(store: &Redb, model: &Model) {
    let oldest = store.range("/a./", None, Some(store.compacted()), 0).unwrap();
    let mut map: BTreeMap<String, String> = oldest.records.iter().map(|r| (r.key.to_string(), line(r))).collect();
    let mut watch = store.watch("/a./", store.compacted()).unwrap();
    while watch.position() < model.revision {
        for event in watch.next().await.unwrap() {
            let before = event.previous.as_ref().map(|previous| line(previous));
            let key = event.record.key.to_string();
            let replaced = if event.deleted { map.remove(&key) } else { map.insert(key, line(&event.record)) };
            assert_eq!(replaced, before);
        }
    }
    assert_eq!(map, model.map);
}

#[tokio::test]
async fn history_survives_a_restart() {
    let disk = Faulty::default();
    let store = open(&disk).unwrap();
    let last = Write::Delete { key: "/a./n/2".into(), last: Some((bytes::Bytes::from_static(b"last"), None)) };
    for writes in [vec![put("/a./n/1", "x"), put("/a./n/2", "y")], vec![put("/a./n/1", "z")], vec![last]] {
        store.commit(txn(writes)).await.unwrap();
    }
    store.commit(txn(vec![delete("/a./n/1")])).await.unwrap();
    store.close().await;
    let store = open(&disk).unwrap();
    let events = store.watch("/a./", 1).unwrap().next().await.unwrap();
    let lines: Vec<String> = events.iter().map(|event| event_line(event)).collect();
    assert_eq!(lines, ["2 ~ /a./n/1=z@2", "3 - /a./n/2=last@3", "4 - /a./n/1=z@4"]);
    assert_eq!(events[2].record.envelope.name, "1");
    store.compact(4).await.unwrap();
    store.close().await;
    let store = open(&disk).unwrap();
    assert_eq!((store.revision(), store.compacted(), store.count("")), (4, 4, 0));
    assert!(matches!(store.watch("/a./", 3), Err(StoreError::Compacted { requested: 3, oldest: 4 })));
    assert_eq!(store.commit(txn(vec![put("/a./n/1", "new")])).await.unwrap().revision, 5);
}

#[tokio::test]
async fn a_full_disk_refuses_writes_serves_reads_and_recovers() {
    let disk = Faulty::default();
    let store = open(&disk).unwrap();
    let big = "x".repeat(10_000);
    disk.set_capacity(Some(disk.len() + 200_000));
    let mut stored = 0;
    let error = loop {
        match store.commit(txn(vec![put(&format!("/a./n/{stored}"), &big)])).await {
            Ok(_) => stored += 1,
            Err(error) => break error,
        }
    };
    assert!(matches!(&error, StoreError::Unavailable(reason) if reason.contains("faulty.redb")), "{error}");
    let again = store.commit(txn(vec![put("/a./n/more", &big)])).await;
    assert!(matches!(again, Err(StoreError::Unavailable(_))));
    assert_eq!((store.revision(), store.count("/a./")), (stored, usize::try_from(stored).unwrap()));
    assert!(store.get("/a./n/0").is_some());
    // A restart on the full disk still reads.
    let store = reopened(&disk, store).await;
    let mut watch = store.watch("/a./", store.compacted()).unwrap();
    let kept = store.compacted();
    disk.set_capacity(None);
    assert_eq!(store.commit(txn(vec![put("/a./n/after", "v")])).await.unwrap().revision, stored + 1);
    let mut seen = 0;
    while watch.position() <= stored {
        seen += watch.next().await.unwrap().len() as u64;
    }
    assert_eq!(kept + seen, stored + 1);
    reopened(&disk, store).await;
}

#[tokio::test]
async fn what_a_failed_sync_left_behind_is_taken_back() {
    let disk = Faulty::default();
    let store = open(&disk).unwrap();
    store.commit(txn(vec![put("/a./n/1", "x")])).await.unwrap();
    disk.set_sync_fails(true);
    let failed = store.commit(txn(vec![put("/a./n/1", "never"), put("/a./n/2", "never")])).await;
    assert!(matches!(failed, Err(StoreError::Unavailable(_))));
    disk.set_sync_fails(false);
    assert_eq!(store.commit(txn(vec![put("/a./n/3", "y")])).await.unwrap().revision, 2);
    assert_eq!(contents(&store), ["/a./n/1=x@1", "/a./n/3=y@2"]);
    reopened(&disk, store).await;
}

#[tokio::test]
async fn a_damaged_file_is_reported_not_trusted() {
    let disk = Faulty::default();
    let store = open(&disk).unwrap();
    for n in 0..50 {
        store.commit(txn(vec![put(&format!("/a./n/{n}"), &"x".repeat(500))])).await.unwrap();
    }
    store.close().await;
    disk.scribble(7);
    let error = open(&disk).err().unwrap();
    assert!(matches!(error, OpenError::Corrupted { .. }), "{error}");
    assert!(error.to_string().contains("restore it from a backup"));
}

#[tokio::test]
async fn a_file_that_was_half_made_is_made_anew() {
    let dir = tempfile::tempdir().unwrap();
    let (path, unfinished) = (dir.path().join("store.redb"), dir.path().join("store.redb.new"));
    std::fs::write(&unfinished, vec![0; 5000]).unwrap();
    let store = Redb::open(&path, named()).unwrap();
    assert_eq!(store.commit(txn(vec![put("/a./n/1", "v")])).await.unwrap().revision, 1);
    store.close().await;
    assert!(!unfinished.exists());
    assert_eq!(Redb::open(&path, named()).unwrap().revision(), 1);
}

#[tokio::test]
async fn a_file_in_use_and_a_file_of_another_kind_are_named() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("store.redb");
    let store = Redb::open(&path, named()).unwrap();
    let error = Redb::open(&path, named()).err().unwrap();
    assert!(matches!(&error, OpenError::Locked { path: named } if *named == path), "{error}");
    store.close().await;
    Redb::open(&path, named()).unwrap();
    let other = dir.path().join("notes.txt");
    std::fs::write(&other, "not a store".repeat(1000)).unwrap();
    assert!(matches!(Redb::open(&other, named()), Err(OpenError::Corrupted { .. })));
    let missing = Redb::open(dir.path().join("no/such/store.redb"), named()).err().unwrap();
    assert!(matches!(missing, OpenError::Io { .. }), "{missing}");
}
