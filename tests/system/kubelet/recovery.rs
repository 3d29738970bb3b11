//! Podman's own trouble and other people's hands.

use super::{FOREVER, cluster, first, script};
use crate::control_plane::is_ready;
use crate::cutter::{At, Cutter};
use crate::rig::{Rig, container, pod, sandbox};
use crate::wait::{self, Pace};
use selkie::kubelet::runtime::podman::{Podman, ServiceOptions, spawn_service};
use selkie::kubelet::runtime::{ContainerRuntime, ContainerState};
use serde_json::{Value, json};
use std::sync::Arc;
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

/// Whether a process of the container is left, whatever Podman says.
fn lives(pid: u32, container: &str) -> bool {
    std::fs::read_to_string(format!("/proc/{pid}/cgroup")).is_ok_and(|text| text.contains(container))
}

/// A container of a pod of its own, not yet started.
async fn made(podman: &Podman, name: &str) -> String {
    let pod = pod(name);
    let sandbox = podman.ensure_sandbox(&sandbox(&pod)).await.unwrap();
    let stubborn = "trap '' TERM; while :; do sleep 0.1; done";
    podman.create_container(&sandbox.id, &container(&pod, "main", stubborn)).await.unwrap()
}

#[tokio::test]
async fn what_runs_without_podmans_knowledge_ends_with_the_start_that_fails() {
    let rig = Rig::shared().await;
    let podman = rig.podman("cut-off-start").await;
    let id = made(&podman, "half-started").await;
    // As a service leaves it that dies between its runtime's start and the note of that.
    rig.storage.cli(&["init", &id]);
    let pid: u32 = rig.storage.cli(&["inspect", "--format", "{{.State.Pid}}", &id]).trim().parse().unwrap();
    crate::daemon::run(&podman.info().await.unwrap().oci_runtime, &["start", id.as_str()]);
    assert!(lives(pid, &id));
    let refused = podman.start(&id).await.unwrap_err();
    assert!(!refused.is_silence(), "{refused:?}");
    assert!(!lives(pid, &id), "the next life would meet it");
}

#[tokio::test]
async fn a_sandbox_whose_start_was_cut_off_is_made_anew() {
    let rig = Rig::shared().await;
    let (name, pod) = ("cut-off-sandbox", pod("half-made"));
    let cutter = Cutter::before(&rig.storage.url);
    let cuts = [
        cutter.cut(|line| line.starts_with("POST ") && line.contains("-infra/start"), At::Request),
        cutter.cut(|line| line.starts_with("DELETE ") && line.contains("/pods/"), At::Request),
    ];
    let lost = Podman::new(&cutter.url, name).unwrap().ensure_sandbox(&sandbox(&pod)).await.unwrap_err();
    assert!(lost.is_silence() && cuts.iter().all(|cut| cut.is_met()), "{lost:?}");
    let podman = rig.podman(name).await;
    let infra = format!("selkie_{}_{}_{}-infra", pod.namespace, pod.name, pod.uid);
    rig.storage.cli(&["init", &infra]);
    let id = rig.storage.cli(&["inspect", "--format", "{{.ID}}", &infra]);
    crate::daemon::run(&podman.info().await.unwrap().oci_runtime, &["start", id.trim()]);
    assert!(podman.ensure_sandbox(&sandbox(&pod)).await.unwrap().ready);
}

#[tokio::test]
async fn a_container_whose_stop_was_cut_off_is_removed_with_its_process() {
    let rig = Rig::shared().await;
    let podman = rig.podman("cut-off-stop").await;
    let id = made(&podman, "half-stopped").await;
    podman.start(&id).await.unwrap();
    let ContainerState::Running { pid, .. } = podman.inspect(&id).await.unwrap().state else { panic!("it runs") };
    let options =
        ServiceOptions { directory: rig.storage.directory.join("third"), arguments: rig.storage.arguments.clone() };
    let url = spawn_service(&options).await.unwrap();
    let service = self::pid(&url).await;
    let other = Podman::new(&url, "cut-off-stop").unwrap();
    let stopped = id.clone();
    let stop = tokio::spawn(async move { other.stop(&stopped, Duration::from_secs(600)).await });
    let state = async || match rig.storage.cli(&["inspect", "--format", "{{.State.Status}}", &id]).trim() {
        "stopping" => Ok(()),
        other => Err(other.to_owned()),
    };
    wait::until("it is being stopped", Pace::default(), state).await;
    service.now();
    assert!(stop.await.unwrap().unwrap_err().is_silence());
    assert!(lives(pid, &id));
    podman.remove(&id).await.unwrap();
    assert!(podman.inspect(&id).await.unwrap_err().is_not_found());
    assert!(!lives(pid, &id), "a process without a container");
}

#[tokio::test]
async fn a_pod_that_does_not_fit_fails_and_the_others_run_on() {
    let rig = Rig::shared().await;
    let (mut cluster, _directory) = cluster(rig.podman("kubelet-room").await).await;
    cluster.run("web", script(FOREVER, json!({}))).await;
    let web = cluster.until("web", is_ready).await;
    cluster.run("greedy", script(FOREVER, json!({"resources": {"requests": {"cpu": "4000"}}}))).await;
    let greedy = cluster.until("greedy", |pod| pod["status"]["phase"] == "Failed").await;
    assert_eq!(greedy["status"]["reason"], "OutOfcpu");
    cluster.until_event("greedy", "OutOfcpu: Node didn't have enough resource: cpu, requested: 4000000").await;
    assert_eq!(rig.podman("kubelet-room").await.list().await.unwrap().containers.len(), 1, "nothing of it was made");

    cluster.stop().await;
    cluster.start(Arc::new(rig.podman("kubelet-room").await), false);
    cluster.run("next", script(FOREVER, json!({}))).await;
    cluster.until("next", is_ready).await;
    let after = cluster.get("web").await.unwrap();
    assert_eq!((id(&after), &after["status"]["phase"]), (id(&web), &json!("Running")));
}
