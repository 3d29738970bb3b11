//! Decides the next step of a Deployment. Pure.
//!
//! One pass takes one step (a scale up, a scale down, a new set), and the next step waits until every
//! set has reported on the last one: each step alone keeps the promises of [`Limits`], so that a
//! rollout may stop anywhere.

mod conditions;
mod rollout;
mod scale;

use super::sets::{self, Annotations, Limits};
use super::template;
pub use conditions::{is_on_the_way, note_made, note_refusal};

use conditions::Conditions;
use jiff::{SignedDuration, Timestamp};
use k8s_openapi::api::apps::v1::{Deployment, DeploymentSpec, DeploymentStatus, ReplicaSet, ReplicaSetSpec};
use k8s_openapi::api::core::v1::PodTemplateSpec;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{LabelSelector, ObjectMeta};
use std::collections::BTreeMap;
use std::sync::Arc;

/// What the controller sees.
pub struct Observed<'a> {
    pub deployment: &'a Deployment,
    /// The sets it controls.
    pub sets: &'a [Arc<ReplicaSet>],
    /// Pods that have not ended, by uid of their set; terminating ones count. Only `Recreate` asks.
    pub running: &'a dyn Fn(&ReplicaSet) -> usize,
    pub now: Timestamp,
}

/// One write.
#[derive(Debug, Clone, PartialEq)]
pub enum Action {
    /// The API server fills in the rest; the name is made from the template's hash.
    Create(Box<ReplicaSet>),
    /// Set `spec.replicas` and these annotations, among others.
    Scale {
        set: Arc<ReplicaSet>,
        to: i32,
        annotations: Annotations,
    },
    /// Bring annotations and `minReadySeconds` up to date.
    Annotate {
        set: Arc<ReplicaSet>,
        annotations: Annotations,
        min_ready_seconds: i32,
    },
    Delete(Arc<ReplicaSet>),
}

/// What to do, in order.
#[derive(Debug, Default, PartialEq)]
pub struct Plan {
    pub actions: Vec<Action>,
    /// The Deployment's own revision annotation, if it is to change.
    pub revision: Option<String>,
    pub status: DeploymentStatus,
    /// The rollout is over.
    pub complete: bool,
    /// When the progress deadline passes.
    pub again: Option<SignedDuration>,
}

/// The view a pass works on.
struct Pass<'a> {
    deployment: &'a Deployment,
    spec: &'a DeploymentSpec,
    limits: Limits,
    /// The set of the current template.
    new: Option<Arc<ReplicaSet>>,
    /// All others, oldest first.
    old: Vec<Arc<ReplicaSet>>,
    now: Timestamp,
    conditions: Conditions,
    plan: Plan,
}

/// `None` for a Deployment without a spec, which validation prevents.
pub fn plan(observed: &Observed) -> Option<Plan> {
    let mut pass = Pass::new(observed)?;
    if observed.deployment.metadata.deletion_timestamp.is_some() {
        pass.count();
        return Some(pass.finish());
    }
    pass.conditions.note_pause(pass.spec, pass.now);
    pass.keep_revision();
    if !pass.all().iter().all(|set| sets::has_reported(set)) {
        pass.count();
        if pass.spec.paused != Some(true) {
            pass.judge_progress();
        }
    } else if pass.spec.paused == Some(true) {
        pass.scale();
        pass.clean_up();
        pass.count();
    } else if pass.is_scaling() {
        pass.scale();
        pass.count();
    } else {
        match pass.spec.strategy.as_ref().and_then(|strategy| strategy.type_.as_deref()) {
            Some("Recreate") => pass.recreate(observed.running),
            _ => pass.roll(),
        }
        pass.count();
        pass.judge_progress();
    }
    Some(pass.finish())
}

impl<'a> Pass<'a> {
    fn new(observed: &Observed<'a>) -> Option<Self> {
        let spec = observed.deployment.spec.as_ref()?;
        let mut old = observed.sets.to_vec();
        old.sort_by(|a, b| sets::created(a).cmp(&sets::created(b)));
        let current = |set: &Arc<ReplicaSet>| {
            set.spec
                .as_ref()
                .and_then(|spec| spec.template.as_ref())
                .is_some_and(|own| template::same(own, &spec.template))
        };
        // Should there be several (made by older rules), the oldest is the one, every time.
        let new = old.iter().position(current).map(|index| old.remove(index));
        Some(Self {
            deployment: observed.deployment,
            spec,
            limits: Limits::of(observed.deployment),
            new,
            old,
            now: observed.now,
            conditions: Conditions::of(observed.deployment),
            plan: Plan::default(),
        })
    }

    fn all(&self) -> Vec<Arc<ReplicaSet>> {
        self.old.iter().chain(&self.new).cloned().collect()
    }

    fn old_active(&self) -> Vec<Arc<ReplicaSet>> {
        self.old.iter().filter(|set| sets::is_active(set)).cloned().collect()
    }

    fn next_revision(&self) -> i64 {
        self.old.iter().map(|set| sets::revision(set)).max().unwrap_or(0) + 1
    }

    /// Keeps annotations of the current set, and the Deployment's revision, up to date.
    fn keep_revision(&mut self) {
        let Some(set) = self.new.clone() else { return };
        let wanted = sets::annotations(self.deployment, Some(&set), self.next_revision());
        let min_ready_seconds = self.spec.min_ready_seconds.unwrap_or(0);
        let own = set.spec.as_ref().and_then(|spec| spec.min_ready_seconds).unwrap_or(0);
        let revision = wanted.get(sets::REVISION).cloned();
        if set.metadata.annotations.as_ref() != Some(&wanted) && !wanted.is_empty() || own != min_ready_seconds {
            let annotations = changed(set.metadata.annotations.as_ref(), wanted);
            self.plan.actions.push(Action::Annotate { set: set.clone(), annotations, min_ready_seconds });
        }
        let shown = self.deployment.metadata.annotations.as_ref().and_then(|all| all.get(sets::REVISION));
        if revision.as_ref() != shown {
            self.plan.revision = revision;
        }
        self.conditions.note_found(self.spec, sets::name(&set), self.now);
    }

    /// Makes the set of the current template, with `replicas` pods.
    fn create(&mut self, replicas: i32) {
        let status = self.deployment.status.as_ref();
        let hash = template::hash(&self.spec.template, status.and_then(|status| status.collision_count));
        let revision = self.next_revision();
        let set = new_set(self.deployment, self.spec, &hash, replicas, self.limits, revision);
        self.conditions.note_created(self.spec, sets::name(&set), self.now);
        self.plan.revision = Some(revision.to_string());
        self.plan.actions.push(Action::Create(Box::new(set)));
    }

    /// Sets a set's size, and what is proportional to it; nothing if all is right already.
    fn resize(&mut self, set: &Arc<ReplicaSet>, to: i32) -> bool {
        let annotations = changed(set.metadata.annotations.as_ref(), self.limits.annotations());
        if sets::wanted(set) == to && annotations.is_empty() {
            return false;
        }
        // One write for one set: it replaces the annotation-only write planned before.
        let known = self
            .plan
            .actions
            .iter()
            .position(|action| matches!(action, Action::Annotate { set: known, .. } if Arc::ptr_eq(known, set)));
        let mut merged = BTreeMap::new();
        if let Some(Action::Annotate { annotations, .. }) = known.map(|index| self.plan.actions.remove(index)) {
            merged = annotations;
        }
        merged.extend(annotations);
        self.plan.actions.push(Action::Scale { set: set.clone(), to, annotations: merged });
        true
    }

    /// [`Self::resize`] for several; true if any changed.
    fn resize_all(&mut self, sizes: impl Iterator<Item = (Arc<ReplicaSet>, i32)>) -> bool {
        sizes.fold(false, |any, (set, to)| self.resize(&set, to) || any)
    }

    /// Removes sets that `revisionHistoryLimit` does not keep, lowest revision first.
    fn clean_up(&mut self) {
        let Some(limit) = self.spec.revision_history_limit else { return };
        let mut removable: Vec<_> =
            self.old.iter().filter(|set| set.metadata.deletion_timestamp.is_none()).cloned().collect();
        let excess = removable.len().saturating_sub(limit.max(0) as usize);
        removable.sort_by_key(|set| (sets::revision(set), sets::created(set).0));
        let settled = |set: &Arc<ReplicaSet>| sets::possible(set) == 0 && sets::has_reported(set);
        let doomed = removable.into_iter().take(excess).filter(settled);
        self.plan.actions.extend(doomed.map(Action::Delete));
    }

    /// Fills in the status' numbers and the `Available` condition.
    fn count(&mut self) {
        let all = self.all();
        let available = sets::total(&all, sets::available);
        let positive = |count: i32| Some(count).filter(|count| *count > 0);
        let known = self.deployment.status.as_ref();
        self.plan.status = DeploymentStatus {
            observed_generation: self.deployment.metadata.generation,
            replicas: positive(sets::total(&all, sets::existing)),
            updated_replicas: positive(self.new.as_deref().map_or(0, sets::existing)),
            ready_replicas: positive(sets::total(&all, sets::ready)),
            available_replicas: positive(available),
            unavailable_replicas: positive(sets::total(&all, sets::wanted) - available),
            collision_count: known.and_then(|status| status.collision_count),
            terminating_replicas: known.and_then(|status| status.terminating_replicas),
            conditions: None,
        };
        self.conditions.note_available(available >= self.limits.fewest(), self.now);
    }

    fn finish(mut self) -> Plan {
        self.plan.complete = self.is_complete() && !self.resizes();
        self.plan.status.conditions = self.conditions.into_list();
        self.plan
    }
}

/// The entries of `wanted` that `present` lacks or has otherwise.
fn changed(present: Option<&Annotations>, wanted: Annotations) -> Annotations {
    let same = |(key, value): &(String, String)| present.is_none_or(|present| present.get(key) != Some(value));
    wanted.into_iter().filter(same).collect()
}

fn new_set(
    deployment: &Deployment,
    spec: &DeploymentSpec,
    hash: &str,
    replicas: i32,
    limits: Limits,
    revision: i64,
) -> ReplicaSet {
    let label = || (template::HASH_LABEL.to_owned(), hash.to_owned());
    let mut meta = spec.template.metadata.clone().unwrap_or_default();
    meta.labels.get_or_insert_default().extend([label()]);
    let mut selector: LabelSelector = spec.selector.clone();
    selector.match_labels.get_or_insert_default().extend([label()]);
    let mut annotations = sets::annotations(deployment, None, revision);
    annotations.extend(limits.annotations());
    ReplicaSet {
        metadata: ObjectMeta {
            name: Some(format!("{}-{hash}", deployment.metadata.name.as_deref().unwrap_or_default())),
            namespace: deployment.metadata.namespace.clone(),
            labels: meta.labels.clone(),
            annotations: Some(annotations),
            owner_references: Some(vec![crate::controllers::claim::controller_reference(deployment)]),
            ..ObjectMeta::default()
        },
        spec: Some(ReplicaSetSpec {
            replicas: Some(replicas),
            min_ready_seconds: spec.min_ready_seconds,
            selector,
            template: Some(PodTemplateSpec { metadata: Some(meta), spec: spec.template.spec.clone() }),
        }),
        status: None,
    }
}

#[cfg(test)]
mod simulation;
#[cfg(test)]
mod tests;
