//! One pod: what is seen of it ([`View`]), what only this process knows ([`Facts`]), what to do
//! about it ([`plan`]), and the task that does it ([`worker`]).
//!
//! Facts are an optimisation and a courtesy (probe results, back-offs of things that left no
//! container behind); losing them in a restart of the daemon restarts no container.

pub mod facts;
pub mod hooks;
mod last_words;
pub mod ops;
pub mod plan;
mod report;
pub mod start;
pub mod step;
pub mod worker;

use crate::kubelet::runtime::{ContainerStatus, PodIdentity, Sandbox};
use facts::Facts;
use jiff::Timestamp;
use k8s_openapi::api::core::v1::{Container, ContainerStatus as ApiStatus, Pod, PodSpec};
use sha2::{Digest, Sha256};
use std::collections::BTreeSet;

/// Everything a decision about a pod depends on.
pub struct View<'a> {
    pub pod: &'a Pod,
    pub sandbox: Option<&'a Sandbox>,
    /// Every life of every container, in any order.
    pub containers: &'a [ContainerStatus],
    pub facts: &'a Facts,
    /// Containers with an operation under way, which must be left alone.
    pub busy: &'a BTreeSet<String>,
    /// An operation on the sandbox is under way.
    pub sandbox_busy: bool,
    pub now: Timestamp,
}

/// What a container is to its pod.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    /// Runs to its end before the next one starts.
    Init,
    /// An init container that goes on running (`restartPolicy: Always`).
    Sidecar,
    Main,
}

impl Role {
    pub fn of_init(container: &Container) -> Self {
        if container.restart_policy.as_deref() == Some("Always") { Self::Sidecar } else { Self::Init }
    }
}

impl<'a> View<'a> {
    pub fn spec(&self) -> &'a PodSpec {
        spec(self.pod)
    }

    /// The lives of a container, newest first.
    pub fn lives(&self, name: &str) -> Vec<&'a ContainerStatus> {
        let mut lives: Vec<_> = self.containers.iter().filter(|c| c.identity.container == name).collect();
        lives.sort_by_key(|c| (std::cmp::Reverse(c.identity.restart_count), std::cmp::Reverse(c.created)));
        lives
    }

    /// What the API says about a container so far.
    pub fn reported(&self, name: &str) -> Option<&'a ApiStatus> {
        all_statuses(self.pod).find(|s| s.name == name)
    }

    pub fn deleting(&self) -> bool {
        self.pod.metadata.deletion_timestamp.is_some()
    }
}

/// All containers of a spec in the order they start, with what they are.
pub fn all_containers(spec: &PodSpec) -> impl Iterator<Item = (Role, &Container)> {
    let init = spec.init_containers.iter().flatten().map(|c| (Role::of_init(c), c));
    init.chain(spec.containers.iter().map(|c| (Role::Main, c)))
}

/// What the API says about the pod's containers, init containers last.
pub fn all_statuses(pod: &Pod) -> impl Iterator<Item = &ApiStatus> {
    let status = pod.status.iter();
    status.flat_map(|s| s.container_statuses.iter().chain(s.init_container_statuses.iter()).flatten())
}

/// The spec; an empty one for an object that lacks it, which the API server never stores.
pub fn spec(pod: &Pod) -> &PodSpec {
    static EMPTY: std::sync::LazyLock<PodSpec> = std::sync::LazyLock::new(PodSpec::default);
    pod.spec.as_ref().unwrap_or(&EMPTY)
}

pub fn identity(pod: &Pod) -> PodIdentity {
    PodIdentity {
        namespace: pod.metadata.namespace.clone().unwrap_or_default(),
        name: pod.metadata.name.clone().unwrap_or_default(),
        uid: pod.metadata.uid.clone().unwrap_or_default(),
    }
}

/// Changes when a container has to be made anew. Of a pod's spec only images can change in place
/// (Kubernetes' API), and a hash of more would restart containers when selkie learns new fields.
pub fn container_hash(container: &Container) -> String {
    let mut hash = Sha256::new();
    hash.update(container.name.as_bytes());
    hash.update([0]);
    hash.update(container.image.as_deref().unwrap_or_default().as_bytes());
    hash.finalize().iter().take(8).map(|byte| format!("{byte:02x}")).collect()
}

/// A pod that will never run again: its phase is Succeeded or Failed.
pub fn is_terminal(pod: &Pod) -> bool {
    matches!(phase(pod), "Succeeded" | "Failed")
}

/// `status.phase`; empty when there is none.
pub fn phase(pod: &Pod) -> &str {
    pod.status.as_ref().and_then(|s| s.phase.as_deref()).unwrap_or_default()
}
