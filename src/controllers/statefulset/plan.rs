//! Decides what a StatefulSet needs. Pure.
//!
//! No ordinal is given a new pod before the one that has its name is gone, wherever that one runs: a
//! host that is lost may still run it.

use super::identity::{self, claim_names, ordinal, ordinals, wanted};
use super::{retention, status};
use crate::controllers::claim::{Claim, claim};
use crate::controllers::pods::{self, Availability};
use crate::controllers::revisions;
use jiff::{SignedDuration, Timestamp};
use k8s_openapi::api::apps::v1::{ControllerRevision, StatefulSet, StatefulSetStatus};
use k8s_openapi::api::core::v1::{PersistentVolumeClaim, Pod};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::OwnerReference;
use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;
use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::Arc;

/// What the controller sees.
pub struct Observed<'a> {
    pub set: &'a StatefulSet,
    /// Pods that the set controls, and pods of its namespace that nobody does.
    pub pods: &'a [Arc<Pod>],
    /// Pods whose deletion was asked for, though `pods` may not show it yet.
    pub doomed: &'a HashSet<String>,
    /// The claims of the namespace that bear names of this set's, by name.
    pub claims: &'a HashMap<String, Arc<PersistentVolumeClaim>>,
    /// Oldest first; the last is that of the set's template.
    pub revisions: &'a [Arc<ControllerRevision>],
    /// Names of pods that stay for so long if their host rejected them.
    pub held: &'a HashMap<String, SignedDuration>,
    pub now: Timestamp,
}

/// In this order.
#[derive(Debug, Clone, PartialEq)]
pub enum Action {
    Adopt(Arc<Pod>),
    Release(Arc<Pod>),
    CreateClaim {
        claim: Box<PersistentVolumeClaim>,
        pod: String,
    },
    OwnClaim {
        claim: Arc<PersistentVolumeClaim>,
        owners: Vec<OwnerReference>,
    },
    Create(Box<Pod>),
    Label(Arc<Pod>, BTreeMap<String, String>),
    Delete(Arc<Pod>),
    /// Its containers ended by themselves: it makes room for its successor.
    Recreate(Arc<Pod>),
}

#[derive(Debug, Default, PartialEq)]
pub struct Plan {
    pub actions: Vec<Action>,
    /// The status once the actions are done.
    pub status: StatefulSetStatus,
    /// Revisions that no pod has and the history limit leaves out.
    pub expired: Vec<Arc<ControllerRevision>>,
    /// When the next pod has been ready for long enough.
    pub again: Option<SignedDuration>,
}

/// The set's pods by ordinal, and what rules them.
struct Planner<'a> {
    observed: &'a Observed<'a>,
    /// Those that shall be, and those that shall no longer.
    replicas: BTreeMap<i64, Option<Arc<Pod>>>,
    condemned: BTreeMap<i64, Arc<Pod>>,
    update: &'a ControllerRevision,
    current: &'a ControllerRevision,
    /// One pod at a time.
    ordered: bool,
    actions: Vec<Action>,
    /// When a rejected pod has stayed for long enough.
    again: Option<SignedDuration>,
}

/// A plan that touches no pods where the revisions are not known.
pub fn plan(observed: &Observed) -> Plan {
    let set = observed.set;
    let Some(update) = observed.revisions.last() else { return Plan::default() };
    let known = set.status.as_ref().and_then(|status| status.current_revision.as_deref());
    let current = observed.revisions.iter().find(|one| Some(revisions::name(one)) == known).unwrap_or(update);
    let policy = set.spec.as_ref().and_then(|spec| spec.pod_management_policy.as_deref());
    let mut planner = Planner {
        observed,
        replicas: ordinals(set).map(|ordinal| (ordinal, None)).collect(),
        condemned: BTreeMap::new(),
        update,
        current,
        ordered: policy != Some("Parallel"),
        actions: Vec::new(),
        again: None,
    };
    let mine = planner.claim();
    if set.metadata.deletion_timestamp.is_none() && planner.keep() && planner.scale_down() {
        planner.roll();
    }
    let (status, again) = status::status(observed, &mine, &planner.actions, current, update);
    let live: HashSet<&str> = mine
        .iter()
        .map(|pod| identity::revision(pod))
        .chain([revisions::name(current), revisions::name(update)])
        .chain(status.current_revision.as_deref())
        .collect();
    let limit = set.spec.as_ref().and_then(|spec| spec.revision_history_limit);
    let expired = revisions::expired(observed.revisions, &live, limit);
    let again = [again, planner.again].into_iter().flatten().min();
    Plan { actions: planner.actions, status, expired, again }
}

pub fn min_ready(set: &StatefulSet) -> i32 {
    set.spec.as_ref().and_then(|spec| spec.min_ready_seconds).unwrap_or(0)
}

impl Planner<'_> {
    /// Finds the set's pods: returns all of them, and sorts them by what shall become of them.
    fn claim(&mut self) -> Vec<Arc<Pod>> {
        let set = self.observed.set;
        let selector = set.spec.as_ref().map(|spec| spec.selector.clone()).unwrap_or_default();
        let mut mine = Vec::new();
        for pod in self.observed.pods {
            let Some(ordinal) = ordinal(set, pod) else { continue };
            match claim(&set.metadata, &selector, &pod.metadata) {
                Claim::Ignore => continue,
                Claim::Release => {
                    self.actions.push(Action::Release(pod.clone()));
                    continue;
                }
                Claim::Adopt => self.actions.push(Action::Adopt(pod.clone())),
                Claim::Keep => {}
            }
            mine.push(pod.clone());
            match self.replicas.get_mut(&ordinal) {
                Some(place) => *place = Some(pod.clone()),
                None => drop(self.condemned.insert(ordinal, pod.clone())),
            }
        }
        mine
    }

    fn is_leaving(&self, pod: &Pod) -> bool {
        pods::is_terminating(pod) || self.observed.doomed.contains(pods::uid(pod))
    }

    /// Runs, is ready for long enough and stays.
    fn is_available(&self, pod: &Pod) -> bool {
        let availability = pods::availability(pod, min_ready(self.observed.set), self.observed.now);
        pods::phase(pod) == "Running" && availability == Availability::Yes && !self.is_leaving(pod)
    }

    fn is_updated(&self, pod: &Pod) -> bool {
        identity::revision(pod) == revisions::name(self.update)
    }

    /// Sees to the pods that shall be, lowest ordinal first; false if that must go on first.
    fn keep(&mut self) -> bool {
        for (ordinal, pod) in self.replicas.clone() {
            let settled = match pod {
                None => self.create(ordinal),
                Some(pod) if pods::is_finished(&pod) => {
                    self.recreate(pod);
                    false
                }
                Some(pod) => self.tend(ordinal, &pod),
            };
            if !settled && self.ordered {
                return false;
            }
        }
        true
    }

    fn recreate(&mut self, pod: Arc<Pod>) {
        if self.is_leaving(&pod) {
            return;
        }
        match self.observed.held.get(pods::name(&pod)).filter(|_| pods::was_rejected(&pod)) {
            Some(wait) => self.again = Some(self.again.map_or(*wait, |known| known.min(*wait))),
            None => self.actions.push(Action::Recreate(pod)),
        }
    }

    /// Never true: a pod that is not there yet is not ready.
    fn create(&mut self, ordinal: i64) -> bool {
        let set = self.observed.set;
        let name = format!("{}-{ordinal}", identity::set_name(set));
        // A pod of this name that is not ours, or one that is leaving, keeps the identity.
        let stale = claim_names(set, ordinal)
            .filter_map(|claim| self.observed.claims.get(&claim))
            .any(|claim| retention::is_stale(claim, &name));
        if stale {
            return false;
        }
        self.make_claims(ordinal, &name, None);
        let revision = if self.stays_behind(ordinal) { self.current } else { self.update };
        if let Some(template) = revisions::template(revision) {
            let pod = identity::new_pod(set, &template, revisions::name(revision), ordinal);
            self.actions.push(Action::Create(Box::new(pod)));
        }
        false
    }

    /// Whether a new pod of this ordinal is one of the current revision: those below the partition are.
    fn stays_behind(&self, ordinal: i64) -> bool {
        let strategy = self.observed.set.spec.as_ref().and_then(|spec| spec.update_strategy.as_ref());
        let rolling = strategy.and_then(|strategy| strategy.rolling_update.as_ref());
        let partition = rolling.and_then(|rolling| rolling.partition).unwrap_or(0);
        !is_on_delete(self.observed.set) && ordinal < identity::start(self.observed.set) + i64::from(partition)
    }

    fn make_claims(&mut self, ordinal: i64, pod: &str, existing: Option<&Pod>) {
        let set = self.observed.set;
        for mut claim in identity::claims(set, ordinal) {
            let known = claim.metadata.name.as_ref().and_then(|name| self.observed.claims.get(name));
            match known {
                Some(known) => {
                    if let Some(owners) = retention::owners(set, existing, known) {
                        self.actions.push(Action::OwnClaim { claim: known.clone(), owners });
                    }
                }
                None => {
                    claim.metadata.owner_references = retention::owners(set, existing, &claim);
                    self.actions.push(Action::CreateClaim { claim: Box::new(claim), pod: pod.to_owned() });
                }
            }
        }
    }

    /// A pod that exists: whether the next one may be looked at.
    fn tend(&mut self, ordinal: i64, pod: &Arc<Pod>) -> bool {
        if self.is_leaving(pod) {
            return false;
        }
        let missing: BTreeMap<_, _> = identity::labels(pods::name(pod), ordinal)
            .into_iter()
            .filter(|(key, value)| pod.metadata.labels.as_ref().and_then(|labels| labels.get(key)) != Some(value))
            .collect();
        if !missing.is_empty() {
            self.actions.push(Action::Label(pod.clone(), missing));
        }
        self.make_claims(ordinal, pods::name(pod), Some(pod));
        self.is_available(pod)
    }

    /// Takes away what is too many, highest ordinal first; false if that must go on first.
    fn scale_down(&mut self) -> bool {
        // Nobody waits for a pod that ended, least of all its successors on their way out.
        let ending = self.condemned.values().filter(|pod| !pods::is_finished(pod));
        let first_unhealthy = self.replicas.values().flatten().chain(ending).find(|pod| !self.is_available(pod));
        let first_unhealthy = first_unhealthy.map(|pod| pods::uid(pod).to_owned());
        for (ordinal, pod) in self.condemned.clone().into_iter().rev() {
            let leaving = self.is_leaving(&pod);
            if self.ordered {
                let is_first = first_unhealthy.as_deref() == Some(pods::uid(&pod));
                if leaving || !self.is_available(&pod) && !is_first && !pods::is_finished(&pod) {
                    return false;
                }
            }
            if leaving {
                continue;
            }
            // Before the pod is gone: then nothing would own them.
            let claims: Vec<_> =
                claim_names(self.observed.set, ordinal).filter_map(|name| self.observed.claims.get(&name)).collect();
            for claim in claims {
                if let Some(owners) = retention::owners(self.observed.set, Some(&pod), claim) {
                    self.actions.push(Action::OwnClaim { claim: claim.clone(), owners });
                }
            }
            self.actions.push(Action::Delete(pod));
            if self.ordered {
                return false;
            }
        }
        true
    }

    /// Replaces pods of other revisions, highest ordinal first, as many at a time as may be missing.
    fn roll(&mut self) {
        if is_on_delete(self.observed.set) {
            return;
        }
        let limit = max_unavailable(self.observed.set);
        let candidates: Vec<_> = self.replicas.iter().filter(|(ordinal, _)| !self.stays_behind(**ordinal)).collect();
        let missing = |pod: &Option<Arc<Pod>>| pod.as_ref().is_none_or(|pod| !self.is_available(pod));
        let mut down = self.replicas.values().filter(|pod| missing(pod)).count();
        let mut doomed = Vec::new();
        for (_, place) in candidates.into_iter().rev() {
            let Some(pod) = place else { continue };
            if self.is_updated(pod) || self.is_leaving(pod) || pods::is_finished(pod) {
                continue;
            }
            // What serves nobody is not missed: a broken rollout gets out of its own way.
            if !missing(place) {
                if down >= limit {
                    continue;
                }
                down += 1;
            }
            doomed.push(Action::Delete(pod.clone()));
        }
        self.actions.extend(doomed);
    }
}

pub fn is_on_delete(set: &StatefulSet) -> bool {
    let strategy = set.spec.as_ref().and_then(|spec| spec.update_strategy.as_ref());
    strategy.and_then(|strategy| strategy.type_.as_deref()) == Some("OnDelete")
}

/// `spec.updateStrategy.rollingUpdate.maxUnavailable` in pods, at least 1; percentages are rounded up.
fn max_unavailable(set: &StatefulSet) -> usize {
    let strategy = set.spec.as_ref().and_then(|spec| spec.update_strategy.as_ref());
    let limit = strategy.and_then(|strategy| strategy.rolling_update.as_ref()?.max_unavailable.as_ref());
    let count = match limit {
        None => 1,
        Some(IntOrString::Int(count)) => i64::from(*count),
        Some(IntOrString::String(text)) => {
            let percent = text.trim_end_matches('%').parse::<i64>().unwrap_or(0);
            (percent * wanted(set) + 99) / 100
        }
    };
    count.max(1) as usize
}

#[cfg(test)]
mod tests;
