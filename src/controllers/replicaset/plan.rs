//! Decides what a set of pods needs. Pure: the same view gives the same plan.

use super::Set;
use super::rank::{self, Crowd};
use crate::controllers::claim::{Claim, claim, controller_of, matches};
use crate::controllers::pods::{self, Availability};
use jiff::{SignedDuration, Timestamp};
use k8s_openapi::api::apps::v1::{ReplicaSetCondition, ReplicaSetStatus};
use k8s_openapi::api::core::v1::Pod;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{LabelSelector, Time};
use std::collections::HashSet;
use std::sync::Arc;

/// How long the successors of rejected pods wait, and at most.
const SHORTEST: SignedDuration = SignedDuration::from_secs(1);
const LONGEST: SignedDuration = SignedDuration::from_secs(300);

/// What the controller sees.
pub struct Observed<'a> {
    pub set: &'a Set<'a>,
    /// Pods that the set controls, and pods of its namespace that nobody does.
    pub pods: &'a [Arc<Pod>],
    /// Pods whose deletion was asked for, though `pods` may not show it yet.
    pub doomed: &'a HashSet<String>,
    /// Pods per node of all sets of the same Deployment.
    pub crowd: &'a dyn Fn() -> Crowd,
    pub now: Timestamp,
}

/// What to do. `adopt` and `release` come first; pods to adopt count as replicas already.
#[derive(Debug, Default, PartialEq)]
pub struct Plan {
    pub adopt: Vec<Arc<Pod>>,
    pub release: Vec<Arc<Pod>>,
    pub create: usize,
    pub delete: Vec<Arc<Pod>>,
    /// As it will be once `delete` is done and before anything is created: see [`note_created`].
    pub status: ReplicaSetStatus,
    /// When the next pod has been ready for long enough.
    pub again: Option<SignedDuration>,
}

pub fn plan(observed: &Observed) -> Plan {
    let set = observed.set;
    let mut plan = Plan::default();
    let (mut replicas, mut held) = (Vec::new(), None);
    for pod in observed.pods.iter().filter(|pod| pods::is_active(pod) && !observed.doomed.contains(pods::uid(pod))) {
        match claim(set.metadata, &set.selector, &pod.metadata) {
            Claim::Keep => replicas.push(pod.clone()),
            Claim::Adopt => {
                plan.adopt.push(pod.clone());
                replicas.push(pod.clone());
            }
            Claim::Release => plan.release.push(pod.clone()),
            Claim::Ignore => {}
        }
    }
    if set.metadata.deletion_timestamp.is_none() {
        let wanted = usize::try_from(set.replicas).unwrap_or(0);
        plan.create = wanted.saturating_sub(replicas.len());
        if let Some((count, wait)) = held_back(observed.pods, observed.now).filter(|_| plan.create > 0) {
            plan.create = plan.create.saturating_sub(count);
            held = Some(wait);
        }
        let excess = replicas.len().saturating_sub(wanted);
        if excess > 0 {
            plan.delete = rank::choose(&replicas, excess, &(observed.crowd)(), observed.now);
        }
    }
    replicas.retain(|pod| !plan.delete.iter().any(|doomed| Arc::ptr_eq(doomed, pod)));
    (plan.status, plan.again) = status(set, &replicas, observed.now);
    plan.again = [plan.again, held].into_iter().flatten().min();
    plan
}

/// How many pods were rejected by their hosts and are not to be replaced yet, and how long to wait: as long again
/// as that has gone on. A template that names a host without room would otherwise make pods without end, as
/// fast as they can be written. Those of the first half of that time had their successors.
fn held_back(pods: &[Arc<Pod>], now: Timestamp) -> Option<(usize, SignedDuration)> {
    let own = pods.iter().filter(|pod| controller_of(&pod.metadata).is_some() && pods::was_rejected(pod));
    let times = own.filter_map(|pod| Some(pod.metadata.creation_timestamp.as_ref()?.0));
    let recent: Vec<Timestamp> = times.filter(|time| now.duration_since(*time) < LONGEST * 2).collect();
    let (oldest, newest) = (*recent.iter().min()?, *recent.iter().max()?);
    let span = newest.duration_since(oldest);
    let last = recent.iter().filter(|time| newest.duration_since(**time) < (span / 2).max(SHORTEST)).count();
    let wait = span.clamp(SHORTEST, LONGEST) - now.duration_since(newest);
    Some((last, wait)).filter(|(_, wait)| wait.is_positive())
}

/// Counts pods that were just created. The status must not be reported without them: a generation
/// that is reported as observed tells the Deployment that no pods exist besides those counted.
pub fn note_created(status: &mut ReplicaSetStatus, created: usize) {
    let created = created as i32;
    status.replicas += created;
    status.fully_labeled_replicas =
        Some(status.fully_labeled_replicas.unwrap_or(0) + created).filter(|count| *count > 0);
}

fn status(set: &Set, replicas: &[Arc<Pod>], now: Timestamp) -> (ReplicaSetStatus, Option<SignedDuration>) {
    let template = LabelSelector {
        match_labels: set.template.and_then(|template| template.metadata.as_ref()?.labels.clone()),
        match_expressions: None,
    };
    let (mut labeled, mut ready, mut available, mut again) = (0, 0, 0, None::<SignedDuration>);
    for pod in replicas {
        labeled += i32::from(matches(&template, pod.metadata.labels.as_ref()));
        match pods::availability(pod, set.min_ready_seconds, now) {
            Availability::No => continue,
            Availability::Yes => available += 1,
            Availability::In(wait) => again = Some(again.map_or(wait, |known| known.min(wait))),
        }
        ready += 1;
    }
    let known = set.status.as_deref();
    let status = ReplicaSetStatus {
        replicas: replicas.len() as i32,
        fully_labeled_replicas: Some(labeled).filter(|count| *count > 0),
        ready_replicas: Some(ready).filter(|count| *count > 0),
        available_replicas: Some(available).filter(|count| *count > 0),
        observed_generation: set.metadata.generation,
        conditions: known.and_then(|status| status.conditions.clone()),
        terminating_replicas: known.and_then(|status| status.terminating_replicas),
    };
    (status, again)
}

/// Sets or clears the `ReplicaFailure` condition: `failure` is a reason (`FailedCreate`,
/// `FailedDelete`) and what the API server said.
pub fn note_failure(status: &mut ReplicaSetStatus, failure: Option<(&str, String)>, now: Timestamp) {
    let mut conditions = status.conditions.take().unwrap_or_default();
    match failure {
        // The first failure is kept until a pass succeeds: its age is worth knowing.
        Some(_) if conditions.iter().any(|condition| condition.type_ == "ReplicaFailure") => {}
        Some((reason, message)) => conditions.push(ReplicaSetCondition {
            type_: "ReplicaFailure".into(),
            status: "True".into(),
            reason: Some(reason.into()),
            message: Some(message),
            last_transition_time: Some(Time(now)),
        }),
        None => conditions.retain(|condition| condition.type_ != "ReplicaFailure"),
    }
    status.conditions = Some(conditions).filter(|conditions| !conditions.is_empty());
}

#[cfg(test)]
mod tests;
