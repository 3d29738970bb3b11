//! Sandboxes: Podman pods whose infra container holds the namespaces open, and the listing of all
//! that lives in them.

use super::{
    Podman,
    containers::Made,
    generate::{self, Surroundings},
    http::{SLOW, segment},
    infra, rootless,
    wire::Listed,
};
use crate::kubelet::runtime::{
    ContainerState, Listing, PodIdentity, Result, RuntimeError, Sandbox, SandboxSpec, labels,
};
use futures::{StreamExt, stream};
use jiff::Timestamp;
use serde::Deserialize;
use std::{collections::BTreeMap, net::IpAddr, sync::atomic::Ordering, time::Duration};
use tokio::{sync::SemaphorePermit, time::timeout};

/// How many inspections of a listing are under way at once.
const PARALLEL: usize = 8;
/// How long others wait for the first sandbox.
const FIRST: Duration = Duration::from_secs(30);

/// One element of `GET pods/json`.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
struct ListedPod {
    id: String,
    #[serde(default)]
    created: Timestamp,
    #[serde(default)]
    infra_id: String,
    #[serde(default)]
    labels: Option<BTreeMap<String, String>>,
}

impl Podman {
    pub(super) async fn make_sandbox(&self, spec: &SandboxSpec) -> Result<Sandbox> {
        let around = self.around().await?;
        let object = format!("sandbox of pod {}/{}", spec.pod.namespace, spec.pod.name);
        let first = self.first_sandbox(spec).await;
        let made = match around.turns.during(self.create_sandbox(spec, &around.surroundings, &object)).await {
            Err(RuntimeError::AlreadyExists { .. }) => {
                let name = generate::sandbox_name(spec);
                if let Some(sandbox) = self.adopt(&name, spec).await? {
                    return Ok(sandbox);
                }
                self.delete_sandbox(&name).await?;
                self.create_sandbox(spec, &around.surroundings, &object).await?
            }
            made => made?,
        };
        if spec.lone {
            return Ok(lone(made.id, Timestamp::now(), spec));
        }
        self.first.close();
        drop(first);
        match around.turns.during(self.open(&made.id, spec)).await {
            Ok(sandbox) => Ok(sandbox),
            Err(error) => {
                // A half-made sandbox would be taken for a broken one; the error says more.
                _ = self.delete_sandbox(&made.id).await;
                Err(named(error, &object))
            }
        }
    }

    /// Held by one at a time until a sandbox with an infra container has been made: Podman builds the image of that
    /// when it wants it, as often as pods are being made then.
    async fn first_sandbox(&self, spec: &SandboxSpec) -> Option<SemaphorePermit<'_>> {
        if spec.lone {
            return None;
        }
        timeout(FIRST, self.first.acquire()).await.ok()?.ok()
    }

    async fn create_sandbox(&self, spec: &SandboxSpec, around: &Surroundings, object: &str) -> Result<Made> {
        let mut body = generate::sandbox(spec, around);
        if spec.lone {
            // It has no infra container that could want for an image.
            return self.client.post("pods/create", object).json(&body)?.deadline(SLOW).fetch::<Made>().await;
        }
        if !self.infra_missing.load(Ordering::Relaxed) {
            match self.client.post("pods/create", object).json(&body)?.deadline(SLOW).fetch::<Made>().await {
                Err(error) if infra::is_missing(&error) => {
                    tracing::warn!(host = self.url(), %error, "the configured infra image cannot be had; using a local one");
                }
                made => return made,
            }
        }
        infra::set(&mut body, &self.local_infra().await?);
        let made = self.client.post("pods/create", object).json(&body)?.deadline(SLOW).fetch::<Made>().await?;
        self.infra_missing.store(true, Ordering::Relaxed);
        Ok(made)
    }

    /// Starts the infra container and reads the addresses it got.
    async fn open(&self, id: &str, spec: &SandboxSpec) -> Result<Sandbox> {
        let infra = generate::infra_name(spec);
        let call = self.client.post(format!("containers/{}/start", segment(&infra)), &infra);
        call.deadline(SLOW).send().await?;
        self.opened(id, &infra).await
    }

    async fn opened(&self, id: &str, infra: &str) -> Result<Sandbox> {
        let found = self.inspected(infra).await?;
        let host_network = found.config.labels.contains_key(generate::HOST_NETWORK);
        let addresses = found.network_settings.as_ref().map(|settings| settings.addresses()).unwrap_or_default();
        Ok(Sandbox {
            id: id.to_owned(),
            pod: PodIdentity::from_labels(&found.config.labels).unwrap_or_default(),
            ready: found.state().is_running(),
            ips: if host_network { Vec::new() } else { addresses },
            host_network,
            lone: false,
            created: found.created,
            labels: found.config.labels,
        })
    }

    /// The sandbox of that name, if its infra container runs or can be started before any other
    /// container has lived in it; `None` when it is broken.
    async fn adopt(&self, name: &str, spec: &SandboxSpec) -> Result<Option<Sandbox>> {
        #[derive(Deserialize)]
        struct Pod {
            #[serde(rename = "Id")]
            id: String,
            #[serde(default, rename = "Created")]
            created: Timestamp,
            #[serde(default, rename = "Labels")]
            labels: Option<BTreeMap<String, String>>,
        }
        let pod: Pod = match self.client.get(format!("pods/{}/json", segment(name)), name).fetch().await {
            Ok(pod) => pod,
            Err(error) if error.is_not_found() => return Ok(None),
            Err(error) => return Err(error),
        };
        let found = pod.labels.unwrap_or_default();
        if found.contains_key(labels::LONE) {
            self.check_owner(name, &found)?;
            return Ok(Some(lone(pod.id, pod.created, spec)));
        }
        let infra = match self.inspected(&generate::infra_name(spec)).await {
            Ok(infra) => infra,
            Err(error) if error.is_not_found() => return Ok(None),
            Err(error) => return Err(error),
        };
        self.check_owner(name, &infra.config.labels)?;
        self.first.close();
        match infra.state() {
            ContainerState::Running { .. } => self.opened(&pod.id, &infra.id).await.map(Some),
            // Since the host started anew, the pod's cgroup may be one without limits.
            ContainerState::Created if spec.resources.is_limited() => Ok(None),
            ContainerState::Created => match self.open(&pod.id, spec).await {
                // An earlier start was cut off halfway; whatever else it is, a new one meets it, too.
                Err(error) if !error.is_silence() => Ok(None),
                opened => opened.map(Some),
            },
            _ => Ok(None),
        }
    }

    fn check_owner(&self, name: &str, labels: &BTreeMap<String, String>) -> Result<()> {
        match labels.get(labels::CLUSTER) == Some(&self.cluster) {
            true => Ok(()),
            false => Err(RuntimeError::AlreadyExists { object: format!("a sandbox {name} of another cluster") }),
        }
    }

    pub(super) async fn delete_sandbox(&self, sandbox: &str) -> Result<()> {
        let call = self.client.delete(format!("pods/{}", segment(sandbox)), format!("sandbox {sandbox}"));
        // Without timeout=0 Podman waits 10 s for each container, one after the other.
        match call.query("force", true).query("timeout", 0).deadline(SLOW).send().await {
            Err(error) if error.is_not_found() => Ok(()),
            other => other,
        }
    }

    pub(super) async fn listing(&self, pod_uid: Option<&str>) -> Result<Listing> {
        let filter = self.filter(pod_uid.map(|uid| (labels::POD_UID, uid)));
        let containers = self.client.get("containers/json", "containers").query("all", true).query("filters", &filter);
        let pods = self.client.get("pods/json", "pods").query("filters", &filter);
        let (containers, pods) = tokio::try_join!(
            containers.deadline(SLOW).fetch::<Option<Vec<Listed>>>(),
            pods.deadline(SLOW).fetch::<Option<Vec<ListedPod>>>()
        )?;
        let containers = containers.unwrap_or_default().into_iter().filter(|found| self.ours(&found.labels, pod_uid));
        let (infra, rest): (Vec<Listed>, Vec<Listed>) = containers.partition(|found| found.is_infra);
        let pods = pods
            .unwrap_or_default()
            .into_iter()
            .filter(|found| found.labels.as_ref().is_some_and(|labels| self.ours(labels, pod_uid)));
        let infra: BTreeMap<String, Listed> = infra.into_iter().map(|found| (found.id.clone(), found)).collect();
        let sandboxes = pods.filter_map(|pod| Some((PodIdentity::from_labels(pod.labels.as_ref()?)?, pod)));
        let sandboxes = stream::iter(sandboxes)
            .map(|(identity, pod)| self.listed_sandbox(identity, infra.get(&pod.infra_id), pod))
            .buffered(PARALLEL);
        let containers =
            stream::iter(rest).map(|found| self.detailed(found)).buffered(PARALLEL).filter_map(|found| async { found });
        let (sandboxes, containers) = tokio::join!(sandboxes.collect(), containers.collect());
        Ok(Listing { sandboxes, containers })
    }

    fn ours(&self, labels: &BTreeMap<String, String>, pod_uid: Option<&str>) -> bool {
        labels.get(labels::CLUSTER) == Some(&self.cluster)
            && pod_uid.is_none_or(|uid| labels.get(labels::POD_UID).is_some_and(|found| found == uid))
    }

    async fn listed_sandbox(&self, identity: PodIdentity, infra: Option<&Listed>, pod: ListedPod) -> Sandbox {
        let labels = pod.labels.unwrap_or_default();
        let host_network = labels.contains_key(generate::HOST_NETWORK);
        let lone = labels.contains_key(labels::LONE);
        let ready = lone || infra.is_some_and(Listed::is_running);
        let ips = match infra {
            Some(infra) if ready && !host_network => self.addresses_of(infra).await,
            _ => Vec::new(),
        };
        Sandbox { id: pod.id, pod: identity, ready, ips, host_network, lone, created: pod.created, labels }
    }

    async fn addresses_of(&self, infra: &Listed) -> Vec<IpAddr> {
        let key = (infra.id.clone(), infra.started_at);
        if let Some(known) = self.addresses.lock().get(&key) {
            return known.clone();
        }
        let found = self.inspected(&infra.id).await.ok().and_then(|found| found.network_settings);
        let addresses = found.map(|settings| settings.addresses()).unwrap_or_default();
        if !addresses.is_empty() {
            self.addresses.lock().insert(key, addresses.clone());
        }
        addresses
    }

    /// The listing says when and how to the second; how an ended container ended, and whether a
    /// running one is really there, takes an inspection. `None` when it is gone by then.
    async fn detailed(&self, found: Listed) -> Option<crate::kubelet::runtime::ContainerStatus> {
        let own = match found.is_running() && found.labels.contains_key(labels::LONE) {
            true if !found.labels.contains_key(generate::HOST_NETWORK) => self.addresses_of(&found).await,
            _ => Vec::new(),
        };
        let mut listed = found.into_status()?;
        listed.ips = own;
        match &listed.state {
            ContainerState::Exited(_) => match self.status(&listed.id).await {
                Ok(status) => listed = status,
                Err(error) if error.is_not_found() => return None,
                Err(_) => {}
            },
            ContainerState::Running { .. } => {
                if let Ok(around) = self.around().await
                    && around.local
                {
                    self.watch_oom(&listed.id, around.cgroup_version).await;
                }
            }
            _ => {}
        }
        Some(listed)
    }
}

/// A sandbox that was made without anything in it, which is not looked at for that.
fn lone(id: String, created: Timestamp, spec: &SandboxSpec) -> Sandbox {
    Sandbox {
        id,
        pod: spec.pod.clone(),
        ready: true,
        ips: Vec::new(),
        host_network: spec.host_network,
        lone: true,
        created,
        labels: BTreeMap::new(),
    }
}

/// Names the pod instead of the infra container in an error that a user will read.
fn named(error: RuntimeError, pod: &str) -> RuntimeError {
    match error {
        RuntimeError::Other { message, .. } | RuntimeError::Invalid { message, .. }
            if rootless::explain(&message).is_some() =>
        {
            RuntimeError::Invalid { object: pod.to_owned(), message: rootless::explain(&message).unwrap_or_default() }
        }
        RuntimeError::PortInUse { message, .. } => RuntimeError::PortInUse { object: pod.to_owned(), message },
        RuntimeError::Invalid { message, .. } => RuntimeError::Invalid { object: pod.to_owned(), message },
        RuntimeError::Other { method, message, cause, .. } => {
            RuntimeError::Other { method, object: pod.to_owned(), message, cause }
        }
        error => error,
    }
}
