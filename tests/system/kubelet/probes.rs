//! Probes and hooks.

use super::{FOREVER, cluster, exec, first, script};
use crate::control_plane::{condition, is_ready};
use crate::rig::Rig;
use crate::wait::{self, Pace};
use serde_json::json;
use std::time::Duration;

#[tokio::test]
async fn startup_holds_the_others_back_and_readiness_follows() {
    let rig = Rig::shared().await;
    let (cluster, _directory) = cluster(rig.podman("kubelet-probes").await).await;
    let more = json!({"ports": [{"name": "web", "containerPort": 8080}],
        "startupProbe": {"exec": {"command": ["test", "-e", "/tmp/up"]}, "periodSeconds": 1, "timeoutSeconds": 5, "failureThreshold": 30},
        "livenessProbe": {"tcpSocket": {"port": "web"}, "periodSeconds": 1, "timeoutSeconds": 5, "failureThreshold": 2},
        "readinessProbe": {"exec": {"command": ["sh", "-c", "test -e /tmp/ready || { echo not yet; false; }"]},
            "periodSeconds": 1, "timeoutSeconds": 5, "failureThreshold": 1}});
    let slow = "while ! test -e /tmp/go; do sleep 0.1; done; httpd -p 8080; touch /tmp/up";
    cluster.run("web", script(&format!("{slow}; {FOREVER}"), more)).await;
    let odd = json!({"livenessProbe": {"exec": {"command": ["/no/such/command"]}, "periodSeconds": 1, "timeoutSeconds": 5, "failureThreshold": 1}});
    cluster.run("odd", script(FOREVER, odd)).await;
    let never = json!({"startupProbe": {"tcpSocket": {"port": 81}, "periodSeconds": 1, "failureThreshold": 2}});
    cluster.run("never", script(FOREVER, never)).await;
    let pod = cluster.until("web", |pod| first(pod)["state"]["running"].is_object()).await;
    assert_eq!((first(&pod)["started"].as_bool(), first(&pod)["ready"].as_bool()), (Some(false), Some(false)));
    cluster.until_event("web", "Unhealthy: Startup probe failed: ").await;
    exec(&cluster, &pod, &["touch", "/tmp/go"]).await;
    let pod = cluster.until("web", |pod| first(pod)["started"] == true).await;
    assert_eq!(condition(&pod, "ContainersReady"), "False");
    cluster.until_event("web", "Unhealthy: Readiness probe failed: not yet").await;
    exec(&cluster, &pod, &["touch", "/tmp/ready"]).await;
    cluster.until("web", is_ready).await;
    exec(&cluster, &pod, &["rm", "/tmp/ready"]).await;
    let pod = cluster.until("web", |pod| condition(pod, "Ready") == "False").await;
    assert_eq!(first(&pod)["restartCount"], 0, "liveness waited for the start");
    exec(&cluster, &pod, &["killall", "httpd"]).await;
    cluster.until("web", |pod| first(pod)["restartCount"] == 1).await;
    cluster.until_event("web", "Unhealthy: Liveness probe failed: dial tcp 10.").await;

    cluster.until_event("odd", "Unhealthy: Liveness probe errored and resulted in unknown state: ").await;
    assert_eq!(first(&cluster.get("odd").await.unwrap())["restartCount"], 0, "it could not be asked");
    cluster.until_event("never", "Killing: Container c failed startup probe, will be restarted").await;
}

#[tokio::test]
async fn hooks_before_and_after() {
    let rig = Rig::shared().await;
    let (cluster, directory) = cluster(rig.podman("kubelet-hooks").await).await;
    let out = directory.path().join("out");
    let mounts = json!([{"name": "out", "mountPath": "/out"}]);
    let lifecycle = json!({"postStart": {"exec": {"command": ["sh", "-c", "sleep 1; echo posted >>/out/log"]}},
        "preStop": {"exec": {"command": ["sh", "-c", "echo stopping >>/out/log"]}}});
    let quick = "trap 'echo termed >>/out/log; exit 0' TERM; while :; do sleep 0.1; done";
    let mut spec = script(quick, json!({"lifecycle": lifecycle, "volumeMounts": mounts}));
    let second = json!({"name": "second", "image": crate::rig::IMAGE, "imagePullPolicy": "Never", "volumeMounts": mounts,
        "lifecycle": {"preStop": {"sleep": {"seconds": 1}}}, "command": ["sh", "-c", "echo second >>/out/log; httpd -f -p 80"]});
    spec["containers"].as_array_mut().unwrap().push(second);
    spec["volumes"] = json!([{"name": "out", "hostPath": {"path": out, "type": "DirectoryOrCreate"}}]);
    spec["terminationGracePeriodSeconds"] = json!(3);
    cluster.run("web", spec).await;
    let get = json!({"lifecycle": {"postStart": {"httpGet": {"port": 80, "path": "/none"}}}});
    cluster.run("refused", script(FOREVER, get)).await;
    cluster.until("web", is_ready).await;
    let log = || std::fs::read_to_string(out.join("log")).unwrap();
    wait::until("a hook has held up the containers after its own", Pace::default(), async || {
        if log() == "posted\nsecond\n" { Ok(()) } else { Err(log()) }
    })
    .await;
    cluster.until_event("refused", "FailedPostStartHook: PostStartHook failed: Get \"http://10.").await;
    let begun = std::time::Instant::now();
    cluster.delete("web").await;
    cluster.until_gone("web").await;
    assert_eq!(log(), "posted\nsecond\nstopping\ntermed\n");
    // httpd as process 1 ignores SIGTERM: one second of preStop and the rest of the grace.
    let took = begun.elapsed();
    assert!(took > Duration::from_secs(3) && took < Duration::from_secs(20), "{took:?}");
    cluster.until("refused", |pod| first(pod)["restartCount"].as_i64() >= Some(1)).await;
}

/// Podman takes long to get a command into a container: those of a probe are started by a shell that is in there.
#[tokio::test]
async fn commands_of_a_probe_share_a_shell() {
    let rig = Rig::shared().await;
    let (mut cluster, _directory) = cluster(rig.podman("kubelet-shell").await).await;
    let check = "echo $PPID $PWD $(id -u) $ME >>/tmp/runs; [ ! -e /tmp/hang ] || sleep 1000; [ -e /tmp/ready ]";
    let probe = json!({"exec": {"command": ["sh", "-c", check]}, "periodSeconds": 1, "timeoutSeconds": 2});
    let more = json!({"readinessProbe": probe, "workingDir": "/tmp", "securityContext": {"runAsUser": 1000},
        "env": [{"name": "ME", "value": "it's me"}]});
    cluster.run("web", script(FOREVER, more)).await;
    let pod = cluster.until("web", |pod| first(pod)["started"] == true).await;
    let runs = async || {
        let (text, _) = exec(&cluster, &pod, &["cat", "/tmp/runs"]).await;
        text.lines().map(str::to_owned).collect::<Vec<_>>()
    };
    let until_runs = async |count: usize| {
        wait::until("the probe runs", Pace::default(), async || {
            let runs = runs().await;
            if runs.len() >= count { Ok(runs) } else { Err(runs.join("\n")) }
        })
        .await
    };
    let seen = until_runs(4).await;
    assert!(seen.iter().all(|run| *run == seen[0]) && seen[0].ends_with(" /tmp 1000 it's me"), "{seen:?}");
    exec(&cluster, &pod, &["touch", "/tmp/ready"]).await;
    cluster.until("web", is_ready).await;

    // A run that hangs is ended with its shell; the next ones have another.
    exec(&cluster, &pod, &["touch", "/tmp/hang"]).await;
    cluster.until_event("web", "Unhealthy: Readiness probe failed: command timed out: ").await;
    exec(&cluster, &pod, &["rm", "/tmp/hang"]).await;
    let until = runs().await.len() + 3;
    let seen = until_runs(until).await;
    let last = seen.last().unwrap();
    assert!(*last != seen[0] && last.ends_with(" /tmp 1000 it's me"), "{seen:?}");
    cluster.until("web", is_ready).await;
    wait::until("nothing hangs around", Pace::default(), async || {
        let (text, _) = exec(&cluster, &pod, &["ps", "-o", "args"]).await;
        let sleeping = text.lines().filter(|line| line.trim() == "sleep 1000").count();
        if sleeping == 0 { Ok(()) } else { Err(text) }
    })
    .await;
    cluster.delete("web").await;
    cluster.until_gone("web").await;
    cluster.stop().await;
}
