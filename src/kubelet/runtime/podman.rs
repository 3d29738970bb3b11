//! Runs containers through the REST API of a Podman service.
//!
//! A pod's sandbox is a Podman pod with an infra container, which holds the network, IPC and host
//! name for the pod's life, whatever its containers do; Podman builds the infra image itself, from
//! the catatonit on the host, so no registry is needed.
//!
//! All calls go through our own thin [`http::Client`]. What differs between Podman 4.3 and 5.x is
//! known to three files only: `fault.rs` (words), `wire.rs` (answers), `generate.rs` (requests).

mod containers;
mod exec;
mod facts;
mod fault;
mod generate;
pub mod http;
mod images;
mod lines;
mod logs;
mod oom;
mod sandbox;
pub mod service;
mod stats;
mod wire;

use super::*;
use generate::Surroundings;
use http::{Client, Endpoint, QUICK, segment};
use oom::OomWatch;
use parking_lot::Mutex;
use serde_json::json;
use std::{collections::HashMap, net::IpAddr, sync::Arc};
use tokio::sync::OnceCell;

pub use service::{ServiceOptions, local_socket, spawn_service};

/// One Podman service, as one cluster sees it.
pub struct Podman {
    client: Client,
    cluster: String,
    /// Asked once: none of it changes while the service runs.
    around: OnceCell<Arc<Around>>,
    /// Addresses by infra container id and start: asking costs a call per sandbox.
    addresses: Mutex<HashMap<(String, i64), Vec<IpAddr>>>,
    oom: OomWatch,
}

/// What is known about the host after the first call.
struct Around {
    surroundings: Surroundings,
    local: bool,
    cgroup_version: u8,
}

impl Podman {
    /// A runtime for `cluster` on the service at `url` (`unix:///path` or `tcp://host:port`).
    /// Does not connect yet: a host that is down today may be up tomorrow.
    pub fn new(url: &str, cluster: &str) -> Result<Self> {
        Ok(Self {
            client: Client::new(url)?,
            cluster: cluster.to_owned(),
            around: OnceCell::new(),
            addresses: Mutex::default(),
            oom: OomWatch::default(),
        })
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

    fn on_this_machine(&self) -> bool {
        matches!(self.client.endpoint(), Endpoint::Unix(_))
    }

    async fn facts(&self) -> Result<facts::Info> {
        let info: facts::Info = self.client.get("info", "host").fetch().await?;
        info.check(self.client.url())?;
        Ok(info)
    }

    async fn around(&self) -> Result<Arc<Around>> {
        let ask = || async {
            let info = self.facts().await?;
            let (swap, hostname) = (info.host.swap_total > 0, info.host.hostname.clone());
            let host = info.describe(self.on_this_machine());
            let surroundings = Surroundings {
                cluster: self.cluster.clone(),
                hostname,
                swap,
                may_lower_oom_score: host.local && !host.rootless && service::has_sys_resource(),
                resource_limits: host.resource_limits,
            };
            Ok(Arc::new(Around { surroundings, local: host.local, cgroup_version: host.cgroup_version }))
        };
        self.around.get_or_try_init(ask).await.cloned()
    }

    /// A filter on labels, this cluster's always among them.
    fn filter(&self, label: Option<(&str, &str)>) -> String {
        let mut wanted = vec![format!("{}={}", labels::CLUSTER, self.cluster)];
        wanted.extend(label.map(|(key, value)| format!("{key}={value}")));
        json!({ "label": wanted }).to_string()
    }

    async fn volume_list(&self, pod_uid: Option<&str>) -> Result<Vec<VolumeSpec>> {
        #[derive(serde::Deserialize)]
        #[serde(rename_all = "PascalCase")]
        struct Listed {
            #[serde(default)]
            labels: Option<std::collections::BTreeMap<String, String>>,
            #[serde(default)]
            options: Option<std::collections::BTreeMap<String, String>>,
        }
        let call = self.client.get("volumes/json", "volumes");
        let filter = self.filter(pod_uid.map(|uid| (labels::POD_UID, uid)));
        let listed: Option<Vec<Listed>> = call.query("filters", filter).fetch().await?;
        let of = |volume: Listed| {
            let labels = volume.labels?;
            // Podman 4.3 matches any of the labels asked for, not all of them.
            let ours = labels.get(labels::CLUSTER) == Some(&self.cluster)
                && pod_uid.is_none_or(|uid| labels.get(labels::POD_UID).is_some_and(|found| found == uid));
            let tmpfs = volume.options.unwrap_or_default().get("type").is_some_and(|kind| kind == "tmpfs");
            ours.then_some(())?;
            Some(VolumeSpec {
                name: labels.get(generate::VOLUME_NAME)?.clone(),
                pod_uid: labels.get(labels::POD_UID).cloned().unwrap_or_default(),
                tmpfs: tmpfs.then_some(None),
            })
        };
        Ok(listed.unwrap_or_default().into_iter().filter_map(of).collect())
    }
}

#[async_trait]
impl ContainerRuntime for Podman {
    async fn info(&self) -> Result<HostInfo> {
        Ok(self.facts().await?.describe(self.on_this_machine()))
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
        self.follow_events(call.deadline(QUICK)).await
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
        self.find_image(name).await
    }

    async fn images(&self) -> Result<Vec<ImageInfo>> {
        self.list_images().await
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

    async fn exec(&self, container: &str, options: &ExecOptions) -> Result<ExecSession> {
        self.start_exec(container, options).await
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

    async fn ensure_volume(&self, volume: &VolumeSpec) -> Result<()> {
        let body = generate::named_volume(volume, &self.cluster);
        match self.client.post("volumes/create", format!("volume {}", volume.name)).json(&body)?.send().await {
            Err(RuntimeError::AlreadyExists { .. }) => Ok(()),
            other => other,
        }
    }

    async fn volumes(&self, pod_uid: Option<&str>) -> Result<Vec<VolumeSpec>> {
        self.volume_list(pod_uid).await
    }

    async fn remove_volume(&self, name: &str) -> Result<()> {
        let path = format!("volumes/{}", segment(&generate::volume_name(&self.cluster, name)));
        match self.client.delete(path, format!("volume {name}")).send().await {
            Err(error) if error.is_not_found() => Ok(()),
            other => other,
        }
    }

    async fn write_files(&self, container: &str, path: &str, tar: Bytes) -> Result<()> {
        let call =
            self.client.call(::http::Method::PUT, format!("containers/{}/archive", segment(container)), container);
        let call = call.query("path", path).query("copyUIDGID", false).body("application/x-tar", tar);
        call.deadline(http::SLOW).send().await
    }
}
