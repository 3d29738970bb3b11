//! What the server makes of a manifest, and whose additions count.

use super::change::{Change, Op};
use crate::api::registry::{Registry, Resource};
use crate::api::schema::decode::{FieldValidation, conform};
use crate::api::schema::{SchemaRef, defaults, zeros};
use serde_json::Value;
use std::sync::Arc;

/// By what a live object is compared.
#[derive(Clone, Copy, Default)]
pub struct Rules<'a> {
    /// `None`: nothing is known of kinds.
    pub registry: Option<&'a Registry>,
    /// Field managers whose additions count besides kubectl's.
    pub managers: &'a [String],
}

impl Rules<'_> {
    pub(super) fn is_asked_for(&self, manager: &str) -> bool {
        manager.starts_with("kubectl") || self.managers.iter().any(|asked| asked == manager)
    }

    pub(super) fn schema(&self, api_version: &str, kind: &str) -> Option<SchemaRef> {
        Some(self.resource(api_version, kind)?.schema.clone())
    }

    fn resource(&self, api_version: &str, kind: &str) -> Option<Arc<Resource>> {
        let (group, version) = api_version.split_once('/').unwrap_or(("", api_version));
        self.registry?.by_kind(group, version, kind)
    }

    /// The object as it would be kept: in the schema's form, with all defaults and the zeros that are always there.
    pub(super) fn kept(&self, object: &Value) -> Option<Value> {
        let text = |field: &str| object.get(field).and_then(Value::as_str).unwrap_or_default();
        let resource = self.resource(text("apiVersion"), text("kind"))?;
        let mut kept = conform(&resource.expected(), object.clone(), FieldValidation::Ignore).ok()?.object;
        defaults::apply(&resource.schema, &mut kept);
        resource.rules.default(&mut kept);
        zeros::fill(&resource.schema, &mut kept);
        Some(kept)
    }

    /// A change of `manifest` without what the server would fill in anyway; `None` when nothing is left of it. `kept`
    /// is the manifest as the server has it.
    pub(super) fn without_defaults(&self, manifest: &Value, kept: &Value, mut change: Change) -> Option<Change> {
        if change.op == Op::Remove {
            return Some(change);
        }
        let makes = |change: &Change| {
            let mut object = manifest.clone();
            change.apply(&mut object)?;
            self.kept(&object)
        };
        let Some(wanted) = makes(&change) else { return Some(change) };
        if wanted == *kept && matches!(change.op, Op::Add(_)) {
            return None;
        }
        let mut value = change.op.value()?.clone();
        let mut same = |value: &Value| {
            let mut other = change.clone();
            if let Some(place) = other.op.value_mut() {
                place.clone_from(value);
            }
            makes(&other).as_ref() == Some(&wanted)
        };
        lean(&mut value, &mut Vec::new(), &mut same);
        *change.op.value_mut()? = value;
        Some(change)
    }
}

/// Takes out every field without which the whole stays the same.
fn lean(whole: &mut Value, path: &mut Vec<String>, same: &mut impl FnMut(&Value) -> bool) {
    let pointer = path.concat();
    let below: Vec<String> = match whole.pointer(&pointer) {
        Some(Value::Object(map)) => map.keys().cloned().collect(),
        Some(Value::Array(items)) => (0..items.len()).map(|index| index.to_string()).collect(),
        _ => return,
    };
    for key in below {
        let taken = whole.pointer_mut(&pointer).and_then(Value::as_object_mut).and_then(|map| map.remove(&key));
        if let Some(taken) = taken {
            if same(whole) {
                continue;
            }
            if let Some(Value::Object(map)) = whole.pointer_mut(&pointer) {
                map.insert(key.clone(), taken);
            }
        }
        path.push(format!("/{}", key.replace('~', "~0").replace('/', "~1")));
        lean(whole, path, same);
        path.pop();
    }
}
