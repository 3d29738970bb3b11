//! The Kubernetes API over one store: HTTP, authentication, admission, verbs, patches, watches.
//!
//! The only writer of the store. Callers reach it over HTTPS ([`ApiServer::serve`]) or in-process
//! ([`ApiServer::service`]); both go through [`ApiServer::handle`].

mod admission;
pub mod auth;
mod definitions;
mod expiry;
mod git;
mod http;
mod last_writes;
pub mod patch;
mod plans;
mod resources;
mod settled;
mod streams;
pub mod usage;
mod verdicts;
mod webhooks;

pub use admission::services::Cidr;
pub use auth::{Tokens, User};
pub use expiry::Kept;
pub use git::{GitRequest, GitServer, GitService, NoGit};
pub use http::body::Body;
pub use http::query::Query;
pub use plans::{NoPlanner, Planner};
pub use resources::object::extract;
pub use settled::Settled;
pub use streams::{
    Connection, ExecOptions, ExecOutput, ExecSession, HostLog, LogOptions, LogStream, NoStreams, PodStreams,
};
pub use usage::Usage;
pub use verdicts::Verdicts;
pub use webhooks::{Delivery, NoWebhooks, Verdict, Webhooks};

use crate::api::registry::Registry;
use crate::base::clock::Clock;
use crate::base::ids::Ids;
use crate::store::Store;
use crate::telemetry::Metrics;
use auth::accounts::AccountKeys;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

/// The version this server speaks, as `/version` reports it.
pub const KUBERNETES_VERSION: &str = "v1.36.0";

/// What a server is made of.
pub struct Config {
    pub store: Arc<dyn Store>,
    pub registry: Arc<Registry>,
    pub clock: Clock,
    pub ids: Ids,
    /// Reaches the kubelets for logs and exec.
    pub streams: Arc<dyn PodStreams>,
    /// Looks ahead.
    pub planner: Arc<dyn Planner>,
    /// What the scheduler says, for those who ask why.
    pub verdicts: Arc<Verdicts>,
    /// What the kubelets read of hosts and containers.
    pub usage: Arc<Usage>,
    /// Acts on webhooks.
    pub webhooks: Arc<dyn Webhooks>,
    /// Serves the repositories of applications.
    pub git: Arc<dyn GitServer>,
    /// Who comes in with which bearer token.
    pub tokens: Tokens,
    /// Signs and checks the tokens of service accounts; without it there are none.
    pub account_keys: Option<Arc<AccountKeys>>,
    /// Where services' cluster IPs are taken from.
    pub service_cidr: Cidr,
    pub metrics: Metrics,
    /// Applies known to change nothing.
    pub settled: Settled,
    /// Whether writes other than apply keep `metadata.managedFields`. Only applies read them: where none is to
    /// come, they are a tenth of the price of every write.
    pub ownership: bool,
}

impl Config {
    /// Default ranges, no tokens, no kubelets, the machine's clock.
    pub fn new(store: Arc<dyn Store>, registry: Arc<Registry>) -> Self {
        Self {
            store,
            registry,
            clock: Clock::System,
            ids: Ids::random(),
            streams: Arc::new(NoStreams),
            planner: Arc::new(NoPlanner),
            verdicts: Arc::default(),
            usage: Arc::default(),
            webhooks: Arc::new(NoWebhooks),
            git: Arc::new(NoGit),
            tokens: Tokens::default(),
            account_keys: None,
            service_cidr: Cidr::default(),
            metrics: Metrics::default(),
            settled: Settled::default(),
            ownership: true,
        }
    }

    /// Over an empty store in memory with all built-in kinds: for simulations and tests.
    pub fn in_memory(clock: Clock, ids: Ids) -> Self {
        Self { clock, ids, ..Self::new(crate::store::memory::Memory::new(), Arc::new(Registry::builtin())) }
    }
}

/// The API server. Shared by every connection and in-process client.
pub struct ApiServer {
    pub(crate) store: Arc<dyn Store>,
    pub(crate) registry: Arc<Registry>,
    pub(crate) clock: Clock,
    pub(crate) ids: Ids,
    streams: Arc<dyn PodStreams>,
    planner: Arc<dyn Planner>,
    verdicts: Arc<Verdicts>,
    usage: Arc<Usage>,
    webhooks: Arc<dyn Webhooks>,
    git: Arc<dyn GitServer>,
    tokens: Tokens,
    account_keys: Option<Arc<AccountKeys>>,
    service_cidr: Cidr,
    metrics: Metrics,
    definitions: definitions::Definitions,
    last_writes: last_writes::LastWrites,
    settled: Settled,
    ownership: bool,
    /// Held while a write hands out service addresses.
    allocation: tokio::sync::Mutex<()>,
    draining: AtomicBool,
}

impl ApiServer {
    pub fn new(config: Config) -> Arc<Self> {
        let definitions = definitions::Definitions::default();
        definitions.settle(config.store.as_ref(), &config.registry);
        Arc::new(Self {
            definitions,
            last_writes: last_writes::LastWrites::default(),
            draining: AtomicBool::new(false),
            store: config.store,
            registry: config.registry,
            clock: config.clock,
            ids: config.ids,
            streams: config.streams,
            planner: config.planner,
            verdicts: config.verdicts,
            usage: config.usage,
            webhooks: config.webhooks,
            git: config.git,
            tokens: config.tokens,
            account_keys: config.account_keys,
            service_cidr: config.service_cidr,
            metrics: config.metrics,
            settled: config.settled,
            ownership: config.ownership,
            allocation: tokio::sync::Mutex::default(),
        })
    }

    /// The server is ready while its store takes writes.
    fn is_ready(&self) -> bool {
        !self.draining.load(Ordering::Relaxed)
    }

    /// Makes `/readyz` fail from now on, so that nobody new comes while the server shuts down.
    pub fn drain(&self) {
        self.draining.store(true, Ordering::Relaxed);
    }

    /// What this server counts, rendered at `/metrics`.
    pub fn metrics(&self) -> &Metrics {
        &self.metrics
    }
}

#[cfg(test)]
mod tests;
