//! A host that runs out of room, pretended, with the clock paused.

use crate::control_plane::{Cluster, NODE, is_ready};
use crate::wait::{self, Pace};
use k8s_openapi::api::core::v1::{Node, Pod};
use k8s_openapi::api::scheduling::v1::PriorityClass;
use kube::Api;
use kube::api::PostParams;
use selkie::api::quantity::Quantity;
use selkie::base::clock::Clock;
use selkie::kubelet::runtime::ContainerRuntime;
use selkie::kubelet::runtime::hollow::{Hollow, HollowOptions};
use selkie::kubelet::settings::{ImageGc, Settings};
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

#[tokio::test(start_paused = true)]
async fn who_uses_more_memory_than_there_is_goes() {
    let (mut cluster, _) = full_of(&images(1)).await;
    let pod = |name: &str, memory: &str, asked: &str, priority: i32| {
        let container = json!({"name": "c", "image": "image:0", "resources": {"requests": {"memory": asked}}});
        let metadata = json!({"name": name, "annotations": {"hollow.selkie.dev/memory": memory}});
        let class = (priority > 0).then_some("important");
        let spec = json!({"nodeName": NODE, "containers": [container], "priorityClassName": class});
        serde_json::from_value::<Pod>(json!({"metadata": metadata, "spec": spec})).unwrap()
    };
    let pods = [
        pod("modest", "16Gi", "20Gi", 0),
        pod("more", "3Gi", "2Gi", 0),
        pod("much", "8Gi", "2Gi", 0),
        pod("important", "6Gi", "1Gi", 5),
    ];
    let class = serde_json::from_value(json!({"metadata": {"name": "important"}, "value": 5})).unwrap();
    Api::<PriorityClass>::all(cluster.client.clone()).create(&PostParams::default(), &class).await.unwrap();
    for pod in &pods {
        cluster.pods().create(&PostParams::default(), pod).await.unwrap();
    }
    let evicted = cluster.until("much", |pod| pod["status"]["phase"] == "Failed").await;
    let status = &evicted["status"];
    let message = "The node was low on resource: memory. Threshold quantity: 100Mi, available: 0. \
                   Container c was using 8Gi, request is 2Gi, has larger consumption of memory. ";
    assert_eq!((&status["reason"], &status["message"]), (&json!("Evicted"), &json!(message)));
    let conditions = status["conditions"].as_array().unwrap();
    let target = conditions.iter().find(|condition| condition["type"] == "DisruptionTarget").unwrap();
    assert_eq!((&target["reason"], &target["message"]), (&json!("TerminationByKubelet"), &json!(message)));
    cluster.until_event("much", &format!("Evicted: {}", message.trim_end())).await;
    cluster.until_event(NODE, "EvictionThresholdMet: Attempting to reclaim memory").await;
    let pressed = async |expect: &str| {
        wait::until("the Node tells of its memory", Pace::default(), async || {
            let nodes: Api<Node> = Api::all(cluster.client.clone());
            let status = nodes.get(NODE).await.unwrap().status.unwrap_or_default();
            let found = status.conditions.into_iter().flatten().find(|one| one.type_ == "MemoryPressure");
            let found = found.map(|one| (one.status, one.reason.unwrap_or_default()));
            if found.as_ref().is_some_and(|(status, _)| status == expect) { Ok(()) } else { Err(format!("{found:?}")) }
        })
        .await;
    };
    pressed("True").await;
    cluster.run("new", json!({"containers": [{"name": "c", "image": "image:0"}]})).await;
    let refused = cluster.until("new", |pod| pod["status"]["phase"] == "Failed").await;
    assert_eq!(refused["status"]["reason"], "Evicted");
    assert_eq!(refused["status"]["message"], "Pod was rejected: The node had condition: [MemoryPressure]. ");
    tokio::time::sleep(Duration::from_secs(320)).await;
    pressed("False").await;
    for name in ["modest", "more", "important"] {
        cluster.until(name, is_ready).await;
    }
    cluster.stop().await;
}

/// What is reserved, and what evictions keep free, is not for pods; other limits hold instead of Kubernetes' own.
#[tokio::test(start_paused = true)]
async fn a_host_is_used_as_its_operator_says() {
    let (mut cluster, host) = full_of(&images(17)).await;
    cluster.stop().await;
    cluster.settings = Settings {
        max_pods: 2,
        reserved: "cpu=500m,memory=1Gi".parse().unwrap(),
        eviction: "memory.available<3Gi,imagefs.available<1%".parse().unwrap(),
        image_gc: ImageGc::new(90, 50).unwrap(),
        ..Settings::default()
    };
    cluster.start(Arc::new(host.clone()), true);
    let nodes: Api<Node> = Api::all(cluster.client.clone());
    wait::until("the Node tells what is for pods", Pace::default(), async || {
        let status = nodes.get(NODE).await.unwrap().status.unwrap_or_default();
        let (Some(capacity), Some(left)) = (status.capacity, status.allocatable) else { return Err("nothing".into()) };
        let kept = |name: &str| {
            let amount = |text: &str| text.parse::<Quantity>().unwrap();
            amount(&capacity[name].0).minus(amount(&left[name].0)).to_string()
        };
        let found = [kept("cpu"), kept("memory"), left["pods"].0.clone()];
        if found == ["500m", "4Gi", "2"] { Ok(()) } else { Err(format!("{found:?}")) }
    })
    .await;
    let used = host.info().await.unwrap().memory - (2 << 30);
    let pod = |name: &str, memory: u64| {
        let metadata = json!({"name": name, "annotations": {"hollow.selkie.dev/memory": memory.to_string()}});
        let spec = json!({"nodeName": NODE, "containers": [{"name": "c", "image": "image:0"}]});
        serde_json::from_value::<Pod>(json!({"metadata": metadata, "spec": spec})).unwrap()
    };
    for pod in [pod("much", used), pod("little", 1)] {
        cluster.pods().create(&PostParams::default(), &pod).await.unwrap();
    }
    let evicted = cluster.until("much", |pod| pod["status"]["phase"] == "Failed").await;
    let message = evicted["status"]["message"].as_str().unwrap();
    assert!(
        message.starts_with("The node was low on resource: memory. Threshold quantity: 3Gi, available: "),
        "{message}"
    );
    cluster.until("little", is_ready).await;
    // 85 % of the disk are in use, and that is all right here.
    assert_eq!(names(&host).len(), 17);
    cluster.stop().await;
}

/// Images are pulled one after another where that is wanted, and at once where it is not.
#[tokio::test(start_paused = true)]
async fn pulls_take_turns() {
    for (at_most, expect) in [(Some(1), [20, 40]), (None, [20, 20])] {
        let clock = Clock::virtual_from("2026-01-01T00:00:00Z".parse().unwrap());
        let options =
            HollowOptions { pull_latency: Duration::from_secs(20), ..HollowOptions::named(NODE, clock.clone()) };
        let mut cluster = Cluster::new(clock, "/nonexistent".into()).await;
        cluster.settings.parallel_pulls = at_most;
        cluster.start(Arc::new(Hollow::new(options)), true);
        for name in ["a", "b"] {
            cluster.run(name, json!({"containers": [{"name": "c", "image": format!("{name}:1")}]})).await;
        }
        let mut waited = Vec::new();
        for name in ["a", "b"] {
            cluster.until(name, is_ready).await;
            let events = cluster.events(name).await;
            let pulled = events.iter().find(|event| event.starts_with("Pulled: Successfully")).unwrap();
            let (_, rest) = pulled.split_once(" in 20s (").expect(pulled);
            waited.push(rest.split_once("s including waiting").expect(pulled).0.parse::<u32>().unwrap());
        }
        waited.sort_unstable();
        assert_eq!(waited, expect, "{at_most:?}");
        cluster.stop().await;
    }
}
