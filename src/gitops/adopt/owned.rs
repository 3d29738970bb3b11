//! What of a live object was set by certain managers, by its managedFields.

use serde_json::{Map, Value};

/// Through which of them manifests change: not through `ephemeralcontainers`, say, which are for `kubectl debug`.
const SUBRESOURCES: [&str; 3] = ["", "scale", "resize"];

/// The fields of all of them together.
pub struct Owned(Map<String, Value>);

/// What of a value is theirs.
#[derive(Clone, Copy)]
pub enum Own<'a> {
    All,
    Nothing,
    Parts(&'a Map<String, Value>),
}

impl Owned {
    pub fn of(live: &Value, is_one: impl Fn(&str) -> bool) -> Self {
        let entries = live.pointer("/metadata/managedFields").and_then(Value::as_array);
        let mut all = Map::new();
        for entry in entries.into_iter().flatten() {
            let text = |field: &str| entry.get(field).and_then(Value::as_str).unwrap_or_default();
            if let Some(Value::Object(fields)) = entry.get("fieldsV1")
                && is_one(text("manager"))
                && SUBRESOURCES.contains(&text("subresource"))
            {
                unite(&mut all, fields);
            }
        }
        Self(all)
    }

    /// What of the object, its status aside, each of such managers set, with their names.
    pub fn each(live: &Value, is_one: impl Fn(&str) -> bool) -> Vec<(String, Self)> {
        let entries = live.pointer("/metadata/managedFields").and_then(Value::as_array);
        let mut found = Vec::new();
        for entry in entries.into_iter().flatten() {
            let text = |field: &str| entry.get(field).and_then(Value::as_str).unwrap_or_default();
            if let Some(Value::Object(fields)) = entry.get("fieldsV1")
                && is_one(text("manager"))
                && text("subresource") != "status"
            {
                found.push((text("manager").to_owned(), Self(fields.clone())));
            }
        }
        found
    }

    pub fn whole(&self) -> Own<'_> {
        if self.0.is_empty() { Own::Nothing } else { Own::Parts(&self.0) }
    }
}

/// A field without parts is owned as a whole.
fn unite(all: &mut Map<String, Value>, more: &Map<String, Value>) {
    for (key, below) in more {
        match (all.get_mut(key), below) {
            (None, below) => drop(all.insert(key.clone(), below.clone())),
            (Some(Value::Object(there)), Value::Object(below)) if !there.is_empty() && !below.is_empty() => {
                unite(there, below);
            }
            (Some(there), _) => *there = Value::Object(Map::new()),
        }
    }
}

impl<'a> Own<'a> {
    pub fn field(self, key: &str) -> Self {
        self.find(|parts| parts.get(&format!("f:{key}")))
    }

    /// Of a list's entry.
    pub fn item(self, item: &Value) -> Self {
        self.find(|parts| {
            let holds = |keys: &str| {
                let Ok(Value::Object(keys)) = serde_json::from_str(keys) else { return false };
                keys.iter().all(|(key, value)| item.get(key) == Some(value))
            };
            let by_keys =
                |(key, below): (&String, &'a Value)| key.strip_prefix("k:").is_some_and(holds).then_some(below);
            parts.get(&format!("v:{item}")).or_else(|| parts.iter().find_map(by_keys))
        })
    }

    fn find(self, step: impl FnOnce(&'a Map<String, Value>) -> Option<&'a Value>) -> Self {
        match self {
            Self::Parts(parts) => match step(parts) {
                Some(Value::Object(below)) if !below.is_empty() => Self::Parts(below),
                Some(_) => Self::All,
                None => Self::Nothing,
            },
            other => other,
        }
    }

    /// What of the value is theirs, if anything is.
    pub fn of(self, value: &Value) -> Option<Value> {
        let parts = match self {
            Self::All => return Some(value.clone()),
            Self::Nothing => return None,
            Self::Parts(parts) => parts,
        };
        let kept = match value {
            Value::Object(map) => {
                let own = |(key, value): (&String, &Value)| Some((key.clone(), self.field(key).of(value)?));
                Value::Object(map.iter().filter_map(own).collect())
            }
            Value::Array(items) => Value::Array(items.iter().filter_map(|item| self.item(item).of(item)).collect()),
            other => other.clone(),
        };
        let empty = kept.as_object().is_some_and(Map::is_empty) || kept.as_array().is_some_and(Vec::is_empty);
        // `.` is the map or list itself.
        (!empty || parts.contains_key(".")).then_some(kept)
    }
}
