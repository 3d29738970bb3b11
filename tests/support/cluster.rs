//! A cluster of one kubelet for tests: an API server in memory, pods bound by hand.

use crate::wait::{self, Pace};
use k8s_openapi::api::core::v1::{ConfigMap, Event, Namespace, Pod, ServiceAccount};
use kube::api::{DeleteParams, PostParams};
use kube::client::Body;
use kube::{Api, Client};
use selkie::api::registry::Registry;
use selkie::apiserver::auth::accounts::AccountKeys;
use selkie::apiserver::{ApiServer, Config, PodStreams, Usage, User};
use selkie::base::{clock::Clock, ids::Ids};
use selkie::client::{Context, in_process};
use selkie::kubelet::runtime::ContainerRuntime;
use selkie::kubelet::settings::Settings;
use selkie::kubelet::streams::HostStreams;
use selkie::kubelet::{Kubelets, NodeConfig};
use selkie::store::memory::Memory;
use serde_json::{Value, json};
use std::path::PathBuf;
use std::sync::Arc;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

pub const NODE: &str = "h1";

pub struct Cluster {
    pub client: Client,
    /// The kubelet's way to the API server.
    pub calls: Calls,
    pub streams: Arc<HostStreams>,
    usage: Arc<Usage>,
    pub directory: PathBuf,
    clock: Clock,
    /// How the kubelet is told to use its host; for the next start.
    pub settings: Settings,
    kubelet: Option<(CancellationToken, tokio::task::JoinHandle<()>)>,
}

impl Cluster {
    pub async fn new(clock: Clock, directory: PathBuf) -> Self {
        let streams: Arc<HostStreams> = Arc::default();
        let mut config = Config::new(Memory::new(), Arc::new(Registry::builtin()));
        config.clock = clock.clone();
        // Clusters of several tests share a Podman, where uids are parts of names.
        config.ids = if matches!(clock, Clock::System) { Ids::random() } else { Ids::seeded(7) };
        config.streams = streams.clone();
        let key = rcgen::KeyPair::generate().expect("a key").serialize_der();
        config.account_keys = Some(Arc::new(AccountKeys::new(&key).expect("a key")));
        let usage = config.usage.clone();
        let client = in_process(&ApiServer::new(config), User::master("test"));
        let namespaces: Api<Namespace> = Api::all(client.clone());
        for name in ["default", "kube-node-lease"] {
            let namespace = serde_json::from_value(json!({"metadata": {"name": name}})).expect("a namespace");
            namespaces.create(&PostParams::default(), &namespace).await.expect("a namespace");
        }
        // What controllers give every namespace.
        let account = serde_json::from_value(json!({"metadata": {"name": "default"}})).expect("an account");
        let accounts: Api<ServiceAccount> = Api::default_namespaced(client.clone());
        accounts.create(&PostParams::default(), &account).await.expect("an account");
        let ca = json!({"metadata": {"name": "kube-root-ca.crt"}, "data": {"ca.crt": "the CA"}});
        let maps: Api<ConfigMap> = Api::default_namespaced(client.clone());
        let ca = serde_json::from_value(ca).expect("a ConfigMap");
        maps.create(&PostParams::default(), &ca).await.expect("a ConfigMap");
        Self {
            client,
            calls: Calls::default(),
            streams,
            usage,
            directory,
            clock,
            settings: Settings::default(),
            kubelet: None,
        }
    }

    /// A cluster whose kubelet runs on `runtime`.
    pub async fn with(runtime: Arc<dyn ContainerRuntime>, clock: Clock, directory: PathBuf, simulated: bool) -> Self {
        let mut cluster = Self::new(clock, directory).await;
        cluster.start(runtime, simulated);
        cluster
    }

    /// Another time of day than the API server's, for kubelets that start from now on.
    pub fn set_kubelet_clock(&mut self, clock: Clock) {
        self.clock = clock;
    }

    pub fn start(&mut self, runtime: Arc<dyn ContainerRuntime>, simulated: bool) {
        let stop = CancellationToken::new();
        let ctx = Context::new(self.calls.client(&self.client), self.clock.clone(), Ids::seeded(8), stop.clone());
        let seccomp_root = self.directory.join("seccomp");
        let settings = Arc::new(Settings { seccomp_root, ..self.settings.clone() });
        let node = NodeConfig { simulated, settings, ..NodeConfig::named(NODE, self.directory.clone()) };
        let unobserved = selkie::kubelet::drift::unobserved();
        let kubelets = Kubelets::new(ctx, self.streams.clone(), self.usage.clone(), unobserved);
        let task = tokio::spawn(async move { kubelets.run(node, runtime).await });
        self.kubelet = Some((stop, task));
    }

    /// Ends the kubelet as a daemon's shutdown does.
    pub async fn stop(&mut self) {
        if let Some((stop, task)) = self.kubelet.take() {
            stop.cancel();
            task.await.expect("an orderly end");
        }
    }

    pub fn pods(&self) -> Api<Pod> {
        Api::default_namespaced(self.client.clone())
    }

    /// Creates a pod that is bound already.
    pub async fn run(&self, name: &str, mut spec: Value) {
        spec["nodeName"] = json!(NODE);
        let pod = json!({"metadata": {"name": name, "labels": {"app": name}}, "spec": spec});
        let pod = serde_json::from_value(pod).expect("a pod");
        self.pods().create(&PostParams::default(), &pod).await.expect("the pod is accepted");
    }

    pub async fn get(&self, name: &str) -> Option<Value> {
        let pod = self.pods().get_opt(name).await.expect("an answer");
        pod.map(|pod| serde_json::to_value(pod).expect("JSON"))
    }

    /// The pod (null: there is none) once `ready` holds of it.
    #[track_caller]
    pub fn until(&self, name: &str, ready: impl Fn(&Value) -> bool) -> impl Future<Output = Value> {
        wait::until("the pod is as expected", Pace::default(), async move || {
            let pod = self.get(name).await.unwrap_or_default();
            if ready(&pod) {
                return Ok(pod);
            }
            Err(format!("{name}: {:#}\n{:#?}", pod["status"], self.events(name).await))
        })
    }

    pub async fn until_gone(&self, name: &str) {
        self.until(name, Value::is_null).await;
    }

    pub async fn delete(&self, name: &str) {
        self.pods().delete(name, &DeleteParams::default()).await.expect("the pod is deleted");
    }

    /// `reason: message` of the pod's events.
    pub async fn events(&self, name: &str) -> Vec<String> {
        let events: Api<Event> = Api::default_namespaced(self.client.clone());
        let list = events.list(&Default::default()).await.expect("events");
        let own = list.items.into_iter().filter(|e| e.involved_object.name.as_deref() == Some(name));
        own.map(|e| format!("{}: {}", e.reason.unwrap_or_default(), e.message.unwrap_or_default())).collect()
    }

    #[track_caller]
    pub fn until_event(&self, name: &str, text: &str) -> impl Future<Output = ()> {
        wait::until("the event comes", Pace::default(), async move || {
            let events = self.events(name).await;
            let came = events.iter().any(|event| event.starts_with(text));
            if came { Ok(()) } else { Err(format!("no {text:?} in {events:#?}")) }
        })
    }

    pub fn streams(&self) -> &dyn PodStreams {
        self.streams.as_ref()
    }
}

type Which = fn(&http::Request<Body>) -> bool;

#[derive(Clone, Copy, PartialEq)]
enum Fate {
    Held,
    Lost,
}

/// Holds calls on their way to the API server, or has them fail, until they are let through.
#[derive(Clone, Default)]
pub struct Calls {
    rules: Arc<watch::Sender<Vec<(Which, Fate)>>>,
    stopped: Arc<watch::Sender<usize>>,
}

impl Calls {
    fn client(&self, client: &Client) -> Client {
        let (calls, client) = (self.clone(), client.clone());
        let service = tower::service_fn(move |request: http::Request<Body>| {
            let (calls, client) = (calls.clone(), client.clone());
            async move {
                let mut rules = calls.rules.subscribe();
                loop {
                    let all = rules.borrow_and_update().clone();
                    let Some((_, fate)) = all.iter().find(|(which, _)| which(&request)) else {
                        return client.send(request).await.map_err(tower::BoxError::from);
                    };
                    calls.stopped.send_modify(|stopped| *stopped += 1);
                    if *fate == Fate::Lost {
                        return Err("the connection is lost".into());
                    }
                    rules.changed().await?;
                }
            }
        });
        Client::new(service, "default")
    }

    pub fn hold(&self, which: Which) {
        self.rules.send_modify(|rules| rules.push((which, Fate::Held)));
    }

    pub fn lose(&self, which: Which) {
        self.rules.send_modify(|rules| rules.push((which, Fate::Lost)));
    }

    /// Waits until `count` calls were held or lost.
    pub async fn met(&self, count: usize) {
        let mut stopped = self.stopped.subscribe();
        let met = stopped.wait_for(|stopped| *stopped >= count);
        tokio::time::timeout(Pace::default().at_most, met).await.expect("the call comes").expect("a count");
    }

    pub fn let_through(&self) {
        self.rules.send_modify(Vec::clear);
    }
}

pub fn condition(pod: &Value, name: &str) -> String {
    let list = pod["status"]["conditions"].as_array().cloned().unwrap_or_default();
    let found = list.into_iter().find(|c| c["type"] == name).unwrap_or_default();
    found["status"].as_str().unwrap_or_default().to_string()
}

pub fn is_ready(pod: &Value) -> bool {
    condition(pod, "Ready") == "True"
}
