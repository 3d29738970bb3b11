//! The controllers: each keeps one kind's promise. One file per controller is its shell (watch, read,
//! write); `<name>/plan.rs` decides and is pure.
//!
//! Each reconcile is idempotent and carries only a key; writes have preconditions, so that an
//! outdated view does no harm, and [`freshness`] keeps a controller from acting before it sees its
//! own last writes.

pub mod autoscaler;
pub mod claim;
pub mod cronjob;
pub mod daemonset;
pub mod definitions;
pub mod deployment;
pub mod disruption;
pub mod endpointslice;
pub mod ephemeral_volume;
pub mod failures;
pub mod freshness;
pub mod garbage_collector;
pub mod job;
pub mod kubernetes_service;
pub mod namespace;
pub mod node_lifecycle;
pub mod objects;
mod patience;
pub mod pod_gc;
pub mod pods;
pub mod replicaset;
pub mod resource_quota;
pub mod revisions;
#[cfg(test)]
pub(crate) mod rig;
pub mod root_ca;
pub mod service_account;
mod shell;
pub mod statefulset;
pub mod storage_protection;
pub mod volume_binder;
pub mod write;

use crate::client::{Context, WorkQueue, queue};
use k8s_openapi::api::apps::v1::ReplicaSet;
use std::future::{self, Future};
use std::time::Duration;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

/// Reconciles at work at once, per controller. Most of the time they wait for the disk, and the store makes durable
/// with one sync what came meanwhile: few at once would make thousands of objects take turns.
const WORKERS: usize = 64;

/// What differs between clusters, and between tests and real life.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Timing {
    /// A node that says nothing for this long is taken for unreachable.
    pub node_monitor_grace: Duration,
    /// How long the status of a Deployment may wait in which nothing is new but counts of what has begun.
    pub status_patience: Duration,
}

impl Default for Timing {
    fn default() -> Self {
        Self { node_monitor_grace: Duration::from_secs(40), status_patience: Duration::ZERO }
    }
}

/// Runs all controllers that need nothing but the API, without CronJobs and autoscalers: those go by the clock,
/// and time passes in a plan too. Returns when `ctx.shutdown` is cancelled and work under way is finished.
pub async fn run(ctx: Context, timing: Timing) {
    let mirror = endpointslice::mirror::run(ctx.clone(), 1);
    tokio::join!(endpointslice::run(ctx.clone(), WORKERS), mirror, run_in_copy(ctx, timing, future::ready(())));
}

/// As [`run`], for a cluster in which nobody reads the endpoints of services, and which has nothing for the
/// garbage collector to do before `garbage`.
pub async fn run_in_copy(ctx: Context, timing: Timing, garbage: impl Future<Output = ()> + Send + 'static) {
    let mut running = JoinSet::new();
    let context = ctx.clone();
    running.spawn(async move {
        if context.shutdown.run_until_cancelled(garbage).await.is_some() {
            garbage_collector::run(context, WORKERS).await;
        }
    });
    running.spawn(definitions::run(ctx.clone(), WORKERS));
    running.spawn(namespace::run(ctx.clone(), WORKERS));
    running.spawn(node_lifecycle::run(ctx.clone(), timing, WORKERS));
    running.spawn(pod_gc::run(ctx.clone()));
    running.spawn(service_account::run(ctx.clone(), 1));
    running.spawn(deployment::run(ctx.clone(), timing, WORKERS));
    running.spawn(replicaset::run::<ReplicaSet>(ctx.clone(), WORKERS));
    running.spawn(replicaset::run_replication_controllers(ctx.clone(), WORKERS));
    running.spawn(daemonset::run(ctx.clone(), WORKERS));
    running.spawn(statefulset::run(ctx.clone(), WORKERS));
    running.spawn(job::run(ctx.clone(), WORKERS));
    running.spawn(disruption::run(ctx.clone(), 1));
    running.spawn(resource_quota::run(ctx.clone(), 1));
    running.spawn(ephemeral_volume::run(ctx.clone(), 1));
    running.spawn(volume_binder::run(ctx.clone(), WORKERS));
    running.spawn(storage_protection::run(ctx.clone(), 1));
    while running.join_next().await.is_some() {}
}

/// Lets `work` on `queue` go on until shutdown, then closes the queue and lets the workers finish.
async fn until_shutdown<K: queue::Key>(
    shutdown: &CancellationToken,
    queue: &WorkQueue<K>,
    work: impl Future<Output = ()>,
) {
    let close = async {
        shutdown.cancelled().await;
        queue.shutdown();
    };
    tokio::join!(close, work);
}
