//! The cluster of a scenario.

use super::log::Log;
use http::Method;
use jiff::Timestamp;
use selkie::apiserver::{ApiServer, Config, User};
use selkie::base::{clock::Clock, ids::Ids};
use selkie::client::{Context, in_process, raw};
use selkie::controllers::{Timing, cronjob, run};
use selkie::kubelet::drift::unobserved;
use selkie::kubelet::runtime::hollow::{Hollow, HollowOptions};
use selkie::kubelet::{Kubelets, NodeConfig};
use selkie::scheduler;
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tokio_util::sync::{CancellationToken, DropGuard};

/// How long hosts take to start a container, and to end one.
const LATENCY: Duration = Duration::from_secs(1);

pub struct World {
    client: kube::Client,
    clock: Clock,
    log: Log,
    hosts: Arc<Mutex<BTreeMap<String, Hollow>>>,
    /// Of hosts that are heard of.
    kubelets: BTreeMap<String, DropGuard>,
    crons: Option<DropGuard>,
    /// How many parts were started: no two give the same ids.
    parts: u64,
    /// Of everything else.
    _controllers: DropGuard,
}

impl World {
    pub async fn new(begin: Timestamp) -> Self {
        let clock = Clock::virtual_from(begin);
        let client =
            in_process(&ApiServer::new(Config::in_memory(clock.clone(), Ids::seeded(1))), User::master("test"));
        let ctx = Context::new(client.clone(), clock.clone(), Ids::seeded(2), CancellationToken::new());
        let controllers = ctx.shutdown.clone().drop_guard();
        let (log, hosts, kubelets) = (Log::new(), Arc::default(), BTreeMap::new());
        let mut world = Self { client, clock, log, hosts, kubelets, crons: None, parts: 2, _controllers: controllers };
        for name in ["default", "kube-node-lease"] {
            world
                .send(Method::POST, "/api/v1/namespaces", "application/json", json!({"metadata": {"name": name}}))
                .await;
        }
        world.log.follow(&ctx);
        tokio::spawn(run(ctx.clone(), Timing::default()));
        tokio::spawn(scheduler::run(ctx));
        world.resume();
        world
    }

    /// What was seen until all that the command led to at once was over.
    pub async fn act(&mut self, command: &str, input: &str) -> String {
        let mut words = command.split_whitespace();
        let verb = words.next().unwrap_or_default();
        let words: Vec<&str> = words.collect();
        match (verb, words.as_slice()) {
            ("clock", [_]) => {}
            ("hosts", names) => self.join(names, input).await,
            ("apply", []) => self.apply(input).await,
            ("patch", [kind, name]) => {
                let change = serde_yaml::from_str(input).unwrap();
                self.send(Method::PATCH, &path(kind, name), "application/merge-patch+json", change).await;
            }
            ("delete", [kind, name]) => drop(self.send(Method::DELETE, &path(kind, name), "", Value::Null).await),
            ("drain", [host]) => self.drain(host).await,
            ("wait", [seconds]) => tokio::time::sleep(Duration::from_secs(seconds.parse().unwrap())).await,
            ("lose", names) => names.iter().for_each(|name| drop(self.kubelets.remove(*name))),
            ("return", names) => names.iter().for_each(|name| self.start(name)),
            ("rest", []) => self.crons = None,
            ("resume", []) => self.resume(),
            ("show", [kind, name, pointers @ ..]) => return self.show(kind, name, pointers).await,
            _ => panic!("no command {command:?}"),
        }
        // Nothing that takes hosts no time takes longer.
        tokio::time::sleep(Duration::from_millis(100)).await;
        self.log.take()
    }

    async fn send(&self, method: Method, path: &str, media: &str, body: Value) -> Value {
        let body = (!body.is_null()).then(|| (media, body.to_string().into()));
        match raw::request(&self.client, method.clone(), path, body).await {
            Ok(answer) => serde_json::from_slice(&answer).unwrap(),
            Err(error) => panic!("{method} {path}: {error}"),
        }
    }

    async fn apply(&self, input: &str) {
        for document in input.split("---\n") {
            let object: Value = serde_yaml::from_str(document).unwrap();
            let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
            let path = path(&text(&object["kind"]), &text(&object["metadata"]["name"]));
            let query = format!("{path}?fieldManager=scenario&force=true");
            self.send(Method::PATCH, &query, "application/apply-patch+yaml", object).await;
        }
    }

    async fn show(&self, kind: &str, name: &str, pointers: &[&str]) -> String {
        let object = self.send(Method::GET, &path(kind, name), "", Value::Null).await;
        let shown = pointers.iter().map(|one| object.pointer(one).unwrap_or(&Value::Null).to_string());
        shown.collect::<Vec<_>>().join(" ")
    }

    /// Deletes the pods of a host.
    async fn drain(&self, host: &str) {
        let pods = self.send(Method::GET, path("pod", "").trim_end_matches('/'), "", Value::Null).await;
        for pod in pods["items"].as_array().unwrap().iter().filter(|pod| pod["spec"]["nodeName"] == host) {
            self.send(Method::DELETE, &path("pod", pod["metadata"]["name"].as_str().unwrap()), "", Value::Null).await;
        }
    }

    async fn join(&mut self, names: &[&str], input: &str) {
        for name in names {
            let number = self.hosts.lock().unwrap().len();
            let options = HollowOptions::named(name, self.clock.clone()).numbered(number);
            let host = Hollow::new(HollowOptions { start_latency: LATENCY, stop_latency: LATENCY, ..options });
            tokio::spawn(self.log.clone().watch_identities(self.hosts.clone(), host.clone()));
            self.hosts.lock().unwrap().insert((*name).to_owned(), host);
            if !input.trim().is_empty() {
                let mut node: Value = serde_yaml::from_str(input).unwrap();
                node["metadata"]["name"] = json!(name);
                self.send(Method::POST, "/api/v1/nodes", "application/json", node).await;
            }
            self.start(name);
        }
    }

    fn part(&mut self) -> Context {
        self.parts += 1;
        let (client, clock) = (self.client.clone(), self.clock.clone());
        Context::new(client, clock, Ids::seeded(self.parts), CancellationToken::new())
    }

    fn start(&mut self, name: &str) {
        let host = self.hosts.lock().unwrap()[name].clone();
        let ctx = self.part();
        self.kubelets.insert(name.to_owned(), ctx.shutdown.clone().drop_guard());
        let kubelets = Kubelets::new(ctx, Arc::default(), Arc::default(), unobserved());
        let node = NodeConfig { simulated: true, ..NodeConfig::named(name, "/nonexistent") };
        tokio::spawn(async move { kubelets.run(node, Arc::new(host)).await });
    }

    /// CronJobs are looked after by somebody who knows nothing of before.
    fn resume(&mut self) {
        let ctx = self.part();
        self.crons = Some(ctx.shutdown.clone().drop_guard());
        tokio::spawn(cronjob::run(ctx, 1));
    }
}

fn path(kind: &str, name: &str) -> String {
    let (group, plural) = match kind.to_lowercase().as_str() {
        "node" => ("/api/v1", "nodes"),
        "pod" => ("/api/v1/namespaces/default", "pods"),
        "persistentvolumeclaim" => ("/api/v1/namespaces/default", "persistentvolumeclaims"),
        "storageclass" => ("/apis/storage.k8s.io/v1", "storageclasses"),
        "statefulset" => ("/apis/apps/v1/namespaces/default", "statefulsets"),
        "daemonset" => ("/apis/apps/v1/namespaces/default", "daemonsets"),
        "cronjob" => ("/apis/batch/v1/namespaces/default", "cronjobs"),
        "job" => ("/apis/batch/v1/namespaces/default", "jobs"),
        _ => panic!("no kind {kind:?}"),
    };
    format!("{group}/{plural}/{name}")
}
