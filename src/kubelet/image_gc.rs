//! Removes images that nobody uses from a host whose disk fills; [`plan`] decides which. A container that is being
//! started keeps its image: what the pods of the host name stays, whether their containers are there or not.

mod plan;

use crate::kubelet::host::Host;
use crate::kubelet::pod::{all_containers, ephemeral_containers, is_terminal, spec};
use crate::kubelet::runtime::RuntimeError;
use crate::kubelet::{node, volumes};
use k8s_openapi::api::core::v1::Pod;
use plan::{Records, Seen};
use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::Mutex;
use tracing::{info, warn};

/// Between two looks at the images and the disk.
const PERIOD: Duration = Duration::from_secs(300);
/// The same while the host has not told of its disk.
const UNKNOWN: Duration = Duration::from_secs(10);

/// Collects the images of one host.
pub struct ImageCollector {
    host: Arc<Host>,
    records: Mutex<Records>,
}

/// What a collection came to.
struct Freed {
    bytes: u64,
    errors: Vec<String>,
}

impl ImageCollector {
    pub fn new(host: Arc<Host>) -> Arc<Self> {
        Arc::new(Self { host, records: Mutex::default() })
    }

    /// Until shutdown.
    pub async fn run(&self) {
        let collecting = async {
            let mut failed_before = false;
            loop {
                let info = self.host.info();
                if info.storage_size == 0 {
                    if info.simulated {
                        return;
                    }
                    tokio::time::sleep(UNKNOWN).await;
                    continue;
                }
                let failure = Box::pin(self.collect()).await.err();
                if let Some(error) = &failure {
                    warn!(node = self.host.node.name, error, "cannot remove enough images");
                    // The first time may be for want of an answer.
                    if failed_before {
                        self.tell("ImageGCFailed", error);
                    }
                }
                failed_before = failure.is_some();
                tokio::time::sleep(PERIOD).await;
            }
        };
        self.host.ctx.shutdown.run_until_cancelled(collecting).await;
    }

    /// Removes images while the disk is too full.
    async fn collect(&self) -> Result<(), String> {
        let disk = node::with_disks(&self.host).await.map_err(|error| error.chain())?;
        let Some(amount) = plan::excess(disk.storage_size, disk.storage_used, self.host.node.settings.image_gc) else {
            return self.look(&mut *self.records.lock().await).await.map_err(|error| error.chain());
        };
        let Freed { bytes, errors } = self.free(amount).await.map_err(|error| error.chain())?;
        if !errors.is_empty() {
            let errors = errors.join(", ");
            return Err(format!(
                "wanted to free {amount} bytes, but freed {bytes} bytes space with errors in image deletion: [{errors}]"
            ));
        }
        if bytes < amount {
            let message = format!(
                "Failed to garbage collect required amount of images. Attempted to free {amount} bytes, but only found {bytes} bytes eligible to free."
            );
            self.tell("FreeDiskSpaceFailed", &message);
            return Err(message);
        }
        Ok(())
    }

    /// Removes all images that nobody uses: the host is short of disk.
    pub async fn remove_unused(&self) -> Result<(), RuntimeError> {
        self.free(u64::MAX).await.map(drop)
    }

    /// Brings what is known of the images up to date.
    async fn look(&self, records: &mut Records) -> Result<(), RuntimeError> {
        let images = self.host.runtime.images().await?;
        let wanted = self.wanted(&mut HashMap::new()).await?;
        let seen = images.into_iter().map(|image| {
            // A host is more than a node here: what was built on it no registry has.
            let built_here = image.tags.iter().any(|tag| tag.starts_with("localhost/"));
            let used = image.used || built_here || wanted.contains(&image.id);
            Seen { id: image.id, size: image.size, used }
        });
        records.observe(&seen.collect::<Vec<_>>(), self.host.ctx.clock.now());
        Ok(())
    }

    /// Removes images that nobody uses until that many bytes are free.
    async fn free(&self, amount: u64) -> Result<Freed, RuntimeError> {
        let mut records = self.records.lock().await;
        self.look(&mut records).await?;
        let (mut freed, mut ids) = (Freed { bytes: 0, errors: Vec::new() }, HashMap::new());
        for candidate in records.candidates(self.host.ctx.clock.now()) {
            if freed.bytes >= amount {
                break;
            }
            // A pod may have come meanwhile.
            if self.wanted(&mut ids).await?.contains(&candidate.id) {
                continue;
            }
            match self.host.runtime.remove_image(&candidate.id).await {
                Ok(()) => {
                    info!(node = self.host.node.name, image = candidate.id, "removed an image that nobody uses");
                    records.forget(&candidate.id);
                    freed.bytes = freed.bytes.saturating_add(candidate.size);
                }
                Err(error) => freed.errors.push(error.chain()),
            }
        }
        Ok(freed)
    }

    /// The ids of the images that pods of the host name. `ids` holds what is known of names already.
    async fn wanted(&self, ids: &mut HashMap<String, String>) -> Result<HashSet<String>, RuntimeError> {
        let pods = self.host.pods.on_node(&self.host.node.name);
        let names: HashSet<String> = pods.iter().filter(|pod| !is_terminal(pod)).flat_map(|pod| names(pod)).collect();
        let mut found = HashSet::new();
        for name in names {
            if let Some(id) = ids.get(&name) {
                found.insert(id.clone());
                continue;
            }
            match self.host.runtime.image(&name).await {
                Ok(Some(image)) => {
                    found.insert(image.id.clone());
                    ids.insert(name, image.id);
                }
                // What is no name names no image: one such pod would keep the disk full for all.
                Ok(None) | Err(RuntimeError::Invalid { .. }) => {}
                Err(error) => return Err(error),
            }
        }
        Ok(found)
    }

    fn tell(&self, reason: &str, message: &str) {
        if let Some(node) = self.host.nodes.get("", &self.host.node.name) {
            self.host.events.warning(&*node, reason, message);
        }
    }
}

/// The images that a pod names.
fn names(pod: &Pod) -> Vec<String> {
    let of_start = all_containers(spec(pod)).filter_map(|(_, container)| container.image.clone());
    let added = ephemeral_containers(spec(pod)).filter_map(|container| container.image);
    let mounted = volumes::of(pod).filter_map(|volume| volume.image.as_ref()?.reference.clone());
    of_start.chain(added).chain(mounted).filter(|name| !name.is_empty()).collect()
}
