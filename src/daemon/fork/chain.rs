//! Puts a copy of the cluster together, sets it going, applies the change set, waits for rest.

use super::consequences::{self, Run};
use super::garbage::Garbage;
use super::hosts::Hosts;
use super::journal::Journal;
use super::owners::Owners;
use super::rest::rest;
use super::verdicts::{Verdicts, Warnings};
use super::waited::Waited;
use super::{Base, Request, pods, stages};
use crate::api::changeset::{ChangeSetSpec, ChangeSetStatus};
use crate::api::error::ApiError;
use crate::api::plan::{Order, PlanStatus};
use crate::api::registry::Registry;
use crate::apiserver::{ApiServer, Config, User};
use crate::base::{clock::Clock, ids::Ids};
use crate::client::{Context, EventRecorder, Informers, in_process};
use crate::gitops::readiness::Health;
use crate::gitops::sync::{Progress, REPLACED_LIMIT, SyncError, finish_replacements};
use crate::store::memory::Memory;
use crate::store::{Revision, Store, bucket};
use crate::{controllers, scheduler};
use serde_json::Value;
use std::sync::Arc;
use std::time::Duration;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

/// Any number will do, as long as it is always the same.
const SEED: u64 = 1;
/// Reports that may wait to be read.
const REPORTS: usize = 1 << 16;
/// No host is given up in a copy, where none says that it is alive.
const FOREVER: Duration = Duration::from_secs(100 * 365 * 24 * 3600);

/// Longer than most pods take to become ready: what Deployments say of that on the way is a tenth of all
/// writes, and no part of the copy acts on it.
const STATUS_PATIENCE: Duration = Duration::from_secs(5);

/// A copy of a cluster.
pub struct Copy {
    registry: Arc<Registry>,
    store: Arc<Memory>,
    api: Arc<ApiServer>,
    clock: Clock,
    ids: Ids,
    garbage: Garbage,
}

/// Its running parts, and those who look on.
pub struct Running {
    hosts: Hosts,
    verdicts: Verdicts,
    warnings: Warnings,
    /// Ends the parts when it is dropped.
    _shutdown: tokio_util::sync::DropGuard,
}

/// Plans on a copy of `base` that nothing runs on yet. What is set going stays in `running`.
pub async fn plan(
    copy: &Copy,
    base: &Base,
    request: &mut Request,
    stop: &CancellationToken,
    running: &mut Option<Running>,
) -> Result<PlanStatus, ApiError> {
    let Request { spec, order, health } = request;
    // What comes in stages is only tried here: the sync applies it.
    spec.dry_run = order.is_some();
    let busy = is_busy(base);
    if busy {
        // What is under way has nothing to do with the change set: it ends first.
        *running = Some(copy.start_and_rest(base, stop).await?);
        spec.expected_revision = 0;
    }
    let from = copy.store.revision();
    let journal = follow(copy, from)?;
    let mut change = copy.api.change(spec).await?;
    change.results.iter_mut().filter_map(|result| result.after.as_mut()).for_each(forget_ownership);
    let nothing = match order {
        Some(order) => stages::is_nothing(spec, order, &change),
        None => copy.store.revision() == from,
    };
    if !change.applied || nothing {
        return Ok(PlanStatus { change, ..PlanStatus::default() });
    }
    let running = match running {
        Some(running) => running,
        None => running.insert(copy.start(base).await),
    };
    let begun = Instant::now();
    let failed = match order {
        Some(order) => copy.go_through(spec, order, health, stop).await?,
        None => copy.make_again(spec, &change, stop).await?,
    };
    let owners = Owners { registry: &copy.registry, store: copy.store.as_ref(), base };
    let mut waited = Waited::new(&change, &owners, from, health.clone());
    let is_over = || waited.is_over(copy.store.as_ref(), &running.hosts);
    let ended = rest(copy.store.as_ref(), || journal.retries(), stop, is_over).await;
    let consequences = consequences::of(&Run {
        owners: &owners,
        journal: &journal.entries(),
        change: &change,
        hosts: &running.hosts,
        verdicts: &running.verdicts,
        warnings: &running.warnings.all(),
        unready: waited.unready,
        failed,
        busy,
        staged: order.is_some(),
        health,
        rest: ended,
        took: begun.elapsed(),
    });
    Ok(PlanStatus { change, consequences })
}

fn is_busy(base: &Base) -> bool {
    base.bucket(&bucket("", "pods")).any(|record| pods::is_under_way(&record.envelope))
}

/// Whether something is applied to what the copy's controllers have written: then it matters who owns what.
pub fn applies_later(base: &Base, request: &Request) -> bool {
    request.order.is_some() || is_busy(base)
}

/// Most of an object, and of no interest in what will be.
fn forget_ownership(object: &mut Value) {
    object.get_mut("metadata").and_then(Value::as_object_mut).map(|metadata| metadata.remove("managedFields"));
}

fn follow(copy: &Copy, from: Revision) -> Result<Journal, ApiError> {
    Journal::follow(copy.store.as_ref(), from).map_err(ApiError::internal)
}

impl Copy {
    pub fn of(base: &Base, registry: Arc<Registry>, ownership: bool) -> Self {
        let store = Memory::from_snapshot(base.revision, base.records.clone());
        let garbage = Garbage::watch(&store, &base.records);
        let (clock, ids) = (Clock::virtual_from(base.now), Ids::seeded(SEED));
        let mut config = Config::new(store.clone(), registry.clone());
        (config.clock, config.ids, config.settled) = (clock.clone(), ids.clone(), base.settled.clone());
        config.ownership = ownership;
        Self { registry, store, api: ApiServer::new(config), clock, ids, garbage }
    }

    async fn start(&self, base: &Base) -> Running {
        let shutdown = CancellationToken::new();
        let client = in_process(&self.api, User::master("system:selkie"));
        let (ids, stop) = (self.ids.clone(), shutdown.child_token());
        let informers = match &base.informers {
            Some(known) => Informers::in_copy(client.clone(), ids, stop, base.origin(known)),
            None => Informers::with(client.clone(), ids, stop),
        };
        let (events, reports) = EventRecorder::collecting(REPORTS);
        let warnings = Warnings::collect(reports);
        let (clock, ids) = (self.clock.clone(), self.ids.clone());
        let ctx = Context { client, informers, clock, ids, events, shutdown: shutdown.clone() };
        let hosts = Hosts::start(&ctx, base).await;
        let verdicts = Verdicts::default();
        let timing = controllers::Timing { node_monitor_grace: FOREVER, status_patience: STATUS_PATIENCE };
        tokio::spawn(controllers::run_in_copy(ctx.clone(), timing, self.garbage.clone().appears()));
        tokio::spawn(scheduler::run_observed(ctx, verdicts.observer()));
        Running { hosts, verdicts, warnings, _shutdown: shutdown.drop_guard() }
    }

    /// Starts, and lets everything that is under way end.
    async fn start_and_rest(&self, base: &Base, stop: &CancellationToken) -> Result<Running, ApiError> {
        let running = self.start(base).await;
        let journal = follow(self, self.store.revision())?;
        rest(self.store.as_ref(), || journal.retries(), stop, || true).await;
        running.warnings.forget();
        running.hosts.forget_pulls();
        Ok(running)
    }

    /// Applies the change set stage by stage; what ended that before the last one.
    async fn go_through(
        &self,
        spec: &ChangeSetSpec,
        order: &Order,
        health: &Health,
        stop: &CancellationToken,
    ) -> Result<Vec<Progress>, ApiError> {
        let client = in_process(&self.api, User::master("system:selkie"));
        let sync = stages::go_through(&client, &self.registry, spec, order, health);
        // Told to stop, it ends as the rest does then.
        Ok(stop.run_until_cancelled(sync).await.transpose()?.unwrap_or_default())
    }

    /// Makes again what had to end first, when it has; what has not ended.
    async fn make_again(
        &self,
        spec: &ChangeSetSpec,
        change: &ChangeSetStatus,
        stop: &CancellationToken,
    ) -> Result<Vec<Progress>, ApiError> {
        let client = in_process(&self.api, User::master("system:selkie"));
        let mut status = change.clone();
        let made = finish_replacements(&client, &*self.registry, spec, &mut status, REPLACED_LIMIT);
        match stop.run_until_cancelled(made).await {
            Some(Err(SyncError::ReplacedStays { object, why, .. })) => {
                Ok(vec![Progress { id: *object, message: format!("it does not end: {why}") }])
            }
            Some(Err(error)) => Err(ApiError::new(409, "Conflict", error.lines().join("; "))),
            Some(Ok(())) | None => Ok(refused(&status)),
        }
    }
}

/// What could not be made again.
fn refused(status: &ChangeSetStatus) -> Vec<Progress> {
    let failed = status.results.iter().filter_map(|result| Some((result, result.error.as_ref()?)));
    failed.map(|(result, error)| Progress { id: result.id.clone(), message: error.message.clone() }).collect()
}
