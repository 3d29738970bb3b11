//! Lists that are sets or maps hold each element once.

use crate::api::error::FieldError;
use crate::api::schema::{ListKind, Schema, Shape};
use serde_json::{Map, Value};
use std::collections::HashSet;
use std::sync::Arc;

/// Elements of `value` that are in their list twice.
pub fn check(schema: &Schema, value: &Value, path: &mut String, errors: &mut Vec<FieldError>) {
    let length = path.len();
    match (&schema.shape, value) {
        (Shape::Object(shape), Value::Object(fields)) => {
            for (name, value) in fields {
                let Some(field) = shape.fields.get(name.as_str()).filter(|field| field.schema.lenient) else {
                    continue;
                };
                super::validate::step(path, name);
                check(&field.schema, value, path, errors);
                path.truncate(length);
            }
        }
        (Shape::Map { values, .. }, Value::Object(entries)) => {
            for (name, value) in entries {
                super::validate::step_key(path, name);
                check(values, value, path, errors);
                path.truncate(length);
            }
        }
        (Shape::List { items, kind, .. }, Value::Array(list)) => {
            once(kind, items, list, path, errors);
            for (index, item) in list.iter().enumerate() {
                path.push_str(&format!("[{index}]"));
                check(items, item, path, errors);
                path.truncate(length);
            }
        }
        _ => {}
    }
}

fn once(kind: &ListKind, items: &Schema, list: &[Value], path: &str, errors: &mut Vec<FieldError>) {
    let mut seen = HashSet::new();
    for (index, item) in list.iter().enumerate() {
        let shown = match kind {
            ListKind::Atomic => return,
            ListKind::Set => item.clone(),
            ListKind::Map(keys) => match item {
                Value::Object(_) => Value::Object(key_of(keys, items, item)),
                other => {
                    let why = "must be an object for an array of list-type map";
                    errors.push(FieldError::invalid(format!("{path}[{index}]"), other, why));
                    continue;
                }
            },
        };
        if !seen.insert(shown.to_string()) {
            errors.push(FieldError::duplicate(format!("{path}[{index}]"), &shown));
        }
    }
}

fn key_of(keys: &[Arc<str>], items: &Schema, item: &Value) -> Map<String, Value> {
    let default = |key: &str| match &items.shape {
        Shape::Object(shape) => shape.fields.get(key).and_then(|field| field.schema.default.as_ref()),
        _ => None,
    };
    keys.iter()
        .filter_map(|key| {
            let value = item.get(&**key).filter(|value| !value.is_null()).or_else(|| default(key))?;
            Some((key.to_string(), value.clone()))
        })
        .collect()
}
