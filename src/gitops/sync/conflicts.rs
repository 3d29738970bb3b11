//! Fields that others own. What an Application set before and others changed since has drifted: the Application's
//! settings say what becomes of that. What it never set is theirs, and refused, unless it forces or adopts.

use super::changeset::{self, Lent};
use super::history::{self, HistoryError};
use super::owners::Owners;
use super::{How, Options, SyncError};
use crate::api::changeset::{ChangeResult, ChangeSetStatus, ExpectedAnnotation, ObjectId};
use crate::api::plan::Consequences;
use crate::gitops::render::{Manifest, Rendered, same_object};
use serde_json::Value;
use std::borrow::Cow;

/// Says who owns a field, and nothing of its value.
pub(super) const CONFLICT: &str = "FieldManagerConflict";

/// What the server made of a change set.
pub(super) struct Posted<'a> {
    pub request: Lent<'a>,
    pub status: ChangeSetStatus,
    pub consequences: Option<Consequences>,
}

/// Posts a change set. Where it is refused for fields of others, the server is told what the Application applied
/// before.
pub(super) async fn post<'a>(
    client: &kube::Client,
    rendered: &'a Rendered,
    options: &'a Options,
    owned: &Owners,
    deletions: &[ObjectId],
    how: How,
    expected: Option<&ExpectedAnnotation>,
) -> Result<Posted<'a>, SyncError> {
    let mut request = changeset::request(rendered, options, owned, deletions, how != How::Apply);
    // What is only looked at may be older.
    request.spec.expected_annotations.extend(expected.filter(|_| how == How::Apply).cloned());
    let mut told = false;
    loop {
        let (status, consequences) = match how {
            How::LookAhead => changeset::plan(client, &request, options).await?,
            _ => (changeset::post(client, &request).await?, None),
        };
        if !status.applied && !std::mem::replace(&mut told, true) {
            let earlier = earlier(client, rendered, options, &status).await?;
            if !earlier.is_empty() {
                request.spec.earlier.extend(earlier.into_iter().map(Cow::Owned));
                continue;
            }
        }
        return Ok(Posted { request, status, consequences });
    }
}

/// What the Application applied before of the objects that are refused for fields of others.
async fn earlier(
    client: &kube::Client,
    rendered: &Rendered,
    options: &Options,
    status: &ChangeSetStatus,
) -> Result<Vec<Value>, SyncError> {
    let name = &options.application;
    let contested = status.results.iter().filter(|result| is_contested(result));
    let contested: Vec<_> = contested.filter_map(|result| rendered.find(&result.id)).collect();
    if contested.is_empty() || (name.is_empty() && !options.adopt) {
        return Ok(Vec::new());
    }
    let is_held = |id: &ObjectId| options.inventory.iter().any(|held| same_object(held, id));
    let last = if contested.iter().any(|manifest| is_held(&manifest.id)) { last(client, name).await? } else { None };
    let of = |manifest: &&Manifest| {
        let last = last.as_ref().and_then(|last| last.find(&manifest.id));
        match last {
            _ if !is_held(&manifest.id) => options.adopt.then(|| manifest.value.clone()),
            Some(last) => Some(last.value.clone()),
            // It is the Application's, and nobody knows any more which fields it set.
            None => Some(manifest.value.clone()),
        }
    };
    Ok(contested.iter().filter_map(of).collect())
}

fn is_contested(result: &ChangeResult) -> bool {
    result.error.as_ref().is_some_and(|error| error.causes.iter().any(|cause| cause.reason == CONFLICT))
}

/// The manifests that were applied last, if the history has them.
async fn last(client: &kube::Client, name: &str) -> Result<Option<Rendered>, SyncError> {
    let Some(record) = history::list(client, name).await?.pop() else { return Ok(None) };
    match history::manifests(client, name, record.number).await {
        Ok(rendered) => Ok(Some(rendered)),
        Err(HistoryError::TooLarge { .. } | HistoryError::Missing { .. }) => Ok(None),
        // No reason to apply nothing more.
        Err(error @ HistoryError::Broken { .. }) => {
            tracing::warn!(application = name, revision = record.number, %error, "cannot read what was applied last");
            Ok(None)
        }
        Err(error) => Err(error.into()),
    }
}
