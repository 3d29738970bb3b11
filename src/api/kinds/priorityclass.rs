//! PriorityClasses.

use super::json::{put_text, text};
use super::{Column, Kind, table, workloads};
use crate::api::error::FieldError;
use jiff::Timestamp;
use serde_json::Value;

/// The rules of scheduling.k8s.io/v1 PriorityClass.
pub struct PriorityClass;

/// The largest value a user may give; above are the system's classes.
const HIGHEST: i64 = 1_000_000_000;

impl Kind for PriorityClass {
    fn default(&self, object: &mut Value) {
        if let Some(object) = object.as_object_mut() {
            put_text(object, "preemptionPolicy", "PreemptLowerPriority");
        }
    }

    fn has_generation(&self) -> bool {
        true
    }

    fn validate(&self, object: &Value) -> Vec<FieldError> {
        let mut errors = Vec::new();
        let name = text(object, &["metadata", "name"]);
        let system = matches!(name, "system-node-critical" | "system-cluster-critical");
        if name.starts_with("system-") && !system {
            let why = "priority class names with 'system-' prefix are reserved for system use only. error: not one of the known system classes";
            errors.push(FieldError::forbidden("metadata.name", why));
        }
        if !system && object["value"].as_i64().unwrap_or(0) > HIGHEST {
            let why = format!("maximum allowed value of a user defined priority is {HIGHEST}");
            errors.push(FieldError::forbidden("value", &why));
        }
        errors
    }

    fn validate_update(&self, new: &Value, old: &Value) -> Vec<FieldError> {
        let mut errors = Vec::new();
        if new["value"] != old["value"] {
            errors.push(FieldError::forbidden("value", "may not be changed in an update."));
        }
        workloads::immutable(new, old, &["preemptionPolicy"], &mut errors);
        errors
    }

    fn columns(&self) -> Vec<Column> {
        table::columns("Name:string:name, Value:integer, Global-Default:boolean, Age:string, PreemptionPolicy:string")
    }

    fn row(&self, object: &Value, now: Timestamp) -> Vec<Value> {
        vec![
            table::name(object),
            table::number(object, &["value"]).into(),
            object["globalDefault"].as_bool().unwrap_or(false).into(),
            table::age(object, now),
            text(object, &["preemptionPolicy"]).into(),
        ]
    }
}
