//! Volumes and environment: what a container finds in its files and variables.

use super::{FOREVER, cluster, exec, first, put, script};
use crate::control_plane::is_ready;
use crate::rig::Rig;
use serde_json::json;

#[tokio::test]
async fn every_kind_of_volume() {
    let rig = Rig::shared().await;
    let (cluster, directory) = cluster(rig.podman("kubelet-volumes").await).await;
    put(&cluster, "configmaps", json!({"metadata": {"name": "cm"}, "data": {"a": "1", "b": "2"}})).await;
    put(&cluster, "secrets", json!({"metadata": {"name": "sec"}, "stringData": {"key": "hush"}})).await;
    let host = directory.path().join("host");
    let projected = json!([{"configMap": {"name": "cm", "items": [{"key": "a", "path": "sub/a"}]}},
        {"secret": {"name": "sec"}}, {"secret": {"name": "missing", "optional": true}},
        {"downwardAPI": {"items": [{"path": "labels", "fieldRef": {"fieldPath": "metadata.labels"}},
            {"path": "cpu", "resourceFieldRef": {"containerName": "c", "resource": "requests.cpu", "divisor": "1m"}}]}}]);
    let items = json!([{"key": "b", "path": "b", "mode": 0o600}]);
    let volumes = json!([
        {"name": "cm", "configMap": {"name": "cm", "items": items, "defaultMode": 0o640}},
        {"name": "sec", "secret": {"secretName": "sec", "defaultMode": 0o400}},
        {"name": "all", "projected": {"sources": projected}},
        {"name": "disk", "emptyDir": {}}, {"name": "memory", "emptyDir": {"medium": "Memory", "sizeLimit": "4Mi"}},
        {"name": "shared", "emptyDir": {"medium": "Memory"}},
        {"name": "host", "hostPath": {"path": host, "type": "DirectoryOrCreate"}}]);
    let mounts = json!([
        {"name": "cm", "mountPath": "/cm"}, {"name": "sec", "mountPath": "/sec"}, {"name": "all", "mountPath": "/all"},
        {"name": "disk", "mountPath": "/disk"}, {"name": "memory", "mountPath": "/memory"},
        {"name": "disk", "mountPath": "/logs", "subPathExpr": "logs/$(POD)"},
        {"name": "cm", "mountPath": "/one", "subPath": "b"}, {"name": "shared", "mountPath": "/shared"},
        {"name": "host", "mountPath": "/host"}, {"name": "host", "mountPath": "/read", "readOnly": true}]);
    let env = json!([{"name": "POD", "valueFrom": {"fieldRef": {"fieldPath": "metadata.name"}}}]);
    let more = json!({"volumeMounts": mounts, "env": env, "resources": {"requests": {"cpu": "250m"}}});
    let mut spec = script(&format!("echo made >/host/file; echo x >/logs/out; {FOREVER}"), more);
    spec["volumes"] = volumes;
    let writer = json!([{"name": "writer", "image": crate::rig::IMAGE, "imagePullPolicy": "Never",
        "command": ["sh", "-c", "echo init >/shared/from-init"],
        "volumeMounts": [{"name": "shared", "mountPath": "/shared"}]}]);
    spec["initContainers"] = writer;
    cluster.run("web", spec).await;
    let pod = cluster.until("web", is_ready).await;
    let look = "cat /cm/b /sec/key /all/sub/a /all/key /all/cpu /one; echo; cat /all/labels; echo; cat /shared/from-init; stat -f -c %T /shared /memory; \
        stat -L -c %a /cm/b /sec/key /all/key /disk; cat /disk/logs/web/out; ls /cm; df -k /memory | tail -1 | awk '{print $2}'; \
        echo no >/cm/b || echo ro; touch /read/x || echo ro; id -u";
    let (text, code) = exec(&cluster, &pod, &["sh", "-c", &format!("({look}) 2>/dev/null")]).await;
    let expect = "2hush1hush2502\napp=\"web\"\ninit\ntmpfs\ntmpfs\n600\n400\n644\n777\nx\nb\n4096\nro\nro\n0\n";
    assert_eq!((text.as_str(), code), (expect, 0));
    assert_eq!(std::fs::read_to_string(host.join("file")).unwrap(), "made\n");
    let mounts = first(&pod)["volumeMounts"].as_array().unwrap();
    assert_eq!(mounts.len(), 11, "these, and what all containers have");
    let expect = json!({"name": "host", "mountPath": "/read", "readOnly": true, "recursiveReadOnly": "Disabled"});
    assert_eq!(mounts[9], expect);
    cluster.delete("web").await;
    cluster.until_gone("web").await;
    assert!(host.join("file").exists(), "a hostPath stays");
    assert_eq!(std::fs::read_dir(directory.path().join("pods")).unwrap().count(), 0, "the rest goes with the pod");
}

/// A part of a volume is the volume's, whatever links the pod puts there.
#[tokio::test]
async fn parts_of_volumes_stay_inside() {
    let rig = Rig::shared().await;
    let (cluster, directory) = cluster(rig.podman("kubelet-parts").await).await;
    let host = directory.path().join("host");
    let outside = directory.path().join("outside");
    std::fs::create_dir(&outside).unwrap();
    let volumes = json!([{"name": "disk", "emptyDir": {}},
        {"name": "host", "hostPath": {"path": host, "type": "DirectoryOrCreate"}}]);
    let links = format!("cd /disk; mkdir real; ln -s real inner; ln -s {} away; ln -s away other", outside.display());
    let linker = json!({"name": "linker", "image": crate::rig::IMAGE, "imagePullPolicy": "Never",
        "command": ["sh", "-c", links], "volumeMounts": [{"name": "disk", "mountPath": "/disk"}]});
    let part = |sub_path: &str| json!([{"name": "disk", "mountPath": "/part", "subPath": sub_path}]);
    let bad = |name: &str, sub_path: &str| {
        let mut container = script(FOREVER, json!({"name": name}))["containers"][0].take();
        container["volumeMounts"] = part(sub_path);
        container
    };
    let mounts = json!([{"name": "disk", "mountPath": "/disk"}, {"name": "disk", "mountPath": "/part", "subPath": "inner/made"},
        {"name": "host", "mountPath": "/host", "subPath": "deep/er"}]);
    // Starts, and ends itself once: its next life has the same parts.
    let work = format!(
        "echo x >>/part/lives; echo y >/host/file; [ -e /disk/again ] || {{ touch /disk/again; exit 1; }}; {FOREVER}"
    );
    let mut spec = script(&work, json!({ "volumeMounts": mounts }));
    let containers = spec["containers"].as_array_mut().unwrap();
    containers.extend([bad("made", "other/made"), bad("there", "other")]);
    spec["volumes"] = volumes;
    spec["initContainers"] = json!([linker]);
    cluster.run("web", spec).await;
    let waiting = |pod: &serde_json::Value, name: &str| {
        let all = pod["status"]["containerStatuses"].as_array().cloned().unwrap_or_default();
        let one = all.into_iter().find(|one| one["name"] == name).unwrap_or_default();
        one["state"]["waiting"]["message"].as_str().unwrap_or_default().to_owned()
    };
    let made = "failed to create subPath directory for volumeMount \"disk\" of container \"made\"";
    let there = "failed to prepare subPath for volumeMount \"disk\" of container \"there\"";
    let refused = |pod: &serde_json::Value| waiting(pod, "made") == made && waiting(pod, "there") == there;
    let lives_again = |pod: &serde_json::Value| {
        let first = first(pod);
        first["restartCount"] == 1 && first["state"]["running"].is_object()
    };
    let pod = cluster.until("web", |pod| refused(pod) && lives_again(pod)).await;
    assert_eq!(exec(&cluster, &pod, &["cat", "/disk/real/made/lives"]).await, ("x\nx\n".into(), 0));
    assert_eq!(std::fs::read_dir(&outside).unwrap().count(), 0, "nothing is made outside");
    cluster.delete("web").await;
    cluster.until_gone("web").await;
    assert_eq!(std::fs::read_to_string(host.join("deep/er/file")).unwrap(), "y\n", "a hostPath stays");
    assert_eq!(std::fs::read_dir(directory.path().join("pods")).unwrap().count(), 0, "the rest goes with the pod");
    let mounts = std::fs::read_to_string("/proc/self/mounts").unwrap();
    assert!(!mounts.contains(directory.path().to_str().unwrap()), "nothing stays mounted");
}

#[tokio::test]
async fn environment_waits_for_what_is_missing() {
    let rig = Rig::shared().await;
    let (cluster, _directory) = cluster(rig.podman("kubelet-env").await).await;
    let env = json!([{"name": "A", "value": "x$(LATER)-$$(A)-$(P_one)"}, {"name": "LATER", "value": "$(A)!"},
        {"name": "KEY", "valueFrom": {"secretKeyRef": {"name": "sec", "key": "key"}}},
        {"name": "NONE", "valueFrom": {"configMapKeyRef": {"name": "no", "key": "k", "optional": true}}},
        {"name": "MEM", "valueFrom": {"resourceFieldRef": {"resource": "limits.memory", "divisor": "1Mi"}}},
        {"name": "IP", "valueFrom": {"fieldRef": {"fieldPath": "status.podIP"}}}]);
    let from =
        json!([{"prefix": "P_", "configMapRef": {"name": "cm"}}, {"secretRef": {"name": "no", "optional": true}}]);
    let more = json!({"env": env, "envFrom": from, "resources": {"limits": {"memory": "32Mi"}},
        "args": ["$(LATER) $(NONE) $(MEM)"],
        "command": ["sh", "-c", "echo \"$0|$A|$KEY|${NONE-unset}|$P_two\"; [ \"$IP\" = \"$(hostname -i)\" ] && echo same"]});
    let mut spec = script("", more);
    spec["restartPolicy"] = json!("Never");
    cluster.run("web", spec).await;
    let waits = |message: &'static str| {
        move |pod: &serde_json::Value| {
            let waiting = &first(pod)["state"]["waiting"];
            waiting["reason"] == "CreateContainerConfigError" && waiting["message"] == message
        }
    };
    cluster.until("web", waits("configmap \"cm\" not found")).await;
    cluster.until_event("web", "Failed: Error: configmap \"cm\" not found").await;
    put(&cluster, "configmaps", json!({"metadata": {"name": "cm"}, "data": {"one": "1", "two": "2"}})).await;
    cluster.until("web", waits("secret \"sec\" not found")).await;
    put(&cluster, "secrets", json!({"metadata": {"name": "sec"}, "stringData": {"other": "x"}})).await;
    cluster.until("web", waits("couldn't find key key in Secret default/sec")).await;
    put(&cluster, "secrets", json!({"metadata": {"name": "sec"}, "stringData": {"key": "hush"}})).await;
    let pod = cluster.until("web", |pod| pod["status"]["phase"] == "Succeeded").await;
    let log = super::log(&cluster, &pod, "c").await;
    assert_eq!(log, "x$(LATER)-$(A)-1! $(NONE) 32|x$(LATER)-$(A)-1|hush|unset|2\nsame\n");
}
