//! Removes pods that no kubelet will ever finish, and the oldest of too many that have ended.

pub mod plan;

use super::{pods, write};
use crate::base::clock::Clock;
use crate::client::{Change, Context, Informer, WorkQueue, raw, run_workers};
use http::Method;
use k8s_openapi::api::core::v1::{Node, Pod};
use kube::ResourceExt;
use plan::Cause;
use serde_json::json;
use std::sync::Arc;
use std::time::Duration;
use tracing::info;

/// A node may be registered anew; its pods run on meanwhile.
const QUARANTINE: Duration = Duration::from_secs(40);
/// Ended pods are counted this long after the last one ended.
const COUNT_AFTER: Duration = Duration::from_secs(20);

#[derive(Debug, thiserror::Error)]
enum SyncError {
    #[error("whether node {node} exists could not be read")]
    Node { node: String, source: kube::Error },
    #[error("pod {pod} could not be removed")]
    Pod { pod: String, source: kube::Error },
}

#[derive(Debug, Clone, PartialEq, Eq, Hash)]
enum Key {
    /// The pods bound to a node.
    Node(Arc<str>),
    /// The pods that have ended.
    Ended,
}

struct Controller {
    client: kube::Client,
    nodes: Informer<Node>,
    pods: Informer<Pod>,
    clock: Clock,
    threshold: usize,
}

/// Runs until shutdown.
pub async fn run(ctx: Context) {
    keep(ctx, plan::ENDED_PODS).await;
}

async fn keep(ctx: Context, threshold: usize) {
    let queue = WorkQueue::new();
    let controller = Arc::new(Controller {
        client: ctx.client.clone(),
        nodes: ctx.informers.of(),
        pods: ctx.informers.of(),
        clock: ctx.clock.clone(),
        threshold,
    });
    controller.nodes.synced().await;
    controller.subscribe(&queue);
    controller.pods.synced().await;
    let work = run_workers(queue.clone(), 1, move |key| {
        let controller = controller.clone();
        async move {
            match key {
                Key::Node(name) => controller.sync_node(&name).await,
                Key::Ended => controller.sync_ended().await,
            }
        }
    });
    super::until_shutdown(&ctx.shutdown, &queue, work).await;
}

impl Controller {
    fn subscribe(&self, queue: &WorkQueue<Key>) {
        let to = queue.clone();
        self.nodes.subscribe(Box::new(move |change| {
            let node = change.object();
            match change {
                Change::Deleted(_) => to.add_after(Key::Node(node.name_any().into()), QUARANTINE),
                _ if plan::is_out_of_service(node) => to.add(Key::Node(node.name_any().into())),
                _ => {}
            }
        }));
        let (to, nodes) = (queue.clone(), self.nodes.clone());
        self.pods.subscribe(Box::new(move |change| {
            let pod = change.object();
            if pods::is_finished(pod) {
                to.add_after(Key::Ended, COUNT_AFTER);
            }
            let Some(name) = pods::node(pod).filter(|_| !matches!(change, Change::Deleted(_))) else { return };
            match nodes.get("", name) {
                None => to.add_after(Key::Node(name.into()), QUARANTINE),
                Some(node) if pods::is_terminating(pod) && plan::is_out_of_service(&node) => {
                    to.add(Key::Node(name.into()));
                }
                Some(_) => {}
            }
        }));
    }

    async fn sync_node(&self, name: &str) -> Result<Option<Duration>, SyncError> {
        let node = self.nodes.get("", name);
        if node.is_none() && self.exists(name).await? {
            return Ok(None);
        }
        let bound = self.pods.on_node(name);
        let (cause, doomed): (_, Vec<_>) = match node {
            None => (Cause::NodeGone, bound),
            Some(node) if plan::is_out_of_service(&node) => {
                (Cause::OutOfService, bound.into_iter().filter(|pod| pods::is_terminating(pod)).collect())
            }
            Some(_) => return Ok(None),
        };
        for pod in &doomed {
            self.remove(pod, cause).await?;
        }
        Ok(None)
    }

    /// Asks the API server: our view may be behind.
    async fn exists(&self, name: &str) -> Result<bool, SyncError> {
        match raw::request(&self.client, Method::GET, &format!("/api/v1/nodes/{name}"), None).await {
            Ok(_) => Ok(true),
            Err(error) if raw::is_not_found(&error) => Ok(false),
            Err(source) => Err(SyncError::Node { node: name.into(), source }),
        }
    }

    async fn sync_ended(&self) -> Result<Option<Duration>, SyncError> {
        for pod in plan::surplus(self.pods.list(), self.threshold) {
            self.remove(&pod, Cause::TooMany).await?;
        }
        Ok(None)
    }

    async fn remove(&self, pod: &Pod, cause: Cause) -> Result<(), SyncError> {
        let failed = |source| SyncError::Pod { pod: pods::name(pod).into(), source };
        info!(pod = pods::name(pod), node = pods::node(pod), ?cause, "removing a pod that nobody will finish");
        if let Some(status) = plan::last_status(pod, cause, self.clock.now_seconds()) {
            match write::patch(&self.client, pod, "/status", json!({ "status": status })).await {
                Err(error) if raw::is_not_found(&error) => return Ok(()),
                outcome => drop(outcome.map_err(failed)?),
            }
        }
        write::delete_now(&self.client, pod).await.map_err(failed)
    }
}

#[cfg(test)]
mod tests;
