//! DELETE: at once, after a grace period (pods), after finalizers, or after a namespace is emptied.
//!
//! Only the owner's side: dependents are removed by the garbage collector.

use super::object::{Packed, metadata};
use super::stored::Stored;
use super::update::is_released;
use super::{Effect, Prepared, Writer};
use crate::api::error::{ApiError, Cause, Details, FieldError};
use crate::api::kinds::Deletion;
use crate::api::registry::Resource;
use crate::apiserver::admission::definitions;
use crate::store::Record;
use serde_json::{Value, json};

/// Namespaces nobody may delete.
const KEPT_NAMESPACES: [&str; 3] = ["default", "kube-system", "kube-public"];

/// `DeleteOptions`, from the body or the query.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct DeleteOptions {
    pub grace_seconds: Option<i64>,
    pub uid: Option<String>,
    pub resource_version: Option<String>,
    pub propagation: Option<String>,
    /// The predecessor of `propagation`.
    pub orphan_dependents: Option<bool>,
    pub dry_run: bool,
}

impl DeleteOptions {
    /// Takes what a decoded body sets; anything else stays as it was.
    pub fn merge_body(&mut self, body: &Value) {
        let text = |value: &Value| value.as_str().map(str::to_string);
        self.grace_seconds = body["gracePeriodSeconds"].as_i64().or(self.grace_seconds);
        self.uid = text(&body["preconditions"]["uid"]).or(self.uid.take());
        self.resource_version = text(&body["preconditions"]["resourceVersion"]).or(self.resource_version.take());
        self.propagation = text(&body["propagationPolicy"]).or(self.propagation.take());
        self.orphan_dependents = body["orphanDependents"].as_bool().or(self.orphan_dependents);
        self.dry_run |= body["dryRun"].as_array().is_some_and(|list| list.iter().any(|item| item == "All"));
    }

    /// 422 for values Kubernetes refuses.
    pub fn validate(&self) -> Result<(), ApiError> {
        let mut errors = Vec::new();
        if let Some(policy) = self.propagation.as_deref() {
            if !matches!(policy, "Background" | "Foreground" | "Orphan") {
                let supported = ["Foreground", "Background", "Orphan"];
                errors.push(FieldError::not_supported("propagationPolicy", &json!(policy), &supported));
            }
            if let Some(orphan) = self.orphan_dependents {
                let why = "orphanDependents and deletionPropagation cannot be both set";
                errors.push(FieldError::invalid("propagationPolicy", &json!(orphan), why));
            }
        }
        if errors.is_empty() { Ok(()) } else { Err(ApiError::invalid(options_target("DeleteOptions"), "", &errors)) }
    }
}

/// The kind that errors about request options speak of.
pub fn options_target(kind: &'static str) -> crate::api::error::Target<'static> {
    crate::api::error::Target { group: "meta.k8s.io", resource: "", kind }
}

impl Writer<'_> {
    pub fn delete(&self, options: &DeleteOptions) -> Result<Prepared, ApiError> {
        self.delete_after(options, |_| ())
    }

    /// As [`Writer::delete`], of an object that is changed by the same write.
    pub fn delete_after(&self, options: &DeleteOptions, change: impl FnOnce(&mut Value)) -> Result<Prepared, ApiError> {
        let before = self.at.get(self.view)?;
        self.check(&before, options)?;
        let Stored { record: before, object: old, rest } = Stored::for_fields(self.at.resource, before);
        let mut new = old.clone();
        change(&mut new);
        self.set_propagation(&mut new, options);
        let grace = self.grace(&old, options);
        let deleting = old["metadata"]["deletionTimestamp"].is_string();
        let finalized = self.at.resource.rules.deletion() == Deletion::Finalized;
        if !deleting || grace < old["metadata"]["deletionGracePeriodSeconds"].as_i64().unwrap_or_default() {
            self.mark(&mut new, grace, deleting);
        }
        if !deleting && definitions::concerns(&self.at.resource.group, &self.at.resource.plural) {
            definitions::begin_deletion(&mut new, self.server.clock.now_seconds());
        }
        if finalized && !new["spec"]["finalizers"].as_array().is_none_or(Vec::is_empty) {
            new["status"]["phase"] = "Terminating".into();
        }
        let effect = if is_released(&new) {
            // An object that simply goes away keeps its last state: nobody saw it being deleted.
            let last = Packed::around(self.at.resource, if deleting { &new } else { &old }, &rest, &before);
            Effect::Delete { before, last: Some(last) }
        } else if new == old {
            Effect::Unchanged(before)
        } else {
            let packed = Packed::around(self.at.resource, &new, &rest, &before);
            Effect::Update { before, packed }
        };
        Ok(Prepared::new(self.at.key(), effect))
    }

    fn check(&self, before: &Record, options: &DeleteOptions) -> Result<(), ApiError> {
        let at = self.at;
        let differs = |what: &str, given: &str, stored: &str| {
            let why = format!(
                "the {what} in the precondition ({given}) does not match the {what} in record ({stored}). The object might have been deleted and then recreated"
            );
            let why =
                if what == "ResourceVersion" { why.replace("deleted and then recreated", "modified") } else { why };
            let mut error = ApiError::conflict(at.target(), at.name, "");
            error.message = format!("Operation cannot be fulfilled on {} \"{}\": {why}", at.resource.kind, at.name);
            error
        };
        if let Some(uid) = options.uid.as_deref().filter(|uid| *uid != before.envelope.uid) {
            return Err(differs("UID", uid, &before.envelope.uid));
        }
        let stored = before.modified.to_string();
        if let Some(given) = options.resource_version.as_deref().filter(|given| *given != stored) {
            return Err(differs("ResourceVersion", given, &stored));
        }
        if at.resource.rules.deletion() == Deletion::Finalized && KEPT_NAMESPACES.contains(&at.name) {
            return Err(ApiError::forbidden(at.target(), at.name, "this namespace may not be deleted"));
        }
        Ok(())
    }

    /// Seconds until the object may go; 0 unless it is a pod that may be running.
    fn grace(&self, old: &Value, options: &DeleteOptions) -> i64 {
        if self.at.resource.rules.deletion() != Deletion::Graceful {
            return 0;
        }
        let unscheduled = old["spec"]["nodeName"].as_str().unwrap_or_default().is_empty();
        let terminal = matches!(old["status"]["phase"].as_str(), Some("Succeeded" | "Failed"));
        if unscheduled || terminal {
            return 0;
        }
        let own = old["spec"]["terminationGracePeriodSeconds"].as_i64().unwrap_or(30);
        // A negative period means "as short as possible without force".
        match options.grace_seconds.unwrap_or(own) {
            negative if negative < 0 => 1,
            seconds => seconds,
        }
    }

    fn mark(&self, new: &mut Value, grace: i64, again: bool) {
        let at = self.at;
        let counts = at.resource.rules.has_generation();
        let now = self.server.clock.now_seconds();
        let due = now.saturating_add(jiff::SignedDuration::from_secs(grace)).unwrap_or(now);
        let fields = metadata(new);
        fields.insert("deletionTimestamp".into(), due.to_string().into());
        fields.insert("deletionGracePeriodSeconds".into(), grace.into());
        if counts && !again {
            let generation = fields.get("generation").and_then(Value::as_i64).unwrap_or_default();
            fields.insert("generation".into(), (generation + 1).into());
        }
    }

    /// Foreground and Orphan are carried out by whoever removes their finalizer.
    fn set_propagation(&self, new: &mut Value, options: &DeleteOptions) {
        let policy = match (options.propagation.as_deref(), options.orphan_dependents) {
            (Some(policy), _) => policy,
            (None, Some(true)) => "Orphan",
            (None, Some(false)) => "Background",
            (None, None) => return,
        };
        let wanted = match policy {
            "Foreground" => Some("foregroundDeletion"),
            "Orphan" => Some("orphan"),
            _ => None,
        };
        let fields = metadata(new);
        let list = fields.get("finalizers").and_then(Value::as_array).cloned().unwrap_or_default();
        let mut kept: Vec<Value> =
            list.into_iter().filter(|item| *item != "foregroundDeletion" && *item != "orphan").collect();
        kept.extend(wanted.map(Value::from));
        match kept.is_empty() {
            true => fields.remove("finalizers"),
            false => fields.insert("finalizers".into(), kept.into()),
        };
    }
}

/// Whether a DELETE answers the object rather than a Status.
pub fn answers_object(resource: &Resource) -> bool {
    resource.rules.deletion() != Deletion::Status
}

/// `Status{status: Success}` for an object that is gone.
pub fn success(resource: &Resource, record: &Record) -> Value {
    let details = Details {
        name: record.envelope.name.clone(),
        group: resource.group.clone(),
        kind: resource.plural.clone(),
        uid: record.envelope.uid.clone(),
        causes: Vec::<Cause>::new(),
        retry_after_seconds: 0,
    };
    json!({"kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Success", "details": details})
}
