//! Ranges now and at older revisions, paging, compaction.

use super::*;

on_every_backend!(
    pages_cover_a_range,
    older_revisions_are_seen_as_they_were,
    compaction_ends_history,
    a_snapshot_forks
);

async fn pages_cover_a_range(rig: Rig) {
    for n in 0..10 {
        rig.commit(vec![put(&format!("/a./x/{n}"), "v"), put(&format!("/a./y/{n}"), "v"), put("/b./x/0", "v")]).await;
    }
    let first = rig.store.range("/a./x/", None, None, 4).unwrap();
    assert_eq!((first.records.len(), first.more, first.total, first.revision), (4, true, 10, 10));
    let second = rig.store.range("/a./x/", Some("/a./x/4"), Some(first.revision), 4).unwrap();
    assert_eq!((&*second.records[0].key, second.more, second.total), ("/a./x/4", true, 6));
    let third = rig.store.range("/a./x/", Some("/a./x/8"), Some(first.revision), 4).unwrap();
    assert_eq!((third.records.len(), third.more, third.total), (2, false, 2));
    assert_eq!(rig.store.range("/a./", None, None, 0).unwrap().records.len(), 20);
    assert_eq!(rig.store.range("/a./x/", Some("/b"), None, 0).unwrap().total, 0);
    assert_eq!(rig.store.range("/none./", None, None, 0).unwrap().total, 0);
    let future = rig.store.range("/a./", None, Some(99), 0);
    assert!(matches!(future, Err(StoreError::Future { requested: 99, current: 10 })));
}

async fn older_revisions_are_seen_as_they_were(rig: Rig) {
    rig.commit(vec![put("/a./n/1", "x"), put("/a./n/3", "z")]).await;
    rig.commit(vec![put("/a./n/1", "xx")]).await;
    rig.commit(vec![put("/a./n/2", "y"), delete("/a./n/3")]).await;
    rig.commit(vec![delete("/a./n/1"), put("/a./n/3", "new")]).await;
    rig.commit(vec![put("/b./n/1", "elsewhere")]).await;
    assert_eq!(rig.keys_at("/a./", Some(0)), [""; 0]);
    assert_eq!(rig.keys_at("/a./", Some(1)), ["/a./n/1=x@1", "/a./n/3=z@1"]);
    assert_eq!(rig.keys_at("/a./", Some(2)), ["/a./n/1=xx@2", "/a./n/3=z@1"]);
    assert_eq!(rig.keys_at("/a./", Some(3)), ["/a./n/1=xx@2", "/a./n/2=y@3"]);
    assert_eq!(rig.keys_at("/a./", Some(4)), ["/a./n/2=y@3", "/a./n/3=new@4"]);
    assert_eq!(rig.keys_at("/a./", None), ["/a./n/2=y@3", "/a./n/3=new@4"]);
    // Paging in the past.
    let page = rig.store.range("/a./", None, Some(2), 1).unwrap();
    assert_eq!((names(&page.records), page.more, page.total), (vec!["/a./n/1=xx@2".into()], true, 2));
    let page = rig.store.range("/a./", Some("/a./n/2"), Some(2), 1).unwrap();
    assert_eq!((names(&page.records), page.more, page.total), (vec!["/a./n/3=z@1".into()], false, 1));
}

async fn compaction_ends_history(rig: Rig) {
    for n in 1..=5 {
        rig.commit(vec![put("/a./n/1", &n.to_string())]).await;
    }
    let mut behind = rig.store.watch("/a./", 1).unwrap();
    let mut ahead = rig.store.watch("/a./", 5).unwrap();
    rig.store.compact(3).await.unwrap();
    rig.store.compact(2).await.unwrap();
    assert_eq!(rig.store.compacted(), 3);
    let gone = rig.store.range("/a./", None, Some(2), 0);
    assert!(matches!(gone, Err(StoreError::Compacted { requested: 2, oldest: 3 })));
    assert!(matches!(rig.store.watch("/a./", 2), Err(StoreError::Compacted { requested: 2, oldest: 3 })));
    assert!(matches!(behind.next().await, Err(StoreError::Compacted { requested: 1, oldest: 3 })));
    assert_eq!(rig.keys_at("/a./", Some(3)), ["/a./n/1=3@3"]);
    assert_eq!(next(&mut rig.store.watch("/a./", 3).unwrap()).await, ["4 ~ /a./n/1=4@4", "5 ~ /a./n/1=5@5"]);
    assert!(matches!(rig.store.compact(9).await, Err(StoreError::Future { requested: 9, current: 5 })));
    rig.store.compact(5).await.unwrap();
    rig.commit(vec![put("/a./n/1", "6")]).await;
    assert_eq!(next(&mut ahead).await, ["6 ~ /a./n/1=6@6"]);
}

async fn a_snapshot_forks(rig: Rig) {
    rig.commit(vec![put("/a./n/1", "x"), put("/b./n/1", "y")]).await;
    let (revision, records) = rig.store.snapshot();
    let fork = Memory::from_snapshot(revision, records);
    assert!(Arc::ptr_eq(&fork.get("/a./n/1").unwrap(), &rig.store.get("/a./n/1").unwrap()));
    assert_eq!(fork.commit(txn(vec![put("/a./n/2", "z")])).await.unwrap().revision, 2);
    assert_eq!((fork.count(""), rig.store.count("")), (3, 2));
    assert!(matches!(fork.watch("/a./", 0), Err(StoreError::Compacted { oldest: 1, .. })));
}
