//! What all containers of a pod may use together, changed while they run.
//!
//! Podman limits a pod when it makes it, and cannot change that. So on this machine its cgroup is written to, or
//! systemd told where the cgroup is one of its slices.

use super::cgroup::{self, CGROUPS};
use super::{Podman, http::segment};
use crate::kubelet::runtime::{Resources, Result, RuntimeError};
use serde::Deserialize;
use std::path::{Path, PathBuf};
use std::{fs, io};
use tokio::process::Command;

/// The part of `GET pods/{id}/json` that is read.
#[derive(Deserialize)]
struct Pod {
    #[serde(rename = "Id")]
    id: String,
    #[serde(default, rename = "InfraContainerID")]
    infra: String,
}

/// The directories that hold a pod's limits; both are the same one on cgroup version 2.
#[derive(Debug, PartialEq)]
struct Directories {
    cpu: PathBuf,
    memory: PathBuf,
}

impl Podman {
    pub(super) async fn update_pod(&self, sandbox: &str, resources: &Resources) -> Result<()> {
        let around = self.around().await?;
        if !around.surroundings.pod_limits {
            return Ok(());
        }
        let unsupported = |why: &str| RuntimeError::Unsupported {
            what: "changing what all containers of a pod may use together".into(),
            why: why.into(),
        };
        if !around.local {
            return Err(unsupported("Podman limits a pod when it is made, and this host's cgroups are out of reach"));
        }
        let pod: Pod = self.client.get(format!("pods/{}/json", segment(sandbox)), sandbox).fetch().await?;
        if pod.infra.is_empty() {
            // It has no cgroup: the limits of its one container hold for it.
            return Ok(());
        }
        let infra = self.inspected(&pod.infra).await?;
        let cgroups = fs::read_to_string(format!("/proc/{}/cgroup", infra.state.pid)).unwrap_or_default();
        let found = directories(Path::new(CGROUPS), &cgroups, (&pod.id, &infra.id), around.cgroup_version);
        let directories = found.ok_or_else(|| unsupported("its cgroup is not known"))?;
        let (version, swap) = (around.cgroup_version, around.surroundings.swap);
        let failed = |cause: io::Error| RuntimeError::Other {
            method: "update".into(),
            object: format!("sandbox {sandbox}"),
            message: "its limits cannot be written".into(),
            cause: Some(cause.into()),
        };
        let slice =
            directories.memory.file_name().and_then(|name| name.to_str()).filter(|name| name.ends_with(".slice"));
        if let Some(slice) = slice {
            return tell_systemd(slice, around.rootless, &properties(resources, swap)).await.map_err(failed);
        }
        let resources = *resources;
        // The kernel may have to make room first.
        let written = tokio::task::spawn_blocking(move || write(&directories, &resources, version, swap));
        written.await.map_err(io::Error::other).and_then(|written| written).map_err(failed)
    }
}

/// Found by the text of /proc/PID/cgroup of the infra container's process; `ids`: of the pod and that container.
fn directories(root: &Path, cgroups: &str, ids: (&str, &str), version: u8) -> Option<Directories> {
    let of_pod = |path: PathBuf| {
        let named = |part: &Path, id: &str| part.file_name().is_some_and(|name| name.to_string_lossy().contains(id));
        let pod = path.ancestors().find(|part| named(part, ids.1))?.parent()?;
        (!ids.0.is_empty() && named(pod, ids.0)).then(|| pod.to_owned())
    };
    if version == 2 {
        let pod = of_pod(root.join(cgroup::unified(cgroups)?))?;
        return Some(Directories { cpu: pod.clone(), memory: pod });
    }
    let of = |controller: &str| of_pod(root.join(controller).join(cgroup::path(cgroups, controller)?));
    Some(Directories { cpu: of("cpu")?, memory: of("memory")? })
}

/// From cgroup v1's shares to the weight of v2, as Podman does it.
fn weight(shares: u64) -> u64 {
    1 + shares.clamp(2, 262_144).saturating_sub(2) * 9999 / 262_142
}

fn write(directories: &Directories, resources: &Resources, version: u8, swap: bool) -> io::Result<()> {
    let (cpu, memory) = (&directories.cpu, &directories.memory);
    let period = resources.cpu_period.unwrap_or(100_000);
    let bytes = resources.memory_limit;
    if version == 2 {
        if let Some(shares) = resources.cpu_shares {
            fs::write(cpu.join("cpu.weight"), weight(shares).to_string())?;
            let quota = resources.cpu_quota.map_or_else(|| "max".to_owned(), |quota| quota.to_string());
            fs::write(cpu.join("cpu.max"), format!("{quota} {period}"))?;
        }
        fs::write(memory.join("memory.max"), bytes.map_or_else(|| "max".to_owned(), |bytes| bytes.to_string()))?;
        return if swap && bytes.is_some() { fs::write(memory.join("memory.swap.max"), "0") } else { Ok(()) };
    }
    if let Some(shares) = resources.cpu_shares {
        fs::write(cpu.join("cpu.shares"), shares.to_string())?;
        fs::write(cpu.join("cpu.cfs_period_us"), period.to_string())?;
        fs::write(cpu.join("cpu.cfs_quota_us"), resources.cpu_quota.unwrap_or(-1).to_string())?;
    }
    let limit = bytes.unwrap_or(-1).to_string();
    let (own, with_swap) = (memory.join("memory.limit_in_bytes"), memory.join("memory.memsw.limit_in_bytes"));
    if !swap || !with_swap.exists() {
        return fs::write(own, limit);
    }
    // Memory and swap together are never less than memory alone: more goes the one way, less the other.
    match fs::write(&own, &limit) {
        Ok(()) => fs::write(with_swap, limit),
        Err(_) => fs::write(with_swap, &limit).and_then(|()| fs::write(own, limit)),
    }
}

/// As `systemctl set-property` takes them.
fn properties(resources: &Resources, swap: bool) -> Vec<String> {
    let mut properties = Vec::new();
    if let Some(shares) = resources.cpu_shares {
        properties.push(format!("CPUWeight={}", weight(shares)));
        let period = i64::try_from(resources.cpu_period.unwrap_or(100_000)).unwrap_or(i64::MAX).max(1);
        let percent = |quota: i64| format!("{}%", (quota.saturating_mul(100) / period).max(1));
        properties.push(format!("CPUQuota={}", resources.cpu_quota.map(percent).unwrap_or_default()));
    }
    let limit = resources.memory_limit.map_or_else(|| "infinity".to_owned(), |bytes| bytes.to_string());
    properties.push(format!("MemoryMax={limit}"));
    if swap && resources.memory_limit.is_some() {
        properties.push("MemorySwapMax=0".to_owned());
    }
    properties
}

async fn tell_systemd(slice: &str, rootless: bool, properties: &[String]) -> io::Result<()> {
    let mut command = Command::new("systemctl");
    if rootless {
        command.arg("--user");
    }
    let output = command.args(["set-property", "--runtime", slice]).args(properties).output().await?;
    if output.status.success() {
        return Ok(());
    }
    Err(io::Error::other(String::from_utf8_lossy(&output.stderr).trim().to_owned()))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn the_pod_is_around_its_infra_container() {
        let v1 = "4:memory:/libpod_parent/p1/libpod-i1\n1:cpu,cpuacct:/libpod_parent/p1/libpod-i1\n0::/\n";
        let root = Path::new("/c");
        let found = directories(root, v1, ("p1", "i1"), 1).unwrap();
        assert_eq!(found.cpu, Path::new("/c/cpu/libpod_parent/p1"));
        assert_eq!(found.memory, Path::new("/c/memory/libpod_parent/p1"));
        let v2 = "0::/machine.slice/machine-libpod_pod_p1.slice/libpod-i1.scope/container\n";
        let found = directories(root, v2, ("p1", "i1"), 2).unwrap();
        assert_eq!(found.memory, Path::new("/c/machine.slice/machine-libpod_pod_p1.slice"));
        assert_eq!(directories(root, "0::/user.slice/libpod-i1.scope\n", ("p1", "i1"), 2), None, "it is not the pod's");
        assert_eq!(directories(root, "", ("p1", "i1"), 1), None);
    }

    #[test]
    fn both_versions_are_written() {
        let root = tempfile::tempdir().unwrap();
        let directories = Directories { cpu: root.path().into(), memory: root.path().into() };
        let read = |name: &str| fs::read_to_string(root.path().join(name)).unwrap();
        let limits = Resources {
            cpu_shares: Some(1024),
            cpu_quota: Some(50_000),
            memory_limit: Some(8),
            ..Resources::default()
        };
        write(&directories, &limits, 2, true).unwrap();
        assert_eq!((read("cpu.weight"), read("cpu.max")), ("39".into(), "50000 100000".into()));
        assert_eq!((read("memory.max"), read("memory.swap.max")), ("8".into(), "0".into()));
        write(&directories, &limits, 1, false).unwrap();
        assert_eq!((read("cpu.shares"), read("cpu.cfs_quota_us")), ("1024".into(), "50000".into()));
        assert_eq!(read("memory.limit_in_bytes"), "8");
        let unlimited = Resources { cpu_shares: Some(2), ..Resources::default() };
        write(&directories, &unlimited, 1, false).unwrap();
        assert_eq!((read("cpu.cfs_quota_us"), read("memory.limit_in_bytes")), ("-1".into(), "-1".into()));
        write(&directories, &unlimited, 2, true).unwrap();
        assert_eq!((read("cpu.max"), read("memory.max")), ("max 100000".into(), "max".into()));
        assert_eq!(properties(&limits, true), ["CPUWeight=39", "CPUQuota=50%", "MemoryMax=8", "MemorySwapMax=0"]);
        assert_eq!(properties(&unlimited, true), ["CPUWeight=1", "CPUQuota=", "MemoryMax=infinity"]);
    }
}
