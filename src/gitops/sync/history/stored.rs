//! The Secrets that hold a history.

use super::{LABEL, Record, SECRET_TYPE};
use crate::api::changeset::ObjectId;
use crate::gitops::application::{Application, NAMESPACE};
use crate::gitops::render::{Manifest, Origin, Rendered};
use base64::{Engine, engine::general_purpose::STANDARD};
use flate2::Compression;
use flate2::read::GzDecoder;
use flate2::write::GzEncoder;
use k8s_openapi::api::core::v1::Secret;
use kube::Api;
use kube::api::{ListParams, Patch, PatchParams};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use std::io::{Read, Write};

/// As much as Kubernetes lets a Secret hold, less what is around the manifests.
const LARGEST: usize = 1_000_000;
/// Nothing that was written is larger; a Secret that others wrote is not trusted.
const LARGEST_UNPACKED: u64 = 256 << 20;

const RECORD: &str = "record";
const MANIFESTS: &str = "manifests";

/// Why a history, or a revision of it, cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum HistoryError {
    #[error("the history of application {application:?} cannot be read")]
    Api { application: String, source: Box<kube::Error> },
    #[error("application {application:?} has no revision {number}; {known}")]
    Missing { application: String, number: u64, known: String },
    #[error("the manifests of revision {number} were too large to keep")]
    TooLarge { number: u64 },
    #[error("Secret {NAMESPACE}/{name} is not what was written: {what}")]
    Broken { name: String, what: String },
}

/// A manifest with its place.
#[derive(Serialize, Deserialize)]
struct Kept {
    file: String,
    line: u32,
    column: u32,
    manifest: Value,
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    confidential: bool,
}

pub(super) fn name(application: &str, number: u64) -> String {
    format!("revision.{application}.{number}")
}

/// The Secret of a revision. It goes when its Application goes.
pub(super) fn secret(application: &Application, record: &Record, rendered: &Rendered) -> Value {
    let owner = json!({"apiVersion": "selkie.dev/v1alpha1", "kind": "Application", "name": application.name(),
        "uid": application.metadata.uid});
    let mut data = json!({RECORD: encoded(record)});
    // What does not fit cannot be returned to, but it is known that it was there.
    if let Some(packed) = pack(rendered).filter(|packed| packed.len() <= LARGEST) {
        data[MANIFESTS] = packed.into();
    }
    json!({
        "apiVersion": "v1", "kind": "Secret", "type": SECRET_TYPE,
        "metadata": {"name": name(application.name(), record.number), "namespace": NAMESPACE,
            "labels": {LABEL: application.name()}, "ownerReferences": [owner]},
        "data": data,
    })
}

fn encoded(record: &Record) -> String {
    STANDARD.encode(serde_json::to_vec(record).unwrap_or_default())
}

fn pack(rendered: &Rendered) -> Option<String> {
    let kept = rendered.objects.iter().map(|manifest| Kept {
        file: manifest.origin.file.to_string(),
        line: manifest.origin.line,
        column: manifest.origin.column,
        manifest: manifest.value.clone(),
        confidential: manifest.confidential,
    });
    let text = serde_json::to_vec(&kept.collect::<Vec<_>>()).ok()?;
    let mut packed = GzEncoder::new(Vec::new(), Compression::default());
    packed.write_all(&text).ok()?;
    Some(STANDARD.encode(packed.finish().ok()?))
}

fn unpack(bytes: &[u8]) -> Result<Rendered, String> {
    let mut text = Vec::new();
    let mut reader = GzDecoder::new(bytes).take(LARGEST_UNPACKED);
    reader.read_to_end(&mut text).map_err(|error| error.to_string())?;
    // The parser's words could hold a value.
    let kept: Vec<Kept> = serde_json::from_slice(&text).map_err(|_| "its manifests are no list".to_owned())?;
    let objects = kept.into_iter().map(|kept| {
        let text =
            |pointer: &str| kept.manifest.pointer(pointer).and_then(Value::as_str).unwrap_or_default().to_owned();
        let id = ObjectId {
            api_version: text("/apiVersion"),
            kind: text("/kind"),
            namespace: text("/metadata/namespace"),
            name: text("/metadata/name"),
            uid: String::new(),
        };
        let origin = Origin { file: kept.file.as_str().into(), line: kept.line, column: kept.column };
        let confidential = kept.confidential;
        Manifest { id, value: kept.manifest, origin, spans: Default::default(), confidential }
    });
    Ok(Rendered { objects: objects.collect(), errors: Vec::new() })
}

/// The history of an Application, oldest first.
pub async fn list(client: &kube::Client, application: &str) -> Result<Vec<Record>, HistoryError> {
    let api: Api<Secret> = Api::namespaced(client.clone(), NAMESPACE);
    let found = api.list(&ListParams::default().labels(&format!("{LABEL}={application}"))).await;
    let found = found.map_err(|error| unreadable(application, error))?;
    let record = |secret: Secret| serde_json::from_slice(&secret.data?.get(RECORD)?.0).ok();
    let mut records: Vec<Record> = found.items.into_iter().filter_map(record).collect();
    records.sort_by_key(|record| record.number);
    Ok(records)
}

/// The manifests of one revision.
pub async fn manifests(client: &kube::Client, application: &str, number: u64) -> Result<Rendered, HistoryError> {
    let (api, name): (Api<Secret>, _) = (Api::namespaced(client.clone(), NAMESPACE), name(application, number));
    let found = api.get_opt(&name).await.map_err(|error| unreadable(application, error))?;
    let Some(secret) = found else {
        let known: Vec<String> = list(client, application).await?.iter().map(|one| one.number.to_string()).collect();
        let known = if known.is_empty() { "it has none yet".into() } else { format!("it has {}", known.join(", ")) };
        return Err(HistoryError::Missing { application: application.to_owned(), number, known });
    };
    let data = secret.data.unwrap_or_default();
    let packed = data.get(MANIFESTS).ok_or(HistoryError::TooLarge { number })?;
    unpack(&packed.0).map_err(|what| HistoryError::Broken { name, what })
}

/// Writes what became known of a revision since it was recorded.
pub async fn save(client: &kube::Client, application: &str, record: &Record) -> Result<(), HistoryError> {
    let api: Api<Secret> = Api::namespaced(client.clone(), NAMESPACE);
    let patch = Patch::Merge(json!({"data": {RECORD: encoded(record)}}));
    let patched = api.patch(&name(application, record.number), &PatchParams::default(), &patch).await;
    patched.map(|_| ()).map_err(|error| unreadable(application, error))
}

fn unreadable(application: &str, error: kube::Error) -> HistoryError {
    HistoryError::Api { application: application.to_owned(), source: Box::new(error) }
}
