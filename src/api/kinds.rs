//! The rules of each kind, one file a kind: defaults, what create and update set, validation,
//! selectable fields, table columns. Pure functions over JSON.

mod application;
mod application_set;
mod configmap;
pub mod custom;
pub mod customresourcedefinition;
mod deployment;
mod endpoints;
mod event;
pub mod generic;
mod job;
mod json;
pub mod labels;
mod lease;
pub mod metadata;
pub mod names;
mod namespace;
mod node;
pub mod pod;
pub mod pod_spec;
mod priorityclass;
mod replicaset;
pub mod resources;
pub mod scale;
mod secret;
pub mod semantic;
pub mod service;
mod simple;
pub mod table;
mod timetable;
mod workloads;

use super::error::FieldError;
use jiff::Timestamp;
use names::NameRule;
use serde_json::Value;
use std::sync::Arc;

/// A table column; priority 1 shows with `-o wide` only.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Column {
    pub name: String,
    /// `string`, `integer`, `number`, `boolean` or `date`.
    pub kind: String,
    /// `name` for the name column, else empty.
    pub format: String,
    pub priority: i32,
    pub description: String,
}

/// What a DELETE of an object of this kind does and answers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Deletion {
    /// Gone at once; answers a Status.
    #[default]
    Status,
    /// Gone at once; answers the last object.
    Object,
    /// Pods: a grace period first when something may be running.
    Graceful,
    /// Namespaces: Terminating until emptied.
    Finalized,
}

/// The rules of one kind. Every default suits a kind without rules of its own.
pub trait Kind: Send + Sync {
    /// Fills in what a client may leave out. Idempotent. Runs after the schema's own defaults.
    fn default(&self, _object: &mut Value) {}
    /// What the server sets or clears on create (status, generated selectors). Metadata is done by
    /// the verbs, before this: `metadata.name` and `metadata.uid` are set.
    fn prepare_create(&self, object: &mut Value) {
        if let Some(fields) = object.as_object_mut()
            && self.has_status()
        {
            fields.remove("status");
        }
    }
    /// What the server keeps of the old object on an update of the main resource.
    fn prepare_update(&self, object: &mut Value, old: &Value) {
        if self.has_status() {
            keep_status(object, old);
        }
    }
    /// Whether main-resource writes leave `status` alone.
    fn has_status(&self) -> bool {
        false
    }
    /// Whether `metadata.generation` counts changes of the spec.
    fn has_generation(&self) -> bool {
        false
    }
    /// Whether a change of annotations counts too.
    fn generation_counts_annotations(&self) -> bool {
        false
    }
    /// The syntax of the objects' names, for [`metadata::validate_metadata`].
    fn name_rule(&self) -> NameRule {
        NameRule::Subdomain
    }
    /// Everything wrong with an object. The schema (types, required) is already satisfied.
    fn validate(&self, _object: &Value) -> Vec<FieldError> {
        Vec::new()
    }
    /// Everything an update may not do. `validate(new)` runs as well.
    fn validate_update(&self, _new: &Value, _old: &Value) -> Vec<FieldError> {
        Vec::new()
    }
    /// What the server keeps of the old object when its resources are changed in place.
    fn prepare_resize(&self, object: &mut Value, old: &Value) {
        self.prepare_update(object, old);
    }
    /// Everything that a change of resources in place may not do. `validate(new)` runs as well.
    fn validate_resize(&self, new: &Value, old: &Value) -> Vec<FieldError> {
        self.validate_update(new, old)
    }
    /// What the server keeps of the old object when containers join it to look at it.
    fn prepare_ephemeral(&self, object: &mut Value, old: &Value) {
        self.prepare_update(object, old);
    }
    /// Everything that is wrong with their joining. `validate(new)` runs as well.
    fn validate_ephemeral(&self, new: &Value, old: &Value) -> Vec<FieldError> {
        self.validate_update(new, old)
    }
    /// Everything wrong with a new object (`old` is `None`) or with the new state of one.
    fn check(&self, object: &Value, old: Option<&Value>) -> Vec<FieldError> {
        let mut errors = self.validate(object);
        errors.extend(old.map(|old| self.validate_update(object, old)).unwrap_or_default());
        errors
    }
    /// Everything a status update may not do.
    fn validate_status(&self, _new: &Value, _old: &Value) -> Vec<FieldError> {
        Vec::new()
    }
    /// Whether a write of the status can be prepared without anything but it and the metadata: rules
    /// and admission look at nothing else then.
    fn status_stands_alone(&self) -> bool {
        false
    }
    /// What of `metadata` a write of the status leaves as it is: labels, annotations and finalizers
    /// change with the status of most kinds, as they do in Kubernetes.
    fn kept_by_status(&self) -> &'static [&'static str] {
        &["ownerReferences"]
    }
    /// Warnings for the client, e.g. deprecated fields.
    fn warnings(&self, _object: &Value) -> Vec<String> {
        Vec::new()
    }
    /// Selectable fields besides `metadata.name` and `metadata.namespace`.
    fn field_names(&self) -> &'static [&'static str] {
        &[]
    }
    /// Their values, in the order of `field_names`.
    fn fields(&self, _object: &Value) -> Vec<(&'static str, String)> {
        Vec::new()
    }
    /// Whether objects can be selected by a field besides name and namespace.
    fn selects(&self, field: &str) -> bool {
        self.field_names().contains(&field)
    }
    /// The name in [`Kind::field_names`] of a field that the API of this kind calls otherwise.
    fn field_alias(&self, _field: &str) -> Option<&'static str> {
        None
    }
    /// Whether selecting looks into the object: its selectable fields are not in the envelope.
    fn selects_deep(&self) -> bool {
        false
    }
    /// The value of a field where selecting looks into the object; empty when absent.
    fn field(&self, _object: &Value, _field: &str) -> String {
        String::new()
    }
    /// The text of a 400 for a field selector on an unknown field.
    fn unknown_field(&self, field: &str) -> String {
        format!("{field:?} is not a known field selector: only \"metadata.name\", \"metadata.namespace\"")
    }
    fn columns(&self) -> Vec<Column>;
    /// The cells of `columns` for one object.
    fn row(&self, object: &Value, now: Timestamp) -> Vec<Value>;
    fn deletion(&self) -> Deletion {
        Deletion::Status
    }
    /// PUT on a missing object creates it.
    fn create_on_update(&self) -> bool {
        false
    }
    /// A PUT may leave out the resourceVersion.
    fn unconditional_update(&self) -> bool {
        true
    }
    /// The Scale of an object.
    fn scale(&self, object: &Value) -> Value {
        scale::of(object)
    }
    /// Puts the replicas that a Scale asks for where the object keeps them.
    fn set_replicas(&self, object: &mut Value, replicas: i64) {
        object["spec"]["replicas"] = replicas.into();
    }
}

/// Of kinds whose status is all that a write of the status changes.
pub const ALL_METADATA: &[&str] = &["annotations", "finalizers", "labels", "ownerReferences"];

/// Replaces `status` of `object` by that of `old`.
pub fn keep_status(object: &mut Value, old: &Value) {
    let Some(fields) = object.as_object_mut() else { return };
    match old.get("status") {
        Some(status) => fields.insert("status".into(), status.clone()),
        None => fields.remove("status"),
    };
}

/// The rules of a kind; a kind without any is stored as it is and shown by name and creation time.
pub fn for_kind(group: &str, kind: &str) -> Arc<dyn Kind> {
    match (group, kind) {
        ("", "Pod") => Arc::new(pod::Pod),
        ("", "ConfigMap") => Arc::new(configmap::ConfigMap),
        ("", "Secret") => Arc::new(secret::Secret),
        ("", "Service") => Arc::new(service::Service),
        ("", "Namespace") => Arc::new(namespace::Namespace),
        ("", "Node") => Arc::new(node::Node),
        ("", "Event") => Arc::new(event::Event::Core),
        ("events.k8s.io", "Event") => Arc::new(event::Event::Events),
        ("", "Endpoints") => Arc::new(endpoints::Endpoints),
        ("apps", "Deployment") => Arc::new(deployment::Deployment),
        ("apps", "ReplicaSet") => Arc::new(replicaset::ReplicaSet),
        ("batch", "Job") => Arc::new(job::Job),
        ("discovery.k8s.io", "EndpointSlice") => Arc::new(endpoints::EndpointSlice),
        ("coordination.k8s.io", "Lease") => Arc::new(lease::Lease),
        ("scheduling.k8s.io", "PriorityClass") => Arc::new(priorityclass::PriorityClass),
        ("apiextensions.k8s.io", "CustomResourceDefinition") => {
            Arc::new(customresourcedefinition::CustomResourceDefinition)
        }
        ("selkie.dev", "Application") => Arc::new(application::Application),
        ("selkie.dev", "ApplicationSet") => Arc::new(application_set::ApplicationSet),
        _ => Arc::new(simple::of(group, kind)),
    }
}

/// The text of a 400 for a field selector, of the kinds that know several fields.
fn label_not_supported(field: &str) -> String {
    format!("field label not supported: {field}")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::api::registry::Registry;
    use serde_json::json;

    #[test]
    fn every_kind_has_a_cell_for_each_column_and_survives_anything() {
        for resource in Registry::builtin().resources().iter() {
            for object in [json!({}), json!({"spec": 3, "status": [], "metadata": "x"}), json!(null)] {
                let rules = &resource.rules;
                assert_eq!(rules.row(&object, Timestamp::UNIX_EPOCH).len(), rules.columns().len(), "{}", resource.kind);
                assert_eq!(rules.fields(&object).len(), rules.field_names().len(), "{}", resource.kind);
                let mut filled = object.clone();
                rules.default(&mut filled);
                let once = filled.clone();
                rules.default(&mut filled);
                assert_eq!(filled, once, "{} defaults twice", resource.kind);
                rules.prepare_create(&mut filled);
                rules.prepare_update(&mut filled, &object);
                rules.validate(&filled);
                rules.validate_update(&filled, &object);
            }
        }
    }

    #[test]
    fn status_rules_and_status_subresources_go_together() {
        for resource in Registry::builtin().resources().iter().filter(|resource| resource.is_stored()) {
            let served = resource.subresource("status").is_some();
            assert_eq!(resource.rules.has_status(), served, "{}/{}", resource.group, resource.kind);
        }
    }
}
