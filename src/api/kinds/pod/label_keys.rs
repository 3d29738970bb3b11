//! Label keys of pod affinity terms and spread constraints: the values that a new pod has for them become
//! part of the selector beside them, so that whoever reads it needs only that. Source: the API's `matchLabelKeys`,
//! `mismatchLabelKeys`.

use crate::api::kinds::json::{Object, child, items};
use serde_json::{Map, Value, json};

const REQUIRED: &str = "requiredDuringSchedulingIgnoredDuringExecution";
const PREFERRED: &str = "preferredDuringSchedulingIgnoredDuringExecution";

/// Completes the selectors of a new pod.
pub fn merge(pod: &mut Object) {
    let labels = pod.get("metadata").and_then(|meta| meta["labels"].as_object()).cloned().unwrap_or_default();
    let Some(spec) = child(pod, "spec") else { return };
    items(spec, "topologySpreadConstraints").for_each(|constraint| complete(constraint, &labels));
    let Some(affinity) = child(spec, "affinity") else { return };
    for kind in ["podAffinity", "podAntiAffinity"] {
        let Some(pods) = child(affinity, kind) else { continue };
        items(pods, REQUIRED).for_each(|term| complete(term, &labels));
        items(pods, PREFERRED).filter_map(|one| child(one, "podAffinityTerm")).for_each(|term| complete(term, &labels));
    }
}

/// A selector that is missing selects nothing, and goes on doing so.
fn complete(term: &mut Object, labels: &Map<String, Value>) {
    for (field, operator) in [("matchLabelKeys", "In"), ("mismatchLabelKeys", "NotIn")] {
        let keys = term.get(field).and_then(Value::as_array).cloned().unwrap_or_default();
        let Some(selector) = child(term, "labelSelector") else { return };
        for key in keys.iter().filter_map(Value::as_str) {
            let Some(value) = labels.get(key) else { continue };
            let requirement = json!({"key": key, "operator": operator, "values": [value]});
            let expressions = selector.entry("matchExpressions").or_insert_with(|| json!([]));
            if expressions.is_null() {
                *expressions = json!([]);
            }
            // A pod that is made from what was read of another has it already.
            if let Some(list) = expressions.as_array_mut()
                && !list.contains(&requirement)
            {
                list.push(requirement);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_values_of_keys_become_part_of_the_selector() {
        let term = json!({"topologyKey": "zone", "labelSelector": {"matchLabels": {"app": "web"}},
            "matchLabelKeys": ["hash", "none"], "mismatchLabelKeys": ["tenant"]});
        let blind = json!({"topologyKey": "zone", "matchLabelKeys": ["hash"]});
        let mut pod = json!({"metadata": {"labels": {"app": "web", "hash": "1", "tenant": "a"}}, "spec": {"affinity": {
            "podAffinity": { REQUIRED: [term] },
            "podAntiAffinity": { PREFERRED: [{"weight": 1, "podAffinityTerm": blind}] }}}});
        let fields = pod.as_object_mut().expect("an object");
        merge(fields);
        merge(fields);
        let expressions = &pod["spec"]["affinity"]["podAffinity"][REQUIRED][0]["labelSelector"]["matchExpressions"];
        let expected = json!([
            {"key": "hash", "operator": "In", "values": ["1"]},
            {"key": "tenant", "operator": "NotIn", "values": ["a"]}
        ]);
        assert_eq!(*expressions, expected);
        assert_eq!(pod["spec"]["affinity"]["podAntiAffinity"][PREFERRED][0]["podAffinityTerm"], blind);
    }
}
