//! Bodies to objects: JSON, YAML or protobuf, read under a schema as Kubernetes reads them.
//!
//! One pass checks types, finds unknown and duplicate fields with their paths, drops what Go
//! would drop (nulls, empty `omitempty` fields) and brings times, quantities and base64 into the
//! form the API server stores.

mod leaf;
mod path;
#[cfg(test)]
mod tests;
mod time;
mod walk;
mod yaml;

use super::Schema;
use super::table::Table;
use crate::api::error::ApiError;
use crate::api::protobuf;
use crate::api::registry::{Registry, Resource};
use serde::de::DeserializeSeed;
use serde_json::Value;
use walk::{Node, Run};

/// How a body travels.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Encoding {
    Json,
    Yaml,
    Protobuf,
}

/// `fieldValidation=`: what becomes of unknown and duplicate fields.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum FieldValidation {
    /// Dropped silently.
    Ignore,
    /// Dropped with a warning.
    #[default]
    Warn,
    /// The request fails.
    Strict,
}

/// Bytes from a client.
#[derive(Debug, Clone, Copy)]
pub struct Body<'a> {
    pub bytes: &'a [u8],
    pub encoding: Encoding,
    pub validation: FieldValidation,
}

/// What a body must be.
#[derive(Clone, Copy)]
pub struct Expected<'a> {
    pub group: &'a str,
    pub version: &'a str,
    pub kind: &'a str,
    pub schema: &'a Schema,
}

/// An object that fits its schema.
#[derive(Debug, Clone, PartialEq)]
pub struct Decoded {
    pub object: Value,
    /// For the client, one `Warning` header each.
    pub warnings: Vec<String>,
}

impl Registry {
    /// Reads an object of a resource. Errors are the 400 of Kubernetes.
    pub fn decode(&self, resource: &Resource, body: &Body<'_>) -> Result<Decoded, ApiError> {
        decode(self.table(), &resource.expected(), body)
    }

    /// Reads a body that is no object of a resource, e.g. `autoscaling`, `v1`, `Scale`. A kind this
    /// server does not know is an error.
    pub fn decode_kind(&self, gvk: (&str, &str, &str), body: &Body<'_>) -> Result<Decoded, ApiError> {
        let (group, version, kind) = gvk;
        let schema = self
            .schema(group, version, kind)
            .ok_or_else(|| ApiError::bad_request(format!("no kind {kind:?} is registered for version {version:?}")))?;
        decode(self.table(), &Expected { group, version, kind, schema: &schema }, body)
    }
}

impl Resource {
    /// What a body of this resource must be.
    pub fn expected(&self) -> Expected<'_> {
        Expected { group: &self.group, version: &self.version, kind: &self.kind, schema: &self.schema }
    }
}

/// Reads JSON or YAML without a schema; the error says what is wrong with it.
pub fn untyped(bytes: &[u8]) -> Result<Value, String> {
    serde_json::from_slice(bytes).or_else(|_| yaml::read(bytes).map_err(|why| why.to_string()))
}

/// Reads a body. `kind` and `apiVersion` may be missing and are filled in.
pub fn decode(table: &Table, expected: &Expected<'_>, body: &Body<'_>) -> Result<Decoded, ApiError> {
    match body.encoding {
        Encoding::Json => {
            let run = Run::new();
            let mut reader = serde_json::Deserializer::from_slice(body.bytes);
            let read = Node::root(&run, expected.schema)
                .deserialize(&mut reader)
                .and_then(|value| reader.end().map(|()| value));
            match (read, run.fatal()) {
                (Ok(object), _) => finish(expected, object, run, body.validation),
                (Err(_), Some(why)) => {
                    // Of the wrong kind altogether says more than the first field that does not fit.
                    let found = serde_json::from_slice(body.bytes).unwrap_or_default();
                    Err(expected.mismatch(&found).unwrap_or_else(|| expected.unfit(&found, &why)))
                }
                (Err(error), None) => {
                    Err(expected
                        .unrecognized(&format!("couldn't get version/kind; json parse error: {error}"), body.bytes))
                }
            }
        }
        Encoding::Yaml => {
            let value = yaml::read(body.bytes)
                .map_err(|why| expected.unrecognized(&format!("error converting YAML to JSON: {why}"), body.bytes))?;
            conform(expected, value, body.validation)
        }
        Encoding::Protobuf => {
            let value = protobuf::decode(table, (expected.group, expected.version, expected.kind), body.bytes)
                .map_err(|why| expected.unrecognized(&why.to_string(), body.bytes))?;
            conform(expected, value, FieldValidation::Ignore)
        }
    }
}

/// Brings an object that was put together here (by a patch, say) into the form of a decoded body.
pub fn conform(expected: &Expected<'_>, object: Value, validation: FieldValidation) -> Result<Decoded, ApiError> {
    let head = serde_json::json!({"kind": object["kind"], "apiVersion": object["apiVersion"]});
    let run = Run::new();
    match Node::root(&run, expected.schema).deserialize(object) {
        Ok(object) => finish(expected, object, run, validation),
        Err(error) => {
            let why = run.fatal().unwrap_or_else(|| error.to_string());
            Err(expected.mismatch(&head).unwrap_or_else(|| expected.unfit(&head, &why)))
        }
    }
}

fn finish(
    expected: &Expected<'_>,
    mut object: Value,
    run: Run,
    validation: FieldValidation,
) -> Result<Decoded, ApiError> {
    if let Some(error) = expected.mismatch(&object) {
        return Err(error);
    }
    if expected.schema.lenient && !expected.kind.is_empty() {
        for (name, shown) in [("kind", "Kind"), ("apiVersion", "apiVersion")] {
            if object[name].as_str().is_none_or(str::is_empty) {
                return Err(ApiError::bad_request(format!("Object '{shown}' is missing in '{object}'")));
            }
        }
    }
    let problems = run.into_problems();
    if validation == FieldValidation::Strict && !problems.is_empty() {
        return Err(expected.unfit(&object, &format!("strict decoding error: {}", problems.join(", "))));
    }
    if let Some(fields) = object.as_object_mut() {
        fields.entry("kind").or_insert_with(|| expected.kind.into());
        fields.entry("apiVersion").or_insert_with(|| expected.api_version().into());
    }
    let warnings = if validation == FieldValidation::Warn { problems } else { Vec::new() };
    Ok(Decoded { object, warnings })
}

impl Expected<'_> {
    fn api_version(&self) -> String {
        if self.group.is_empty() { self.version.into() } else { format!("{}/{}", self.group, self.version) }
    }

    /// The error for an object that says it is something else. `DeleteOptions` come in any version.
    fn mismatch(&self, object: &Value) -> Option<ApiError> {
        let text = |name: &str| object.get(name).and_then(Value::as_str).unwrap_or_default();
        let (kind, api_version, expected) = (text("kind"), text("apiVersion"), self.api_version());
        if !api_version.is_empty() && api_version != expected && self.kind != "DeleteOptions" {
            return Some(ApiError::bad_request(format!(
                "the API version in the data ({api_version}) does not match the expected API version ({expected})"
            )));
        }
        if kind.is_empty() || kind == self.kind {
            return None;
        }
        let version = self.version;
        let why = format!("converting ({version}.{kind}) to ({version}.{}): unknown conversion", self.kind);
        Some(self.unfit(object, &why))
    }

    fn unfit(&self, object: &Value, why: &str) -> ApiError {
        let kind = object.get("kind").and_then(Value::as_str).unwrap_or(self.kind);
        let (version, expected) = (self.version, self.kind);
        ApiError::bad_request(format!("{kind} in version {version:?} cannot be handled as a {expected}: {why}"))
    }

    fn unrecognized(&self, why: &str, body: &[u8]) -> ApiError {
        ApiError::bad_request(format!(
            "the object provided is unrecognized (must be of type {}): {why} ({})",
            self.kind,
            summary(body)
        ))
    }
}

/// The first 30 bytes: as text if they look like JSON, else as hexadecimal digits.
fn summary(body: &[u8]) -> String {
    let head = &body[..body.len().min(30)];
    let more = if body.len() > head.len() { " ..." } else { "" };
    match body.first() {
        None => "<empty>".into(),
        Some(b'{') => format!("{}{more}", String::from_utf8_lossy(head)),
        Some(_) => format!("{}{more}", head.iter().map(|byte| format!("{byte:02x}")).collect::<String>()),
    }
}
