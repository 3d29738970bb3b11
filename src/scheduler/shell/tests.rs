//! The scheduler against a real API server, under virtual time.
#![allow(clippy::unwrap_used)]

use super::*;
use crate::controllers::rig::Rig;
use serde_json::Value;

const NODES: &str = "/api/v1/nodes";
const PODS: &str = "/api/v1/namespaces/default/pods";

/// A cluster with hosts of two cores, by name and zone.
async fn cluster(hosts: &[(&str, &str)]) -> Rig {
    let rig = Rig::new().await;
    for (name, zone) in hosts {
        add_host(&rig, name, zone).await;
    }
    rig.spawn(run(rig.ctx.clone()));
    rig
}

async fn add_host(rig: &Rig, name: &str, zone: &str) {
    let labels = json!({"kubernetes.io/hostname": name, "zone": zone});
    let room = json!({"cpu": "2", "memory": "4Gi", "pods": "10"});
    rig.post(NODES, json!({"metadata": {"name": name, "labels": labels}})).await;
    rig.status(&format!("{NODES}/{name}"), json!({"allocatable": room, "capacity": room})).await;
}

fn pod(name: &str, more: &Value) -> Value {
    let mut spec = json!({"containers": [{"name": "c", "image": "i"}]});
    for (field, value) in more.as_object().into_iter().flatten() {
        spec[field] = value.clone();
    }
    json!({"metadata": {"name": name, "labels": {"app": name, "tenant": "a"}}, "spec": spec})
}

fn path(name: &str) -> String {
    format!("{PODS}/{name}")
}

/// The host that the pod is bound to, once it is.
async fn host(rig: &Rig, name: &str) -> String {
    let bound = rig.until(&path(name), |pod| pod["spec"]["nodeName"].is_string()).await;
    bound["spec"]["nodeName"].as_str().unwrap().to_owned()
}

/// Why the pod waits, once its condition says so.
async fn refusal(rig: &Rig, name: &str) -> String {
    let said = |pod: &Value| pod["status"]["conditions"][0]["message"].as_str().map(str::to_owned);
    let refused = rig.until(&path(name), |pod| said(pod).is_some()).await;
    said(&refused).unwrap()
}

fn affinity(kind: &str, app: &str) -> Value {
    let term = json!({"topologyKey": "zone", "labelSelector": {"matchLabels": {"app": app}},
        "namespaceSelector": {}, "matchLabelKeys": ["tenant"]});
    json!({"affinity": { kind: {"requiredDuringSchedulingIgnoredDuringExecution": [term] }}})
}

#[tokio::test(start_paused = true)]
async fn a_pod_that_must_be_with_another_waits_for_it() {
    let rig = cluster(&[("a", "east"), ("b", "west")]).await;
    rig.post(PODS, pod("front", &affinity("podAffinity", "web"))).await;
    let why = "0/2 nodes are available: 2 node(s) didn't match pod affinity rules.";
    assert!(refusal(&rig, "front").await.starts_with(why));
    let mut stranger = pod("web", &json!({"nodeSelector": {"zone": "east"}}));
    stranger["metadata"]["name"] = "stranger".into();
    stranger["metadata"]["labels"]["tenant"] = "b".into();
    rig.post(PODS, stranger).await;
    assert_eq!(host(&rig, "stranger").await, "a");
    rig.post(PODS, pod("web", &json!({"nodeSelector": {"zone": "west"}}))).await;
    assert_eq!(host(&rig, "front").await, "b", "with the one of its own tenant");
}

#[tokio::test(start_paused = true)]
async fn pods_that_must_be_apart_get_hosts_as_these_come_and_free_them_as_they_go() {
    let rig = cluster(&[("a", "east")]).await;
    for name in ["one", "two"] {
        let mut shy = pod("shy", &affinity("podAntiAffinity", "shy"));
        shy["metadata"]["name"] = name.into();
        rig.post(PODS, shy).await;
    }
    assert_eq!(host(&rig, "one").await, "a");
    assert!(refusal(&rig, "two").await.contains("1 node(s) didn't match pod anti-affinity rules"));
    add_host(&rig, "b", "east").await;
    let waits = |pod: &Value| pod["spec"]["nodeName"].is_null();
    rig.stays(&path("two"), Duration::from_secs(20), waits).await;
    add_host(&rig, "c", "west").await;
    assert_eq!(host(&rig, "two").await, "c");
    rig.post(PODS, pod("shy", &affinity("podAntiAffinity", "shy"))).await;
    rig.until(&path("shy"), |pod| !pod["status"]["conditions"].is_null()).await;
    rig.delete(&format!("{}?gracePeriodSeconds=0", path("one"))).await;
    assert!(["a", "b"].contains(&&*host(&rig, "shy").await));
}

#[tokio::test(start_paused = true)]
async fn replicas_spread_over_zones_and_each_revision_by_itself() {
    let rig = cluster(&[("a", "east"), ("b", "west")]).await;
    let even = json!({"topologyKey": "zone", "maxSkew": 1, "whenUnsatisfiable": "DoNotSchedule",
        "labelSelector": {"matchLabels": {"app": "web"}}, "matchLabelKeys": ["revision"]});
    let more = json!({"topologySpreadConstraints": [even], "nodeSelector": {"zone": "east"},
        "containers": [{"name": "c", "image": "i"}]});
    let web = |name: &str, revision: &str| {
        let mut web = pod("web", &more);
        web["metadata"]["name"] = name.into();
        web["metadata"]["labels"]["revision"] = revision.into();
        web["spec"]["topologySpreadConstraints"][0]["nodeAffinityPolicy"] = "Ignore".into();
        web
    };
    rig.post(PODS, web("one", "1")).await;
    assert_eq!(host(&rig, "one").await, "a");
    rig.post(PODS, web("two", "1")).await;
    assert!(refusal(&rig, "two").await.contains("1 node(s) didn't match pod topology spread constraints"));
    rig.post(PODS, web("three", "2")).await;
    assert_eq!(host(&rig, "three").await, "a");
    let mut west = web("four", "1");
    west["spec"]["nodeSelector"]["zone"] = "west".into();
    rig.post(PODS, west).await;
    assert_eq!(host(&rig, "two").await, "a", "the zones differ by one again");
}

/// A pod of this class that asks for so many cores.
fn asks(name: &str, class: &str, cores: u32) -> Value {
    let requests = json!({"requests": {"cpu": cores.to_string()}});
    pod(name, &json!({"priorityClassName": class, "containers": [{"name": "c", "image": "i", "resources": requests}]}))
}

async fn with_classes(hosts: &[(&str, &str)]) -> Rig {
    let rig = cluster(hosts).await;
    for (name, value) in [("low", 1), ("mid", 5), ("high", 10)] {
        let class = json!({"metadata": {"name": name}, "value": value});
        rig.post("/apis/scheduling.k8s.io/v1/priorityclasses", class).await;
    }
    rig
}

#[tokio::test(start_paused = true)]
async fn a_pod_gets_the_host_of_lesser_ones_once_they_have_left() {
    let rig = with_classes(&[("a", "east")]).await;
    rig.post(PODS, asks("low", "low", 2)).await;
    assert_eq!(host(&rig, "low").await, "a");
    rig.post(PODS, asks("high", "high", 2)).await;
    let leaving = rig.until(&path("low"), |pod| !pod["metadata"]["deletionTimestamp"].is_null()).await;
    let conditions = leaving["status"]["conditions"].as_array().unwrap();
    let target = conditions.iter().find(|one| one["type"] == "DisruptionTarget").unwrap();
    assert_eq!(target["reason"], "PreemptionByScheduler");
    assert_eq!(target["message"], "default-scheduler: preempting to accommodate a higher priority pod");
    assert_eq!(leaving["metadata"]["deletionGracePeriodSeconds"], 30);
    let waiting = rig.until(&path("high"), |pod| pod["status"]["nominatedNodeName"] == "a").await;
    assert!(waiting["spec"]["nodeName"].is_null());
    // Others of no higher priority do not get in between, and nobody else has to leave.
    rig.post(PODS, asks("mid", "mid", 1)).await;
    assert!(refusal(&rig, "mid").await.starts_with("0/1 nodes are available: 1 Insufficient cpu."));
    rig.delete(&format!("{}?gracePeriodSeconds=0", path("low"))).await;
    assert_eq!(host(&rig, "high").await, "a");
    let is_told = |list: &Value| list["items"].as_array().unwrap().iter().any(|event| event["reason"] == "Preempted");
    let events = rig.until("/api/v1/namespaces/default/events", is_told).await;
    let preempted = events["items"].as_array().unwrap().iter().find(|event| event["reason"] == "Preempted").unwrap();
    let uid = waiting["metadata"]["uid"].as_str().unwrap();
    assert_eq!(preempted["message"], format!("Preempted by pod {uid} on node a"));
    assert_eq!(preempted["involvedObject"]["name"], "low");
    rig.stays(&path("mid"), Duration::from_secs(15), |pod| pod["spec"]["nodeName"].is_null()).await;
}

#[tokio::test(start_paused = true)]
async fn a_promise_yields_to_a_higher_priority() {
    let rig = with_classes(&[("a", "east")]).await;
    rig.post(PODS, asks("low", "low", 2)).await;
    assert_eq!(host(&rig, "low").await, "a");
    rig.post(PODS, asks("mid", "mid", 2)).await;
    rig.until(&path("mid"), |pod| pod["status"]["nominatedNodeName"] == "a").await;
    rig.post(PODS, asks("high", "high", 2)).await;
    rig.until(&path("high"), |pod| pod["status"]["nominatedNodeName"] == "a").await;
    rig.until(&path("mid"), |pod| pod["status"]["nominatedNodeName"].is_null()).await;
    rig.delete(&format!("{}?gracePeriodSeconds=0", path("low"))).await;
    assert_eq!(host(&rig, "high").await, "a");
}

#[tokio::test(start_paused = true)]
async fn a_gated_pod_says_so_and_waits_for_its_gates() {
    let rig = cluster(&[("a", "east")]).await;
    rig.post(PODS, pod("gated", &json!({"schedulingGates": [{"name": "example.com/gate"}]}))).await;
    let waiting = rig.get(&path("gated")).await;
    assert_eq!(waiting["status"]["conditions"][0]["reason"], "SchedulingGated");
    rig.stays(&path("gated"), Duration::from_secs(5), |pod| pod["spec"]["nodeName"].is_null()).await;
    rig.patch(&path("gated"), json!({"spec": {"schedulingGates": []}})).await;
    assert_eq!(host(&rig, "gated").await, "a");
}

#[tokio::test(start_paused = true)]
async fn what_changes_wakes_those_that_it_helps_at_once() {
    let rig = cluster(&[("a", "east")]).await;
    rig.post(PODS, pod("front", &affinity("podAffinity", "web"))).await;
    refusal(&rig, "front").await;
    let begun = Instant::now();
    rig.post(PODS, pod("web", &Value::Null)).await;
    host(&rig, "front").await;
    assert!(begun.elapsed() < Duration::from_secs(10), "not only when all are looked at again: {:?}", begun.elapsed());
}

#[tokio::test(start_paused = true)]
async fn preferred_hosts_are_taken_and_others_where_those_are_full() {
    let rig = cluster(&[("a", "east"), ("b", "west")]).await;
    let west = json!({"matchExpressions": [{"key": "zone", "operator": "In", "values": ["west"]}]});
    let preferred = json!([{"weight": 10, "preference": west}]);
    let likes = json!({"affinity": {"nodeAffinity": {"preferredDuringSchedulingIgnoredDuringExecution": preferred}},
        "containers": [{"name": "c", "image": "i", "resources": {"requests": {"cpu": "1500m"}}}]});
    rig.post(PODS, pod("one", &likes)).await;
    assert_eq!(host(&rig, "one").await, "b");
    rig.post(PODS, pod("two", &likes)).await;
    assert_eq!(host(&rig, "two").await, "a");
}

#[tokio::test(start_paused = true)]
async fn a_scheduler_of_ones_own_weighs_hosts_otherwise() {
    let rig = cluster(&[("a", "east"), ("b", "east"), ("c", "east")]).await;
    let packed = json!({"schedulerName": "packing",
        "containers": [{"name": "c", "image": "i", "resources": {"requests": {"cpu": "500m", "memory": "1Gi"}}}]});
    rig.post(PODS, pod("early", &packed)).await;
    rig.stays(&path("early"), Duration::from_secs(5), |pod| pod["spec"]["nodeName"].is_null()).await;
    rig.post("/api/v1/namespaces", json!({"metadata": {"name": "selkie-system"}})).await;
    let weights = "MostAllocated: 10\nLeastAllocated: 0\n";
    let map = json!({"metadata": {"name": "scheduler"}, "data": {"packing": weights, "wrong": "Luck: 1"}});
    rig.post("/api/v1/namespaces/selkie-system/configmaps", map).await;
    let first = host(&rig, "early").await;
    for name in ["two", "three", "four"] {
        rig.post(PODS, pod(name, &packed)).await;
        assert_eq!(host(&rig, name).await, first);
    }
    let is_told = |list: &Value, reason: &str, by: &str| {
        let told = |event: &Value| event["reason"] == reason && event["source"]["component"] == by;
        list["items"].as_array().unwrap().iter().any(told)
    };
    rig.until("/api/v1/namespaces/default/events", |list| is_told(list, "Scheduled", "packing")).await;
    let events = "/api/v1/namespaces/selkie-system/events";
    rig.until(events, |list| is_told(list, "InvalidScheduler", "default-scheduler")).await;
}

#[tokio::test(start_paused = true)]
async fn a_pod_waits_until_what_another_left_is_detached() {
    const STORAGE: &str = "/apis/storage.k8s.io/v1";
    let rig = cluster(&[("h1", "east")]).await;
    let limit = json!([{"name": "d.example.com", "nodeID": "h1", "allocatable": {"count": 1}}]);
    rig.post(&format!("{STORAGE}/csinodes"), json!({"metadata": {"name": "h1"}, "spec": {"drivers": limit}})).await;
    for name in ["old", "new"] {
        let csi = json!({"driver": "d.example.com", "volumeHandle": name});
        let spec = json!({"capacity": {"storage": "1Gi"}, "accessModes": ["ReadWriteOnce"], "csi": csi});
        rig.post("/api/v1/persistentvolumes", json!({"metadata": {"name": name}, "spec": spec})).await;
    }
    let source = json!({"persistentVolumeName": "old"});
    let left = json!({"metadata": {"name": "left"},
        "spec": {"attacher": "d.example.com", "nodeName": "h1", "source": source}});
    rig.post(&format!("{STORAGE}/volumeattachments"), left).await;
    let claim = json!({"metadata": {"name": "data", "annotations": {"pv.kubernetes.io/bind-completed": "yes"}},
        "spec": {"volumeName": "new", "storageClassName": "", "accessModes": ["ReadWriteOnce"],
            "resources": {"requests": {"storage": "1Gi"}}}});
    rig.post("/api/v1/namespaces/default/persistentvolumeclaims", claim).await;
    let volumes = json!([{"name": "v", "persistentVolumeClaim": {"claimName": "data"}}]);
    rig.post(PODS, pod("web", &json!({"volumes": volumes}))).await;
    let why = refusal(&rig, "web").await;
    assert!(why.starts_with("0/1 nodes are available: 1 node(s) exceed max volume count."), "{why}");
    rig.delete(&format!("{STORAGE}/volumeattachments/left")).await;
    assert_eq!(host(&rig, "web").await, "h1");
}
