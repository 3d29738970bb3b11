//! The kubelet on a real Podman: what a pod's containers really do.

#[path = "kubelet/cut_calls.rs"]
mod cut_calls;
#[path = "kubelet/endings.rs"]
mod endings;
#[path = "kubelet/evicting.rs"]
mod evicting;
#[path = "kubelet/images.rs"]
mod images;
#[path = "kubelet/lone.rs"]
mod lone;
#[path = "kubelet/naming.rs"]
mod naming;
#[path = "kubelet/other_machine.rs"]
mod other_machine;
#[path = "kubelet/probes.rs"]
mod probes;
#[path = "kubelet/recovery.rs"]
mod recovery;
#[path = "kubelet/resizing.rs"]
mod resizing;
#[path = "kubelet/rights.rs"]
mod rights;
#[path = "kubelet/sidecars.rs"]
mod sidecars;
#[path = "kubelet/static_pods.rs"]
mod static_pods;
#[path = "kubelet/surroundings.rs"]
mod surroundings;
#[path = "kubelet/volumes.rs"]
mod volumes;
#[path = "kubelet/whole.rs"]
mod whole;

use crate::control_plane::{Cluster, NODE, is_ready};
use crate::rig::{IMAGE, Rig, container, pod, sandbox};
use crate::wait::{self, Pace};
use futures::StreamExt;
use k8s_openapi::api::core::v1::{ConfigMap, Secret};
use kube::Api;
use kube::api::{Patch, PatchParams, PostParams};
use selkie::apiserver::{ExecOptions, LogOptions};
use selkie::base::clock::Clock;
use selkie::kubelet::runtime::ContainerRuntime;
use selkie::kubelet::runtime::podman::Podman;
use serde_json::{Value, json};
use std::sync::Arc;
use std::time::Duration;

async fn cluster(runtime: Podman) -> (Cluster, tempfile::TempDir) {
    let directory = tempfile::tempdir().unwrap();
    let cluster = Cluster::with(Arc::new(runtime), Clock::System, directory.path().into(), false).await;
    (cluster, directory)
}

fn script(script: &str, more: Value) -> Value {
    let mut container =
        json!({"name": "c", "image": IMAGE, "imagePullPolicy": "Never", "command": ["sh", "-c", script]});
    container.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    json!({"terminationGracePeriodSeconds": 5, "containers": [container]})
}

const FOREVER: &str = "trap 'echo bye; exit 0' TERM; while :; do sleep 0.1; done";

fn first(pod: &Value) -> &Value {
    &pod["status"]["containerStatuses"][0]
}

async fn exec(cluster: &Cluster, pod: &Value, command: &[&str]) -> (String, i32) {
    let command = command.iter().map(|word| word.to_string()).collect();
    let options = ExecOptions { container: "c".into(), command, stdout: true, stderr: true, ..ExecOptions::default() };
    let mut session = cluster.streams().exec(NODE, pod, options).await.unwrap();
    let mut text = Vec::new();
    while let Some(piece) = session.output.recv().await {
        let (selkie::apiserver::ExecOutput::Stdout(bytes) | selkie::apiserver::ExecOutput::Stderr(bytes)) = piece;
        text.extend_from_slice(&bytes);
    }
    (String::from_utf8(text).unwrap(), session.exit.await.unwrap().unwrap())
}

async fn log(cluster: &Cluster, pod: &Value, container: &str) -> String {
    let options = LogOptions { container: container.into(), ..LogOptions::default() };
    let lines = cluster.streams().logs(NODE, pod, options).await.unwrap();
    let lines: Vec<_> = lines.map(|line| line.unwrap()).collect().await;
    String::from_utf8(lines.concat()).unwrap()
}

/// Makes a ConfigMap or Secret, or replaces its data.
async fn put(cluster: &Cluster, plural: &str, object: Value) {
    let name = object["metadata"]["name"].as_str().unwrap().to_string();
    match plural {
        "configmaps" => put_one::<ConfigMap>(cluster, &name, object).await,
        _ => put_one::<Secret>(cluster, &name, object).await,
    }
}

async fn put_one<K>(cluster: &Cluster, name: &str, object: Value)
where
    K: kube::Resource<DynamicType = (), Scope = k8s_openapi::NamespaceResourceScope>
        + serde::de::DeserializeOwned
        + serde::Serialize
        + Clone
        + std::fmt::Debug,
{
    let api: Api<K> = Api::default_namespaced(cluster.client.clone());
    if api.get_opt(name).await.unwrap().is_none() {
        api.create(&PostParams::default(), &serde_json::from_value(object).unwrap()).await.unwrap();
    } else {
        api.patch(name, &PatchParams::default(), &Patch::Merge(object)).await.unwrap();
    }
}

async fn put_map(cluster: &Cluster, value: &str) {
    put(cluster, "configmaps", json!({"metadata": {"name": "cm"}, "data": {"a": value}})).await;
}

/// Waits until the container sees `value` in the file that its ConfigMap is mounted as.
async fn until_mounted(cluster: &Cluster, pod: &Value, value: &str) {
    wait::until("the change arrives", Pace::default(), async || {
        let seen = exec(cluster, pod, &["cat", "/cm/a"]).await.0;
        if seen == value { Ok(()) } else { Err(seen) }
    })
    .await;
}

#[tokio::test]
async fn runs_answers_adopts_and_ends() {
    let rig = Rig::shared().await;
    let (mut cluster, _directory) = cluster(rig.podman("kubelet-life").await).await;
    put_map(&cluster, "one").await;
    let mut spec = script(
        &format!("echo hello $ME; httpd -p 8080 -h /etc; {FOREVER}"),
        json!({"env": [{"name": "ME", "valueFrom": {"fieldRef": {"fieldPath": "metadata.name"}}}],
            "volumeMounts": [{"name": "cm", "mountPath": "/cm"}],
            "readinessProbe": {"httpGet": {"path": "/passwd", "port": 8080}, "periodSeconds": 1, "timeoutSeconds": 10}}),
    );
    spec["volumes"] = json!([{"name": "cm", "configMap": {"name": "cm"}}]);
    cluster.run("web", spec).await;
    let pod = cluster.until("web", is_ready).await;
    assert_eq!(exec(&cluster, &pod, &["cat", "/cm/a"]).await, ("one".into(), 0));
    assert_eq!(exec(&cluster, &pod, &["sh", "-c", "exit 7"]).await.1, 7);
    assert_eq!(log(&cluster, &pod, "c").await, "hello web\n");

    put_map(&cluster, "two").await;
    until_mounted(&cluster, &pod, "two").await;

    cluster.stop().await;
    cluster.start(Arc::new(rig.podman("kubelet-life").await), false);
    // What only the new kubelet can have done shows that it has taken the pod over.
    put_map(&cluster, "three").await;
    until_mounted(&cluster, &pod, "three").await;
    let adopted = cluster.get("web").await.unwrap();
    assert_eq!(first(&adopted)["containerID"], first(&pod)["containerID"], "a restart adopts what runs");
    assert_eq!(adopted["status"]["conditions"], pod["status"]["conditions"], "and it was ready all the time");

    let begun = std::time::Instant::now();
    cluster.delete("web").await;
    cluster.until_gone("web").await;
    assert!(begun.elapsed() < Duration::from_secs(30), "{:?}", begun.elapsed());
    assert!(rig.podman("kubelet-life").await.list().await.unwrap().sandboxes.is_empty());
}

#[tokio::test]
async fn crashes_memory_and_liveness() {
    let rig = Rig::shared().await;
    let (cluster, _directory) = cluster(rig.podman("kubelet-trouble").await).await;
    cluster.run("crash", script("echo last >/dev/termination-log; exit 3", json!({}))).await;
    cluster
        .run(
            "sick",
            script(
                FOREVER,
                json!({"livenessProbe": {"exec": {"command": ["false"]}, "periodSeconds": 1, "failureThreshold": 2}}),
            ),
        )
        .await;
    let crash = cluster.until("crash", |pod| first(pod)["state"]["waiting"]["reason"] == "CrashLoopBackOff").await;
    assert_eq!(first(&crash)["lastState"]["terminated"]["exitCode"], 3);
    assert_eq!(first(&crash)["lastState"]["terminated"]["message"], "last\n");
    cluster.until("sick", |pod| first(pod)["restartCount"].as_i64() >= Some(1)).await;
    cluster.until_event("sick", "Killing: Container c failed liveness probe, will be restarted").await;
    if rig.podman("kubelet-trouble").await.info().await.unwrap().enforces("memory") {
        let eat = script("tail /dev/zero", json!({"resources": {"limits": {"memory": "16Mi"}}}));
        cluster.run("hungry", eat).await;
        cluster.until("hungry", |pod| first(pod)["lastState"]["terminated"]["reason"] == "OOMKilled").await;
    }
}

#[tokio::test]
async fn removes_what_no_pod_owns_and_repairs_what_was_removed() {
    let rig = Rig::shared().await;
    let podman = rig.podman("kubelet-repair").await;
    let orphan = pod("orphan");
    let made = podman.ensure_sandbox(&sandbox(&orphan)).await.unwrap();
    podman.create_container(&made.id, &container(&orphan, "main", "sleep 100")).await.unwrap();
    let (cluster, _directory) = cluster(podman).await;
    cluster.run("web", script(FOREVER, json!({}))).await;
    let before = cluster.until("web", is_ready).await;
    let left = rig.podman("kubelet-repair").await.list().await.unwrap();
    assert!(left.sandboxes.iter().all(|s| s.pod.name != "orphan"));
    let id = first(&before)["containerID"].as_str().unwrap().trim_start_matches("podman://").to_string();
    rig.storage.cli(&["rm", "--force", "--time", "0", &id]);
    let after =
        cluster.until("web", |pod| is_ready(pod) && first(pod)["containerID"] != first(&before)["containerID"]).await;
    assert_eq!(first(&after)["restartCount"], 1);
}

#[tokio::test]
async fn files_reach_a_host_across_the_network() {
    let rig = Rig::shared().await;
    let service = rig.serve_tcp().await;
    let (cluster, _directory) = cluster(Podman::connect(&service.url, "kubelet-remote").await.unwrap()).await;
    put_map(&cluster, "far").await;
    let mut spec = script(FOREVER, json!({"volumeMounts": [{"name": "cm", "mountPath": "/cm"}]}));
    spec["volumes"] = json!([{"name": "cm", "configMap": {"name": "cm"}}]);
    cluster.run("web", spec).await;
    let pod = cluster.until("web", is_ready).await;
    assert_eq!(exec(&cluster, &pod, &["cat", "/cm/a"]).await, ("far".into(), 0));
}
