//! Validation of probes and lifecycle hooks.

use super::validate::Context;
use crate::api::kinds::json::{has, list, text};
use crate::api::kinds::names;
use serde_json::Value;

const ACTIONS: &[&str] = &["exec", "httpGet", "tcpSocket", "grpc", "sleep"];

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
