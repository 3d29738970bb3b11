//! Which pods make way for one of higher priority, and on which host. Pure. Source: Kubernetes'
//! DefaultPreemption.

mod budgets;
mod trial;

pub use budgets::Budgets;

use super::cycle::{self, Rejections};
use super::filters::{Rejection, Wanted};
use super::host::{Placed, priority};
use super::snapshot::Snapshot;
use jiff::Timestamp;
use k8s_openapi::api::core::v1::Pod;
use std::cmp::Reverse;
use std::sync::Arc;
use trial::{Local, Whole};

/// What became of the search.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Preemption {
    /// The host is the pod's as soon as these have left it.
    Nominated { host: String, victims: Vec<Victim> },
    /// Nobody is to go; why, as it stands in the FailedScheduling event. The host that the pod was promised
    /// stays so while those whom it costs are leaving.
    Refused { why: String, keeps_promise: bool },
    /// There is no host at all.
    NotTried,
}

/// A pod that has to go.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Victim {
    pub namespace: String,
    pub name: String,
    pub uid: String,
}

/// A pod that may have to go.
type Mortal = (Arc<str>, Arc<Placed>);

/// A host that would do, and whom it costs: the most important first.
struct Candidate {
    host: Arc<str>,
    victims: Vec<Mortal>,
    /// Budgets that would be overdrawn.
    violations: usize,
}

const NOT_HELPFUL: &str = "Preemption is not helpful for scheduling";
const NO_VICTIMS: &str = "No preemption victims found for incoming pod";

/// Candidates that are enough to choose from: Kubernetes' defaults, a tenth of the hosts, at least 100.
fn enough(hosts: usize) -> usize {
    (hosts / 10).max(100)
}

/// The more important pod is the smaller.
fn importance((uid, placed): &Mortal) -> (Reverse<i32>, Timestamp, &str, &str) {
    // One that has not started is the youngest.
    (Reverse(placed.priority), placed.started.unwrap_or(Timestamp::MAX), &placed.name, uid)
}

/// Looks for a host that could take the pod if less important ones left. `rejections`: why none can now.
/// The snapshot says the same before and after.
pub fn preempt(pod: &Pod, snapshot: &mut Snapshot, rejections: &Rejections) -> Preemption {
    if rejections.is_empty() {
        return Preemption::NotTried;
    }
    if let Some(why) = ineligible(pod, snapshot, rejections) {
        return Preemption::Refused { why: format!("preemption: {why}"), keeps_promise: true };
    }
    let helpful = |why: &[Rejection]| !why.iter().any(|rejection| rejection.unresolvable);
    let mut said: Vec<(&Arc<str>, Vec<Rejection>)> = Vec::new();
    let mut candidates: Vec<Candidate> = Vec::new();
    let enough = enough(rejections.len());
    // Where the search begins moves on, so that one host is not asked again and again.
    let start = (snapshot.placed() + snapshot.promises.count()).wrapping_mul(enough) % rejections.len();
    for (host, why) in rejections.iter().cycle().skip(start).take(rejections.len()) {
        if !helpful(why) {
            said.push((host, vec![Rejection::never(NOT_HELPFUL)]));
            continue;
        }
        if candidates.len() >= enough && candidates.iter().any(|one| one.violations == 0) {
            break;
        }
        match candidate(pod, snapshot, host) {
            Ok(found) => candidates.push(found),
            Err(why) => said.push((host, why)),
        }
    }
    let Some(best) = best(candidates) else {
        let said = said.into_iter().map(|(host, why)| (host.clone(), why)).collect();
        return Preemption::Refused { why: format!("preemption: {}", cycle::summary(&said)), keeps_promise: false };
    };
    let victim = |(uid, placed): &Mortal| Victim {
        namespace: placed.group.namespace.clone(),
        name: placed.name.clone(),
        uid: uid.to_string(),
    };
    Preemption::Nominated { victims: best.victims.iter().map(victim).collect(), host: best.host.to_string() }
}

/// Why nobody may go for this pod.
fn ineligible(pod: &Pod, snapshot: &Snapshot, rejections: &Rejections) -> Option<&'static str> {
    if pod.spec.as_ref().is_some_and(|spec| spec.preemption_policy.as_deref() == Some("Never")) {
        return Some("not eligible due to preemptionPolicy=Never.");
    }
    let host = snapshot.promises.host_of(cycle::uid(pod))?;
    let lost = rejections.get(host).is_some_and(|why| why.iter().any(|rejection| rejection.unresolvable));
    let own = priority(pod);
    let on_their_way =
        snapshot.host(host).is_some_and(|host| host.pods().any(|one| one.priority < own && one.is_preempted));
    (!lost && on_their_way).then_some("not eligible due to a terminating pod on the nominated node.")
}

fn candidate(pod: &Pod, snapshot: &mut Snapshot, name: &Arc<str>) -> Result<Candidate, Vec<Rejection>> {
    let own = priority(pod);
    let Some(host) = snapshot.host(name) else { return Err(vec![Rejection::never(NOT_HELPFUL)]) };
    let lesser = host.pods_by_uid().filter(|(_, placed)| placed.priority < own);
    let mut mortals: Vec<Mortal> = lesser.map(|(uid, placed)| (uid.clone(), placed.clone())).collect();
    if mortals.is_empty() {
        return Err(vec![Rejection::never(NO_VICTIMS)]);
    }
    mortals.sort_by(|a, b| importance(a).cmp(&importance(b)));
    let host = host.emptied();
    let parts = snapshot.budgets.part(mortals);
    let candidate = |(victims, violations)| Candidate { host: name.clone(), victims, violations };
    if !snapshot.promises.on(name)
        && let Some(wanted) = Wanted::of(pod, snapshot).filter(|wanted| wanted.looks_at_hosts_alone())
    {
        return trial::choose(parts, &mut Local { wanted: &wanted, host }).map(candidate);
    }
    let everyone: Vec<Mortal> = parts.iter().flatten().cloned().collect();
    let chosen = trial::choose(parts, &mut Whole { pod, snapshot, host: name });
    for (uid, placed) in everyone {
        snapshot.place(&uid, name, Placed::clone(&placed));
    }
    chosen.map(candidate)
}

/// The one that costs least: fewest budgets overdrawn, then the lowest of the highest priorities, the lowest sum
/// of them, the fewest pods, and the youngest of the most important ones; then the first by name.
fn best(candidates: Vec<Candidate>) -> Option<Candidate> {
    let cost = |one: &Candidate| {
        let highest = one.victims.first().map_or(i32::MIN, |(_, placed)| placed.priority);
        // Shifted, so that few pods of negative priority do not cost more than many.
        let sum: i64 = one.victims.iter().map(|(_, placed)| i64::from(placed.priority) + (1 << 31)).sum();
        let oldest = one.victims.iter().filter(|(_, placed)| placed.priority == highest);
        let oldest = oldest.filter_map(|(_, placed)| placed.started).min().unwrap_or(Timestamp::MAX);
        (one.violations, highest, sum, one.victims.len(), Reverse(oldest))
    };
    candidates.into_iter().min_by(|a, b| cost(a).cmp(&cost(b)).then_with(|| a.host.cmp(&b.host)))
}

#[cfg(test)]
mod tests;
