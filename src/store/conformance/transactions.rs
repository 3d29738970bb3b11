//! Revisions, preconditions, splicing, deletes.

use super::*;
use crate::store::Precondition;

on_every_backend!(
    revisions_grow_by_one,
    a_put_splices_its_revision,
    preconditions_name_what_failed_and_write_nothing,
    a_transaction_sees_its_own_writes,
    a_delete_carries_the_last_state,
    several_transactions_are_one,
    a_closed_store_refuses_commits,
);

async fn revisions_grow_by_one(rig: Rig) {
    assert_eq!(rig.store.revision(), 0);
    assert_eq!(rig.commit(vec![put("/a./n/1", "x"), put("/a./n/2", "y")]).await.revision, 1);
    assert_eq!(rig.commit(vec![put("/a./n/1", "z")]).await.revision, 2);
    let record = rig.store.get("/a./n/1").unwrap();
    assert_eq!((record.created, record.modified), (1, 2));
    // Nothing changed: no revision taken.
    let nothing = rig.commit(vec![delete("/a./n/none")]).await;
    assert_eq!((nothing.revision, nothing.records.len()), (2, 1));
    assert!(nothing.records[0].is_none());
    assert_eq!(rig.store.count("/a./"), 2);
    assert_eq!(rig.store.count(""), 2);
    assert_eq!(rig.store.count("/a./n/1"), 1);
}

async fn a_put_splices_its_revision(rig: Rig) {
    rig.commit(vec![put("/a./n/0", "x")]).await;
    let value = Bytes::from_static(br#"{"resourceVersion":""}"#);
    let write = Write::Put { key: "/a./n/1".into(), value, splice: Some(20), envelope: Arc::default() };
    let committed = rig.commit(vec![write]).await;
    assert_eq!(committed.records[0].as_ref().unwrap().value, br#"{"resourceVersion":"2"}"#[..]);
    assert_eq!(rig.store.get("/a./n/1").unwrap().value, br#"{"resourceVersion":"2"}"#[..]);
}

async fn preconditions_name_what_failed_and_write_nothing(rig: Rig) {
    rig.commit(vec![put("/a./n/1", "x")]).await;
    let absent = |key: &str| Precondition::Absent { key: key.into() };
    let present = |key: &str| Precondition::Present { key: key.into() };
    let at = |key: &str, revision| Precondition::ModifiedAt { key: key.into(), revision };
    let attempt = async |preconditions: Vec<Precondition>| {
        rig.store.commit(Txn { preconditions, writes: vec![put("/a./n/2", "y")] }).await
    };
    let found = Some("/a./n/1=x@1".to_string());
    assert_eq!(failed(attempt(vec![absent("/a./n/2"), absent("/a./n/1")]).await), (1, found.clone()));
    assert_eq!(failed(attempt(vec![present("/a./n/2")]).await), (0, None));
    assert_eq!(failed(attempt(vec![at("/a./n/1", 7)]).await), (0, found));
    assert_eq!(failed(attempt(vec![at("/a./n/2", 1)]).await), (0, None));
    assert_eq!(failed(attempt(vec![Precondition::StoreAt(0)]).await), (0, None));
    assert_eq!((rig.store.revision(), rig.store.count("/a./")), (1, 1));
    let all = vec![at("/a./n/1", 1), present("/a./n/1"), absent("/a./n/2"), Precondition::StoreAt(1)];
    assert_eq!(attempt(all).await.unwrap().revision, 2);
}

async fn a_transaction_sees_its_own_writes(rig: Rig) {
    let mut watch = rig.store.watch("/a./", 0).unwrap();
    let committed = rig.commit(vec![put("/a./n/1", "x"), put("/a./n/1", "y"), put("/a./n/2", "z"), delete("/a./n/2")]);
    assert_eq!(committed.await.records.iter().flatten().count(), 4);
    assert_eq!(next(&mut watch).await, ["1 + /a./n/1=y@1"]);
    rig.commit(vec![delete("/a./n/1"), put("/a./n/1", "again")]).await;
    assert_eq!(next(&mut watch).await, ["2 ~ /a./n/1=again@2"]);
}

async fn a_delete_carries_the_last_state(rig: Rig) {
    rig.commit(vec![put("/a./n/1", "x"), put("/a./n/2", "y")]).await;
    let mut watch = rig.store.watch("/a./", 1).unwrap();
    let last = Write::Delete { key: "/a./n/1".into(), last: Some((Bytes::from_static(b"gone at ''"), Some(9))) };
    let committed = rig.commit(vec![last, delete("/a./n/2")]).await;
    assert_eq!(line(committed.records[0].as_ref().unwrap()), "/a./n/1=gone at '2'@2");
    assert_eq!(next(&mut watch).await, ["2 - /a./n/1=gone at '2'@2", "2 - /a./n/2=y@2"]);
    assert!(rig.store.get("/a./n/1").is_none());
}

async fn several_transactions_are_one(rig: Rig) {
    rig.commit(vec![put("/a./n/1", "old"), put("/a./n/2", "x")]).await;
    let mut watch = rig.store.watch("/a./", 1).unwrap();
    let absent = Precondition::Absent { key: "/a./n/1".into() };
    let present = Precondition::Present { key: "/a./n/1".into() };
    let first = || Txn { preconditions: vec![present.clone()], writes: vec![delete("/a./n/1")] };
    let second = |preconditions| Txn { preconditions, writes: vec![put("/a./n/1", "new"), put("/a./n/3", "y")] };

    // The second one fails, where the first one holds: neither happens.
    let refused = rig.store.commit_all(vec![first(), second(vec![absent.clone(), present.clone()])]).await;
    match refused.unwrap_err() {
        StoreError::Precondition { index, found: None } => assert_eq!(index, 2),
        other => panic!("{other}"),
    }
    assert_eq!((rig.store.revision(), rig.store.count("/a./")), (1, 2));

    let done = rig.store.commit_all(vec![first(), second(vec![absent])]).await.unwrap();
    assert_eq!(done.iter().map(|one| (one.revision, one.records.len())).collect::<Vec<_>>(), [(2, 1), (3, 2)]);
    assert_eq!(next(&mut watch).await, ["2 - /a./n/1=old@2", "3 + /a./n/1=new@3", "3 + /a./n/3=y@3"]);
    let record = rig.store.get("/a./n/1").unwrap();
    assert_eq!((record.created, record.modified), (3, 3), "another object under the same key");
}

async fn a_closed_store_refuses_commits(rig: Rig) {
    rig.commit(vec![put("/a./n/1", "x")]).await;
    rig.store.close().await;
    rig.store.close().await;
    assert!(matches!(rig.store.commit(txn(vec![put("/a./n/2", "x")])).await, Err(StoreError::Closed)));
    assert!(rig.store.get("/a./n/1").is_some());
}
