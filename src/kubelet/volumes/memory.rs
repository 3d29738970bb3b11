//! emptyDirs in memory on a host that shares the file system: seen by all containers of the pod, kept
//! while they restart, gone with the pod.
//!
//! Root mounts a file system of its own, which holds the size limit, in the pod's directory, as
//! Kubernetes does. Who may not mount gets a directory in a file system that is in memory already, where
//! no size limit holds but that file system's own.

use super::removal::{self, Owners, gone};
use k8s_openapi::api::core::v1::{EmptyDirVolumeSource, Pod};
use rustix::mount::{MountFlags, UnmountFlags, mount, unmount};
use std::ffi::CString;
use std::fs::{self, Permissions};
use std::io;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};

/// `f_type` of tmpfs.
const TMPFS: i64 = 0x0102_1994;
/// The directory of our directories on a file system that others use too.
const SHARED: &str = "selkie-pods";

/// Whether an emptyDir wants to be in memory.
pub fn is_wanted(empty: &EmptyDirVolumeSource) -> bool {
    empty.medium.as_deref() == Some("Memory")
}

/// Makes the volume at `target`, unless it is there.
pub fn set_up(target: &Path, pod: &Pod, empty: &EmptyDirVolumeSource) -> io::Result<()> {
    if fs::symlink_metadata(target).is_ok_and(|meta| meta.is_symlink()) && target.is_dir() {
        return Ok(());
    }
    if is_mounted(target) {
        return Ok(());
    }
    fs::create_dir_all(target)?;
    let size = empty.size_limit.as_ref().and_then(|limit| crate::kubelet::resources::milli(&limit.0));
    let size = size.map(|milli| format!(",size={}", milli / 1000)).unwrap_or_default();
    let options = CString::new(format!("mode=0777{size}"))?;
    let flags = MountFlags::NOSUID | MountFlags::NODEV;
    if mount("tmpfs", target, "tmpfs", flags, Some(options.as_c_str())).is_ok() {
        return Ok(());
    }
    let uid = pod.metadata.uid.as_deref().unwrap_or_default();
    let name = target.file_name().unwrap_or_default();
    let place = shared()?.join(uid).join(name);
    fs::create_dir_all(&place)?;
    fs::set_permissions(&place, Permissions::from_mode(0o777))?;
    fs::remove_dir(target)?;
    std::os::unix::fs::symlink(place, target)
}

/// Takes down what `set_up` made in a pod's directory of volumes; other volumes stay.
pub fn tear_down(volumes: &Path, owners: Owners) -> io::Result<()> {
    let entries = match fs::read_dir(volumes) {
        Ok(entries) => entries,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(error),
    };
    for entry in entries {
        let path = entry?.path();
        if let Ok(place) = fs::read_link(&path) {
            if place.iter().any(|part| part == SHARED) {
                gone(removal::remove(&place, owners))?;
                // Its pod's directory, once the last volume is gone.
                let _ = place.parent().map(fs::remove_dir);
            }
            // Last: until then it says where the volume is.
            fs::remove_file(&path)?;
        } else if is_mounted(&path) {
            unmount(&path, UnmountFlags::DETACH)?;
        }
    }
    Ok(())
}

/// Whether another file system begins there.
pub fn is_mounted(path: &Path) -> bool {
    let device = |path: &Path| fs::symlink_metadata(path).map(|meta| meta.dev());
    matches!((device(path), path.parent().map(device)), (Ok(own), Some(Ok(above))) if own != above)
}

/// A directory of ours on a file system in memory that this user may write to.
fn shared() -> io::Result<PathBuf> {
    let runtime = std::env::var_os("XDG_RUNTIME_DIR").map(PathBuf::from);
    let candidates = runtime.into_iter().chain([PathBuf::from("/dev/shm")]);
    for candidate in candidates.filter(|path| in_memory(path)) {
        let own = format!("{SHARED}/{}", rustix::process::getuid().as_raw());
        let place = candidate.join(own);
        if fs::create_dir_all(&place).is_ok() {
            return Ok(place);
        }
    }
    Err(io::Error::other("no file system in memory that this user may write to: neither XDG_RUNTIME_DIR nor /dev/shm"))
}

fn in_memory(path: &Path) -> bool {
    rustix::fs::statfs(path).is_ok_and(|stat| stat.f_type == TMPFS)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn is_in_memory_and_leaves_nothing() {
        let directory = tempfile::tempdir().unwrap();
        let volumes = directory.path().join("volumes");
        let target = volumes.join("scratch");
        let pod = Pod::default();
        let limit = Some(k8s_openapi::apimachinery::pkg::api::resource::Quantity("1Mi".into()));
        let empty = EmptyDirVolumeSource { medium: Some("Memory".into()), size_limit: limit };
        assert!(is_wanted(&empty) && !is_wanted(&EmptyDirVolumeSource::default()));
        set_up(&target, &pod, &empty).unwrap();
        fs::write(target.join("file"), "kept").unwrap();
        set_up(&target, &pod, &empty).unwrap();
        assert_eq!(fs::read_to_string(target.join("file")).unwrap(), "kept");
        assert!(in_memory(&target.canonicalize().unwrap()));
        let place = fs::read_link(&target).ok();
        if place.is_none() {
            assert!(fs::write(target.join("large"), vec![0; 2 << 20]).is_err(), "the size limit holds");
        }
        tear_down(&volumes, Owners::Ours).unwrap();
        fs::remove_dir_all(&volumes).unwrap();
        assert!(place.is_none_or(|place| !place.exists()));
        tear_down(&volumes, Owners::Ours).unwrap();
    }
}
