//! ConfigMaps.

use super::{Column, Kind, names, table};
use crate::api::error::FieldError;
use jiff::Timestamp;
use serde_json::Value;

/// The rules of core/v1 ConfigMap.
pub struct ConfigMap;

/// All data of a ConfigMap or Secret together, bytes.
pub const DATA_LIMIT: usize = 1024 * 1024;

impl Kind for ConfigMap {
    fn validate(&self, object: &Value) -> Vec<FieldError> {
        let mut errors = Vec::new();
        let mut size = 0;
        for (field, other) in [("data", "binaryData"), ("binaryData", "data")] {
            for (key, value) in object[field].as_object().into_iter().flatten() {
                let path = format!("{field}[{key}]");
                let wrong = names::config_key(key);
                errors.extend(wrong.iter().map(|why| FieldError::invalid(path.clone(), &key.as_str().into(), why)));
                if field == "data" && object[other].get(key).is_some() {
                    errors.push(FieldError::invalid(
                        path,
                        &key.as_str().into(),
                        "duplicate of key present in binaryData",
                    ));
                }
                size += value.as_str().map_or(0, |text| if field == "data" { text.len() } else { text.len() / 4 * 3 });
            }
        }
        if size > DATA_LIMIT {
            errors.push(FieldError::too_long("[]", &format!("may not be more than {DATA_LIMIT} bytes")));
        }
        errors
    }

    fn validate_update(&self, new: &Value, old: &Value) -> Vec<FieldError> {
        immutable_data(new, old, &["data", "binaryData"])
    }

    fn columns(&self) -> Vec<Column> {
        table::columns("Name:string:name, Data:string, Age:string")
    }

    fn row(&self, object: &Value, now: Timestamp) -> Vec<Value> {
        let count = entries(&object["data"]) + entries(&object["binaryData"]);
        vec![table::name(object), count.into(), table::age(object, now)]
    }
}

/// The number of entries of a map.
pub fn entries(map: &Value) -> usize {
    map.as_object().map_or(0, serde_json::Map::len)
}

/// An object marked `immutable` keeps its data and its mark.
pub fn immutable_data(new: &Value, old: &Value, fields: &[&str]) -> Vec<FieldError> {
    const WHY: &str = "field is immutable when `immutable` is set";
    if old["immutable"] != Value::Bool(true) {
        return Vec::new();
    }
    let mut errors = Vec::new();
    if new["immutable"] != Value::Bool(true) {
        errors.push(FieldError::forbidden("immutable", WHY));
    }
    for field in fields.iter().filter(|field| new[**field] != old[**field]) {
        errors.push(FieldError::forbidden(*field, WHY));
    }
    errors
}
