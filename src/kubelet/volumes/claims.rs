//! What is behind a pod's PersistentVolumeClaims on this host.

pub use crate::controllers::volume_binder::claim_of;
use crate::controllers::volume_binder::{self, matching, provision};
use crate::kubelet::host::Host;
use crate::kubelet::runtime::{ContainerRuntime, VolumeSpec};
use k8s_openapi::api::core::v1::{PersistentVolume, PersistentVolumeClaim, Pod};
use kube::Api;
use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;

/// Where the files of a claim are.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Backing {
    /// A named volume of the host, and where its files are if the daemon shares the file system and was
    /// asked for a part of them.
    Named { name: String, files: Option<PathBuf> },
    /// A directory (or file) of the host.
    Path(PathBuf),
}

/// By claim; an error is the message of the event.
pub type Backings = BTreeMap<String, Result<Backing, String>>;

/// Looks up every claim of the pod.
pub async fn resolve(host: &Host, pod: &Pod) -> Result<Backings, kube::Error> {
    let mut found = Backings::new();
    let namespace = pod.metadata.namespace.as_deref().unwrap_or_default();
    for name in volume_binder::claims(pod) {
        let outcome = match volume_for(host, namespace, &name).await? {
            Ok(volume) => backing(host, pod, &name, &volume).await,
            Err(why) => Err(why),
        };
        found.insert(name.clone(), outcome.map_err(|why| format!("error processing PVC {namespace}/{name}: {why}")));
    }
    Ok(found)
}

/// The volume that the claim is bound to.
async fn volume_for(
    host: &Host,
    namespace: &str,
    name: &str,
) -> Result<Result<Arc<PersistentVolume>, String>, kube::Error> {
    // The API itself: the pod was bound right after its claims, and informers may be behind.
    let claims: Api<PersistentVolumeClaim> = Api::namespaced(host.ctx.client.clone(), namespace);
    let Some(claim) = claims.get_opt(name).await? else {
        return Ok(Err(format!("failed to fetch PVC from API server: persistentvolumeclaims \"{name}\" not found")));
    };
    if claim.metadata.deletion_timestamp.is_some() {
        return Ok(Err("PVC is being deleted".to_owned()));
    }
    let bound = claim.status.as_ref().and_then(|status| status.phase.as_deref()) == Some("Bound");
    let asked = claim.spec.as_ref().and_then(|spec| spec.volume_name.clone()).filter(|_| bound);
    let Some(asked) = asked else { return Ok(Err("PVC is not bound".to_owned())) };
    let volumes: Api<PersistentVolume> = Api::all(host.ctx.client.clone());
    Ok(match volumes.get_opt(&asked).await? {
        Some(volume) if matching::reserved(&volume, &claim) == matching::For::Claim => Ok(Arc::new(volume)),
        Some(_) => Err(format!("PV {asked} is bound to another claim")),
        None => Err(format!("failed to fetch PV {asked} from API server: persistentvolumes \"{asked}\" not found")),
    })
}

async fn backing(host: &Host, pod: &Pod, claim: &str, volume: &PersistentVolume) -> Result<Backing, String> {
    let spec = volume.spec.clone().unwrap_or_default();
    if spec.volume_mode.as_deref() == Some("Block") {
        return Err("block volumes cannot be mounted by Podman".to_owned());
    }
    if let Some(name) = provision::handle(volume) {
        let files = if has_sub_path(pod, claim) { host.runtime.volume_files(name).await.ok().flatten() } else { None };
        let files = files.filter(|_| host.info().local).map(PathBuf::from);
        return Ok(Backing::Named { name: name.to_owned(), files });
    }
    let path = spec.host_path.map(|source| source.path).or(spec.local.map(|source| source.path));
    path.map(|path| Backing::Path(path.into())).ok_or_else(|| {
        let name = volume.metadata.name.as_deref().unwrap_or_default();
        format!(
            "PV {name} is of a kind that Podman hosts cannot mount: hostPath, local, and csi of {} are",
            provision::PROVISIONER
        )
    })
}

fn has_sub_path(pod: &Pod, claim: &str) -> bool {
    let spec = crate::kubelet::pod::spec(pod);
    let of_claim = |name: &str| {
        let volume = spec.volumes.iter().flatten().find(|volume| volume.name == name);
        volume.and_then(|volume| claim_of(pod, volume)).is_some_and(|mounted| mounted == claim)
    };
    let mounts = crate::kubelet::pod::all_containers(spec).flat_map(|(_, c)| c.volume_mounts.iter().flatten());
    mounts.filter(|mount| mount.sub_path.is_some() || mount.sub_path_expr.is_some()).any(|mount| of_claim(&mount.name))
}

/// Checks what is behind the pod's claims, and makes the named volumes that are not there yet.
pub async fn set_up(runtime: &dyn ContainerRuntime, backings: &Backings) -> Result<(), String> {
    for backing in backings.values() {
        if let Backing::Named { name, .. } = backing.as_ref().map_err(Clone::clone)? {
            let spec = VolumeSpec { name: name.clone(), pod_uid: String::new(), tmpfs: None };
            runtime.ensure_volume(&spec).await.map_err(|error| error.chain())?;
        }
    }
    Ok(())
}
