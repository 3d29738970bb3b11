//! Who makes way for whom.
#![allow(clippy::unwrap_used)]

use super::*;
use crate::scheduler::cycle::{Verdict, decide, judge};
use crate::scheduler::rig::{HOSTNAME, REQUIRED, cluster, node, pod};
use proptest::prelude::*;
use serde_json::{Value, from_value, json};

/// A pod of this priority that asks for so many cores.
fn asks(name: &str, priority: i32, cores: u32, more: &Value) -> Pod {
    let requests = json!({"requests": {"cpu": cores.to_string()}});
    let mut spec = json!({"priority": priority, "containers": [{"name": "c", "resources": requests}]});
    for (field, value) in more.as_object().into_iter().flatten() {
        spec[field] = value.clone();
    }
    pod(name, name, &spec)
}

fn place(snapshot: &mut Snapshot, host: &str, pod: &Pod) {
    snapshot.place(cycle::uid(pod), host, Placed::of(pod));
}

/// The host that is chosen, and the names of those who have to leave it.
fn chosen(snapshot: &mut Snapshot, pod: &Pod) -> (String, Vec<String>) {
    match decide(pod, snapshot) {
        Verdict::Unschedulable { preemption: Preemption::Nominated { host, victims }, .. } => {
            (host, victims.into_iter().map(|victim| victim.name).collect())
        }
        other => panic!("nobody makes way: {other:?}"),
    }
}

#[test]
fn no_more_leave_than_must_and_the_least_important_of_them() {
    let mut snapshot = cluster(&[("a", "")]);
    for (name, priority) in [("low", 1), ("mid", 2), ("high", 3), ("top", 9)] {
        place(&mut snapshot, "a", &asks(name, priority, 2, &Value::Null));
    }
    assert_eq!(chosen(&mut snapshot, &asks("new", 9, 3, &Value::Null)), ("a".into(), vec!["mid".into(), "low".into()]));
    let small = decide(&asks("small", 1, 1, &Value::Null), &mut snapshot).message();
    assert_eq!(
        small,
        "0/1 nodes are available: 1 Insufficient cpu. preemption: 0/1 nodes are available: 1 No preemption victims found for incoming pod."
    );
    let never = asks("never", 100, 1, &json!({"preemptionPolicy": "Never"}));
    assert_eq!(
        decide(&never, &mut snapshot).message(),
        "0/1 nodes are available: 1 Insufficient cpu. preemption: not eligible due to preemptionPolicy=Never."
    );
    let huge = decide(&asks("huge", 100, 9, &Value::Null), &mut snapshot).message();
    assert!(
        huge.ends_with("preemption: 0/1 nodes are available: 1 Preemption is not helpful for scheduling."),
        "{huge}"
    );
}

#[test]
fn the_host_whose_pods_matter_least_is_chosen() {
    let full = |pods: &[(&str, &str, i32, u32)]| {
        let mut snapshot = cluster(&[("a", ""), ("b", "")]);
        for (host, name, priority, cores) in pods {
            place(&mut snapshot, host, &asks(name, *priority, *cores, &Value::Null));
        }
        chosen(&mut snapshot, &asks("new", 100, 8, &Value::Null)).0
    };
    assert_eq!(full(&[("a", "1", 5, 8), ("b", "2", 4, 8)]), "b", "the lower highest priority");
    assert_eq!(full(&[("a", "1", 5, 4), ("a", "2", 4, 4), ("b", "3", 5, 4), ("b", "4", 3, 4)]), "b", "the lower sum");
    assert_eq!(full(&[("a", "1", 5, 4), ("a", "2", 5, 4), ("b", "3", 5, 8)]), "b", "fewer pods");
    let mut snapshot = cluster(&[("a", ""), ("b", "")]);
    for (host, name, hour) in [("a", "old", 1), ("b", "young", 2)] {
        let mut one = asks(name, 1, 8, &Value::Null);
        one.status = Some(from_value(json!({"startTime": format!("2024-01-01T0{hour}:00:00Z")})).unwrap());
        place(&mut snapshot, host, &one);
    }
    assert_eq!(chosen(&mut snapshot, &asks("new", 100, 8, &Value::Null)).0, "b", "who has run for less time");
}

#[test]
fn budgets_are_kept_where_there_is_a_choice() {
    let mut snapshot = cluster(&[("a", ""), ("b", "")]);
    place(&mut snapshot, "a", &asks("guarded", 1, 8, &Value::Null));
    place(&mut snapshot, "b", &asks("free", 5, 8, &Value::Null));
    let budget = json!({"metadata": {"name": "b", "namespace": "default"},
        "spec": {"selector": {"matchLabels": {"app": "guarded"}}}, "status": {"disruptionsAllowed": 0}});
    snapshot.budgets.set(&from_value(budget.clone()).unwrap());
    let new = asks("new", 10, 8, &Value::Null);
    assert_eq!(chosen(&mut snapshot, &new).1, ["free"]);
    snapshot.forget("free");
    snapshot.remove_node("b");
    assert_eq!(chosen(&mut snapshot, &new).1, ["guarded"], "where there is none they are not");
    snapshot.budgets.remove(&from_value(budget).unwrap());
    assert_eq!(chosen(&mut snapshot, &new).1, ["guarded"]);
}

#[test]
fn those_whose_rules_keep_a_pod_away_make_way_too() {
    let mut snapshot = cluster(&[("a", "")]);
    let shy = json!({"topologyKey": HOSTNAME, "labelSelector": {"matchLabels": {"app": "new"}}});
    let shy = json!({"affinity": {"podAntiAffinity": { REQUIRED: [shy] }}});
    place(&mut snapshot, "a", &asks("shy", 1, 1, &shy));
    place(&mut snapshot, "a", &asks("other", 1, 1, &Value::Null));
    assert_eq!(chosen(&mut snapshot, &asks("new", 10, 1, &Value::Null)), ("a".into(), vec!["shy".into()]));
    assert_eq!(snapshot.host("a").unwrap().pod_count(), 2, "it was but a trial");
}

#[test]
fn promised_room_is_not_for_others_of_the_same_or_lower_priority() {
    let mut snapshot = cluster(&[("a", "")]);
    let promised = asks("promised", 10, 6, &Value::Null);
    snapshot.promise("promised", "a", Placed::of(&promised));
    assert!(matches!(decide(&asks("small", 10, 2, &Value::Null), &mut snapshot), Verdict::Bind { .. }));
    let refused = decide(&asks("late", 10, 3, &Value::Null), &mut snapshot);
    assert!(refused.message().starts_with("0/1 nodes are available: 1 Insufficient cpu."), "{refused:?}");
    assert!(matches!(decide(&asks("first", 11, 3, &Value::Null), &mut snapshot), Verdict::Bind { .. }));
    assert!(matches!(decide(&promised, &mut snapshot), Verdict::Bind { .. }));
    assert_eq!(snapshot.host("a").unwrap().pod_count(), 0);
}

#[test]
fn a_pod_waits_for_those_who_are_leaving_for_it() {
    let mut snapshot = cluster(&[("a", ""), ("b", "")]);
    let mut leaving = asks("leaving", 1, 8, &Value::Null);
    leaving.metadata.deletion_timestamp = Some(from_value(json!("2024-01-01T00:00:00Z")).unwrap());
    let condition = json!({"type": "DisruptionTarget", "status": "True", "reason": "PreemptionByScheduler"});
    leaving.status = Some(from_value(json!({"conditions": [condition]})).unwrap());
    place(&mut snapshot, "a", &leaving);
    place(&mut snapshot, "b", &asks("other", 1, 8, &Value::Null));
    let new = asks("new", 10, 8, &Value::Null);
    snapshot.promise("new", "a", Placed::of(&new));
    let why = decide(&new, &mut snapshot).message();
    assert!(why.ends_with("preemption: not eligible due to a terminating pod on the nominated node."), "{why}");
    snapshot.forget("leaving");
    assert_eq!(decide(&new, &mut snapshot), Verdict::Bind { host: "a".into(), feasible: 1 });
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    #[test]
    fn victims_are_lesser_and_needed_and_enough(
        pods in prop::collection::vec((0..3usize, 0..5i32, 1..5u32), 1..20),
        (priority, cores) in (0..6i32, 1..9u32),
    ) {
        let hosts = ["a", "b", "c"];
        let mut snapshot = cluster(&hosts.map(|host| (host, "")));
        for (at, (host, priority, cores)) in pods.iter().enumerate() {
            let one = asks(&format!("p{at}"), *priority, *cores, &Value::Null);
            if judge(&one, &mut snapshot, hosts[*host]).is_empty() {
                place(&mut snapshot, hosts[*host], &one);
            }
        }
        let used = |snapshot: &Snapshot| snapshot.hosts().map(|host| (host.used.clone(), host.pod_count())).collect::<Vec<_>>();
        let (before, new) = (used(&snapshot), asks("new", priority, cores, &Value::Null));
        let verdict = decide(&new, &mut snapshot);
        prop_assert_eq!(before, used(&snapshot));
        match verdict {
            Verdict::Unschedulable { preemption: Preemption::Nominated { host, victims }, .. } => {
                let on = snapshot.host(&host).unwrap().clone();
                let gone: Vec<_> = victims.iter().map(|one| on.pod(&one.uid).unwrap().clone()).collect();
                prop_assert!(gone.iter().all(|one| one.priority < priority));
                victims.iter().for_each(|one| snapshot.forget(&one.uid));
                prop_assert!(judge(&new, &mut snapshot, &host).is_empty(), "not enough");
                for (victim, placed) in victims.iter().zip(gone) {
                    snapshot.place(&victim.uid, &host, Placed::clone(&placed));
                    prop_assert!(!judge(&new, &mut snapshot, &host).is_empty(), "{} could stay", victim.name);
                    snapshot.forget(&victim.uid);
                }
            }
            Verdict::Unschedulable { .. } => {
                for host in hosts {
                    let lesser = snapshot.host(host).unwrap().pods_by_uid().filter(|(_, one)| one.priority < priority);
                    let lesser: Vec<_> = lesser.map(|(uid, _)| uid.clone()).collect();
                    lesser.iter().for_each(|uid| snapshot.forget(uid));
                    prop_assert!(!judge(&new, &mut snapshot, host).is_empty(), "{host} could be had");
                }
            }
            Verdict::Bind { .. } => {}
        }
    }

    #[test]
    fn what_is_remembered_changes_no_decision(
        steps in prop::collection::vec((0..7u8, 0..4usize, 0..4usize, 0..4i32, 1..5u32), 1..60),
    ) {
        let hosts = ["a", "b", "c", "d"];
        let mut snapshot = cluster(&hosts.map(|host| (host, "")));
        for (at, (step, host, other, priority, cores)) in steps.into_iter().enumerate() {
            let uid = other.to_string();
            match step {
                0 => place(&mut snapshot, hosts[host], &asks(&format!("p{at}"), priority, cores, &Value::Null)),
                1 => {
                    let leaving = snapshot.host(hosts[host]).and_then(|host| host.pods_by_uid().map(|(uid, _)| uid.clone()).min());
                    leaving.into_iter().for_each(|uid| snapshot.forget(&uid));
                }
                2 => snapshot.promise(&uid, hosts[host], Placed::of(&asks(&uid, priority, cores, &Value::Null))),
                3 => drop(snapshot.withdraw(&uid)),
                4 => {
                    snapshot.remove_node(hosts[host]);
                    snapshot.set_node(node(hosts[other], ""));
                }
                5 => {
                    let budget = json!({"metadata": {"name": "b", "namespace": "default"},
                        "spec": {"selector": {"matchLabels": {"app": format!("p{host}")}}}, "status": {"disruptionsAllowed": 0}});
                    snapshot.budgets.set(&from_value(budget).unwrap());
                }
                _ => {}
            }
            // Those of the same kind, and one that may have been promised a host itself.
            for name in ["new", "same", &uid] {
                let new = asks(name, priority, 2 * cores, &Value::Null);
                let mut forgetful = snapshot.clone();
                forgetful.memory = Default::default();
                prop_assert_eq!(decide(&new, &mut snapshot), decide(&new, &mut forgetful));
            }
        }
    }
}
