//! What a runtime reports: host, sandboxes, containers, images, events, usage.

use super::labels::{ContainerIdentity, PodIdentity};
use jiff::Timestamp;
use std::{collections::BTreeMap, net::IpAddr};

/// The host and its Podman.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct HostInfo {
    /// For `nodeInfo.containerRuntimeVersion`: `podman://4.3.1`.
    pub runtime_version: String,
    pub hostname: String,
    /// `PRETTY_NAME`-like, e.g. `debian 12`.
    pub os_image: String,
    pub kernel: String,
    /// Go's name: `amd64`, `arm64`.
    pub arch: String,
    pub cpus: u32,
    /// Bytes.
    pub memory: u64,
    /// Size and used bytes of the file system under the images and containers; 0 when not known.
    pub storage_size: u64,
    pub storage_used: u64,
    /// The directory of the images and containers, where it is a directory of this machine.
    pub storage_path: String,
    /// The same of the file system that holds pods' volumes; filled in by the kubelet.
    pub volumes_size: u64,
    pub volumes_used: u64,
    /// Its files at most, and how many more it takes; 0 where that is not limited, or not known.
    pub volumes_inodes: u64,
    pub volumes_inodes_free: u64,
    /// The volumes are on the file system of the images; filled in by the kubelet.
    pub one_disk: bool,
    /// What all containers are run by, e.g. `crun`; empty where any will do.
    pub oci_runtime: String,
    /// 1 or 2.
    pub cgroup_version: u8,
    pub rootless: bool,
    /// Whether host paths of this process mean the same files on that host.
    pub local: bool,
    pub machine_id: String,
    pub boot_id: String,
    /// Of `cpu` and `memory` those whose limits nobody enforces: rootless Podman needs cgroup v2 and
    /// the controllers delegated to its user.
    pub unenforced: Vec<&'static str>,
    /// Pods have no cgroup of their own there: what all containers of one may use together is limited for each of
    /// them by itself.
    pub lone_containers: bool,
    /// No kernel of such a host keeps to AppArmor profiles, or SELinux labels.
    pub no_apparmor: bool,
    pub no_selinux: bool,
    /// Nobody limits how many processes a pod has there.
    pub no_pids_limit: bool,
    /// How many processes and threads a pod may have there; filled in by the kubelet.
    pub pod_pids_limit: Option<i64>,
    /// The directory there of seccomp profiles that pods name; filled in by the kubelet.
    pub seccomp_root: String,
    /// Nothing really runs there: probes over the network would find nobody.
    pub simulated: bool,
}

impl HostInfo {
    /// Whether limits of `cpu` or `memory` hold.
    pub fn enforces(&self, resource: &str) -> bool {
        !self.unenforced.contains(&resource)
    }
}

/// Sandboxes and containers of one cluster on one host.
#[derive(Clone, Debug, Default)]
pub struct Listing {
    pub sandboxes: Vec<Sandbox>,
    pub containers: Vec<ContainerStatus>,
}

/// A pod's shared surroundings on the host.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sandbox {
    pub id: String,
    pub pod: PodIdentity,
    /// Its namespaces are held open; containers can be started in it.
    pub ready: bool,
    /// Stable for the sandbox's life. Empty under `host_network`: the node's addresses then.
    pub ips: Vec<IpAddr>,
    pub host_network: bool,
    /// It holds nothing: its container's addresses are the pod's, from when that is prepared.
    pub lone: bool,
    pub created: Timestamp,
    pub labels: BTreeMap<String, String>,
}

/// One container: who it is and how it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ContainerStatus {
    pub id: String,
    pub identity: ContainerIdentity,
    pub sandbox: String,
    /// As it was given to create, and the image's id (without `sha256:`).
    pub image: String,
    pub image_id: String,
    pub created: Timestamp,
    pub state: ContainerState,
    pub labels: BTreeMap<String, String>,
    /// The log on the host; empty when not known. Only filled by `inspect`.
    pub log_path: String,
    /// As whom its first process was started. Only filled by `inspect`, on hosts that share the file system.
    pub user: Option<ProcessUser>,
    /// Those that it has to itself, in a sandbox that is lone.
    pub ips: Vec<IpAddr>,
}

/// The user of a container's first process, by the container's own numbers.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ProcessUser {
    pub uid: i64,
    pub gid: i64,
    pub groups: Vec<i64>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ContainerState {
    /// Made, never started (or the host rebooted since).
    Created,
    Running {
        started: Timestamp,
        pid: u32,
    },
    /// Its processes are frozen; counts as running.
    Paused {
        started: Timestamp,
    },
    Exited(Exit),
    /// Podman lost track of it (its monitor was killed): remove it and make another.
    Lost,
}

impl ContainerState {
    /// Its processes exist.
    pub fn is_running(&self) -> bool {
        matches!(self, Self::Running { .. } | Self::Paused { .. })
    }
}

/// How a container ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Exit {
    /// 128 + signal for a killed process.
    pub code: i32,
    pub started: Option<Timestamp>,
    pub finished: Timestamp,
    pub oom_killed: bool,
    /// Podman's words, e.g. why its command could not be run.
    pub message: Option<String>,
}

impl Exit {
    /// The signal that ended it, where the code tells.
    pub fn signal(&self) -> Option<i32> {
        (self.code > 128 && self.code < 192).then(|| self.code - 128)
    }
}

/// A local image.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ImageInfo {
    /// Hex, without `sha256:`.
    pub id: String,
    pub tags: Vec<String>,
    /// `repository@sha256:...`
    pub digests: Vec<String>,
    /// Bytes on disk, shared layers included.
    pub size: u64,
    /// A container is made of it, whoever made that, or sandboxes are. Only in lists.
    pub used: bool,
    pub config: ImageConfig,
}

/// The parts of an image's config a kubelet decides by. Empty in lists.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ImageConfig {
    /// `user`, `uid`, `user:group`, empty for root.
    pub user: String,
    pub entrypoint: Vec<String>,
    pub cmd: Vec<String>,
    /// `KEY=value`
    pub env: Vec<String>,
    pub working_dir: String,
    pub stop_signal: String,
    /// Declared volumes' paths.
    pub volumes: Vec<String>,
}

/// Something that happened to a container or sandbox of this cluster.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RuntimeEvent {
    pub time: Timestamp,
    pub kind: EventKind,
    /// The container's id; of the infra container when `container` is `None`.
    pub id: String,
    pub pod: PodIdentity,
    /// `None`: the sandbox itself.
    pub container: Option<ContainerIdentity>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum EventKind {
    Created,
    Started,
    /// Its process ended. Inspect tells whether the kernel was out of memory.
    Died {
        exit_code: i32,
    },
    OutOfMemory,
    Removed,
    /// Anything else worth a look: paused, restored, renamed.
    Changed,
}

/// Usage of one running container.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ContainerStats {
    pub id: String,
    /// By the host's clock.
    pub time: Timestamp,
    /// CPU time since the container's start.
    pub cpu_nanos: u64,
    /// Bytes: the working set, or on a host that is another machine, what Podman takes for it.
    pub memory: u64,
}
