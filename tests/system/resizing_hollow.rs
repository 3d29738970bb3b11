//! Pods that are resized on a pretended host, with the clock paused.

use crate::control_plane::{Cluster, NODE, is_ready};
use crate::wait::{self, Pace};
use k8s_openapi::api::core::v1::Pod;
use kube::api::{Patch, PatchParams};
use selkie::base::clock::Clock;
use selkie::kubelet::runtime::hollow::{Hollow, HollowOptions};
use serde_json::{Value, json};
use std::sync::Arc;
use std::time::Duration;

/// A host of eight CPUs that takes its time to pull an image, and to stop a container or give it other limits.
async fn hollow() -> (Cluster, Hollow) {
    hollow_with(Duration::from_secs(2)).await
}

async fn hollow_with(latency: Duration) -> (Cluster, Hollow) {
    let clock = Clock::virtual_from("2026-01-01T00:00:00Z".parse().unwrap());
    let options = HollowOptions {
        update_latency: latency,
        pull_latency: latency,
        stop_latency: latency,
        ..HollowOptions::named(NODE, clock.clone())
    };
    let host = Hollow::new(options);
    let cluster = Cluster::with(Arc::new(host.clone()), clock, "/nonexistent".into(), true).await;
    (cluster, host)
}

fn asks(cpu: &str, more: Value) -> Value {
    let mut container = json!({"name": "c", "image": "web:1",
        "resources": {"requests": {"cpu": cpu, "memory": "1Gi"}, "limits": {"memory": "1Gi"}}});
    container.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    json!({"containers": [container]})
}

async fn resize(cluster: &Cluster, name: &str, resources: Value) {
    let patch = json!({"spec": {"containers": [{"name": "c", "resources": resources}]}});
    let patch = Patch::Strategic(patch);
    cluster.pods().patch_subresource("resize", name, &PatchParams::default(), &patch).await.unwrap();
}

async fn cpu(cluster: &Cluster, name: &str, cpu: &str) {
    resize(cluster, name, json!({"requests": {"cpu": cpu}})).await;
}

fn condition<'a>(pod: &'a Value, name: &str) -> &'a Value {
    let all = pod["status"]["conditions"].as_array().map_or(&[][..], Vec::as_slice);
    all.iter().find(|condition| condition["type"] == name).unwrap_or(&Value::Null)
}

fn first(pod: &Value) -> &Value {
    &pod["status"]["containerStatuses"][0]
}

fn id(pod: &Value) -> &str {
    first(pod)["containerID"].as_str().unwrap_or_default().trim_start_matches("podman://")
}

fn has(cpu: &'static str) -> impl Fn(&Value) -> bool {
    move |pod| {
        first(pod)["resources"]["requests"]["cpu"] == cpu
            && first(pod)["allocatedResources"]["cpu"] == cpu
            && condition(pod, "PodResizeInProgress").is_null()
            && condition(pod, "PodResizePending").is_null()
    }
}

#[tokio::test(start_paused = true)]
async fn a_container_gets_other_limits_and_runs_on() {
    let (cluster, host) = hollow().await;
    cluster.run("web", asks("1", json!({}))).await;
    let before = cluster.until("web", is_ready).await;
    resize(&cluster, "web", json!({"requests": {"cpu": "2", "memory": "2Gi"}, "limits": {"memory": "2Gi"}})).await;
    let under_way = cluster.until("web", |pod| condition(pod, "PodResizeInProgress")["status"] == "True").await;
    assert_eq!(condition(&under_way, "PodResizeInProgress")["observedGeneration"], 2);
    assert_eq!(first(&under_way)["allocatedResources"], json!({"cpu": "2", "memory": "2Gi"}));
    assert_eq!(first(&under_way)["resources"]["requests"], json!({"cpu": "1", "memory": "1Gi"}), "not yet");
    let after = cluster.until("web", has("2")).await;
    assert_eq!(first(&after)["resources"]["limits"], json!({"memory": "2Gi"}));
    assert_eq!((id(&after), first(&after)["restartCount"].as_i64()), (id(&before), Some(0)));
    assert_eq!(after["status"]["observedGeneration"], 2);
    let limits = host.resources(id(&after)).unwrap();
    assert_eq!((limits.memory_limit, limits.cpu_shares), (Some(2 << 30), Some(2048)));
    let list = r#"{"containers":[{"name":"c","resources":{"limits":{"memory":"2Gi"},"requests":{"cpu":"2","memory":"2Gi"}}}],"generation":2}"#;
    cluster.until_event("web", &format!("ResizeStarted: Pod resize started: {list}")).await;
    cluster.until_event("web", &format!("ResizeCompleted: Pod resize completed: {list}")).await;
}

#[tokio::test(start_paused = true)]
async fn a_container_starts_again_where_its_policy_says_so() {
    let (cluster, host) = hollow().await;
    let policy = json!({"resizePolicy": [{"resourceName": "memory", "restartPolicy": "RestartContainer"}]});
    let mut spec = asks("1", policy);
    // It ends well when it is stopped, and would not start again for that.
    spec["restartPolicy"] = json!("OnFailure");
    cluster.run("web", spec).await;
    let before = cluster.until("web", is_ready).await;
    cpu(&cluster, "web", "2").await;
    let same = cluster.until("web", has("2")).await;
    assert_eq!(id(&same), id(&before));
    resize(&cluster, "web", json!({"limits": {"memory": "2Gi"}})).await;
    let after = cluster.until("web", |pod| is_ready(pod) && id(pod) != id(&before) && has("2")(pod)).await;
    assert_eq!(first(&after)["restartCount"], 1);
    assert_eq!(host.resources(id(&after)).unwrap().memory_limit, Some(2 << 30));
    cluster.until_event("web", "Killing: Container c resize requires restart").await;
    let started = first(&after)["state"]["running"]["startedAt"].as_str().unwrap();
    assert!(started < "2026-01-01T00:00:10Z", "it does not wait as after a crash: {started}");
}

#[tokio::test(start_paused = true)]
async fn what_has_no_room_waits_until_it_has() {
    let (cluster, _) = hollow().await;
    cluster.run("big", asks("5", json!({}))).await;
    for name in ["low", "high"] {
        cluster.run(name, asks("1", json!({}))).await;
    }
    for name in ["big", "low", "high"] {
        cluster.until(name, is_ready).await;
    }
    cpu(&cluster, "low", "99").await;
    let never = cluster.until("low", |pod| condition(pod, "PodResizePending")["reason"] == "Infeasible").await;
    let why = "Node didn't have enough capacity: cpu, requested: 99000, capacity: 8000";
    assert_eq!(condition(&never, "PodResizePending")["message"], why);
    assert_eq!(first(&never)["resources"]["requests"]["cpu"], "1");
    cluster.until_event("low", "ResizeInfeasible: Pod resize Infeasible: {").await;
    cpu(&cluster, "low", "4").await;
    let waits = |pod: &Value| condition(pod, "PodResizePending")["reason"] == "Deferred";
    let low = cluster.until("low", waits).await;
    let why = "Node didn't have enough resource: cpu, requested: 4000, used: 6000, capacity: 8000";
    assert_eq!(condition(&low, "PodResizePending")["message"], why);
    assert_eq!(condition(&low, "PodResizePending")["observedGeneration"], 3);
    cluster.until_event("low", "ResizeDeferred: Pod resize Deferred: {").await;
    cpu(&cluster, "high", "4").await;
    cluster.until("high", waits).await;
    cpu(&cluster, "big", "4").await;
    // 4 + 1 + 1: neither fits yet. Without the big one both do.
    cluster.until("big", has("4")).await;
    assert!(waits(&cluster.get("low").await.unwrap()));
    cluster.delete("big").await;
    cluster.until("low", has("4")).await;
    cluster.until("high", has("4")).await;
    cpu(&cluster, "low", "6").await;
    cluster.until("low", waits).await;
    cpu(&cluster, "low", "4").await;
    cluster.until("low", has("4")).await;
}

#[tokio::test(start_paused = true)]
async fn what_is_not_granted_takes_no_room() {
    let (cluster, _) = hollow().await;
    for name in ["never", "later"] {
        cluster.run(name, asks("1", json!({}))).await;
        cluster.until(name, is_ready).await;
    }
    let pending = |reason: &'static str| move |pod: &Value| condition(pod, "PodResizePending")["reason"] == reason;
    cpu(&cluster, "never", "1000").await;
    cluster.until("never", pending("Infeasible")).await;
    cpu(&cluster, "later", "8").await;
    cluster.until("later", pending("Deferred")).await;
    cluster.run("new", asks("6", json!({}))).await;
    cluster.until("new", is_ready).await;
    cluster.run("more", asks("1", json!({}))).await;
    let more = cluster.until("more", |pod| pod["status"]["phase"] == "Failed").await;
    let message = "Node didn't have enough resource: cpu, requested: 1000, used: 8000, capacity: 8000";
    assert_eq!(more["status"]["message"], format!("Pod was rejected: {message}"));
}

async fn until_shares(host: &Hollow, pod: &Value, shares: u64) {
    wait::until("the container has its limits", Pace::default(), async || match host.resources(id(pod)) {
        Some(limits) if limits.cpu_shares == Some(shares) => Ok(()),
        other => Err(format!("{other:?}")),
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn what_is_under_way_does_not_undo_a_resize() {
    let (cluster, host) = hollow().await;
    cluster.run("web", asks("1", json!({}))).await;
    cluster.until("web", |pod| first(pod)["state"]["waiting"].is_object()).await;
    cpu(&cluster, "web", "2").await;
    let pod = cluster.until("web", |pod| is_ready(pod) && has("2")(pod)).await;
    until_shares(&host, &pod, 2048).await;
    cpu(&cluster, "web", "3").await;
    cluster.until("web", |pod| condition(pod, "PodResizeInProgress")["observedGeneration"] == 3).await;
    cpu(&cluster, "web", "2").await;
    until_shares(&host, &pod, 3072).await;
    until_shares(&host, &pod, 2048).await;
    cluster.until("web", |pod| has("2")(pod) && pod["status"]["observedGeneration"] == 4).await;
}

#[tokio::test(start_paused = true)]
async fn memory_in_use_is_not_taken_away() {
    let (cluster, _) = hollow().await;
    cluster.run("web", asks("1", json!({}))).await;
    cluster.until("web", is_ready).await;
    let uses = async |memory: &str| {
        let patch = json!({"metadata": {"annotations": {"hollow.selkie.dev/memory": memory}}});
        cluster.pods().patch("web", &PatchParams::default(), &Patch::<Value>::Merge(patch)).await.unwrap();
    };
    uses("800Mi").await;
    cluster.until("web", |pod| pod["metadata"]["annotations"].is_object()).await;
    resize(&cluster, "web", json!({"requests": {"memory": "512Mi"}, "limits": {"memory": "512Mi"}})).await;
    let failed = cluster.until("web", |pod| condition(pod, "PodResizeInProgress")["reason"] == "Error").await;
    let why = "cannot decrease memory limits: attempting to set container \"c\" memory limit (536870912) below current usage (838860800)";
    assert_eq!(condition(&failed, "PodResizeInProgress")["message"], why);
    assert_eq!(first(&failed)["resources"]["limits"]["memory"], "1Gi");
    cluster.until_event("web", "ResizeError: Pod resize error: {").await;
    uses("100Mi").await;
    let after = cluster.until("web", |pod| first(pod)["resources"]["limits"]["memory"] == "512Mi").await;
    assert_eq!(first(&after)["restartCount"], 0);
    cluster.until("web", has("1")).await;
}

#[tokio::test(start_paused = true)]
async fn a_kubelet_that_starts_again_knows_what_it_granted() {
    let (mut cluster, host) = hollow().await;
    cluster.run("big", asks("5", json!({}))).await;
    cluster.run("web", asks("1", json!({}))).await;
    cluster.until("big", is_ready).await;
    let before = cluster.until("web", is_ready).await;
    cpu(&cluster, "web", "4").await;
    cluster.until("web", |pod| condition(pod, "PodResizePending")["reason"] == "Deferred").await;
    cluster.stop().await;
    // Asked for while nobody looks.
    cpu(&cluster, "big", "4").await;
    cluster.start(Arc::new(host.clone()), true);
    let big = cluster.until("big", has("4")).await;
    assert_eq!(first(&big)["restartCount"], 0);
    let after = cluster.until("web", has("4")).await;
    assert_eq!((id(&after), first(&after)["restartCount"].as_i64()), (id(&before), Some(0)));
    assert_eq!(host.resources(id(&after)).unwrap().cpu_shares, Some(4096));
    let deferred = cluster.events("web").await.into_iter().filter(|event| event.starts_with("ResizeDeferred")).count();
    assert_eq!(deferred, 1, "it is not told again");
}

#[tokio::test(start_paused = true)]
async fn a_kubelet_that_starts_again_knows_what_it_stopped() {
    let (mut cluster, host) = hollow().await;
    let policy = json!({"resizePolicy": [{"resourceName": "cpu", "restartPolicy": "RestartContainer"}]});
    let mut spec = asks("1", policy);
    spec["restartPolicy"] = json!("OnFailure");
    cluster.run("web", spec).await;
    let before = cluster.until("web", is_ready).await;
    cpu(&cluster, "web", "2").await;
    cluster.until_event("web", "Killing: Container c resize requires restart").await;
    cluster.stop().await;
    // What the container was told takes effect.
    host.crash(id(&before), 0);
    cluster.start(Arc::new(host.clone()), true);
    let after = cluster.until("web", |pod| is_ready(pod) && has("2")(pod)).await;
    assert_eq!(first(&after)["restartCount"], 1);
    assert_eq!(host.resources(id(&after)).unwrap().cpu_shares, Some(2048));
}

#[tokio::test(start_paused = true)]
async fn what_was_granted_is_not_done_before_it_is_told() {
    let (mut cluster, host) = hollow_with(Duration::ZERO).await;
    cluster.run("web", asks("1", json!({}))).await;
    cluster.until("web", is_ready).await;
    cluster.calls.hold(|call| call.method() == "PATCH" && call.uri().path().ends_with("/pods/web/status"));
    cpu(&cluster, "web", "6").await;
    cluster.calls.met(1).await;
    cluster.stop().await;
    cluster.calls.let_through();
    // Nobody knows of the grant: others may have the room.
    cluster.run("other", asks("6", json!({}))).await;
    cluster.start(Arc::new(host.clone()), true);
    cluster.until("other", is_ready).await;
    let web = cluster.until("web", |pod| condition(pod, "PodResizePending")["reason"] == "Deferred").await;
    assert_eq!(host.resources(id(&web)).unwrap().cpu_shares, Some(1024));
}

#[tokio::test(start_paused = true)]
async fn a_pod_that_does_not_run_yet_starts_with_what_it_is_to_have() {
    let (cluster, host) = hollow().await;
    let mut spec = asks("1", json!({}));
    spec["initContainers"] = json!([{"name": "first", "image": "hollow/run-30:1",
        "resources": {"requests": {"cpu": "1"}}}]);
    cluster.run("web", spec).await;
    cluster.until("web", |pod| pod["status"]["initContainerStatuses"][0]["state"]["running"].is_object()).await;
    cpu(&cluster, "web", "3").await;
    let pod = cluster.until("web", |pod| is_ready(pod) && has("3")(pod)).await;
    assert_eq!(host.resources(id(&pod)).unwrap().cpu_shares, Some(3072));
    let _: Pod = serde_json::from_value(pod).unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_pod_gets_other_limits_as_a_whole() {
    let (cluster, host) = hollow().await;
    let whole = |cpu: &str, memory: &str| json!({"requests": {"cpu": cpu, "memory": "1Gi"}, "limits": {"cpu": "8", "memory": memory}});
    let own = json!({"limits": {"memory": "1Gi"}});
    let containers = json!([{"name": "c", "image": "web:1"}, {"name": "d", "image": "web:1", "resources": own}]);
    cluster.run("web", json!({"resources": whole("1", "2Gi"), "containers": containers})).await;
    let before = cluster.until("web", is_ready).await;
    let uid = before["metadata"]["uid"].as_str().unwrap();
    let limits = host.pod_resources(uid).unwrap();
    assert_eq!((limits.cpu_shares, limits.cpu_quota, limits.memory_limit), (Some(1024), Some(800_000), Some(2 << 30)));
    assert_eq!(host.resources(id(&before)).unwrap().memory_limit, Some(2 << 30), "no container has more");
    let patch = json!({"spec": {"resources": whole("2", "3Gi")}});
    let patch = Patch::Strategic(patch);
    cluster.pods().patch_subresource("resize", "web", &PatchParams::default(), &patch).await.unwrap();
    let under_way = cluster.until("web", |pod| condition(pod, "PodResizeInProgress")["status"] == "True").await;
    assert_eq!(under_way["status"]["allocatedResources"]["cpu"], "2");
    assert_eq!(under_way["status"]["resources"]["limits"]["memory"], "2Gi", "not yet");
    let after = cluster
        .until("web", |pod| {
            condition(pod, "PodResizeInProgress").is_null() && pod["status"]["resources"]["limits"]["memory"] == "3Gi"
        })
        .await;
    assert_eq!((id(&after), first(&after)["restartCount"].as_i64()), (id(&before), Some(0)));
    let limits = host.pod_resources(uid).unwrap();
    assert_eq!((limits.cpu_shares, limits.memory_limit), (Some(2048), Some(3 << 30)));
    assert_eq!(host.resources(id(&after)).unwrap().memory_limit, Some(3 << 30));
    cluster.until_event("web", "ResizeCompleted: ").await;
    cluster.run("more", json!({"resources": whole("7", "2Gi"), "containers": [{"name": "c", "image": "web:1"}]})).await;
    cluster.until("more", |pod| pod["status"]["reason"] == "OutOfcpu").await;
}

#[tokio::test(start_paused = true)]
async fn a_host_that_cannot_limit_pods_says_so() {
    let clock = Clock::virtual_from("2026-01-01T00:00:00Z".parse().unwrap());
    let host = Hollow::new(HollowOptions { lone_containers: true, ..HollowOptions::named(NODE, clock.clone()) });
    let cluster = Cluster::with(Arc::new(host), clock, "/nonexistent".into(), true).await;
    let whole = json!({"limits": {"cpu": "1"}});
    cluster.run("web", json!({"resources": whole, "containers": [{"name": "c", "image": "web:1"}]})).await;
    cluster.until("web", is_ready).await;
    let text =
        "LimitsNotEnforced: Pod: cpu limit 1 of all containers together not enforced: rootless Podman gives pods";
    cluster.until_event("web", text).await;
}
