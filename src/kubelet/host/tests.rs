//! Pods at rest on a simulated host: nobody looks after them, and nothing that happens to them is missed.
#![allow(clippy::unwrap_used)]

use super::*;
use crate::apiserver::{ApiServer, Config, User};
use crate::base::{clock::Clock, ids::Ids};
use crate::client::in_process;
use crate::kubelet::drift::unobserved;
use crate::kubelet::pod::phase;
use crate::kubelet::routes::Routes;
use crate::kubelet::runtime::hollow::{Hollow, HollowOptions};
use kube::api::{DeleteParams, Patch, PatchParams, PostParams};
use serde_json::{Value, json};
use tokio_util::sync::CancellationToken;

const NODE: &str = "h1";

struct Rig {
    pods: Api<Pod>,
    hollow: Hollow,
    host: Arc<Host>,
    stop: CancellationToken,
}

impl Drop for Rig {
    fn drop(&mut self) {
        self.stop.cancel();
    }
}

impl Rig {
    async fn new() -> Self {
        let clock = Clock::virtual_from("2026-01-01T00:00:00Z".parse().unwrap());
        let server = ApiServer::new(Config::in_memory(clock.clone(), Ids::seeded(7)));
        let client = in_process(&server, User::master("test"));
        let namespaces: Api<k8s_openapi::api::core::v1::Namespace> = Api::all(client.clone());
        let namespace = serde_json::from_value(json!({"metadata": {"name": "default"}})).unwrap();
        namespaces.create(&PostParams::default(), &namespace).await.unwrap();
        let stop = CancellationToken::new();
        let ctx = Context::new(client.clone(), clock.clone(), Ids::seeded(8), stop.clone());
        let routes = Routes::subscribe(&ctx.informers.of::<Pod>(), &ctx.informers.of::<Node>());
        let route = routes.open(NODE);
        let hollow = Hollow::new(HollowOptions::named(NODE, clock));
        let rest = Some(Duration::from_secs(10));
        let node = NodeConfig { simulated: true, rest, ..NodeConfig::named(NODE, "/nonexistent") };
        let runtime: Arc<dyn ContainerRuntime> = Arc::new(hollow.clone());
        let info = runtime.info().await.unwrap();
        let host = Host::new(ctx, node, runtime, (Arc::default(), Arc::default(), unobserved()));
        host.set_info(info);
        let running = host.clone();
        tokio::spawn(async move {
            let _routes = routes;
            run(running, route).await;
        });
        Self { pods: Api::default_namespaced(client), hollow, host, stop }
    }

    /// A pod of one container that is at rest.
    async fn resting(&self, name: &str, image: &str) -> Pod {
        let pod = json!({
            "metadata": {"name": name},
            "spec": {"nodeName": NODE, "containers": [{"name": "c", "image": image}]},
        });
        let made = self.pods.create(&PostParams::default(), &serde_json::from_value(pod).unwrap()).await.unwrap();
        self.until(name, |pod| phase(pod) == "Running" && self.is_at_rest(pod)).await;
        self.pods.get(name).await.inspect(|pod| assert_eq!(pod.metadata.uid, made.metadata.uid)).unwrap()
    }

    fn is_at_rest(&self, pod: &Pod) -> bool {
        self.host.workers.resting(pod.metadata.uid.as_deref().unwrap()).is_some()
    }

    async fn until(&self, name: &str, holds: impl Fn(&Pod) -> bool) -> Pod {
        for _ in 0..3000 {
            if let Some(pod) = self.pods.get_opt(name).await.unwrap()
                && holds(&pod)
            {
                return pod;
            }
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
        panic!("{name} is never as expected: {:?}", self.pods.get_opt(name).await);
    }

    async fn until_gone(&self, uid: &str) {
        for _ in 0..3000 {
            let left = self.hollow.list_pod(uid).await.unwrap();
            if !self.host.knows(uid) && left.containers.is_empty() && left.sandboxes.is_empty() {
                return;
            }
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
        panic!("the pod is still there: {:?}", self.hollow.list_pod(uid).await);
    }

    async fn running(&self, pod: &Pod) -> Vec<String> {
        let lives = self.hollow.list_pod(pod.metadata.uid.as_deref().unwrap()).await.unwrap().containers;
        lives.into_iter().filter(|life| life.state.is_running()).map(|life| life.id).collect()
    }
}

fn restarts(pod: &Pod) -> i32 {
    crate::kubelet::pod::all_statuses(pod).map(|status| status.restart_count).sum()
}

#[tokio::test(start_paused = true)]
async fn a_change_of_a_pod_at_rest_is_followed() {
    let rig = Rig::new().await;
    let pod = rig.resting("web", "web:1").await;
    let before = rig.running(&pod).await;
    let image: Value = json!({"spec": {"containers": [{"name": "c", "image": "web:2"}]}});
    rig.pods.patch("web", &PatchParams::default(), &Patch::Strategic(image)).await.unwrap();
    let changed = rig.until("web", |pod| restarts(pod) == 1 && rig.is_at_rest(pod)).await;
    let after = rig.running(&changed).await;
    assert!(after.len() == 1 && after != before, "{before:?} {after:?}");
}

#[tokio::test(start_paused = true)]
async fn the_end_of_a_container_at_rest_is_followed() {
    let rig = Rig::new().await;
    let pod = rig.resting("web", "web:1").await;
    rig.hollow.crash(&rig.running(&pod).await[0], 3);
    let again = rig.until("web", |pod| restarts(pod) == 1 && rig.is_at_rest(pod)).await;
    assert_eq!(rig.running(&again).await.len(), 1);
    // The restart is remembered by the container, not by the worker: the next one comes later.
    rig.hollow.crash(&rig.running(&again).await[0], 3);
    let waits = |pod: &Pod| {
        crate::kubelet::pod::all_statuses(pod).any(|status| {
            let waiting = status.state.as_ref().and_then(|state| state.waiting.as_ref());
            waiting.is_some_and(|waiting| waiting.reason.as_deref() == Some("CrashLoopBackOff"))
        })
    };
    let waiting = rig.until("web", waits).await;
    assert!(!rig.is_at_rest(&waiting), "it is to be started later");
    rig.until("web", |pod| restarts(pod) == 2 && rig.is_at_rest(pod)).await;
}

#[tokio::test(start_paused = true)]
async fn a_pod_at_rest_goes_with_its_containers() {
    let rig = Rig::new().await;
    for params in [DeleteParams::default(), DeleteParams::default().grace_period(0)] {
        let pod = rig.resting("web", "web:1").await;
        rig.pods.delete("web", &params).await.unwrap();
        rig.until_gone(pod.metadata.uid.as_deref().unwrap()).await;
    }
}

#[tokio::test(start_paused = true)]
async fn a_namesake_takes_the_place_of_a_pod_at_rest() {
    let rig = Rig::new().await;
    let old = rig.resting("web", "web:1").await;
    rig.pods.delete("web", &DeleteParams::default().grace_period(0)).await.unwrap();
    let new = rig.resting("web", "web:1").await;
    rig.until_gone(old.metadata.uid.as_deref().unwrap()).await;
    assert_eq!(rig.running(&new).await.len(), 1);
}

#[tokio::test(start_paused = true)]
async fn only_what_differs_from_the_report_ends_a_rest() {
    let rig = Rig::new().await;
    let pod = rig.resting("web", "web:1").await;
    let uid = pod.metadata.uid.as_deref().unwrap();
    rig.host.distribute(rig.host.list().await.unwrap()).await;
    assert!(rig.is_at_rest(&pod), "all is as reported");
    let mut listed = rig.host.list().await.unwrap();
    listed.listing.containers.clear();
    rig.host.distribute(listed).await;
    assert!(!rig.is_at_rest(&pod) && rig.host.knows(uid), "its container seems to be gone");
}

#[test]
fn looks_again_only_for_what_others_do() {
    use crate::kubelet::runtime::{ContainerIdentity, PodIdentity};
    let event = |kind, container: bool| RuntimeEvent {
        time: jiff::Timestamp::UNIX_EPOCH,
        kind,
        id: "c".into(),
        pod: PodIdentity::default(),
        container: container.then(ContainerIdentity::default),
    };
    assert!(is_own_doing(&event(EventKind::Created, true)) && is_own_doing(&event(EventKind::Created, false)));
    assert!(is_own_doing(&event(EventKind::Started, false)));
    for kind in [EventKind::Died { exit_code: 1 }, EventKind::Removed, EventKind::OutOfMemory, EventKind::Changed] {
        assert!(!is_own_doing(&event(kind, true)) && !is_own_doing(&event(kind, false)));
    }
    // A hook or a user may have started it again.
    assert!(!is_own_doing(&event(EventKind::Started, true)));
}
