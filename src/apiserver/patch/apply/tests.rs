//! Server-side apply and managed fields, by the cases clients meet and by properties.

#![allow(clippy::unwrap_used)]

use super::*;
use crate::api::registry::Registry;
use crate::api::schema::SchemaRef;
use jiff::Timestamp;
use proptest::prelude::*;
use std::sync::LazyLock;

static REGISTRY: LazyLock<Registry> = LazyLock::new(Registry::builtin);

fn schema(kind: &str) -> SchemaRef {
    let group = if kind == "Deployment" { "apps" } else { "" };
    REGISTRY.schema(group, "v1", kind).unwrap()
}

fn writer(manager: &str) -> Writer<'_> {
    Writer { manager, api_version: "v1", subresource: "", now: Timestamp::UNIX_EPOCH }
}

fn config(data: Value) -> Value {
    json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "c", "namespace": "d"}, "data": data})
}

fn apply_config(live: Option<&Value>, manager: &str, data: Value, force: bool) -> Result<Value, ApiError> {
    apply(live, &config(data), &schema("ConfigMap"), &writer(manager), force)
}

fn deployment(manager: &str, live: Option<&Value>, spec: Value) -> Result<Value, ApiError> {
    let intent = json!({"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "d"}, "spec": spec});
    apply(live, &intent, &schema("Deployment"), &writer(manager), false)
}

#[test]
fn a_create_is_owned_as_kubernetes_writes_it() {
    let mut pod = json!({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "p", "labels": {"run": "p"}, "uid": "u"},
        "spec": {"containers": [{"name": "c", "image": "i", "resources": {}, "ports": [{"containerPort": 80, "protocol": "TCP"}]}],
                 "securityContext": {}, "dnsPolicy": "ClusterFirst"}});
    managed::update(None, &mut pod, &schema("Pod"), &writer("kubectl-run"));
    assert_eq!(
        pod["metadata"]["managedFields"],
        json!([{"manager": "kubectl-run", "operation": "Update", "apiVersion": "v1", "time": "1970-01-01T00:00:00Z", "fieldsType": "FieldsV1",
            "fieldsV1": {"f:metadata": {"f:labels": {".": {}, "f:run": {}}},
                "f:spec": {"f:containers": {"k:{\"name\":\"c\"}": {".": {}, "f:image": {}, "f:name": {}, "f:resources": {},
                    "f:ports": {".": {}, "k:{\"containerPort\":80,\"protocol\":\"TCP\"}": {".": {}, "f:containerPort": {}, "f:protocol": {}}}}},
                "f:dnsPolicy": {}, "f:securityContext": {}}}}])
    );
}

#[test]
fn an_update_moves_what_changed() {
    let mut first = config(json!({"a": "1", "b": "1"}));
    managed::update(None, &mut first, &schema("ConfigMap"), &writer("one"));
    let mut second = first.clone();
    second["data"] = json!({"a": "2", "c": "1"});
    managed::update(Some(&first), &mut second, &schema("ConfigMap"), &writer("two"));
    let owned: Vec<_> = managed::read(&second).iter().map(|e| (e.manager.clone(), e.fields.paths())).collect();
    assert_eq!(
        owned,
        [("one".into(), vec![".data".into()]), ("two".into(), vec![".data.a".to_string(), ".data.c".into()])]
    );
    let mut same = second.clone();
    managed::update(Some(&second), &mut same, &schema("ConfigMap"), &writer("three"));
    assert_eq!(same, second);
    same["metadata"]["managedFields"] = json!([{}]);
    managed::update(Some(&second), &mut same, &schema("ConfigMap"), &writer("three"));
    assert!(same["metadata"]["managedFields"].is_null());
}

#[test]
fn fields_of_others_conflict_and_force_takes_them() {
    let live = apply_config(None, "m1", json!({"a": "1", "b": "1"}), false).unwrap();
    let error = apply_config(Some(&live), "m2", json!({"a": "2"}), false).unwrap_err();
    assert_eq!(
        (error.code, error.message.as_str()),
        (409, "Apply failed with 1 conflict: conflict with \"m1\": .data.a")
    );
    let cause = &error.details.unwrap().causes[0];
    assert_eq!((cause.reason.as_str(), cause.field.as_str()), ("FieldManagerConflict", ".data.a"));
    let error = apply_config(Some(&live), "m2", json!({"a": "2", "b": "2"}), false).unwrap_err();
    assert_eq!(error.message, "Apply failed with 2 conflicts: conflicts with \"m1\":\n- .data.a\n- .data.b");
    let forced = apply_config(Some(&live), "m2", json!({"a": "2"}), true).unwrap();
    assert_eq!(forced["data"], json!({"a": "2", "b": "1"}));
    let owned: Vec<_> = managed::read(&forced).iter().map(|e| e.fields.paths()).collect();
    assert_eq!(owned, [[".data.b"], [".data.a"]]);
}

#[test]
fn an_update_owner_is_named_with_its_version() {
    let mut live = config(json!({"a": "1"}));
    managed::update(None, &mut live, &schema("ConfigMap"), &writer("upd"));
    let error = apply_config(Some(&live), "m", json!({"a": "2"}), false).unwrap_err();
    assert_eq!(error.message, "Apply failed with 1 conflict: conflict with \"upd\" using v1: .data.a");
}

#[test]
fn what_is_no_longer_applied_goes_unless_shared() {
    let live = apply_config(None, "m1", json!({"a": "1", "b": "1"}), false).unwrap();
    let shared = apply_config(Some(&live), "m2", json!({"b": "1"}), false).unwrap();
    let after = apply_config(Some(&shared), "m1", json!({}), false).unwrap();
    assert_eq!(after["data"], json!({"b": "1"}));
    let gone = apply_config(Some(&after), "m2", json!({}), false).unwrap();
    assert_eq!(gone["data"], json!({}), "both still apply the empty map");
}

#[test]
fn list_elements_go_with_their_owner() {
    let spec = |names: &[&str]| {
        let containers: Vec<Value> = names.iter().map(|name| json!({"name": name, "image": "i"})).collect();
        json!({"template": {"spec": {"containers": containers}}})
    };
    let live = deployment("m1", None, spec(&["a", "b"])).unwrap();
    let both = deployment("m2", Some(&live), spec(&["c"])).unwrap();
    assert_eq!(both["spec"]["template"]["spec"]["containers"].as_array().unwrap().len(), 3);
    let after = deployment("m1", Some(&both), spec(&["b"])).unwrap();
    let names: Vec<_> =
        after["spec"]["template"]["spec"]["containers"].as_array().unwrap().iter().map(|c| &c["name"]).collect();
    assert_eq!(names, ["b", "c"]);
}

#[test]
fn defaulted_fields_of_a_kept_element_stay() {
    let spec = |env: Value| json!({"template": {"spec": {"containers": [{"name": "a", "image": "i", "env": env}]}}});
    let mut live = deployment("m", None, spec(json!([{"name": "X", "value": "1"}]))).unwrap();
    live["spec"]["template"]["spec"]["containers"][0]["imagePullPolicy"] = json!("Always");
    let after = deployment("m", Some(&live), spec(json!([]))).unwrap();
    let container = &after["spec"]["template"]["spec"]["containers"][0];
    assert_eq!((&container["imagePullPolicy"], container["env"].as_array().map_or(0, Vec::len)), (&json!("Always"), 0));
}

#[test]
fn an_object_without_owners_belongs_to_its_past() {
    let live = config(json!({"a": "1"}));
    let error = apply_config(Some(&live), "m", json!({"a": "2"}), false).unwrap_err();
    assert_eq!(error.message, "Apply failed with 1 conflict: conflict with \"before-first-apply\" using v1: .data.a");
}

#[test]
fn bad_intents_say_what_is_wrong() {
    let intent = json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "ssa"}, "bogus": 1});
    let error = apply(None, &intent, &schema("ConfigMap"), &writer("m"), false).unwrap_err();
    assert_eq!(
        error.message,
        "failed to create typed patch object (/ssa; /v1, Kind=ConfigMap): .bogus: field not declared in schema"
    );
    let twice = json!({"template": {"spec": {"containers": [{"name": "n"}, {"name": "n"}]}}});
    let error = deployment("m", None, twice).unwrap_err();
    assert!(
        error.message.ends_with(".spec.template.spec.containers: duplicate entries for key [name=\"n\"]"),
        "{error}"
    );
}

#[test]
fn kubectl_takes_over_what_it_applied_from_the_client() {
    let mut live = config(json!({"a": "1"}));
    let applied = json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "c"}, "data": {"a": "1"}});
    live["metadata"]["annotations"] = json!({LAST_APPLIED: applied.to_string()});
    managed::update(None, &mut live, &schema("ConfigMap"), &writer("kubectl-client-side-apply"));
    let after = apply_config(Some(&live), "kubectl", json!({"a": "2"}), false).unwrap();
    assert_eq!(after["data"]["a"], "2");
    assert!(last_applied(&after).unwrap().contains("\"a\":\"2\""));
    assert!(apply_config(Some(&live), "other", json!({"a": "2"}), false).is_err());
}

/// A small ConfigMap's data.
fn data() -> impl Strategy<Value = Value> {
    proptest::collection::btree_map("[a-e]", "[0-2]", 0..5).prop_map(|map| json!(map))
}

/// Whether every path of the set is in the value.
fn describes(set: &FieldSet, value: &Value) -> bool {
    set.children.iter().all(|(element, below)| match element.strip_prefix("f:") {
        Some(name) => value.get(name).is_some_and(|value| describes(below, value)),
        None => true,
    })
}

proptest! {
    #[test]
    fn applying_again_changes_nothing(live in data(), intent in data()) {
        let live = apply_config(None, "one", live, false).unwrap();
        let once = apply_config(Some(&live), "two", intent.clone(), true).unwrap();
        let twice = apply_config(Some(&once), "two", intent, false).unwrap();
        prop_assert_eq!(once, twice);
    }

    #[test]
    fn disjoint_managers_never_conflict(a in data(), b in data()) {
        let mut b = b;
        b.as_object_mut().unwrap().retain(|key, _| a.get(key).is_none());
        let live = apply_config(None, "one", a.clone(), false).unwrap();
        let both = apply_config(Some(&live), "two", b.clone(), false);
        prop_assert!(both.is_ok());
        let again = apply_config(Some(&both.unwrap()), "one", a, false);
        prop_assert!(again.is_ok());
    }

    #[test]
    fn leaving_a_field_out_removes_exactly_it(mut intent in data(), pick in any::<prop::sample::Index>()) {
        let live = apply_config(None, "one", intent.clone(), false).unwrap();
        let fields = intent.as_object_mut().unwrap();
        prop_assume!(fields.len() > 1);
        let name = fields.keys().nth(pick.index(fields.len())).unwrap().clone();
        fields.remove(&name);
        let after = apply_config(Some(&live), "one", intent.clone(), false).unwrap();
        prop_assert_eq!(&after["data"], &intent);
    }

    #[test]
    fn owned_fields_exist(steps in proptest::collection::vec((data(), "[xyz]", any::<bool>()), 1..6)) {
        let mut live = apply_config(None, "x", json!({}), false).unwrap();
        for (data, manager, by_apply) in steps {
            live = if by_apply {
                apply_config(Some(&live), &manager, data, true).unwrap()
            } else {
                let mut after = live.clone();
                after["data"] = data;
                managed::update(Some(&live), &mut after, &schema("ConfigMap"), &writer(&manager));
                after
            };
            for entry in managed::read(&live) {
                prop_assert!(describes(&entry.fields, &live), "{:?} {}", entry.fields.paths(), live);
            }
        }
    }
}
