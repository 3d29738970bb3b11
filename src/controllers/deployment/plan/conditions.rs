//! The conditions of a Deployment, in Kubernetes' words: `kubectl rollout status` reads them.

use super::super::sets;
use super::Pass;
use jiff::{SignedDuration, Timestamp};
use k8s_openapi::api::apps::v1::{Deployment, DeploymentCondition, DeploymentSpec, DeploymentStatus, ReplicaSet};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use std::sync::Arc;

const PROGRESSING: &str = "Progressing";
const AVAILABLE: &str = "Available";
const FAILURE: &str = "ReplicaFailure";
const COMPLETE: &str = "NewReplicaSetAvailable";
const TIMED_OUT: &str = "ProgressDeadlineExceeded";
const PAUSED: &str = "DeploymentPaused";

/// The conditions as they will be written.
pub(super) struct Conditions(Vec<DeploymentCondition>);

impl Conditions {
    pub(super) fn of(deployment: &Deployment) -> Self {
        Self(deployment.status.as_ref().and_then(|status| status.conditions.clone()).unwrap_or_default())
    }

    pub(super) fn into_list(self) -> Option<Vec<DeploymentCondition>> {
        Some(self.0).filter(|list| !list.is_empty())
    }

    fn get(&self, kind: &str) -> Option<&DeploymentCondition> {
        self.0.iter().find(|condition| condition.type_ == kind)
    }

    fn progress_reason(&self) -> Option<&str> {
        self.get(PROGRESSING)?.reason.as_deref()
    }

    fn remove(&mut self, kind: &str) {
        self.0.retain(|condition| condition.type_ != kind);
    }

    /// Replaces a condition unless status and reason are what they were.
    fn set(&mut self, kind: &str, status: &str, reason: &str, message: String, now: Timestamp) {
        let known = self.get(kind);
        if known.is_some_and(|known| known.status == status && known.reason.as_deref() == Some(reason)) {
            return;
        }
        self.renew(kind, status, reason, message, now);
    }

    /// Replaces a condition; the transition time moves only with the status.
    fn renew(&mut self, kind: &str, status: &str, reason: &str, message: String, now: Timestamp) {
        let since =
            self.get(kind).filter(|known| known.status == status).and_then(|known| known.last_transition_time.clone());
        self.remove(kind);
        self.0.push(DeploymentCondition {
            type_: kind.into(),
            status: status.into(),
            reason: Some(reason.into()),
            message: Some(message),
            last_update_time: Some(Time(now)),
            last_transition_time: since.or(Some(Time(now))),
        });
    }

    /// While paused the deadline does not run; it starts anew on resuming.
    pub(super) fn note_pause(&mut self, spec: &DeploymentSpec, now: Timestamp) {
        if deadline(spec).is_none() || self.progress_reason() == Some(TIMED_OUT) {
            return;
        }
        match (spec.paused == Some(true), self.progress_reason() == Some(PAUSED)) {
            (true, false) => self.set(PROGRESSING, "Unknown", PAUSED, "Deployment is paused".into(), now),
            (false, true) => self.set(PROGRESSING, "Unknown", "DeploymentResumed", "Deployment is resumed".into(), now),
            _ => {}
        }
    }

    pub(super) fn note_found(&mut self, spec: &DeploymentSpec, set: &str, now: Timestamp) {
        if deadline(spec).is_some() && self.get(PROGRESSING).is_none() {
            self.set(PROGRESSING, "True", "FoundNewReplicaSet", format!("Found new replica set {set:?}"), now);
        }
    }

    pub(super) fn note_created(&mut self, spec: &DeploymentSpec, set: &str, now: Timestamp) {
        if deadline(spec).is_some() {
            self.set(PROGRESSING, "True", "NewReplicaSetCreated", format!("Created new replica set {set:?}"), now);
        }
    }

    pub(super) fn note_available(&mut self, enough: bool, now: Timestamp) {
        match enough {
            true => self.set(
                AVAILABLE,
                "True",
                "MinimumReplicasAvailable",
                "Deployment has minimum availability.".into(),
                now,
            ),
            false => self.set(
                AVAILABLE,
                "False",
                "MinimumReplicasUnavailable",
                "Deployment does not have minimum availability.".into(),
                now,
            ),
        }
    }
}

/// `spec.progressDeadlineSeconds`; the largest number means never.
fn deadline(spec: &DeploymentSpec) -> Option<SignedDuration> {
    let seconds = spec.progress_deadline_seconds.filter(|seconds| *seconds != i32::MAX)?;
    Some(SignedDuration::from_secs(seconds.into()))
}

impl Pass<'_> {
    /// The `Progressing` condition of a rollout, when to look at it again, and the sets' failures.
    pub(super) fn judge_progress(&mut self) {
        match deadline(self.spec) {
            None => self.conditions.remove(PROGRESSING),
            Some(deadline) => self.judge_against(deadline),
        }
        self.note_failures();
    }

    fn judge_against(&mut self, deadline: SignedDuration) {
        let status = &self.plan.status;
        let settled = status.replicas == status.updated_replicas && self.conditions.progress_reason() == Some(COMPLETE);
        if settled {
            return;
        }
        let subject = match self.new.as_deref() {
            Some(new) => format!("ReplicaSet {:?}", sets::name(new)),
            None => format!("Deployment {:?}", self.deployment.metadata.name.as_deref().unwrap_or_default()),
        };
        let now = self.now;
        if self.is_complete() && !self.resizes() {
            let message = format!("{subject} has successfully progressed.");
            self.conditions.set(PROGRESSING, "True", COMPLETE, message, now);
        } else if self.has_progressed() {
            self.conditions.renew(PROGRESSING, "True", "ReplicaSetUpdated", format!("{subject} is progressing."), now);
        } else if self.is_overdue(deadline) {
            let message = format!("{subject} has timed out progressing.");
            self.conditions.set(PROGRESSING, "False", TIMED_OUT, message, now);
        }
        if !matches!(self.conditions.progress_reason(), None | Some(COMPLETE | TIMED_OUT)) {
            let left = deadline - self.conditions.last_progress(now);
            self.plan.again = Some(left.max(SignedDuration::ZERO) + SignedDuration::from_secs(1));
        }
    }

    /// A complete rollout may still remove old sets, but changes no sizes.
    pub(super) fn resizes(&self) -> bool {
        self.plan.actions.iter().any(|action| matches!(action, super::Action::Scale { .. } | super::Action::Create(_)))
    }

    /// More updated, ready or available pods, or fewer old ones, than last reported.
    fn has_progressed(&self) -> bool {
        let count = |number: Option<i32>| number.unwrap_or(0);
        let Some(before) = self.deployment.status.as_ref() else { return false };
        let now = &self.plan.status;
        count(now.updated_replicas) > count(before.updated_replicas)
            || count(now.replicas) - count(now.updated_replicas)
                < count(before.replicas) - count(before.updated_replicas)
            || count(now.ready_replicas) > count(before.ready_replicas)
            || count(now.available_replicas) > count(before.available_replicas)
    }

    fn is_overdue(&self, deadline: SignedDuration) -> bool {
        match self.conditions.progress_reason() {
            None | Some(COMPLETE) => false,
            Some(TIMED_OUT) => true,
            Some(_) => self.conditions.last_progress(self.now) > deadline,
        }
    }

    /// Shows why a set cannot make its pods.
    fn note_failures(&mut self) {
        let all = self.all();
        let failed = |set: &&Arc<ReplicaSet>| failure(set).is_some();
        let worst = self.new.as_ref().filter(failed).or_else(|| all.iter().find(failed));
        match worst.and_then(|set| failure(set)) {
            Some((status, reason, message)) => {
                self.conditions.set(FAILURE, status, reason, message.to_owned(), self.now)
            }
            None => self.conditions.remove(FAILURE),
        }
    }
}

impl Conditions {
    /// Time since the rollout last moved.
    fn last_progress(&self, now: Timestamp) -> SignedDuration {
        let since = self.get(PROGRESSING).and_then(|condition| condition.last_update_time.as_ref());
        since.map_or(SignedDuration::ZERO, |since| now.duration_since(since.0))
    }
}

/// Status, reason and message of a set's `ReplicaFailure`.
fn failure(set: &ReplicaSet) -> Option<(&str, &str, &str)> {
    let condition = set.status.as_ref()?.conditions.as_ref()?.iter().find(|condition| condition.type_ == FAILURE)?;
    Some((&condition.status, condition.reason.as_deref()?, condition.message.as_deref()?))
}

/// A set was made of this size: the next pass, which counts it, has nothing to add.
pub fn note_made(status: &mut DeploymentStatus, size: i32) {
    let unavailable = status.unavailable_replicas.unwrap_or(0) + size;
    status.unavailable_replicas = Some(unavailable).filter(|count| *count > 0);
}

/// Whether a status of a rollout that is not over tells nothing but how far it has come.
pub fn is_on_the_way(known: Option<&DeploymentStatus>, status: &DeploymentStatus) -> bool {
    let none = DeploymentStatus::default();
    let known = known.unwrap_or(&none);
    known != status && known.collision_count == status.collision_count && alarms(known).eq(alarms(status))
}

/// The conditions that tell of trouble.
fn alarms(status: &DeploymentStatus) -> impl Iterator<Item = (&str, &str)> {
    let all = status.conditions.iter().flatten().map(|condition| (&*condition.type_, &*condition.status));
    all.filter(|(kind, status)| *kind == FAILURE || *kind == PROGRESSING && *status != "True")
}

/// Says in the status that the API server refused a new set.
pub fn note_refusal(status: &mut DeploymentStatus, set: &str, refusal: &str, now: Timestamp) {
    let mut conditions = Conditions(status.conditions.take().unwrap_or_default());
    let message = format!("Failed to create new replica set {set:?}: {refusal}");
    conditions.set(PROGRESSING, "False", "ReplicaSetCreateError", message, now);
    status.conditions = conditions.into_list();
}
