//! Which hosts a DaemonSet runs on, and its pods for them. Pure.

use crate::api::placement::{selects, tolerates};
use crate::controllers::claim::controller_reference;
use crate::controllers::pods;
use crate::controllers::revisions::HASH_LABEL;
use k8s_openapi::api::apps::v1::DaemonSet;
use k8s_openapi::api::core::v1::{
    Node, NodeSelector, NodeSelectorRequirement, NodeSelectorTerm, Pod, PodSpec, Toleration,
};

const GENERATION_LABEL: &str = "pod-template-generation";
const GENERATION: &str = "deprecated.daemonset.template.generation";
/// Taints that do not keep a host's own pods away, with their effects.
const TOLERATED: [(&str, &str); 6] = [
    ("not-ready", "NoExecute"),
    ("unreachable", "NoExecute"),
    ("disk-pressure", "NoSchedule"),
    ("memory-pressure", "NoSchedule"),
    ("pid-pressure", "NoSchedule"),
    ("unschedulable", "NoSchedule"),
];

/// Whether the set wants a pod on a host.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Wish {
    Run,
    /// A pod that is there may stay, but none is made.
    Continue,
    Never,
}

/// The pods' spec as it is made for any host: with the tolerations the controller adds.
pub fn spec(set: &DaemonSet) -> PodSpec {
    let mut spec = set.spec.as_ref().and_then(|spec| spec.template.spec.clone()).unwrap_or_default();
    let on_host_network = spec.host_network == Some(true);
    let tolerations = spec.tolerations.get_or_insert_default();
    let network = on_host_network.then_some(("network-unavailable", "NoSchedule"));
    for (key, effect) in TOLERATED.into_iter().chain(network) {
        let added = Toleration {
            key: Some(format!("node.kubernetes.io/{key}")),
            operator: Some("Exists".into()),
            effect: Some(effect.into()),
            ..Toleration::default()
        };
        tolerations.retain(|known| (&known.key, &known.effect) != (&added.key, &added.effect) || *known == added);
        if !tolerations.contains(&added) {
            tolerations.push(added);
        }
    }
    spec
}

/// `spec` is that of [`spec`].
pub fn wish(spec: &PodSpec, node: &Node) -> Wish {
    let name = node.metadata.name.as_deref().unwrap_or_default();
    let named = spec.node_name.as_deref().is_none_or(|wanted| wanted.is_empty() || wanted == name);
    if !named || !selects(spec, name, node.metadata.labels.as_ref()) {
        return Wish::Never;
    }
    let taints = node.spec.iter().flat_map(|spec| spec.taints.iter().flatten());
    let mut kept_off = taints.filter(|taint| !tolerates(spec, taint)).map(|taint| taint.effect.as_str());
    let mut wish = Wish::Run;
    if kept_off.any(|effect| {
        wish = if effect == "NoSchedule" { Wish::Continue } else { wish };
        effect == "NoExecute"
    }) {
        return Wish::Never;
    }
    wish
}

/// The pod for a host: only the scheduler's choice is left, and that has one outcome.
pub fn new_pod(set: &DaemonSet, mut spec: PodSpec, hash: &str, node: &str) -> Pod {
    let owner = controller_reference(set);
    let template = set.spec.as_ref().map(|spec| spec.template.clone()).unwrap_or_default();
    let requirement = NodeSelectorRequirement {
        key: "metadata.name".into(),
        operator: "In".into(),
        values: Some(vec![node.to_owned()]),
    };
    let affinity = spec.affinity.get_or_insert_default().node_affinity.get_or_insert_default();
    affinity.required_during_scheduling_ignored_during_execution = Some(NodeSelector {
        node_selector_terms: vec![NodeSelectorTerm { match_expressions: None, match_fields: Some(vec![requirement]) }],
    });
    let mut pod = pods::from_template(&template, set.metadata.namespace.clone(), &owner.name.clone(), owner);
    pod.spec = Some(spec);
    let labels = pod.metadata.labels.get_or_insert_default();
    labels.insert(HASH_LABEL.into(), hash.to_owned());
    if let Some(generation) = set.metadata.annotations.as_ref().and_then(|all| all.get(GENERATION)) {
        labels.insert(GENERATION_LABEL.into(), generation.clone());
    }
    pod
}

/// The host a pod runs on or was made for.
pub fn target(pod: &Pod) -> Option<&str> {
    pods::node(pod).or_else(|| {
        let affinity = pod.spec.as_ref()?.affinity.as_ref()?.node_affinity.as_ref()?;
        let required = affinity.required_during_scheduling_ignored_during_execution.as_ref()?;
        let fields = required.node_selector_terms.iter().flat_map(|term| term.match_fields.iter().flatten());
        let mut names = fields.filter(|field| field.key == "metadata.name" && field.operator == "In");
        names.next()?.values.as_ref()?.first().map(String::as_str)
    })
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use serde_json::{Value, from_value, json};

    fn check(pod: Value, node: Value, expect: Wish) {
        let set: DaemonSet = from_value(json!({"metadata": {"name": "d"}, "spec": {
            "selector": {}, "template": {"spec": pod}}}))
        .unwrap();
        let mut whole = json!({"metadata": {"name": "a", "labels": {"disk": "ssd"}}});
        json_patch::merge(&mut whole, &node);
        assert_eq!(wish(&spec(&set), &from_value(whole).unwrap()), expect);
    }

    #[test]
    fn hosts_are_chosen_by_name_labels_and_taints() {
        let taint = |key: &str, effect: &str| json!({"spec": {"taints": [{"key": key, "effect": effect}]}});
        let plain = || json!({"containers": []});
        check(plain(), json!({}), Wish::Run);
        check(json!({"containers": [], "nodeName": "b"}), json!({}), Wish::Never);
        check(json!({"containers": [], "nodeSelector": {"disk": "hdd"}}), json!({}), Wish::Never);
        check(json!({"containers": [], "nodeSelector": {"disk": "ssd"}}), json!({}), Wish::Run);
        check(plain(), taint("gpu", "NoSchedule"), Wish::Continue);
        check(plain(), taint("gpu", "NoExecute"), Wish::Never);
        check(plain(), taint("gpu", "PreferNoSchedule"), Wish::Run);
        check(plain(), taint("node.kubernetes.io/unschedulable", "NoSchedule"), Wish::Run);
        check(plain(), taint("node.kubernetes.io/not-ready", "NoExecute"), Wish::Run);
        let network = taint("node.kubernetes.io/network-unavailable", "NoSchedule");
        check(plain(), network.clone(), Wish::Continue);
        check(json!({"containers": [], "hostNetwork": true}), network, Wish::Run);
    }

    #[test]
    fn a_pod_is_made_for_one_host() {
        let set: DaemonSet =
            from_value(json!({"metadata": {"name": "d"}, "spec": {"selector": {}, "template": {}}})).unwrap();
        let pod = new_pod(&set, spec(&set), "h", "a");
        assert_eq!((target(&pod), pod.metadata.generate_name.as_deref()), (Some("a"), Some("d-")));
        assert_eq!(pod.spec.unwrap().tolerations.unwrap().len(), 6);
    }
}
