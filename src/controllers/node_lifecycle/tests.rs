//! Hosts that come and go, in an API server; the tests play the kubelets.
#![allow(clippy::unwrap_used)]
use super::*;
use crate::controllers::rig::Rig;
use serde_json::Value;

fn node(name: &str) -> String {
    format!("/api/v1/nodes/{name}")
}

/// A host that renews its lease every ten seconds until it is dropped.
struct Host(tokio::task::JoinHandle<()>);

impl Drop for Host {
    fn drop(&mut self) {
        self.0.abort();
    }
}

async fn report(rig: &Rig, name: &str, ready: &str) {
    let time = rig.ctx.clock.now_seconds().to_string();
    let condition = json!({"type": "Ready", "status": ready, "lastHeartbeatTime": time, "lastTransitionTime": time});
    rig.status(&node(name), json!({"conditions": [condition]})).await;
}

async fn start(rig: &Rig, name: &str) -> Host {
    if rig.get("/api/v1/namespaces/kube-node-lease").await.is_null() {
        rig.post("/api/v1/namespaces", json!({"metadata": {"name": LEASES}})).await;
    }
    if rig.get(&node(name)).await.is_null() {
        rig.post("/api/v1/nodes", json!({"metadata": {"name": name}})).await;
    }
    report(rig, name, "True").await;
    let (client, clock) = (rig.ctx.client.clone(), rig.ctx.clock.clone());
    let leases = format!("/apis/coordination.k8s.io/v1/namespaces/{LEASES}/leases");
    let metadata = json!({"metadata": {"name": name}});
    if rig.get(&format!("{leases}/{name}")).await.is_null() {
        rig.post(&leases, metadata).await;
    }
    let path = format!("{leases}/{name}");
    Host(tokio::spawn(async move {
        let mut beat = tokio::time::interval(Duration::from_secs(10));
        loop {
            beat.tick().await;
            let time = clock.now().strftime("%Y-%m-%dT%H:%M:%S%.6fZ").to_string();
            let renewal = json!({"spec": {"renewTime": time}}).to_string();
            let body = Some(("application/merge-patch+json", renewal.into()));
            raw::request(&client, http::Method::PATCH, &path, body).await.unwrap();
        }
    }))
}

fn has(node: &Value, key: &str, effect: &str) -> bool {
    let taints = node["spec"]["taints"].as_array().cloned().unwrap_or_default();
    taints.iter().any(|taint| taint["key"] == key && taint["effect"] == effect)
}

fn untainted(node: &Value) -> bool {
    node["spec"]["taints"].as_array().is_none_or(Vec::is_empty)
}

async fn pod(rig: &Rig, name: &str, node: &str, tolerations: Value) -> String {
    let spec = json!({"nodeName": node, "tolerations": tolerations, "containers": [{"name": "c", "image": "i"}]});
    rig.post("/api/v1/namespaces/default/pods", json!({"metadata": {"name": name}, "spec": spec})).await;
    let path = format!("/api/v1/namespaces/default/pods/{name}");
    rig.status(&path, json!({"phase": "Running", "conditions": [{"type": "Ready", "status": "True"}]})).await;
    path
}

async fn rig() -> Rig {
    let rig = Rig::new().await;
    rig.spawn(run(rig.ctx.clone(), Timing::default(), 2));
    rig
}

#[tokio::test(start_paused = true)]
async fn a_new_node_is_tainted_until_it_is_ready() {
    let rig = rig().await;
    rig.post("/api/v1/nodes", json!({"metadata": {"name": "a"}})).await;
    rig.until(&node("a"), |node| has(node, plan::NOT_READY, "NoSchedule")).await;
    let _host = start(&rig, "a").await;
    rig.until(&node("a"), untainted).await;
}

#[tokio::test(start_paused = true)]
async fn a_silent_host_loses_its_pods_and_comes_back() {
    let rig = rig().await;
    let (a, _b) = (start(&rig, "a").await, start(&rig, "b").await);
    let patient = pod(&rig, "patient", "a", json!([])).await;
    let faithful = pod(&rig, "faithful", "a", json!([{"operator": "Exists"}])).await;
    rig.until(&node("a"), untainted).await;
    rig.stays(&node("a"), Duration::from_secs(300), untainted).await;
    drop(a);
    let stopped = rig.ctx.clock.now();
    let lost = rig.until(&node("a"), |node| has(node, plan::UNREACHABLE, "NoExecute")).await;
    assert!(rig.ctx.clock.now().duration_since(stopped).as_secs() <= 41);
    assert!(has(&lost, plan::UNREACHABLE, "NoSchedule"));
    assert_eq!(lost["status"]["conditions"][0]["reason"], "NodeStatusUnknown");
    assert_eq!(rig.get(&patient).await["status"]["conditions"][0]["status"], "False");
    let evicted = rig.until(&patient, |pod| pod["metadata"]["deletionTimestamp"].is_string()).await;
    let waited = rig.ctx.clock.now().duration_since(stopped).as_secs();
    assert!((330..=345).contains(&waited), "{waited}: {evicted}");
    assert!(rig.get(&faithful).await["metadata"]["deletionTimestamp"].is_null());
    let _a = start(&rig, "a").await;
    rig.until(&node("a"), untainted).await;
}

#[tokio::test(start_paused = true)]
async fn losing_all_hosts_at_once_drives_nobody_off() {
    let rig = rig().await;
    let hosts = [start(&rig, "a").await, start(&rig, "b").await, start(&rig, "c").await];
    let hasty = pod(
        &rig,
        "hasty",
        "a",
        json!([{"key": plan::UNREACHABLE, "operator": "Exists", "effect": "NoExecute", "tolerationSeconds": 60}]),
    )
    .await;
    for host in ["a", "b", "c"] {
        rig.until(&node(host), untainted).await;
    }
    drop(hosts);
    for host in ["a", "b", "c"] {
        rig.until(&node(host), |node| has(node, plan::UNREACHABLE, "NoSchedule")).await;
    }
    let spared = |pod: &Value| pod["metadata"]["uid"].is_string() && pod["metadata"]["deletionTimestamp"].is_null();
    rig.stays(&hasty, Duration::from_secs(600), spared).await;
    let lost = rig.get(&node("a")).await;
    assert!(has(&lost, plan::UNREACHABLE, "NoSchedule") && !has(&lost, plan::UNREACHABLE, "NoExecute"), "{lost}");
}

/// How many of the hosts have had their pods driven off.
async fn given_up(rig: &Rig, hosts: &[String]) -> usize {
    let mut count = 0;
    for host in hosts {
        count += usize::from(has(&rig.get(&node(host)).await, plan::UNREACHABLE, "NoExecute"));
    }
    count
}

/// Starts so many hosts and drops the first `lost` of them; how many of those are given up after so many minutes.
async fn outage(all: usize, lost: usize, minutes: u64) -> usize {
    let rig = rig().await;
    let names: Vec<String> = (0..all).map(|at| format!("h{at:02}")).collect();
    let mut hosts = Vec::new();
    for name in &names {
        hosts.push(start(&rig, name).await);
    }
    for name in &names {
        rig.until(&node(name), untainted).await;
    }
    hosts.drain(..lost);
    for name in &names[..lost] {
        rig.until(&node(name), |node| has(node, plan::UNREACHABLE, "NoSchedule")).await;
    }
    tokio::time::sleep(Duration::from_secs(minutes * 60)).await;
    given_up(&rig, &names).await
}

#[tokio::test(start_paused = true)]
async fn hosts_lost_together_are_given_up_one_by_one() {
    let six_a_minute = outage(30, 10, 1).await;
    assert!((6..=8).contains(&six_a_minute), "{six_a_minute}");
}

#[tokio::test(start_paused = true)]
async fn losing_most_hosts_of_a_small_zone_drives_hardly_anybody_off() {
    let before_it_was_noticed = outage(10, 7, 30).await;
    assert!(before_it_was_noticed <= 1, "{before_it_was_noticed}");
}

#[tokio::test(start_paused = true)]
async fn losing_most_hosts_of_a_large_zone_slows_evictions_down() {
    let slowly = outage(54, 34, 10).await;
    assert!((5..=8).contains(&slowly), "{slowly}");
}
