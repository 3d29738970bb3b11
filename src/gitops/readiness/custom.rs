//! Custom resources: what their conditions say, as most controllers write them.

use super::{Readiness, condition, observed, progressing};
use serde_json::Value;

/// Groups whose kinds are Kubernetes' own: those have rules of their own, or need none.
const BUILT_IN: [&str; 13] = [
    "apiextensions.k8s.io",
    "apps",
    "authentication.k8s.io",
    "authorization.k8s.io",
    "autoscaling",
    "batch",
    "coordination.k8s.io",
    "discovery.k8s.io",
    "events.k8s.io",
    "policy",
    "rbac.authorization.k8s.io",
    "scheduling.k8s.io",
    "selkie.dev",
];

/// Whether a group's kinds come from definitions.
pub fn is_custom(group: &str) -> bool {
    group.contains('.') && !BUILT_IN.contains(&group)
}

/// An object that says nothing about itself is ready.
pub fn readiness(object: &Value) -> Readiness {
    if object.pointer("/status/observedGeneration").is_some() && !observed(object) {
        return progressing("waiting for its controller");
    }
    let said = |reason: &str, message: &str| match (reason, message) {
        ("", "") => "not ready".to_owned(),
        (reason, "") => reason.to_owned(),
        ("", message) => message.to_owned(),
        (reason, message) => format!("{reason}: {message}"),
    };
    if let Some(("True", reason, message)) = condition(object, "Stalled") {
        return Readiness::Failed(said(reason, message));
    }
    if let Some(("True", reason, message)) = condition(object, "Reconciling") {
        return progressing(said(reason, message));
    }
    match condition(object, "Ready") {
        Some(("False" | "Unknown", reason, message)) => progressing(said(reason, message)),
        _ => Readiness::Ready,
    }
}

/// A definition is ready when its kind is served.
pub fn definition(object: &Value) -> Readiness {
    if let Some(("False", _, message)) = condition(object, "NamesAccepted") {
        return Readiness::Failed(message.to_owned());
    }
    match condition(object, "Established") {
        Some(("True", ..)) => Readiness::Ready,
        _ => progressing("not established"),
    }
}
