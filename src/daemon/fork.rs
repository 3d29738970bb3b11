//! Looks ahead: runs the real API server, controllers, scheduler and kubelets on a copy of the
//! cluster, under virtual time, and tells what they did.
//!
//! ```text
//!   store --snapshot--> memory store --> API server <-- change set
//!                                            |
//!                 controllers, scheduler, hollow kubelets, all on one thread with a paused clock
//!                                            |
//!                    rest: nothing moves --> consequences (pure, from the journal of the pods)
//! ```
//!
//! No rule of any component is written down here a second time. A copy shares the records of the
//! store it comes from, and what the cluster's informers have parsed of them, and never writes to
//! it; its clock, ids and randomness are its own, so that the same cluster and the same change set
//! give the same plan.
//!
//! Not part of the copy: heartbeats (nothing happens to hosts meanwhile), stored events (they are read
//! as they are reported), endpoints of services (no part of the copy reads them, and writing them would
//! be a quarter of all writes), and what applications do by themselves.

mod chain;
mod claims;
mod consequences;
mod garbage;
mod hosts;
mod journal;
pub mod offline;
mod owners;
mod pods;
mod problems;
mod references;
mod rest;
mod stages;
mod verdicts;
mod waited;

#[cfg(test)]
mod tests;

use crate::api::changeset::ChangeSetSpec;
use crate::api::error::ApiError;
use crate::api::plan::{Order, PlanStatus};
use crate::api::registry::Registry;
use crate::apiserver::{Planner, Settled};
use crate::base::clock::Clock;
use crate::client::{Extent, Informers, Origin};
use crate::gitops::readiness::{Health, HealthCheck};
use crate::store::{Record, Revision, Store, bucket_of};
use async_trait::async_trait;
use chain::Copy;
use jiff::Timestamp;
use serde_json::Value;
use std::collections::HashMap;
use std::sync::mpsc::{RecvTimeoutError, channel};
use std::sync::{Arc, OnceLock, Weak};
use std::time::Duration;
use tokio::sync::{Semaphore, oneshot};
use tokio_util::sync::CancellationToken;
use tracing::subscriber::NoSubscriber;

/// Plans made at once; more wait, so that a daemon keeps running what it runs.
const AT_ONCE: usize = 2;
/// How long a plan may take. What was seen until then is told.
const PATIENCE: Duration = Duration::from_secs(120);

/// The cluster at one moment.
#[derive(Clone)]
pub struct Base {
    pub revision: Revision,
    /// In key order.
    pub records: Vec<Arc<Record>>,
    pub now: Timestamp,
    pub settled: Settled,
    /// What the cluster's components read by.
    pub informers: Option<Arc<Informers>>,
}

impl Base {
    pub fn of(store: &dyn Store, clock: &Clock) -> Self {
        let (revision, mut records) = store.snapshot();
        records.sort_unstable_by(|a, b| a.key.cmp(&b.key));
        Self { revision, records, now: clock.now(), settled: Settled::default(), informers: None }
    }

    pub fn get(&self, key: &str) -> Option<&Arc<Record>> {
        let at = self.records.binary_search_by(|record| (*record.key).cmp(key)).ok()?;
        self.records.get(at)
    }

    /// What a copy's informers may begin with.
    fn origin(&self, informers: &Arc<Informers>) -> Origin {
        let mut extents: HashMap<String, Extent> = HashMap::new();
        for of_a_kind in self.records.chunk_by(|a, b| bucket_of(&a.key) == bucket_of(&b.key)) {
            let newest = of_a_kind.iter().map(|record| record.modified).max().unwrap_or(0);
            let bucket = of_a_kind.first().map_or("", |record| bucket_of(&record.key));
            extents.insert(bucket.trim_matches('/').to_owned(), Extent { count: of_a_kind.len(), newest });
        }
        Origin { informers: informers.clone(), until: self.revision, extents }
    }

    /// The records of one kind.
    pub fn bucket(&self, bucket: &str) -> impl Iterator<Item = &Arc<Record>> {
        let from = self.records.partition_point(|record| &*record.key < bucket);
        self.records[from..].iter().take_while(move |record| record.key.starts_with(bucket))
    }
}

/// What to look ahead for.
pub struct Request {
    pub spec: ChangeSetSpec,
    /// `None`: everything comes at once.
    pub order: Option<Order>,
    /// How readiness is judged.
    pub health: Health,
}

/// Plans for a store.
pub struct Forks {
    store: Arc<dyn Store>,
    registry: Arc<Registry>,
    clock: Clock,
    settled: Settled,
    /// Not kept alive: they hold the API server, which holds this.
    informers: OnceLock<Weak<Informers>>,
    turns: Semaphore,
}

impl Forks {
    /// `settled` is what the API server over the same store knows.
    pub fn new(store: Arc<dyn Store>, registry: Arc<Registry>, clock: Clock, settled: Settled) -> Arc<Self> {
        Arc::new(Self { store, registry, clock, settled, informers: OnceLock::new(), turns: Semaphore::new(AT_ONCE) })
    }

    /// Copies need not parse again what these informers over the same store hold. The first call counts.
    pub fn share(&self, informers: &Arc<Informers>) {
        let _ = self.informers.set(Arc::downgrade(informers));
    }
}

#[async_trait]
impl Planner for Forks {
    async fn plan(
        &self,
        spec: ChangeSetSpec,
        order: Option<Order>,
        health_checks: Vec<Value>,
    ) -> Result<PlanStatus, ApiError> {
        let checks: Result<Vec<HealthCheck>, _> = health_checks.into_iter().map(serde_json::from_value).collect();
        let checks = checks.map_err(|error| ApiError::bad_request(format!("healthChecks: {error}")))?;
        let request = Request { spec, order, health: Health::in_a_copy(&checks) };
        let _turn = self.turns.acquire().await.map_err(ApiError::internal)?;
        let mut base = Base::of(self.store.as_ref(), &self.clock);
        base.settled = self.settled.copied_at(base.revision);
        base.informers = self.informers.get().and_then(Weak::upgrade);
        let registry = Arc::new(self.registry.fork());
        // Dropped with this future: whoever asked may have gone.
        let stop = CancellationToken::new();
        let _asked = stop.clone().drop_guard();
        let (send, answer) = oneshot::channel();
        let tell = |plan| drop(send.send(plan));
        let work = move || run(&base, registry, request, &stop, tell);
        std::thread::Builder::new().name("selkie-plan".into()).spawn(work).map_err(ApiError::internal)?;
        answer.await.map_err(|_| ApiError::internal("the plan broke down"))?
    }
}

/// Makes one plan, on this thread; `stop` ends it early, with what was seen until then. Told before the copy and
/// the request are taken down: that takes a while, and nobody need wait for it.
pub fn run(
    base: &Base,
    registry: Arc<Registry>,
    mut request: Request,
    stop: &CancellationToken,
    tell: impl FnOnce(Result<PlanStatus, ApiError>),
) {
    // What goes wrong in a copy is told in the plan, and must not look like trouble of the cluster.
    let _silent = tracing::subscriber::set_default(NoSubscriber::default());
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build();
    let runtime = match runtime {
        Ok(runtime) => runtime,
        Err(error) => return tell(Err(ApiError::internal(error))),
    };
    let (done, ended) = channel::<()>();
    let token = stop.clone();
    // Virtual time cannot end what keeps busy without waiting.
    let watchdog = std::thread::spawn(move || {
        if ended.recv_timeout(PATIENCE) == Err(RecvTimeoutError::Timeout) {
            token.cancel();
        }
    });
    let copy = runtime.block_on(async { Copy::of(base, registry, chain::applies_later(base, &request)) });
    let mut running = None;
    tell(runtime.block_on(chain::plan(&copy, base, &mut request, stop, &mut running)));
    drop(done);
    drop(watchdog);
}
