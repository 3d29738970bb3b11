//! Many writers and watchers at once.

use super::*;
use crate::store::Precondition;

on_every_backend!(watchers_see_each_event_once_in_order, one_of_many_creates_wins, counters_lose_no_increment);

const WRITERS: usize = 8;
const EACH: usize = 50;

async fn watchers_see_each_event_once_in_order(rig: Rig) {
    let watchers: Vec<_> = (0..4)
        .map(|_| {
            let mut watch = rig.store.watch("/a./", 0).unwrap();
            tokio::spawn(async move {
                let mut seen = Vec::new();
                while seen.len() < WRITERS * EACH {
                    seen.extend(watch.next().await.unwrap());
                }
                seen
            })
        })
        .collect();
    let writers = (0..WRITERS).map(|writer| {
        let store = rig.store.clone();
        tokio::spawn(async move {
            for n in 0..EACH {
                let committed = store.commit(txn(vec![put(&format!("/a./w{writer}/{n}"), "v")])).await.unwrap();
                // Acknowledged means visible.
                assert_eq!(store.get(&format!("/a./w{writer}/{n}")).unwrap().modified, committed.revision);
            }
        })
    });
    for writer in writers.collect::<Vec<_>>() {
        writer.await.unwrap();
    }
    for watcher in watchers {
        let seen = watcher.await.unwrap();
        let revisions: Vec<u64> = seen.iter().map(|event| event.revision).collect();
        assert_eq!(revisions, (1..=(WRITERS * EACH) as u64).collect::<Vec<_>>());
    }
}

async fn one_of_many_creates_wins(rig: Rig) {
    let tries = (0..32).map(|n| {
        let store = rig.store.clone();
        tokio::spawn(async move {
            let preconditions = vec![Precondition::Absent { key: "/a./n/1".into() }];
            store.commit(Txn { preconditions, writes: vec![put("/a./n/1", &n.to_string())] }).await
        })
    });
    let mut won = 0;
    for attempt in tries.collect::<Vec<_>>() {
        match attempt.await.unwrap() {
            Ok(_) => won += 1,
            Err(error) => assert!(matches!(error, StoreError::Precondition { found: Some(_), .. })),
        }
    }
    assert_eq!((won, rig.store.revision()), (1, 1));
}

async fn counters_lose_no_increment(rig: Rig) {
    rig.commit(vec![put("/a./n/count", "0")]).await;
    let adders = (0..WRITERS).map(|_| {
        let store = rig.store.clone();
        tokio::spawn(async move {
            let mut done = 0;
            while done < 10 {
                let now = store.get("/a./n/count").unwrap();
                let value: u64 = std::str::from_utf8(&now.value.bytes()).unwrap().parse().unwrap();
                let key = now.key.clone();
                let preconditions = vec![Precondition::ModifiedAt { key, revision: now.modified }];
                let writes = vec![put("/a./n/count", &(value + 1).to_string())];
                done += usize::from(store.commit(Txn { preconditions, writes }).await.is_ok());
            }
        })
    });
    for adder in adders.collect::<Vec<_>>() {
        adder.await.unwrap();
    }
    assert_eq!(rig.store.get("/a./n/count").unwrap().value, (WRITERS * 10).to_string());
}
