//! What the scheduler says of pods, in the words of plans; and the listener that has the API server
//! keep it.

use crate::api::plan::{HostVerdict, Verdict};
use crate::api::verdict::{PodName, PodVerdict};
use crate::apiserver::Verdicts;
use crate::base::clock::Clock;
use crate::scheduler::Observer;
use crate::scheduler::cycle::{self, Judged, Verdict as Decision};
use crate::scheduler::filters::Rejection;
use crate::scheduler::rejections::{Rejections, Why};
use crate::scheduler::snapshot::Snapshot;
use k8s_openapi::api::core::v1::Pod;
use parking_lot::Mutex;
use std::collections::BTreeMap;
use std::sync::Arc;

/// Looks at single hosts per second that may be spent on reasons: a few percent of a core. Beyond it,
/// verdicts tell how many hosts could take a pod, and not how each did.
const LOOKS: usize = 20_000;
/// Hosts that a verdict names.
const NAMED: usize = 16;

/// A decision with its reasons; `in_full`: also how each host did where one took the pod. Names all
/// hosts where there are at most `named`, else those that say most.
pub fn reasoned(pod: &Pod, snapshot: &Snapshot, decision: &Decision, in_full: bool, named: usize) -> Verdict {
    match decision {
        Decision::Bind { feasible, .. } => {
            let judged = if in_full { cycle::explain(pod, snapshot) } else { Vec::new() };
            let judged =
                judged.into_iter().map(|Judged { host, score, rejections }| host_verdict(host, score, &rejections));
            Verdict { feasible: *feasible as u64, message: String::new(), hosts: telling(judged.collect(), named) }
        }
        Decision::Unschedulable { rejections, .. } => {
            let hosts = refusals(rejections, named);
            Verdict { feasible: 0, message: decision.message(), hosts }
        }
    }
}

/// All hosts of a small cluster; of a large one the first of each reason.
fn refusals(rejections: &Rejections, named: usize) -> Vec<HostVerdict> {
    let verdict = |(host, why): &(Arc<str>, Why)| host_verdict(host.to_string(), None, why);
    if rejections.len() <= named {
        return rejections.as_slice().iter().map(verdict).collect();
    }
    let mut first: BTreeMap<&Why, &(Arc<str>, Why)> = BTreeMap::new();
    for one in rejections.runs().filter_map(|run| run.first()) {
        first.entry(&one.1).or_insert(one);
    }
    first.into_values().take(named / 2).map(verdict).collect()
}

fn host_verdict(host: String, score: Option<i64>, rejections: &[Rejection]) -> HostVerdict {
    HostVerdict { host, score, reasons: rejections.iter().map(|rejection| rejection.reason.to_string()).collect() }
}

/// All hosts of a small cluster; of a large one the best, and one for every reason to say no.
fn telling(mut all: Vec<HostVerdict>, named: usize) -> Vec<HostVerdict> {
    if all.len() <= named {
        return all;
    }
    let (mut fit, refused): (Vec<_>, Vec<_>) = all.drain(..).partition(|one| one.score.is_some());
    fit.sort_by_key(|one| std::cmp::Reverse(one.score));
    fit.truncate(named / 2);
    // Verdicts are kept by the thousand, and there was room for every host.
    fit.shrink_to_fit();
    let mut reasons: BTreeMap<Vec<String>, HostVerdict> = BTreeMap::new();
    for one in refused {
        reasons.entry(one.reasons.clone()).or_insert(one);
    }
    fit.extend(reasons.into_values().take(named / 2));
    fit
}

/// Looks that were spent in a second of the clock.
#[derive(Default)]
struct Spent {
    second: i64,
    looks: usize,
}

impl Spent {
    /// Whether so many more are affordable now; if so they are spent.
    fn afford(&mut self, second: i64, looks: usize) -> bool {
        if self.second != second {
            *self = Self { second, looks: 0 };
        }
        let affordable = self.looks + looks <= LOOKS;
        self.looks += if affordable { looks } else { 0 };
        affordable
    }
}

/// Has `verdicts` keep what the scheduler says.
pub fn keep(verdicts: Arc<Verdicts>, clock: Clock) -> Observer {
    let spent = Mutex::new(Spent::default());
    Arc::new(move |pod, snapshot, decision| {
        let now = clock.now_seconds();
        let text = |part: &Option<String>| part.clone().unwrap_or_default();
        let metadata = PodName {
            namespace: text(&pod.metadata.namespace),
            name: text(&pod.metadata.name),
            uid: text(&pod.metadata.uid),
        };
        let (host, in_full) = match decision {
            Decision::Bind { host, .. } => {
                (host.clone(), spent.lock().afford(now.as_second(), snapshot.hosts().count()))
            }
            Decision::Unschedulable { .. } => (String::new(), true),
        };
        verdicts.keep(PodVerdict {
            api_version: "selkie.dev/v1alpha1".into(),
            kind: "Verdict".into(),
            metadata,
            time: now.to_string(),
            host,
            verdict: reasoned(pod, snapshot, decision, in_full, NAMED),
        });
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn host(name: &str, score: Option<i64>, reasons: &[&str]) -> HostVerdict {
        let reasons = reasons.iter().map(|reason| (*reason).to_owned()).collect();
        HostVerdict { host: name.to_owned(), score, reasons }
    }

    #[test]
    fn of_many_hosts_the_best_and_each_reason_are_named() {
        let all = vec![
            host("h1", Some(1), &[]),
            host("h2", Some(3), &[]),
            host("h3", Some(2), &[]),
            host("h4", None, &["Insufficient cpu"]),
            host("h5", None, &["Insufficient cpu"]),
            host("h6", None, &["Too many pods"]),
        ];
        assert_eq!(telling(all.clone(), 6), all);
        let names: Vec<_> = telling(all, 4).into_iter().map(|one| one.host).collect();
        assert_eq!(names, ["h2", "h3", "h4", "h6"]);
    }

    #[test]
    fn reasons_are_affordable_again_in_the_next_second() {
        let mut spent = Spent::default();
        assert!(spent.afford(1, LOOKS));
        assert!(!spent.afford(1, 1));
        assert!(spent.afford(2, 1));
    }
}
