//! Which pods make way for a critical one: of the lowest priority and quality of service that will do, as few
//! as possible. Pure. Source: Kubernetes' preemption in the kubelet.

use super::is_critical;
use super::room::{Shortage, request};
use crate::kubelet::pod::spec;
use crate::kubelet::resources::qos_class;
use crate::scheduler::requests::{self, Amounts};
use k8s_openapi::api::core::v1::Pod;
use std::collections::BTreeMap;
use std::sync::Arc;

/// One that could go.
#[derive(Clone)]
struct Candidate {
    pod: Arc<Pod>,
    asked: Amounts,
}

/// What is still missing, by resource; nothing of what there is enough.
type Missing = Vec<(String, i64)>;

/// The pods to go. An error is the message of the pod's refusal.
pub fn victims(pod: &Pod, others: &[Arc<Pod>], shortages: &[Shortage]) -> Result<Vec<Arc<Pod>>, String> {
    let mut groups: BTreeMap<(i32, u8), Vec<Candidate>> = BTreeMap::new();
    for other in others.iter().filter(|other| yields(other, pod)) {
        let candidate = Candidate { pod: other.clone(), asked: requests::of(spec(other)) };
        groups.entry((priority(other), quality(other))).or_default().push(candidate);
    }
    let mut groups: Vec<Vec<Candidate>> = groups.into_values().collect();
    // What is missing when all of the groups before have gone.
    let mut missing: Vec<Missing> = vec![shortages.iter().map(|one| (one.resource.clone(), one.amount())).collect()];
    for group in &groups {
        let before = missing.last().cloned().unwrap_or_default();
        missing.push(group.iter().fold(before, |missing, candidate| subtract(missing, &candidate.asked)));
    }
    let rest = missing.pop().unwrap_or_default();
    if !rest.is_empty() {
        let rest: String = rest.iter().map(|(name, amount)| format!("(res: {name}, q: {amount}), ")).collect();
        return Err(format!(
            "Unexpected error while attempting to recover from admission failure: preemption: error finding a set of pods to preempt: no set of running pods found to reclaim resources: [{rest}]"
        ));
    }
    let mut chosen: Vec<Candidate> = Vec::new();
    // Of the groups of higher rank only what the lower ones can not free.
    while let (Some(mut group), Some(missing)) = (groups.pop(), missing.pop()) {
        let mut missing = chosen.iter().fold(missing, |missing, candidate| subtract(missing, &candidate.asked));
        while let Some(at) = nearest(&group, &missing).filter(|_| !missing.is_empty()) {
            let candidate = group.swap_remove(at);
            missing = subtract(missing, &candidate.asked);
            chosen.push(candidate);
        }
    }
    Ok(chosen.into_iter().map(|candidate| candidate.pod).collect())
}

/// Whether `other` gives way to the critical `pod`.
fn yields(other: &Pod, pod: &Pod) -> bool {
    !is_critical(other) || priority(other) < priority(pod)
}

fn priority(pod: &Pod) -> i32 {
    spec(pod).priority.unwrap_or_default()
}

fn quality(pod: &Pod) -> u8 {
    match qos_class(spec(pod)) {
        "BestEffort" => 1,
        "Burstable" => 2,
        _ => 3,
    }
}

fn subtract(missing: Missing, asked: &Amounts) -> Missing {
    let left = missing.into_iter().map(|(name, amount)| {
        let left = amount.saturating_sub(request(asked, &name));
        (name, left)
    });
    left.filter(|(_, amount)| *amount > 0).collect()
}

/// The one that comes closest to freeing everything; of two alike the one that asks for less.
fn nearest(group: &[Candidate], missing: &Missing) -> Option<usize> {
    let distance = |candidate: &Candidate| -> f64 {
        let shares = missing.iter().map(|(name, amount)| {
            let left = amount.saturating_sub(request(&candidate.asked, name)).max(0);
            (left as f64 / *amount as f64).powi(2)
        });
        shares.sum()
    };
    let size = |candidate: &Candidate| (candidate.asked.memory, candidate.asked.cpu);
    let better = |one: &(usize, f64), other: &(usize, f64)| {
        one.1.total_cmp(&other.1).then_with(|| size(&group[one.0]).cmp(&size(&group[other.0])))
    };
    let all = group.iter().map(distance).enumerate();
    all.min_by(better).map(|(at, _)| at)
}
