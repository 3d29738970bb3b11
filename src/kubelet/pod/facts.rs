//! What this process knows about a pod that neither the API nor the runtime holds.

use crate::base::backoff::Backoff;
use crate::base::few::Few;
use crate::kubelet::resize::Whole;
use crate::kubelet::runtime::Exit;
use jiff::{SignedDuration, Timestamp};
use k8s_openapi::api::core::v1::ResourceRequirements;
use std::time::Duration;

/// Failed pulls and failed sandboxes.
pub const SLOW: Backoff = Backoff { base: Duration::from_secs(10), max: Duration::from_secs(300) };
/// What the user can repair by creating the object that is missing.
pub const QUICK: Backoff = Backoff { base: Duration::from_secs(1), max: Duration::from_secs(10) };
/// A failed pull is shown as such for this long, then as a back-off.
pub const SHOWN: SignedDuration = SignedDuration::from_secs(3);

/// What few pods have is boxed: there are facts of every pod.
#[derive(Clone, Debug, Default)]
pub struct Facts {
    /// Why the sandbox could not be made.
    pub sandbox: Option<Box<Trouble>>,
    pub containers: Few<ContainerFacts>,
    /// What the sandbox was given for all of them together, where that is known.
    pub whole: Option<Whole>,
    /// Why it could not be given what was allocated.
    pub whole_trouble: Option<Box<Trouble>>,
}

#[derive(Clone, Debug, Default)]
pub struct ContainerFacts {
    /// Why the container could not be made or started.
    pub trouble: Option<Box<Trouble>>,
    /// By container id.
    pub lives: Few<LifeFacts>,
    /// Stop it: a probe or a hook said so.
    pub doom: Option<Box<Doom>>,
    /// Why it could not be given what was allocated to it.
    pub resize: Option<Box<Trouble>>,
    /// The life that is stopped so that the next one has what was allocated: that one starts in any case.
    pub reborn: Option<String>,
}

/// A failure that left nothing behind on the host, and when to try again.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Trouble {
    /// `ErrImagePull`, `CreateContainerConfigError`, ...
    pub reason: &'static str,
    pub message: String,
    pub failures: u32,
    pub at: Timestamp,
    pub retry_at: Timestamp,
    /// The hash of the spec that failed; a new spec is tried at once.
    pub hash: String,
    /// What could not be pulled, where it is not the container's own image.
    pub image: Option<String>,
}

impl Trouble {
    /// The next failure after `before`.
    pub fn after(
        before: Option<&Trouble>,
        reason: &'static str,
        message: String,
        hash: &str,
        now: Timestamp,
        backoff: Backoff,
    ) -> Self {
        let failures = before.filter(|b| b.hash == hash).map_or(0, |b| b.failures) + 1;
        let wait = SignedDuration::try_from(backoff.after(failures)).unwrap_or(SignedDuration::ZERO);
        let retry_at = now.saturating_add(wait).unwrap_or(now);
        Self { reason, message, failures, at: now, retry_at, hash: hash.to_string(), image: None }
    }

    /// Reason and message of the waiting state, as they change while the kubelet waits.
    pub fn waiting(&self, image: &str, now: Timestamp) -> (&'static str, String) {
        if self.reason == "ErrImagePull" && now.duration_since(self.at) >= SHOWN {
            let image = self.image.as_deref().unwrap_or(image);
            let message = format!("Back-off pulling image {image:?}: ErrImagePull: {}", self.message);
            return ("ImagePullBackOff", message);
        }
        (self.reason, self.message.clone())
    }
}

/// Facts of one life of a container.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct LifeFacts {
    /// The postStart hook is over, or there is none.
    pub hook_done: bool,
    /// The last result of the startup probe; `None` before the first.
    pub startup: Option<bool>,
    pub ready: Option<bool>,
    /// What the container left in its termination message file.
    pub message: Option<String>,
    /// It was made, but its process could not be run. Podman shows such a life as one that was never
    /// started; forgotten, it is tried once more.
    pub failed_start: Option<Box<Exit>>,
    /// The resources that this kubelet gave it.
    pub actuated: Option<ResourceRequirements>,
}

/// An order to stop a container.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Doom {
    /// The life that is meant.
    pub id: String,
    /// For the Killing event: `Container web failed liveness probe, will be restarted`.
    pub message: String,
    /// Seconds, where the probe has a grace of its own.
    pub grace: Option<i64>,
}

impl Facts {
    pub fn container(&self, name: &str) -> Option<&ContainerFacts> {
        self.containers.get(name)
    }

    /// Whether this life was stopped so that the container starts again, whatever its policy says.
    pub fn is_reborn(&self, container: &str, life: &str) -> bool {
        self.container(container).and_then(|facts| facts.reborn.as_deref()) == Some(life)
    }

    pub fn container_mut(&mut self, name: &str) -> &mut ContainerFacts {
        self.containers.at(name)
    }

    pub fn life(&self, name: &str, id: &str) -> LifeFacts {
        self.container(name).and_then(|c| c.lives.get(id)).cloned().unwrap_or_default()
    }

    /// All containers have what was allocated: none that runs is to start again for it, whatever was tried.
    pub fn forget_resize(&mut self) {
        self.whole_trouble = None;
        for container in self.containers.values_mut() {
            (container.resize, container.reborn) = (None, None);
        }
    }

    /// Forgets what is gone.
    pub fn retain_lives(&mut self, exists: impl Fn(&str) -> bool) {
        for container in self.containers.values_mut() {
            container.lives.retain(&exists);
            container.doom.take_if(|doom| !exists(&doom.id));
            container.reborn.take_if(|id| !exists(id));
        }
    }
}
