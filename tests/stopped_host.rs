//! One of three hosts stops: its pods move. The real API server, controllers and scheduler, under
//! virtual time; the test plays the kubelets.
#![allow(clippy::unwrap_used)]

#[path = "support/wait.rs"]
mod wait;

use k8s_openapi::api::apps::v1::Deployment;
use k8s_openapi::api::core::v1::{Namespace, Node, Pod};
use kube::Api;
use kube::api::{DeleteParams, ListParams, Patch, PatchParams, PostParams};
use selkie::apiserver::{ApiServer, Config, User};
use selkie::base::{clock::Clock, ids::Ids};
use selkie::client::{Context, in_process};
use selkie::controllers::{self, Timing, pods};
use selkie::scheduler;
use serde_json::{Value, from_value, json};
use std::time::Duration;
use tokio_util::sync::CancellationToken;
use wait::Pace;

const HOSTS: [&str; 3] = ["a", "b", "c"];

async fn start() -> Context {
    let clock = Clock::virtual_from("2024-01-01T00:00:00Z".parse().unwrap());
    let server = ApiServer::new(Config::in_memory(clock.clone(), Ids::seeded(1)));
    let client = in_process(&server, User::master("test"));
    let ctx = Context::new(client.clone(), clock, Ids::seeded(2), CancellationToken::new());
    let namespace: Namespace = from_value(json!({"metadata": {"name": "default"}})).unwrap();
    Api::all(client).create(&PostParams::default(), &namespace).await.unwrap();
    tokio::spawn(controllers::run(ctx.clone(), Timing::default()));
    tokio::spawn(scheduler::run(ctx.clone()));
    ctx
}

async fn patch_status<K>(api: &Api<K>, name: &str, status: Value)
where
    K: Clone + std::fmt::Debug + serde::de::DeserializeOwned,
{
    let patch = Patch::Merge(json!({ "status": status }));
    api.patch_status(name, &PatchParams::default(), &patch).await.unwrap();
}

/// What living hosts do: report themselves and run their pods.
async fn beat(ctx: &Context, alive: &[&str]) {
    let time = ctx.clock.now_seconds().to_string();
    let ready = json!([{"type": "Ready", "status": "True", "lastHeartbeatTime": time, "lastTransitionTime": time}]);
    let nodes: Api<Node> = Api::all(ctx.client.clone());
    let room = json!({"cpu": "4", "memory": "8Gi", "pods": "110"});
    for host in alive {
        if nodes.get_opt(host).await.unwrap().is_none() {
            let node = from_value(json!({"metadata": {"name": host}})).unwrap();
            nodes.create(&PostParams::default(), &node).await.unwrap();
        }
        patch_status(&nodes, host, json!({"conditions": ready, "capacity": room, "allocatable": room})).await;
    }
    let api: Api<Pod> = Api::namespaced(ctx.client.clone(), "default");
    for pod in api.list(&ListParams::default()).await.unwrap().items {
        if !pods::node(&pod).is_some_and(|node| alive.contains(&node)) {
            continue;
        }
        if pods::is_terminating(&pod) {
            let now = DeleteParams { grace_period_seconds: Some(0), ..Default::default() };
            drop(api.delete(pods::name(&pod), &now).await.unwrap());
        } else if !pods::is_ready(&pod) {
            patch_status(&api, pods::name(&pod), json!({"phase": "Running", "conditions": ready})).await;
        }
    }
}

async fn available(ctx: &Context) -> i32 {
    let api: Api<Deployment> = Api::namespaced(ctx.client.clone(), "default");
    api.get("web").await.unwrap().status.and_then(|status| status.available_replicas).unwrap_or(0)
}

async fn all_pods(ctx: &Context) -> Vec<Pod> {
    Api::namespaced(ctx.client.clone(), "default").list(&ListParams::default()).await.unwrap().items
}

/// Lets hosts live, beating every five seconds, until `done`; returns how long that took.
async fn live(ctx: &Context, alive: &[&str], done: impl AsyncFn() -> bool) -> Duration {
    let begun = tokio::time::Instant::now();
    let pace = Pace { every: Duration::from_secs(5), at_most: Duration::from_secs(1200) };
    wait::until("the cluster is as expected", pace, async || {
        if done().await {
            return Ok(begun.elapsed());
        }
        beat(ctx, alive).await;
        let pods: Vec<_> = all_pods(ctx).await.into_iter().map(|pod| (pod.metadata, pod.status)).collect();
        Err(format!("{pods:#?}"))
    })
    .await
}

#[tokio::test(start_paused = true)]
async fn the_pods_of_a_stopped_host_move() {
    let ctx = start().await;
    beat(&ctx, &HOSTS).await;
    let template =
        json!({"metadata": {"labels": {"app": "web"}}, "spec": {"containers": [{"name": "c", "image": "i"}]}});
    let deployment = json!({
        "metadata": {"name": "web"},
        "spec": {"replicas": 6, "selector": {"matchLabels": {"app": "web"}}, "template": template},
    });
    let deployment: Deployment = from_value(deployment).unwrap();
    let api = Api::namespaced(ctx.client.clone(), "default");
    api.create(&PostParams::default(), &deployment).await.unwrap();
    live(&ctx, &HOSTS, async || available(&ctx).await == 6).await;
    let on_a = all_pods(&ctx).await.iter().filter(|pod| pods::node(pod) == Some("a")).count();
    assert!(on_a > 0, "the scheduler spreads pods");

    // The host is gone: after the grace its pods do not count, after their tolerations others run elsewhere.
    live(&ctx, &["b", "c"], async || available(&ctx).await == 6 - on_a as i32).await;
    let took = live(&ctx, &["b", "c"], async || available(&ctx).await == 6).await;
    assert!((290..=330).contains(&took.as_secs()), "{took:?}");
    let all = all_pods(&ctx).await;
    assert!(all.iter().filter(|pod| pods::node(pod) == Some("a")).all(pods::is_terminating));
    assert_eq!(all.len(), 6 + on_a, "what ran on the lost host waits for it");

    // It comes back and finishes what it was told.
    live(&ctx, &HOSTS, async || all_pods(&ctx).await.len() == 6).await;
    let node: Node = Api::all(ctx.client.clone()).get("a").await.unwrap();
    assert!(node.spec.and_then(|spec| spec.taints).unwrap_or_default().is_empty());
    ctx.shutdown.cancel();
}
