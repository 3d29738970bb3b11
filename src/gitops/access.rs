//! What an Application's Secrets say: how its repository is reached, and whose commits count.

use super::application::{Application, ApplicationSource, NAMESPACE, SecretRef};
use super::sources::{Access, Credentials, RegistryAccess, RemoteBases, Signers, SourceError};
use super::sync::wait::path;
use crate::client::raw;
use http::Method;
use k8s_openapi::api::core::v1::Secret;
use serde::de::DeserializeOwned;
use std::time::Duration;

/// Reads the Secrets that the source names. The errors hold no value of theirs.
pub async fn of(client: &kube::Client, application: &Application) -> Result<Access, SourceError> {
    let source = &application.spec.source;
    let access = of_source(client, source, (application.interval(), application.timeout())).await?;
    let remote_bases = match application.allows_remote_bases() {
        false => RemoteBases::Refused,
        true if source.push => RemoteBases::OfOthers,
        true => RemoteBases::Allowed,
    };
    Ok(Access { remote_bases, max_age: application.source_interval(), ..access })
}

/// The same for any source that is looked at every so often and may take so long to read.
pub(super) async fn of_source(
    client: &kube::Client,
    source: &ApplicationSource,
    (max_age, timeout): (Duration, Duration),
) -> Result<Access, SourceError> {
    let (mut credentials, mut registry) = (Credentials::default(), RegistryAccess::default());
    if let Some(reference) = &source.secret_ref {
        const FIELD: &str = "spec.source.secretRef";
        match source.is_artifact() {
            true => registry = read(client, reference, FIELD, RegistryAccess::from_secret).await?,
            false => credentials = read(client, reference, FIELD, Credentials::from_secret).await?,
        }
    }
    registry.insecure = source.insecure;
    let signers = match &source.verify {
        Some(verify) => {
            Some(read(client, &verify.secret_ref, "spec.source.verify.secretRef", Signers::from_secret).await?)
        }
        None => None,
    };
    let (remote_bases, bases_max_age) = (RemoteBases::Refused, max_age);
    Ok(Access { credentials, registry, signers, timeout, max_age, bases_max_age, remote_bases })
}

/// What a Secret in the Applications' namespace says. `field` names it; the error holds no value of it.
pub(super) async fn read<T>(
    client: &kube::Client,
    reference: &SecretRef,
    field: &str,
    parse: impl Fn(&Secret) -> Result<T, String>,
) -> Result<T, SourceError> {
    let name = &reference.name;
    let fail = |what: String| SourceError::Access(format!("Secret {NAMESPACE}/{name} ({field}): {what}"));
    let secret: Option<Secret> = get(client, "secrets", name).await.map_err(fail)?;
    parse(&secret.ok_or_else(|| fail(missing()))?).map_err(fail)
}

/// A ConfigMap or Secret in the Applications' namespace; `None`: there is none.
pub(super) async fn get<T: DeserializeOwned>(
    client: &kube::Client,
    plural: &str,
    name: &str,
) -> Result<Option<T>, String> {
    match raw::request(client, Method::GET, &path("v1", plural, NAMESPACE, name), None).await {
        // The parser's words could hold a value.
        Ok(bytes) => serde_json::from_slice(&bytes).map(Some).map_err(|_| "it cannot be read".to_owned()),
        Err(error) if raw::is_not_found(&error) => Ok(None),
        Err(error) => Err(error.to_string()),
    }
}

pub(super) fn missing() -> String {
    format!("it does not exist; create it in the namespace {NAMESPACE}")
}
