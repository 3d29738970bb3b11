//! Which volume suits which claim. Pure; the scheduler asks the same for hosts.

use crate::api::placement;
use crate::api::quantity::Quantity;
pub use crate::api::storage::SELECTED_NODE;

use crate::api::storage::BETA_CLASS;
use crate::controllers::claim::matches;
use k8s_openapi::api::core::v1::{Node, PersistentVolume, PersistentVolumeClaim};
use k8s_openapi::api::storage::v1::StorageClass;
use std::collections::BTreeMap;
use std::sync::Arc;

/// On a claim: its binding is whole.
pub const BIND_COMPLETED: &str = "pv.kubernetes.io/bind-completed";
/// On either side: the binding was not the user's choice, and may be undone.
pub const BOUND_BY_CONTROLLER: &str = "pv.kubernetes.io/bound-by-controller";

/// The claim a volume is for: nobody's, this claim's, or another's.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum For {
    Nobody,
    Claim,
    Another,
}

pub fn annotation<'a>(annotations: &'a Option<BTreeMap<String, String>>, name: &str) -> Option<&'a str> {
    annotations.as_ref()?.get(name).map(String::as_str)
}

/// Whether the volume is reserved for this claim. A reservation by name alone is any claim's of that name.
pub fn reserved(volume: &PersistentVolume, claim: &PersistentVolumeClaim) -> For {
    let Some(reference) = volume.spec.as_ref().and_then(|spec| spec.claim_ref.as_ref()) else { return For::Nobody };
    let named = reference.name == claim.metadata.name && reference.namespace == claim.metadata.namespace;
    let uid = reference.uid.as_deref().unwrap_or_default();
    if named && (uid.is_empty() || Some(uid) == claim.metadata.uid.as_deref()) { For::Claim } else { For::Another }
}

/// Empty: no class, and none is to be found.
pub fn class_of(claim: &PersistentVolumeClaim) -> &str {
    let spec = claim.spec.as_ref().and_then(|spec| spec.storage_class_name.as_deref());
    annotation(&claim.metadata.annotations, BETA_CLASS).or(spec).unwrap_or_default()
}

/// Whether claims of the class wait until a pod that uses them has a host.
pub fn waits_for_consumer(class: Option<&StorageClass>) -> bool {
    class.and_then(|class| class.volume_binding_mode.as_deref()) == Some("WaitForFirstConsumer")
}

/// Whether a host may use the volume.
pub fn reachable(volume: &PersistentVolume, node: &Node) -> bool {
    let affinity = volume.spec.as_ref().and_then(|spec| spec.node_affinity.as_ref());
    let Some(required) = affinity.and_then(|affinity| affinity.required.as_ref()) else { return true };
    placement::any_term(required, node.metadata.name.as_deref().unwrap_or_default(), node.metadata.labels.as_ref())
}

/// The smallest volume that is free for the claim (and that `node` may use); one that is reserved for it
/// comes first. Source: kube-controller-manager's `FindMatchingVolume`. `delayed`: without a node, only a
/// reserved one counts, because the choice is the scheduler's.
pub fn best<'a>(
    claim: &PersistentVolumeClaim,
    volumes: impl IntoIterator<Item = &'a Arc<PersistentVolume>>,
    node: Option<&Node>,
    delayed: bool,
) -> Option<&'a Arc<PersistentVolume>> {
    let mut found: Option<(Quantity, &Arc<PersistentVolume>)> = None;
    for volume in volumes {
        let Some(size) = fits(volume, claim) else { continue };
        if node.is_some_and(|node| !reachable(volume, node)) {
            continue;
        }
        match reserved(volume, claim) {
            For::Claim => return Some(volume),
            For::Another => continue,
            For::Nobody if node.is_none() && delayed => continue,
            For::Nobody => {}
        }
        let smaller = found.is_none_or(|(known, other)| (size, &volume.metadata.name) < (known, &other.metadata.name));
        if is_available(volume) && is_selected(volume, claim) && smaller {
            found = Some((size, volume));
        }
    }
    found.map(|(_, volume)| volume)
}

/// Why a volume that the claim asks for by name cannot be its.
pub fn mismatch(volume: &PersistentVolume, claim: &PersistentVolumeClaim) -> Option<&'static str> {
    let (Some(spec), Some(asked)) = (&volume.spec, &claim.spec) else { return Some("incompatible specs") };
    if capacity(volume) < request(claim) {
        return Some("requested PV is too small");
    }
    if spec.storage_class_name.as_deref().unwrap_or_default() != class_of(claim) {
        return Some("storageClassName does not match");
    }
    if mode(&spec.volume_mode) != mode(&asked.volume_mode) {
        return Some("incompatible volumeMode");
    }
    let offered = spec.access_modes.as_deref().unwrap_or_default();
    let all = asked.access_modes.iter().flatten().all(|wanted| offered.contains(wanted));
    (!all).then_some("incompatible accessMode")
}

/// Its size, if it would do for the claim.
fn fits(volume: &PersistentVolume, claim: &PersistentVolumeClaim) -> Option<Quantity> {
    let usable = volume.metadata.deletion_timestamp.is_none() && mismatch(volume, claim).is_none();
    usable.then(|| capacity(volume)).flatten()
}

fn is_available(volume: &PersistentVolume) -> bool {
    volume.status.as_ref().and_then(|status| status.phase.as_deref()) == Some("Available")
}

fn is_selected(volume: &PersistentVolume, claim: &PersistentVolumeClaim) -> bool {
    let selector = claim.spec.as_ref().and_then(|spec| spec.selector.as_ref());
    selector.is_none_or(|selector| matches(selector, volume.metadata.labels.as_ref()))
}

fn mode(given: &Option<String>) -> &str {
    given.as_deref().unwrap_or("Filesystem")
}

pub fn capacity(volume: &PersistentVolume) -> Option<Quantity> {
    volume.spec.as_ref()?.capacity.as_ref()?.get("storage")?.0.parse().ok()
}

pub fn request(claim: &PersistentVolumeClaim) -> Option<Quantity> {
    claim.spec.as_ref()?.resources.as_ref()?.requests.as_ref()?.get("storage")?.0.parse().ok()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use serde_json::{Value, from_value, json};

    fn volume(name: &str, size: &str, more: Value) -> Arc<PersistentVolume> {
        let mut spec =
            json!({"capacity": {"storage": size}, "accessModes": ["ReadWriteOnce"], "storageClassName": "c"});
        more.as_object().unwrap().iter().for_each(|(key, value)| spec[key] = value.clone());
        let labels = json!({"disk": name});
        let object =
            json!({"metadata": {"name": name, "labels": labels}, "spec": spec, "status": {"phase": "Available"}});
        Arc::new(from_value(object).unwrap())
    }

    fn claim(more: Value) -> PersistentVolumeClaim {
        let mut spec = json!({"accessModes": ["ReadWriteOnce"], "storageClassName": "c",
            "resources": {"requests": {"storage": "2Gi"}}});
        more.as_object().unwrap().iter().for_each(|(key, value)| spec[key] = value.clone());
        from_value(json!({"metadata": {"name": "data", "namespace": "default", "uid": "u1"}, "spec": spec})).unwrap()
    }

    fn node(name: &str) -> Node {
        from_value(json!({"metadata": {"name": name, "labels": {"kubernetes.io/hostname": name}}})).unwrap()
    }

    fn chosen(claim: &PersistentVolumeClaim, volumes: &[Arc<PersistentVolume>]) -> Option<String> {
        best(claim, volumes, None, false).and_then(|volume| volume.metadata.name.clone())
    }

    #[test]
    fn the_smallest_that_fits_is_taken() {
        let volumes = [
            volume("small", "1Gi", json!({})),
            volume("large", "8Gi", json!({})),
            volume("right", "2Gi", json!({})),
            volume("other-class", "2Gi", json!({"storageClassName": "d"})),
            volume("block", "2Gi", json!({"volumeMode": "Block"})),
            volume("taken", "2Gi", json!({"claimRef": {"name": "else", "namespace": "default"}})),
        ];
        assert_eq!(chosen(&claim(json!({})), &volumes).as_deref(), Some("right"));
        let picky = claim(json!({"selector": {"matchLabels": {"disk": "large"}}}));
        assert_eq!(chosen(&picky, &volumes).as_deref(), Some("large"));
        assert_eq!(chosen(&claim(json!({"accessModes": ["ReadWriteMany"]})), &volumes), None);
    }

    #[test]
    fn a_reserved_volume_comes_first_and_is_nobody_elses() {
        let mine = json!({"claimRef": {"name": "data", "namespace": "default"}});
        let volumes = [volume("a", "2Gi", json!({})), volume("b", "9Gi", mine)];
        assert_eq!(chosen(&claim(json!({})), &volumes).as_deref(), Some("b"));
        let former = json!({"claimRef": {"name": "data", "namespace": "default", "uid": "u0"}});
        assert_eq!(chosen(&claim(json!({})), &[volume("c", "2Gi", former)]), None);
    }

    #[test]
    fn the_choice_of_a_delayed_claim_is_the_schedulers() {
        let on = |host: &str| {
            let values = json!({"key": "kubernetes.io/hostname", "operator": "In", "values": [host]});
            json!({"nodeAffinity": {"required": {"nodeSelectorTerms": [{"matchExpressions": [values]}]}}})
        };
        let volumes = [volume("a", "2Gi", on("h1")), volume("b", "4Gi", on("h2"))];
        let claim = claim(json!({}));
        assert!(best(&claim, &volumes, None, true).is_none());
        let on_h2 = best(&claim, &volumes, Some(&node("h2")), true).and_then(|volume| volume.metadata.name.as_deref());
        assert_eq!(on_h2, Some("b"));
        assert!(best(&claim, &volumes, Some(&node("h3")), true).is_none());
    }
}
