//! Bodies to objects: the schema's decoding, defaults, ownership of fields.

use super::object::metadata;
use super::stored::Rest;
use super::{Writer, convert};
use crate::api::error::ApiError;
use crate::api::registry::{Registry, Resource};
use crate::api::schema::decode::{self, Body, Decoded, Encoding, FieldValidation};
use crate::apiserver::patch::{apply, managed};
use bytes::Bytes;
use serde_json::Value;

/// A body and how to read it.
#[derive(Debug, Clone)]
pub struct Payload {
    pub bytes: Bytes,
    pub encoding: Encoding,
    pub validation: FieldValidation,
}

impl Payload {
    fn body(&self) -> Body<'_> {
        Body { bytes: &self.bytes, encoding: self.encoding, validation: self.validation }
    }
}

/// Reads an object of `resource`, in the form that is stored.
pub fn decode(registry: &Registry, resource: &Resource, payload: &Payload) -> Result<Decoded, ApiError> {
    let mut decoded = registry.decode(resource, &payload.body())?;
    convert::incoming(resource, &mut decoded.object);
    Ok(decoded)
}

/// Reads the intent of a server-side apply. It must say what it is, and every field must be known:
/// one that is dropped silently would be applied never and owned by nobody.
pub fn decode_intent(registry: &Registry, resource: &Resource, payload: &Payload) -> Result<Decoded, ApiError> {
    let sent =
        decode::untyped(&payload.bytes).map_err(|why| ApiError::bad_request(format!("error decoding YAML: {why}")))?;
    let text = |name: &str| sent[name].as_str().unwrap_or_default();
    let (found, expected) = (text("apiVersion"), resource.api_version());
    if found != expected {
        return Err(ApiError::bad_request(format!(
            "Incorrect version specified in apply patch. Specified patch version: {found}, expected: {expected}"
        )));
    }
    if text("kind") != resource.kind {
        let (group, version, kind) = (&resource.group, &resource.version, text("kind"));
        return Err(ApiError::bad_request(format!("invalid object type: {group}/{version}, Kind={kind}")));
    }
    apply::check_intent(&sent, &resource.schema)?;
    decode(registry, resource, payload)
}

/// Reads a body that is no object of a resource: Scale, Eviction, DeleteOptions.
pub fn decode_kind(registry: &Registry, gvk: (&str, &str, &str), payload: &Payload) -> Result<Value, ApiError> {
    Ok(registry.decode_kind(gvk, &payload.body())?.object)
}

/// Brings an object made here into the form of a decoded body.
pub fn conform(resource: &Resource, object: Value, validation: FieldValidation) -> Result<Decoded, ApiError> {
    decode::conform(&resource.expected(), object, validation)
}

/// Reads JSON without a schema: patches other than server-side apply.
pub fn value(bytes: &[u8]) -> Result<Value, ApiError> {
    serde_json::from_slice(bytes).map_err(|error| ApiError::bad_request(format!("error decoding patch: {error}")))
}

/// The schema's defaults, then the kind's.
pub fn default(resource: &Resource, object: &mut Value) {
    crate::api::schema::defaults::apply(&resource.schema, object);
    resource.rules.default(object);
}

/// Fills in the zeros without which no object is stored: those of the form that is stored.
pub fn complete(registry: &Registry, resource: &Resource, object: &mut Value) {
    let home = convert::home(registry, resource);
    crate::api::schema::zeros::fill(&home.as_deref().unwrap_or(resource).schema, object);
}

/// Records in managedFields who owns what a write changes.
pub fn track(writer: &Writer<'_>, old: Option<&Value>, new: &mut Value, subresource: &str) {
    if !writer.server.ownership {
        let kept = old.and_then(|old| old["metadata"].get("managedFields").cloned());
        match kept {
            Some(kept) => metadata(new).insert("managedFields".into(), kept),
            None => metadata(new).remove("managedFields"),
        };
        return;
    }
    // What is owned is recorded of the form that is stored.
    let home = convert::home(&writer.server.registry, writer.at.resource);
    let resource = home.as_ref().unwrap_or(writer.at.resource);
    let version = resource.api_version();
    managed::update(old, new, &resource.schema, &owner(writer, &version, subresource));
}

/// As [`track`], where the entries are in the rest of the object.
pub fn track_around(
    writer: &Writer<'_>,
    old: &Value,
    new: &mut Value,
    subresource: &str,
    rest: &mut Rest,
) -> Result<(), ApiError> {
    let Some(written) = &rest.ownership else {
        track(writer, Some(old), new, subresource);
        return Ok(());
    };
    // What a request for a subresource says of them does not count.
    metadata(new).remove("managedFields");
    if !writer.server.ownership {
        return Ok(());
    }
    let (version, schema) = (writer.at.resource.api_version(), &writer.at.resource.schema);
    let moved = managed::update_written(written, old, new, schema, &owner(writer, &version, subresource));
    rest.ownership = Some(moved.map_err(ApiError::internal)?.into());
    Ok(())
}

fn owner<'a>(writer: &Writer<'a>, version: &'a str, subresource: &'a str) -> managed::Writer<'a> {
    managed::Writer {
        manager: &writer.options.field_manager,
        api_version: version,
        subresource,
        now: writer.server.clock.now_seconds(),
    }
}

/// The live object (`None`: a new one) with an apply's intent merged in and its owner recorded.
pub fn merge_intent(
    writer: &Writer<'_>,
    live: Option<&Value>,
    intent: &Value,
    subresource: &str,
) -> Result<Value, ApiError> {
    let (schema, force) = (&writer.at.resource.schema, writer.options.force);
    let version = writer.at.resource.api_version();
    apply::apply(live, intent, schema, &owner(writer, &version, subresource), force)
}
