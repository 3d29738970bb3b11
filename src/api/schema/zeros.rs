//! What Go writes for fields that are not set: a struct that is no pointer is `{}`, a scalar without
//! `omitempty` its zero. Clients of typed languages count on it: `deployment.status` is never absent.

use super::{Schema, Shape};
use serde_json::{Map, Value};

/// Fills in what is missing, at every depth. Comes after a kind's defaults, for which a missing field
/// and a zero are the same.
pub fn fill(schema: &Schema, value: &mut Value) {
    match (&schema.shape, value) {
        (Shape::Object(shape), Value::Object(fields)) => {
            for (name, field) in &shape.fields {
                match fields.get_mut(&**name) {
                    Some(found) => fill(&field.schema, found),
                    None if field.always => {
                        if let Some(zero) = zero(&field.schema) {
                            fields.insert(name.to_string(), zero);
                        }
                    }
                    None => {}
                }
            }
        }
        (Shape::Map { values, .. }, Value::Object(entries)) if has_parts(values) => {
            entries.values_mut().for_each(|entry| fill(values, entry));
        }
        (Shape::List { items, .. }, Value::Array(list)) if has_parts(items) => {
            list.iter_mut().for_each(|item| fill(items, item));
        }
        _ => {}
    }
}

fn has_parts(schema: &Schema) -> bool {
    matches!(schema.shape, Shape::Object(_) | Shape::Map { .. } | Shape::List { .. })
}

/// `None` for what Go writes as `null`: absent says the same.
fn zero(schema: &Schema) -> Option<Value> {
    match schema.shape {
        Shape::Boolean => Some(Value::Bool(false)),
        Shape::Integer { .. } | Shape::Number | Shape::IntOrString => Some(Value::from(0)),
        Shape::String => Some(Value::from("")),
        Shape::Quantity => Some(Value::from("0")),
        Shape::Object(_) => {
            let mut object = Value::Object(Map::new());
            fill(schema, &mut object);
            Some(object)
        }
        Shape::Any
        | Shape::Bytes
        | Shape::Time
        | Shape::MicroTime
        | Shape::Duration
        | Shape::Map { .. }
        | Shape::List { .. } => None,
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::api::registry::Registry;
    use serde_json::json;

    fn filled(group: &str, kind: &str, mut value: Value) -> Value {
        let resource = Registry::builtin().by_kind(group, "v1", kind).unwrap();
        fill(&resource.schema, &mut value);
        value
    }

    #[test]
    fn structs_and_counts_are_never_absent() {
        let value = json!({"spec": {"selector": {}, "template": {"spec": {"containers": [{"name": "c"}]}}}});
        let set = filled("apps", "ReplicaSet", value);
        assert_eq!(set["status"], json!({"replicas": 0}));
        assert_eq!(set["spec"]["template"]["metadata"], json!({}));
        assert_eq!(set["spec"]["template"]["spec"]["containers"][0], json!({"name": "c", "resources": {}}));
    }

    #[test]
    fn pointers_lists_and_times_may_be() {
        let status = json!({"status": {"containerStatuses": [{"name": "c"}]}});
        let expected = json!({
            "name": "c", "image": "", "imageID": "", "lastState": {}, "ready": false, "restartCount": 0, "state": {}
        });
        assert_eq!(filled("", "Pod", status)["status"], json!({"containerStatuses": [expected]}));
        assert_eq!(filled("", "ConfigMap", json!({})), json!({"metadata": {}}));
    }
}
