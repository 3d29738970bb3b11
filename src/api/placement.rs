//! Which hosts a pod's spec allows: node selectors, required node affinity, taints and tolerations.

use k8s_openapi::api::core::v1::{NodeSelector, NodeSelectorRequirement, NodeSelectorTerm, PodSpec, Taint, Toleration};
use std::collections::BTreeMap;

/// Whether the pod's node selector and required node affinity allow a host of this name and labels.
pub fn selects(spec: &PodSpec, name: &str, labels: Option<&BTreeMap<String, String>>) -> bool {
    let empty = BTreeMap::new();
    let labels = labels.unwrap_or(&empty);
    let selected = spec.node_selector.iter().flatten().all(|(key, value)| labels.get(key) == Some(value));
    let required = spec
        .affinity
        .as_ref()
        .and_then(|affinity| affinity.node_affinity.as_ref())
        .and_then(|affinity| affinity.required_during_scheduling_ignored_during_execution.as_ref());
    selected && required.is_none_or(|selector| any_term(selector, name, Some(labels)))
}

/// Whether a host of this name and labels is one that the selector means.
pub fn any_term(selector: &NodeSelector, name: &str, labels: Option<&BTreeMap<String, String>>) -> bool {
    let empty = BTreeMap::new();
    let labels = labels.unwrap_or(&empty);
    selector.node_selector_terms.iter().any(|term| term_matches(term, name, labels))
}

/// The weights of the pod's preferences for a host of this name and labels.
pub fn preference(spec: &PodSpec, name: &str, labels: Option<&BTreeMap<String, String>>) -> i64 {
    let empty = BTreeMap::new();
    let labels = labels.unwrap_or(&empty);
    let affinity = spec.affinity.as_ref().and_then(|affinity| affinity.node_affinity.as_ref());
    let preferred =
        affinity.and_then(|affinity| affinity.preferred_during_scheduling_ignored_during_execution.as_ref());
    let matching = preferred.into_iter().flatten().filter(|one| term_matches(&one.preference, name, labels));
    matching.map(|one| i64::from(one.weight)).sum()
}

/// A term without requirements matches nothing.
fn term_matches(term: &NodeSelectorTerm, name: &str, labels: &BTreeMap<String, String>) -> bool {
    let expressions = term.match_expressions.as_deref().unwrap_or_default();
    let fields = term.match_fields.as_deref().unwrap_or_default();
    if expressions.is_empty() && fields.is_empty() {
        return false;
    }
    expressions.iter().all(|one| requirement_matches(one, labels.get(&one.key).map(String::as_str)))
        && fields.iter().all(|one| one.key == "metadata.name" && requirement_matches(one, Some(name)))
}

fn requirement_matches(requirement: &NodeSelectorRequirement, found: Option<&str>) -> bool {
    let values = requirement.values.as_deref().unwrap_or_default();
    let listed = found.is_some_and(|found| values.iter().any(|value| value == found));
    let compared = || Some((found?.parse::<i64>().ok()?, values.first()?.parse::<i64>().ok()?));
    match requirement.operator.as_str() {
        "In" => listed,
        "NotIn" => !listed,
        "Exists" => found.is_some(),
        "DoesNotExist" => found.is_none(),
        "Gt" => compared().is_some_and(|(found, limit)| found > limit),
        "Lt" => compared().is_some_and(|(found, limit)| found < limit),
        _ => false,
    }
}

/// Whether the pod says that it can live with the taint.
pub fn tolerates(spec: &PodSpec, taint: &Taint) -> bool {
    spec.tolerations.iter().flatten().any(|toleration| toleration_matches(toleration, taint))
}

fn toleration_matches(toleration: &Toleration, taint: &Taint) -> bool {
    let given = |text: &Option<String>| text.clone().unwrap_or_default();
    let effect = given(&toleration.effect);
    let key = given(&toleration.key);
    if !effect.is_empty() && effect != taint.effect || !key.is_empty() && key != taint.key {
        return false;
    }
    let (asked, found) = (given(&toleration.value), given(&taint.value));
    match toleration.operator.as_deref().unwrap_or("Equal") {
        "Exists" => true,
        "" | "Equal" => !key.is_empty() && asked == found,
        // Numbers only; anything else tolerates nothing.
        operator @ ("Lt" | "Gt") => match (asked.parse::<i64>(), found.parse::<i64>()) {
            (Ok(asked), Ok(found)) => {
                if operator == "Lt" {
                    found < asked
                } else {
                    found > asked
                }
            }
            _ => false,
        },
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn requirements_match_as_kubernetes_documents() {
        let check = |operator: &str, values: &[&str], found: Option<&str>| {
            let values = Some(values.iter().map(|value| (*value).to_string()).collect());
            requirement_matches(&NodeSelectorRequirement { key: "k".into(), operator: operator.into(), values }, found)
        };
        assert!(check("In", &["a", "b"], Some("b")));
        assert!(!check("In", &["a"], None));
        assert!(check("NotIn", &["a"], None));
        assert!(check("Exists", &[], Some("")));
        assert!(check("DoesNotExist", &[], None));
        assert!(check("Gt", &["3"], Some("10")));
        assert!(!check("Lt", &["3"], Some("x")));
        assert!(!check("Like", &["a"], Some("a")));
    }

    fn toleration(key: &str, operator: &str, value: &str, effect: &str) -> Toleration {
        let some = |text: &str| (!text.is_empty()).then(|| text.to_string());
        Toleration {
            key: some(key),
            operator: some(operator),
            value: some(value),
            effect: some(effect),
            toleration_seconds: None,
        }
    }

    #[test]
    fn tolerations_match_as_kubernetes_documents() {
        let taint =
            Taint { key: "disk".into(), value: Some("ssd".into()), effect: "NoSchedule".into(), time_added: None };
        let cases = [
            (toleration("disk", "Equal", "ssd", "NoSchedule"), true),
            (toleration("disk", "", "ssd", ""), true),
            (toleration("disk", "Exists", "", ""), true),
            (toleration("", "Exists", "", ""), true),
            (toleration("", "Exists", "", "NoExecute"), false),
            (toleration("disk", "Equal", "hdd", ""), false),
            (toleration("other", "Exists", "", ""), false),
        ];
        for (toleration, expected) in cases {
            assert_eq!(toleration_matches(&toleration, &taint), expected, "{toleration:?}");
        }
    }
}
