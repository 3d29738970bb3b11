//! What CSI drivers and those who run them write: drivers, their nodes, capacities, attachments, and the classes of
//! volume attributes. With Kubernetes' texts.

use crate::api::error::FieldError;
use crate::api::kinds::json::{list, text};
use crate::api::kinds::pod_spec::Context;
use crate::api::kinds::{labels, names, resources, semantic, workloads};
use crate::api::quantity::Quantity;
use serde_json::{Map, Value};

const NAME_LIMIT: usize = 63;
const NODE_ID_LIMIT: usize = 256;
/// Of an error in an attachment's status, in bytes.
const MESSAGE_LIMIT: usize = 1024;
/// Of the parameters of a class: how many, and the bytes of all.
const PARAMETERS: usize = 512;
const PARAMETER_BYTES: usize = 256 * 1024;
/// Seconds that a token may hold.
const LEAST: i64 = 600;
const MOST: i64 = 1 << 32;

/// The name of a CSI driver, or of one for devices.
pub(super) fn driver(name: &Value, field: &str, cx: &mut Context) {
    let text = name.as_str().unwrap_or_default();
    if text.is_empty() {
        return cx.required(field.into(), "");
    }
    if text.len() > NAME_LIMIT {
        cx.errors.push(FieldError::too_long(field, &format!("may not be more than {NAME_LIMIT} bytes")));
    }
    cx.names(field, name, names::subdomain(&text.to_lowercase()));
}

pub fn csi_driver(object: &Value) -> Vec<FieldError> {
    let (mut cx, spec) = (Context::new(), &object["spec"]);
    driver(&object["metadata"]["name"], "metadata.name", &mut cx);
    let policies = ["File", "None", "ReadWriteOnceWithFSType"];
    cx.one_of("spec.fsGroupPolicy".into(), &spec["fsGroupPolicy"], &policies);
    for (i, mode) in list(spec, &["volumeLifecycleModes"]).iter().enumerate() {
        cx.one_of(format!("spec.volumeLifecycleModes[{i}]"), mode, &["Ephemeral", "Persistent"]);
    }
    let requests = list(spec, &["tokenRequests"]);
    for (i, request) in requests.iter().enumerate() {
        let field = format!("spec.tokenRequests[{i}]");
        if requests[..i].iter().any(|before| before["audience"] == request["audience"]) {
            cx.errors.push(FieldError::duplicate(format!("{field}.audience"), &request["audience"]));
        }
        let seconds = &request["expirationSeconds"];
        let why = match seconds.as_i64() {
            Some(short) if short < LEAST => "may not specify a duration less than 10 minutes",
            Some(long) if long > MOST => "may not specify a duration larger than 2^32 seconds",
            _ => continue,
        };
        cx.invalid(format!("{field}.expirationSeconds"), seconds, why);
    }
    cx.errors
}

pub fn csi_driver_update(new: &Value, old: &Value) -> Vec<FieldError> {
    let mut errors = Vec::new();
    workloads::immutable(new, old, &["spec", "attachRequired"], &mut errors);
    workloads::immutable(new, old, &["spec", "volumeLifecycleModes"], &mut errors);
    errors
}

pub fn csi_node(object: &Value) -> Vec<FieldError> {
    let mut cx = Context::new();
    let drivers = list(object, &["spec", "drivers"]);
    for (i, one) in drivers.iter().enumerate() {
        let field = format!("spec.drivers[{i}]");
        driver(&one["name"], &format!("{field}.name"), &mut cx);
        if drivers[..i].iter().any(|before| before["name"] == one["name"]) {
            cx.errors.push(FieldError::duplicate(format!("{field}.name"), &one["name"]));
        }
        match text(one, &["nodeID"]).len() {
            0 => cx.required(format!("{field}.nodeID"), ""),
            long if long > NODE_ID_LIMIT => {
                let why = format!("must be {NODE_ID_LIMIT} characters or less");
                cx.invalid(format!("{field}.nodeID"), &one["nodeID"], &why);
            }
            _ => {}
        }
        cx.at_least(format!("{field}.allocatable.count"), &one["allocatable"]["count"], 0);
        let keys = list(one, &["topologyKeys"]);
        for (j, key) in keys.iter().enumerate() {
            if keys[..j].contains(key) {
                cx.errors.push(FieldError::duplicate(format!("{field}.topologyKeys"), key));
            }
            cx.names(&format!("{field}.topologyKeys"), key, names::qualified(key.as_str().unwrap_or_default()));
        }
    }
    cx.errors
}

/// A driver of a node is taken out and put in, and but for how many volumes it can attach, not changed.
pub fn csi_node_update(new: &Value, old: &Value) -> Vec<FieldError> {
    let fixed = |driver: &Value| -> Map<String, Value> {
        let fields = driver.as_object().into_iter().flatten().filter(|(name, _)| *name != "allocatable");
        fields.map(|(name, value)| (name.clone(), value.clone())).collect()
    };
    let before = list(old, &["spec", "drivers"]);
    let drivers = list(new, &["spec", "drivers"]).iter();
    let changed = drivers.filter(|driver| {
        let same = before.iter().find(|before| before["name"] == driver["name"]);
        same.is_some_and(|before| fixed(before) != fixed(driver))
    });
    changed.map(|driver| FieldError::invalid("CSINodeDriver", driver, "field is immutable")).collect()
}

pub fn csi_capacity(object: &Value) -> Vec<FieldError> {
    let mut cx = Context::new();
    labels::validate_selector(&object["nodeTopology"], "nodeTopology", &mut cx.errors);
    let class = text(object, &["storageClassName"]);
    cx.names("storageClassName", &class.into(), names::subdomain(class));
    for name in ["capacity", "maximumVolumeSize"] {
        if resources::amount(&object[name]).is_some_and(Quantity::is_negative) {
            cx.invalid(name.into(), &object[name], "must be greater than or equal to 0");
        }
    }
    cx.errors
}

pub fn csi_capacity_update(new: &Value, old: &Value) -> Vec<FieldError> {
    let mut errors = Vec::new();
    workloads::immutable(new, old, &["nodeTopology"], &mut errors);
    workloads::immutable(new, old, &["storageClassName"], &mut errors);
    errors
}

pub fn attachment(object: &Value) -> Vec<FieldError> {
    let (mut cx, spec) = (Context::new(), &object["spec"]);
    driver(&spec["attacher"], "spec.attacher", &mut cx);
    let (inline, volume) = (&spec["source"]["inlineVolumeSpec"], &spec["source"]["persistentVolumeName"]);
    let why = "must specify exactly one of inlineVolumeSpec and persistentVolumeName";
    match (inline.is_null(), volume.is_null()) {
        (true, true) => cx.required("spec.source".into(), why),
        (false, false) => cx.errors.push(FieldError::forbidden("spec.source", why)),
        (true, false) if volume.as_str() == Some("") => {
            cx.required("spec.source.persistentVolumeName".into(), "must specify non empty persistentVolumeName");
        }
        (true, false) => {
            let name = names::subdomain(volume.as_str().unwrap_or_default());
            cx.names("spec.source.persistentVolumeName", volume, name);
        }
        (false, true) => {}
    }
    let node = text(spec, &["nodeName"]);
    cx.names("spec.nodeName", &node.into(), names::subdomain(node));
    cx.errors.extend(attachment_status(object, &Value::Null));
    cx.errors
}

pub fn attachment_status(new: &Value, _old: &Value) -> Vec<FieldError> {
    let mut errors = Vec::new();
    for name in ["attachError", "detachError"] {
        if text(new, &["status", name, "message"]).len() > MESSAGE_LIMIT {
            let why = format!("may not be more than {MESSAGE_LIMIT} bytes");
            errors.push(FieldError::too_long(format!("status.{name}.message"), &why));
        }
    }
    errors
}

pub fn attachment_update(new: &Value, old: &Value) -> Vec<FieldError> {
    let mut errors = Vec::new();
    workloads::immutable(new, old, &["spec"], &mut errors);
    errors
}

pub fn storage_class(object: &Value) -> Vec<FieldError> {
    let mut cx = Context::new();
    match text(object, &["provisioner"]) {
        "" => cx.required("provisioner".into(), ""),
        name => cx.names("provisioner", &object["provisioner"], names::qualified(&name.to_lowercase())),
    }
    parameters(object, &mut cx);
    cx.one_of("reclaimPolicy".into(), &object["reclaimPolicy"], &["Delete", "Retain"]);
    cx.one_of("volumeBindingMode".into(), &object["volumeBindingMode"], &["Immediate", "WaitForFirstConsumer"]);
    cx.errors
}

pub fn storage_class_update(new: &Value, old: &Value) -> Vec<FieldError> {
    let mut errors = kept(new, old, &["parameters", "provisioner", "reclaimPolicy"]);
    workloads::immutable(new, old, &["volumeBindingMode"], &mut errors);
    errors
}

pub fn attributes_class(object: &Value) -> Vec<FieldError> {
    let mut cx = Context::new();
    driver(&object["driverName"], "driverName", &mut cx);
    if object["parameters"].as_object().is_none_or(Map::is_empty) {
        cx.required("parameters".into(), "must contain at least one key/value pair");
    }
    parameters(object, &mut cx);
    cx.errors
}

fn parameters(object: &Value, cx: &mut Context) {
    let Some(parameters) = object["parameters"].as_object() else { return };
    if parameters.len() > PARAMETERS {
        let why = format!("must have at most {PARAMETERS} items");
        cx.errors.push(FieldError::too_long("parameters", &why));
    }
    let size =
        parameters.iter().map(|(key, value)| key.len() + value.as_str().unwrap_or_default().len()).sum::<usize>();
    if size > PARAMETER_BYTES {
        let why = format!("may not be more than {PARAMETER_BYTES} bytes");
        cx.errors.push(FieldError::too_long("parameters", &why));
    }
}

pub fn attributes_class_update(new: &Value, old: &Value) -> Vec<FieldError> {
    kept(new, old, &["driverName", "parameters"])
}

fn kept(new: &Value, old: &Value, fields: &[&str]) -> Vec<FieldError> {
    let changed = fields.iter().filter(|name| !semantic::equal(&new[**name], &old[**name]));
    changed.map(|name| FieldError::forbidden(*name, &format!("updates to {name} are forbidden."))).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn said(errors: Vec<FieldError>) -> Vec<String> {
        errors.into_iter().map(|error| format!("{}: {}", error.field, error.detail)).collect()
    }

    #[test]
    fn drivers_name_their_ways() {
        let driver = |spec| csi_driver(&json!({"metadata": {"name": "inline.csi"}, "spec": spec}));
        assert_eq!(said(driver(json!({"fsGroupPolicy": "File", "volumeLifecycleModes": ["Ephemeral"]}))), [""; 0]);
        let wrong = json!({"volumeLifecycleModes": ["Shared"], "tokenRequests": [{"audience": "a", "expirationSeconds": 1},
            {"audience": "a"}]});
        assert_eq!(
            said(driver(wrong)),
            [
                "spec.volumeLifecycleModes[0]: Unsupported value: \"Shared\": supported values: \"Ephemeral\", \"Persistent\"",
                "spec.tokenRequests[0].expirationSeconds: Invalid value: 1: may not specify a duration less than 10 minutes",
                "spec.tokenRequests[1].audience: Duplicate value: \"a\"",
            ]
        );
        let moved =
            csi_driver_update(&json!({"spec": {"attachRequired": true}}), &json!({"spec": {"attachRequired": false}}));
        assert_eq!(said(moved), ["spec.attachRequired: Invalid value: true: field is immutable"]);
    }

    #[test]
    fn a_nodes_drivers_come_and_go_and_count() {
        let node = |id: &str, count| {
            json!({"spec": {"drivers": [{"name": "a.csi", "nodeID": id,
            "topologyKeys": ["zone"], "allocatable": {"count": count}}]}})
        };
        assert!(csi_node(&node("n", 3)).is_empty());
        assert_eq!(said(csi_node(&node("", -1))).len(), 2);
        assert!(csi_node_update(&node("n", 4), &node("n", 3)).is_empty());
        assert!(csi_node_update(&json!({"spec": {"drivers": []}}), &node("n", 3)).is_empty());
        assert_eq!(csi_node_update(&node("m", 3), &node("n", 3)).len(), 1);
    }

    #[test]
    fn an_attachment_is_of_one_volume() {
        let of = |source| attachment(&json!({"spec": {"attacher": "a.csi", "nodeName": "n", "source": source}}));
        assert!(of(json!({"persistentVolumeName": "v"})).is_empty());
        let why = "spec.source: Required value: must specify exactly one of inlineVolumeSpec and persistentVolumeName";
        assert_eq!(said(of(json!({}))), [why]);
        assert_eq!(of(json!({"persistentVolumeName": "v", "inlineVolumeSpec": {}})).len(), 1);
    }

    #[test]
    fn classes_name_who_makes_volumes_and_stay() {
        let class = json!({"provisioner": "a.b/c", "reclaimPolicy": "Delete", "volumeBindingMode": "Immediate"});
        assert!(storage_class(&class).is_empty());
        let wrong = json!({"provisioner": "", "reclaimPolicy": "Recycle", "volumeBindingMode": "Never"});
        let fields: Vec<_> = storage_class(&wrong).into_iter().map(|error| error.field).collect();
        assert_eq!(fields, ["provisioner", "reclaimPolicy", "volumeBindingMode"]);
        let details: Vec<_> = storage_class_update(&wrong, &class).into_iter().map(|error| error.detail).collect();
        assert_eq!(details[0], "Forbidden: updates to provisioner are forbidden.");
        assert_eq!(details.len(), 3);
    }
}
