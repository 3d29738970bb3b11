//! A pod's volumes: what files they hold ([`payload`]), how they get onto the host ([`atomic`] for a
//! host whose file system the daemon shares, [`remote`] for others), and what a container mounts
//! ([`mounts`], [`subpath`]).
//!
//! Paths of a local pod: `<data>/pods/<uid>/volumes/<volume>` and
//! `<data>/pods/<uid>/subpaths/<volume>/<container>/<mount>`.

pub mod atomic;
pub mod claims;
pub mod host_path;
pub mod hosts;
pub mod memory;
pub mod mounts;
pub mod ownership;
pub mod payload;
pub mod remote;
pub mod removal;
pub mod subpath;

use crate::api::access;
use crate::kubelet::env::Sources;
use crate::kubelet::fields::HostFacts;
use crate::kubelet::runtime::{ContainerRuntime, VolumeSpec};
use claims::Backing;
use k8s_openapi::api::core::v1::{Pod, Volume};
use removal::Owners;
use std::path::{Path, PathBuf};

/// Where a pod's files are on a host that shares the daemon's file system.
#[derive(Clone, Debug)]
pub struct PodDir(PathBuf);

impl PodDir {
    pub fn new(data_dir: &Path, uid: &str) -> Self {
        Self(data_dir.join("pods").join(uid))
    }

    pub fn root(&self) -> &Path {
        &self.0
    }

    pub fn volume(&self, name: &str) -> PathBuf {
        self.0.join("volumes").join(name)
    }

    /// Where the parts of volumes that containers mount are bound.
    pub fn sub_paths(&self) -> PathBuf {
        self.0.join("subpaths")
    }

    /// The containers' /etc/hosts.
    pub fn hosts_file(&self) -> PathBuf {
        self.0.join("etc-hosts")
    }

    /// Where a life of a container may leave its last words.
    pub fn termination_log(&self, container: &str, attempt: u32) -> PathBuf {
        self.0.join("containers").join(container).join(attempt.to_string())
    }
}

/// Why a volume cannot be used; `reason` is that of the event.
#[derive(Debug, thiserror::Error)]
pub enum VolumeError {
    #[error("MountVolume.SetUp failed for volume {volume:?} : {message}")]
    SetUp { volume: String, message: String },
    #[error("MountVolume.SetUp failed for volume {volume:?} : cannot write {path}")]
    Write {
        volume: String,
        path: PathBuf,
        #[source]
        cause: std::io::Error,
    },
}

impl VolumeError {
    fn set_up(volume: &str, message: impl Into<String>) -> Self {
        Self::SetUp { volume: volume.into(), message: message.into() }
    }

    /// The whole chain in one line.
    pub fn chain(&self) -> String {
        match std::error::Error::source(self) {
            Some(cause) => format!("{self}: {cause}"),
            None => self.to_string(),
        }
    }
}

/// The volumes of a pod's spec.
pub fn of(pod: &Pod) -> impl Iterator<Item = &Volume> {
    crate::kubelet::pod::spec(pod).volumes.iter().flatten()
}

/// Brings the files of all volumes of a local pod to what the objects say now. Runs on a blocking
/// thread. Idempotent.
pub fn set_up_local(dir: &PodDir, pod: &Pod, facts: &HostFacts, sources: &Sources) -> Result<(), VolumeError> {
    for volume in of(pod) {
        let target = dir.volume(&volume.name);
        let written = |cause| VolumeError::Write { volume: volume.name.clone(), path: target.clone(), cause };
        if let Some(host_path) = &volume.host_path {
            host_path::check(host_path).map_err(|message| VolumeError::set_up(&volume.name, message))?;
        } else if let Some(empty) = volume.empty_dir.as_ref().filter(|empty| memory::is_wanted(empty)) {
            memory::set_up(&target, pod, empty).map_err(written)?;
        } else if volume.empty_dir.is_some() {
            empty_dir(&target, payload::owner(pod).group).map_err(written)?;
        } else if let Some(claim) = claims::claim_of(pod, volume) {
            if let Some(Ok(Backing::Path(path) | Backing::Local(path))) = sources.claims.get(&claim)
                && !path.exists()
            {
                return Err(VolumeError::set_up(&volume.name, format!("path {:?} does not exist", path)));
            }
        } else if volume.image.is_none() {
            let files = payload::payload(pod, volume, facts, sources)
                .map_err(|message| VolumeError::set_up(&volume.name, message))?;
            atomic::write(&target, &files).map_err(written)?;
        }
    }
    Ok(())
}

/// Anyone may write into an emptyDir, as in Kubernetes. What is made there is of the pod's group, where it
/// has one.
fn empty_dir(target: &Path, group: Option<u32>) -> std::io::Result<()> {
    use std::os::unix::fs::{PermissionsExt, chown};
    if target.is_dir() {
        return Ok(());
    }
    std::fs::create_dir_all(target)?;
    let group = group.filter(|_| rustix::process::geteuid().is_root());
    if group.is_some() {
        chown(target, None, group)?;
    }
    let mode = if group.is_some() { 0o2777 } else { 0o777 };
    std::fs::set_permissions(target, std::fs::Permissions::from_mode(mode))
}

/// Removes the files of a local pod that is gone; those in its hostPath volumes stay, and what is mounted in others.
pub fn remove_local(dir: &PodDir, owners: Owners) -> std::io::Result<()> {
    subpath::tear_down(&dir.sub_paths())?;
    memory::tear_down(&dir.0.join("volumes"), owners)?;
    removal::gone(removal::remove(dir.root(), owners))
}

/// Makes the named volumes of a pod on a host that shares no file system. What cannot be filled later is
/// refused now, as on a local host.
pub async fn set_up_remote(
    runtime: &dyn ContainerRuntime,
    pod: &Pod,
    facts: &HostFacts,
    sources: &Sources,
) -> Result<(), VolumeError> {
    let uid = pod.metadata.uid.clone().unwrap_or_default();
    let own = |v: &&Volume| v.host_path.is_none() && v.image.is_none() && claims::claim_of(pod, v).is_none();
    for volume in of(pod).filter(own).filter(|v| v.empty_dir.is_none()) {
        let files = payload::payload(pod, volume, facts, sources);
        files.map_err(|message| VolumeError::set_up(&volume.name, message))?;
    }
    for volume in of(pod).filter(own) {
        let tmpfs = remote::in_memory(pod, volume);
        let spec = VolumeSpec { name: remote::name(&uid, &volume.name), pod_uid: uid.clone(), tmpfs, group: None };
        let made = runtime.ensure_volume(&spec).await;
        made.map_err(|error| VolumeError::set_up(&volume.name, error.chain()))?;
    }
    Ok(())
}

/// Names of the ConfigMaps and Secrets that the volumes read, but for the volume that all pods have.
pub fn references(pod: &Pod) -> (Vec<String>, Vec<String>) {
    let (mut config_maps, mut secrets) = (Vec::new(), Vec::new());
    for volume in of(pod).filter(|volume| !access::is_access(volume)) {
        config_maps.extend(volume.config_map.iter().map(|c| c.name.clone()));
        secrets.extend(volume.secret.iter().filter_map(|s| s.secret_name.clone()));
        for source in volume.projected.iter().flat_map(|p| p.sources.iter().flatten()) {
            config_maps.extend(source.config_map.iter().map(|c| c.name.clone()));
            secrets.extend(source.secret.iter().map(|s| s.name.clone()));
        }
    }
    (config_maps, secrets)
}

/// Whether a volume's files follow objects of the API.
pub fn is_projected(volume: &Volume) -> bool {
    volume.config_map.is_some()
        || volume.secret.is_some()
        || volume.downward_api.is_some()
        || volume.projected.is_some()
}
