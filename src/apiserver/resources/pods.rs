//! What only pods have: binding to a node, eviction.

use super::delete::DeleteOptions;
use super::object::{Packed, metadata, parse};
use super::{At, Effect, Prepared, Writer};
use crate::api::error::{ApiError, Cause, Details, FieldError};
use crate::api::selector::LabelSelector;
use crate::store::{Precondition, Record, Write};
use serde_json::{Value, json};
use std::sync::Arc;

impl Writer<'_> {
    /// Prepares assigning the pod to the node that a Binding names.
    pub fn bind(&self, binding: &Value) -> Result<Prepared, ApiError> {
        let at = self.at;
        let named = binding["metadata"]["name"].as_str().unwrap_or_default();
        if !named.is_empty() && named != at.name {
            return Err(ApiError::bad_request("name in URL does not match name in Binding object"));
        }
        let node = binding["target"]["name"].as_str().unwrap_or_default();
        let kind = binding["target"]["kind"].as_str().unwrap_or_default();
        let mut errors = Vec::new();
        if !kind.is_empty() && kind != "Node" {
            errors.push(FieldError::not_supported("target.kind", &json!(kind), &["Node", "<empty>"]));
        }
        if node.is_empty() {
            errors.push(FieldError::required("target.name", ""));
        }
        if !errors.is_empty() {
            return Err(ApiError::invalid(at.target(), at.name, &errors));
        }
        let before = at.get(self.view)?;
        let mut pod = parse(&before);
        let uid = binding["metadata"]["uid"].as_str().unwrap_or_default();
        if !uid.is_empty() && uid != before.envelope.uid {
            return Err(ApiError::conflict(
                at.target(),
                at.name,
                format!("Precondition failed: UID in precondition: {uid}, UID in object meta: {}", before.envelope.uid),
            ));
        }
        if before.envelope.deletion_timestamp.is_some() {
            return Err(conflict(at, format!("pod {} is being deleted, cannot be assigned to a host", at.name)));
        }
        let assigned = pod["spec"]["nodeName"].as_str().unwrap_or_default();
        if !assigned.is_empty() {
            return Err(conflict(at, format!("pod {} is already assigned to node {assigned:?}", at.name)));
        }
        pod["spec"]["nodeName"] = node.into();
        for name in ["annotations", "labels"] {
            for (key, value) in binding["metadata"][name].as_object().into_iter().flatten() {
                pod["metadata"][name][key] = value.clone();
            }
        }
        self.mark_scheduled(&mut pod);
        Ok(Prepared::new(at.key(), Effect::Update { before, packed: Packed::new(at.resource, &pod) }))
    }

    fn mark_scheduled(&self, pod: &mut Value) {
        let now = self.server.clock.now_seconds().to_string();
        let mut condition =
            json!({"type": "PodScheduled", "status": "True", "lastProbeTime": null, "lastTransitionTime": now});
        if let Some(generation) = pod["metadata"]["generation"].as_i64() {
            condition["observedGeneration"] = generation.into();
        }
        if !pod["status"].is_object() {
            pod["status"] = json!({});
        }
        let mut conditions = pod["status"]["conditions"].as_array().cloned().unwrap_or_default();
        conditions.retain(|condition| condition["type"] != "PodScheduled");
        conditions.push(condition);
        pod["status"]["conditions"] = conditions.into();
    }

    /// Prepares an eviction: a deletion that disruption budgets must allow.
    pub fn evict(&self, eviction: &Value, options: &DeleteOptions) -> Result<Prepared, ApiError> {
        let at = self.at;
        let named = eviction["metadata"]["name"].as_str().unwrap_or_default();
        if !named.is_empty() && named != at.name {
            return Err(ApiError::bad_request("name in URL does not match name in Eviction object"));
        }
        let record = at.get(self.view)?;
        let mut prepared = self.delete(options)?;
        let pod = parse(&record);
        let disposable = matches!(pod["status"]["phase"].as_str(), Some("Succeeded" | "Failed" | "Pending"));
        if disposable || record.envelope.deletion_timestamp.is_some() {
            return Ok(prepared);
        }
        match self.budgets(&record)?.as_slice() {
            [] => {}
            [budget] => self.take_from(budget, &mut prepared)?,
            _ => {
                return Err(ApiError::internal(
                    "This pod has more than one PodDisruptionBudget, which the eviction subresource does not support.",
                ));
            }
        }
        Ok(prepared)
    }

    fn budgets(&self, pod: &Record) -> Result<Vec<Arc<Record>>, ApiError> {
        let prefix = format!("/poddisruptionbudgets.policy/{}/", self.at.namespace);
        let mut found = Vec::new();
        for record in self.view.scan(&prefix) {
            let selector =
                LabelSelector::from_object(&parse(&record)["spec"]["selector"]).map_err(ApiError::internal)?;
            if selector.matches(&pod.envelope.labels) {
                found.push(record);
            }
        }
        Ok(found)
    }

    /// One disruption less is allowed; 429 when none is.
    fn take_from(&self, record: &Arc<Record>, prepared: &mut Prepared) -> Result<(), ApiError> {
        let mut budget = parse(record);
        let allowed = budget["status"]["disruptionsAllowed"].as_i64().unwrap_or_default();
        if allowed <= 0 {
            return Err(refused(record, &budget));
        }
        budget["status"]["disruptionsAllowed"] = (allowed - 1).into();
        budget["status"]["disruptedPods"][self.at.name] = self.server.clock.now_seconds().to_string().into();
        metadata(&mut budget).remove("resourceVersion");
        let (value, splice) = super::object::serialize(&budget, true);
        let key = record.key.clone();
        prepared.preconditions.push(Precondition::ModifiedAt { key: key.clone(), revision: record.modified });
        prepared.also.push(Write::Put { key, value, splice, envelope: record.envelope.clone() });
        Ok(())
    }
}

fn refused(record: &Record, budget: &Value) -> ApiError {
    let status = |name: &str| budget["status"][name].as_i64().unwrap_or_default();
    let name = &record.envelope.name;
    let message = format!(
        "The disruption budget {name} needs {} healthy pods and has {} currently",
        status("desiredHealthy"),
        status("currentHealthy")
    );
    let text = "Cannot evict pod as it would violate the pod's disruption budget.";
    ApiError::new(429, "TooManyRequests", text).with_details(Details {
        causes: vec![Cause { reason: "DisruptionBudget".into(), message, field: String::new() }],
        ..Details::default()
    })
}

fn conflict(at: At<'_>, why: String) -> ApiError {
    let target = crate::api::error::Target { resource: "pods/binding", ..at.target() };
    ApiError::conflict(target, at.name, why)
}
