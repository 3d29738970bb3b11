//! Waiting until what was changed is ready.

use super::live;
use super::pods::{self, Told};
use super::reporter::{Event, FailingPod, Progress, Reporter};
use super::watched::Watched;
use crate::api::changeset::ObjectId;
use crate::base::wake::Wake;
use crate::client::raw;
use crate::gitops::kinds::Kinds;
use crate::gitops::readiness::{self, Health, NOT_STARTED, Readiness};
use crate::gitops::render::{describe, group, version};
use http::Method;
use jiff::Timestamp;
use serde_json::Value;
use std::collections::HashSet;
use std::time::Duration;
use tokio::time::Instant;

/// How long several changes are gathered.
const GATHER: Duration = Duration::from_millis(20);
/// A controller that has not noticed a change after this long is worth a word.
const STARTING: Duration = Duration::from_secs(2);
/// How often the pods of unready workloads are looked at, and of how many of these.
const LOOK_AT_PODS: Duration = Duration::from_millis(500);
const WORKLOADS: usize = 100;
/// Thousands of objects take long to look at: there is at least this many times as long before the next look.
const REST: u32 = 2;

/// So much of a line that a container wrote is told in a sentence.
const LONGEST_LINE: usize = 200;

/// A program that ends as soon as it has begun is ready until then. Where nothing but its start says that a pod is
/// ready, everything must have been so for this long.
pub const SETTLED: Duration = Duration::from_secs(1);

/// What came of waiting.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Waited {
    pub ready: usize,
    /// Objects that failed, or were not ready in time, with the reason.
    pub failed: Vec<Progress>,
    /// The pod that tells why, where there is one.
    pub cause: Option<FailingPod>,
    /// For how long everything had been ready in the end.
    pub settled: Duration,
}

impl Waited {
    /// What failed, with the pod that tells why, as the one-shot tells it in several lines; `None`: nothing did.
    pub fn why(&self) -> Option<String> {
        let first = self.failed.first()?;
        let mut why = format!("{}: {}", describe(&first.id), first.message);
        let Some(pod) = &self.cause else { return Some(why) };
        if !(why.contains(&pod.pod) && why.contains(&pod.reason)) {
            let container = if pod.container.is_empty() { "" } else { &format!(", container {}", pod.container) };
            why.push_str(&format!("; Pod {}{container}: {}", pod.pod, pod.reason));
            if !pod.message.is_empty() {
                why.push_str(&format!(": {}", pod.message));
            }
        }
        if let Some(line) = pod.log.iter().rev().find(|line| !line.trim().is_empty()) {
            let shown: String = line.trim().chars().take(LONGEST_LINE).collect();
            why.push_str(&format!("; it last wrote: {shown}"));
        }
        Some(why)
    }
}

/// How to wait.
pub struct Wait<'a> {
    pub client: &'a kube::Client,
    pub kinds: &'a dyn Kinds,
    pub health: &'a Health,
    /// The longest to wait.
    pub limit: Duration,
    /// For the reporter; empty for a one-shot.
    pub application: &'a str,
    pub reporter: &'a dyn Reporter,
    /// Objects that come right within this time are not worth a word.
    pub patience: Duration,
    /// End as soon as a pod that was made since then is beyond hope.
    pub give_up: Option<Timestamp>,
    /// How long pods that count as ready when they start must stay so.
    pub settle: Duration,
    /// Rings when an object changed; `None`: they are watched for this wait.
    pub moved: Option<&'a Wake>,
}

/// What was told already, for a wait that is taken up again.
#[derive(Default)]
pub struct Memory {
    troubles: Told,
    shown: Vec<Progress>,
    last: Option<(ObjectId, FailingPod)>,
    /// When this wait began, which may have been taken up again since.
    begun: Option<Instant>,
    /// Workloads whose pods were looked at: the next look goes on from there.
    looked_at: usize,
    said: bool,
    /// Pods were waited for that count as ready when they start.
    hasty: bool,
    /// Since when all is ready.
    ready_since: Option<Instant>,
}

impl Memory {
    /// Whether anything was told.
    pub fn said_anything(&self) -> bool {
        self.said
    }
}

/// One look at all objects.
#[derive(Default)]
struct Look {
    unready: Vec<Progress>,
    failed: Vec<Progress>,
    /// The objects behind both.
    workloads: Vec<(ObjectId, Value)>,
    ready: usize,
}

impl Wait<'_> {
    /// Waits until each object is ready or has failed, at most the limit. Cancel-safe: nothing is
    /// changed. Pods in trouble are told, with their last log lines, as soon as they are seen.
    pub async fn until_ready(&self, objects: &[ObjectId], memory: &mut Memory) -> Waited {
        let (start, mut looked_at_pods) = (Instant::now(), None::<Instant>);
        let begun = *memory.begun.get_or_insert(start);
        let mut standing = Standing::new(self);
        let mut watched = None;
        loop {
            let looking = Instant::now();
            let look = look(self.client, self.kinds, self.health, objects).await;
            // Each change of an object makes its controller look anew; that alone is no news.
            let news = look.unready.iter().filter(|one| one.message != NOT_STARTED || start.elapsed() > STARTING);
            let news: Vec<Progress> = news.cloned().collect();
            let worth_it = begun.elapsed() >= self.patience;
            if worth_it {
                standing.tell(look.ready, &look.unready);
            }
            if worth_it && news != memory.shown && (!news.is_empty() || look.unready.is_empty()) {
                let shown: HashSet<&Progress> = memory.shown.iter().collect();
                let fresh: Vec<_> = news.iter().filter(|one| !shown.contains(one)).cloned().collect();
                memory.shown = news;
                if !fresh.is_empty() {
                    memory.said = true;
                    self.reporter.event(self.application, Event::Progress(fresh));
                }
            }
            let late = start.elapsed() >= self.limit;
            let settling = self.settling(&look, memory);
            let done = look.unready.is_empty() && settling.is_zero() || late;
            // The first look is too early for trouble to show.
            let since = *looked_at_pods.get_or_insert_with(Instant::now);
            if done || since.elapsed() >= LOOK_AT_PODS {
                looked_at_pods = Some(Instant::now());
                if let Some((id, pod)) = self.look_at_pods(&look, memory, late, done).await {
                    let message = format!("Pod {}: {}: {}", pod.pod, pod.reason, pod.message);
                    let failed = vec![Progress { id, message }];
                    return Waited { ready: look.ready, failed, cause: Some(pod), ..Waited::default() };
                }
            }
            if done {
                let seconds = begun.elapsed().as_secs_f64().round();
                let late = |Progress { id, message }| Progress {
                    id,
                    message: format!("not ready after {seconds} s: {message}"),
                };
                let mut failed: Vec<_> = look.failed.into_iter().chain(look.unready.into_iter().map(late)).collect();
                let settled = memory.ready_since.map(|since| since.elapsed()).unwrap_or_default();
                let (id, cause) = memory.last.take().unzip();
                // The first is what a sentence is about.
                failed.sort_by_key(|one| id.as_ref().is_some_and(|id| one.id != *id));
                return Waited { ready: look.ready, failed, cause, settled };
            }
            let next = if settling.is_zero() { LOOK_AT_PODS } else { settling };
            let left = self.limit.saturating_sub(start.elapsed());
            let moved = self.moved.unwrap_or_else(|| &watched.get_or_insert_with(|| self.watch(objects)).moved);
            pause(moved, next, left, looking.elapsed() * REST).await;
        }
    }

    fn watch(&self, objects: &[ObjectId]) -> Watched {
        let judged = objects.iter().filter(|id| self.health.has_rule(&id.api_version, &id.kind));
        Watched::of(self.client, self.kinds, judged)
    }

    /// How much longer all that is ready must stay so.
    fn settling(&self, look: &Look, memory: &mut Memory) -> Duration {
        memory.hasty |= look.workloads.iter().any(|(id, object)| {
            let is_begun = |one: &Progress| one.id == *id && one.message != NOT_STARTED;
            look.unready.iter().any(is_begun) && readiness::is_ready_at_once(object)
        });
        if !look.unready.is_empty() {
            memory.ready_since = None;
            return Duration::ZERO;
        }
        let since = *memory.ready_since.get_or_insert_with(Instant::now);
        if memory.hasty { self.settle.saturating_sub(since.elapsed()) } else { Duration::ZERO }
    }

    /// Tells of pods in trouble; one that is beyond hope, and its workload. `all`: looks at every workload, not
    /// only at some.
    async fn look_at_pods(
        &self,
        look: &Look,
        memory: &mut Memory,
        late: bool,
        all: bool,
    ) -> Option<(ObjectId, FailingPod)> {
        let mut hopeless = None;
        let count = look.workloads.len();
        let (from, some) = if all { (0, count) } else { (memory.looked_at, count.min(WORKLOADS)) };
        memory.looked_at = (from + some) % count.max(1);
        for (id, workload) in look.workloads.iter().cycle().skip(from % count.max(1)).take(some) {
            let found = pods::failing(self.client, workload, &mut memory.troubles, self.give_up, late).await;
            for pod in found.fresh {
                (memory.last, memory.said) = (Some((id.clone(), pod.clone())), true);
                self.reporter.event(self.application, Event::Failing(pod));
            }
            hopeless = hopeless.or(found.hopeless.map(|pod| (id.clone(), pod)));
        }
        hopeless
    }
}

/// At least for `rest`; then until an object may have changed, it is time for the `next` look, or no time is `left`.
async fn pause(moved: &Wake, next: Duration, left: Duration, rest: Duration) {
    tokio::time::sleep(GATHER.max(rest).min(left)).await;
    // However that ends, it is time to look.
    let _ = tokio::time::timeout(next.min(LOOK_AT_PODS).min(left), moved.wait()).await;
}

/// What was last told to be waited for. Taken back when the wait ends, however it ends.
struct Standing<'a> {
    wait: &'a Wait<'a>,
    told: Vec<Progress>,
}

impl<'a> Standing<'a> {
    fn new(wait: &'a Wait<'a>) -> Self {
        Self { wait, told: Vec::new() }
    }

    fn tell(&mut self, ready: usize, unready: &[Progress]) {
        if self.told != unready {
            self.wait.reporter.waiting(self.wait.application, ready, unready);
            self.told = unready.to_vec();
        }
    }
}

impl Drop for Standing<'_> {
    fn drop(&mut self) {
        if !self.told.is_empty() {
            self.wait.reporter.waiting(self.wait.application, 0, &[]);
        }
    }
}

/// Those that are not ready now, and why.
pub async fn unready(client: &kube::Client, kinds: &dyn Kinds, health: &Health, objects: &[ObjectId]) -> Vec<Progress> {
    let look = look(client, kinds, health, objects).await;
    look.failed.into_iter().chain(look.unready).collect()
}

async fn look(client: &kube::Client, kinds: &dyn Kinds, health: &Health, objects: &[ObjectId]) -> Look {
    let mut look = Look::default();
    let judged = || objects.iter().filter(|id| health.has_rule(&id.api_version, &id.kind));
    look.ready = objects.len() - judged().count();
    let mut found = live::All::of(client, kinds, judged()).await;
    for id in judged() {
        let found = found.take(id).await;
        let readiness = match &found {
            Ok(Some(object)) if is_idle_claim(client, health, object).await => Readiness::Ready,
            Ok(Some(object)) => health.of(object),
            Ok(None) => Readiness::Progressing("not there".to_owned()),
            Err(error) => Readiness::Progressing(format!("it cannot be read: {error}")),
        };
        let object = found.ok().flatten();
        match readiness {
            Readiness::Ready => look.ready += 1,
            Readiness::Failed(message) => {
                look.workloads.extend(object.map(|object| (id.clone(), object)));
                look.failed.push(Progress { id: id.clone(), message });
            }
            Readiness::Progressing(message) => {
                look.workloads.extend(object.map(|object| (id.clone(), object)));
                look.unready.push(Progress { id: id.clone(), message });
            }
        }
    }
    look
}

/// Whether it is a claim that stays unbound until a pod uses it, which may be one of a later stage.
async fn is_idle_claim(client: &kube::Client, health: &Health, object: &Value) -> bool {
    let Some(class) = readiness::class_of_idle_claim(object) else { return false };
    if health.judges("v1", "PersistentVolumeClaim") {
        return false;
    }
    // A class that cannot be read says nothing: the claim is waited for.
    let path = path("storage.k8s.io/v1", "storageclasses", "", class);
    let Ok(bytes) = raw::request(client, Method::GET, &path, None).await else { return false };
    serde_json::from_slice(&bytes).is_ok_and(|class| readiness::waits_for_consumer(&class))
}

/// The URL path of an object; of a collection with an empty `name`; of all namespaces with an empty
/// `namespace`.
pub fn path(api_version: &str, plural: &str, namespace: &str, name: &str) -> String {
    let mut path = match group(api_version) {
        "" => format!("/api/{}", version(api_version)),
        group => format!("/apis/{group}/{}", version(api_version)),
    };
    if !namespace.is_empty() {
        path.push_str("/namespaces/");
        path.push_str(namespace);
    }
    path.push('/');
    path.push_str(plural);
    if !name.is_empty() {
        path.push('/');
        path.push_str(name);
    }
    path
}
