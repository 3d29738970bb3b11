//! Applications named on the command line become Application objects.

use super::options::App;
use crate::client::raw;
use crate::gitops::application::{ApplicationSource, NAMESPACE};
use crate::gitops::sources::SourceError;
use bytes::Bytes;
use http::Method;
use serde_json::json;

#[derive(Debug, thiserror::Error)]
pub enum AppError {
    #[error("--app {name}")]
    Source { name: String, source: SourceError },
    #[error("application {name} could not be stored")]
    Store { name: String, source: Box<kube::Error> },
}

/// Checks every source before any is declared.
pub async fn declare(client: &kube::Client, apps: &[App]) -> Result<(), AppError> {
    let mut objects = Vec::new();
    for App { name, source } in apps {
        let parsed =
            ApplicationSource::parse(source).map_err(|source| AppError::Source { name: name.clone(), source })?;
        objects.push((
            name,
            json!({
                "apiVersion": "selkie.dev/v1alpha1",
                "kind": "Application",
                "metadata": {"name": name, "namespace": NAMESPACE},
                "spec": {"source": parsed},
            }),
        ));
    }
    for (name, object) in objects {
        let path = format!(
            "/apis/selkie.dev/v1alpha1/namespaces/{NAMESPACE}/applications/{name}?fieldManager=selkie-up&force=true"
        );
        let body = Bytes::from(object.to_string());
        raw::request(client, Method::PATCH, &path, Some(("application/apply-patch+yaml", body)))
            .await
            .map_err(|source| AppError::Store { name: name.clone(), source: Box::new(source) })?;
    }
    Ok(())
}
