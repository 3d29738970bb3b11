//! Static pods: what runs because a file says so.

use super::{FOREVER, cluster, exec, script};
use crate::control_plane::is_ready;
use crate::rig::Rig;
use kube::api::PostParams;
use selkie::kubelet::settings::StaticPods;
use serde_json::{Value, json};
use std::sync::Arc;

fn manifest(name: &str, says: &str) -> String {
    let spec = script(FOREVER, json!({"env": [{"name": "SAYS", "value": says}]}));
    serde_json::to_string(&json!({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": name}, "spec": spec}))
        .unwrap()
}

fn uid(pod: &Value) -> String {
    pod["metadata"]["uid"].as_str().unwrap_or_default().to_owned()
}

#[tokio::test]
async fn pods_run_as_long_as_their_files_are_there() {
    let rig = Rig::shared().await;
    let (mut cluster, _directory) = cluster(rig.podman("kubelet-static").await).await;
    cluster.stop().await;
    let folder = tempfile::tempdir().unwrap();
    let write = |name: &str, text: &str| {
        // At once, as who deploys them does.
        let draft = folder.path().join(".draft");
        std::fs::write(&draft, text).unwrap();
        std::fs::rename(draft, folder.path().join(name)).unwrap();
    };
    write("web.yaml", &manifest("web", "one"));
    cluster.settings.static_pods = StaticPods::In(folder.path().into());
    let podman = Arc::new(rig.podman("kubelet-static").await);
    cluster.start(podman.clone(), false);
    let pod = cluster.until("web-h1", is_ready).await;
    let annotations = &pod["metadata"]["annotations"];
    assert_eq!(annotations["kubernetes.io/config.source"], "file");
    assert_eq!(annotations["kubernetes.io/config.mirror"], annotations["kubernetes.io/config.hash"]);
    assert!(pod["spec"]["serviceAccountName"].is_null(), "{:#}", pod["spec"]);
    assert_eq!(exec(&cluster, &pod, &["sh", "-c", "echo $SAYS"]).await, ("one\n".to_owned(), 0));

    // Who deletes it gets another.
    cluster.delete("web-h1").await;
    let first = uid(&pod);
    let second = uid(&cluster.until("web-h1", |pod| is_ready(pod) && uid(pod) != first).await);
    // Another file, another pod.
    write("web.yaml", &manifest("web", "two"));
    let pod = cluster.until("web-h1", |pod| is_ready(pod) && uid(pod) != second).await;
    assert_eq!(exec(&cluster, &pod, &["sh", "-c", "echo $SAYS"]).await, ("two\n".to_owned(), 0));

    // A file that cannot be read changes nothing; the others count.
    write("web.yaml", "kind: Pod\nmetadata: {");
    std::fs::create_dir(folder.path().join("h1")).unwrap();
    write("h1/db.json", &manifest("db", "own"));
    write("cache.yaml", &manifest("cache", "own"));
    cluster.until("db-h1", is_ready).await;
    cluster.until("cache-h1", is_ready).await;
    let still = cluster.until("web-h1", is_ready).await;
    assert_eq!(uid(&still), uid(&pod));

    // What was taken away while nobody looked is gone, and a daemon that is told of no files has no such pods.
    std::fs::remove_file(folder.path().join("cache.yaml")).unwrap();
    cluster.until_gone("cache-h1").await;
    cluster.stop().await;
    std::fs::remove_file(folder.path().join("h1/db.json")).unwrap();
    cluster.start(podman.clone(), false);
    cluster.until_gone("db-h1").await;
    assert_eq!(uid(&cluster.until("web-h1", is_ready).await), uid(&pod));
    cluster.stop().await;
    // A one-shot does not know of them.
    cluster.settings.static_pods = StaticPods::Others;
    cluster.start(podman.clone(), false);
    cluster.run("other", script(FOREVER, json!({}))).await;
    cluster.until("other", is_ready).await;
    assert_eq!(uid(&cluster.until("web-h1", is_ready).await), uid(&pod));
    cluster.delete("other").await;
    cluster.until_gone("other").await;
    cluster.stop().await;
    cluster.settings.static_pods = StaticPods::None;
    cluster.start(podman, false);
    cluster.until_gone("web-h1").await;
    cluster.stop().await;
}

#[tokio::test]
async fn mirror_pods_have_no_accounts_and_no_secrets() {
    let rig = Rig::shared().await;
    let (mut cluster, _directory) = cluster(rig.podman("kubelet-mirrors").await).await;
    let refused = async |spec: Value| {
        let mut full = script(FOREVER, json!({}));
        full.as_object_mut().unwrap().extend(spec.as_object().unwrap().clone());
        let annotations = json!({"kubernetes.io/config.mirror": "x"});
        let pod = json!({"metadata": {"name": "m", "annotations": annotations}, "spec": full});
        let pod = serde_json::from_value(pod).unwrap();
        cluster.pods().create(&PostParams::default(), &pod).await.unwrap_err().to_string()
    };
    for (spec, what) in [
        (json!({"serviceAccountName": "default"}), "service accounts"),
        (json!({"imagePullSecrets": [{"name": "s"}]}), "secrets"),
        (json!({"volumes": [{"name": "v", "secret": {"secretName": "s"}}]}), "secrets"),
    ] {
        let error = refused(spec).await;
        assert!(error.contains(&format!("a mirror pod may not reference {what}")), "{error}");
    }
    cluster.stop().await;
}
