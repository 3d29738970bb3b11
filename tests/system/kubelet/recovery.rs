//! Podman's own trouble and other people's hands.

use super::{FOREVER, cluster, first, script};
use crate::control_plane::is_ready;
use crate::rig::Rig;
use selkie::kubelet::runtime::podman::{Podman, ServiceOptions, spawn_service};
use serde_json::{Value, json};
use std::time::{Duration, Instant};

fn id(pod: &Value) -> String {
    first(pod)["containerID"].as_str().unwrap_or_default().trim_start_matches("podman://").to_string()
}

#[tokio::test]
async fn what_others_stop_or_remove_comes_back() {
    let rig = Rig::shared().await;
    let (cluster, _directory) = cluster(rig.podman("kubelet-hands").await).await;
    cluster.run("web", script(FOREVER, json!({}))).await;
    let mut once = script(FOREVER, json!({}));
    once["restartPolicy"] = json!("Never");
    cluster.run("once", once).await;
    let web = cluster.until("web", is_ready).await;
    let once = cluster.until("once", is_ready).await;
    rig.storage.cli(&["rm", "--force", "--time", "0", &id(&web)]);
    let begun = Instant::now();
    let again = cluster.until("web", |pod| is_ready(pod) && id(pod) != id(&web)).await;
    assert!(begun.elapsed() < Duration::from_secs(30), "{:?}", begun.elapsed());
    assert_eq!(first(&again)["restartCount"], 1);
    rig.storage.cli(&["stop", "--time", "5", &id(&again)]);
    let third = cluster.until("web", |pod| is_ready(pod) && id(pod) != id(&again)).await;
    assert_eq!(first(&third)["lastState"]["terminated"]["reason"], "Completed");
    rig.storage.cli(&["stop", "--time", "5", &id(&once)]);
    cluster.until("once", |pod| pod["status"]["phase"] == "Succeeded").await;
    // The sandbox itself: everything in it is made anew.
    let infra = rig.storage.cli(&["inspect", "--format", "{{.Pod}}", &id(&third)]);
    rig.storage.cli(&["pod", "rm", "--force", "--time", "0", infra.trim()]);
    cluster.until("web", |pod| is_ready(pod) && id(pod) != id(&third)).await;
}

struct Kill(i32);

impl Kill {
    fn now(&self) {
        if let Some(service) = rustix::process::Pid::from_raw(self.0) {
            _ = rustix::process::kill_process(service, rustix::process::Signal::KILL);
        }
    }
}

impl Drop for Kill {
    fn drop(&mut self) {
        self.now();
    }
}

async fn pid(url: &str) -> Kill {
    let socket = tokio::net::UnixStream::connect(url.trim_start_matches("unix://")).await.unwrap();
    Kill(socket.peer_cred().unwrap().pid().unwrap())
}

#[tokio::test]
async fn a_dead_service_is_started_again_and_containers_live_on() {
    let rig = Rig::shared().await;
    let options =
        ServiceOptions { directory: rig.storage.directory.join("second"), arguments: rig.storage.arguments.clone() };
    let url = spawn_service(&options).await.unwrap();
    let first_service = pid(&url).await;
    let (cluster, _directory) = cluster(Podman::new(&url, "kubelet-service").unwrap().kept_alive(options)).await;
    cluster.run("web", script(FOREVER, json!({}))).await;
    let before = cluster.until("web", is_ready).await;
    first_service.now();
    let begun = Instant::now();
    cluster.run("late", script(FOREVER, json!({}))).await;
    cluster.until("late", is_ready).await;
    assert!(begun.elapsed() < Duration::from_secs(30), "{:?}", begun.elapsed());
    let _second = pid(&url).await;
    let after = cluster.get("web").await.unwrap();
    assert_eq!((id(&after), first(&after)["restartCount"].as_i64()), (id(&before), Some(0)));
    // Events of the new service arrive.
    rig.storage.cli(&["rm", "--force", "--time", "0", &id(&before)]);
    cluster.until("web", |pod| is_ready(pod) && id(pod) != id(&before)).await;
}
