//! Schemas that a kustomization brings along (`openapi: path:`): an OpenAPI document whose definitions
//! say how the lists of custom kinds merge.

use super::id::Gvk;
use super::merge::{Place, resolve};
use serde_json::Value;

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
