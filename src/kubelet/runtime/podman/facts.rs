//! What a host is: its description in our terms, and what differs between versions.

use crate::kubelet::runtime::{HostInfo, Result, RuntimeError};

/// A Podman version, for what differs between releases.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Version(pub u32, pub u32, pub u32);

impl Version {
    /// The oldest release whose API we speak.
    pub const OLDEST: Self = Self(4, 3, 0);

    /// Reads `5.4.0-rc1` and the like.
    pub fn parse(text: &str) -> Option<Self> {
        let mut parts = text.trim_start_matches('v').split(['.', '-', '+']).map(|part| part.parse().ok());
        Some(Self(parts.next()??, parts.next().flatten().unwrap_or(0), parts.next().flatten().unwrap_or(0)))
    }
}

/// What a host says about itself.
#[derive(Clone, Debug, Default)]
pub struct Info {
    pub version: String,
    pub hostname: String,
    /// `debian 12`
    pub os_image: String,
    pub kernel: String,
    pub arch: String,
    pub cpus: u32,
    /// Bytes.
    pub memory: u64,
    pub swap: u64,
    /// `crun`
    pub oci_runtime: String,
    /// 1 or 2.
    pub cgroup_version: u8,
    /// Those that Podman's user may use.
    pub cgroup_controllers: Vec<String>,
    /// `systemd` or `cgroupfs`.
    pub cgroup_manager: String,
    pub rootless: bool,
    pub apparmor: bool,
    pub selinux: bool,
    /// The directory of images and containers, and its file system's bytes.
    pub store: String,
    pub store_size: u64,
    pub store_used: u64,
}

impl Info {
    /// The host in our terms; `local` is whether its socket is on this machine.
    pub fn describe(self, local: bool) -> HostInfo {
        let delegated = |name: &str| self.cgroup_controllers.iter().any(|controller| controller == name);
        let enforced = |name: &str| !self.rootless || (self.cgroup_version == 2 && delegated(name));
        let unenforced = ["cpu", "memory"].into_iter().filter(|name| !enforced(name)).collect();
        let no_pids_limit = !enforced("pids");
        let has_pods = !self.rootless || (self.cgroup_version == 2 && self.cgroup_manager == "systemd");
        let read = |path: &str| std::fs::read_to_string(path).map(|text| text.trim().to_owned()).unwrap_or_default();
        let id = |path: &str| if local { read(path) } else { String::new() };
        // A socket forwarded from elsewhere has a store whose directory does not exist here.
        let local = local && std::path::Path::new(&self.store).exists();
        HostInfo {
            runtime_version: format!("podman://{}", self.version),
            hostname: self.hostname,
            os_image: self.os_image,
            kernel: self.kernel,
            arch: self.arch,
            cpus: self.cpus,
            memory: self.memory,
            storage_size: self.store_size,
            storage_used: self.store_used,
            oci_runtime: self.oci_runtime,
            cgroup_version: self.cgroup_version,
            rootless: self.rootless,
            storage_path: if local { self.store } else { String::new() },
            local,
            machine_id: id("/etc/machine-id"),
            boot_id: id("/proc/sys/kernel/random/boot_id"),
            unenforced,
            lone_containers: !has_pods,
            no_apparmor: !self.apparmor,
            no_selinux: !self.selinux,
            no_pids_limit,
            ..HostInfo::default()
        }
    }

    /// Refuses what is too old to be understood.
    pub fn check(&self, url: &str) -> Result<Version> {
        let found = &self.version;
        let unsupported = || RuntimeError::Unsupported {
            what: format!("Podman {found} at {url}"),
            why: "selkie needs Podman 4.3 or newer".into(),
        };
        Version::parse(found).filter(|version| *version >= Version::OLDEST).ok_or_else(unsupported)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn who_can_limit_pods() {
        let lone = |rootless, cgroup_version, manager: &str| {
            let info = Info { rootless, cgroup_version, cgroup_manager: manager.into(), ..Info::default() };
            info.describe(false).lone_containers
        };
        assert!(!lone(false, 1, "cgroupfs") && !lone(false, 2, "systemd") && !lone(true, 2, "systemd"));
        assert!(lone(true, 2, "cgroupfs") && lone(true, 1, "systemd"));
    }

    #[test]
    fn versions_in_the_wild() {
        assert_eq!(Version::parse("4.3.1"), Some(Version(4, 3, 1)));
        assert_eq!(Version::parse("5.8.0-rc1"), Some(Version(5, 8, 0)));
        assert_eq!(Version::parse("5.4"), Some(Version(5, 4, 0)));
        assert_eq!(Version::parse("next"), None);
        assert!(Version(4, 3, 1) >= Version::OLDEST && Version(3, 4, 4) < Version::OLDEST);
    }
}
