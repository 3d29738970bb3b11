//! The pods that wait for a host: ready ones by priority, age and controller, refused ones until something
//! changes or their back-off ends.

use super::hints::{Cause, Event, Waiter, may_help};
use super::requests::{self, Amounts};
use crate::base::backoff::Backoff;
use jiff::Timestamp;
use k8s_openapi::api::core::v1::Pod;
use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;
use std::time::Duration;
use tokio::time::Instant;

/// Kubernetes: podInitialBackoffSeconds 1, podMaxBackoffSeconds 10.
const BACKOFF: Backoff = Backoff { base: Duration::from_secs(1), max: Duration::from_secs(10) };
/// A refused pod is looked at again after this long even if nothing seemed to change.
const FLUSH: Duration = Duration::from_secs(300);

enum Place {
    /// In `ready`.
    Ready(Order),
    /// The attempt failed; becomes ready at this moment.
    BackingOff(Instant),
    /// Something changed that may help; becomes ready at this moment, or when nothing else is.
    Hopeful(Instant, Order),
    /// No host fits; waits for a change until this moment.
    Refused(Instant),
}

struct Waiting {
    pod: Arc<Pod>,
    attempts: u32,
    /// When the back-off of the last attempt ends.
    not_before: Instant,
    place: Place,
    /// What kept it from hosts.
    causes: BTreeSet<Cause>,
    /// What it asks of a host.
    requests: Amounts,
}

/// Who goes first. Not hash order, nor who was told of first, nor uids: those are others in a copy of
/// the cluster. Random letters in names tell only pods of one controller apart, which are alike.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Order {
    priority: Reverse<i32>,
    created: Option<Timestamp>,
    namespace: String,
    controller: String,
    name: String,
    uid: String,
}

/// Deterministic: see [`Order`]. No step looks at all pods that wait.
#[derive(Default)]
pub struct Queue {
    waiting: HashMap<String, Waiting>,
    ready: BTreeSet<Order>,
    /// Those that are looked at before their time when nothing is ready.
    hopeful: BTreeSet<Order>,
    /// When those that are not ready are looked at again.
    due: BTreeSet<(Instant, String)>,
    /// The refused ones.
    refused: BTreeMap<Cause, BTreeSet<String>>,
}

impl Order {
    fn of(uid: &str, pod: &Pod) -> Self {
        let meta = &pod.metadata;
        let controller = meta.owner_references.iter().flatten().find(|owner| owner.controller == Some(true));
        let controller = controller.map(|owner| &owner.name).or(meta.name.as_ref());
        Self {
            priority: Reverse(pod.spec.as_ref().and_then(|spec| spec.priority).unwrap_or(0)),
            created: meta.creation_timestamp.as_ref().map(|time| time.0),
            namespace: meta.namespace.clone().unwrap_or_default(),
            controller: controller.cloned().unwrap_or_default(),
            name: meta.name.clone().unwrap_or_default(),
            uid: uid.to_owned(),
        }
    }
}

fn is_gated(pod: &Pod) -> bool {
    pod.spec.as_ref().and_then(|spec| spec.scheduling_gates.as_ref()).is_some_and(|gates| !gates.is_empty())
}

impl Queue {
    /// Takes a pod in, or its newer state. A change of what it asks makes it ready again.
    pub fn update(&mut self, uid: &str, pod: Arc<Pod>, now: Instant) {
        if is_gated(&pod) {
            self.remove(uid);
            return;
        }
        match self.waiting.get_mut(uid) {
            Some(waiting) => {
                let changed = waiting.pod.spec != pod.spec || waiting.pod.metadata.labels != pod.metadata.labels;
                waiting.pod = pod;
                if changed {
                    self.make_ready(uid);
                }
            }
            None => {
                self.put(uid, pod, 0, now, Place::BackingOff(now), BTreeSet::new());
                self.make_ready(uid);
            }
        }
    }

    fn put(
        &mut self,
        uid: &str,
        pod: Arc<Pod>,
        attempts: u32,
        not_before: Instant,
        place: Place,
        causes: BTreeSet<Cause>,
    ) {
        self.remove(uid);
        let requests = pod.spec.as_ref().map(requests::of).unwrap_or_default();
        let waiting = Waiting { pod, attempts, not_before, place, causes, requests };
        self.list(uid, &waiting);
        self.waiting.insert(uid.into(), waiting);
    }

    /// Enters the pod where its place is looked for.
    fn list(&mut self, uid: &str, waiting: &Waiting) {
        match &waiting.place {
            Place::Ready(order) => drop(self.ready.insert(order.clone())),
            Place::BackingOff(at) => drop(self.due.insert((*at, uid.to_owned()))),
            Place::Hopeful(at, order) => {
                self.due.insert((*at, uid.to_owned()));
                self.hopeful.insert(order.clone());
            }
            Place::Refused(at) => {
                self.due.insert((*at, uid.to_owned()));
                for cause in &waiting.causes {
                    self.refused.entry(*cause).or_default().insert(uid.to_owned());
                }
            }
        }
    }

    fn unlist(&mut self, uid: &str, waiting: &Waiting) {
        match &waiting.place {
            Place::Ready(order) => drop(self.ready.remove(order)),
            Place::BackingOff(at) => drop(self.due.remove(&(*at, uid.to_owned()))),
            Place::Hopeful(at, order) => {
                self.due.remove(&(*at, uid.to_owned()));
                self.hopeful.remove(order);
            }
            Place::Refused(at) => {
                self.due.remove(&(*at, uid.to_owned()));
                for cause in &waiting.causes {
                    if let Some(pods) = self.refused.get_mut(cause) {
                        pods.remove(uid);
                    }
                }
            }
        }
    }

    pub fn remove(&mut self, uid: &str) {
        if let Some(waiting) = self.waiting.remove(uid) {
            self.unlist(uid, &waiting);
        }
    }

    /// The most urgent pod, or when none is ready, of those that something may have helped. It leaves the queue;
    /// give it back with one of the two below. Source: Kubernetes' SchedulerPopFromBackoffQ.
    pub fn pop(&mut self) -> Option<(String, Arc<Pod>, u32)> {
        let next = self.ready.first().or(self.hopeful.first())?.clone();
        let waiting = self.waiting.remove(&next.uid)?;
        self.unlist(&next.uid, &waiting);
        Some((next.uid, waiting.pod, waiting.attempts + 1))
    }

    /// No host fits, for these causes: wait for a change that may do away with one of them.
    pub fn refuse(&mut self, uid: &str, pod: Arc<Pod>, attempts: u32, now: Instant, mut causes: BTreeSet<Cause>) {
        if causes.is_empty() {
            causes.insert(Cause::Other);
        }
        self.put(uid, pod, attempts, now + BACKOFF.after(attempts), Place::Refused(now + FLUSH), causes);
    }

    /// The attempt failed for a passing reason: try again after the back-off.
    pub fn retry(&mut self, uid: &str, pod: Arc<Pod>, attempts: u32, now: Instant) {
        let at = now + BACKOFF.after(attempts);
        self.put(uid, pod, attempts, at, Place::BackingOff(at), BTreeSet::new());
    }

    /// Something changed: the refused pods that it may help become ready when their back-off is over, or nothing
    /// else is.
    pub fn wake(&mut self, event: &Event<'_>, now: Instant) {
        let mut helped = BTreeSet::new();
        for cause in event.helps() {
            for uid in self.refused.get(cause).into_iter().flatten() {
                let may_help =
                    |Waiting { pod, requests, .. }: &Waiting| may_help(*cause, event, Waiter { pod, requests });
                if self.waiting.get(uid).is_some_and(may_help) {
                    helped.insert(uid.clone());
                }
            }
        }
        for uid in helped {
            let Some(mut waiting) = self.waiting.remove(&uid) else { continue };
            self.unlist(&uid, &waiting);
            if waiting.not_before <= now {
                // It was quiet: how often the pod was refused before, which only this queue knows, has no say
                // in when it gets its host.
                waiting.attempts = 0;
                waiting.place = Place::Ready(Order::of(&uid, &waiting.pod));
            } else {
                waiting.place = Place::Hopeful(waiting.not_before, Order::of(&uid, &waiting.pod));
            }
            self.list(&uid, &waiting);
            self.waiting.insert(uid, waiting);
        }
    }

    /// Makes ready what is due. Returns when to look again.
    pub fn tick(&mut self, now: Instant) -> Option<Instant> {
        while let Some((at, uid)) = self.due.first().cloned() {
            if at > now {
                return Some(at);
            }
            self.due.pop_first();
            self.make_ready(&uid);
        }
        None
    }

    pub fn has_ready(&self) -> bool {
        !self.ready.is_empty() || !self.hopeful.is_empty()
    }

    fn make_ready(&mut self, uid: &str) {
        let Some(mut waiting) = self.waiting.remove(uid) else { return };
        self.unlist(uid, &waiting);
        waiting.place = Place::Ready(Order::of(uid, &waiting.pod));
        self.list(uid, &waiting);
        self.waiting.insert(uid.into(), waiting);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use serde_json::json;

    fn pod(name: &str, priority: i32) -> Arc<Pod> {
        Arc::new(
            serde_json::from_value(
                json!({"metadata": {"name": name}, "spec": {"priority": priority, "containers": []}}),
            )
            .unwrap(),
        )
    }

    #[tokio::test(start_paused = true)]
    async fn the_most_urgent_goes_first_then_the_oldest() {
        let mut queue = Queue::default();
        let now = Instant::now();
        for (name, priority) in [("a", 0), ("b", 10), ("c", 0)] {
            queue.update(name, pod(name, priority), now);
        }
        let order: Vec<String> = std::iter::from_fn(|| queue.pop().map(|(uid, ..)| uid)).collect();
        assert_eq!(order, ["b", "a", "c"]);
    }

    #[tokio::test(start_paused = true)]
    async fn a_refused_pod_waits_for_a_change_and_its_back_off() {
        let mut queue = Queue::default();
        let start = Instant::now();
        queue.update("a", pod("a", 0), start);
        let (uid, pod, attempts) = queue.pop().unwrap();
        queue.refuse(&uid, pod, attempts, start, BTreeSet::new());
        assert_eq!(queue.tick(start + Duration::from_secs(20)), Some(start + FLUSH));
        assert!(!queue.has_ready());
        let soon = start + Duration::from_millis(500);
        queue.wake(&Event::Storage, soon);
        queue.update("b", self::pod("b", -1), soon);
        assert_eq!(queue.pop().unwrap().0, "b", "its back-off is not over, and another is ready");
        assert_eq!(queue.tick(soon), Some(start + Duration::from_secs(1)));
        queue.update("c", self::pod("c", -1), soon);
        queue.tick(start + Duration::from_secs(1));
        let (uid, pod, attempts) = queue.pop().unwrap();
        assert_eq!((uid.as_str(), attempts), ("a", 2), "it is over");
        assert_eq!(queue.pop().unwrap().0, "c");
        queue.refuse(&uid, pod, attempts, start + Duration::from_secs(1), BTreeSet::new());
        queue.wake(&Event::Storage, start + Duration::from_secs(60));
        assert_eq!(queue.pop().map(|(_, _, attempts)| attempts), Some(1), "it was quiet since");
    }

    #[tokio::test(start_paused = true)]
    async fn with_nothing_else_to_do_back_offs_after_refusals_are_cut_short() {
        let mut queue = Queue::default();
        let start = Instant::now();
        for name in ["a", "b"] {
            queue.refuse(name, pod(name, 0), 1, start, BTreeSet::new());
        }
        queue.retry("c", pod("c", 0), 1, start);
        assert!(!queue.has_ready());
        queue.wake(&Event::Storage, start);
        assert_eq!(std::iter::from_fn(|| queue.pop().map(|(uid, ..)| uid)).collect::<Vec<_>>(), ["a", "b"]);
        assert_eq!(queue.tick(start), Some(start + Duration::from_secs(1)), "what failed is not tried sooner for it");
    }

    #[tokio::test(start_paused = true)]
    async fn a_change_wakes_only_those_it_may_help_and_time_all() {
        let mut queue = Queue::default();
        let start = Instant::now();
        for (name, cause) in [("a", Cause::Volumes), ("b", Cause::Room)] {
            queue.refuse(name, pod(name, 0), 1, start, BTreeSet::from([cause]));
        }
        let later = start + Duration::from_secs(60);
        queue.wake(&Event::Storage, later);
        assert_eq!(queue.pop().map(|(uid, ..)| uid).as_deref(), Some("a"));
        assert!(!queue.has_ready());
        assert_eq!(queue.tick(later), Some(start + FLUSH));
        queue.tick(start + FLUSH);
        assert_eq!(queue.pop().map(|(uid, ..)| uid).as_deref(), Some("b"));
        assert!(queue.due.is_empty() && queue.refused.values().all(BTreeSet::is_empty));
    }

    fn check(queue: &Queue) {
        let mut listed = 0;
        for (uid, waiting) in &queue.waiting {
            listed += waiting.causes.len();
            match &waiting.place {
                Place::Ready(order) => assert!(queue.ready.contains(order)),
                Place::BackingOff(at) => assert!(queue.due.contains(&(*at, uid.clone()))),
                Place::Hopeful(at, order) => {
                    assert!(queue.due.contains(&(*at, uid.clone())) && queue.hopeful.contains(order));
                }
                Place::Refused(at) => {
                    assert!(queue.due.contains(&(*at, uid.clone())));
                    assert!(waiting.causes.iter().all(|cause| queue.refused[cause].contains(uid)));
                }
            }
            listed -= if matches!(waiting.place, Place::Refused(_)) { 0 } else { waiting.causes.len() };
        }
        let hopeful = queue.waiting.values().filter(|one| matches!(one.place, Place::Hopeful(..))).count();
        assert_eq!(hopeful, queue.hopeful.len());
        assert_eq!(queue.ready.len() + queue.due.len(), queue.waiting.len(), "nobody waits twice, or nowhere");
        assert_eq!(queue.refused.values().map(BTreeSet::len).sum::<usize>(), listed);
    }

    proptest! {
        #[test]
        fn nobody_is_lost_and_all_get_their_turn(steps in prop::collection::vec((0..6u8, 0..5usize, 0..20u64), 1..80)) {
            let mut queue = Queue::default();
            let (mut now, mut in_hand) = (Instant::now(), Vec::new());
            for (step, number, seconds) in steps {
                let name = number.to_string();
                match step {
                    0 if !in_hand.iter().any(|(uid, _, _)| *uid == name) => queue.update(&name, pod(&name, 0), now),
                    1 => in_hand.extend(queue.pop()),
                    2 => if let Some((uid, pod, attempts)) = in_hand.pop() {
                        let cause = if number % 2 == 0 { Cause::Room } else { Cause::Volumes };
                        queue.refuse(&uid, pod, attempts, now, BTreeSet::from([cause]));
                    },
                    3 => if let Some((uid, pod, attempts)) = in_hand.pop() {
                        queue.retry(&uid, pod, attempts, now);
                    },
                    4 => queue.wake(&Event::Storage, now),
                    _ => {
                        now += Duration::from_secs(seconds);
                        queue.tick(now);
                    }
                }
                check(&queue);
            }
            let waiting = queue.waiting.len();
            queue.tick(now + FLUSH);
            prop_assert_eq!(std::iter::from_fn(|| queue.pop()).count(), waiting);
        }
    }
}
