//! Rolls Deployments from one template to the next through their ReplicaSets.
//!
//! Owns ReplicaSets whose controller is a Deployment, never pods. Decisions are in [`plan`].

pub mod plan;
pub mod sets;
pub mod template;

use super::Timing;
use super::claim::{Claim, claim, controller_of, controller_reference};
use super::freshness::Freshness;
use super::patience::Patience;
use super::replicaset::refusal;
use super::shell::{self, Reconcile};
use super::{pods, write};
use crate::base::clock::Clock;
use crate::client::{Change, Context, EventRecorder, Informer, ObjectKey, WorkQueue, raw};
use k8s_openapi::api::apps::v1::{Deployment, DeploymentStatus, ReplicaSet};
use k8s_openapi::api::core::v1::Pod;
use plan::{Action, Observed, Plan};
use serde_json::{Value, json};
use std::borrow::Cow;
use std::sync::Arc;
use std::time::Duration;

#[derive(Debug, thiserror::Error)]
enum SyncError {
    #[error("ReplicaSet {set} could not be {done}")]
    Set { set: String, done: &'static str, source: kube::Error },
    #[error("the Deployment's {part} could not be written")]
    Own { part: &'static str, source: kube::Error },
    #[error("the name {set} belongs to another template; trying another name")]
    Collision { set: String },
}

struct Controller {
    client: kube::Client,
    deployments: Informer<Deployment>,
    sets: Informer<ReplicaSet>,
    pods: Informer<Pod>,
    events: EventRecorder,
    clock: Clock,
    /// Writes to ReplicaSets, and to Deployments themselves.
    sets_written: Freshness,
    own_written: Freshness,
    patience: Patience,
}

/// Runs until shutdown.
pub async fn run(ctx: Context, timing: Timing, workers: usize) {
    let controller = Controller {
        client: ctx.client.clone(),
        deployments: ctx.informers.of(),
        sets: ctx.informers.of(),
        pods: ctx.informers.of(),
        events: ctx.events.component("deployment-controller", None),
        clock: ctx.clock.clone(),
        sets_written: Freshness::default(),
        own_written: Freshness::default(),
        patience: Patience::new(timing.status_patience),
    };
    shell::run(&ctx, workers, controller).await;
}

impl Reconcile for Controller {
    type Error = SyncError;

    fn subscribe(&self, queue: &WorkQueue<ObjectKey>) {
        shell::own(&self.deployments, queue);
        let (to, deployments) = (queue.clone(), self.deployments.clone());
        self.sets.subscribe(Box::new(move |change| {
            if let Change::Updated { old, .. } = change {
                owners(&deployments, old).for_each(|key| to.add(key));
            }
            owners(&deployments, change.object()).for_each(|key| to.add(key));
        }));
        // Recreate waits for the last old pod to go, which no ReplicaSet's status tells.
        let (to, sets, deployments) = (queue.clone(), self.sets.clone(), self.deployments.clone());
        self.pods.subscribe(Box::new(move |change| {
            let Change::Deleted(pod) = change else { return };
            let namespace = pod.metadata.namespace.as_deref().unwrap_or_default();
            let set = controller_of(&pod.metadata).and_then(|owner| sets.get(namespace, &owner.name));
            set.iter().flat_map(|set| owners(&deployments, set)).for_each(|key| to.add(key));
        }));
    }

    async fn synced(&self) {
        self.deployments.synced().await;
        self.sets.synced().await;
        self.pods.synced().await;
    }

    async fn sync(&self, key: &ObjectKey) -> Result<Option<Duration>, SyncError> {
        let fresh = self.sets_written.caught_up(key, &self.sets).await
            && self.own_written.caught_up(key, &self.deployments).await;
        if !fresh {
            return Ok(Some(Duration::ZERO));
        }
        let Some(deployment) = self.deployments.get(&key.namespace, &key.name) else {
            self.sets_written.forget(key);
            self.own_written.forget(key);
            return Ok(None);
        };
        let sets = self.claimed(key, &deployment).await?;
        match self.decide(&deployment, &sets) {
            Some(plan) => self.act(key, &deployment, plan).await,
            None => Ok(None),
        }
    }
}

impl Controller {
    fn decide(&self, deployment: &Deployment, sets: &[Arc<ReplicaSet>]) -> Option<Plan> {
        let running = |set: &ReplicaSet| {
            let pods = self.pods.owned_by(set.metadata.uid.as_deref().unwrap_or_default());
            pods.iter().filter(|pod| !pods::is_finished(pod)).count()
        };
        plan::plan(&Observed { deployment, sets, running: &running, now: self.clock.now_seconds() })
    }

    /// The Deployment's sets, after adopting and releasing what is due.
    async fn claimed(&self, key: &ObjectKey, deployment: &Deployment) -> Result<Vec<Arc<ReplicaSet>>, SyncError> {
        let Some(spec) = &deployment.spec else { return Ok(Vec::new()) };
        let owner = controller_reference(deployment);
        let mut claimed = Vec::new();
        let mut candidates = self.sets.owned_by(&owner.uid);
        candidates.extend(shell::orphans(&self.sets, &key.namespace));
        candidates.sort_by(|a, b| a.metadata.name.cmp(&b.metadata.name));
        for set in candidates {
            let mut owners = set.metadata.owner_references.clone().unwrap_or_default();
            match claim(&deployment.metadata, &spec.selector, &set.metadata) {
                Claim::Ignore => continue,
                Claim::Keep => {
                    claimed.push(set);
                    continue;
                }
                Claim::Adopt => owners.push(owner.clone()),
                Claim::Release => owners.retain(|known| known.uid != owner.uid),
            }
            self.patch_set(key, &set, json!({ "metadata": { "ownerReferences": owners } }), "claimed").await?;
            if claim(&deployment.metadata, &spec.selector, &set.metadata) == Claim::Adopt {
                claimed.push(set);
            }
        }
        Ok(claimed)
    }

    /// Carries the plan out: sets first, then what the Deployment says about itself.
    async fn act(&self, key: &ObjectKey, deployment: &Deployment, plan: Plan) -> Result<Option<Duration>, SyncError> {
        let mut status = plan.status;
        let mut outcome = Ok(plan.again.map(|wait| wait.unsigned_abs()));
        for action in &plan.actions {
            let failed = match action {
                Action::Create(set) => self.create(key, deployment, set, &mut status).await.err(),
                Action::Scale { set, to, annotations } => {
                    self.scale(key, deployment, set, *to, annotations).await.err()
                }
                Action::Annotate { set, annotations, min_ready_seconds } => {
                    let change = json!({ "metadata": { "annotations": annotations }, "spec": { "minReadySeconds": min_ready_seconds } });
                    self.patch_set(key, set, change, "annotated").await.err()
                }
                Action::Delete(set) => self.delete(key, set).await.err(),
            };
            if let Some(error) = failed {
                outcome = Err(error);
                break;
            }
        }
        let revision = plan.revision.filter(|_| outcome.is_ok());
        let left = self.report(key, deployment, revision, (status, plan.complete)).await?;
        outcome.map(|again| again.into_iter().chain(left).min())
    }

    async fn create(
        &self,
        key: &ObjectKey,
        deployment: &Deployment,
        set: &ReplicaSet,
        status: &mut DeploymentStatus,
    ) -> Result<(), SyncError> {
        let name = sets::name(set).to_owned();
        let failed = |source| SyncError::Set { set: name.clone(), done: "created", source };
        let body = write::body(set).map_err(failed)?;
        match write::create::<ReplicaSet>(&self.client, Some(&key.namespace), body).await {
            Ok(written) => {
                self.sets_written.wrote(key, written.revision());
                let wanted = sets::wanted(set);
                plan::note_made(status, wanted);
                if wanted > 0 {
                    let message = format!("Scaled up replica set {name} from 0 to {wanted}");
                    self.events.normal(deployment, "ScalingReplicaSet", message);
                }
                Ok(())
            }
            Err(error) if raw::is_conflict(&error) => self.judge_collision(key, deployment, set, status),
            Err(error) => {
                let text = refusal(&error);
                plan::note_refusal(status, &name, &text, self.clock.now_seconds());
                let message = format!("Failed to create new replica set {name:?}: {text}");
                self.events.warning(deployment, "ReplicaSetCreateError", message);
                Err(failed(error))
            }
        }
    }

    /// The name is taken: by our own set, which the next pass will see, or by another template.
    fn judge_collision(
        &self,
        key: &ObjectKey,
        deployment: &Deployment,
        wanted: &ReplicaSet,
        status: &mut DeploymentStatus,
    ) -> Result<(), SyncError> {
        let name = sets::name(wanted).to_owned();
        let taken = self.sets.get(&key.namespace, &name);
        let template = |set: &ReplicaSet| set.spec.as_ref().and_then(|spec| spec.template.clone()).unwrap_or_default();
        let ours = |set: &ReplicaSet| {
            controller_of(&set.metadata).map(|owner| &owner.uid) == deployment.metadata.uid.as_ref()
                && template::same(&template(set), &template(wanted))
        };
        if taken.as_deref().is_some_and(|set| !ours(set)) {
            status.collision_count = Some(status.collision_count.unwrap_or(0) + 1);
        }
        Err(SyncError::Collision { set: name })
    }

    async fn scale(
        &self,
        key: &ObjectKey,
        deployment: &Deployment,
        set: &ReplicaSet,
        to: i32,
        annotations: &sets::Annotations,
    ) -> Result<(), SyncError> {
        let change = json!({ "metadata": { "annotations": annotations }, "spec": { "replicas": to } });
        self.patch_set(key, set, change, "scaled").await?;
        let from = sets::wanted(set);
        if from != to {
            let direction = if to > from { "up" } else { "down" };
            let message = format!("Scaled {direction} replica set {} from {from} to {to}", sets::name(set));
            self.events.normal(deployment, "ScalingReplicaSet", message);
        }
        Ok(())
    }

    async fn patch_set(
        &self,
        key: &ObjectKey,
        set: &ReplicaSet,
        change: Value,
        done: &'static str,
    ) -> Result<(), SyncError> {
        match write::patch(&self.client, set, "", change).await {
            Ok(written) => {
                self.sets_written.wrote(key, written.revision());
                Ok(())
            }
            Err(source) => Err(SyncError::Set { set: sets::name(set).into(), done, source }),
        }
    }

    async fn delete(&self, _key: &ObjectKey, set: &ReplicaSet) -> Result<(), SyncError> {
        let failed = |source| SyncError::Set { set: sets::name(set).into(), done: "deleted", source };
        write::delete(&self.client, set).await.map_err(failed)
    }

    /// Writes the revision annotation and the status, if they changed; how long the status still may wait, if it
    /// was not written for that.
    async fn report(
        &self,
        key: &ObjectKey,
        deployment: &Deployment,
        revision: Option<String>,
        (mut status, complete): (DeploymentStatus, bool),
    ) -> Result<Option<Duration>, SyncError> {
        let mut current = Cow::Borrowed(deployment);
        if let Some(revision) = revision {
            let change = json!({ "metadata": { "annotations": { sets::REVISION: revision } } });
            let failed = |source| SyncError::Own { part: "revision", source };
            let written = write::patch(&self.client, &*current, "", change).await.map_err(failed)?;
            self.own_written.wrote(key, written.revision());
            current.to_mut().metadata.resource_version = Some(written.revision().to_string());
            // Annotations count as well; the spec is the one that was acted on, or the write had been refused.
            status.observed_generation = written.generation.or(status.observed_generation);
        }
        let known = deployment.status.as_ref();
        if let Some(left) = self.patience.left(key, !complete && plan::is_on_the_way(known, &status)) {
            return Ok(Some(left));
        }
        let failed = |source| SyncError::Own { part: "status", source };
        let written = write::put_status(&self.client, &*current, known, &status).await;
        self.own_written.wrote(key, written.map_err(failed)?);
        Ok(None)
    }
}

/// The Deployments that must look when this set changes: its owner, or all that might adopt it.
fn owners<'a>(deployments: &'a Informer<Deployment>, set: &'a ReplicaSet) -> impl Iterator<Item = ObjectKey> + 'a {
    shell::owners_of(deployments, &set.metadata, |owner| Some(Cow::Borrowed(&owner.spec.as_ref()?.selector)))
}

#[cfg(test)]
mod tests;
