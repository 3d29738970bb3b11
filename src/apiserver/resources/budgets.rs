//! Disruption budgets at the moment of an eviction. What a budget allows is counted from the pods
//! as they are stored: its status may be old, and two evictions at once must not both pass.

use super::object::{metadata, parse, serialize};
use super::{Prepared, Writer};
use crate::api::error::{ApiError, Cause, Details};
use crate::api::selector::LabelSelector;
use crate::store::{self, Precondition, Record, Write};
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::sync::Arc;

/// Where the controllers that budgets count on are stored: kind, group, plural.
const SCALED: [(&str, &str, &str); 3] = [
    ("ReplicaSet", "apps", "replicasets"),
    ("StatefulSet", "apps", "statefulsets"),
    ("ReplicationController", "", "replicationcontrollers"),
];

/// The budgets that select `pod`.
pub fn of(writer: &Writer<'_>, pod: &Record) -> Result<Vec<Arc<Record>>, ApiError> {
    let mut found = Vec::new();
    for record in writer.view.scan(&store::key("policy", "poddisruptionbudgets", writer.at.namespace, "")) {
        if selector(&parse(&record))?.matches(&pod.envelope.labels) {
            found.push(record);
        }
    }
    Ok(found)
}

/// Takes one disruption from a budget within the eviction's transaction; 429 when none is left.
pub fn take(writer: &Writer<'_>, record: &Arc<Record>, prepared: &mut Prepared) -> Result<(), ApiError> {
    let mut budget = parse(record);
    let count = Count::of(writer, &budget)?;
    if count.allowed() <= 0 {
        return Err(count.refused(&record.envelope.name));
    }
    if !budget["status"].is_object() {
        budget["status"] = json!({});
    }
    let generation = budget["metadata"]["generation"].clone();
    let status = &mut budget["status"];
    status["currentHealthy"] = (count.healthy - 1).into();
    status["desiredHealthy"] = count.desired.into();
    status["expectedPods"] = count.expected.into();
    status["disruptionsAllowed"] = (count.allowed() - 1).into();
    status["observedGeneration"] = generation;
    metadata(&mut budget).remove("resourceVersion");
    let (value, splice) = serialize(&budget, true);
    let key = record.key.clone();
    prepared.preconditions.push(Precondition::ModifiedAt { key: key.clone(), revision: record.modified });
    prepared.also.push(Write::Put { key, value, splice, envelope: record.envelope.clone() });
    Ok(())
}

fn selector(budget: &Value) -> Result<LabelSelector, ApiError> {
    LabelSelector::from_object(&budget["spec"]["selector"]).map_err(ApiError::internal)
}

/// The pods of a budget.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Count {
    expected: i64,
    healthy: i64,
    desired: i64,
}

impl Count {
    fn of(writer: &Writer<'_>, budget: &Value) -> Result<Self, ApiError> {
        let (selector, namespace) = (selector(budget)?, writer.at.namespace);
        let mut healthy = 0;
        // Per controller (none: the pod itself) the replicas it is to have.
        let mut expected = BTreeMap::new();
        for record in writer.view.scan(&store::key("", "pods", namespace, "")) {
            if !selector.matches(&record.envelope.labels) {
                continue;
            }
            let pod = parse(&record);
            healthy += i64::from(is_healthy(&pod));
            let owners = pod["metadata"]["ownerReferences"].as_array().into_iter().flatten();
            let owner = owners.clone().find(|owner| owner["controller"] == true);
            let text = |name: &str| owner.and_then(|owner| owner[name].as_str()).unwrap_or_default();
            let row = SCALED.iter().find(|(kind, ..)| *kind == text("kind"));
            let owner =
                row.and_then(|(_, group, plural)| writer.view.get(&store::key(group, plural, namespace, text("name"))));
            match owner {
                Some(owner) => {
                    let replicas = parse(&owner)["spec"]["replicas"].as_i64().unwrap_or(1);
                    expected.insert(owner.key.clone(), replicas);
                }
                None => drop(expected.insert(record.key.clone(), 1)),
            }
        }
        let expected = expected.values().sum();
        Ok(Self { expected, healthy, desired: desired(&budget["spec"], expected) })
    }

    fn allowed(self) -> i64 {
        if self.expected > 0 { self.healthy - self.desired } else { 0 }
    }

    fn refused(self, name: &str) -> ApiError {
        let (desired, healthy) = (self.desired, self.healthy);
        let message = format!("The disruption budget {name} needs {desired} healthy pods and has {healthy} currently");
        let text = "Cannot evict pod as it would violate the pod's disruption budget.";
        ApiError::new(429, "TooManyRequests", text).with_details(Details {
            causes: vec![Cause { reason: "DisruptionBudget".into(), message, field: String::new() }],
            ..Details::default()
        })
    }
}

fn is_healthy(pod: &Value) -> bool {
    let ready = |condition: &Value| condition["type"] == "Ready" && condition["status"] == "True";
    pod["metadata"]["deletionTimestamp"].is_null()
        && pod["status"]["conditions"].as_array().is_some_and(|conditions| conditions.iter().any(ready))
}

/// How many must stay healthy; percentages of `expected` are rounded up.
fn desired(spec: &Value, expected: i64) -> i64 {
    let scaled = |value: &Value| match value.as_str().map(|text| text.trim_end_matches('%').parse::<i64>()) {
        Some(percent) => percent.unwrap_or_default().saturating_mul(expected).saturating_add(99) / 100,
        None => value.as_i64().unwrap_or_default(),
    };
    match (&spec["maxUnavailable"], &spec["minAvailable"]) {
        (Value::Null, Value::Null) => expected.saturating_sub(1),
        (Value::Null, least) => scaled(least),
        (most, _) => expected.saturating_sub(scaled(most)).max(0),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_must_stay_healthy() {
        assert_eq!(desired(&json!({"minAvailable": 2}), 5), 2);
        assert_eq!(desired(&json!({"minAvailable": "50%"}), 5), 3);
        assert_eq!(desired(&json!({"maxUnavailable": "30%"}), 5), 3);
        assert_eq!(desired(&json!({"maxUnavailable": 9}), 5), 0);
    }
}
