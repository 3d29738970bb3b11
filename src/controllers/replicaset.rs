//! Keeps as many pods of each ReplicaSet or ReplicationController running as it asks for.
//!
//! Owns the pods whose controller is one. Decisions are in [`plan`]; this is the shell, the same for
//! both kinds.

pub mod plan;
pub mod rank;
mod set;

pub use set::{Replicated, Set};

use super::claim::{controller_of, controller_reference};
use super::freshness::Freshness;
use super::shell::{self, Reconcile};
use super::{pods, write};
use crate::client::{Change, Context, EventRecorder, Informer, ObjectKey, WorkQueue, raw};
use bytes::Bytes;
use k8s_openapi::api::apps::v1::ReplicaSetStatus;
use k8s_openapi::api::core::v1::{Pod, ReplicationController};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::OwnerReference;
use plan::{Observed, Plan};
use serde_json::json;
use std::borrow::Cow;
use std::collections::HashSet;
use std::future::Future;
use std::sync::Arc;
use std::time::Duration;
use tokio::task::JoinSet;
use tracing::debug;

/// Pod changes come in bursts; a look after this long sees many at once.
const GATHER: Duration = Duration::from_millis(2);

#[derive(Debug, thiserror::Error)]
enum SyncError {
    #[error("the status could not be written")]
    Status(#[source] kube::Error),
    #[error("pod {pod} could not be {done}")]
    Pod { pod: String, done: &'static str, source: kube::Error },
}

impl SyncError {
    /// What the API server said: conditions show it to users.
    fn cause(&self) -> String {
        let (Self::Status(source) | Self::Pod { source, .. }) = self;
        refusal(source)
    }
}

struct Controller<K> {
    client: kube::Client,
    sets: Informer<K>,
    pods: Informer<Pod>,
    events: EventRecorder,
    clock: crate::base::clock::Clock,
    freshness: Freshness,
}

/// Runs until shutdown, for ReplicationControllers from the first one on: most clusters have none.
pub async fn run_replication_controllers(ctx: Context, workers: usize) {
    if shell::any(&ctx.informers.of::<ReplicationController>(), &ctx.shutdown).await {
        run::<ReplicationController>(ctx, workers).await;
    }
}

/// Runs until shutdown, for one kind.
pub async fn run<K: Replicated>(ctx: Context, workers: usize) {
    let controller = Controller::<K> {
        client: ctx.client.clone(),
        sets: ctx.informers.of(),
        pods: ctx.informers.of(),
        events: ctx.events.component(K::COMPONENT, None),
        clock: ctx.clock.clone(),
        freshness: Freshness::default(),
    };
    shell::run(&ctx, workers, controller).await;
}

impl<K: Replicated> Reconcile for Controller<K> {
    type Error = SyncError;

    fn subscribe(&self, queue: &WorkQueue<ObjectKey>) {
        shell::own(&self.sets, queue);
        let (to, sets) = (queue.clone(), self.sets.clone());
        self.pods.subscribe(Box::new(move |change| {
            if let Change::Updated { old, new } = change {
                if !matters(old, new) {
                    return;
                }
                owners(&sets, old).for_each(|key| to.add_after(key, GATHER));
            }
            owners(&sets, change.object()).for_each(|key| to.add_after(key, GATHER));
        }));
    }

    async fn synced(&self) {
        self.sets.synced().await;
        self.pods.synced().await;
    }

    async fn sync(&self, key: &ObjectKey) -> Result<Option<Duration>, SyncError> {
        if !self.freshness.caught_up(key, &self.pods).await {
            return Ok(Some(Duration::ZERO));
        }
        let Some(set) = self.sets.get(&key.namespace, &key.name) else {
            self.freshness.forget(key);
            return Ok(None);
        };
        let known = set.set().status.map(Cow::into_owned);
        let plan = self.observe(key, &set);
        let mut created = 0;
        let failure = self.act(key, &set, &plan, &mut created).await;
        let mut status = match &failure {
            // Which pods are left is not known: the counts stay as they were.
            Some(("FailedDelete", _)) => known.clone().unwrap_or_default(),
            _ => plan.status,
        };
        plan::note_created(&mut status, created);
        let refusal = failure.as_ref().map(|(reason, error)| (*reason, error.cause()));
        plan::note_failure(&mut status, refusal, self.clock.now_seconds());
        write::put_status::<K, ReplicaSetStatus>(&self.client, &set, known.as_ref(), &status)
            .await
            .map_err(SyncError::Status)?;
        match failure {
            Some((_, error)) => Err(error),
            None => Ok(plan.again.map(|wait| wait.unsigned_abs())),
        }
    }
}

impl<K: Replicated> Controller<K> {
    fn observe(&self, key: &ObjectKey, set: &K) -> Plan {
        let mut pods = self.pods.owned_by(set.meta().uid.as_deref().unwrap_or_default());
        let unaware: HashSet<&str> =
            pods.iter().filter(|pod| !pods::is_terminating(pod)).map(|pod| pods::uid(pod)).collect();
        self.freshness.settle(key, &unaware);
        let doomed: HashSet<String> =
            unaware.iter().filter(|uid| self.freshness.is_deleted(key, uid)).map(|uid| (*uid).to_owned()).collect();
        pods.extend(shell::orphans(&self.pods, &key.namespace));
        let crowd = || self.crowd(set);
        plan::plan(&Observed { set: &set.set(), pods: &pods, doomed: &doomed, crowd: &crowd, now: self.clock.now() })
    }

    /// Pods per node of all ReplicaSets of the same Deployment.
    fn crowd(&self, set: &K) -> rank::Crowd {
        let ObjectKey { namespace, name } = ObjectKey::of(set);
        let siblings = match controller_of(set.meta()) {
            Some(owner) => self.sets.owned_by(&owner.uid),
            None => self.sets.get(&namespace, &name).into_iter().collect(),
        };
        let uids = siblings.iter().filter_map(|sibling| sibling.meta().uid.as_deref());
        let pods: Vec<_> = uids.flat_map(|uid| self.pods.owned_by(uid)).collect();
        rank::crowd(&pods)
    }

    /// Carries the plan out, counting what it creates; returns the first failure with its reason for
    /// the status.
    async fn act(
        &self,
        key: &ObjectKey,
        set: &Arc<K>,
        plan: &Plan,
        created: &mut usize,
    ) -> Option<(&'static str, SyncError)> {
        let owner = controller_reference(&**set);
        for pod in &plan.adopt {
            // A merge patch replaces lists whole: keep the owners that do not control.
            let mut owners = pod.metadata.owner_references.clone().unwrap_or_default();
            owners.push(owner.clone());
            if let Err(failed) = self.own(key, pod, owners, "adopted").await {
                return Some(("FailedCreate", failed));
            }
        }
        for pod in &plan.release {
            let mut owners = pod.metadata.owner_references.clone().unwrap_or_default();
            owners.retain(|known| known.uid != owner.uid);
            if let Err(failed) = self.own(key, pod, owners, "released").await {
                return Some(("FailedDelete", failed));
            }
        }
        if plan.create > 0 {
            let template = set.set().template?;
            let pod = pods::from_template(template, set.meta().namespace.clone(), &owner.name, owner.clone());
            return self.create(key, set, pod, plan.create, created).await.err().map(|failed| ("FailedCreate", failed));
        }
        self.delete(key, set, &plan.delete).await.err().map(|failed| ("FailedDelete", failed))
    }

    async fn own(
        &self,
        key: &ObjectKey,
        pod: &Pod,
        owners: Vec<OwnerReference>,
        done: &'static str,
    ) -> Result<(), SyncError> {
        match write::patch(&self.client, pod, "", json!({ "metadata": { "ownerReferences": owners } })).await {
            Ok(written) => self.freshness.wrote(key, written.revision()),
            Err(error) if raw::is_not_found(&error) => debug!(pod = pods::name(pod), "gone before it was {done}"),
            Err(source) => return Err(SyncError::Pod { pod: pods::name(pod).into(), done, source }),
        }
        Ok(())
    }

    async fn create(
        &self,
        key: &ObjectKey,
        set: &Arc<K>,
        pod: Pod,
        count: usize,
        created: &mut usize,
    ) -> Result<(), SyncError> {
        let failed = |source| SyncError::Pod { pod: format!("{}-*", key.name), done: "created", source };
        let body = write::body(&pod).map_err(failed)?;
        let (namespace, client): (Arc<str>, _) = (key.namespace.clone(), self.client.clone());
        let one = move |_| {
            let (client, namespace, body): (_, _, Bytes) = (client.clone(), namespace.clone(), body.clone());
            async move { write::create::<Pod>(&client, Some(&namespace), body).await }
        };
        let outcome = slow_start(count, one, |written| {
            *created += 1;
            self.freshness.wrote(key, written.revision());
            self.events.normal(&**set, "SuccessfulCreate", format!("Created pod: {}", written.name));
        });
        outcome.await.map_err(|error| {
            self.events.warning(&**set, "FailedCreate", format!("Error creating: {}", refusal(&error)));
            failed(error)
        })
    }

    async fn delete(&self, key: &ObjectKey, set: &K, doomed: &[Arc<Pod>]) -> Result<(), SyncError> {
        let mut deletions = JoinSet::new();
        for pod in doomed.iter().cloned() {
            let client = self.client.clone();
            deletions.spawn(async move { (write::delete(&client, &*pod).await, pod) });
        }
        let mut outcome = Ok(());
        while let Some(Ok((deleted, pod))) = deletions.join_next().await {
            let name = pods::name(&pod);
            match deleted {
                Ok(()) => {
                    self.freshness.deleted(key, pods::uid(&pod));
                    self.events.normal(set, "SuccessfulDelete", format!("Deleted pod: {name}"));
                }
                Err(source) => {
                    self.events.warning(set, "FailedDelete", format!("Error deleting: {}", refusal(&source)));
                    outcome = Err(SyncError::Pod { pod: name.into(), done: "deleted", source });
                }
            }
        }
        outcome
    }
}

/// Runs `count` of `one`, first one, then twice as many, and so on: what fails for all (a quota, a bad
/// template) fails a few times and not a thousand. Stops after the first batch with a failure.
pub(super) async fn slow_start<T, F, Fut>(count: usize, one: F, mut done: impl FnMut(T)) -> Result<(), kube::Error>
where
    T: Send + 'static,
    F: Fn(usize) -> Fut,
    Fut: Future<Output = Result<T, kube::Error>> + Send + 'static,
{
    let (mut started, mut batch) = (0, 1);
    while started < count {
        let end = count.min(started + batch);
        let mut tasks: JoinSet<_> = (started..end).map(&one).collect();
        let mut outcome = Ok(());
        while let Some(finished) = tasks.join_next().await {
            match finished {
                Ok(Ok(made)) => done(made),
                Ok(Err(error)) => outcome = Err(error),
                Err(panic) => outcome = Err(kube::Error::Service(panic.into())),
            }
        }
        outcome?;
        (started, batch) = (end, batch * 2);
    }
    Ok(())
}

/// What the API server said, without the client's wrapping.
pub(super) fn refusal(error: &kube::Error) -> String {
    match error {
        kube::Error::Api(status) => status.message.clone(),
        other => other.to_string(),
    }
}

/// The sets that must look when this pod changes: its owner, or every set that might adopt it.
fn owners<'a, K: Replicated>(sets: &'a Informer<K>, pod: &'a Pod) -> impl Iterator<Item = ObjectKey> + 'a {
    shell::owners_of(sets, &pod.metadata, |owner| Some(owner.selector()))
}

/// Whether a set cares: binding to a node or a new container id is none of its business.
fn matters(old: &Pod, new: &Pod) -> bool {
    let (was, is) = (&old.metadata, &new.metadata);
    pods::phase(old) != pods::phase(new)
        || pods::ready_since(old) != pods::ready_since(new)
        || pods::is_ready(old) != pods::is_ready(new)
        || pods::is_terminating(old) != pods::is_terminating(new)
        || was.labels != is.labels
        || was.owner_references != is.owner_references
        || was.uid != is.uid
}

#[cfg(test)]
mod tests;
