//! Calls to Podman whose answers are late or lost: whatever becomes of them, a container of a pod runs
//! once, and so does its hook.

use super::{FOREVER, cluster, exec, first, script};
use crate::control_plane::{Cluster, is_ready};
use crate::cutter::{At, Cutter};
use crate::rig::Rig;
use crate::wait::{self, Pace};
use futures::future::join_all;
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

/// What is done to make a pod run.
const STARTING: [(&str, Which); 5] = [
    ("pods/create", |line| line.starts_with("POST ") && line.contains("/pods/create")),
    ("infra/start", |line| line.starts_with("POST ") && line.contains("-infra/start")),
    ("containers/create", CREATE),
    ("init", |line| line.starts_with("POST ") && line.contains("/init")),
    ("start", |line| line.starts_with("POST ") && line.contains("/start") && !line.contains("-infra/")),
];

/// What is done to end it.
const ENDING: [(&str, Which); 2] = [
    ("stop", |line| line.starts_with("POST ") && line.contains("/stop?")),
    ("pods/delete", |line| line.starts_with("DELETE ") && line.contains("/pods/")),
];

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

/// Runs a pod while one of the calls is cut, and ends it.
async fn with_a_cut(rig: &Rig, (what, which): (&'static str, Which), at: At) {
    let name = format!("kubelet-cut-{what}-{at:?}").replace('/', "-").to_lowercase();
    let (cluster, cutter, _directory) = cut_off(rig, &name).await;
    let cut = cutter.cut(which, at);
    cluster.run("web", server()).await;
    let pod = cluster.until("web", is_ready).await;
    assert_eq!(running(rig, &name, &pod).await, 1, "{name}");
    assert_eq!(first(&pod)["restartCount"], 0, "{name}: {:#?}", cluster.events("web").await);
    assert_eq!(exec(&cluster, &pod, &["cat", "/hook"]).await, ("ran\n".into(), 0), "{name}");
    cluster.delete("web").await;
    cluster.until_gone("web").await;
    cut.met().await;
    let left = listing(rig, &name, &pod).await;
    assert!(left.containers.is_empty() && left.sandboxes.is_empty(), "{name}: {left:?}");
}

#[tokio::test]
async fn whatever_call_is_cut_a_container_and_its_hook_run_once() {
    let rig = Rig::shared().await;
    let calls = STARTING.into_iter().chain(ENDING);
    let cases = calls.flat_map(|call| [At::Request, At::Answer].map(|at| with_a_cut(&rig, call, at)));
    join_all(cases).await;
}
