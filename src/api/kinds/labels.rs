//! Label selectors as objects carry them (`matchLabels`, `matchExpressions`): validation, and
//! whether they choose a set of labels.

use super::json::{list, text};
use super::{metadata, names};
use crate::api::error::FieldError;
use serde_json::Value;

/// Everything wrong with a label selector.
pub fn validate_selector(selector: &Value, field: &str, errors: &mut Vec<FieldError>) {
    metadata::labels(&selector["matchLabels"], &format!("{field}.matchLabels"), errors);
    for (i, requirement) in list(selector, &["matchExpressions"]).iter().enumerate() {
        let field = format!("{field}.matchExpressions[{i}]");
        let values = list(requirement, &["values"]);
        match text(requirement, &["operator"]) {
            "In" | "NotIn" if values.is_empty() => {
                let why = "must be specified when `operator` is 'In' or 'NotIn'";
                errors.push(FieldError::required(format!("{field}.values"), why));
            }
            "Exists" | "DoesNotExist" if !values.is_empty() => {
                let why = "may not be specified when `operator` is 'Exists' or 'DoesNotExist'";
                errors.push(FieldError::forbidden(format!("{field}.values"), why));
            }
            "In" | "NotIn" | "Exists" | "DoesNotExist" => {}
            _ => {
                let operator = &requirement["operator"];
                let why = "not a valid selector operator";
                errors.push(FieldError::invalid(format!("{field}.operator"), operator, why));
            }
        }
        let wrong = names::qualified(text(requirement, &["key"]));
        errors.extend(wrong.iter().map(|why| FieldError::invalid(format!("{field}.key"), &requirement["key"], why)));
        for (j, value) in values.iter().enumerate() {
            let wrong = names::label_value(value.as_str().unwrap_or_default());
            let field = format!("{field}.values[{j}]");
            errors.extend(wrong.iter().map(|why| FieldError::invalid(field.clone(), value, why)));
        }
    }
}

/// Whether a selector has no requirement at all.
pub fn is_empty(selector: &Value) -> bool {
    selector["matchLabels"].as_object().is_none_or(serde_json::Map::is_empty)
        && list(selector, &["matchExpressions"]).is_empty()
}

/// Whether a label selector chooses a map of labels.
pub fn matches(selector: &Value, labels: &Value) -> bool {
    let same = |(key, value): (&String, &Value)| labels.get(key) == Some(value);
    selector["matchLabels"].as_object().is_none_or(|wanted| wanted.iter().all(same))
        && list(selector, &["matchExpressions"]).iter().all(|requirement| {
            let found = labels.get(text(requirement, &["key"]));
            let listed = || found.is_some_and(|value| list(requirement, &["values"]).contains(value));
            match text(requirement, &["operator"]) {
                "In" => listed(),
                "NotIn" => !listed(),
                "Exists" => found.is_some(),
                "DoesNotExist" => found.is_none(),
                _ => false,
            }
        })
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn expressions_and_labels_must_all_match() {
        let labels = json!({"app": "web", "tier": "front"});
        for (selector, expected) in [
            (json!({}), true),
            (json!({"matchLabels": {"app": "web"}}), true),
            (json!({"matchLabels": {"app": "db"}}), false),
            (json!({"matchExpressions": [{"key": "tier", "operator": "In", "values": ["front", "back"]}]}), true),
            (json!({"matchExpressions": [{"key": "tier", "operator": "NotIn", "values": ["front"]}]}), false),
            (json!({"matchExpressions": [{"key": "x", "operator": "DoesNotExist"}]}), true),
            (json!({"matchExpressions": [{"key": "x", "operator": "Exists"}]}), false),
        ] {
            assert_eq!(matches(&selector, &labels), expected, "{selector}");
        }
    }
}
