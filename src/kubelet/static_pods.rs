//! Static pods: what manifests in a directory of the host's say runs there, whoever else says anything.
//!
//! In Kubernetes they run without an API server, which only shows them. Here it is part of the same process, so the
//! pod that shows a static pod is the pod that runs; who deletes it gets another. [`files`] reads the manifests,
//! [`plan`] decides.

mod files;
mod plan;

use crate::api::kinds::pod::MIRROR;
use crate::base::told::Told;
use crate::base::wake::Wake;
use crate::base::watch;
use crate::client::Change;
use crate::kubelet::host::Host;
use crate::kubelet::settings::StaticPods;
use k8s_openapi::api::core::v1::Pod;
use kube::Api;
use kube::api::{DeleteParams, PostParams, Preconditions};
use parking_lot::Mutex;
use plan::Step;
use serde_json::Value;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;
use tracing::{info, warn};

/// Where a pod's manifest came from: `file`, or `api`.
pub const SOURCE: &str = "kubernetes.io/config.source";

/// Whether the pod shows a static pod. Anybody can write where a pod comes from; what mirrors nothing comes from the API.
pub fn is_static(pod: &Pod) -> bool {
    let annotation = |name: &str| pod.metadata.annotations.as_ref()?.get(name);
    annotation(MIRROR).is_some() && annotation(SOURCE).is_some_and(|source| source != "api")
}

/// What the rest of a kubelet asks and tells of its static pods.
#[derive(Default)]
pub struct Mirrors {
    /// The hashes of the manifests that there are.
    wanted: Mutex<BTreeMap<plan::Key, String>>,
    wake: Wake,
}

impl Mirrors {
    /// Has the pod looked at, if it says that it shows a static pod.
    pub fn heard_of(&self, pod: &Pod) {
        if plan::annotation(pod, MIRROR).is_some() {
            self.wake.ring();
        }
    }

    /// Whether the pod says that it shows a static pod, and there is none.
    pub fn is_forged(&self, pod: &Pod) -> bool {
        let hash = plan::annotation(pod, plan::HASH);
        let known = || self.wanted.lock().get(&plan::key_of(pod)).is_some_and(|wanted| Some(wanted.as_str()) == hash);
        plan::annotation(pod, MIRROR).is_some() && !known()
    }

    /// `all`: no other has a manifest. Otherwise what was known still holds of the others.
    fn expect(&self, wanted: &plan::Wanted, all: bool) {
        let mut known = self.wanted.lock();
        if all {
            known.clear();
        }
        let hash = |pod| plan::hash_of(pod).unwrap_or_default().to_owned();
        known.extend(wanted.pods.iter().map(|(key, pod)| (key.clone(), hash(pod))));
    }
}

/// How often the directory is looked at whatever is heard of it: Kubernetes' file-check-frequency.
const PERIOD: Duration = Duration::from_secs(20);

/// Until shutdown.
pub async fn run(host: Arc<Host>) {
    let mut keeper = Keeper { told: Told::default(), host };
    let shutdown = keeper.host.ctx.shutdown.clone();
    shutdown.run_until_cancelled(keeper.keep()).await;
}

struct Keeper {
    host: Arc<Host>,
    /// What was said of files and pods.
    told: Told,
}

impl Keeper {
    async fn keep(&mut self) {
        self.host.pods.synced().await;
        self.host.nodes.synced().await;
        let directory = match &self.host.node.settings.static_pods {
            StaticPods::In(directory) => directory.clone(),
            StaticPods::None => return self.have_none().await,
            StaticPods::Others => return,
        };
        let directories = [directory.clone(), directory.join(&self.host.node.name)];
        let wake = Wake::default();
        self.listen(&wake);
        loop {
            // Those that come or are replaced later are watched from the next round on.
            let watching = directories.iter().filter_map(|path| watch::directory(path, false, wake.clone()).ok());
            let _watching: Vec<_> = watching.collect();
            let found = Box::pin(files::read(&directories[0], &directories[1])).await;
            Box::pin(self.round(found)).await;
            // Changes are waited for, and there is a second look in any case.
            let _ = tokio::time::timeout(PERIOD, wake.wait()).await;
        }
    }

    /// Removes what says that it shows a static pod: there were some, perhaps, when the host was last started, and anybody
    /// can make a pod that says so. Kubernetes' kubelets remove it, too.
    async fn have_none(&mut self) {
        loop {
            if Box::pin(self.round(files::Found::default())).await {
                self.host.mirrors.wake.wait().await;
            } else {
                let _ = tokio::time::timeout(PERIOD, self.host.mirrors.wake.wait()).await;
            }
        }
    }

    /// Rings when something becomes of a pod that shows a static pod of this host, or of the host's Node.
    fn listen(&self, wake: &Wake) {
        let (bell, node) = (wake.clone(), self.host.node.name.clone());
        self.host.pods.subscribe(Box::new(move |change| {
            let pod = change.object();
            let of_host = pod.spec.as_ref().and_then(|spec| spec.node_name.as_ref()) == Some(&node);
            if of_host && pod.metadata.annotations.as_ref().is_some_and(|all| all.contains_key(MIRROR)) {
                bell.ring();
            }
        }));
        let (bell, node) = (wake.clone(), self.host.node.name.clone());
        self.host.nodes.subscribe(Box::new(move |change| {
            if let Change::Added(of) | Change::Deleted(of) = change
                && of.metadata.name.as_ref() == Some(&node)
            {
                bell.ring();
            }
        }));
    }

    /// Whether all is as the manifests say.
    async fn round(&mut self, found: files::Found) -> bool {
        let mut said: BTreeMap<String, String> = BTreeMap::new();
        for (file, why) in &found.broken {
            said.insert(file.display().to_string(), format!("its pods stay as they are: {why}"));
        }
        let Some(node) = self.host.nodes.get("", &self.host.node.name) else { return false };
        let uid = node.metadata.uid.clone().unwrap_or_default();
        let owner = plan::Owner { node: self.host.node.name.clone(), uid };
        let shown = self.host.pods.on_node(&self.host.node.name);
        let wanted = plan::wanted(&found, &shown, &owner);
        for plan::Clash { pod, kept, ignored } in &wanted.clashes {
            let why =
                format!("it is left alone: pod {pod} is that of {}; one of them needs another name", kept.display());
            said.insert(ignored.display().to_string(), why);
        }
        self.host.mirrors.expect(&wanted, found.broken.is_empty());
        for step in plan::steps(&found, &wanted, &shown) {
            let name = step.name();
            if let Err(error) = self.act(step).await {
                said.insert(name, error.to_string());
            }
        }
        let done = said.is_empty();
        for (what, why) in self.told.news(said) {
            warn!(node = self.host.node.name, what, why, "a static pod cannot be as its manifest says");
            self.host.events.warning(&*node, "FailedStaticPod", format!("{what}: {why}"));
        }
        done
    }

    async fn act(&self, step: Step) -> Result<(), kube::Error> {
        let name = step.name();
        match step {
            Step::Create(pod) => {
                let namespace = pod["metadata"]["namespace"].as_str().unwrap_or_default().to_owned();
                let made = self.create(&namespace, &pod).await?;
                if made {
                    info!(node = self.host.node.name, pod = name, "made a static pod");
                }
            }
            Step::Delete(pod) => {
                let meta = &pod.metadata;
                let api: Api<Pod> =
                    Api::namespaced(self.host.ctx.client.clone(), meta.namespace.as_deref().unwrap_or_default());
                let preconditions = Preconditions { uid: meta.uid.clone(), resource_version: None };
                let parameters = DeleteParams { preconditions: Some(preconditions), ..DeleteParams::default() };
                match api.delete(meta.name.as_deref().unwrap_or_default(), &parameters).await {
                    // It went by itself, or another has its name.
                    Err(kube::Error::Api(status)) if status.code == 404 || status.code == 409 => {}
                    outcome => drop(outcome?),
                }
                info!(node = self.host.node.name, pod = name, "deleted a static pod: it has no such manifest");
            }
        }
        Ok(())
    }

    /// False where the pod is there already, or its predecessor still is: it is looked at again when that is gone.
    async fn create(&self, namespace: &str, pod: &Value) -> Result<bool, kube::Error> {
        let api: Api<kube::api::DynamicObject> =
            Api::namespaced_with(self.host.ctx.client.clone(), namespace, &kube::api::ApiResource::erase::<Pod>(&()));
        let object = serde_json::from_value(pod.clone()).map_err(kube::Error::SerdeError)?;
        match api.create(&PostParams::default(), &object).await {
            Err(kube::Error::Api(status)) if status.code == 409 && self.is_ours(namespace, pod) => Ok(false),
            outcome => outcome.map(|_| true),
        }
    }

    fn is_ours(&self, namespace: &str, pod: &Value) -> bool {
        let there = self.host.pods.get(namespace, pod["metadata"]["name"].as_str().unwrap_or_default());
        there.is_none_or(|there| there.metadata.annotations.as_ref().is_some_and(|all| all.contains_key(MIRROR)))
    }
}
