//! Which of the hosts that fit is best. Each score is 0 to 100; weights as in Kubernetes' defaults.

use super::filters::Wanted;
use super::snapshot::HostState;
use crate::api::placement::preference;
use k8s_openapi::api::core::v1::Taint;

pub(super) const MAX: i64 = 100;
const MIB: i64 = 1 << 20;

/// The total of a host among `feasible`, in the same order. Source: the default plugins
/// NodeResourcesFit (LeastAllocated), NodeResourcesBalancedAllocation, ImageLocality, TaintToleration,
/// NodeAffinity, InterPodAffinity and PodTopologySpread.
pub fn totals(wanted: &Wanted<'_>, feasible: &[&HostState]) -> Vec<i64> {
    let asked = super::requests::for_scoring(wanted.spec);
    let spread = wanted.spread.scores(feasible);
    let taints = untolerated_preferences(wanted, feasible);
    let preferred = preferred(wanted, feasible);
    let near = wanted.neighbours.scores(feasible);
    feasible
        .iter()
        .enumerate()
        .map(|(at, host)| {
            least_allocated(asked, host)
                + balanced(asked, host)
                + image_locality(wanted, host, feasible)
                + 2 * spread[at]
                + 2 * near[at]
                + 2 * preferred[at]
                + 3 * taints[at]
        })
        .collect()
}

fn least_allocated((cpu, memory): (i64, i64), host: &HostState) -> i64 {
    let free = |asked: i64, used: i64, all: i64| {
        if all <= 0 || used + asked > all { 0 } else { (all - used - asked) * MAX / all }
    };
    let (used_cpu, used_memory) = host.used_for_scoring;
    (free(cpu, used_cpu, host.allocatable.cpu) + free(memory, used_memory, host.allocatable.memory)) / 2
}

/// High when cpu and memory are used to the same degree.
fn balanced((cpu, memory): (i64, i64), host: &HostState) -> i64 {
    let share =
        |asked: i64, used: i64, all: i64| if all <= 0 { 1.0 } else { ((used + asked) as f64 / all as f64).min(1.0) };
    let (used_cpu, used_memory) = host.used_for_scoring;
    let difference = share(cpu, used_cpu, host.allocatable.cpu) - share(memory, used_memory, host.allocatable.memory);
    ((1.0 - difference.abs() / 2.0) * MAX as f64) as i64
}

/// High where the images are already, damped by how few hosts have them, so that a first host does
/// not draw every pod.
fn image_locality(wanted: &Wanted<'_>, host: &HostState, feasible: &[&HostState]) -> i64 {
    const LEAST: i64 = 23 * MIB;
    let containers = wanted.spec.containers.len().max(1) as i64;
    let most = 1000 * MIB * containers;
    let sum: i64 = wanted
        .spec
        .containers
        .iter()
        .filter_map(|container| container.image.as_deref())
        .filter_map(|image| {
            let size = *host.images.get(image)?;
            let having = feasible.iter().filter(|other| other.images.contains_key(image)).count() as i64;
            Some(size * having / feasible.len().max(1) as i64)
        })
        .sum();
    (sum.clamp(LEAST, most) - LEAST) * MAX / (most - LEAST)
}

/// High where the pod would like to be, by the labels of hosts.
fn preferred(wanted: &Wanted<'_>, feasible: &[&HostState]) -> Vec<i64> {
    let labels = |host: &HostState| host.node.as_ref().and_then(|node| node.metadata.labels.clone());
    let has_any = wanted.spec.affinity.as_ref().is_some_and(|affinity| affinity.node_affinity.is_some());
    if !has_any {
        return vec![0; feasible.len()];
    }
    let weigh = |host: &&HostState| preference(wanted.spec, &host.name, labels(host).as_ref());
    let weights: Vec<i64> = feasible.iter().map(weigh).collect();
    let most = weights.iter().copied().max().unwrap_or(0).max(1);
    weights.into_iter().map(|weight| weight * MAX / most).collect()
}

/// High where few PreferNoSchedule taints are not tolerated.
fn untolerated_preferences(wanted: &Wanted<'_>, feasible: &[&HostState]) -> Vec<i64> {
    let untolerated =
        |taint: &&Taint| taint.effect == "PreferNoSchedule" && !crate::api::placement::tolerates(wanted.spec, taint);
    let counts: Vec<i64> = feasible
        .iter()
        .map(|host| {
            let taints = host.node.as_ref().and_then(|node| node.spec.as_ref()).and_then(|spec| spec.taints.as_ref());
            taints.into_iter().flatten().filter(untolerated).count() as i64
        })
        .collect();
    inverted(&counts)
}

fn inverted(counts: &[i64]) -> Vec<i64> {
    let most = counts.iter().copied().max().unwrap_or(0);
    counts.iter().map(|count| if most == 0 { MAX } else { (most - count) * MAX / most }).collect()
}
