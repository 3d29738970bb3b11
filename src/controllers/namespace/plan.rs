//! What to say of a namespace being emptied, and when to look again. Pure.

use crate::controllers::objects::{Meta, Resource};
use jiff::Timestamp;
use k8s_openapi::api::core::v1::{Namespace, NamespaceCondition, NamespaceStatus};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

/// Ours, in `spec.finalizers`.
pub const FINALIZER: &str = "kubernetes";

/// Being deleted, and waiting for us.
pub fn is_leaving(namespace: &Namespace) -> bool {
    let finalizers = namespace.spec.as_ref().and_then(|spec| spec.finalizers.as_ref());
    namespace.metadata.deletion_timestamp.is_some()
        && finalizers.into_iter().flatten().any(|finalizer| finalizer == FINALIZER)
}

/// The kinds to empty, in order: pods last, after whoever would make them anew.
pub fn order(resources: Vec<Arc<Resource>>) -> Vec<Arc<Resource>> {
    let (pods, mut others): (Vec<_>, Vec<_>) = resources
        .into_iter()
        .filter(|resource| resource.namespaced)
        .partition(|resource| resource.plural == "pods" && resource.group().is_empty());
    others.extend(pods);
    others
}

/// `deployments.apps`, as messages name kinds.
pub fn label(resource: &Resource) -> String {
    format!("{}.{}", resource.plural, resource.group())
}

/// What is left of one kind.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Content {
    pub label: String,
    pub count: usize,
    /// How many objects each finalizer holds.
    pub finalizers: BTreeMap<String, usize>,
}

impl Content {
    pub fn of(resource: &Resource, left: &[Meta]) -> Self {
        let mut finalizers = BTreeMap::new();
        for finalizer in left.iter().flat_map(|meta| &meta.finalizers) {
            *finalizers.entry(finalizer.clone()).or_default() += 1;
        }
        Self { label: label(resource), count: left.len(), finalizers }
    }
}

/// A condition without its time.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Finding {
    kind: &'static str,
    holds: bool,
    reason: &'static str,
    message: String,
}

fn finding(kind: &'static str, holds: bool, reason: &'static str, message: impl Into<String>) -> Finding {
    Finding { kind, holds, reason, message: message.into() }
}

/// Without the list of kinds nothing else is known.
pub fn discovery_failed(why: &str) -> Vec<Finding> {
    let message = format!("Discovery failed for some groups: {why}");
    vec![finding("NamespaceDeletionDiscoveryFailure", true, "DiscoveryFailed", message)]
}

/// The conditions kubectl and people know from Kubernetes.
pub fn conditions(content: &[Content], failure: Option<&str>) -> Vec<Finding> {
    let discovered = "All resources successfully discovered";
    let parsed = "All legacy kube types successfully parsed";
    let deletion = "NamespaceDeletionContentFailure";
    let remaining = "NamespaceContentRemaining";
    let held = "NamespaceFinalizersRemaining";
    let mut finalizers = BTreeMap::<&str, usize>::new();
    for (name, count) in content.iter().flat_map(|content| &content.finalizers) {
        *finalizers.entry(name).or_default() += count;
    }
    let list = |parts: Vec<String>| parts.join(", ");
    let kinds = content.iter().map(|kind| format!("{} has {} resource instances", kind.label, kind.count));
    let holders = finalizers.iter().map(|(name, count)| format!("{name} in {count} resource instances"));
    let left = format!("Some resources are remaining: {}", list(kinds.collect()));
    let holding = format!("Some content in the namespace has finalizers remaining: {}", list(holders.collect()));
    vec![
        finding("NamespaceDeletionDiscoveryFailure", false, "ResourcesDiscovered", discovered),
        finding("NamespaceDeletionGroupVersionParsingFailure", false, "ParsedGroupVersions", parsed),
        match failure {
            None => finding(
                deletion,
                false,
                "ContentDeleted",
                "All content successfully deleted, may be waiting on finalization",
            ),
            Some(why) => finding(
                deletion,
                true,
                "ContentDeletionFailed",
                format!("Failed to delete all resource types, 1 remaining: {why}"),
            ),
        },
        match content.is_empty() {
            true => finding(remaining, false, "ContentRemoved", "All content successfully removed"),
            false => finding(remaining, true, "SomeResourcesRemain", left),
        },
        match finalizers.is_empty() {
            true => finding(held, false, "ContentHasNoFinalizers", "All content-preserving finalizers finished"),
            false => finding(held, true, "SomeFinalizersRemain", holding),
        },
    ]
}

/// The namespace's status with these findings; times of conditions that did not turn stay.
pub fn status(namespace: &Namespace, found: &[Finding], now: Timestamp) -> NamespaceStatus {
    let mut status = namespace.status.clone().unwrap_or_default();
    status.phase = Some("Terminating".into());
    let mut conditions = status.conditions.take().unwrap_or_default();
    for finding in found {
        let known = conditions.iter_mut().find(|condition| condition.type_ == finding.kind);
        let holds = if finding.holds { "True" } else { "False" };
        let since = match &known {
            Some(known) if known.status == holds => known.last_transition_time.clone(),
            _ => Some(Time(now)),
        };
        let condition = NamespaceCondition {
            type_: finding.kind.into(),
            status: holds.into(),
            reason: Some(finding.reason.into()),
            message: Some(finding.message.clone()),
            last_transition_time: since,
        };
        match known {
            Some(known) => *known = condition,
            None => conditions.push(condition),
        }
    }
    status.conditions = Some(conditions);
    status
}

/// Until the next look: the longer a namespace hangs, the less often it is looked at.
pub fn pause(namespace: &Namespace, now: Timestamp) -> Duration {
    let since = namespace.metadata.deletion_timestamp.as_ref().map_or(now, |time| time.0);
    let hanging = now.duration_since(since);
    (hanging.unsigned_abs() / 10).clamp(Duration::from_millis(200), Duration::from_secs(15))
}
