//! Persistent volumes and claims.

use crate::api::error::FieldError;
use crate::api::kinds::json::{list, text};
use crate::api::kinds::pod_spec::Context;
use crate::api::kinds::{names, resources};
use crate::api::quantity::Quantity;
use serde_json::Value;

const MODES: &[&str] = &["ReadOnlyMany", "ReadWriteMany", "ReadWriteOnce", "ReadWriteOncePod"];

fn common(spec: &Value, cx: &mut Context) {
    let modes = list(spec, &["accessModes"]);
    if modes.is_empty() {
        cx.required("spec.accessModes".into(), "at least 1 access mode is required");
    }
    for mode in modes {
        cx.one_of("spec.accessModes".into(), mode, MODES);
    }
    cx.one_of("spec.volumeMode".into(), &spec["volumeMode"], &["Block", "Filesystem"]);
    let class = text(spec, &["storageClassName"]);
    if !class.is_empty() {
        cx.names("spec.storageClassName", &spec["storageClassName"], names::subdomain(class));
    }
}

fn positive(value: &Value, field: &str, cx: &mut Context) {
    match resources::amount(value) {
        Some(amount) if amount.is_zero() || Quantity::is_negative(amount) => {
            cx.invalid(field.into(), value, "must be greater than zero");
        }
        Some(_) => {}
        None => cx.required(field.into(), ""),
    }
}

pub fn claim(object: &Value) -> Vec<FieldError> {
    let mut cx = Context::new();
    common(&object["spec"], &mut cx);
    positive(&object["spec"]["resources"]["requests"]["storage"], "spec.resources[storage]", &mut cx);
    cx.errors
}

/// A claim keeps its spec, but may be bound, classed when it had no class, and grow.
pub fn claim_update(new: &Value, old: &Value) -> Vec<FieldError> {
    let (mut after, before) = (new["spec"].clone(), &old["spec"]);
    let asked = |spec: &Value| resources::amount(&spec["resources"]["requests"]["storage"]);
    let mut errors = Vec::new();
    if !after.is_object() {
        return errors;
    }
    if let (Some(now), Some(then)) = (asked(&after), asked(before))
        && now < then
    {
        let why = "field can not be less than status.capacity";
        errors.push(FieldError::forbidden("spec.resources.requests.storage", why));
    }
    after["resources"] = before["resources"].clone();
    for name in ["volumeName", "storageClassName"] {
        if text(before, &[name]).is_empty() {
            after[name] = before[name].clone();
        }
    }
    after["volumeAttributesClassName"] = before["volumeAttributesClassName"].clone();
    let fields = |spec: &Value| spec.as_object().into_iter().flatten().filter(|(_, v)| !v.is_null()).count();
    let same = fields(&after) == fields(before)
        && after.as_object().into_iter().flatten().all(|(name, value)| &before[name] == value);
    if !same {
        let why =
            "spec is immutable after creation except resources.requests and volumeAttributesClassName for bound claims";
        errors.push(FieldError::forbidden("spec", why));
    }
    errors
}

pub fn volume(object: &Value) -> Vec<FieldError> {
    const NO_SOURCE: &[&str] = &[
        "accessModes",
        "capacity",
        "claimRef",
        "mountOptions",
        "nodeAffinity",
        "persistentVolumeReclaimPolicy",
        "storageClassName",
        "volumeAttributesClassName",
        "volumeMode",
    ];
    let (mut cx, spec) = (Context::new(), &object["spec"]);
    common(spec, &mut cx);
    if spec["capacity"].as_object().is_none_or(serde_json::Map::is_empty) {
        cx.required("spec.capacity".into(), "");
    } else {
        positive(&spec["capacity"]["storage"], "spec.capacity[storage]", &mut cx);
    }
    let policies = ["Delete", "Recycle", "Retain"];
    cx.one_of("spec.persistentVolumeReclaimPolicy".into(), &spec["persistentVolumeReclaimPolicy"], &policies);
    let sources = spec.as_object().into_iter().flatten();
    match sources.filter(|(name, value)| !value.is_null() && !NO_SOURCE.contains(&name.as_str())).count() {
        1 => {}
        0 => cx.required("spec".into(), "must specify a volume type"),
        _ => cx.errors.push(FieldError::forbidden("spec", "may not specify more than 1 volume type")),
    }
    cx.errors
}
