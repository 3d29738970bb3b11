//! Kinds that are served in several forms and stored in one: events (their core form), custom
//! resources (the storage version; versions differ in nothing but their name), autoscalers (v2).

mod autoscaler;

use crate::api::registry::{Registry, Resource};
use bytes::Bytes;
use serde_json::Value;
use std::borrow::Cow;
use std::sync::Arc;

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

fn is_old_autoscaler(resource: &Resource) -> bool {
    resource.group == "autoscaling" && resource.version == "v1" && !resource.is_custom()
}

/// The row that serves the objects of `resource` as they are stored, where that is another one.
pub fn home(registry: &Registry, resource: &Resource) -> Option<Arc<Resource>> {
    let (group, version) = match resource {
        _ if applies(resource) => ("", "v1"),
        _ if is_old_autoscaler(resource) => ("autoscaling", "v2"),
        _ => return None,
    };
    registry.resource(group, version, &resource.plural)
}

/// The apiVersion that objects of `resource` are stored under.
pub fn stored_version(resource: &Resource) -> String {
    match &resource.custom {
        _ if applies(resource) => "v1".into(),
        _ if is_old_autoscaler(resource) => "autoscaling/v2".into(),
        Some(definition) => format!("{}/{}", resource.group, definition.storage_version),
        None => resource.api_version(),
    }
}

/// A request's object in the form that is stored.
pub fn incoming(resource: &Resource, object: &mut Value) {
    if applies(resource) {
        rename(object, "v1", |(core, new)| (new, core));
    } else if is_old_autoscaler(resource) {
        if object["apiVersion"] != "autoscaling/v2" {
            autoscaler::to_v2(object);
        }
    } else if resource.is_custom() {
        object["apiVersion"] = stored_version(resource).into();
    }
}

/// Whether an object is shown as it is stored.
fn is_same(resource: &Resource, object: &Value) -> bool {
    match resource.is_custom() {
        true => object["apiVersion"].as_str().is_some_and(|version| version == resource.api_version()),
        false => !applies(resource) && !is_old_autoscaler(resource),
    }
}

/// A stored object in the form of `resource`'s API.
pub fn shown<'a>(resource: &Resource, object: &'a Value) -> Cow<'a, Value> {
    if is_same(resource, object) {
        return Cow::Borrowed(object);
    }
    let mut object = object.clone();
    if resource.is_custom() {
        object["apiVersion"] = resource.api_version().into();
        return Cow::Owned(object);
    }
    match is_old_autoscaler(resource) {
        true => autoscaler::to_v1(&mut object),
        false => rename(&mut object, "events.k8s.io/v1", |(core, new)| (core, new)),
    }
    Cow::Owned(object)
}

/// An object in the form of `resource`'s API in the form that is stored.
pub fn stored<'a>(resource: &Resource, object: &'a Value) -> Cow<'a, Value> {
    if !applies(resource) && is_same(resource, object) {
        return Cow::Borrowed(object);
    }
    let mut object = object.clone();
    incoming(resource, &mut object);
    Cow::Owned(object)
}

/// Stored bytes in the form of `resource`'s API.
pub fn outgoing(resource: &Resource, value: &Bytes) -> Bytes {
    if resource.is_custom() {
        return versioned(resource, value);
    }
    if !applies(resource) && !is_old_autoscaler(resource) {
        return value.clone();
    }
    let object: Value = serde_json::from_slice(value).unwrap_or_default();
    super::object::serialize(&shown(resource, &object), false).0
}

/// Stored bytes with the apiVersion of `resource`. Kind and version come first in what is stored.
fn versioned(resource: &Resource, value: &Bytes) -> Bytes {
    let wanted = resource.api_version();
    let head = format!("{{\"kind\":\"{}\",\"apiVersion\":\"", resource.kind);
    let Some(tail) = value.strip_prefix(head.as_bytes()) else { return value.clone() };
    let Some(end) = tail.iter().position(|byte| *byte == b'"') else { return value.clone() };
    if &tail[..end] == wanted.as_bytes() {
        return value.clone();
    }
    [head.as_bytes(), wanted.as_bytes(), &tail[end..]].concat().into()
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
