//! The table rows of what CSI drivers and those who run them write.

use crate::api::kinds::json::{list, text};
use crate::api::kinds::table;
use crate::api::storage::IS_DEFAULT_CLASS;
use jiff::Timestamp;
use serde_json::Value;

fn joined<'a>(items: impl Iterator<Item = &'a str>, otherwise: &str) -> Value {
    let items: Vec<_> = items.collect();
    if items.is_empty() { otherwise.into() } else { items.join(",").into() }
}

pub fn csi_driver(object: &Value, now: Timestamp) -> Vec<Value> {
    let spec = &object["spec"];
    let flag = |name: &str| spec[name].as_bool().unwrap_or(false).into();
    let audiences = list(spec, &["tokenRequests"]).iter().map(|request| text(request, &["audience"]));
    let modes = list(spec, &["volumeLifecycleModes"]).iter().filter_map(Value::as_str);
    vec![
        table::name(object),
        spec["attachRequired"].as_bool().unwrap_or(true).into(),
        flag("podInfoOnMount"),
        flag("storageCapacity"),
        joined(audiences, "<unset>"),
        flag("requiresRepublish"),
        joined(modes, "<none>"),
        table::age(object, now),
    ]
}

pub fn csi_node(object: &Value, now: Timestamp) -> Vec<Value> {
    vec![table::name(object), list(object, &["spec", "drivers"]).len().into(), table::age(object, now)]
}

pub fn attachment(object: &Value, now: Timestamp) -> Vec<Value> {
    let spec = &object["spec"];
    vec![
        table::name(object),
        text(spec, &["attacher"]).into(),
        text(spec, &["source", "persistentVolumeName"]).into(),
        text(spec, &["nodeName"]).into(),
        object["status"]["attached"].as_bool().unwrap_or(false).into(),
        table::age(object, now),
    ]
}

pub fn attributes_class(object: &Value, now: Timestamp) -> Vec<Value> {
    let mark = if text(&object["metadata"]["annotations"], &[IS_DEFAULT_CLASS]) == "true" { " (default)" } else { "" };
    let name = format!("{}{mark}", text(object, &["metadata", "name"]));
    vec![name.into(), text(object, &["driverName"]).into(), table::age(object, now)]
}
