//! What is decided about a write beyond its own kind: its namespace exists, its service account,
//! priority, tolerations, runtime class, addresses, storage. What it comes to is validated then, and judged
//! last: by limits and quotas.

pub mod definitions;
pub mod limits;
pub mod namespaces;
pub mod pods;
pub mod quotas;
pub mod runtime_class;
pub mod service_accounts;
pub mod services;
pub mod storage;

use super::resources::Writer;
use super::resources::update::Part;
use crate::api::error::{ApiError, FieldError};
use crate::api::quota;
use crate::store::{Precondition, Write};
use serde_json::Value;

/// What admission adds to a write.
#[derive(Default)]
pub struct Admitted {
    pub preconditions: Vec<Precondition>,
    /// Writes of other objects that belong to it.
    pub also: Vec<Write>,
    pub warnings: Vec<String>,
    /// The pod's containers get a token: see [`finish`].
    pub mounts_token: bool,
}

/// Admits and completes a new object (defaulted, not yet validated).
pub fn create(writer: &Writer<'_>, object: &mut Value) -> Result<Admitted, ApiError> {
    let mut admitted = Admitted::default();
    namespaces::admit(writer, &mut admitted)?;
    match (writer.at.resource.group.as_str(), writer.at.resource.plural.as_str()) {
        ("", "pods") => {
            limits::default(writer, object);
            pods::admit(writer, object, &mut admitted)?;
        }
        ("", "persistentvolumeclaims") => storage::admit_claim(writer, object),
        ("", "persistentvolumes") => storage::admit_volume(object),
        ("", "services") => services::allocate(writer, object, None)?,
        ("", "configmaps" | "secrets") => size(writer, object)?,
        ("", "serviceaccounts") => admitted.warnings.extend(service_accounts::warning(object, None)),
        _ => {}
    }
    Ok(admitted)
}

/// Tells in the status of a new object what its kind's own rules cannot know.
pub fn tell(writer: &Writer<'_>, object: &mut Value) {
    if definitions::concerns(&writer.at.resource.group, &writer.at.resource.plural) {
        definitions::complete(writer, object);
    }
}

/// Judges a new object that is complete and valid.
pub fn judge(writer: &Writer<'_>, object: &Value, admitted: &mut Admitted) -> Result<(), ApiError> {
    if let ("", "pods" | "persistentvolumeclaims") =
        (writer.at.resource.group.as_str(), writer.at.resource.plural.as_str())
    {
        limits::check(writer, object)?;
    }
    quotas::admit(writer, object, admitted)
}

/// Adds to a new object what it needs no checks for, and what none of its writers owns.
pub fn finish(admitted: &Admitted, object: &mut Value) {
    if admitted.mounts_token {
        service_accounts::mount(object);
    }
}

/// Admits and completes the new state of an existing object.
pub fn update(writer: &Writer<'_>, object: &mut Value, old: &Value, part: Part) -> Result<Admitted, ApiError> {
    let mut admitted = Admitted::default();
    match (writer.at.resource.group.as_str(), writer.at.resource.plural.as_str()) {
        ("", "services") => services::allocate(writer, object, Some(old))?,
        ("", "persistentvolumeclaims") => storage::admit_growth(writer, object, old)?,
        ("", "configmaps" | "secrets") => size(writer, object)?,
        ("", "pods") => {
            if part == Part::Main {
                pods::admit_update(object, old);
            }
            service_accounts::admit_update(writer, object, old)?;
        }
        ("", "serviceaccounts") => admitted.warnings.extend(service_accounts::warning(object, Some(old))),
        (group, plural) if definitions::concerns(group, plural) => definitions::complete(writer, object),
        _ => {}
    }
    Ok(admitted)
}

/// Judges a pod that is to be given more or less of what it has.
pub fn resize(writer: &Writer<'_>, object: &Value, old: &Value, admitted: &mut Admitted) -> Result<(), ApiError> {
    limits::check(writer, object)?;
    quotas::admit_change(writer, &quota::changed_now(object), old, admitted)
}

/// Judges the new state of an object that is complete and valid.
pub fn judge_update(writer: &Writer<'_>, object: &Value, old: &Value, admitted: &mut Admitted) -> Result<(), ApiError> {
    match (writer.at.resource.group.as_str(), writer.at.resource.plural.as_str()) {
        ("", "persistentvolumeclaims" | "services") => quotas::admit_change(writer, object, old, admitted),
        _ => Ok(()),
    }
}

/// ConfigMaps and Secrets hold at most 1 MiB.
fn size(writer: &Writer<'_>, object: &Value) -> Result<(), ApiError> {
    const LIMIT: usize = 1024 * 1024;
    let bytes = |name: &str| -> usize {
        let entries = object[name].as_object().into_iter().flatten();
        entries.map(|(_, value)| value.as_str().unwrap_or_default().len()).sum()
    };
    // Secret data and binaryData are base64: four characters for three bytes.
    let decoded = |encoded: usize| encoded / 4 * 3;
    let total = match writer.at.resource.plural.as_str() {
        "secrets" => decoded(bytes("data")),
        _ => bytes("data") + decoded(bytes("binaryData")),
    };
    if total <= LIMIT {
        return Ok(());
    }
    let field = if writer.at.resource.plural == "secrets" { "data" } else { "[]" };
    let error = FieldError::too_long(field, &format!("may not be more than {LIMIT} bytes"));
    Err(ApiError::invalid(writer.at.target(), writer.at.name, &[error]))
}
