//! How everything above the API server reaches it: clients, shared informers, work queues, events.
//!
//! A component takes one [`Context`] and needs nothing else, so that the same component runs in the
//! daemon (in-process client), as an agent (HTTPS) and in a simulation (paused clock, seeded ids).

pub mod events;
pub mod informer;
pub mod queue;
pub mod raw;

pub use events::EventRecorder;
pub use informer::{Change, Extent, Informer, Informers, Kind, ObjectKey, Origin, label};
pub use queue::{WorkQueue, run_workers};

use crate::apiserver::{ApiServer, User};
use crate::base::{clock::Clock, ids::Ids};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use tokio_util::sync::CancellationToken;

/// What a component needs to take part in the cluster. Cheap to clone.
#[derive(Clone)]
pub struct Context {
    pub client: kube::Client,
    pub informers: Arc<Informers>,
    pub clock: Clock,
    pub ids: Ids,
    pub events: EventRecorder,
    /// Cancelled when the component must stop.
    pub shutdown: CancellationToken,
}

impl Context {
    /// Informers and event writers end with `shutdown`. Must be called within a tokio runtime.
    pub fn new(client: kube::Client, clock: Clock, ids: Ids, shutdown: CancellationToken) -> Self {
        let informers = Informers::with(client.clone(), ids.clone(), shutdown.child_token());
        let events = EventRecorder::new(client.clone(), clock.clone(), shutdown.child_token());
        Self { client, informers, clock, ids, events, shutdown }
    }
}

/// A client of the API server in this process, acting as `user`. Must be called within a tokio runtime.
pub fn in_process(server: &Arc<ApiServer>, user: User) -> kube::Client {
    kube::Client::new(server.service(user), "default")
}

/// Why a kubeconfig gave no client.
#[derive(Debug, thiserror::Error)]
pub enum ConnectError {
    #[error("cannot read kubeconfig {path}")]
    Read { path: PathBuf, source: Box<kube::config::KubeconfigError> },
    #[error("kubeconfig {path} names no usable cluster")]
    Config { path: PathBuf, source: Box<kube::config::KubeconfigError> },
    #[error("cannot set up the connection that kubeconfig {path} describes")]
    Client { path: PathBuf, source: Box<kube::Error> },
}

/// A client over HTTPS for the current context of the kubeconfig at `path`. Does not connect yet.
pub async fn connect(path: &Path) -> Result<kube::Client, ConnectError> {
    install_crypto();
    let at = || path.to_path_buf();
    let file = kube::config::Kubeconfig::read_from(path)
        .map_err(|source| ConnectError::Read { path: at(), source: source.into() })?;
    let mut config = kube::Config::from_custom_kubeconfig(file, &kube::config::KubeConfigOptions::default())
        .await
        .map_err(|source| ConnectError::Config { path: at(), source: source.into() })?;
    // Watches and followed logs are silent for as long as nothing happens; each has its own deadline.
    config.read_timeout = None;
    kube::Client::try_from(config).map_err(|source| ConnectError::Client { path: at(), source: source.into() })
}

/// Makes ring the process's TLS provider. Later calls do nothing: a provider that is already
/// installed is as good.
pub fn install_crypto() {
    let _ = rustls::crypto::ring::default_provider().install_default();
}
