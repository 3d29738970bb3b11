//! Validation of a pod's affinity and of how it is spread.

use super::validate::Context;
use crate::api::error::FieldError;
use crate::api::kinds::json::{integer, list, text};
use crate::api::kinds::names::qualified;
use crate::api::kinds::{labels, names};
use serde_json::Value;

const REQUIRED: &str = "requiredDuringSchedulingIgnoredDuringExecution";
const PREFERRED: &str = "preferredDuringSchedulingIgnoredDuringExecution";

pub fn validate(affinity: &Value, field: &str, cx: &mut Context) {
    nodes(&affinity["nodeAffinity"], &format!("{field}.nodeAffinity"), cx);
    for kind in ["podAffinity", "podAntiAffinity"] {
        let (pods, field) = (&affinity[kind], format!("{field}.{kind}"));
        for (i, term) in list(pods, &[REQUIRED]).iter().enumerate() {
            pod_term(term, &format!("{field}.{REQUIRED}[{i}]"), cx);
        }
        for (i, preferred) in list(pods, &[PREFERRED]).iter().enumerate() {
            let field = format!("{field}.{PREFERRED}[{i}]");
            weight(preferred, &field, cx);
            pod_term(&preferred["podAffinityTerm"], &format!("{field}.podAffinityTerm"), cx);
        }
    }
}

fn weight(preferred: &Value, field: &str, cx: &mut Context) {
    let weight = integer(preferred, &["weight"]).unwrap_or(0);
    if !(1..=100).contains(&weight) {
        cx.invalid(format!("{field}.weight"), &weight.into(), "must be in the range 1-100");
    }
}

fn nodes(affinity: &Value, field: &str, cx: &mut Context) {
    let required = &affinity[REQUIRED];
    if !required.is_null() {
        node_selector(required, &format!("{field}.{REQUIRED}"), cx);
    }
    for (i, preferred) in list(affinity, &[PREFERRED]).iter().enumerate() {
        let field = format!("{field}.{PREFERRED}[{i}]");
        weight(preferred, &field, cx);
        node_term(&preferred["preference"], &format!("{field}.preference"), cx);
    }
}

/// A selector of nodes by terms.
pub fn node_selector(selector: &Value, field: &str, cx: &mut Context) {
    let field = format!("{field}.nodeSelectorTerms");
    let terms = list(selector, &["nodeSelectorTerms"]);
    if terms.is_empty() {
        cx.required(field.clone(), "must have at least one node selector term");
    }
    for (i, term) in terms.iter().enumerate() {
        node_term(term, &format!("{field}[{i}]"), cx);
    }
}

fn node_term(term: &Value, field: &str, cx: &mut Context) {
    for (i, requirement) in list(term, &["matchExpressions"]).iter().enumerate() {
        let field = format!("{field}.matchExpressions[{i}]");
        let values = list(requirement, &["values"]);
        match text(requirement, &["operator"]) {
            "In" | "NotIn" if values.is_empty() => {
                cx.required(format!("{field}.values"), "must be specified when `operator` is 'In' or 'NotIn'");
            }
            "Exists" | "DoesNotExist" if !values.is_empty() => {
                let why = "may not be specified when `operator` is 'Exists' or 'DoesNotExist'";
                cx.errors.push(FieldError::forbidden(format!("{field}.values"), why));
            }
            "Gt" | "Lt" if values.len() != 1 => {
                let why = "must be specified single value when `operator` is 'Lt' or 'Gt'";
                cx.required(format!("{field}.values"), why);
            }
            "In" | "NotIn" | "Exists" | "DoesNotExist" | "Gt" | "Lt" => {}
            _ => cx.invalid(format!("{field}.operator"), &requirement["operator"], "not a valid selector operator"),
        }
        let wrong = names::qualified(text(requirement, &["key"]));
        cx.names(&format!("{field}.key"), &requirement["key"], wrong);
    }
}

fn pod_term(term: &Value, field: &str, cx: &mut Context) {
    if !term["labelSelector"].is_null() {
        labels::validate_selector(&term["labelSelector"], &format!("{field}.labelSelector"), &mut cx.errors);
    }
    if !term["namespaceSelector"].is_null() {
        labels::validate_selector(&term["namespaceSelector"], &format!("{field}.namespaceSelector"), &mut cx.errors);
    }
    label_keys(term, field, &["matchLabelKeys", "mismatchLabelKeys"], cx);
    for (i, namespace) in list(term, &["namespaces"]).iter().enumerate() {
        let wrong = names::label(namespace.as_str().unwrap_or_default());
        cx.names(&format!("{field}.namespaces[{i}]"), namespace, wrong);
    }
    match text(term, &["topologyKey"]) {
        "" => cx.required(format!("{field}.topologyKey"), "can not be empty"),
        key => cx.names(&format!("{field}.topologyKey"), &term["topologyKey"], names::qualified(key)),
    }
}

fn label_keys(term: &Value, field: &str, names: &[&str], cx: &mut Context) {
    for name in names {
        let (keys, field) = (list(term, &[name]), format!("{field}.{name}"));
        if !keys.is_empty() && term["labelSelector"].is_null() {
            let why = "must not be specified when labelSelector is not set";
            cx.errors.push(FieldError::forbidden(field, why));
            continue;
        }
        for (i, key) in keys.iter().enumerate() {
            let field = format!("{field}[{i}]");
            cx.names(&field, key, qualified(key.as_str().unwrap_or_default()));
            if *name == "mismatchLabelKeys" && list(term, &["matchLabelKeys"]).contains(key) {
                cx.invalid(field, key, "exists in both matchLabelKeys and mismatchLabelKeys");
            }
        }
    }
}

/// `topologySpreadConstraints`.
pub fn spreading(spec: &Value, path: &str, cx: &mut Context) {
    let constraints = list(spec, &["topologySpreadConstraints"]);
    for (i, constraint) in constraints.iter().enumerate() {
        let field = format!("{path}.topologySpreadConstraints[{i}]");
        let action = &constraint["whenUnsatisfiable"];
        cx.at_least(format!("{field}.maxSkew"), &constraint["maxSkew"], 1);
        match text(constraint, &["topologyKey"]) {
            "" => cx.required(format!("{field}.topologyKey"), "can not be empty"),
            key => cx.names(&format!("{field}.topologyKey"), &constraint["topologyKey"], qualified(key)),
        }
        cx.one_of(format!("{field}.whenUnsatisfiable"), action, &["DoNotSchedule", "ScheduleAnyway"]);
        for policy in ["nodeAffinityPolicy", "nodeTaintsPolicy"] {
            cx.one_of(format!("{field}.{policy}"), &constraint[policy], &["Honor", "Ignore"]);
        }
        let domains = &constraint["minDomains"];
        cx.at_least(format!("{field}.minDomains"), domains, 1);
        if !domains.is_null() && action != "DoNotSchedule" {
            let found = action.as_str().unwrap_or_default();
            let why = format!("can only use minDomains if whenUnsatisfiable=DoNotSchedule, not {found}");
            cx.invalid(format!("{field}.minDomains"), domains, &why);
        }
        if !constraint["labelSelector"].is_null() {
            let field = format!("{field}.labelSelector");
            labels::validate_selector(&constraint["labelSelector"], &field, &mut cx.errors);
        }
        label_keys(constraint, &field, &["matchLabelKeys"], cx);
        let same =
            |other: &Value| other["topologyKey"] == constraint["topologyKey"] && other["whenUnsatisfiable"] == *action;
        if constraints[..i].iter().any(same) {
            let pair =
                format!("{{{}, {}}}", text(constraint, &["topologyKey"]), text(constraint, &["whenUnsatisfiable"]));
            let field = format!("{field}.{{topologyKey, whenUnsatisfiable}}");
            cx.errors.push(FieldError::duplicate(field, &pair.into()));
        }
    }
}
