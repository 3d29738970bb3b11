//! What a host has set aside for its pods, as far as that is not what they ask for, shared by their
//! workers: room is granted under one lock, and so to one pod only.

use super::room::{self, refusal};
use super::words::{self, Words};
use super::{Allocation, INFEASIBLE, Pending, Progress, Standing};
use crate::kubelet::pod::{is_terminal, spec};
use crate::scheduler::requests::{self, Amounts};
use jiff::Timestamp;
use k8s_openapi::api::core::v1::Pod;
use parking_lot::Mutex;
use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

/// By pod uid; a pod is here from the first change of its resources until its containers have what it asks
/// for.
#[derive(Default)]
pub struct Allocations(Mutex<BTreeMap<String, Entry>>);

struct Entry {
    /// As it was last seen.
    pod: Arc<Pod>,
    standing: Standing,
    /// Since when it waits.
    since: Timestamp,
}

/// A pod whose standing changed, and what is to be told of it.
pub struct News {
    pub pod: Arc<Pod>,
    pub words: Option<Words>,
}

impl Entry {
    fn wants_more(&self) -> bool {
        let over = self.pod.metadata.deletion_timestamp.is_some() || is_terminal(&self.pod);
        !over && self.standing.allocated != Allocation::desired(&self.pod)
    }

    fn is_infeasible(&self) -> bool {
        let pending = self.standing.pending.as_ref().filter(|pending| pending.reason == INFEASIBLE);
        pending.is_some_and(|pending| Some(pending.generation) == self.pod.metadata.generation)
    }

    fn is_settled(&self) -> bool {
        let Standing { allocated, pending, progress } = &self.standing;
        pending.is_none() && progress.is_none() && *allocated == Allocation::desired(&self.pod)
    }
}

impl Allocations {
    /// The pod stands like this, unless more is known already.
    pub fn enter(&self, pod: &Arc<Pod>, standing: impl FnOnce() -> Standing, now: Timestamp) {
        let mut entries = self.0.lock();
        if !entries.contains_key(uid(pod)) {
            entries.insert(uid(pod).into(), Entry { pod: pod.clone(), standing: standing(), since: now });
        }
    }

    /// Takes in the newest state of a pod. Returns where it stands; `None`: it is allocated all it asks for,
    /// and has it.
    pub fn see(&self, pod: &Arc<Pod>) -> Option<Standing> {
        let mut entries = self.0.lock();
        let entry = entries.get_mut(uid(pod))?;
        entry.pod = pod.clone();
        if entry.standing.allocated == Allocation::desired(pod) {
            entry.standing.pending = None;
        }
        if entry.is_settled() {
            entries.remove(uid(pod));
            return None;
        }
        Some(entry.standing.clone())
    }

    /// The pod with what is set aside for it.
    pub fn allocated(&self, pod: &Arc<Pod>) -> Arc<Pod> {
        allocated(&self.0.lock(), pod)
    }

    /// Whether some pod waits for room. What the host can never give waits until something else is asked for.
    pub fn any_pending(&self) -> bool {
        self.0.lock().values().any(|entry| entry.wants_more() && !entry.is_infeasible())
    }

    pub fn forget(&self, uid: &str) {
        self.0.lock().remove(uid);
    }

    /// Allocates what fits beside the other `pods` that have room on the host, one after the other.
    pub fn judge(&self, pods: &[Arc<Pod>], capacity: &Amounts, now: Timestamp) -> Vec<News> {
        let mut entries = self.0.lock();
        let mut waiting: Vec<_> = entries
            .iter()
            .filter(|(_, entry)| entry.wants_more())
            .map(|(uid, entry)| {
                let allocated = entry.standing.allocated.apply(&entry.pod);
                (room::turn(&entry.pod, spec(&allocated), entry.since), uid.clone())
            })
            .collect();
        waiting.sort();
        let held = |pod: &Arc<Pod>| requests::of(spec(&allocated(&entries, pod)));
        let mut taken: HashMap<String, Amounts> = pods.iter().map(|pod| (uid(pod).to_owned(), held(pod))).collect();
        let mut news = Vec::new();
        for (_, uid) in &waiting {
            let Some(entry) = entries.get_mut(uid) else { continue };
            let mut used = Amounts::default();
            taken.iter().filter(|(other, _)| *other != uid).for_each(|(_, amounts)| used.add(amounts));
            let wanted = requests::of(spec(&entry.pod));
            let generation = entry.pod.metadata.generation.unwrap_or_default();
            let words = match refusal(&wanted, &used, capacity) {
                None => {
                    taken.insert(uid.clone(), wanted);
                    entry.standing.allocated = Allocation::desired(&entry.pod);
                    entry.standing.pending = None;
                    entry.standing.progress = Some(Progress { generation, error: None });
                    Some(words::started(&entry.pod, generation))
                }
                Some((reason, message)) => {
                    let refused = Pending { reason, message, generation };
                    if entry.standing.pending.as_ref() == Some(&refused) {
                        continue;
                    }
                    let before = entry.standing.pending.as_ref();
                    if before.is_none_or(|before| before.generation != generation) {
                        entry.since = now;
                    }
                    // How much others use changes all the time.
                    let known = before.is_some_and(|b| (b.generation, b.reason) == (generation, refused.reason));
                    let words = (!known).then(|| words::pending(&entry.pod, &refused));
                    entry.standing.pending = Some(refused);
                    words
                }
            };
            news.push(News { pod: entry.pod.clone(), words });
        }
        news
    }

    /// A container could not be given what was allocated (`Some`), or can be now. Returns what is to be told.
    pub fn note_error(&self, pod: &Pod, error: Option<&str>) -> Option<Words> {
        let mut entries = self.0.lock();
        let progress = entries.get_mut(uid(pod))?.standing.progress.as_mut()?;
        progress.error = error.map(str::to_owned);
        error.map(|error| words::failed(pod, progress.generation, error))
    }

    /// The pod's containers have what was allocated as of `standing`; `allocated` is the pod with that. More may
    /// have been allocated since, by another pod's worker: that is not there yet.
    pub fn complete(&self, allocated: &Pod, standing: &Standing) -> Option<Words> {
        let mut entries = self.0.lock();
        let entry = entries.get_mut(uid(allocated))?;
        let now = &entry.standing;
        if (&now.allocated, &now.progress) != (&standing.allocated, &standing.progress) {
            return None;
        }
        let progress = entry.standing.progress.take()?;
        if entry.is_settled() {
            entries.remove(uid(allocated));
        }
        Some(words::completed(allocated, &progress))
    }
}

fn allocated(entries: &BTreeMap<String, Entry>, pod: &Arc<Pod>) -> Arc<Pod> {
    match entries.get(uid(pod)) {
        Some(entry) => entry.standing.allocated.apply(pod),
        None if Allocation::is_as_desired(pod) => pod.clone(),
        None => Allocation::reported(pod).apply(pod),
    }
}

fn uid(pod: &Pod) -> &str {
    pod.metadata.uid.as_deref().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use proptest::prelude::*;
    use serde_json::json;

    fn pod(name: &str, cpu: u32, priority: i32, generation: i64) -> Arc<Pod> {
        let resources = json!({"requests": {"cpu": cpu.to_string()}});
        let pod = json!({"metadata": {"uid": name, "generation": generation},
            "spec": {"priority": priority, "containers": [{"name": "c", "resources": resources}]}});
        Arc::new(serde_json::from_value(pod).unwrap())
    }

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(second).unwrap()
    }

    /// A host of eight CPUs with pods that grow.
    #[derive(Default)]
    struct Host {
        allocations: Allocations,
        pods: Vec<Arc<Pod>>,
        now: i64,
    }

    impl Host {
        fn resize(&mut self, name: &str, cpu: u32) -> Vec<&'static str> {
            let found = self.pods.iter_mut().find(|pod| uid(pod) == name).unwrap();
            let generation = found.metadata.generation.unwrap() + 1;
            let new = pod(name, cpu, spec(found).priority.unwrap(), generation);
            let old = std::mem::replace(found, new.clone());
            let standing = || Standing { allocated: Allocation::desired(&old), ..Standing::default() };
            self.allocations.enter(&new, standing, at(self.now));
            self.allocations.see(&new);
            self.judge()
        }

        fn judge(&mut self) -> Vec<&'static str> {
            self.now += 1;
            let capacity = Amounts { cpu: 8000, ..Amounts::default() };
            let news = self.allocations.judge(&self.pods, &capacity, at(self.now));
            news.iter().filter_map(|news| Some(news.words.as_ref()?.1)).collect()
        }

        fn allocated(&self, name: &str) -> i64 {
            let pod = self.pods.iter().find(|pod| uid(pod) == name).unwrap();
            let standing = self.allocations.see(pod);
            let allocated = standing.map_or_else(|| pod.clone(), |standing| standing.allocated.apply(pod));
            requests::of(spec(&allocated)).cpu / 1000
        }
    }

    #[test]
    fn what_is_deferred_gets_its_turn_when_there_is_room() {
        let mut host = Host { pods: vec![pod("a", 4, 0, 1), pod("b", 1, 0, 1), pod("c", 1, 9, 1)], ..Host::default() };
        assert_eq!(host.resize("b", 4), ["ResizeDeferred"]);
        assert_eq!(host.resize("c", 3), ["ResizeStarted"], "it fits: 4 + 1 + 3");
        assert_eq!(host.resize("c", 4), ["ResizeDeferred"]);
        assert_eq!(host.judge(), [""; 0], "told once");
        let waits = host.allocations.see(&host.pods[1]).unwrap().pending.unwrap();
        assert_eq!(waits.message, "Node didn't have enough resource: cpu, requested: 4000, used: 7000, capacity: 8000");
        assert_eq!(host.resize("b", 99), ["ResizeInfeasible"]);
        assert_eq!((host.allocated("b"), host.allocated("c")), (1, 3));
        assert_eq!(host.resize("b", 5), ["ResizeDeferred"]);
        host.pods.remove(0);
        assert_eq!(host.judge(), ["ResizeStarted"], "the more important one first: 1 + 4");
        assert_eq!((host.allocated("b"), host.allocated("c")), (1, 4));
        assert_eq!(host.resize("b", 1), [""; 0], "it no longer wants more");
        assert!(host.allocations.see(&host.pods[0]).is_none());
    }

    #[test]
    fn what_can_never_be_waits_until_something_else_is_asked_for() {
        let mut host = Host { pods: vec![pod("a", 1, 0, 1), pod("b", 1, 0, 1)], ..Host::default() };
        assert_eq!(host.resize("a", 99), ["ResizeInfeasible"]);
        assert!(!host.allocations.any_pending());
        assert_eq!(host.resize("b", 7), ["ResizeStarted"], "it holds up nobody");
        assert_eq!(host.resize("a", 2), ["ResizeDeferred"]);
        assert!(host.allocations.any_pending());
        assert_eq!(host.resize("b", 1), ["ResizeStarted", "ResizeStarted"]);
        assert_eq!(host.allocated("a"), 2);
    }

    #[test]
    fn errors_and_completion_are_told() {
        let mut host = Host { pods: vec![pod("a", 4, 0, 1)], ..Host::default() };
        host.resize("a", 2);
        let words = host.allocations.note_error(&host.pods[0], Some("in use")).unwrap();
        assert_eq!((words.0, words.1), ("Warning", "ResizeError"));
        let standing = host.allocations.see(&host.pods[0]).unwrap();
        assert_eq!(standing.progress, Some(Progress { generation: 2, error: Some("in use".into()) }));
        assert!(host.allocations.note_error(&host.pods[0], None).is_none());
        let standing = host.allocations.see(&host.pods[0]).unwrap();
        assert_eq!(host.allocations.complete(&host.pods[0], &standing).unwrap().1, "ResizeCompleted");
        assert!(host.allocations.see(&host.pods[0]).is_none());
        assert!(host.allocations.complete(&host.pods[0], &standing).is_none(), "told once");
    }

    #[test]
    fn what_was_allocated_since_is_not_complete() {
        let mut host = Host { pods: vec![pod("a", 4, 0, 1)], ..Host::default() };
        host.resize("a", 2);
        let before = host.allocations.see(&host.pods[0]).unwrap();
        host.resize("a", 3);
        assert!(host.allocations.complete(&host.pods[0], &before).is_none());
        let standing = host.allocations.see(&host.pods[0]).unwrap();
        assert_eq!(standing.progress.as_ref().unwrap().generation, 3);
        assert!(host.allocations.complete(&host.pods[0], &standing).is_some());
    }

    proptest! {
        /// However pods are resized: never is more set aside than the host has, and what is refused is what it
        /// was.
        #[test]
        fn a_host_is_never_overcommitted(steps in prop::collection::vec((0..4usize, 0..12u32), 1..40)) {
            let mut host = Host { pods: (0..4).map(|n| pod(&format!("p{n}"), 2, n, 1)).collect(), ..Host::default() };
            for (which, cpu) in steps {
                host.resize(&format!("p{which}"), cpu);
                let total: i64 = (0..4).map(|n| host.allocated(&format!("p{n}"))).sum();
                prop_assert!(total <= 8, "{total}");
            }
        }
    }
}
