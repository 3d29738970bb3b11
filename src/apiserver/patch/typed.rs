//! How server-side apply sees a value through its schema: what is one piece, what has parts, and
//! how the elements of lists are named.

use super::fieldset::{FieldSet, readable};
use crate::api::schema::{ListKind, ObjectShape, Schema, Shape};
use serde_json::{Map, Value};
use std::sync::Arc;

/// What a value is to server-side apply. A schema of `None` is a value nothing is known of: its
/// objects have parts, its lists are one piece.
#[derive(Clone, Copy)]
pub enum Form<'a> {
    /// Owned as one value.
    Leaf,
    Struct(&'a ObjectShape),
    Map(Option<&'a Schema>),
    ListMap(&'a Schema, &'a [Arc<str>]),
    Set,
}

pub fn form<'a>(schema: Option<&'a Schema>, value: &Value) -> Form<'a> {
    let Some(schema) = schema else {
        return if value.is_object() { Form::Map(None) } else { Form::Leaf };
    };
    match (&schema.shape, value) {
        (Shape::Object(shape), Value::Object(_)) if !shape.atomic => Form::Struct(shape),
        (Shape::Map { values, atomic: false }, Value::Object(_)) => Form::Map(Some(values)),
        (Shape::List { items, kind: ListKind::Map(keys), .. }, Value::Array(_)) => Form::ListMap(items, keys),
        (Shape::List { kind: ListKind::Set, .. }, Value::Array(_)) => Form::Set,
        (Shape::Any, Value::Object(_)) => Form::Map(None),
        _ => Form::Leaf,
    }
}

/// Whether a value with parts has none now.
pub fn is_bare(value: &Value) -> bool {
    match value {
        Value::Object(fields) => fields.is_empty(),
        Value::Array(items) => items.is_empty(),
        Value::Null => true,
        _ => false,
    }
}

/// The schema of a field; `None` for unknown ones.
pub fn field<'a>(form: Form<'a>, name: &str) -> Option<&'a Schema> {
    match form {
        Form::Struct(shape) => shape.fields.get(name).map(|field| field.schema.as_ref()),
        Form::Map(values) => values,
        _ => None,
    }
}

pub fn field_element(name: &str) -> Box<str> {
    // Once per field of every write: exact size, no formatting.
    let mut element = String::with_capacity(name.len() + 2);
    element.push_str("f:");
    element.push_str(name);
    element.into()
}

/// `k:{"name":"c"}` of an element of a list with keys; keys it lacks take their default.
pub fn key_element(item: &Value, items: &Schema, keys: &[Arc<str>]) -> Box<str> {
    let mut written = String::with_capacity(24);
    written.push_str("k:");
    if let [key] = keys {
        // Nearly every list: no need to sort.
        write_key(&mut written, '{', key, item, items);
    } else {
        let mut keys: Vec<&Arc<str>> = keys.iter().collect();
        keys.sort_unstable();
        let mut separator = '{';
        for key in keys {
            if write_key(&mut written, separator, key, item, items) {
                separator = ',';
            }
        }
    }
    written.push('}');
    written.into()
}

fn write_key(written: &mut String, separator: char, key: &str, item: &Value, items: &Schema) -> bool {
    let value = item.get(key).filter(|value| !value.is_null());
    let default = || match &items.shape {
        Shape::Object(shape) => shape.fields.get(key).and_then(|field| field.schema.default.as_ref()),
        _ => None,
    };
    let Some(value) = value.or_else(default) else { return false };
    written.push(separator);
    written.push('"');
    written.push_str(key);
    written.push_str("\":");
    written.push_str(&value.to_string());
    true
}

pub fn value_element(value: &Value) -> Box<str> {
    format!("v:{value}").into()
}

/// The elements of a list with names (keys or values), in order.
pub fn elements<'v>(form: Form<'_>, list: &'v [Value]) -> Vec<(Box<str>, &'v Value)> {
    match form {
        Form::ListMap(items, keys) => list.iter().map(|item| (key_element(item, items, keys), item)).collect(),
        _ => list.iter().map(|item| (value_element(item), item)).collect(),
    }
}

/// The schema of a list's elements.
pub fn item_schema(form: Form<'_>) -> Option<&Schema> {
    match form {
        Form::ListMap(items, _) => Some(items),
        _ => None,
    }
}

/// Every field an intent speaks of: its leaves, the entries of maps, the elements of lists.
pub fn to_set(value: &Value, schema: Option<&Schema>) -> FieldSet {
    let mut set = FieldSet::default();
    let form = form(schema, value);
    match (form, value) {
        (Form::Struct(_) | Form::Map(_), Value::Object(fields)) => {
            for (name, value) in fields {
                let mut child = to_set(value, field(form, name));
                let declared = matches!(form, Form::Struct(shape) if shape.fields.contains_key(name.as_str()));
                child.member |= !declared || value.is_null() || value.as_object().is_some_and(Map::is_empty);
                set.put(field_element(name), child);
            }
        }
        (Form::ListMap(..) | Form::Set, Value::Array(list)) => {
            for (element, item) in elements(form, list) {
                let mut child = match item_schema(form) {
                    Some(schema) => to_set(item, Some(schema)),
                    None => FieldSet::default(),
                };
                child.member = true;
                set.put(element, child);
            }
        }
        _ => set.member = true,
    }
    set
}

/// What makes an intent unusable: unknown fields, lists with an element twice or without its key.
pub fn check(value: &Value, schema: Option<&Schema>, path: &mut String, errors: &mut Vec<String>) {
    let form = form(schema, value);
    let length = path.len();
    match value {
        Value::Object(fields) => {
            // Values owned as one piece are declared like any other.
            let shape = match schema.map(|schema| &schema.shape) {
                Some(Shape::Object(shape)) => Some(shape),
                _ => None,
            };
            for (name, value) in fields {
                path.push('.');
                path.push_str(name);
                let below = match shape {
                    Some(shape) => shape.fields.get(name.as_str()).map(|field| field.schema.as_ref()),
                    None => field(form, name),
                };
                let identity = length == 0 && matches!(name.as_str(), "apiVersion" | "kind");
                if shape.is_some_and(|shape| !shape.preserve_unknown) && below.is_none() && !identity {
                    errors.push(format!("{path}: field not declared in schema"));
                } else {
                    check(value, below, path, errors);
                }
                path.truncate(length);
            }
        }
        Value::Array(list) if matches!(form, Form::ListMap(..) | Form::Set) => {
            let mut seen = std::collections::BTreeSet::new();
            for (element, item) in elements(form, list) {
                let shown = readable(&element);
                if &*element == "k:}" {
                    let why = "associative list with keys has an element that omits all key fields";
                    errors.push(format!("{path}: element 0: {why}"));
                    continue;
                }
                if !seen.insert(element) {
                    errors.push(format!("{path}: duplicate entries for key {shown}"));
                }
                path.push_str(&shown);
                check(item, item_schema(form), path, errors);
                path.truncate(length);
            }
        }
        _ => {}
    }
}
