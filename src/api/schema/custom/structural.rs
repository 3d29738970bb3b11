//! What the schema of a definition must be: structural, so that every field has one type, and free
//! of what makes validation ambiguous or slow. Works on the schema as it was sent.

mod extensions;
mod nested;

use super::JsonType;
use crate::api::error::FieldError;
use serde_json::Value;

/// Schemas within schemas.
const MAX_DEPTH: usize = 100;

#[derive(Clone, Copy, PartialEq, Eq)]
enum Level {
    Root,
    Item,
    Field,
}

/// Everything wrong with the schema at `path`.
pub fn check(schema: &Value, path: &str) -> Vec<FieldError> {
    let mut errors = Vec::new();
    if schema["nullable"] == true {
        errors.push(FieldError::forbidden(format!("{path}.nullable"), "nullable cannot be true at the root"));
    }
    invariants(schema, Level::Root, path, 0, &mut errors);
    errors.sort_by(|a, b| (&a.field, &a.detail).cmp(&(&b.field, &b.detail)));
    errors
}

fn invariants(schema: &Value, level: Level, path: &str, depth: usize, errors: &mut Vec<FieldError>) {
    if depth > MAX_DEPTH {
        errors.push(FieldError::forbidden(path, &format!("schemas may be {MAX_DEPTH} levels deep")));
        return;
    }
    let kind = schema["type"].as_str().unwrap_or_default();
    let flag = |name: &str| schema[name] == true;
    unsupported(schema, path, errors);
    types(schema, kind, level, path, errors);
    extensions::check(schema, kind, path, errors);
    match &schema["items"] {
        Value::Null if kind == "array" => {
            errors.push(FieldError::required(format!("{path}.items"), "must be specified"))
        }
        Value::Array(_) => {
            let why = "items must be a schema object and not an array";
            errors.push(FieldError::forbidden(format!("{path}.items"), why));
        }
        items @ Value::Object(_) => invariants(items, Level::Item, &format!("{path}.items"), depth + 1, errors),
        _ => {}
    }
    for (name, property) in schema["properties"].as_object().into_iter().flatten() {
        let path = format!("{path}.properties[{name}]");
        if name == "metadata" && level == Level::Root {
            metadata(property, &path, errors);
            continue;
        }
        invariants(property, Level::Field, &path, depth + 1, errors);
    }
    let additional = &schema["additionalProperties"];
    if !additional.is_null() {
        let path = format!("{path}.additionalProperties");
        if level == Level::Root {
            errors.push(FieldError::forbidden(&path, "must not be used at the root"));
        }
        let both = schema["properties"].as_object().is_some_and(|properties| !properties.is_empty());
        if both && *additional != true {
            let why = "additionalProperties and properties are mutual exclusive";
            errors.push(FieldError::forbidden(&path, why));
        } else if *additional == false {
            errors.push(FieldError::forbidden(&path, "additionalProperties cannot be set to false"));
        }
        if additional.is_object() {
            invariants(additional, Level::Field, &path, depth + 1, errors);
        }
    }
    if flag("uniqueItems") {
        let why = "uniqueItems cannot be set to true since the runtime complexity becomes quadratic";
        errors.push(FieldError::forbidden(format!("{path}.uniqueItems"), why));
    }
    nested::check(schema, path, depth, errors);
    complete(schema, path, errors);
}

fn types(schema: &Value, kind: &str, level: Level, path: &str, errors: &mut Vec<FieldError>) {
    let flag = |name: &str| schema[name] == true;
    let field = format!("{path}.type");
    let embedded = flag("x-kubernetes-embedded-resource");
    if !kind.is_empty() && JsonType::of(kind).is_none() {
        let supported = ["array", "boolean", "integer", "number", "object", "string"];
        errors.push(FieldError::not_supported(&field, &kind.into(), &supported));
    }
    if embedded && kind != "object" {
        let why = "must be object if x-kubernetes-embedded-resource is true";
        errors.push(match kind {
            "" => FieldError::required(&field, why),
            kind => FieldError::invalid(&field, &kind.into(), why),
        });
    } else if kind.is_empty() && !flag("x-kubernetes-int-or-string") && !flag("x-kubernetes-preserve-unknown-fields") {
        let why = match level {
            Level::Root => "must not be empty at the root",
            Level::Item => "must not be empty for specified array items",
            Level::Field => "must not be empty for specified object fields",
        };
        errors.push(FieldError::required(&field, why));
    }
    if level == Level::Root && !kind.is_empty() && kind != "object" {
        errors.push(FieldError::invalid(&field, &kind.into(), "must be object at the root"));
    }
    if level == Level::Root || embedded {
        for name in ["kind", "apiVersion"] {
            let property = &schema["properties"][name];
            if !property.is_null() && property["type"] != "string" {
                let field = format!("{path}.properties[{name}].type");
                errors.push(FieldError::invalid(field, &property["type"], "must be string"));
            }
        }
    }
}

/// The root's metadata may restrict names, nothing else.
fn metadata(schema: &Value, path: &str, errors: &mut Vec<FieldError>) {
    if schema["type"] != "object" {
        errors.push(FieldError::invalid(format!("{path}.type"), &schema["type"], "must be object"));
    }
    let names = |name: &String| matches!(name.as_str(), "name" | "generateName");
    let plain = schema.as_object().into_iter().flatten().all(|(field, value)| match field.as_str() {
        "type" | "description" | "default" => true,
        "properties" => value.as_object().is_some_and(|properties| properties.keys().all(names)),
        _ => false,
    });
    if !plain {
        let why = "must not specify anything other than name and generateName, but metadata is implicitly specified";
        errors.push(FieldError::forbidden(path, why));
    }
}

/// Words of JSON schema that Kubernetes refuses.
fn unsupported(schema: &Value, path: &str, errors: &mut Vec<FieldError>) {
    for name in ["definitions", "dependencies", "patternProperties", "additionalItems", "id", "$schema", "$ref"] {
        if !schema[name].is_null() {
            let why = format!("{name} is not supported");
            errors.push(FieldError::forbidden(format!("{path}.{name}"), &why));
        }
    }
    let pattern = schema["pattern"].as_str().unwrap_or_default();
    if let Err(error) = super::compile(pattern) {
        let first = error.to_string();
        let why = first.lines().last().unwrap_or_default().trim().trim_start_matches("error: ");
        let why = format!("must be a valid regular expression, but isn't: {why}");
        errors.push(FieldError::invalid(format!("{path}.pattern"), &pattern.into(), &why));
    }
}

/// What is said of a value in `allOf` and the like must be of a field that has a type.
fn complete(schema: &Value, path: &str, errors: &mut Vec<FieldError>) {
    for word in ["allOf", "anyOf", "oneOf"] {
        for (index, part) in schema[word].as_array().into_iter().flatten().enumerate() {
            specified(part, Some(schema), &format!("{path}.{word}[{index}]"), path, errors);
        }
    }
    if schema["not"].is_object() {
        specified(&schema["not"], Some(schema), &format!("{path}.not"), path, errors);
    }
}

fn specified(part: &Value, schema: Option<&Value>, path: &str, at: &str, errors: &mut Vec<FieldError>) {
    let Some(schema) = schema else {
        let why = format!("because it is defined in {path}");
        errors.push(FieldError::required(at, &why));
        return;
    };
    if part["items"].is_object() {
        let below = schema.get("items").filter(|items| items.is_object());
        specified(&part["items"], below, &format!("{path}.items"), &format!("{at}.items"), errors);
    }
    for (name, property) in part["properties"].as_object().into_iter().flatten() {
        let below = schema["properties"].get(name);
        let (path, at) = (format!("{path}.properties[{name}]"), format!("{at}.properties[{name}]"));
        specified(property, below, &path, &at, errors);
    }
    for word in ["allOf", "anyOf", "oneOf"] {
        for (index, inner) in part[word].as_array().into_iter().flatten().enumerate() {
            specified(inner, Some(schema), &format!("{path}.{word}[{index}]"), at, errors);
        }
    }
    if part["not"].is_object() {
        specified(&part["not"], Some(schema), &format!("{path}.not"), at, errors);
    }
}
