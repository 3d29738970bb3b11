//! The commit, file and line that an object comes from.

use crate::api::changeset::ObjectId;
use crate::cli::CliError;
use crate::cli::objects::Place;
use crate::gitops::application::{Application, NAMESPACE};
use crate::gitops::render::same_object;
use crate::gitops::sources::Commit;
use crate::gitops::sync::history;
use kube::Api;
use kube::api::ListParams;
use serde::Serialize;

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Source {
    pub application: String,
    /// The commit's hash, or a hash of the contents.
    pub revision: String,
    /// In the application's history.
    pub number: u64,
    /// Where the manifests came from, without credentials.
    pub origin: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub commit: Option<Commit>,
    /// RFC 3339.
    pub applied: String,
    /// Absent where the history does not hold the manifest.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub place: Option<Place>,
    /// What is in force instead of what the source says; empty: the source is followed.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub pinned: String,
    /// Why a newer revision is not in force, each error with its place.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub errors: Vec<String>,
}

/// Where an object comes from, if an application holds it.
pub async fn of(client: &kube::Client, id: &ObjectId) -> Result<Option<Source>, CliError> {
    let api: Api<Application> = Api::namespaced(client.clone(), NAMESPACE);
    let mut all = api.list(&ListParams::default()).await?.items.into_iter();
    let holds = |application: &Application| {
        let status = &application.status;
        status.inventory.iter().chain(&status.hooks).any(|held| same_object(held, id))
    };
    let Some(application) = all.find(holds) else { return Ok(None) };
    let (name, status) = (application.name(), application.status.clone());
    let number = status.revision_number;
    // Who may see objects may not be allowed to see the history, whose Secrets hold all manifests.
    let records = history::list(client, name).await.unwrap_or_default();
    let record = records.into_iter().find(|record| record.number == number).unwrap_or_default();
    let manifests = history::manifests(client, name, number).await.unwrap_or_default();
    let place = manifests.find(id).map(Place::of);
    Ok(Some(Source {
        application: name.to_owned(),
        revision: status.revision,
        number,
        origin: record.source,
        commit: record.commit,
        applied: status.last_sync_time,
        place,
        pinned: status.pinned,
        errors: status.errors,
    }))
}
