//! Init containers that go on (`restartPolicy: Always`): when they start, what waits for them, and when they end.

use super::{FOREVER, cluster, script};
use crate::control_plane::is_ready;
use crate::rig::{IMAGE, Rig};
use crate::wait::{self, Pace};
use serde_json::{Value, json};

/// A container that writes down when it starts and ends.
fn container(name: &str, fields: Value) -> Value {
    let life = format!(
        "echo {name} starts >>/v/log; trap 'echo {name} ends >>/v/log; exit 0' TERM; while :; do sleep 0.1; done"
    );
    let mut made = json!({"name": name, "image": IMAGE, "imagePullPolicy": "Never", "command": ["sh", "-c", life],
        "volumeMounts": [{"name": "v", "mountPath": "/v"}]});
    made.as_object_mut().unwrap().extend(fields.as_object().unwrap().clone());
    made
}

#[tokio::test]
async fn sidecars_start_in_order_and_end_after_all_others() {
    let rig = Rig::shared().await;
    let (mut cluster, directory) = cluster(rig.podman("kubelet-sidecars").await).await;
    let place = directory.path().join("v");
    std::fs::create_dir(&place).unwrap();
    let log = || std::fs::read_to_string(place.join("log")).unwrap_or_default().replace('\n', ", ");
    let probe = json!({"exec": {"command": ["test", "-e", "/v/go"]}, "periodSeconds": 1, "failureThreshold": 600});
    let first = container("first", json!({"restartPolicy": "Always", "startupProbe": probe}));
    let mut step = container("step", json!({}));
    step["command"][2] = json!("echo step runs >>/v/log");
    let life = "echo last starts >>/v/log; trap 'echo last ends >>/v/log; exit 0' TERM; \
        until [ -e /v/die ]; do sleep 0.1; done; rm /v/die; exit 3";
    let mut last = container("last", json!({"restartPolicy": "Always"}));
    last["command"][2] = json!(life);
    let mut spec = script(FOREVER, json!({}));
    spec["containers"] = json!([container("main", json!({}))]);
    spec["initContainers"] = json!([first, step, last]);
    spec["volumes"] = json!([{"name": "v", "hostPath": {"path": place}}]);
    spec["terminationGracePeriodSeconds"] = json!(30);
    cluster.run("web", spec).await;

    let init = |pod: &Value, index: usize| pod["status"]["initContainerStatuses"][index].clone();
    let runs = |pod: &Value| init(pod, 0)["state"]["running"].is_object() && init(pod, 0)["started"] == false;
    let pod = cluster.until("web", runs).await;
    assert_eq!(init(&pod, 1)["state"]["waiting"]["reason"], "PodInitializing");
    // Several probes have failed by then.
    cluster.until_event("web", "Unhealthy: Startup probe failed").await;
    assert_eq!(log(), "first starts, ", "what comes next waits for its probe");
    std::fs::write(place.join("go"), "").unwrap();
    let pod = cluster.until("web", is_ready).await;
    wait::until("its main container has spoken", Pace::default(), async || {
        let said = log();
        if said == "first starts, step runs, last starts, main starts, " { Ok(()) } else { Err(said) }
    })
    .await;
    assert_eq!(init(&pod, 1)["state"]["terminated"]["exitCode"], 0);
    assert!(init(&pod, 2)["ready"] == true && init(&pod, 2)["state"]["running"].is_object(), "{pod:#}");

    std::fs::write(place.join("die"), "").unwrap();
    let again = |pod: &Value| init(pod, 2)["restartCount"] == 1 && init(pod, 2)["state"]["running"].is_object();
    let pod = cluster.until("web", |pod| again(pod) && is_ready(pod)).await;
    assert_eq!(init(&pod, 2)["lastState"]["terminated"]["exitCode"], 3);
    assert_eq!(
        (&init(&pod, 0)["restartCount"], &pod["status"]["containerStatuses"][0]["restartCount"]),
        (&json!(0), &json!(0))
    );
    wait::until("it has begun anew", Pace::default(), async || {
        if log().ends_with("main starts, last starts, ") { Ok(()) } else { Err(log()) }
    })
    .await;

    cluster.delete("web").await;
    cluster.until_gone("web").await;
    assert!(log().ends_with("last starts, main ends, last ends, first ends, "), "{}", log());
    cluster.stop().await;
}

#[tokio::test]
async fn a_pod_is_over_when_only_sidecars_are_left() {
    let rig = Rig::shared().await;
    let (mut cluster, directory) = cluster(rig.podman("kubelet-sidecar-jobs").await).await;
    let place = directory.path().join("v");
    std::fs::create_dir(&place).unwrap();
    let mut main = container("main", json!({}));
    main["command"][2] = json!("echo main runs >>/v/log");
    let sidecar = container("side", json!({"restartPolicy": "Always"}));
    let spec = json!({"restartPolicy": "Never", "containers": [main], "initContainers": [sidecar],
        "volumes": [{"name": "v", "hostPath": {"path": place}}]});
    cluster.run("job", spec).await;
    let pod = cluster.until("job", |pod| pod["status"]["phase"] == "Succeeded").await;
    assert!(pod["status"]["initContainerStatuses"][0]["state"]["terminated"].is_object(), "{:#}", pod["status"]);
    let log = std::fs::read_to_string(place.join("log")).unwrap();
    assert_eq!(log, "side starts\nmain runs\nside ends\n");
    cluster.stop().await;
}
