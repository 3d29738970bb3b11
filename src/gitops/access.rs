//! What an Application's Secrets say: how its repository is reached, and whose commits count.

use super::application::{Application, NAMESPACE, SecretRef};
use super::sources::{Access, Credentials, Signers, SourceError};
use super::sync::wait::path;
use crate::client::raw;
use http::Method;
use k8s_openapi::api::core::v1::Secret;

/// Reads the Secrets that the source names. The errors hold no value of theirs.
pub async fn of(client: &kube::Client, application: &Application) -> Result<Access, SourceError> {
    let source = &application.spec.source;
    let credentials = match &source.secret_ref {
        Some(reference) => read(client, reference, "spec.source.secretRef", Credentials::from_secret).await?,
        None => Credentials::default(),
    };
    let signers = match &source.verify {
        Some(verify) => {
            Some(read(client, &verify.secret_ref, "spec.source.verify.secretRef", Signers::from_secret).await?)
        }
        None => None,
    };
    Ok(Access { credentials, signers, timeout: application.timeout(), max_age: application.interval() })
}

async fn read<T>(
    client: &kube::Client,
    reference: &SecretRef,
    field: &str,
    parse: impl Fn(&Secret) -> Result<T, String>,
) -> Result<T, SourceError> {
    let name = &reference.name;
    let fail = |what: String| SourceError::Access(format!("Secret {NAMESPACE}/{name} ({field}): {what}"));
    let bytes = raw::request(client, Method::GET, &path("v1", "secrets", NAMESPACE, name), None).await;
    let bytes = bytes.map_err(|error| match raw::is_not_found(&error) {
        true => fail(format!("it does not exist; create it in the namespace {NAMESPACE}")),
        false => fail(error.to_string()),
    })?;
    // The parser's words could hold a value.
    let secret: Secret = serde_json::from_slice(&bytes).map_err(|_| fail("it cannot be read".to_owned()))?;
    parse(&secret).map_err(fail)
}
