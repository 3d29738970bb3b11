//! The cases of strategic merge that kubectl and its users rely on.

#![allow(clippy::unwrap_used)]

use super::*;
use crate::api::registry::Registry;
use serde_json::json;

fn pod(spec: Value, patch: Value) -> Result<Value, ApiError> {
    let schema = Registry::builtin().schema("", "v1", "Pod").unwrap();
    let result = apply(&json!({ "spec": spec }), &json!({ "spec": patch }), &schema)?;
    Ok(result["spec"].clone())
}

fn merged(spec: Value, patch: Value, expected: Value) {
    assert_eq!(pod(spec.clone(), patch.clone()).unwrap(), expected, "{spec} with {patch}");
}

#[test]
fn lists_merge_by_key_and_new_elements_go_in_front() {
    merged(
        json!({"containers": [{"name": "a", "image": "1"}, {"name": "b", "image": "1"}]}),
        json!({"containers": [{"name": "c", "image": "3"}, {"name": "b", "image": "2"}]}),
        json!({"containers": [{"name": "c", "image": "3"}, {"name": "a", "image": "1"}, {"name": "b", "image": "2"}]}),
    );
}

#[test]
fn the_order_directive_places_elements() {
    merged(
        json!({"containers": [{"name": "a"}, {"name": "b"}]}),
        json!({"$setElementOrder/containers": [{"name": "b"}, {"name": "c"}, {"name": "a"}], "containers": [{"name": "c"}]}),
        json!({"containers": [{"name": "b"}, {"name": "c"}, {"name": "a"}]}),
    );
    merged(
        json!({"containers": [{"name": "a"}, {"name": "b"}, {"name": "x"}]}),
        json!({"$setElementOrder/containers": [{"name": "b"}, {"name": "a"}]}),
        json!({"containers": [{"name": "b"}, {"name": "a"}, {"name": "x"}]}),
    );
    let wrong = json!({"$setElementOrder/containers": [{"name": "a"}], "containers": [{"name": "c"}]});
    assert_eq!(pod(json!({"containers": []}), wrong).unwrap_err().code, 500);
}

#[test]
fn directives_delete_and_replace() {
    let two = json!({"containers": [{"name": "a"}, {"name": "b"}], "nodeSelector": {"x": "y"}});
    merged(
        two.clone(),
        json!({"containers": [{"name": "a", "$patch": "delete"}]}),
        json!({"containers": [{"name": "b"}], "nodeSelector": {"x": "y"}}),
    );
    merged(
        two.clone(),
        json!({"containers": [{"$patch": "replace"}, {"name": "c"}]}),
        json!({"containers": [{"name": "c"}], "nodeSelector": {"x": "y"}}),
    );
    merged(two.clone(), json!({"$patch": "replace", "nodeName": "n"}), json!({"nodeName": "n"}));
    merged(two.clone(), json!({"nodeSelector": {"$patch": "delete"}, "containers": null}), json!({"nodeSelector": {}}));
    assert_eq!(pod(two, json!({"$patch": "burn"})).unwrap_err().code, 500);
}

#[test]
fn retained_keys_drop_the_others() {
    merged(
        json!({"volumes": [{"name": "v", "emptyDir": {}}]}),
        json!({"volumes": [{"name": "v", "$retainKeys": ["name", "hostPath"], "hostPath": {"path": "/x"}}]}),
        json!({"volumes": [{"name": "v", "hostPath": {"path": "/x"}}]}),
    );
}

#[test]
fn lists_without_a_strategy_are_replaced() {
    merged(
        json!({"tolerations": [{"key": "a"}], "containers": [{"name": "c", "args": ["1"]}]}),
        json!({"tolerations": [{"key": "b"}], "containers": [{"name": "c", "args": ["2", "3"]}]}),
        json!({"tolerations": [{"key": "b"}], "containers": [{"name": "c", "args": ["2", "3"]}]}),
    );
}

#[test]
fn ports_merge_by_number_only() {
    merged(
        json!({"containers": [{"name": "c", "ports": [{"containerPort": 80, "protocol": "TCP"}]}]}),
        json!({"containers": [{"name": "c", "ports": [{"containerPort": 80, "name": "http"}]}]}),
        json!({"containers": [{"name": "c", "ports": [{"containerPort": 80, "protocol": "TCP", "name": "http"}]}]}),
    );
}

#[test]
fn primitive_lists_are_unions() {
    let schema = Registry::builtin().schema("", "v1", "Pod").unwrap();
    let current = json!({"metadata": {"finalizers": ["a", "b"]}});
    let added = apply(&current, &json!({"metadata": {"finalizers": ["c", "a"]}}), &schema).unwrap();
    assert_eq!(added["metadata"]["finalizers"], json!(["a", "b", "c"]));
    let removed = json!({"metadata": {"$deleteFromPrimitiveList/finalizers": ["a"]}});
    assert_eq!(apply(&current, &removed, &schema).unwrap()["metadata"]["finalizers"], json!(["b"]));
}

#[test]
fn an_element_needs_its_key() {
    let error = pod(json!({"containers": [{"name": "a"}]}), json!({"containers": [{"image": "zz"}]})).unwrap_err();
    assert_eq!(
        (error.code, error.message.as_str()),
        (500, "map: map[image:zz] does not contain declared merge key: name")
    );
}

#[test]
fn new_parts_lose_nulls_and_directives() {
    merged(
        json!({}),
        json!({"securityContext": {"runAsUser": null, "fsGroup": 1, "$patch": "x"}}),
        json!({"securityContext": {"fsGroup": 1}}),
    );
}
