//! Keeps the pods of StatefulSets: each with a name, a place in the order and claims of its own.
//!
//! Owns the pods whose controller is a StatefulSet, the claims made from its templates and its
//! ControllerRevisions. Decisions are in [`plan`]; this is the shell.

pub mod identity;
pub mod plan;
mod retention;
mod status;

use super::claim::controller_reference;
use super::failures::Failures;
use super::freshness::Freshness;
use super::replicaset::refusal;
use super::revisions::keeper::{KeepError, Keeper};
use super::revisions::{HISTORY_LABEL, Source};
use super::shell::{self, Reconcile};
use super::{pods, write};
use crate::base::backoff::Backoff;
use crate::base::clock::Clock;
use crate::client::{Change, Context, EventRecorder, Informer, ObjectKey, WorkQueue, raw};
use k8s_openapi::api::apps::v1::{ControllerRevision, StatefulSet, StatefulSetStatus};
use k8s_openapi::api::core::v1::{PersistentVolumeClaim, Pod};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::OwnerReference;
use plan::{Action, Observed, Plan};
use serde_json::json;
use std::borrow::Cow;
use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::time::Duration;

/// How long a pod that its host rejected stays before its successor is tried: a set that names a host without
/// room would otherwise make pods as fast as they can be written.
const REJECTED: Backoff = Backoff { base: Duration::from_secs(1), max: Duration::from_secs(300) };

#[derive(Debug, thiserror::Error)]
enum SyncError {
    #[error("{what} could not be {done}")]
    Write { what: String, done: &'static str, source: kube::Error },
    #[error("the StatefulSet's revisions could not be kept")]
    Revisions(#[from] KeepError),
}

struct Controller {
    client: kube::Client,
    sets: Informer<StatefulSet>,
    pods: Informer<Pod>,
    claims: Informer<PersistentVolumeClaim>,
    revisions: Keeper,
    events: EventRecorder,
    clock: Clock,
    /// Writes to pods, to claims and to StatefulSets themselves.
    pods_written: Freshness,
    claims_written: Freshness,
    own_written: Freshness,
    rejections: Failures,
}

/// Runs until shutdown.
pub async fn run(ctx: Context, workers: usize) {
    let controller = Controller {
        client: ctx.client.clone(),
        sets: ctx.informers.of(),
        pods: ctx.informers.of(),
        claims: ctx.informers.of(),
        revisions: Keeper::new(&ctx),
        events: ctx.events.component("statefulset-controller", None),
        clock: ctx.clock.clone(),
        pods_written: Freshness::default(),
        claims_written: Freshness::default(),
        own_written: Freshness::default(),
        rejections: Failures::new(REJECTED),
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
                owners(&sets, old).for_each(|key| to.add(key));
            }
            owners(&sets, change.object()).for_each(|key| to.add(key));
        }));
        // A pod waits for a claim of its predecessor to go.
        let (to, sets) = (queue.clone(), self.sets.clone());
        self.claims.subscribe(Box::new(move |change| {
            let Change::Deleted(claim) = change else { return };
            let (name, namespace) = (claim.metadata.name.as_deref().unwrap_or_default(), &claim.metadata.namespace);
            for set in sets.list_namespace(namespace.as_deref().unwrap_or_default()) {
                let key = ObjectKey::of(&*set);
                if name.contains(&format!("-{}-", key.name)) {
                    to.add(key);
                }
            }
        }));
    }

    async fn synced(&self) {
        self.sets.synced().await;
        self.pods.synced().await;
        self.claims.synced().await;
        self.revisions.synced().await;
    }

    async fn sync(&self, key: &ObjectKey) -> Result<Option<Duration>, SyncError> {
        let fresh = self.pods_written.caught_up(key, &self.pods).await
            && self.claims_written.caught_up(key, &self.claims).await
            && self.own_written.caught_up(key, &self.sets).await
            && self.revisions.caught_up(key).await;
        if !fresh {
            return Ok(Some(Duration::ZERO));
        }
        let Some(set) = self.sets.get(&key.namespace, &key.name) else {
            for written in [&self.pods_written, &self.claims_written, &self.own_written] {
                written.forget(key);
            }
            self.revisions.forget(key);
            self.rejections.forget(key);
            return Ok(None);
        };
        let Some(spec) = set.spec.as_ref().filter(|_| set.metadata.deletion_timestamp.is_none()) else {
            return Ok(None);
        };
        let source = Source {
            owner: controller_reference(&*set),
            meta: &set.metadata,
            template: &spec.template,
            label: HISTORY_LABEL,
            collisions: set.status.as_ref().and_then(|status| status.collision_count),
        };
        let known = match self.revisions.keep(key, &source).await {
            Ok(known) => known,
            Err(failure) => return self.note_collision(key, &set, failure).await,
        };
        let plan = self.observe(key, &set, &known);
        let outcome = self.act(key, &set, plan.actions).await;
        if outcome.is_ok() {
            self.report(key, &set, &plan.status).await?;
            self.revisions.prune(&plan.expired).await?;
        }
        outcome.map(|()| plan.again.map(|wait| wait.unsigned_abs()))
    }
}

impl Controller {
    fn observe(&self, key: &ObjectKey, set: &StatefulSet, revisions: &[Arc<ControllerRevision>]) -> Plan {
        let mut pods = self.pods.owned_by(set.metadata.uid.as_deref().unwrap_or_default());
        let unaware: HashSet<&str> =
            pods.iter().filter(|pod| !pods::is_terminating(pod)).map(|pod| pods::uid(pod)).collect();
        self.pods_written.settle(key, &unaware);
        let doomed =
            unaware.iter().filter(|uid| self.pods_written.is_deleted(key, uid)).map(|uid| (*uid).to_owned()).collect();
        pods.extend(shell::orphans(&self.pods, &key.namespace));
        let held = pods.iter().filter_map(|pod| identity::ordinal(set, pod));
        let ordinals: HashSet<i64> = held.chain(identity::ordinals(set)).collect();
        let names = ordinals.into_iter().flat_map(|ordinal| identity::claim_names(set, ordinal).collect::<Vec<_>>());
        let claims: HashMap<_, _> =
            names.filter_map(|name| Some((name.clone(), self.claims.get(&key.namespace, &name)?))).collect();
        let now = self.clock.now();
        let held = self.rejections.held(key, now);
        plan::plan(&Observed { set, pods: &pods, doomed: &doomed, claims: &claims, revisions, held: &held, now })
    }

    async fn act(&self, key: &ObjectKey, set: &StatefulSet, actions: Vec<Action>) -> Result<(), SyncError> {
        let owner = controller_reference(set);
        for action in actions {
            match action {
                Action::Adopt(pod) => {
                    let mut owners = pod.metadata.owner_references.clone().unwrap_or_default();
                    owners.push(owner.clone());
                    self.own(key, &pod, owners, "adopted").await?;
                }
                Action::Release(pod) => {
                    let mut owners = pod.metadata.owner_references.clone().unwrap_or_default();
                    owners.retain(|known| known.uid != owner.uid);
                    self.own(key, &pod, owners, "released").await?;
                }
                Action::CreateClaim { claim, pod } => self.create_claim(key, set, &claim, &pod).await?,
                Action::OwnClaim { claim, owners } => {
                    let change = json!({ "metadata": { "ownerReferences": owners } });
                    let outcome = write::patch(&self.client, &*claim, "", change).await;
                    let name = claim.metadata.name.clone().unwrap_or_default();
                    let failed = |source| SyncError::Write { what: format!("claim {name}"), done: "owned", source };
                    self.claims_written.wrote(key, outcome.map_err(failed)?.revision());
                }
                Action::Create(pod) => self.create(key, set, &pod).await?,
                Action::Label(pod, labels) => {
                    let outcome =
                        write::patch(&self.client, &*pod, "", json!({ "metadata": { "labels": labels } })).await;
                    self.pods_written.wrote(key, outcome.map_err(failed(&pod, "labelled"))?.revision());
                }
                Action::Delete(pod) => self.delete(key, set, &pod).await?,
                Action::Recreate(pod) => {
                    if pods::was_rejected(&pod) {
                        self.rejections.note(key, pods::name(&pod), self.clock.now());
                    }
                    let message = format!(
                        "StatefulSet {}/{} is recreating {} Pod {}",
                        key.namespace,
                        key.name,
                        if pods::phase(&pod) == "Failed" { "failed" } else { "terminated" },
                        pods::name(&pod)
                    );
                    let reason =
                        if pods::phase(&pod) == "Failed" { "RecreatingFailedPod" } else { "RecreatingTerminatedPod" };
                    self.events.warning(set, reason, message);
                    self.delete(key, set, &pod).await?;
                }
            }
        }
        Ok(())
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
            Err(source) => return Err(failed(pod, done)(source)),
        }
        Ok(())
    }

    async fn create_claim(
        &self,
        key: &ObjectKey,
        set: &StatefulSet,
        claim: &PersistentVolumeClaim,
        pod: &str,
    ) -> Result<(), SyncError> {
        let name = claim.metadata.name.as_deref().unwrap_or_default();
        let failed = |source| SyncError::Write { what: format!("claim {name}"), done: "created", source };
        let what = format!("Claim {name} Pod {pod} in StatefulSet {}", key.name);
        let body = write::body(claim).map_err(failed)?;
        match write::create::<PersistentVolumeClaim>(&self.client, Some(&key.namespace), body).await {
            Ok(written) => {
                self.claims_written.wrote(key, written.revision());
                self.events.normal(set, "SuccessfulCreate", format!("create {what} success"));
                Ok(())
            }
            Err(error) => {
                self.events.warning(set, "FailedCreate", format!("create {what} failed error: {}", refusal(&error)));
                Err(failed(error))
            }
        }
    }

    async fn create(&self, key: &ObjectKey, set: &StatefulSet, pod: &Pod) -> Result<(), SyncError> {
        let what = format!("Pod {} in StatefulSet {}", pods::name(pod), key.name);
        let body = write::body(pod).map_err(failed(pod, "created"))?;
        match write::create::<Pod>(&self.client, Some(&key.namespace), body).await {
            Ok(written) => {
                self.pods_written.wrote(key, written.revision());
                self.events.normal(set, "SuccessfulCreate", format!("create {what} successful"));
                Ok(())
            }
            Err(error) => {
                self.events.warning(set, "FailedCreate", format!("create {what} failed error: {}", refusal(&error)));
                Err(failed(pod, "created")(error))
            }
        }
    }

    async fn delete(&self, key: &ObjectKey, set: &StatefulSet, pod: &Pod) -> Result<(), SyncError> {
        let what = format!("Pod {} in StatefulSet {}", pods::name(pod), key.name);
        match write::delete(&self.client, pod).await {
            Ok(()) => {
                self.pods_written.deleted(key, pods::uid(pod));
                self.events.normal(set, "SuccessfulDelete", format!("delete {what} successful"));
                Ok(())
            }
            Err(error) => {
                self.events.warning(set, "FailedDelete", format!("delete {what} failed error: {}", refusal(&error)));
                Err(failed(pod, "deleted")(error))
            }
        }
    }

    /// A revision's name that is taken by another template is avoided by counting.
    async fn note_collision(
        &self,
        key: &ObjectKey,
        set: &StatefulSet,
        failure: KeepError,
    ) -> Result<Option<Duration>, SyncError> {
        if matches!(failure, KeepError::Collision { .. }) {
            let mut status = set.status.clone().unwrap_or_default();
            status.collision_count = Some(status.collision_count.unwrap_or(0) + 1);
            self.report(key, set, &status).await?;
        }
        Err(failure.into())
    }

    async fn report(&self, key: &ObjectKey, set: &StatefulSet, status: &StatefulSetStatus) -> Result<(), SyncError> {
        let failed = |source| SyncError::Write { what: "the StatefulSet's status".into(), done: "written", source };
        let written = write::put_status(&self.client, set, set.status.as_ref(), status).await.map_err(failed)?;
        self.own_written.wrote(key, written);
        Ok(())
    }
}

fn failed(pod: &Pod, done: &'static str) -> impl Fn(kube::Error) -> SyncError {
    let what = format!("pod {}", pods::name(pod));
    move |source| SyncError::Write { what: what.clone(), done, source }
}

/// The sets that must look when this pod changes: its owner, or every set that might adopt it.
fn owners<'a>(sets: &'a Informer<StatefulSet>, pod: &'a Pod) -> impl Iterator<Item = ObjectKey> + 'a {
    shell::owners_of(sets, &pod.metadata, |owner| Some(Cow::Borrowed(&owner.spec.as_ref()?.selector)))
}
