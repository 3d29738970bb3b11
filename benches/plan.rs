//! Plans and applies of two sizes: 500 objects with 100 changed, and 10,000 with 2,000. By the daemon over
//! TLS as the command line asks for them, and as whole processes of `selkie`. Beside each, in the same
//! round, parsing the same YAML bytes and nothing else, and writing and syncing the same objects to the
//! same disk.
//!
//!   cargo bench --bench plan [-- ROUNDS] [usual|large]

#[path = "support/daemon.rs"]
mod daemon;
#[path = "../tests/support/wait.rs"]
mod wait;

use daemon::Daemon;
use selkie::api::registry::Registry;
use selkie::gitops::render::{Rendered, render};
use selkie::gitops::sources::{File, Snapshot};
use selkie::gitops::sync::{How, Options, once};
use std::io::Write;
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};
use wait::Pace;

/// Apps of a Deployment, a Service, a ConfigMap and a Secret each, in a file of their own, as people
/// keep them; every fifth is changed.
#[derive(Clone, Copy)]
struct Scale {
    apps: usize,
    hosts: usize,
    /// What is aimed at, for people; may be empty.
    apply_target: &'static str,
    plan_target: &'static str,
}

const USUAL: Scale = Scale { apps: 125, hosts: 10, apply_target: "target 300 ms", plan_target: "target 150 ms" };
const LARGE: Scale = Scale { apps: 2500, hosts: 30, apply_target: "", plan_target: "target 3000 ms" };

impl Scale {
    fn objects(self) -> usize {
        4 * self.apps
    }

    fn daemon(self) -> Daemon {
        Daemon::start(&["--hollow-hosts", &self.hosts.to_string()])
    }
}

/// One measurement of every kind, in milliseconds.
#[derive(Default)]
struct Round {
    parse: f64,
    sync: f64,
    render: f64,
    apply: f64,
    /// The change set alone, as a dry run.
    diff: f64,
    plan: f64,
    apply_process: f64,
    plan_process: f64,
    /// In MB, after all that.
    memory: f64,
}

fn main() {
    let _ = rustls::crypto::ring::default_provider().install_default();
    let rounds = std::env::args().skip(1).find_map(|arg| arg.parse().ok()).unwrap_or(5);
    let runtime =
        tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().expect("a runtime");
    let args: Vec<String> = std::env::args().skip(1).collect();
    let named = |name: &str| args.iter().any(|arg| arg == name);
    for (name, scale, rounds) in [("usual", USUAL, rounds), ("large", LARGE, 1)] {
        if named(name) || !["usual", "large"].into_iter().any(named) {
            let done: Vec<Round> = (0..rounds).map(|_| runtime.block_on(round(scale))).collect();
            report(scale, &done);
        }
    }
}

fn report(scale: Scale, done: &[Round]) {
    let median = |of: fn(&Round) -> f64| {
        let mut all: Vec<f64> = done.iter().map(of).collect();
        all.sort_by(f64::total_cmp);
        all[all.len() / 2]
    };
    let (parse, sync) = (median(|r| r.parse), median(|r| r.sync));
    let print = |what: &str, ms: f64, target: &str| {
        let ratios = format!("{:>9.1}x {:>9.1}x", ms / parse, ms / sync);
        println!("{what:46} {ms:>8.1} ms {ratios}   {target}");
    };
    let (objects, changed) = (scale.objects(), scale.objects() / 5);
    println!("{:46} {:>11} {:>10} {:>10}   medians of {} rounds", "", "", "parsing", "fsync", done.len());
    print("parsing the YAML, nothing else", parse, "");
    print("writing the objects, one fsync", sync, "");
    print("reading and checking the manifests", median(|r| r.render), "");
    print(&format!("apply of {objects} objects"), median(|r| r.apply), scale.apply_target);
    print(&format!("dry run of {objects} objects, {changed} changed"), median(|r| r.diff), "");
    print(&format!("plan of {objects} objects, {changed} changed"), median(|r| r.plan), scale.plan_target);
    print("`selkie apply`, the process", median(|r| r.apply_process), "");
    print("`selkie plan`, the process", median(|r| r.plan_process), "");
    println!("{:46} {:>8.1} MB", "memory of the daemon then", median(|r| r.memory));
}

/// Everything once, against daemons of this round's own.
async fn round(scale: Scale) -> Round {
    let folder = tempfile::tempdir().expect("a directory");
    let (first, second) = (folder.path().join("first"), folder.path().join("second"));
    write(&first, scale, |_| false);
    write(&second, scale, |app| app % 5 == 0);
    let mut round = Round::default();
    let files = read(&second);
    round.parse = timed(|| files.iter().for_each(|file| parse(&file.bytes)));
    let registry = Registry::builtin();
    let mut changed = Rendered::default();
    round.render = timed(|| changed = rendered(&second, scale, &registry));
    let initial = rendered(&first, scale, &registry);
    round.sync = timed(|| sync(folder.path(), &changed));

    let daemon = scale.daemon();
    let client = selkie::client::connect(&daemon.kubeconfig()).await.expect("a client");
    client.apiserver_version().await.expect("an answer");
    let options = Options::default();
    let begun = Instant::now();
    let outcome = once(&client, &registry, &initial, &options, How::Apply).await.expect("an apply");
    round.apply = milliseconds(begun);
    assert_eq!(outcome.report.totals().add, scale.objects() as u64);
    settled(&client, scale).await;
    let begun = Instant::now();
    once(&client, &registry, &changed, &options, How::DryRun).await.expect("a dry run");
    round.diff = milliseconds(begun);
    let begun = Instant::now();
    let outcome = once(&client, &registry, &changed, &options, How::LookAhead).await.expect("a plan");
    round.plan = milliseconds(begun);
    assert_eq!(outcome.report.totals().change, scale.objects() as u64 / 5);
    round.plan_process = timed(|| selkie(&daemon, &["plan"], &second));
    round.memory = daemon.memory();
    drop(daemon);

    let daemon = scale.daemon();
    round.apply_process = timed(|| selkie(&daemon, &["apply", "--wait=false"], &first));
    round
}

/// Waits until the pods of all Deployments run: a plan of a busy cluster would measure the cluster.
async fn settled(client: &kube::Client, scale: Scale) {
    use k8s_openapi::api::core::v1::Pod;
    let pods: kube::Api<Pod> = kube::Api::all(client.clone());
    let pace = Pace { every: Duration::from_millis(100), at_most: Duration::from_secs(600) };
    wait::until("the pods run", pace, async || {
        let list = pods.list(&Default::default()).await.expect("pods");
        let runs = |pod: &&Pod| pod.status.as_ref().and_then(|s| s.phase.as_deref()) == Some("Running");
        let running = list.items.iter().filter(runs).count();
        if running == scale.apps { Ok(()) } else { Err(running) }
    })
    .await;
}

fn milliseconds(begun: Instant) -> f64 {
    begun.elapsed().as_secs_f64() * 1e3
}

fn timed(work: impl FnOnce()) -> f64 {
    let begun = Instant::now();
    work();
    milliseconds(begun)
}

fn selkie(daemon: &Daemon, args: &[&str], folder: &Path) {
    let output = Command::new(env!("CARGO_BIN_EXE_selkie"))
        .args(args)
        .arg("-f")
        .arg(folder)
        .env("SELKIE_DATA_DIR", daemon.data())
        .env("SELKIE_CONFIG", "/dev/null")
        .env_remove("KUBECONFIG")
        .output()
        .expect("selkie runs");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
}

fn parse(bytes: &[u8]) {
    let text = std::str::from_utf8(bytes).expect("text");
    let all: Vec<serde_json::Value> = serde_saphyr::from_multiple(text).expect("YAML");
    std::hint::black_box(all);
}

fn rendered(folder: &Path, scale: Scale, registry: &Registry) -> Rendered {
    let rendered = render(&Snapshot::new("bench", read(folder), Vec::new()), registry, "default");
    assert!(rendered.errors.is_empty() && rendered.objects.len() == scale.objects());
    rendered
}

/// What any durable store must at least do: the objects as JSON in one write, synced once.
fn sync(folder: &Path, rendered: &Rendered) {
    let mut file = std::fs::File::create(folder.join("objects")).expect("a file");
    for manifest in &rendered.objects {
        file.write_all(manifest.value.to_string().as_bytes()).expect("a write");
    }
    file.sync_data().expect("a sync");
}

fn read(folder: &Path) -> Vec<File> {
    let mut files: Vec<File> = std::fs::read_dir(folder)
        .expect("a directory")
        .map(|entry| entry.expect("a file").path())
        .map(|path| File {
            path: path.file_name().expect("a name").to_string_lossy().into_owned().into(),
            bytes: std::fs::read(&path).expect("a file").into(),
        })
        .collect();
    files.sort_by(|a, b| a.path.cmp(&b.path));
    files
}

fn write(folder: &Path, scale: Scale, changed: impl Fn(usize) -> bool) {
    std::fs::create_dir_all(folder).expect("a directory");
    for app in 0..scale.apps {
        let value = if changed(app) { "changed" } else { "first" };
        std::fs::write(folder.join(format!("app-{app:04}.yaml")), manifests(app, value)).expect("a file");
    }
}

/// An app of four objects. `value` is somewhere in each of them.
fn manifests(app: usize, value: &str) -> String {
    let secret = if value == "first" { "Zmlyc3Q=" } else { "Y2hhbmdlZA==" };
    format!(
        r#"apiVersion: apps/v1
kind: Deployment
metadata:
  name: app-{app}
  labels: {{app: app-{app}, team: shop}}
spec:
  replicas: 1
  selector:
    matchLabels:
      app: app-{app}
  template:
    metadata:
      labels:
        app: app-{app}
    spec:
      containers:
        - name: service
          image: registry.example.com/shop/service:v1.2.3
          args: ["--listen=:8080", "--level=info"]
          ports:
            - name: http
              containerPort: 8080
          env:
            - name: SETTING
              value: {value}
            - name: POD
              valueFrom:
                fieldRef:
                  fieldPath: metadata.name
          resources:
            requests:
              cpu: 1m
              memory: 1Mi
            limits:
              memory: 64Mi
          volumeMounts:
            - name: config
              mountPath: /etc/service
      volumes:
        - name: config
          configMap:
            name: app-{app}
---
apiVersion: v1
kind: Service
metadata:
  name: app-{app}
  labels: {{app: app-{app}, setting: {value}}}
spec:
  selector:
    app: app-{app}
  ports:
    - name: http
      port: 80
      targetPort: http
---
apiVersion: v1
kind: ConfigMap
metadata:
  name: app-{app}
data:
  service.conf: |
    listen = ":8080"
    setting = "{value}"
    peers = ["a", "b", "c"]
  other: "1"
---
apiVersion: v1
kind: Secret
metadata:
  name: app-{app}
data:
  token: {secret}
"#
    )
}
