//! Node selector and required node affinity.

use super::{Rejection, Wanted};
use crate::scheduler::snapshot::HostState;
use k8s_openapi::api::core::v1::{Node, NodeSelectorRequirement, NodeSelectorTerm};
use std::collections::BTreeMap;

pub fn filter(wanted: &Wanted<'_>, host: &HostState, node: &Node) -> Vec<Rejection> {
    let empty = BTreeMap::new();
    let labels = node.metadata.labels.as_ref().unwrap_or(&empty);
    let selected = wanted.spec.node_selector.iter().flatten().all(|(key, value)| labels.get(key) == Some(value));
    let required = wanted
        .spec
        .affinity
        .as_ref()
        .and_then(|affinity| affinity.node_affinity.as_ref())
        .and_then(|affinity| affinity.required_during_scheduling_ignored_during_execution.as_ref());
    let allowed = required
        .is_none_or(|selector| selector.node_selector_terms.iter().any(|term| term_matches(term, &host.name, labels)));
    if selected && allowed {
        Vec::new()
    } else {
        vec![Rejection::never("node(s) didn't match Pod's node affinity/selector")]
    }
}

/// A term without requirements matches nothing.
pub fn term_matches(term: &NodeSelectorTerm, name: &str, labels: &BTreeMap<String, String>) -> bool {
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
}
