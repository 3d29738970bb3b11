//! What takes time: making sandboxes, starting and stopping containers, removing. Each runs as its
//! own task and answers with an [`Outcome`]; none decides anything.

use crate::base::backoff::Backoff;
use crate::client::raw;
use crate::kubelet::host::Host;
use crate::kubelet::inbox::Inbox;
use crate::kubelet::pod::{Role, facts, find_container, identity, spec};
use crate::kubelet::probes::Subject;
use crate::kubelet::probes::check::Target;
use crate::kubelet::resize::Whole;
use crate::kubelet::runtime::{ContainerStatus, DnsSpec, RuntimeError, Sandbox, SandboxSpec};
use crate::kubelet::{container, dns, sandbox, sources, volumes};
use http::Method;
use k8s_openapi::api::core::v1::{Container, ObjectReference, Pod, ResourceRequirements};
use kube::Resource;
use serde_json::json;
use std::sync::Arc;
use std::time::Duration;
use tokio_util::sync::CancellationToken;
use tracing::warn;

/// After something unexpected, before the worker looks again.
const PAUSE: Duration = Duration::from_secs(3);

/// How an operation ended.
pub enum Outcome {
    Sandbox(Result<(Sandbox, Whole), Failed>),
    /// `Ok`: the life that runs, its postStart hook over. `Err(None)`: called off.
    Started {
        container: String,
        result: Result<String, Option<Failed>>,
    },
    Stopped {
        container: String,
        id: String,
    },
    Removed {
        container: String,
        id: String,
        gone: bool,
    },
    SandboxRemoved {
        gone: bool,
    },
    Finished {
        done: bool,
    },
    /// `Ok`: what the container has now.
    Resized {
        container: String,
        id: String,
        result: Result<ResourceRequirements, String>,
    },
    /// `Ok`: it has that now.
    ResizedWhole {
        whole: Whole,
        result: Result<(), String>,
    },
    Refreshed,
}

/// Why something could not be made.
pub struct Failed {
    pub reason: &'static str,
    pub message: String,
    pub backoff: Backoff,
    /// The life whose process could not be run: it counts as one that ended.
    pub life: Option<String>,
    /// What could not be pulled, where it is not the container's own image.
    pub image: Option<String>,
}

impl Failed {
    pub fn new(reason: &'static str, message: impl Into<String>, backoff: Backoff) -> Self {
        Self { reason, message: message.into(), backoff, life: None, image: None }
    }

    /// What others may put right at any moment is tried again soon, what was refused is not.
    pub fn of(reason: &'static str, message: impl Into<String>, error: &RuntimeError) -> Self {
        let away = matches!(
            error,
            RuntimeError::Unreachable { .. } | RuntimeError::NotFound { .. } | RuntimeError::PortInUse { .. }
        );
        Self::new(reason, message, if away { facts::QUICK } else { facts::SLOW })
    }
}

/// A pod as its operations see it: a snapshot.
#[derive(Clone)]
pub struct Job {
    pub host: Arc<Host>,
    pub inbox: Arc<Inbox>,
    pub pod: Arc<Pod>,
    pub sandbox: Option<Sandbox>,
    /// Calls off what only serves to start something.
    pub cancel: CancellationToken,
}

impl Job {
    pub fn uid(&self) -> &str {
        self.pod.metadata.uid.as_deref().unwrap_or_default()
    }

    pub fn event(&self, kind: &'static str, reason: &str, message: impl Into<String>) {
        self.host.events.record(self.pod.object_ref(&()), kind, reason, message);
    }

    /// The container as events name it.
    pub fn involved(&self, container: &str) -> ObjectReference {
        let list = match find_container(spec(&self.pod), container).map(|(role, _)| role) {
            Some(Role::Init | Role::Sidecar) => "initContainers",
            Some(Role::Ephemeral) => "ephemeralContainers",
            Some(Role::Main) | None => "containers",
        };
        ObjectReference { field_path: Some(format!("spec.{list}{{{container}}}")), ..self.pod.object_ref(&()) }
    }

    pub fn subject(&self, container: &Container, life: &ContainerStatus) -> Subject {
        let facts = sources::facts(&self.host, self.sandbox.as_ref());
        let target = Target {
            ip: facts.pod_ips.first().cloned().unwrap_or_default(),
            host_network: self.sandbox.as_ref().is_some_and(|s| s.host_network),
        };
        Subject {
            host: self.host.clone(),
            inbox: self.inbox.clone(),
            involved: self.involved(&container.name),
            container: container.clone(),
            life: life.clone(),
            target,
        }
    }
}

/// Volumes, then the sandbox.
pub async fn ensure_sandbox(job: Job) -> Outcome {
    Outcome::Sandbox(try_sandbox(&job).await)
}

async fn try_sandbox(job: &Job) -> Result<(Sandbox, Whole), Failed> {
    let (pod, runtime) = (&job.pod, &job.host.runtime);
    let mounted = async {
        let sources = sources::fetch(&job.host, pod, &job.inbox).await.map_err(|error| error.to_string())?;
        if let Some(lost) = volumes::claims::set_up(&job.host, pod, &sources.claims).await? {
            job.event("Warning", "FsGroupNotApplied", lost);
        }
        match job.host.pod_dir(job.uid()) {
            Some(dir) => {
                let (pod, facts) = (pod.clone(), sources::facts(&job.host, None));
                let work = move || volumes::set_up_local(&dir, &pod, &facts, &sources).map_err(|e| e.chain());
                tokio::task::spawn_blocking(work).await.map_err(|error| error.to_string())?
            }
            None => {
                let facts = sources::facts(&job.host, None);
                volumes::set_up_remote(runtime.as_ref(), pod, &facts, &sources).await.map_err(|e| e.chain())
            }
        }
    };
    if let Err(message) = mounted.await {
        job.event("Warning", "FailedMount", message.clone());
        return Err(Failed::new("FailedMount", message, facts::QUICK));
    }
    if spec(pod).resource_claims.as_ref().is_some_and(|claims| !claims.is_empty()) {
        // The scheduler sends none here; somebody else did.
        const REASON: &str = "FailedPrepareDynamicResources";
        let message = "Failed to prepare dynamic resources: there are no drivers of devices on Podman hosts";
        job.event("Warning", REASON, message.to_owned());
        return Err(Failed::new(REASON, message, facts::SLOW));
    }
    const REASON: &str = "FailedCreatePodSandBox";
    let failed = |why: String| {
        let message = format!("Failed to create pod sandbox: {why}");
        job.event("Warning", REASON, message.clone());
        message
    };
    if let Err(why) = sources::check_runtime_class(&job.host, pod).await {
        return Err(Failed::new(REASON, failed(why), facts::QUICK));
    }
    if let Some(why) = sandbox::impossible(pod).filter(|_| !job.host.node.simulated) {
        return Err(Failed::new(REASON, failed(why), facts::SLOW));
    }
    let info = job.host.info();
    let resolver = dns::resolver(pod, host_dns(&job.host).as_ref());
    let wanted = SandboxSpec { resources: container::whole(pod, &info), dns: resolver.dns, ..sandbox::sandbox(pod) };
    let made = runtime.ensure_sandbox(&wanted).await;
    let made = made.map_err(|error| Failed::of(REASON, failed(error.chain()), &error))?;
    if let Some(lost) = container::unenforced_whole(pod, &info) {
        job.event("Warning", "LimitsNotEnforced", lost);
    }
    if let Some(lost) = container::unenforced_pids(&info) {
        job.event("Warning", "LimitsNotEnforced", lost);
    }
    // Nobody resolves a name in a simulated pod.
    for (reason, message) in resolver.warnings.into_iter().filter(|_| !job.host.node.simulated) {
        job.event("Warning", reason, message);
    }
    Ok((made, Whole::of(spec(pod))))
}

/// What the host's own resolv.conf says, where it can be read.
pub fn host_dns(host: &Host) -> Option<DnsSpec> {
    (host.info().local && !host.node.simulated).then(dns::of_this_machine).flatten()
}

/// preStop, the stop signal, `grace` seconds, SIGKILL.
pub async fn stop(job: Job, life: ContainerStatus, grace: i64, message: String) -> Outcome {
    let name = life.identity.container.clone();
    job.host.events.record(job.involved(&name), "Normal", "Killing", message);
    let began = tokio::time::Instant::now();
    let grace = Duration::from_secs(u64::try_from(grace).unwrap_or(0));
    let container = find_container(spec(&job.pod), &name).map(|(_, container)| container);
    let hook = container.as_ref().and_then(|c| c.lifecycle.as_ref()).and_then(|l| l.pre_stop.as_ref());
    if let (Some(container), Some(hook)) = (container.as_deref(), hook)
        && !grace.is_zero()
    {
        let limited = tokio::time::timeout(grace, super::hooks::run(hook, &job.subject(container, &life), grace)).await;
        if let Ok(Err(error)) = limited {
            warn!(pod = job.pod.metadata.name, container = name, error, "preStop hook failed");
            job.host.events.record(job.involved(&name), "Warning", "FailedPreStopHook", "PreStopHook failed");
        }
    }
    // A slow hook leaves the process at least a moment to end by itself.
    let floor = if grace.is_zero() { Duration::ZERO } else { Duration::from_secs(2) };
    let left = grace.saturating_sub(began.elapsed()).max(floor.min(grace));
    if let Err(error) = job.host.runtime.stop(&life.id, left).await
        && !error.is_not_found()
    {
        warn!(pod = job.pod.metadata.name, container = name, error = error.chain(), "cannot stop a container");
        job.host.events.record(
            job.involved(&name),
            "Warning",
            "FailedKillPod",
            format!("error killing pod: {}", error.chain()),
        );
        tokio::time::sleep(PAUSE).await;
    }
    Outcome::Stopped { container: name, id: life.id }
}

pub async fn remove(job: Job, container: String, id: String) -> Outcome {
    let gone = removed(&job, job.host.runtime.remove(&id).await).await;
    Outcome::Removed { container, id, gone }
}

pub async fn remove_sandbox(job: Job, id: String) -> Outcome {
    let gone = removed(&job, job.host.runtime.remove_sandbox(&id).await).await;
    if gone {
        crate::kubelet::host::remove_files(&job.host, job.uid()).await;
    }
    Outcome::SandboxRemoved { gone }
}

async fn removed(job: &Job, outcome: Result<(), RuntimeError>) -> bool {
    match outcome {
        Ok(()) => true,
        Err(error) if error.is_not_found() => true,
        Err(error) => {
            warn!(
                pod = job.pod.metadata.name,
                error = error.chain(),
                "cannot remove what is left of a pod; trying again"
            );
            tokio::time::sleep(PAUSE).await;
            false
        }
    }
}

/// Takes the pod out of the API. A namesake with another uid is left alone.
pub async fn finish(job: Job) -> Outcome {
    crate::kubelet::host::remove_files(&job.host, job.uid()).await;
    let identity = identity(&job.pod);
    let path = format!("/api/v1/namespaces/{}/pods/{}", identity.namespace, identity.name);
    let options = json!({
        "apiVersion": "v1",
        "kind": "DeleteOptions",
        "gracePeriodSeconds": 0,
        "preconditions": { "uid": identity.uid },
    });
    let body = Some(("application/json", options.to_string().into()));
    // The answer, the pod as it was, is of no interest.
    let done = match raw::request(&job.host.ctx.client, Method::DELETE, &path, body).await {
        Ok(_) => true,
        // Gone already, or another pod has the name now.
        Err(error) if raw::is_not_found(&error) || raw::is_conflict(&error) => true,
        Err(error) => {
            warn!(pod = identity.name, %error, "cannot delete a finished pod from the API; trying again");
            tokio::time::sleep(PAUSE).await;
            false
        }
    };
    Outcome::Finished { done }
}

/// Brings the files of a running pod's volumes to what the objects say now.
pub async fn refresh(job: Job) -> Outcome {
    let outcome = async {
        let sources = sources::fetch(&job.host, &job.pod, &job.inbox).await.map_err(|error| error.to_string())?;
        let facts = sources::facts(&job.host, job.sandbox.as_ref());
        match job.host.pod_dir(job.uid()) {
            Some(dir) => {
                let pod = job.pod.clone();
                let work = move || volumes::set_up_local(&dir, &pod, &facts, &sources).map_err(|e| e.chain());
                tokio::task::spawn_blocking(work).await.map_err(|error| error.to_string())?
            }
            None => {
                let listing = job.host.runtime.list_pod(job.uid()).await.map_err(|e| e.chain())?;
                for life in listing.containers.iter().filter(|c| c.state.is_running()) {
                    super::start::fill_remote(&job, &life.identity.container, &life.id, &facts, &sources).await?;
                }
                Ok(())
            }
        }
    };
    if let Err(message) = outcome.await {
        job.event("Warning", "FailedMount", message);
    }
    Outcome::Refreshed
}
