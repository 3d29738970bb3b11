//! A whole cluster in this process: start in order, run, stop in order.

use super::apps::{self, AppError};
use super::aside::Aside;
use super::bootstrap::{self, BootstrapError};
use super::fork::Forks;
use super::options::{Mode, Options};
use super::paths::{Lock, LockError, Paths};
use super::supervise::Supervisor;
use super::{credentials, hosts, verdicts};
use crate::api::registry::Registry;
use crate::apiserver::auth::pki::{Pki, PkiError};
use crate::apiserver::{self, ApiServer, Cidr, Config, Tokens, Usage, User, Verdicts};
use crate::base::clock::Clock;
use crate::base::ids::Ids;
use crate::client::{self, Context, EventRecorder};
use crate::controllers::{kubernetes_service, root_ca};
use crate::gitops::push::Pushes;
use crate::gitops::sets;
use crate::gitops::sync::Reporter;
use crate::gitops::sync::engine::{self, Settings};
use crate::gitops::webhooks::Receiver;
use crate::gitops::{notify, observe};
use crate::kubelet::Kubelets;
use crate::kubelet::runtime::RuntimeError;
use crate::kubelet::streams::HostStreams;
use crate::store::memory::Memory;
use crate::store::redb::{OpenError, Redb};
use crate::store::{Store, history};
use crate::{controllers, scheduler};
use futures::FutureExt;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;
use tokio::net::TcpListener;
use tokio::runtime::Handle;
use tokio_util::sync::CancellationToken;

/// How long the parts may take to stop; a supervisor of ours gives 5 s for everything.
const PARTS_STOP: Duration = Duration::from_secs(3);
/// Watches and ranges can go back this far.
const HISTORY: Duration = Duration::from_secs(300);

#[derive(Debug, thiserror::Error)]
pub enum StartError {
    #[error(transparent)]
    Lock(#[from] LockError),
    #[error("cannot listen on {address}")]
    Listen { address: SocketAddr, source: io::Error },
    #[error("cannot use the data directory")]
    Data(#[from] io::Error),
    #[error("cannot open the store")]
    Store(#[from] OpenError),
    #[error("cannot set up certificates")]
    Pki(#[from] PkiError),
    #[error(transparent)]
    Bootstrap(#[from] BootstrapError),
    #[error("cannot use this machine's Podman")]
    Podman(#[from] RuntimeError),
    #[error(transparent)]
    Apps(#[from] AppError),
}

/// A running cluster. Dropping it without [`Cluster::shutdown`] is a crash, which it survives.
pub struct Cluster {
    paths: Paths,
    client: kube::Client,
    store: Arc<dyn Store>,
    shutdown: CancellationToken,
    serving: CancellationToken,
    supervisor: Supervisor,
    address: Option<SocketAddr>,
    context: Context,
    aside: Aside,
    _lock: Option<Lock>,
}

impl Cluster {
    pub async fn start(options: Options) -> Result<Self, StartError> {
        client::install_crypto();
        let paths = Paths::new(options.data_dir.clone());
        let daemon = options.mode == Mode::Daemon;
        // A look at a directory that does not exist must not make it.
        let in_memory = options.mode == Mode::ReadOnly && !paths.store().exists();
        let lock = if in_memory { None } else { Some(paths.lock(daemon)?) };
        let listener = if daemon { Some(listen(options.listen).await?) } else { None };
        let ids = Ids::random();
        let registry = Arc::new(Registry::builtin());
        let store: Arc<dyn Store> = if in_memory { Memory::new() } else { open(&paths, &registry).await? };
        let streams = Arc::new(HostStreams::default());
        let mut config = Config::new(store.clone(), registry.clone());
        config.ids = ids.clone();
        config.streams = streams.clone();
        let (said, usage) = (config.verdicts.clone(), config.usage.clone());
        let forks = Forks::new(store.clone(), registry.clone(), Clock::System, config.settled.clone());
        config.planner = forks.clone();
        let addresses =
            listener.iter().map(|listener| Ok(listener.local_addr()?.ip())).collect::<io::Result<Vec<_>>>()?;
        // Pods have tokens of the cluster's key and trust its CA, whether or not the API is served just now.
        let pki = match options.mode {
            Mode::ReadOnly => None,
            _ => Some(Pki::load_or_create(paths.root(), &addresses)?),
        };
        if let Some(pki) = &pki {
            config.tokens = Tokens::new([(pki.token.clone(), User::master("selkie-admin"))]);
            config.account_keys = Some(pki.account_keys.clone());
        }
        let (metrics, webhooks) = (config.metrics.clone(), Arc::<Receiver>::default());
        webhooks.count_in(&metrics);
        config.webhooks = webhooks.clone();
        let pushes = pushes(&options, &paths, &ids);
        if let Some(pushes) = &pushes {
            pushes.count_in(&metrics);
            config.git = pushes.clone();
        }
        let api = ApiServer::new(config);
        let shutdown = CancellationToken::new();
        let client = client::in_process(&api, User::master("system:selkie"));
        bootstrap::apply(&client).await?;

        let aside = Aside::start()?;
        let mut context = Context::new(client.clone(), Clock::System, ids.clone(), shutdown.child_token());
        context.events = {
            let _entered = aside.handle.enter();
            EventRecorder::new(client.clone(), Clock::System, shutdown.child_token())
        };
        let mut cluster = Self {
            context,
            aside,
            supervisor: Supervisor::new(shutdown.clone()),
            serving: CancellationToken::new(),
            paths,
            client,
            store,
            shutdown,
            address: None,
            _lock: lock,
        };
        forks.share(&cluster.context.informers);
        if daemon {
            let (server, shutdown) = (api.clone(), cluster.shutdown.clone());
            cluster.supervisor.keep("event-expiry", String::new(), move || {
                let expiring = server.clone().expire_events(apiserver::Kept::default());
                shutdown.clone().run_until_cancelled_owned(expiring).map(drop)
            });
        }
        // The API answers while slow hosts are still being connected.
        if let Some(pki) = pki {
            let (context, certificate) = (cluster.context.clone(), pki.ca.clone());
            cluster
                .supervisor
                .keep("root-ca", String::new(), move || root_ca::run(context.clone(), certificate.clone()));
            if let Some(listener) = listener {
                let address = cluster.serve(api, listener, pki)?;
                cluster.publish(address);
            }
        }
        if options.mode != Mode::ReadOnly {
            let reporter = pushes.clone().map_or(options.reporter.clone(), |pushes| pushes as Arc<dyn Reporter>);
            let mut settings = Settings::new(cluster.paths.repositories(), registry, reporter);
            settings.pushes = pushes;
            settings.repositories.count_in(&metrics);
            settings.webhooks = webhooks;
            settings.metrics.count_in(&metrics);
            cluster.start_parts(&options, &ids, (streams, usage, said), settings).await?;
        }
        Ok(cluster)
    }

    async fn start_parts(
        &mut self,
        options: &Options,
        ids: &Ids,
        (streams, usage, said): (Arc<HostStreams>, Arc<Usage>, Arc<Verdicts>),
        settings: Settings,
    ) -> Result<(), StartError> {
        let id = credentials::cluster_id(&self.paths, ids)?;
        let connected = hosts::connect(options, &self.paths, &id).await?;
        let names: Vec<String> = connected.iter().map(|host| host.node.name.clone()).collect();
        let kubelets = Kubelets::new(self.context.clone(), streams, usage, options.observer.clone());
        for host in connected {
            let (kubelets, node, runtime) = (kubelets.clone(), host.node, host.runtime);
            let label = node.name.clone();
            // What is simulated stands for other machines, and must not take this one's processors from the rest.
            let place = if node.simulated { self.aside.handle.clone() } else { Handle::current() };
            self.supervisor.keep_on(&place, "kubelet", label, move || {
                let (kubelets, node, runtime) = (kubelets.clone(), node.clone(), runtime.clone());
                async move { kubelets.run(node, runtime).await }
            });
        }
        let context = self.context.clone();
        let timing = controllers::Timing {
            node_monitor_grace: options.timing.node_monitor_grace,
            ..controllers::Timing::default()
        };
        self.supervisor.keep("controllers", String::new(), move || controllers::run(context.clone(), timing));
        let context = self.context.clone();
        let observer = verdicts::keep(said, Clock::System);
        self.supervisor
            .keep("scheduler", String::new(), move || scheduler::run_observed(context.clone(), observer.clone()));
        let (store, shutdown) = (self.store.clone(), self.shutdown.clone());
        self.supervisor.keep("compaction", String::new(), move || {
            let kept = shutdown.clone().run_until_cancelled_owned(history::keep(store.clone(), HISTORY));
            kept.map(drop)
        });
        if options.mode == Mode::Daemon {
            observe::attach(&self.context, settings.metrics.clone());
            notify::attach(&self.context, settings.metrics.clone(), notify::Timing::default());
            apps::declare(&self.client, &options.apps).await?;
            let context = self.context.clone();
            self.supervisor.keep("cronjobs", String::new(), move || controllers::cronjob::run(context.clone(), 1));
            let context = self.context.clone();
            self.supervisor.keep("autoscaler", String::new(), move || controllers::autoscaler::run(context.clone(), 4));
            let (context, used) = (self.context.clone(), settings.clone());
            self.supervisor
                .keep("application-sets", String::new(), move || sets::engine::run(context.clone(), used.clone()));
            let context = self.context.clone();
            self.supervisor.keep("gitops", String::new(), move || {
                let (context, settings, names) = (context.clone(), settings.clone(), names.clone());
                async move {
                    hosts::wait_ready(&context, &names).await;
                    engine::run(context, settings).await;
                }
            });
        } else {
            hosts::wait_ready(&self.context, &names).await;
        }
        Ok(())
    }

    /// Keeps what pods find the API server by.
    fn publish(&mut self, address: SocketAddr) {
        let (context, cluster_ip) = (self.context.clone(), Cidr::default().first());
        self.supervisor.keep("kubernetes-service", String::new(), move || {
            kubernetes_service::run(context.clone(), address, cluster_ip)
        });
    }

    fn serve(&mut self, api: Arc<ApiServer>, listener: TcpListener, pki: Pki) -> Result<SocketAddr, StartError> {
        let address = listener.local_addr()?;
        credentials::write_kubeconfig(&self.paths, address, &pki)?;
        self.address = Some(address);
        let serving = self.serving.clone();
        tokio::spawn(async move { api.serve(listener, pki.tls, serving.cancelled_owned()).await });
        Ok(address)
    }

    /// A client with every right, without the network.
    pub fn client(&self) -> kube::Client {
        self.client.clone()
    }

    pub fn context(&self) -> &Context {
        &self.context
    }

    /// Where the API is served, in daemon mode.
    pub fn address(&self) -> Option<SocketAddr> {
        self.address
    }

    pub fn paths(&self) -> &Paths {
        &self.paths
    }

    /// Stops everything, containers excepted: no new requests, then no decisions, then the store.
    pub async fn shutdown(self) {
        self.serving.cancel();
        self.shutdown.cancel();
        self.supervisor.finish(PARTS_STOP).await;
        self.store.close().await;
    }
}

/// Takes what is pushed to applications, where somebody knows how to speak to those who push.
fn pushes(options: &Options, paths: &Paths, ids: &Ids) -> Option<Arc<Pushes>> {
    let wording = options.wording.clone().filter(|_| options.mode == Mode::Daemon)?;
    match std::env::current_exe() {
        Ok(program) => Some(Pushes::new(paths.pushed(), program, options.reporter.clone(), wording, ids.clone())),
        Err(error) => {
            tracing::warn!(%error, "no pushes are taken: this program does not know where it is");
            None
        }
    }
}

async fn listen(address: SocketAddr) -> Result<TcpListener, StartError> {
    TcpListener::bind(address).await.map_err(|source| StartError::Listen { address, source })
}

async fn open(paths: &Paths, registry: &Arc<Registry>) -> Result<Arc<dyn Store>, StartError> {
    let (path, extract) = (paths.store(), apiserver::extract(registry.clone()));
    let opened = tokio::task::spawn_blocking(move || Redb::open(path, extract)).await;
    Ok(opened.map_err(|panic| io::Error::other(panic.to_string()))??)
}
