//! When an object counts as ready: one rule per kind. Pure.
//!
//! A kind without a rule is ready when it exists; an Application can bring rules along ([`Health`]). A rule that looks at status first asks whether the
//! controller has seen the object's newest generation.

mod claim;
mod custom;
mod deployment;
mod health;
mod job;
mod pod;
mod replicas;
mod service;

pub use claim::{class_of_idle_claim, waits_for_consumer};
pub use health::{Health, HealthCheck};
pub use pod::{Trouble, troubles};

use crate::gitops::render::group;
use serde_json::Value;

/// How far an object is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Readiness {
    Ready,
    /// `1 of 3 updated pods ready`; time may help.
    Progressing(String),
    /// Time alone will not help.
    Failed(String),
}

/// Said for the moment that a controller takes to notice a change: hardly worth telling.
pub const NOT_STARTED: &str = "waiting for the rollout to start";

type Rule = fn(&Value) -> Readiness;

const RULES: [(&str, &str, Rule); 11] = [
    ("apps", "Deployment", deployment::readiness),
    ("apps", "ReplicaSet", replicas::replica_set),
    ("apps", "StatefulSet", replicas::stateful_set),
    ("apps", "DaemonSet", replicas::daemon_set),
    ("", "ReplicationController", replicas::replica_set),
    ("", "Pod", pod::readiness),
    ("", "PersistentVolumeClaim", claim::readiness),
    ("", "Service", service::readiness),
    ("", "Namespace", namespace),
    ("batch", "Job", job::readiness),
    ("apiextensions.k8s.io", "CustomResourceDefinition", custom::definition),
];

fn rule(api_version: &str, kind: &str) -> Option<Rule> {
    let group = group(api_version);
    let own = RULES.iter().find(|(in_group, name, _)| *in_group == group && *name == kind).map(|(.., rule)| *rule);
    own.or_else(|| custom::is_custom(group).then_some(custom::readiness as Rule))
}

/// Whether a part of every cluster sees to it that objects of the kind become ready.
fn is_driven(api_version: &str, kind: &str) -> bool {
    let group = group(api_version);
    RULES.iter().any(|(in_group, name, _)| *in_group == group && *name == kind)
}

/// Whether pods of a workload (or a pod) count as ready as soon as they have started: there is no readiness probe of
/// some container, nor a time for which it must run.
pub fn is_ready_at_once(object: &Value) -> bool {
    let template = object.pointer("/spec/template/spec");
    let spec = match object.get("kind").and_then(Value::as_str) {
        Some("Pod") => object.get("spec"),
        Some("Job") => None,
        _ => template,
    };
    let containers = spec.and_then(|spec| spec.get("containers")?.as_array());
    let unasked = containers.is_some_and(|all| all.iter().any(|one| one.get("readinessProbe").is_none()));
    unasked && count(object, "/spec/minReadySeconds") == 0
}

/// Whether objects of the kind can be anything but ready.
pub fn has_rule(api_version: &str, kind: &str) -> bool {
    rule(api_version, kind).is_some()
}

/// How far `object` is.
pub fn of(object: &Value) -> Readiness {
    let text = |field: &str| object.get(field).and_then(Value::as_str).unwrap_or_default();
    if is_going(object) {
        return progressing("being deleted");
    }
    rule(text("apiVersion"), text("kind")).map_or(Readiness::Ready, |rule| rule(object))
}

fn is_going(object: &Value) -> bool {
    object.pointer("/metadata/deletionTimestamp").is_some_and(|time| !time.is_null())
}

fn namespace(object: &Value) -> Readiness {
    match object.pointer("/status/phase").and_then(Value::as_str) {
        Some("Terminating") => Readiness::Progressing("being deleted".to_owned()),
        _ => Readiness::Ready,
    }
}

/// The number at `pointer`; absent is 0, as the API leaves zeros out.
fn count(object: &Value, pointer: &str) -> u64 {
    object.pointer(pointer).and_then(Value::as_u64).unwrap_or(0)
}

/// `spec.replicas`, 1 by default.
fn wanted(object: &Value) -> u64 {
    object.pointer("/spec/replicas").and_then(Value::as_u64).unwrap_or(1)
}

/// Whether status is about the newest spec.
fn observed(object: &Value) -> bool {
    count(object, "/status/observedGeneration") >= count(object, "/metadata/generation")
}

/// The condition of that type: its status, reason and message.
fn condition<'a>(object: &'a Value, wanted: &str) -> Option<(&'a str, &'a str, &'a str)> {
    let conditions = object.pointer("/status/conditions")?.as_array()?;
    let found = conditions.iter().find(|condition| condition.get("type").is_some_and(|t| t == wanted))?;
    let text = |field: &str| found.get(field).and_then(Value::as_str).unwrap_or_default();
    Some((text("status"), text("reason"), text("message")))
}

fn progressing(text: impl Into<String>) -> Readiness {
    Readiness::Progressing(text.into())
}

#[cfg(test)]
mod tests;
