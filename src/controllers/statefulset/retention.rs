//! Whom the claims of a StatefulSet go with: `spec.persistentVolumeClaimRetentionPolicy`. Pure.
//!
//! The garbage collector does the deleting: a claim that shall go with the set has the set as its
//! owner, one that shall go with a pod that is scaled away has that pod.

use super::identity;
use crate::controllers::claim::controller_reference;
use k8s_openapi::api::apps::v1::StatefulSet;
use k8s_openapi::api::core::v1::{PersistentVolumeClaim, Pod};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::OwnerReference;

/// What becomes of claims: true is `Delete`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Policy {
    when_deleted: bool,
    when_scaled: bool,
}

impl Policy {
    fn of(set: &StatefulSet) -> Self {
        let policy = set.spec.as_ref().and_then(|spec| spec.persistent_volume_claim_retention_policy.as_ref());
        let deletes = |text: Option<&String>| text.is_some_and(|text| text == "Delete");
        Self {
            when_deleted: deletes(policy.and_then(|policy| policy.when_deleted.as_ref())),
            when_scaled: deletes(policy.and_then(|policy| policy.when_scaled.as_ref())),
        }
    }
}

/// The owners a claim of `pod` (or of a pod to be made) should have, if they are others than it has.
pub fn owners(set: &StatefulSet, pod: Option<&Pod>, claim: &PersistentVolumeClaim) -> Option<Vec<OwnerReference>> {
    let policy = Policy::of(set);
    let pod_reference = pod.map(controller_reference::<Pod>);
    let scaled_away = pod
        .and_then(|pod| identity::ordinal(set, pod))
        .is_some_and(|ordinal| !identity::ordinals(set).contains(&ordinal));
    let with_pod = policy.when_scaled && scaled_away;
    let with_set = policy.when_deleted && !with_pod;
    let known = claim.metadata.owner_references.clone().unwrap_or_default();
    let mut wanted: Vec<_> = known
        .iter()
        .filter(|owner| !is(owner, "StatefulSet", identity::set_name(set)))
        .filter(|owner| !pod_reference.as_ref().is_some_and(|pod| is(owner, "Pod", &pod.name)))
        .cloned()
        .collect();
    let keep =
        |reference: OwnerReference| known.iter().find(|one| one.uid == reference.uid).cloned().unwrap_or(reference);
    if with_set {
        wanted.push(keep(controller_reference(set)));
    }
    if let Some(reference) = pod_reference.filter(|_| with_pod) {
        wanted.push(keep(reference));
    }
    (wanted != known).then_some(wanted)
}

fn is(owner: &OwnerReference, kind: &str, name: &str) -> bool {
    owner.kind == kind && owner.name == name
}

/// Whether the claim still belongs to a former pod of this name, and goes soon: a new pod must not
/// start with it.
pub fn is_stale(claim: &PersistentVolumeClaim, pod_name: &str) -> bool {
    claim.metadata.deletion_timestamp.is_some()
        || claim.metadata.owner_references.iter().flatten().any(|owner| is(owner, "Pod", pod_name))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use serde_json::{from_value, json};

    /// Kinds of the owners of the claim of pod `ordinal` of a set of 1.
    fn check(deleted: &str, scaled: &str, ordinal: i32, expect: &[&str]) {
        let set: StatefulSet = from_value(json!({"metadata": {"name": "s", "uid": "su"}, "spec": {
            "replicas": 1, "selector": {}, "template": {},
            "persistentVolumeClaimRetentionPolicy": {"whenDeleted": deleted, "whenScaled": scaled},
        }}))
        .unwrap();
        let pod: Pod = from_value(json!({"metadata": {"name": format!("s-{ordinal}"), "uid": "pu"}})).unwrap();
        for before in [json!([]), json!([{"apiVersion": "apps/v1", "kind": "StatefulSet", "name": "s", "uid": "su"}])] {
            let mut claim: PersistentVolumeClaim =
                from_value(json!({"metadata": {"ownerReferences": before}})).unwrap();
            if let Some(owners) = owners(&set, Some(&pod), &claim) {
                claim.metadata.owner_references = Some(owners);
            }
            assert_eq!(super::owners(&set, Some(&pod), &claim), None, "settles");
            let kinds: Vec<_> = claim.metadata.owner_references.iter().flatten().map(|one| one.kind.clone()).collect();
            assert_eq!(kinds, expect);
        }
    }

    #[test]
    fn claims_go_with_the_set_or_with_a_pod_scaled_away() {
        check("Retain", "Retain", 0, &[]);
        check("Retain", "Retain", 1, &[]);
        check("Delete", "Retain", 0, &["StatefulSet"]);
        check("Delete", "Retain", 1, &["StatefulSet"]);
        check("Retain", "Delete", 0, &[]);
        check("Retain", "Delete", 1, &["Pod"]);
        check("Delete", "Delete", 0, &["StatefulSet"]);
        check("Delete", "Delete", 1, &["Pod"]);
    }
}
