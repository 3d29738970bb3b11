//! What only pods have: binding to a node, eviction.

use super::delete::DeleteOptions;
use super::object::{Packed, parse};
use super::stored::Stored;
use super::{At, Effect, Prepared, Writer, budgets};
use crate::api::error::{ApiError, FieldError};
use serde_json::{Value, json};

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
        let Stored { record: before, object: mut pod, rest } = Stored::for_fields(at.resource, before);
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
        let packed = Packed::around(at.resource, &pod, &rest, &before);
        Ok(Prepared::new(at.key(), Effect::Update { before, packed }))
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

    /// Tells controllers, and whoever asks why the pod went, that it did not fail by itself.
    fn mark_evicted(&self, pod: &mut Value) {
        if pod["metadata"]["deletionTimestamp"].is_string() {
            return;
        }
        let mut conditions = pod["status"]["conditions"].as_array().cloned().unwrap_or_default();
        conditions.retain(|condition| condition["type"] != "DisruptionTarget");
        let mut condition = json!({"type": "DisruptionTarget", "status": "True", "reason": "EvictionByEvictionAPI",
            "message": "Eviction API: evicting", "lastTransitionTime": self.server.clock.now_seconds().to_string()});
        if let Some(generation) = pod["metadata"]["generation"].as_i64() {
            condition["observedGeneration"] = generation.into();
        }
        conditions.push(condition);
        if !pod["status"].is_object() {
            pod["status"] = json!({});
        }
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
        let mut prepared = self.delete_after(options, |pod| self.mark_evicted(pod))?;
        let pod = parse(&record);
        let disposable = matches!(pod["status"]["phase"].as_str(), Some("Succeeded" | "Failed" | "Pending"));
        if disposable || record.envelope.deletion_timestamp.is_some() {
            return Ok(prepared);
        }
        match budgets::of(self, &record)?.as_slice() {
            [] => {}
            [budget] => budgets::take(self, budget, &mut prepared)?,
            _ => {
                return Err(ApiError::internal(
                    "This pod has more than one PodDisruptionBudget, which the eviction subresource does not support.",
                ));
            }
        }
        Ok(prepared)
    }
}

fn conflict(at: At<'_>, why: String) -> ApiError {
    let target = crate::api::error::Target { resource: "pods/binding", ..at.target() };
    ApiError::conflict(target, at.name, why)
}
