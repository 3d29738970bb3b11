//! Ports, namespaces, limits and rights.

use super::{FOREVER, cluster, exec, first, script};
use crate::control_plane::is_ready;
use crate::rig::Rig;
use crate::wait::{self, Pace};
use k8s_openapi::api::node::v1::RuntimeClass;
use kube::Api;
use kube::api::PostParams;
use selkie::kubelet::runtime::ContainerRuntime;
use serde_json::json;
use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};

fn get(port: u16) -> std::io::Result<String> {
    let mut stream = TcpStream::connect(("127.0.0.1", port))?;
    stream.write_all(b"GET /hostname HTTP/1.0\r\n\r\n")?;
    let mut text = String::new();
    stream.read_to_string(&mut text)?;
    Ok(text)
}

#[tokio::test]
async fn host_ports_and_networks() {
    let rig = Rig::shared().await;
    let (cluster, _directory) = cluster(rig.podman("kubelet-ports").await).await;
    let port = crate::ports::free();
    let taken = TcpListener::bind(("0.0.0.0", port)).unwrap();
    let serve = format!("hostname >/tmp/hostname; httpd -p 8080 -h /tmp; {FOREVER}");
    let ports = json!({"ports": [{"containerPort": 8080, "hostPort": port}]});
    cluster.run("web", script(&serve, ports)).await;
    let mut spec = script(FOREVER, json!({}));
    spec["hostNetwork"] = json!(true);
    cluster.run("host", spec).await;
    cluster.until_event("web", "FailedCreatePodSandBox: Failed to create pod sandbox: ").await;
    let pod = cluster.get("web").await.unwrap();
    assert_eq!(first(&pod)["state"]["waiting"]["reason"], "ContainerCreating");
    assert_eq!(pod["status"]["phase"], "Pending");
    drop(taken);
    cluster.until("web", is_ready).await;
    let answer = wait::until("the page is served", Pace::default(), async || {
        let answer = tokio::task::spawn_blocking(move || get(port)).await.unwrap();
        answer.ok().filter(|text| text.contains("web")).ok_or("no page")
    });
    assert!(answer.await.ends_with("web\n"));
    let pod = cluster.until("host", is_ready).await;
    assert_eq!(pod["status"]["podIP"], pod["status"]["hostIP"]);
    let ours = std::fs::read_link("/proc/self/ns/net").unwrap();
    assert_eq!(exec(&cluster, &pod, &["readlink", "/proc/self/ns/net"]).await.0.trim(), ours.to_str().unwrap());
}

#[tokio::test]
async fn limits_and_rights() {
    let rig = Rig::shared().await;
    let podman = rig.podman("kubelet-rights").await;
    let info = podman.info().await.unwrap();
    let (cluster, _directory) = cluster(podman).await;
    let context = json!({"runAsUser": 1234, "runAsGroup": 77, "readOnlyRootFilesystem": true,
        "allowPrivilegeEscalation": false, "capabilities": {"drop": ["ALL"]}});
    let limits = json!({"limits": {"memory": "48Mi", "cpu": "500m"}});
    let mut spec = script(FOREVER, json!({"securityContext": context, "resources": limits}));
    spec["securityContext"] = json!({"fsGroup": 2000, "supplementalGroups": [3000]});
    cluster.run("small", spec).await;
    let context = json!({"capabilities": {"drop": ["ALL"], "add": ["NET_ADMIN"]}});
    cluster.run("net", script(FOREVER, json!({"securityContext": context}))).await;
    cluster.run("big", script(FOREVER, json!({"securityContext": {"privileged": true}}))).await;
    cluster.run("root", script(FOREVER, json!({"securityContext": {"runAsNonRoot": true}}))).await;

    let pod = cluster.until("small", is_ready).await;
    assert_eq!(pod["status"]["qosClass"], "Guaranteed");
    let look = "id -u; id -g; for g in 2000 3000; do id -G | grep -c $g; done; touch /x 2>/dev/null || echo ro; \
        grep -E 'CapEff|NoNewPrivs' /proc/self/status | awk '{print $2}'; cat /proc/1/cgroup";
    let user = &first(&pod)["user"]["linux"];
    assert_eq!((&user["uid"], &user["gid"]), (&json!(1234), &json!(77)), "{user}");
    let (text, _) = exec(&cluster, &pod, &["sh", "-c", look]).await;
    assert!(text.starts_with("1234\n77\n1\n1\nro\n0000000000000000\n1\n"), "{text}");
    let pod = cluster.until("net", is_ready).await;
    let (text, _) = exec(&cluster, &pod, &["sh", "-c", "grep CapEff /proc/self/status"]).await;
    assert!(text.trim().ends_with("0000000000001000"), "{text}");
    let pod = cluster.until("big", is_ready).await;
    let (text, _) = exec(&cluster, &pod, &["sh", "-c", "grep CapEff /proc/self/status; ls /dev | wc -l"]).await;
    assert!(!text.contains("00000000a80425fb"), "{text}");
    cluster.until("root", |pod| first(pod)["state"]["waiting"]["reason"] == "CreateContainerConfigError").await;
    if info.enforces("cpu") {
        let id = first(&cluster.get("small").await.unwrap())["containerID"].as_str().unwrap().to_string();
        let format = "{{.HostConfig.Memory}} {{.HostConfig.CpuQuota}} {{.HostConfig.CpuPeriod}} {{.State.Pid}}";
        let line = rig.storage.cli(&["inspect", "--format", format, id.trim_start_matches("podman://")]);
        let fields: Vec<&str> = line.split_whitespace().collect();
        assert_eq!(fields[..3], ["50331648", "50000", "100000"]);
        if info.cgroup_version == 1 {
            let cgroups = std::fs::read_to_string(format!("/proc/{}/cgroup", fields[3])).unwrap();
            let path = cgroups.lines().find_map(|line| line.split_once(":memory:")).unwrap().1;
            let limit = format!("/sys/fs/cgroup/memory{path}/memory.limit_in_bytes");
            assert_eq!(std::fs::read_to_string(limit).unwrap().trim(), "50331648");
        }
    }
}

#[tokio::test]
async fn a_runtime_class_wants_a_host_that_has_its_runtime() {
    let rig = Rig::shared().await;
    let (cluster, _directory) = cluster(rig.podman("kubelet-classes").await).await;
    let runtime = |pod: &serde_json::Value| {
        let id = first(pod)["containerID"].as_str().unwrap().trim_start_matches("podman://").to_owned();
        rig.storage.cli(&["inspect", "--format", "{{.OCIRuntime}}", &id]).trim().to_owned()
    };
    cluster.run("plain", script(FOREVER, json!({}))).await;
    let ours = runtime(&cluster.until("plain", is_ready).await);
    let classes: Api<RuntimeClass> = Api::all(cluster.client.clone());
    for (name, handler) in [("ours", ours.as_str()), ("nowhere", "not-installed")] {
        let class = json!({"metadata": {"name": name}, "handler": handler});
        classes.create(&PostParams::default(), &serde_json::from_value(class).unwrap()).await.unwrap();
    }
    for name in ["ours", "nowhere"] {
        let mut spec = script(FOREVER, json!({}));
        spec["runtimeClassName"] = json!(name);
        cluster.run(name, spec).await;
    }
    assert_eq!(runtime(&cluster.until("ours", is_ready).await), ours);
    let why = format!("no runtime for \"not-installed\" is configured: this host's Podman runs containers by {ours}");
    cluster.until_event("nowhere", &format!("FailedCreatePodSandBox: Failed to create pod sandbox: {why}")).await;
    assert_eq!(cluster.get("nowhere").await.unwrap()["status"]["phase"], "Pending");
}
