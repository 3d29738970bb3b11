//! Whether a host has room for what a pod asks for now, and which pod is asked about first. Pure.

use super::{DEFERRED, INFEASIBLE};
use crate::kubelet::resources::qos_class;
use crate::scheduler::requests::{self, Amounts};
use jiff::Timestamp;
use k8s_openapi::api::core::v1::{Pod, PodSpec};
use std::cmp::Reverse;

/// Why a resize is not made: reason and message.
pub type Refusal = (&'static str, String);

/// Whether a pod may have `wanted` on a host of that `capacity` whose other pods have `used`.
pub fn refusal(wanted: &Amounts, used: &Amounts, capacity: &Amounts) -> Option<Refusal> {
    // In thousandths of a CPU and in bytes, as Kubernetes counts.
    let each = [("cpu", wanted.cpu, used.cpu, capacity.cpu), ("memory", wanted.memory, used.memory, capacity.memory)];
    if let Some((name, wanted, _, capacity)) = each.iter().rev().find(|(_, wanted, _, capacity)| wanted > capacity) {
        let message = format!("Node didn't have enough capacity: {name}, requested: {wanted}, capacity: {capacity}");
        return Some((INFEASIBLE, message));
    }
    let (name, wanted, used, capacity) =
        each.iter().find(|(_, wanted, used, capacity)| *wanted > 0 && *wanted > capacity.saturating_sub(*used))?;
    let message =
        format!("Node didn't have enough resource: {name}, requested: {wanted}, used: {used}, capacity: {capacity}");
    Some((DEFERRED, message))
}

/// The smaller, the sooner a pod's turn: first those that ask for no more than they have, then those of
/// higher priority, then the guaranteed ones, then those that have waited for longer.
pub type Turn = (bool, Reverse<i32>, bool, Timestamp, String);

/// The turn of a pod that has `allocated` and waits `since` then.
pub fn turn(pod: &Pod, allocated: &PodSpec, since: Timestamp) -> Turn {
    let empty = PodSpec::default();
    let wanted = pod.spec.as_ref().unwrap_or(&empty);
    let (before, after) = (requests::of(allocated), requests::of(wanted));
    let more = after.cpu > before.cpu || after.memory > before.memory;
    let uid = pod.metadata.uid.clone().unwrap_or_default();
    (more, Reverse(wanted.priority.unwrap_or(0)), qos_class(wanted) != "Guaranteed", since, uid)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use proptest::prelude::*;
    use serde_json::json;

    fn amounts(cpu: i64, memory: i64) -> Amounts {
        Amounts { cpu, memory, ..Amounts::default() }
    }

    #[test]
    fn a_refusal_says_what_is_missing() {
        let all = amounts(4000, 8000);
        let of = |wanted, used| refusal(&wanted, &used, &all);
        assert_eq!(of(amounts(4000, 1), amounts(0, 0)), None);
        let infeasible = |text: &str| Some((INFEASIBLE, format!("Node didn't have enough capacity: {text}")));
        assert_eq!(of(amounts(4001, 1), amounts(0, 0)), infeasible("cpu, requested: 4001, capacity: 4000"));
        assert_eq!(of(amounts(4001, 9000), amounts(0, 0)), infeasible("memory, requested: 9000, capacity: 8000"));
        let deferred = |text: &str| Some((DEFERRED, format!("Node didn't have enough resource: {text}")));
        let cpu = "cpu, requested: 3000, used: 1500, capacity: 4000";
        assert_eq!(of(amounts(3000, 9), amounts(1500, 8000)), deferred(cpu));
        let memory = "memory, requested: 9, used: 8000, capacity: 8000";
        assert_eq!(of(amounts(0, 9), amounts(5000, 8000)), deferred(memory), "it asks for no cpu");
    }

    #[test]
    fn what_nobody_has_is_infeasible() {
        let (all, most) = (amounts(4000, 8000), amounts(i64::MAX, i64::MAX));
        assert_eq!(refusal(&most, &most, &all).unwrap().0, INFEASIBLE);
        assert_eq!(refusal(&amounts(1, 1), &most, &all).unwrap().0, DEFERRED);
        assert_eq!(refusal(&amounts(1, 1), &most, &amounts(i64::MIN, i64::MIN)).unwrap().0, INFEASIBLE);
    }

    #[test]
    fn turns_go_by_need_priority_class_and_time() {
        let pod = |uid: &str, asks: &str, priority: i32, limits: bool| -> Pod {
            let requests = json!({"cpu": asks, "memory": "1"});
            let mut resources = json!({"requests": requests});
            if limits {
                resources["limits"] = requests;
            }
            serde_json::from_value(json!({"metadata": {"uid": uid}, "spec": {"priority": priority,
                "containers": [{"name": "c", "resources": resources}]}}))
            .unwrap()
        };
        let had = pod("", "2", 0, false).spec.unwrap();
        let at = |second| Timestamp::from_second(second).unwrap();
        let mut all = [
            (pod("late", "3", 1, false), at(5)),
            (pod("early", "3", 1, false), at(1)),
            (pod("guaranteed", "3", 1, true), at(9)),
            (pod("important", "3", 2, false), at(9)),
            (pod("less", "1", 0, false), at(9)),
        ];
        all.sort_by_key(|(pod, since)| turn(pod, &had, *since));
        let names: Vec<_> = all.iter().map(|(pod, _)| pod.metadata.uid.clone().unwrap()).collect();
        assert_eq!(names, ["less", "important", "guaranteed", "early", "late"]);
    }

    proptest! {
        /// What is granted fits beside what others have, and what is deferred would fit alone.
        #[test]
        fn nothing_is_granted_twice(
            wanted in (0..100i64, 0..100i64), used in (0..100i64, 0..100i64), all in (1..100i64, 1..100i64)
        ) {
            let (wanted, used, all) = (amounts(wanted.0, wanted.1), amounts(used.0, used.1), amounts(all.0, all.1));
            match refusal(&wanted, &used, &all) {
                None => {
                    prop_assert!(wanted.cpu == 0 || wanted.cpu + used.cpu <= all.cpu);
                    prop_assert!(wanted.memory == 0 || wanted.memory + used.memory <= all.memory);
                }
                Some((DEFERRED, _)) => prop_assert!(wanted.fits(&all)),
                Some(_) => prop_assert!(!wanted.fits(&all)),
            }
        }
    }
}
