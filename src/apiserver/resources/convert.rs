//! Events are stored once, in their core form, and served by two APIs.

use crate::api::registry::Resource;
use bytes::Bytes;
use serde_json::Value;
use std::borrow::Cow;

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

/// The apiVersion that objects of `resource` are stored under.
pub fn stored_version(resource: &Resource) -> String {
    if applies(resource) { "v1".into() } else { resource.api_version() }
}

/// A request's object in the form that is stored.
pub fn incoming(resource: &Resource, object: &mut Value) {
    if applies(resource) {
        rename(object, "v1", |(core, new)| (new, core));
    }
}

/// A stored object in the form of `resource`'s API.
pub fn shown<'a>(resource: &Resource, object: &'a Value) -> Cow<'a, Value> {
    if !applies(resource) {
        return Cow::Borrowed(object);
    }
    let mut object = object.clone();
    rename(&mut object, "events.k8s.io/v1", |(core, new)| (core, new));
    Cow::Owned(object)
}

/// An object in the form of `resource`'s API in the form that is stored.
pub fn stored<'a>(resource: &Resource, object: &'a Value) -> Cow<'a, Value> {
    if !applies(resource) {
        return Cow::Borrowed(object);
    }
    let mut object = object.clone();
    incoming(resource, &mut object);
    Cow::Owned(object)
}

/// Stored bytes in the form of `resource`'s API.
pub fn outgoing(resource: &Resource, value: &Bytes) -> Bytes {
    if !applies(resource) {
        return value.clone();
    }
    let object: Value = serde_json::from_slice(value).unwrap_or_default();
    super::object::serialize(&shown(resource, &object), false).0
}

type Names = (&'static str, &'static str);

fn rename(object: &mut Value, version: &str, direction: impl Fn(Names) -> Names) {
    let Some(fields) = object.as_object_mut() else { return };
    for (from, to) in NAMES.map(direction) {
        if let Some(value) = fields.remove(from) {
            fields.insert(to.to_string(), value);
        }
    }
    fields.insert("apiVersion".into(), version.into());
}
