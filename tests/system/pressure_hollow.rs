//! A host that runs out of room, pretended, with the clock paused.

use crate::control_plane::{Cluster, NODE, is_ready};
use selkie::base::clock::Clock;
use selkie::kubelet::runtime::ContainerRuntime;
use selkie::kubelet::runtime::hollow::{Hollow, HollowOptions};
use serde_json::json;
use std::sync::Arc;
use std::time::Duration;

/// A host with a disk for twenty images, and these on it.
async fn full_of(images: &[String]) -> (Cluster, Hollow) {
    let clock = Clock::virtual_from("2026-01-01T00:00:00Z".parse().unwrap());
    let options = HollowOptions {
        images: images.to_vec(),
        disk: 100,
        image_size: 5,
        ..HollowOptions::named(NODE, clock.clone())
    };
    let host = Hollow::new(options);
    let cluster = Cluster::with(Arc::new(host.clone()), clock, "/nonexistent".into(), true).await;
    (cluster, host)
}

/// So many images.
fn images(count: u8) -> Vec<String> {
    (0..count).map(|number| format!("image:{number}")).collect()
}

fn names(host: &Hollow) -> Vec<String> {
    host.image_names().iter().map(ToString::to_string).collect()
}

#[tokio::test(start_paused = true)]
async fn images_that_nobody_uses_make_room() {
    let (mut cluster, host) = full_of(&images(16)).await;
    let pod = |image: &str| json!({"containers": [{"name": "c", "image": image}]});
    cluster.run("runs", pod("image:0")).await;
    cluster.until("runs", is_ready).await;
    tokio::time::sleep(Duration::from_secs(700)).await;
    assert_eq!(host.images().await.unwrap().len(), 16, "80 % of the disk is not too much");
    // Pulled just now, and one that cannot come to run.
    cluster.run("pulls", pod("new:1")).await;
    cluster.until("pulls", is_ready).await;
    cluster
        .run(
            "waits",
            json!({"containers": [{"name": "c", "image": "image:1",
        "env": [{"name": "X", "valueFrom": {"configMapKeyRef": {"name": "missing", "key": "x"}}}]}]}),
        )
        .await;
    tokio::time::sleep(Duration::from_secs(400)).await;
    let left = names(&host);
    assert_eq!(left.len(), 16, "{left:?}");
    for kept in ["image:0", "image:1", "new:1"] {
        assert!(left.iter().any(|name| name == kept), "{kept} of {left:?}");
    }
    cluster.stop().await;
}

#[tokio::test(start_paused = true)]
async fn a_disk_full_of_what_is_used_is_told() {
    let all = images(17);
    let (mut cluster, host) = full_of(&all).await;
    let containers: Vec<_> =
        all.iter().enumerate().map(|(at, image)| json!({"name": format!("c{at}"), "image": image})).collect();
    cluster.run("all", json!({"containers": containers})).await;
    cluster.until("all", is_ready).await;
    tokio::time::sleep(Duration::from_secs(400)).await;
    let message = "Failed to garbage collect required amount of images. Attempted to free 5 bytes, but only found 0 bytes eligible to free.";
    cluster.until_event(NODE, &format!("FreeDiskSpaceFailed: {message}")).await;
    tokio::time::sleep(Duration::from_secs(300)).await;
    cluster.until_event(NODE, &format!("ImageGCFailed: {message}")).await;
    assert_eq!(names(&host).len(), 17);
    cluster.stop().await;
}
