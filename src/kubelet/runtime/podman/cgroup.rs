//! What the kernel counts for the containers of this machine, found by their first processes.

use super::wire::Listed;
use crate::kubelet::runtime::ContainerStats;
use jiff::Timestamp;
use std::fs;
use std::path::{Path, PathBuf};

pub const CGROUPS: &str = "/sys/fs/cgroup";

/// Usage of a running container; `None` when it has ended, or has no cgroup of its own.
pub fn stats(container: &Listed, version: u8) -> Option<ContainerStats> {
    let cgroups = fs::read_to_string(format!("/proc/{}/cgroup", container.pid)).ok()?;
    let (time, (cpu_nanos, memory)) =
        (Timestamp::now(), measure(Path::new(CGROUPS), &cgroups, &container.id, version)?);
    Some(ContainerStats { id: container.id.clone(), time, cpu_nanos, memory })
}

/// CPU time in nanoseconds, and the working set in bytes: what is in memory but for the page cache that
/// was not used lately.
fn measure(root: &Path, cgroups: &str, id: &str, version: u8) -> Option<(u64, u64)> {
    if version == 2 {
        let directory = own(&root.join(unified(cgroups)?), id)?;
        let cpu = counter(&directory.join("cpu.stat"), "usage_usec")?.checked_mul(1000)?;
        return Some((cpu, working_set(&directory, "memory.current", "inactive_file")?));
    }
    let directory = |controller| own(&root.join(controller).join(path(cgroups, controller)?), id);
    let cpu = number(&directory("cpuacct")?.join("cpuacct.usage"))?;
    Some((cpu, working_set(&directory("memory")?, "memory.usage_in_bytes", "total_inactive_file")?))
}

fn working_set(directory: &Path, usage: &str, inactive: &str) -> Option<u64> {
    let inactive = counter(&directory.join("memory.stat"), inactive).unwrap_or(0);
    Some(number(&directory.join(usage))?.saturating_sub(inactive))
}

/// A controller's path below its hierarchy, from the text of /proc/PID/cgroup on v1.
pub fn path<'a>(cgroups: &'a str, controller: &str) -> Option<&'a str> {
    cgroups.lines().find_map(|line| {
        let mut fields = line.splitn(3, ':').skip(1);
        let found = fields.next()?.split(',').any(|known| known == controller);
        let path = fields.next()?;
        found.then(|| path.trim_start_matches('/'))
    })
}

/// The path below the one hierarchy of v2.
pub fn unified(cgroups: &str) -> Option<&str> {
    cgroups.lines().find_map(|line| line.strip_prefix("0::/"))
}

/// The cgroup of the container among those around its process, which may be in one further down; not
/// that of a session which it shares with others.
fn own(cgroup: &Path, id: &str) -> Option<PathBuf> {
    let is_own = |name: &str| name.strip_prefix("libpod-").is_some_and(|rest| rest.starts_with(id));
    let found = cgroup.ancestors().find(|part| part.file_name().and_then(|name| name.to_str()).is_some_and(is_own));
    found.map(Path::to_owned)
}

fn number(file: &Path) -> Option<u64> {
    fs::read_to_string(file).ok()?.trim().parse().ok()
}

/// A counter of a file with one in each line.
pub fn counter(file: &Path, name: &str) -> Option<u64> {
    let text = fs::read_to_string(file).ok()?;
    text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' ')?.trim().parse().ok())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    const V1: &str = "12:cpu,cpuacct:/libpod_parent/p/libpod-c\n5:memory:/libpod_parent/p/libpod-c\n0::/\n";
    const V2: &str = "0::/machine.slice/machine-libpod_pod_p.slice/libpod-c.scope/container\n";

    fn files(root: &Path, files: &[(&str, &str)]) {
        for (name, text) in files {
            let file = root.join(name);
            fs::create_dir_all(file.parent().unwrap()).unwrap();
            fs::write(file, text).unwrap();
        }
    }

    #[test]
    fn both_versions_count() {
        let root = tempfile::tempdir().unwrap();
        let stat = "cache 9\ninactive_file 300\ntotal_inactive_file 400\n";
        files(
            root.path(),
            &[
                ("cpuacct/libpod_parent/p/libpod-c/cpuacct.usage", "7000\n"),
                ("memory/libpod_parent/p/libpod-c/memory.usage_in_bytes", "1000\n"),
                ("memory/libpod_parent/p/libpod-c/memory.stat", stat),
                ("machine.slice/machine-libpod_pod_p.slice/libpod-c.scope/cpu.stat", "usage_usec 8\nuser_usec 5\n"),
                ("machine.slice/machine-libpod_pod_p.slice/libpod-c.scope/memory.current", "1000\n"),
                ("machine.slice/machine-libpod_pod_p.slice/libpod-c.scope/memory.stat", stat),
            ],
        );
        assert_eq!(measure(root.path(), V1, "c", 1), Some((7000, 600)));
        assert_eq!(measure(root.path(), V2, "c", 2), Some((8000, 700)));
        assert_eq!(measure(root.path(), V2, "other", 2), None, "the cgroup of somebody else");
        assert_eq!(measure(root.path(), "0::/user.slice\n", "c", 2), None);
        assert_eq!(measure(root.path(), "0::/\n", "c", 1), None);
    }

    #[test]
    fn paths_of_both_versions() {
        assert_eq!(path(V1, "cpuacct"), Some("libpod_parent/p/libpod-c"));
        assert_eq!((path(V1, "pids"), unified(V1)), (None, Some("")));
        assert_eq!(unified(V2), Some("machine.slice/machine-libpod_pod_p.slice/libpod-c.scope/container"));
    }
}
