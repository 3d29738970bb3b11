//! Keeps a host from running out of memory and disk: conditions of its Node, which taint it, pods that it does not
//! take meanwhile, and pods that have to go, one at a time. [`pressure`] knows what is short, [`rank`] who goes for
//! it and what it is told; [`storage`] measures what pods keep on disk, and [`limits`] knows what they may. Those that
//! keep more go at once, whatever else is short.
//!
//! The memory of a host that is another machine is not known; a simulated host is short of it once its pods'
//! annotations say that they use more than there is.

mod limits;
mod pressure;
mod rank;
mod storage;

pub use pressure::{Condition, Observations, Pressure, shortages};
pub use rank::refusal;

use crate::kubelet::host::Host;
use crate::kubelet::image_gc::ImageCollector;
use crate::kubelet::pod::is_terminal;
use crate::kubelet::pod::plan::{EVICTED, Failure};
use crate::kubelet::runtime::{HostInfo, RuntimeError};
use crate::kubelet::settings::{Shortage, Signal};
use crate::kubelet::{node, usage};
use k8s_openapi::api::core::v1::Pod;
use pressure::Observed;
use rank::{Choice, Using};
use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;
use tracing::{info, warn};

/// How a pod is told that its host was short of something.
pub const LOW: &str = "The node was low on resource: ";
/// Between two looks.
const PERIOD: Duration = Duration::from_secs(10);
/// How long to wait for an evicted pod to end before the next may have to go, and how often to look.
const CLEANUP: Duration = Duration::from_secs(30);
const POLL: Duration = Duration::from_secs(1);

/// What of a host's memory and disks is left, as far as that is known.
pub fn observations(info: &HostInfo, memory_available: Option<u64>) -> Observations {
    let rest = |size: u64, used: u64| Observed { capacity: size, available: size.saturating_sub(used) };
    let memory = memory_available.map(|available| Observed { capacity: info.memory, available });
    let all = [
        (Signal::Memory, memory),
        (Signal::Images, Some(rest(info.storage_size, info.storage_used))),
        (Signal::Volumes, Some(rest(info.volumes_size, info.volumes_used))),
        (Signal::Inodes, Some(Observed { capacity: info.volumes_inodes, available: info.volumes_inodes_free })),
    ];
    let known = all.into_iter().filter_map(|(signal, observed)| Some((signal, observed?)));
    known.filter(|(_, observed)| observed.capacity > 0).collect()
}

/// Brings the host's conditions up to date; what it is short of now.
pub fn observe(host: &Host, info: &HostInfo) -> Vec<Shortage> {
    let short = shortages(&observations(info, memory_available(host, info)), &host.node.settings.eviction);
    host.pressure.lock().observe(&short, host.ctx.clock.now());
    short
}

fn memory_available(host: &Host, info: &HostInfo) -> Option<u64> {
    if host.node.simulated {
        return usage::simulated_memory(host).map(|used| info.memory.saturating_sub(used));
    }
    if info.local { usage::memory_available() } else { None }
}

/// Until shutdown.
pub async fn run(host: Arc<Host>, images: Arc<ImageCollector>) {
    let mut manager = Manager { host: host.clone(), images, leaving: HashSet::new() };
    let watching = async {
        loop {
            tokio::time::sleep(PERIOD).await;
            match Box::pin(manager.round()).await {
                Ok(pods) => Box::pin(manager.gone(&pods)).await,
                Err(error) => warn!(
                    node = host.node.name,
                    error = error.chain(),
                    "cannot tell what the host is short of; looking again"
                ),
            }
        }
    };
    host.ctx.shutdown.run_until_cancelled(watching).await;
}

struct Manager {
    host: Arc<Host>,
    images: Arc<ImageCollector>,
    /// Pods that were told to go, by uid.
    leaving: HashSet<String>,
}

impl Manager {
    /// Has those pods go that must: all that keep more than they may, else one if the host is short of something.
    async fn round(&mut self) -> Result<Vec<Arc<Pod>>, RuntimeError> {
        let mut short = self.look().await?;
        let excessive = match self.excessive().await {
            // What the host is short of does not wait for what cannot be measured.
            Err(error) if !short.is_empty() => {
                self.complain("cannot tell who keeps too much on disk", &error);
                Vec::new()
            }
            measured => measured?,
        };
        if !excessive.is_empty() {
            return Ok(excessive);
        }
        let Some(first) = short.first().copied() else { return Ok(Vec::new()) };
        self.tell_of("EvictionThresholdMet", &format!("Attempting to reclaim {}", first.signal.resource()));
        if first.signal == Signal::Images || first.signal != Signal::Memory && self.host.info().one_disk {
            // Pods may have to go all the more.
            if let Err(error) = self.images.remove_unused().await {
                self.complain("cannot remove images from a disk that is full", &error);
            }
            short = self.look().await?;
        }
        let Some(short) = short.first() else { return Ok(Vec::new()) };
        let pods = self.using(short.signal).await?;
        match rank::victim(&pods, short, self.host.info().one_disk) {
            Choice::Goes(victim) => {
                self.evict(&victim.pod, rank::message(short, victim));
                Ok(vec![victim.pod.clone()])
            }
            Choice::NoneWouldHelp(freed) => {
                self.tell_of("FreeDiskSpaceFailed", &rank::helpless(short, freed));
                Ok(Vec::new())
            }
            Choice::NoneMayGo => Ok(Vec::new()),
        }
    }

    /// Has those pods go that keep more on disk than they may. Only those are measured that are limited.
    async fn excessive(&mut self) -> Result<Vec<Arc<Pod>>, RuntimeError> {
        let mut pods = self.active();
        pods.retain(|pod| limits::limited(pod) != limits::Limited::default());
        let layers = pods.iter().any(|pod| limits::limited(pod).containers);
        let mut using: Vec<Using> = pods.into_iter().map(Using::new).collect();
        storage::measure(&self.host, &mut using, layers).await?;
        let mut gone = Vec::new();
        for using in &using {
            if let Some(message) = limits::excess(using).filter(|_| rank::may_go(&using.pod)) {
                self.evict(&using.pod, message);
                gone.push(using.pod.clone());
            }
        }
        Ok(gone)
    }

    /// The pods that could go.
    fn active(&mut self) -> Vec<Arc<Pod>> {
        let mut pods = self.host.pods.on_node(&self.host.node.name);
        pods.retain(|pod| !is_terminal(pod));
        self.leaving.retain(|uid| pods.iter().any(|pod| pod.metadata.uid.as_deref() == Some(uid)));
        pods.retain(|pod| !pod.metadata.uid.as_ref().is_some_and(|uid| self.leaving.contains(uid)));
        pods
    }

    /// What the host is short of now. Another machine is asked again only where it seems short: that costs it.
    async fn look(&self) -> Result<Vec<Shortage>, RuntimeError> {
        let known = self.host.info();
        if !known.local && observe(&self.host, &known).iter().all(|short| short.signal == Signal::Memory) {
            return Ok(observe(&self.host, &known));
        }
        let now = node::with_disks(&self.host).await?;
        if !now.local {
            self.host.set_info(now.clone());
        }
        Ok(observe(&self.host, &now))
    }

    /// What the pods that could go use.
    async fn using(&mut self, signal: Signal) -> Result<Vec<Using>, RuntimeError> {
        let mut using: Vec<Using> = self.active().into_iter().map(Using::new).collect();
        if signal != Signal::Memory {
            storage::measure(&self.host, &mut using, true).await?;
            return Ok(using);
        }
        for read in usage::read(&self.host).await?.containers {
            let of_pod = |using: &&mut Using| using.pod.metadata.uid.as_deref() == Some(&read.pod_uid);
            if let Some(using) = using.iter_mut().find(of_pod) {
                using.memory.insert(read.container, read.reading.memory);
            }
        }
        Ok(using)
    }

    fn evict(&mut self, pod: &Arc<Pod>, message: String) {
        let (name, namespace) = (pod.metadata.name.as_deref(), pod.metadata.namespace.as_deref());
        info!(node = self.host.node.name, pod = name, namespace, message, "evicting a pod");
        self.leaving.extend(pod.metadata.uid.clone());
        self.host.turn_out(pod, Failure { reason: EVICTED.into(), message });
    }

    /// Waits until nothing of evicted pods is left that could be freed.
    async fn gone(&self, pods: &[Arc<Pod>]) {
        let is_there = |pod: &Arc<Pod>| {
            let meta = &pod.metadata;
            let (namespace, name) = (meta.namespace.as_deref(), meta.name.as_deref());
            let shown = self.host.pods.get(namespace.unwrap_or_default(), name.unwrap_or_default());
            shown.is_some_and(|now| now.metadata.uid == meta.uid && !is_terminal(&now))
        };
        let waiting = async {
            while pods.iter().any(is_there) {
                tokio::time::sleep(POLL).await;
            }
        };
        let _ = tokio::time::timeout(CLEANUP, waiting).await;
    }

    fn complain(&self, what: &str, error: &RuntimeError) {
        warn!(node = self.host.node.name, error = error.chain(), "{what}");
    }

    fn tell_of(&self, reason: &str, message: &str) {
        if let Some(node) = self.host.nodes.get("", &self.host.node.name) {
            self.host.events.warning(&*node, reason, message);
        }
    }
}
