//! Watches: order, resume, prefixes, positions, cancellation, close.

use super::*;
use futures::FutureExt;

on_every_backend!(
    a_watch_resumes_after_a_revision,
    a_namespace_is_watched_alone,
    a_batch_never_splits_a_revision,
    cancelling_next_loses_nothing,
    closing_ends_a_watch_after_its_events,
);

async fn a_watch_resumes_after_a_revision(rig: Rig) {
    let mut watch = rig.store.watch("/a./", 0).unwrap();
    rig.commit(vec![put("/a./n/1", "x")]).await;
    rig.commit(vec![put("/a./n/1", "y"), put("/a./n/2", "z")]).await;
    assert_eq!(next(&mut watch).await, ["1 + /a./n/1=x@1", "2 ~ /a./n/1=y@2", "2 + /a./n/2=z@2"]);
    assert_eq!(watch.position(), 2);
    let mut resumed = rig.store.watch("/a./", 1).unwrap();
    let events = resumed.next().await.unwrap();
    assert_eq!(line(events[0].previous.as_ref().unwrap()), "/a./n/1=x@1");
    rig.commit(vec![put("/b./n/1", "elsewhere")]).await;
    assert_eq!((watch.position(), resumed.position()), (3, 3));
    assert!(watch.next().now_or_never().is_none());
    assert!(matches!(rig.store.watch("/a./", 4), Err(StoreError::Future { requested: 4, current: 3 })));
}

async fn a_namespace_is_watched_alone(rig: Rig) {
    let mut watch = rig.store.watch("/a./x/", 0).unwrap();
    rig.commit(vec![put("/a./y/1", "no")]).await;
    assert!(watch.next().now_or_never().is_none());
    assert_eq!(watch.position(), 1);
    rig.commit(vec![put("/a./x/1", "yes"), put("/a./y/1", "no")]).await;
    assert_eq!(next(&mut watch).await, ["2 + /a./x/1=yes@2"]);
}

async fn a_batch_never_splits_a_revision(rig: Rig) {
    let many: Vec<Write> = (0..3000).map(|n| put(&format!("/a./n/{n}"), "v")).collect();
    let mut watch = rig.store.watch("/a./", 0).unwrap();
    rig.commit(vec![put("/a./n/first", "v")]).await;
    rig.commit(many).await;
    rig.commit(vec![put("/a./n/last", "v")]).await;
    assert_eq!(watch.next().await.unwrap().len(), 3001);
    assert_eq!(watch.position(), 2);
    assert_eq!(next(&mut watch).await, ["3 + /a./n/last=v@3"]);
}

async fn cancelling_next_loses_nothing(rig: Rig) {
    let mut watch = rig.store.watch("/a./", 0).unwrap();
    for n in 1..=100u64 {
        // Poll once, drop the future, then write: the next call must see it.
        assert!(watch.next().now_or_never().is_none());
        rig.commit(vec![put("/a./n/1", "v")]).await;
        assert_eq!(watch.next().await.unwrap()[0].revision, n);
    }
}

async fn closing_ends_a_watch_after_its_events(rig: Rig) {
    let mut watch = rig.store.watch("/a./", 0).unwrap();
    let mut idle = rig.store.watch("/b./", 0).unwrap();
    let idle = tokio::spawn(async move { idle.next().await });
    rig.commit(vec![put("/a./n/1", "x")]).await;
    rig.store.close().await;
    assert_eq!(next(&mut watch).await, ["1 + /a./n/1=x@1"]);
    assert!(matches!(watch.next().await, Err(StoreError::Closed)));
    assert!(matches!(idle.await.unwrap(), Err(StoreError::Closed)));
}
