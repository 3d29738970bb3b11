//! ApplicationSets: templates for Applications.

use super::json::{list, text};
use super::{Column, Kind, table};
use crate::api::error::FieldError;
use jiff::Timestamp;
use serde_json::Value;

/// The rules of selkie.dev/v1alpha1 ApplicationSet.
pub struct ApplicationSet;

impl Kind for ApplicationSet {
    fn has_status(&self) -> bool {
        true
    }

    fn has_generation(&self) -> bool {
        true
    }

    fn validate(&self, object: &Value) -> Vec<FieldError> {
        let spec = &object["spec"];
        let mut errors = Vec::new();
        if text(spec, &["template", "metadata", "name"]).is_empty() {
            errors.push(FieldError::required(
                "spec.template.metadata.name",
                "must name the Applications, e.g. shop-${branch}",
            ));
        }
        let generators = list(spec, &["generators"]);
        if generators.is_empty() {
            errors.push(FieldError::required("spec.generators", "must have one that finds elements"));
        }
        for (index, generator) in generators.iter().enumerate() {
            let at = |field: &str| format!("spec.generators[{index}]{field}");
            let git = &generator["git"];
            if generator["list"].is_null() == git.is_null() {
                errors.push(FieldError::required(at(""), "must be either list or git"));
            }
            if git.is_null() {
                continue;
            }
            if text(git, &["repoURL"]).is_empty() {
                errors.push(FieldError::required(at(".git.repoURL"), ""));
            }
            if list(git, &["directories"]).is_empty() == list(git, &["branches"]).is_empty() {
                errors.push(FieldError::required(at(".git"), "must have either directories or branches"));
            }
        }
        errors
    }

    fn columns(&self) -> Vec<Column> {
        table::columns("Name:string:name, Ready:string, Status:string, Applications:integer, Age:string")
    }

    fn row(&self, object: &Value, now: Timestamp) -> Vec<Value> {
        let conditions = list(object, &["status", "conditions"]);
        let ready = conditions.iter().find(|condition| text(condition, &["type"]) == "Ready");
        let of = |field: &str| ready.map_or("", |ready| text(ready, &[field]));
        vec![
            table::name(object),
            if of("status").is_empty() { "Unknown" } else { of("status") }.into(),
            of("reason").into(),
            list(object, &["status", "applications"]).len().into(),
            table::age(object, now),
        ]
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn a_set_has_a_name_for_its_applications_and_something_to_make_them_of() {
        let fields = |spec: Value| -> Vec<String> {
            let errors = ApplicationSet.validate(&json!({"spec": spec}));
            errors.into_iter().map(|error| error.field.to_string()).collect()
        };
        let template = json!({"metadata": {"name": "${name}"}});
        assert_eq!(fields(json!({})), ["spec.template.metadata.name", "spec.generators"]);
        let good = json!([{"list": {"elements": []}}, {"git": {"repoURL": "https://h/r", "branches": ["*"]}}]);
        assert!(fields(json!({"template": template, "generators": good})).is_empty());
        let bad = json!([{}, {"list": {}, "git": {"repoURL": "https://h/r", "directories": [{"path": "*"}]}},
            {"git": {"branches": ["*"], "directories": [{"path": "*"}]}}]);
        let expected =
            ["spec.generators[0]", "spec.generators[1]", "spec.generators[2].git.repoURL", "spec.generators[2].git"];
        assert_eq!(fields(json!({"template": template, "generators": bad})), expected);
    }
}
