//! Volumes that selkie makes itself: a named volume of the Podman host where the claim's first pod runs.

use super::matching::class_of;
use crate::controllers::write;
use k8s_openapi::api::core::v1::{Node, PersistentVolume, PersistentVolumeClaim};
use k8s_openapi::api::storage::v1::StorageClass;
use kube::{Api, ResourceExt};
use serde_json::json;

/// The provisioner of StorageClasses, and the CSI driver of the volumes.
pub const PROVISIONER: &str = "podman.selkie.dev";
pub const PROVISIONED_BY: &str = "pv.kubernetes.io/provisioned-by";
/// Holds the object until the host has removed (or, by its policy, kept) the volume.
pub const FINALIZER: &str = "podman.selkie.dev/volume";
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
    let host = node.metadata.labels.as_ref().and_then(|labels| labels.get(HOSTNAME)).or(node.metadata.name.as_ref());
    let name = format!("pvc-{}", meta.uid.as_deref().unwrap_or_default());
    let on_host = json!({"key": HOSTNAME, "operator": "In", "values": [host]});
    let volume = json!({
        "metadata": {"name": name, "annotations": { PROVISIONED_BY: PROVISIONER }, "finalizers": [FINALIZER]},
        "spec": {
            "accessModes": spec.access_modes,
            "capacity": {"storage": spec.resources.as_ref().and_then(|all| all.requests.as_ref()?.get("storage"))},
            "claimRef": {"apiVersion": "v1", "kind": "PersistentVolumeClaim", "namespace": meta.namespace,
                "name": meta.name, "uid": meta.uid, "resourceVersion": meta.resource_version},
            "csi": {"driver": PROVISIONER, "volumeHandle": name},
            "nodeAffinity": {"required": {"nodeSelectorTerms": [{"matchExpressions": [on_host]}]}},
            "persistentVolumeReclaimPolicy": class.reclaim_policy.as_deref().unwrap_or("Delete"),
            "storageClassName": class_of(claim),
            "volumeMode": "Filesystem",
        },
    });
    serde_json::from_value(volume).map_err(|error| error.to_string())
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
    let Some(left) = api.get_opt(&volume.name_any()).await? else { return Ok(()) };
    if left.metadata.uid != volume.metadata.uid {
        return Ok(());
    }
    let others: Vec<_> = left.finalizers().iter().filter(|one| *one != FINALIZER).collect();
    write::patch(client, &left, "", json!({"metadata": {"finalizers": others}})).await.map(drop)
}
