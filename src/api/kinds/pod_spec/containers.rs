//! Validation of a pod's containers: names, images, ports, environment, mounts, resources.

use super::{probes, validate::Context};
use crate::api::error::FieldError;
use crate::api::kinds::json::{has, integer, list, text};
use crate::api::kinds::{names, resources};
use serde_json::Value;
use std::collections::BTreeSet;

/// What the containers of a pod share and take.
pub struct Shared<'a> {
    pub spec: &'a Value,
    /// The names declared there.
    pub volumes: &'a BTreeSet<&'a str>,
    pub names: BTreeSet<&'a str>,
    pub host_ports: BTreeSet<String>,
}

/// Everything wrong with the containers of a pod spec.
pub fn validate<'a>(spec: &'a Value, path: &str, volumes: &'a BTreeSet<&'a str>, cx: &mut Context) {
    let mut shared = Shared { spec, volumes, names: BTreeSet::new(), host_ports: BTreeSet::new() };
    if list(spec, &["containers"]).is_empty() {
        cx.required(format!("{path}.containers"), "");
    }
    for kind in ["containers", "initContainers"] {
        for (i, container) in list(spec, &[kind]).iter().enumerate() {
            let field = format!("{path}.{kind}[{i}]");
            common(container, kind, &field, &mut shared, cx);
            resources::validate(&container["resources"], &format!("{field}.resources"), cx);
            resize_policy(container, &field, text(spec, &["restartPolicy"]), cx);
            probes::validate(container, kind, &field, cx);
        }
    }
}

/// What containers of all sorts have.
pub fn common<'a>(container: &'a Value, kind: &str, field: &str, shared: &mut Shared<'a>, cx: &mut Context) {
    name(container, field, &mut shared.names, cx);
    image(container, field, cx);
    ports(container, field, shared.spec, &mut shared.host_ports, cx);
    environment(container, field, cx);
    mounts(container, field, shared.volumes, cx);
    policies(container, kind, field, cx);
}

fn name<'a>(container: &'a Value, field: &str, seen: &mut BTreeSet<&'a str>, cx: &mut Context) {
    let name = text(container, &["name"]);
    let field = format!("{field}.name");
    if name.is_empty() {
        cx.required(field, "");
        return;
    }
    cx.names(&field, &container["name"], names::label(name));
    if !seen.insert(name) {
        cx.errors.push(FieldError::duplicate(field, &container["name"]));
    }
}

fn image(container: &Value, field: &str, cx: &mut Context) {
    let image = text(container, &["image"]);
    if image.is_empty() {
        cx.required(format!("{field}.image"), "");
    } else if image.trim() != image {
        let why = "must not have leading or trailing whitespace";
        cx.invalid(format!("{field}.image"), &container["image"], why);
    }
}

fn ports(container: &Value, field: &str, spec: &Value, host_ports: &mut BTreeSet<String>, cx: &mut Context) {
    let host_network = spec["hostNetwork"] == Value::Bool(true);
    let mut named = BTreeSet::new();
    for (i, port) in list(container, &["ports"]).iter().enumerate() {
        let field = format!("{field}.ports[{i}]");
        let name = text(port, &["name"]);
        if !name.is_empty() {
            let wrong = names::port_name(name);
            cx.names(&format!("{field}.name"), &port["name"], wrong);
            if !named.insert(name) {
                cx.errors.push(FieldError::duplicate(format!("{field}.name"), &port["name"]));
            }
        }
        let number = integer(port, &["containerPort"]).unwrap_or(0);
        if number == 0 {
            cx.required(format!("{field}.containerPort"), "");
        } else if let Some(why) = names::port_number(number) {
            cx.invalid(format!("{field}.containerPort"), &port["containerPort"], why);
        }
        let host = integer(port, &["hostPort"]).unwrap_or(0);
        if host != 0 {
            if let Some(why) = names::port_number(host) {
                cx.invalid(format!("{field}.hostPort"), &port["hostPort"], why);
            } else if host_network && host != number {
                let why = "must match `containerPort` when `hostNetwork` is true";
                cx.invalid(format!("{field}.containerPort"), &port["containerPort"], why);
            }
            let taken = format!("{}/{}/{host}", text(port, &["protocol"]), text(port, &["hostIP"]));
            if !host_ports.insert(taken) {
                cx.errors.push(FieldError::duplicate(format!("{field}.hostPort"), &port["hostPort"]));
            }
        }
        cx.one_of(format!("{field}.protocol"), &port["protocol"], &["SCTP", "TCP", "UDP"]);
    }
}

fn environment(container: &Value, field: &str, cx: &mut Context) {
    for (i, variable) in list(container, &["env"]).iter().enumerate() {
        let field = format!("{field}.env[{i}]");
        match text(variable, &["name"]) {
            "" => cx.required(format!("{field}.name"), ""),
            name => cx.names(&format!("{field}.name"), &variable["name"], names::environment(name)),
        }
        if has(variable, "valueFrom") {
            value_source(variable, &format!("{field}.valueFrom"), cx);
        }
    }
    for (i, source) in list(container, &["envFrom"]).iter().enumerate() {
        let field = format!("{field}.envFrom[{i}]");
        let sources = ["configMapRef", "secretRef"];
        match sources.iter().filter(|kind| has(source, kind)).count() {
            1 => {}
            0 => cx.invalid(field.clone(), &"".into(), "must specify one of: `configMapRef` or `secretRef`"),
            _ => cx.invalid(field.clone(), &"".into(), "may not have more than one field specified at a time"),
        }
        for kind in sources {
            if has(source, kind) && text(source, &[kind, "name"]).is_empty() {
                cx.required(format!("{field}.{kind}.name"), "");
            }
        }
    }
}

fn value_source(variable: &Value, field: &str, cx: &mut Context) {
    const SOURCES: &[&str] = &["fieldRef", "resourceFieldRef", "configMapKeyRef", "secretKeyRef", "fileKeyRef"];
    let source = &variable["valueFrom"];
    match SOURCES.iter().filter(|kind| has(source, kind)).count() {
        0 => cx.invalid(
            field.into(),
            &"".into(),
            "must specify one of: `fieldRef`, `resourceFieldRef`, `configMapKeyRef`, `fileKeyRef` or `secretKeyRef`",
        ),
        1 if !text(variable, &["value"]).is_empty() => {
            cx.invalid(field.into(), &"".into(), "may not be specified when `value` is not empty");
        }
        1 => {}
        _ => cx.invalid(field.into(), &"".into(), "may not have more than one field specified at a time"),
    }
    for kind in ["configMapKeyRef", "secretKeyRef"] {
        if has(source, kind) {
            for part in ["name", "key"] {
                if text(source, &[kind, part]).is_empty() {
                    cx.required(format!("{field}.{kind}.{part}"), "");
                }
            }
            let key = text(source, &[kind, "key"]);
            if !key.is_empty() {
                cx.names(&format!("{field}.{kind}.key"), &source[kind]["key"], names::config_key(key));
            }
        }
    }
    if has(source, "fieldRef") {
        field_reference(&source["fieldRef"], &format!("{field}.fieldRef"), cx);
    }
}

fn field_reference(reference: &Value, field: &str, cx: &mut Context) {
    const FIELDS: &[&str] = &[
        "metadata.name",
        "metadata.namespace",
        "metadata.uid",
        "spec.nodeName",
        "spec.serviceAccountName",
        "status.hostIP",
        "status.hostIPs",
        "status.podIP",
        "status.podIPs",
    ];
    // Fields of a pod that exist, but that no variable can have.
    const OTHERS: &[&str] = &[
        "metadata.annotations",
        "metadata.labels",
        "spec.hostNetwork",
        "spec.restartPolicy",
        "spec.schedulerName",
        "status.nominatedNodeName",
        "status.phase",
    ];
    let path = text(reference, &["fieldPath"]);
    let field = format!("{field}.fieldPath");
    let keyed = path
        .split_once("['")
        .is_some_and(|(map, rest)| matches!(map, "metadata.labels" | "metadata.annotations") && rest.ends_with("']"));
    if path.is_empty() {
        cx.required(field, "");
    } else if OTHERS.contains(&path) {
        cx.errors.push(FieldError::not_supported(field, &path.into(), FIELDS));
    } else if !keyed && !FIELDS.contains(&path) {
        let why = format!("error converting fieldPath: field label not supported: {path}");
        cx.invalid(field, &path.into(), &why);
    }
}

fn mounts(container: &Value, field: &str, volumes: &BTreeSet<&str>, cx: &mut Context) {
    let mut paths = BTreeSet::new();
    for (i, mount) in list(container, &["volumeMounts"]).iter().enumerate() {
        let field = format!("{field}.volumeMounts[{i}]");
        let (name, path) = (text(mount, &["name"]), text(mount, &["mountPath"]));
        if name.is_empty() {
            cx.required(format!("{field}.name"), "");
        } else if !volumes.contains(name) {
            cx.errors.push(FieldError::not_found(format!("{field}.name"), &mount["name"]));
        }
        if path.is_empty() {
            cx.required(format!("{field}.mountPath"), "");
        } else if !paths.insert(path) {
            cx.invalid(format!("{field}.mountPath"), &mount["mountPath"], "must be unique");
        }
        let sub = text(mount, &["subPath"]);
        if sub.starts_with('/') {
            cx.invalid(format!("{field}.subPath"), &mount["subPath"], "must be a relative path");
        } else if sub.split('/').any(|part| part == "..") {
            cx.invalid(format!("{field}.subPath"), &mount["subPath"], "must not contain '..'");
        }
    }
}

/// How the container takes a change of its resources.
fn resize_policy(container: &Value, field: &str, restart_policy: &str, cx: &mut Context) {
    let field = format!("{field}.resizePolicy");
    let mut seen = BTreeSet::new();
    for (i, policy) in list(container, &["resizePolicy"]).iter().enumerate() {
        let name = text(policy, &["resourceName"]);
        if !seen.insert(name) {
            cx.errors.push(FieldError::duplicate(format!("{field}[{i}]"), &policy["resourceName"]));
        }
        for (key, supported) in
            [("resourceName", &["cpu", "memory"]), ("restartPolicy", &["NotRequired", "RestartContainer"])]
        {
            match text(policy, &[key]) {
                "" => cx.required(field.clone(), ""),
                _ => cx.one_of(field.clone(), &policy[key], supported),
            }
        }
        if restart_policy == "Never" && policy["restartPolicy"] != "NotRequired" {
            let why = "must be 'NotRequired' when `restartPolicy` is 'Never'";
            cx.invalid(field.clone(), &policy["restartPolicy"], why);
        }
    }
}

fn policies(container: &Value, kind: &str, field: &str, cx: &mut Context) {
    cx.one_of(format!("{field}.imagePullPolicy"), &container["imagePullPolicy"], &["Always", "IfNotPresent", "Never"]);
    cx.one_of(
        format!("{field}.terminationMessagePolicy"),
        &container["terminationMessagePolicy"],
        &["FallbackToLogsOnError", "File"],
    );
    if kind != "ephemeralContainers" {
        restarts(container, field, cx);
    }
}

/// When the container starts again, where it says so itself.
fn restarts(container: &Value, field: &str, cx: &mut Context) {
    const MOST_RULES: usize = 20;
    const MOST_CODES: usize = 255;
    let rules = list(container, &["restartPolicyRules"]);
    let policy = &container["restartPolicy"];
    match text(container, &["restartPolicy"]) {
        "" if !rules.is_empty() => {
            cx.required(format!("{field}.restartPolicy"), "must specify restartPolicy when restart rules are used");
        }
        _ => cx.one_of(format!("{field}.restartPolicy"), policy, &["Always", "Never", "OnFailure"]),
    }
    let field = format!("{field}.restartPolicyRules");
    let many = |field: &str, count: usize, most: usize, cx: &mut Context| {
        if count > most {
            cx.errors.push(FieldError::too_many(field, count, most));
        }
    };
    many(&field, rules.len(), MOST_RULES, cx);
    for (i, rule) in rules.iter().enumerate() {
        let field = format!("{field}[{i}]");
        let action = if rule["action"].is_null() { &Value::String(String::new()) } else { &rule["action"] };
        cx.one_of(format!("{field}.action"), action, &["Restart", "RestartAllContainers"]);
        let codes = &rule["exitCodes"];
        if codes.is_null() {
            cx.required(format!("{field}.exitCodes"), "must be specified");
            continue;
        }
        let operator = if codes["operator"].is_null() { &Value::String(String::new()) } else { &codes["operator"] };
        cx.one_of(format!("{field}.exitCodes.operator"), operator, &["In", "NotIn"]);
        many(&format!("{field}.exitCodes.values"), list(codes, &["values"]).len(), MOST_CODES, cx);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn rules_of_restarts_are_whole() {
        let wrong = |container: Value| {
            let mut cx = Context::new();
            restarts(&container, "c", &mut cx);
            cx.errors.into_iter().map(|error| format!("{}: {}", error.field, error.detail)).collect::<Vec<_>>()
        };
        let rule = json!({"action": "Restart", "exitCodes": {"operator": "In", "values": [42]}});
        assert_eq!(wrong(json!({"restartPolicy": "Never", "restartPolicyRules": [rule.clone()]})), [""; 0]);
        assert_eq!(
            wrong(json!({"restartPolicyRules": [rule]})),
            ["c.restartPolicy: Required value: must specify restartPolicy when restart rules are used"]
        );
        assert_eq!(
            wrong(
                json!({"restartPolicy": "Sometimes", "restartPolicyRules": [{"action": "Restart"}, {"exitCodes": {}}]})
            ),
            [
                "c.restartPolicy: Unsupported value: \"Sometimes\": supported values: \"Always\", \"Never\", \"OnFailure\"",
                "c.restartPolicyRules[0].exitCodes: Required value: must be specified",
                "c.restartPolicyRules[1].action: Unsupported value: \"\": supported values: \"Restart\", \"RestartAllContainers\"",
                "c.restartPolicyRules[1].exitCodes.operator: Unsupported value: \"\": supported values: \"In\", \"NotIn\"",
            ]
        );
        let rules = vec![json!({"action": "Restart", "exitCodes": {"operator": "In"}}); 21];
        assert_eq!(
            wrong(json!({"restartPolicy": "Never", "restartPolicyRules": rules})),
            ["c.restartPolicyRules: Too many: 21: must have at most 20 items"]
        );
    }
}
