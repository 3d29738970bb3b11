//! What the containers of a pod reach the API by: a volume with a token of their service account, the CA, and
//! their namespace. Written when the pod is made, left out where pods are held in large numbers, and known
//! again by its mounts.
//!
//! Source: Kubernetes' ServiceAccount admission plugin.

use k8s_openapi::api::core::v1::{Pod, PodSpec, Volume};
use serde_json::{Value, json};
use std::sync::LazyLock;

/// Where containers have the volume.
pub const PATH: &str = "/var/run/secrets/kubernetes.io/serviceaccount";
/// What the volume's name begins with.
pub const PREFIX: &str = "kube-api-access-";
/// The ConfigMap of each namespace that holds the CA.
pub const ROOT_CA: &str = "kube-root-ca.crt";
/// Seconds of a token. The odd number says that nobody has asked for it: of clients that read it only once,
/// see [`LASTS`].
pub const SECONDS: i64 = 3607;
/// Seconds that the API takes such a token for, while its pod is there.
pub const LASTS: i64 = 365 * 24 * 3600;

/// The volume as it is served.
pub fn volume(name: &str) -> Value {
    json!({
        "name": name,
        "projected": {
            "defaultMode": 0o644,
            "sources": [
                {"serviceAccountToken": {"expirationSeconds": SECONDS, "path": "token"}},
                {"configMap": {"name": ROOT_CA, "items": [{"key": "ca.crt", "path": "ca.crt"}]}},
                {"downwardAPI": {"items": [
                    {"path": "namespace", "fieldRef": {"apiVersion": "v1", "fieldPath": "metadata.namespace"}},
                ]}},
            ],
        },
    })
}

/// As views have it.
static USUAL: LazyLock<Option<Volume>> = LazyLock::new(|| serde_json::from_value(volume(PREFIX)).ok());

/// Whether it is such a volume, with nothing of its own but its name.
pub fn is_access(volume: &Volume) -> bool {
    let usual = USUAL.as_ref().and_then(|usual| usual.projected.as_ref());
    volume.name.starts_with(PREFIX) && usual.is_some() && volume.projected.as_ref() == usual
}

/// The name that mounts have the volume by.
fn mounted(spec: &PodSpec) -> Option<&str> {
    let containers = spec.init_containers.iter().flatten().chain(&spec.containers);
    let mut mounts = containers.flat_map(|container| container.volume_mounts.iter().flatten());
    mounts.find(|mount| mount.mount_path == PATH && mount.name.starts_with(PREFIX)).map(|mount| mount.name.as_str())
}

/// Leaves the volume out of a view of the pod, most of what many pods take in memory: its mounts say all that
/// [`restore`] needs to bring it back.
pub fn leave_out(pod: &mut Pod) {
    let Some(spec) = &mut pod.spec else { return };
    let name = mounted(spec);
    let access = |volume: &Volume| Some(volume.name.as_str()) == name && is_access(volume);
    let Some(at) = spec.volumes.iter().flatten().position(access) else { return };
    if let Some(volumes) = &mut spec.volumes {
        volumes.remove(at);
        volumes.shrink_to_fit();
    }
    spec.volumes.take_if(|volumes| volumes.is_empty());
    for container in spec.containers.iter_mut().chain(spec.init_containers.iter_mut().flatten()) {
        container.volume_mounts.iter_mut().for_each(Vec::shrink_to_fit);
    }
}

/// The view with the volume that was left out; `None`: it has all its volumes.
pub fn restore(pod: &Pod) -> Option<Pod> {
    let spec = pod.spec.as_ref()?;
    let name = mounted(spec)?;
    if spec.volumes.iter().flatten().any(|volume| volume.name == name) {
        return None;
    }
    let volume = Volume { name: name.to_owned(), ..USUAL.clone()? };
    let mut whole = pod.clone();
    whole.spec.get_or_insert_default().volumes.get_or_insert_default().push(volume);
    Some(whole)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn pod(volumes: Value) -> Pod {
        let mount = json!({"name": "kube-api-access-x", "mountPath": PATH, "readOnly": true});
        let containers = json!([{"name": "c", "volumeMounts": [mount]}]);
        serde_json::from_value(json!({"metadata": {}, "spec": {"containers": containers, "volumes": volumes}})).unwrap()
    }

    #[test]
    fn what_is_left_out_comes_back_whole() {
        for others in [json!([]), json!([{"name": "v", "emptyDir": {}}])] {
            let mut volumes = others.clone();
            volumes.as_array_mut().unwrap().push(volume("kube-api-access-x"));
            let whole = pod(volumes);
            let mut slim = whole.clone();
            leave_out(&mut slim);
            let left = slim.spec.as_ref().unwrap().volumes.as_ref().map_or(0, Vec::len);
            assert_eq!(left, others.as_array().unwrap().len());
            assert_eq!(restore(&slim), Some(whole.clone()));
            assert_eq!(restore(&whole), None);
        }
    }

    #[test]
    fn what_is_not_as_usual_stays() {
        let mut own = volume("kube-api-access-x");
        own["projected"]["sources"][0]["serviceAccountToken"]["audience"] = "vault".into();
        let own = pod(json!([own]));
        let mut seen = own.clone();
        leave_out(&mut seen);
        assert_eq!((&seen, restore(&seen)), (&own, None));
        // Nothing would say what it is called.
        let mut unmounted = pod(json!([volume("kube-api-access-x")]));
        unmounted.spec.as_mut().unwrap().containers[0].volume_mounts = None;
        let mut seen = unmounted.clone();
        leave_out(&mut seen);
        assert_eq!(seen, unmounted);
    }
}
