//! What a StatefulSet reports. Pure.

use super::identity::revision;
use super::plan::{Action, Observed, is_on_delete, min_ready};
use crate::controllers::pods::{self, Availability};
use crate::controllers::revisions;
use jiff::SignedDuration;
use k8s_openapi::api::apps::v1::{ControllerRevision, StatefulSetStatus};
use k8s_openapi::api::core::v1::Pod;
use std::sync::Arc;

/// The counts once `actions` are done, and when the next pod has been ready for long enough. A rollout
/// is complete, and its revision the current one, when all pods have it and are ready.
pub fn status(
    observed: &Observed,
    mine: &[Arc<Pod>],
    actions: &[Action],
    current: &ControllerRevision,
    update: &ControllerRevision,
) -> (StatefulSetStatus, Option<SignedDuration>) {
    let (current, update) = (revisions::name(current), revisions::name(update));
    let known = observed.set.status.as_ref();
    let (mut ready, mut available, mut of_current, mut of_update) = (0, 0, 0, 0);
    let mut again = None::<SignedDuration>;
    let mut count = |pod: &Pod| {
        of_current += i32::from(revision(pod) == current);
        of_update += i32::from(revision(pod) == update);
    };
    for pod in mine.iter().filter(|pod| !pods::is_finished(pod)) {
        if pods::phase(pod) == "Running" {
            match pods::availability(pod, min_ready(observed.set), observed.now) {
                Availability::No => {}
                Availability::Yes => (ready, available) = (ready + 1, available + 1),
                Availability::In(wait) => {
                    ready += 1;
                    again = Some(again.map_or(wait, |known| known.min(wait)));
                }
            }
        }
        let leaves = |action: &Action| matches!(action, Action::Delete(doomed) if Arc::ptr_eq(doomed, pod));
        let doomed = pods::is_terminating(pod) || observed.doomed.contains(pods::uid(pod));
        if !doomed && !actions.iter().any(leaves) {
            count(pod);
        }
    }
    let mut total = mine.iter().filter(|pod| !pods::is_finished(pod)).count() as i32;
    for action in actions {
        if let Action::Create(pod) = action {
            total += 1;
            count(pod);
        }
    }
    let mut status = StatefulSetStatus {
        replicas: total,
        ready_replicas: Some(ready).filter(|count| *count > 0),
        available_replicas: Some(available),
        current_replicas: Some(of_current).filter(|count| *count > 0),
        updated_replicas: Some(of_update).filter(|count| *count > 0),
        current_revision: Some(current.to_owned()),
        update_revision: Some(update.to_owned()),
        collision_count: Some(known.and_then(|status| status.collision_count).unwrap_or(0)),
        observed_generation: observed.set.metadata.generation,
        conditions: known.and_then(|status| status.conditions.clone()),
    };
    if !is_on_delete(observed.set) && of_update == total && ready == total {
        status.current_revision = status.update_revision.clone();
        status.current_replicas = status.updated_replicas;
    }
    (status, again)
}
