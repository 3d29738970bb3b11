//! What a container mounts where. Pure, but for parts of volumes (`subPath`), which are made and opened.

use crate::kubelet::env::expand::expand;
use crate::kubelet::runtime::{Mount, MountSource, Propagation};
use crate::kubelet::volumes::claims::{self, Backing, Backings};
use crate::kubelet::volumes::{self, PodDir, remote, subpath};
use k8s_openapi::api::core::v1::{Container, Pod, Volume, VolumeMount};
use std::cell::RefCell;
use std::collections::BTreeMap;
use std::error::Error;
use std::path::{Path, PathBuf};
use tracing::warn;

/// Where a pod's files are on a host that shares the file system.
#[derive(Clone, Copy)]
pub struct Place<'a> {
    pub dir: &'a PodDir,
    /// Whether what the daemon mounts is there for Podman too, if it may mount.
    pub shares_mounts: bool,
}

/// The mounts of `container`; `place` is `None` on a host that shares no file system. An error is the
/// message of `CreateContainerConfigError`.
pub fn mounts(
    pod: &Pod,
    container: &Container,
    place: Option<Place>,
    env: &BTreeMap<String, String>,
    backings: &Backings,
) -> Result<Vec<Mount>, String> {
    let mut out = Vec::new();
    for (at, mount) in container.volume_mounts.iter().flatten().enumerate() {
        let volume = volumes::of(pod).find(|v| v.name == mount.name).ok_or_else(|| {
            format!("volume {:?} of mount {:?} is not in the pod's spec", mount.name, mount.mount_path)
        })?;
        recursively(mount)?;
        let sub_path = sub_path(mount, env)?;
        if let Some(image) = &volume.image {
            out.push(of_image(mount, image.reference.as_deref().unwrap_or_default(), sub_path.as_deref())?);
            continue;
        }
        let backing = backing(pod, volume, place, backings)?;
        let source = match (backing, sub_path, place) {
            (Backing::Named { name, .. }, None, _) => MountSource::Volume(name),
            (Backing::Path(path) | Backing::Local(path), None, _) => on_host(path),
            (
                Backing::Path(root) | Backing::Local(root) | Backing::Named { files: Some(root), .. },
                Some(sub_path),
                Some(place),
            ) => {
                let shelf = format!("{}/{}/{at}", volume.name, container.name);
                let found = part(&root, &sub_path, place, &shelf).map_err(|failed| {
                    let cause = failed.source().map(ToString::to_string);
                    warn!(volume = volume.name, container = container.name, sub_path, cause, "{failed}");
                    format!("{failed} for volumeMount {:?} of container {:?}", mount.name, container.name)
                })?;
                on_host(found)
            }
            (_, Some(sub_path), _) => return Err(format!("subPath {sub_path:?} is not supported on a remote host")),
        };
        let claim_is_read_only = volume.persistent_volume_claim.as_ref().is_some_and(|c| c.read_only == Some(true));
        let follows_objects = volumes::is_projected(volume);
        out.push(Mount {
            source,
            target: mount.mount_path.clone(),
            // Files that follow objects are read-only on a local host, as in Kubernetes; elsewhere they
            // are written through a container.
            read_only: mount.read_only == Some(true) || claim_is_read_only || (follows_objects && place.is_some()),
            propagation: match mount.mount_propagation.as_deref() {
                Some("HostToContainer") => Propagation::HostToContainer,
                Some("Bidirectional") => Propagation::Bidirectional,
                _ => Propagation::Private,
            },
        });
    }
    Ok(out)
}

/// The whole of an image's files, which nobody can change.
fn of_image(mount: &VolumeMount, reference: &str, sub_path: Option<&str>) -> Result<Mount, String> {
    if let Some(sub_path) = sub_path {
        return Err(format!(
            "subPath {sub_path:?} of image volume {:?} is not supported by the runtime: mount the whole volume",
            mount.name
        ));
    }
    let source = MountSource::Image(reference.to_owned());
    Ok(Mount { source, target: mount.mount_path.clone(), read_only: true, propagation: Propagation::Private })
}

/// Podman knows no mount that is read-only with all that is mounted below it: who must have one is told.
fn recursively(mount: &VolumeMount) -> Result<(), String> {
    let why = match mount.recursive_read_only.as_deref() {
        None | Some("Disabled") => return Ok(()),
        Some(_) if mount.read_only != Some(true) => "but it is not read-only".to_owned(),
        Some(_) if mount.mount_propagation.as_deref().is_some_and(|propagation| propagation != "None") => {
            let propagation = mount.mount_propagation.as_deref().unwrap_or_default();
            format!("but it is not compatible with propagation {propagation:?}")
        }
        Some("Enabled") => "but it is not supported by the runtime".to_owned(),
        Some(_) => return Ok(()),
    };
    let name = &mount.name;
    Err(format!(
        "failed to resolve recursive read-only mode: volume {name:?} requested recursive read-only mode, {why}"
    ))
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
    if path.starts_with('/') {
        return Err(format!("error SubPath `{path}` must not be an absolute path"));
    }
    if path.split('/').any(|part| part == "..") {
        return Err(format!("unable to provision SubPath `{path}`: must not contain '..'"));
    }
    Ok(Some(path).filter(|p| !p.is_empty()))
}

/// What is behind a volume.
fn backing(pod: &Pod, volume: &Volume, place: Option<Place>, backings: &Backings) -> Result<Backing, String> {
    if let Some(claim) = claims::claim_of(pod, volume) {
        return backings.get(&claim).ok_or_else(|| format!("claim {claim:?} was not looked up"))?.clone();
    }
    Ok(match (&volume.host_path, place) {
        (Some(host_path), _) => Backing::Path(PathBuf::from(&host_path.path)),
        (None, Some(place)) => Backing::Path(place.dir.volume(&volume.name)),
        (None, None) => {
            let uid = pod.metadata.uid.as_deref().unwrap_or_default();
            Backing::Named { name: remote::name(uid, &volume.name), files: None }
        }
    })
}

fn on_host(path: PathBuf) -> MountSource {
    MountSource::Host(path.to_string_lossy().into_owned())
}

/// Where a part of a volume can be mounted from.
fn part(root: &Path, sub_path: &str, place: Place, shelf: &str) -> Result<PathBuf, subpath::Failed> {
    let part = subpath::open(root, sub_path)?;
    let bound = if place.shares_mounts { part.bind(&place.dir.sub_paths(), shelf)? } else { None };
    bound.map_or_else(|| part.path(), Ok)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use serde_json::json;

    #[test]
    fn recursively_read_only_is_not_to_be_had() {
        let told = |mode: &str, read_only: bool| {
            let mount = json!({"name": "v", "mountPath": "/m", "readOnly": read_only, "recursiveReadOnly": mode});
            recursively(&serde_json::from_value(mount).unwrap())
        };
        let begin = "failed to resolve recursive read-only mode: volume \"v\" requested recursive read-only mode, ";
        assert_eq!(told("Enabled", true), Err(format!("{begin}but it is not supported by the runtime")));
        assert_eq!(told("IfPossible", false), Err(format!("{begin}but it is not read-only")));
        assert_eq!((told("IfPossible", true), told("Disabled", true)), (Ok(()), Ok(())));
    }

    #[test]
    fn images_are_mounted_whole_and_read_only() {
        let pod: Pod = serde_json::from_value(json!({"spec": {
            "volumes": [{"name": "v", "image": {"reference": "docs:1"}}],
            "containers": [{"name": "c", "volumeMounts": [{"name": "v", "mountPath": "/docs"}]},
                {"name": "d", "volumeMounts": [{"name": "v", "mountPath": "/docs", "subPath": "a"}]}]}}))
        .unwrap();
        let of = |at: usize| {
            let containers = &pod.spec.as_ref().unwrap().containers;
            mounts(&pod, &containers[at], None, &BTreeMap::new(), &Backings::new())
        };
        let source = MountSource::Image("docs:1".into());
        let expect = Mount { source, target: "/docs".into(), read_only: true, propagation: Propagation::Private };
        assert_eq!(of(0), Ok(vec![expect]));
        assert!(of(1).unwrap_err().starts_with("subPath \"a\" of image volume \"v\" is not supported"));
    }

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
        let up = "unable to provision SubPath `a/..`: must not contain '..'";
        assert_eq!(path("a/$(UP)").unwrap_err(), up);
        assert_eq!(path("/$(POD)").unwrap_err(), "error SubPath `/web` must not be an absolute path");
    }
}
