//! What Deployments, ReplicaSets, StatefulSets and DaemonSets share: validation of counts and
//! percentages, the immutable selector, their common cells.

use super::json::at;
use super::pod_spec::Context;
use super::{semantic, table};
use crate::api::error::FieldError;
use serde_json::Value;

/// Counts that are never negative.
pub fn validate_counts(spec: &Value, fields: &[&str], cx: &mut Context) {
    for field in fields {
        cx.at_least(format!("spec.{field}"), &spec[*field], 0);
    }
}

/// A workload whose pods never end: restartPolicy is Always, without a deadline.
pub fn validate_endless(spec: &Value, kind: &str, cx: &mut Context) {
    let pod = &spec["template"]["spec"];
    let policy = &pod["restartPolicy"];
    if policy != "Always" {
        cx.errors.push(FieldError::not_supported("spec.template.spec.restartPolicy", policy, &["Always"]));
    }
    if !pod["activeDeadlineSeconds"].is_null() {
        let why = format!("activeDeadlineSeconds in {kind} is not Supported");
        cx.errors.push(FieldError::forbidden("spec.template.spec.activeDeadlineSeconds", &why));
    }
}

/// An int-or-percent that is not negative: `25%` or `3`.
pub fn validate_int_or_percent(value: &Value, field: &str, cx: &mut Context) {
    match value {
        Value::Number(_) => cx.at_least(field.into(), value, 0),
        Value::String(text) if !is_percent(text) => {
            let why = "a valid percent string must be a numeric string followed by an ending '%' (e.g. '1%',  or '93%', regex used for validation is '[0-9]+%')";
            cx.invalid(field.into(), value, why);
        }
        _ => {}
    }
}

fn is_percent(text: &str) -> bool {
    text.strip_suffix('%').is_some_and(|digits| !digits.is_empty() && digits.bytes().all(|b| b.is_ascii_digit()))
}

/// Whether an int-or-percent is 0 or 0%.
pub fn is_zero(value: &Value) -> bool {
    match value {
        Value::String(text) => text.trim_end_matches('%').bytes().all(|b| b == b'0'),
        other => other.as_i64().unwrap_or(0) == 0,
    }
}

/// A percentage above 100.
pub fn is_over_hundred(value: &Value) -> bool {
    let percent = value.as_str().and_then(|text| text.strip_suffix('%')).and_then(|digits| digits.parse::<i64>().ok());
    percent.is_some_and(|percent| percent > 100)
}

/// A field that an update may not touch.
pub fn immutable(new: &Value, old: &Value, path: &[&str], errors: &mut Vec<FieldError>) {
    if !semantic::equal(at(new, path), at(old, path)) {
        errors.push(FieldError::invalid(path.join("."), at(new, path), "field is immutable"));
    }
}

/// What an update of a workload may not touch: its pods would be nobody's.
pub fn fixed_selector(new: &Value, old: &Value) -> Vec<FieldError> {
    let mut errors = Vec::new();
    immutable(new, old, &["spec", "selector"], &mut errors);
    errors
}

/// Spec replicas, and a count of the status.
pub fn replicas(object: &Value) -> i64 {
    table::number(object, &["spec", "replicas"])
}

pub fn status(object: &Value, field: &str) -> i64 {
    table::number(object, &["status", field])
}

/// The wide cells Containers, Images and Selector.
pub fn wide(object: &Value) -> [Value; 3] {
    let (names, images) = table::containers(&object["spec"]["template"]["spec"]);
    [names, images, table::selector(&object["spec"]["selector"]).into()]
}
