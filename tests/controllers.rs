//! The controllers on a real API server over the memory store, under virtual time. The tests play
//! the kubelet: they mark pods as ready or ended.
#![allow(clippy::unwrap_used)]

#[path = "controllers/autoscaling.rs"]
mod autoscaling;
#[path = "controllers/scenarios.rs"]
mod scenarios;
#[path = "support/wait.rs"]
mod wait;

use k8s_openapi::api::apps::v1::{Deployment, ReplicaSet};
use k8s_openapi::api::batch::v1::Job;
use k8s_openapi::api::core::v1::{Namespace, Pod};
use kube::Api;
use kube::api::{ListParams, Patch, PatchParams, PostParams};
use selkie::api::registry::Registry;
use selkie::apiserver::{ApiServer, Config, User};
use selkie::base::{clock::Clock, ids::Ids};
use selkie::client::{Context, in_process};
use selkie::controllers::{Timing, deployment, job, pods, run};
use selkie::store::memory::Memory;
use serde_json::{Value, from_value, json};
use tokio_util::sync::CancellationToken;
use wait::Pace;

struct Rig {
    ctx: Context,
    running: tokio::task::JoinHandle<()>,
}

impl Rig {
    async fn new() -> Self {
        let clock = Clock::virtual_from("2024-01-01T00:00:00Z".parse().unwrap());
        let base = Config::new(Memory::new(), std::sync::Arc::new(Registry::builtin()));
        let server = ApiServer::new(Config { ids: Ids::seeded(1), clock: clock.clone(), ..base });
        let client = in_process(&server, User::master("controllers"));
        let ctx = Context::new(client.clone(), clock, Ids::seeded(2), CancellationToken::new());
        let namespace: Namespace = from_value(json!({"metadata": {"name": "default"}})).unwrap();
        Api::all(client).create(&PostParams::default(), &namespace).await.unwrap();
        Self { running: tokio::spawn(run(ctx.clone(), Timing::default())), ctx }
    }

    fn api<K>(&self) -> Api<K>
    where
        K: kube::Resource<DynamicType = (), Scope = k8s_openapi::NamespaceResourceScope>,
    {
        Api::namespaced(self.ctx.client.clone(), "default")
    }

    async fn pods(&self) -> Vec<Pod> {
        self.api().list(&ListParams::default()).await.unwrap().items
    }

    /// Sets the status of the pods that `choose` picks, as a kubelet would.
    async fn report(&self, status: Value, choose: impl Fn(&Pod) -> bool) {
        for pod in self.pods().await.iter().filter(|pod| choose(pod)) {
            let patch = Patch::Merge(json!({ "status": status }));
            self.api::<Pod>().patch_status(pods::name(pod), &PatchParams::default(), &patch).await.unwrap();
        }
    }

    async fn make_ready(&self) {
        let since = self.ctx.clock.now_seconds().to_string();
        let ready = json!({"type": "Ready", "status": "True", "lastTransitionTime": since});
        let waiting = |pod: &Pod| !pods::is_ready(pod) && pods::is_active(pod);
        self.report(json!({"phase": "Running", "conditions": [ready]}), waiting).await;
    }

    /// Removes what is on its way out, as the kubelet does once containers have stopped.
    async fn bury(&self) {
        let params = kube::api::DeleteParams { grace_period_seconds: Some(0), ..Default::default() };
        for pod in self.pods().await.iter().filter(|pod| pods::is_terminating(pod)) {
            drop(self.api::<Pod>().delete(pods::name(pod), &params).await);
        }
    }

    async fn stop(self) {
        self.ctx.shutdown.cancel();
        self.running.await.unwrap();
    }
}

fn manifest(image: &str) -> Value {
    json!({
        "apiVersion": "apps/v1", "kind": "Deployment",
        "metadata": {"name": "web"},
        "spec": {
            "replicas": 4,
            "selector": {"matchLabels": {"app": "web"}},
            "strategy": {"type": "RollingUpdate", "rollingUpdate": {"maxSurge": 1, "maxUnavailable": 1}},
            "template": {"metadata": {"labels": {"app": "web"}}, "spec": {"containers": [{"name": "c", "image": image}]}},
        },
    })
}

/// Whether the Deployment has told that its rollout is done.
fn is_done(deployment: &Deployment) -> bool {
    let status = deployment.status.clone().unwrap_or_default();
    let told =
        |reason: &str| status.conditions.iter().flatten().any(|condition| condition.reason.as_deref() == Some(reason));
    status.observed_generation == deployment.metadata.generation
        && told("NewReplicaSetAvailable")
        && status.updated_replicas == Some(4)
        && status.replicas == Some(4)
        && status.available_replicas == Some(4)
}

/// Plays the kubelet until the Deployment is done, checking what must hold at every look.
async fn roll(rig: &Rig, at_least: usize) {
    wait::until("the rollout ends", Pace::default(), async || {
        let seen: Deployment = rig.api().get("web").await.unwrap();
        if is_done(&seen) {
            return Ok(());
        }
        let pods = rig.pods().await;
        assert!(pods.iter().filter(|pod| pods::is_active(pod)).count() <= 5);
        assert!(pods.iter().filter(|pod| pods::is_active(pod) && pods::is_ready(pod)).count() >= at_least);
        rig.make_ready().await;
        rig.bury().await;
        Err(format!("{:?}", seen.status))
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn a_deployment_rolls_and_rolls_again() {
    let rig = Rig::new().await;
    let made: Deployment = from_value(manifest("a")).unwrap();
    rig.api().create(&PostParams::default(), &made).await.unwrap();
    roll(&rig, 0).await;
    assert_eq!(rig.pods().await.len(), 4);

    let change = Patch::Merge(json!({"spec": {"template": {"spec": {"containers": [{"name": "c", "image": "b"}]}}}}));
    rig.api::<Deployment>().patch("web", &PatchParams::default(), &change).await.unwrap();
    roll(&rig, 3).await;
    rig.bury().await;
    let pods = rig.pods().await;
    assert_eq!(pods.len(), 4);
    assert!(pods.iter().all(|pod| pod.spec.as_ref().unwrap().containers[0].image.as_deref() == Some("b")));
    let sets = rig.api::<ReplicaSet>().list(&ListParams::default()).await.unwrap().items;
    let mut sizes: Vec<_> = sets.iter().map(deployment::sets::wanted).collect();
    sizes.sort();
    assert_eq!(sizes, [0, 4]);
    let done: Deployment = rig.api().get("web").await.unwrap();
    assert_eq!(done.metadata.annotations.unwrap()[deployment::sets::REVISION], "2");
    rig.stop().await;
}

#[tokio::test(start_paused = true)]
async fn a_job_runs_to_completion() {
    let rig = Rig::new().await;
    let job: Job = from_value(json!({
        "metadata": {"name": "work"},
        "spec": {
            "completions": 3, "parallelism": 2,
            "template": {"spec": {"restartPolicy": "Never", "containers": [{"name": "c", "image": "a"}]}},
        },
    }))
    .unwrap();
    rig.api().create(&PostParams::default(), &job).await.unwrap();
    let done = wait::until("the Job ends", Pace::default(), async || {
        let seen: Job = rig.api().get("work").await.unwrap();
        if job::plan::finished(&seen).is_some_and(|condition| condition.type_ == "Complete") {
            return Ok(seen);
        }
        assert!(rig.pods().await.iter().filter(|pod| pods::is_active(pod)).count() <= 2);
        rig.report(json!({"phase": "Succeeded"}), pods::is_active).await;
        Err(format!("{:?}", seen.status))
    });
    assert_eq!(done.await.status.unwrap().succeeded, Some(3));
    assert!(rig.pods().await.iter().all(|pod| !job::plan::is_tracked(pod)));
    rig.stop().await;
}
