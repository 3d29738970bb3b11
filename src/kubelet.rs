//! Runs pods on Podman hosts: one kubelet per host, any number in one process.
//!
//! ```text
//!   API watch (routes) ---+
//!   runtime events -------+--> inbox --> pod worker: look -> plan (pure) -> status + operations
//!   timers, probes -------+
//! ```
//!
//! [`host`] starts a worker per pod and feeds it; [`pod`] decides and acts; [`status`] words what the
//! API shows; [`residents`] knows who has room; [`env`], [`volumes`], [`container`] and [`sandbox`] turn a spec into what a
//! [`runtime`] is asked for; [`resize`] changes the resources of what runs; [`node`] keeps the Node object and its lease; [`streams`] serves logs,
//! exec and attach; [`usage`] reads what all of it uses; [`image_gc`] keeps the disk from filling with images, and
//! [`eviction`] the host from running out of room. A kubelet holds no state that a restart must keep: labels on
//! containers do.
//!
//! Absent on purpose: service account tokens, device plugins, cgroups of its own. Known limits are said where they are
//! met: [`probes::reach`], [`volumes::remote`].

pub mod admission;
pub mod container;
pub mod dns;
pub mod drift;
pub mod env;
pub mod eviction;
pub mod fields;
pub mod host;
pub mod image_gc;
pub mod images;
pub mod inbox;
pub mod interests;
pub mod logs;
pub mod node;
pub mod pod;
pub mod probes;
pub mod reclaim;
pub mod residents;
pub mod resize;
pub mod resources;
pub mod routes;
pub mod runtime;
pub mod sandbox;
pub mod settings;
pub mod sources;
pub mod starts;
pub mod static_pods;
pub mod status;
pub mod streams;
pub mod tokens;
pub mod usage;
pub mod volumes;
pub mod workers;

use crate::apiserver::Usage;
use crate::client::{Context, ObjectKey};
use drift::DriftObserver;
use host::Host;
use image_gc::ImageCollector;
use interests::Interests;
use k8s_openapi::api::core::v1::{Node, Pod};
use routes::Routes;
use runtime::ContainerRuntime;
use settings::Settings;
use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;
use streams::HostStreams;

/// What a kubelet is told about its host.
#[derive(Clone, Debug)]
pub struct NodeConfig {
    /// The Node's name.
    pub name: String,
    /// Holds the files of pods' volumes, on hosts that share the file system.
    pub data_dir: PathBuf,
    /// The host's addresses, the primary one first.
    pub addresses: Vec<String>,
    /// Further labels of the Node.
    pub labels: BTreeMap<String, String>,
    /// Between two renewals of the lease; 10 s in Kubernetes.
    pub heartbeat: Duration,
    /// How long the report of a pod that is being started or stopped waits for that to be over.
    pub report_patience: Duration,
    pub settings: Arc<Settings>,
    /// The runtime only pretends: network probes pass, no files are written.
    pub simulated: bool,
    /// How long nothing may have happened to a pod of a simulated host for its worker to go; without, all stay.
    pub rest: Option<Duration>,
}

impl NodeConfig {
    /// A node that is this machine, with Kubernetes' heartbeat.
    pub fn named(name: &str, data_dir: impl Into<PathBuf>) -> Self {
        Self {
            name: name.to_string(),
            data_dir: data_dir.into(),
            addresses: vec![node::own_address()],
            labels: BTreeMap::new(),
            heartbeat: Duration::from_secs(10),
            report_patience: Duration::from_millis(50),
            settings: Arc::default(),
            simulated: false,
            rest: None,
        }
    }
}

/// The kubelets of a process. They share one subscription to pods, so that a change costs the same
/// for one node as for thousands.
pub struct Kubelets {
    ctx: Context,
    routes: Arc<Routes>,
    interests: Arc<Interests>,
    streams: Arc<HostStreams>,
    usage: Arc<Usage>,
    observer: Arc<dyn DriftObserver>,
}

impl Kubelets {
    /// `streams` and `usage` are what the API server was given; `observer` hears of containers that others
    /// took away. Must be called within a tokio runtime.
    pub fn new(
        ctx: Context,
        streams: Arc<HostStreams>,
        usage: Arc<Usage>,
        observer: Arc<dyn DriftObserver>,
    ) -> Arc<Self> {
        let routes = Routes::subscribe(&ctx.informers.of::<Pod>(), &ctx.informers.of::<Node>());
        Arc::new(Self { ctx, routes, interests: Arc::default(), streams, usage, observer })
    }

    fn host(&self, config: NodeConfig, runtime: Arc<dyn ContainerRuntime>) -> Arc<Host> {
        let shared = (self.interests.clone(), self.usage.clone(), self.observer.clone());
        Host::new(self.ctx.clone(), config, runtime, shared)
    }

    /// Runs the kubelet of one host until shutdown. Containers stay as they are then.
    pub async fn run(&self, config: NodeConfig, runtime: Arc<dyn ContainerRuntime>) {
        let name = config.name.clone();
        let route = self.routes.open(&name);
        self.streams.add(&name, runtime.clone(), config.settings.clone());
        let host = self.host(config, runtime);
        let (answered, first) = tokio::sync::oneshot::channel();
        // Capacity and locality of the host are known before its first pod starts.
        let pods = async {
            if first.await.is_ok() {
                host::run(host.clone(), route.clone()).await;
            }
        };
        let node = node::run(host.clone(), &route, answered);
        let images = ImageCollector::new(host.clone());
        // Boxed: in one piece, they would have room for each of them several times.
        tokio::join!(
            Box::pin(node),
            Box::pin(pods),
            Box::pin(reclaim::run(host.clone())),
            Box::pin(usage::run(host.clone())),
            Box::pin(images.run()),
            Box::pin(eviction::run(host.clone(), images.clone())),
            Box::pin(static_pods::run(host.clone())),
            Box::pin(logs::run(&host))
        );
        self.streams.remove(&name);
        self.routes.close(&name);
    }
}

impl Kubelets {
    /// Runs the pods of a host that was at rest until shutdown: what is there is as the API says, a
    /// pod gets its worker when it changes, and the Node is not touched. For simulations that begin
    /// in the middle. `prepare` makes the host when the first of its pods changes.
    /// No change is missed from the call on, whenever the future is polled first.
    pub fn attend<F>(self: &Arc<Self>, config: NodeConfig, prepare: F) -> impl Future<Output = ()> + Send + use<F>
    where
        F: FnOnce() -> Arc<dyn ContainerRuntime> + Send,
    {
        let (kubelets, route) = (self.clone(), self.routes.open(&config.name));
        async move {
            let name = config.name.clone();
            if kubelets.ctx.shutdown.run_until_cancelled(route.wait()).await.is_none() {
                return;
            }
            route.ring();
            let runtime = prepare();
            let info = runtime.info().await.unwrap_or_default();
            let host = kubelets.host(config, runtime);
            host.set_info(info);
            host::attend(host, route).await;
            kubelets.routes.close(&name);
        }
    }

    /// Asks the kubelet of `node` for a look at a pod that did not change.
    pub fn look(&self, node: &str, pod: ObjectKey) {
        self.routes.open(node).post(pod);
    }
}

/// One kubelet by itself, without logs, exec and metrics for an API server.
pub async fn run(ctx: Context, config: NodeConfig, runtime: Arc<dyn ContainerRuntime>) {
    Kubelets::new(ctx, Arc::default(), Arc::default(), drift::unobserved()).run(config, runtime).await;
}
