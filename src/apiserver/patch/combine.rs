//! Merging an intent into a live object: the intent wins, part by part as the schema divides.

use super::typed::{Form, elements, field, form, is_bare, item_schema};
use crate::api::schema::Schema;
use serde_json::Value;
use std::collections::{HashMap, HashSet};

/// `live` with `intent` on top. `null` in the intent removes a field.
pub fn combine(live: &Value, intent: &Value, schema: Option<&Schema>) -> Value {
    let how = form(schema, intent);
    match (how, live, intent) {
        _ if is_bare(live) => without_nulls(intent),
        (Form::Struct(_) | Form::Map(_), Value::Object(old), Value::Object(new)) => {
            let kept = old.iter().filter_map(|(name, old)| match new.get(name) {
                None => Some((name.clone(), old.clone())),
                Some(Value::Null) => None,
                Some(value) => Some((name.clone(), combine(old, value, field(how, name)))),
            });
            let added = new.iter().filter(|(name, value)| !value.is_null() && !old.contains_key(*name));
            let added = added.map(|(name, value)| (name.clone(), without_nulls(value)));
            Value::Object(kept.chain(added).collect())
        }
        (Form::ListMap(..) | Form::Set, Value::Array(old), Value::Array(new)) => {
            Value::Array(combine_lists(old, new, how))
        }
        _ => intent.clone(),
    }
}

fn without_nulls(value: &Value) -> Value {
    match value {
        Value::Object(fields) => Value::Object(
            fields
                .iter()
                .filter(|(_, value)| !value.is_null())
                .map(|(name, value)| (name.clone(), without_nulls(value)))
                .collect(),
        ),
        other => other.clone(),
    }
}

/// The elements of both: the intent's in the intent's order; those only live keep their place
/// before the shared element that follows them. The walk is that of structured-merge-diff, because
/// the order of containers or mounts can matter to whoever reads them.
fn combine_lists(live: &[Value], intent: &[Value], how: Form<'_>) -> Vec<Value> {
    let (old, new) = (elements(how, live), elements(how, intent));
    let in_old: HashMap<&str, &Value> = old.iter().map(|(name, item)| (&**name, *item)).collect();
    let in_new: HashSet<&str> = new.iter().map(|(name, _)| &**name).collect();
    let mut shared = new.iter().map(|(name, _)| &**name).filter(|name| in_old.contains_key(name)).peekable();
    let join = |name: &str, item: &Value| match (in_old.get(name), item_schema(how)) {
        (Some(old), Some(schema)) => combine(old, item, Some(schema)),
        _ => item.clone(),
    };
    let mut merged = Vec::with_capacity(old.len().max(new.len()));
    let mut done: HashSet<&str> = HashSet::new();
    let (mut o, mut n) = (0, 0);
    while o < old.len() || n < new.len() {
        if let (Some((mine, _)), Some((theirs, _))) = (old.get(o), new.get(n)) {
            let wanted = shared.peek().is_some_and(|name| *name != &**mine);
            if mine != theirs && in_new.contains(&**mine) && wanted {
                // Shared, but not the one whose turn it is.
                o += 1;
                continue;
            }
        }
        if let Some((name, item)) = old.get(o) {
            if !in_new.contains(&**name) {
                merged.push((*item).clone());
                o += 1;
                continue;
            }
            if done.contains(&**name) || new.get(n).is_some_and(|(theirs, _)| theirs == name) {
                o += 1;
            }
        }
        if let Some((name, item)) = new.get(n) {
            merged.push(join(name, item));
            done.insert(name);
            n += 1;
            shared.next_if(|next| *next == &**name);
        }
    }
    merged
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::api::registry::Registry;
    use serde_json::json;

    fn names(live: &[&str], intent: &[&str]) -> Vec<String> {
        let schema = Registry::builtin().schema("", "v1", "Pod").unwrap();
        let spec = |names: &[&str]| {
            let containers: Vec<Value> = names.iter().map(|name| json!({ "name": name })).collect();
            json!({"spec": {"containers": containers}})
        };
        let merged = combine(&spec(live), &spec(intent), Some(&schema));
        let list = merged["spec"]["containers"].as_array().unwrap();
        list.iter().map(|item| item["name"].as_str().unwrap().to_string()).collect()
    }

    #[test]
    fn the_intent_orders_its_elements() {
        assert_eq!(names(&["a", "b"], &["b", "a"]), ["b", "a"]);
        assert_eq!(names(&["x", "a", "b"], &["a", "b"]), ["x", "a", "b"]);
        assert_eq!(names(&["a", "x"], &["a", "c"]), ["a", "x", "c"]);
        assert_eq!(names(&["b", "a", "x"], &["a", "b"]), ["a", "x", "b"]);
        assert_eq!(names(&["x"], &["a"]), ["x", "a"]);
        assert_eq!(names(&[], &["a", "b"]), ["a", "b"]);
    }
}
