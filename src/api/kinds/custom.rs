//! The rules of custom resources: what their definition says of a version.

use super::names::NameRule;
use super::{ALL_METADATA, Column, Kind, keep_status, table};
use crate::api::cel;
use crate::api::error::FieldError;
use crate::api::jsonpath::JsonPath;
use crate::api::schema::SchemaRef;
use crate::api::schema::custom::{lists, validate};
use jiff::Timestamp;
use serde_json::{Value, json};

/// One version of a custom resource.
pub struct Custom {
    pub schema: SchemaRef,
    /// Whether the schema has rules in CEL anywhere.
    pub rules: bool,
    pub status: bool,
    pub scale: Option<ScalePaths>,
    /// Besides the name.
    pub columns: Vec<(Column, JsonPath)>,
    /// By what field selectors call them: the path without the first dot.
    pub selectable: Vec<(String, JsonPath)>,
}

/// Where a custom resource keeps what its Scale shows: names of fields from the root.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ScalePaths {
    pub spec: Vec<String>,
    pub status: Vec<String>,
    pub selector: Option<Vec<String>>,
}

impl Kind for Custom {
    fn prepare_update(&self, object: &mut Value, old: &Value) {
        if self.status {
            keep_status(object, old);
        }
    }

    fn has_status(&self) -> bool {
        self.status
    }

    fn has_generation(&self) -> bool {
        true
    }

    fn name_rule(&self) -> NameRule {
        NameRule::Subdomain
    }

    fn check(&self, object: &Value, old: Option<&Value>) -> Vec<FieldError> {
        let mut errors = Vec::new();
        validate::validate(&self.schema, object, old, &mut errors);
        self.check_scale(object, &mut errors);
        let mut repeated = Vec::new();
        if let Some(old) = old {
            lists::check(&self.schema, old, &mut String::new(), &mut repeated);
        }
        // Lists that were wrong before the rule was may stay so.
        if repeated.is_empty() {
            lists::check(&self.schema, object, &mut String::new(), &mut errors);
        }
        let blocking = |error: &FieldError| {
            let reasons = ["NotSupported", "Required", "TooLong", "TooMany", "TypeInvalid"];
            reasons.iter().any(|reason| error.reason.strip_prefix("FieldValue") == Some(reason))
        };
        if !self.rules {
            return errors;
        }
        if errors.iter().any(blocking) {
            let why = "some validation rules were not checked because the object was invalid; correct the existing errors to complete validation";
            errors.push(FieldError::invalid("<nil>", &Value::Null, why));
        } else {
            cel::check(&self.schema, object, old, &mut errors);
        }
        errors
    }

    fn validate_status(&self, new: &Value, old: &Value) -> Vec<FieldError> {
        self.check(new, Some(old))
    }

    fn kept_by_status(&self) -> &'static [&'static str] {
        ALL_METADATA
    }

    fn selects(&self, field: &str) -> bool {
        self.selectable.iter().any(|(name, _)| name == field)
    }

    fn selects_deep(&self) -> bool {
        true
    }

    fn field(&self, object: &Value, field: &str) -> String {
        let found = self.selectable.iter().find(|(name, _)| name == field);
        match found.and_then(|(_, path)| path.find(object).into_iter().next()) {
            None | Some(Value::Null) => String::new(),
            Some(Value::String(text)) => text.clone(),
            Some(other) => other.to_string(),
        }
    }

    fn unknown_field(&self, field: &str) -> String {
        format!("field label not supported: {field}")
    }

    fn columns(&self) -> Vec<Column> {
        let mut columns = table::columns("Name:string:name");
        columns[0].description = "Name must be unique within a namespace.".into();
        columns.extend(self.columns.iter().map(|(column, _)| column.clone()));
        columns
    }

    fn row(&self, object: &Value, now: Timestamp) -> Vec<Value> {
        let mut cells = vec![table::name(object)];
        cells.extend(self.columns.iter().map(|(column, path)| cell(column, path, object, now)));
        cells
    }

    fn unconditional_update(&self) -> bool {
        false
    }

    fn scale(&self, object: &Value) -> Value {
        let Some(paths) = &self.scale else { return Value::Null };
        let mut metadata = json!({});
        for field in ["name", "namespace", "uid", "resourceVersion", "creationTimestamp"] {
            if !object["metadata"][field].is_null() {
                metadata[field] = object["metadata"][field].clone();
            }
        }
        let count = |path: &[String]| at(object, path).as_i64().unwrap_or_default();
        let mut scale = json!({"kind": "Scale", "apiVersion": "autoscaling/v1", "metadata": metadata,
            "spec": {}, "status": {"replicas": count(&paths.status)}});
        if count(&paths.spec) != 0 {
            scale["spec"]["replicas"] = count(&paths.spec).into();
        }
        if let Some(selector) = paths.selector.as_ref().and_then(|path| at(object, path).as_str()) {
            scale["status"]["selector"] = selector.into();
        }
        scale
    }

    fn set_replicas(&self, object: &mut Value, replicas: i64) {
        let Some(paths) = &self.scale else { return };
        let mut place = object;
        for name in &paths.spec {
            if !place.is_object() {
                *place = json!({});
            }
            place = &mut place[name.as_str()];
        }
        *place = replicas.into();
    }
}

impl Custom {
    fn check_scale(&self, object: &Value, errors: &mut Vec<FieldError>) {
        let Some(paths) = &self.scale else { return };
        for path in [&paths.spec, &paths.status] {
            let found = at(object, path);
            if found.as_i64().is_some_and(|count| count < 0) {
                errors.push(FieldError::invalid(path.join("."), found, "should be a non-negative integer"));
            }
        }
    }
}

fn at<'v>(object: &'v Value, path: &[String]) -> &'v Value {
    path.iter().fold(object, |value, name| &value[name.as_str()])
}

fn cell(column: &Column, path: &JsonPath, object: &Value, now: Timestamp) -> Value {
    let Some(found) = path.find(object).into_iter().next() else { return Value::Null };
    match (column.kind.as_str(), found) {
        ("string", Value::Null) => Value::Null,
        ("string", Value::String(text)) => text.as_str().into(),
        ("string", other) => other.to_string().into(),
        ("integer", Value::Number(number)) => {
            number.as_i64().or_else(|| number.as_f64().map(|number| number as i64)).map_or(Value::Null, Value::from)
        }
        ("number", Value::Number(_)) | ("boolean", Value::Bool(_)) => found.clone(),
        ("date", Value::String(time)) if time.parse::<Timestamp>().is_err() => "<invalid>".into(),
        ("date", Value::String(time)) => table::since(time, now).into(),
        _ => Value::Null,
    }
}
