//! Limits on what a namespace may use, and on disruptions.

use crate::api::error::FieldError;
use crate::api::kinds::json::{list, text};
use crate::api::kinds::pod_spec::Context;
use crate::api::kinds::{labels, resources, workloads};
use crate::api::quantity::Quantity;
use serde_json::Value;
use std::collections::BTreeSet;

pub fn resource_quota(object: &Value) -> Vec<FieldError> {
    let mut cx = Context::new();
    for (name, value) in object["spec"]["hard"].as_object().into_iter().flatten() {
        let field = format!("spec.hard[{name}]");
        let shown = Value::from(name.as_str());
        if !name.contains('/') && !resources::is_standard(name) {
            cx.invalid(field.clone(), &shown, "must be a standard resource type or fully qualified");
        }
        if !name.contains('/') && (!resources::is_standard(name) || name == "storage") {
            cx.invalid(field.clone(), &shown, "must be a standard resource for quota");
        }
        if resources::amount(value).is_some_and(Quantity::is_negative) {
            cx.invalid(field, value, "must be greater than or equal to 0");
        }
    }
    const SCOPES: &[&str] =
        &["BestEffort", "CrossNamespacePodAffinity", "NotBestEffort", "NotTerminating", "PriorityClass", "Terminating"];
    for (i, scope) in list(object, &["spec", "scopes"]).iter().enumerate() {
        if !SCOPES.iter().any(|known| scope == known) {
            cx.invalid(format!("spec.scopes[{i}]"), scope, "unsupported scope");
        }
    }
    cx.errors
}

pub fn limit_range(object: &Value) -> Vec<FieldError> {
    let mut cx = Context::new();
    let mut seen = BTreeSet::new();
    for (i, limit) in list(object, &["spec", "limits"]).iter().enumerate() {
        let field = format!("spec.limits[{i}]");
        let kind = text(limit, &["type"]);
        if kind.is_empty() {
            cx.required(format!("{field}.type"), "");
        } else if !seen.insert(kind) {
            cx.errors.push(FieldError::duplicate(format!("{field}.type"), &limit["type"]));
        }
        for name in ["default", "defaultRequest"] {
            if kind == "Pod" && limit[name].as_object().is_some_and(|map| !map.is_empty()) {
                let why = "may not be specified when `type` is 'Pod'";
                cx.errors.push(FieldError::forbidden(format!("{field}.{name}"), why));
            }
        }
        limits(limit, &field, &mut cx);
    }
    cx.errors
}

/// min <= defaultRequest <= default <= max, for each resource.
fn limits(limit: &Value, field: &str, cx: &mut Context) {
    const ORDER: [(&str, &str); 4] =
        [("min", "min"), ("defaultRequest", "default request"), ("default", "default"), ("max", "max")];
    let amount = |kind: &str, name: &str| resources::amount(&limit[kind][name]);
    let names: BTreeSet<&String> =
        ORDER.iter().filter_map(|(kind, _)| limit[*kind].as_object()).flat_map(|map| map.keys()).collect();
    for name in names {
        for (index, (low, low_text)) in ORDER.iter().enumerate() {
            for (high, high_text) in &ORDER[index + 1..] {
                let (Some(least), Some(most)) = (amount(low, name), amount(high, name)) else { continue };
                if least > most {
                    let (a, b) = (text(&limit[*low], &[name]), text(&limit[*high], &[name]));
                    let high_text = if *high == "default" { "default limit" } else { high_text };
                    let why = format!("{low_text} value {a} is greater than {high_text} value {b}");
                    // The text blames the smaller one's field, except for defaults below the minimum.
                    let (blamed, shown) = if *low == "min" && *high != "max" { (high, b) } else { (low, a) };
                    cx.invalid(format!("{field}.{blamed}[{name}]"), &shown.into(), &why);
                }
            }
        }
    }
}

pub fn disruption_budget(object: &Value) -> Vec<FieldError> {
    let mut cx = Context::new();
    let spec = &object["spec"];
    if !spec["minAvailable"].is_null() && !spec["maxUnavailable"].is_null() {
        cx.invalid("spec".into(), spec, "minAvailable and maxUnavailable cannot be both set");
    }
    for name in ["minAvailable", "maxUnavailable"] {
        let field = format!("spec.{name}");
        workloads::validate_int_or_percent(&spec[name], &field, &mut cx);
        if workloads::is_over_hundred(&spec[name]) {
            cx.invalid(field, &spec[name], "must not be greater than 100%");
        }
    }
    if !spec["selector"].is_null() {
        labels::validate_selector(&spec["selector"], "spec.selector", &mut cx.errors);
    }
    cx.one_of(
        "spec.unhealthyPodEvictionPolicy".into(),
        &spec["unhealthyPodEvictionPolicy"],
        &["AlwaysAllow", "IfHealthyBudget"],
    );
    cx.errors
}
