//! Calls to Podman whose answers are late or lost: whatever becomes of them, a container of a pod runs
//! once.

use super::{FOREVER, cluster, first, script};
use crate::control_plane::{Cluster, is_ready};
use crate::cutter::{At, Cutter};
use crate::rig::Rig;
use crate::wait::{self, Pace};
use selkie::kubelet::runtime::podman::Podman;
use selkie::kubelet::runtime::{ContainerRuntime, ContainerState, Listing};
use serde_json::{Value, json};

type Which = fn(&str) -> bool;

const EVENTS: Which = |line| line.starts_with("GET ") && line.contains("/events?");
const CREATE: Which = |line| line.starts_with("POST ") && line.contains("/containers/create");
const LIST_ALL: Which = |line| is_listing(line) && !line.contains("io.selkie.pod.uid");
const LIST_POD: Which = |line| is_listing(line) && line.contains("io.selkie.pod.uid");

fn is_listing(line: &str) -> bool {
    line.starts_with("GET ") && line.contains("/containers/json?")
}

/// A cluster whose Podman is behind a proxy.
async fn cut_off(rig: &Rig, name: &str) -> (Cluster, Cutter, tempfile::TempDir) {
    let cutter = Cutter::before(&rig.storage.url);
    let (cluster, directory) = cluster(Podman::new(&cutter.url, name).unwrap()).await;
    let followed = async || if cutter.count(EVENTS) > 0 { Ok(()) } else { Err("no call") };
    wait::until("the host's events are followed", Pace::default(), followed).await;
    (cluster, cutter, directory)
}

async fn listing(rig: &Rig, name: &str, pod: &Value) -> Listing {
    rig.podman(name).await.list_pod(pod["metadata"]["uid"].as_str().unwrap()).await.unwrap()
}

/// How many containers of the pod run.
async fn running(rig: &Rig, name: &str, pod: &Value) -> usize {
    let lives = listing(rig, name, pod).await.containers;
    lives.iter().filter(|life| matches!(life.state, ContainerState::Running { .. })).count()
}

/// Serves a port, of which the pod has one; tells how often its hook ran.
fn server() -> Value {
    let hook = json!({"postStart": {"exec": {"command": ["sh", "-c", "echo ran >> /hook"]}}});
    let more = json!({"lifecycle": hook, "resources": {"limits": {"memory": "64Mi"}}});
    script(&format!("httpd -p 8080 -h /etc && {FOREVER}"), more)
}

#[tokio::test]
async fn a_listing_from_before_a_start_does_not_start_it_again() {
    let rig = Rig::shared().await;
    let name = "kubelet-late-listing";
    let (cluster, cutter, _directory) = cut_off(&rig, name).await;
    let create = cutter.hold(CREATE, At::Request);
    cluster.run("web", server()).await;
    create.met().await;
    // Contact is lost while the container is being made: all is listed anew, and that takes its time.
    let listed = cutter.hold(LIST_ALL, At::Answer);
    cutter.end_streams();
    listed.met().await;
    create.release();
    let before = cluster.until("web", is_ready).await;
    let looked = cutter.count(LIST_POD);
    listed.release();
    let look = async || match (cutter.count(LIST_POD) > looked, cutter.count(CREATE)) {
        (true, _) | (_, 2..) => Ok(()),
        _ => Err("neither a listing of the pod nor another container"),
    };
    wait::until("the pod is looked at again", Pace::default(), look).await;
    assert_eq!(cutter.count(CREATE), 1, "one container was made");
    assert_eq!(running(&rig, name, &before).await, 1);
    let after = cluster.get("web").await.unwrap();
    assert_eq!((first(&after), &first(&after)["restartCount"]), (first(&before), &json!(0)));
}
