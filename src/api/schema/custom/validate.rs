//! Validation of a custom object against its schema, in the words of kube-openapi.

use super::{Bound, Checks, JsonType, type_of};
use crate::api::error::FieldError;
use crate::api::schema::{ListKind, Schema, Shape};
use serde_json::{Number, Value};

/// More errors help nobody.
const MAX_ERRORS: usize = 100;

/// A pass over an object.
struct Run<'e> {
    path: String,
    errors: &'e mut Vec<FieldError>,
    /// Whether anything was wrong below, limit or not.
    failed: bool,
}

/// Everything wrong with `value`. Parts that are as they were in `old` are left alone.
pub fn validate(schema: &Schema, value: &Value, old: Option<&Value>, errors: &mut Vec<FieldError>) {
    let mut run = Run { path: String::new(), errors, failed: false };
    run.check(schema, value, old);
}

/// Adds a field to a path.
pub fn step(path: &mut String, name: &str) {
    if !path.is_empty() {
        path.push('.');
    }
    path.push_str(name);
}

/// Adds the key of a map to a path.
pub fn step_key(path: &mut String, name: &str) {
    path.push('[');
    path.push_str(name);
    path.push(']');
}

impl Run<'_> {
    fn push(&mut self, error: FieldError) {
        self.failed = true;
        if self.errors.len() < MAX_ERRORS {
            self.errors.push(error);
        }
    }

    /// `spec.x in body should ...`
    fn invalid(&mut self, shown: &Value, why: &str) {
        let detail = format!("{} in body {why}", self.path);
        self.push(FieldError::invalid(self.path.clone(), shown, &detail));
    }

    /// An error of a schema as a whole has no field.
    fn composite(&mut self, why: &str) {
        let detail = format!("{:?} {why}", self.path);
        self.push(FieldError::invalid("<nil>", &Value::from(""), &detail));
    }

    fn check(&mut self, schema: &Schema, value: &Value, old: Option<&Value>) {
        if !schema.lenient || (value.is_null() && schema.nullable) {
            return;
        }
        if !self.path.is_empty() && old == Some(value) {
            return;
        }
        if let Some(checks) = &schema.checks {
            if let Some(kind) = checks.kind.filter(|kind| !kind.takes(value)) {
                return self.mistyped(kind, value);
            }
            self.value(checks, value, old);
        }
        match (&schema.shape, value) {
            (Shape::Object(shape), Value::Object(fields)) => {
                for name in shape.required.iter().filter(|name| !fields.contains_key(&***name)) {
                    let length = self.path.len();
                    step(&mut self.path, name);
                    self.push(FieldError::required(self.path.clone(), ""));
                    self.path.truncate(length);
                }
                for (name, value) in fields {
                    if let Some(field) = shape.fields.get(name.as_str()) {
                        self.below(name, &field.schema, value, old.and_then(|old| old.get(name)));
                    }
                }
            }
            (Shape::Map { values, .. }, Value::Object(entries)) => {
                for (name, value) in entries {
                    self.below(name, values, value, old.and_then(|old| old.get(name)));
                }
            }
            (Shape::List { items, kind, .. }, Value::Array(list)) => {
                let length = self.path.len();
                for (index, item) in list.iter().enumerate() {
                    self.path.push_str(&format!("[{index}]"));
                    self.check(items, item, old_item(kind, old, item));
                    self.path.truncate(length);
                }
            }
            _ => {}
        }
    }

    fn below(&mut self, name: &str, schema: &Schema, value: &Value, old: Option<&Value>) {
        let length = self.path.len();
        step(&mut self.path, name);
        self.check(schema, value, old);
        self.path.truncate(length);
    }

    fn mistyped(&mut self, kind: JsonType, value: &Value) {
        let (wanted, found) = (kind.name(), type_of(value));
        let detail = format!("Invalid value: {found:?}: {} in body must be of type {wanted}: {found:?}", self.path);
        self.push(FieldError { reason: "FieldValueTypeInvalid", field: self.path.clone(), detail });
    }

    fn value(&mut self, checks: &Checks, value: &Value, old: Option<&Value>) {
        if !checks.one_of_values.is_empty() && !checks.one_of_values.contains(value) {
            let supported: Vec<String> = checks
                .one_of_values
                .iter()
                .map(|value| value.as_str().map_or_else(|| value.to_string(), str::to_string))
                .collect();
            let supported: Vec<&str> = supported.iter().map(String::as_str).collect();
            self.push(FieldError::not_supported(self.path.clone(), value, &supported));
        }
        match value {
            Value::String(text) => self.text(checks, value, text),
            Value::Number(number) => self.number(checks, value, number),
            Value::Array(list) => self.size(checks.min_items, checks.max_items, list.len() as u64, "items"),
            Value::Object(map) => {
                self.size(checks.min_properties, checks.max_properties, map.len() as u64, "properties")
            }
            _ => {}
        }
        if checks.embedded && value.is_object() {
            for name in ["apiVersion", "kind"].into_iter().filter(|name| value[name].as_str().is_none_or(str::is_empty))
            {
                let field = format!("{}.{name}", self.path);
                self.push(FieldError::required(field, "must not be empty"));
            }
        }
        self.combined(checks, value, old);
    }

    fn text(&mut self, checks: &Checks, value: &Value, text: &str) {
        // Counting is only needed when even the bytes are too many, or too few may be.
        let length =
            if checks.max_length.is_some() || checks.min_length.is_some() { text.chars().count() as u64 } else { 0 };
        if let Some(most) = checks.max_length.filter(|most| length > *most) {
            self.push(FieldError::too_long(self.path.clone(), &format!("may not be more than {most} bytes")));
        }
        if let Some(least) = checks.min_length.filter(|least| length < *least) {
            self.invalid(value, &format!("should be at least {least} chars long"));
        }
        if let Some(pattern) = checks.pattern.as_ref().filter(|pattern| !pattern.matches(text)) {
            self.invalid(value, &format!("should match '{}'", pattern.text));
        }
        if let Some(format) = checks.format.filter(|format| !format.takes(text)) {
            let detail =
                format!("Invalid value: {value}: {} in body must be of type {}: {value}", self.path, format.name());
            self.push(FieldError { reason: "FieldValueTypeInvalid", field: self.path.clone(), detail });
        }
    }

    fn number(&mut self, checks: &Checks, value: &Value, number: &Number) {
        let found = number.as_f64().unwrap_or_default();
        if let Some(Bound { value: least, exclusive }) = checks.minimum {
            if exclusive && found <= least {
                self.invalid(value, &format!("should be greater than {least}"));
            } else if found < least {
                self.invalid(value, &format!("should be greater than or equal to {least}"));
            }
        }
        if let Some(Bound { value: most, exclusive }) = checks.maximum {
            if exclusive && found >= most {
                self.invalid(value, &format!("should be less than {most}"));
            } else if found > most {
                self.invalid(value, &format!("should be less than or equal to {most}"));
            }
        }
        if let Some(factor) = checks.multiple_of.filter(|factor| *factor > 0.0) {
            let ratio = found / factor;
            if (ratio - ratio.round()).abs() > 1e-9 * ratio.abs().max(1.0) {
                self.invalid(value, &format!("should be a multiple of {factor}"));
            }
        }
    }

    fn size(&mut self, least: Option<u64>, most: Option<u64>, found: u64, what: &str) {
        if let Some(most) = most.filter(|most| found > *most) {
            let detail =
                format!("Too many: {found}: must have at most {most} item{}", if most == 1 { "" } else { "s" });
            self.push(FieldError { reason: "FieldValueTooMany", field: self.path.clone(), detail });
        }
        if let Some(least) = least.filter(|least| found < *least) {
            self.invalid(&found.into(), &format!("should have at least {least} {what}"));
        }
    }

    fn combined(&mut self, checks: &Checks, value: &Value, old: Option<&Value>) {
        if let Some(beside) = &checks.beside {
            self.check(beside, value, old);
        }
        let mut failed = false;
        for part in &checks.all_of {
            if let Err(errors) = self.attempt(part, value) {
                failed = true;
                errors.into_iter().for_each(|error| self.push(error));
            }
        }
        if failed {
            self.composite("must validate all the schemas (allOf)");
        }
        if !checks.any_of.is_empty() {
            let outcomes: Vec<_> = checks.any_of.iter().map(|part| self.attempt(part, value)).collect();
            if outcomes.iter().all(Result::is_err) {
                self.composite("must validate at least one schema (anyOf)");
                self.best(outcomes);
            }
        }
        if !checks.one_of.is_empty() {
            let outcomes: Vec<_> = checks.one_of.iter().map(|part| self.attempt(part, value)).collect();
            match outcomes.iter().filter(|outcome| outcome.is_ok()).count() {
                1 => {}
                0 => {
                    self.composite("must validate one and only one schema (oneOf). Found none valid");
                    self.best(outcomes);
                }
                count => {
                    self.composite(&format!(
                        "must validate one and only one schema (oneOf). Found {count} valid alternatives"
                    ));
                }
            }
        }
        if let Some(not) = &checks.not
            && self.attempt(not, value).is_ok()
        {
            self.composite("must not validate the schema (not)");
        }
    }

    /// Adds the errors of the alternative that was nearest.
    fn best(&mut self, outcomes: Vec<Result<(), Vec<FieldError>>>) {
        let nearest = outcomes.into_iter().filter_map(Result::err).min_by_key(Vec::len);
        nearest.into_iter().flatten().for_each(|error| self.push(error));
    }

    fn attempt(&self, schema: &Schema, value: &Value) -> Result<(), Vec<FieldError>> {
        let mut errors = Vec::new();
        let mut run = Run { path: self.path.clone(), errors: &mut errors, failed: false };
        run.check(schema, value, None);
        if run.failed { Err(errors) } else { Ok(()) }
    }
}

/// The item of the old list that an item was before: lists that are maps keep track.
pub fn old_item<'v>(kind: &ListKind, old: Option<&'v Value>, item: &Value) -> Option<&'v Value> {
    let ListKind::Map(keys) = kind else { return None };
    let list = old?.as_array()?;
    list.iter().find(|old| keys.iter().all(|key| old.get(&**key) == item.get(&**key)))
}
