//! What was in force when: a Secret for each revision of an Application, with its manifests.
//!
//! Written in the change set that applies the revision, so that there is never one without the other,
//! and deleted in it once there are too many. A Secret, because manifests hold Secrets' values.

mod stored;

pub use stored::{HistoryError, list, manifests, save};

use crate::api::changeset::{ChangeAction, ChangeResult, ObjectId};
use crate::gitops::application::{Application, NAMESPACE};
use crate::gitops::kinds::Kinds;
use crate::gitops::plan::{Report, Totals};
use crate::gitops::render::{Rendered, identity};
use crate::gitops::sources::{Commit, short};
use crate::gitops::sync::course::Course;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use sha2::{Digest, Sha256};
use std::collections::HashSet;

/// The type of the Secrets.
pub const SECRET_TYPE: &str = "selkie.dev/revision";
/// Their label: the Application's name.
pub const LABEL: &str = "selkie.dev/history-of";

/// One entry of an Application's history.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Record {
    /// Counts up from 1 and is never given twice.
    pub number: u64,
    /// The commit's hash, or a hash of the contents.
    pub revision: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub commit: Option<Commit>,
    /// RFC 3339.
    pub applied: String,
    /// Where the manifests came from, without credentials.
    pub source: String,
    /// How it came about, where not from the source: `rollback to 3`.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub via: String,
    pub objects: usize,
    /// Secrets that hold the rest of the manifests, where one is not enough.
    #[serde(skip_serializing_if = "is_zero")]
    pub parts: usize,
    /// Of the manifests: the same ones are not recorded twice in a row.
    pub digest: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub totals: Option<Totals>,
    pub result: Verdict,
    /// Why it failed, each with its place.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub failures: Vec<String>,
}

#[allow(clippy::trivially_copy_pass_by_ref, reason = "serde passes a reference")]
fn is_zero(count: &usize) -> bool {
    *count == 0
}

/// What came of a revision.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Verdict {
    /// Still waited for; of an earlier revision: the next one came before it was ready.
    #[default]
    Progressing,
    Ready,
    Failed,
}

impl Record {
    /// `3 (abc1234)`.
    pub fn describe(&self) -> String {
        format!("{} ({})", self.number, short(&self.revision))
    }
}

/// Secrets to write and to delete along with a revision.
#[derive(Debug, Clone, Default)]
pub struct Writes {
    pub objects: Vec<Value>,
    pub deletions: Vec<ObjectId>,
}

/// What recording a revision writes; sets how many parts the record has. `known`: the history so far, in order.
pub fn writes(application: &Application, record: &mut Record, rendered: &Rendered, known: &[Record]) -> Writes {
    let surplus = (known.len() + 1).saturating_sub(application.history_limit());
    let gone = known.iter().take(surplus).flat_map(|old| stored::names(application.name(), old));
    let gone = gone.map(|name| ObjectId {
        api_version: "v1".to_owned(),
        kind: "Secret".to_owned(),
        namespace: NAMESPACE.to_owned(),
        name,
        uid: String::new(),
    });
    Writes { objects: stored::secrets(application, record, rendered), deletions: gone.collect() }
}

/// What manifests say, wherever in their files they say it.
pub fn digest(rendered: &Rendered) -> String {
    let mut objects: Vec<_> = rendered.objects.iter().collect();
    objects.sort_by(|a, b| a.id.cmp(&b.id));
    let mut hash = Sha256::new();
    for manifest in objects {
        hash.update(manifest.value.to_string());
        hash.update("\n");
    }
    hash.finalize().iter().map(|byte| format!("{byte:02x}")).collect()
}

/// How the manifests of one revision differ from those of another.
pub fn compare(before: &Rendered, after: &Rendered, kinds: &dyn Kinds) -> Report {
    // Both were applied: their annotations make sense.
    let course = Course::of(after, false).unwrap_or_default();
    let runs = course.runs(after);
    let (before, mut after) = (&without_hooks(before), without_hooks(after));
    for manifest in &mut after.objects {
        manifest.confidential |= before.find(&manifest.id).is_some_and(|old| old.confidential);
    }
    let after = &after;
    let result = |id: &ObjectId, action, before, after| ChangeResult {
        id: id.clone(),
        action,
        before,
        after,
        ..ChangeResult::default()
    };
    let mut results: Vec<_> = after
        .objects
        .iter()
        .map(|manifest| match before.find(&manifest.id) {
            None => result(&manifest.id, ChangeAction::Created, None, Some(manifest.value.clone())),
            Some(old) if old.value == manifest.value => result(&manifest.id, ChangeAction::Unchanged, None, None),
            Some(old) => {
                let (old, new) = (old.value.clone(), manifest.value.clone());
                result(&manifest.id, ChangeAction::Configured, Some(old), Some(new))
            }
        })
        .collect();
    let gone = removed(before, after);
    results
        .extend(gone.objects.iter().map(|old| result(&old.id, ChangeAction::Deleted, Some(old.value.clone()), None)));
    Report { runs, ..Report::new(&results, &after.objects, kinds) }
}

/// The manifests of a revision that are kept, not only run.
pub fn without_hooks(rendered: &Rendered) -> Rendered {
    match Course::of(rendered, false) {
        Ok(course) => course.kept(rendered),
        Err(_) => rendered.clone(),
    }
}

/// The manifests of `before` whose objects `after` does not have.
pub fn removed(before: &Rendered, after: &Rendered) -> Rendered {
    let left: HashSet<_> = after.objects.iter().map(|new| identity(&new.id)).collect();
    let gone = before.objects.iter().filter(|old| !left.contains(&identity(&old.id)));
    Rendered { objects: gone.cloned().collect(), errors: Vec::new() }
}

#[cfg(test)]
mod tests;
