//! Runs containers through the REST API of a Podman service.
//!
//! A pod's sandbox is a Podman pod with an infra container, which holds the network, IPC and host
//! name for the pod's life, whatever its containers do; Podman builds the infra image itself, from
//! the catatonit on the host, so no registry is needed. A pod without one, where its only container has all
//! that to itself, is a `lone` one.
//!
//! Simple questions go through the podman-api crate (`library.rs`), all that it does not do right
//! through our own thin [`http::Client`]. What differs between Podman 4.3 and 5.x is known to three
//! files only: `fault.rs` (words), `wire.rs` (answers), `generate.rs` (requests).

mod abandoned;
mod cgroup;
mod containers;
mod exec;
mod facts;
mod fault;
mod generate;
pub mod http;
mod images;
mod infra;
mod library;
mod lines;
mod logs;
mod oom;
mod rootless;
mod sandbox;
pub mod service;
mod stats;
mod turns;
mod volumes;
mod whole;
mod wire;

use super::*;
use generate::Surroundings;
use http::{Client, Endpoint, QUICK, segment};
use library::Library;
use oom::OomWatch;
use parking_lot::Mutex;
use serde_json::json;
use std::{
    collections::HashMap,
    net::IpAddr,
    sync::{Arc, atomic::AtomicBool},
};
use tokio::sync::{OnceCell, Semaphore};

pub use rootless::network_obstacle;
pub use service::{ServiceOptions, local_socket, spawn_service};

/// One Podman service, as one cluster sees it.
pub struct Podman {
    client: Client,
    library: Library,
    cluster: String,
    /// Asked once: none of it changes while the service runs.
    around: OnceCell<Arc<Around>>,
    /// Addresses by infra container id and start: asking costs a call per sandbox.
    addresses: Mutex<HashMap<(String, i64), Vec<IpAddr>>>,
    oom: OomWatch,
    /// Pods here need an infra image of ours.
    infra_missing: AtomicBool,
    /// One makes the first sandbox here; closed once there is one, and the infra image with it.
    first: Semaphore,
    logs: Mutex<logs::Logs>,
    /// How to start the service anew, if it is ours.
    service: Option<ServiceOptions>,
}

/// What is known about the host after the first call.
struct Around {
    surroundings: Surroundings,
    local: bool,
    rootless: bool,
    cgroup_version: u8,
    turns: turns::Turns,
}

impl Podman {
    /// A runtime for `cluster` on the service at `url` (`unix:///path` or `tcp://host:port`).
    /// Does not connect yet: a host that is down today may be up tomorrow.
    pub fn new(url: &str, cluster: &str) -> Result<Self> {
        let client = Client::new(url)?;
        Ok(Self {
            library: Library::new(client.endpoint().clone(), url.to_owned()),
            client,
            cluster: cluster.to_owned(),
            around: OnceCell::new(),
            addresses: Mutex::default(),
            oom: OomWatch::default(),
            infra_missing: AtomicBool::new(false),
            first: Semaphore::new(1),
            logs: Mutex::default(),
            service: None,
        })
    }

    /// The service is one of ours: it is started again when it has died.
    pub fn kept_alive(mut self, service: ServiceOptions) -> Self {
        self.service = Some(service);
        self
    }

    /// Like [`new`](Self::new), and makes sure that the service answers and is one we can speak to.
    pub async fn connect(url: &str, cluster: &str) -> Result<Self> {
        let podman = Self::new(url, cluster)?;
        podman.around().await?;
        Ok(podman)
    }

    pub fn url(&self) -> &str {
        self.client.url()
    }

    /// Whether what Podman says of processes and paths is true here, too.
    async fn on_this_machine(&self) -> bool {
        match self.client.endpoint() {
            Endpoint::Unix(socket) => service::sees_our_processes(socket).await,
            Endpoint::Tcp(_) => false,
        }
    }

    async fn facts(&self) -> Result<facts::Info> {
        let info = self.library.info().await?;
        info.check(self.client.url())?;
        Ok(info)
    }

    async fn around(&self) -> Result<Arc<Around>> {
        let ask = || async {
            let info = self.facts().await?;
            let (swap, hostname) = (info.swap > 0, info.hostname.clone());
            let host = info.describe(self.on_this_machine().await);
            let surroundings = Surroundings {
                cluster: self.cluster.clone(),
                hostname,
                swap,
                may_lower_oom_score: host.local && !host.rootless && service::has_sys_resource(),
                resource_limits: host.enforces("cpu") || host.enforces("memory"),
                pod_limits: !host.lone_containers && (host.enforces("cpu") || host.enforces("memory")),
            };
            let HostInfo { local, rootless, cgroup_version, cpus, .. } = host;
            let turns = turns::Turns::on(cpus);
            Ok(Arc::new(Around { surroundings, local, rootless, cgroup_version, turns }))
        };
        self.around.get_or_try_init(ask).await.cloned()
    }

    /// A filter on labels, this cluster's always among them.
    fn filter(&self, label: Option<(&str, &str)>) -> String {
        let mut wanted = vec![format!("{}={}", labels::CLUSTER, self.cluster)];
        wanted.extend(label.map(|(key, value)| format!("{key}={value}")));
        json!({ "label": wanted }).to_string()
    }
}

#[async_trait]
impl ContainerRuntime for Podman {
    async fn info(&self) -> Result<HostInfo> {
        Ok(self.facts().await?.describe(self.on_this_machine().await))
    }

    async fn ping(&self) -> Result<()> {
        self.client.get("_ping", "service").send().await
    }

    async fn list(&self) -> Result<Listing> {
        self.listing(None).await
    }

    async fn list_pod(&self, pod_uid: &str) -> Result<Listing> {
        self.listing(Some(pod_uid)).await
    }

    async fn inspect(&self, container: &str) -> Result<ContainerStatus> {
        self.status(container).await
    }

    async fn events(&self) -> Result<BoxStream<'static, Result<RuntimeEvent>>> {
        let filters = json!({"type": ["container"], "label": [format!("{}={}", labels::CLUSTER, self.cluster)]});
        let call = self.client.get("events", "events").query("stream", true).query("filters", filters);
        match (self.follow_events(call.clone().deadline(QUICK)).await, &self.service) {
            // Whoever lost contact comes here first.
            (Err(RuntimeError::Unreachable { .. }), Some(service)) => {
                tracing::warn!(url = self.url(), "the Podman service is gone; starting it again");
                spawn_service(service).await?;
                self.follow_events(call.deadline(QUICK)).await
            }
            (followed, _) => followed,
        }
    }

    async fn ensure_sandbox(&self, spec: &SandboxSpec) -> Result<Sandbox> {
        self.make_sandbox(spec).await
    }

    async fn remove_sandbox(&self, sandbox: &str) -> Result<()> {
        self.delete_sandbox(sandbox).await
    }

    async fn create_container(&self, sandbox: &str, spec: &ContainerSpec) -> Result<String> {
        self.make_container(sandbox, spec).await
    }

    async fn update(&self, container: &str, resources: &Resources) -> Result<()> {
        self.update_container(container, resources).await
    }

    async fn update_sandbox(&self, sandbox: &str, resources: &Resources) -> Result<()> {
        self.update_pod(sandbox, resources).await
    }

    async fn prepare(&self, container: &str) -> Result<Vec<IpAddr>> {
        self.prepare_container(container).await
    }

    async fn start(&self, container: &str) -> Result<()> {
        self.start_container(container).await
    }

    async fn stop(&self, container: &str, grace: Duration) -> Result<Exit> {
        self.stop_container(container, grace).await
    }

    async fn kill(&self, container: &str, signal: &str) -> Result<()> {
        let call = self.client.post(format!("containers/{}/kill", segment(container)), container);
        call.query("signal", signal).send().await
    }

    async fn wait(&self, container: &str) -> Result<Exit> {
        self.wait_exit(container).await
    }

    async fn remove(&self, container: &str) -> Result<()> {
        self.delete_container(container).await
    }

    async fn pull(
        &self,
        image: &str,
        auth: Option<&RegistryAuth>,
        progress: Option<ProgressSender>,
    ) -> Result<ImageInfo> {
        self.pull_image(image, auth, progress).await
    }

    async fn image(&self, name: &str) -> Result<Option<ImageInfo>> {
        self.library.image(name).await
    }

    async fn images(&self) -> Result<Vec<ImageInfo>> {
        self.library.images().await
    }

    async fn remove_image(&self, image: &str) -> Result<()> {
        self.delete_image(image).await
    }

    async fn load_image(&self, archive: Bytes) -> Result<Vec<String>> {
        self.load_archive(archive).await
    }

    async fn logs(&self, container: &str, options: &LogOptions) -> Result<BoxStream<'static, Result<LogLine>>> {
        self.read_logs(container, options).await
    }

    async fn keep_logs(&self, running: &[String], limits: LogLimits) -> Result<u64> {
        self.tend_logs(running, limits).await
    }

    async fn exec(&self, container: &str, options: &ExecOptions) -> Result<ExecSession> {
        self.start_exec(container, options).await
    }

    async fn exec_guarded(&self, container: &str, options: &ExecOptions) -> Result<ExecSession> {
        self.start_guarded(container, options).await
    }

    async fn exec_sync(&self, container: &str, command: &[String], timeout: Duration) -> Result<ExecResult> {
        self.run_exec(container, command, timeout).await
    }

    async fn attach(&self, container: &str, options: &AttachOptions) -> Result<ExecSession> {
        self.start_attach(container, options).await
    }

    async fn stats(&self) -> Result<Vec<ContainerStats>> {
        self.usage().await
    }

    async fn written(&self) -> Result<Vec<(String, u64)>> {
        self.layers().await
    }

    async fn ensure_volume(&self, volume: &VolumeSpec) -> Result<()> {
        self.make_volume(volume).await
    }

    async fn volume_files(&self, name: &str) -> Result<Option<String>> {
        self.find_volume_files(name).await
    }

    async fn volumes(&self, pod_uid: Option<&str>) -> Result<Vec<VolumeSpec>> {
        self.list_volumes(pod_uid).await
    }

    async fn remove_volume(&self, name: &str) -> Result<()> {
        self.delete_volume(name).await
    }

    async fn write_files(&self, container: &str, path: &str, tar: Bytes) -> Result<()> {
        let call =
            self.client.call(::http::Method::PUT, format!("containers/{}/archive", segment(container)), container);
        let call = call.query("path", path).query("copyUIDGID", false).body("application/x-tar", tar);
        call.deadline(http::SLOW).send().await
    }
}
