//! Notices hosts that went silent, says so in their conditions and taints, and drives pods off them.
//!
//! A node is heard of when its lease is renewed or its status written; after the grace its conditions
//! turn Unknown. What was heard when is measured on our own clock, so that hosts' clocks do not matter,
//! and starts anew with the process: a restart never condemns a node.

pub mod plan;

use super::{Timing, pods, write};
use crate::base::clock::Clock;
use crate::client::{Change, Context, EventRecorder, Informer, WorkQueue, raw, run_workers};
use jiff::Timestamp;
use k8s_openapi::api::coordination::v1::Lease;
use k8s_openapi::api::core::v1::{Node, Pod, PodCondition, Taint};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use kube::ResourceExt;
use parking_lot::Mutex;
use plan::{Eviction, Health};
use serde_json::json;
use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;
use tokio::time::Instant;
use tracing::info;

const LEASES: &str = "kube-node-lease";
/// Nodes that fail together are judged together.
const GATHER: Duration = Duration::from_millis(100);

#[derive(Debug, thiserror::Error)]
enum SyncError {
    #[error("node {node} could not be updated")]
    Node { node: String, source: kube::Error },
    #[error("pod {pod} on node {node} could not be {done}")]
    Pod { pod: String, node: String, done: &'static str, source: kube::Error },
}

#[derive(Debug, Clone, PartialEq, Eq, Hash)]
enum Key {
    Node(Arc<str>),
    /// Look at the zones as a whole.
    Zones,
}

/// The last signs of life of a node, and when one came.
struct Heard {
    lease: Option<Timestamp>,
    status: Option<Timestamp>,
    at: Instant,
    /// When taints without a time of their own were first seen.
    tainted: Option<Timestamp>,
}

#[derive(Clone, Default)]
struct Ear(Arc<Mutex<HashMap<Arc<str>, Heard>>>);

impl Ear {
    /// Takes note of the times a node wrote last; only a change is a sign of life.
    fn hear(&self, node: &str, lease: Option<Timestamp>, status: Option<Timestamp>) {
        let mut all = self.0.lock();
        let fresh = || Heard { lease: None, status: None, at: Instant::now(), tainted: None };
        let heard = all.entry(node.into()).or_insert_with(fresh);
        for (known, told) in [(&mut heard.lease, lease), (&mut heard.status, status)] {
            if told.is_some() && *known != told {
                *known = told;
                heard.at = Instant::now();
            }
        }
    }

    /// For how long the node has been silent; 0 if it is not known.
    fn silence(&self, node: &str) -> Duration {
        self.0.lock().get(node).map_or(Duration::ZERO, |heard| heard.at.elapsed())
    }
}

struct Controller {
    client: kube::Client,
    nodes: Informer<Node>,
    pods: Informer<Pod>,
    events: EventRecorder,
    clock: Clock,
    grace: Duration,
    ear: Ear,
    /// When a node of the zone was last given up.
    given_up: Mutex<HashMap<String, Instant>>,
    stopped: Mutex<bool>,
    queue: WorkQueue<Key>,
}

/// Runs until shutdown.
pub async fn run(ctx: Context, timing: Timing, workers: usize) {
    let queue = WorkQueue::new();
    let controller = Arc::new(Controller {
        client: ctx.client.clone(),
        nodes: ctx.informers.of(),
        pods: ctx.informers.of(),
        events: ctx.events.component("node-controller", None),
        clock: ctx.clock.clone(),
        grace: timing.node_monitor_grace,
        ear: Ear::default(),
        given_up: Mutex::default(),
        stopped: Mutex::default(),
        queue: queue.clone(),
    });
    controller.pods.synced().await;
    controller.subscribe();
    controller.listen(&ctx.informers.of());
    controller.nodes.synced().await;
    let work = run_workers(queue.clone(), workers, move |key| {
        let controller = controller.clone();
        async move {
            match key {
                Key::Node(name) => controller.sync(&name).await,
                Key::Zones => Ok(controller.judge()),
            }
        }
    });
    super::until_shutdown(&ctx.shutdown, &queue, work).await;
}

impl Controller {
    fn subscribe(&self) {
        let (to, ear) = (self.queue.clone(), self.ear.clone());
        self.nodes.subscribe(Box::new(move |change| {
            let ready = plan::condition(change.object(), "Ready");
            let status = ready.and_then(|ready| Some(ready.last_heartbeat_time.as_ref()?.0));
            ear.hear(&change.object().name_any(), None, status);
            to.add(Key::Node(change.object().name_any().into()));
            to.add_after(Key::Zones, GATHER);
        }));
        let (to, nodes) = (self.queue.clone(), self.nodes.clone());
        self.pods.subscribe(Box::new(move |change| {
            let arrived = match change {
                Change::Added(_) => true,
                Change::Updated { old, new } => pods::node(old) != pods::node(new),
                Change::Deleted(_) => false,
            };
            let node = pods::node(change.object()).filter(|_| arrived);
            if let Some(name) = node
                && nodes.get("", name).is_some_and(|node| evicting(&node).next().is_some())
            {
                to.add(Key::Node(name.into()));
            }
        }));
    }

    fn listen(&self, leases: &Informer<Lease>) {
        let ear = self.ear.clone();
        leases.subscribe(Box::new(move |change| {
            let lease = change.object();
            if !matches!(change, Change::Deleted(_)) && lease.metadata.namespace.as_deref() == Some(LEASES) {
                let renewed = lease.spec.as_ref().and_then(|spec| Some(spec.renew_time.as_ref()?.0));
                ear.hear(&lease.name_any(), renewed, None);
            }
        }));
    }

    async fn sync(&self, name: &Arc<str>) -> Result<Option<Duration>, SyncError> {
        let Some(node) = self.nodes.get("", name) else {
            self.ear.0.lock().remove(name);
            return Ok(None);
        };
        let silence = self.ear.silence(name);
        let health = plan::health(&node, silence >= self.grace);
        if health == Health::Unreachable {
            self.unsettle_pods(&node).await?;
            let status = plan::silenced(&node, self.clock.now_seconds());
            if let Some(change) = write::status_difference(node.status.as_ref(), &status) {
                info!(node = %name, silent = ?silence, "the node went silent");
                self.events.normal(&*node, "NodeNotReady", format!("Node {name} status is now: NodeNotReady"));
                // The change brings us here again.
                return self.write(&node, "/status", change).await.map(|()| None);
            }
        }
        let (evict, wait) = self.may_evict(&node, health);
        let taints = plan::taints(&node, health, evict, self.clock.now_seconds());
        let known = node.spec.as_ref().and_then(|spec| spec.taints.clone()).unwrap_or_default();
        if taints != known {
            self.write(&node, "", json!({ "spec": { "taints": taints } })).await?;
            return Ok(None);
        }
        let next = self.drive_off(&node, &taints).await?;
        let expiry = (health != Health::Unreachable).then(|| self.grace.saturating_sub(silence));
        let again = [next, wait, expiry].into_iter().flatten().min();
        Ok(again.map(|again| again.max(Duration::from_millis(1))))
    }

    async fn write(&self, node: &Node, subresource: &str, change: serde_json::Value) -> Result<(), SyncError> {
        match write::patch(&self.client, node, subresource, change).await {
            Err(error) if raw::is_not_found(&error) => Ok(()),
            outcome => outcome.map(drop).map_err(|source| SyncError::Node { node: node.name_any(), source }),
        }
    }

    /// Whether the node's pods may be driven off for its health, or how long that has to wait.
    fn may_evict(&self, node: &Node, health: Health) -> (bool, Option<Duration>) {
        if !matches!(health, Health::NotReady | Health::Unreachable) {
            return (false, None);
        }
        let zone = plan::zone(node);
        let under_way = evicting(node).any(plan::is_eviction);
        match plan::eviction(&self.disruptions(), &zone) {
            Eviction::Stopped => (false, None),
            Eviction::Paused => (under_way, None),
            Eviction::Paced(_) if under_way => (true, None),
            Eviction::Paced(pace) => {
                let mut given_up = self.given_up.lock();
                let since = given_up.get(&zone).map(Instant::elapsed);
                match since.filter(|since| *since < pace) {
                    Some(since) => (false, Some(pace - since)),
                    None => {
                        given_up.insert(zone, Instant::now());
                        (true, None)
                    }
                }
            }
        }
    }

    fn disruptions(&self) -> std::collections::BTreeMap<String, plan::Disruption> {
        let nodes = self.nodes.list();
        plan::disruptions(nodes.iter().map(|node| {
            let expired = self.ear.silence(&node.name_any()) >= self.grace;
            (plan::zone(node), plan::health(node, expired))
        }))
    }

    /// When all hosts are lost, or no longer are, every node has to be looked at.
    fn judge(&self) -> Option<Duration> {
        let zones = self.disruptions();
        let stopped = !zones.is_empty() && zones.keys().all(|zone| plan::eviction(&zones, zone) == Eviction::Stopped);
        let was = std::mem::replace(&mut *self.stopped.lock(), stopped);
        if was && !stopped {
            // It may be us who were cut off: the others get their time to be heard again.
            self.ear.0.lock().values_mut().for_each(|heard| heard.at = Instant::now());
        }
        if was != stopped || zones.values().any(|disruption| *disruption != plan::Disruption::None) {
            let sick = |node: &Arc<Node>| was != stopped || plan::health(node, false) != Health::Ready;
            for node in self.nodes.list().into_iter().filter(sick) {
                self.queue.add(Key::Node(node.name_any().into()));
            }
        }
        None
    }

    /// Pods whose kubelet is silent are not ready, whatever they said last.
    async fn unsettle_pods(&self, node: &Node) -> Result<(), SyncError> {
        for pod in self.pods.on_node(&node.name_any()).iter().filter(|pod| pods::is_ready(pod)) {
            let mut conditions = pod.status.as_ref().and_then(|status| status.conditions.clone()).unwrap_or_default();
            for condition in conditions.iter_mut().filter(|condition| condition.type_ == "Ready") {
                condition.status = "False".into();
                condition.last_transition_time = Some(Time(self.clock.now_seconds()));
            }
            self.patch_pod(node, pod, &conditions, "marked as not ready").await?;
            self.events.warning(&**pod, "NodeNotReady", "Node is not ready");
        }
        Ok(())
    }

    async fn patch_pod(
        &self,
        node: &Node,
        pod: &Pod,
        conditions: &[PodCondition],
        done: &'static str,
    ) -> Result<(), SyncError> {
        let change = json!({ "status": { "conditions": conditions } });
        match write::patch(&self.client, pod, "/status", change).await {
            Err(error) if raw::is_not_found(&error) => Ok(()),
            outcome => outcome.map(drop).map_err(|source| failed(node, pod, done, source)),
        }
    }

    /// Deletes pods that do not tolerate the node's taints any longer; returns when the next one is due.
    async fn drive_off(&self, node: &Node, taints: &[Taint]) -> Result<Option<Duration>, SyncError> {
        let now = self.clock.now();
        let first_seen = {
            let mut heard = self.ear.0.lock();
            let known = heard.get_mut(&*node.name_any());
            match evicting(node).next() {
                Some(_) => known.map_or(now, |known| *known.tainted.get_or_insert(now)),
                None => {
                    known.into_iter().for_each(|known| known.tainted = None);
                    return Ok(None);
                }
            }
        };
        let mut next = None;
        for pod in self.pods.on_node(&node.name_any()).iter().filter(|pod| !pods::is_terminating(pod)) {
            let Some(due) = plan::due(pod, taints, first_seen) else { continue };
            if due <= now {
                self.evict(node, pod).await?;
            } else {
                let wait = due.duration_since(now).unsigned_abs();
                next = Some(next.map_or(wait, |known: Duration| known.min(wait)));
            }
        }
        Ok(next)
    }

    async fn evict(&self, node: &Node, pod: &Pod) -> Result<(), SyncError> {
        let mut conditions = pod.status.as_ref().and_then(|status| status.conditions.clone()).unwrap_or_default();
        if !conditions.iter().any(|condition| condition.type_ == "DisruptionTarget") {
            conditions.push(PodCondition {
                type_: "DisruptionTarget".into(),
                status: "True".into(),
                reason: Some("DeletionByTaintManager".into()),
                message: Some("Taint manager: deleting due to NoExecute taint".into()),
                last_transition_time: Some(Time(self.clock.now_seconds())),
                ..PodCondition::default()
            });
            self.patch_pod(node, pod, &conditions, "marked for eviction").await?;
        }
        let namespace = pod.metadata.namespace.as_deref().unwrap_or_default();
        let message = format!("Marking for deletion Pod {namespace}/{}", pods::name(pod));
        self.events.component("taint-eviction-controller", None).normal(pod, "TaintManagerEviction", message);
        write::delete(&self.client, pod).await.map_err(|source| failed(node, pod, "evicted", source))
    }
}

fn failed(node: &Node, pod: &Pod, done: &'static str, source: kube::Error) -> SyncError {
    SyncError::Pod { pod: pods::name(pod).into(), node: node.name_any(), done, source }
}

/// The node's taints that drive pods off.
fn evicting(node: &Node) -> impl Iterator<Item = &Taint> {
    let taints = node.spec.as_ref().and_then(|spec| spec.taints.as_ref());
    taints.into_iter().flatten().filter(|taint| taint.effect == "NoExecute")
}

#[cfg(test)]
mod tests;
