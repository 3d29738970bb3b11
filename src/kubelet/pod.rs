//! One pod: what is seen of it ([`View`]), what only this process knows ([`Facts`]), what to do
//! about it ([`plan`]), and the task that does it ([`worker`]).
//!
//! Facts are an optimisation and a courtesy (probe results, back-offs of things that left no
//! container behind); losing them in a restart of the daemon restarts no container, and keeps none from
//! starting that was stopped for a resize: that the API tells, too.

mod around;
mod arrival;
pub mod facts;
pub mod hooks;
mod last_words;
pub mod ops;
pub mod plan;
mod report;
mod resizing;
pub mod restarts;
pub mod start;
pub mod step;
pub mod worker;

use crate::kubelet::resize::Standing;
use crate::kubelet::runtime::{ContainerStatus, PodIdentity, Sandbox};
use facts::Facts;
use jiff::Timestamp;
use k8s_openapi::api::core::v1::{Container, ContainerStatus as ApiStatus, EphemeralContainer, Pod, PodSpec};
use sha2::{Digest, Sha256};
use std::borrow::Cow;
use std::collections::BTreeSet;

/// Everything a decision about a pod depends on.
pub struct View<'a> {
    /// With the resources that are allocated to it.
    pub pod: &'a Pod,
    pub sandbox: Option<&'a Sandbox>,
    /// Every life of every container, in any order.
    pub containers: &'a [ContainerStatus],
    pub facts: &'a Facts,
    /// The host does not take the pod, or not any more.
    pub refused: Option<&'a plan::Failure>,
    /// Where a change of the pod's resources stands; `None`: its containers have what it asks for.
    pub resize: Option<&'a Standing>,
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
    /// Added to a pod that runs; runs once.
    Ephemeral,
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

    /// The newest of a container's `lives`.
    pub fn newest<'l>(lives: &'l [ContainerStatus], name: &str) -> Option<&'l ContainerStatus> {
        let own = lives.iter().filter(|life| life.identity.container == name);
        own.max_by_key(|life| (life.identity.restart_count, life.created))
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

/// The containers that were added to the pod since it was made, as containers.
pub fn ephemeral_containers(spec: &PodSpec) -> impl Iterator<Item = Container> {
    spec.ephemeral_containers.iter().flatten().map(as_container)
}

/// The container of a name, whatever it is to its pod.
pub fn find_container<'a>(spec: &'a PodSpec, name: &str) -> Option<(Role, Cow<'a, Container>)> {
    let of_start = all_containers(spec).find(|(_, c)| c.name == name);
    let of_start = of_start.map(|(role, container)| (role, Cow::Borrowed(container)));
    of_start.or_else(|| {
        let added = spec.ephemeral_containers.iter().flatten().find(|c| c.name == name)?;
        Some((Role::Ephemeral, Cow::Owned(as_container(added))))
    })
}

fn as_container(added: &EphemeralContainer) -> Container {
    let added = added.clone();
    Container {
        name: added.name,
        image: added.image,
        command: added.command,
        args: added.args,
        working_dir: added.working_dir,
        env_from: added.env_from,
        env: added.env,
        resources: added.resources,
        volume_mounts: added.volume_mounts,
        volume_devices: added.volume_devices,
        termination_message_path: added.termination_message_path,
        termination_message_policy: added.termination_message_policy,
        image_pull_policy: added.image_pull_policy,
        security_context: added.security_context,
        stdin: added.stdin,
        stdin_once: added.stdin_once,
        tty: added.tty,
        ..Container::default()
    }
}

/// The container whose processes an ephemeral container is to see.
pub fn target_of<'a>(spec: &'a PodSpec, name: &str) -> Option<&'a str> {
    let added = spec.ephemeral_containers.iter().flatten().find(|c| c.name == name)?;
    added.target_container_name.as_deref().filter(|target| !target.is_empty())
}

/// What the API says about the pod's containers, init and ephemeral containers last.
pub fn all_statuses(pod: &Pod) -> impl Iterator<Item = &ApiStatus> {
    let status = pod.status.iter();
    status.flat_map(|s| {
        let lists = [&s.container_statuses, &s.init_container_statuses, &s.ephemeral_container_statuses];
        lists.into_iter().flatten().flatten()
    })
}

/// Whether a container of the pod was ever made, as far as the API says.
pub fn has_run(pod: &Pod) -> bool {
    all_statuses(pod).any(|status| status.container_id.as_deref().is_some_and(|id| !id.is_empty()))
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

/// Its status begins with the time when the host took it.
pub fn has_begun(pod: &Pod) -> bool {
    pod.status.as_ref().is_some_and(|status| status.start_time.is_some())
}

/// A pod that will never run again: its phase is Succeeded or Failed.
pub fn is_terminal(pod: &Pod) -> bool {
    matches!(phase(pod), "Succeeded" | "Failed")
}

/// `status.phase`; empty when there is none.
pub fn phase(pod: &Pod) -> &str {
    pod.status.as_ref().and_then(|s| s.phase.as_deref()).unwrap_or_default()
}
