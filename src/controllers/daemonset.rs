//! Keeps one pod of each DaemonSet on every host that it is for.
//!
//! Owns the pods whose controller is a DaemonSet, and its ControllerRevisions. Decisions are in
//! [`plan`]; this is the shell. The scheduler binds the pods, as it does all others.

pub mod hosts;
pub mod plan;

use super::claim::controller_reference;
use super::failures::Failures;
use super::freshness::Freshness;
use super::replicaset::{refusal, slow_start};
use super::revisions::keeper::{KeepError, Keeper};
use super::revisions::{self, HASH_LABEL, Source};
use super::shell::{self, Reconcile};
use super::{pods, write};
use crate::base::backoff::Backoff;
use crate::base::clock::Clock;
use crate::client::{Change, Context, EventRecorder, Informer, ObjectKey, WorkQueue, raw};
use bytes::Bytes;
use k8s_openapi::api::apps::v1::{ControllerRevision, DaemonSet, DaemonSetStatus};
use k8s_openapi::api::core::v1::{Node, Pod};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::OwnerReference;
use plan::{Observed, Plan};
use serde_json::json;
use std::borrow::Cow;
use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;

/// Pod changes come in bursts; a look after this long sees many at once.
const GATHER: Duration = Duration::from_millis(2);
/// How long a host waits for the successor of a pod that failed.
const FAILED: Backoff = Backoff { base: Duration::from_secs(1), max: Duration::from_secs(900) };

#[derive(Debug, thiserror::Error)]
enum SyncError {
    #[error("{what} could not be {done}")]
    Write { what: String, done: &'static str, source: kube::Error },
    #[error("the DaemonSet's revisions could not be kept")]
    Revisions(#[from] KeepError),
}

struct Controller {
    client: kube::Client,
    sets: Informer<DaemonSet>,
    nodes: Informer<Node>,
    pods: Informer<Pod>,
    revisions: Keeper,
    events: EventRecorder,
    clock: Clock,
    pods_written: Freshness,
    own_written: Freshness,
    failures: Failures,
}

/// Runs until shutdown.
pub async fn run(ctx: Context, workers: usize) {
    let controller = Controller {
        client: ctx.client.clone(),
        sets: ctx.informers.of(),
        nodes: ctx.informers.of(),
        pods: ctx.informers.of(),
        revisions: Keeper::new(&ctx),
        events: ctx.events.component("daemonset-controller", None),
        clock: ctx.clock.clone(),
        pods_written: Freshness::default(),
        own_written: Freshness::default(),
        failures: Failures::new(FAILED),
    };
    shell::run(&ctx, workers, controller).await;
}

impl Reconcile for Controller {
    type Error = SyncError;

    fn subscribe(&self, queue: &WorkQueue<ObjectKey>) {
        shell::own(&self.sets, queue);
        let (to, sets) = (queue.clone(), self.sets.clone());
        self.pods.subscribe(Box::new(move |change| {
            if let Change::Updated { old, .. } = change {
                owners(&sets, old).for_each(|key| to.add_after(key, GATHER));
            }
            owners(&sets, change.object()).for_each(|key| to.add_after(key, GATHER));
        }));
        let (to, sets) = (queue.clone(), self.sets.clone());
        self.nodes.subscribe(Box::new(move |change| {
            let same = |old: &Node, new: &Node| {
                let taints = |node: &Node| node.spec.as_ref().and_then(|spec| spec.taints.clone());
                old.metadata.labels == new.metadata.labels && taints(old) == taints(new)
            };
            if !matches!(change, Change::Updated { old, new } if same(old, new)) {
                sets.list().iter().for_each(|set| to.add_after(ObjectKey::of(&**set), GATHER));
            }
        }));
    }

    async fn synced(&self) {
        self.sets.synced().await;
        self.nodes.synced().await;
        self.pods.synced().await;
        self.revisions.synced().await;
    }

    async fn sync(&self, key: &ObjectKey) -> Result<Option<Duration>, SyncError> {
        let fresh = self.pods_written.caught_up(key, &self.pods).await
            && self.own_written.caught_up(key, &self.sets).await
            && self.revisions.caught_up(key).await;
        if !fresh {
            return Ok(Some(Duration::ZERO));
        }
        let Some(set) = self.sets.get(&key.namespace, &key.name) else {
            self.pods_written.forget(key);
            self.own_written.forget(key);
            self.revisions.forget(key);
            self.failures.forget(key);
            return Ok(None);
        };
        let Some(spec) = set.spec.as_ref().filter(|_| set.metadata.deletion_timestamp.is_none()) else {
            return Ok(None);
        };
        if spec.selector.match_labels.is_none() && spec.selector.match_expressions.is_none() {
            let why = "This daemon set is selecting all pods. A non-empty selector is required.";
            self.events.warning(&*set, "SelectingAll", why);
            return Ok(None);
        }
        let source = Source {
            owner: controller_reference(&*set),
            meta: &set.metadata,
            template: &spec.template,
            label: HASH_LABEL,
            collisions: set.status.as_ref().and_then(|status| status.collision_count),
        };
        let known = match self.revisions.keep(key, &source).await {
            Ok(known) => known,
            Err(failure) => return self.note_collision(key, &set, failure).await,
        };
        let Some(newest) = known.last() else { return Ok(None) };
        let plan = self.observe(key, &set, hash(newest));
        let outcome = self.act(key, &set, &plan).await;
        self.report(key, &set, &plan.status).await?;
        outcome?;
        let live = known.iter().filter(|one| plan.live.contains(hash(one))).chain(known.last());
        let live = live.map(|one| revisions::name(one)).collect();
        self.revisions.prune(&revisions::expired(&known, &live, spec.revision_history_limit)).await?;
        Ok(plan.again.map(|wait| wait.unsigned_abs()))
    }
}

fn hash(revision: &ControllerRevision) -> &str {
    revision.metadata.labels.as_ref().and_then(|labels| labels.get(HASH_LABEL)).map_or("", String::as_str)
}

impl Controller {
    fn observe(&self, key: &ObjectKey, set: &DaemonSet, hash: &str) -> Plan {
        let mut pods = self.pods.owned_by(set.metadata.uid.as_deref().unwrap_or_default());
        let unaware: HashSet<&str> =
            pods.iter().filter(|pod| !pods::is_terminating(pod)).map(|pod| pods::uid(pod)).collect();
        self.pods_written.settle(key, &unaware);
        let doomed =
            unaware.iter().filter(|uid| self.pods_written.is_deleted(key, uid)).map(|uid| (*uid).to_owned()).collect();
        pods.extend(shell::orphans(&self.pods, &key.namespace));
        let (nodes, now) = (self.nodes.list(), self.clock.now());
        let held = self.failures.held(key, now);
        plan::plan(&Observed { set, nodes: &nodes, pods: &pods, doomed: &doomed, hash, held: &held, now })
    }

    async fn act(&self, key: &ObjectKey, set: &Arc<DaemonSet>, plan: &Plan) -> Result<(), SyncError> {
        let owner = controller_reference(&**set);
        for pod in &plan.adopt {
            let mut owners = pod.metadata.owner_references.clone().unwrap_or_default();
            owners.push(owner.clone());
            self.own(key, pod, owners, "adopted").await?;
        }
        for pod in &plan.release {
            let mut owners = pod.metadata.owner_references.clone().unwrap_or_default();
            owners.retain(|known| known.uid != owner.uid);
            self.own(key, pod, owners, "released").await?;
        }
        for pod in &plan.ended {
            self.note_end(key, set, pod);
        }
        for pod in plan.ended.iter().chain(&plan.delete) {
            self.delete(key, set, pod).await?;
        }
        self.create(key, set, &plan.create).await
    }

    fn note_end(&self, key: &ObjectKey, set: &DaemonSet, pod: &Pod) {
        let host = hosts::target(pod).unwrap_or_default();
        let what = format!("daemon pod {}/{} on node {host}", key.namespace, pods::name(pod));
        if pods::phase(pod) == "Failed" {
            self.failures.note(key, host, self.clock.now());
            self.events.warning(set, "FailedDaemonPod", format!("Found failed {what}, will try to kill it"));
        } else {
            self.events.normal(set, "SucceededDaemonPod", format!("Found succeeded {what}, will try to delete it"));
        }
    }

    async fn own(
        &self,
        key: &ObjectKey,
        pod: &Pod,
        owners: Vec<OwnerReference>,
        done: &'static str,
    ) -> Result<(), SyncError> {
        match write::patch(&self.client, pod, "", json!({ "metadata": { "ownerReferences": owners } })).await {
            Ok(written) => self.pods_written.wrote(key, written.revision()),
            Err(error) if raw::is_not_found(&error) => {}
            Err(source) => return Err(SyncError::Write { what: format!("pod {}", pods::name(pod)), done, source }),
        }
        Ok(())
    }

    async fn create(&self, key: &ObjectKey, set: &Arc<DaemonSet>, wanted: &[Pod]) -> Result<(), SyncError> {
        let failed = |source| SyncError::Write { what: format!("pod {}-*", key.name), done: "created", source };
        let bodies: Result<Vec<Bytes>, _> = wanted.iter().map(write::body).collect();
        let bodies = bodies.map_err(failed)?;
        let one = |number: usize| {
            let (client, namespace, body) = (self.client.clone(), key.namespace.clone(), bodies[number].clone());
            async move { write::create::<Pod>(&client, Some(&namespace), body).await }
        };
        let outcome = slow_start(wanted.len(), one, |written| {
            self.pods_written.wrote(key, written.revision());
            self.events.normal(&**set, "SuccessfulCreate", format!("Created pod: {}", written.name));
        });
        outcome.await.map_err(|error| {
            self.events.warning(&**set, "FailedCreate", format!("Error creating: {}", refusal(&error)));
            failed(error)
        })
    }

    async fn delete(&self, key: &ObjectKey, set: &DaemonSet, pod: &Pod) -> Result<(), SyncError> {
        let name = pods::name(pod);
        match write::delete(&self.client, pod).await {
            Ok(()) => {
                self.pods_written.deleted(key, pods::uid(pod));
                self.events.normal(set, "SuccessfulDelete", format!("Deleted pod: {name}"));
                Ok(())
            }
            Err(source) => {
                self.events.warning(set, "FailedDelete", format!("Error deleting: {}", refusal(&source)));
                Err(SyncError::Write { what: format!("pod {name}"), done: "deleted", source })
            }
        }
    }

    /// A revision's name that is taken by another template is avoided by counting.
    async fn note_collision(
        &self,
        key: &ObjectKey,
        set: &DaemonSet,
        failure: KeepError,
    ) -> Result<Option<Duration>, SyncError> {
        if matches!(failure, KeepError::Collision { .. }) {
            let mut status = set.status.clone().unwrap_or_default();
            status.collision_count = Some(status.collision_count.unwrap_or(0) + 1);
            self.report(key, set, &status).await?;
        }
        Err(failure.into())
    }

    async fn report(&self, key: &ObjectKey, set: &DaemonSet, status: &DaemonSetStatus) -> Result<(), SyncError> {
        let failed = |source| SyncError::Write { what: "the DaemonSet's status".into(), done: "written", source };
        let written = write::put_status(&self.client, set, set.status.as_ref(), status).await.map_err(failed)?;
        self.own_written.wrote(key, written);
        Ok(())
    }
}

/// The sets that must look when this pod changes: its owner, or every set that might adopt it.
fn owners<'a>(sets: &'a Informer<DaemonSet>, pod: &'a Pod) -> impl Iterator<Item = ObjectKey> + 'a {
    shell::owners_of(sets, &pod.metadata, |owner| Some(Cow::Borrowed(&owner.spec.as_ref()?.selector)))
}
