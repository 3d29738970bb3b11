//! Defaults of a schema must be values the schema takes, and nothing it does not know.

use super::compile::Compiler;
use super::validate;
use crate::api::error::FieldError;
use crate::api::schema::decode::{Expected, FieldValidation, conform};
use crate::api::schema::{Schema, SchemaRef, Shape};
use serde_json::{Value, json};
use std::sync::Arc;

/// Everything wrong with the defaults of a schema at `path`.
pub fn check(source: &Value, path: &str) -> Vec<FieldError> {
    let mut errors = Vec::new();
    let metadata: SchemaRef = Arc::new(Schema::default());
    let root = Compiler::new(metadata).root(source, "");
    walk(&root, path, &mut errors);
    errors
}

fn walk(schema: &Schema, path: &str, errors: &mut Vec<FieldError>) {
    if !schema.lenient {
        return;
    }
    if let Some(default) = &schema.default {
        one(schema, default, &format!("{path}.default"), errors);
    }
    match &schema.shape {
        Shape::Object(shape) => {
            for (name, field) in &shape.fields {
                walk(&field.schema, &format!("{path}.properties[{name}]"), errors);
            }
        }
        Shape::Map { values, .. } => walk(values, &format!("{path}.additionalProperties"), errors),
        Shape::List { items, .. } => walk(items, &format!("{path}.items"), errors),
        _ => {}
    }
}

fn one(schema: &Schema, default: &Value, path: &str, errors: &mut Vec<FieldError>) {
    // Read as if it had been sent: what would be pruned may not be there.
    let expected = Expected { group: "", version: "", kind: "", schema };
    let Ok(read) = conform(&expected, default.clone(), FieldValidation::Warn) else { return };
    if default.is_object() && !read.warnings.is_empty() {
        errors.push(FieldError::invalid(path, default, "must not have unknown fields"));
        return;
    }
    let mut filled = json!({"default": default});
    super::super::defaults::apply(schema, &mut filled["default"]);
    let mut wrong = Vec::new();
    validate::validate(schema, &filled["default"], None, &mut wrong);
    errors.extend(wrong.into_iter().map(|error| {
        let below = match error.field.as_str() {
            "" | "<nil>" => String::new(),
            index if index.starts_with('[') => index.to_string(),
            field => format!(".{field}"),
        };
        FieldError { field: format!("{path}{below}"), ..error }
    }));
}
