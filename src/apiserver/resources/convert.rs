//! Events are stored once, in their core form, and served by two APIs.

use crate::api::registry::Resource;
use bytes::Bytes;
use serde_json::Value;

/// Field names: core, events.k8s.io.
const NAMES: [(&str, &str); 7] = [
    ("message", "note"),
    ("involvedObject", "regarding"),
    ("source", "deprecatedSource"),
    ("firstTimestamp", "deprecatedFirstTimestamp"),
    ("lastTimestamp", "deprecatedLastTimestamp"),
    ("count", "deprecatedCount"),
    ("reportingComponent", "reportingController"),
];

fn applies(resource: &Resource) -> bool {
    resource.group == "events.k8s.io"
}

/// A request's object in the form that is stored.
pub fn incoming(resource: &Resource, object: &mut Value) {
    if applies(resource) {
        rename(object, "v1", |(core, new)| (new, core));
    }
}

/// Stored bytes in the form of `resource`'s API.
pub fn outgoing(resource: &Resource, value: &Bytes) -> Bytes {
    if !applies(resource) {
        return value.clone();
    }
    let mut object: Value = serde_json::from_slice(value).unwrap_or_default();
    rename(&mut object, "events.k8s.io/v1", |(core, new)| (core, new));
    super::object::serialize(&object, false).0
}

fn rename(
    object: &mut Value,
    version: &str,
    direction: impl Fn((&'static str, &'static str)) -> (&'static str, &'static str),
) {
    let Some(fields) = object.as_object_mut() else { return };
    for (from, to) in NAMES.map(direction) {
        if let Some(value) = fields.remove(from) {
            fields.insert(to.to_string(), value);
        }
    }
    if let Some(instance) = fields.remove("reportingInstance") {
        fields.insert("reportingInstance".into(), instance);
    }
    fields.insert("apiVersion".into(), version.into());
}
