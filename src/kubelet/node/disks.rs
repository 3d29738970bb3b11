//! How full the disks of a host on this machine are: asked of the kernel at every heartbeat, because
//! disks fill faster than Podman is asked.

use crate::kubelet::runtime::HostInfo;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

/// Fills in what this machine's file systems say; leaves other hosts' as Podman said.
pub fn measure(info: &mut HostInfo, volumes: &Path) {
    if !info.local {
        return;
    }
    if let Some((size, used)) = usage(Path::new(&info.storage_path)) {
        (info.storage_size, info.storage_used) = (size, used);
    }
    if let Some((size, used)) = usage(volumes) {
        (info.volumes_size, info.volumes_used) = (size, used);
    }
    info.one_disk = device(Path::new(&info.storage_path)).is_some_and(|disk| device(volumes) == Some(disk));
    if let Some(stat) = stat(volumes) {
        (info.volumes_inodes, info.volumes_inodes_free) = (stat.f_files, stat.f_favail);
    }
}

fn device(path: &Path) -> Option<u64> {
    path.ancestors().find_map(|path| std::fs::metadata(path).ok()).map(|found| found.dev())
}

fn stat(path: &Path) -> Option<rustix::fs::StatVfs> {
    path.ancestors().find_map(|path| rustix::fs::statvfs(path).ok())
}

/// Bytes of the file system and those in use. What is reserved for root is no part of it, as in df: on
/// file systems with a large reserve nothing would ever be free otherwise. A directory that is not there
/// yet is on its parent's file system.
fn usage(path: &Path) -> Option<(u64, u64)> {
    let stat = stat(path)?;
    let used = stat.f_blocks.saturating_sub(stat.f_bfree).checked_mul(stat.f_frsize)?;
    let available = stat.f_bavail.checked_mul(stat.f_frsize)?;
    Some((used.saturating_add(available), used))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn only_this_machines_disks_are_measured() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().to_string_lossy().into_owned();
        let told = HostInfo { storage_size: 7, storage_path: path, ..HostInfo::default() };
        let mut remote = told.clone();
        measure(&mut remote, directory.path());
        assert_eq!(remote, told);
        let mut local = HostInfo { local: true, ..told };
        measure(&mut local, &directory.path().join("not/yet"));
        assert!(local.storage_size > 7 && local.storage_used <= local.storage_size);
        assert_eq!(local.volumes_size, local.storage_size);
        assert!(local.volumes_inodes_free <= local.volumes_inodes);
        assert!(local.one_disk && !remote.one_disk);
    }
}
