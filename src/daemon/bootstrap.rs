//! What a cluster applies to itself at its first start: the files of `manifests/`.

use crate::api::changeset::{ChangeSet, ChangeSetSpec};
use crate::client::raw;
use bytes::Bytes;
use http::Method;
use serde_json::Value;

const MANIFESTS: [(&str, &str); 4] = [
    ("manifests/namespaces.yaml", include_str!("../../manifests/namespaces.yaml")),
    ("manifests/priority-classes.yaml", include_str!("../../manifests/priority-classes.yaml")),
    ("manifests/storage-classes.yaml", include_str!("../../manifests/storage-classes.yaml")),
    ("manifests/roles.yaml", include_str!("../../manifests/roles.yaml")),
];

#[derive(Debug, thiserror::Error)]
pub enum BootstrapError {
    #[error("{file}: {message}")]
    Manifest { file: &'static str, message: String },
    #[error("the first objects of the cluster could not be stored")]
    Post(#[from] Box<kube::Error>),
    #[error("the first objects of the cluster were refused: {0}")]
    Refused(String),
}

/// Applies the manifests. What is there already and was changed by people stays as they want it:
/// the fields are only ever owned by what these files set.
pub async fn apply(client: &kube::Client) -> Result<(), BootstrapError> {
    let mut objects = Vec::new();
    for (file, text) in MANIFESTS {
        for document in serde_saphyr::from_multiple::<Value>(text)
            .map_err(|error| BootstrapError::Manifest { file, message: error.to_string() })?
        {
            objects.push(document);
        }
    }
    let spec = ChangeSetSpec { field_manager: "selkie-bootstrap".into(), objects, ..ChangeSetSpec::default() };
    let set =
        ChangeSet { api_version: "selkie.dev/v1alpha1".into(), kind: "ChangeSet".into(), spec, ..ChangeSet::default() };
    let body = serde_json::to_vec(&set).map_err(|error| BootstrapError::Refused(error.to_string()))?;
    let answer = raw::request(
        client,
        Method::POST,
        "/apis/selkie.dev/v1alpha1/changesets",
        Some(("application/json", Bytes::from(body))),
    )
    .await
    .map_err(Box::new)?;
    let set: ChangeSet = serde_json::from_slice(&answer).map_err(|error| BootstrapError::Refused(error.to_string()))?;
    if set.status.applied {
        return Ok(());
    }
    let errors: Vec<String> = set
        .status
        .results
        .iter()
        .filter_map(|result| Some(format!("{} {}: {}", result.id.kind, result.id.name, result.error.as_ref()?.message)))
        .collect();
    Err(BootstrapError::Refused(errors.join("; ")))
}
