//! Resources of pods that run, changed in place.
//!
//! Of each container's resources there are three: what is **desired** (the spec), what is **allocated**
//! (what the host has set aside: a resize is allocated as a whole, when there is room), and what is **actuated**
//! (what the container has). A change goes from one to the next, and each step may take its time:
//!
//! ```text
//!   desired --[allocations: is there room?]--> allocated --[actuation: update or restart]--> actuated
//!             PodResizePending                            PodResizeInProgress
//! ```
//!
//! Nothing of it is written down on the host. What is allocated differs from what is desired only while
//! the API says so ([`Allocation::reported`]): its status has the requests that are set aside and the limits
//! that hold. A kubelet that starts again takes them from there, and so grants nothing twice. For its sake, what
//! is granted is told before it is done.
//!
//! [`allocations`] holds what the workers of a host share, [`room`] decides, [`actuation`] compares,
//! [`words`] speaks as Kubernetes does. Source: KEP-1287 as in Kubernetes 1.36.

pub mod actuation;
pub mod allocations;
pub mod room;
pub mod words;

use crate::kubelet::pod::{all_containers, all_statuses, spec};
use crate::kubelet::resources::whole;
use crate::scheduler::requests;
use k8s_openapi::api::core::v1::{Container, Pod, PodCondition, PodSpec, ResourceRequirements};
use k8s_openapi::apimachinery::pkg::api::resource::Quantity;
use std::collections::BTreeMap;
use std::sync::Arc;

pub const PENDING: &str = "PodResizePending";
pub const IN_PROGRESS: &str = "PodResizeInProgress";
pub const DEFERRED: &str = "Deferred";
pub const INFEASIBLE: &str = "Infeasible";
pub const ERROR: &str = "Error";

/// The resources that can be changed in place.
pub const RESIZABLE: [&str; 2] = ["cpu", "memory"];

type Amounts = Option<BTreeMap<String, Quantity>>;

/// What is set aside for a pod.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Allocation {
    /// Of the pod as a whole, where it says so.
    pod: Option<ResourceRequirements>,
    /// By container.
    containers: BTreeMap<String, ResourceRequirements>,
}

/// What a pod has as a whole: what it says of itself, and the cpu that is set aside for it, by which it is weighed.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Whole {
    pub resources: Option<ResourceRequirements>,
    cpu: i64,
}

impl Whole {
    pub fn of(spec: &PodSpec) -> Self {
        let resources = whole(spec).map(|all| plain(Some(all)));
        Self { resources, cpu: requests::of(spec).cpu }
    }

    /// As the API tells of a pod that was allocated what is in this `spec`.
    pub fn reported(pod: &Pod, spec: &PodSpec) -> Self {
        let resources = pod.status.as_ref().and_then(|status| status.resources.as_ref());
        Self { resources: resources.map(|all| plain(Some(all))), ..Self::of(spec) }
    }

    /// Bytes.
    pub fn memory_limit(&self) -> Option<i64> {
        let limits = self.resources.as_ref().and_then(|all| all.limits.as_ref());
        Some(requests::Amounts::of(limits).memory).filter(|bytes| *bytes > 0)
    }

    /// Whether both are limited alike; they may weigh differently.
    pub fn is_limited_as(&self, other: &Self) -> bool {
        let limits = |one: &Self| {
            let all = requests::Amounts::of(one.resources.as_ref().and_then(|all| all.limits.as_ref()));
            (all.cpu, all.memory)
        };
        limits(self) == limits(other)
    }
}

/// Where a pod's resize stands.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Standing {
    pub allocated: Allocation,
    /// Why what is desired is not allocated.
    pub pending: Option<Pending>,
    /// What was allocated is not yet what the containers have.
    pub progress: Option<Progress>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pending {
    /// [`DEFERRED`] or [`INFEASIBLE`].
    pub reason: &'static str,
    pub message: String,
    /// Of the pod that asks for it.
    pub generation: i64,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Progress {
    /// Of the pod whose desire was allocated.
    pub generation: i64,
    pub error: Option<String>,
}

impl Allocation {
    /// All that the pod asks for.
    pub fn desired(pod: &Pod) -> Self {
        let of = |container: &Container| (container.name.clone(), plain(container.resources.as_ref()));
        let containers = all_containers(spec(pod)).map(|(_, container)| of(container)).collect();
        Self { pod: spec(pod).resources.as_ref().map(|all| plain(Some(all))), containers }
    }

    /// As the API tells. Once a change was seen and nothing is pending, what is desired is allocated.
    pub fn reported(pod: &Pod) -> Self {
        let mut allocation = Self::desired(pod);
        if is_settled(pod) {
            return allocation;
        }
        for status in all_statuses(pod) {
            let Some(requests) = &status.allocated_resources else { continue };
            let Some(own) = allocation.containers.get_mut(&status.name) else { continue };
            overlay(&mut own.requests, Some(requests));
            if let Some(actual) = &status.resources {
                overlay(&mut own.limits, actual.limits.as_ref());
            }
        }
        if let (Some(own), Some(status)) = (allocation.pod.as_mut(), pod.status.as_ref()) {
            if status.allocated_resources.is_some() {
                overlay(&mut own.requests, status.allocated_resources.as_ref());
            }
            if let Some(actual) = &status.resources {
                overlay(&mut own.limits, actual.limits.as_ref());
            }
        }
        allocation
    }

    /// Whether the API plainly tells of nothing else than what is desired, as of most pods. A host looks at all its
    /// pods for each that comes.
    pub fn is_as_desired(pod: &Pod) -> bool {
        let tells = all_statuses(pod).any(|status| status.allocated_resources.is_some());
        is_settled(pod) || !tells && spec(pod).resources.is_none()
    }

    /// The pod as it was allocated: it has these resources. The same object where that makes no difference.
    pub fn apply(&self, pod: &Arc<Pod>) -> Arc<Pod> {
        if Self::desired(pod) == *self {
            return pod.clone();
        }
        let mut allocated = Pod::clone(pod);
        if let Some(spec) = allocated.spec.as_mut() {
            spec.resources = self.pod.clone();
            for container in spec.containers.iter_mut().chain(spec.init_containers.iter_mut().flatten()) {
                if let Some(resources) = self.containers.get(&container.name) {
                    container.resources = Some(resources.clone());
                }
            }
        }
        Arc::new(allocated)
    }
}

impl Standing {
    /// As the API tells, for a kubelet that knows nothing yet; `None`: there is nothing to know.
    pub fn reported(pod: &Pod) -> Option<Self> {
        let allocated = Allocation::reported(pod);
        let (pending, progress) = (condition(pod, PENDING), condition(pod, IN_PROGRESS));
        if allocated == Allocation::desired(pod) && pending.is_none() && progress.is_none() {
            return None;
        }
        let message = |condition: &PodCondition| condition.message.clone().unwrap_or_default();
        let generation = |condition: &PodCondition| condition.observed_generation.unwrap_or_default();
        let pending = pending.map(|condition| Pending {
            reason: if condition.reason.as_deref() == Some(INFEASIBLE) { INFEASIBLE } else { DEFERRED },
            message: message(condition),
            generation: generation(condition),
        });
        let progress = progress.map(|condition| Progress {
            generation: generation(condition),
            error: (condition.reason.as_deref() == Some(ERROR)).then(|| message(condition)),
        });
        Some(Self { allocated, pending, progress })
    }
}

/// The kubelet has seen what the pod asks for now, and found nothing wrong with it.
fn is_settled(pod: &Pod) -> bool {
    let seen = pod.status.as_ref().and_then(|status| status.observed_generation) == pod.metadata.generation;
    seen && condition(pod, PENDING).is_none()
}

/// Whether the API says that the pod is being resized to what was allocated.
pub fn is_told(pod: &Pod, progress: &Progress) -> bool {
    condition(pod, IN_PROGRESS).is_some_and(|told| told.observed_generation == Some(progress.generation))
}

fn condition<'a>(pod: &'a Pod, name: &str) -> Option<&'a PodCondition> {
    pod.status.as_ref()?.conditions.as_ref()?.iter().find(|condition| condition.type_ == name)
}

/// Without what is empty: that is as good as absent.
fn plain(resources: Option<&ResourceRequirements>) -> ResourceRequirements {
    let mut resources = resources.cloned().unwrap_or_default();
    resources.requests.take_if(|all| all.is_empty());
    resources.limits.take_if(|all| all.is_empty());
    resources
}

/// Makes cpu and memory what they are in `from`.
fn overlay(into: &mut Amounts, from: Option<&BTreeMap<String, Quantity>>) {
    for name in RESIZABLE {
        match from.and_then(|from| from.get(name)) {
            Some(amount) => drop(into.get_or_insert_default().insert(name.into(), amount.clone())),
            None => drop(into.as_mut().and_then(|into| into.remove(name))),
        }
    }
    into.take_if(|into| into.is_empty());
}

/// Whether two states of a pod ask for different resources.
pub fn is_resized(old: &Pod, new: &Pod) -> bool {
    let (old, new) = (spec(old), spec(new));
    old.resources != new.resources
        || !all_containers(old).map(|(_, c)| &c.resources).eq(all_containers(new).map(|(_, c)| &c.resources))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use serde_json::{Value, json};

    /// A pod that asks for `cpu`, of generation 2.
    fn pod(cpu: &str, observed: i64, conditions: Value) -> Pod {
        let resources = |cpu: &str| json!({"requests": {"cpu": cpu, "x.y/z": "1"}, "limits": {"cpu": cpu}});
        serde_json::from_value(json!({
            "metadata": {"generation": 2},
            "spec": {"containers": [{"name": "c", "resources": resources(cpu)}]},
            "status": {"observedGeneration": observed, "conditions": conditions, "containerStatuses": [{"name": "c",
                "ready": true, "restartCount": 0, "image": "", "imageID": "",
                "allocatedResources": {"cpu": "1", "x.y/z": "1"}, "resources": resources("1")}]}}))
        .unwrap()
    }

    #[test]
    fn what_is_allocated_is_read_from_the_api() {
        let none = json!([]);
        let (one, two) =
            (Allocation::desired(&pod("1", 2, none.clone())), Allocation::desired(&pod("2", 2, none.clone())));
        assert_eq!(Allocation::reported(&pod("2", 2, none.clone())), two, "seen, and nothing against it");
        assert_eq!(Allocation::reported(&pod("2", 1, none.clone())), one, "not seen yet");
        let condition = |name: &str, reason: &str| json!([{"type": name, "status": "True", "reason": reason, "message": "m", "observedGeneration": 2}]);
        let deferred = pod("2", 2, condition(PENDING, "Deferred"));
        assert_eq!(Allocation::reported(&deferred), one);
        let pending = Pending { reason: DEFERRED, message: "m".into(), generation: 2 };
        let expected = Standing { allocated: one.clone(), pending: Some(pending), progress: None };
        assert_eq!(Standing::reported(&deferred), Some(expected));
        let failed = Progress { generation: 2, error: Some("m".into()) };
        let standing = Standing::reported(&pod("2", 2, condition(IN_PROGRESS, "Error"))).unwrap();
        assert_eq!((standing.allocated, standing.progress), (two.clone(), Some(failed)));
        assert_eq!(Standing::reported(&pod("2", 2, none.clone())), None);
        let mut fresh = pod("2", 1, none);
        fresh.status = None;
        assert_eq!(Allocation::reported(&fresh), two, "nobody has run it yet");
        let as_desired = [&pod("2", 2, json!([])), &pod("2", 1, json!([])), &deferred, &fresh];
        assert_eq!(as_desired.map(Allocation::is_as_desired), [true, false, false, true]);
    }

    #[test]
    fn a_pod_runs_as_it_was_allocated() {
        let pod = Arc::new(pod("2", 1, json!([])));
        let allocated = Allocation::reported(&pod).apply(&pod);
        assert_eq!(Allocation::desired(&allocated), Allocation::reported(&pod));
        assert!(is_resized(&pod, &allocated));
        assert!(Arc::ptr_eq(&Allocation::desired(&pod).apply(&pod), &pod));
    }
}
