//! The `x-kubernetes-` words of a schema.

use crate::api::cel::Rule;
use crate::api::error::FieldError;
use serde_json::Value;
use std::collections::HashSet;

/// Everything wrong with the extensions of one schema of this type.
pub fn check(schema: &Value, kind: &str, path: &str, errors: &mut Vec<FieldError>) {
    let flag = |name: &str| schema[name] == true;
    let preserve = "x-kubernetes-preserve-unknown-fields";
    if schema[preserve] == false {
        errors.push(FieldError::invalid(format!("{path}.{preserve}"), &false.into(), "must be true or undefined"));
    }
    if flag("x-kubernetes-int-or-string") {
        for name in [preserve, "x-kubernetes-embedded-resource"].into_iter().filter(|name| flag(name)) {
            let why = "must be false if x-kubernetes-int-or-string is true";
            errors.push(FieldError::invalid(format!("{path}.{name}"), &true.into(), why));
        }
    }
    if flag("x-kubernetes-embedded-resource") {
        if !schema["additionalProperties"].is_null() {
            let why = "must not be used if x-kubernetes-embedded-resource is set";
            errors.push(FieldError::forbidden(format!("{path}.additionalProperties"), why));
        }
        let empty = schema["properties"].as_object().is_none_or(serde_json::Map::is_empty);
        if empty && !flag(preserve) {
            let why = "must not be empty if x-kubernetes-embedded-resource is true without x-kubernetes-preserve-unknown-fields";
            errors.push(FieldError::required(format!("{path}.properties"), why));
        }
    }
    topology(schema, kind, "x-kubernetes-map-type", "object", &["atomic", "granular"], path, errors);
    topology(schema, kind, "x-kubernetes-list-type", "array", &["atomic", "set", "map"], path, errors);
    sets(schema, path, errors);
    maps(schema, path, errors);
    rules(schema, path, errors);
}

fn topology(
    schema: &Value,
    kind: &str,
    word: &str,
    wanted: &str,
    supported: &[&str],
    path: &str,
    errors: &mut Vec<FieldError>,
) {
    let Some(value) = schema[word].as_str() else { return };
    if kind != wanted {
        let why = format!("must be {wanted} if {word} is specified");
        errors.push(match kind {
            "" => FieldError::required(format!("{path}.type"), &why),
            kind => FieldError::invalid(format!("{path}.type"), &kind.into(), &why),
        });
    }
    if !supported.contains(&value) {
        errors.push(FieldError::not_supported(format!("{path}.{word}"), &value.into(), supported));
    }
}

fn sets(schema: &Value, path: &str, errors: &mut Vec<FieldError>) {
    if schema["x-kubernetes-list-type"] != "set" {
        return;
    }
    let items = &schema["items"];
    let why = "must be atomic as item of a list with x-kubernetes-list-type=set";
    let word = match items["type"].as_str() {
        Some("array") if items["x-kubernetes-list-type"].as_str().is_some_and(|word| word != "atomic") => {
            "x-kubernetes-list-type"
        }
        Some("object") if items["x-kubernetes-map-type"] != "atomic" => "x-kubernetes-map-type",
        _ => return,
    };
    errors.push(FieldError::invalid(format!("{path}.items.{word}"), &items[word], why));
}

fn maps(schema: &Value, path: &str, errors: &mut Vec<FieldError>) {
    let (keys_word, type_word) = ("x-kubernetes-list-map-keys", "x-kubernetes-list-type");
    let keys: Vec<&str> = schema[keys_word].as_array().into_iter().flatten().filter_map(Value::as_str).collect();
    let kind = schema[type_word].as_str();
    if !keys.is_empty() && kind != Some("map") {
        let why = "must be map if x-kubernetes-list-map-keys is non-empty";
        errors.push(match kind {
            None => FieldError::required(format!("{path}.{type_word}"), why),
            Some(kind) => FieldError::invalid(format!("{path}.{type_word}"), &kind.into(), why),
        });
    }
    if kind != Some("map") {
        return;
    }
    let field = format!("{path}.{keys_word}");
    if keys.is_empty() {
        errors.push(FieldError::required(&field, "must not be empty if x-kubernetes-list-type is map"));
    }
    let items = &schema["items"];
    if !items.is_object() {
        return;
    }
    if items["type"] != "object" {
        let why = "must be object if parent array's x-kubernetes-list-type is map";
        errors.push(FieldError::invalid(format!("{path}.items.type"), &items["type"], why));
        return;
    }
    let required = |key: &str| items["required"].as_array().is_some_and(|list| list.iter().any(|name| name == key));
    let mut seen = HashSet::new();
    for key in keys {
        let property = &items["properties"][key];
        let of_key = format!("{path}.items.properties[{key}]");
        if property.is_null() {
            let why = "entries must all be names of item properties";
            errors.push(FieldError::invalid(&field, &schema[keys_word], why));
        } else if matches!(property["type"].as_str(), Some("array" | "object")) {
            let why = "must be a scalar type if parent array's x-kubernetes-list-type is map";
            errors.push(FieldError::invalid(format!("{of_key}.type"), &items["type"], why));
        } else {
            if !required(key) && property.get("default").is_none() {
                let why = "this property is in x-kubernetes-list-map-keys, so it must have a default or be a required property";
                errors.push(FieldError::required(format!("{of_key}.default"), why));
            }
            if property["nullable"] == true {
                let why = "this property is in x-kubernetes-list-map-keys, so it cannot be nullable";
                errors.push(FieldError::forbidden(format!("{of_key}.nullable"), why));
            }
        }
        if !seen.insert(key) {
            errors.push(FieldError::invalid(&field, &schema[keys_word], "must not contain duplicate entries"));
        }
    }
}

/// `x-kubernetes-validations`: rules that can be compiled, and messages that can be shown.
fn rules(schema: &Value, path: &str, errors: &mut Vec<FieldError>) {
    const REASONS: [&str; 4] =
        ["FieldValueDuplicate", "FieldValueForbidden", "FieldValueInvalid", "FieldValueRequired"];
    for (index, rule) in schema["x-kubernetes-validations"].as_array().into_iter().flatten().enumerate() {
        let field = |name: &str| format!("{path}.x-kubernetes-validations[{index}].{name}");
        let text = |name: &str| rule[name].as_str().unwrap_or_default();
        let (source, message) = (text("rule").trim(), text("message").trim());
        if source.is_empty() {
            errors.push(FieldError::required(field("rule"), "rule is not specified"));
            continue;
        }
        if !text("message").is_empty() && message.is_empty() {
            errors.push(FieldError::invalid(field("message"), &rule["message"], "must be non-empty if specified"));
        } else if message.contains('\n') {
            errors.push(FieldError::invalid(field("message"), &rule["message"], "must not contain line breaks"));
        } else if source.contains('\n') && message.is_empty() {
            let why = "message must be specified if rule contains line breaks";
            errors.push(FieldError::required(field("message"), why));
        }
        if !rule["reason"].is_null() && !REASONS.contains(&text("reason")) {
            errors.push(FieldError::not_supported(field("reason"), &rule["reason"], &REASONS));
        }
        let compiled = Rule::compile(rule);
        if let Some(why) = compiled.problem() {
            errors.push(FieldError::invalid(field("rule"), rule, &format!("compilation failed: {why}")));
        }
        if let Some(name) = compiled.undefined(schema) {
            let why = format!("compilation failed: undefined field '{name}'");
            errors.push(FieldError::invalid(field("rule"), rule, &why));
        }
        if let Some(why) = compiled.message_problem() {
            let why = format!("messageExpression compilation failed: {why}");
            errors.push(FieldError::invalid(field("messageExpression"), rule, &why));
        }
        if !rule["optionalOldSelf"].is_null() && !compiled.uses_old() {
            let why = "may not be set if oldSelf is not used in rule";
            errors.push(FieldError::invalid(field("optionalOldSelf"), &rule["optionalOldSelf"], why));
        }
    }
}
