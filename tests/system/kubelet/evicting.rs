//! Pods that keep more on disk than they may.

use super::{FOREVER, cluster, script};
use crate::control_plane::is_ready;
use crate::rig::Rig;
use serde_json::{Value, json};

fn why(pod: &Value) -> (&str, &str, &str) {
    let status = &pod["status"];
    let text = |name: &str| status[name].as_str().unwrap_or_default();
    (text("phase"), text("reason"), text("message"))
}

#[tokio::test]
async fn a_pod_that_keeps_too_much_on_disk_is_evicted() {
    let rig = Rig::shared().await;
    let (mut cluster, _directory) = cluster(rig.podman("kubelet-evicting").await).await;
    let fill = |file: &str| format!("dd if=/dev/zero of={file} bs=64k count=48 2>/dev/null; {FOREVER}");
    let mounts = json!({"volumeMounts": [{"name": "x", "mountPath": "/x"}]});
    let mut volume = script(&fill("/x/file"), mounts.clone());
    volume["volumes"] = json!([{"name": "x", "emptyDir": {"sizeLimit": "1Mi"}}]);
    let mut modest = script(&fill("/x/file"), mounts);
    modest["volumes"] = json!([{"name": "x", "emptyDir": {"sizeLimit": "8Mi"}}]);
    let limited = |limit: &str| json!({"resources": {"limits": {"ephemeral-storage": limit}}});
    let layer = script(&fill("/tmp/file"), limited("1Mi"));
    let spacious = script(&fill("/tmp/file"), limited("8Mi"));
    let mut parts = script(&fill("/tmp/file"), limited("1Mi"));
    let mut idle = script(FOREVER, limited("1Gi"))["containers"][0].clone();
    idle["name"] = json!("idle");
    parts["containers"].as_array_mut().unwrap().push(idle);
    for (name, spec) in
        [("volume", volume), ("modest", modest), ("layer", layer), ("spacious", spacious), ("parts", parts)]
    {
        cluster.run(name, spec).await;
    }
    let failed = |pod: &Value| pod["status"]["phase"] == "Failed";
    let expect = [
        ("volume", "Usage of EmptyDir volume \"x\" exceeds the limit \"1Mi\". "),
        ("layer", "Pod ephemeral local storage usage exceeds the total limit of containers 1Mi. "),
        ("parts", "Container c exceeded its local ephemeral storage limit \"1Mi\". "),
    ];
    for (name, message) in expect {
        let pod = cluster.until(name, failed).await;
        assert_eq!(why(&pod), ("Failed", "Evicted", message));
        cluster.until_event(name, &format!("Evicted: {}", message.trim_end())).await;
        let conditions = pod["status"]["conditions"].as_array().unwrap();
        assert!(conditions.iter().all(|condition| condition["type"] != "DisruptionTarget"), "its own doing");
    }
    for name in ["modest", "spacious"] {
        let pod = cluster.until(name, is_ready).await;
        assert_eq!(pod["status"]["phase"], "Running", "{name}: {:#}", pod["status"]);
    }
    cluster.stop().await;
}
