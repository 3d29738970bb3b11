//! Binds PersistentVolumeClaims to PersistentVolumes, and makes volumes for classes of our own
//! provisioner. [`plan`] decides; this is the shell. Keys without a namespace are volumes.
//!
//! Hosts remove the volumes they hold themselves ([`crate::kubelet`] is told by the API): only a volume
//! whose host is gone for good is removed here.

pub mod matching;
pub mod plan;
pub mod provision;

use super::shell::{self, Reconcile};
use super::write;
use crate::base::clock::Clock;
use crate::client::{Context, EventRecorder, Informer, Kind, ObjectKey, WorkQueue, raw};
use k8s_openapi::api::core::v1::{Node, PersistentVolume, PersistentVolumeClaim, Pod, Volume};
use k8s_openapi::api::storage::v1::StorageClass;
use kube::{Api, ResourceExt};
use matching::{SELECTED_NODE, annotation};
use plan::{ClaimView, Step, VolumeView};
use serde_json::{Value, json};
use std::sync::Arc;
use std::time::Duration;

/// After a write that came too late, because someone else's was first.
const AGAIN: Duration = Duration::from_millis(20);

struct Controller {
    client: kube::Client,
    claims: Informer<PersistentVolumeClaim>,
    volumes: Informer<PersistentVolume>,
    classes: Informer<StorageClass>,
    nodes: Informer<Node>,
    pods: Informer<Pod>,
    events: EventRecorder,
    clock: Clock,
}

#[derive(Debug, thiserror::Error)]
#[error("{what} could not be written")]
struct WriteError {
    what: &'static str,
    source: kube::Error,
}

/// Runs until shutdown.
pub async fn run(ctx: Context, workers: usize) {
    let controller = Controller {
        client: ctx.client.clone(),
        claims: ctx.informers.of(),
        volumes: ctx.informers.of(),
        classes: ctx.informers.of(),
        nodes: ctx.informers.of(),
        pods: ctx.informers.of(),
        events: ctx.events.component("persistentvolume-controller", None),
        clock: ctx.clock.clone(),
    };
    shell::run(&ctx, workers, controller).await;
}

impl Reconcile for Controller {
    type Error = WriteError;

    fn subscribe(&self, queue: &WorkQueue<ObjectKey>) {
        shell::own(&self.claims, queue);
        let (to, claims) = (queue.clone(), self.claims.clone());
        self.volumes.subscribe(Box::new(move |change| {
            let volume = change.object();
            to.add(ObjectKey::of(&**volume));
            match volume.spec.as_ref().and_then(|spec| spec.claim_ref.as_ref()) {
                Some(claim) => to.add(ObjectKey::new(
                    claim.namespace.as_deref().unwrap_or_default(),
                    claim.name.as_deref().unwrap_or_default(),
                )),
                None => unbound(&claims).for_each(|key| to.add(key)),
            }
        }));
        let (to, volumes) = (queue.clone(), self.volumes.clone());
        self.claims.subscribe(Box::new(move |change| {
            for volume in volumes.list().iter().filter(|volume| is_for(volume, change.object())) {
                to.add(ObjectKey::of(&**volume));
            }
        }));
        let (to, claims) = (queue.clone(), self.claims.clone());
        self.classes.subscribe(Box::new(move |_| unbound(&claims).for_each(|key| to.add(key))));
        let (to, volumes) = (queue.clone(), self.volumes.clone());
        self.nodes.subscribe(Box::new(move |change| {
            if matches!(change, crate::client::Change::Deleted(_)) {
                volumes.list().iter().for_each(|volume| to.add(ObjectKey::of(&**volume)));
            }
        }));
    }

    async fn synced(&self) {
        self.claims.synced().await;
        self.volumes.synced().await;
        self.classes.synced().await;
        self.nodes.synced().await;
        self.pods.synced().await;
    }

    async fn sync(&self, key: &ObjectKey) -> Result<Option<Duration>, WriteError> {
        let outcome = if key.namespace.is_empty() { self.volume(&key.name).await } else { self.claim(key).await };
        match outcome {
            Err(error) if raw::is_conflict(&error.source) => Ok(Some(AGAIN)),
            Err(error) if raw::is_not_found(&error.source) => Ok(None),
            outcome => outcome.map(|()| None),
        }
    }
}

/// The claims that look for a volume.
fn unbound(claims: &Informer<PersistentVolumeClaim>) -> impl Iterator<Item = ObjectKey> {
    let bound = |claim: &Arc<PersistentVolumeClaim>| {
        annotation(&claim.metadata.annotations, matching::BIND_COMPLETED).is_some()
    };
    claims.list().into_iter().filter(move |claim| !bound(claim)).map(|claim| ObjectKey::of(&*claim))
}

/// Whether the volume is, or was, for a claim of this name.
fn is_for(volume: &PersistentVolume, claim: &PersistentVolumeClaim) -> bool {
    let reference = volume.spec.as_ref().and_then(|spec| spec.claim_ref.as_ref());
    reference.is_some_and(|reference| {
        reference.name == claim.metadata.name && reference.namespace == claim.metadata.namespace
    })
}

impl Controller {
    async fn claim(&self, key: &ObjectKey) -> Result<(), WriteError> {
        let Some(claim) = self.claims.get(&key.namespace, &key.name) else { return Ok(()) };
        let class = self.classes.get("", matching::class_of(&claim));
        let node = annotation(&claim.metadata.annotations, SELECTED_NODE).and_then(|name| self.nodes.get("", name));
        let waiting = self.waiting_pod(key);
        let volumes = self.volumes.list();
        let view = ClaimView {
            claim: &claim,
            volumes: &volumes,
            class: class.as_deref(),
            node: node.as_deref(),
            waiting: waiting.as_deref(),
        };
        self.act(&*claim, json!(claim.status), plan::claim(&view)).await
    }

    fn waiting_pod(&self, claim: &ObjectKey) -> Option<String> {
        let pods = self.pods.list_namespace(&claim.namespace);
        let pod = pods.iter().find(|pod| super::pods::node(pod).is_none() && uses(pod, &claim.name))?;
        Some(pod.name_any())
    }

    async fn volume(&self, name: &str) -> Result<(), WriteError> {
        let Some(volume) = self.volumes.get("", name) else { return Ok(()) };
        let claim =
            self.claim_of(&volume).await.map_err(|source| WriteError { what: "the volume's status", source })?;
        let view = VolumeView { volume: &volume, claim: claim.as_deref(), now: self.clock.now() };
        self.act(&*volume, json!(volume.status), plan::volume(&view)).await?;
        self.let_go(&volume).await
    }

    /// Asks the API itself before it says that there is none: a volume must not be released because of
    /// an informer that is behind.
    async fn claim_of(&self, volume: &PersistentVolume) -> Result<Option<Arc<PersistentVolumeClaim>>, kube::Error> {
        let Some(reference) = volume.spec.as_ref().and_then(|spec| spec.claim_ref.as_ref()) else { return Ok(None) };
        let namespace = reference.namespace.as_deref().unwrap_or_default();
        let name = reference.name.as_deref().unwrap_or_default();
        let known = self.claims.get(namespace, name).filter(|claim| claim.metadata.uid == reference.uid);
        if known.is_some() || reference.uid.is_none() {
            return Ok(known);
        }
        let api: Api<PersistentVolumeClaim> = Api::namespaced(self.client.clone(), namespace);
        Ok(api.get_opt(name).await?.map(Arc::new))
    }

    /// Lets go of a volume that its host has not to remove: by its policy, or because the host is no more.
    async fn let_go(&self, volume: &Arc<PersistentVolume>) -> Result<(), WriteError> {
        let host_is_there = || self.nodes.list().iter().any(|node| matching::reachable(volume, node));
        if !provision::is_kept(volume) && (!provision::is_doomed(volume) || host_is_there()) {
            return Ok(());
        }
        provision::remove(&self.client, volume)
            .await
            .map_err(|source| WriteError { what: "the volume's removal", source })
    }

    /// `status`: the object's, as it is.
    async fn act<K: Kind>(&self, object: &K, status: Value, steps: Vec<Step>) -> Result<(), WriteError> {
        for step in steps {
            self.take(object, &status, step).await?;
        }
        Ok(())
    }

    async fn take<K: Kind>(&self, object: &K, status: &Value, step: Step) -> Result<(), WriteError> {
        let (client, failed) = (&self.client, |what| move |source| WriteError { what, source });
        match step {
            Step::Claim(change) => {
                write::patch(client, object, "", change).await.map(drop).map_err(failed("the claim"))
            }
            Step::Volume(volume, change) => {
                write::patch(client, &*volume, "", change).await.map(drop).map_err(failed("the volume"))
            }
            Step::ClaimStatus(to) => self.report(object, status, &json!(to), "the claim's status").await,
            Step::VolumeStatus(to) => self.report(object, status, &json!(to), "the volume's status").await,
            Step::Provision(volume) => {
                let body = write::body(&*volume).map_err(failed("the new volume"))?;
                match write::create::<PersistentVolume>(client, None, body).await {
                    // By an earlier pass: its name holds the claim's uid.
                    Err(error) if raw::is_conflict(&error) => Ok(()),
                    outcome => outcome.map(drop).map_err(failed("the new volume")),
                }
            }
            Step::Event(kind, reason, message) => {
                self.events.record(object.object_ref(&()), kind, reason, message);
                Ok(())
            }
        }
    }

    async fn report<K: Kind>(
        &self,
        object: &K,
        from: &Value,
        to: &Value,
        what: &'static str,
    ) -> Result<(), WriteError> {
        let from = if from.is_null() { &json!({}) } else { from };
        let Some(change) = write::difference(from, to) else { return Ok(()) };
        let written = write::patch(&self.client, object, "/status", json!({ "status": change })).await;
        written.map(drop).map_err(|source| WriteError { what, source })
    }
}

/// Whether the pod mounts the claim.
pub fn uses(pod: &Pod, claim: &str) -> bool {
    claims(pod).any(|name| name == claim)
}

/// The names of the claims that a pod mounts.
pub fn claims(pod: &Pod) -> impl Iterator<Item = String> {
    let volumes = pod.spec.iter().flat_map(|spec| spec.volumes.iter().flatten());
    volumes.filter_map(|volume| claim_of(pod, volume))
}

/// The name of the claim behind a pod's volume: one it names, or its own for as long as it lives.
pub fn claim_of(pod: &Pod, volume: &Volume) -> Option<String> {
    let own = || format!("{}-{}", pod.metadata.name.as_deref().unwrap_or_default(), volume.name);
    let named = volume.persistent_volume_claim.as_ref().map(|source| source.claim_name.clone());
    named.or_else(|| volume.ephemeral.is_some().then(own))
}

#[cfg(test)]
mod tests;
