//! What surrounds a container: namespaces it shares, kernel settings, profiles, mounts, its pod's address, its tokens.

use super::{FOREVER, cluster, exec, first, script};
use crate::control_plane::{Cluster, condition, is_ready};
use crate::rig::{IMAGE, Rig};
use crate::wait::{self, Pace};
use jiff::SignedDuration;
use k8s_openapi::api::core::v1::Pod;
use kube::api::{Patch, PatchParams};
use selkie::base::clock::Clock;
use serde_json::{Value, json};
use std::process::Command;
use std::sync::Arc;

fn with(mut spec: Value, more: Value) -> Value {
    spec.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    spec
}

async fn says(cluster: &Cluster, pod: &Value, script: &str) -> String {
    exec(cluster, pod, &["sh", "-c", script]).await.0.trim().to_owned()
}

#[tokio::test]
async fn namespaces_are_shared_as_it_is_asked_for() {
    let rig = Rig::shared().await;
    let (cluster, _directory) = cluster(rig.podman("kubelet-namespaces").await).await;
    let second = json!({"name": "second", "image": IMAGE, "imagePullPolicy": "Never", "command": ["sleep", "424242"]});
    let two = |more: Value| {
        let mut spec = with(script(FOREVER, json!({})), more);
        spec["containers"].as_array_mut().unwrap().push(second.clone());
        spec
    };
    cluster.run("alone", two(json!({}))).await;
    cluster.run("shared", two(json!({"shareProcessNamespace": true}))).await;
    cluster.run("host", two(json!({"hostPID": true, "hostIPC": true}))).await;
    let alone = cluster.until("alone", is_ready).await;
    let processes = says(&cluster, &alone, "ps").await;
    assert!(!processes.contains("sleep 424242"), "{processes}");
    assert!(says(&cluster, &alone, "cat /proc/1/cmdline").await.contains("while"), "its own is the first");
    let shared = cluster.until("shared", is_ready).await;
    let processes = says(&cluster, &shared, "ps").await;
    assert!(processes.contains("sleep 424242") && processes.contains("while"), "{processes}");
    assert!(!says(&cluster, &shared, "cat /proc/1/cmdline").await.contains("while"), "that of the sandbox is");
    // What ends one process of the namespace is seen by the other container.
    says(&cluster, &shared, "kill -KILL $(pidof sleep)").await;
    cluster.until("shared", |pod| pod["status"]["containerStatuses"][1]["restartCount"] == 1).await;
    let host = cluster.until("host", is_ready).await;
    for kind in ["pid", "ipc"] {
        let ours = std::fs::read_link(format!("/proc/self/ns/{kind}")).unwrap();
        let look = format!("readlink /proc/self/ns/{kind}");
        assert_eq!(says(&cluster, &host, &look).await, ours.to_str().unwrap());
        assert_ne!(says(&cluster, &alone, &look).await, ours.to_str().unwrap());
    }
}

#[tokio::test]
async fn sysctls_and_seccomp_profiles_hold() {
    let rig = Rig::shared().await;
    let (cluster, directory) = cluster(rig.podman("kubelet-kernel").await).await;
    let profiles = directory.path().join("seccomp/profiles");
    std::fs::create_dir_all(&profiles).unwrap();
    let profile = json!({"defaultAction": "SCMP_ACT_ALLOW",
        "syscalls": [{"names": ["mkdir", "mkdirat"], "action": "SCMP_ACT_ERRNO"}]});
    std::fs::write(profiles.join("no-mkdir.json"), profile.to_string()).unwrap();
    let run = async |name: &str, context: Value| {
        cluster.run(name, with(script(FOREVER, json!({})), json!({"securityContext": context}))).await;
    };
    let sysctls = json!([{"name": "net.ipv4.ip_local_port_range", "value": "20000 30000"},
        {"name": "kernel/shm_rmid_forced", "value": "1"}, {"name": "net.ipv4.ping_group_range", "value": "0 5"}]);
    run("sysctls", json!({"sysctls": sysctls})).await;
    run("default", json!({"seccompProfile": {"type": "RuntimeDefault"}})).await;
    run("open", json!({"seccompProfile": {"type": "Unconfined"}})).await;
    run("local", json!({"seccompProfile": {"type": "Localhost", "localhostProfile": "profiles/no-mkdir.json"}})).await;
    run("none", json!({"seccompProfile": {"type": "Localhost", "localhostProfile": "profiles/none.json"}})).await;

    let pod = cluster.until("sysctls", is_ready).await;
    let files = "net/ipv4/ip_local_port_range kernel/shm_rmid_forced net/ipv4/ping_group_range";
    let found = says(&cluster, &pod, &format!("cd /proc/sys; cat {files}")).await;
    assert_eq!(found, "20000\t30000\n1\n0\t5");
    let mode = "grep '^Seccomp:' /proc/self/status";
    let made = "mkdir /tmp/made 2>&1 && echo made";
    let pod = cluster.until("default", is_ready).await;
    assert_eq!(says(&cluster, &pod, &format!("{mode}; {made}")).await, "Seccomp:\t2\nmade");
    let pod = cluster.until("open", is_ready).await;
    assert_eq!(says(&cluster, &pod, &format!("{mode}; {made}")).await, "Seccomp:\t0\nmade");
    let pod = cluster.until("local", is_ready).await;
    let said = says(&cluster, &pod, &format!("{mode}; {made}")).await;
    assert!(said.starts_with("Seccomp:\t2\n") && said.ends_with("Operation not permitted"), "{said}");
    let none =
        |pod: &Value| first(pod)["state"]["waiting"]["message"].as_str().is_some_and(|why| why.contains("none.json"));
    cluster.until("none", none).await;
}

#[tokio::test]
async fn an_address_and_readiness_gates_outlive_containers() {
    let rig = Rig::shared().await;
    let (cluster, _directory) = cluster(rig.podman("kubelet-gates").await).await;
    let mortal = "while [ ! -e /tmp/end ]; do sleep 0.1; done; exit 1";
    let gates = json!({"readinessGates": [{"conditionType": "example.org/lb"}]});
    cluster.run("gated", with(script(mortal, json!({})), gates)).await;
    let pod = cluster.until("gated", |pod| condition(pod, "ContainersReady") == "True").await;
    assert_eq!(condition(&pod, "Ready"), "False");
    let ready = pod["status"]["conditions"].as_array().unwrap().iter().find(|c| c["type"] == "Ready").unwrap();
    assert_eq!(ready["reason"], "ReadinessGatesNotReady", "{ready}");
    let gate = async |status: &str| {
        let patch = json!({"status": {"conditions": [{"type": "example.org/lb", "status": status}]}});
        let patched = cluster.pods().patch_status("gated", &PatchParams::default(), &Patch::Strategic(patch)).await;
        let _: Pod = patched.unwrap();
    };
    gate("True").await;
    let pod = cluster.until("gated", is_ready).await;
    let address = pod["status"]["podIP"].as_str().unwrap().to_owned();
    let own = "ip -4 -o addr show eth0 | awk '{print $4}' | cut -d/ -f1";
    assert_eq!(says(&cluster, &pod, own).await, address);

    says(&cluster, &pod, "touch /tmp/end").await;
    let pod = cluster.until("gated", |pod| first(pod)["restartCount"] == 1 && is_ready(pod)).await;
    assert_eq!(pod["status"]["podIP"], address, "it is the pod's");
    assert_eq!(says(&cluster, &pod, own).await, address);
    assert_eq!(condition(&pod, "example.org/lb"), "True", "what others say stays");
    gate("False").await;
    let pod = cluster.until("gated", |pod| !is_ready(pod)).await;
    assert_eq!(condition(&pod, "ContainersReady"), "True");
}

#[tokio::test]
async fn a_hook_asks_over_http_before_the_end() {
    let rig = Rig::shared().await;
    let (cluster, directory) = cluster(rig.podman("kubelet-stop-hook").await).await;
    let out = directory.path().join("out");
    let mounts = json!([{"name": "out", "mountPath": "/out"}]);
    let stop = json!({"httpGet": {"port": "admin", "path": "/stop?now=1", "httpHeaders": [{"name": "X-Why", "value": "end"}]}});
    // An answer before the question would be none.
    let serve = "trap 'cp /out/asked /out/at-the-end; exit 0' TERM
        (until [ -s /out/asked ]; do sleep 0.1; done; printf 'HTTP/1.0 200 OK\\r\\n\\r\\n') | nc -l -p 8081 >/out/asked &
        while :; do sleep 0.1; done";
    let ports = json!([{"name": "admin", "containerPort": 8081}]);
    let mut spec = script(serve, json!({"lifecycle": {"preStop": stop}, "volumeMounts": mounts, "ports": ports}));
    spec["volumes"] = json!([{"name": "out", "hostPath": {"path": out, "type": "DirectoryOrCreate"}}]);
    cluster.run("web", spec).await;
    let pod = cluster.until("web", is_ready).await;
    wait::until("it listens", Pace::default(), async || {
        let listening = says(&cluster, &pod, "netstat -ltn").await;
        if listening.contains(":8081 ") { Ok(()) } else { Err(listening) }
    })
    .await;
    cluster.delete("web").await;
    cluster.until_gone("web").await;
    let asked = std::fs::read_to_string(out.join("at-the-end")).unwrap().to_lowercase();
    assert!(!asked.is_empty(), "{:#?}", cluster.events("web").await);
    assert!(asked.starts_with("get /stop?now=1 http/1.1\r\n"), "{asked:?}");
    assert!(
        asked.contains("\r\nuser-agent: kube-lifecycle/1.36\r\n") && asked.contains("\r\nx-why: end\r\n"),
        "{asked:?}"
    );
}

/// A directory whose mounts are passed on to others, until it goes out of scope.
struct Shared(std::path::PathBuf);

fn mount(args: &[&str]) {
    crate::daemon::run("mount", args);
}

impl Drop for Shared {
    fn drop(&mut self) {
        let _ = Command::new("umount").args(["--recursive"]).arg(&self.0).output();
    }
}

#[tokio::test]
async fn mounts_go_as_far_as_their_propagation() {
    let rig = Rig::shared().await;
    let (cluster, directory) = cluster(rig.podman("kubelet-propagation").await).await;
    let shared = Shared(directory.path().join("shared"));
    std::fs::create_dir_all(&shared.0).unwrap();
    let path = shared.0.to_str().unwrap();
    mount(&["--bind", path, path]);
    mount(&["--make-shared", path]);
    let run = async |name: &str, propagation: &str| {
        let mounts = json!([{"name": "s", "mountPath": "/s", "mountPropagation": propagation}]);
        let privileged = propagation == "Bidirectional";
        let more = json!({"volumeMounts": mounts, "securityContext": {"privileged": privileged}});
        let mut spec = script(FOREVER, more);
        spec["volumes"] = json!([{"name": "s", "hostPath": {"path": path}}]);
        cluster.run(name, spec).await;
        cluster.until(name, is_ready).await
    };
    let none = run("none", "None").await;
    let inwards = run("inwards", "HostToContainer").await;
    let both = run("both", "Bidirectional").await;
    let on_host = shared.0.join("host");
    std::fs::create_dir(&on_host).unwrap();
    mount(&["-t", "tmpfs", "none", on_host.to_str().unwrap()]);
    std::fs::write(on_host.join("file"), "").unwrap();
    for (pod, seen) in [(&none, ""), (&inwards, "file"), (&both, "file")] {
        assert_eq!(says(&cluster, pod, "ls /s/host").await, seen, "{}", pod["metadata"]["name"]);
    }
    let inside = "mkdir /s/inside && mount -t tmpfs none /s/inside && touch /s/inside/file && echo done";
    assert_eq!(says(&cluster, &both, inside).await, "done");
    assert!(shared.0.join("inside/file").exists());
    for (pod, seen) in [(&none, ""), (&inwards, "file")] {
        assert_eq!(says(&cluster, pod, "ls /s/inside").await, seen, "{}", pod["metadata"]["name"]);
    }
    for name in ["none", "inwards", "both"] {
        cluster.delete(name).await;
        cluster.until_gone(name).await;
    }
}

#[tokio::test]
async fn a_token_that_is_old_is_replaced_while_the_container_runs() {
    let rig = Rig::shared().await;
    let directory = tempfile::tempdir().unwrap();
    let mut cluster = Cluster::new(Clock::System, directory.path().into()).await;
    // To a kubelet whose clock is that much ahead, tokens of ten minutes are old after four seconds.
    let ahead = jiff::Timestamp::now().checked_add(SignedDuration::from_secs(595)).unwrap();
    cluster.set_kubelet_clock(Clock::virtual_from(ahead));
    cluster.start(Arc::new(rig.podman("kubelet-tokens").await), false);
    let mut spec = script(FOREVER, json!({"volumeMounts": [{"name": "t", "mountPath": "/t"}]}));
    let token = json!({"serviceAccountToken": {"path": "token", "audience": "vault", "expirationSeconds": 600}});
    spec["volumes"] = json!([{"name": "t", "projected": {"sources": [token]}}]);
    cluster.run("web", spec).await;
    let pod = cluster.until("web", is_ready).await;
    let read = async || says(&cluster, &pod, "cat /t/token").await;
    let mut tokens = vec![read().await];
    for _ in 0..2 {
        let next = wait::until("the token is replaced", Pace::default(), async || {
            let now = read().await;
            if tokens.contains(&now) { Err("the same") } else { Ok(now) }
        })
        .await;
        tokens.push(next);
    }
    assert!(tokens.iter().all(|token| token.split('.').count() == 3), "{tokens:?}");
    assert_eq!(first(&cluster.get("web").await.unwrap())["restartCount"], 0);
}
