//! What a host is: `GET info` and `GET version` in our terms, and what differs between versions.

use crate::kubelet::runtime::{HostInfo, Result, RuntimeError};
use serde::Deserialize;

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

/// The parts of `GET info` that we read.
#[derive(Debug, Deserialize)]
pub struct Info {
    pub host: Host,
    #[serde(default)]
    pub store: Store,
    pub version: VersionInfo,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Host {
    #[serde(default)]
    arch: String,
    #[serde(default)]
    cgroup_version: String,
    #[serde(default)]
    cgroup_controllers: Option<Vec<String>>,
    #[serde(default)]
    cpus: u32,
    #[serde(default)]
    distribution: Distribution,
    #[serde(default)]
    pub hostname: String,
    #[serde(default)]
    kernel: String,
    #[serde(default)]
    mem_total: u64,
    #[serde(default)]
    pub swap_total: u64,
    #[serde(default)]
    security: Security,
}

#[derive(Debug, Default, Deserialize)]
struct Distribution {
    #[serde(default)]
    distribution: String,
    #[serde(default)]
    version: String,
}

#[derive(Debug, Default, Deserialize)]
struct Security {
    #[serde(default)]
    rootless: bool,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Store {
    #[serde(default)]
    graph_root: String,
    #[serde(default)]
    graph_root_allocated: u64,
    #[serde(default)]
    graph_root_used: u64,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct VersionInfo {
    pub version: String,
}

impl Info {
    /// The host in our terms; `local` is whether its socket is on this machine.
    pub fn describe(self, local: bool) -> HostInfo {
        let host = self.host;
        let cgroup_version = if host.cgroup_version == "v2" { 2 } else { 1 };
        let controllers = host.cgroup_controllers.unwrap_or_default();
        let delegated = |name: &str| controllers.iter().any(|controller| controller == name);
        let read = |path: &str| std::fs::read_to_string(path).map(|text| text.trim().to_owned()).unwrap_or_default();
        let id = |path: &str| if local { read(path) } else { String::new() };
        HostInfo {
            runtime_version: format!("podman://{}", self.version.version),
            hostname: host.hostname,
            os_image: format!("{} {}", host.distribution.distribution, host.distribution.version).trim().to_owned(),
            kernel: host.kernel,
            arch: host.arch,
            cpus: host.cpus,
            memory: host.mem_total,
            storage_size: self.store.graph_root_allocated,
            storage_used: self.store.graph_root_used,
            cgroup_version,
            rootless: host.security.rootless,
            // A socket forwarded from elsewhere has a store whose directory does not exist here.
            local: local && std::path::Path::new(&self.store.graph_root).exists(),
            machine_id: id("/etc/machine-id"),
            boot_id: id("/proc/sys/kernel/random/boot_id"),
            resource_limits: !host.security.rootless
                || (cgroup_version == 2 && delegated("cpu") && delegated("memory")),
            simulated: false,
        }
    }

    /// Refuses what is too old to be understood.
    pub fn check(&self, url: &str) -> Result<Version> {
        let found = &self.version.version;
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
    fn versions_in_the_wild() {
        assert_eq!(Version::parse("4.3.1"), Some(Version(4, 3, 1)));
        assert_eq!(Version::parse("5.8.0-rc1"), Some(Version(5, 8, 0)));
        assert_eq!(Version::parse("5.4"), Some(Version(5, 4, 0)));
        assert_eq!(Version::parse("next"), None);
        assert!(Version(4, 3, 1) >= Version::OLDEST && Version(3, 4, 4) < Version::OLDEST);
    }

    #[test]
    fn a_debian_host() {
        let info: Info = serde_json::from_str(include_str!("recorded/info-4.3.1.json")).unwrap();
        assert_eq!(info.check("unix:///p").unwrap(), Version(4, 3, 1));
        let host = info.describe(false);
        assert_eq!(host.runtime_version, "podman://4.3.1");
        assert_eq!((host.os_image.as_str(), host.arch.as_str(), host.cpus), ("debian 12", "amd64", 2));
        assert_eq!((host.cgroup_version, host.rootless, host.local), (1, false, false));
        assert_eq!(host.memory, 25_276_514_304);
        assert!(host.resource_limits);
    }
}
