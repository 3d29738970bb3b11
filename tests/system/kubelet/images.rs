//! Where a pod's images come from, and images as volumes.

use super::{FOREVER, cluster, exec, first, put, script};
use crate::control_plane::is_ready;
use crate::registry::{PASSWORD, Registry, USER};
use crate::rig::{IMAGE, Rig};
use base64::{Engine, engine::general_purpose::STANDARD};
use serde_json::{Value, json};
use std::process::Command;

fn waiting(pod: &Value) -> (&str, &str) {
    let waiting = &first(pod)["state"]["waiting"];
    (waiting["reason"].as_str().unwrap_or_default(), waiting["message"].as_str().unwrap_or_default())
}

#[tokio::test]
async fn images_are_volumes() {
    let rig = Rig::shared().await;
    let (mut cluster, _directory) = cluster(rig.podman("kubelet-image-volumes").await).await;
    let mut spec = script(FOREVER, json!({"volumeMounts": [{"name": "docs", "mountPath": "/docs"}]}));
    spec["volumes"] = json!([{"name": "docs", "image": {"reference": IMAGE, "pullPolicy": "Never"}}]);
    cluster.run("web", spec.clone()).await;
    let pod = cluster.until("web", is_ready).await;
    let look = "[ -x /docs/bin/sh ] && echo there; touch /docs/x 2>/dev/null || echo read-only; ls / | wc -l; ls /docs | wc -l";
    let (text, code) = exec(&cluster, &pod, &["sh", "-c", look]).await;
    assert!(code == 0 && text.starts_with("there\nread-only\n"), "{text}");

    spec["volumes"][0]["image"]["reference"] = json!("localhost/no-such-docs:1");
    cluster.run("missing", spec.clone()).await;
    let pod = cluster.until("missing", |pod| waiting(pod).0 == "ErrImageNeverPull").await;
    let message = "Container image \"localhost/no-such-docs:1\" is not present with pull policy of Never";
    assert_eq!(waiting(&pod).1, message);
    cluster.until_event("missing", &format!("ErrImageNeverPull: {message}")).await;

    spec["volumes"][0]["image"]["reference"] = json!(IMAGE);
    spec["containers"][0]["volumeMounts"][0]["subPath"] = json!("bin");
    cluster.run("part", spec).await;
    let pod = cluster.until("part", |pod| waiting(pod).0 == "CreateContainerConfigError").await;
    let message = "subPath \"bin\" of image volume \"docs\" is not supported by the runtime: mount the whole volume";
    assert_eq!(waiting(&pod).1, message);
    for name in ["web", "missing", "part"] {
        cluster.delete(name).await;
        cluster.until_gone(name).await;
    }
    cluster.stop().await;
}

/// Credentials come from the pod's secrets; wrong ones for the same registry are not the end. An image that cannot
/// be had holds up nobody else.
#[tokio::test]
async fn images_are_pulled_with_the_secrets_of_the_pod() {
    let registry = Registry::start();
    let address = format!("127.0.0.1:{}", registry.port);
    let image = format!("{address}/team/app:1");
    let rig = Rig::start().await;
    let mut push = Command::new("podman");
    push.args(&rig.storage.arguments).args(["push", "-q", "--tls-verify=false"]);
    let output = push.args(["--creds", &format!("{USER}:{PASSWORD}"), IMAGE, &image]).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let service = rig.serve_trusting(&address).await;
    let podman = selkie::kubelet::runtime::podman::Podman::connect(&service.url, "kubelet-pulls").await.unwrap();
    let (mut cluster, _directory) = cluster(podman).await;
    let secret = |name: &str, key: &str, login: &str| {
        let config = json!({"auths": {key: {"auth": STANDARD.encode(login)}}}).to_string();
        json!({"metadata": {"name": name}, "type": "kubernetes.io/dockerconfigjson",
            "data": {".dockerconfigjson": STANDARD.encode(config)}})
    };
    put(&cluster, "secrets", secret("right", &address, &format!("{USER}:{PASSWORD}"))).await;
    put(&cluster, "secrets", secret("wrong", &format!("{address}/team"), "deployer:nope")).await;
    let pod = |name: &str, image: &str, secrets: &[&str]| {
        let mut spec = script(FOREVER, json!({"image": image, "imagePullPolicy": "Always"}));
        spec["imagePullSecrets"] = secrets.iter().map(|name| json!({"name": name})).collect();
        (name.to_owned(), spec)
    };
    for (name, spec) in [
        pod("anonymous", &image, &[]),
        pod("refused", &image, &["wrong"]),
        pod("absent", &format!("{address}/team/none:1"), &["right"]),
        pod("web", &image, &["wrong", "right"]),
    ] {
        cluster.run(&name, spec).await;
    }
    cluster.until("web", is_ready).await;
    cluster.until_event("web", &format!("Pulled: Successfully pulled image \"{image}\" in ")).await;
    for name in ["anonymous", "refused", "absent"] {
        let pod = cluster.until(name, |pod| ["ErrImagePull", "ImagePullBackOff"].contains(&waiting(pod).0)).await;
        assert!(!pod.to_string().contains("nope"), "credentials are not told: {pod}");
    }
    let pod = cluster.until("refused", |pod| waiting(pod).0 == "ImagePullBackOff").await;
    let begin = format!("Back-off pulling image \"{image}\": ErrImagePull: ");
    assert!(waiting(&pod).1.starts_with(&begin), "{:?}", waiting(&pod));
    cluster.until_event("refused", &format!("BackOff: Back-off pulling image \"{image}\"")).await;
    for name in ["anonymous", "refused", "absent", "web"] {
        cluster.delete(name).await;
        cluster.until_gone(name).await;
    }
    cluster.stop().await;
}
