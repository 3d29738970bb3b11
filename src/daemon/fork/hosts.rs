//! The hosts of a copy: a hollow one for each that answers, which takes over what runs there when the
//! first of its pods changes.

use super::{Base, pods};
use crate::api::quantity::Quantity;
use crate::client::{Context, ObjectKey};
use crate::kubelet::drift::unobserved;
use crate::kubelet::node::object;
use crate::kubelet::runtime::ContainerRuntime;
use crate::kubelet::runtime::hollow::{Hollow, HollowOptions};
use crate::kubelet::settings::{Settings, StaticPods};
use crate::kubelet::{Kubelets, NodeConfig, pod};
use crate::store::{Record, bucket};
use k8s_openapi::api::core::v1::{Node, Pod};
use parking_lot::Mutex;
use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

/// About as long as real hosts take: what controllers and scheduler decide at once, they decide
/// before a host has done anything about it. Said among the assumptions.
pub const STARTING: Duration = Duration::from_millis(700);
pub const STOPPING: Duration = Duration::from_millis(1100);
pub const PULLING: Duration = Duration::from_millis(2900);

/// Longer than most pods take to start or to stop: nobody reads what is said of one on the way.
const REPORT_PATIENCE: Duration = Duration::from_secs(10);

/// A host that got work, and the images it had before.
struct Started {
    host: Hollow,
    had: BTreeSet<Arc<str>>,
}

pub struct Hosts {
    started: Arc<Mutex<BTreeMap<String, Started>>>,
    /// Those that answer.
    reachable: BTreeSet<String>,
    /// Those that do not.
    pub silent: Vec<String>,
}

impl Hosts {
    /// Attends to every host that answers, as the Nodes say. What runs there is what ran in `base`: the copy
    /// may be past the change set.
    pub async fn start(ctx: &Context, base: &Base) -> Self {
        let (nodes, pods) = (ctx.informers.of::<Node>(), ctx.informers.of::<Pod>());
        let kubelets = Kubelets::new(ctx.clone(), Arc::default(), Arc::default(), unobserved());
        nodes.synced().await;
        pods.synced().await;
        let mut residents = residents(base);
        let mut hosts = Self { started: Arc::default(), reachable: BTreeSet::new(), silent: Vec::new() };
        for (number, node) in nodes.list().into_iter().enumerate() {
            let name = node.metadata.name.clone().unwrap_or_default();
            if !is_ready(&node) {
                hosts.silent.push(name);
                continue;
            }
            let (context, started) = (ctx.clone(), hosts.started.clone());
            let config = config(&node);
            let residents = residents.remove(&name).unwrap_or_default();
            let prepare = move || prepare(&context, (number, &node), &residents, &started);
            tokio::spawn(kubelets.attend(config, prepare));
            hosts.reachable.insert(name);
        }
        for pod in pods.list() {
            let node = pod::spec(&pod).node_name.clone().unwrap_or_default();
            let under_way = pod.metadata.deletion_timestamp.is_some()
                || !matches!(pod::phase(&pod), "Running" | "Succeeded" | "Failed")
                || revision(&pod) > base.revision;
            if under_way && hosts.reachable.contains(&node) {
                kubelets.look(&node, ObjectKey::of(&*pod));
            }
        }
        hosts
    }

    pub fn answers(&self, host: &str) -> bool {
        self.reachable.contains(host)
    }

    /// What hosts have now they had before.
    pub fn forget_pulls(&self) {
        self.started.lock().values_mut().for_each(|one| one.had = one.host.image_names().into_iter().collect());
    }

    /// Images that hosts got meanwhile, with the hosts.
    pub fn pulls(&self) -> BTreeMap<String, Vec<String>> {
        let mut pulls: BTreeMap<String, Vec<String>> = BTreeMap::new();
        for (name, started) in self.started.lock().iter() {
            for image in started.host.image_names().iter().filter(|image| !started.had.contains(*image)) {
                pulls.entry(image.to_string()).or_default().push(name.clone());
            }
        }
        pulls
    }
}

/// The pods on each host.
fn residents(base: &Base) -> BTreeMap<String, Vec<Arc<Record>>> {
    let mut residents: BTreeMap<String, Vec<Arc<Record>>> = BTreeMap::new();
    for record in base.bucket(&bucket("", "pods")) {
        let host = pods::host(&record.envelope);
        if !host.is_empty() {
            residents.entry(host.to_owned()).or_default().push(record.clone());
        }
    }
    residents
}

fn revision(pod: &Pod) -> u64 {
    pod.metadata.resource_version.as_ref().and_then(|version| version.parse().ok()).unwrap_or(0)
}

fn prepare(
    ctx: &Context,
    (number, node): (usize, &Node),
    residents: &[Arc<Record>],
    started: &Mutex<BTreeMap<String, Started>>,
) -> Arc<dyn ContainerRuntime> {
    let name = node.metadata.name.clone().unwrap_or_default();
    let capacity = node.status.as_ref().and_then(|status| status.capacity.clone()).unwrap_or_default();
    let amount = |of: &str| capacity.get(of).and_then(|text| text.0.parse::<Quantity>().ok());
    let mut options = HollowOptions::named(&name, ctx.clock.clone()).numbered(number);
    options.cpus = amount("cpu").and_then(|cpus| u32::try_from(cpus.value()).ok()).unwrap_or(options.cpus);
    options.memory = amount("memory").and_then(|bytes| u64::try_from(bytes.value()).ok()).unwrap_or(options.memory);
    (options.start_latency, options.stop_latency, options.pull_latency) = (STARTING, STOPPING, PULLING);
    let images = node.status.as_ref().and_then(|status| status.images.as_ref()).into_iter().flatten();
    options.images = images.flat_map(|image| image.names.iter().flatten()).flat_map(|name| spellings(name)).collect();
    let handlers = node.status.as_ref().and_then(|status| status.runtime_handlers.as_ref()).into_iter().flatten();
    let named = handlers.filter_map(|handler| handler.name.clone()).find(|name| !name.is_empty());
    options.oci_runtime = named.unwrap_or_default();
    (options.unenforced, options.lone_containers, options.cgroup_version) = object::unenforced(node);
    let host = Hollow::new(options);
    let pods = ctx.informers.of::<Pod>();
    for record in residents {
        // One that is gone already left nothing behind, and whoever has its name now never ran here.
        let now = pods.get(&record.envelope.namespace, &record.envelope.name);
        match now.filter(|pod| pod.metadata.uid.as_deref() == Some(&record.envelope.uid)) {
            Some(pod) if revision(&pod) == record.modified => host.adopt(&pod),
            Some(_) => drop(serde_json::from_slice(&record.value.bytes()).map(|pod| host.adopt(&pod))),
            None => {}
        }
    }
    let had = host.image_names().into_iter().collect();
    started.lock().insert(name, Started { host: host.clone(), had });
    Arc::new(host)
}

/// A full name, and the short ones that mean the same image to Podman.
fn spellings(name: &str) -> Vec<String> {
    let shorter = ["docker.io/library/", "docker.io/", "localhost/"];
    let short = shorter.iter().filter_map(|prefix| name.strip_prefix(prefix)).map(str::to_owned);
    let mut all: Vec<String> = short.collect();
    all.push(name.to_owned());
    let untagged: Vec<String> = all.iter().filter_map(|name| name.strip_suffix(":latest")).map(str::to_owned).collect();
    all.extend(untagged);
    all
}

fn config(node: &Node) -> NodeConfig {
    let addresses = node.status.as_ref().and_then(|status| status.addresses.as_ref()).into_iter().flatten();
    NodeConfig {
        name: node.metadata.name.clone().unwrap_or_default(),
        data_dir: PathBuf::new(),
        addresses: addresses.filter(|one| one.type_ == "InternalIP").map(|one| one.address.clone()).collect(),
        labels: BTreeMap::new(),
        heartbeat: Duration::from_secs(10),
        report_patience: REPORT_PATIENCE,
        // Nobody reads manifests here: what shows static pods does.
        settings: Arc::new(Settings { static_pods: StaticPods::Others, ..Settings::default() }),
        simulated: true,
        rest: None,
    }
}

fn is_ready(node: &Node) -> bool {
    let conditions = node.status.as_ref().and_then(|status| status.conditions.as_ref());
    conditions.into_iter().flatten().any(|condition| condition.type_ == "Ready" && condition.status == "True")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn images_have_several_spellings() {
        assert_eq!(
            spellings("docker.io/library/nginx:latest"),
            [
                "nginx:latest",
                "library/nginx:latest",
                "docker.io/library/nginx:latest",
                "nginx",
                "library/nginx",
                "docker.io/library/nginx"
            ]
        );
        assert_eq!(spellings("quay.io/a/b:1"), ["quay.io/a/b:1"]);
    }
}
