//! Runs pods on Podman hosts: one kubelet per host, any number in one process.
//!
//! ```text
//!   API watch (routes) ---+
//!   runtime events -------+--> inbox --> pod worker: look -> plan (pure) -> status + operations
//!   timers, probes -------+
//! ```
//!
//! [`host`] starts a worker per pod and feeds it; [`pod`] decides and acts; [`status`] words what the
//! API shows; [`env`], [`volumes`], [`container`] and [`sandbox`] turn a spec into what a
//! [`runtime`] is asked for; [`node`] keeps the Node object and its lease; [`streams`] serves logs,
//! exec and attach. A kubelet holds no state that a restart must keep: labels on containers do.
//!
//! Absent on purpose: service account tokens, device plugins, eviction under pressure, cgroups of
//! its own. Known limits are said where they are met: [`probes::reach`], [`volumes::remote`].

pub mod container;
pub mod env;
pub mod fields;
pub mod host;
pub mod images;
pub mod inbox;
pub mod interests;
pub mod pod;
pub mod probes;
pub mod resources;
pub mod routes;
pub mod runtime;
pub mod sandbox;
pub mod sources;
pub mod status;
pub mod volumes;

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

/// What a kubelet is told about its host.
#[derive(Clone, Debug)]
pub struct NodeConfig {
    /// The Node's name.
    pub name: String,
    /// Holds the files of pods' volumes, on hosts that share the file system.
    pub data_dir: PathBuf,
    /// The host's addresses, the primary one first.
    pub addresses: Vec<String>,
    /// Further labels of the Node.
    pub labels: BTreeMap<String, String>,
    /// Between two renewals of the lease; 10 s in Kubernetes.
    pub heartbeat: Duration,
    /// The runtime only pretends: network probes pass, no files are written.
    pub simulated: bool,
}
