//! A whole cluster of simulated hosts under virtual time, in which load comes and goes.

use crate::wait::{self, Pace};
use k8s_openapi::api::apps::v1::Deployment;
use k8s_openapi::api::autoscaling::v2::HorizontalPodAutoscaler;
use k8s_openapi::api::core::v1::{Event, Namespace, Pod};
use kube::Api;
use kube::api::{ListParams, Patch, PatchParams, PostParams};
use selkie::apiserver::{ApiServer, Config, User};
use selkie::base::{clock::Clock, ids::Ids};
use selkie::client::{Context, in_process};
use selkie::controllers::{Timing, autoscaler, run};
use selkie::kubelet::drift::unobserved;
use selkie::kubelet::runtime::hollow::{Hollow, HollowOptions};
use selkie::kubelet::{Kubelets, NodeConfig};
use selkie::scheduler;
use serde_json::{from_value, json};
use std::sync::Arc;
use std::time::Duration;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

const PACE: Pace = Pace { every: Duration::from_secs(1), at_most: Duration::from_secs(3600) };

struct Cluster {
    client: kube::Client,
    begun: Instant,
    _shutdown: tokio_util::sync::DropGuard,
}

impl Cluster {
    async fn start() -> Self {
        let (clock, shutdown) =
            (Clock::virtual_from("2026-01-01T00:00:00Z".parse().unwrap()), CancellationToken::new());
        let config = Config::in_memory(clock.clone(), Ids::seeded(1));
        let usage = config.usage.clone();
        let client = in_process(&ApiServer::new(config), User::master("test"));
        for name in ["default", "kube-node-lease"] {
            let namespace: Namespace = from_value(json!({"metadata": {"name": name}})).unwrap();
            Api::all(client.clone()).create(&PostParams::default(), &namespace).await.unwrap();
        }
        let ctx = Context::new(client.clone(), clock.clone(), Ids::seeded(2), shutdown.clone());
        let kubelets = Kubelets::new(ctx.clone(), Arc::default(), usage, unobserved());
        for (number, name) in ["h1", "h2"].into_iter().enumerate() {
            let node = NodeConfig { simulated: true, ..NodeConfig::named(name, "/nonexistent") };
            let host = Arc::new(Hollow::new(HollowOptions::named(name, clock.clone()).numbered(number)));
            let kubelets = kubelets.clone();
            tokio::spawn(async move { kubelets.run(node, host).await });
        }
        tokio::spawn(run(ctx.clone(), Timing::default()));
        tokio::spawn(scheduler::run(ctx.clone()));
        tokio::spawn(autoscaler::run(ctx, 1));
        Self { client, begun: Instant::now(), _shutdown: shutdown.drop_guard() }
    }

    fn api<K>(&self) -> Api<K>
    where
        K: kube::Resource<DynamicType = (), Scope = k8s_openapi::NamespaceResourceScope>,
    {
        Api::namespaced(self.client.clone(), "default")
    }

    /// Each container of each pod uses so much CPU from now on.
    async fn load(&self, cpu: &str) {
        for pod in self.api::<Pod>().list(&ListParams::default()).await.unwrap().items {
            let patch = Patch::Merge(json!({"metadata": {"annotations": {"hollow.selkie.dev/cpu": cpu}}}));
            let name = pod.metadata.name.unwrap();
            self.api::<Pod>().patch(&name, &PatchParams::default(), &patch).await.unwrap();
        }
    }

    /// Waits for so many replicas; how long it took.
    #[track_caller]
    fn replicas(&self, count: i32) -> impl Future<Output = Duration> {
        let from = Instant::now();
        wait::until("there are as many replicas", PACE, async move || {
            let found = self.api::<Deployment>().get("web").await.unwrap();
            let status = found.status.unwrap_or_default();
            if (found.spec.unwrap().replicas, status.ready_replicas) == (Some(count), Some(count)) {
                return Ok(from.elapsed());
            }
            let seen = self.api::<HorizontalPodAutoscaler>().get_opt("web").await.unwrap();
            Err(format!("{:?} after {:?}: {seen:#?}", status.ready_replicas, self.begun.elapsed()))
        })
    }
}

#[tokio::test(start_paused = true)]
async fn load_comes_and_goes() {
    let cluster = Cluster::start().await;
    let deployment: Deployment = from_value(json!({"metadata": {"name": "web"}, "spec": {
        "selector": {"matchLabels": {"app": "web"}},
        "template": {
            "metadata": {"labels": {"app": "web"}, "annotations": {"hollow.selkie.dev/cpu": "300m"}},
            "spec": {"containers": [{"name": "c", "image": "web:1", "resources": {"requests": {"cpu": "200m"}}}]}}}}))
    .unwrap();
    cluster.api().create(&PostParams::default(), &deployment).await.unwrap();
    cluster.replicas(1).await;
    let target = json!({"type": "Utilization", "averageUtilization": 75});
    let autoscaler: HorizontalPodAutoscaler = from_value(json!({"metadata": {"name": "web"}, "spec": {
        "scaleTargetRef": {"apiVersion": "apps/v1", "kind": "Deployment", "name": "web"}, "maxReplicas": 6,
        "metrics": [{"type": "Resource", "resource": {"name": "cpu", "target": target}}]}}))
    .unwrap();
    cluster.api().create(&PostParams::default(), &autoscaler).await.unwrap();
    // 150 % of the request is twice the target, and every pod brings as much again.
    cluster.replicas(2).await;
    cluster.replicas(4).await;
    let took = cluster.replicas(6).await;
    assert!(took < Duration::from_secs(120), "{took:?}");

    // A tenth of the load needs a sixth of the pods, but only after five quiet minutes.
    cluster.load("25m").await;
    let took = cluster.replicas(1).await;
    assert!(took > Duration::from_secs(280) && took < Duration::from_secs(420), "{took:?}");
    let events = cluster.api::<Event>().list(&ListParams::default()).await.unwrap().items;
    let said: Vec<String> = events
        .into_iter()
        .filter(|event| event.reason.as_deref() == Some("SuccessfulRescale"))
        .filter_map(|event| event.message)
        .collect();
    assert!(said.contains(&"New size: 1; reason: All metrics below target".to_owned()), "{said:?}");
    assert!(said[0].ends_with("cpu resource utilization (percentage of request) above target"), "{said:?}");
    wait::until("the status is settled", PACE, async || {
        let seen = cluster.api::<HorizontalPodAutoscaler>().get("web").await.unwrap().status.unwrap();
        let replicas = (seen.current_replicas, seen.desired_replicas);
        if replicas == (Some(1), 1) { Ok(()) } else { Err(format!("{replicas:?}")) }
    })
    .await;
}
