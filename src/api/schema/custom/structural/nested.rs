//! Schemas under `allOf`, `anyOf`, `oneOf` and `not`: they say what values may be, never what
//! fields there are.

use crate::api::error::FieldError;
use serde_json::{Value, json};

/// What a nested schema may not say, and the message.
const FORBIDDEN: [(&str, &str); 12] = [
    ("type", "must be empty to be structural"),
    ("additionalProperties", "must be undefined to be structural"),
    ("default", "must be undefined to be structural"),
    ("title", "must be empty to be structural"),
    ("description", "must be empty to be structural"),
    ("nullable", "must be false to be structural"),
    ("x-kubernetes-preserve-unknown-fields", "must be false to be structural"),
    ("x-kubernetes-embedded-resource", "must be false to be structural"),
    ("x-kubernetes-int-or-string", "must be false to be structural"),
    ("x-kubernetes-list-map-keys", "must be empty to be structural"),
    ("x-kubernetes-list-type", "must be undefined to be structural"),
    ("x-kubernetes-map-type", "must be undefined to be structural"),
];

/// Everything wrong with the nested schemas of `schema`.
pub fn check(schema: &Value, path: &str, depth: usize, errors: &mut Vec<FieldError>) {
    let either = json!([{"type": "integer"}, {"type": "string"}]);
    let within_all = schema["allOf"][0]["anyOf"] == either;
    combined(schema, schema["anyOf"] == either, within_all, path, depth, errors);
}

/// The two ways to write "integer or string" are allowed to name types.
fn combined(schema: &Value, skip_any: bool, skip_first: bool, path: &str, depth: usize, errors: &mut Vec<FieldError>) {
    if depth > super::MAX_DEPTH {
        errors.push(FieldError::forbidden(path, &format!("schemas may be {} levels deep", super::MAX_DEPTH)));
        return;
    }
    for word in ["anyOf", "allOf", "oneOf"] {
        if word == "anyOf" && skip_any {
            continue;
        }
        for (index, part) in schema[word].as_array().into_iter().flatten().enumerate() {
            let skip = skip_first && word == "allOf" && index == 0;
            nested(part, skip, &format!("{path}.{word}[{index}]"), depth + 1, errors);
        }
    }
    if schema["not"].is_object() {
        nested(&schema["not"], false, &format!("{path}.not"), depth + 1, errors);
    }
}

fn nested(schema: &Value, skip_any: bool, path: &str, depth: usize, errors: &mut Vec<FieldError>) {
    combined(schema, skip_any, false, path, depth, errors);
    if schema["items"].is_object() {
        nested(&schema["items"], false, &format!("{path}.items"), depth + 1, errors);
    }
    for (name, property) in schema["properties"].as_object().into_iter().flatten() {
        let path = format!("{path}.properties[{name}]");
        nested(property, false, &path, depth + 1, errors);
        if name == "metadata" {
            errors.push(FieldError::forbidden(path, "must not be specified in a nested context"));
        }
    }
    for (name, why) in FORBIDDEN {
        let said = match &schema[name] {
            Value::Null | Value::Bool(false) => false,
            Value::String(text) => !text.is_empty(),
            Value::Array(list) => !list.is_empty(),
            _ => true,
        };
        if said {
            errors.push(FieldError::forbidden(format!("{path}.{name}"), why));
        }
    }
    if schema["x-kubernetes-validations"].as_array().is_some_and(|rules| !rules.is_empty()) {
        let field = format!("{path}.x-kubernetes-validations");
        errors.push(FieldError::forbidden(field, "must be empty to be structural"));
    }
}
