//! What is replaced and has to end first, for finalizers or a grace period: waits for its end, then makes it again.
//!
//! The change set has been committed by then, with the end begun. Whoever is interrupted here has lost nothing: the
//! next sync of the same manifests finds the object gone, or still going, and goes on from there.

use super::live::try_live;
use super::{SyncError, changeset};
use crate::api::changeset::{ChangeAction, ChangeResult, ChangeSet, ChangeSetSpec, ChangeSetStatus};
use crate::gitops::kinds::Kinds;
use serde::Serialize;
use serde_json::Value;
use std::time::Duration;
use tokio::time::Instant;

/// How long what is replaced may take to end, unless a sync says otherwise.
pub const LIMIT: Duration = Duration::from_secs(300);
const LOOK: Duration = Duration::from_millis(50);
const LONGEST_LOOK: Duration = Duration::from_secs(1);

/// Makes again what `status` says is pending, once it has ended, and says so in `status`. A set that the server
/// refuses now leaves a status that is not applied.
pub async fn finish<O: Clone + Serialize>(
    client: &kube::Client,
    kinds: &dyn Kinds,
    spec: &ChangeSetSpec<O>,
    status: &mut ChangeSetStatus,
    limit: Duration,
) -> Result<(), SyncError> {
    let begun = Instant::now();
    loop {
        let pending: Vec<usize> =
            status.results.iter().enumerate().filter(|(_, result)| result.pending).map(|(at, _)| at).collect();
        if pending.is_empty() || !status.applied {
            return Ok(());
        }
        for at in &pending {
            ended(client, kinds, &status.results[*at], (begun, limit)).await?;
        }
        let spec = ChangeSetSpec {
            field_manager: spec.field_manager.clone(),
            force: spec.force,
            earlier: Vec::new(),
            dry_run: false,
            replace: true,
            deletion_label: None,
            expected_revision: 0,
            expected_annotations: spec.expected_annotations.clone(),
            objects: pending.iter().filter_map(|at| spec.objects.get(*at).cloned()).collect(),
            deletions: Vec::new(),
        };
        let request = ChangeSet {
            api_version: "selkie.dev/v1alpha1".to_owned(),
            kind: "ChangeSet".to_owned(),
            spec,
            status: ChangeSetStatus::default(),
        };
        let made = changeset::post(client, &request).await?;
        (status.applied, status.revision) = (made.applied, made.revision);
        for (at, result) in pending.into_iter().zip(made.results) {
            let before = status.results[at].clone();
            status.results[at] = match result.action {
                ChangeAction::Failed => result,
                // Somebody else has made one meanwhile: that one's end is waited for now.
                _ if result.pending => result,
                _ => ChangeResult {
                    action: ChangeAction::Replaced,
                    before: before.before,
                    after: result.after.or(before.after),
                    reason: before.reason,
                    ..result
                },
            };
        }
    }
}

/// Returns when an object has ended: none is there, or another one.
async fn ended(
    client: &kube::Client,
    kinds: &dyn Kinds,
    result: &ChangeResult,
    (begun, limit): (Instant, Duration),
) -> Result<(), SyncError> {
    let uid = |object: &Value| object.pointer("/metadata/uid").cloned();
    let old = result.before.as_ref().and_then(uid);
    let mut look = LOOK;
    loop {
        match try_live(client, kinds, &result.id).await {
            Ok(None) => return Ok(()),
            Ok(Some(object)) if uid(&object) != old => return Ok(()),
            // A server that does not answer says nothing of the object.
            Ok(Some(_)) | Err(_) => {}
        }
        if begun.elapsed() > limit {
            let why = result.reason.clone();
            return Err(SyncError::ReplacedStays {
                object: Box::new(result.id.clone()),
                seconds: limit.as_secs(),
                why,
            });
        }
        tokio::time::sleep(look).await;
        look = (look * 2).min(LONGEST_LOOK);
    }
}
