//! Wishes, and what becomes of them.
#![allow(clippy::unwrap_used)]
use super::*;
use proptest::prelude::*;
use serde_json::{Value, from_value, json};

fn at(second: i64) -> Timestamp {
    Timestamp::from_second(1_700_000_000 + second).unwrap()
}

fn behavior(value: Value) -> Option<HorizontalPodAutoscalerBehavior> {
    from_value(value).unwrap()
}

fn wish(current: i32, desired: i32) -> Wish {
    Wish { current, desired, min: 1, max: 100 }
}

fn history(recommendations: &[(i64, i32)], changes: &[(i64, i32)]) -> History {
    let mut history = History::default();
    recommendations.iter().for_each(|(second, replicas)| history.recommended(at(*second), *replicas));
    changes.iter().for_each(|(second, by)| history.scaled(at(*second), *by));
    history
}

#[test]
fn downscale_waits_for_five_quiet_minutes() {
    let history = history(&[(0, 8), (200, 5)], &[]);
    let stable = |second| {
        let found = stabilize(wish(8, 2), None, &history, at(second));
        (found.replicas, found.reason)
    };
    assert_eq!(stable(250), (8, "ScaleDownStabilized"));
    assert_eq!(stable(301), (5, "ScaleDownStabilized"));
    assert_eq!(stable(501), (2, "ReadyForNewScale"));
    assert_eq!(stabilize(wish(8, 20), None, &history, at(250)).replicas, 20, "upscale does not wait");
}

#[test]
fn windows_of_ones_own() {
    let rules = behavior(
        json!({"scaleUp": {"stabilizationWindowSeconds": 60}, "scaleDown": {"stabilizationWindowSeconds": 0}}),
    );
    let history = history(&[(0, 4), (50, 9)], &[]);
    let up = stabilize(wish(4, 10), rules.as_ref(), &history, at(55));
    assert_eq!((up.replicas, up.reason), (4, "ScaleUpStabilized"));
    assert_eq!(stabilize(wish(4, 10), rules.as_ref(), &history, at(70)).replicas, 9);
    assert_eq!(stabilize(wish(4, 10), rules.as_ref(), &history, at(120)).replicas, 10);
    assert_eq!(stabilize(wish(4, 1), rules.as_ref(), &history, at(55)).replicas, 1);
}

#[test]
fn bounds_and_the_speed_without_rules() {
    let limited = |wish| {
        let found = limit(wish, None, &History::default(), at(0));
        (found.replicas, found.reason)
    };
    assert_eq!(limited(wish(1, 3)), (3, "DesiredWithinRange"));
    assert_eq!(limited(wish(1, 9)), (4, "ScaleUpLimit"));
    assert_eq!(limited(wish(5, 20)), (10, "ScaleUpLimit"));
    assert_eq!(limited(Wish { max: 8, ..wish(5, 20) }), (8, "TooManyReplicas"));
    assert_eq!(limited(Wish { min: 2, ..wish(5, 1) }), (2, "TooFewReplicas"));
    assert_eq!(limited(wish(50, 1)), (1, "DesiredWithinRange"));
}

#[test]
fn policies_count_from_the_begin_of_their_period() {
    let rules = behavior(json!({
        "scaleUp": {"policies": [{"type": "Pods", "value": 2, "periodSeconds": 60}]},
        "scaleDown": {"policies": [{"type": "Percent", "value": 10, "periodSeconds": 60}]},
    }));
    let limited = |wish, history: &History, second| {
        let found = limit(wish, rules.as_ref(), history, at(second));
        (found.replicas, found.reason)
    };
    let none = History::default();
    assert_eq!(limited(wish(5, 20), &none, 0), (7, "ScaleUpLimit"));
    let added = history(&[], &[(0, 2)]);
    assert_eq!(limited(wish(7, 20), &added, 30), (7, "ScaleUpLimit"));
    assert_eq!(limited(wish(7, 20), &added, 60), (9, "ScaleUpLimit"));
    assert_eq!(limited(wish(20, 1), &none, 0), (18, "ScaleDownLimit"));
    assert_eq!(limited(wish(18, 1), &history(&[], &[(0, -2)]), 30), (18, "ScaleDownLimit"));
}

#[test]
fn the_selected_policy_wins() {
    let rules = |select: &str| {
        let policies = json!([{"type": "Pods", "value": 4, "periodSeconds": 60}, {"type": "Percent", "value": 50, "periodSeconds": 60}]);
        behavior(
            json!({"scaleUp": {"selectPolicy": select, "policies": policies}, "scaleDown": {"selectPolicy": select, "policies": policies}}),
        )
    };
    let limited = |select, wish| limit(wish, rules(select).as_ref(), &History::default(), at(0)).replicas;
    assert_eq!(
        (limited("Max", wish(10, 99)), limited("Min", wish(10, 99)), limited("Disabled", wish(10, 99))),
        (15, 14, 10)
    );
    assert_eq!(
        (limited("Max", wish(10, 1)), limited("Min", wish(10, 1)), limited("Disabled", wish(10, 1))),
        (5, 6, 10)
    );
}

#[test]
fn defaults_of_either_direction() {
    let rules = behavior(json!({"scaleDown": {"stabilizationWindowSeconds": 10}}));
    let limited = |wish| limit(wish, rules.as_ref(), &History::default(), at(0)).replicas;
    assert_eq!((limited(wish(1, 50)), limited(wish(10, 50)), limited(wish(50, 1))), (5, 20, 1));
    let told = tolerances(behavior(json!({"scaleUp": {"tolerance": "50m"}})).as_ref());
    assert_eq!((told.up, told.down), (0.05, TOLERANCE));
}

#[test]
fn history_has_an_end() {
    let mut history = History::default();
    for second in 0..2000 {
        history.recommended(at(second * 15), 1);
        history.scaled(at(second * 15), 1);
    }
    assert!(history.recommendations.len() <= 241 && history.changes.len() <= 241);
}

fn rules() -> impl Strategy<Value = Option<HorizontalPodAutoscalerBehavior>> {
    let kind = prop_oneof![Just("Pods"), Just("Percent")];
    let policy = (kind, 1..200i32, 1..120i32)
        .prop_map(|(kind, value, period)| json!({"type": kind, "value": value, "periodSeconds": period}));
    let select = prop_oneof![Just(Some("Max")), Just(Some("Min")), Just(Some("Disabled")), Just(None)];
    let one = (proptest::option::of(0..400i32), select, proptest::collection::vec(policy, 1..3)).prop_map(
        |(window, select, policies)| {
            json!({"stabilizationWindowSeconds": window, "selectPolicy": select, "policies": policies})
        },
    );
    proptest::option::of((one.clone(), one))
        .prop_map(|rules| rules.map(|(up, down)| from_value(json!({"scaleUp": up, "scaleDown": down})).unwrap()))
}

proptest! {
    /// From anywhere within the bounds: the result is within them, and between what is and what is wished.
    #[test]
    fn no_change_goes_beyond_the_wish_or_the_bounds(
        rules in rules(),
        (min, span, offset) in (1..20i32, 0..50i32, 0..50i32),
        desired in 0..200i32,
        recommendations in proptest::collection::vec((0..600i64, 0..100i32), 0..6),
        changes in proptest::collection::vec((0..600i64, -20..20i32), 0..6),
    ) {
        let current = min + offset.min(span);
        let wish = Wish { current, desired, min, max: min + span };
        let past = history(&recommendations, &changes);
        let stable = stabilize(wish, rules.as_ref(), &past, at(600)).replicas;
        let limited = limit(Wish { desired: stable, ..wish }, rules.as_ref(), &past, at(600));
        let low = current.min(stable).max(min);
        prop_assert!(limited.replicas >= low.min(current) && limited.replicas <= current.max(stable));
        prop_assert!(limited.replicas >= min && limited.replicas <= min + span);
        prop_assert_eq!(limited.replicas == stable, limited.reason == "DesiredWithinRange");
        if rules.is_some() {
            prop_assert!(stable >= current.min(desired) && stable <= current.max(desired), "a window turned a change around");
        }
    }
}
