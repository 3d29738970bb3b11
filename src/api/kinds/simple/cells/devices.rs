//! The table rows of claims on devices, and of the devices that there are.

use crate::api::kinds::json::{list, text};
use crate::api::kinds::table;
use jiff::Timestamp;
use serde_json::Value;

pub fn claim(object: &Value, now: Timestamp) -> Vec<Value> {
    let (status, leaving) = (&object["status"], !object["metadata"]["deletionTimestamp"].is_null());
    let mut states = Vec::new();
    if leaving {
        states.push("deleted");
    }
    if !status["allocation"].is_null() {
        states.push("allocated");
        if !list(status, &["reservedFor"]).is_empty() {
            states.push("reserved");
        }
    } else if !leaving {
        states.push("pending");
    }
    vec![table::name(object), states.join(",").into(), table::age(object, now)]
}

pub fn slice(object: &Value, now: Timestamp) -> Vec<Value> {
    let spec = &object["spec"];
    vec![
        table::name(object),
        text(spec, &["nodeName"]).into(),
        text(spec, &["driver"]).into(),
        text(spec, &["pool", "name"]).into(),
        table::age(object, now),
    ]
}
