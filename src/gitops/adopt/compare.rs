//! Where a live object differs in what its manifest sets.

use serde_json::{Map, Value};

/// Fields that tell the items of a list apart, by which they are found again.
const KEYS: [&str; 6] = ["name", "key", "containerPort", "port", "mountPath", "ip"];

/// A field of the manifest whose live value is another one.
#[derive(Debug, Clone, PartialEq)]
pub struct Change {
    /// Keys, and indexes of lists, as the manifest has them.
    pub path: Vec<Step>,
    pub old: Value,
    /// Or why it cannot be written in its place.
    pub new: Result<Value, String>,
}

#[derive(Debug, Clone, PartialEq)]
pub enum Step {
    Key(String),
    Index(usize),
}

impl Change {
    /// `spec.containers[0].image`.
    pub fn describe(&self) -> String {
        let mut text = String::new();
        for step in &self.path {
            match step {
                Step::Index(index) => text.push_str(&format!("[{index}]")),
                Step::Key(key) if key.contains(['.', '/']) => text.push_str(&format!("[{key}]")),
                Step::Key(key) => {
                    text.push_str(if text.is_empty() { "" } else { "." });
                    text.push_str(key);
                }
            }
        }
        text
    }

    /// RFC 6901.
    pub fn pointer(&self) -> String {
        let step = |step: &Step| match step {
            Step::Key(key) => format!("/{}", key.replace('~', "~0").replace('/', "~1")),
            Step::Index(index) => format!("/{index}"),
        };
        self.path.iter().map(step).collect()
    }
}

/// All of them. What the manifest does not set is none of its business.
pub fn changes(manifest: &Value, live: &Value) -> Vec<Change> {
    let mut found = Vec::new();
    value(manifest, live, &mut Vec::new(), &mut found);
    found
}

fn value(manifest: &Value, live: &Value, path: &mut Vec<Step>, found: &mut Vec<Change>) {
    match (manifest, live) {
        (Value::Object(manifest), Value::Object(live)) => map(manifest, live, path, found),
        (Value::Array(manifest), Value::Array(live)) => list(manifest, live, path, found),
        _ if manifest == live || manifest.is_null() => {}
        (old, new) if is_nested(old) || is_nested(new) => {
            push(found, path, old, Err("the live value has another shape".to_owned()));
        }
        (old, Value::Null) => push(found, path, old, Err("the live object has no such field".to_owned())),
        (old, Value::String(text)) if text.contains(char::is_control) => {
            push(found, path, old, Err("the live value has several lines".to_owned()));
        }
        (Value::String(text), _) if text.contains(char::is_control) => {
            push(found, path, manifest, Err("the manifest's value has several lines".to_owned()));
        }
        (old, new) => push(found, path, old, Ok(new.clone())),
    }
}

fn map(manifest: &Map<String, Value>, live: &Map<String, Value>, path: &mut Vec<Step>, found: &mut Vec<Change>) {
    for (key, set) in manifest {
        path.push(Step::Key(key.clone()));
        match live.get(key) {
            Some(live) => value(set, live, path, found),
            // An empty map or list is as good as none.
            None if is_empty(set) => {}
            None => push(found, path, set, Err("the live object has no such field".to_owned())),
        }
        path.pop();
    }
}

fn list(manifest: &[Value], live: &[Value], path: &mut Vec<Step>, found: &mut Vec<Change>) {
    if manifest.len() != live.len() {
        let why = format!("the live list has {} entries, not {}", live.len(), manifest.len());
        return push(found, path, &Value::Array(manifest.to_vec()), Err(why));
    }
    let key = KEYS.iter().find(|key| tells_apart(manifest, key) && tells_apart(live, key));
    for (index, item) in manifest.iter().enumerate() {
        path.push(Step::Index(index));
        let partner = match key {
            Some(key) => live.iter().find(|live| live[*key] == item[*key]),
            None => live.get(index),
        };
        match partner {
            Some(live) => value(item, live, path, found),
            None => push(found, path, item, Err("the live list has no such entry".to_owned())),
        }
        path.pop();
    }
}

fn tells_apart(items: &[Value], key: &str) -> bool {
    let values: Vec<&Value> = items.iter().filter_map(|item| item.get(key)).collect();
    values.len() == items.len() && values.iter().enumerate().all(|(at, value)| !values[..at].contains(value))
}

fn push(found: &mut Vec<Change>, path: &[Step], old: &Value, new: Result<Value, String>) {
    found.push(Change { path: path.to_vec(), old: old.clone(), new });
}

fn is_nested(value: &Value) -> bool {
    value.is_object() || value.is_array()
}

fn is_empty(value: &Value) -> bool {
    match value {
        Value::Object(map) => map.values().all(is_empty),
        Value::Array(list) => list.is_empty(),
        other => other.is_null(),
    }
}
