//! Validation of probes and lifecycle hooks.

use super::validate::Context;
use crate::api::kinds::json::{has, list, text};
use crate::api::kinds::names;
use serde_json::Value;

const ACTIONS: &[&str] = &["exec", "httpGet", "tcpSocket", "grpc", "sleep"];
const HEADER: &str = "a valid HTTP header must consist of alphanumeric characters or '-' (e.g. 'X-Header-Name', regex \
    used for validation is '[-A-Za-z0-9]+')";

/// Everything wrong with the probes and hooks of a container. Init containers have none, unless
/// they are sidecars (restartPolicy Always).
pub fn validate(container: &Value, kind: &str, field: &str, cx: &mut Context) {
    let plain_init = kind == "initContainers" && text(container, &["restartPolicy"]) != "Always";
    for name in ["livenessProbe", "readinessProbe", "startupProbe"] {
        if !has(container, name) {
            continue;
        }
        let field = format!("{field}.{name}");
        if plain_init {
            let why = "may not be set for init containers without restartPolicy=Always";
            cx.errors.push(crate::api::error::FieldError::forbidden(field, why));
            continue;
        }
        probe(&container[name], name, &field, cx);
    }
    if !has(container, "lifecycle") {
        return;
    }
    if plain_init {
        let why = "may not be set for init containers without restartPolicy=Always";
        cx.errors.push(crate::api::error::FieldError::forbidden(format!("{field}.lifecycle"), why));
        return;
    }
    for hook in ["postStart", "preStop"] {
        if has(&container["lifecycle"], hook) {
            action(&container["lifecycle"][hook], &format!("{field}.lifecycle.{hook}"), cx);
        }
    }
}

fn probe(probe: &Value, name: &str, field: &str, cx: &mut Context) {
    action(probe, field, cx);
    for number in ["initialDelaySeconds", "timeoutSeconds", "periodSeconds", "successThreshold", "failureThreshold"] {
        cx.at_least(format!("{field}.{number}"), &probe[number], 0);
    }
    if name != "readinessProbe" && probe["successThreshold"].as_i64().is_some_and(|n| n != 1) {
        cx.invalid(format!("{field}.successThreshold"), &probe["successThreshold"], "must be 1");
    }
    let grace = (format!("{field}.terminationGracePeriodSeconds"), &probe["terminationGracePeriodSeconds"]);
    cx.at_least(grace.0.clone(), grace.1, 1);
    if name == "readinessProbe" && !grace.1.is_null() {
        cx.invalid(grace.0, grace.1, "must not be set for readinessProbes");
    }
}

fn action(action: &Value, field: &str, cx: &mut Context) {
    let mut found = 0;
    for kind in ACTIONS.iter().filter(|kind| has(action, kind)) {
        found += 1;
        let field_of = format!("{field}.{kind}");
        if found > 1 {
            let why = "may not specify more than 1 handler type";
            cx.errors.push(crate::api::error::FieldError::forbidden(field_of, why));
            continue;
        }
        let body = &action[*kind];
        match *kind {
            "exec" if list(body, &["command"]).is_empty() => cx.required(format!("{field_of}.command"), ""),
            "httpGet" => {
                port(&body["port"], &format!("{field_of}.port"), cx);
                cx.one_of(format!("{field_of}.scheme"), &body["scheme"], &["HTTP", "HTTPS"]);
                for header in list(body, &["httpHeaders"]) {
                    let name = text(header, &["name"]);
                    if name.is_empty() || !name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-') {
                        cx.invalid(format!("{field_of}.httpHeaders"), &name.into(), HEADER);
                    }
                }
            }
            "tcpSocket" | "grpc" => port(&body["port"], &format!("{field_of}.port"), cx),
            _ => {}
        }
    }
    if found == 0 {
        cx.required(field.to_string(), "must specify a handler type");
    }
}

fn port(port: &Value, field: &str, cx: &mut Context) {
    match port {
        Value::String(name) => cx.names(field, port, names::port_name(name)),
        other => {
            if let Some(why) = names::port_number(other.as_i64().unwrap_or(0)) {
                cx.invalid(field.to_string(), &other.as_i64().unwrap_or(0).into(), why);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn wrong(kind: &str, probe: Value) -> Vec<String> {
        let mut cx = Context::new();
        validate(&json!({"name": "c", kind: probe}), "containers", "c", &mut cx);
        cx.errors.into_iter().map(|error| format!("{}: {}", error.field, error.detail)).collect()
    }

    #[test]
    fn every_handler_is_taken_and_its_mistakes_are_not() {
        for handler in [
            json!({"grpc": {"port": 5000, "service": ""}}),
            json!({"grpc": {"port": 65535, "service": "a.b/c"}}),
            json!({"httpGet": {"port": "web", "path": "/", "scheme": "HTTPS", "httpHeaders": [{"name": "X-A", "value": ""}]}}),
            json!({"tcpSocket": {"port": 1}, "terminationGracePeriodSeconds": 1}),
            json!({"exec": {"command": ["true"]}, "initialDelaySeconds": 0}),
        ] {
            assert_eq!(wrong("livenessProbe", handler), [""; 0]);
        }
        let said = wrong("livenessProbe", json!({"grpc": {"port": 0}, "terminationGracePeriodSeconds": 0}));
        let [port, grace] = said.as_slice() else { panic!("{said:?}") };
        assert!(port.starts_with("c.livenessProbe.grpc.port: ") && port.ends_with("between 1 and 65535, inclusive"));
        assert!(grace.ends_with("must be greater than 0"), "{grace}");
        let said = wrong("readinessProbe", json!({"exec": {"command": ["true"]}, "terminationGracePeriodSeconds": 3}));
        assert!(said.len() == 1 && said[0].ends_with("must not be set for readinessProbes"), "{said:?}");
        let headers = json!([{"name": "a b", "value": ""}, {"name": "", "value": ""}]);
        let said = wrong("startupProbe", json!({"httpGet": {"port": 80, "httpHeaders": headers}}));
        assert!(said.len() == 2 && said.iter().all(|error| error.contains(HEADER)), "{said:?}");
        let said = wrong("startupProbe", json!({"grpc": {"port": 80}, "tcpSocket": {"port": 80}}));
        assert!(said.len() == 1 && said[0].contains("may not specify more than 1 handler type"), "{said:?}");
    }
}
