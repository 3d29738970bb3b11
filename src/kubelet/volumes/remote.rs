//! Volumes on a host whose file system the daemon does not share: named volumes, filled through a
//! container that mounts them.
//!
//! Files are replaced one by one there: a reader may see a mix of old and new for a moment. What is in
//! memory lasts while any container of the pod runs.

use crate::kubelet::pod::{Role, all_containers, spec};
use crate::kubelet::resources::milli;
use crate::kubelet::volumes::memory;
use crate::kubelet::volumes::payload::{Files, Owner};
use bytes::Bytes;
use k8s_openapi::api::core::v1::{Container, Pod, Volume};

/// The name of a pod's volume among the cluster's.
pub fn name(pod_uid: &str, volume: &str) -> String {
    format!("{pod_uid}-{volume}")
}

/// Whether a volume is kept in memory, and its size limit in bytes. Podman forgets such a volume when
/// no container has it mounted: what an init container leaves for others must be on disk.
pub fn in_memory(pod: &Pod, volume: &Volume) -> Option<Option<u64>> {
    let empty = volume.empty_dir.as_ref().filter(|empty| memory::is_wanted(empty))?;
    let mounts = |c: &Container| c.volume_mounts.iter().flatten().any(|mount| mount.name == volume.name);
    if all_containers(spec(pod)).any(|(role, container)| role == Role::Init && mounts(container)) {
        return None;
    }
    let bytes = empty.size_limit.as_ref().and_then(|limit| milli(&limit.0)).map(|milli| milli / 1000);
    Some(bytes.and_then(|bytes| u64::try_from(bytes).ok()))
}

/// A tar (ustar) of the files, to unpack at the mount path.
pub fn tar(files: &Files) -> Bytes {
    let mut out = Vec::new();
    let mut made = std::collections::BTreeSet::new();
    for (path, file) in files {
        let parents: Vec<_> = path.match_indices('/').map(|(at, _)| path[..=at].to_string()).collect();
        for parent in parents {
            if made.insert(parent.clone()) {
                out.extend(header(&parent, 0o755, Owner::default(), 0, b'5'));
            }
        }
        out.extend(header(path, file.mode, file.owner, file.data.len(), b'0'));
        out.extend(&file.data);
        out.resize(out.len().next_multiple_of(512), 0);
    }
    out.resize(out.len() + 1024, 0);
    out.into()
}

/// Names beyond 100 bytes are cut off by the format's first field, so they use the prefix field.
fn header(path: &str, mode: u32, owner: Owner, size: usize, kind: u8) -> [u8; 512] {
    let mut block = [0u8; 512];
    let (prefix, name) = match path.len() {
        0..=100 => ("", path),
        _ => path.trim_end_matches('/').rsplit_once('/').unwrap_or(("", path)),
    };
    put(&mut block, 0, 100, name);
    put(&mut block, 100, 8, &format!("{mode:07o}"));
    put(&mut block, 108, 8, &format!("{:07o}", owner.user.unwrap_or(0)));
    put(&mut block, 116, 8, &format!("{:07o}", owner.group.unwrap_or(0)));
    put(&mut block, 124, 12, &format!("{size:011o}"));
    put(&mut block, 136, 12, "00000000000");
    put(&mut block, 148, 8, "        ");
    block[156] = kind;
    put(&mut block, 257, 8, "ustar\u{0}00");
    put(&mut block, 345, 155, prefix);
    let sum: u32 = block.iter().map(|byte| u32::from(*byte)).sum();
    put(&mut block, 148, 8, &format!("{sum:06o}\u{0} "));
    block
}

fn put(block: &mut [u8; 512], at: usize, room: usize, text: &str) {
    let bytes = &text.as_bytes()[..text.len().min(room)];
    block[at..at + bytes.len()].copy_from_slice(bytes);
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::kubelet::volumes::payload::File;

    #[test]
    fn memory_unless_an_init_container_writes_it() {
        let read = |init: &str| {
            let mount =
                |name: &str| serde_json::json!({"name": name, "volumeMounts": [{"name": init, "mountPath": "/v"}]});
            let volumes = serde_json::json!([{"name": "v", "emptyDir": {"medium": "Memory", "sizeLimit": "1Mi"}}]);
            let spec =
                serde_json::json!({"containers": [{"name": "c"}], "initContainers": [mount("i")], "volumes": volumes});
            let pod: Pod = serde_json::from_value(serde_json::json!({"metadata": {}, "spec": spec})).unwrap();
            in_memory(&pod, &pod.spec.as_ref().unwrap().volumes.as_ref().unwrap()[0])
        };
        assert_eq!(read("another"), Some(Some(1 << 20)));
        assert_eq!(read("v"), None);
    }

    #[test]
    fn tar_reads_it_back() {
        let file = |text: &str| File::of_root(text.as_bytes().to_vec(), 0o640);
        let files = [("a".to_string(), file("one")), ("d/b".to_string(), file("two"))].into();
        let dir = tempfile::tempdir().unwrap();
        std::fs::write(dir.path().join("x.tar"), tar(&files)).unwrap();
        let done = std::process::Command::new("tar").args(["xf", "x.tar"]).current_dir(dir.path()).status().unwrap();
        assert!(done.success());
        assert_eq!(std::fs::read_to_string(dir.path().join("d/b")).unwrap(), "two");
        assert_eq!(std::fs::read_to_string(dir.path().join("a")).unwrap(), "one");
    }
}
