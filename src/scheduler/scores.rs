//! Which of the hosts that fit is best. Each score is 0 to 100. Source: Kubernetes' default plugins.

use super::filters::Wanted;
use super::profiles::Score;
use super::snapshot::{HostState, Snapshot};
use crate::api::placement::preference;
use k8s_openapi::api::core::v1::{PodSpec, Taint};

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

/// The images of a pod, and how they are spread.
#[derive(Debug, Default)]
pub struct Images {
    /// By name: how many hosts have it, of how many.
    spread: Vec<(String, (i64, i64))>,
}

impl Images {
    pub fn of(spec: &PodSpec, snapshot: &Snapshot) -> Self {
        let containers = spec.init_containers.iter().flatten().chain(&spec.containers);
        let named = containers.map(|container| full_name(container.image.as_deref().unwrap_or_default()));
        Self { spread: named.map(|name| (name.clone(), snapshot.spread_of(&name))).collect() }
    }
}

/// With the tag that is meant where none is given.
fn full_name(image: &str) -> String {
    let tagged = image.rfind(':').is_some_and(|colon| image.rfind('/').is_none_or(|slash| colon > slash));
    if tagged { image.to_owned() } else { format!("{image}:latest") }
}

/// High where the images are already, damped by how few hosts have them, so that a first host does
/// not draw every pod.
fn image_locality(wanted: &Wanted<'_>, feasible: &[&HostState]) -> Vec<i64> {
    const LEAST: i64 = 23 * MIB;
    let images = &wanted.images.spread;
    let most = 1000 * MIB * images.len().max(1) as i64;
    let worth = |host: &&HostState| {
        let sizes = images.iter().filter_map(|(image, (having, all))| {
            let size = *host.images.get(image)?;
            Some((size as f64 * (*having as f64 / (*all).max(1) as f64)) as i64)
        });
        (sizes.sum::<i64>().clamp(LEAST, most) - LEAST) * MAX / (most - LEAST)
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
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::scheduler::requests::Amounts;
    use crate::scheduler::rig::{cluster, node, pod};
    use serde_json::{Value, from_value, json};
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

    /// What the score of hosts `a` to `d` is for a pod: `a` and `b` have a gigabyte of `web:latest`, `a` has 400 MiB of
    /// `init:1`.
    fn locality(spec: Value, feasible: &[&str]) -> Vec<i64> {
        let mut snapshot = cluster(&[("c", ""), ("d", "")]);
        for (name, images) in [("a", vec![("web:latest", 1000), ("init:1", 400)]), ("b", vec![("web:latest", 1000)])] {
            let image = |(name, size): &(&str, i64)| json!({"names": [name], "sizeBytes": size * MIB});
            let mut node = (*node(name, "")).clone();
            let images = json!(images.iter().map(image).collect::<Vec<_>>());
            node.status.as_mut().unwrap().images = from_value(images).unwrap();
            // As heartbeats do.
            snapshot.set_node(Arc::new(node.clone()));
            snapshot.set_node(Arc::new(node));
        }
        let pod = pod("p", "web", &spec);
        let wanted = Wanted::of(&pod, &snapshot).unwrap();
        let hosts: Vec<&HostState> = feasible.iter().map(|name| snapshot.host(name).unwrap()).collect();
        image_locality(&wanted, &hosts)
    }

    #[test]
    fn images_draw_pods_the_more_hosts_have_them() {
        let web = |image: &str| json!({"containers": [{"name": "c", "image": image}]});
        // Half of the hosts have it: half of its size counts.
        let half = (500 - 23) * 100 / (1000 - 23);
        assert_eq!(locality(web("web:latest"), &["a", "b", "c"]), [half, half, 0]);
        assert_eq!(
            locality(web("web"), &["b", "c"]),
            [half, 0],
            "the tag that is meant, and hosts that do not fit count"
        );
        assert_eq!(locality(web("web:2"), &["a", "b"]), [0, 0]);
        // A quarter of what one host has, of two images.
        let init = json!({"initContainers": [{"name": "i", "image": "init:1"}], "containers": [{"name": "c", "image": "web"}]});
        assert_eq!(locality(init, &["a", "b"]), [(600 - 23) * 100 / (2000 - 23), (500 - 23) * 100 / (2000 - 23)]);
        // Too little to be worth a word.
        assert_eq!(locality(web("init:1"), &["a"]), [(100 - 23) * 100 / (1000 - 23)]);
        let mut snapshot = cluster(&[("a", "")]);
        snapshot.remove_node("a");
        assert_eq!(snapshot.spread_of("web:latest"), (0, 0));
    }

    #[test]
    fn names_without_a_tag_mean_the_latest() {
        let full = ["web", "web:1", "host:5000/web", "host:5000/web:1", "web@sha256:ab"].map(full_name);
        assert_eq!(full, ["web:latest", "web:1", "host:5000/web:latest", "host:5000/web:1", "web@sha256:ab"]);
    }

    #[test]
    fn few_taints_that_are_not_tolerated_are_best() {
        assert_eq!(inverted(&[0, 1, 4]), [100, 75, 0]);
        assert_eq!(inverted(&[0, 0]), [100, 100]);
    }
}
