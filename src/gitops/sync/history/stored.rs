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

/// The most that is kept of a revision, compressed: what is larger would have a change set grow beyond all bounds.
const LARGEST: usize = 24 << 20;
/// So much of it is in one Secret: Kubernetes lets one hold 1 MiB, and the record has to fit, too.
const PART: usize = 750_000;
/// Nothing that was written is larger; a Secret that others wrote is not trusted.
const LARGEST_UNPACKED: u64 = 256 << 20;

/// On the Secrets of further parts: the Application's name.
const PART_LABEL: &str = "selkie.dev/history-part-of";
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

fn name(application: &str, number: u64) -> String {
    format!("revision.{application}.{number}")
}

/// Not the name of any revision: those of an application `shop.3` begin otherwise.
fn name_of_part(application: &str, number: u64, part: usize) -> String {
    format!("revision-part.{application}.{number}.{part}")
}

/// The Secrets of a revision.
pub(super) fn names(application: &str, record: &Record) -> Vec<String> {
    let parts = (1..=record.parts).map(|part| name_of_part(application, record.number, part));
    std::iter::once(name(application, record.number)).chain(parts).collect()
}

/// The Secrets of a revision: the record with the manifests, or with the first part of them, and the other
/// parts. They go when their Application goes.
pub(super) fn secrets(application: &Application, record: &mut Record, rendered: &Rendered) -> Vec<Value> {
    // What does not fit cannot be returned to, but it is known that it was there.
    let packed = pack(rendered).filter(|packed| packed.len() <= LARGEST);
    let chunks: Vec<&[u8]> = packed.iter().flat_map(|packed| packed.chunks(PART)).collect();
    record.parts = chunks.len().saturating_sub(1);
    let owner = json!({"apiVersion": "selkie.dev/v1alpha1", "kind": "Application", "name": application.name(),
        "uid": application.metadata.uid});
    let secret = |name: &str, label: &str, data: Value| {
        json!({
            "apiVersion": "v1", "kind": "Secret", "type": SECRET_TYPE,
            "metadata": {"name": name, "namespace": NAMESPACE, "labels": {label: application.name()},
                "ownerReferences": [owner]},
            "data": data,
        })
    };
    let mut data = json!({RECORD: encoded(record)});
    if let Some(first) = chunks.first() {
        data[MANIFESTS] = STANDARD.encode(first).into();
    }
    let names = names(application.name(), record);
    let mut secrets = vec![secret(&names[0], LABEL, data)];
    // With a label of their own: whoever lists a history does not read what is in it.
    let rest = names[1..].iter().zip(chunks.iter().skip(1));
    secrets.extend(rest.map(|(name, chunk)| secret(name, PART_LABEL, json!({MANIFESTS: STANDARD.encode(chunk)}))));
    secrets
}

fn encoded(record: &Record) -> String {
    STANDARD.encode(serde_json::to_vec(record).unwrap_or_default())
}

fn pack(rendered: &Rendered) -> Option<Vec<u8>> {
    let kept = rendered.objects.iter().map(|manifest| Kept {
        file: manifest.origin.file.to_string(),
        line: manifest.origin.line,
        column: manifest.origin.column,
        manifest: manifest.value.clone(),
        confidential: manifest.confidential,
    });
    let text = serde_json::to_vec(&kept.collect::<Vec<_>>()).ok()?;
    if text.len() as u64 > LARGEST_UNPACKED {
        return None;
    }
    let mut packed = GzEncoder::new(Vec::new(), Compression::default());
    packed.write_all(&text).ok()?;
    packed.finish().ok()
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
    let mut data = secret.data.unwrap_or_default();
    let broken = |name: &str, what: &str| HistoryError::Broken { name: name.to_owned(), what: what.to_owned() };
    let mut packed = data.remove(MANIFESTS).ok_or(HistoryError::TooLarge { number })?.0;
    let record: Option<Record> = data.get(RECORD).and_then(|record| serde_json::from_slice(&record.0).ok());
    let parts = record.map_or(0, |record| record.parts);
    if parts > LARGEST / PART {
        return Err(broken(&name, &format!("it says that it has {parts} parts more")));
    }
    for part in 1..=parts {
        let part = name_of_part(application, number, part);
        let found = api.get_opt(&part).await.map_err(|error| unreadable(application, error))?;
        let chunk = found.and_then(|secret| secret.data?.remove(MANIFESTS));
        packed.extend_from_slice(&chunk.ok_or_else(|| broken(&part, "a part of a revision is not there"))?.0);
    }
    unpack(&packed).map_err(|what| HistoryError::Broken { name, what })
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
