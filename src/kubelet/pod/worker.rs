//! The task of one pod: look, decide, report, act, wait; until nothing of the pod is left.

mod ending;
mod rest;
mod sight;

use crate::base::few::Few;
use crate::kubelet::host::Host;
use crate::kubelet::inbox::{Inbox, Listed, Moment};
use crate::kubelet::pod::arrival::Admission;
use crate::kubelet::pod::facts::{Facts, Trouble};
use crate::kubelet::pod::ops::{self, Failed, Job, Outcome};
use crate::kubelet::pod::plan::{Action, Failure, Plan, plan};
use crate::kubelet::pod::report::{Reports, Written};
use crate::kubelet::pod::resizing;
use crate::kubelet::pod::start::{self, Life};
use crate::kubelet::pod::step::CANNOT_START;
use crate::kubelet::pod::{View, container_hash, find_container, identity, spec};
use crate::kubelet::probes::Probers;
use crate::kubelet::resize::{Standing, actuation};
use crate::kubelet::runtime::{ContainerStatus, Exit, Listing, PodIdentity, Sandbox};
use crate::kubelet::{sources, status};
use ending::Stopping;
use k8s_openapi::api::core::v1::{Pod, PodStatus};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::sync::Arc;
use std::time::Duration;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;
use tracing::warn;

/// After a status that could not be reported or a container that could not be inspected.
const AGAIN: Duration = Duration::from_secs(3);
/// The operation on the pod as a whole, among those on its containers.
pub(super) const WHOLE: &str = "";

pub struct Worker {
    pub(super) host: Arc<Host>,
    pub(super) inbox: Arc<Inbox>,
    pub(super) identity: PodIdentity,
    pub(super) pod: Arc<Pod>,
    /// The informer's object that `pod` comes from.
    informed: Arc<Pod>,
    /// The same with the resources that are allocated to it, and where a change of them stands.
    pub(super) allocated: Arc<Pod>,
    pub(super) resize: Option<Standing>,
    /// As what the containers that are being started are made.
    starting: HashMap<String, Arc<Pod>>,
    /// The object is gone from the API; `pod` is the last that was seen.
    gone: bool,
    pub(super) sandbox: Option<Sandbox>,
    pub(super) lives: Vec<ContainerStatus>,
    /// When this was last brought up to date: a listing that was asked for before may lack what was seen
    /// or done since, and show what is gone.
    seen: Moment,
    pub(super) facts: Facts,
    pub(super) admission: Admission,
    /// The host does not take the pod, or not any more.
    pub(super) refused: Option<Failure>,
    /// What each operation under way can be called off with; [`WHOLE`] for the pod's own.
    pub(super) busy: HashMap<String, CancellationToken>,
    /// Containers that an operation under way removes, by id.
    removing: HashSet<String>,
    /// What is being stopped, by container.
    stopping: Few<Stopping>,
    operations: JoinSet<(String, Outcome)>,
    pub(super) probers: Probers,
    reports: Reports,
    /// Volumes are behind the objects they show.
    pub(super) stale_volumes: bool,
    retry: bool,
    finished: bool,
    /// Nothing has happened for long.
    rests: bool,
    pub(super) told: BTreeMap<String, (&'static str, String)>,
}

/// Runs the pod's worker to its end: the pod is gone, the daemon stops, or nothing is to be done about the pod, as it is
/// returned, until something happens to it.
pub async fn run(host: Arc<Host>, inbox: Arc<Inbox>, pod: Arc<Pod>, listing: Listing) -> Option<Arc<Pod>> {
    let identity = identity(&pod);
    host.interests.enter(&host.node.name, &identity.namespace, &identity.name, &identity.uid, &inbox);
    let informed = pod.clone();
    let pod = sources::whole(&host, pod);
    // Boxed, as its work is: the task would have room for two of each.
    let mut worker = Box::new(Worker {
        identity: identity.clone(),
        allocated: pod.clone(),
        resize: None,
        starting: HashMap::new(),
        pod,
        informed,
        gone: false,
        sandbox: None,
        lives: Vec::new(),
        seen: Moment::default(),
        facts: Facts::default(),
        admission: Admission::Open,
        refused: None,
        busy: HashMap::new(),
        removing: HashSet::new(),
        stopping: Few::default(),
        operations: JoinSet::new(),
        probers: Probers::default(),
        reports: Reports::default(),
        stale_volumes: false,
        retry: false,
        finished: false,
        rests: false,
        told: BTreeMap::new(),
        host: host.clone(),
        inbox: inbox.clone(),
    });
    worker.adopt(listing);
    let shutdown = host.ctx.shutdown.clone();
    let _ = shutdown.run_until_cancelled(Box::pin(worker.work())).await;
    host.interests.leave(&host.node.name, &identity.namespace, &identity.name, &identity.uid);
    worker.rests.then_some(worker.informed)
}

impl Worker {
    async fn work(&mut self) {
        while !self.finished && !self.rests {
            self.retry = false;
            self.look().await;
            let wake = self.waits_for_room().or_else(|| self.act());
            self.wait(wake).await;
        }
    }

    /// Decides, reports and acts; when to look again. Nothing of it is kept while the pod stays as it is.
    fn act(&mut self) -> Option<jiff::Timestamp> {
        self.settle_resize();
        let plan = self.plan();
        self.tell(&plan);
        let status = self.status(&plan);
        self.probe();
        let wake = [plan.wake, self.token_due()].into_iter().flatten().min();
        plan.actions.into_iter().for_each(|action| self.begin(action));
        self.refresh();
        self.report(&status);
        wake
    }

    /// What runs already was started by an earlier daemon: its hooks are over, and what the API says
    /// of its probes holds until they say otherwise. What it mounts may have changed meanwhile, and is
    /// followed from here on.
    fn adopt(&mut self, listing: Listing) {
        self.set_listing(listing);
        self.stale_volumes = self.sandbox.is_some();
        self.stay();
        self.adopt_resize();
        let running: Vec<_> = self.lives.iter().filter(|life| life.state.is_running()).cloned().collect();
        for life in running {
            let name = &life.identity.container;
            let reported = View::reported(&self.view(&BTreeSet::new()), name).cloned();
            let same = reported.filter(|s| s.container_id.as_deref() == Some(&format!("podman://{}", life.id)));
            let facts = self.facts.container_mut(name).lives.at(&life.id);
            facts.hook_done = true;
            facts.ready = same.as_ref().map(|s| s.ready);
            facts.startup = same.and_then(|s| s.started).filter(|started| *started);
        }
    }

    /// Brings everything observed up to date.
    async fn look(&mut self) {
        let news = self.inbox.take();
        match news.listing {
            None if !news.relist => {}
            Some(Listed { listing, asked }) if !news.relist && self.busy.is_empty() && asked > self.seen => {
                self.set_listing(listing);
            }
            // What has been done and seen since a listing was asked for is not in it.
            _ => Box::pin(self.list()).await,
        }
        for id in news.stale {
            Box::pin(self.inspect(&id)).await;
        }
        self.hear(&news.probes);
        if news.objects {
            self.stale_volumes = true;
            // What was missing may be there now.
            for container in self.facts.containers.values_mut() {
                container.trouble.take_if(|trouble| trouble.reason == "CreateContainerConfigError");
            }
            self.facts.sandbox.take_if(|trouble| trouble.reason == "FailedMount");
        }
        self.look_at_api();
        if let Some(failure) = news.turned_out {
            self.turn_out(failure);
        }
        self.admit().await;
        if self.has_ended() {
            Box::pin(super::last_words::collect(self)).await;
        }
    }

    /// The newest object: the informer's, unless an answer to a write of ours is newer.
    fn look_at_api(&mut self) {
        let seen = self.host.pods.get(&self.identity.namespace, &self.identity.name);
        match seen.filter(|pod| pod.metadata.uid.as_deref() == Some(&self.identity.uid)) {
            Some(pod) if version(&pod) >= version(&self.pod) => {
                self.stale_volumes |= pod.metadata.labels != self.pod.metadata.labels
                    || pod.metadata.annotations != self.pod.metadata.annotations;
                self.note_resize(&pod);
                // After a write of ours this is the first to show what others wrote before it.
                if !Arc::ptr_eq(&self.informed, &pod) {
                    self.informed = pod.clone();
                    self.pod = sources::whole(&self.host, pod);
                }
            }
            None if self.host.pods.is_synced() => self.bury(),
            Some(_) | None => {}
        }
        self.follow_resize();
        if self.pod.metadata.deletion_timestamp.is_some() {
            self.busy.values().for_each(CancellationToken::cancel);
            self.hurry();
        }
    }

    /// The object is gone (force deletion): what runs is stopped as if it had been deleted orderly.
    fn bury(&mut self) {
        if self.gone {
            return;
        }
        self.gone = true;
        let mut pod = Pod::clone(&self.pod);
        pod.metadata.deletion_timestamp.get_or_insert(Time(self.host.ctx.clock.now_seconds()));
        pod.status.get_or_insert_default().phase = Some("Failed".into());
        self.pod = Arc::new(pod);
    }

    pub(super) fn view<'a>(&'a self, busy: &'a BTreeSet<String>) -> View<'a> {
        View {
            pod: &self.allocated,
            sandbox: self.sandbox.as_ref(),
            containers: &self.lives,
            facts: &self.facts,
            refused: self.refused.as_ref(),
            resize: self.resize.as_ref(),
            busy,
            sandbox_busy: self.busy.contains_key(WHOLE),
            now: self.host.ctx.clock.now(),
        }
    }

    pub(super) fn busy(&self) -> BTreeSet<String> {
        self.busy.keys().filter(|name| *name != WHOLE).cloned().collect()
    }

    fn plan(&self) -> Plan {
        plan(&self.view(&self.busy()))
    }

    fn status(&self, plan: &Plan) -> PodStatus {
        status::pod_status(&self.view(&self.busy()), plan, &self.host.addresses())
    }

    fn report(&mut self, status: &PodStatus) {
        if self.gone {
            return;
        }
        let starts_or_ends =
            status.phase.as_deref() == Some("Pending") || self.pod.metadata.deletion_timestamp.is_some();
        let changing = starts_or_ends && !self.busy.is_empty();
        self.retry |= self.reports.report(&self.host, &self.pod, status, changing).is_some();
    }

    /// The status that was written is newer than what the informer shows; everything else is as it was seen:
    /// the report may have been on its way since before that.
    fn written(&mut self, written: Option<Box<Written>>) {
        if let Some(Written { revision, status }) = written.map(|written| *written)
            && number(&revision) > version(&self.pod)
        {
            let pod = Arc::make_mut(&mut self.pod);
            (pod.metadata.resource_version, pod.status) = (Some(revision), Some(status));
        }
    }

    pub(super) fn job(&self) -> Job {
        Job {
            host: self.host.clone(),
            inbox: self.inbox.clone(),
            pod: self.allocated.clone(),
            sandbox: self.sandbox.clone(),
            cancel: CancellationToken::new(),
        }
    }

    fn begin(&mut self, action: Action) {
        let job = self.job();
        match action {
            Action::EnsureSandbox => self.spawn(WHOLE, &job.cancel.clone(), ops::ensure_sandbox(job)),
            Action::Start { container, attempt, streak, made } => {
                let life = Life { attempt, streak, made };
                self.starting.insert(container.clone(), job.pod.clone());
                self.spawn(&container.clone(), &job.cancel.clone(), start::start(job, container, life));
            }
            Action::Stop { container, id, grace, message, again } => {
                let Some(life) = self.lives.iter().find(|life| life.id == id).cloned() else { return };
                if again {
                    self.facts.container_mut(&container).reborn = Some(id.clone());
                }
                *self.stopping.at(&container) = Stopping { id, grace };
                self.spawn(&container, &job.cancel.clone(), ops::stop(job, life, grace, message));
            }
            Action::Remove { container, id } => {
                if !self.busy.contains_key(&container) {
                    self.removing.insert(id.clone());
                }
                self.spawn(&container.clone(), &job.cancel.clone(), ops::remove(job, container, id));
            }
            Action::Resize { container, id } => {
                let Some(life) = self.lives.iter().find(|life| life.id == id).cloned() else { return };
                let has = actuation::actuated(&self.view(&self.busy()), &container, &life).unwrap_or_default();
                self.spawn(&container, &job.cancel.clone(), resizing::resize(job, life, has));
            }
            Action::ResizeWhole => {
                let (lives, has) = (self.lives.clone(), self.facts.whole.clone().unwrap_or_default());
                self.spawn(WHOLE, &job.cancel.clone(), resizing::resize_whole(job, lives, has));
            }
            Action::RemoveSandbox { id } => self.spawn(WHOLE, &job.cancel.clone(), ops::remove_sandbox(job, id)),
            Action::Finish if self.gone => self.finished = true,
            Action::Finish => self.spawn(WHOLE, &job.cancel.clone(), ops::finish(job)),
        }
    }

    pub(super) fn spawn(
        &mut self,
        key: &str,
        cancel: &CancellationToken,
        operation: impl Future<Output = Outcome> + Send + 'static,
    ) {
        if self.busy.contains_key(key) {
            return;
        }
        self.busy.insert(key.to_string(), cancel.clone());
        let key = key.to_string();
        self.operations.spawn(async move { (key, operation.await) });
    }

    async fn wait(&mut self, wake: Option<jiff::Timestamp>) {
        if self.finished {
            return;
        }
        if self.busy.is_empty() {
            // It may be for long.
            self.busy.shrink_to_fit();
            self.removing.shrink_to_fit();
            self.starting.shrink_to_fit();
        }
        let until_wake =
            wake.map(|at| Duration::try_from(at.duration_since(self.host.ctx.clock.now())).unwrap_or_default());
        // A moment more than the exact time, so that the plan that follows finds it passed.
        let until_wake = until_wake.map(|wait| wait + Duration::from_millis(5));
        let timer = if self.retry { Some(until_wake.unwrap_or(AGAIN).min(AGAIN)) } else { until_wake };
        let rest = if timer.is_none() { self.may_rest() } else { None };
        tokio::select! {
            // In order, so that a simulation goes the same way every time.
            biased;
            Some(done) = self.operations.join_next() => match done {
                Ok((key, outcome)) => {
                    self.busy.remove(&key);
                    Box::pin(self.absorb(outcome)).await;
                }
                Err(error) => warn!(pod = self.identity.name, %error, "an operation on a pod broke down"),
            },
            written = self.reports.next() => self.written(written),
            () = self.inbox.wait() => {}
            () = sleep(timer), if timer.is_some() => {}
            () = sleep(rest), if rest.is_some() => self.rests = true,
        }
    }

    async fn absorb(&mut self, outcome: Outcome) {
        self.seen = self.host.moments.next();
        let now = self.host.ctx.clock.now();
        match outcome {
            Outcome::Sandbox(Ok((sandbox, whole))) => {
                (self.facts.sandbox, self.facts.whole) = (None, Some(whole));
                if self.sandbox.as_ref().is_some_and(|old| old.id != sandbox.id) {
                    self.lives.clear();
                }
                self.set_sandbox(Some(sandbox));
            }
            Outcome::Sandbox(Err(failed)) => {
                let before = self.facts.sandbox.as_deref();
                let trouble = Trouble::after(before, failed.reason, failed.message, "", now, failed.backoff);
                self.facts.sandbox = Some(trouble.into());
                self.inbox.post(|news| news.relist = true);
            }
            Outcome::Started { container, result: Ok(id) } => {
                self.inspect(&id).await;
                let made_as = self.starting.remove(&container);
                let made_as = made_as.as_ref().filter(|_| self.resize.is_some());
                let given = made_as.and_then(|pod| find_container(spec(pod), &container));
                let facts = self.facts.container_mut(&container);
                (facts.trouble, facts.reborn) = (None, None);
                let life = facts.lives.at(&id);
                life.hook_done = true;
                if let Some((_, given)) = given {
                    life.actuated = Some(given.resources.clone().unwrap_or_default());
                }
            }
            Outcome::Started { container, result: Err(failed) } => {
                let hash = find_container(spec(&self.pod), &container).map(|(_, c)| container_hash(&c));
                if let Some(Failed { life: Some(id), message, .. }) = failed {
                    let exit = Exit {
                        code: CANNOT_START,
                        started: None,
                        finished: now,
                        oom_killed: false,
                        message: Some(message),
                    };
                    self.facts.container_mut(&container).lives.at(&id).failed_start = Some(exit.into());
                } else if let Some(failed) = failed {
                    let facts = self.facts.container_mut(&container);
                    let (before, hash) = (facts.trouble.take(), hash.unwrap_or_default());
                    let trouble =
                        Trouble::after(before.as_deref(), failed.reason, failed.message, &hash, now, failed.backoff);
                    facts.trouble = Some(Box::new(Trouble { image: failed.image, ..trouble }));
                }
                self.inbox.post(|news| news.relist = true);
            }
            Outcome::Stopped { container, id } => {
                self.stopping.remove(&container);
                self.facts.container_mut(&container).doom.take_if(|doom| doom.id == id);
                self.inspect(&id).await;
            }
            Outcome::Removed { id, gone, .. } => {
                self.removing.remove(&id);
                if gone {
                    self.lives.retain(|life| life.id != id);
                }
            }
            Outcome::SandboxRemoved { gone } => {
                if gone {
                    self.sandbox = None;
                    self.lives.clear();
                }
            }
            Outcome::Finished { done } => self.finished = done,
            Outcome::Resized { container, id, result } => self.resized(&container, &id, result),
            Outcome::ResizedWhole { whole, result } => self.resized_whole(whole, result),
            Outcome::Refreshed => {}
        }
    }
}

async fn sleep(timer: Option<Duration>) {
    if let Some(wait) = timer {
        tokio::time::sleep(wait).await;
    }
}

fn version(pod: &Pod) -> u64 {
    pod.metadata.resource_version.as_deref().map_or(0, number)
}

fn number(revision: &str) -> u64 {
    revision.parse().unwrap_or(0)
}
