//! Limits of containers that run, changed.

use super::{FOREVER, cluster, exec, first, script};
use crate::control_plane::{Cluster, is_ready};
use crate::rig::Rig;
use crate::wait::{self, Pace};
use kube::api::{Patch, PatchParams};
use serde_json::{Value, json};
use std::time::Duration;

/// Where a container reads its own limits, whichever version of cgroups it has.
const MEMORY: &str = "cat /sys/fs/cgroup/memory.max 2>/dev/null || cat /sys/fs/cgroup/memory/memory.limit_in_bytes";
const CPU: &str = "cat /sys/fs/cgroup/cpu.max 2>/dev/null || \
    echo $(cat /sys/fs/cgroup/cpu/cpu.cfs_quota_us) $(cat /sys/fs/cgroup/cpu/cpu.cfs_period_us)";

const USAGE: &str = "cat /sys/fs/cgroup/memory.current 2>/dev/null || cat /sys/fs/cgroup/memory/memory.usage_in_bytes";

async fn resize(cluster: &Cluster, name: &str, resources: Value) {
    let patch = json!({"spec": {"containers": [{"name": "c", "resources": resources}]}});
    let patch = Patch::Strategic(patch);
    cluster.pods().patch_subresource("resize", name, &PatchParams::default(), &patch).await.unwrap();
}

async fn said(cluster: &Cluster, pod: &Value, command: &str) -> String {
    exec(cluster, pod, &["sh", "-c", command]).await.0.trim().to_owned()
}

fn settled(limits: Value) -> impl Fn(&Value) -> bool {
    move |pod| {
        let conditions = pod["status"]["conditions"].as_array().cloned().unwrap_or_default();
        let resizing = |condition: &Value| condition["type"].as_str().unwrap_or_default().starts_with("PodResize");
        is_ready(pod) && first(pod)["resources"]["limits"] == limits && !conditions.iter().any(resizing)
    }
}

#[tokio::test]
async fn a_running_container_gets_other_limits() {
    let rig = Rig::shared().await;
    let (cluster, _directory) = cluster(rig.podman("kubelet-resize").await).await;
    let policy = json!([{"resourceName": "memory", "restartPolicy": "RestartContainer"}]);
    let limits = json!({"cpu": "500m", "memory": "64Mi"});
    cluster.run("web", script(FOREVER, json!({"resources": {"limits": limits}}))).await;
    cluster.run("strict", script(FOREVER, json!({"resources": {"limits": limits}, "resizePolicy": policy}))).await;
    let before = cluster.until("web", settled(limits.clone())).await;
    let strict = cluster.until("strict", settled(limits)).await;
    assert_eq!(said(&cluster, &before, MEMORY).await, (64 << 20).to_string());
    assert_eq!(said(&cluster, &before, CPU).await, "50000 100000");

    // More than twice as much: what the container may swap has to grow with it.
    let more = json!({"cpu": "750m", "memory": "192Mi"});
    for name in ["web", "strict"] {
        resize(&cluster, name, json!({"requests": more, "limits": more})).await;
    }
    let after = cluster.until("web", settled(more.clone())).await;
    assert_eq!(said(&cluster, &after, MEMORY).await, (192 << 20).to_string());
    assert_eq!(said(&cluster, &after, CPU).await, "75000 100000");
    assert_eq!(first(&after)["containerID"], first(&before)["containerID"]);
    assert_eq!(first(&after)["state"], first(&before)["state"]);
    assert_eq!(first(&after)["restartCount"], 0);
    cluster.until_event("web", "ResizeCompleted: Pod resize completed: {").await;

    let again = cluster.until("strict", settled(more)).await;
    assert_eq!(first(&again)["restartCount"], 1);
    assert_ne!(first(&again)["containerID"], first(&strict)["containerID"]);
    assert_eq!(said(&cluster, &again, MEMORY).await, (192 << 20).to_string());

    // Less than it uses is not forced on it; less than it had is.
    let hungry = "head -c 40m /dev/zero | tail -c 40m | sleep 60 & sleep 60";
    let had = json!({"cpu": "100m", "memory": "96Mi"});
    cluster.run("hungry", script(hungry, json!({"resources": {"limits": had}}))).await;
    let hungry = cluster.until("hungry", settled(had)).await;
    let pace = Pace { every: Duration::from_millis(300), ..Pace::default() };
    wait::until("it has eaten", pace, async || {
        let used = said(&cluster, &hungry, USAGE).await;
        if used.parse::<u64>().is_ok_and(|bytes| bytes >= 40 << 20) { Ok(()) } else { Err(used) }
    })
    .await;
    let less = json!({"cpu": "750m", "memory": "48Mi"});
    resize(&cluster, "web", json!({"requests": less, "limits": less})).await;
    let lowered = cluster.until("web", settled(less)).await;
    assert_eq!(said(&cluster, &lowered, MEMORY).await, (48 << 20).to_string());
    assert_eq!(first(&lowered)["restartCount"], 0);
    let too_little = json!({"cpu": "100m", "memory": "6Mi"});
    resize(&cluster, "hungry", json!({"requests": too_little, "limits": too_little})).await;
    cluster.until_event("hungry", "ResizeError: Pod resize error: {").await;
}

#[tokio::test]
async fn a_daemon_that_starts_again_leaves_resized_containers_alone() {
    let rig = Rig::shared().await;
    let (mut cluster, _directory) = cluster(rig.podman("kubelet-resized").await).await;
    let limits = json!({"cpu": "500m", "memory": "64Mi"});
    cluster.run("web", script(FOREVER, json!({"resources": {"limits": limits}}))).await;
    let before = cluster.until("web", settled(limits)).await;
    let more = json!({"cpu": "600m", "memory": "80Mi"});
    resize(&cluster, "web", json!({"requests": more, "limits": more})).await;
    cluster.until("web", settled(more.clone())).await;
    cluster.stop().await;
    // Asked for while nobody looks.
    let most = json!({"cpu": "700m", "memory": "80Mi"});
    resize(&cluster, "web", json!({"requests": most, "limits": most})).await;
    cluster.start(std::sync::Arc::new(rig.podman("kubelet-resized").await), false);
    let after = cluster.until("web", settled(most)).await;
    assert_eq!(said(&cluster, &after, CPU).await, "70000 100000");
    assert_eq!(first(&after)["containerID"], first(&before)["containerID"]);
    assert_eq!(first(&after)["restartCount"], 0);
}
