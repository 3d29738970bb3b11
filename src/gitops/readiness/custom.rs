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

/// Said of an object whose controller has not seen its newest generation.
pub const UNOBSERVED: &str = "waiting for its controller";

/// The controller says which generation it has seen, and that is not the newest.
pub fn is_unobserved(object: &Value) -> bool {
    object.pointer("/status/observedGeneration").is_some() && !observed(object)
}

/// An object that says nothing about itself is ready.
pub fn readiness(object: &Value) -> Readiness {
    if is_unobserved(object) {
        return progressing(UNOBSERVED);
    }
    match complaint(object) {
        Some(why) if is_true(object, "Stalled") => Readiness::Failed(why),
        Some(why) => progressing(why),
        None => Readiness::Ready,
    }
}

/// What the conditions say that keeps it from being ready.
pub fn complaint(object: &Value) -> Option<String> {
    let bad = |(kind, states): &(&str, &[&str])| condition(object, kind).filter(|(status, ..)| states.contains(status));
    let conditions: [(&str, &[&str]); 3] =
        [("Stalled", &["True"]), ("Reconciling", &["True"]), ("Ready", &["False", "Unknown"])];
    let (_, reason, message) = conditions.iter().find_map(bad)?;
    Some(match (reason, message) {
        ("", "") => "not ready".to_owned(),
        (reason, "") => reason.to_owned(),
        ("", message) => message.to_owned(),
        (reason, message) => format!("{reason}: {message}"),
    })
}

fn is_true(object: &Value, kind: &str) -> bool {
    condition(object, kind).is_some_and(|(status, ..)| status == "True")
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
