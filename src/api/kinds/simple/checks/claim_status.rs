//! What becomes of a claim on devices: what it was given, who may use it, and what drivers say of it. With Kubernetes'
//! texts.

use super::devices::{
    CONFIGS, TOLERATIONS, binding_conditions, configuration, each, label, pool_name, raw, reference, references,
    toleration, too_long, unique, unique_names,
};
use crate::api::error::FieldError;
use crate::api::kinds::json::{at, list, text};
use crate::api::kinds::pod_spec::{Context, node_selector};
use crate::api::kinds::workloads;
use serde_json::Value;

const RESULTS: usize = 32;
const RESERVATIONS: usize = 256;
const DEVICE_CONDITIONS: usize = 8;
/// In bytes.
const INTERFACE_NAME: usize = 256;
const HARDWARE_ADDRESS: usize = 128;

/// What tells an allocated device from others.
fn device_id(of: &Value) -> Value {
    let parts = ["driver", "pool", "device", "shareID"].map(|part| text(of, &[part]));
    parts.join("/").trim_end_matches('/').into()
}

pub fn status(new: &Value, old: &Value) -> Vec<FieldError> {
    let (mut cx, status) = (Context::new(), &new["status"]);
    let claim = &new["spec"]["devices"];
    each(status, "reservedFor", "status", RESERVATIONS, &mut cx, &|consumer, field, cx| {
        for name in ["resource", "name", "uid"] {
            if text(consumer, &[name]).is_empty() {
                cx.required(format!("{field}.{name}"), "");
            }
        }
    });
    unique_names(status, "reservedFor", "status", "uid", &mut cx);
    let results = list(status, &["allocation", "devices", "results"]);
    each(status, "devices", "status", usize::MAX, &mut cx, &|device, field, cx| {
        device_status(device, field, results, cx);
    });
    unique(status, "devices", "status", &mut cx, device_id);
    reserved(new, old, &mut cx);
    match (&old["status"]["allocation"], &status["allocation"]) {
        (_, Value::Null) => {}
        (Value::Null, allocation) => allocated(allocation, "status.allocation", claim, &mut cx),
        _ => workloads::immutable(new, old, &["status", "allocation"], &mut cx.errors),
    }
    cx.errors
}

/// A claim is reserved while it is allocated, and for nobody new once it is to go.
fn reserved(new: &Value, old: &Value, cx: &mut Context) {
    let (now, before) = (list(new, &["status", "reservedFor"]), list(old, &["status", "reservedFor"]));
    let leaving = !new["metadata"]["deletionTimestamp"].is_null();
    let why = match at(new, &["status", "allocation"]) {
        _ if now.is_empty() => return,
        Value::Null => "may not be specified when `allocated` is not set",
        _ if leaving && now.iter().any(|consumer| !before.contains(consumer)) => {
            "new entries may not be added while `deallocationRequested` or `deletionTimestamp` are set"
        }
        _ => return,
    };
    cx.errors.push(FieldError::forbidden("status.reservedFor", why));
}

fn allocated(allocation: &Value, field: &str, claim: &Value, cx: &mut Context) {
    let (devices, path) = (&allocation["devices"], format!("{field}.devices"));
    each(devices, "results", &path, RESULTS, cx, &|result, field, cx| {
        reference(&result["request"], &format!("{field}.request"), claim, cx);
        identity(result, field, cx);
        binding_conditions(result, field, cx);
        each(result, "tolerations", field, TOLERATIONS, cx, &toleration);
    });
    each(devices, "config", &path, 2 * CONFIGS, cx, &|config, field, cx| {
        let source = format!("{field}.source");
        match text(config, &["source"]) {
            "" => cx.required(source, ""),
            _ => cx.one_of(source, &config["source"], &["FromClaim", "FromClass"]),
        }
        references(config, field, claim, cx);
        configuration(config, field, cx);
    });
    if !allocation["nodeSelector"].is_null() {
        node_selector(&allocation["nodeSelector"], &format!("{field}.nodeSelector"), cx);
    }
}

fn identity(of: &Value, field: &str, cx: &mut Context) {
    super::storage::driver(&of["driver"], &format!("{field}.driver"), cx);
    pool_name(&of["pool"], &format!("{field}.pool"), cx);
    label(&of["device"], &format!("{field}.device"), cx);
    if let Some(uid) = of["shareID"].as_str().filter(|uid| !is_uid(uid)) {
        let why = "uid must be in RFC 4122 normalized form, `xxxxxxxx-xxxx-xxxx-xxxx-xxxxxxxxxxxx` with lowercase hexadecimal characters";
        cx.invalid(format!("{field}.shareID"), &uid.into(), why);
    }
}

fn is_uid(text: &str) -> bool {
    let digit = |b: u8| matches!(b, b'0'..=b'9' | b'a'..=b'f');
    let fits = |(i, b): (usize, u8)| if matches!(i, 8 | 13 | 18 | 23) { b == b'-' } else { digit(b) };
    text.len() == 36 && text.bytes().enumerate().all(fits)
}

/// What a driver says of a device that the claim got.
fn device_status(device: &Value, field: &str, results: &[Value], cx: &mut Context) {
    identity(device, field, cx);
    let id = device_id(device);
    if !results.iter().any(|result| device_id(result) == id) {
        cx.invalid(field.into(), &id, "must be an allocated device in the claim");
    }
    let conditions = list(device, &["conditions"]).len();
    if conditions > DEVICE_CONDITIONS {
        cx.errors.push(FieldError::too_many(format!("{field}.conditions"), conditions, DEVICE_CONDITIONS));
    }
    if !device["data"].is_null() {
        raw(&device["data"], &format!("{field}.data"), cx);
    }
    let network = &device["networkData"];
    for (name, most) in [("interfaceName", INTERFACE_NAME), ("hardwareAddress", HARDWARE_ADDRESS)] {
        if text(network, &[name]).len() > most {
            cx.errors.push(too_long(format!("{field}.networkData.{name}"), most));
        }
    }
    unique(network, "ips", &format!("{field}.networkData"), cx, Value::clone);
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use serde_json::json;

    fn texts(errors: Vec<FieldError>) -> Vec<String> {
        errors.into_iter().map(|error| format!("{}: {}", error.field, error.detail)).collect()
    }

    #[test]
    fn a_claim_is_allocated_once_and_reserved_while_it_is() {
        let request = json!({"name": "r", "exactly": {"deviceClassName": "c", "allocationMode": "All"}});
        let mut old = json!({"spec": {"devices": {"requests": [request]}}});
        let mut new = old.clone();
        new["status"] = json!({"reservedFor": [{"resource": "pods", "name": "p", "uid": "u"}]});
        let found = texts(status(&new, &old));
        assert_eq!(found, ["status.reservedFor: Forbidden: may not be specified when `allocated` is not set"]);
        let result = json!({"request": "r", "driver": "a.example.com", "pool": "p/q", "device": "d"});
        new["status"]["allocation"] = json!({"devices": {"results": [result]}});
        assert_eq!(texts(status(&new, &old)), Vec::<String>::new());
        new["status"]["devices"] = json!([{"driver": "a.example.com", "pool": "p/q", "device": "e"}]);
        assert!(texts(status(&new, &old))[0].ends_with("must be an allocated device in the claim"));
        new["status"]["devices"][0]["device"] = json!("d");
        old["status"] = json!({"allocation": {}});
        assert!(texts(status(&new, &old))[0].ends_with("field is immutable"));
    }
}
