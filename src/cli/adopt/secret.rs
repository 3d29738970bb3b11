//! A live Secret in the terms of its manifest, which may give its values in clear.

use crate::gitops::adopt::{Left, Rules, Step, compared};
use crate::gitops::render::Manifest;
use base64::Engine;
use serde_json::{Map, Value};

const FIELDS: [&str; 2] = ["data", "stringData"];

/// The live Secret as the manifest would say it; without leave, with the manifest's own values.
pub fn seen(manifest: &Manifest, mut live: Value, rules: &Rules<'_>, allowed: bool, left: &mut Vec<Left>) -> Value {
    let leave = |what: &str, path: &str| Left {
        origin: manifest.origin_of(path),
        why: format!("{}: {what}", manifest.describe()),
    };
    let mut data = live.get("data").and_then(Value::as_object).cloned().unwrap_or_default();
    let set = |field: &str| manifest.value.get(field).and_then(Value::as_object);
    if let Some(clear) = set("stringData") {
        let mut values = Map::new();
        for (key, said) in clear {
            match data.remove(key) {
                None => continue,
                Some(now) => match decoded(&now) {
                    Some(now) => values.insert(key.clone(), now),
                    None => {
                        if allowed {
                            let path = format!("stringData[{key}]");
                            left.push(leave(&format!("{path}: the live value is no text: move it to data"), &path));
                        }
                        values.insert(key.clone(), said.clone())
                    }
                },
            };
            // What stands in both counts in the clear one.
            if let Some(under) = set("data").and_then(|set| set.get(key)) {
                data.insert(key.clone(), under.clone());
            }
        }
        live["stringData"] = Value::Object(values);
    }
    live["data"] = Value::Object(data);
    if allowed {
        return live;
    }
    let is_value = |path: &[Step]| matches!(path.first(), Some(Step::Key(key)) if FIELDS.contains(&key.as_str()));
    let (found, others) = compared(&manifest.value, &live, rules);
    for (path, why) in others.iter().filter(|(path, _)| FIELDS.iter().any(|field| path.starts_with(field))) {
        left.push(leave(&format!("{path}: {why}"), path));
    }
    if found.iter().any(|change| is_value(&change.path)) {
        left.push(leave("its values differ and are written with --secrets only", ""));
    }
    for field in FIELDS {
        match (manifest.value.get(field), live.as_object_mut()) {
            (Some(own), Some(live)) => drop(live.insert(field.to_owned(), own.clone())),
            (None, Some(live)) => drop(live.remove(field)),
            (_, None) => {}
        }
    }
    live
}

fn decoded(value: &Value) -> Option<Value> {
    let bytes = base64::engine::general_purpose::STANDARD.decode(value.as_str()?).ok()?;
    String::from_utf8(bytes).ok().map(Value::String)
}
