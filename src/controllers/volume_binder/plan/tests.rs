//! Bindings step by step.
#![allow(clippy::unwrap_used)]

use super::*;
use serde_json::from_value;

fn claim(spec: Value, annotations: Value, status: Value) -> PersistentVolumeClaim {
    let mut full = json!({"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "1Gi"}}});
    spec.as_object().unwrap().iter().for_each(|(key, value)| full[key] = value.clone());
    let meta = json!({"name": "data", "namespace": "default", "uid": "u1", "annotations": annotations});
    from_value(json!({"metadata": meta, "spec": full, "status": status})).unwrap()
}

fn volume_of(spec: Value, phase: &str) -> Arc<PersistentVolume> {
    let mut full =
        json!({"accessModes": ["ReadWriteOnce"], "capacity": {"storage": "1Gi"}, "hostPath": {"path": "/d"}});
    spec.as_object().unwrap().iter().for_each(|(key, value)| full[key] = value.clone());
    Arc::new(from_value(json!({"metadata": {"name": "pv"}, "spec": full, "status": {"phase": phase}})).unwrap())
}

fn class(provisioner: &str, mode: &str) -> StorageClass {
    from_value(json!({"metadata": {"name": "c"}, "provisioner": provisioner, "volumeBindingMode": mode})).unwrap()
}

fn steps(claim: &PersistentVolumeClaim, volumes: &[Arc<PersistentVolume>], class: Option<&StorageClass>) -> Vec<Step> {
    let node: Node =
        from_value(json!({"metadata": {"name": "h1", "labels": {"kubernetes.io/hostname": "h1"}}})).unwrap();
    super::claim(&ClaimView { claim, volumes, class, node: Some(&node), waiting: None })
}

fn reasons(steps: &[Step]) -> Vec<&'static str> {
    steps.iter().filter_map(|step| if let Step::Event(_, reason, _) = step { Some(*reason) } else { None }).collect()
}

fn of_volume(volume: &Arc<PersistentVolume>, claim: Option<&PersistentVolumeClaim>) -> Vec<Step> {
    super::volume(&VolumeView { volume, claim, now: Timestamp::UNIX_EPOCH })
}

fn phase(steps: &[Step]) -> Option<String> {
    steps.iter().find_map(|step| match step {
        Step::VolumeStatus(status) => status.phase.clone(),
        Step::ClaimStatus(status) => status.phase.clone(),
        _ => None,
    })
}

#[test]
fn a_free_volume_is_reserved_and_then_named() {
    let asked = claim(json!({}), json!({}), json!({}));
    let free = volume_of(json!({}), "Available");
    let done = steps(&asked, std::slice::from_ref(&free), None);
    let [Step::Volume(_, reserved), Step::Claim(named)] = &done[..] else { panic!("{done:?}") };
    assert_eq!((&reserved["spec"]["claimRef"]["uid"], &named["spec"]["volumeName"]), (&json!("u1"), &json!("pv")));
    assert_eq!(reserved["metadata"]["annotations"][BOUND_BY_CONTROLLER], "yes");
    // After a crash between the two, the rest is done.
    let half = volume_of(json!({"claimRef": {"name": "data", "namespace": "default", "uid": "u1"}}), "Available");
    let rest = steps(&asked, &[half], None);
    assert!(matches!(&rest[..], [Step::Claim(_)]), "{rest:?}");
}

#[test]
fn a_claim_without_a_volume_says_why_it_waits() {
    let asked = claim(json!({}), json!({}), json!({}));
    assert_eq!(reasons(&steps(&asked, &[], None)), ["FailedBinding"]);
    let of_class = claim(json!({"storageClassName": "c"}), json!({}), json!({}));
    assert_eq!(reasons(&steps(&of_class, &[], None)), ["ProvisioningFailed"]);
    let waits = class(PROVISIONER, "WaitForFirstConsumer");
    assert_eq!(reasons(&steps(&of_class, &[], Some(&waits))), ["WaitForFirstConsumer"]);
    assert_eq!(reasons(&steps(&of_class, &[], Some(&class(PROVISIONER, "Immediate")))), ["ProvisioningFailed"]);
    assert_eq!(reasons(&steps(&of_class, &[], Some(&class("example.com/nfs", "Immediate")))), ["ExternalProvisioning"]);
    assert_eq!(phase(&steps(&of_class, &[], Some(&waits))).as_deref(), Some("Pending"));
    let named = claim(json!({"volumeName": "pv"}), json!({}), json!({}));
    let small = volume_of(json!({"capacity": {"storage": "1Mi"}}), "Available");
    assert_eq!(reasons(&steps(&named, &[small], None)), ["VolumeMismatch"]);
    let taken = volume_of(json!({"claimRef": {"name": "x", "namespace": "default", "uid": "u2"}}), "Bound");
    assert_eq!(reasons(&steps(&named, &[taken], None)), ["FailedBinding"]);
}

#[test]
fn a_volume_is_made_on_the_host_that_was_chosen() {
    let waits = class(PROVISIONER, "WaitForFirstConsumer");
    let chosen = json!({ SELECTED_NODE: "h1" });
    let asked = claim(json!({"storageClassName": "c"}), chosen.clone(), json!({}));
    let made = steps(&asked, &[], Some(&waits));
    let Step::Provision(volume) = &made[0] else { panic!("{made:?}") };
    assert_eq!(volume.metadata.name.as_deref(), Some("pvc-u1"));
    let spec = volume.spec.as_ref().unwrap();
    assert_eq!(spec.persistent_volume_reclaim_policy.as_deref(), Some("Delete"));
    let node: Node =
        from_value(json!({"metadata": {"name": "h1", "labels": {"kubernetes.io/hostname": "h1"}}})).unwrap();
    assert!(matching::reachable(volume, &node));
    // Made, and not yet named: it is the claim's own.
    let bound = steps(&asked, &[Arc::new((**volume).clone())], Some(&waits));
    assert!(matches!(&bound[..], [Step::Claim(_)]), "{bound:?}");
    let block = claim(json!({"storageClassName": "c", "volumeMode": "Block"}), chosen.clone(), json!({}));
    assert_eq!(reasons(&steps(&block, &[], Some(&waits))), ["ProvisioningFailed"]);
    let gone = ClaimView { claim: &asked, volumes: &[], class: Some(&waits), node: None, waiting: None };
    assert_eq!(super::claim(&gone), [Step::Claim(json!({"metadata": {"annotations": {SELECTED_NODE: null}}}))]);
}

#[test]
fn a_bound_claim_keeps_its_volume_grows_with_it_or_is_lost() {
    let done = json!({ BIND_COMPLETED: "yes" });
    let reference = json!({"claimRef": {"name": "data", "namespace": "default", "uid": "u1"}});
    let of = |size: &str, status: Value| {
        let spec = json!({"volumeName": "pv", "resources": {"requests": {"storage": size}}, "storageClassName": ""});
        claim(spec, done.clone(), status)
    };
    let volume = volume_of(reference.clone(), "Bound");
    let told = steps(&of("1Gi", json!({})), std::slice::from_ref(&volume), None);
    let [Step::ClaimStatus(status)] = &told[..] else { panic!("{told:?}") };
    assert_eq!((status.phase.as_deref(), &status.capacity.as_ref().unwrap()["storage"].0[..]), (Some("Bound"), "1Gi"));
    assert!(steps(&of("1Gi", json!(status)), &[volume], None).is_empty(), "nothing is left to do");
    let lost = steps(&of("1Gi", json!({"phase": "Bound"})), &[], None);
    assert_eq!((phase(&lost).as_deref(), reasons(&lost)), (Some("Lost"), vec!["ClaimLost"]));
    assert!(steps(&of("1Gi", json!({"phase": "Lost"})), &[], None).is_empty());
    let mut own = (*volume_of(reference, "Bound")).clone();
    let spec = own.spec.as_mut().unwrap();
    (spec.host_path, spec.csi) = (None, from_value(json!({"driver": PROVISIONER, "volumeHandle": "pvc-u1"})).unwrap());
    let grown = steps(&of("3Gi", json!({"phase": "Bound"})), &[Arc::new(own)], None);
    let [Step::Volume(_, change), Step::Event(..)] = &grown[..] else { panic!("{grown:?}") };
    assert_eq!(change["spec"]["capacity"]["storage"], "3Gi");
}

#[test]
fn a_volume_follows_its_claim() {
    let asked = claim(json!({"volumeName": "pv"}), json!({}), json!({}));
    assert_eq!(phase(&of_volume(&volume_of(json!({}), ""), None)).as_deref(), Some("Available"));
    let reference = json!({"name": "data", "namespace": "default", "uid": "u1"});
    let reserved = |phase: &str, policy: &str| {
        volume_of(json!({"claimRef": reference, "persistentVolumeReclaimPolicy": policy}), phase)
    };
    assert_eq!(phase(&of_volume(&reserved("Available", "Retain"), Some(&asked))).as_deref(), Some("Bound"));
    assert_eq!(phase(&of_volume(&reserved("Bound", "Retain"), None)).as_deref(), Some("Released"));
    assert!(of_volume(&reserved("Released", "Retain"), None).is_empty());
    let failed = of_volume(&reserved("Released", "Delete"), None);
    assert_eq!((phase(&failed).as_deref(), reasons(&failed)), (Some("Failed"), vec!["VolumeFailedDelete"]));
    let elsewhere = claim(json!({"volumeName": "other"}), json!({}), json!({}));
    let freed = of_volume(&reserved("Available", "Retain"), Some(&elsewhere));
    assert!(
        matches!(&freed[..], [Step::Volume(_, change)] if change["spec"]["claimRef"]["uid"].is_null()),
        "{freed:?}"
    );
}
