//! One decision: a pod and a snapshot give a host, or a reason per host. Pure.

use super::equivalence::Known;
use super::filters::{self, Rejection, Wanted};
use super::host::priority;
use super::preemption::{self, Preemption};
use super::promises::Promised;
use super::rejections::{Rejections, Sharing, Why};
use super::scores;
use super::snapshot::{HostState, Placed, Snapshot};
use super::storage::Request;
use k8s_openapi::api::core::v1::Pod;
use std::hash::{DefaultHasher, Hash, Hasher};

/// What the scheduler says of a pod.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// Bind it to this host, one of `feasible` that could take it.
    Bind { host: String, feasible: usize },
    /// No host can take it; why, per host, and whether others make way for it.
    Unschedulable { rejections: Rejections, preemption: Preemption },
}

impl Verdict {
    /// The message of the FailedScheduling event and of the PodScheduled condition; empty for a pod that got
    /// its host.
    pub fn message(&self) -> String {
        match self {
            Self::Bind { .. } => String::new(),
            Self::Unschedulable { rejections, preemption } => match preemption {
                Preemption::Refused { why, .. } => format!("{} {why}", rejections.summary()),
                Preemption::Nominated { .. } | Preemption::NotTried => rejections.summary(),
            },
        }
    }
}

/// In a large cluster it is enough to find some feasible hosts. Source: kube-scheduler's
/// `numFeasibleNodesToFind` with the default adaptive percentage.
fn enough(hosts: usize) -> usize {
    const LEAST: usize = 100;
    if hosts < LEAST {
        return hosts;
    }
    let percentage = 50usize.saturating_sub(hosts / 125).max(5);
    (hosts * percentage / 100).max(LEAST)
}

/// Decides for one pod. Nothing but the two has a say: a copy of the cluster decides the same. The
/// snapshot says the same before and after; it learns what such pods ask for, and is quicker the next time.
pub fn decide(pod: &Pod, snapshot: &mut Snapshot) -> Verdict {
    snapshot.follow(pod);
    let promised = snapshot.promises.host_of(uid(pod)).map(str::to_owned);
    if let Some(host) = promised.filter(|host| snapshot.host(host).is_some())
        && judge(pod, snapshot, &host).is_empty()
    {
        return Verdict::Bind { host, feasible: 1 };
    }
    let taken = taken(pod, snapshot);
    let mut memory = std::mem::take(&mut snapshot.memory);
    let mut known = Wanted::of(pod, snapshot)
        .filter(|wanted| wanted.looks_at_hosts_alone() && !snapshot.promises.forbid())
        .map(|wanted| memory.recall(&wanted));
    let verdict = match search(pod, snapshot, &taken, known.as_mut()) {
        Ok((host, feasible)) => Verdict::Bind { host, feasible },
        Err(rejections) => {
            let preemption = preemption::preempt(pod, snapshot, &rejections, known.as_mut());
            Verdict::Unschedulable { rejections, preemption }
        }
    };
    known.into_iter().for_each(|known| memory.keep(known));
    snapshot.memory = memory;
    verdict
}

/// The best host and how many would do, or why none does. `taken`: see there. `known`: of such pods.
fn search(
    pod: &Pod,
    snapshot: &Snapshot,
    taken: &Rejections,
    known: Option<&mut Known>,
) -> Result<(String, usize), Rejections> {
    let Some(wanted) = Wanted::of(pod, snapshot) else { return Err(Rejections::default()) };
    let alone = wanted.looks_at_hosts_alone();
    let own = snapshot.promises.host_of(uid(pod));
    let hosts: Vec<&HostState> = snapshot.hosts().collect();
    let enough = enough(hosts.len());
    // Each placement moves on where the search begins.
    let start = snapshot.placed().wrapping_mul(enough);
    let (mut feasible, mut refused, mut sharing) = (Vec::new(), Vec::new(), Sharing::default());
    for at in (0..hosts.len()).map(|at| start.wrapping_add(at) % hosts.len()) {
        let host = hosts[at];
        let others = known.as_deref().filter(|_| own != Some(&*host.name));
        if let Some(why) = taken.get(&host.name).or(others.and_then(|known| known.refusal(at, host))) {
            refused.push((host, why.clone()));
            continue;
        }
        let mut reasons = filters::check(&wanted, host);
        if reasons.is_empty() && alone && snapshot.promises.on(&host.name) {
            let promised = snapshot.promises.before(&host.name, priority(pod), uid(pod));
            reasons = filters::check(&wanted, &crowded(host, &promised));
        }
        if reasons.is_empty() {
            feasible.push(host);
            if feasible.len() >= enough {
                break;
            }
        } else {
            refused.push((host, sharing.share(reasons)));
        }
    }
    if feasible.is_empty() {
        // In the order of the hosts again.
        refused.rotate_right(start % hosts.len().max(1));
        if let Some(known) = known {
            known.learn(refused.iter().map(|(host, why)| (*host, why)), own);
        }
        return Err(Rejections::new(refused.into_iter().map(|(host, why)| (host.name.clone(), why)).collect()));
    }
    let totals = scores::totals(&wanted, &feasible);
    let best = totals.iter().copied().max().unwrap_or(0);
    let winners = feasible.iter().zip(&totals).filter(|(_, total)| **total == best).map(|(host, _)| &host.name);
    let host = winners.max_by_key(|name| (preference(pod, name), *name));
    Ok((host.map(|name| name.to_string()).unwrap_or_default(), feasible.len()))
}

pub fn uid(pod: &Pod) -> &str {
    pod.metadata.uid.as_deref().unwrap_or_default()
}

/// The hosts where the pod has no place beside those that they were promised; without those where nothing but
/// the host's own room is at stake, which the search finds out when it comes to them.
fn taken(pod: &Pod, snapshot: &mut Snapshot) -> Rejections {
    let alone = Wanted::of(pod, snapshot).is_none_or(|wanted| wanted.looks_at_hosts_alone());
    let forbids = |host: &str| snapshot.promises.on_host(host).any(|placed| placed.forbids());
    let hosts: Vec<String> = snapshot.promises.hosts().filter(|host| !alone || forbids(host)).cloned().collect();
    refusing(pod, snapshot, hosts)
}

/// Those of the hosts, which come in the order of their names, that can not take the pod.
fn refusing(pod: &Pod, snapshot: &mut Snapshot, hosts: Vec<String>) -> Rejections {
    let judged = hosts.into_iter().map(|host| (judge(pod, snapshot, &host), host));
    let refused = judged.filter(|(reasons, _)| !reasons.is_empty());
    Rejections::new(refused.map(|(reasons, host)| (host.into(), Why::from(reasons))).collect())
}

/// Why a host can not take the pod: with those that it was promised, and without, as they may not come.
/// Empty if it can.
pub fn judge(pod: &Pod, snapshot: &mut Snapshot, host: &str) -> Vec<Rejection> {
    let promised = snapshot.promises.before(host, priority(pod), uid(pod));
    if !promised.is_empty() {
        if let Some(reasons) = judge_crowded(pod, snapshot, host, &promised) {
            return reasons;
        }
        for (uid, placed) in &promised {
            snapshot.place(uid, host, Placed::clone(placed));
        }
        let reasons = judge_as_is(pod, snapshot, host);
        promised.iter().for_each(|(uid, _)| snapshot.forget(uid));
        if !reasons.is_empty() {
            return reasons;
        }
    }
    judge_as_is(pod, snapshot, host)
}

/// As [`judge`], where nothing but the host's room is at stake: what fits beside others fits alone.
fn judge_crowded(pod: &Pod, snapshot: &Snapshot, host: &str, promised: &[Promised]) -> Option<Vec<Rejection>> {
    if promised.iter().any(|(_, placed)| placed.forbids()) {
        return None;
    }
    let wanted = Wanted::of(pod, snapshot).filter(|wanted| wanted.looks_at_hosts_alone())?;
    Some(filters::check(&wanted, &crowded(snapshot.host(host)?, promised)))
}

/// The host's room with others on it.
pub(super) fn crowded(host: &HostState, others: &[Promised]) -> HostState {
    let mut crowded = host.emptied();
    others.iter().for_each(|(_, placed)| crowded.take(placed));
    crowded
}

fn judge_as_is(pod: &Pod, snapshot: &Snapshot, host: &str) -> Vec<Rejection> {
    match (Wanted::of(pod, snapshot), snapshot.host(host)) {
        (Some(wanted), Some(host)) => filters::check(&wanted, host),
        _ => vec![Rejection::never("node not found")],
    }
}

/// What is to be asked for the pod's claims on the host that was chosen.
pub fn requests(pod: &Pod, host: &str, snapshot: &Snapshot) -> Vec<Request> {
    let needs = snapshot.storage.needs(pod);
    let node = snapshot.host(host).and_then(|host| host.node.as_deref());
    node.and_then(|node| snapshot.storage.requests(&needs, node).ok()).unwrap_or_default()
}

/// Breaks ties between equally good hosts. Kubernetes draws lots; here the pods of one controller
/// always prefer the same host, so that a plan can say which one it will be.
fn preference(pod: &Pod, host: &str) -> u64 {
    let owner = pod.metadata.owner_references.iter().flatten().find(|owner| owner.controller == Some(true));
    let own = pod.metadata.generate_name.as_deref().or(pod.metadata.name.as_deref());
    let name = owner.map(|owner| owner.name.as_str()).or(own);
    let mut hasher = DefaultHasher::new();
    (pod.metadata.namespace.as_deref(), name, host).hash(&mut hasher);
    hasher.finish()
}

/// What the filters and scores say of one host.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Judged {
    pub host: String,
    /// The total of the scores; `None` when a filter said no.
    pub score: Option<i64>,
    pub rejections: Vec<Rejection>,
}

/// Every host as the cycle sees it, by name: for those who ask why.
pub fn explain(pod: &Pod, snapshot: &Snapshot) -> Vec<Judged> {
    let Some(wanted) = Wanted::of(pod, snapshot) else { return Vec::new() };
    let taken = beside_promised(pod, snapshot);
    let judge = |host: &HostState| Judged {
        host: host.name.to_string(),
        score: None,
        rejections: taken.get(&host.name).map_or_else(|| filters::check(&wanted, host), |why| why.to_vec()),
    };
    let mut judged: Vec<Judged> = snapshot.hosts().map(judge).collect();
    let feasible: Vec<&HostState> =
        snapshot.hosts().zip(&judged).filter(|(_, one)| one.rejections.is_empty()).map(|(host, _)| host).collect();
    let totals = scores::totals(&wanted, &feasible);
    let fitting = judged.iter_mut().filter(|one| one.rejections.is_empty());
    fitting.zip(totals).for_each(|(one, total)| one.score = Some(total));
    judged.sort_by(|a, b| a.host.cmp(&b.host));
    judged
}

/// The hosts where the pod has no place beside those that they were promised.
fn beside_promised(pod: &Pod, snapshot: &Snapshot) -> Rejections {
    if snapshot.promises.count() == 0 {
        return Rejections::default();
    }
    // Trials are made on a copy: whoever asks why must not change what is.
    let mut copy = snapshot.clone();
    let hosts: Vec<String> = snapshot.promises.hosts().filter(|host| snapshot.host(host).is_some()).cloned().collect();
    refusing(pod, &mut copy, hosts)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use serde_json::{Value, json};
    use std::sync::Arc;

    fn cluster(nodes: &[Value]) -> Snapshot {
        let mut snapshot = Snapshot::default();
        for node in nodes {
            snapshot.set_node(Arc::new(serde_json::from_value(node.clone()).unwrap()));
        }
        snapshot
    }

    fn node(name: &str, cpu: &str, spec: Value) -> Value {
        json!({"metadata": {"name": name, "labels": {"kubernetes.io/hostname": name}}, "spec": spec, "status": {"allocatable": {"cpu": cpu, "memory": "4Gi", "pods": "4"}}})
    }

    fn pod(uid: &str, cpu: &str, more: Value) -> Pod {
        let mut spec = json!({"containers": [{"name": "c", "image": "web", "resources": {"requests": {"cpu": cpu}}}]});
        for (key, value) in more.as_object().unwrap() {
            spec[key] = value.clone();
        }
        let owner =
            json!([{"apiVersion": "apps/v1", "kind": "ReplicaSet", "name": "rs", "uid": "owner", "controller": true}]);
        serde_json::from_value(json!({"metadata": {"name": uid, "uid": uid, "namespace": "default", "ownerReferences": owner}, "spec": spec})).unwrap()
    }

    #[test]
    fn every_no_is_counted_in_the_words_of_kubernetes() {
        let mut snapshot = cluster(&[
            node("h1", "1", json!({})),
            node("h2", "8", json!({"unschedulable": true})),
            node("h3", "8", json!({"taints": [{"key": "node.kubernetes.io/not-ready", "effect": "NoExecute"}]})),
            node("h4", "1", json!({})),
        ]);
        assert_eq!(
            decide(&pod("p", "2", json!({})), &mut snapshot).message(),
            "0/4 nodes are available: 1 node(s) had untolerated taint {node.kubernetes.io/not-ready: }, 1 node(s) were unschedulable, 2 Insufficient cpu. preemption: 0/4 nodes are available: 4 Preemption is not helpful for scheduling."
        );
        let nowhere = decide(&pod("p", "2", json!({})), &mut cluster(&[]));
        assert_eq!(nowhere.message(), "no nodes available to schedule pods");
    }

    #[test]
    fn who_asks_why_is_told_of_promised_room() {
        let mut snapshot = cluster(&[node("h1", "4", json!({})), node("h2", "4", json!({}))]);
        snapshot.promise("p", "h1", Placed::of(&pod("p", "3", json!({"priority": 1}))));
        let rejections = |pod: &Pod, snapshot: &Snapshot| {
            let judged = explain(pod, snapshot).into_iter();
            judged
                .map(|one| one.rejections.into_iter().map(|no| no.reason.into_owned()).collect())
                .collect::<Vec<Vec<_>>>()
        };
        assert_eq!(rejections(&pod("q", "2", json!({})), &snapshot), [vec!["Insufficient cpu".to_owned()], vec![]]);
        assert_eq!(rejections(&pod("q", "2", json!({"priority": 2})), &snapshot), [vec![""; 0], vec![]]);
        assert_eq!(rejections(&pod("p", "2", json!({"priority": 1})), &snapshot), [vec![""; 0], vec![]], "its own");
    }

    #[test]
    fn replicas_spread_over_equal_hosts() {
        let mut snapshot =
            cluster(&[node("h1", "4", json!({})), node("h2", "4", json!({})), node("h3", "4", json!({}))]);
        let mut hosts = Vec::new();
        for uid in ["a", "b", "c"] {
            let pod = pod(uid, "100m", json!({}));
            let Verdict::Bind { host, .. } = decide(&pod, &mut snapshot) else { panic!("it fits") };
            snapshot.place(uid, &host, Placed::of(&pod));
            hosts.push(host);
        }
        hosts.sort();
        assert_eq!(hosts, ["h1", "h2", "h3"]);
    }

    #[test]
    fn selectors_and_ports_are_kept() {
        let mut snapshot = cluster(&[node("h1", "4", json!({})), node("h2", "4", json!({}))]);
        let with_port = |uid: &str| {
            let mut pod = pod(uid, "1m", json!({"nodeSelector": {"kubernetes.io/hostname": "h2"}}));
            pod.spec.as_mut().unwrap().containers[0].ports =
                serde_json::from_value(json!([{"containerPort": 80, "hostPort": 80, "protocol": "TCP"}])).unwrap();
            pod
        };
        let first = with_port("a");
        let Verdict::Bind { host, .. } = decide(&first, &mut snapshot) else { panic!("it fits") };
        assert_eq!(host, "h2");
        snapshot.place("a", &host, Placed::of(&first));
        let refused = decide(&with_port("b"), &mut snapshot).message();
        let why = "0/2 nodes are available: 1 node(s) didn't have free ports for the requested pod ports, 1 node(s) didn't match Pod's node affinity/selector. preemption: 0/2 nodes are available: 1 No preemption victims found for incoming pod, 1 Preemption is not helpful for scheduling.";
        assert_eq!(refused, why);
    }

    #[test]
    fn nothing_but_the_state_of_the_cluster_decides() {
        let nodes: Vec<Value> = (0..150).map(|at| node(&format!("h{at:03}"), "4", json!({}))).collect();
        let backwards: Vec<Value> = nodes.iter().rev().cloned().collect();
        let (mut one, mut other) = (cluster(&nodes), cluster(&backwards));
        // Hosts that came and went, and pods under other uids that came in another order.
        other.set_node(Arc::new(serde_json::from_value(node("h0005", "4", json!({}))).unwrap()));
        other.remove_node("h0005");
        let there: Vec<usize> = (0..70).collect();
        for at in &there {
            one.place(&format!("a{at}"), &format!("h{at:03}"), Placed::of(&pod("", "500m", json!({}))));
        }
        for at in there.iter().rev() {
            other.place(&format!("b{at}"), &format!("h{at:03}"), Placed::of(&pod("", "500m", json!({}))));
        }
        for at in 0..100 {
            let (new, same) = (pod(&format!("c{at}"), "700m", json!({})), pod(&format!("d{at}"), "700m", json!({})));
            let decided = decide(&new, &mut one);
            assert_eq!(decided, decide(&same, &mut other));
            let Verdict::Bind { host, .. } = decided else { panic!("it fits") };
            one.place(&format!("c{at}"), &host, Placed::of(&new));
            other.place(&format!("d{at}"), &host, Placed::of(&same));
        }
    }

    proptest! {
        #[test]
        fn no_host_is_ever_overfilled(cpus in prop::collection::vec(1u32..40, 1..40)) {
            let mut snapshot = cluster(&[node("h1", "4", json!({})), node("h2", "2", json!({})), node("h3", "3", json!({}))]);
            for (at, cpu) in cpus.iter().enumerate() {
                let uid = format!("p{at}");
                let pod = pod(&uid, &format!("{}m", cpu * 100), json!({}));
                if let Verdict::Bind { host, .. } = decide(&pod, &mut snapshot) {
                    snapshot.place(&uid, &host, Placed::of(&pod));
                }
            }
            for host in snapshot.hosts() {
                prop_assert!(host.used.cpu <= host.allocatable.cpu);
                prop_assert!(host.pod_count() <= host.max_pods);
            }
        }
    }
}
