//! Merging and ordering lists of a strategic merge patch.

use super::{PATCH, broken, is_directive, merge_map, plain};
use crate::api::error::ApiError;
use crate::api::schema::{ListPatch, Schema};
use serde_json::Value;

/// Merges a patched list into the original: objects by their key, primitives as a union. Elements
/// of the patch that are new go in front.
pub fn merge(
    mut original: Vec<Value>,
    patch: &[Value],
    how: &ListPatch,
    items: &Schema,
) -> Result<Vec<Value>, ApiError> {
    let Some(key) = how.merge_key.as_deref() else {
        for value in patch {
            if !original.contains(value) {
                original.push(value.clone());
            }
        }
        return Ok(original);
    };
    let plain_items: Vec<&Value> = patch.iter().filter(|item| !is_directive(item)).collect();
    for item in patch {
        match item.get(PATCH).map(|directive| directive.as_str().unwrap_or_default()) {
            None => {}
            Some("delete") => {
                let value = key_value(item, key)?;
                original.retain(|other| other.get(key) != Some(value));
            }
            Some("replace") => return Ok(plain_items.into_iter().map(plain).collect()),
            Some(other) => return Err(broken(format!("unknown patch type found: {other}"))),
        }
    }
    let server_order = original.clone();
    for item in &plain_items {
        let value = key_value(item, key)?;
        let found = original.iter_mut().find(|other| other.get(key) == Some(value));
        match (found, item) {
            (Some(Value::Object(other)), Value::Object(item)) => {
                *other = merge_map(std::mem::take(other), item, Some(items))?;
            }
            (Some(other), item) => *other = plain(item),
            (None, item) => original.push(plain(item)),
        }
    }
    let order: Vec<Value> = plain_items.into_iter().cloned().collect();
    Ok(arrange(original, &order, &server_order, how))
}

fn key_value<'a>(item: &'a Value, key: &str) -> Result<&'a Value, ApiError> {
    item.get(key).ok_or_else(|| broken(format!("map: {} does not contain declared merge key: {key}", go_value(item))))
}

/// A value as Go's `%v` prints it, for error texts.
fn go_value(value: &Value) -> String {
    match value {
        Value::Null => "<nil>".into(),
        Value::String(text) => text.clone(),
        Value::Array(items) => format!("[{}]", items.iter().map(go_value).collect::<Vec<_>>().join(" ")),
        Value::Object(fields) => {
            let fields: Vec<_> = fields.iter().map(|(key, value)| format!("{key}:{}", go_value(value))).collect();
            format!("map[{}]", fields.join(" "))
        }
        other => other.to_string(),
    }
}

/// Whether two elements are the same one.
fn same(a: &Value, b: &Value, how: &ListPatch) -> bool {
    match how.merge_key.as_deref() {
        Some(key) => a.get(key).is_some() && a.get(key) == b.get(key),
        None => a == b,
    }
}

fn position(list: &[Value], item: &Value, how: &ListPatch) -> Option<usize> {
    list.iter().position(|other| same(other, item, how))
}

/// Puts the elements named in `order` into that order, and the others into the order they had on
/// the server, `before`; where the two meet, the server's order decides between elements it knows.
pub fn arrange(merged: Vec<Value>, order: &[Value], before: &[Value], how: &ListPatch) -> Vec<Value> {
    let (mut ours, mut theirs): (Vec<_>, Vec<_>) =
        merged.into_iter().partition(|item| position(order, item, how).is_some());
    ours.sort_by_key(|item| position(order, item, how));
    theirs.sort_by_key(|item| position(before, item, how).unwrap_or(usize::MAX));
    let mut result = Vec::with_capacity(ours.len() + theirs.len());
    let (mut ours, mut theirs) = (ours.into_iter().peekable(), theirs.into_iter().peekable());
    while let (Some(mine), Some(other)) = (ours.peek(), theirs.peek()) {
        let other_first = match (position(before, other, how), position(before, mine, how)) {
            (Some(other), Some(mine)) => other < mine,
            _ => false,
        };
        result.extend(if other_first { theirs.next() } else { ours.next() });
    }
    result.extend(theirs);
    result.extend(ours);
    result
}

/// The elements of the patch must come in the order it asks for.
pub fn check_order(patch: &[Value], order: &[Value], how: &ListPatch) -> Result<(), ApiError> {
    let mut at = 0;
    for item in patch.iter().filter(|item| !is_directive(item)) {
        match order[at..].iter().position(|other| same(other, item, how)) {
            Some(step) => at += step + 1,
            None => {
                return Err(broken(format!(
                    "The order in patch list:\n{}\n doesn't match $setElementOrder list:\n{}\n",
                    go_value(&Value::Array(patch.to_vec())),
                    go_value(&Value::Array(order.to_vec()))
                )));
            }
        }
    }
    Ok(())
}
