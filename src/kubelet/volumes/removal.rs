//! Removes directories, and nothing of what is mounted in them: a container that may mount (`Bidirectional`) may have
//! put another disk there.
//!
//! What containers of rootless Podman write is of users that the user of the daemon has (`/etc/subuid`) but is not, who
//! may not touch it. It is removed as `podman unshare rm` would: in the user namespace that the containers are in.

use std::ffi::{OsStr, OsString};
use std::fs;
use std::io;
use std::os::unix::ffi::OsStringExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// What is mounted where, as a process sees it.
const MOUNTS: &str = "/proc/self/mountinfo";

/// Whose the files are that containers leave.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Owners {
    /// This process may remove them, or nobody here may.
    Ours,
    /// Users of the user namespace of this user's Podman.
    SubIds,
}

/// Removes a directory with all that is in it. One in which something is mounted stays, whole; the error says where.
pub fn remove(directory: &Path, owners: Owners) -> io::Result<()> {
    let real = directory.canonicalize()?;
    refuse_mounts(&fs::read(MOUNTS)?, &real)?;
    match fs::remove_dir_all(directory) {
        Err(error) if error.kind() == io::ErrorKind::PermissionDenied && owners == Owners::SubIds => {
            // The namespace has mounts of its own.
            refuse_mounts(&unshared(&["cat".as_ref(), MOUNTS.as_ref()])?, &real)?;
            unshared(&["rm".as_ref(), "-rf".as_ref(), "--".as_ref(), directory.as_os_str()]).map(drop)
        }
        outcome => outcome,
    }
}

/// What is not there need not be removed.
pub fn gone(removed: io::Result<()>) -> io::Result<()> {
    removed.or_else(|error| if error.kind() == io::ErrorKind::NotFound { Ok(()) } else { Err(error) })
}

fn refuse_mounts(mounts: &[u8], directory: &Path) -> io::Result<()> {
    let Some(mounted) = below(mounts, directory) else { return Ok(()) };
    Err(io::Error::other(format!("something is mounted at {}: unmount it first", mounted.display())))
}

/// What a command writes that runs as root of the user namespace of this user's Podman.
fn unshared(command: &[&OsStr]) -> io::Result<Vec<u8>> {
    let failed = |why: &dyn std::fmt::Display| io::Error::other(format!("podman unshare: {why}"));
    let mut podman = Command::new("podman");
    podman.arg("unshare").args(command).stdin(Stdio::null());
    let output = podman.output().map_err(|error| failed(&error))?;
    if !output.status.success() {
        return Err(failed(&String::from_utf8_lossy(&output.stderr).trim()));
    }
    Ok(output.stdout)
}

/// The first mount at or below a directory.
fn below(mounts: &[u8], directory: &Path) -> Option<PathBuf> {
    let points = mounts.split(|byte| *byte == b'\n').filter_map(|line| line.split(|byte| *byte == b' ').nth(4));
    points.map(unescaped).find(|point| point.starts_with(directory))
}

/// A path in which blanks, newlines and backslashes are written as `\040` and so on.
fn unescaped(field: &[u8]) -> PathBuf {
    let (mut bytes, mut rest) = (Vec::with_capacity(field.len()), field);
    while let Some((first, after)) = rest.split_first() {
        let octal = after.get(..3).filter(|_| *first == b'\\').and_then(|octal| std::str::from_utf8(octal).ok());
        match octal.and_then(|octal| u8::from_str_radix(octal, 8).ok()) {
            Some(byte) => {
                bytes.push(byte);
                rest = &after[3..];
            }
            None => {
                bytes.push(*first);
                rest = after;
            }
        }
    }
    OsString::from_vec(bytes).into()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use rustix::mount::{MountFlags, UnmountFlags, mount, unmount};

    #[test]
    fn mounts_are_found_by_their_place() {
        let mounts = b"21 1 8:1 / / rw - ext4 /dev/sda1 rw\n\
            30 21 8:2 / /srv/a\\040b/disk rw shared:1 - ext4 /dev/sdb1 rw\n31 21 0:5 / /srv/ab rw - tmpfs tmpfs rw\n";
        let found = |directory: &str| below(mounts, Path::new(directory));
        assert_eq!(found("/srv/a b").unwrap(), Path::new("/srv/a b/disk"));
        assert_eq!(found("/srv/ab").unwrap(), Path::new("/srv/ab"));
        assert_eq!((found("/srv/a"), found("/var")), (None, None));
    }

    #[test]
    fn what_is_mounted_in_a_directory_stays() {
        let temp = tempfile::tempdir().unwrap();
        let volume = temp.path().join("volume");
        let disk = volume.join("deep/disk");
        fs::create_dir_all(&disk).unwrap();
        fs::write(volume.join("file"), "x").unwrap();
        if mount("tmpfs", &disk, "tmpfs", MountFlags::empty(), None).is_ok() {
            fs::write(disk.join("data"), "x").unwrap();
            let error = remove(&volume, Owners::Ours).unwrap_err().to_string();
            let kept = disk.join("data").exists() && volume.join("file").exists();
            unmount(&disk, UnmountFlags::DETACH).unwrap();
            assert!(kept && error.contains("deep/disk"), "{error}");
        }
        remove(&volume, Owners::Ours).unwrap();
        assert!(!volume.exists());
        assert_eq!(remove(&volume, Owners::Ours).unwrap_err().kind(), io::ErrorKind::NotFound);
    }
}
