//! Which of the hosts that fit is best. Each score is 0 to 100. Source: Kubernetes' default plugins.

use super::filters::Wanted;
use super::profiles::Score;
use super::snapshot::HostState;
use crate::api::placement::preference;
use k8s_openapi::api::core::v1::Taint;

pub(super) const MAX: i64 = 100;
const MIB: i64 = 1 << 20;

/// The total of a host among `feasible`, in the same order, as the pod's scheduler weighs them.
pub fn totals(wanted: &Wanted<'_>, feasible: &[&HostState]) -> Vec<i64> {
    let mut totals = vec![0; feasible.len()];
    for (score, weight) in wanted.profile.weights() {
        for (total, one) in totals.iter_mut().zip(scores(score, wanted, feasible)) {
            *total += weight * one;
        }
    }
    totals
}

fn scores(score: Score, wanted: &Wanted<'_>, feasible: &[&HostState]) -> Vec<i64> {
    let asked = super::requests::for_scoring(wanted.spec);
    let each = |of: fn((i64, i64), &HostState) -> i64| feasible.iter().map(|host| of(asked, host)).collect();
    match score {
        Score::LeastAllocated => each(least_allocated),
        Score::MostAllocated => each(most_allocated),
        Score::NodeResourcesBalancedAllocation => {
            let asked = (wanted.requests.cpu, wanted.requests.memory);
            feasible.iter().map(|host| balanced(asked, host)).collect()
        }
        Score::ImageLocality => image_locality(wanted, feasible),
        Score::TaintToleration => untolerated_preferences(wanted, feasible),
        Score::NodeAffinity => preferred(wanted, feasible),
        Score::PodTopologySpread => wanted.spread.scores(feasible),
        Score::InterPodAffinity => wanted.neighbours.scores(feasible),
    }
}

fn least_allocated(asked: (i64, i64), host: &HostState) -> i64 {
    allocated(asked, host, |taken, all| (all - taken) * MAX / all)
}

/// High where little would be left, so that other hosts stay free for large pods.
fn most_allocated(asked: (i64, i64), host: &HostState) -> i64 {
    allocated(asked, host, |taken, all| taken * MAX / all)
}

/// The mean of cpu and memory; `of`: what one is worth, from what is taken and what there is.
fn allocated((cpu, memory): (i64, i64), host: &HostState, of: fn(i64, i64) -> i64) -> i64 {
    let one = |asked: i64, used: i64, all: i64| if all <= 0 || used + asked > all { 0 } else { of(used + asked, all) };
    let (used_cpu, used_memory) = host.used_for_scoring;
    (one(cpu, used_cpu, host.allocatable.cpu) + one(memory, used_memory, host.allocatable.memory)) / 2
}

/// High when cpu and memory are asked for to the same degree. A pod that asks for neither changes nothing about that,
/// and all such pods would go to the host that is balanced best: hosts are alike for it.
fn balanced((cpu, memory): (i64, i64), host: &HostState) -> i64 {
    if cpu == 0 && memory == 0 {
        return 0;
    }
    let share = |asked: i64, used: i64, all: i64| (all > 0).then(|| ((used + asked) as f64 / all as f64).min(1.0));
    let (used_cpu, used_memory) = host.asked_for_scoring;
    let of_cpu = share(cpu, used_cpu, host.allocatable.cpu);
    let of_memory = share(memory, used_memory, host.allocatable.memory);
    // The deviation of two; one alone has none.
    let deviation = of_cpu.zip(of_memory).map_or(0.0, |(cpu, memory)| (cpu - memory).abs() / 2.0);
    ((1.0 - deviation) * MAX as f64) as i64
}

/// High where the images are already, damped by how few hosts have them, so that a first host does
/// not draw every pod.
fn image_locality(wanted: &Wanted<'_>, feasible: &[&HostState]) -> Vec<i64> {
    const LEAST: i64 = 23 * MIB;
    let images = wanted.spec.containers.iter().filter_map(|container| container.image.as_deref());
    let having = |image: &str| feasible.iter().filter(|host| host.images.contains_key(image)).count() as i64;
    let images: Vec<(&str, i64)> = images.map(|image| (image, having(image))).collect();
    let most = 1000 * MIB * wanted.spec.containers.len().max(1) as i64;
    let worth = |host: &&HostState| {
        let sizes = images.iter().filter_map(|(image, having)| Some(host.images.get(*image)? * having));
        let sum: i64 = sizes.map(|size| size / feasible.len().max(1) as i64).sum();
        (sum.clamp(LEAST, most) - LEAST) * MAX / (most - LEAST)
    };
    feasible.iter().map(worth).collect()
}

/// High where the pod would like to be, by the labels of hosts.
fn preferred(wanted: &Wanted<'_>, feasible: &[&HostState]) -> Vec<i64> {
    let has_any = wanted.spec.affinity.as_ref().is_some_and(|affinity| affinity.node_affinity.is_some());
    if !has_any {
        return vec![0; feasible.len()];
    }
    let weigh = |host: &&HostState| {
        let labels = host.node.as_ref().and_then(|node| node.metadata.labels.as_ref());
        preference(wanted.spec, &host.name, labels)
    };
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::scheduler::requests::Amounts;
    use std::sync::Arc;

    /// A host with these amounts of cpu (thousandths) and memory (bytes), of which pods ask for some.
    fn host(cpu: (i64, i64), memory: (i64, i64)) -> HostState {
        let mut host = HostState::new("h1");
        host.allocatable = Arc::new(Amounts { cpu: cpu.0, memory: memory.0, ..Amounts::default() });
        host.used_for_scoring = (cpu.1, memory.1);
        host.asked_for_scoring = (cpu.1, memory.1);
        host
    }

    #[test]
    fn hosts_are_balanced_where_both_are_asked_for_alike() {
        assert_eq!(balanced((1000, 1000), &host((4000, 1000), (4000, 1000))), 100);
        assert_eq!(balanced((2000, 0), &host((4000, 0), (4000, 0))), 75, "half of one and nothing of the other");
        assert_eq!(balanced((9000, 0), &host((4000, 0), (4000, 0))), 50, "no more than all");
        assert_eq!(balanced((0, 0), &host((4000, 4000), (4000, 0))), 0, "it would change nothing");
        assert_eq!(balanced((1000, 0), &host((4000, 0), (0, 0))), 100, "there is one only");
    }

    #[test]
    fn most_is_left_or_least() {
        let some = host((4000, 1000), (4000, 3000));
        assert_eq!(least_allocated((1000, 0), &some), (50 + 25) / 2);
        assert_eq!(most_allocated((1000, 0), &some), (50 + 75) / 2);
        assert_eq!(least_allocated((4000, 1000), &some), 0, "it does not fit, or fills it");
    }

    #[test]
    fn few_taints_that_are_not_tolerated_are_best() {
        assert_eq!(inverted(&[0, 1, 4]), [100, 75, 0]);
        assert_eq!(inverted(&[0, 0]), [100, 100]);
    }
}
