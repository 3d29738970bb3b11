//! The hosts of a cluster: which there are, and a runtime for each.

use super::options::{Host, Options};
use super::paths::Paths;
use crate::base::clock::Clock;
use crate::client::Context;
use crate::kubelet::NodeConfig;
use crate::kubelet::runtime::podman::{Podman, ServiceOptions, local_socket, network_obstacle, spawn_service};
use crate::kubelet::runtime::{
    ContainerRuntime, RuntimeError,
    hollow::{Hollow, HollowOptions},
};
use k8s_openapi::api::core::v1::Node;
use std::sync::Arc;
use std::time::Duration;

/// A host with its runtime.
pub struct Connected {
    pub node: NodeConfig,
    pub runtime: Arc<dyn ContainerRuntime>,
}

/// The hosts that `options` asks for. Hosts that do not answer now are kept: they may come up later.
pub async fn connect(options: &Options, paths: &Paths, cluster: &str) -> Result<Vec<Connected>, RuntimeError> {
    let mut connected = Vec::new();
    let (hosts, own_service) = wanted(options, paths).await?;
    if hosts.iter().any(|host| host.url.starts_with("unix:"))
        && let Some(obstacle) = network_obstacle()
    {
        tracing::warn!("{obstacle}");
    }
    if let Err(error) = paths.write_hosts(&hosts) {
        tracing::warn!("the list of hosts could not be kept, `selkie diff` will not look at containers: {error}");
    }
    let settings = Arc::new(options.settings.clone());
    for host in hosts {
        let podman = Podman::new(&host.url, cluster)?;
        let runtime: Arc<dyn ContainerRuntime> = Arc::new(match &own_service {
            Some(service) => podman.kept_alive(service.clone()),
            None => podman,
        });
        let mut node = NodeConfig::named(&host.name, paths.node(&host.name));
        node.settings = settings.clone();
        // A heartbeat may be late or lost without the host being so.
        node.heartbeat = node.heartbeat.min(options.timing.node_monitor_grace / 4);
        if let Some(address) = remote_address(&host.url) {
            node.addresses = vec![address];
        }
        connected.push(Connected { node, runtime });
    }
    let width = options.hollow_hosts.to_string().len();
    for number in 0..options.hollow_hosts {
        let name = format!("hollow-{number:0width$}");
        let pretended = HollowOptions::named(&name, Clock::System).numbered(number);
        let runtime: Arc<dyn ContainerRuntime> = Arc::new(Hollow::new(pretended));
        let mut node = NodeConfig::named(&name, paths.node(&name));
        node.settings = settings.clone();
        node.simulated = true;
        node.rest = Some(REST);
        connected.push(Connected { node, runtime });
    }
    Ok(connected)
}

/// Also how to start the Podman service of the only host, where that is a service of ours.
async fn wanted(options: &Options, paths: &Paths) -> Result<(Vec<Host>, Option<ServiceOptions>), RuntimeError> {
    if options.no_hosts || !options.hosts.is_empty() {
        return Ok((options.hosts.clone(), None));
    }
    // Simulated hosts instead of real ones, unless real ones are named.
    if options.hollow_hosts > 0 {
        return Ok((Vec::new(), None));
    }
    let (url, service) = match local_socket().await {
        Some(url) => (url, None),
        None => {
            let service = ServiceOptions { directory: paths.podman(), arguments: Vec::new() };
            (spawn_service(&service).await?, Some(service))
        }
    };
    Ok((vec![Host { name: hostname(), url }], service))
}

/// How long the first applications wait for hosts: pods that find none wait longer, for the
/// scheduler's back-off.
const FIRST_HOSTS: Duration = Duration::from_secs(3);
/// By then a simulated pod has told of its start, and its echo has come back; one of thousands may take that long.
const REST: Duration = Duration::from_secs(10);

/// Waits until the Nodes of `names` are ready, or for so long that some host must be away.
pub async fn wait_ready(context: &Context, names: &[String]) {
    let nodes = context.informers.of::<Node>();
    nodes.synced().await;
    let is_ready = |name: &String| nodes.get("", name).is_some_and(|node| is_schedulable(&node));
    let all = async {
        while !names.iter().all(is_ready) {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    // Hosts that are away are shown by their Nodes; nothing more is to be said here.
    let _ = tokio::time::timeout(FIRST_HOSTS, all).await;
}

/// Ready, and the node controller has taken the taint of new Nodes away.
fn is_schedulable(node: &Node) -> bool {
    let conditions = node.status.as_ref().and_then(|status| status.conditions.as_ref());
    let ready =
        conditions.into_iter().flatten().any(|condition| condition.type_ == "Ready" && condition.status == "True");
    let taints = node.spec.as_ref().and_then(|spec| spec.taints.as_ref());
    ready && !taints.into_iter().flatten().any(|taint| taint.key == "node.kubernetes.io/not-ready")
}

/// Where a host that is reached over the network is: other hosts reach it there too.
fn remote_address(url: &str) -> Option<String> {
    let (address, _) = url.strip_prefix("tcp://")?.rsplit_once(':')?;
    Some(address.trim_matches(['[', ']']).to_string())
}

/// This machine's name as a Node name may be.
fn hostname() -> String {
    let name = rustix::system::uname().nodename().to_string_lossy().to_lowercase();
    let name: String =
        name.chars().map(|c| if c.is_ascii_alphanumeric() || c == '-' || c == '.' { c } else { '-' }).collect();
    let name = name.trim_matches(|c: char| !c.is_ascii_alphanumeric());
    if name.is_empty() { "localhost".into() } else { name.into() }
}
