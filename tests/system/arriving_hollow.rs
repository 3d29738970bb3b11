//! Which pods a pretended host takes, with the clock paused.

use crate::control_plane::{Cluster, NODE, condition, is_ready};
use crate::wait::{self, Pace};
use k8s_openapi::api::core::v1::{Node, PersistentVolume, PersistentVolumeClaim};
use k8s_openapi::api::scheduling::v1::PriorityClass;
use kube::Api;
use kube::api::{DeleteParams, Patch, PostParams};
use selkie::base::clock::Clock;
use selkie::kubelet::runtime::hollow::{Hollow, HollowOptions};
use serde_json::{Value, json};
use std::sync::Arc;
use std::time::Duration;
use tokio::time::Instant;

/// A host of eight CPUs on which containers take so long to stop.
async fn hollow(stop_latency: Duration) -> (Cluster, Hollow) {
    let clock = Clock::virtual_from("2026-01-01T00:00:00Z".parse().unwrap());
    let host = Hollow::new(HollowOptions { stop_latency, ..HollowOptions::named(NODE, clock.clone()) });
    let cluster = Cluster::with(Arc::new(host.clone()), clock, "/nonexistent".into(), true).await;
    (cluster, host)
}

pub fn asking(cpu: &str) -> Value {
    let requests = json!({"cpu": cpu});
    json!({"containers": [{"name": "c", "image": "web:1", "resources": {"requests": requests}}]})
}

#[tokio::test(start_paused = true)]
async fn what_does_not_fit_is_rejected_and_what_runs_stays() {
    let (mut cluster, host) = hollow(Duration::ZERO).await;
    cluster.run("big", asking("6")).await;
    cluster.until("big", is_ready).await;
    cluster.run("more", asking("4")).await;
    let more = cluster.until("more", |pod| pod["status"]["phase"] == "Failed").await;
    let message = "Node didn't have enough resource: cpu, requested: 4000, used: 6000, capacity: 8000";
    assert_eq!(
        (&more["status"]["reason"], &more["status"]["message"]),
        (&json!("OutOfcpu"), &json!(format!("Pod was rejected: {message}")))
    );
    cluster.until_event("more", &format!("OutOfcpu: {message}")).await;
    cluster
        .run("elsewhere", {
            let mut spec = asking("1");
            spec["nodeSelector"] = json!({"disk": "ssd"});
            spec
        })
        .await;
    cluster.until("elsewhere", |pod| pod["status"]["reason"] == "NodeAffinity").await;

    // The node shrinks while its kubelet is away: the pod was taken long before.
    cluster.stop().await;
    let nodes: Api<Node> = Api::all(cluster.client.clone());
    let smaller = json!({"status": {"allocatable": {"cpu": "1"}}});
    nodes.patch_status(NODE, &Default::default(), &Patch::Merge(smaller)).await.unwrap();
    let taint = json!({"spec": {"taints": [{"key": "k", "effect": "NoExecute"}]}});
    nodes.patch(NODE, &Default::default(), &Patch::Merge(taint)).await.unwrap();
    cluster.start(Arc::new(host), true);
    cluster.run("late", asking("1m")).await;
    cluster.until("late", |pod| pod["status"]["reason"] == "TaintToleration").await;
    assert!(is_ready(&cluster.get("big").await.unwrap()));
}

async fn run_critical(cluster: &Cluster, cpu: &str) {
    let classes: Api<PriorityClass> = Api::all(cluster.client.clone());
    let class = json!({"metadata": {"name": "system-node-critical"}, "value": 2000001000});
    classes.create(&PostParams::default(), &serde_json::from_value(class).unwrap()).await.unwrap();
    let mut critical = asking(cpu);
    critical["priorityClassName"] = json!("system-node-critical");
    cluster.run("critical", critical).await;
}

#[tokio::test(start_paused = true)]
async fn pods_make_way_for_a_critical_one() {
    let (cluster, _) = hollow(Duration::ZERO).await;
    for (name, cpu) in [("small", "1"), ("big", "6")] {
        cluster.run(name, asking(cpu)).await;
        cluster.until(name, is_ready).await;
    }
    run_critical(&cluster, "5").await;
    let big = cluster.until("big", |pod| pod["status"]["phase"] == "Failed").await;
    assert_eq!(big["status"]["reason"], "Preempting");
    assert_eq!(condition(&big, "DisruptionTarget"), "True");
    cluster.until_event("big", "Preempting: Preempted in order to admit critical pod").await;
    cluster.until("critical", is_ready).await;
    assert!(is_ready(&cluster.get("small").await.unwrap()));
}

fn has_ended(pod: &Value) -> bool {
    pod["status"]["containerStatuses"][0]["state"]["terminated"].is_object()
}

#[tokio::test(start_paused = true)]
async fn room_that_is_made_is_given_once() {
    let (cluster, _) = hollow(Duration::from_secs(5)).await;
    for (name, cpu) in [("small", "1"), ("big", "6")] {
        cluster.run(name, asking(cpu)).await;
        cluster.until(name, is_ready).await;
    }
    run_critical(&cluster, "5").await;
    cluster.until_event("big", "Preempting: ").await;
    // 1 + 5 + 2: there is room as soon as the big one has gone, and no more.
    cluster.run("next", asking("2")).await;
    cluster.run("more", asking("1")).await;
    let more = cluster.until("more", |pod| pod["status"]["phase"] == "Failed").await;
    let message = "Node didn't have enough resource: cpu, requested: 1000, used: 8000, capacity: 8000";
    assert_eq!(more["status"]["message"], format!("Pod was rejected: {message}"));
    let big = cluster.get("big").await.unwrap();
    assert!(big["status"]["phase"] == "Running" && !has_ended(&big), "it still holds its room: {big:#}");
    for name in ["critical", "next"] {
        assert!(cluster.get(name).await.unwrap()["status"]["startTime"].is_null(), "{name} waits");
    }
    let big = cluster.until("big", |pod| pod["status"]["phase"] == "Failed").await;
    assert!(has_ended(&big) && big["status"]["reason"] == "Preempting", "{big:#}");
    for name in ["critical", "next", "small"] {
        cluster.until(name, is_ready).await;
    }
}

#[tokio::test(start_paused = true)]
async fn nobody_gets_the_room_of_a_container_that_still_runs() {
    let (cluster, _) = hollow(Duration::from_secs(5)).await;
    cluster.run("old", asking("6")).await;
    cluster.until("old", is_ready).await;
    let begun = Instant::now();
    cluster.pods().delete("old", &DeleteParams { grace_period_seconds: Some(0), ..Default::default() }).await.unwrap();
    cluster.until_gone("old").await;
    cluster.run("new", asking("6")).await;
    cluster.until("new", is_ready).await;
    assert!(begun.elapsed() >= Duration::from_secs(5), "{:?}", begun.elapsed());
    cluster.run("other", asking("6")).await;
    cluster.until("other", |pod| pod["status"]["reason"] == "OutOfcpu").await;
}

#[tokio::test(start_paused = true)]
async fn a_pod_is_not_rejected_because_the_api_does_not_answer() {
    let (cluster, _) = hollow(Duration::ZERO).await;
    cluster.run("first", asking("1")).await;
    cluster.until("first", is_ready).await;
    cluster.calls.lose(|call| call.method() == "GET" && call.uri().path() == "/api/v1/nodes/h1");
    let mut picky = asking("1");
    picky["nodeSelector"] = json!({"disk": "ssd"});
    cluster.run("picky", picky).await;
    cluster.calls.met(3).await;
    assert!(cluster.get("picky").await.unwrap()["status"]["startTime"].is_null());
    let nodes: Api<Node> = Api::all(cluster.client.clone());
    let label = json!({"metadata": {"labels": {"disk": "ssd"}}});
    nodes.patch(NODE, &Default::default(), &Patch::Merge(label)).await.unwrap();
    cluster.until("picky", is_ready).await;
}

#[tokio::test(start_paused = true)]
async fn a_pod_starts_as_soon_as_its_claim_is_bound() {
    let (cluster, _) = hollow(Duration::ZERO).await;
    let claims: Api<PersistentVolumeClaim> = Api::default_namespaced(cluster.client.clone());
    let spec = json!({"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "1Gi"}}});
    let mut claim = json!({"metadata": {"name": "data"}, "spec": spec});
    claim["spec"]["volumeName"] = json!("v");
    claim["spec"]["storageClassName"] = json!("");
    let claim = claims.create(&PostParams::default(), &serde_json::from_value(claim).unwrap()).await.unwrap();
    let volume = json!({"metadata": {"name": "v"}, "spec": {"accessModes": ["ReadWriteOnce"],
        "capacity": {"storage": "1Gi"}, "hostPath": {"path": "/srv"},
        "claimRef": {"namespace": "default", "name": "data", "uid": claim.metadata.uid}}});
    let volumes: Api<PersistentVolume> = Api::all(cluster.client.clone());
    volumes.create(&PostParams::default(), &serde_json::from_value(volume).unwrap()).await.unwrap();
    let mut pod = asking("1");
    pod["volumes"] = json!([{"name": "data", "persistentVolumeClaim": {"claimName": "data"}}]);
    cluster.run("db", pod).await;
    cluster.until_event("db", "FailedMount: error processing PVC default/data: PVC is not bound").await;
    let begun = Instant::now();
    wait::until("it has tried for a while", Pace::default(), async || {
        if begun.elapsed() > Duration::from_secs(40) { Ok(()) } else { Err("not yet") }
    })
    .await;
    let bound = json!({"status": {"phase": "Bound"}});
    claims.patch_status("data", &Default::default(), &Patch::Merge(bound)).await.unwrap();
    let bound = Instant::now();
    cluster.until("db", is_ready).await;
    assert!(bound.elapsed() < Duration::from_secs(1), "{:?}", bound.elapsed());
}
