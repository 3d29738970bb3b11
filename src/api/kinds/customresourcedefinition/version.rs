//! One version of a definition: its schema, subresources, columns and selectable fields.

use crate::api::error::FieldError;
use crate::api::jsonpath::JsonPath;
use crate::api::kinds::json::{list, text};
use crate::api::kinds::names;
use crate::api::schema::custom::{defaults, structural};
use serde_json::Value;

const TYPES: [&str; 5] = ["boolean", "date", "integer", "number", "string"];
const FORMATS: [&str; 9] = ["byte", "date", "date-time", "double", "float", "int32", "int64", "name", "password"];
const MOST_SELECTABLE: usize = 8;

/// Everything wrong with the version at `path`.
pub fn check(version: &Value, path: &str, errors: &mut Vec<FieldError>) {
    let name = text(version, &["name"]);
    let wrong = names::label_1035(name);
    if !wrong.is_empty() {
        errors.push(FieldError::invalid(format!("{path}.name"), &name.into(), &wrong.join(",")));
    }
    deprecation(version, path, errors);
    let schema = &version["schema"]["openAPIV3Schema"];
    let at = format!("{path}.schema.openAPIV3Schema");
    if schema.is_object() {
        let wrong = structural::check(schema, &at);
        // Defaults can only be judged by a schema that makes sense.
        errors.extend(if wrong.is_empty() { defaults::check(schema, &at) } else { wrong });
    } else {
        errors.push(FieldError::required(at, ""));
    }
    scale(&version["subresources"]["scale"], &format!("{path}.subresources.scale"), errors);
    for (index, column) in list(version, &["additionalPrinterColumns"]).iter().enumerate() {
        self::column(column, &format!("{path}.additionalPrinterColumns[{index}]"), errors);
    }
    selectable(version, schema, &format!("{path}.selectableFields"), errors);
}

fn deprecation(version: &Value, path: &str, errors: &mut Vec<FieldError>) {
    let Some(warning) = version["deprecationWarning"].as_str() else { return };
    let mut wrong = Vec::new();
    if version["deprecated"] != true {
        wrong.push("can only be set for deprecated versions");
    } else if warning.is_empty() {
        wrong.push("must not be an empty string");
    } else if warning.len() > 256 {
        wrong.push("must be <= 256 characters long");
    }
    for why in wrong {
        errors.push(FieldError::invalid(format!("{path}.deprecationWarning"), &warning.into(), why));
    }
}

fn scale(scale: &Value, path: &str, errors: &mut Vec<FieldError>) {
    if !scale.is_object() {
        return;
    }
    let fields: [(&str, &[&str], bool); 3] = [
        ("specReplicasPath", &["spec"], true),
        ("statusReplicasPath", &["status"], true),
        ("labelSelectorPath", &["spec", "status"], false),
    ];
    for (name, roots, required) in fields {
        let field = format!("{path}.{name}");
        let given = text(scale, &[name]);
        if given.is_empty() {
            if required {
                errors.push(FieldError::required(field, ""));
            }
            continue;
        }
        let parsed = JsonPath::parse(given);
        let steps = parsed.as_ref().ok().and_then(JsonPath::fields).filter(|_| given.starts_with('.'));
        match steps {
            None => {
                errors.push(FieldError::invalid(field, &given.into(), "should be a simple json path without arrays"))
            }
            Some(steps) if steps.len() > 1 && roots.contains(&steps[0]) => {}
            Some(_) => {
                let roots: Vec<String> = roots.iter().map(|root| format!(".{root}")).collect();
                let why = match roots.as_slice() {
                    [one] => format!("should be a json path under {one}"),
                    all => format!("should be a json path under either {}", all.join(" or ")),
                };
                errors.push(FieldError::invalid(field, &given.into(), &why));
            }
        }
    }
}

fn column(column: &Value, path: &str, errors: &mut Vec<FieldError>) {
    if text(column, &["name"]).is_empty() {
        errors.push(FieldError::required(format!("{path}.name"), ""));
    }
    let why = |all: &[&str]| format!("must be one of {}", all.join(","));
    match text(column, &["type"]) {
        "" => errors.push(FieldError::required(format!("{path}.type"), &why(&TYPES))),
        kind if TYPES.contains(&kind) => {}
        kind => errors.push(FieldError::invalid(format!("{path}.type"), &kind.into(), &why(&TYPES))),
    }
    let format = text(column, &["format"]);
    if !format.is_empty() && !FORMATS.contains(&format) {
        errors.push(FieldError::invalid(format!("{path}.format"), &format.into(), &why(&FORMATS)));
    }
    match text(column, &["jsonPath"]) {
        "" => errors.push(FieldError::required(format!("{path}.JSONPath"), "")),
        given => {
            if let Err(error) = JsonPath::parse(given) {
                let why = format!("is an invalid jsonpath: {error}");
                errors.push(FieldError::invalid(format!("{path}.JSONPath"), &given.into(), &why));
            }
        }
    }
}

fn selectable(version: &Value, schema: &Value, path: &str, errors: &mut Vec<FieldError>) {
    let fields = list(version, &["selectableFields"]);
    let mut seen: Vec<&str> = Vec::new();
    for (index, field) in fields.iter().enumerate() {
        let at = format!("{path}[{index}].jsonPath");
        let given = text(field, &["jsonPath"]);
        if given.is_empty() {
            errors.push(FieldError::required(at, ""));
            continue;
        }
        let parsed = JsonPath::parse(given).ok().filter(|_| given.starts_with('.'));
        let found = parsed.as_ref().and_then(JsonPath::fields).and_then(|steps| {
            steps.iter().try_fold(schema, |schema, name| schema["properties"].get(*name)).map(|found| (steps, found))
        });
        match found {
            None => {
                let why = format!("is an invalid path: does not refer to a valid field: {given}");
                errors.push(FieldError::invalid(at, &given.into(), &why));
            }
            Some((steps, _)) if steps.first() == Some(&"metadata") => {
                errors.push(FieldError::invalid(at, &given.into(), "must not point to fields in metadata"));
            }
            Some((_, found)) if !matches!(found["type"].as_str(), Some("string" | "boolean" | "integer")) => {
                let why = "must point to a field of type string, boolean or integer. Enum string fields and strings with formats are allowed.";
                errors.push(FieldError::invalid(at, &given.into(), why));
            }
            Some(_) if seen.contains(&given) => errors.push(FieldError::duplicate(at, &given.into())),
            Some(_) => seen.push(given),
        }
    }
    if seen.len() > MOST_SELECTABLE {
        let detail = format!("Too many: {}: must have at most {MOST_SELECTABLE} items", seen.len());
        errors.push(FieldError { reason: "FieldValueTooMany", field: path.into(), detail });
    }
}
