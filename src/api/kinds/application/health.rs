//! The rules of `spec.healthChecks`: named kinds, each once, and expressions that compile.

use crate::api::cel::Predicate;
use crate::api::error::FieldError;
use crate::api::kinds::json::{list, text};
use serde_json::Value;
use std::collections::HashSet;

pub(super) fn validate(spec: &Value) -> Vec<FieldError> {
    let (mut errors, mut seen) = (Vec::new(), HashSet::new());
    for (index, check) in list(spec, &["healthChecks"]).iter().enumerate() {
        let at = |field: &str| format!("spec.healthChecks[{index}].{field}");
        let required =
            ["apiVersion", "kind", "current"].into_iter().filter(|field| text(check, &[field]).trim().is_empty());
        errors.extend(required.map(|field| FieldError::required(at(field), "")));
        for field in ["inProgress", "failed", "current"] {
            let source = text(check, &[field]);
            if source.trim().is_empty() {
                continue;
            }
            if let Err(why) = Predicate::compile(source) {
                errors.push(FieldError::invalid(at(field), &source.into(), &format!("does not compile: {why}")));
            }
        }
        let (api_version, kind) = (text(check, &["apiVersion"]), text(check, &["kind"]));
        let group = api_version.split_once('/').map_or("", |(group, _)| group);
        if !kind.is_empty() && !seen.insert((group, kind)) {
            errors.push(FieldError::duplicate(at("kind"), &kind.into()));
        }
    }
    errors
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn everything_wrong_is_named_with_its_place() {
        let spec = json!({"healthChecks": [
            {"apiVersion": "example.org/v1", "kind": "Database", "current": "status.phase == 'Ready'"},
            {"kind": "Queue", "failed": "status.phase = 'x'", "current": "sizes(status.a) == 1"},
            {"apiVersion": "example.org/v2", "kind": "Database", "current": " "},
        ]});
        let errors: Vec<String> =
            validate(&spec).into_iter().map(|error| format!("{}: {}", error.field, error.detail)).collect();
        assert_eq!(errors.len(), 5, "{errors:#?}");
        assert_eq!(errors[0], "spec.healthChecks[1].apiVersion: Required value");
        let failed =
            "spec.healthChecks[1].failed: Invalid value: \"status.phase = 'x'\": does not compile: line 1, column 14";
        assert!(errors[1].starts_with(failed), "{}", errors[1]);
        assert!(
            errors[2].contains("[1].current") && errors[2].contains("undeclared reference to 'sizes'"),
            "{}",
            errors[2]
        );
        assert_eq!(errors[3], "spec.healthChecks[2].current: Required value");
        assert_eq!(errors[4], "spec.healthChecks[2].kind: Duplicate value: \"Database\"");
        assert!(validate(&json!({})).is_empty());
    }
}
