//! Validation of a pod's volumes.

use super::validate::Context;
use crate::api::error::FieldError;
use crate::api::kinds::json::{has, list, text};
use crate::api::kinds::names;
use serde_json::Value;
use std::collections::BTreeSet;

/// Checks the volumes of a pod spec and returns their names.
pub fn validate<'a>(spec: &'a Value, path: &str, cx: &mut Context) -> BTreeSet<&'a str> {
    let mut seen = BTreeSet::new();
    for (i, volume) in list(spec, &["volumes"]).iter().enumerate() {
        let field = format!("{path}.volumes[{i}]");
        let name = text(volume, &["name"]);
        if name.is_empty() {
            cx.required(format!("{field}.name"), "");
        } else {
            cx.names(&format!("{field}.name"), &volume["name"], names::label(name));
            if !seen.insert(name) {
                cx.errors.push(FieldError::duplicate(format!("{field}.name"), &volume["name"]));
            }
        }
        source(volume, &field, cx);
    }
    seen
}

fn source(volume: &Value, field: &str, cx: &mut Context) {
    let kinds: Vec<&String> = volume
        .as_object()
        .into_iter()
        .flatten()
        .filter(|(name, value)| *name != "name" && !value.is_null())
        .map(|(name, _)| name)
        .collect();
    if kinds.is_empty() {
        cx.required(field.to_string(), "must specify a volume type");
    }
    for extra in kinds.iter().skip(1) {
        cx.errors.push(FieldError::forbidden(format!("{field}.{extra}"), "may not specify more than 1 volume type"));
    }
    let Some(kind) = kinds.first() else { return };
    let body = &volume[kind.as_str()];
    let field = format!("{field}.{kind}");
    match kind.as_str() {
        "secret" if text(body, &["secretName"]).is_empty() => cx.required(format!("{field}.secretName"), ""),
        "configMap" if text(body, &["name"]).is_empty() => cx.required(format!("{field}.name"), ""),
        "persistentVolumeClaim" if text(body, &["claimName"]).is_empty() => {
            cx.required(format!("{field}.claimName"), "");
        }
        "hostPath" => host_path(body, &field, cx),
        "image" => image(body, &field, cx),
        _ => {}
    }
    if has(body, "defaultMode") && !body["defaultMode"].as_i64().is_some_and(|mode| (0..=0o777).contains(&mode)) {
        let why = "must be a number between 0 and 0777 (octal), both inclusive";
        cx.invalid(format!("{field}.defaultMode"), &body["defaultMode"], why);
    }
    for (i, file) in list(body, &["items"]).iter().enumerate() {
        let field = format!("{field}.items[{i}]");
        if kind.as_str() != "downwardAPI" && text(file, &["key"]).is_empty() {
            cx.required(format!("{field}.key"), "");
        }
        relative(&file["path"], &format!("{field}.path"), cx);
    }
}

fn host_path(body: &Value, field: &str, cx: &mut Context) {
    const TYPES: &[&str] =
        &["", "BlockDevice", "CharDevice", "Directory", "DirectoryOrCreate", "File", "FileOrCreate", "Socket"];
    let path = text(body, &["path"]);
    if path.is_empty() {
        cx.required(format!("{field}.path"), "");
    } else if path.split('/').any(|part| part == "..") {
        cx.invalid(format!("{field}.path"), &body["path"], "must not contain '..'");
    }
    cx.one_of(format!("{field}.type"), &body["type"], TYPES);
}

fn image(body: &Value, field: &str, cx: &mut Context) {
    // A template may leave it to somebody who fills it in.
    if text(body, &["reference"]).is_empty() && field.starts_with("spec.volumes") {
        cx.required(format!("{field}.reference"), "");
    }
    cx.one_of(format!("{field}.pullPolicy"), &body["pullPolicy"], &["Always", "IfNotPresent", "Never"]);
}

fn relative(path: &Value, field: &str, cx: &mut Context) {
    match path.as_str().unwrap_or_default() {
        "" => cx.required(field.to_string(), ""),
        text if text.starts_with('/') => cx.invalid(field.to_string(), path, "must be a relative path"),
        text if text.split('/').any(|part| part == "..") => {
            cx.invalid(field.to_string(), path, "must not contain '..'");
        }
        text if text.starts_with("..") => cx.invalid(field.to_string(), path, "must not start with '..'"),
        _ => {}
    }
}
