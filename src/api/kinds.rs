//! The rules of each kind, one file a kind: defaults, what create and update set, validation,
//! selectable fields, table columns. Pure functions over JSON.

pub mod generic;

use super::error::FieldError;
use jiff::Timestamp;
use serde_json::Value;

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
    /// What the server sets or clears on create (status, generated selectors). Metadata is done by the verbs.
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
    /// Everything wrong with an object. The schema (types, required) is already satisfied.
    fn validate(&self, _object: &Value) -> Vec<FieldError> {
        Vec::new()
    }
    /// Everything an update may not do. `validate(new)` runs as well.
    fn validate_update(&self, _new: &Value, _old: &Value) -> Vec<FieldError> {
        Vec::new()
    }
    /// Everything a status update may not do.
    fn validate_status(&self, _new: &Value, _old: &Value) -> Vec<FieldError> {
        Vec::new()
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
}

/// Replaces `status` of `object` by that of `old`.
pub fn keep_status(object: &mut Value, old: &Value) {
    let Some(fields) = object.as_object_mut() else { return };
    match old.get("status") {
        Some(status) => fields.insert("status".into(), status.clone()),
        None => fields.remove("status"),
    };
}
