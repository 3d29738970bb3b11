//! Roles and their bindings.

use crate::api::error::FieldError;
use crate::api::kinds::json::{list, text};
use crate::api::kinds::pod_spec::Context;
use serde_json::Value;

const GROUP: &str = "rbac.authorization.k8s.io";

pub fn role(object: &Value) -> Vec<FieldError> {
    let mut cx = Context::new();
    for (i, rule) in list(object, &["rules"]).iter().enumerate() {
        let field = |name: &str| format!("rules[{i}].{name}");
        let has = |name: &str| !list(rule, &[name]).is_empty();
        if !has("verbs") {
            cx.required(field("verbs"), "verbs must contain at least one value");
        }
        if has("nonResourceURLs") {
            if !text(object, &["metadata", "namespace"]).is_empty() {
                let why = "namespaced rules cannot apply to non-resource URLs";
                cx.invalid(field("nonResourceURLs"), &rule["nonResourceURLs"], why);
            }
            if ["apiGroups", "resources", "resourceNames"].into_iter().any(has) {
                let why = "rules cannot apply to both regular resources and non-resource URLs";
                cx.invalid(field("nonResourceURLs"), &rule["nonResourceURLs"], why);
            }
            continue;
        }
        if !has("apiGroups") {
            cx.required(field("apiGroups"), "resource rules must supply at least one api group");
        }
        if !has("resources") {
            cx.required(field("resources"), "resource rules must supply at least one resource");
        }
    }
    cx.errors
}

pub fn binding(object: &Value) -> Vec<FieldError> {
    let mut cx = Context::new();
    let role = &object["roleRef"];
    if text(role, &["apiGroup"]) != GROUP {
        cx.errors.push(FieldError::not_supported("roleRef.apiGroup", &role["apiGroup"], &[GROUP]));
    }
    let namespaced = !text(object, &["metadata", "namespace"]).is_empty();
    let kinds: &[&str] = if namespaced { &["Role", "ClusterRole"] } else { &["ClusterRole"] };
    if !kinds.contains(&text(role, &["kind"])) {
        cx.errors.push(FieldError::not_supported("roleRef.kind", &role["kind"], kinds));
    }
    if text(role, &["name"]).is_empty() {
        cx.required("roleRef.name".into(), "");
    }
    for (i, subject) in list(object, &["subjects"]).iter().enumerate() {
        self::subject(subject, &format!("subjects[{i}]"), &mut cx);
    }
    cx.errors
}

fn subject(subject: &Value, field: &str, cx: &mut Context) {
    if text(subject, &["name"]).is_empty() {
        cx.required(format!("{field}.name"), "");
    }
    let group = match text(subject, &["kind"]) {
        "ServiceAccount" => {
            if text(subject, &["namespace"]).is_empty() {
                cx.required(format!("{field}.namespace"), "");
            }
            ""
        }
        "User" | "Group" => GROUP,
        _ => {
            let kinds = ["ServiceAccount", "User", "Group"];
            cx.errors.push(FieldError::not_supported(format!("{field}.kind"), &subject["kind"], &kinds));
            return;
        }
    };
    if text(subject, &["apiGroup"]) != group {
        let given = text(subject, &["apiGroup"]).into();
        cx.errors.push(FieldError::not_supported(format!("{field}.apiGroup"), &given, &[group]));
    }
}

/// A binding binds the same role for ever.
pub fn binding_update(new: &Value, old: &Value) -> Vec<FieldError> {
    let changed = new["roleRef"] != old["roleRef"];
    let error = || FieldError::invalid("roleRef", &new["roleRef"], "cannot change roleRef");
    changed.then(error).into_iter().collect()
}
