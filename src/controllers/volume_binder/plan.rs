//! What the next step of a claim or a volume is. Pure.
//!
//! A binding is four writes: the volume names the claim, the claim names the volume, and both say so in
//! their status. Each pass makes the ones that are due; a crash between any two is repaired by the next.

use super::matching::{self, BIND_COMPLETED, BOUND_BY_CONTROLLER, For, SELECTED_NODE, annotation};
use super::provision::{self, PROVISIONED_BY, PROVISIONER};
use jiff::Timestamp;
use k8s_openapi::api::core::v1::{
    Node, PersistentVolume, PersistentVolumeClaim, PersistentVolumeClaimStatus, PersistentVolumeStatus,
};
use k8s_openapi::api::storage::v1::StorageClass;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use serde_json::{Value, json};
use std::sync::Arc;

const STORAGE_PROVISIONER: &str = "volume.kubernetes.io/storage-provisioner";

/// What a pass may do; each writes another object, or another part of it.
#[derive(Clone, Debug, PartialEq)]
pub enum Step {
    /// A merge patch of the claim.
    Claim(Value),
    ClaimStatus(Box<PersistentVolumeClaimStatus>),
    /// A merge patch of a volume.
    Volume(Arc<PersistentVolume>, Value),
    VolumeStatus(Box<PersistentVolumeStatus>),
    Provision(Box<PersistentVolume>),
    /// An event on the object of the pass.
    Event(&'static str, &'static str, String),
}

/// What a claim's next step depends on.
pub struct ClaimView<'a> {
    pub claim: &'a PersistentVolumeClaim,
    pub volumes: &'a [Arc<PersistentVolume>],
    pub class: Option<&'a StorageClass>,
    /// The host that [`SELECTED_NODE`] names, if it is there.
    pub node: Option<&'a Node>,
    /// A pod that mounts it and has no host.
    pub waiting: Option<&'a str>,
}

pub fn claim(view: &ClaimView) -> Vec<Step> {
    let claim = view.claim;
    let asked = claim.spec.as_ref().and_then(|spec| spec.volume_name.as_deref()).unwrap_or_default();
    let named = view.volumes.iter().find(|volume| !asked.is_empty() && volume.metadata.name.as_deref() == Some(asked));
    if annotation(&claim.metadata.annotations, BIND_COMPLETED).is_some() {
        return bound(view, asked, named);
    }
    if claim.metadata.deletion_timestamp.is_some() {
        return Vec::new();
    }
    if asked.is_empty() {
        return unbound(view);
    }
    match named {
        None => pending(claim, None),
        Some(volume) => match matching::reserved(volume, claim) {
            For::Another => {
                let why = format!("volume \"{asked}\" already bound to a different claim.");
                pending(claim, Some(("Warning", "FailedBinding", why)))
            }
            For::Claim => bind(claim, volume),
            For::Nobody => match matching::mismatch(volume, claim) {
                None => bind(claim, volume),
                Some(why) => {
                    let why = format!("Cannot bind to requested volume \"{asked}\": {why}");
                    pending(claim, Some(("Warning", "VolumeMismatch", why)))
                }
            },
        },
    }
}

fn unbound(view: &ClaimView) -> Vec<Step> {
    let claim = view.claim;
    let selected = annotation(&claim.metadata.annotations, SELECTED_NODE);
    let delayed = matching::waits_for_consumer(view.class) && selected.is_none();
    if let Some(volume) = matching::best(claim, view.volumes, None, delayed) {
        return bind(claim, volume);
    }
    if delayed {
        let (reason, message) = match view.waiting {
            Some(pod) => ("WaitForPodScheduled", format!("waiting for pod {pod} to be scheduled")),
            None => ("WaitForFirstConsumer", "waiting for first consumer to be created before binding".to_owned()),
        };
        return pending(claim, Some(("Normal", reason, message)));
    }
    let name = matching::class_of(claim);
    if name.is_empty() {
        let why = "no persistent volumes available for this claim and no storage class is set".to_owned();
        return pending(claim, Some(("Normal", "FailedBinding", why)));
    }
    let Some(class) = view.class else {
        let why = format!("storageclass.storage.k8s.io \"{name}\" not found");
        return pending(claim, Some(("Warning", "ProvisioningFailed", why)));
    };
    if class.provisioner == PROVISIONER { own(view, class) } else { foreign(claim, class) }
}

/// A volume of a class that is ours to make.
fn own(view: &ClaimView, class: &StorageClass) -> Vec<Step> {
    let claim = view.claim;
    let failed = |why: String| pending(claim, Some(("Warning", "ProvisioningFailed", why)));
    match (annotation(&claim.metadata.annotations, SELECTED_NODE), view.node) {
        (None, _) => {
            let name = class.metadata.name.as_deref().unwrap_or_default();
            failed(format!(
                "volumes of \"{PROVISIONER}\" are local to a host: StorageClass \"{name}\" must have volumeBindingMode WaitForFirstConsumer"
            ))
        }
        (Some(_), None) => vec![choose_again()],
        (Some(name), Some(node)) => match (provision::obstacle(class, node), provision::volume(claim, class, node)) {
            (Some(why), _) => {
                let mut steps = failed(format!("host {name} was chosen, but {why}"));
                steps.push(choose_again());
                steps
            }
            (None, Err(why)) => failed(why),
            (None, Ok(volume)) => {
                let name = volume.metadata.name.clone().unwrap_or_default();
                let said = format!("Successfully provisioned volume {name}");
                vec![Step::Provision(Box::new(volume)), Step::Event("Normal", "ProvisioningSucceeded", said)]
            }
        },
    }
}

/// The scheduler is to find another host.
fn choose_again() -> Step {
    Step::Claim(json!({"metadata": {"annotations": {SELECTED_NODE: null}}}))
}

/// A volume that someone else is to make.
fn foreign(claim: &PersistentVolumeClaim, class: &StorageClass) -> Vec<Step> {
    let who = &class.provisioner;
    if who == "kubernetes.io/no-provisioner" {
        let why = "no persistent volumes available for this claim, and its storage class makes none".to_owned();
        return pending(claim, Some(("Normal", "FailedBinding", why)));
    }
    let said = format!(
        "Waiting for a volume to be created either by the external provisioner '{who}' or manually by the system administrator. If volume creation is delayed, please verify that the provisioner is running and correctly registered."
    );
    let mut steps = pending(claim, Some(("Normal", "ExternalProvisioning", said)));
    if annotation(&claim.metadata.annotations, STORAGE_PROVISIONER) != Some(who) {
        steps.push(Step::Claim(json!({"metadata": {"annotations": {STORAGE_PROVISIONER: who}}})));
    }
    steps
}

fn pending(claim: &PersistentVolumeClaim, event: Option<(&'static str, &'static str, String)>) -> Vec<Step> {
    let event = event.map(|(kind, reason, message)| Step::Event(kind, reason, message));
    event.into_iter().chain(claim_status(claim, "Pending", None)).collect()
}

fn claim_status(claim: &PersistentVolumeClaim, phase: &str, volume: Option<&PersistentVolume>) -> Option<Step> {
    let known = claim.status.clone().unwrap_or_default();
    let mut status = known.clone();
    status.phase = Some(phase.to_owned());
    let spec = volume.and_then(|volume| volume.spec.as_ref());
    status.access_modes = spec.and_then(|spec| spec.access_modes.clone());
    status.capacity = spec.and_then(|spec| spec.capacity.clone());
    (status != known).then(|| Step::ClaimStatus(Box::new(status)))
}

/// The volume names the claim, and the claim the volume.
fn bind(claim: &PersistentVolumeClaim, volume: &Arc<PersistentVolume>) -> Vec<Step> {
    let reference = volume.spec.as_ref().and_then(|spec| spec.claim_ref.as_ref());
    let mut steps = Vec::new();
    if reference.is_none_or(|reference| reference.uid != claim.metadata.uid) {
        steps.push(Step::Volume(volume.clone(), reserve(claim, reference.is_none())));
    }
    let mut annotations = json!({ BIND_COMPLETED: "yes" });
    if claim.spec.as_ref().and_then(|spec| spec.volume_name.as_deref()).unwrap_or_default().is_empty() {
        annotations[BOUND_BY_CONTROLLER] = json!("yes");
    }
    let name = volume.metadata.name.as_deref().unwrap_or_default();
    steps.push(Step::Claim(json!({"metadata": {"annotations": annotations}, "spec": {"volumeName": name}})));
    steps
}

/// The patch that reserves a volume for a claim; `chosen`: by us, not by the user.
pub fn reserve(claim: &PersistentVolumeClaim, chosen: bool) -> Value {
    let meta = &claim.metadata;
    let mut patch = json!({"spec": {"claimRef": {
        "apiVersion": "v1", "kind": "PersistentVolumeClaim", "namespace": meta.namespace, "name": meta.name,
        "uid": meta.uid, "resourceVersion": meta.resource_version,
    }}});
    if chosen {
        patch["metadata"] = json!({"annotations": { BOUND_BY_CONTROLLER: "yes" }});
    }
    patch
}

/// A claim whose binding was whole stays with its volume, or is lost.
fn bound(view: &ClaimView, asked: &str, named: Option<&Arc<PersistentVolume>>) -> Vec<Step> {
    let claim = view.claim;
    let lost = |why: &str| {
        let event = Step::Event("Warning", "ClaimLost", why.to_owned());
        let known = claim.status.as_ref().and_then(|status| status.phase.as_deref()) == Some("Lost");
        if known { Vec::new() } else { claim_status(claim, "Lost", None).into_iter().chain([event]).collect() }
    };
    let Some(volume) = named else {
        return lost(if asked.is_empty() {
            "Bound claim has lost reference to PersistentVolume. Data on the volume is lost!"
        } else {
            "Bound claim has lost its PersistentVolume. Data on the volume is lost!"
        });
    };
    match matching::reserved(volume, claim) {
        For::Another => return lost("Two claims are bound to the same volume, this one is bound incorrectly"),
        For::Nobody => return vec![Step::Volume(volume.clone(), reserve(claim, true))],
        For::Claim => {}
    }
    if volume.spec.as_ref().and_then(|spec| spec.claim_ref.as_ref()).is_some_and(|claim| claim.uid.is_none()) {
        return vec![Step::Volume(volume.clone(), reserve(claim, false))];
    }
    let (size, wanted) = (matching::capacity(volume), matching::request(claim));
    if provision::is_own(volume) && size < wanted {
        // Volumes of Podman have no limit: growing one is saying so.
        let request = claim.spec.as_ref().and_then(|spec| spec.resources.as_ref()?.requests.as_ref()?.get("storage"));
        let said = Step::Event("Normal", "VolumeResizeSuccessful", "Resize volume succeeded".into());
        return vec![Step::Volume(volume.clone(), json!({"spec": {"capacity": {"storage": request}}})), said];
    }
    claim_status(claim, "Bound", Some(volume)).into_iter().collect()
}

/// What a volume's next step depends on.
pub struct VolumeView<'a> {
    pub volume: &'a Arc<PersistentVolume>,
    /// The claim it is reserved for, if that is there.
    pub claim: Option<&'a PersistentVolumeClaim>,
    pub now: Timestamp,
}

pub fn volume(view: &VolumeView) -> Vec<Step> {
    let volume = view.volume;
    let reference = volume.spec.as_ref().and_then(|spec| spec.claim_ref.as_ref());
    let Some(reference) = reference.filter(|reference| reference.uid.is_some()) else {
        return volume_status(view, "Available", None);
    };
    let phase = volume.status.as_ref().and_then(|status| status.phase.as_deref()).unwrap_or_default();
    match view.claim.filter(|claim| claim.metadata.uid == reference.uid) {
        None if phase == "Failed" => Vec::new(),
        None => released(view, phase),
        Some(claim) => match claim.spec.as_ref().and_then(|spec| spec.volume_name.as_deref()).unwrap_or_default() {
            // The claim is about to name it.
            "" => Vec::new(),
            name if Some(name) == volume.metadata.name.as_deref() => volume_status(view, "Bound", None),
            _ => elsewhere(view, phase),
        },
    }
}

/// Its claim is gone. What Kubernetes' storage drivers would do with it, their owners do.
fn released(view: &VolumeView, phase: &str) -> Vec<Step> {
    let spec = view.volume.spec.as_ref();
    let policy = spec.and_then(|spec| spec.persistent_volume_reclaim_policy.as_deref()).unwrap_or("Retain");
    let drivers = spec.is_some_and(|spec| spec.csi.is_some());
    if phase != "Released" {
        return volume_status(view, "Released", None);
    }
    match policy {
        "Delete" if !drivers => {
            let why = format!(
                "error getting deleter volume plugin for volume \"{}\": no deletable volume plugin matched",
                view.volume.metadata.name.as_deref().unwrap_or_default()
            );
            let mut steps = volume_status(view, "Failed", Some(&why));
            steps.push(Step::Event("Warning", "VolumeFailedDelete", why));
            steps
        }
        "Recycle" => {
            let why = "no recyclable volume plugin matched; the reclaim policy Recycle is deprecated";
            let mut steps = volume_status(view, "Failed", Some(why));
            steps.push(Step::Event("Warning", "VolumeFailedRecycle", why.into()));
            steps
        }
        _ => Vec::new(),
    }
}

/// The claim found another volume meanwhile.
fn elsewhere(view: &VolumeView, phase: &str) -> Vec<Step> {
    let meta = &view.volume.metadata;
    if annotation(&meta.annotations, PROVISIONED_BY).is_some() {
        return if phase == "Released" { Vec::new() } else { volume_status(view, "Released", None) };
    }
    let reference = match annotation(&meta.annotations, BOUND_BY_CONTROLLER) {
        Some(_) => Value::Null,
        None => json!({"uid": null, "resourceVersion": null}),
    };
    let annotations = json!({ BOUND_BY_CONTROLLER: null });
    vec![Step::Volume(
        view.volume.clone(),
        json!({"metadata": {"annotations": annotations}, "spec": {"claimRef": reference}}),
    )]
}

fn volume_status(view: &VolumeView, phase: &str, why: Option<&str>) -> Vec<Step> {
    let known = view.volume.status.clone().unwrap_or_default();
    if known.phase.as_deref() == Some(phase) {
        return Vec::new();
    }
    let status = PersistentVolumeStatus {
        phase: Some(phase.to_owned()),
        message: why.map(str::to_owned),
        last_phase_transition_time: Some(Time(view.now)),
        ..known
    };
    vec![Step::VolumeStatus(Box::new(status))]
}

#[cfg(test)]
mod tests;
