//! The table rows of networking, storage and autoscaling kinds.

use crate::api::kinds::json::{list, text};
use crate::api::kinds::table;
use crate::api::storage::IS_DEFAULT_CLASS;
use jiff::Timestamp;
use serde_json::Value;

/// Items shown before the rest is only counted.
const SHOWN: usize = 3;

fn some(items: &[String], shown: usize) -> String {
    let head = items[..items.len().min(shown)].join(",");
    if items.len() > shown { format!("{head} + {} more...", items.len() - shown) } else { head }
}

pub fn ingress(object: &Value, now: Timestamp) -> Vec<Value> {
    let spec = &object["spec"];
    let class = match text(spec, &["ingressClassName"]) {
        "" => text(&object["metadata"]["annotations"], &["kubernetes.io/ingress.class"]),
        class => class,
    };
    let rules = list(spec, &["rules"]).iter();
    let hosts: Vec<String> = rules.map(|rule| text(rule, &["host"]).to_string()).filter(|h| !h.is_empty()).collect();
    let hosts = if hosts.is_empty() { "*".to_string() } else { some(&hosts, SHOWN) };
    let balanced = list(object, &["status", "loadBalancer", "ingress"]).iter();
    let addresses = balanced.map(|at| match text(at, &["ip"]) {
        "" => text(at, &["hostname"]),
        ip => ip,
    });
    let ports = if list(spec, &["tls"]).is_empty() { "80" } else { "80, 443" };
    vec![
        table::name(object),
        table::or_none(class),
        hosts.into(),
        addresses.collect::<Vec<_>>().join(",").into(),
        ports.into(),
        table::age(object, now),
    ]
}

pub fn ingress_class(object: &Value, now: Timestamp) -> Vec<Value> {
    let parameters = &object["spec"]["parameters"];
    let shown = match (text(parameters, &["apiGroup"]), text(parameters, &["kind"]), text(parameters, &["name"])) {
        (_, "", _) => String::new(),
        ("", kind, name) => format!("{kind}/{name}"),
        (group, kind, name) => format!("{kind}.{group}/{name}"),
    };
    let controller = text(object, &["spec", "controller"]).into();
    vec![table::name(object), controller, table::or_none(&shown), table::age(object, now)]
}

pub fn network_policy(object: &Value, now: Timestamp) -> Vec<Value> {
    let selector = table::selector(&object["spec"]["podSelector"]);
    vec![table::name(object), selector.into(), table::age(object, now)]
}

pub fn storage_class(object: &Value, now: Timestamp) -> Vec<Value> {
    let mark = if text(&object["metadata"]["annotations"], &[IS_DEFAULT_CLASS]) == "true" { " (default)" } else { "" };
    vec![
        format!("{}{mark}", text(object, &["metadata", "name"])).into(),
        text(object, &["provisioner"]).into(),
        text(object, &["reclaimPolicy"]).into(),
        text(object, &["volumeBindingMode"]).into(),
        (object["allowVolumeExpansion"] == Value::Bool(true)).to_string().into(),
        table::age(object, now),
    ]
}

pub fn autoscaler(object: &Value, now: Timestamp) -> Vec<Value> {
    let spec = &object["spec"];
    let target = &spec["scaleTargetRef"];
    let current = list(object, &["status", "currentMetrics"]);
    let metrics = list(spec, &["metrics"]).iter().enumerate();
    let targets: Vec<String> = metrics.map(|(i, wanted)| metric(wanted, current.get(i))).collect();
    let least = table::number(spec, &["minReplicas"]);
    vec![
        table::name(object),
        format!("{}/{}", text(target, &["kind"]), text(target, &["name"])).into(),
        if targets.is_empty() { "<none>".into() } else { some(&targets, 2).replace(',', ", ").into() },
        if least == 0 { "<unset>".into() } else { least.to_string().into() },
        table::number(spec, &["maxReplicas"]).to_string().into(),
        table::number(object, &["status", "currentReplicas"]).to_string().into(),
        table::age(object, now),
    ]
}

/// `cpu: 10%/80%`
fn metric(wanted: &Value, current: Option<&Value>) -> String {
    let kind = if wanted["type"] == "ContainerResource" { "containerResource" } else { "resource" };
    let source = &wanted[kind];
    let found = current.map(|current| &current[kind]["current"]).unwrap_or(&Value::Null);
    let (target, now) = match source["target"]["averageUtilization"].as_i64() {
        Some(percent) => (format!("{percent}%"), found["averageUtilization"].as_i64().map(|now| format!("{now}%"))),
        None => {
            (text(source, &["target", "averageValue"]).to_string(), found["averageValue"].as_str().map(str::to_string))
        }
    };
    let name = text(source, &["name"]);
    let prefix = if name.is_empty() { String::new() } else { format!("{name}: ") };
    format!("{prefix}{}/{target}", now.unwrap_or_else(|| "<unknown>".into()))
}
