//! Pods that need nobody to hold their namespaces: their one container has them, and the pod is as any other.

use super::{FOREVER, cluster, exec, first, log, script};
use crate::control_plane::{Cluster, NODE, is_ready};
use crate::ports;
use crate::rig::{IMAGE, Rig};
use crate::wait::{self, Pace};
use k8s_openapi::api::core::v1::Pod;
use kube::api::{Patch, PatchParams};
use selkie::apiserver::LogOptions;
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::net::TcpListener;
use std::sync::Arc;

fn with(mut spec: Value, more: Value) -> Value {
    spec.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    spec
}

fn once(spec: Value) -> Value {
    with(spec, json!({"restartPolicy": "Never"}))
}

async fn says(cluster: &Cluster, pod: &Value, script: &str) -> String {
    exec(cluster, pod, &["sh", "-c", script]).await.0.trim().to_owned()
}

/// The ids of what holds namespaces for the pod.
fn holders(rig: &Rig, pod: &Value) -> Vec<String> {
    let uid = pod["metadata"]["uid"].as_str().unwrap();
    let filter = format!("label=io.selkie.pod.uid={uid}");
    let listed = rig.storage.cli(&["pod", "ps", "--filter", &filter, "--format", "json"]);
    let pods: Vec<Value> = serde_json::from_str(&listed).unwrap();
    assert_eq!(pods.len(), 1, "{listed}");
    pods.iter().filter_map(|pod| pod["InfraId"].as_str()).filter(|id| !id.is_empty()).map(str::to_owned).collect()
}

const OWN: &str = "ip -4 -o addr show eth0 | awk '{print $4}' | cut -d/ -f1";

#[tokio::test]
async fn what_runs_once_holds_its_own_namespaces() {
    let rig = Rig::shared().await;
    let (mut cluster, _directory) = cluster(rig.podman("kubelet-lone").await).await;
    let port = ports::free();
    let ends = "httpd -p 8080 -h /etc; echo $(hostname); cat /etc/hosts; while [ ! -e /tmp/end ]; do sleep 0.1; done";
    let published = json!({"ports": [{"containerPort": 8080, "hostPort": port}]});
    let more = json!({
        "hostname": "worker", "hostAliases": [{"ip": "10.0.0.9", "hostnames": ["db"]}],
        "dnsPolicy": "None", "dnsConfig": {"nameservers": ["192.0.2.53"], "searches": ["example.org"]},
        "securityContext": {"sysctls": [{"name": "net.ipv4.ip_local_port_range", "value": "20000 30000"}]},
    });
    cluster.run("job", once(with(script(ends, published), more))).await;
    let pod = cluster.until("job", is_ready).await;
    assert_eq!(holders(&rig, &pod), [""; 0]);
    let address = pod["status"]["podIP"].as_str().unwrap().to_owned();
    assert_eq!(says(&cluster, &pod, OWN).await, address);
    let lines = log(&cluster, &pod, "c").await;
    assert!(lines.starts_with("worker\n"), "{lines}");
    assert!(lines.contains(&format!("{address}\tworker\n")) && lines.contains("10.0.0.9\tdb\n"), "{lines}");
    let resolver = says(&cluster, &pod, "cat /etc/resolv.conf").await;
    assert!(resolver.contains("nameserver 192.0.2.53") && resolver.contains("search example.org"), "{resolver}");
    assert_eq!(says(&cluster, &pod, "cat /proc/sys/net/ipv4/ip_local_port_range").await, "20000\t30000");
    wait::until("the published port answers", Pace::default(), async || {
        let answer = get(port).await;
        if answer.contains("200 OK") { Ok(()) } else { Err(answer) }
    })
    .await;

    // Whoever is added to it shares what it has.
    let debugger = json!({"name": "debug", "image": IMAGE, "imagePullPolicy": "Never", "targetContainerName": "c",
        "command": ["sh", "-c", format!("{OWN}; hostname; ps | grep -c '[t]mp/end'; sleep 1000")]});
    let patch = json!({"spec": {"ephemeralContainers": [debugger]}});
    let (pods, params, patch) = (cluster.pods(), PatchParams::default(), Patch::Strategic(patch));
    let _: Pod = pods.patch_subresource("ephemeralcontainers", "job", &params, &patch).await.unwrap();
    let runs = |pod: &Value| !pod["status"]["ephemeralContainerStatuses"][0]["state"]["running"].is_null();
    let pod = cluster.until("job", runs).await;
    wait::until("the debugger has spoken", Pace::default(), async || {
        let said = log(&cluster, &pod, "debug").await;
        if said == format!("{address}\nworker\n1\n") { Ok(()) } else { Err(said) }
    })
    .await;

    // A kubelet that comes later knows its address, also when the container has it no more.
    cluster.stop().await;
    cluster.start(Arc::new(rig.podman("kubelet-lone").await), false);
    let looked = |options| cluster.streams().logs(NODE, &pod, options);
    wait::until("the kubelet serves its host again", Pace::default(), async || {
        looked(LogOptions { container: "c".into(), ..LogOptions::default() }).await.map(drop)
    })
    .await;
    says(&cluster, &pod, "touch /tmp/end").await;
    let ended = cluster.until("job", |pod| pod["status"]["phase"] == "Succeeded").await;
    assert_eq!((&ended["status"]["podIP"], &first(&ended)["restartCount"]), (&json!(address), &json!(0)));
    cluster.stop().await;
    cluster.start(Arc::new(rig.podman("kubelet-lone").await), false);
    cluster.delete("job").await;
    cluster.until_gone("job").await;
}

/// What an HTTP server on that port of this machine says first.
async fn get(port: u16) -> String {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    let Ok(mut stream) = tokio::net::TcpStream::connect(("127.0.0.1", port)).await else { return "no answer".into() };
    _ = stream.write_all(b"GET /passwd HTTP/1.0\r\n\r\n").await;
    let mut text = String::new();
    _ = stream.read_to_string(&mut text).await;
    text
}

#[tokio::test]
async fn what_is_in_the_hosts_network_needs_no_holder_to_be_started_again() {
    let rig = Rig::shared().await;
    let (cluster, _directory) = cluster(rig.podman("kubelet-lone-host").await).await;
    let mortal = "readlink /proc/self/ns/net; while [ ! -e /tmp/end ]; do sleep 0.1; done; exit 1";
    cluster.run("agent", with(script(mortal, json!({})), json!({"hostNetwork": true, "hostPID": true}))).await;
    let ours = |kind: &str| std::fs::read_link(format!("/proc/self/ns/{kind}")).unwrap().display().to_string();
    let pod = cluster.until("agent", is_ready).await;
    assert_eq!(holders(&rig, &pod), [""; 0]);
    assert_eq!(pod["status"]["podIP"], pod["status"]["hostIP"]);
    for kind in ["net", "pid"] {
        assert_eq!(says(&cluster, &pod, &format!("readlink /proc/self/ns/{kind}")).await, ours(kind));
    }
    for kind in ["ipc", "uts", "mnt"] {
        assert_ne!(says(&cluster, &pod, &format!("readlink /proc/self/ns/{kind}")).await, ours(kind));
    }
    assert_eq!(says(&cluster, &pod, "hostname").await, rustix::system::uname().nodename().to_str().unwrap());
    says(&cluster, &pod, "touch /tmp/end").await;
    let again = cluster.until("agent", |pod| first(pod)["restartCount"] == 1 && is_ready(pod)).await;
    assert_eq!(log(&cluster, &again, "c").await.trim(), ours("net"));
    cluster.delete("agent").await;
    cluster.until_gone("agent").await;
}

#[tokio::test]
async fn whoever_may_come_back_or_is_told_its_address_has_it_held() {
    let rig = Rig::shared().await;
    let (cluster, _directory) = cluster(rig.podman("kubelet-held").await).await;
    let told = json!({"env": [{"name": "IP", "valueFrom": {"fieldRef": {"fieldPath": "status.podIP"}}}]});
    let mut two = script(FOREVER, json!({}));
    let mut second = two["containers"][0].clone();
    second["name"] = json!("second");
    two["containers"].as_array_mut().unwrap().push(second);
    let held = BTreeMap::from([
        ("comes-back", script(FOREVER, json!({}))),
        ("told", once(script(FOREVER, told))),
        ("two", once(two)),
        ("shared", with(once(script(FOREVER, json!({}))), json!({"shareProcessNamespace": true}))),
    ]);
    for (name, spec) in &held {
        cluster.run(name, spec.clone()).await;
    }
    for name in held.keys() {
        let pod = cluster.until(name, is_ready).await;
        assert_eq!(holders(&rig, &pod).len(), 1, "{name}");
    }
    let pod = cluster.get("told").await.unwrap();
    assert_eq!(says(&cluster, &pod, "echo $IP").await, pod["status"]["podIP"].as_str().unwrap());
}

#[tokio::test]
async fn what_cannot_be_run_has_failed_and_a_port_in_use_is_waited_for() {
    let rig = Rig::shared().await;
    let (cluster, _directory) = cluster(rig.podman("kubelet-lone-fails").await).await;
    let mut absent = once(script("", json!({})));
    absent["containers"][0]["command"] = json!(["/no/such/command"]);
    cluster.run("absent", absent).await;
    let failed = cluster.until("absent", |pod| pod["status"]["phase"] == "Failed").await;
    let ended = &first(&failed)["state"]["terminated"];
    assert_eq!((&ended["reason"], &ended["exitCode"]), (&json!("StartError"), &json!(128)), "{failed:#}");

    let taken = TcpListener::bind("0.0.0.0:0").unwrap();
    let port = taken.local_addr().unwrap().port();
    let published = json!({"ports": [{"containerPort": 8080, "hostPort": port}]});
    cluster.run("waits", once(script(FOREVER, published))).await;
    cluster.until_event("waits", "Failed: Error: ").await;
    assert_eq!(cluster.get("waits").await.unwrap()["status"]["phase"], "Pending");
    drop(taken);
    let pod = cluster.until("waits", is_ready).await;
    assert_eq!(first(&pod)["restartCount"], 0);
}

#[tokio::test]
async fn another_image_leaves_it_its_address() {
    let rig = Rig::shared().await;
    let (cluster, _directory) = cluster(rig.podman("kubelet-lone-image").await).await;
    rig.storage.cli(&["tag", IMAGE, "localhost/selkie-test:lone"]);
    cluster.run("job", once(script(FOREVER, json!({})))).await;
    let before = cluster.until("job", is_ready).await;
    let patch = json!({"spec": {"containers": [{"name": "c", "image": "localhost/selkie-test:lone"}]}});
    cluster.pods().patch("job", &PatchParams::default(), &Patch::Strategic(patch)).await.unwrap();
    let after = cluster.until("job", |pod| first(pod)["restartCount"] == 1 && is_ready(pod)).await;
    assert_eq!(after["status"]["podIP"], before["status"]["podIP"]);
    assert_eq!(says(&cluster, &after, OWN).await, after["status"]["podIP"].as_str().unwrap());
}
