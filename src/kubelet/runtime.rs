//! The one door to containers: what a kubelet may ask of a host, in terms of pods and containers.
//!
//! [`podman::Podman`] does it through Podman's REST API, [`hollow::Hollow`] only pretends to. A
//! runtime keeps no state that a restart would need: identity, spec hash and restart count travel as
//! [`labels`] on the containers themselves. Every runtime is bound to one cluster (the id of a data
//! directory) and never shows or touches what another cluster made.
//!
//! Errors say whether it is worth trying again ([`RuntimeError`]); deadlines are the runtime's own.
//! It decides nothing: no restarts, no back-off, no garbage collection.

pub mod error;
pub mod hollow;
pub mod labels;
pub mod log_files;
pub mod podman;
pub mod spec;
pub mod state;
pub mod streams;

pub use error::{PullFailure, RuntimeError};
pub use labels::{ContainerIdentity, PodIdentity};
pub use log_files::LogLimits;
pub use spec::*;
pub use state::*;
pub use streams::*;

use async_trait::async_trait;
use bytes::Bytes;
use futures::stream::BoxStream;
use std::net::IpAddr;
use std::time::Duration;

/// The answer of every call.
pub type Result<T> = std::result::Result<T, RuntimeError>;

/// Runs the containers of one host for one cluster. All calls may be made concurrently.
///
/// Containers are named by the `id` that [`create_container`](Self::create_container) and
/// [`list`](Self::list) return. Calls that ask for a state which already holds (start a running
/// container, stop a stopped one, remove what is gone) succeed.
#[async_trait]
pub trait ContainerRuntime: Send + Sync {
    /// Version, capacity and peculiarities of the host. Costs a host a tenth of a second of CPU and
    /// more: ask now and then, and [`ping`](Self::ping) in between.
    async fn info(&self) -> Result<HostInfo>;

    /// A sign of life, cheap enough for a heartbeat.
    async fn ping(&self) -> Result<()> {
        self.info().await.map(drop)
    }

    /// Every sandbox and container of this cluster, in one consistent-enough view (not atomic).
    /// Costs time in proportion to the host's containers: call at start and to repair, and follow
    /// [`events`](Self::events) in between.
    async fn list(&self) -> Result<Listing>;

    /// The sandbox and containers of one pod. Cheap: filtered by the runtime.
    async fn list_pod(&self, pod_uid: &str) -> Result<Listing>;

    /// One container with everything known about it. `NotFound` when it is gone.
    async fn inspect(&self, container: &str) -> Result<ContainerStatus>;

    /// What happens to this cluster's containers from now on. The stream ends after an error; the
    /// caller reconnects and then lists again, because events in the gap are lost.
    async fn events(&self) -> Result<BoxStream<'static, Result<RuntimeEvent>>>;

    /// Makes the pod's sandbox and starts it, or returns the one that runs already. A broken sandbox
    /// of the same pod (stopped, or its infra container gone) is replaced, with its containers.
    async fn ensure_sandbox(&self, spec: &SandboxSpec) -> Result<Sandbox>;

    /// Removes the sandbox and every container in it, killing what runs.
    async fn remove_sandbox(&self, sandbox: &str) -> Result<()>;

    /// Makes a container in the sandbox without starting it and returns its id.
    /// `AlreadyExists` when this restart of this container was made before.
    async fn create_container(&self, sandbox: &str, spec: &ContainerSpec) -> Result<String>;

    /// Gives a running container other limits, all of them at once; it goes on running. Only what the
    /// kernel weighs and limits changes, not how it chooses among those that it kills.
    async fn update(&self, container: &str, resources: &Resources) -> Result<()>;

    /// Gives all containers of a sandbox together other limits. `Unsupported` where that takes a new sandbox.
    async fn update_sandbox(&self, sandbox: &str, resources: &Resources) -> Result<()>;

    /// Gives a created container its namespaces without starting its process, and returns the addresses that it has to
    /// itself then.
    async fn prepare(&self, _container: &str) -> Result<Vec<IpAddr>> {
        Ok(Vec::new())
    }

    /// Starts a created (or exited) container; returns when its process runs.
    async fn start(&self, container: &str) -> Result<()>;

    /// Sends the image's stop signal (SIGTERM by default), waits up to `grace`, then kills. Returns how
    /// it exited, once it has.
    async fn stop(&self, container: &str, grace: Duration) -> Result<Exit>;

    /// Sends a signal, by name (`SIGHUP`).
    async fn kill(&self, container: &str, signal: &str) -> Result<()>;

    /// Waits until the container is not running and says how it exited. No deadline: race it.
    async fn wait(&self, container: &str) -> Result<Exit>;

    /// Removes a container, killing it first if it runs.
    async fn remove(&self, container: &str) -> Result<()>;

    /// Pulls `image` and returns what it is now. `auth` holds a registry secret and is never logged.
    /// `progress` gets human-readable lines ("Copying blob ..."); a full channel drops them.
    async fn pull(
        &self,
        image: &str,
        auth: Option<&RegistryAuth>,
        progress: Option<ProgressSender>,
    ) -> Result<ImageInfo>;

    /// The local image of that name or id, if there is one. Never pulls. `Invalid` where that is no name.
    async fn image(&self, name: &str) -> Result<Option<ImageInfo>>;

    /// All local images: node status and image garbage collection. Without each image's config.
    async fn images(&self) -> Result<Vec<ImageInfo>>;

    /// Removes an image that no container uses; `InUse` otherwise.
    async fn remove_image(&self, image: &str) -> Result<()>;

    /// Brings an image archive (docker-archive or OCI tar) onto the host; returns the names in it.
    async fn load_image(&self, archive: Bytes) -> Result<Vec<String>>;

    /// The container's output, oldest line first; works for exited containers until they are removed.
    /// Under `follow` the stream ends when the container exits.
    async fn logs(&self, container: &str, options: &LogOptions) -> Result<BoxStream<'static, Result<LogLine>>>;

    /// Keeps the logs of these containers, which run, within limits: another file is begun where one is full, and the
    /// oldest go. [`logs`](Self::logs) reads all that are left as one. Cheap where nothing is to be done; nothing is on
    /// hosts that are other machines. Returns the most bytes that one of them wrote since the last call.
    async fn keep_logs(&self, _running: &[String], _limits: LogLimits) -> Result<u64> {
        Ok(0)
    }

    /// Runs a command in a running container with streams attached.
    async fn exec(&self, container: &str, options: &ExecOptions) -> Result<ExecSession>;

    /// The same for a command that is nobody's once the session is dropped: it is killed then, with what it started;
    /// but for hosts that are other machines, where only its input ends.
    async fn exec_guarded(&self, container: &str, options: &ExecOptions) -> Result<ExecSession> {
        self.exec(container, options).await
    }

    /// Runs a command to its end and returns its output (the last 64 KiB of each stream).
    /// `Timeout` when it is still running after `timeout`. It is killed then, and also when nobody waits
    /// any more, with what it started; but for hosts that are other machines, where it goes on.
    async fn exec_sync(&self, container: &str, command: &[String], timeout: Duration) -> Result<ExecResult>;

    /// The streams of the container's main process.
    async fn attach(&self, container: &str, options: &AttachOptions) -> Result<ExecSession>;

    /// CPU and memory in use by the running containers of this cluster.
    async fn stats(&self) -> Result<Vec<ContainerStats>>;

    /// Bytes that containers of this cluster wrote into their own file systems, by id. Costs a host as much as
    /// walking over what they wrote.
    async fn written(&self) -> Result<Vec<(String, u64)>> {
        Ok(Vec::new())
    }

    /// Makes a named volume of this cluster unless it exists: for claims, and for hosts whose file system
    /// the daemon does not share. The volume's name on the host is prefixed and stays the runtime's business.
    async fn ensure_volume(&self, volume: &VolumeSpec) -> Result<()>;

    /// Where the files of a named volume are on the host; `None` when there is no such volume.
    async fn volume_files(&self, name: &str) -> Result<Option<String>>;

    /// The names of this cluster's volumes for one pod (all pods: `None`), as given to `ensure_volume`.
    async fn volumes(&self, pod_uid: Option<&str>) -> Result<Vec<VolumeSpec>>;

    /// Removes a named volume; succeeds when there is none.
    async fn remove_volume(&self, name: &str) -> Result<()>;

    /// Unpacks a tar at `path` in a created or running container, owners as in the tar. Reaches into
    /// the volumes mounted there, which is how files get onto a host that shares no file system.
    async fn write_files(&self, container: &str, path: &str, tar: Bytes) -> Result<()>;
}
