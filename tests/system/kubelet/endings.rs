//! How pods and containers end, and what is started again.

use super::{FOREVER, cluster, first, script};
use crate::control_plane::{condition, is_ready};
use crate::rig::{IMAGE, Rig};
use serde_json::{Value, json};

fn with(mut spec: Value, key: &str, value: Value) -> Value {
    spec[key] = value;
    spec
}

fn phase(name: &'static str) -> impl Fn(&Value) -> bool {
    move |pod| pod["status"]["phase"] == name
}

#[tokio::test]
async fn restart_policies_init_containers_and_deadlines() {
    let rig = Rig::shared().await;
    let (cluster, directory) = cluster(rig.podman("kubelet-endings").await).await;
    let once = |code: &str| script(&format!("echo some words >/dev/termination-log; exit {code}"), json!({}));
    cluster.run("never", with(once("4"), "restartPolicy", json!("Never"))).await;
    cluster.run("good", with(once("0"), "restartPolicy", json!("OnFailure"))).await;
    cluster.run("late", with(script(FOREVER, json!({})), "activeDeadlineSeconds", json!(2))).await;
    let state = directory.path().join("state");
    let volume = json!([{"name": "s", "hostPath": {"path": state, "type": "DirectoryOrCreate"}}]);
    let init = json!([{"name": "i", "image": IMAGE, "imagePullPolicy": "Never",
        "command": ["sh", "-c", "test -e /s/x || { touch /s/x; exit 9; }"], "volumeMounts": [{"name": "s", "mountPath": "/s"}]}]);
    let spec = with(with(script(FOREVER, json!({})), "volumes", volume), "initContainers", init);
    cluster.run("init", spec).await;
    let words = json!({"terminationMessagePolicy": "FallbackToLogsOnError"});
    cluster.run("words", with(script("echo from the log; exit 1", words), "restartPolicy", json!("Never"))).await;

    let pod = cluster.until("never", phase("Failed")).await;
    let ended = &first(&pod)["state"]["terminated"];
    assert_eq!(
        (&ended["reason"], &ended["exitCode"], &ended["message"]),
        (&json!("Error"), &json!(4), &json!("some words\n"))
    );
    assert!(ended["startedAt"].is_string() && ended["finishedAt"].is_string());
    assert_eq!(first(&pod)["restartCount"], 0);
    let conditions: Vec<_> = pod["status"]["conditions"].as_array().unwrap().iter().map(|c| &c["type"]).collect();
    assert_eq!(conditions, ["PodReadyToStartContainers", "Initialized", "Ready", "ContainersReady", "PodScheduled"]);
    let pod = cluster.until("good", phase("Succeeded")).await;
    assert_eq!(first(&pod)["state"]["terminated"]["reason"], "Completed");
    assert_eq!((condition(&pod, "Initialized"), condition(&pod, "Ready")), ("True".into(), "False".into()));
    let pod = cluster.until("late", phase("Failed")).await;
    assert_eq!(pod["status"]["reason"], "DeadlineExceeded");
    let pod = cluster.until("init", is_ready).await;
    let init = &pod["status"]["initContainerStatuses"][0];
    assert_eq!((&init["restartCount"], &init["ready"]), (&json!(1), &json!(true)));
    assert_eq!(init["lastState"]["terminated"]["exitCode"], 9);
    let pod = cluster.until("words", phase("Failed")).await;
    assert_eq!(first(&pod)["state"]["terminated"]["message"], "from the log\n");
}

#[tokio::test]
async fn what_cannot_be_started_or_pulled_says_why() {
    let rig = Rig::shared().await;
    let (cluster, _directory) = cluster(rig.podman("kubelet-refused").await).await;
    cluster.run("bad", script("", json!({"command": ["/no/such/command"]}))).await;
    let never = script("", json!({"command": ["/no/such/command"]}));
    cluster.run("once", with(never, "restartPolicy", json!("Never"))).await;
    cluster.run("pull", script("", json!({"image": "127.0.0.1:1/none:1", "imagePullPolicy": "Always"}))).await;
    cluster.run("absent", script("", json!({"image": "localhost/none:1"}))).await;
    cluster.run("named", script("", json!({"image": "UPPER//x", "imagePullPolicy": "IfNotPresent"}))).await;
    cluster.run("there", script(FOREVER, json!({"imagePullPolicy": "IfNotPresent"}))).await;
    let waits = |reason: &'static str| move |pod: &Value| first(pod)["state"]["waiting"]["reason"] == reason;

    let pod = cluster.until("bad", waits("RunContainerError")).await;
    let text = first(&pod)["state"]["waiting"]["message"].as_str().unwrap();
    assert!(text.contains("/no/such/command"), "{text}");
    let pod = cluster.until("bad", waits("CrashLoopBackOff")).await;
    let last = &first(&pod)["lastState"]["terminated"];
    assert_eq!((&last["reason"], &last["exitCode"]), (&json!("StartError"), &json!(128)));
    assert!(first(&pod)["restartCount"].as_i64() >= Some(1));
    let pod = cluster.until("once", phase("Failed")).await;
    assert_eq!(first(&pod)["state"]["terminated"]["reason"], "StartError");

    let pod = cluster.until("pull", waits("ErrImagePull")).await;
    let text = first(&pod)["state"]["waiting"]["message"].as_str().unwrap();
    assert!(text.contains("127.0.0.1:1") && text.contains("connection refused"), "{text}");
    cluster.until_event("pull", "Failed: Failed to pull image \"127.0.0.1:1/none:1\": ").await;
    cluster.until_event("pull", "Failed: Error: ErrImagePull").await;
    cluster.until("pull", waits("ImagePullBackOff")).await;
    cluster.until("absent", waits("ErrImageNeverPull")).await;
    cluster.until("named", waits("InvalidImageName")).await;
    cluster.until("there", is_ready).await;
    let expect = format!("Pulled: Container image \"{IMAGE}\" already present on machine");
    cluster.until_event("there", &expect).await;
}
