//! What controllers ask about pods, in the API's own terms. Pure.

use jiff::{SignedDuration, Timestamp};
use k8s_openapi::api::core::v1::{Container, ContainerStatus, Pod, PodCondition, PodTemplateSpec};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{ObjectMeta, OwnerReference};

pub fn uid(pod: &Pod) -> &str {
    pod.metadata.uid.as_deref().unwrap_or_default()
}

pub fn name(pod: &Pod) -> &str {
    pod.metadata.name.as_deref().unwrap_or_default()
}

/// `Pending` where the kubelet has not said anything yet.
pub fn phase(pod: &Pod) -> &str {
    pod.status.as_ref().and_then(|status| status.phase.as_deref()).unwrap_or("Pending")
}

/// Whether its host did not take it. In the kubelet's words.
pub fn was_rejected(pod: &Pod) -> bool {
    let message = pod.status.as_ref().and_then(|status| status.message.as_deref());
    phase(pod) == "Failed" && message.is_some_and(|message| message.starts_with("Pod was rejected: "))
}

pub fn is_terminating(pod: &Pod) -> bool {
    pod.metadata.deletion_timestamp.is_some()
}

/// Ran to its end: `Succeeded` or `Failed`.
pub fn is_finished(pod: &Pod) -> bool {
    matches!(phase(pod), "Succeeded" | "Failed")
}

/// Asks for or has other resources than before: it was told to, or its host followed.
pub fn is_resized(old: &Pod, new: &Pod) -> bool {
    fn asked(pod: &Pod) -> impl Iterator<Item = &Container> {
        let spec = pod.spec.iter();
        spec.flat_map(|spec| spec.containers.iter().chain(spec.init_containers.iter().flatten()))
    }
    fn had(pod: &Pod) -> impl Iterator<Item = &ContainerStatus> {
        let status = pod.status.iter();
        status.flat_map(|s| [&s.container_statuses, &s.init_container_statuses]).flatten().flatten()
    }
    fn pending(pod: &Pod) -> Option<&str> {
        let mut conditions = pod.status.iter().flat_map(|status| status.conditions.iter().flatten());
        conditions.find(|condition| condition.type_ == "PodResizePending")?.reason.as_deref()
    }
    let now = |status: &ContainerStatus| had(new).find(|now| now.name == status.name);
    !asked(old).map(|c| &c.resources).eq(asked(new).map(|c| &c.resources))
        || pending(old) != pending(new)
        || had(old).filter(|status| status.allocated_resources.is_some()).any(|status| {
            now(status).is_some_and(|now| {
                now.allocated_resources != status.allocated_resources || now.resources != status.resources
            })
        })
}

/// Counts as a replica: neither finished nor on its way out.
pub fn is_active(pod: &Pod) -> bool {
    !is_finished(pod) && !is_terminating(pod)
}

pub fn node(pod: &Pod) -> Option<&str> {
    pod.spec.as_ref()?.node_name.as_deref().filter(|node| !node.is_empty())
}

fn ready_condition(pod: &Pod) -> Option<&PodCondition> {
    let conditions = pod.status.as_ref()?.conditions.as_ref()?;
    conditions.iter().find(|condition| condition.type_ == "Ready" && condition.status == "True")
}

pub fn is_ready(pod: &Pod) -> bool {
    ready_condition(pod).is_some()
}

/// Since when the pod is ready, if it is.
pub fn ready_since(pod: &Pod) -> Option<Timestamp> {
    ready_condition(pod)?.last_transition_time.as_ref().map(|time| time.0)
}

/// Whether a pod has been ready for as long as its workload asks, and if not, when it will have been.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Availability {
    Yes,
    In(SignedDuration),
    /// It is not even ready.
    No,
}

pub fn availability(pod: &Pod, min_ready_seconds: i32, now: Timestamp) -> Availability {
    if !is_ready(pod) {
        return Availability::No;
    }
    if min_ready_seconds <= 0 {
        return Availability::Yes;
    }
    let wait = SignedDuration::from_secs(min_ready_seconds.into());
    let passed = ready_since(pod).map_or(SignedDuration::ZERO, |since| now.duration_since(since));
    if passed >= wait { Availability::Yes } else { Availability::In(wait - passed) }
}

/// Restarts of all containers together.
pub fn restarts(pod: &Pod) -> i32 {
    let status = pod.status.as_ref();
    let containers = status.and_then(|status| status.container_statuses.as_ref());
    let init = status.and_then(|status| status.init_container_statuses.as_ref());
    containers.into_iter().chain(init).flatten().map(|container| container.restart_count).sum()
}

/// A pod as a controller makes it from a template; the API server completes the name.
pub fn from_template(
    template: &PodTemplateSpec,
    namespace: Option<String>,
    prefix: &str,
    owner: OwnerReference,
) -> Pod {
    let wanted = template.metadata.clone().unwrap_or_default();
    Pod {
        metadata: ObjectMeta {
            generate_name: Some(format!("{prefix}-")),
            namespace,
            labels: wanted.labels,
            annotations: wanted.annotations,
            finalizers: wanted.finalizers,
            owner_references: Some(vec![owner]),
            ..ObjectMeta::default()
        },
        spec: template.spec.clone(),
        status: None,
    }
}
