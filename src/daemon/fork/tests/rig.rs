//! A whole cluster in memory, under virtual time.

use crate::api::changeset::{ChangeSetSpec, ObjectId};
use crate::api::plan::PlanStatus;
use crate::api::registry::Registry;
use crate::apiserver::{ApiServer, Config, User};
use crate::base::{clock::Clock, ids::Ids};
use crate::client::{Context, in_process};
use crate::daemon::fork::hosts::{PULLING, STARTING, STOPPING};
use crate::daemon::fork::journal::Journal;
use crate::daemon::fork::pods::is_under_way;
use crate::daemon::fork::rest::{Rest, rest};
use crate::daemon::fork::{Base, Request, run};
use crate::gitops::readiness::Health;
use crate::kubelet::drift::unobserved;
use crate::kubelet::runtime::hollow::{Hollow, HollowOptions};
use crate::kubelet::{Kubelets, NodeConfig};
use crate::store::memory::Memory;
use crate::store::{Store, bucket, key};
use crate::{controllers, scheduler};
use k8s_openapi::api::core::v1::Node;
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::sync::{Arc, LazyLock};
use std::time::Duration;
use tokio_util::sync::CancellationToken;

/// Made once: it takes as long as a whole cluster does.
static BUILTIN: LazyLock<Registry> = LazyLock::new(Registry::builtin);

pub struct Rig {
    pub store: Arc<Memory>,
    pub api: Arc<ApiServer>,
    pub registry: Arc<Registry>,
    clock: Clock,
    shutdown: CancellationToken,
}

impl Drop for Rig {
    fn drop(&mut self) {
        self.shutdown.cancel();
    }
}

impl Rig {
    /// On hosts that take as long as plans assume.
    pub async fn new(hosts: &[&str]) -> Self {
        Self::with(hosts, [STARTING, STOPPING, PULLING]).await
    }

    /// On hosts that take `[start, stop, pull]`.
    pub async fn with(hosts: &[&str], [start, stop, pull]: [Duration; 3]) -> Self {
        let clock = Clock::virtual_from("2024-01-01T00:00:00Z".parse().unwrap());
        let (store, registry) = (Memory::new(), Arc::new(BUILTIN.fork()));
        let mut config = Config::new(store.clone(), registry.clone());
        (config.clock, config.ids) = (clock.clone(), Ids::seeded(5));
        let api = ApiServer::new(config);
        let shutdown = CancellationToken::new();
        let client = in_process(&api, User::master("system:selkie"));
        let rig = Self { store, api, registry, clock: clock.clone(), shutdown: shutdown.clone() };
        let namespace = |name: &str| json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}});
        rig.change(["default", "kube-node-lease"].map(namespace).into(), vec![]).await;
        let ctx = Context::new(client, clock.clone(), Ids::seeded(6), shutdown);
        let kubelets = Kubelets::new(ctx.clone(), Arc::default(), Arc::default(), unobserved());
        for name in hosts {
            let node = NodeConfig { simulated: true, ..NodeConfig::named(name, "/nonexistent") };
            let mut options = HollowOptions::named(name, clock.clone());
            (options.start_latency, options.stop_latency, options.pull_latency) = (start, stop, pull);
            let host = Arc::new(Hollow::new(options));
            let kubelets = kubelets.clone();
            tokio::spawn(async move { kubelets.run(node, host).await });
        }
        tokio::spawn(controllers::run(ctx.clone(), controllers::Timing::default()));
        tokio::spawn(scheduler::run(ctx.clone()));
        let nodes = ctx.informers.of::<Node>();
        let usable = |node: &Arc<Node>| {
            let taints = node.spec.as_ref().and_then(|spec| spec.taints.clone()).unwrap_or_default();
            node.status.is_some() && taints.is_empty()
        };
        while nodes.list().iter().filter(|node| usable(node)).count() < hosts.len() {
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
        rig
    }

    pub fn client(&self) -> kube::Client {
        in_process(&self.api, User::master("system:selkie"))
    }

    pub async fn change(&self, objects: Vec<Value>, deletions: Vec<ObjectId>) {
        let status = self.api.change(&self.spec(objects, deletions)).await.unwrap();
        assert!(status.applied, "{status:#?}");
    }

    /// Applies for real, and waits until the pods are at rest.
    pub async fn apply(&self, objects: Vec<Value>) {
        self.change_and_rest(objects, vec![]).await;
    }

    pub async fn change_and_rest(&self, objects: Vec<Value>, deletions: Vec<ObjectId>) {
        self.change(objects, deletions).await;
        let pods = Pods(self.store.clone());
        let stop = CancellationToken::new();
        let settled = || {
            let all = self.store.range(&bucket("", "pods"), None, None, 0).unwrap().records;
            !all.iter().any(|pod| is_under_way(&pod.envelope))
        };
        assert_ne!(rest(&pods, || 0, &stop, settled).await, Rest::Moving);
    }

    /// Lets time pass until no pod changed for longer than any back-off takes, but for trying in vain.
    pub async fn quiet(&self) {
        let journal = Journal::follow(self.store.as_ref(), self.store.revision()).unwrap();
        let changes = || journal.entries().len() as u64 - journal.retries();
        let (mut known, mut still) = (changes(), 0);
        while still < 400 {
            tokio::time::sleep(Duration::from_secs(5)).await;
            still = if changes() == known { still + 5 } else { 0 };
            known = changes();
        }
    }

    /// Where an object is stored.
    pub fn key(&self, id: &ObjectId) -> String {
        let (group, version) = id.api_version.split_once('/').unwrap_or(("", &id.api_version));
        let resource = self.registry.by_kind(group, version, &id.kind).unwrap();
        key(&resource.group, &resource.plural, &id.namespace, &id.name)
    }

    /// Lets time pass until it is so.
    pub async fn until(&self, is_so: impl Fn() -> bool) {
        for _ in 0..600 {
            if is_so() {
                return;
            }
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
        panic!("a minute is not enough");
    }

    pub fn spec(&self, objects: Vec<Value>, deletions: Vec<ObjectId>) -> ChangeSetSpec {
        ChangeSetSpec { field_manager: "selkie".into(), objects, deletions, ..ChangeSetSpec::default() }
    }

    pub fn plan(&self, objects: Vec<Value>, deletions: Vec<ObjectId>) -> PlanStatus {
        self.plan_spec(self.spec(objects, deletions))
    }

    pub fn plan_spec(&self, spec: ChangeSetSpec) -> PlanStatus {
        self.plan_until(Request { spec, order: None, health: Health::default() }, CancellationToken::new())
    }

    /// A plan that `stop` ends.
    pub fn plan_until(&self, request: Request, stop: CancellationToken) -> PlanStatus {
        let base = Base::of(self.store.as_ref(), &self.clock);
        let registry = Arc::new(self.registry.fork());
        let made = std::thread::spawn(move || {
            let mut made = None;
            run(&base, registry, request, &stop, |plan| made = Some(plan));
            made.unwrap()
        });
        made.join().unwrap().unwrap()
    }

    /// Everything there is.
    pub fn store_state(&self) -> (u64, Vec<(String, Vec<u8>)>) {
        let (revision, records) = self.store.snapshot();
        (revision, records.iter().map(|record| (record.key.to_string(), record.value.bytes().to_vec())).collect())
    }

    /// Of each pod that is not on its way out: its owner's name, and its host.
    pub fn placed(&self) -> BTreeMap<String, Vec<(String, String)>> {
        let mut placed: BTreeMap<String, Vec<(String, String)>> = BTreeMap::new();
        for record in self.store.range(&bucket("", "pods"), None, None, 0).unwrap().records {
            let host = crate::daemon::fork::pods::host(&record.envelope).to_owned();
            let owner = record.envelope.controller().map(|owner| owner.name.clone()).unwrap_or_default();
            placed.entry(owner).or_default().push((record.envelope.uid.clone(), host));
        }
        placed
    }
}

/// A store whose revision moves with its pods only: nodes send heartbeats.
struct Pods(Arc<Memory>);

#[async_trait::async_trait]
impl Store for Pods {
    fn revision(&self) -> u64 {
        let pods = self.0.range(&bucket("", "pods"), None, None, 0).unwrap().records;
        pods.iter().map(|record| record.modified).sum()
    }
    async fn commit_all(
        &self,
        txns: Vec<crate::store::Txn>,
    ) -> Result<Vec<crate::store::Committed>, crate::store::StoreError> {
        self.0.commit_all(txns).await
    }
    fn get(&self, key: &str) -> Option<Arc<crate::store::Record>> {
        self.0.get(key)
    }
    fn range(
        &self,
        prefix: &str,
        start: Option<&str>,
        at: Option<u64>,
        limit: usize,
    ) -> Result<crate::store::Range, crate::store::StoreError> {
        self.0.range(prefix, start, at, limit)
    }
    fn watch(&self, prefix: &str, after: u64) -> Result<Box<dyn crate::store::Watch>, crate::store::StoreError> {
        self.0.watch(prefix, after)
    }
    fn compacted(&self) -> u64 {
        self.0.compacted()
    }
    async fn compact(&self, revision: u64) -> Result<(), crate::store::StoreError> {
        self.0.compact(revision).await
    }
    fn count(&self, prefix: &str) -> usize {
        self.0.count(prefix)
    }
    fn snapshot(&self) -> (u64, Vec<Arc<crate::store::Record>>) {
        self.0.snapshot()
    }
    async fn close(&self) {
        self.0.close().await;
    }
}

pub fn deployment(name: &str, replicas: u32, image: &str) -> Value {
    json!({
        "apiVersion": "apps/v1", "kind": "Deployment",
        "metadata": {"name": name, "namespace": "default"},
        "spec": {
            "replicas": replicas,
            "selector": {"matchLabels": {"app": name}},
            "template": {
                "metadata": {"labels": {"app": name}},
                "spec": {"containers": [{"name": "c", "image": image, "resources": {"requests": {"cpu": "100m"}}}]},
            },
        },
    })
}

pub fn pod(name: &str, image: &str) -> Value {
    json!({
        "apiVersion": "v1", "kind": "Pod",
        "metadata": {"name": name, "namespace": "default"},
        "spec": {"containers": [{"name": "c", "image": image, "resources": {"requests": {"cpu": "100m"}}}]},
    })
}

pub fn config_map(name: &str, value: &str) -> Value {
    json!({
        "apiVersion": "v1", "kind": "ConfigMap",
        "metadata": {"name": name, "namespace": "default"},
        "data": {"KEY": value},
    })
}
