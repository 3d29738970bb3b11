//! How pods spread. The rule is checked again here, pod by pod.
#![allow(clippy::unwrap_used)]

use super::*;
use crate::scheduler::rig::{cluster, node, pod, schedule};
use crate::scheduler::snapshot::Placed;
use proptest::prelude::*;
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::sync::Arc;

fn constraint(key: &str, skew: i64, action: &str) -> Value {
    json!({"topologyKey": key, "maxSkew": skew, "whenUnsatisfiable": action,
        "labelSelector": {"matchLabels": {"app": "web"}}})
}

fn web(name: &str, constraints: &[Value]) -> Pod {
    pod(name, "web", &json!({"topologySpreadConstraints": constraints}))
}

const WHY: &str = "node(s) didn't match pod topology spread constraints";

#[test]
fn domains_differ_by_no_more_than_the_skew() {
    let mut snapshot = cluster(&[("a", "east"), ("b", "east"), ("c", "west"), ("d", "")]);
    let even = constraint("zone", 1, "DoNotSchedule");
    let hosts: Vec<String> =
        (0..6).map(|at| schedule(&mut snapshot, &web(&at.to_string(), std::slice::from_ref(&even))).unwrap()).collect();
    assert_eq!(hosts.iter().filter(|host| *host == "c").count(), 3, "{hosts:?}");
    snapshot.remove_node("c");
    let mut full = (*node("c", "west")).clone();
    full.spec = Some(serde_json::from_value(json!({"unschedulable": true})).unwrap());
    snapshot.set_node(Arc::new(full));
    assert!(schedule(&mut snapshot, &web("7", std::slice::from_ref(&even))).is_ok());
    let why =
        format!("0/4 nodes are available: 1 {WHY} (missing required label), 1 node(s) were unschedulable, 2 {WHY}.");
    let said = schedule(&mut snapshot, &web("8", &[even])).unwrap_err();
    assert!(said.starts_with(&why), "{said}");
}

#[test]
fn missing_domains_count_as_empty_ones_until_there_are_enough() {
    let mut snapshot = cluster(&[("a", "east"), ("b", "west")]);
    let mut three = constraint("zone", 1, "DoNotSchedule");
    three["minDomains"] = 3.into();
    assert!(schedule(&mut snapshot, &web("1", &[three.clone()])).is_ok());
    assert!(schedule(&mut snapshot, &web("2", &[three.clone()])).is_ok());
    let said = schedule(&mut snapshot, &web("3", &[three.clone()])).unwrap_err();
    assert!(said.starts_with(&format!("0/2 nodes are available: 2 {WHY}.")), "{said}");
    snapshot.set_node(node("c", "south"));
    assert_eq!(schedule(&mut snapshot, &web("3", &[three])).unwrap(), "c");
}

#[test]
fn policies_say_which_hosts_count() {
    let mut even = constraint("zone", 1, "DoNotSchedule");
    let east = json!({"zone": "east"});
    let placed = |even: &Value| {
        let mut snapshot = cluster(&[("a", "east"), ("b", "west")]);
        let pod = |name: &str| pod(name, "web", &json!({"topologySpreadConstraints": [even], "nodeSelector": east}));
        (0..3).filter(|at| schedule(&mut snapshot, &pod(&at.to_string())).is_ok()).count()
    };
    assert_eq!(placed(&even), 3, "the other zone is not for them");
    even["nodeAffinityPolicy"] = "Ignore".into();
    assert_eq!(placed(&even), 1, "it counts, and stays empty");

    let mut snapshot = cluster(&[("a", "east")]);
    let mut tainted = (*node("b", "west")).clone();
    tainted.spec = Some(serde_json::from_value(json!({"taints": [{"key": "k", "effect": "NoSchedule"}]})).unwrap());
    snapshot.set_node(Arc::new(tainted));
    let mut even = constraint("zone", 1, "DoNotSchedule");
    assert!(schedule(&mut snapshot, &web("1", &[even.clone()])).is_ok());
    assert!(schedule(&mut snapshot, &web("2", &[even.clone()])).is_err());
    even["nodeTaintsPolicy"] = "Honor".into();
    assert!(schedule(&mut snapshot, &web("2", &[even])).is_ok());
}

#[test]
fn what_would_rather_spread_does_and_is_not_refused() {
    let mut snapshot = cluster(&[("a", "east"), ("b", "west")]);
    let soft = constraint("zone", 1, "ScheduleAnyway");
    let hosts: Vec<String> =
        (0..4).map(|at| schedule(&mut snapshot, &web(&at.to_string(), std::slice::from_ref(&soft))).unwrap()).collect();
    assert_eq!(hosts.iter().filter(|host| *host == "a").count(), 2, "{hosts:?}");
    let mut lone = cluster(&[("a", "east")]);
    (0..3).for_each(|at| assert!(schedule(&mut lone, &web(&at.to_string(), std::slice::from_ref(&soft))).is_ok()));
}

#[test]
fn those_on_their_way_out_do_not_count() {
    let mut snapshot = cluster(&[("a", "east"), ("b", "west")]);
    let even = [constraint("zone", 1, "DoNotSchedule")];
    let mut leaving = web("old", &even);
    leaving.metadata.deletion_timestamp = Some(serde_json::from_value(json!("2024-01-01T00:00:00Z")).unwrap());
    snapshot.place("old", "a", Placed::of(&leaving));
    let hosts = ["1", "2"].map(|name| schedule(&mut snapshot, &web(name, &even)).unwrap());
    assert_ne!(hosts[0], hosts[1]);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    #[test]
    fn no_host_breaks_the_rule_and_none_is_refused_within_it(
        pods in prop::collection::vec((any::<bool>(), 1..3i64, any::<bool>(), 0..6usize), 1..30)
    ) {
        let hosts = [("a", "east"), ("b", "east"), ("c", "west"), ("d", "south"), ("e", "")];
        let mut snapshot = cluster(&hosts);
        let mut placed: Vec<(String, String)> = Vec::new();
        for (at, (by_zone, skew, spreads, leaves)) in pods.into_iter().enumerate() {
            let key = if by_zone { "zone" } else { HOSTNAME };
            let name = at.to_string();
            let constraints = if spreads { vec![constraint(key, skew, "DoNotSchedule")] } else { Vec::new() };
            let value = |host: &str| {
                if !by_zone { return Some(host.to_owned()) }
                hosts.iter().find(|(name, zone)| *name == host && !zone.is_empty()).map(|(_, zone)| (*zone).to_owned())
            };
            let mut domains: BTreeMap<String, i64> =
                hosts.iter().filter_map(|(host, _)| value(host)).map(|value| (value, 0)).collect();
            for value in placed.iter().filter_map(|(_, host)| value(host)) {
                *domains.entry(value).or_default() += 1;
            }
            let least = domains.values().min().copied().unwrap_or(0);
            let open = |host: &str| !spreads || value(host).is_some_and(|value| domains[&value] + 1 - least <= skew);
            match schedule(&mut snapshot, &web(&name, &constraints)) {
                Ok(host) => {
                    prop_assert!(open(&host), "{host} of {domains:?}");
                    placed.push((name, host));
                }
                Err(why) => prop_assert!(!hosts.iter().any(|(host, _)| open(host)), "{why}: {domains:?}"),
            }
            if leaves < placed.len() && leaves == 0 {
                snapshot.forget(&placed.remove(leaves).0);
            }
        }
    }
}
