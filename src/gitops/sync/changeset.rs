//! Building and posting change sets.

use super::owners::Owners;
use super::{FIELD_MANAGER, Options, SyncError};
use crate::api::changeset::{ChangeAction, ChangeSet, ChangeSetSpec, ChangeSetStatus, DeletionLabel, ObjectId};
use crate::api::plan::{Consequences, Order, Plan};
use crate::client::raw;
use crate::gitops::application::LABEL;
use crate::gitops::readiness::HealthCheck;
use crate::gitops::render::{Rendered, identity};
use http::Method;
use serde::Serialize;
use serde_json::{Map, Value};
use std::borrow::Cow;
use std::collections::HashMap;

const PATH: &str = "/apis/selkie.dev/v1alpha1/changesets";
const PLANS: &str = "/apis/selkie.dev/v1alpha1/plans";

/// The objects of a request: thousands are not copied to be sent once.
pub(super) type Lent<'a> = ChangeSet<Cow<'a, Value>>;

pub(super) fn request<'a>(
    rendered: &'a Rendered,
    options: &'a Options,
    owned: &Owners,
    deletions: &[ObjectId],
    dry_run: bool,
) -> Lent<'a> {
    // What a one-shot adopts is nobody's then.
    let holder = |id: &ObjectId| owned.application(id).filter(|_| !options.adopt);
    let application = |id: &ObjectId| holder(id).unwrap_or(&options.application);
    let versions: HashMap<_, _> = options.versions.iter().map(|(id, version)| (identity(id), version)).collect();
    let objects = rendered.objects.iter().map(|manifest| {
        let object = labelled(&manifest.value, application(&manifest.id));
        match versions.get(&identity(&manifest.id)) {
            Some(version) => at_version(object, version),
            None => object,
        }
    });
    ChangeSet {
        api_version: "selkie.dev/v1alpha1".to_owned(),
        kind: "ChangeSet".to_owned(),
        spec: ChangeSetSpec {
            field_manager: FIELD_MANAGER.to_owned(),
            force: options.force,
            earlier: options.earlier.iter().map(Cow::Borrowed).collect(),
            dry_run,
            replace: options.replace,
            deletion_label: (!options.application.is_empty())
                .then(|| DeletionLabel { name: LABEL.to_owned(), value: options.application.clone() }),
            expected_revision: 0,
            expected_annotations: Vec::new(),
            objects: objects.chain(options.record.objects.iter().map(Cow::Borrowed)).collect(),
            deletions: deletions.iter().chain(&options.record.deletions).cloned().collect(),
        },
        status: ChangeSetStatus::default(),
    }
}

/// With the resourceVersion that it must still have, which is a precondition.
fn at_version<'a>(mut object: Cow<'a, Value>, version: &str) -> Cow<'a, Value> {
    if let Some(metadata) = object.to_mut().get_mut("metadata").and_then(Value::as_object_mut) {
        metadata.insert("resourceVersion".to_owned(), Value::String(version.to_owned()));
    }
    object
}

fn labelled<'a>(object: &'a Value, application: &str) -> Cow<'a, Value> {
    if application.is_empty() {
        return Cow::Borrowed(object);
    }
    let mut object = object.clone();
    if let Some(metadata) = object.get_mut("metadata").and_then(Value::as_object_mut) {
        let labels = metadata.entry("labels").or_insert_with(|| Value::Object(Map::new()));
        if labels.is_null() {
            *labels = Value::Object(Map::new());
        }
        // Labels of a wrong type are the API server's to refuse.
        if let Some(labels) = labels.as_object_mut() {
            labels.insert(LABEL.to_owned(), Value::String(application.to_owned()));
        }
    }
    Cow::Owned(object)
}

pub(in crate::gitops) async fn post<O: Serialize>(
    client: &kube::Client,
    request: &ChangeSet<O>,
) -> Result<ChangeSetStatus, SyncError> {
    let body = serde_json::to_vec(request).map_err(|e| SyncError::Answer(e.to_string()))?;
    let answer = raw::request(client, Method::POST, PATH, Some(("application/json", body.into()))).await;
    let bytes = answer.map_err(|error| SyncError::Api(Box::new(error)))?;
    let answer: ChangeSet = serde_json::from_slice(&bytes).map_err(|e| SyncError::Answer(e.to_string()))?;
    check(request, &answer.status)?;
    Ok(answer.status)
}

/// A [`Plan`] that is asked for.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Asked<'a> {
    api_version: &'a str,
    kind: &'a str,
    spec: &'a ChangeSetSpec<Cow<'a, Value>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    order: Option<&'a Order>,
    #[serde(skip_serializing_if = "<[_]>::is_empty")]
    health_checks: &'a [HealthCheck],
}

/// What posting `request` would lead to. A server that cannot look ahead answers a dry run, without
/// consequences.
pub(super) async fn plan(
    client: &kube::Client,
    request: &Lent<'_>,
    options: &Options,
) -> Result<(ChangeSetStatus, Option<Consequences>), SyncError> {
    let (order, health_checks) = (options.order.as_ref(), options.health.given());
    let asked = Asked { api_version: &request.api_version, kind: "Plan", spec: &request.spec, order, health_checks };
    let body = serde_json::to_vec(&asked).map_err(|e| SyncError::Answer(e.to_string()))?;
    let answer = raw::request(client, Method::POST, PLANS, Some(("application/json", body.into()))).await;
    let bytes = match answer {
        Err(error) if raw::is_not_found(&error) => return post(client, request).await.map(|status| (status, None)),
        answer => answer.map_err(|error| SyncError::Api(Box::new(error)))?,
    };
    let answer: Plan = serde_json::from_slice(&bytes).map_err(|e| SyncError::Answer(e.to_string()))?;
    check(request, &answer.status.change)?;
    Ok((answer.status.change, Some(answer.status.consequences)))
}

fn check<O>(request: &ChangeSet<O>, status: &ChangeSetStatus) -> Result<(), SyncError> {
    let (expected, found) = (request.spec.objects.len() + request.spec.deletions.len(), status.results.len());
    if found != expected {
        return Err(SyncError::Answer(format!("{found} results for {expected} objects")));
    }
    Ok(())
}

/// Deletions refused because the object there now is not the one that was applied (another uid).
pub(super) fn lost_deletions(status: &ChangeSetStatus, objects: usize, deletions: &[ObjectId]) -> Vec<ObjectId> {
    let results = status.results.iter().skip(objects).zip(deletions);
    let lost = results.filter(|(result, id)| {
        let conflict = result.error.as_ref().is_some_and(|error| matches!(error.code, 404 | 409));
        result.action == ChangeAction::Failed && conflict && !id.uid.is_empty()
    });
    lost.map(|(_, id)| id.clone()).collect()
}
