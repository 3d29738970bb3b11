//! Objects as they are stored: JSON bytes with a place for the revision, and their envelope.

use super::stored::Rest;
use crate::api::kinds::Kind;
use crate::api::kinds::generic::Generic;
use crate::api::meta::Envelope;
use crate::api::registry::{Registry, Resource};
use crate::store::{Extract, Record, Revision, Write};
use bytes::Bytes;
use serde_json::{Map, Value};
use std::sync::Arc;

/// An object ready to be stored.
#[derive(Debug, Clone)]
pub struct Packed {
    pub value: Bytes,
    /// Where the revision's digits go.
    pub splice: Option<usize>,
    pub envelope: Arc<Envelope>,
}

impl Packed {
    /// Serializes `object` with an empty resourceVersion and extracts its envelope.
    pub fn new(resource: &Resource, object: &Value) -> Self {
        let envelope = Arc::new(Envelope::of(object, resource.rules.as_ref()));
        let (value, splice) = serialize(object, true);
        Self { value, splice, envelope }
    }

    /// As [`Self::new`], for an object whose `rest` is still as `before` has it.
    pub fn around(resource: &Resource, object: &Value, rest: &Rest, before: &Record) -> Self {
        let mut envelope = Envelope::of(object, resource.rules.as_ref());
        if rest.has_fields() {
            // Only the status can have changed: the other selectable fields are in the rest.
            for (field, known) in envelope.fields.iter_mut().zip(&before.envelope.fields) {
                if !known.0.starts_with("status.") {
                    field.clone_from(known);
                }
            }
        }
        let (value, splice) = serialize_around(object, true, rest);
        Self { value, splice, envelope: Arc::new(envelope) }
    }

    pub fn into_put(self, key: Arc<str>) -> Write {
        Write::Put { key, value: self.value, splice: self.splice, envelope: self.envelope }
    }

    /// The record a commit at `revision` would leave; 0 leaves the resourceVersion out (a dry-run create).
    pub fn materialize(self, key: Arc<str>, created: Revision, revision: Revision) -> Record {
        let value = match (self.splice, revision) {
            (Some(at), 0) => {
                // Removes `"resourceVersion":""` and the comma before or after it.
                let text = &self.value[..];
                let start = at - "\"resourceVersion\":\"".len();
                let end = at + 1;
                if text[end] == b',' {
                    cut(text, start, end + 1)
                } else {
                    cut(text, start.saturating_sub(usize::from(text[start - 1] == b',')), end)
                }
            }
            (Some(at), revision) => {
                let digits = revision.to_string();
                let mut out = Vec::with_capacity(self.value.len() + digits.len());
                out.extend_from_slice(&self.value[..at]);
                out.extend_from_slice(digits.as_bytes());
                out.extend_from_slice(&self.value[at..]);
                out.into()
            }
            (None, _) => self.value,
        };
        Record { key, value: value.into(), created, modified: revision, envelope: self.envelope }
    }
}

fn cut(text: &[u8], start: usize, end: usize) -> Bytes {
    [&text[..start], &text[end..]].concat().into()
}

/// JSON with `kind`, `apiVersion` and `metadata` first. With `versioned`, metadata gets an empty
/// resourceVersion, whose position is returned; without, whatever the object says is written.
pub fn serialize(object: &Value, versioned: bool) -> (Bytes, Option<usize>) {
    serialize_around(object, versioned, &Rest::default())
}

fn serialize_around(object: &Value, versioned: bool, rest: &Rest) -> (Bytes, Option<usize>) {
    let Some(fields) = object.as_object() else { return (object.to_string().into(), None) };
    let mut out = Vec::with_capacity(1024 + rest.size());
    let mut splice = None;
    out.push(b'{');
    for name in ["kind", "apiVersion"] {
        if let Some(value) = fields.get(name) {
            write_field(&mut out, name, value);
        }
    }
    if let Some(Value::Object(metadata)) = fields.get("metadata") {
        separate(&mut out);
        out.extend_from_slice(b"\"metadata\":");
        if versioned {
            splice = Some(write_metadata(&mut out, metadata, rest));
        } else {
            write_value(&mut out, &fields["metadata"]);
        }
    }
    for (name, value) in &rest.fields {
        write_raw(&mut out, name, value);
    }
    for (name, value) in fields.iter().filter(|(name, _)| !matches!(name.as_str(), "kind" | "apiVersion" | "metadata"))
    {
        write_field(&mut out, name, value);
    }
    out.push(b'}');
    (out.into(), splice)
}

fn write_metadata(out: &mut Vec<u8>, metadata: &Map<String, Value>, rest: &Rest) -> usize {
    out.push(b'{');
    if let Some(ownership) = &rest.ownership {
        write_raw(out, "managedFields", ownership);
    }
    for (name, value) in metadata.iter().filter(|(name, _)| *name != "resourceVersion") {
        write_field(out, name, value);
    }
    separate(out);
    out.extend_from_slice(b"\"resourceVersion\":\"");
    let at = out.len();
    out.extend_from_slice(b"\"}");
    at
}

fn separate(out: &mut Vec<u8>) {
    if out.last() != Some(&b'{') {
        out.push(b',');
    }
}

fn write_field(out: &mut Vec<u8>, name: &str, value: &Value) {
    separate(out);
    write_value(out, name);
    out.push(b':');
    write_value(out, value);
}

fn write_raw(out: &mut Vec<u8>, name: &str, value: &[u8]) {
    separate(out);
    write_value(out, name);
    out.push(b':');
    out.extend_from_slice(value);
}

fn write_value<T: serde::Serialize + ?Sized>(out: &mut Vec<u8>, value: &T) {
    // Writing a Value into memory cannot fail: its keys are strings, and a Vec takes everything.
    let _ = serde_json::to_writer(out, value);
}

/// Where a resource's objects are stored: group and plural. Both event APIs share one place.
pub fn storage(resource: &Resource) -> (&str, &str) {
    match resource.group.as_str() {
        "events.k8s.io" => ("", "events"),
        group => (group, &resource.plural),
    }
}

/// Reads the envelopes of records that a store loads from disk.
pub fn extract(registry: Arc<Registry>) -> Extract {
    Arc::new(move |key, bytes| {
        let bucket = key.trim_start_matches('/').split('/').next().unwrap_or_default();
        let (plural, group) = bucket.split_once('.').unwrap_or((bucket, ""));
        let found = registry.by_plural(group, plural);
        // Objects of kinds that are defined in the store itself may come before their definition.
        let plain = Generic { status: false, generation: false };
        let rules: &dyn Kind = found.as_ref().map_or(&plain, |resource| resource.rules.as_ref());
        Envelope::read(bytes, rules).unwrap_or_default()
    })
}

/// A record's value as JSON. Stored bytes always parse; `Null` stands for the impossible.
pub fn parse(record: &Record) -> Value {
    serde_json::from_slice(&record.value.bytes()).unwrap_or_default()
}

/// `metadata` as a map, made if missing.
pub fn metadata(object: &mut Value) -> &mut Map<String, Value> {
    if !object.is_object() {
        *object = Value::Object(Map::new());
    }
    if !object["metadata"].is_object() {
        object["metadata"] = Value::Object(Map::new());
    }
    match &mut object["metadata"] {
        Value::Object(metadata) => metadata,
        _ => unreachable!("made an object above"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn the_revision_goes_into_the_metadata_and_nowhere_else() {
        let object = json!({"apiVersion": "v1", "kind": "ConfigMap", "data": {"metadata": "resourceVersion"},
            "metadata": {"name": "a", "resourceVersion": "7", "uid": "u"}});
        let (value, splice) = serialize(&object, true);
        let packed = Packed { value, splice, envelope: Arc::default() };
        let stored = packed.clone().materialize("k".into(), 3, 42);
        assert_eq!(parse(&stored)["metadata"]["resourceVersion"], "42");
        assert_eq!(parse(&stored)["data"], object["data"]);
        assert!(stored.value.bytes().starts_with(br#"{"kind":"ConfigMap","apiVersion":"v1","metadata":{"#));
        let dry = packed.materialize("k".into(), 0, 0);
        assert_eq!(parse(&dry)["metadata"], json!({"name": "a", "uid": "u"}));
    }
}
