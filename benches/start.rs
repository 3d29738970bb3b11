//! From `selkie apply` to running containers on real Podman, beside the same containers made by raw calls
//! of Podman's REST API on the same host, in turn: examples/hello, 20 pods of one container, and 20 that run once, as
//! those of Jobs do, which nobody has to hold the namespaces of. And from
//! `git push` of examples/hello to the first of its containers. And what a run of an exec probe costs, beside an exec by
//! raw calls.
//!
//! All are measured from before the first call to the time that Podman says it started the container. The
//! Podman has storage of its own.
//!
//!   cargo bench --bench start [-- ROUNDS]

#[path = "support/daemon.rs"]
mod daemon;
#[path = "support/podman.rs"]
mod podman;
#[path = "../tests/support/storage.rs"]
mod storage;
#[path = "../tests/support/wait.rs"]
mod wait;
#[path = "support/working_copy.rs"]
mod working_copy;

use daemon::Daemon;
use futures::{StreamExt, stream};
use jiff::Timestamp;
use podman::{IMAGE, Pod, Podman};
use serde_json::{Value, json};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};
use wait::Pace;
use working_copy::WorkingCopy;

const PODS: usize = 20;
/// How long probes are watched.
const MEASURED: Duration = Duration::from_secs(20);
const MADE_BY_SELKIE: &str = "io.selkie.container.name";
const MADE_RAW: &str = "bench=main";
/// Longer than any round takes, and too seldom to disturb it.
const PACE: Pace = Pace { every: Duration::from_millis(50), at_most: Duration::from_secs(120) };

fn main() {
    let _ = rustls::crypto::ring::default_provider().install_default();
    let rounds = std::env::args().skip(1).find_map(|arg| arg.parse().ok()).unwrap_or(5);
    let runtime =
        tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().expect("a runtime");
    runtime.block_on(run(rounds));
}

async fn run(rounds: usize) {
    let podman = Podman::start().await;
    let daemon = Daemon::start(&["--host", &format!("one={}", podman.storage.url)]);
    let bench = Bench { podman, daemon };
    bench.ready().await;

    let port = free_port();
    let hello = bench.hello(port);
    let (mut selkie, mut raw) = (Vec::new(), Vec::new());
    for round in 0..rounds {
        selkie.push(bench.apply(&hello, 3).await);
        raw.push(last(&bench.raw(&hello_pods(port, round), 3).await));
    }
    let (selkie, raw) = (median(selkie), median(raw));
    println!("examples/hello, apply -> 3 containers running       selkie {selkie:>6.2} s");
    println!("the same by raw calls, 3 at a time                  raw    {raw:>6.2} s");
    println!("difference {:.2} s (required: at most 1 s), ratio {:.2}", selkie - raw, selkie / raw);

    let copy = WorkingCopy::new(&bench.daemon.data(), "hello");
    let (mut selkie, mut raw) = (Vec::new(), Vec::new());
    for round in 0..rounds {
        selkie.push(bench.push(&copy, &hello, 3).await);
        raw.push(first(&bench.raw(&hello_pods(port, rounds + round), 3).await));
    }
    let (selkie, raw) = (median(selkie), median(raw));
    println!("examples/hello, git push -> first container running selkie {selkie:>6.2} s");
    println!("the same by raw calls, 3 at a time                  raw    {raw:>6.2} s");
    println!("difference {:.2} s (required: at most 1 s), ratio {:.2}", selkie - raw, selkie / raw);

    let manifest = bench.pods();
    let job = bench.job();
    let (mut selkie, mut once) = (Vec::new(), Vec::new());
    let at_a_time = [1, 4, 8, PODS];
    let mut raw: Vec<Vec<f64>> = vec![Vec::new(); at_a_time.len()];
    for round in 0..rounds {
        selkie.push(bench.apply(&manifest, PODS).await);
        once.push(bench.apply(&job, PODS).await);
        for (width, times) in at_a_time.iter().zip(&mut raw) {
            times.push(last(&bench.raw(&single_pods(round), *width).await));
        }
    }
    let per_minute = |seconds: f64| PODS as f64 * 60.0 / seconds;
    let (selkie, once) = (per_minute(median(selkie)), per_minute(median(once)));
    println!("{PODS} pods of one container                             selkie {selkie:>6.0} pods/min");
    for (width, times) in at_a_time.iter().zip(raw) {
        let raw = per_minute(median(times));
        println!(
            "the same by raw calls, {width:>2} at a time                 raw    {raw:>6.0} pods/min, ratio {:.2} (target 0.9)",
            selkie / raw
        );
    }
    println!("{PODS} pods of one container that run once               selkie {once:>6.0} pods/min");
    println!("memory of the daemon then                           {:>13.0} MB", bench.daemon.memory());

    let (selkie, raw) = bench.probes().await;
    println!("a run of an exec probe, {PODS} pods each second         selkie {selkie:>6.1} ms of CPU");
    println!("an exec of the same command by raw calls            raw    {raw:>6.1} ms of CPU");
    println!("ratio {:.2}", selkie / raw);
}

/// Seconds of CPU that this machine has used, on all cores: whatever runs for a probe, it is counted.
fn busy() -> f64 {
    const TICKS: f64 = 100.0;
    let text = std::fs::read_to_string("/proc/stat").expect("/proc/stat");
    let numbers = text.lines().next().expect("a line").split_whitespace().skip(1);
    let numbers: Vec<f64> = numbers.map(|number| number.parse().expect("a number")).collect();
    // user, nice, system, idle, iowait, irq, softirq
    (numbers[0] + numbers[1] + numbers[2] + numbers[5] + numbers[6]) / TICKS
}

/// Seconds of CPU that the machine uses while `work` is done, and how long that takes.
async fn used(work: impl Future<Output = ()>) -> (f64, f64) {
    let (before, begun) = (busy(), Instant::now());
    work.await;
    (busy() - before, begun.elapsed().as_secs_f64())
}

struct Bench {
    // In the order of dropping: the daemon first.
    daemon: Daemon,
    podman: Podman,
}

impl Bench {
    /// Seconds from an apply of `manifests` by the command line to `count` running containers. Removes
    /// them again.
    async fn apply(&self, manifests: &Path, count: usize) -> f64 {
        let begun = Timestamp::now();
        self.selkie(&["apply", "--wait=false"], manifests);
        self.until("the pods run", || async { self.running().await == count }).await;
        let seconds = last(&after(begun, &self.podman.started(MADE_BY_SELKIE).await, count));
        self.selkie(&["delete"], manifests);
        self.until_gone().await;
        seconds
    }

    /// Seconds from a push of `manifests` to the first of `count` running containers. Removes them again.
    async fn push(&self, copy: &WorkingCopy, manifests: &Path, count: usize) -> f64 {
        copy.put(manifests);
        let begun = Timestamp::now();
        copy.push(&[]);
        self.until("the pods run", || async { self.running().await == count }).await;
        let seconds = first(&after(begun, &self.podman.started(MADE_BY_SELKIE).await, count));
        copy.clear();
        copy.push(&["--push-option=confirm-prune"]);
        self.until_gone().await;
        seconds
    }

    /// Milliseconds of CPU for a run of a probe by selkie, and for an exec by raw calls; what the same pods cost
    /// without either is taken off.
    async fn probes(&self) -> (f64, f64) {
        let pause = || tokio::time::sleep(MEASURED);
        let begin = async |manifests: &Path| {
            self.selkie(&["apply", "--wait=false"], manifests);
            self.until("the pods run", || async { self.running().await == PODS }).await;
            // The first runs find their way.
            tokio::time::sleep(Duration::from_secs(5)).await;
        };
        let command = ["sh", "-c", "true"];
        let probed = self.many(json!({"exec": {"command": command}, "periodSeconds": 1, "timeoutSeconds": 10}));
        begin(&probed).await;
        let (with, _) = used(pause()).await;
        self.selkie(&["delete"], &probed);
        self.until_gone().await;

        let plain = self.pods();
        begin(&plain).await;
        let (without, seconds) = used(pause()).await;
        let containers = self.podman.containers(MADE_BY_SELKIE).await;
        let (raw, took) = used(async {
            for container in &containers {
                self.podman.exec(container, &command).await;
            }
            // Podman cleans up behind each.
            tokio::time::sleep(Duration::from_secs(3)).await;
        })
        .await;
        self.selkie(&["delete"], &plain);
        self.until_gone().await;
        let runs = PODS as f64 * seconds;
        let each = (raw - without / seconds * took) / containers.len() as f64;
        ((with - without) / runs * 1000.0, each * 1000.0)
    }

    async fn until_gone(&self) {
        self.until("the pods are gone", || async {
            self.pod_list().await.is_empty() && self.podman.containers(MADE_BY_SELKIE).await.is_empty()
        })
        .await;
    }

    /// Seconds to each container that raw calls start, `width` pods at a time.
    async fn raw(&self, pods: &[Pod], width: usize) -> Vec<f64> {
        let begun = Timestamp::now();
        stream::iter(pods).for_each_concurrent(width, |pod| self.podman.run(pod)).await;
        let seconds = after(begun, &self.podman.started(MADE_RAW).await, pods.len());
        stream::iter(pods).for_each_concurrent(4, |pod| self.podman.remove(pod)).await;
        seconds
    }

    /// Waits until the host's Node takes pods.
    async fn ready(&self) {
        self.until("the host is ready", || async {
            let nodes: Value = self.get("/api/v1/nodes").await;
            nodes["items"].as_array().is_some_and(|nodes| nodes.iter().any(|node| node["spec"]["taints"].is_null()))
        })
        .await;
    }

    async fn until<F: Future<Output = bool>>(&self, what: &str, condition: impl Fn() -> F) {
        wait::until(what, PACE, async || if condition().await { Ok(()) } else { Err("otherwise") }).await;
    }

    async fn get(&self, path: &str) -> Value {
        let client = selkie::client::connect(&self.daemon.kubeconfig()).await.expect("a client");
        client.request(http::Request::get(path).body(Vec::new()).expect("a request")).await.expect("an answer")
    }

    async fn pod_list(&self) -> Vec<Value> {
        let pods = self.get("/api/v1/namespaces/default/pods").await;
        pods["items"].as_array().cloned().unwrap_or_default()
    }

    async fn running(&self) -> usize {
        let runs = |pod: &&Value| !pod["status"]["containerStatuses"][0]["state"]["running"].is_null();
        self.pod_list().await.iter().filter(runs).count()
    }

    fn selkie(&self, args: &[&str], manifests: &Path) {
        let output = Command::new(env!("CARGO_BIN_EXE_selkie"))
            .args(args)
            .arg("-f")
            .arg(manifests)
            .env("SELKIE_DATA_DIR", self.daemon.data())
            .env("SELKIE_CONFIG", "/dev/null")
            .env_remove("KUBECONFIG")
            .output()
            .expect("selkie runs");
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    }

    /// examples/hello on a port of its own.
    fn hello(&self, port: u16) -> PathBuf {
        let to = self.daemon.folder.path().join("hello");
        std::fs::create_dir_all(&to).expect("a folder");
        let from = Path::new(env!("CARGO_MANIFEST_DIR")).join("examples/hello");
        for entry in std::fs::read_dir(from).expect("the example") {
            let entry = entry.expect("its files");
            let text = std::fs::read_to_string(entry.path()).expect("YAML");
            let text = text.replace("hostPort: 8080", &format!("hostPort: {port}"));
            std::fs::write(to.join(entry.file_name()), text).expect("a copy");
        }
        to
    }

    fn pods(&self) -> PathBuf {
        self.many(Value::Null)
    }

    /// As many pods that are never started again.
    fn job(&self) -> PathBuf {
        let path = self.daemon.folder.path().join("job.yaml");
        let job = json!({
            "apiVersion": "batch/v1", "kind": "Job", "metadata": {"name": "once"},
            "spec": {"completions": PODS, "parallelism": PODS, "template": {"spec": {
                "restartPolicy": "Never", "terminationGracePeriodSeconds": 0,
                "containers": [{"name": "main", "image": IMAGE, "command": ["sleep", "1000000"]}],
            }}},
        });
        std::fs::write(&path, job.to_string()).expect("a manifest");
        path
    }

    /// Pods of one container, with this liveness probe.
    fn many(&self, probe: Value) -> PathBuf {
        let path = self.daemon.folder.path().join("pods.yaml");
        let mut container = json!({"name": "main", "image": IMAGE, "command": ["sleep", "1000000"]});
        if !probe.is_null() {
            container["livenessProbe"] = probe;
        }
        let deployment = json!({
            "apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "many"},
            "spec": {"replicas": PODS, "selector": {"matchLabels": {"app": "many"}}, "template": {
                "metadata": {"labels": {"app": "many"}},
                "spec": {"terminationGracePeriodSeconds": 0, "containers": [container]},
            }},
        });
        std::fs::write(&path, deployment.to_string()).expect("a manifest");
        path
    }
}

/// Seconds to each of `count` containers.
fn after(begun: Timestamp, started: &[Timestamp], count: usize) -> Vec<f64> {
    assert_eq!(started.len(), count, "containers");
    started.iter().map(|at| at.duration_since(begun).as_secs_f64()).collect()
}

fn first(seconds: &[f64]) -> f64 {
    seconds.iter().copied().fold(f64::INFINITY, f64::min)
}

fn last(seconds: &[f64]) -> f64 {
    seconds.iter().copied().fold(0.0, f64::max)
}

/// The pods of examples/hello in Podman's terms.
fn hello_pods(port: u16, round: usize) -> Vec<Pod> {
    let limits = |shares: u64, memory: u64| json!({"cpu": {"shares": shares}, "memory": {"limit": memory << 20}});
    let page = json!({"destination": "/www", "type": "bind", "source": "/tmp", "options": ["ro", "rprivate", "rbind"]});
    let web = Pod {
        name: format!("web-{round}"),
        sandbox: json!({"portmappings": [{"host_port": port, "container_port": 8080, "protocol": "tcp"}]}),
        container: json!({"resource_limits": limits(51, 64), "mounts": [page], "env": {}}),
    };
    let script = "trap 'exit 0' TERM; while true; do echo \"$GREETING from $POD_NAME\"; sleep 5 & wait $!; done";
    let worker = |number: usize| Pod {
        name: format!("worker-{round}-{number}"),
        sandbox: json!({}),
        container: json!({
            "entrypoint": ["sh", "-c"], "command": [script], "resource_limits": limits(10, 32),
            "env": {"GREETING": "hello", "POD_NAME": format!("worker-{number}")},
        }),
    };
    vec![web, worker(1), worker(2)]
}

fn single_pods(round: usize) -> Vec<Pod> {
    let pod = |number: usize| Pod {
        name: format!("single-{round}-{number}"),
        sandbox: json!({}),
        container: json!({"entrypoint": ["sleep", "1000000"]}),
    };
    (0..PODS).map(pod).collect()
}

fn median(mut all: Vec<f64>) -> f64 {
    all.sort_by(f64::total_cmp);
    all[all.len() / 2]
}

fn free_port() -> u16 {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
    listener.local_addr().expect("an address").port()
}
