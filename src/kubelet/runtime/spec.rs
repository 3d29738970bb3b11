//! What a runtime is asked to make: sandboxes, containers, volumes, pulls.

use super::labels::{ContainerIdentity, PodIdentity};
use std::{collections::BTreeMap, net::IpAddr};
use tokio::sync::mpsc;

/// A pod's shared surroundings: network, IPC, host name.
#[derive(Clone, Debug, Default)]
pub struct SandboxSpec {
    pub pod: PodIdentity,
    /// Ignored under `host_network`.
    pub hostname: String,
    pub dns: DnsSpec,
    /// Lines for /etc/hosts: address and its names.
    pub host_aliases: Vec<(String, Vec<String>)>,
    pub host_network: bool,
    pub host_pid: bool,
    pub host_ipc: bool,
    /// Containers see each other's processes.
    pub share_pid: bool,
    pub ports: Vec<PortMapping>,
    pub sysctls: BTreeMap<String, String>,
    /// The SELinux label of the processes that hold its namespaces, as in [`SecurityContext`].
    pub se_linux: Vec<String>,
    /// Of all its containers together.
    pub resources: Resources,
    /// Nothing holds its namespaces, because one container has them to itself: see [`ContainerSpec::alone`].
    pub lone: bool,
    /// Further labels; identity is added by the runtime.
    pub labels: BTreeMap<String, String>,
    /// Read by the hollow runtime only (`hollow.selkie.dev/*`).
    pub annotations: BTreeMap<String, String>,
    /// A fixed address in the host's pod network; otherwise the host picks.
    pub address: Option<IpAddr>,
    /// Podman networks to join; empty is the host's default network.
    pub networks: Vec<String>,
}

/// The sandbox's resolv.conf. All empty: the host's own.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct DnsSpec {
    pub servers: Vec<String>,
    pub searches: Vec<String>,
    pub options: Vec<String>,
}

/// A port of the host that leads to a port of the pod.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PortMapping {
    pub host_ip: Option<IpAddr>,
    pub host_port: u16,
    pub container_port: u16,
    pub protocol: Protocol,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Protocol {
    #[default]
    Tcp,
    Udp,
    Sctp,
}

impl Protocol {
    /// As Podman writes it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Tcp => "tcp",
            Self::Udp => "udp",
            Self::Sctp => "sctp",
        }
    }
}

/// One container, fully resolved: no references to ConfigMaps, fields or secrets are left.
#[derive(Clone, Debug, Default)]
pub struct ContainerSpec {
    pub identity: ContainerIdentity,
    /// A name or, better, the id that [`image`](super::ContainerRuntime::image) gave.
    pub image: String,
    /// Replaces the image's entrypoint; empty keeps it.
    pub command: Vec<String>,
    /// Replaces the image's command; empty keeps it, unless `command` is set.
    pub args: Vec<String>,
    /// In order; later ones win. The image's own variables come first.
    pub env: Vec<(String, String)>,
    /// `None` keeps the image's.
    pub working_dir: Option<String>,
    pub mounts: Vec<Mount>,
    pub devices: Vec<Device>,
    pub resources: Resources,
    pub security: SecurityContext,
    pub tty: bool,
    /// Keep stdin open for attach.
    pub stdin: bool,
    /// Close stdin after the first attach ends.
    pub stdin_once: bool,
    /// `None`: the image's, else SIGTERM.
    pub stop_signal: Option<String>,
    /// In the host's IPC namespace, as its pod is.
    pub host_ipc: bool,
    /// What else a sandbox would have for it, where that is [`lone`](SandboxSpec::lone).
    pub alone: Option<Box<SandboxSpec>>,
    /// The id of a container that runs and whose network this one shares, where no sandbox holds that.
    pub with: Option<String>,
    /// The id of a container whose processes this one sees and can signal.
    pub processes_of: Option<String>,
    /// Its own resolv.conf; all empty: that of its pod. Podman gives those in the host's network none of their pod's.
    pub dns: DnsSpec,
    /// A file on the host for the log in k8s-file form; `None` lets Podman choose.
    pub log_path: Option<String>,
    /// Further labels; identity is added by the runtime.
    pub labels: BTreeMap<String, String>,
    /// Read by the hollow runtime only (`hollow.selkie.dev/*`).
    pub annotations: BTreeMap<String, String>,
    /// It is there to do its work and end: an init container, a container of a Job. Read by the hollow
    /// runtime only.
    pub ends: bool,
}

/// Something mounted into a container.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mount {
    pub source: MountSource,
    /// Absolute path in the container.
    pub target: String,
    pub read_only: bool,
    pub propagation: Propagation,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum MountSource {
    /// A file or directory of the host, which must exist.
    Host(String),
    /// A volume made by [`ensure_volume`](super::ContainerRuntime::ensure_volume).
    Volume(String),
    /// The files of an image that is on the host.
    Image(String),
    /// Memory of this container alone.
    Tmpfs { size_bytes: Option<u64> },
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Propagation {
    #[default]
    Private,
    HostToContainer,
    Bidirectional,
}

/// A device node of the host.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Device {
    pub host_path: String,
    pub container_path: String,
    /// Letters of `rwm`.
    pub permissions: String,
}

/// Limits in the kernel's units; `None` is unlimited.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Resources {
    /// Relative weight, 1024 for one core's request (cgroup v1 scale; converted by the runtime on v2).
    pub cpu_shares: Option<u64>,
    /// Microseconds of CPU per `cpu_period`.
    pub cpu_quota: Option<i64>,
    /// Microseconds; `None` is 100,000.
    pub cpu_period: Option<u64>,
    /// Bytes.
    pub memory_limit: Option<i64>,
    /// Processes and threads.
    pub pids_limit: Option<i64>,
    /// -1000 (never killed) to 1000 (killed first).
    pub oom_score_adj: Option<i32>,
}

impl Resources {
    /// Whether there is more CPU or memory, or are more processes, than may be used.
    pub fn is_limited(&self) -> bool {
        self.cpu_quota.is_some() || self.memory_limit.is_some() || self.pids_limit.is_some()
    }
}

/// Rights of the container's processes; `None` and empty keep the image's and Podman's defaults.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SecurityContext {
    pub run_as_user: Option<i64>,
    pub run_as_group: Option<i64>,
    pub supplemental_groups: Vec<i64>,
    pub privileged: bool,
    pub read_only_root: bool,
    pub allow_privilege_escalation: Option<bool>,
    /// Without the `CAP_` prefix, or `ALL`.
    pub add_capabilities: Vec<String>,
    pub drop_capabilities: Vec<String>,
    pub seccomp: Seccomp,
    pub app_armor: AppArmor,
    /// `type:...`, `level:...` and so on; empty leaves the label to Podman.
    pub se_linux: Vec<String>,
    /// Nothing of /proc and /sys is hidden or read-only.
    pub unmasked_proc: bool,
}

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Seccomp {
    #[default]
    RuntimeDefault,
    Unconfined,
    /// A profile file on the host.
    Localhost(String),
}

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum AppArmor {
    /// Podman's own, where the host has AppArmor.
    #[default]
    RuntimeDefault,
    Unconfined,
    /// The name of a profile that is loaded on the host.
    Localhost(String),
}

/// A named volume of one pod (or of the cluster, with an empty `pod_uid`).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct VolumeSpec {
    /// Unique in the cluster, `[a-zA-Z0-9_.-]`.
    pub name: String,
    pub pod_uid: String,
    /// Kept in memory, with a size limit in bytes if `Some(Some(_))`.
    pub tmpfs: Option<Option<u64>>,
    /// Whose it is from the beginning. Otherwise a new volume on disk gets the owner and mode of the directory in
    /// the image over which it is first mounted.
    pub group: Option<u32>,
}

/// What a registry wants to know. The password never appears in Debug output.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct RegistryAuth {
    pub username: String,
    pub password: String,
    /// An OAuth identity token instead of a password.
    pub identity_token: Option<String>,
    /// Whether the registry's TLS certificate must be valid; false also allows plain HTTP.
    /// `None` leaves it to the host's registries.conf.
    pub tls_verify: Option<bool>,
}

impl std::fmt::Debug for RegistryAuth {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("RegistryAuth").field("username", &self.username).finish_non_exhaustive()
    }
}

/// Where pull progress goes.
pub type ProgressSender = mpsc::Sender<String>;
