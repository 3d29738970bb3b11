//! Messages encoded by hand, as Go clients send them, and hostile bytes.
#![allow(clippy::unwrap_used)]

use super::*;
use crate::api::registry::Registry;
use crate::api::schema::decode::{Body, Encoding, FieldValidation};
use proptest::prelude::*;
use serde_json::json;

static TABLE: std::sync::LazyLock<Table> = std::sync::LazyLock::new(Table::builtin);

fn varint(mut value: u64) -> Vec<u8> {
    let mut out = Vec::new();
    while value >= 0x80 {
        out.push(value as u8 | 0x80);
        value >>= 7;
    }
    out.push(value as u8);
    out
}

/// A length-delimited field.
fn len(number: u64, content: impl AsRef<[u8]>) -> Vec<u8> {
    let content = content.as_ref();
    [varint(number << 3 | 2), varint(content.len() as u64), content.to_vec()].concat()
}

/// A number.
fn int(number: u64, value: i64) -> Vec<u8> {
    [varint(number << 3), varint(value as u64)].concat()
}

fn pair(number: u64, key: &str, value: impl AsRef<[u8]>) -> Vec<u8> {
    len(number, [len(1, key), len(2, value)].concat())
}

fn body(api_version: &str, kind: &str, raw: Vec<u8>) -> Vec<u8> {
    let meta = [len(1, api_version), len(2, kind)].concat();
    [MAGIC.to_vec(), len(1, meta), len(2, raw), len(3, ""), len(4, "")].concat()
}

/// Decodes a body of a kind all the way, as the API server does.
fn read(group: &str, kind: &str, api_version: &str, raw: Vec<u8>) -> Value {
    let registry = Registry::builtin();
    let bytes = body(api_version, kind, raw);
    let body = Body { bytes: &bytes, encoding: Encoding::Protobuf, validation: FieldValidation::Strict };
    registry.decode_kind((group, "v1", kind), &body).unwrap().object
}

/// ObjectMeta as Go writes it: empty strings, a zero generation and an empty creation time included.
fn metadata(name: &str) -> Vec<u8> {
    let empty = [len(2, ""), len(3, ""), len(4, ""), len(5, ""), len(6, ""), int(7, 0), len(8, "")].concat();
    [len(1, name), empty].concat()
}

#[test]
fn a_config_map() {
    let raw = [len(1, metadata("m")), pair(2, "a", "1"), pair(2, "b", ""), pair(3, "bin", [0xff, 0])].concat();
    let expected = json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "m"},
        "data": {"a": "1", "b": ""}, "binaryData": {"bin": "/wA="}});
    assert_eq!(read("", "ConfigMap", "v1", raw), expected);
}

#[test]
fn a_pod() {
    let probe =
        [len(1, len(2, [len(1, "/"), len(2, [int(1, 1), int(2, 0), len(3, "web")].concat())].concat())), int(3, 5)];
    let resources = len(1, [len(1, "cpu"), len(2, len(1, "500m"))].concat());
    let container = [
        len(1, "c"),
        len(2, "i"),
        len(3, "sh"),
        len(3, ""),
        len(5, ""),
        len(6, [len(1, ""), int(2, 0), int(3, 80), len(4, "TCP"), len(5, "")].concat()),
        len(8, resources),
        len(10, probe.concat()),
        int(16, 0),
    ];
    let volume = [len(1, "v"), len(2, len(19, [len(1, len(1, "m")), int(3, 0)].concat()))];
    let toleration = [len(1, "k"), int(5, 0)];
    let spec = [
        len(1, volume.concat()),
        len(2, container.concat()),
        len(3, ""),
        int(4, 0),
        int(11, 0),
        len(14, len(4, [1, 0x80, 1])),
        len(22, toleration.concat()),
    ];
    let raw = [len(1, metadata("p")), len(2, spec.concat()), len(3, len(1, ""))].concat();
    let expected = json!({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "p"}, "spec": {
        "volumes": [{"name": "v", "configMap": {"name": "m", "defaultMode": 0}}],
        "containers": [{"name": "c", "image": "i", "command": ["sh", ""],
            "ports": [{"containerPort": 80, "protocol": "TCP"}], "resources": {"limits": {"cpu": "500m"}},
            "livenessProbe": {"httpGet": {"path": "/", "port": "web"}, "timeoutSeconds": 5}}],
        "terminationGracePeriodSeconds": 0, "securityContext": {"supplementalGroups": [1, 128]},
        "tolerations": [{"key": "k", "tolerationSeconds": 0}]}, "status": {}});
    assert_eq!(read("", "Pod", "v1", raw), expected);
}

#[test]
fn delete_options_of_any_version() {
    let raw = [int(1, 0), len(2, len(1, "uid-1")), len(4, "Background")].concat();
    let expected = json!({"apiVersion": "policy/v1", "kind": "DeleteOptions", "gracePeriodSeconds": 0,
        "preconditions": {"uid": "uid-1"}, "propagationPolicy": "Background"});
    assert_eq!(read("", "DeleteOptions", "policy/v1", raw), expected);
}

#[test]
fn a_namespace() {
    let raw = [len(1, metadata("n")), len(2, len(1, "kubernetes")), len(3, len(1, ""))].concat();
    let expected = json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "n"},
        "spec": {"finalizers": ["kubernetes"]}, "status": {}});
    assert_eq!(read("", "Namespace", "v1", raw), expected);
}

#[test]
fn a_deployment() {
    let selector = len(1, [len(1, "app"), len(2, "web")].concat());
    let rolling = len(2, len(1, [int(1, 1), int(2, 0), len(3, "25%")].concat()));
    let spec = [
        int(1, 0),
        len(2, selector),
        len(3, [len(1, metadata("")), len(2, len(2, [len(1, "c"), len(2, "i")].concat()))].concat()),
        len(4, [len(1, "RollingUpdate"), rolling].concat()),
        int(5, 0),
        int(7, 0),
    ];
    let raw = [len(1, metadata("d")), len(2, spec.concat()), len(3, int(1, 0))].concat();
    let expected = json!({"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "d"}, "spec": {
        "replicas": 0, "selector": {"matchLabels": {"app": "web"}},
        "template": {"metadata": {}, "spec": {"containers": [{"name": "c", "image": "i"}]}},
        "strategy": {"type": "RollingUpdate", "rollingUpdate": {"maxUnavailable": "25%"}}}, "status": {}});
    assert_eq!(read("apps", "Deployment", "apps/v1", raw), expected);
}

#[test]
fn bodies_of_subresources() {
    let scale = [len(1, metadata("d")), len(2, int(1, 3)), len(3, [int(1, 0), len(2, "")].concat())].concat();
    let expected = json!({"apiVersion": "autoscaling/v1", "kind": "Scale", "metadata": {"name": "d"},
        "spec": {"replicas": 3}, "status": {"replicas": 0}});
    assert_eq!(read("autoscaling", "Scale", "autoscaling/v1", scale), expected);

    let eviction = [len(1, metadata("p")), len(2, int(1, 5))].concat();
    let expected = json!({"apiVersion": "policy/v1", "kind": "Eviction", "metadata": {"name": "p"},
        "deleteOptions": {"gracePeriodSeconds": 5}});
    assert_eq!(read("policy", "Eviction", "policy/v1", eviction), expected);

    let target = [len(1, "Node"), len(2, ""), len(3, "n1"), len(4, "")].concat();
    let binding = [len(1, metadata("p")), len(2, target)].concat();
    let expected = json!({"apiVersion": "v1", "kind": "Binding", "metadata": {"name": "p"},
        "target": {"kind": "Node", "name": "n1"}});
    assert_eq!(read("", "Binding", "v1", binding), expected);
}

#[test]
fn times_of_events_and_leases() {
    let moment = [int(1, 1_767_323_045), int(2, 123_456_789)].concat();
    let event =
        [len(1, metadata("e")), len(2, len(1, "Pod")), len(3, "Pulled"), len(6, &moment), int(8, 2), len(10, "")];
    let object = read("", "Event", "v1", event.concat());
    assert_eq!(object["firstTimestamp"], "2026-01-02T03:04:05Z");
    assert_eq!((&object["count"], &object["involvedObject"]), (&json!(2), &json!({"kind": "Pod"})));
    assert!(object.get("eventTime").is_none());

    let spec = [len(1, "me"), int(2, 40), len(4, &moment), int(5, 0)].concat();
    let lease =
        read("coordination.k8s.io", "Lease", "coordination.k8s.io/v1", [len(1, metadata("l")), len(2, spec)].concat());
    let expected = json!({"holderIdentity": "me", "leaseDurationSeconds": 40, "renewTime": "2026-01-02T03:04:05.123456Z",
        "leaseTransitions": 0});
    assert_eq!(lease["spec"], expected);
}

#[test]
fn errors_are_typed() {
    let read = |bytes: &[u8]| decode(&TABLE, ("", "v1", "Pod"), bytes).unwrap_err();
    assert_eq!(read(b"{}"), ProtobufError::NoPrefix);
    assert_eq!(read(b"k8s\0\x12\x05a"), ProtobufError::Truncated);
    let unknown = ProtobufError::UnknownKind { api_version: "v9".into(), kind: "Pod".into() };
    assert_eq!(read(&body("v9", "Pod", Vec::new())), unknown);
    assert_eq!(read(&body("v1", "Pod", int(1, 5))), ProtobufError::WrongWire { field: "metadata", found: 0 });
    assert_eq!(read(&body("v1", "Pod", len(1, len(1, [0xff])))), ProtobufError::NotText("name"));
    assert!(matches!(read(&body("v1", "Pod", vec![0xff; 12])), ProtobufError::Illegal(_)));
}

#[test]
fn a_missing_type_meta_is_the_expected_kind() {
    let bytes = [MAGIC.to_vec(), len(2, len(1, metadata("m")))].concat();
    let value = decode(&TABLE, ("", "v1", "ConfigMap"), &bytes).unwrap();
    assert_eq!(value["metadata"]["name"], "m");
}

proptest! {
    #[test]
    fn hostile_bytes_never_panic(raw in proptest::collection::vec(any::<u8>(), 0..200), kind in 0usize..5) {
            let (version, kind) = [("v1", "Pod"), ("v1", "ConfigMap"), ("apps/v1", "Deployment"), ("v1", "Event"),
            ("apiextensions.k8s.io/v1", "CustomResourceDefinition")][kind];
        let _ = decode(&TABLE, ("", "v1", "Pod"), &body(version, kind, raw.clone()));
        let _ = decode(&TABLE, ("", "v1", "Pod"), &[MAGIC, &raw].concat());
    }

    #[test]
    fn nesting_ends(depth in 1usize..3000) {
            // Validation schemas nest in themselves: field 28 is `not`.
        let nested = (0..depth.min(300)).fold(Vec::new(), |inner, _| len(28, inner));
        let version = len(4, len(1, nested));
        let raw = len(2, len(7, version));
        let _ = decode(&TABLE, ("", "v1", "Pod"), &body("apiextensions.k8s.io/v1", "CustomResourceDefinition", raw));
    }
}
