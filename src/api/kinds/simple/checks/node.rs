//! RuntimeClasses.

use crate::api::error::FieldError;
use crate::api::kinds::json::text;
use crate::api::kinds::pod_spec::{Context, validate_tolerations};
use crate::api::kinds::{metadata, names, resources, workloads};
use serde_json::{Value, json};

pub fn runtime_class(object: &Value) -> Vec<FieldError> {
    let (mut cx, scheduling) = (Context::new(), &object["scheduling"]);
    let handler = text(object, &["handler"]);
    cx.names("handler", &handler.into(), names::label(handler));
    resources::validate(&json!({"limits": object["overhead"]["podFixed"]}), "overhead", &mut cx);
    metadata::labels(&scheduling["nodeSelector"], "scheduling.nodeSelector", &mut cx.errors);
    validate_tolerations(scheduling, "scheduling", &mut cx);
    cx.errors
}

pub fn runtime_class_update(new: &Value, old: &Value) -> Vec<FieldError> {
    let mut errors = Vec::new();
    workloads::immutable(new, old, &["handler"], &mut errors);
    errors
}
