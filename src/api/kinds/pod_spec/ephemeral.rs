//! Validation of ephemeral containers: those that join a running pod to look at it.

use super::containers::{self, Shared};
use super::validate::Context;
use crate::api::error::FieldError;
use crate::api::kinds::json::{list, text};
use serde_json::Value;
use std::collections::BTreeSet;

/// Fields of a container that none that joins may have: nothing is to rely on it.
const REFUSED: [&str; 9] = [
    "ports",
    "resources",
    "resizePolicy",
    "restartPolicy",
    "restartPolicyRules",
    "livenessProbe",
    "readinessProbe",
    "startupProbe",
    "lifecycle",
];
const WHY: &str = "cannot be set for an Ephemeral Container";

pub fn validate<'a>(spec: &'a Value, path: &str, volumes: &'a BTreeSet<&'a str>, cx: &mut Context) {
    let others = ["containers", "initContainers"].into_iter().flat_map(|kind| list(spec, &[kind]));
    let others: BTreeSet<&str> = others.map(|container| text(container, &["name"])).collect();
    let mut shared = Shared { spec, volumes, names: others.clone(), host_ports: BTreeSet::new() };
    for (i, container) in list(spec, &["ephemeralContainers"]).iter().enumerate() {
        let field = format!("{path}.ephemeralContainers[{i}]");
        containers::common(container, "ephemeralContainers", &field, &mut shared, cx);
        let target = text(container, &["targetContainerName"]);
        if !target.is_empty() && !others.contains(target) {
            let field = format!("{field}.targetContainerName");
            cx.errors.push(FieldError::not_found(field, &container["targetContainerName"]));
        }
        for name in REFUSED.iter().filter(|name| is_set(&container[**name])) {
            cx.errors.push(FieldError::forbidden(format!("{field}.{name}"), WHY));
        }
        for (j, mount) in list(container, &["volumeMounts"]).iter().enumerate() {
            for name in ["subPath", "subPathExpr"].iter().filter(|name| is_set(&mount[**name])) {
                cx.errors.push(FieldError::forbidden(format!("{field}.volumeMounts[{j}].{name}"), WHY));
            }
        }
    }
}

fn is_set(value: &Value) -> bool {
    match value {
        Value::Null => false,
        Value::Object(map) => map.values().any(is_set),
        Value::Array(list) => !list.is_empty(),
        Value::String(text) => !text.is_empty(),
        _ => true,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn what_joins_a_pod_has_little() {
        let wrong = |container: Value| {
            let spec = json!({"containers": [{"name": "c"}], "ephemeralContainers": [container]});
            let mut cx = Context::new();
            let volumes = BTreeSet::from(["v"]);
            validate(&spec, "spec", &volumes, &mut cx);
            cx.errors.into_iter().map(|error| format!("{}: {}", error.field, error.detail)).collect::<Vec<_>>()
        };
        let ok = json!({"name": "d", "image": "i", "resources": {}, "targetContainerName": "c"});
        assert_eq!(wrong(ok), [""; 0]);
        let path = "spec.ephemeralContainers[0]";
        assert_eq!(
            wrong(json!({"name": "c", "image": "i", "targetContainerName": "d", "ports": [{"containerPort": 1}],
                "resources": {"limits": {"cpu": "1"}}, "volumeMounts": [{"name": "v", "mountPath": "/v", "subPath": "s"}]})),
            [
                format!("{path}.name: Duplicate value: \"c\""),
                format!("{path}.targetContainerName: Not found: \"d\""),
                format!("{path}.ports: Forbidden: {WHY}"),
                format!("{path}.resources: Forbidden: {WHY}"),
                format!("{path}.volumeMounts[0].subPath: Forbidden: {WHY}"),
            ]
        );
        assert_eq!(wrong(json!({"name": "d"})), [format!("{path}.image: Required value")]);
    }
}
