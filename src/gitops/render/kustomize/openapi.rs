//! Schemas in the form of OpenAPI documents: what a kustomization brings along (`openapi: path:`) to say how
//! the lists of custom kinds merge, and what kustomize knows of kinds that nobody serves here.

use super::id::Gvk;
use super::merge::{Place, resolve};
use serde_json::{Value, json};
use std::sync::LazyLock;

/// The lists that merge in kinds of Kubernetes without a schema of ours.
static REMAINING: LazyLock<Value> = LazyLock::new(|| {
    let list = |key: &str| {
        json!({"type": "array", "items": {"type": "object"}, "x-kubernetes-patch-strategy": "merge",
            "x-kubernetes-patch-merge-key": key})
    };
    let scalars = json!({"type": "array", "items": {"type": "string"}, "x-kubernetes-patch-strategy": "merge"});
    let metadata = json!({"properties": {"finalizers": scalars, "ownerReferences": list("uid")}});
    let status = json!({"properties": {"conditions": list("type")}});
    json!({"properties": {"metadata": metadata, "status": status, "webhooks": list("name")}})
});

pub fn of_remaining_kinds() -> Option<Place<'static>> {
    resolve(&REMAINING, &Value::Null)
}

/// The definition of a kind, by its `x-kubernetes-group-version-kind`.
pub fn of_kind<'a>(document: &'a Value, gvk: &Gvk) -> Option<Place<'a>> {
    let definitions = document.get("definitions")?;
    let is_meant = |named: &Value| {
        let text = |key: &str| named.get(key).and_then(Value::as_str).unwrap_or_default();
        text("group") == gvk.group && text("version") == gvk.version && text("kind") == gvk.kind
    };
    let mut all = definitions.as_object()?.values();
    let found = all.find(|definition| {
        let names = definition.get("x-kubernetes-group-version-kind").and_then(Value::as_array);
        names.is_some_and(|names| names.iter().any(is_meant))
    })?;
    resolve(found, definitions)
}
