//! What is followed says the same as what is counted anew, whatever happened before.
#![allow(clippy::unwrap_used)]

use super::*;
use crate::scheduler::snapshot::{Placed, Snapshot};
use k8s_openapi::api::core::v1::Pod;
use proptest::prelude::*;
use serde_json::{Value, from_value, json};

const HOSTS: [&str; 4] = ["a", "b", "c", "d"];

fn node(name: &str, zone: Option<&str>) -> Arc<Node> {
    let mut labels = json!({"kubernetes.io/hostname": name});
    if let Some(zone) = zone {
        labels["zone"] = zone.into();
    }
    Arc::new(from_value(json!({"metadata": {"name": name, "labels": labels}})).unwrap())
}

fn term(apps: usize, key: &str, like: &Value) -> Value {
    let selector = match apps {
        0 | 1 => json!({"matchLabels": {"app": APPS[apps]}}),
        2 => json!({"matchExpressions": [{"key": "app", "operator": "In", "values": APPS}]}),
        _ => json!({}),
    };
    json!({"topologyKey": key, "labelSelector": selector, "namespaceSelector": like})
}

/// `kind`: which of the four kinds of terms it carries, if any.
fn pod(uid: &str, namespace: &str, app: &str, kind: usize, term: &Value) -> Pod {
    let required = "requiredDuringSchedulingIgnoredDuringExecution";
    let preferred = "preferredDuringSchedulingIgnoredDuringExecution";
    let weighted = json!({"weight": 7, "podAffinityTerm": term});
    let affinity = match kind {
        0 => json!({"podAffinity": { required: [term] }}),
        1 => json!({"podAntiAffinity": { required: [term] }}),
        2 => json!({"podAffinity": { preferred: [weighted] }}),
        3 => json!({"podAntiAffinity": { preferred: [weighted] }}),
        _ => json!({}),
    };
    let meta = json!({"name": uid, "uid": uid, "namespace": namespace, "labels": {"app": app}});
    from_value(json!({"metadata": meta, "spec": {"containers": [], "affinity": affinity}})).unwrap()
}

#[derive(Clone, Debug)]
enum Step {
    /// Pod, host, namespace, application, kind of term, application of the term, key of it, namespace selector.
    Place(usize, usize, usize, usize, usize, usize, usize, usize),
    Leave(usize),
    Label(usize, Option<usize>),
    Drop(usize),
    Namespace(usize, Option<usize>),
    Ask(usize, usize, usize),
}

const NAMESPACES: [&str; 2] = ["one", "two"];
const APPS: [&str; 2] = ["web", "db"];
/// Selectors of applications: each, those two, all.
const SELECTORS: usize = 4;
const KEYS: [&str; 2] = ["zone", "kubernetes.io/hostname"];
const ZONES: [&str; 2] = ["east", "west"];

fn like(number: usize) -> Value {
    [Value::Null, json!({}), json!({"matchLabels": {"team": "0"}})][number].clone()
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        8 => (0..9usize, 0..4usize, 0..2usize, 0..2usize, 0..6usize, 0..SELECTORS, 0..2usize, 0..3usize)
            .prop_map(|(p, h, n, a, k, b, t, l)| Step::Place(p, h, n, a, k, b, t, l)),
        2 => (0..9usize).prop_map(Step::Leave),
        2 => (0..4usize, prop::option::of(0..2usize)).prop_map(|(h, z)| Step::Label(h, z)),
        1 => (0..4usize).prop_map(Step::Drop),
        2 => (0..2usize, prop::option::of(0..2usize)).prop_map(|(n, l)| Step::Namespace(n, l)),
        3 => (0..SELECTORS, 0..2usize, 0..3usize).prop_map(|(a, k, l)| Step::Ask(a, k, l)),
    ]
}

/// The cluster that the steps lead to: everything that is there, without how it came to be.
#[derive(Default)]
struct Truth {
    pods: HashMap<usize, (usize, Pod)>,
    nodes: HashMap<usize, Arc<Node>>,
    namespaces: HashMap<usize, Labels>,
}

impl Truth {
    fn anew(&self) -> Snapshot {
        let mut fresh = Snapshot::default();
        for (number, labels) in &self.namespaces {
            fresh.topology.set_namespace(NAMESPACES[*number], Some(labels.clone()));
        }
        self.nodes.values().for_each(|node| fresh.set_node(node.clone()));
        for (number, (host, pod)) in &self.pods {
            fresh.place(&number.to_string(), HOSTS[*host], Placed::of(pod));
        }
        fresh
    }
}

fn take(step: &Step, truth: &mut Truth, snapshot: &mut Snapshot) {
    match *step {
        Step::Place(number, host, namespace, app, kind, other, key, selector) => {
            let term = term(other, KEYS[key], &like(selector));
            let uid = number.to_string();
            let pod = pod(&uid, NAMESPACES[namespace], APPS[app], kind, &term);
            snapshot.place(&uid, HOSTS[host], Placed::of(&pod));
            truth.pods.insert(number, (host, pod));
        }
        Step::Leave(number) => {
            snapshot.forget(&number.to_string());
            truth.pods.remove(&number);
        }
        Step::Label(host, zone) => {
            let node = node(HOSTS[host], zone.map(|zone| ZONES[zone]));
            snapshot.set_node(node.clone());
            truth.nodes.insert(host, node);
        }
        Step::Drop(host) => {
            snapshot.remove_node(HOSTS[host]);
            truth.nodes.remove(&host);
        }
        Step::Namespace(number, team) => {
            let labels = team.map(|team| Labels::from([("team".to_owned(), team.to_string())]));
            snapshot.topology.set_namespace(NAMESPACES[number], labels.clone());
            match labels {
                Some(labels) => drop(truth.namespaces.insert(number, labels)),
                None => drop(truth.namespaces.remove(&number)),
            }
        }
        Step::Ask(app, key, selector) => {
            snapshot.follow(&pod("asks", "one", "web", 0, &term(app, KEYS[key], &like(selector))));
        }
    }
}

/// What the pods say of one of this group, in an order of its own.
fn said(topology: &Topology, group: &Group) -> Vec<String> {
    let claims = topology.claims_on(group).into_iter().map(|(claim, key, domain)| {
        let mut values: Vec<_> = domain.iter().collect();
        values.sort_by_key(|(value, _)| *value);
        format!("{claim:?} {key} {values:?}")
    });
    let mut said: Vec<String> = claims.filter(|line| !line.ends_with("[]")).collect();
    said.sort();
    said
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    #[test]
    fn counts_do_not_depend_on_how_they_came_to_be(steps in prop::collection::vec(step(), 1..60)) {
        let (mut truth, mut snapshot) = (Truth::default(), Snapshot::default());
        steps.iter().for_each(|step| take(step, &mut truth, &mut snapshot));
        let fresh = truth.anew();
        for app in APPS {
            for namespace in NAMESPACES {
                let group = Group::of(&pod("new", namespace, app, 9, &Value::Null));
                prop_assert_eq!(said(&snapshot.topology, &group), said(&fresh.topology, &group));
            }
        }
        for (apps, selector) in (0..SELECTORS).flat_map(|apps| (0..3).map(move |selector| (apps, selector))) {
            for key in KEYS {
                let asks = pod("asks", "one", "web", 0, &term(apps, key, &like(selector)));
                let selection: Selection = vec![selection::terms(&asks).remove(0).clause];
                prop_assert_eq!(snapshot.topology.domain(&selection, key), fresh.topology.domain(&selection, key));
            }
        }
        (0..9).for_each(|number: usize| snapshot.forget(&number.to_string()));
        prop_assert!(snapshot.topology.groups.is_empty(), "nothing is left of pods that are gone");
    }
}
