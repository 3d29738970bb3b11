//! The document of a group and version of custom resources: their schemas as their definitions have
//! them, not taken apart. Big definitions come in megabytes.

use super::{gvk, operations};
use crate::api::registry::Resource;
use bytes::Bytes;
use serde_json::value::RawValue;
use serde_json::{Map, Value, json};
use std::collections::BTreeMap;
use std::sync::Arc;

const METADATA: &str = "io.k8s.apimachinery.pkg.apis.meta.v1.ObjectMeta";

/// A schema's own words, unread.
type Words = BTreeMap<String, Box<RawValue>>;

/// The whole document.
pub fn document(rows: &[Arc<Resource>]) -> Bytes {
    let paths: Map<String, Value> = rows.iter().flat_map(|row| operations(row)).collect();
    let info = json!({"title": "selkie", "version": env!("CARGO_PKG_VERSION")});
    let mut out = format!(
        "{{\"openapi\":\"3.0.0\",\"info\":{info},\"paths\":{},\"components\":{{\"schemas\":{{\"{METADATA}\":{}",
        Value::Object(paths),
        metadata()
    );
    for row in rows {
        out.push_str(&format!(",{}:", Value::from(row.schema.name.as_deref().unwrap_or_default())));
        out.push_str(&component(row));
    }
    out.push_str("}}}");
    out.into()
}

/// The kind's schema, with the fields that every object has.
fn component(row: &Resource) -> String {
    let source = row.custom.as_ref().map_or("{}", |custom| &*custom.source);
    let mut words: Words = serde_json::from_str(source).unwrap_or_default();
    let properties = words.get("properties").and_then(|raw| serde_json::from_str(raw.get()).ok());
    let mut properties: Words = properties.unwrap_or_default();
    let text = |description: &str| json!({"type": "string", "description": description});
    let identity = [
        (
            "apiVersion",
            text(
                "APIVersion defines the versioned schema of this representation of an object. Servers should convert recognized schemas to the latest internal value, and may reject unrecognized values. More info: https://git.k8s.io/community/contributors/devel/sig-architecture/api-conventions.md#resources",
            ),
        ),
        (
            "kind",
            text(
                "Kind is a string value representing the REST resource this object represents. Servers may infer this from the endpoint the client submits requests to. Cannot be updated. In CamelCase. More info: https://git.k8s.io/community/contributors/devel/sig-architecture/api-conventions.md#types-kinds",
            ),
        ),
        (
            "metadata",
            json!({"description": "Standard object's metadata. More info: https://git.k8s.io/community/contributors/devel/sig-architecture/api-conventions.md#metadata",
            "allOf": [{"$ref": format!("#/components/schemas/{METADATA}")}]}),
        ),
    ];
    for (name, value) in identity {
        insert(&mut properties, name, &value);
    }
    if let Ok(raw) = serde_json::value::to_raw_value(&properties) {
        words.insert("properties".into(), raw);
    }
    insert(&mut words, "x-kubernetes-group-version-kind", &json!([gvk(row)]));
    serde_json::to_string(&words).unwrap_or_default()
}

fn insert(words: &mut Words, name: &str, value: &Value) {
    if let Ok(raw) = serde_json::value::to_raw_value(value) {
        words.insert(name.into(), raw);
    }
}

/// What there is to say of metadata here; the core group's document has the rest.
fn metadata() -> Value {
    let map = json!({"type": "object", "additionalProperties": {"type": "string"}});
    let text = json!({"type": "string"});
    let texts = json!({"type": "array", "items": {"type": "string"}, "x-kubernetes-list-type": "set"});
    let time = json!({"type": "string", "format": "date-time"});
    let objects = json!({"type": "array", "items": {"type": "object"}});
    json!({
        "description": "ObjectMeta is metadata that all persisted resources must have, which includes all objects users must create.",
        "type": "object",
        "properties": {"annotations": map, "labels": map, "name": text, "namespace": text, "generateName": text,
            "uid": text, "resourceVersion": text, "selfLink": text, "finalizers": texts,
            "generation": {"type": "integer", "format": "int64"}, "creationTimestamp": time, "deletionTimestamp": time,
            "deletionGracePeriodSeconds": {"type": "integer", "format": "int64"},
            "managedFields": objects, "ownerReferences": objects},
    })
}
