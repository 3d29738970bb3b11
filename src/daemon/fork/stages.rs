//! Change sets that are applied in stages: the sync itself goes through them on the copy.

use crate::api::changeset::{ChangeAction, ChangeSetSpec, ChangeSetStatus};
use crate::api::error::ApiError;
use crate::api::plan::Order;
use crate::api::registry::Registry;
use crate::gitops::readiness::Health;
use crate::gitops::render::{Manifest, Origin, Rendered};
use crate::gitops::sync::reporter::Silent;
use crate::gitops::sync::{InOrder, Options, Progress, rehearse};
use serde_json::Value;
use std::time::Duration;

/// As long as a one-shot waits for a stage, unless it is told otherwise.
const LIMIT: Duration = Duration::from_secs(300);

/// Whether there is nothing to go through: an application runs its hooks only where something changes.
pub fn is_nothing(spec: &ChangeSetSpec, order: &Order, tried: &ChangeSetStatus) -> bool {
    let changes = tried.results.iter().any(|result| result.action != ChangeAction::Unchanged);
    !changes && (order.hooks.is_empty() || spec.deletion_label.is_some())
}

/// Goes through the stages; what did not become ready, where that ends the sync.
pub async fn go_through(
    client: &kube::Client,
    kinds: &Registry,
    spec: &ChangeSetSpec,
    order: &Order,
    health: &Health,
) -> Result<Vec<Progress>, ApiError> {
    // Which of them are confidential is not known here: refusals quote none.
    let manifest = |object: &Value| Manifest { confidential: true, ..Manifest::of(object.clone(), Origin::default()) };
    let objects = spec.objects.iter().chain(&order.hooks).map(manifest).collect();
    let rendered = Rendered { objects, errors: Vec::new() };
    let options = Options {
        application: spec.deletion_label.as_ref().map(|label| label.value.clone()).unwrap_or_default(),
        // What leaves was decided before.
        inventory: spec.deletions.clone(),
        prune: true,
        prune_confirmed: true,
        delete_kept: true,
        force: spec.force,
        earlier: spec.earlier.clone(),
        replace: spec.replace,
        order: Some(order.clone()),
        health: health.clone(),
        ..Options::default()
    };
    let limit = order.stage_seconds.map_or(LIMIT, Duration::from_secs);
    let how = InOrder { reporter: &Silent, limit, to_the_end: true };
    let waited = rehearse(client, kinds, &rendered, &options, &how).await;
    let waited = waited.map_err(|error| ApiError::new(409, "Conflict", error.lines().join("; ")))?;
    Ok(waited.failed)
}
