//! Removes directories, and nothing of what is mounted in them: a container that may mount (`Bidirectional`) may have
//! put another disk there.

use std::ffi::OsString;
use std::fs;
use std::io;
use std::os::unix::ffi::OsStringExt;
use std::path::{Path, PathBuf};

/// What is mounted where, as this process sees it.
const MOUNTS: &str = "/proc/self/mountinfo";

/// Removes a directory with all that is in it. One in which something is mounted stays, whole; the error says where.
pub fn remove(directory: &Path) -> io::Result<()> {
    let real = directory.canonicalize()?;
    if let Some(mounted) = below(&fs::read(MOUNTS)?, &real) {
        let why = format!("something is mounted at {}: unmount it first", mounted.display());
        return Err(io::Error::other(why));
    }
    fs::remove_dir_all(directory)
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
            let error = remove(&volume).unwrap_err().to_string();
            let kept = disk.join("data").exists() && volume.join("file").exists();
            unmount(&disk, UnmountFlags::DETACH).unwrap();
            assert!(kept && error.contains("deep/disk"), "{error}");
        }
        remove(&volume).unwrap();
        assert!(!volume.exists());
        assert_eq!(remove(&volume).unwrap_err().kind(), io::ErrorKind::NotFound);
    }
}
