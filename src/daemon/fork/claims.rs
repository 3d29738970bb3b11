//! The data at stake: claims that go with what the change set ends, and those that outlive it.
//!
//! Which of them go is read from the copy, where the real controllers took them away; only why is worked out here.

use super::owners::Owners;
use crate::api::changeset::{ChangeAction, ChangeResult, ChangeSetStatus, ObjectId};
use crate::api::meta::Envelope;
use crate::api::plan::{ClaimAtStake, ClaimFate};
use crate::store::{Record, bucket, key};
use serde_json::Value;
use std::sync::Arc;

const API_VERSION: &str = "v1";
const KIND: &str = "PersistentVolumeClaim";
const POLICY: &str = "persistentVolumeClaimRetentionPolicy";

/// All claims with a volume that something happens to, or that outlive their StatefulSet; by namespace and name.
pub fn at_stake(change: &ChangeSetStatus, owners: &Owners<'_>) -> Vec<ClaimAtStake> {
    let sets: Vec<StatefulSet> =
        owners.base.bucket(&bucket("apps", "statefulsets")).map(|record| StatefulSet::of(record)).collect();
    let claims = bucket("", "persistentvolumeclaims");
    let claims = owners.base.bucket(&claims);
    claims.filter_map(|claim| look(change, owners, &sets, claim)).collect()
}

struct StatefulSet {
    id: ObjectId,
    templates: Vec<String>,
    when_deleted: String,
    when_scaled: String,
}

impl StatefulSet {
    fn of(record: &Record) -> Self {
        let object: Value = serde_json::from_slice(&record.value.bytes()).unwrap_or_default();
        let templates = object["spec"]["volumeClaimTemplates"].as_array().into_iter().flatten();
        let policy = |when: &str| object["spec"][POLICY][when].as_str().unwrap_or("Retain").to_owned();
        Self {
            id: id_of("apps/v1", "StatefulSet", &record.envelope),
            templates: templates.filter_map(|one| Some(one["metadata"]["name"].as_str()?.to_owned())).collect(),
            when_deleted: policy("whenDeleted"),
            when_scaled: policy("whenScaled"),
        }
    }

    /// Whether a claim is one of its pods', by its name.
    fn has(&self, claim: &Envelope) -> bool {
        let is_of = |template: &String| {
            let ordinal = claim.name.strip_prefix(template.as_str()).and_then(|rest| rest.strip_prefix('-'));
            let ordinal = ordinal.and_then(|rest| rest.strip_prefix(self.id.name.as_str())?.strip_prefix('-'));
            ordinal.is_some_and(|digits| !digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_digit()))
        };
        self.id.namespace == claim.namespace && self.templates.iter().any(is_of)
    }
}

fn look(
    change: &ChangeSetStatus,
    owners: &Owners<'_>,
    sets: &[StatefulSet],
    claim: &Arc<Record>,
) -> Option<ClaimAtStake> {
    let envelope = &claim.envelope;
    let object: Value = serde_json::from_slice(&claim.value.bytes()).unwrap_or_default();
    // Without a volume there is no data.
    let volume = object["spec"]["volumeName"].as_str().filter(|name| !name.is_empty())?;
    if envelope.deletion_timestamp.is_some() {
        return None;
    }
    let fate = match owners.store.get(&claim.key) {
        None => ClaimFate::Deleted,
        Some(now) if now.envelope.uid != envelope.uid => ClaimFate::Replaced,
        Some(now) if now.envelope.deletion_timestamp.is_some() => ClaimFate::Deleted,
        Some(_) => ClaimFate::Kept,
    };
    let (with, reason) = why(change, owners, sets, envelope, fate)?;
    let volume_object: Value = owners
        .base
        .get(&key("", "persistentvolumes", "", volume))
        .and_then(|record| serde_json::from_slice(&record.value.bytes()).ok())
        .unwrap_or_default();
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let capacity = [&volume_object["spec"]["capacity"], &object["status"]["capacity"]];
    Some(ClaimAtStake {
        claim: id_of(API_VERSION, KIND, envelope),
        with,
        fate,
        volume: volume.to_owned(),
        size: capacity
            .iter()
            .map(|capacity| text(&capacity["storage"]))
            .find(|size| !size.is_empty())
            .unwrap_or_default(),
        reclaim_policy: text(&volume_object["spec"]["persistentVolumeReclaimPolicy"]),
        reason,
    })
}

/// What of the change set it goes with, or outlives, and why. `None`: it has nothing to do with it.
fn why(
    change: &ChangeSetStatus,
    owners: &Owners<'_>,
    sets: &[StatefulSet],
    claim: &Envelope,
    fate: ClaimFate,
) -> Option<(ObjectId, String)> {
    let own = id_of(API_VERSION, KIND, claim);
    let result_of = |id: &ObjectId| change.results.iter().find(|result| is_same(&result.id, id));
    let ended = |id: &ObjectId| result_of(id).filter(|result| ends(result));
    let set = sets.iter().find(|set| set.has(claim));
    if fate == ClaimFate::Kept {
        let set = set?;
        let reason = match ended(&set.id)?.action {
            ChangeAction::Replaced => format!("{POLICY}.whenDeleted is Retain; the new StatefulSet takes it up again"),
            _ => format!("{POLICY}.whenDeleted is Retain"),
        };
        return Some((set.id.clone(), reason));
    }
    if let Some(result) = ended(&own) {
        let reason = if result.reason.is_empty() { "it is no longer in the source" } else { &result.reason };
        return Some((own, reason.to_owned()));
    }
    let namespace = change
        .results
        .iter()
        .find(|result| ends(result) && result.id.kind == "Namespace" && result.id.name == claim.namespace);
    if let Some(result) = namespace {
        return Some((without_uid(&result.id), "its namespace is deleted with all that it holds".to_owned()));
    }
    if let Some(set) = set {
        let (when, policy) = match ended(&set.id) {
            Some(_) => ("whenDeleted", &set.when_deleted),
            None => ("whenScaled", &set.when_scaled),
        };
        return Some((set.id.clone(), format!("{POLICY}.{when} is {policy}")));
    }
    let root = owners.root(API_VERSION, KIND, claim);
    ended(&root)?;
    Some((root, "it belongs to a pod, and goes with it".to_owned()))
}

fn ends(result: &ChangeResult) -> bool {
    matches!(result.action, ChangeAction::Deleted | ChangeAction::Replaced)
}

/// Versions of a kind are one.
fn is_same(a: &ObjectId, b: &ObjectId) -> bool {
    let group = |id: &ObjectId| id.api_version.split_once('/').map_or("", |(group, _)| group).to_owned();
    (group(a), &a.kind, &a.namespace, &a.name) == (group(b), &b.kind, &b.namespace, &b.name)
}

fn without_uid(id: &ObjectId) -> ObjectId {
    ObjectId { uid: String::new(), ..id.clone() }
}

fn id_of(api_version: &str, kind: &str, envelope: &Envelope) -> ObjectId {
    ObjectId {
        api_version: api_version.into(),
        kind: kind.into(),
        namespace: envelope.namespace.clone(),
        name: envelope.name.clone(),
        uid: String::new(),
    }
}
