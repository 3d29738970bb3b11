//! What a container mounts where. Pure, but for the check that a subPath stays inside its volume.

use crate::kubelet::env::expand::expand;
use crate::kubelet::runtime::{Mount, MountSource, Propagation};
use crate::kubelet::volumes::claims::{self, Backing, Backings};
use crate::kubelet::volumes::{self, PodDir, remote};
use k8s_openapi::api::core::v1::{Container, Pod, Volume, VolumeMount};
use std::cell::RefCell;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

/// The mounts of `container`; `dir` is `None` on a host that shares no file system. An error is the
/// message of `CreateContainerConfigError`.
pub fn mounts(
    pod: &Pod,
    container: &Container,
    dir: Option<&PodDir>,
    env: &BTreeMap<String, String>,
    backings: &Backings,
) -> Result<Vec<Mount>, String> {
    let mut out = Vec::new();
    for mount in container.volume_mounts.iter().flatten() {
        let volume = volumes::of(pod).find(|v| v.name == mount.name).ok_or_else(|| {
            format!("volume {:?} of mount {:?} is not in the pod's spec", mount.name, mount.mount_path)
        })?;
        let sub_path = sub_path(mount, env)?;
        let source = match (claims::claim_of(pod, volume), dir) {
            (Some(claim), _) => claimed(&claim, backings, dir.is_some(), sub_path.as_deref())?,
            (None, Some(dir)) => local(dir, volume, sub_path.as_deref())?,
            (None, None) => on_remote(pod, volume, sub_path.as_deref())?,
        };
        let claim_is_read_only = volume.persistent_volume_claim.as_ref().is_some_and(|c| c.read_only == Some(true));
        let follows_objects = volumes::is_projected(volume);
        out.push(Mount {
            source,
            target: mount.mount_path.clone(),
            // Files that follow objects are read-only on a local host, as in Kubernetes; elsewhere they
            // are written through a container.
            read_only: mount.read_only == Some(true) || claim_is_read_only || (follows_objects && dir.is_some()),
            propagation: match mount.mount_propagation.as_deref() {
                Some("HostToContainer") => Propagation::HostToContainer,
                Some("Bidirectional") => Propagation::Bidirectional,
                _ => Propagation::Private,
            },
        });
    }
    Ok(out)
}

fn sub_path(mount: &VolumeMount, env: &BTreeMap<String, String>) -> Result<Option<String>, String> {
    let path = match (&mount.sub_path, &mount.sub_path_expr) {
        // Unlike in commands, a variable that is not there, or is empty, is an error: its name would become a
        // directory, or the whole volume would be mounted.
        (_, Some(expr)) if !expr.is_empty() => {
            let missing = RefCell::new(None);
            let path = expand(expr, |name| {
                let value = env.get(name).filter(|value| !value.is_empty()).cloned();
                if value.is_none() {
                    missing.borrow_mut().get_or_insert_with(|| name.to_owned());
                }
                value
            });
            if let Some(name) = missing.into_inner() {
                return Err(format!(
                    "subPathExpr {expr:?} of mount {:?}: missing value for {name:?}",
                    mount.mount_path
                ));
            }
            path
        }
        (Some(path), _) => path.clone(),
        _ => String::new(),
    };
    if path.starts_with('/') || path.split('/').any(|part| part == "..") {
        return Err(format!("subPath {path:?} of mount {:?} must stay inside its volume", mount.mount_path));
    }
    Ok(Some(path).filter(|p| !p.is_empty()))
}

fn local(dir: &PodDir, volume: &Volume, sub_path: Option<&str>) -> Result<MountSource, String> {
    let root = match &volume.host_path {
        Some(host_path) => PathBuf::from(&host_path.path),
        None => dir.volume(&volume.name),
    };
    let Some(sub_path) = sub_path else { return Ok(MountSource::Host(root.to_string_lossy().into_owned())) };
    inside(&root, sub_path).map(|path| MountSource::Host(path.to_string_lossy().into_owned()))
}

/// `here`: the daemon shares the host's file system.
fn claimed(claim: &str, backings: &Backings, here: bool, sub_path: Option<&str>) -> Result<MountSource, String> {
    let backing = backings.get(claim).ok_or_else(|| format!("claim {claim:?} was not looked up"))?;
    let (root, sub_path) = match (backing.clone()?, sub_path) {
        (Backing::Named { name, .. }, None) => return Ok(MountSource::Volume(name)),
        (Backing::Path(path) | Backing::Local(path), None) => {
            return Ok(MountSource::Host(path.to_string_lossy().into_owned()));
        }
        (Backing::Path(path) | Backing::Local(path), Some(sub_path)) if here => (path, sub_path),
        (Backing::Named { files: Some(files), .. }, Some(sub_path)) if here => (files, sub_path),
        (_, Some(sub_path)) => return Err(format!("subPath {sub_path:?} is not supported on a remote host")),
    };
    inside(&root, sub_path).map(|path| MountSource::Host(path.to_string_lossy().into_owned()))
}

/// The real path of a subPath; made as a directory where nothing is. A link that leads out of the
/// volume is refused.
fn inside(root: &Path, sub_path: &str) -> Result<PathBuf, String> {
    let failed = |what: &str, error: std::io::Error| format!("subPath {sub_path:?}: {what}: {error}");
    let wanted = root.join(sub_path);
    if std::fs::symlink_metadata(&wanted).is_err() {
        std::fs::create_dir_all(&wanted).map_err(|error| failed("cannot create it", error))?;
    }
    let real = wanted.canonicalize().map_err(|error| failed("cannot resolve it", error))?;
    let real_root = root.canonicalize().map_err(|error| failed("cannot resolve its volume", error))?;
    if real.starts_with(&real_root) { Ok(real) } else { Err(format!("subPath {sub_path:?} leads out of its volume")) }
}

fn on_remote(pod: &Pod, volume: &Volume, sub_path: Option<&str>) -> Result<MountSource, String> {
    match (&volume.host_path, sub_path) {
        (_, Some(path)) => Err(format!("subPath {path:?} is not supported on a remote host")),
        (Some(host_path), None) => Ok(MountSource::Host(host_path.path.clone())),
        (None, None) => {
            let uid = pod.metadata.uid.as_deref().unwrap_or_default();
            Ok(MountSource::Volume(remote::name(uid, &volume.name)))
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use serde_json::json;

    #[test]
    fn sub_paths_have_all_their_variables_and_stay_inside() {
        let env = [("POD", "web"), ("UP", ".."), ("EMPTY", "")].map(|(name, value)| (name.into(), value.into())).into();
        let path = |expr: &str| {
            let mount = json!({"name": "v", "mountPath": "/m", "subPathExpr": expr});
            sub_path(&serde_json::from_value(mount).unwrap(), &env)
        };
        assert_eq!(path("logs/$(POD)").unwrap().as_deref(), Some("logs/web"));
        let message = "subPathExpr \"$(POD)/$(NO)\" of mount \"/m\": missing value for \"NO\"";
        assert_eq!(path("$(POD)/$(NO)").unwrap_err(), message);
        assert!(path("$(EMPTY)").unwrap_err().ends_with("missing value for \"EMPTY\""));
        assert!(path("$(UP)").is_err() && path("/$(POD)").is_err());
    }
}
