//! The hosts of a cluster: which there are, and a runtime for each.

use super::options::{Host, Options};
use super::paths::Paths;
use crate::base::clock::Clock;
use crate::kubelet::NodeConfig;
use crate::kubelet::runtime::podman::{Podman, ServiceOptions, local_socket, spawn_service};
use crate::kubelet::runtime::{
    ContainerRuntime, RuntimeError,
    hollow::{Hollow, HollowOptions},
};
use std::sync::Arc;

/// A host with its runtime.
pub struct Connected {
    pub node: NodeConfig,
    pub runtime: Arc<dyn ContainerRuntime>,
}

/// The hosts that `options` asks for. Hosts that do not answer now are kept: they may come up later.
pub async fn connect(options: &Options, paths: &Paths, cluster: &str) -> Result<Vec<Connected>, RuntimeError> {
    let mut connected = Vec::new();
    let hosts = wanted(options, paths).await?;
    if let Err(error) = paths.write_hosts(&hosts) {
        tracing::warn!("the list of hosts could not be kept, `selkie diff` will not look at containers: {error}");
    }
    for host in hosts {
        let runtime: Arc<dyn ContainerRuntime> = Arc::new(Podman::new(&host.url, cluster)?);
        let mut node = NodeConfig::named(&host.name, paths.node(&host.name));
        if let Some(address) = remote_address(&host.url) {
            node.addresses = vec![address];
        }
        connected.push(Connected { node, runtime });
    }
    let width = options.hollow_hosts.to_string().len();
    for number in 0..options.hollow_hosts {
        let name = format!("hollow-{number:0width$}");
        let runtime: Arc<dyn ContainerRuntime> = Arc::new(Hollow::new(HollowOptions::named(&name, Clock::System)));
        let mut node = NodeConfig::named(&name, paths.node(&name));
        node.simulated = true;
        connected.push(Connected { node, runtime });
    }
    Ok(connected)
}

async fn wanted(options: &Options, paths: &Paths) -> Result<Vec<Host>, RuntimeError> {
    if options.no_hosts || !options.hosts.is_empty() {
        return Ok(options.hosts.clone());
    }
    // Simulated hosts instead of real ones, unless real ones are named.
    if options.hollow_hosts > 0 {
        return Ok(Vec::new());
    }
    let url = match local_socket().await {
        Some(url) => url,
        None => spawn_service(&ServiceOptions { directory: paths.podman(), arguments: Vec::new() }).await?,
    };
    Ok(vec![Host { name: hostname(), url }])
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
