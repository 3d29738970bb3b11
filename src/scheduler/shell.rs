//! Follows pods and hosts, asks [`cycle`](super::cycle) for decisions, binds in the background.

mod preempting;
mod preparing;
#[cfg(test)]
mod tests;

use super::cycle::{self, Verdict};
use super::hints::{Event, is_news};
use super::profiles::{self, Profiles};
use super::queue::Queue;
use super::requests;
use super::snapshot::{Placed, Seen, Snapshot};
use crate::client::{Change, Context, EventRecorder, Informer, Kind, raw};
use bytes::Bytes;
use http::Method;
use k8s_openapi::api::apps::v1::{ReplicaSet, StatefulSet};
use k8s_openapi::api::core::v1::{
    ConfigMap, Namespace, Node, PersistentVolume, PersistentVolumeClaim, Pod, ReplicationController, Service,
};
use k8s_openapi::api::policy::v1::PodDisruptionBudget;
use k8s_openapi::api::storage::v1::{CSINode, StorageClass, VolumeAttachment};
use kube::ResourceExt;
use preparing::{Asked, Preparing};
use serde_json::{Value, json};
use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::{Semaphore, mpsc};
use tokio::time::Instant;

/// Bindings under way at once: enough to fill the store's group commits.
const BINDINGS: usize = 256;

/// What happens at the same moment is seen whole before the first decision, so that it does not depend
/// on which of it was told first.
const GATHER: Duration = Duration::from_millis(2);

enum News {
    Pod(Change<Pod>),
    Node(Change<Node>),
    Claim(Change<PersistentVolumeClaim>),
    Volume(Change<PersistentVolume>),
    Class(Change<StorageClass>),
    Drivers(Change<CSINode>),
    Attachment(Change<VolumeAttachment>),
    Namespace(Change<Namespace>),
    Budget(Change<PodDisruptionBudget>),
    Service(Change<Service>),
    ReplicaSet(Change<ReplicaSet>),
    StatefulSet(Change<StatefulSet>),
    ReplicationController(Change<ReplicationController>),
    /// The schedulers' names and weights; none when they are gone.
    Profiles(Option<Arc<ConfigMap>>),
    /// A volume was asked for, for the pod of this uid.
    Asked(String, Asked),
    /// A binding ended: uid, the pod, the attempts so far, and the error if it failed.
    Bound(String, Arc<Pod>, u32, Option<kube::Error>),
}

/// Told of every decision, with the hosts as they were before it.
pub type Observer = Arc<dyn Fn(&Pod, &Snapshot, &Verdict) + Send + Sync>;

/// Schedules until shutdown.
pub async fn run(ctx: Context) {
    run_observed(ctx, Arc::new(|_, _, _| ())).await;
}

/// As [`run`], for someone who wants to know why.
pub async fn run_observed(ctx: Context, observer: Observer) {
    let (sender, news) = mpsc::unbounded_channel();
    // Pods last, so that the first of them do not find an empty cluster.
    follow(&ctx, &sender, News::Node).await;
    follow(&ctx, &sender, News::Namespace).await;
    follow(&ctx, &sender, News::Budget).await;
    follow(&ctx, &sender, News::Service).await;
    follow(&ctx, &sender, News::ReplicaSet).await;
    follow(&ctx, &sender, News::StatefulSet).await;
    follow(&ctx, &sender, News::ReplicationController).await;
    follow(&ctx, &sender, News::Class).await;
    follow(&ctx, &sender, News::Drivers).await;
    follow(&ctx, &sender, News::Attachment).await;
    follow(&ctx, &sender, News::Volume).await;
    follow(&ctx, &sender, News::Claim).await;
    follow(&ctx, &sender, News::Pod).await;
    let events = ctx.events.component(super::NAME, None);
    let mut scheduler = Scheduler {
        ctx: ctx.clone(),
        events,
        observer,
        queue: Queue::default(),
        snapshot: Snapshot::default(),
        pods: ctx.informers.of(),
        binding: HashMap::new(),
        preparing: BTreeMap::new(),
        permits: Arc::new(Semaphore::new(BINDINGS)),
        asked_for_others: false,
        sender,
    };
    ctx.shutdown.run_until_cancelled(scheduler.work(news)).await;
}

async fn follow<K: Kind>(ctx: &Context, to: &mpsc::UnboundedSender<News>, news: fn(Change<K>) -> News) {
    let (informer, to) = (ctx.informers.of::<K>(), to.clone());
    informer.synced().await;
    informer.subscribe(Box::new(move |change| drop(to.send(news(change.clone())))));
}

/// Of all ConfigMaps only the one.
async fn follow_profiles(ctx: Context, to: mpsc::UnboundedSender<News>) {
    let informer = ctx.informers.of::<ConfigMap>();
    informer.synced().await;
    informer.subscribe(Box::new(move |change| {
        if profiles::is_in(change.object()) {
            let now = (!matches!(change, Change::Deleted(_))).then(|| change.object().clone());
            let _ = to.send(News::Profiles(now));
        }
    }));
}

struct Scheduler {
    ctx: Context,
    events: EventRecorder,
    observer: Observer,
    queue: Queue,
    snapshot: Snapshot,
    pods: Informer<Pod>,
    /// Pods decided but not yet bound as far as the API has shown: uid -> host.
    binding: HashMap<String, String>,
    /// Those of them that wait for their volumes, by uid.
    preparing: BTreeMap<String, Preparing>,
    permits: Arc<Semaphore>,
    /// A pod asked for another scheduler than the one that there always is.
    asked_for_others: bool,
    sender: mpsc::UnboundedSender<News>,
}

impl Scheduler {
    async fn work(&mut self, mut news: mpsc::UnboundedReceiver<News>) {
        let mut gathered = false;
        loop {
            while let Ok(one) = news.try_recv() {
                self.take_in(one);
            }
            if !self.preparing.is_empty() {
                self.look_at_preparing(Instant::now()).await;
            }
            let next = self.queue.tick(Instant::now()).into_iter().chain(self.next_patience()).min();
            if self.queue.has_ready() {
                if !gathered {
                    gathered = true;
                    tokio::time::sleep(GATHER).await;
                    continue;
                }
                self.schedule_one().await;
                continue;
            }
            gathered = false;
            let idle = next.map_or(Duration::from_secs(60), |at| at.saturating_duration_since(Instant::now()));
            tokio::select! {
                biased;
                one = news.recv() => match one {
                    Some(one) => self.take_in(one),
                    None => return,
                },
                () = tokio::time::sleep(idle) => {}
            }
        }
    }

    fn take_in(&mut self, news: News) {
        let now = Instant::now();
        match news {
            News::Node(Change::Deleted(node)) => {
                self.snapshot.remove_node(node.metadata.name.as_deref().unwrap_or_default());
                self.queue.wake(&Event::HostGone, now);
            }
            News::Node(Change::Updated { old, new }) => {
                self.snapshot.set_node(new.clone());
                if is_news(&old, &new) {
                    self.queue.wake(&Event::Host { old: Some(&old), new: &new }, now);
                }
            }
            News::Node(Change::Added(node)) => {
                self.snapshot.set_node(node.clone());
                self.queue.wake(&Event::Host { old: None, new: &node }, now);
            }
            News::Claim(change) => {
                match change {
                    Change::Deleted(claim) => self.snapshot.storage.remove_claim(&claim),
                    Change::Added(claim) | Change::Updated { new: claim, .. } => self.snapshot.storage.set_claim(claim),
                }
                self.queue.wake(&Event::Storage, now);
            }
            News::Volume(change) => {
                match change {
                    Change::Deleted(volume) => self.snapshot.storage.remove_volume(&volume.name_any()),
                    Change::Added(volume) | Change::Updated { new: volume, .. } => {
                        self.snapshot.storage.set_volume(volume);
                    }
                }
                self.queue.wake(&Event::Storage, now);
            }
            News::Class(change) => {
                match change {
                    Change::Deleted(class) => self.snapshot.storage.remove_class(&class.name_any()),
                    Change::Added(class) | Change::Updated { new: class, .. } => self.snapshot.storage.set_class(class),
                }
                self.queue.wake(&Event::Storage, now);
            }
            News::Drivers(change) => {
                match change {
                    Change::Deleted(node) => self.snapshot.storage.remove_drivers(&node.name_any()),
                    Change::Added(node) | Change::Updated { new: node, .. } => self.snapshot.storage.set_drivers(&node),
                }
                self.queue.wake(&Event::Storage, now);
            }
            News::Attachment(Change::Deleted(attachment)) => {
                self.snapshot.storage.remove_attachment(&attachment);
                self.queue.wake(&Event::Storage, now);
            }
            // It takes room, and makes none.
            News::Attachment(Change::Added(attachment) | Change::Updated { new: attachment, .. }) => {
                self.snapshot.storage.set_attachment(&attachment);
            }
            News::Namespace(change) => {
                let labels = match &change {
                    Change::Deleted(_) => None,
                    Change::Added(namespace) | Change::Updated { new: namespace, .. } => {
                        Some(namespace.labels().clone())
                    }
                };
                if self.snapshot.topology.set_namespace(&change.object().name_any(), labels) {
                    self.queue.wake(&Event::Namespace, now);
                }
            }
            News::Budget(Change::Deleted(budget)) => self.snapshot.budgets.remove(&budget),
            News::Budget(Change::Added(budget) | Change::Updated { new: budget, .. }) => {
                self.snapshot.budgets.set(&budget);
            }
            News::Service(change) => self.snapshot.selectors.see_service(&change),
            News::ReplicaSet(change) => self.snapshot.selectors.see_controller(&change),
            News::StatefulSet(change) => self.snapshot.selectors.see_controller(&change),
            News::ReplicationController(change) => self.snapshot.selectors.see_controller(&change),
            News::Profiles(map) => self.set_profiles(map, now),
            News::Asked(uid, asked) => self.asked(&uid, asked, now),
            News::Pod(Change::Deleted(pod)) => {
                let uid = pod.metadata.uid.clone().unwrap_or_default();
                self.drop_preparing(&uid);
                self.queue.remove(&uid);
                self.binding.remove(&uid);
                self.snapshot.forget(&uid);
                self.queue.wake(&Event::left(&pod, &self.snapshot), now);
                if self.snapshot.withdraw(&uid).is_some() {
                    self.queue.wake(&Event::PromiseOver, now);
                }
            }
            News::Pod(Change::Added(pod) | Change::Updated { new: pod, .. }) => self.see_pod(pod, now),
            News::Bound(uid, pod, attempts, error) => self.bound(uid, pod, attempts, error, now),
        }
    }

    fn see_pod(&mut self, pod: Arc<Pod>, now: Instant) {
        let uid = pod.metadata.uid.clone().unwrap_or_default();
        match self.snapshot.observe(&pod) {
            Seen::Placed => self.queue.wake(&Event::Placed(&pod), now),
            Seen::Shrunk => {
                self.queue.wake(&Event::Placed(&pod), now);
                self.queue.wake(&Event::shrunk(&pod, &self.snapshot), now);
            }
            Seen::Leaving => self.queue.wake(&Event::Leaving(&pod), now),
            Seen::Left => self.queue.wake(&Event::left(&pod, &self.snapshot), now),
            Seen::Nothing => {}
        }
        if self.snapshot.observe_promise(&pod) && !is_bound(&pod) {
            self.queue.wake(&Event::PromiseOver, now);
        }
        if is_bound(&pod) {
            self.binding.remove(&uid);
            self.queue.remove(&uid);
        } else if self.is_ours(&pod) && !self.binding.contains_key(&uid) {
            self.queue.update(&uid, pod, now);
        } else if !self.is_ours(&pod) {
            self.queue.remove(&uid);
            self.look_for_others(&pod);
        }
    }

    /// All ConfigMaps are many to keep for a few weights: they are looked at when the first pod needs it.
    fn look_for_others(&mut self, pod: &Pod) {
        if !self.asked_for_others && !self.snapshot.profiles.serve(pod) {
            self.asked_for_others = true;
            let following = follow_profiles(self.ctx.clone(), self.sender.clone());
            tokio::spawn(self.ctx.shutdown.clone().run_until_cancelled_owned(following));
        }
    }

    /// Pods may ask for a scheduler that is new, or gone.
    fn set_profiles(&mut self, map: Option<Arc<ConfigMap>>, now: Instant) {
        let (profiles, errors) = Profiles::of(map.as_deref());
        self.snapshot.profiles = profiles;
        for error in errors {
            let why = std::error::Error::source(&error).map(|source| format!(": {source}")).unwrap_or_default();
            tracing::warn!("a scheduler of {}/{} is not one: {error}{why}", profiles::NAMESPACE, profiles::NAME);
            if let Some(map) = &map {
                self.events.warning(&**map, "InvalidScheduler", format!("{error}{why}"));
            }
        }
        for pod in self.pods.list().into_iter().filter(|pod| !is_bound(pod)) {
            self.see_pod(pod, now);
        }
    }

    /// Waits for this scheduler, and for no one else.
    fn is_ours(&self, pod: &Pod) -> bool {
        self.snapshot.profiles.serve(pod) && pod.metadata.deletion_timestamp.is_none() && !requests::is_over(pod)
    }

    /// In the name of the scheduler that the pod asks for.
    fn events_about(&self, pod: &Pod) -> EventRecorder {
        match profiles::name(pod) {
            super::NAME => self.events.clone(),
            name => self.ctx.events.component(name, None),
        }
    }

    fn bound(&mut self, uid: String, pod: Arc<Pod>, attempts: u32, error: Option<kube::Error>, now: Instant) {
        let Some(error) = error else { return };
        // Already shown as bound, or deleted: nothing to undo.
        if self.binding.remove(&uid).is_none() {
            return;
        }
        self.snapshot.forget(&uid);
        self.queue.wake(&Event::left(&pod, &self.snapshot), now);
        let gone_or_taken = matches!(raw::code(&error), Some(404 | 409));
        if !gone_or_taken {
            tracing::warn!(pod = name_of(&pod), "binding failed, trying again: {error}");
        }
        self.queue.retry(&uid, pod, attempts, now);
    }

    async fn schedule_one(&mut self) {
        let Some((uid, pod, attempts)) = self.queue.pop() else { return };
        let decided = cycle::decide(&pod, &mut self.snapshot);
        (self.observer)(&pod, &self.snapshot, &decided);
        match decided {
            Verdict::Bind { host, .. } => {
                let requests = cycle::requests(&pod, &host, &self.snapshot);
                let promised = self.snapshot.withdraw(&uid);
                self.snapshot.place(&uid, &host, Placed::of(&pod));
                self.queue.wake(&Event::Placed(&pod), Instant::now());
                if promised.is_some_and(|promised| promised != host) {
                    self.queue.wake(&Event::PromiseOver, Instant::now());
                }
                self.binding.insert(uid.clone(), host.clone());
                if requests.is_empty() {
                    self.bind(uid, pod, attempts, host).await;
                } else {
                    self.prepare(uid, pod, attempts, host, requests);
                }
            }
            Verdict::Unschedulable { ref rejections, ref preemption } => {
                let nomination = self.carry_out(&uid, &pod, preemption);
                self.report_refusal(&pod, decided.message(), nomination);
                let causes = rejections.distinct().map(|rejection| rejection.cause).collect();
                self.queue.refuse(&uid, pod, attempts, Instant::now(), causes);
            }
        }
    }

    /// Binds in the background; waits only when very many bindings are under way.
    async fn bind(&mut self, uid: String, pod: Arc<Pod>, attempts: u32, host: String) {
        let Ok(permit) = self.permits.clone().acquire_owned().await else { return };
        let (client, events, sender) = (self.ctx.client.clone(), self.events_about(&pod), self.sender.clone());
        let shutdown = self.ctx.shutdown.clone();
        tokio::spawn(async move {
            let bound = shutdown.run_until_cancelled(post_binding(&client, &pod, &host)).await;
            drop(permit);
            let error = match bound {
                None => return,
                Some(Ok(())) => {
                    events.normal(&*pod, "Scheduled", format!("Successfully assigned {} to {host}", name_of(&pod)));
                    None
                }
                Some(Err(error)) => Some(error),
            };
            let _ = sender.send(News::Bound(uid, pod, attempts, error));
        });
    }

    /// Tells the pod why it waits, when that is news, and which host it is promised: an empty name for none
    /// any more.
    fn report_refusal(&self, pod: &Arc<Pod>, message: String, nomination: Option<String>) {
        self.events_about(pod).warning(&**pod, "FailedScheduling", message.clone());
        let status = pod.status.as_ref();
        let known = status.and_then(|status| status.conditions.as_ref()).into_iter().flatten().any(|condition| {
            condition.type_ == "PodScheduled"
                && condition.reason.as_deref() == Some("Unschedulable")
                && condition.message.as_deref() == Some(message.as_str())
        });
        let nominated = status.and_then(|status| status.nominated_node_name.as_deref()).unwrap_or_default();
        let nomination = nomination.filter(|host| host != nominated);
        if known && nomination.is_none() {
            return;
        }
        let now = self.ctx.clock.now_seconds().to_string();
        let mut status = json!({"conditions": [{"type": "PodScheduled", "status": "False", "reason": "Unschedulable",
            "message": message, "lastTransitionTime": now}]});
        if let Some(host) = nomination {
            status["nominatedNodeName"] = if host.is_empty() { Value::Null } else { host.into() };
        }
        self.spawn_write(pod, "its PodScheduled condition could not be written", |client, pod| async move {
            patch_status(&client, &pod, status).await
        });
    }

    /// Makes a write about a pod in the background. That the pod is gone, or another, is no news.
    fn spawn_write<F, W>(&self, pod: &Arc<Pod>, trouble: &'static str, write: W)
    where
        F: Future<Output = Result<(), kube::Error>> + Send + 'static,
        W: FnOnce(kube::Client, Arc<Pod>) -> F,
    {
        let sent = write(self.ctx.client.clone(), pod.clone());
        let (shutdown, pod) = (self.ctx.shutdown.clone(), pod.clone());
        tokio::spawn(async move {
            if let Some(Err(error)) = shutdown.run_until_cancelled(sent).await
                && !matches!(raw::code(&error), Some(404 | 409))
            {
                tracing::warn!(pod = name_of(&pod), "{trouble}: {error}");
            }
        });
    }
}

/// A strategic merge into the status of this pod, and of no later one of its name.
async fn patch_status(client: &kube::Client, pod: &Pod, status: Value) -> Result<(), kube::Error> {
    let patch = json!({"metadata": {"uid": cycle::uid(pod)}, "status": status});
    let body = Some(("application/strategic-merge-patch+json", Bytes::from(patch.to_string())));
    raw::request(client, Method::PATCH, &format!("{}/status", path_of(pod)), body).await.map(drop)
}

async fn post_binding(client: &kube::Client, pod: &Pod, host: &str) -> Result<(), kube::Error> {
    let name = pod.metadata.name.as_deref().unwrap_or_default();
    let uid = pod.metadata.uid.as_deref().unwrap_or_default();
    let binding = json!({
        "apiVersion": "v1", "kind": "Binding",
        "metadata": {"name": name, "namespace": pod.metadata.namespace, "uid": uid},
        "target": {"apiVersion": "v1", "kind": "Node", "name": host},
    });
    let body = Bytes::from(binding.to_string());
    raw::request(client, Method::POST, &format!("{}/binding", path_of(pod)), Some(("application/json", body)))
        .await
        .map(drop)
}

fn path_of(pod: &Pod) -> String {
    let text = |part: &Option<String>| part.clone().unwrap_or_default();
    format!("/api/v1/namespaces/{}/pods/{}", text(&pod.metadata.namespace), text(&pod.metadata.name))
}

fn name_of(pod: &Pod) -> String {
    format!(
        "{}/{}",
        pod.metadata.namespace.as_deref().unwrap_or_default(),
        pod.metadata.name.as_deref().unwrap_or_default()
    )
}

fn is_bound(pod: &Pod) -> bool {
    pod.spec.as_ref().and_then(|spec| spec.node_name.as_deref()).is_some_and(|name| !name.is_empty())
}
