//! What is behind a pod's PersistentVolumeClaims on this host, and whose its files are.

pub use crate::controllers::volume_binder::claim_of;
use crate::controllers::volume_binder::{self, matching, provision};
use crate::kubelet::host::Host;
use crate::kubelet::runtime::VolumeSpec;
use crate::kubelet::volumes::ownership;
use k8s_openapi::api::core::v1::{PersistentVolume, PersistentVolumeClaim, Pod, Volume};
use kube::Api;
use kube::api::{Patch, PatchParams};
use parking_lot::Mutex;
use serde_json::json;
use std::collections::BTreeMap;
use std::io;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// Where the files of a claim are.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Backing {
    /// A named volume of the host, and where its files are if the daemon shares the file system and was
    /// asked for a part of them.
    Named { name: String, files: Option<PathBuf> },
    /// A directory (or file) of the host, which stays as it is.
    Path(PathBuf),
    /// A directory of the host that is a volume, and no more.
    Local(PathBuf),
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
    if let Some(directory) = provision::directory(volume) {
        if !host.node.simulated {
            make(host, volume, &directory).await?;
        }
        return Ok(Backing::Local(directory));
    }
    if let Some(name) = provision::handle(volume) {
        let files = if has_sub_path(pod, claim) { host.runtime.volume_files(name).await.ok().flatten() } else { None };
        let files = files.filter(|_| host.info().local).map(PathBuf::from);
        return Ok(Backing::Named { name: name.to_owned(), files });
    }
    let path = spec.host_path.map(|source| Backing::Path(source.path.into()));
    path.or(spec.local.map(|source| Backing::Local(source.path.into()))).ok_or_else(|| {
        let name = volume.metadata.name.as_deref().unwrap_or_default();
        format!(
            "PV {name} is of a kind that Podman hosts cannot mount: hostPath, local, and csi of {} are",
            provision::PROVISIONER
        )
    })
}

/// Makes the directory of a volume, once: later it is missing because its disk is not there, and a database would begin
/// anew on another. Any user may write there: which one a pod has is its own business.
async fn make(host: &Host, volume: &PersistentVolume, directory: &Path) -> Result<(), String> {
    if !host.info().local {
        return Err(format!("its volume is the directory {}, and this host is another machine", directory.display()));
    }
    let was_made = provision::was_made(volume);
    let path = directory.to_owned();
    let work = move || match (path.is_dir(), was_made) {
        (true, _) => Ok(()),
        (false, true) => Err(format!("its directory {} is missing: is its disk mounted?", path.display())),
        (false, false) => {
            make_whole(&path).map_err(|error| format!("cannot make its directory {}: {error}", path.display()))
        }
    };
    tokio::task::spawn_blocking(work).await.map_err(|error| error.to_string())??;
    if was_made {
        return Ok(());
    }
    let annotation = json!({"metadata": {"annotations": {provision::MADE: host.node.name}}});
    let api: Api<PersistentVolume> = Api::all(host.ctx.client.clone());
    let name = volume.metadata.name.as_deref().unwrap_or_default();
    let noted = api.patch(name, &PatchParams::default(), &Patch::Merge(annotation)).await;
    noted.map(drop).map_err(|error| format!("cannot note that its directory was made: {error}"))
}

/// Makes a directory, which has its name once it has its mode: whoever is interrupted in between begins anew.
fn make_whole(directory: &Path) -> io::Result<()> {
    /// Pods of one claim start at the same time.
    static MAKING: Mutex<()> = Mutex::new(());
    let _one_at_a_time = MAKING.lock();
    if directory.is_dir() {
        return Ok(());
    }
    let name = directory.file_name().unwrap_or_default().to_string_lossy();
    let new = directory.with_file_name(format!(".{name}.new"));
    std::fs::create_dir_all(&new)?;
    std::fs::set_permissions(&new, std::fs::Permissions::from_mode(0o777))?;
    std::fs::rename(&new, directory)
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

/// Checks what is behind the pod's claims, makes the named volumes that are not there yet, and gives what can be
/// written to the pod's group. `Some`: why that was not to be had.
pub async fn set_up(host: &Host, pod: &Pod, backings: &Backings) -> Result<Option<String>, String> {
    let group = super::payload::owner(pod).group;
    let mut lost = None;
    for (claim, backing) in backings {
        let backing = backing.as_ref().map_err(Clone::clone)?;
        let group = group.filter(|_| is_written(pod, claim));
        if let Backing::Named { name, .. } = backing {
            // Where its files cannot be given to the group, the image's owner is better than none.
            let owned = group.filter(|_| owns_files(host));
            let spec = VolumeSpec { name: name.clone(), pod_uid: String::new(), tmpfs: None, group: owned };
            host.runtime.ensure_volume(&spec).await.map_err(|error| error.chain())?;
        }
        let Some(group) = group.filter(|_| !matches!(backing, Backing::Path(_)) && !host.node.simulated) else {
            continue;
        };
        if !owns_files(host) {
            lost = Some(format!(
                "fsGroup {group} is not applied to the volume of claim {claim:?}: {}",
                "only root can, on a host whose files it shares; the directory's owner in the image, or runAsGroup, decides"
            ));
            continue;
        }
        give(host, pod, backing, group).await.map_err(|why| format!("fsGroup of claim {claim:?}: {why}"))?;
    }
    Ok(lost)
}

/// Whether the daemon can change whose the host's files are.
fn owns_files(host: &Host) -> bool {
    host.info().local && rustix::process::geteuid().is_root()
}

async fn give(host: &Host, pod: &Pod, backing: &Backing, group: u32) -> Result<(), String> {
    let files = match backing {
        Backing::Local(path) | Backing::Path(path) => Some(path.clone()),
        Backing::Named { name, .. } => {
            host.runtime.volume_files(name).await.map_err(|error| error.chain())?.map(PathBuf::from)
        }
    };
    // What is missing is said of all volumes alike.
    let Some(files) = files.filter(|files| files.exists()) else { return Ok(()) };
    let security = crate::kubelet::pod::spec(pod).security_context.as_ref();
    let policy = security.and_then(|security| security.fs_group_change_policy.as_deref());
    let unless_right = policy == Some("OnRootMismatch");
    let work =
        move || ownership::give(&files, group, unless_right).map_err(|error| format!("{}: {error}", files.display()));
    tokio::task::spawn_blocking(work).await.map_err(|error| error.to_string())?
}

/// Whether the pod may write to what is behind a claim.
fn is_written(pod: &Pod, claim: &str) -> bool {
    let read_only = |volume: &Volume| volume.persistent_volume_claim.as_ref().and_then(|c| c.read_only) == Some(true);
    super::of(pod).any(|volume| claim_of(pod, volume).is_some_and(|found| found == claim) && !read_only(volume))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use std::fs;

    #[test]
    fn a_directory_that_was_begun_is_completed_and_then_left_alone() {
        let temp = tempfile::tempdir().unwrap();
        let (above, mode) = (temp.path().join("volumes"), fs::Permissions::from_mode);
        let of = |directory: &Path| fs::metadata(directory).unwrap().permissions().mode() & 0o777;
        let directory = above.join("pvc-1");
        fs::create_dir_all(above.join(".pvc-1.new")).unwrap();
        fs::set_permissions(above.join(".pvc-1.new"), mode(0o755)).unwrap();
        make_whole(&directory).unwrap();
        assert_eq!((of(&directory), fs::read_dir(&above).unwrap().count()), (0o777, 1));
        fs::set_permissions(&directory, mode(0o750)).unwrap();
        fs::write(directory.join("data"), "x").unwrap();
        make_whole(&directory).unwrap();
        assert_eq!((of(&directory), fs::read_dir(&directory).unwrap().count()), (0o750, 1));
    }
}
