//! A commit as one transaction: everything a sync changes, applied all or nothing.
//!
//! Posted to `/apis/selkie.dev/v1alpha1/changesets`; answered, never stored.

use crate::api::error::Cause;
use serde::{Deserialize, Serialize};
use serde_json::Value;

/// Annotation with the value `disabled`: on an object, no sync deletes it; on an Application, none
/// of its objects is deleted with it. `confirmed` on a claim or a Namespace: it may be deleted with all
/// that it holds.
pub const PRUNE: &str = "selkie.dev/prune";

#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default, bound(deserialize = "O: Deserialize<'de> + Default"))]
pub struct ChangeSet<O = Value> {
    pub api_version: String,
    pub kind: String,
    pub spec: ChangeSetSpec<O>,
    pub status: ChangeSetStatus,
}

/// `O`: an object, or a borrowed one where the set is only to be sent.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default, bound(deserialize = "O: Deserialize<'de> + Default"))]
pub struct ChangeSetSpec<O = Value> {
    /// Owner of the applied fields (server-side apply), e.g. `selkie-app-hello`.
    pub field_manager: String,
    /// Take over fields that another manager owns.
    pub force: bool,
    /// What the manager applied of some of the objects before. Fields of it that others own by now are taken back
    /// where they are applied again; those that it did not set then are refused still.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub earlier: Vec<O>,
    /// Validate and answer, commit nothing.
    pub dry_run: bool,
    /// Delete and make again what cannot change in place. Both are part of the commit, but for what has to end in
    /// its own time: see [`ChangeResult::pending`].
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub replace: bool,
    /// Refuse (409) to delete objects on which this label has another value.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub deletion_label: Option<DeletionLabel>,
    /// Refuse unless the store is at this revision. 0: any.
    pub expected_revision: u64,
    /// Refuse (409) unless all of these are so. What the set is made from is its to check: others may have changed it
    /// since it was read.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub expected_annotations: Vec<ExpectedAnnotation>,
    /// Full intent of each object, namespaces already filled in; in any order (namespaces and
    /// definitions are applied before what needs them).
    pub objects: Vec<O>,
    /// Objects to delete (prune), by identity; background propagation.
    pub deletions: Vec<ObjectId>,
}

/// Tells whose an object is.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct DeletionLabel {
    pub name: String,
    pub value: String,
}

/// The cause of a refusal because what was expected is not so.
pub const UNEXPECTED: &str = "AnnotationUnexpected";

/// What an annotation of an object is.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct ExpectedAnnotation {
    pub object: ObjectId,
    pub name: String,
    /// `None`: there is no such annotation, or no such object.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub value: Option<String>,
}

/// Identity of an object. `uid` empty: any.
#[derive(Debug, Clone, Default, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct ObjectId {
    pub api_version: String,
    pub kind: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    pub namespace: String,
    pub name: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    pub uid: String,
}

#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct ChangeSetStatus {
    /// True when everything was applied (or would be, for a dry run). Otherwise nothing was.
    pub applied: bool,
    /// The revision the changes were committed at, or that the dry run was computed at.
    pub revision: u64,
    /// One entry per object of the spec, in its order, then one per deletion.
    pub results: Vec<ChangeResult>,
}

#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct ChangeResult {
    pub id: ObjectId,
    pub action: ChangeAction,
    /// The stored object before and after; absent where there was or will be none. Unchanged
    /// objects carry neither.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub before: Option<Value>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub after: Option<Value>,
    /// Why the object is replaced: what of it cannot change in place.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub reason: String,
    /// It is replaced, and what is there has to end first, for finalizers or a grace period. That is begun with the
    /// commit; it is made again when the set is posted once more after its end. `after` is how it will be.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub pending: bool,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub warnings: Vec<String>,
    /// Who wrote, or deleted, the object last by hand; of one that is refused for fields of others, who owns these.
    /// Where that is still known.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub author: Option<Author>,
    /// Set when `action` is `failed`: the Status code, reason and message.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub error: Option<ChangeError>,
}

/// A write by hand: not by selkie, its controllers or its kubelets.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Author {
    pub user: String,
    /// The field manager, or the program's name.
    pub manager: String,
    /// `PATCH`, `DELETE`...
    pub method: String,
    /// Which of the object's subresources was written, e.g. `resize`; empty for the object itself.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub subresource: String,
    /// RFC 3339.
    pub time: String,
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum ChangeAction {
    Created,
    Configured,
    #[default]
    Unchanged,
    /// Deleted and made again; `reason` says why.
    Replaced,
    Deleted,
    Failed,
}

#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct ChangeError {
    pub code: u16,
    pub reason: String,
    pub message: String,
    pub causes: Vec<Cause>,
}
