//! Disruption budgets at the moment of an eviction. What a budget allows is counted from the pods
//! as they are stored: its status may be old, and two evictions at once must not both pass.

use super::object::{metadata, parse, serialize};
use super::{Prepared, Writer};
use crate::api::disruption::Count;
use crate::api::error::{ApiError, Cause, Details};
use crate::api::selector::LabelSelector;
use crate::store::{self, Precondition, Record, Write};
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::sync::Arc;

/// Where the controllers that budgets count on are stored: kind, group, plural.
const SCALED: [(&str, &str, &str); 4] = [
    ("Deployment", "apps", "deployments"),
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
    let count = self::count(writer, &budget)?;
    if count.allowed() <= 0 {
        return Err(refused(count, &record.envelope.name));
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

fn count(writer: &Writer<'_>, budget: &Value) -> Result<Count, ApiError> {
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
        match scaled(writer, &pod) {
            Some(owner) => {
                let replicas = parse(&owner)["spec"]["replicas"].as_i64().unwrap_or(1);
                expected.insert(owner.key.clone(), replicas);
            }
            None => drop(expected.insert(record.key.clone(), 1)),
        }
    }
    Ok(Count::new(&budget["spec"], expected.values().sum(), healthy))
}

/// Who says how many of a pod there are to be: its Deployment rather than one of its ReplicaSets.
fn scaled(writer: &Writer<'_>, pod: &Value) -> Option<Arc<Record>> {
    let mut found = None;
    let mut object = pod.clone();
    loop {
        let owners = object["metadata"]["ownerReferences"].as_array().into_iter().flatten();
        let Some(owner) = owners.clone().find(|owner| owner["controller"] == true) else { return found };
        let text = |name: &str| owner[name].as_str().unwrap_or_default();
        let Some((_, group, plural)) = SCALED.iter().find(|(kind, ..)| *kind == text("kind")) else { return found };
        let record = writer.view.get(&store::key(group, plural, writer.at.namespace, text("name")));
        let Some(record) = record.filter(|record| record.envelope.uid == text("uid")) else { return found };
        object = parse(&record);
        found = Some(record);
    }
}

fn refused(count: Count, name: &str) -> ApiError {
    let (desired, healthy) = (count.desired, count.healthy);
    let message = format!("The disruption budget {name} needs {desired} healthy pods and has {healthy} currently");
    let text = "Cannot evict pod as it would violate the pod's disruption budget.";
    ApiError::new(429, "TooManyRequests", text).with_details(Details {
        causes: vec![Cause { reason: "DisruptionBudget".into(), message, field: String::new() }],
        ..Details::default()
    })
}

fn is_healthy(pod: &Value) -> bool {
    let ready = |condition: &Value| condition["type"] == "Ready" && condition["status"] == "True";
    pod["metadata"]["deletionTimestamp"].is_null()
        && pod["status"]["conditions"].as_array().is_some_and(|conditions| conditions.iter().any(ready))
}
