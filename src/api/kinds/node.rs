//! Nodes.

use super::json::{list, text};
use super::pod_spec::Context;
use super::{Column, Kind, names, table};
use crate::api::error::FieldError;
use jiff::Timestamp;
use serde_json::Value;
use std::collections::BTreeSet;

/// The rules of core/v1 Node.
pub struct Node;

const EFFECTS: &[&str] = &["NoSchedule", "PreferNoSchedule", "NoExecute"];

impl Kind for Node {
    /// A node registers with its status, so unlike elsewhere a create keeps it.
    fn prepare_create(&self, _object: &mut Value) {}

    fn has_status(&self) -> bool {
        true
    }

    fn validate(&self, object: &Value) -> Vec<FieldError> {
        let mut cx = Context::new();
        let mut seen = BTreeSet::new();
        for (i, taint) in list(object, &["spec", "taints"]).iter().enumerate() {
            let field = format!("spec.taints[{i}]");
            let (key, effect) = (text(taint, &["key"]), text(taint, &["effect"]));
            cx.names(&format!("{field}.key"), &taint["key"], names::qualified(key));
            cx.names(&format!("{field}.value"), &taint["value"], names::label_value(text(taint, &["value"])));
            match effect {
                "" => cx.required(format!("{field}.effect"), ""),
                _ => cx.one_of(format!("{field}.effect"), &taint["effect"], EFFECTS),
            }
            if !seen.insert((key, effect)) {
                let mut error = FieldError::duplicate(field, taint);
                error.detail.push_str(": taints must be unique by key and effect pair");
                cx.errors.push(error);
            }
        }
        cx.errors
    }

    fn field_names(&self) -> &'static [&'static str] {
        &["spec.unschedulable"]
    }

    fn fields(&self, object: &Value) -> Vec<(&'static str, String)> {
        vec![("spec.unschedulable", unschedulable(object).to_string())]
    }

    fn unknown_field(&self, field: &str) -> String {
        super::label_not_supported(field)
    }

    fn columns(&self) -> Vec<Column> {
        table::columns(
            "Name:string:name, Status:string, Roles:string, Age:string, Version:string, Internal-IP:string:1, External-IP:string:1, OS-Image:string:1, Kernel-Version:string:1, Container-Runtime:string:1",
        )
    }

    fn row(&self, object: &Value, now: Timestamp) -> Vec<Value> {
        let info = |field| match text(object, &["status", "nodeInfo", field]) {
            "" => "<unknown>".to_string(),
            text => text.to_string(),
        };
        let kernel = match text(object, &["status", "nodeInfo", "architecture"]) {
            "" => info("kernelVersion"),
            architecture => format!("{} ({architecture})", info("kernelVersion")),
        };
        vec![
            table::name(object),
            status(object).into(),
            roles(object).into(),
            table::age(object, now),
            text(object, &["status", "nodeInfo", "kubeletVersion"]).into(),
            address(object, "InternalIP"),
            address(object, "ExternalIP"),
            info("osImage").into(),
            kernel.into(),
            info("containerRuntimeVersion").into(),
        ]
    }
}

fn unschedulable(node: &Value) -> bool {
    node["spec"]["unschedulable"] == Value::Bool(true)
}

fn status(node: &Value) -> String {
    let ready = match table::condition(node, "Ready") {
        Some("True") => "Ready",
        Some(_) => "NotReady",
        None => "Unknown",
    };
    let suffix = if unschedulable(node) { ",SchedulingDisabled" } else { "" };
    format!("{ready}{suffix}")
}

fn roles(node: &Value) -> String {
    let roles: BTreeSet<&str> = node["metadata"]["labels"]
        .as_object()
        .into_iter()
        .flatten()
        .filter_map(|(key, value)| match key.strip_prefix("node-role.kubernetes.io/") {
            Some(role) => Some(role),
            None if key == "kubernetes.io/role" => value.as_str(),
            None => None,
        })
        .filter(|role| !role.is_empty())
        .collect();
    if roles.is_empty() { "<none>".into() } else { roles.into_iter().collect::<Vec<_>>().join(",") }
}

fn address(node: &Value, kind: &str) -> Value {
    let found = list(node, &["status", "addresses"]).iter().find(|address| text(address, &["type"]) == kind);
    table::or_none(found.map_or("", |address| text(address, &["address"])))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn a_cordoned_node_says_so() {
        let node = json!({"metadata": {"labels": {"node-role.kubernetes.io/worker": "", "node-role.kubernetes.io/edge": ""}},
            "spec": {"unschedulable": true}, "status": {"conditions": [{"type": "Ready", "status": "True"}],
            "nodeInfo": {"kernelVersion": "6.1", "architecture": "amd64"}}});
        assert_eq!(status(&node), "Ready,SchedulingDisabled");
        assert_eq!(roles(&node), "edge,worker");
        let row = Node.row(&node, Timestamp::UNIX_EPOCH);
        assert_eq!((&row[8], &row[9], &row[5]), (&json!("6.1 (amd64)"), &json!("<unknown>"), &json!("<none>")));
    }

    #[test]
    fn taints_are_unique() {
        let taint = json!({"key": "a", "effect": "NoSchedule"});
        assert!(Node.validate(&json!({"spec": {"taints": [taint]}})).is_empty());
        assert_eq!(Node.validate(&json!({"spec": {"taints": [taint, taint]}})).len(), 1);
    }
}
