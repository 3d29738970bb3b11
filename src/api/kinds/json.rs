//! Small accessors over JSON objects that the kinds share. A `null` counts as absent everywhere,
//! as it does for Kubernetes' typed objects.

use serde_json::{Map, Value};

pub type Object = Map<String, Value>;

const EMPTY: &[Value] = &[];

/// The string at a chain of fields; empty when absent.
pub fn text<'a>(value: &'a Value, path: &[&str]) -> &'a str {
    at(value, path).as_str().unwrap_or("")
}

/// The integer at a chain of fields.
pub fn integer(value: &Value, path: &[&str]) -> Option<i64> {
    at(value, path).as_i64()
}

/// The list at a chain of fields; empty when absent.
pub fn list<'a>(value: &'a Value, path: &[&str]) -> &'a [Value] {
    at(value, path).as_array().map_or(EMPTY, Vec::as_slice)
}

/// The value at a chain of fields; `null` when absent.
pub fn at<'a>(value: &'a Value, path: &[&str]) -> &'a Value {
    path.iter().fold(value, |value, field| &value[*field])
}

/// Whether the field is there and not `null`.
pub fn has(value: &Value, field: &str) -> bool {
    !value[field].is_null()
}

/// Sets a field that is absent.
pub fn put(object: &mut Object, field: &str, value: impl Into<Value>) {
    match object.get_mut(field) {
        Some(old) if old.is_null() => *old = value.into(),
        Some(_) => {}
        None => {
            object.insert(field.to_string(), value.into());
        }
    }
}

/// Sets a string that is absent or empty.
pub fn put_text(object: &mut Object, field: &str, value: &str) {
    if object.get(field).and_then(Value::as_str).is_none_or(str::is_empty) {
        object.insert(field.to_string(), value.into());
    }
}

/// The object in a field, if there is one.
pub fn child<'a>(object: &'a mut Object, field: &str) -> Option<&'a mut Object> {
    object.get_mut(field)?.as_object_mut()
}

/// The object in a field, made when absent; `None` when the field holds something else.
pub fn ensure<'a>(object: &'a mut Object, field: &str) -> Option<&'a mut Object> {
    put(object, field, Value::Object(Map::new()));
    child(object, field)
}

/// The objects of the list in a field.
pub fn items<'a>(object: &'a mut Object, field: &str) -> impl Iterator<Item = &'a mut Object> {
    object.get_mut(field).and_then(Value::as_array_mut).into_iter().flatten().filter_map(Value::as_object_mut)
}
