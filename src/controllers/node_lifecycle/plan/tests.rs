//! Verdicts on nodes.
#![allow(clippy::unwrap_used)]
use super::*;
use serde_json::{Value, from_value, json};

fn now() -> Timestamp {
    "2024-01-01T12:00:00Z".parse().unwrap()
}

fn node(ready: Option<&str>, taints: Value) -> Node {
    let ready: Vec<_> = ready.map(|status| json!({"type": "Ready", "status": status})).into_iter().collect();
    from_value(json!({"metadata": {"name": "n"}, "spec": {"taints": taints}, "status": {"conditions": ready}})).unwrap()
}

fn keys(taints: &[Taint]) -> Vec<String> {
    taints
        .iter()
        .map(|taint| format!("{}:{}", taint.key.trim_start_matches("node.kubernetes.io/"), taint.effect))
        .collect()
}

#[test]
fn silence_is_unreachable() {
    assert_eq!(health(&node(Some("True"), json!([])), false), Health::Ready);
    assert_eq!(health(&node(Some("True"), json!([])), true), Health::Unreachable);
    assert_eq!(health(&node(Some("False"), json!([])), false), Health::NotReady);
    assert_eq!(health(&node(Some("Unknown"), json!([])), false), Health::Unreachable);
    assert_eq!(health(&node(None, json!([])), false), Health::New);
    let status = silenced(&node(Some("True"), json!([])), now());
    let conditions = status.conditions.unwrap();
    assert_eq!(conditions.len(), 4);
    assert!(conditions.iter().all(|condition| condition.status == "Unknown"));
    assert_eq!(conditions[0].reason.as_deref(), Some("NodeStatusUnknown"));
    assert_eq!(conditions[1].reason.as_deref(), Some("NodeStatusNeverUpdated"));
}

#[test]
fn taints_follow_health_and_leave_others_alone() {
    let foreign = json!([{"key": "own", "effect": "NoSchedule"}, {"key": "node.kubernetes.io/not-ready", "effect": "NoExecute", "timeAdded": "2024-01-01T00:00:00Z"}]);
    let node = node(Some("True"), foreign);
    assert_eq!(keys(&taints(&node, Health::Ready, true, now())), ["own:NoSchedule"]);
    assert_eq!(keys(&taints(&node, Health::New, true, now())), ["own:NoSchedule", "not-ready:NoSchedule"]);
    let lost = taints(&node, Health::Unreachable, true, now());
    assert_eq!(keys(&lost), ["own:NoSchedule", "unreachable:NoSchedule", "unreachable:NoExecute"]);
    let kept = taints(&node, Health::NotReady, true, now());
    assert_eq!(keys(&kept), ["own:NoSchedule", "not-ready:NoExecute", "not-ready:NoSchedule"]);
    assert_eq!(kept[1].time_added, node.spec.unwrap().taints.unwrap()[1].time_added);
}

#[test]
fn mass_outages_stop_evictions() {
    let zones = |lost: usize, ready: usize| {
        let healths = std::iter::repeat_n(Health::Unreachable, lost).chain(std::iter::repeat_n(Health::Ready, ready));
        disruptions(healths.map(|health| ("z".to_owned(), health)))
    };
    let (usual, slow) = (Eviction::Paced(Duration::from_secs(10)), Eviction::Paced(Duration::from_secs(100)));
    assert_eq!(eviction(&zones(1, 1), "z"), usual);
    assert_eq!(eviction(&zones(2, 1), "z"), usual);
    assert_eq!(eviction(&zones(3, 2), "z"), Eviction::Paused);
    assert_eq!(eviction(&zones(3, 3), "z"), usual);
    assert_eq!(eviction(&zones(28, 22), "z"), Eviction::Paused, "fifty nodes are few");
    assert_eq!(eviction(&zones(29, 22), "z"), slow, "in a large zone some are given up all the same");
    assert_eq!(eviction(&zones(28, 23), "z"), usual, "less than 55 %");
    assert_eq!(eviction(&zones(3, 0), "z"), Eviction::Stopped);
    let two = disruptions([("a".into(), Health::Unreachable), ("b".into(), Health::Ready)].into_iter());
    assert_eq!(eviction(&two, "a"), usual);
}

#[test]
fn pods_stay_as_long_as_they_tolerate() {
    let taints: Vec<Taint> =
        from_value(json!([{"key": UNREACHABLE, "effect": "NoExecute", "timeAdded": "2024-01-01T12:00:00Z"}])).unwrap();
    let pod = |tolerations: Value| -> Pod {
        from_value(json!({"metadata": {}, "spec": {"containers": [], "tolerations": tolerations}})).unwrap()
    };
    let wait = |tolerations| due(&pod(tolerations), &taints, now()).map(|due| due.duration_since(now()).as_secs());
    assert_eq!(wait(json!([])), Some(0));
    assert_eq!(wait(json!([{"operator": "Exists"}])), None);
    assert_eq!(wait(json!([{"key": UNREACHABLE, "operator": "Exists", "tolerationSeconds": 300}])), Some(300));
    assert_eq!(wait(json!([{"key": "other", "operator": "Exists"}])), Some(0));
    assert_eq!(due(&pod(json!([])), &[], now()), None);
}
