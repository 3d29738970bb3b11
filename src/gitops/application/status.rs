//! What a sync writes about an Application.

use super::Preview;
use crate::api::changeset::ObjectId;
use crate::gitops::notify::Delivery;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct ApplicationStatus {
    pub observed_generation: i64,
    /// The revision in force: the last one applied whole.
    pub revision: String,
    /// What `revision` was rendered with besides the source; see [`crate::gitops::inputs::Inputs`].
    #[serde(skip_serializing_if = "String::is_empty")]
    pub inputs: String,
    /// The commits of other repositories that are in force with it, by where these are.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub remote_bases: BTreeMap<String, String>,
    /// The revision tried last.
    pub attempted_revision: String,
    /// RFC 3339; when `revision` was applied.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub last_sync_time: String,
    pub conditions: Vec<Condition>,
    /// The objects applied, with their uids.
    pub inventory: Vec<ObjectId>,
    /// The hooks that were run and may still be there.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub hooks: Vec<ObjectId>,
    /// A revision on its way, where that is applied in stages.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub operation: Option<Operation>,
    /// A saved plan on its way that makes objects again which have to end first.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub replacing: Option<Replacing>,
    /// What is wrong, each with its place; empty when the last try went well.
    pub errors: Vec<String>,
    /// The number in the history of what is in force; 0: there is none.
    pub revision_number: u64,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub previews: Vec<Preview>,
    /// What is in force instead of what the source says, for people; empty: the source is followed.
    pub pinned: String,
    /// The revision that failed and is not applied again. Never left out, so that a patch clears it.
    pub quarantine: Option<Quarantine>,
    /// What others changed last and the sync set right.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub last_drift_correction: Option<DriftCorrection>,
    /// What has reached whom of `spec.notifications`. Not the sync's to write.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub notifications: BTreeMap<String, Delivery>,
    /// The last request that was carried out, whatever came of it.
    pub handled_request: String,
    /// Why it failed; empty when it did not.
    pub request_error: String,
}

/// Where a sync in stages is.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Operation {
    pub revision: String,
    /// As [`ApplicationStatus::inputs`].
    pub inputs: String,
    /// Counts from 0.
    pub stage: usize,
    /// For people: `PreSync: Job default/migrate`.
    pub doing: String,
}

/// A plan that replaces objects, while it is carried out: a daemon that starts in the middle goes on with it.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Replacing {
    /// The plan's [`crate::gitops::plan::Report::fingerprint`].
    pub plan: String,
    /// What is deleted and made again.
    pub objects: Vec<ObjectId>,
}

/// A revision that was taken back, and why.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Quarantine {
    pub revision: String,
    /// As [`ApplicationStatus::inputs`]: with others it is tried again.
    pub inputs: String,
    /// RFC 3339.
    pub since: String,
    /// What failed, with the pod and the reason.
    pub cause: String,
    /// The last lines that the pod wrote.
    pub log: Vec<String>,
}

/// Changes of others that were undone.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct DriftCorrection {
    /// RFC 3339.
    pub time: String,
    /// The objects, with who changed them.
    pub changes: Vec<String>,
}

/// As metav1.Condition.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Condition {
    #[serde(rename = "type")]
    pub kind: String,
    pub status: String,
    pub reason: String,
    pub message: String,
    pub last_transition_time: String,
}

/// Sets a condition; the time moves only when its status does.
pub fn set_condition(
    conditions: &mut Vec<Condition>,
    kind: &str,
    status: bool,
    reason: &str,
    message: &str,
    now: &str,
) {
    let status = if status { "True" } else { "False" };
    let fresh = Condition {
        kind: kind.to_owned(),
        status: status.to_owned(),
        reason: reason.to_owned(),
        message: message.to_owned(),
        last_transition_time: now.to_owned(),
    };
    match conditions.iter_mut().find(|condition| condition.kind == kind) {
        Some(known) => {
            let since = if known.status == status { known.last_transition_time.clone() } else { now.to_owned() };
            *known = Condition { last_transition_time: since, ..fresh };
        }
        None => conditions.push(fresh),
    }
}

impl ApplicationStatus {
    /// [`set_condition`] of these.
    pub fn set(&mut self, kind: &str, status: bool, reason: &str, message: &str, now: &str) {
        set_condition(&mut self.conditions, kind, status, reason, message, now);
    }

    /// Whether all of the last revision was seen ready.
    pub fn is_ready(&self) -> bool {
        self.condition("Ready").is_some_and(|condition| condition.status == "True")
    }

    pub fn condition(&self, kind: &str) -> Option<&Condition> {
        self.conditions.iter().find(|condition| condition.kind == kind)
    }
}
