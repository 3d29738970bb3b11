//! Decides what a DaemonSet needs. Pure.

mod rollout;

use super::hosts::{self, Wish};
use crate::controllers::claim::{Claim, claim};
use crate::controllers::pods::{self, Availability};
use crate::controllers::revisions::HASH_LABEL;
use jiff::{SignedDuration, Timestamp};
use k8s_openapi::api::apps::v1::{DaemonSet, DaemonSetStatus};
use k8s_openapi::api::core::v1::{Node, Pod};
use rollout::Limits;
use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::Arc;

/// What the controller sees.
pub struct Observed<'a> {
    pub set: &'a DaemonSet,
    pub nodes: &'a [Arc<Node>],
    /// Pods that the set controls, and pods of its namespace that nobody does.
    pub pods: &'a [Arc<Pod>],
    /// Pods whose deletion was asked for, though `pods` may not show it yet.
    pub doomed: &'a HashSet<String>,
    /// The revision's hash of the set's template.
    pub hash: &'a str,
    /// Hosts whose failed pod is not to be replaced yet, and for how long.
    pub held: &'a HashMap<String, SignedDuration>,
    pub now: Timestamp,
}

/// What to do: first who belongs to us, then what is deleted, then what is made.
#[derive(Debug, Default, PartialEq)]
pub struct Plan {
    pub adopt: Vec<Arc<Pod>>,
    pub release: Vec<Arc<Pod>>,
    pub delete: Vec<Arc<Pod>>,
    /// Pods that ended by themselves, which is worth an event; also deleted.
    pub ended: Vec<Arc<Pod>>,
    pub create: Vec<Pod>,
    pub status: DaemonSetStatus,
    /// Hashes that the pods have.
    pub live: HashSet<String>,
    pub again: Option<SignedDuration>,
}

impl Plan {
    fn look_again(&mut self, wait: SignedDuration) {
        self.again = Some(self.again.map_or(wait, |known| known.min(wait)));
    }
}

/// One host and the set's pods there, oldest first.
pub(super) struct Host<'a> {
    name: &'a str,
    wish: Wish,
    pods: Vec<Arc<Pod>>,
}

pub fn hash(pod: &Pod) -> &str {
    pod.metadata.labels.as_ref().and_then(|labels| labels.get(HASH_LABEL)).map_or("", String::as_str)
}

impl Observed<'_> {
    fn is_leaving(&self, pod: &Pod) -> bool {
        pods::is_terminating(pod) || self.doomed.contains(pods::uid(pod))
    }

    fn is_updated(&self, pod: &Pod) -> bool {
        hash(pod) == self.hash
    }

    fn is_available(&self, pod: &Pod) -> bool {
        self.availability(pod) == Availability::Yes
    }

    fn availability(&self, pod: &Pod) -> Availability {
        let min_ready = self.set.spec.as_ref().and_then(|spec| spec.min_ready_seconds).unwrap_or(0);
        pods::availability(pod, min_ready, self.now)
    }
}

pub fn plan(observed: &Observed) -> Plan {
    let (set, mut plan) = (observed.set, Plan::default());
    let spec = hosts::spec(set);
    let mut by_host = claim_pods(observed, &mut plan);
    let nodes: BTreeMap<&str, &Arc<Node>> =
        observed.nodes.iter().filter_map(|node| Some((node.metadata.name.as_deref()?, node))).collect();
    let hosts: Vec<Host> = nodes
        .iter()
        .map(|(name, node)| Host {
            name,
            wish: hosts::wish(&spec, node),
            pods: by_host.remove(*name).unwrap_or_default(),
        })
        .collect();
    let limits = Limits::of(set, hosts.iter().filter(|host| host.wish == Wish::Run).count());
    let (mut create, mut delete) = (Vec::new(), Vec::new());
    // Waiting for a host that is gone: nothing will ever bind them.
    let lost = by_host.into_values().flatten();
    delete.extend(lost.filter(|pod| pods::node(pod).is_none() && !observed.is_leaving(pod)));
    if set.metadata.deletion_timestamp.is_none() {
        for host in &hosts {
            manage(observed, host, &limits, &mut create, &mut delete, &mut plan);
        }
        rollout::roll(observed, &hosts, &limits, &mut create, &mut delete);
    } else {
        delete.clear();
    }
    let mut seen = HashSet::new();
    delete.retain(|pod| seen.insert(pods::uid(pod).to_owned()));
    plan.create = create.into_iter().map(|node| hosts::new_pod(set, spec.clone(), observed.hash, node)).collect();
    plan.delete = delete;
    report(observed, &hosts, &mut plan);
    plan
}

fn claim_pods(observed: &Observed, plan: &mut Plan) -> HashMap<String, Vec<Arc<Pod>>> {
    let set = observed.set;
    let selector = set.spec.as_ref().map(|spec| spec.selector.clone()).unwrap_or_default();
    let mut by_host: HashMap<String, Vec<Arc<Pod>>> = HashMap::new();
    for pod in observed.pods {
        match claim(&set.metadata, &selector, &pod.metadata) {
            Claim::Ignore => continue,
            Claim::Release => {
                plan.release.push(pod.clone());
                continue;
            }
            Claim::Adopt => plan.adopt.push(pod.clone()),
            Claim::Keep => {}
        }
        plan.live.insert(hash(pod).to_owned());
        by_host.entry(hosts::target(pod).unwrap_or_default().to_owned()).or_default().push(pod.clone());
    }
    for pods in by_host.values_mut() {
        let created = |pod: &Pod| pod.metadata.creation_timestamp.as_ref().map(|time| time.0);
        // A pod that has its host counts before one that waits for it.
        pods.sort_by_key(|pod| (pods::node(pod).is_none(), created(pod), pods::name(pod).to_owned()));
    }
    by_host
}

/// One host: one pod where one shall run, no second one, and none that ended.
fn manage<'a>(
    observed: &Observed,
    host: &Host<'a>,
    limits: &Limits,
    create: &mut Vec<&'a str>,
    delete: &mut Vec<Arc<Pod>>,
    plan: &mut Plan,
) {
    let staying = host.pods.iter().filter(|pod| !observed.is_leaving(pod));
    if host.wish == Wish::Never {
        delete.extend(staying.cloned());
        return;
    }
    if host.wish == Wish::Run && host.pods.is_empty() {
        create.push(host.name);
        return;
    }
    let mut running = Vec::new();
    for pod in staying {
        if !pods::is_finished(pod) {
            running.push(pod);
        } else if let Some(wait) = observed.held.get(host.name).filter(|_| pods::phase(pod) == "Failed") {
            plan.look_again(*wait);
        } else {
            plan.ended.push(pod.clone());
        }
    }
    if limits.surge == 0 {
        delete.extend(running.into_iter().skip(1).cloned());
        return;
    }
    // One of the old and one of the new template may be there; the new one takes over when it is available.
    let (new, old): (Vec<_>, Vec<_>) = running.into_iter().partition(|pod| observed.is_updated(pod));
    delete.extend(new.iter().skip(1).map(|pod| (*pod).clone()));
    let replaced = new.first().is_some_and(|pod| observed.is_available(pod));
    delete.extend(old.into_iter().skip(usize::from(!replaced)).cloned());
}

fn report(observed: &Observed, hosts: &[Host], plan: &mut Plan) {
    let known = observed.set.status.as_ref();
    let (mut desired, mut current, mut misscheduled, mut ready, mut available, mut updated) = (0, 0, 0, 0, 0, 0);
    for host in hosts {
        if host.wish != Wish::Run {
            misscheduled += i32::from(!host.pods.is_empty());
            continue;
        }
        desired += 1;
        current += i32::from(!host.pods.is_empty());
        let Some(pod) = host.pods.first() else { continue };
        updated += i32::from(observed.is_updated(pod));
        match observed.availability(pod) {
            Availability::No => {}
            Availability::Yes => (ready, available) = (ready + 1, available + 1),
            Availability::In(wait) => {
                ready += 1;
                plan.look_again(wait);
            }
        }
    }
    let some = |count: i32| Some(count).filter(|count| *count > 0);
    plan.status = DaemonSetStatus {
        desired_number_scheduled: desired,
        current_number_scheduled: current,
        number_misscheduled: misscheduled,
        number_ready: ready,
        number_available: some(available),
        number_unavailable: some(desired - available),
        updated_number_scheduled: some(updated),
        observed_generation: observed.set.metadata.generation,
        collision_count: known.and_then(|status| status.collision_count),
        conditions: known.and_then(|status| status.conditions.clone()),
    };
}

#[cfg(test)]
mod tests;
