//! Which pods make way for one of higher priority, and on which host. Pure. Source: Kubernetes'
//! DefaultPreemption.

mod budgets;
mod trial;

pub use budgets::Budgets;

use super::cycle;
use super::equivalence::{Known, Tried};
use super::filters::{Rejection, Wanted};
use super::host::{HostState, Placed, priority};
use super::rejections::{Rejections, Why};
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
#[derive(Debug)]
pub struct Candidate {
    host: Arc<str>,
    victims: Vec<Mortal>,
    cost: Cost,
}

/// The less, the better: budgets overdrawn, the highest priority, the sum of them, the number of pods, and how
/// long the most important ones have run.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Cost {
    violations: usize,
    highest: i32,
    /// Shifted, so that few pods of negative priority do not cost more than many.
    sum: i64,
    pods: usize,
    oldest: Reverse<Timestamp>,
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
/// `known`: of pods that ask for the same. The snapshot says the same before and after.
pub fn preempt(pod: &Pod, snapshot: &mut Snapshot, rejections: &Rejections, known: Option<&mut Known>) -> Preemption {
    if rejections.is_empty() {
        return Preemption::NotTried;
    }
    if let Some(why) = ineligible(pod, snapshot, rejections) {
        return Preemption::Refused { why: format!("preemption: {why}"), keeps_promise: true };
    }
    let found = match known {
        Some(known) => try_room(pod, snapshot, rejections, known),
        None => {
            let start = start(snapshot, rejections.len());
            look_through(rejections, start, |_, host| Ok(Arc::new(try_whole(pod, snapshot, host)?)))
        }
    };
    let best = match found {
        Ok(best) => best,
        Err(said) => {
            let why = format!("preemption: {}", said.summary());
            return Preemption::Refused { why, keeps_promise: false };
        }
    };
    let victim = |(uid, placed): &Mortal| Victim {
        namespace: placed.group.namespace.clone(),
        name: placed.name.clone(),
        uid: uid.to_string(),
    };
    Preemption::Nominated { victims: best.victims.iter().map(victim).collect(), host: best.host.to_string() }
}

/// Where the search begins moves on, so that one host is not asked again and again.
fn start(snapshot: &Snapshot, hosts: usize) -> usize {
    (snapshot.placed() + snapshot.promises.count()).wrapping_mul(enough(hosts)) % hosts
}

/// The best of the first candidates from `start` on that are enough; what each host says where there is none.
fn look_through(
    rejections: &Rejections,
    start: usize,
    mut attempt: impl FnMut(usize, &Arc<str>) -> Tried,
) -> Result<Arc<Candidate>, Rejections> {
    let (hosts, enough) = (rejections.as_slice(), enough(rejections.len()));
    let not_helpful: Why = [Rejection::never(NOT_HELPFUL)].into();
    let (mut said, mut candidates, mut harmless) = (Vec::new(), Vec::new(), false);
    for at in (0..hosts.len()).map(|at| (start + at) % hosts.len()) {
        let (host, why) = &hosts[at];
        if why.iter().any(|rejection| rejection.unresolvable) {
            said.push((host.clone(), not_helpful.clone()));
            continue;
        }
        if harmless && candidates.len() >= enough {
            break;
        }
        match attempt(at, host) {
            Ok(found) => {
                harmless |= found.cost.violations == 0;
                candidates.push(found);
            }
            Err(why) => said.push((host.clone(), why)),
        }
    }
    let best = candidates.into_iter().min_by(|a, b| a.cost.cmp(&b.cost).then_with(|| a.host.cmp(&b.host)));
    best.ok_or_else(|| {
        said.rotate_right(start);
        Rejections::new(said)
    })
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

/// Those on the host that may have to leave it: first those whose budgets do not allow for it, then the others,
/// each the most important first.
fn mortals(pod: &Pod, snapshot: &Snapshot, host: &HostState) -> Result<[Vec<Mortal>; 2], Vec<Rejection>> {
    let own = priority(pod);
    let lesser = host.pods_by_uid().filter(|(_, placed)| placed.priority < own);
    let mut mortals: Vec<Mortal> = lesser.map(|(uid, placed)| (uid.clone(), placed.clone())).collect();
    if mortals.is_empty() {
        return Err(vec![Rejection::never(NO_VICTIMS)]);
    }
    mortals.sort_by(|a, b| importance(a).cmp(&importance(b)));
    Ok(snapshot.budgets.part(mortals))
}

/// Of a pod that looks at nothing but the hosts' own room: what fits beside those that the host was promised
/// fits without them too.
fn try_room(
    pod: &Pod,
    snapshot: &Snapshot,
    rejections: &Rejections,
    known: &mut Known,
) -> Result<Arc<Candidate>, Rejections> {
    let Some(wanted) = Wanted::of(pod, snapshot) else { return Err(Rejections::default()) };
    let hosts: Vec<&HostState> = snapshot.hosts().collect();
    let start = start(snapshot, rejections.len());
    // What it was promised counts against others of its kind, and not against itself.
    let own = snapshot.promises.host_of(cycle::uid(pod));
    look_through(rejections, start, |at, _| {
        let host = hosts[at];
        let trial = || {
            let parts = mortals(pod, snapshot, host)?;
            let promised = snapshot.promises.before(&host.name, priority(pod), cycle::uid(pod));
            let chosen = trial::choose(parts, &mut Local { wanted: &wanted, host: cycle::crowded(host, &promised) });
            chosen.map(|(victims, violations)| Candidate::new(&host.name, victims, violations))
        };
        if own == Some(&*host.name) {
            return trial().map(Arc::new).map_err(Why::from);
        }
        known.tried(at, host, snapshot.budgets.generation(), trial)
    })
}

/// Of a pod that looks at others, wherever they are.
fn try_whole(pod: &Pod, snapshot: &mut Snapshot, name: &Arc<str>) -> Result<Candidate, Vec<Rejection>> {
    let Some(host) = snapshot.host(name) else { return Err(vec![Rejection::never(NOT_HELPFUL)]) };
    let parts = mortals(pod, snapshot, host)?;
    let everyone: Vec<Mortal> = parts.iter().flatten().cloned().collect();
    let chosen = trial::choose(parts, &mut Whole { pod, snapshot, host: name });
    for (uid, placed) in everyone {
        snapshot.place(&uid, name, Placed::clone(&placed));
    }
    chosen.map(|(victims, violations)| Candidate::new(name, victims, violations))
}

impl Candidate {
    fn new(host: &Arc<str>, victims: Vec<Mortal>, violations: usize) -> Self {
        let highest = victims.first().map_or(i32::MIN, |(_, placed)| placed.priority);
        let sum = victims.iter().map(|(_, placed)| i64::from(placed.priority) + (1 << 31)).sum();
        let oldest = victims.iter().filter(|(_, placed)| placed.priority == highest);
        let oldest = oldest.filter_map(|(_, placed)| placed.started).min().unwrap_or(Timestamp::MAX);
        let cost = Cost { violations, highest, sum, pods: victims.len(), oldest: Reverse(oldest) };
        Self { host: host.clone(), victims, cost }
    }
}

#[cfg(test)]
mod tests;
