//! Measures what pods keep on a host's disk: what containers write into their own file systems, as Podman tells it,
//! their logs, and emptyDirs. The files of the last two are looked at where the host is this machine.

use super::rank::{Space, Using};
use crate::kubelet::host::Host;
use crate::kubelet::pod::all_statuses;
use crate::kubelet::runtime::{RuntimeError, log_files};
use crate::kubelet::volumes;
use std::collections::{HashMap, HashSet};
use std::fs::{self, Metadata};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

/// Fills in what these pods keep; `containers`: also what their containers write, which costs the host more.
pub async fn measure(host: &Host, using: &mut [Using], containers: bool) -> Result<(), RuntimeError> {
    if host.node.simulated || using.is_empty() {
        return Ok(());
    }
    let written: HashMap<String, u64> = match containers {
        true => host.runtime.written().await?.into_iter().collect(),
        false => HashMap::new(),
    };
    let mut folders: Vec<(usize, String, PathBuf)> = Vec::new();
    for (index, using) in using.iter_mut().enumerate() {
        let uid = using.pod.metadata.uid.clone().unwrap_or_default();
        let dir = host.pod_dir(&uid);
        for status in all_statuses(&using.pod).filter(|_| containers) {
            let Some(id) = status.container_id.as_deref().and_then(|id| id.rsplit('/').next()) else { continue };
            let log = if dir.is_some() { log(host, id).await } else { 0 };
            let bytes = written.get(id).copied().unwrap_or_default().saturating_add(log);
            using.containers.insert(status.name.clone(), Space { bytes, inodes: 0 });
        }
        let Some(dir) = dir else { continue };
        for volume in volumes::of(&using.pod).filter(|volume| is_on_disk(volume)) {
            folders.push((index, volume.name.clone(), dir.volume(&volume.name)));
        }
    }
    let sum = move || folders.into_iter().map(|(index, name, folder)| (index, name, space(&folder))).collect();
    let measured: Vec<(usize, String, Space)> = tokio::task::spawn_blocking(sum).await.unwrap_or_default();
    for (index, name, space) in measured {
        using[index].volumes.insert(name, space);
    }
    Ok(())
}

/// Bytes of a container's log; none where it is gone, or not in a file.
async fn log(host: &Host, id: &str) -> u64 {
    let Ok(life) = host.runtime.inspect(id).await else { return 0 };
    log_files::space(Path::new(&life.log_path))
}

/// An emptyDir that takes room on a disk.
pub fn is_on_disk(volume: &k8s_openapi::api::core::v1::Volume) -> bool {
    volume.empty_dir.as_ref().is_some_and(|empty| !volumes::memory::is_wanted(empty))
}

/// What stat counts in.
const BLOCK: u64 = 512;

/// What is in a directory, as du counts: blocks in use, each file once, nothing behind links and nothing that is
/// mounted there.
fn space(root: &Path) -> Space {
    let (mut total, mut seen, mut queue) = (Space::default(), HashSet::new(), Vec::new());
    let Ok(top) = fs::symlink_metadata(root) else { return total };
    let device = top.dev();
    let mut count = |path: PathBuf, found: Metadata, queue: &mut Vec<PathBuf>| {
        if found.dev() != device || (found.nlink() > 1 && !found.is_dir() && !seen.insert(found.ino())) {
            return;
        }
        total.bytes = total.bytes.saturating_add(found.blocks() * BLOCK);
        total.inodes += 1;
        // Only directories are remembered: a pod may have made any number of files.
        if found.is_dir() {
            queue.push(path);
        }
    };
    count(root.to_owned(), top, &mut queue);
    while let Some(folder) = queue.pop() {
        for entry in fs::read_dir(&folder).into_iter().flatten().flatten() {
            // Links are not followed; what is gone meanwhile takes no room.
            if let Ok(found) = entry.metadata() {
                count(entry.path(), found, &mut queue);
            }
        }
    }
    total
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn files_count_once_and_links_lead_nowhere() {
        let directory = tempfile::tempdir().unwrap();
        let root = directory.path().join("volume");
        fs::create_dir_all(root.join("below")).unwrap();
        fs::write(directory.path().join("outside"), vec![1; 1 << 20]).unwrap();
        let empty = space(&root);
        assert_eq!(empty.inodes, 2);
        fs::write(root.join("below/file"), vec![1; 1 << 20]).unwrap();
        fs::hard_link(root.join("below/file"), root.join("again")).unwrap();
        std::os::unix::fs::symlink(directory.path().join("outside"), root.join("link")).unwrap();
        let full = space(&root);
        assert_eq!(full.inodes, 4);
        assert!((1 << 20..(1 << 20) + 65536).contains(&(full.bytes - empty.bytes)), "{full:?} {empty:?}");
        // Room that is promised but not taken.
        fs::File::create(root.join("sparse")).unwrap().set_len(1 << 30).unwrap();
        assert!(space(&root).bytes < 2 << 20);
        assert_eq!(space(&directory.path().join("missing")), Space::default());
    }
}
