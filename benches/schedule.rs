//! Pods bound per second in a cluster of 5,000 hosts, in the shapes of the workloads of Kubernetes'
//! scheduler_perf: the real API server over a store in memory, and the real scheduler; no kubelets. Beside
//! each what is aimed at: a thousand pods per second, or three times what scheduler_perf asks for.
//!
//!   cargo bench --bench schedule [-- NAME...]

#[path = "../tests/support/wait.rs"]
mod wait;

use bytes::Bytes;
use futures::{StreamExt, stream};
use http::Method;
use k8s_openapi::api::core::v1::Pod;
use selkie::apiserver::{ApiServer, Config, User};
use selkie::base::{clock::Clock, ids::Ids};
use selkie::client::{Context, in_process, raw};
use selkie::scheduler;
use serde_json::{Value, json};
use std::time::{Duration, Instant};
use tokio_util::sync::CancellationToken;
use wait::Pace;

/// As in the binary.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

const HOSTS: usize = 5000;
/// Objects written at once.
const WRITERS: usize = 64;
const HOSTNAME: &str = "kubernetes.io/hostname";
const ZONE: &str = "topology.kubernetes.io/zone";

struct Workload {
    name: &'static str,
    /// Pods that are on hosts before, and what one looks like.
    before: (usize, fn() -> Value),
    /// Pods that are measured, and what one looks like.
    measured: (usize, fn() -> Value),
    zones: usize,
    /// Pods per second.
    target: f64,
}

const WORKLOADS: [Workload; 5] = [
    Workload { name: "basic", before: (1000, plain), measured: (3000, plain), zones: 1, target: 1000.0 },
    Workload { name: "affinity", before: (5000, together), measured: (1000, together), zones: 1, target: 3.0 * 35.0 },
    Workload { name: "anti-affinity", before: (1000, apart), measured: (1000, apart), zones: 1, target: 3.0 * 60.0 },
    Workload { name: "spreading", before: (5000, plain), measured: (1000, spread), zones: 3, target: 3.0 * 85.0 },
    Workload { name: "preemption", before: (4 * HOSTS, low), measured: (500, high), zones: 1, target: 3.0 * 160.0 },
];

fn pod(cpu: &str, labels: &Value, more: &Value) -> Value {
    let requests = json!({"requests": {"cpu": cpu, "memory": "500Mi"}});
    let mut spec = json!({"terminationGracePeriodSeconds": 0,
        "containers": [{"name": "pause", "image": "pause", "resources": requests}]});
    for (field, value) in more.as_object().into_iter().flatten() {
        spec[field] = value.clone();
    }
    json!({"metadata": {"labels": labels}, "spec": spec})
}

fn plain() -> Value {
    pod("100m", &json!({}), &Value::Null)
}

fn term(color: &str, key: &str) -> Value {
    json!({"requiredDuringSchedulingIgnoredDuringExecution": [{"topologyKey": key,
        "labelSelector": {"matchLabels": {"color": color}}, "namespaces": ["before", "measured"]}]})
}

fn together() -> Value {
    pod("100m", &json!({"color": "blue"}), &json!({"affinity": {"podAffinity": term("blue", ZONE)}}))
}

fn apart() -> Value {
    pod("100m", &json!({"color": "green"}), &json!({"affinity": {"podAntiAffinity": term("green", HOSTNAME)}}))
}

fn spread() -> Value {
    let constraint = json!({"maxSkew": 5, "topologyKey": ZONE, "whenUnsatisfiable": "DoNotSchedule",
        "labelSelector": {"matchLabels": {"color": "blue"}}});
    pod("100m", &json!({"color": "blue"}), &json!({"topologySpreadConstraints": [constraint]}))
}

fn low() -> Value {
    pod("900m", &json!({}), &Value::Null)
}

fn high() -> Value {
    pod("3000m", &json!({}), &json!({"priorityClassName": "high"}))
}

fn main() {
    let named: Vec<String> = std::env::args().skip(1).filter(|argument| !argument.starts_with('-')).collect();
    let runtime =
        tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().expect("a runtime");
    println!("{:16} {:>8} {:>10} {:>10} {:>8}", "", "pods", "pods/s", "target", "ratio");
    for workload in &WORKLOADS {
        if named.is_empty() || named.iter().any(|name| name == workload.name) {
            let rate = runtime.block_on(measure(workload));
            let ratio = rate / workload.target;
            println!(
                "{:16} {:>8} {rate:>10.0} {:>10.0} {ratio:>8.2}",
                workload.name, workload.measured.0, workload.target
            );
        }
    }
}

/// Pods per second from the first write until the last pod is bound.
async fn measure(workload: &Workload) -> f64 {
    let server = ApiServer::new(Config::in_memory(Clock::System, Ids::seeded(1)));
    let client = in_process(&server, User::master("bench"));
    let ctx = Context::new(client.clone(), Clock::System, Ids::seeded(2), CancellationToken::new());
    for name in ["before", "measured"] {
        post(&client, "/api/v1/namespaces", json!({"metadata": {"name": name}})).await;
    }
    let class = json!({"metadata": {"name": "high"}, "value": 10});
    post(&client, "/apis/scheduling.k8s.io/v1/priorityclasses", class).await;
    write(0..HOSTS, async |at| add_host(&client, at, workload.zones).await).await;
    let (count, template) = workload.before;
    write(0..count, async |at| {
        let mut pod = named(template(), at);
        pod["spec"]["nodeName"] = host(at % HOSTS).into();
        post(&client, "/api/v1/namespaces/before/pods", pod).await;
    })
    .await;
    let pods = ctx.informers.of::<Pod>();
    pods.synced().await;
    let running = tokio::spawn(scheduler::run(ctx.clone()));

    let (count, template) = workload.measured;
    let begun = Instant::now();
    write(0..count, async |at| post(&client, "/api/v1/namespaces/measured/pods", named(template(), at)).await).await;
    let pace = Pace { every: Duration::from_millis(20), at_most: Duration::from_secs(600) };
    wait::until("all pods are bound", pace, async || {
        let is_bound = |pod: &Pod| pod.spec.as_ref().is_some_and(|spec| spec.node_name.is_some());
        let bound = pods.list_namespace("measured").iter().filter(|pod| is_bound(pod)).count();
        if bound == count { Ok(()) } else { Err(format!("{bound} of {count} pods are bound")) }
    })
    .await;
    let rate = count as f64 / begun.elapsed().as_secs_f64();
    ctx.shutdown.cancel();
    running.await.expect("the scheduler ends");
    rate
}

/// Does it for each number, several at once.
async fn write(numbers: std::ops::Range<usize>, one: impl AsyncFn(usize)) {
    stream::iter(numbers).for_each_concurrent(WRITERS, |at| one(at)).await;
}

fn host(at: usize) -> String {
    format!("host-{at:04}")
}

fn named(mut pod: Value, at: usize) -> Value {
    pod["metadata"]["name"] = format!("pod-{at:05}").into();
    pod
}

async fn add_host(client: &kube::Client, at: usize, zones: usize) {
    let labels = json!({ HOSTNAME: host(at), ZONE: format!("zone-{}", at % zones) });
    let room = json!({"cpu": "4", "memory": "32Gi", "pods": "110"});
    let name = host(at);
    post(client, "/api/v1/nodes", json!({"metadata": {"name": name, "labels": labels}})).await;
    let patch = json!({"status": {"capacity": room, "allocatable": room}});
    let path = format!("/api/v1/nodes/{name}/status");
    send(client, Method::PATCH, &path, "application/merge-patch+json", patch).await;
}

async fn post(client: &kube::Client, path: &str, object: Value) {
    send(client, Method::POST, path, "application/json", object).await;
}

async fn send(client: &kube::Client, method: Method, path: &str, media: &str, object: Value) {
    let body = Some((media, Bytes::from(object.to_string())));
    if let Err(error) = raw::request(client, method, path, body).await {
        panic!("{path}: {error}");
    }
}
