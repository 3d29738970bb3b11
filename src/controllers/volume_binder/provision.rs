//! Volumes that selkie makes itself, on the Podman host where the claim's first pod runs: a named volume, or a directory
//! where the class says in which directory.

use super::matching::class_of;
use crate::client::raw;
use crate::controllers::write;
use k8s_openapi::api::core::v1::{Node, PersistentVolume, PersistentVolumeClaim};
use k8s_openapi::api::storage::v1::StorageClass;
use kube::{Api, ResourceExt};
use serde_json::json;
use std::path::{Component, Path, PathBuf};

/// The provisioner of StorageClasses, and the CSI driver of the volumes.
pub const PROVISIONER: &str = "podman.selkie.dev";
pub const PROVISIONED_BY: &str = "pv.kubernetes.io/provisioned-by";
/// Holds the object until the host has removed (or, by its policy, kept) the volume.
pub const FINALIZER: &str = "podman.selkie.dev/volume";
/// On a volume whose directory was made: it is not made again.
pub const MADE: &str = "podman.selkie.dev/made";
/// Label of Nodes: whether volumes can be directories there, for which selkie must share the host's file system.
pub const DIRECTORIES: &str = "podman.selkie.dev/directories";
/// Parameter of StorageClasses: the directory of the hosts in which volumes are directories.
const PATH: &str = "path";
const HOSTNAME: &str = "kubernetes.io/hostname";

/// The volume for a claim on a host. An error is the message of the event.
pub fn volume(claim: &PersistentVolumeClaim, class: &StorageClass, node: &Node) -> Result<PersistentVolume, String> {
    let (meta, spec) = (&claim.metadata, claim.spec.clone().unwrap_or_default());
    if spec.volume_mode.as_deref() == Some("Block") {
        return Err(format!("\"{PROVISIONER}\" makes file systems only, and the claim asks for volumeMode Block"));
    }
    if spec.data_source.is_some() || spec.data_source_ref.is_some() {
        return Err(format!("\"{PROVISIONER}\" makes empty volumes only, and the claim asks for a data source"));
    }
    let directory = place(class)?;
    let host = node.metadata.labels.as_ref().and_then(|labels| labels.get(HOSTNAME)).or(node.metadata.name.as_ref());
    let name = format!("pvc-{}", meta.uid.as_deref().unwrap_or_default());
    let on_host = json!({"key": HOSTNAME, "operator": "In", "values": [host]});
    let mut source = json!({"driver": PROVISIONER, "volumeHandle": name});
    if let Some(directory) = directory {
        source["volumeAttributes"] = json!({PATH: directory.join(&name)});
    }
    let volume = json!({
        "metadata": {"name": name, "annotations": { PROVISIONED_BY: PROVISIONER }, "finalizers": [FINALIZER]},
        "spec": {
            "accessModes": spec.access_modes,
            "capacity": {"storage": spec.resources.as_ref().and_then(|all| all.requests.as_ref()?.get("storage"))},
            "claimRef": {"apiVersion": "v1", "kind": "PersistentVolumeClaim", "namespace": meta.namespace,
                "name": meta.name, "uid": meta.uid, "resourceVersion": meta.resource_version},
            "csi": source,
            "nodeAffinity": {"required": {"nodeSelectorTerms": [{"matchExpressions": [on_host]}]}},
            "persistentVolumeReclaimPolicy": class.reclaim_policy.as_deref().unwrap_or("Delete"),
            "storageClassName": class_of(claim),
            "volumeMode": "Filesystem",
        },
    });
    serde_json::from_value(volume).map_err(|error| error.to_string())
}

/// Why no volume of a class of ours can be made on a host, as the scheduler says it.
pub fn obstacle(class: &StorageClass, node: &Node) -> Option<&'static str> {
    let directories =
        class.provisioner == PROVISIONER && class.parameters.iter().flatten().any(|(name, _)| name == PATH);
    let label = node.metadata.labels.as_ref().and_then(|labels| labels.get(DIRECTORIES));
    let elsewhere = directories && label.is_some_and(|label| label == "false");
    elsewhere.then_some("node(s) were other machines, where volumes cannot be directories")
}

/// Where a class has its volumes, if they are directories.
fn place(class: &StorageClass) -> Result<Option<PathBuf>, String> {
    let name = class.metadata.name.as_deref().unwrap_or_default();
    for (parameter, value) in class.parameters.iter().flatten() {
        if parameter != PATH {
            return Err(format!("StorageClass {name:?} has the parameter {parameter:?}: only {PATH:?} is known"));
        }
        let path = Path::new(value);
        if !path.is_absolute() || path.components().any(|part| part == Component::ParentDir) {
            return Err(format!("StorageClass {name:?}: parameter {PATH} {value:?} is no absolute path without '..'"));
        }
    }
    Ok(class.parameters.as_ref().and_then(|all| all.get(PATH)).map(PathBuf::from))
}

/// The directory of its host that is the volume, where it is one that we made.
pub fn directory(volume: &PersistentVolume) -> Option<PathBuf> {
    let path = volume.spec.as_ref()?.csi.as_ref()?.volume_attributes.as_ref()?.get(PATH).map(PathBuf::from)?;
    // It is removed with the volume: nothing else is.
    (path.is_absolute() && path.file_name()? == handle(volume)?).then_some(path)
}

/// Whether there is, or was, a directory behind the volume.
pub fn was_made(volume: &PersistentVolume) -> bool {
    volume.metadata.annotations.as_ref().is_some_and(|all| all.contains_key(MADE))
}

/// The Podman volume behind a volume that we made.
pub fn handle(volume: &PersistentVolume) -> Option<&str> {
    let csi = volume.spec.as_ref()?.csi.as_ref()?;
    (csi.driver == PROVISIONER).then_some(csi.volume_handle.as_str())
}

pub fn is_own(volume: &PersistentVolume) -> bool {
    handle(volume).is_some()
}

/// Whether what is on the host is to go: by the policy, once its claim is gone.
pub fn is_doomed(volume: &PersistentVolume) -> bool {
    let phase = volume.status.as_ref().and_then(|status| status.phase.as_deref());
    let policy = volume.spec.as_ref().and_then(|spec| spec.persistent_volume_reclaim_policy.as_deref());
    let over = phase == Some("Released") || volume.metadata.deletion_timestamp.is_some() && phase != Some("Bound");
    is_own(volume) && over && policy == Some("Delete")
}

/// Whether the object is to go, but not what is on the host.
pub fn is_kept(volume: &PersistentVolume) -> bool {
    let phase = volume.status.as_ref().and_then(|status| status.phase.as_deref());
    let policy = volume.spec.as_ref().and_then(|spec| spec.persistent_volume_reclaim_policy.as_deref());
    let going = volume.metadata.deletion_timestamp.is_some() && phase != Some("Bound");
    is_own(volume) && going && policy != Some("Delete")
}

/// Takes the object out of the API, once nothing of it is on the host.
pub async fn remove(client: &kube::Client, volume: &PersistentVolume) -> Result<(), kube::Error> {
    write::delete(client, volume).await?;
    let api: Api<PersistentVolume> = Api::all(client.clone());
    loop {
        let Some(left) = api.get_opt(&volume.name_any()).await? else { return Ok(()) };
        if left.metadata.uid != volume.metadata.uid {
            return Ok(());
        }
        let others: Vec<_> = left.finalizers().iter().filter(|one| *one != FINALIZER).collect();
        match write::patch(client, &left, "", json!({"metadata": {"finalizers": others}})).await {
            // Whoever protects bound volumes lets go of it at the same time.
            Err(error) if raw::is_conflict(&error) => {}
            Err(error) if raw::is_not_found(&error) => return Ok(()),
            outcome => return outcome.map(drop),
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use serde_json::from_value;

    fn made(parameters: serde_json::Value) -> Result<PersistentVolume, String> {
        let spec = json!({"resources": {"requests": {"storage": "1Gi"}}});
        let meta = json!({"name": "data", "namespace": "default", "uid": "u1"});
        let claim = from_value(json!({"metadata": meta, "spec": spec})).unwrap();
        let class = json!({"metadata": {"name": "disk"}, "provisioner": PROVISIONER, "parameters": parameters});
        volume(&claim, &from_value(class).unwrap(), &from_value(json!({"metadata": {"name": "h1"}})).unwrap())
    }

    #[test]
    fn a_class_may_have_directories_for_volumes() {
        let volume = made(json!({"path": "/srv/volumes"})).unwrap();
        assert_eq!(directory(&volume).unwrap(), Path::new("/srv/volumes/pvc-u1"));
        assert_eq!(handle(&volume), Some("pvc-u1"));
        assert_eq!(directory(&made(json!({})).unwrap()), None);
        let mut odd = volume;
        let attributes = Some([("path".to_owned(), "/srv".to_owned())].into());
        odd.spec.as_mut().unwrap().csi.as_mut().unwrap().volume_attributes = attributes;
        assert_eq!(directory(&odd), None, "that would be everybody's");
    }

    #[test]
    fn directories_are_made_where_their_host_is_this_machine() {
        let class = |parameters: serde_json::Value| -> StorageClass {
            from_value(json!({"provisioner": PROVISIONER, "parameters": parameters})).unwrap()
        };
        let node = |labels: serde_json::Value| -> Node { from_value(json!({"metadata": {"labels": labels}})).unwrap() };
        let (disk, named) = (class(json!({"path": "/srv"})), class(json!({})));
        let other = node(json!({ DIRECTORIES: "false" }));
        assert!(obstacle(&disk, &other).is_some() && obstacle(&named, &other).is_none());
        assert!(obstacle(&disk, &node(json!({ DIRECTORIES: "true" }))).is_none());
        assert!(obstacle(&disk, &node(json!({}))).is_none(), "nothing is known of it");
    }

    #[test]
    fn what_a_class_cannot_have_is_said() {
        let relative = "StorageClass \"disk\": parameter path \"srv\" is no absolute path without '..'";
        assert_eq!(made(json!({"path": "srv"})).unwrap_err(), relative);
        assert!(made(json!({"path": "/srv/../etc"})).is_err());
        let unknown = "StorageClass \"disk\" has the parameter \"fsType\": only \"path\" is known";
        assert_eq!(made(json!({"fsType": "ext4"})).unwrap_err(), unknown);
    }
}
