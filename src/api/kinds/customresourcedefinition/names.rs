//! The names of a definition: its own, its group's, its kind's.

use crate::api::error::FieldError;
use crate::api::kinds::json::{list, text};
use crate::api::kinds::names;
use serde_json::Value;

/// The object is named after what it defines.
pub fn of_object(object: &Value) -> Vec<FieldError> {
    let name = text(object, &["metadata", "name"]);
    let spec = &object["spec"];
    let wanted = format!("{}.{}", text(spec, &["names", "plural"]), text(spec, &["group"]));
    if name == wanted {
        return Vec::new();
    }
    vec![FieldError::invalid("metadata.name", &name.into(), "must be spec.names.plural+\".\"+spec.group")]
}

pub fn group(spec: &Value) -> Vec<FieldError> {
    let group = text(spec, &["group"]);
    let wrong = names::subdomain(group);
    if group.is_empty() {
        vec![FieldError::required("spec.group", "")]
    } else if !wrong.is_empty() {
        vec![FieldError::invalid("spec.group", &group.into(), &wrong.join(","))]
    } else if !group.contains('.') {
        vec![FieldError::invalid("spec.group", &group.into(), "should be a domain with at least one dot")]
    } else {
        Vec::new()
    }
}

pub fn scope(spec: &Value) -> Vec<FieldError> {
    match text(spec, &["scope"]) {
        "" => vec![FieldError::required("spec.scope", "")],
        "Cluster" | "Namespaced" => Vec::new(),
        _ => vec![FieldError::not_supported("spec.scope", &spec["scope"], &["Cluster", "Namespaced"])],
    }
}

pub fn names(given: &Value) -> Vec<FieldError> {
    let mut errors = Vec::new();
    for name in ["plural", "singular", "kind", "listKind"] {
        let field = format!("spec.names.{name}");
        let value = text(given, &[name]);
        if value.is_empty() {
            errors.push(FieldError::required(&field, ""));
            continue;
        }
        let mixed = matches!(name, "kind" | "listKind");
        let wrong = names::label_1035(&if mixed { value.to_lowercase() } else { value.to_string() }).join(",");
        if !wrong.is_empty() {
            let head = if mixed { "may have mixed case, but should otherwise match: " } else { "" };
            errors.push(FieldError::invalid(&field, &value.into(), &format!("{head}{wrong}")));
        }
    }
    for field in ["shortNames", "categories"] {
        for (index, value) in list(given, &[field]).iter().enumerate() {
            let wrong = names::label_1035(value.as_str().unwrap_or_default()).join(",");
            if !wrong.is_empty() {
                errors.push(FieldError::invalid(format!("spec.names.{field}[{index}]"), value, &wrong));
            }
        }
    }
    let kind = text(given, &["kind"]);
    if !kind.is_empty() && kind == text(given, &["listKind"]) {
        errors.push(FieldError::invalid("spec.names.listKind", &kind.into(), "kind and listKind may not be the same"));
    }
    errors
}
