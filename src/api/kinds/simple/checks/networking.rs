//! Ingresses.

use crate::api::error::FieldError;
use crate::api::kinds::json::{integer, list, text};
use crate::api::kinds::names;
use crate::api::kinds::pod_spec::Context;
use serde_json::{Value, json};

pub fn ingress(object: &Value) -> Vec<FieldError> {
    let (mut cx, spec) = (Context::new(), &object["spec"]);
    let rules = list(spec, &["rules"]);
    if rules.is_empty() && spec["defaultBackend"].is_null() {
        cx.invalid("spec".into(), &json!([]), "either `defaultBackend` or `rules` must be specified");
    }
    if !spec["defaultBackend"].is_null() {
        backend(&spec["defaultBackend"], "spec.defaultBackend", &mut cx);
    }
    for (i, rule) in rules.iter().enumerate() {
        let host = text(rule, &["host"]);
        let name = host.strip_prefix("*.").unwrap_or(host);
        if !name.is_empty() {
            cx.names(&format!("spec.rules[{i}].host"), &rule["host"], names::subdomain(name));
        }
        let http = &rule["http"];
        if !http.is_null() && list(http, &["paths"]).is_empty() {
            cx.required(format!("spec.rules[{i}].http.paths"), "");
        }
        for (j, path) in list(http, &["paths"]).iter().enumerate() {
            self::path(path, &format!("spec.rules[{i}].http.paths[{j}]"), &mut cx);
        }
    }
    cx.errors
}

fn path(path: &Value, field: &str, cx: &mut Context) {
    let kinds = ["Exact", "ImplementationSpecific", "Prefix"];
    match text(path, &["pathType"]) {
        "" => cx.required(format!("{field}.pathType"), "pathType must be specified"),
        _ => cx.one_of(format!("{field}.pathType"), &path["pathType"], &kinds),
    }
    let given = text(path, &["path"]);
    let free = text(path, &["pathType"]) == "ImplementationSpecific" && given.is_empty();
    if !given.starts_with('/') && !free {
        cx.invalid(format!("{field}.path"), &given.into(), "must be an absolute path");
    }
    backend(&path["backend"], &format!("{field}.backend"), cx);
}

fn backend(backend: &Value, field: &str, cx: &mut Context) {
    let (service, resource) = (&backend["service"], &backend["resource"]);
    if service.is_null() && resource.is_null() {
        cx.required(field.into(), "must specify a backend: a service or a resource");
    }
    if !service.is_null() && !resource.is_null() {
        cx.invalid(field.into(), &"".into(), "cannot set both resource and service backends");
    }
    if service.is_null() {
        return;
    }
    match text(service, &["name"]) {
        "" => cx.required(format!("{field}.service.name"), ""),
        name => cx.names(&format!("{field}.service.name"), &service["name"], names::label_1035(name)),
    }
    let port = &service["port"];
    match (text(port, &["name"]), integer(port, &["number"]).unwrap_or(0)) {
        ("", 0) => cx.required(field.into(), "port name or number is required"),
        ("", number) => {
            if let Some(why) = names::port_number(number) {
                cx.invalid(format!("{field}.service.port.number"), &number.into(), why);
            }
        }
        (_, number) if number != 0 => cx.invalid(field.into(), &"".into(), "cannot set both port name & port number"),
        (name, _) => cx.names(&format!("{field}.service.port.name"), &port["name"], names::port_name(name)),
    }
}
