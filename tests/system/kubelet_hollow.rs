//! The kubelet on a pretended host, with the clock paused: whole lives of pods in no time.

use crate::arriving_hollow::asking;
use crate::control_plane::{Cluster, condition, is_ready};
use crate::wait::{self, Pace};
use futures::StreamExt;
use k8s_openapi::api::coordination::v1::Lease;
use k8s_openapi::api::core::v1::{ConfigMap, Node, Pod};
use kube::Api;
use kube::api::{DeleteParams, Patch, PatchParams, PostParams, WatchEvent, WatchParams};
use selkie::apiserver::LogOptions;
use selkie::base::clock::Clock;
use selkie::kubelet::runtime::hollow::{Hollow, HollowOptions};
use serde_json::json;
use std::sync::Arc;
use std::time::Duration;

async fn hollow() -> (Cluster, Hollow) {
    taking(Duration::ZERO).await
}

/// A host that takes this long to start a container, and to stop one.
async fn taking(latency: Duration) -> (Cluster, Hollow) {
    let clock = Clock::virtual_from("2026-01-01T00:00:00Z".parse().unwrap());
    let options = HollowOptions::named(crate::control_plane::NODE, clock.clone());
    let host = Hollow::new(HollowOptions { start_latency: latency, stop_latency: latency, ..options });
    let cluster = Cluster::with(Arc::new(host.clone()), clock, "/nonexistent".into(), true).await;
    (cluster, host)
}

#[tokio::test(start_paused = true)]
async fn a_pod_runs_and_ends_gracefully() {
    let (mut cluster, _) = hollow().await;
    cluster
        .run(
            "web",
            json!({"containers": [{"name": "web", "image": "web:1", "readinessProbe": {"tcpSocket": {"port": 80}}}]}),
        )
        .await;
    let pod = cluster.until("web", is_ready).await;
    assert_eq!(pod["status"]["phase"], "Running");
    assert!(pod["status"]["podIP"].is_string() && pod["status"]["hostIP"].is_string());
    assert_eq!(pod["status"]["containerStatuses"][0]["restartCount"], 0);
    cluster.until_event("web", "Started: Started container web").await;
    let missing = LogOptions { container: "web".into(), previous: true, ..LogOptions::default() };
    let error = cluster.streams().logs(crate::control_plane::NODE, &pod, missing).await.err().unwrap();
    assert_eq!(error.message, "previous terminated container \"web\" in pod \"web\" not found");
    cluster.delete("web").await;
    cluster.until_gone("web").await;
    cluster.until_event("web", "Killing: Stopping container web").await;
    cluster.stop().await;
}

/// The phases that a pod's watchers see on such a host while it starts and ends, with each change of it.
async fn phases(latency: Duration) -> Vec<String> {
    let (cluster, _) = taking(latency).await;
    let pods: Api<Pod> = Api::default_namespaced(cluster.client.clone());
    let mut changes = pods.watch(&WatchParams::default(), "0").await.unwrap().boxed();
    cluster.run("web", json!({"containers": [{"name": "web", "image": "web:1"}]})).await;
    let mut phases = Vec::new();
    while let Some(Ok(change)) = changes.next().await {
        let WatchEvent::Modified(pod) = &change else { continue };
        phases.push(pod.status.as_ref().and_then(|status| status.phase.clone()).unwrap_or_default());
        let pod = serde_json::to_value(pod).unwrap();
        if is_ready(&pod) && pod["metadata"]["deletionTimestamp"].is_null() {
            cluster.delete("web").await;
        }
        if pod["status"]["phase"] == "Succeeded" {
            break;
        }
    }
    phases
}

#[tokio::test(start_paused = true)]
async fn what_is_over_in_a_moment_is_reported_when_it_is_over() {
    assert_eq!(phases(Duration::from_millis(20)).await, ["Running", "Running", "Succeeded"], "the second is deleted");
    let of_a_second = phases(Duration::from_secs(1)).await;
    assert_eq!(of_a_second, ["Pending", "Running", "Running", "Running", "Succeeded"]);
}

#[tokio::test(start_paused = true)]
async fn what_is_written_into_a_nodes_capacity_can_be_asked_for() {
    let (mut cluster, _) = hollow().await;
    let nodes: Api<Node> = Api::all(cluster.client.clone());
    let name = crate::control_plane::NODE;
    let allocatable = async || nodes.get(name).await.ok().and_then(|node| node.status?.allocatable).unwrap_or_default();
    let until = async |wanted: Option<&str>| {
        wait::until("what can be asked for is as written", Pace::default(), async || {
            let list = allocatable().await;
            let gpus = list.get("example.com/gpu").map(|amount| amount.0.as_str());
            if gpus == wanted && list.contains_key("cpu") { Ok(()) } else { Err(format!("{list:?}")) }
        })
        .await;
    };
    until(None).await;
    for amount in [Some("3"), Some("1"), None] {
        let status = json!({"status": {"capacity": {"example.com/gpu": amount}}});
        nodes.patch_status(name, &PatchParams::default(), &Patch::Strategic(status)).await.unwrap();
        until(amount).await;
    }
    cluster.stop().await;
}

#[tokio::test(start_paused = true)]
async fn who_is_deleted_once_more_with_less_grace_ends_sooner() {
    let (cluster, host) = hollow().await;
    let spec =
        json!({"terminationGracePeriodSeconds": 3600, "containers": [{"name": "c", "image": "hollow/stubborn:1"}]});
    cluster.run("deaf", spec).await;
    cluster.until("deaf", is_ready).await;
    let begun = tokio::time::Instant::now();
    cluster.delete("deaf").await;
    cluster.until("deaf", |pod| !pod["metadata"]["deletionTimestamp"].is_null()).await;
    cluster.until_event("deaf", "Killing: Stopping container c").await;
    let pods: Api<Pod> = Api::default_namespaced(cluster.client.clone());
    pods.delete("deaf", &DeleteParams::default().grace_period(5)).await.unwrap();
    cluster.until_gone("deaf").await;
    let took = begun.elapsed();
    assert!(took >= Duration::from_secs(5) && took < Duration::from_secs(60), "{took:?}");
    drop(host);
}

#[tokio::test(start_paused = true)]
async fn the_node_registers_and_its_lease_is_renewed() {
    let (cluster, _) = hollow().await;
    cluster.run("web", json!({"containers": [{"name": "web", "image": "web:1"}]})).await;
    cluster.until("web", is_ready).await;
    let nodes: Api<Node> = Api::all(cluster.client.clone());
    let node = serde_json::to_value(nodes.get(crate::control_plane::NODE).await.unwrap()).unwrap();
    assert_eq!(node["metadata"]["labels"]["kubernetes.io/hostname"], crate::control_plane::NODE);
    assert_eq!(node["status"]["capacity"]["cpu"], "8");
    assert_eq!(condition(&node, "Ready"), "True");
    let leases: Api<Lease> = Api::namespaced(cluster.client.clone(), "kube-node-lease");
    let renewed = async || leases.get(crate::control_plane::NODE).await.unwrap().spec.unwrap().renew_time.unwrap();
    let first = renewed().await;
    wait::until("the lease is renewed", Pace::default(), async || {
        let now = renewed().await;
        if now > first { Ok(()) } else { Err(now.0) }
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn a_crash_loop_backs_off() {
    let (mut cluster, host) = hollow().await;
    cluster.run("bad", json!({"containers": [{"name": "c", "image": "hollow/crash:1"}]})).await;
    let looping = |n: i64| {
        move |pod: &serde_json::Value| {
            let status = &pod["status"]["containerStatuses"][0];
            status["state"]["waiting"]["reason"] == "CrashLoopBackOff" && status["restartCount"].as_i64() >= Some(n)
        }
    };
    let pod = cluster.until("bad", looping(3)).await;
    let status = &pod["status"]["containerStatuses"][0];
    assert_eq!(status["lastState"]["terminated"]["reason"], "Error");
    assert_eq!(status["lastState"]["terminated"]["exitCode"], 1);
    cluster.until_event("bad", "BackOff: Back-off restarting failed container c in pod bad_default(").await;

    // Another kubelet counts on: at once, then after 10 s, 20 s, 40 s.
    cluster.stop().await;
    cluster.start(Arc::new(host), true);
    let after = cluster.until("bad", looping(4)).await;
    let time = |pod: &serde_json::Value, field: &str| {
        let text = pod["status"]["containerStatuses"][0]["lastState"]["terminated"][field].as_str().unwrap().to_owned();
        text.parse::<jiff::Timestamp>().unwrap()
    };
    let waited = time(&after, "startedAt").duration_since(time(&pod, "finishedAt")).as_secs();
    assert!((39..60).contains(&waited), "{waited} s");
    assert_eq!(after["status"]["containerStatuses"][0]["restartCount"], 4);
    cluster.stop().await;
}

#[tokio::test(start_paused = true)]
async fn an_image_that_cannot_be_pulled() {
    let (cluster, _) = hollow().await;
    cluster.run("bad", json!({"containers": [{"name": "c", "image": "hollow/missing:1"}]})).await;
    let waiting = |reason: &'static str| {
        move |pod: &serde_json::Value| pod["status"]["containerStatuses"][0]["state"]["waiting"]["reason"] == reason
    };
    cluster.until("bad", waiting("ErrImagePull")).await;
    cluster.until("bad", waiting("ImagePullBackOff")).await;
    cluster.until_event("bad", "BackOff: Back-off pulling image \"hollow/missing:1\"").await;
    cluster.delete("bad").await;
    cluster.until_gone("bad").await;
}

#[tokio::test(start_paused = true)]
async fn a_missing_config_map_holds_the_container_until_it_comes() {
    let (cluster, _) = hollow().await;
    let env = json!([{"name": "A", "valueFrom": {"configMapKeyRef": {"name": "cm", "key": "a"}}}]);
    cluster.run("web", json!({"containers": [{"name": "c", "image": "web:1", "env": env}]})).await;
    let pod = cluster
        .until("web", |pod| {
            pod["status"]["containerStatuses"][0]["state"]["waiting"]["reason"] == "CreateContainerConfigError"
        })
        .await;
    assert_eq!(pod["status"]["containerStatuses"][0]["state"]["waiting"]["message"], "configmap \"cm\" not found");
    let maps: Api<ConfigMap> = Api::default_namespaced(cluster.client.clone());
    let map = serde_json::from_value(json!({"metadata": {"name": "cm"}, "data": {"a": "1"}})).unwrap();
    maps.create(&PostParams::default(), &map).await.unwrap();
    cluster.until("web", is_ready).await;
}

#[tokio::test(start_paused = true)]
async fn a_finished_pod_succeeds() {
    let (cluster, _) = hollow().await;
    let spec = json!({"restartPolicy": "Never", "initContainers": [{"name": "i", "image": "hollow/exit-0:1"}],
        "containers": [{"name": "c", "image": "hollow/exit-0:1"}]});
    cluster.run("job", spec).await;
    let pod = cluster.until("job", |pod| pod["status"]["phase"] == "Succeeded").await;
    assert_eq!(pod["status"]["containerStatuses"][0]["state"]["terminated"]["reason"], "Completed");
    assert_eq!(condition(&pod, "Initialized"), "True");
}

/// A host that is treated like a real one.
async fn real() -> (Cluster, Hollow, tempfile::TempDir) {
    let clock = Clock::virtual_from("2026-01-01T00:00:00Z".parse().unwrap());
    let host = Hollow::new(HollowOptions::named(crate::control_plane::NODE, clock.clone()));
    let directory = tempfile::tempdir().unwrap();
    let cluster = Cluster::with(Arc::new(host.clone()), clock, directory.path().into(), false).await;
    (cluster, host, directory)
}

#[tokio::test(start_paused = true)]
async fn what_is_written_while_a_report_is_on_its_way_is_seen() {
    let (cluster, _host, _directory) = real().await;
    cluster.run("web", asking("1")).await;
    cluster.until("web", is_ready).await;
    cluster.run("last", asking("1")).await;
    cluster.until("last", is_ready).await;
    cluster.calls.hold(|call| call.method() == "PATCH" && call.uri().path().ends_with("/pods/web/status"));
    let image = json!({"spec": {"containers": [{"name": "c", "image": "web:2"}]}});
    cluster.pods().patch("web", &Default::default(), &kube::api::Patch::Strategic(image)).await.unwrap();
    cluster.calls.met(1).await;
    cluster.delete("web").await;
    // Whoever watches has seen that of the one when it sees this of the other.
    cluster.delete("last").await;
    cluster.until_gone("last").await;
    cluster.calls.let_through();
    cluster.until_gone("web").await;
}
