//! Limits on what a namespace may use, and on disruptions.

use crate::api::error::FieldError;
use crate::api::kinds::json::{list, text};
use crate::api::kinds::pod_spec::Context;
use crate::api::kinds::{labels, resources, workloads};
use crate::api::quantity::{Format, Quantity};
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
    let scopes: Vec<&str> = list(object, &["spec", "scopes"]).iter().filter_map(Value::as_str).collect();
    self::scopes(object, &scopes, "spec.scopes", &object["spec"]["scopes"], &mut cx);
    let field = "spec.scopeSelector.matchExpressions";
    let mut selected = Vec::new();
    for wanted in list(object, &["spec", "scopeSelector", "matchExpressions"]) {
        let (scope, operator) = (text(wanted, &["scopeName"]), text(wanted, &["operator"]));
        selected.push(scope);
        if scope != "PriorityClass" && is_scope(scope) && scope != "VolumeAttributesClass" && operator != "Exists" {
            let why = "must be 'Exists' when scope is any of ResourceQuotaScopeTerminating, ResourceQuotaScopeNotTerminating, ResourceQuotaScopeBestEffort, ResourceQuotaScopeNotBestEffort or ResourceQuotaScopeCrossNamespacePodAffinity";
            cx.invalid(format!("{field}.operator"), &wanted["operator"], why);
        }
        let has_values = !list(wanted, &["values"]).is_empty();
        match (operator, has_values) {
            ("In" | "NotIn", false) => {
                let why = "must be at least one value when `operator` is 'In' or 'NotIn' for scope selector";
                cx.required(format!("{field}.values"), why);
            }
            ("Exists" | "DoesNotExist", true) => {
                let why = "must be no value when `operator` is 'Exist' or 'DoesNotExist' for scope selector";
                cx.invalid(format!("{field}.values"), &wanted["values"], why);
            }
            ("In" | "NotIn" | "Exists" | "DoesNotExist", _) => {}
            _ => cx.invalid(format!("{field}.operator"), &wanted["operator"], "not a valid selector operator"),
        }
    }
    self::scopes(object, &selected, field, &object["spec"]["scopeSelector"], &mut cx);
    cx.errors
}

fn is_scope(scope: &str) -> bool {
    const SCOPES: [&str; 7] = [
        "BestEffort",
        "CrossNamespacePodAffinity",
        "NotBestEffort",
        "NotTerminating",
        "PriorityClass",
        "Terminating",
        "VolumeAttributesClass",
    ];
    SCOPES.contains(&scope)
}

/// Whether amounts of a resource can be counted by scope.
fn is_counted(scope: &str, resource: &str) -> bool {
    let of_claims = matches!(resource, "persistentvolumeclaims" | "requests.storage");
    let is_compute = matches!(resource.trim_start_matches("requests.").trim_start_matches("limits."), "cpu" | "memory");
    match scope {
        "BestEffort" => resource == "pods",
        "VolumeAttributesClass" => of_claims,
        _ => resource == "pods" || is_compute || !is_scope(scope),
    }
}

fn scopes(quota: &Value, scopes: &[&str], field: &str, shown: &Value, cx: &mut Context) {
    let hard = quota["spec"]["hard"].as_object();
    for scope in scopes {
        if !is_scope(scope) {
            cx.invalid(field.into(), shown, "unsupported scope");
        }
        let names = hard.into_iter().flat_map(|hard| hard.keys()).filter(|name| resources::is_standard(name));
        for _ in names.filter(|name| !is_counted(scope, name)) {
            cx.invalid(field.into(), shown, "unsupported scope applied to resource");
        }
    }
    for (one, other) in [("BestEffort", "NotBestEffort"), ("Terminating", "NotTerminating")] {
        if scopes.contains(&one) && scopes.contains(&other) {
            cx.invalid(field.into(), shown, "conflicting scopes");
        }
    }
}

/// Its scopes stay.
pub fn resource_quota_update(new: &Value, old: &Value) -> Vec<FieldError> {
    let of = |quota: &Value| -> BTreeSet<String> {
        list(quota, &["spec", "scopes"]).iter().filter_map(Value::as_str).map(str::to_owned).collect()
    };
    let changed = of(new) != of(old);
    changed
        .then(|| FieldError::invalid("spec.scopes", &new["spec"]["scopes"], "field is immutable"))
        .into_iter()
        .collect()
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
        if !kind.contains('/') && !matches!(kind, "" | "Container" | "PersistentVolumeClaim" | "Pod") {
            let why = "must be a standard limit type or fully qualified";
            cx.invalid(format!("{field}.type"), &limit["type"], why);
        }
        if kind == "PersistentVolumeClaim" && ["min", "max"].iter().all(|bound| limit[*bound]["storage"].is_null()) {
            let why = "either minimum or maximum storage value is required, but neither was provided";
            cx.required(format!("{field}.limits"), why);
        }
        for name in ["default", "defaultRequest"] {
            if kind == "Pod" && limit[name].as_object().is_some_and(|map| !map.is_empty()) {
                let why = "may not be specified when `type` is 'Pod'";
                cx.errors.push(FieldError::forbidden(format!("{field}.{name}"), why));
            }
        }
        limits(limit, &field, &mut cx);
        ratios(limit, &field, &mut cx);
    }
    cx.errors
}

/// Limits may be so many times the requests: at least as much as they are, and no more than the bounds let them be.
fn ratios(limit: &Value, field: &str, cx: &mut Context) {
    let amount = |kind: &str, name: &str| resources::amount(&limit[kind][name]);
    for (name, value) in limit["maxLimitRequestRatio"].as_object().into_iter().flatten() {
        let Some(ratio) = resources::amount(value) else { continue };
        let field = format!("{field}.maxLimitRequestRatio[{name}]");
        let shown = Value::from(ratio.to_string());
        if ratio < Quantity::units(1, Format::DecimalSi) {
            cx.invalid(field.clone(), &shown, &format!("ratio {ratio} is less than 1"));
        }
        if let (Some(least), Some(most)) = (amount("min", name), amount("max", name)) {
            let widest = most.milli_value() as f64 / least.milli_value() as f64;
            if ratio.milli_value() as f64 / 1000.0 > widest {
                cx.invalid(field, &shown, &format!("ratio {ratio} is greater than max/min = {widest:.6}"));
            }
        }
    }
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

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn said(errors: Vec<FieldError>) -> Vec<String> {
        errors.into_iter().map(|error| format!("{}: {}", error.field, error.detail)).collect()
    }

    #[test]
    fn scopes_fit_each_other_and_what_is_counted() {
        let quota = |hard: Value, scopes: Value| json!({"spec": {"hard": hard, "scopes": scopes}});
        assert_eq!(said(resource_quota(&quota(json!({"pods": "1"}), json!(["BestEffort"])))), [""; 0]);
        assert_eq!(
            said(resource_quota(&quota(json!({"cpu": "1"}), json!(["BestEffort"])))),
            ["spec.scopes: Invalid value: [\"BestEffort\"]: unsupported scope applied to resource"]
        );
        let both = quota(json!({"limits.cpu": "1"}), json!(["Terminating", "NotTerminating"]));
        assert!(said(resource_quota(&both))[0].ends_with("conflicting scopes"));
        assert!(said(resource_quota(&quota(json!({}), json!(["Odd"]))))[0].ends_with("unsupported scope"));
        let moved = resource_quota_update(&both, &quota(json!({}), json!(["Terminating"])));
        assert!(said(moved)[0].ends_with("field is immutable"));
        let selecting = |wanted: Value| {
            said(resource_quota(
                &json!({"spec": {"hard": {"pods": "1"}, "scopeSelector": {"matchExpressions": [wanted]}}}),
            ))
        };
        assert_eq!(selecting(json!({"scopeName": "PriorityClass", "operator": "In", "values": ["a"]})), [""; 0]);
        let at = "spec.scopeSelector.matchExpressions";
        assert!(
            selecting(json!({"scopeName": "PriorityClass", "operator": "In"}))[0]
                .starts_with(&format!("{at}.values: Required"))
        );
        assert!(
            selecting(json!({"scopeName": "BestEffort", "operator": "In", "values": ["a"]}))[0]
                .starts_with(&format!("{at}.operator"))
        );
    }

    #[test]
    fn limit_ranges_must_be_possible() {
        let range = |limit: Value| said(limit_range(&json!({"spec": {"limits": [limit]}})));
        let ratio = |ratio: &str| json!({"type": "Container", "min": {"cpu": "1"}, "max": {"cpu": "4"}, "maxLimitRequestRatio": {"cpu": ratio}});
        assert_eq!(range(ratio("4")), [""; 0]);
        let at = "spec.limits[0].maxLimitRequestRatio[cpu]: Invalid value";
        assert_eq!(range(ratio("5")), [format!("{at}: \"5\": ratio 5 is greater than max/min = 4.000000")]);
        assert_eq!(range(ratio("500m")), [format!("{at}: \"500m\": ratio 500m is less than 1")]);
        assert!(
            range(json!({"type": "PersistentVolumeClaim"}))[0].starts_with("spec.limits[0].limits: Required value")
        );
        assert!(range(json!({"type": "Odd"}))[0].ends_with("must be a standard limit type or fully qualified"));
    }
}
