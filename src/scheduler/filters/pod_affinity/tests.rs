//! Where pods may be beside others. The rules are checked again here, pod by pod and without counts.
#![allow(clippy::unwrap_used)]

use crate::api::kinds::labels::matches;
use crate::scheduler::rig::{self, HOSTNAME, PREFERRED, REQUIRED, cluster, schedule};
use crate::scheduler::snapshot::{Placed, Snapshot};
use k8s_openapi::api::core::v1::Pod;
use proptest::prelude::*;
use serde_json::{Value, json};

/// With this affinity.
fn pod(name: &str, app: &str, affinity: &Value) -> Pod {
    rig::pod(name, app, &json!({ "affinity": affinity }))
}

fn term(app: &str, key: &str) -> Value {
    json!({"topologyKey": key, "labelSelector": {"matchLabels": {"app": app}}})
}

fn near(app: &str, key: &str) -> Value {
    json!({"podAffinity": { REQUIRED: [term(app, key)] }})
}

fn apart(app: &str, key: &str) -> Value {
    json!({"podAntiAffinity": { REQUIRED: [term(app, key)] }})
}

#[test]
fn a_pod_goes_where_those_are_that_it_must_be_with() {
    let mut snapshot = cluster(&[("a", "east"), ("b", "west"), ("c", "west"), ("d", "")]);
    let follower = pod("f", "front", &near("web", "zone"));
    let why = "0/4 nodes are available: 4 node(s) didn't match pod affinity rules.";
    assert!(schedule(&mut snapshot, &follower).unwrap_err().starts_with(why));
    snapshot.place("w", "b", Placed::of(&pod("w", "web", &Value::Null)));
    assert!(["b", "c"].contains(&&*schedule(&mut snapshot, &follower).unwrap()));
}

#[test]
fn the_first_of_those_that_stay_together_may_go_anywhere_in_a_domain() {
    let mut snapshot = cluster(&[("a", ""), ("b", "west")]);
    for name in ["one", "two"] {
        assert_eq!(schedule(&mut snapshot, &pod(name, "web", &near("web", "zone"))).unwrap(), "b");
    }
}

#[test]
fn a_pod_must_be_with_one_that_all_its_terms_mean() {
    let mut snapshot = cluster(&[("a", "east"), ("b", "west")]);
    snapshot.place("w", "a", Placed::of(&pod("w", "web", &Value::Null)));
    snapshot.place("d", "a", Placed::of(&pod("d", "db", &Value::Null)));
    let both = json!({"podAffinity": { REQUIRED: [term("web", "zone"), term("db", HOSTNAME)] }});
    assert!(schedule(&mut snapshot, &pod("f", "front", &both)).is_err(), "no single pod is both");
}

#[test]
fn those_that_must_be_apart_are_whichever_of_them_says_so() {
    let mut snapshot = cluster(&[("a", "east"), ("b", "east"), ("c", "")]);
    snapshot.place("w", "a", Placed::of(&pod("w", "web", &apart("db", "zone"))));
    assert_eq!(schedule(&mut snapshot, &pod("d", "db", &Value::Null)).unwrap(), "c");
    let shy =
        pod("s", "db", &json!({"nodeAffinity": Value::Null, "podAntiAffinity": { REQUIRED: [term("db", HOSTNAME)] }}));
    let why = "0/3 nodes are available: 1 node(s) didn't match pod anti-affinity rules, 2 node(s) didn't satisfy existing pods anti-affinity rules.";
    assert!(schedule(&mut snapshot, &shy).unwrap_err().starts_with(why));
    snapshot.forget("w");
    assert_ne!(schedule(&mut snapshot, &shy).unwrap(), "c");
}

#[test]
fn terms_of_other_namespaces_count_by_their_names_or_labels() {
    let mut snapshot = cluster(&[("a", "east"), ("b", "west")]);
    let mut far = pod("w", "web", &Value::Null);
    far.metadata.namespace = Some("shop".into());
    snapshot.place("w", "a", Placed::of(&far));
    let mut terms = near("web", "zone");
    assert!(schedule(&mut snapshot, &pod("f", "front", &terms)).is_err(), "its own namespace alone");
    terms["podAffinity"][REQUIRED][0]["namespaceSelector"] = json!({"matchLabels": {"team": "a"}});
    let follower = pod("f", "front", &terms);
    assert!(schedule(&mut snapshot, &follower).is_err());
    snapshot.topology.set_namespace("shop", Some([("team".to_owned(), "a".to_owned())].into()));
    assert_eq!(schedule(&mut snapshot, &follower).unwrap(), "a");
    terms["podAffinity"][REQUIRED][0] = term("web", "zone");
    terms["podAffinity"][REQUIRED][0]["namespaces"] = json!(["shop"]);
    assert_eq!(schedule(&mut snapshot, &pod("g", "front", &terms)).unwrap(), "a");
}

#[test]
fn preferences_of_both_sides_decide_among_hosts_that_fit() {
    let mut snapshot = cluster(&[("a", ""), ("b", "")]);
    let weighted = |kind: &str| json!({kind: { PREFERRED: [{"weight": 50, "podAffinityTerm": term("db", HOSTNAME)}] }});
    snapshot.place("d", "a", Placed::of(&pod("d", "db", &Value::Null)));
    assert_eq!(schedule(&mut snapshot, &pod("w", "web", &weighted("podAffinity"))).unwrap(), "a");
    assert_eq!(schedule(&mut snapshot, &pod("x", "x", &weighted("podAntiAffinity"))).unwrap(), "b");
    // Those on hosts have a say too: x would rather not be with a db, web would.
    assert_eq!(schedule(&mut snapshot, &pod("e", "db", &Value::Null)).unwrap(), "a");
}

/// Whether a term of `one` means `other`, both of one namespace.
fn meant(term: &Value, other: &Value) -> bool {
    matches(&term["labelSelector"], &other["metadata"]["labels"])
}

fn terms<'a>(pod: &'a Value, kind: &str) -> Vec<&'a Value> {
    pod["spec"]["affinity"][kind][REQUIRED].as_array().into_iter().flatten().collect()
}

fn domain(snapshot: &Snapshot, host: &str, key: &Value) -> Option<String> {
    let node = snapshot.host(host).unwrap().node.clone().unwrap();
    node.metadata.labels.as_ref().unwrap().get(key.as_str().unwrap()).cloned()
}

/// Whether `new` may be on `host` beside those that are there.
fn allowed(snapshot: &Snapshot, placed: &[(Value, String)], new: &Value, host: &str) -> bool {
    let same = |key: &Value, other: &str| {
        let (here, there) = (domain(snapshot, host, key), domain(snapshot, other, key));
        here.is_some() && here == there
    };
    let wanted = terms(new, "podAffinity");
    let companion = |other: &Value| wanted.iter().all(|term| meant(term, other));
    let companions: Vec<_> = placed.iter().filter(|(other, _)| companion(other)).collect();
    let in_domains = wanted.iter().all(|term| domain(snapshot, host, &term["topologyKey"]).is_some());
    let beside = wanted.iter().all(|term| companions.iter().any(|(_, other)| same(&term["topologyKey"], other)));
    let counted = companions
        .iter()
        .any(|(_, other)| wanted.iter().any(|term| domain(snapshot, other, &term["topologyKey"]).is_some()));
    let first = !counted && companion(new) && in_domains;
    let repelled = placed.iter().any(|(other, at)| {
        let ours = terms(new, "podAntiAffinity").into_iter().filter(|term| meant(term, other));
        let theirs = terms(other, "podAntiAffinity").into_iter().filter(|term| meant(term, new));
        ours.chain(theirs).any(|term| same(&term["topologyKey"], at))
    });
    (beside && in_domains || first) && !repelled
}

fn affinity() -> impl Strategy<Value = Value> {
    let app = prop_oneof![Just("web"), Just("db"), Just("cache")];
    let key = prop_oneof![Just("zone"), Just(HOSTNAME)];
    let list = || prop::collection::vec((app.clone(), key.clone()).prop_map(|(app, key)| term(app, key)), 0..3);
    (prop::option::weighted(0.4, list()), prop::option::weighted(0.5, list())).prop_map(|(near, apart)| {
        json!({"podAffinity": near.map(|terms| json!({ REQUIRED: terms })), "podAntiAffinity": apart.map(|terms| json!({ REQUIRED: terms }))})
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    #[test]
    fn no_rule_is_ever_broken_and_no_host_refused_without_one(
        pods in prop::collection::vec((prop_oneof![Just("web"), Just("db"), Just("cache")], affinity()), 1..25)
    ) {
        let hosts = [("a", "east"), ("b", "east"), ("c", "west"), ("d", "west"), ("e", "")];
        let mut snapshot = cluster(&hosts);
        let mut placed: Vec<(Value, String)> = Vec::new();
        for (number, (app, affinity)) in pods.iter().enumerate() {
            let new = pod(&format!("p{number}"), app, affinity);
            let value = serde_json::to_value(&new).unwrap();
            let open = hosts.iter().filter(|(host, _)| allowed(&snapshot, &placed, &value, host)).count();
            match schedule(&mut snapshot, &new) {
                Ok(host) => {
                    prop_assert!(allowed(&snapshot, &placed, &value, &host), "{value} on {host} with {placed:?}");
                    placed.push((value, host));
                }
                Err(why) => prop_assert_eq!(open, 0, "{} with {:?}: {}", value, placed, why),
            }
        }
    }
}
