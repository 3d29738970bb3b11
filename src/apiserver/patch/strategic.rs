//! Strategic merge patch: lists merge by the key the schema declares, and directives in the patch
//! (`$patch`, `$retainKeys`, `$setElementOrder/x`, `$deleteFromPrimitiveList/x`) say the rest.
//! Follows Kubernetes' `strategicpatch` package, order of elements included.

mod lists;
#[cfg(test)]
mod tests;

use crate::api::error::ApiError;
use crate::api::schema::{Field, ListPatch, Schema, Shape};
use serde_json::{Map, Value};

const PATCH: &str = "$patch";
const RETAIN_KEYS: &str = "$retainKeys";
const SET_ORDER: &str = "$setElementOrder/";
const DELETE_PRIMITIVES: &str = "$deleteFromPrimitiveList/";

type Object = Map<String, Value>;

pub fn apply(current: &Value, patch: &Value, schema: &Schema) -> Result<Value, ApiError> {
    match (current, patch) {
        (Value::Object(current), Value::Object(patch)) => {
            Ok(Value::Object(merge_map(current.clone(), patch, Some(schema))?))
        }
        _ => Err(ApiError::bad_request(format!(
            "error decoding patch: json: cannot unmarshal {} into Go value of type map[string]interface {{}}",
            super::merge::type_name(patch)
        ))),
    }
}

/// What the schema says of a field; `None` where it says nothing, and everything is replaced.
#[derive(Clone, Copy)]
struct Place<'a> {
    schema: Option<&'a Schema>,
}

impl<'a> Place<'a> {
    fn field(schema: Option<&'a Schema>, name: &str) -> Self {
        let found = match schema.map(|schema| &schema.shape) {
            Some(Shape::Object(object)) => object.fields.get(name).map(|Field { schema, .. }| schema.as_ref()),
            Some(Shape::Map { values, .. }) => Some(values.as_ref()),
            _ => None,
        };
        Self { schema: found }
    }

    fn list(self) -> Option<(&'a ListPatch, &'a Schema)> {
        match &self.schema?.shape {
            Shape::List { items, patch: Some(patch), .. } => Some((patch, items)),
            _ => None,
        }
    }
}

/// A contradiction between patch and schema.
fn broken(why: String) -> ApiError {
    ApiError::new(500, "InternalError", why)
}

fn merge_map(mut original: Object, patch: &Object, schema: Option<&Schema>) -> Result<Object, ApiError> {
    match patch.get(PATCH).map(|directive| directive.as_str().unwrap_or_default()) {
        None | Some("merge") => {}
        Some("replace") => {
            let mut replaced = patch.clone();
            replaced.remove(PATCH);
            return Ok(replaced);
        }
        Some("delete") => return Ok(Object::new()),
        Some(other) => return Err(broken(format!("unknown patch type found: {other}"))),
    }
    if let Some(Value::Array(kept)) = patch.get(RETAIN_KEYS) {
        original.retain(|key, _| kept.iter().any(|name| name == key));
    }
    let ordered = apply_orders(&mut original, patch, schema)?;
    for (key, value) in patch {
        if key == PATCH || key == RETAIN_KEYS || key.starts_with(SET_ORDER) || ordered.contains(&key.as_str()) {
            continue;
        }
        if let Some(name) = key.strip_prefix(DELETE_PRIMITIVES) {
            delete_primitives(&mut original, name, value);
            continue;
        }
        let place = Place::field(schema, key);
        match value {
            Value::Null => {
                original.remove(key);
            }
            value => {
                let merged = merge_value(original.remove(key), value, place)?;
                original.insert(key.clone(), merged);
            }
        }
    }
    Ok(original)
}

fn merge_value(original: Option<Value>, patch: &Value, place: Place<'_>) -> Result<Value, ApiError> {
    match (original, patch) {
        (Some(Value::Object(original)), Value::Object(patch)) => {
            merge_map(original, patch, place.schema).map(Value::Object)
        }
        (Some(Value::Array(original)), Value::Array(patch)) => match place.list() {
            Some((how, items)) => lists::merge(original, patch, how, items).map(Value::Array),
            None => Ok(Value::Array(patch.iter().map(plain).collect())),
        },
        (_, patch) => Ok(plain(patch)),
    }
}

/// Lists the patch gives an order for. Returns the fields that are thereby done.
fn apply_orders<'a>(
    original: &mut Object,
    patch: &'a Object,
    schema: Option<&Schema>,
) -> Result<Vec<&'a str>, ApiError> {
    let mut done = Vec::new();
    for (key, order) in patch {
        let Some(name) = key.strip_prefix(SET_ORDER) else { continue };
        let Value::Array(order) = order else {
            return Err(broken(format!("invalid value for {key}: expected a list")));
        };
        let place = Place::field(schema, name);
        let Some((how, items)) = place.list() else { continue };
        let patched = patch.get(name).and_then(Value::as_array);
        let before = original.get(name).and_then(Value::as_array).cloned();
        if let Some(patched) = patched {
            lists::check_order(patched, order, how)?;
            done.push(name);
        }
        let merged = match (&before, patched) {
            (None, None) => continue,
            (Some(before), None) => before.clone(),
            (None, Some(patched)) => patched.iter().filter(|item| !is_directive(item)).map(plain).collect(),
            (Some(before), Some(patched)) => lists::merge(before.clone(), patched, how, items)?,
        };
        let arranged = lists::arrange(merged, order, &before.unwrap_or_default(), how);
        original.insert(name.to_string(), Value::Array(arranged));
    }
    Ok(done)
}

fn delete_primitives(original: &mut Object, name: &str, values: &Value) {
    let gone = values.as_array().map_or(&[][..], Vec::as_slice);
    if let Some(Value::Array(list)) = original.get_mut(name) {
        list.retain(|value| !gone.contains(value));
    }
}

fn is_directive(item: &Value) -> bool {
    item.get(PATCH).is_some()
}

/// A part of a patch that meets nothing to merge with: without nulls and directives.
fn plain(patch: &Value) -> Value {
    match patch {
        Value::Object(fields) => Value::Object(
            fields
                .iter()
                .filter(|(key, value)| {
                    !(value.is_null()
                        || *key == PATCH
                        || *key == RETAIN_KEYS
                        || key.starts_with(SET_ORDER)
                        || key.starts_with(DELETE_PRIMITIVES))
                })
                .map(|(key, value)| (key.clone(), plain(value)))
                .collect(),
        ),
        Value::Array(items) => Value::Array(items.iter().filter(|item| !is_directive(item)).map(plain).collect()),
        other => other.clone(),
    }
}
