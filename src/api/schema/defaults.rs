//! Defaults that a schema carries: CRDs' `default`, and the few that lists keyed by a field need.

use super::{Schema, Shape};
use serde_json::Value;

/// Fills in missing fields that have a default, at every depth. Defaults are themselves filled in.
pub fn apply(schema: &Schema, value: &mut Value) {
    match (&schema.shape, value) {
        (Shape::Object(shape), Value::Object(fields)) => {
            for (name, field) in &shape.fields {
                match fields.get_mut(&**name) {
                    Some(found) => apply(&field.schema, found),
                    None => {
                        if let Some(mut default) = field.schema.default.clone() {
                            apply(&field.schema, &mut default);
                            fields.insert(name.to_string(), default);
                        }
                    }
                }
            }
        }
        (Shape::Map { values, .. }, Value::Object(entries)) => {
            entries.values_mut().for_each(|entry| apply(values, entry));
        }
        (Shape::List { items, .. }, Value::Array(list)) => list.iter_mut().for_each(|item| apply(items, item)),
        _ => {}
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::api::registry::Registry;
    use crate::api::schema::{Field, ObjectShape};
    use serde_json::json;
    use std::sync::Arc;

    #[test]
    fn ports_have_a_protocol() {
        let pod = Registry::builtin().by_kind("", "v1", "Pod").unwrap();
        let mut value = json!({"spec": {"containers": [{"ports": [{"containerPort": 1}, {"protocol": "UDP"}]}]}});
        apply(&pod.schema, &mut value);
        let ports = json!([{"containerPort": 1, "protocol": "TCP"}, {"protocol": "UDP"}]);
        assert_eq!(value, json!({"spec": {"containers": [{"ports": ports}]}}));
    }

    #[test]
    fn a_default_brings_its_own() {
        let field = |shape, default| Field {
            schema: Arc::new(Schema { shape, default, ..Schema::default() }),
            ..Field::default()
        };
        let object = |fields: Vec<(&str, Field)>| {
            let fields = fields.into_iter().map(|(name, field)| (name.into(), field)).collect();
            Shape::Object(ObjectShape { fields, ..ObjectShape::default() })
        };
        let inner = object(vec![("n", field(Shape::Integer { bits: 64 }, Some(json!(3))))]);
        let outer = object(vec![("inner", field(inner, Some(json!({}))))]);
        let mut value = json!({});
        apply(&Schema { shape: outer, ..Schema::default() }, &mut value);
        assert_eq!(value, json!({"inner": {"n": 3}}));
    }
}
