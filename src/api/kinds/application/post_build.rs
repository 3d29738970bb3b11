//! The rules of `spec.postBuild`: variables with names that shells know, and objects that hold some.

use crate::api::error::FieldError;
use crate::api::kinds::json::{list, text};
use crate::base::template::is_variable_name;
use serde_json::Value;

pub(super) fn validate(spec: &Value) -> Vec<FieldError> {
    let mut errors = Vec::new();
    let variables = spec.pointer("/postBuild/substitute").and_then(Value::as_object);
    for name in variables.into_iter().flatten().map(|(name, _)| name).filter(|name| !is_variable_name(name)) {
        let why = "must be letters, digits and underscores, not a digit first";
        errors.push(FieldError::invalid("spec.postBuild.substitute", &name.as_str().into(), why));
    }
    errors.extend(holders(spec, &["postBuild", "substituteFrom"]));
    errors
}

/// A list of ConfigMaps and Secrets.
pub(super) fn holders(spec: &Value, path: &[&str]) -> Vec<FieldError> {
    let mut errors = Vec::new();
    for (index, from) in list(spec, path).iter().enumerate() {
        let at = |field: &str| format!("spec.{}[{index}].{field}", path.join("."));
        let kind = text(from, &["kind"]);
        if !["ConfigMap", "Secret"].contains(&kind) {
            errors.push(FieldError::not_supported(at("kind"), &kind.into(), &["ConfigMap", "Secret"]));
        }
        if text(from, &["name"]).is_empty() {
            errors.push(FieldError::required(at("name"), ""));
        }
    }
    errors
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn names_and_kinds_are_checked() {
        let spec = json!({"postBuild": {"substitute": {"ENV": "prod", "a-b": "x"}, "substituteFrom": [
            {"kind": "ConfigMap", "name": "vars", "optional": true}, {"kind": "Pod"}]}});
        let fields: Vec<String> = validate(&spec).into_iter().map(|error| error.field.to_string()).collect();
        let expected = [
            "spec.postBuild.substitute",
            "spec.postBuild.substituteFrom[1].kind",
            "spec.postBuild.substituteFrom[1].name",
        ];
        assert_eq!(fields, expected);
        assert!(validate(&json!({})).is_empty());
    }
}
