//! One host: what its pods' workers share, and the loop that starts workers and tells them what
//! happened on the host.

#[cfg(test)]
mod tests;

use crate::apiserver::Usage;
use crate::base::backoff::Backoff;
use crate::client::{Context, EventRecorder, Informer, ObjectKey};
use crate::kubelet::NodeConfig;
use crate::kubelet::drift::{Drift, DriftObserver, What};
use crate::kubelet::eviction::Pressure;
use crate::kubelet::images::{Pulls, Seen};
use crate::kubelet::inbox::{Listed, Moments};
use crate::kubelet::interests::Interests;
use crate::kubelet::pod::plan::Failure;
use crate::kubelet::pod::worker;
use crate::kubelet::residents::Residents;
use crate::kubelet::resize::allocations::{Allocations, News};
use crate::kubelet::resources::Amounts;
use crate::kubelet::routes::Route;
use crate::kubelet::runtime::{
    ContainerRuntime, ContainerStatus, EventKind, HostInfo, Listing, RuntimeError, RuntimeEvent,
};
use crate::kubelet::starts::Starts;
use crate::kubelet::static_pods::Mirrors;
use crate::kubelet::status::NodeAddresses;
use crate::kubelet::tokens::Tokens;
use crate::kubelet::volumes::PodDir;
use crate::kubelet::volumes::removal::Owners;
use crate::kubelet::workers::{Workers, is_as_reported};
use crate::scheduler::requests;
use futures::StreamExt;
use futures::stream::BoxStream;
use k8s_openapi::api::core::v1::{Node, Pod};
use kube::{Api, Resource};
use parking_lot::{Mutex, RwLock};
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::{Notify, Semaphore};
use tracing::{info, warn};

/// With the client's limit for connecting, a host that is back is noticed within about ten seconds.
const RECONNECT: Backoff = Backoff { base: Duration::from_millis(250), max: Duration::from_secs(5) };
/// Lists everything even if no event was missed.
const REPAIR: Duration = Duration::from_secs(300);
const NEVER: Duration = Duration::from_secs(365 * 24 * 3600);

/// What the workers of a host share.
pub struct Host {
    pub ctx: Context,
    pub node: NodeConfig,
    pub runtime: Arc<dyn ContainerRuntime>,
    pub events: EventRecorder,
    pub pods: Informer<Pod>,
    pub nodes: Informer<Node>,
    /// Who has room here.
    pub residents: Mutex<Residents>,
    pub interests: Arc<Interests>,
    pub usage: Arc<Usage>,
    pub tokens: Tokens,
    pub allocations: Allocations,
    pub pulls: Pulls,
    pub images_seen: Seen,
    pub mirrors: Mirrors,
    pub starts: Starts,
    /// What the host is short of.
    pub pressure: Mutex<Pressure>,
    info: RwLock<HostInfo>,
    addresses: RwLock<NodeAddresses>,
    workers: Workers,
    returned: Notify,
    pub moments: Moments,
    /// Whose pod may report its status; one at a time.
    pub turns: Arc<Semaphore>,
    observer: Arc<dyn DriftObserver>,
}

impl Host {
    pub fn new(
        ctx: Context,
        node: NodeConfig,
        runtime: Arc<dyn ContainerRuntime>,
        (interests, usage, observer): (Arc<Interests>, Arc<Usage>, Arc<dyn DriftObserver>),
    ) -> Arc<Self> {
        let events = ctx.events.component("kubelet", Some(&node.name));
        let (pods, nodes) = (ctx.informers.of::<Pod>(), ctx.informers.of::<Node>());
        let addresses = RwLock::new(NodeAddresses(node.addresses.clone()));
        let (info, workers, returned, moments, residents) = Default::default();
        let turns = Arc::new(Semaphore::new(1));
        let pulls = Pulls::at_most(node.settings.parallel_pulls);
        Arc::new(Self {
            ctx,
            node,
            runtime,
            events,
            pods,
            nodes,
            residents,
            interests,
            usage,
            tokens: Tokens::default(),
            allocations: Allocations::default(),
            pulls,
            images_seen: Seen::default(),
            mirrors: Mirrors::default(),
            starts: Starts::default(),
            pressure: Mutex::default(),
            info,
            addresses,
            workers,
            returned,
            moments,
            turns,
            observer,
        })
    }

    /// Waits until the host answers after it did not.
    pub async fn returned(&self) {
        self.returned.notified().await;
    }

    /// Tells that somebody else changed what runs here.
    pub fn drifted(&self, what: What, life: &ContainerStatus) {
        self.observer.drift(Drift {
            what,
            host: self.node.name.clone(),
            pod: life.identity.pod.clone(),
            container: life.identity.container.clone(),
            id: life.id.clone(),
        });
    }

    /// What the host said of itself last.
    pub fn info(&self) -> HostInfo {
        self.info.read().clone()
    }

    /// Takes in what the host says of itself, to which belongs what is set for it.
    pub fn set_info(&self, info: HostInfo) {
        let settings = &self.node.settings;
        let seccomp_root = settings.seccomp_root.to_string_lossy().into_owned();
        *self.info.write() = HostInfo { pod_pids_limit: settings.pod_pids_limit, seccomp_root, ..info };
    }

    pub fn addresses(&self) -> NodeAddresses {
        self.addresses.read().clone()
    }

    /// CPU, memory and storage of the host.
    pub fn capacity(&self) -> Amounts {
        let info = self.info.read();
        let whole = |n: u64| i64::try_from(n).unwrap_or(i64::MAX);
        Amounts {
            cpu_milli: i64::from(info.cpus) * 1000,
            memory: whole(info.memory),
            storage: whole(info.storage_size),
        }
    }

    /// Where a pod's files are; `None` when the host does not share the file system.
    pub fn pod_dir(&self, uid: &str) -> Option<PodDir> {
        self.info.read().local.then(|| PodDir::new(&self.node.data_dir, uid))
    }

    /// Whose the files are that containers leave here.
    pub fn owners(&self) -> Owners {
        let info = self.info.read();
        let sub_ids = info.local && info.rootless && !rustix::process::geteuid().is_root();
        if sub_ids { Owners::SubIds } else { Owners::Ours }
    }

    pub fn api_pods(&self, namespace: &str) -> Api<Pod> {
        Api::namespaced(self.ctx.client.clone(), namespace)
    }

    /// Wakes the pod's worker, or starts one. Without a listing a new worker takes it that nothing of a pod
    /// that never ran is on the host, and asks what is there of one that did.
    fn wake_worker(self: &Arc<Self>, pod: &Arc<Pod>, listed: Option<Listed>) {
        let Some(uid) = pod.metadata.uid.clone() else { return };
        self.mirrors.heard_of(pod);
        let mut listed = listed;
        let begun = self.workers.begin(&uid, |news| news.listing = listed.take().or(news.listing.take()));
        let Some(inbox) = begun else { return };
        let (host, mut pod) = (self.clone(), pod.clone());
        tokio::spawn(async move {
            let mut listing = match listed {
                Some(listed) => listed.listing,
                // Asking costs nothing there, and what ran before the simulation began was never listed.
                None if host.node.simulated || crate::kubelet::pod::has_run(&pod) => Box::pin(host.left_of(&uid)).await,
                None => Listing::default(),
            };
            while let Some(resting) = worker::run(host.clone(), inbox.clone(), pod, listing).await {
                if host.workers.rest(&uid, resting.clone()) {
                    // Whoever looked for it since it stopped looking found nobody.
                    let identity = crate::kubelet::pod::identity(&resting);
                    let now = host.pods.get(&identity.namespace, &identity.name);
                    if !now.is_some_and(|now| Arc::ptr_eq(&now, &resting)) {
                        host.wake_worker(&resting, None);
                    }
                    return;
                }
                listing = Box::pin(host.left_of(&uid)).await;
                pod = resting;
            }
            // Before another worker of the pod can begin, which knows better.
            host.allocations.forget(&uid);
            host.residents.lock().forget(&uid);
            host.workers.end(&uid);
            host.judge_pending();
        });
    }

    /// What of the pod is there, once the host tells. Until then nothing may be done about the pod: what is
    /// not known of would be started again.
    async fn left_of(&self, uid: &str) -> Listing {
        let asking = async {
            let mut failures = 0;
            loop {
                match self.runtime.list_pod(uid).await {
                    Ok(listing) => return listing,
                    Err(_) => failures += 1,
                }
                tokio::time::sleep(RECONNECT.after(failures)).await;
            }
        };
        // A worker that begins after the shutdown ends at once.
        self.ctx.shutdown.run_until_cancelled(asking).await.unwrap_or_default()
    }

    /// Allocates what pods wait for, as far as there is room now.
    pub fn judge_resizes(&self) {
        let info = self.info();
        let memory = i64::try_from(info.memory / 1024 * 1024).unwrap_or(i64::MAX);
        let capacity = requests::Amounts { cpu: i64::from(info.cpus) * 1000, memory, ..Default::default() };
        let news = {
            // No pod comes to the host between the look at its pods and the judgement.
            let residents = self.residents.lock();
            let pods = residents.among_all(self.pods.on_node(&self.node.name));
            self.allocations.judge(&pods, &capacity, self.ctx.clock.now())
        };
        for News { pod, words } in news {
            if let Some((kind, reason, message)) = words {
                self.events.record(pod.object_ref(&()), kind, reason, message);
            }
            self.workers.post(pod.metadata.uid.as_deref().unwrap_or_default(), |_| {});
        }
    }

    /// The same, if some wait.
    pub fn judge_pending(&self) {
        if self.allocations.any_pending() {
            self.judge_resizes();
        }
    }

    /// Has the pod go.
    pub fn turn_out(self: &Arc<Self>, pod: &Arc<Pod>, failure: Failure) {
        self.wake_worker(pod, None);
        let uid = pod.metadata.uid.as_deref().unwrap_or_default();
        self.workers.post(uid, |news| _ = news.turned_out.get_or_insert(failure));
    }

    /// Whether somebody looks after that pod, or would if anything happened to it.
    pub fn knows(&self, uid: &str) -> bool {
        self.workers.know(uid)
    }

    /// Looks at one pod that changed in the API.
    fn look(self: &Arc<Self>, key: &ObjectKey) {
        let pod = self.pods.get(&key.namespace, &key.name);
        let mine = |pod: &&Arc<Pod>| crate::kubelet::pod::spec(pod).node_name.as_deref() == Some(&self.node.name);
        if let Some(pod) = pod.as_ref().filter(mine) {
            self.wake_worker(pod, None);
        }
        // It may have left room behind.
        self.judge_pending();
        // Whoever had the name before must notice that it is gone.
        let identity = (&*key.namespace, &*key.name);
        for inbox in self.interests.workers_of(&self.node.name, identity) {
            inbox.ring();
        }
        let now = pod.as_ref().and_then(|pod| pod.metadata.uid.as_deref());
        self.workers.outlived(identity, now).iter().for_each(|pod| self.wake_worker(pod, None));
    }

    /// All that is on the host.
    async fn list(&self) -> Result<Listed, RuntimeError> {
        let asked = self.moments.next();
        Ok(Listed { listing: self.runtime.list().await?, asked })
    }

    /// Tells every worker what is on the host, and removes what belongs to no pod.
    async fn distribute(self: &Arc<Self>, Listed { listing, asked }: Listed) {
        self.starts.forget_all();
        let mut by_pod: BTreeMap<String, Listing> = BTreeMap::new();
        for sandbox in listing.sandboxes {
            by_pod.entry(sandbox.pod.uid.clone()).or_default().sandboxes.push(sandbox);
        }
        for container in listing.containers {
            by_pod.entry(container.identity.pod.uid.clone()).or_default().containers.push(container);
        }
        for pod in self.pods.on_node(&self.node.name) {
            let uid = pod.metadata.uid.clone().unwrap_or_default();
            let listing = by_pod.remove(&uid).unwrap_or_default();
            if self.workers.resting(&uid).is_some_and(|resting| is_as_reported(&resting, &listing)) {
                continue;
            }
            self.wake_worker(&pod, Some(Listed { listing, asked }));
        }
        for (uid, left) in by_pod {
            let mut left = Some(left);
            // Perhaps it is being torn down after its object went.
            let told = self.workers.post(&uid, |news| {
                news.listing = left.take().map(|listing| Listed { listing, asked });
            });
            if let (false, Some(left)) = (told, left) {
                self.remove_orphan(&uid, left).await;
            }
        }
    }

    /// Removes what a pod left behind that the API no longer knows. Asks the API itself first: the
    /// informer may be behind.
    async fn remove_orphan(&self, uid: &str, left: Listing) {
        let identity = left.sandboxes.first().map(|s| &s.pod).or(left.containers.first().map(|c| &c.identity.pod));
        let Some(identity) = identity else { return };
        match self.api_pods(&identity.namespace).get_opt(&identity.name).await {
            Ok(Some(pod)) if pod.metadata.uid.as_deref() == Some(uid) => return,
            Ok(_) => {}
            Err(error) => {
                return warn!(%error, pod = identity.name, "cannot tell whether a pod still exists; its containers stay");
            }
        }
        info!(
            node = self.node.name,
            pod = identity.name,
            namespace = identity.namespace,
            "removing containers of a pod that is gone"
        );
        left.containers.iter().filter(|c| c.state.is_running()).for_each(|c| self.drifted(What::Extra, c));
        for container in left.containers.iter().filter(|c| left.sandboxes.iter().all(|s| s.id != c.sandbox)) {
            self.log_failure(self.runtime.remove(&container.id).await);
        }
        for sandbox in &left.sandboxes {
            self.log_failure(self.runtime.remove_sandbox(&sandbox.id).await);
        }
        remove_files(self, uid).await;
    }

    fn log_failure(&self, outcome: Result<(), RuntimeError>) {
        if let Err(error) = outcome
            && !error.is_not_found()
        {
            warn!(
                node = self.node.name,
                error = error.chain(),
                "cannot remove what no pod owns; trying again at the next repair"
            );
        }
    }

    fn heard(self: &Arc<Self>, event: &RuntimeEvent) {
        if is_own_doing(event) || self.starts.is_expected(event) {
            return;
        }
        let told = self.workers.post(&event.pod.uid, |news| {
            if event.container.is_some() {
                news.stale.insert(event.id.clone());
            } else {
                news.relist = true;
            }
        });
        if !told && let Some(pod) = self.workers.resting(&event.pod.uid) {
            self.wake_worker(&pod, None);
        }
    }
}

/// Only we make containers of this cluster and start sandboxes, and the operation that does it says how
/// that went: looking again for each of its events would cost the host as much as a start.
fn is_own_doing(event: &RuntimeEvent) -> bool {
    event.kind == EventKind::Created || (event.kind == EventKind::Started && event.container.is_none())
}

/// Runs the host's pods until shutdown. Contact with the host may come and go.
pub async fn run(host: Arc<Host>, route: Arc<Route>) {
    host.pods.synced().await;
    let mut failures = 0;
    while !host.ctx.shutdown.is_cancelled() {
        let contact = async {
            // Subscribed before listing: what happens in between is seen twice, never missed.
            let events = host.runtime.events().await?;
            let listed = host.list().await?;
            Ok::<_, RuntimeError>((events, listed))
        };
        match host.ctx.shutdown.clone().run_until_cancelled(Box::pin(contact)).await {
            None => return,
            Some(Ok((events, listed))) => {
                if failures > 0 {
                    info!(node = host.node.name, "the host answers again");
                    host.returned.notify_one();
                }
                failures = 0;
                Box::pin(host.distribute(listed)).await;
                follow(&host, &route, events, REPAIR).await;
            }
            Some(Err(error)) => {
                failures += 1;
                let again = RECONNECT.after(failures);
                warn!(
                    node = host.node.name,
                    error = error.chain(),
                    "no contact with the host; trying again in {again:?}"
                );
                let _ = host.ctx.shutdown.clone().run_until_cancelled(tokio::time::sleep(again)).await;
            }
        }
    }
}

/// Runs the host's pods from the first change of each on; what does not change has no worker.
pub async fn attend(host: Arc<Host>, route: Arc<Route>) {
    if let Ok(events) = host.runtime.events().await {
        follow(&host, &route, events, NEVER).await;
    }
}

type Events = BoxStream<'static, Result<RuntimeEvent, RuntimeError>>;

/// Until the event stream ends.
async fn follow(host: &Arc<Host>, route: &Route, mut events: Events, repair: Duration) {
    let mut repair = tokio::time::interval_at(tokio::time::Instant::now() + repair, repair);
    loop {
        tokio::select! {
            // In order, so that a simulation goes the same way every time.
            biased;
            () = host.ctx.shutdown.cancelled() => return,
            () = route.wait() => route.take().iter().for_each(|key| host.look(key)),
            event = events.next() => match event {
                Some(Ok(event)) => host.heard(&event),
                Some(Err(error)) => return warn!(node = host.node.name, error = error.chain(), "lost the host's events"),
                None => return,
            },
            _ = repair.tick() => match Box::pin(host.list()).await {
                Ok(listed) => Box::pin(host.distribute(listed)).await,
                Err(error) => return warn!(node = host.node.name, error = error.chain(), "cannot list the host's containers"),
            },
        }
    }
}

/// Removes the files and named volumes of a pod that is gone from the host.
pub async fn remove_files(host: &Host, uid: &str) {
    host.tokens.forget(uid);
    if let Some(dir) = host.pod_dir(uid) {
        let owners = host.owners();
        let removed = tokio::task::spawn_blocking(move || crate::kubelet::volumes::remove_local(&dir, owners)).await;
        if let Ok(Err(error)) = removed {
            warn!(uid, %error, "files of a removed pod are left behind");
        }
        return;
    }
    let volumes = host.runtime.volumes(Some(uid)).await.unwrap_or_default();
    for volume in volumes {
        if let Err(error) = host.runtime.remove_volume(&volume.name).await {
            warn!(uid, error = error.chain(), "a volume of a removed pod is left behind");
        }
    }
}
