//! The API server over TLS with keep-alive: creates, gets, lists, the chain from a Deployment to
//! bound pods, memory. Each beside a bare HTTPS server that answers the same bytes from memory, and,
//! for creates, beside writing and syncing the same bytes to a file.
//!
//!   cargo bench --bench api [-- requests|memory|chain|scale [THOUSANDS]]
//!
//! `scale` runs only when it is named: so many thousand pods (150, if none are given), thirty on each simulated
//! host, until all of them are available, and the memory that they take.

#[path = "support/bare.rs"]
mod bare;
#[path = "support/daemon.rs"]
mod daemon;
#[path = "support/https.rs"]
mod https;
#[path = "../tests/support/wait.rs"]
mod wait;

use bytes::Bytes;
use daemon::Daemon;
use http::Method;
use https::{Connection, Outcome, Target, load};
use serde_json::{Value, json};
use std::io::Write;
use std::time::{Duration, Instant};
use wait::Pace;

const TIME: Duration = Duration::from_secs(3);
const PACE: Pace = Pace { every: Duration::from_millis(100), at_most: Duration::from_secs(60) };
const PODS: &str = "/api/v1/namespaces/default/pods";
const CONFIG_MAPS: &str = "/api/v1/namespaces/default/configmaps";

fn main() {
    let _ = rustls::crypto::ring::default_provider().install_default();
    let runtime =
        tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().expect("a runtime");
    runtime.block_on(run());
}

async fn run() {
    let wanted: Vec<String> = std::env::args().skip(1).filter(|arg| !arg.starts_with('-')).collect();
    let wants = |part: &str| wanted.is_empty() || wanted.iter().any(|one| one == part);
    println!("{:42} {:>12} {:>10} {:>10}   beside", "", "selkie", "p50", "p99");
    if wants("requests") {
        requests().await;
    }
    if wants("memory") {
        memory().await;
    }
    if wants("chain") {
        chain().await;
    }
    if wanted.iter().any(|one| one == "scale") {
        scale(wanted.iter().find_map(|one| one.parse().ok()).unwrap_or(150)).await;
    }
}

/// Creates, gets and lists, one kind of load after the other.
async fn requests() {
    let bare = bare::Server::start().await;
    let base = Target::at(bare.address, &bare.ca);
    let daemon = Daemon::start(&["--no-hosts"]);
    let target = Target::of(&daemon.kubeconfig());
    let mut one = target.connect().await;
    println!("{:42} {:>9} ms", "cold start to serving", daemon.cold_start.as_millis());
    let synced = fsync_loop(&daemon, &config_map("sync", 0));
    for connections in [1, 16] {
        let outcome = load(&target, connections, TIME, move |client, n| {
            (Method::POST, CONFIG_MAPS.into(), config_map(&format!("c{connections}-{client}"), n))
        })
        .await;
        let ratio = outcome.per_second / synced;
        print(
            &format!("durable creates, {connections} connections"),
            &outcome,
            &format!("write+fsync {synced:.0}/s, ratio {ratio:.2}"),
        );
    }

    create_pods(&mut one, 1000).await;
    let pod = one.send(Method::GET, &format!("{PODS}/pod-7"), Bytes::new()).await;
    let list = one.send(Method::GET, PODS, Bytes::new()).await;
    bare.set("/get", pod);
    bare.set("/list", list.clone());
    let best = load(&base, 16, TIME, |_, _| (Method::GET, "/get".into(), Bytes::new())).await;
    let outcome = load(&target, 16, TIME, |client, n| {
        (Method::GET, format!("{PODS}/pod-{}", (client * 61 + n) % 1000), Bytes::new())
    })
    .await;
    print("gets, 16 connections", &outcome, &beside(&best, &outcome));
    let best = load(&base, 8, TIME, |_, _| (Method::GET, "/list".into(), Bytes::new())).await;
    let outcome = load(&target, 8, TIME, |_, _| (Method::GET, PODS.into(), Bytes::new())).await;
    print(
        &format!("lists of 1,000 pods ({:.1} MB), 8 connections", list.len() as f64 / 1e6),
        &outcome,
        &beside(&best, &outcome),
    );
}

/// What a fresh daemon takes, and what it takes with a medium cluster's objects.
async fn memory() {
    let daemon = Daemon::start(&["--no-hosts"]);
    let target = Target::of(&daemon.kubeconfig());
    let mut one = target.connect().await;
    let mut before = processor(&daemon);
    wait::until("the daemon is idle", PACE, async || {
        let now = processor(&daemon);
        let busy = now - std::mem::replace(&mut before, now);
        if busy < 1e-3 { Ok(()) } else { Err(format!("{busy} s of processor time between looks")) }
    })
    .await;
    println!("{:42} {:>9.1} MB", "memory, idle control plane", daemon.memory());
    create_pods(&mut one, 1000).await;
    let clients = (0..16).map(|client| {
        let target = target.clone();
        tokio::spawn(async move {
            let mut connection = target.connect().await;
            for n in (0..27_000).filter(|n| n % 16 == client) {
                connection.send(Method::POST, CONFIG_MAPS, config_map("fill", n)).await;
            }
        })
    });
    for client in clients.collect::<Vec<_>>() {
        client.await.expect("a client");
    }
    println!("{:42} {:>9.1} MB", "memory, 1,000 pods + 27,000 ConfigMaps", daemon.memory());
}

fn print(what: &str, outcome: &Outcome, beside: &str) {
    let ms = |time: Duration| format!("{:.2} ms", time.as_secs_f64() * 1e3);
    println!("{what:42} {:>10.0}/s {:>10} {:>10}   {beside}", outcome.per_second, ms(outcome.p50), ms(outcome.p99));
}

fn beside(best: &Outcome, outcome: &Outcome) -> String {
    format!("bare HTTPS {:.0}/s, ratio {:.2}", best.per_second, outcome.per_second / best.per_second)
}

fn config_map(prefix: &str, n: usize) -> Bytes {
    let data = "x".repeat(700);
    let object = json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": format!("{prefix}-{n}")}, "data": {"key": data}});
    Bytes::from(object.to_string())
}

/// Writes and syncs the same bytes, one after the other: what one client can at most get from this disk.
fn fsync_loop(daemon: &Daemon, body: &[u8]) -> f64 {
    let mut file = std::fs::File::create(daemon.folder.path().join("sync")).expect("a file");
    let begun = Instant::now();
    let mut count = 0;
    while begun.elapsed() < Duration::from_secs(1) {
        file.write_all(body).and_then(|()| file.sync_data()).expect("a write");
        count += 1;
    }
    f64::from(count) / begun.elapsed().as_secs_f64()
}

fn pod_spec() -> Value {
    let probe = json!({"httpGet": {"path": "/healthz", "port": 8080}, "periodSeconds": 5});
    let container = |name: &str| {
        json!({
            "name": name, "image": "registry.example.com/team/service:v1.2.3", "args": ["--listen=:8080", "--level=info"],
            "ports": [{"name": "http", "containerPort": 8080}],
            "env": [{"name": "A", "value": "1"}, {"name": "POD", "valueFrom": {"fieldRef": {"fieldPath": "metadata.name"}}}],
            "resources": {"requests": {"cpu": "10m", "memory": "16Mi"}, "limits": {"memory": "64Mi"}},
            "livenessProbe": probe, "readinessProbe": probe,
            "volumeMounts": [{"name": "config", "mountPath": "/etc/service"}],
        })
    };
    json!({"containers": [container("service")], "volumes": [{"name": "config", "configMap": {"name": "service"}}]})
}

async fn create_pods(connection: &mut Connection, count: usize) {
    for n in 0..count {
        let pod = json!({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": format!("pod-{n}"), "labels": {"app": "service"}}, "spec": pod_spec()});
        connection.send(Method::POST, PODS, Bytes::from(pod.to_string())).await;
    }
}

/// A Deployment of 1,000 replicas over 100 simulated hosts, until every pod is bound.
async fn chain() {
    let daemon = Daemon::start(&["--hollow-hosts", "100"]);
    let target = Target::of(&daemon.kubeconfig());
    let mut one = target.connect().await;
    wait::until("the hosts are ready", PACE, async || {
        let hosts = count(&mut one, "/api/v1/nodes", ready).await;
        if hosts == 100 { Ok(()) } else { Err(hosts) }
    })
    .await;
    let template = json!({"metadata": {"labels": {"app": "chain"}}, "spec": pod_spec()});
    let deployment = json!({
        "apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "chain"},
        "spec": {"replicas": 1000, "selector": {"matchLabels": {"app": "chain"}}, "template": template},
    });
    // A watch tells of each pod once: looking again and again would measure the looking.
    let mut watch = target.connect().await;
    let mut bound = watch.stream(&format!("{PODS}?watch=true&fieldSelector=spec.nodeName!=")).await;
    let (begun, before) = (Instant::now(), processor(&daemon));
    one.send(Method::POST, "/apis/apps/v1/namespaces/default/deployments", Bytes::from(deployment.to_string())).await;
    let all = async {
        let mut count = 0;
        while count < 1000 {
            count += bound.lines().await.iter().filter(|line| line.starts_with(b"{\"type\":\"ADDED\"")).count();
        }
    };
    tokio::time::timeout(Duration::from_secs(120), all).await.expect("the pods are bound");
    let (seconds, busy) = (begun.elapsed().as_secs_f64(), processor(&daemon) - before);
    println!(
        "{:42} {:>10.0}/s {:>7.0} ms total, {:.0} us of the daemon's processor time per pod",
        "chain: 1,000 replicas on 100 hosts, bound",
        1000.0 / seconds,
        seconds * 1e3,
        busy * 1e3
    );
    println!("{:42} {:>9.1} MB", "memory, with these", daemon.memory());
}

/// Deployments of 1,000 replicas each, until everything has come to rest.
async fn scale(thousands: usize) {
    const PATIENCE: Pace = Pace { every: Duration::from_secs(2), at_most: Duration::from_secs(3600) };
    let hosts = (1000 * thousands).div_ceil(30);
    let daemon = Daemon::start(&["--hollow-hosts", &hosts.to_string()]);
    let target = Target::of(&daemon.kubeconfig());
    let mut one = target.connect().await;
    wait::until("the hosts are ready", PATIENCE, async || {
        let found = count(&mut one, "/api/v1/nodes", ready).await;
        if found == hosts { Ok(()) } else { Err(found) }
    })
    .await;
    println!("{:42} {:>9.1} MB", format!("memory, {hosts} hosts"), daemon.memory());
    let begun = Instant::now();
    for number in 0..thousands {
        let labels = json!({"app": format!("scale-{number}")});
        let requests = json!({"cpu": "10m", "memory": "16Mi"});
        let containers = json!([{"name": "c", "image": "pause", "resources": {"requests": requests}}]);
        let template = json!({"metadata": {"labels": labels}, "spec": {"containers": containers}});
        let deployment = json!({
            "apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": format!("scale-{number}")},
            "spec": {"replicas": 1000, "selector": {"matchLabels": labels}, "template": template},
        });
        let path = "/apis/apps/v1/namespaces/default/deployments";
        one.send(Method::POST, path, Bytes::from(deployment.to_string())).await;
    }
    wait::until("the pods are available", PATIENCE, async || {
        let whole = |deployment: &Value| deployment["status"]["availableReplicas"] == 1000;
        let found = count(&mut one, "/apis/apps/v1/namespaces/default/deployments", whole).await;
        if found == thousands { Ok(()) } else { Err(found) }
    })
    .await;
    let what = format!("memory, {},000 pods on {hosts} hosts", thousands);
    let per_pod = daemon.memory() * 1024.0 / (1000.0 * thousands as f64);
    let seconds = begun.elapsed().as_secs_f64();
    println!("{what:42} {:>9.1} MB, {per_pod:.0} KB a pod, after {seconds:.0} s", daemon.memory());
}

fn ready(node: &Value) -> bool {
    node.pointer("/status/conditions")
        .and_then(Value::as_array)
        .is_some_and(|all| all.iter().any(|one| one["type"] == "Ready" && one["status"] == "True"))
}

async fn count(connection: &mut Connection, path: &str, wanted: impl Fn(&Value) -> bool) -> usize {
    let list: Value = serde_json::from_slice(&connection.send(Method::GET, path, Bytes::new()).await).expect("JSON");
    list["items"].as_array().map_or(0, |items| items.iter().filter(|item| wanted(item)).count())
}

/// Processor seconds of all threads of the daemon so far: what a busy machine does not change much.
fn processor(daemon: &Daemon) -> f64 {
    let tasks = std::fs::read_dir(format!("/proc/{}/task", daemon.child.id())).expect("its threads");
    let nanoseconds = tasks.filter_map(|task| {
        let text = std::fs::read_to_string(task.ok()?.path().join("schedstat")).ok()?;
        text.split_whitespace().next()?.parse::<f64>().ok()
    });
    nanoseconds.sum::<f64>() / 1e9
}
