//! What all containers of a pod may use together.

use super::{FOREVER, cluster, exec};
use crate::control_plane::is_ready;
use crate::rig::{IMAGE, Rig};
use crate::wait::{self, Pace};
use kube::api::{Patch, PatchParams};
use selkie::kubelet::runtime::ContainerRuntime;
use serde_json::{Value, json};
use std::path::PathBuf;

/// The files of a pod's cgroup: on each cgroup version one, and what it says.
struct Files<'a> {
    rig: &'a Rig,
    pod: String,
    version: u8,
}

impl Files<'_> {
    fn read(&self, v1: &str, v2: &str) -> String {
        let path = self.rig.storage.cli(&["pod", "inspect", "--format", "{{.CgroupPath}}", &self.pod]);
        let path = path.trim().trim_start_matches('/');
        let root = PathBuf::from("/sys/fs/cgroup");
        let (controller, name) = v1.split_once('/').unwrap();
        let file =
            if self.version == 2 { root.join(path).join(v2) } else { root.join(controller).join(path).join(name) };
        std::fs::read_to_string(&file).unwrap_or_else(|error| panic!("{}: {error}", file.display())).trim().to_owned()
    }

    fn memory(&self) -> String {
        self.read("memory/memory.limit_in_bytes", "memory.max")
    }

    fn cpu(&self) -> String {
        let text = self.read("cpu/cpu.cfs_quota_us", "cpu.max");
        text.split(' ').next().unwrap().to_owned()
    }
}

fn state<'a>(pod: &'a Value, name: &str) -> &'a Value {
    let all = pod["status"]["containerStatuses"].as_array().map_or(&[][..], Vec::as_slice);
    all.iter().find(|status| status["name"] == name).map_or(&Value::Null, |status| &status["state"])
}

#[tokio::test]
async fn containers_share_what_their_pod_has() {
    let rig = Rig::shared().await;
    let podman = rig.podman("kubelet-whole").await;
    let info = podman.info().await.unwrap();
    if !info.enforces("memory") || info.lone_containers {
        return;
    }
    let (cluster, _directory) = cluster(podman).await;
    let one = |name: &str, script: &str| json!({"name": name, "image": IMAGE, "imagePullPolicy": "Never", "command": ["sh", "-c", script]});
    let eater = one("c", "until [ -e /go ]; do sleep 0.1; done; exec tail /dev/zero");
    let holder = one("holder", &format!("head -c 40m /dev/zero | tail -c 40m | sleep 600 & {FOREVER}"));
    let whole = |cpu: &str, memory: &str| json!({"requests": {"cpu": "100m", "memory": "32Mi"}, "limits": {"cpu": cpu, "memory": memory}});
    let spec = json!({"restartPolicy": "Never", "terminationGracePeriodSeconds": 5, "resources": whole("500m", "96Mi"),
        "containers": [eater, holder]});
    cluster.run("web", spec).await;
    let pod = cluster.until("web", is_ready).await;
    let uid = pod["metadata"]["uid"].as_str().unwrap();
    let files = Files { rig: &rig, pod: format!("selkie_default_web_{uid}"), version: info.cgroup_version };
    assert_eq!((files.memory(), files.cpu()), ((96u64 << 20).to_string(), "50000".to_owned()));

    let patch = Patch::Strategic(json!({"spec": {"resources": whole("750m", "112Mi")}}));
    cluster.pods().patch_subresource("resize", "web", &PatchParams::default(), &patch).await.unwrap();
    cluster.until("web", |pod| pod["status"]["resources"]["limits"]["memory"] == "112Mi").await;
    cluster.until_event("web", "ResizeCompleted: ").await;
    assert_eq!((files.memory(), files.cpu()), ((112u64 << 20).to_string(), "75000".to_owned()));

    wait::until("the one container has its memory", Pace::default(), async || {
        let used = files.read("memory/memory.usage_in_bytes", "memory.current");
        if used.parse::<u64>().is_ok_and(|bytes| bytes >= 40 << 20) { Ok(()) } else { Err(used) }
    })
    .await;
    // Alone it would have enough.
    exec(&cluster, &pod, &["touch", "/go"]).await;
    let pod = cluster.until("web", |pod| state(pod, "c")["terminated"].is_object()).await;
    assert_eq!(state(&pod, "c")["terminated"]["reason"], "OOMKilled", "{:#}", pod["status"]);
    assert!(state(&pod, "holder")["running"].is_object());
}
