//! The environment of containers, by example.
#![allow(clippy::unwrap_used)]
use super::*;
use serde_json::{Value, json};

fn sources() -> Sources {
    let map = json!({"data": {"color": "blue", "size": "9"}});
    let secret = json!({"data": {"password": "czNjcjN0"}});
    Sources {
        tokens: Default::default(),
        claims: Default::default(),
        config_maps: [("cm".to_string(), Some(Arc::new(serde_json::from_value(map).unwrap())))].into(),
        secrets: [("sec".to_string(), Some(Arc::new(serde_json::from_value(secret).unwrap())))].into(),
        services: [("WEB_SERVICE_HOST".to_string(), "10.96.0.1".to_string())].into(),
    }
}

fn run(container: Value) -> Result<BTreeMap<String, String>, String> {
    let container: Container = serde_json::from_value(container).unwrap();
    let pod =
        Pod { metadata: serde_json::from_value(json!({"name": "p", "namespace": "ns"})).unwrap(), ..Pod::default() };
    environment(&pod, &container, &HostFacts::default(), &sources())
}

#[test]
fn later_values_see_earlier_ones_and_services() {
    let env = run(json!({"name": "c", "env": [
        {"name": "A", "value": "1"}, {"name": "B", "value": "$(A)-$(WEB_SERVICE_HOST)-$(LATER)"},
        {"name": "LATER", "value": "x"}, {"name": "ME", "valueFrom": {"fieldRef": {"fieldPath": "metadata.name"}}}]}))
    .unwrap();
    assert_eq!(env["B"], "1-10.96.0.1-$(LATER)");
    assert_eq!(env["ME"], "p");
    assert_eq!(env["WEB_SERVICE_HOST"], "10.96.0.1");
    assert_eq!(expand_all(&["$(B)".into(), "$$(A)".into()], &env), ["1-10.96.0.1-$(LATER)", "$(A)"]);
}

#[test]
fn env_from_takes_prefixes_and_env_wins() {
    let env = run(json!({"name": "c",
        "envFrom": [{"prefix": "P_", "configMapRef": {"name": "cm"}}, {"secretRef": {"name": "sec"}},
                    {"configMapRef": {"name": "none", "optional": true}}],
        "env": [{"name": "P_size", "value": "10"}]}))
    .unwrap();
    assert_eq!((env["P_color"].as_str(), env["P_size"].as_str(), env["password"].as_str()), ("blue", "10", "s3cr3t"));
}

#[test]
fn missing_keys_are_errors_unless_optional() {
    let from = |kind: &str, name: &str, key: &str, optional: bool| {
        let reference = json!({"name": name, "key": key, "optional": optional});
        run(json!({"name": "c", "env": [{"name": "V", "valueFrom": {kind: reference}}]}))
    };
    let error = |kind, name, key| from(kind, name, key, false).unwrap_err();
    assert_eq!(error("configMapKeyRef", "none", "k"), "configmap \"none\" not found");
    assert_eq!(error("configMapKeyRef", "cm", "k"), "couldn't find key k in ConfigMap ns/cm");
    assert_eq!(error("secretKeyRef", "none", "k"), "secret \"none\" not found");
    assert_eq!(error("secretKeyRef", "sec", "k"), "couldn't find key k in Secret ns/sec");
    assert!(!from("secretKeyRef", "sec", "k", true).unwrap().contains_key("V"));
    assert_eq!(from("secretKeyRef", "sec", "password", false).unwrap()["V"], "s3cr3t");
}
