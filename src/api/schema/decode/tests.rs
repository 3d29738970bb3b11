//! Decoding against what a Kubernetes API server answers.
#![allow(clippy::unwrap_used)]

use super::*;
use crate::api::registry::Registry;
use serde_json::json;

const STRICT: FieldValidation = FieldValidation::Strict;

fn read(kind: &str, text: &str, validation: FieldValidation) -> Result<Decoded, ApiError> {
    let registry = Registry::builtin();
    let group = match kind {
        "Deployment" => "apps",
        "Lease" => "coordination.k8s.io",
        "PodDisruptionBudget" => "policy",
        _ => "",
    };
    let resource = registry.by_kind(group, "v1", kind).unwrap();
    registry.decode(&resource, &Body { bytes: text.as_bytes(), encoding: Encoding::Json, validation })
}

fn object(kind: &str, text: &str) -> Value {
    read(kind, text, STRICT).unwrap().object
}

fn error(kind: &str, text: &str) -> String {
    let error = read(kind, text, STRICT).unwrap_err();
    assert_eq!((error.code, error.reason), (400, "BadRequest"));
    error.message
}

#[test]
fn a_good_object_is_kept() {
    let pod = json!({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "a", "labels": {"x": ""}},
        "spec": {"containers": [{"name": "c", "image": "i", "ports": [{"containerPort": 80}],
            "resources": {"limits": {"cpu": "1", "memory": "1Gi"}}, "livenessProbe": {"httpGet": {"port": "web"}}}],
            "volumes": [{"name": "v", "emptyDir": {}}, {"name": "w", "configMap": {"name": "m", "defaultMode": 0}}]}});
    assert_eq!(object("Pod", &pod.to_string()), pod);
}

#[test]
fn what_go_drops_is_dropped() {
    let text = r#"{"metadata":{"name":"a","creationTimestamp":null,"labels":{},"annotations":{"k":null}},
        "spec":{"hostNetwork":false,"nodeName":"","containers":[],"tolerations":[],"securityContext":{},
        "terminationGracePeriodSeconds":0,"enableServiceLinks":false,"volumes":[{"name":"v","emptyDir":null}]},"status":{}}"#;
    let expected = json!({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "a", "annotations": {"k": ""}},
        "spec": {"containers": [], "securityContext": {}, "terminationGracePeriodSeconds": 0,
            "enableServiceLinks": false, "volumes": [{"name": "v"}]}, "status": {}});
    assert_eq!(object("Pod", text), expected);
}

#[test]
fn values_take_their_stored_form() {
    let text = r#"{"metadata":{"name":"a","creationTimestamp":"2026-01-02T04:04:05.5+01:00"},
        "spec":{"activeDeadlineSeconds":30.0,"containers":[{"name":"c","resources":{"requests":{"cpu":0.5,"memory":"1024Mi","x":2}},
        "ports":[{"containerPort":8e1}]}]}}"#;
    let pod = object("Pod", text);
    assert_eq!(pod["metadata"]["creationTimestamp"], "2026-01-02T03:04:05Z");
    assert_eq!(
        pod["spec"]["containers"][0]["resources"]["requests"],
        json!({"cpu": "500m", "memory": "1Gi", "x": "2"})
    );
    assert_eq!(pod["spec"]["containers"][0]["ports"][0]["containerPort"].as_i64(), Some(80));
    assert_eq!(pod["spec"]["activeDeadlineSeconds"].as_i64(), Some(30));
    assert_eq!(object("Secret", r#"{"data":{"a":"aGk=\n"}}"#)["data"]["a"], "aGk=");
    let lease = object("Lease", r#"{"spec":{"renewTime":"2026-01-02T03:04:05Z"}}"#);
    assert_eq!(lease["spec"]["renewTime"], "2026-01-02T03:04:05.000000Z");
}

#[test]
fn strict_validation_names_every_field() {
    let text = r#"{"metadata":{"name":"a","name":"b"},"bogus":{"deep":1},
        "spec":{"containers":[{"name":"c"},{"name":"d","imagee":"x","Image":"y"}],"nodeSelector":{"k":"1","k":"2"}}}"#;
    assert_eq!(
        error("Pod", text),
        "Pod in version \"v1\" cannot be handled as a Pod: strict decoding error: duplicate field \"metadata.name\", \
         unknown field \"bogus\", unknown field \"spec.containers[1].imagee\", unknown field \"spec.containers[1].Image\", \
         duplicate field \"spec.nodeSelector.k\""
    );
    let warned = read("Pod", text, FieldValidation::Warn).unwrap();
    assert_eq!(warned.warnings.len(), 5);
    assert_eq!(warned.warnings[1], "unknown field \"bogus\"");
    assert!(warned.object.get("bogus").is_none());
    assert_eq!(warned.object["metadata"]["name"], "b");
    let ignored = read("Pod", text, FieldValidation::Ignore).unwrap();
    assert_eq!((ignored.object, ignored.warnings.len()), (warned.object, 0));
    assert!(error("Pod", r#"{"spec":{"hostPID":false,"hostPID":true}}"#).contains("duplicate field \"spec.hostPID\""));
}

#[test]
fn wrong_types_read_as_go_says_it() {
    for (kind, text, why) in [
        (
            "Pod",
            r#"{"spec":{"containers":"x"}}"#,
            "json: cannot unmarshal string into Go struct field PodSpec.spec.containers of type []v1.Container",
        ),
        (
            "Deployment",
            r#"{"spec":{"replicas":"3"}}"#,
            "json: cannot unmarshal string into Go struct field DeploymentSpec.spec.replicas of type int32",
        ),
        (
            "Deployment",
            r#"{"spec":{"replicas":3000000000}}"#,
            "json: cannot unmarshal number 3000000000 into Go struct field DeploymentSpec.spec.replicas of type int32",
        ),
        (
            "Deployment",
            r#"{"spec":{"replicas":1.5}}"#,
            "json: cannot unmarshal number 1.5 into Go struct field DeploymentSpec.spec.replicas of type int32",
        ),
        (
            "ConfigMap",
            r#"{"data":{"a":1}}"#,
            "json: cannot unmarshal number into Go struct field ConfigMap.data of type string",
        ),
        (
            "Pod",
            r#"{"spec":{"containers":[{"env":[{"name":"a","value":true}]}]}}"#,
            "json: cannot unmarshal bool into Go struct field EnvVar.spec.containers.env.value of type string",
        ),
        (
            "Pod",
            r#"{"metadata":[]}"#,
            "json: cannot unmarshal array into Go struct field Pod.metadata of type v1.ObjectMeta",
        ),
        (
            "Pod",
            r#"{"spec":{"containers":[{"resources":{"limits":{"cpu":"1 core"}}}]}}"#,
            "quantities must match the regular expression '^([+-]?[0-9.]+)([eEinumkKMGTP]*[-+]?[0-9]*)$'",
        ),
        (
            "Pod",
            r#"{"spec":{"containers":[{"resources":{"limits":{"cpu":true}}}]}}"#,
            "quantities must match the regular expression '^([+-]?[0-9.]+)([eEinumkKMGTP]*[-+]?[0-9]*)$'",
        ),
        ("Secret", r#"{"data":{"a":"abc!"}}"#, "illegal base64 data at input byte 3"),
        ("Secret", r#"{"data":{"a":"hello"}}"#, "illegal base64 data at input byte 4"),
        (
            "PodDisruptionBudget",
            r#"{"spec":{"minAvailable":true}}"#,
            "json: cannot unmarshal bool into Go value of type int32",
        ),
        (
            "Pod",
            r#"{"metadata":{"deletionTimestamp":"soon"}}"#,
            "parsing time \"soon\" as \"2006-01-02T15:04:05Z07:00\": cannot parse \"soon\" as \"2006\"",
        ),
    ] {
        assert_eq!(error(kind, text), format!("{kind} in version \"v1\" cannot be handled as a {kind}: {why}"));
    }
}

#[test]
fn another_kind_is_refused() {
    let deployment = r#"{"apiVersion":"apps/v1","kind":"Deployment","spec":{"replicas":1}}"#;
    let version = "the API version in the data (apps/v1) does not match the expected API version (v1)";
    assert_eq!(error("Pod", deployment), version);
    assert_eq!(
        error("Pod", r#"{"apiVersion":"v1","kind":"ConfigMap","data":{}}"#),
        "ConfigMap in version \"v1\" cannot be handled as a Pod: converting (v1.ConfigMap) to (v1.Pod): unknown conversion"
    );
    assert_eq!(error("Pod", r#"{"apiVersion":"apps/v1","spec":{"nodeName":7}}"#), version);
}

#[test]
fn what_is_no_json_is_quoted() {
    assert_eq!(
        error("ConfigMap", "{\"data\": nonsense and more of it}"),
        "the object provided is unrecognized (must be of type ConfigMap): couldn't get version/kind; json parse error: \
         expected ident at line 1 column 11 ({\"data\": nonsense and more of  ...)"
    );
    assert!(error("ConfigMap", "").ends_with("(<empty>)"));
    assert!(error("ConfigMap", "<html>").ends_with("(3c68746d6c3e)"));
    assert!(error("ConfigMap", "{} x").contains("trailing characters"));
    assert!(error("ConfigMap", "[]").contains("cannot unmarshal array into Go value of type v1.ConfigMap"));
    let deep = format!(
        "{{\"metadata\":{{\"managedFields\":[{{\"fieldsV1\":{}1{}}}]}}}}",
        "{\"a\":".repeat(10_000),
        "}".repeat(10_000)
    );
    assert!(error("ConfigMap", &deep).contains("recursion limit"));
}

#[test]
fn yaml_and_patched_objects_take_the_same_way() {
    let registry = Registry::builtin();
    let resource = registry.resource("", "v1", "pods").unwrap();
    let yaml = b"kind: Pod\nspec:\n  containers:\n  - name: c\n    stdin: no\n    bogus: 1\n    ports:\n    - containerPort: 0o120\n";
    let body = Body { bytes: yaml, encoding: Encoding::Yaml, validation: FieldValidation::Warn };
    let decoded = registry.decode(&resource, &body).unwrap();
    assert_eq!(decoded.warnings, ["unknown field \"spec.containers[0].bogus\""]);
    assert_eq!(decoded.object["spec"]["containers"][0], json!({"name": "c", "ports": [{"containerPort": 80}]}));

    let patched = json!({"kind": "Pod", "spec": {"hostNetwork": false, "nodeName": null, "priority": 1.0}});
    let conformed = conform(&resource.expected(), patched, STRICT).unwrap();
    assert_eq!(conformed.object, json!({"apiVersion": "v1", "kind": "Pod", "spec": {"priority": 1}}));
    let wrong = conform(&resource.expected(), json!({"kind": "Pod", "spec": 1}), STRICT).unwrap_err();
    assert!(wrong.message.ends_with("cannot unmarshal number into Go struct field Pod.spec of type v1.PodSpec"));
}

#[test]
fn bodies_that_are_no_resource() {
    let registry = Registry::builtin();
    let read = |gvk, text: &str| {
        registry.decode_kind(gvk, &Body { bytes: text.as_bytes(), encoding: Encoding::Json, validation: STRICT })
    };
    let options = read(
        ("", "v1", "DeleteOptions"),
        r#"{"apiVersion":"policy/v1","kind":"DeleteOptions","gracePeriodSeconds":0}"#,
    );
    assert_eq!(options.unwrap().object["gracePeriodSeconds"], 0);
    let scale = read(("autoscaling", "v1", "Scale"), r#"{"spec":{"replicas":3}}"#).unwrap();
    assert_eq!(scale.object["apiVersion"], "autoscaling/v1");
    assert!(read(("x", "v1", "Nope"), "{}").is_err());
}

#[test]
fn an_application_is_read_by_its_own_schema() {
    let registry = Registry::builtin();
    let resource = registry.by_kind("selkie.dev", "v1alpha1", "Application").unwrap();
    let text = json!({"spec": {"source": {"repoURL": "u", "ref": "main"}, "interval": "1m30s", "prune": false},
        "status": {"anything": [1, {"goes": null}]}});
    let read = |value: &Value| {
        let text = value.to_string();
        registry.decode(&resource, &Body { bytes: text.as_bytes(), encoding: Encoding::Json, validation: STRICT })
    };
    let decoded = read(&text).unwrap().object;
    assert_eq!((&decoded["spec"], &decoded["status"]), (&text["spec"], &text["status"]));
    assert!(
        read(&json!({"spec": {"interval": "often"}})).unwrap_err().message.contains("time: invalid duration \"often\"")
    );
    assert!(read(&json!({"spec": {"source": {"url": "x"}}})).is_err());
}
