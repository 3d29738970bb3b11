//! Rules that definitions attach to their schemas (`x-kubernetes-validations`), in the Common
//! Expression Language. The `cel` crate parses; evaluation is here, because it works on objects in
//! place, knows Kubernetes' types, and has a budget: a rule can be wrong, but cannot hang the server.

pub mod duration;
mod eval;
mod functions;
mod kubernetes;
mod names;
mod net;
mod predicate;
mod rule;
#[cfg(test)]
mod tests;
mod text;
mod time;
mod value;

pub use predicate::Predicate;
pub use rule::{Rule, device_selector};

use crate::api::error::FieldError;
use crate::api::schema::custom::validate::{old_item, step, step_key};
use crate::api::schema::{Schema, Shape};
use eval::{Engine, Scope};
use serde_json::Value;
use std::rc::Rc;
use value::{Fault, Val, load};

/// Steps that all rules of one object may take together.
const PER_OBJECT: i64 = 10_000_000;

/// Whether a text is a semantic version.
pub fn is_semver(text: &str) -> bool {
    net::Semver::parse(text).is_some()
}

/// Whether any part of a schema has rules.
pub fn has_rules(schema: &Schema) -> bool {
    let checks = schema.checks.as_ref();
    if checks.is_some_and(|checks| !checks.rules.is_empty()) {
        return true;
    }
    match &schema.shape {
        Shape::Object(shape) => shape.fields.values().any(|field| has_rules(&field.schema)),
        Shape::Map { values, .. } => has_rules(values),
        Shape::List { items, .. } => has_rules(items),
        _ => false,
    }
}

/// Checks the rules of a schema and of everything in it.
pub fn check(schema: &Schema, object: &Value, old: Option<&Value>, errors: &mut Vec<FieldError>) {
    let mut walk = Walk { engine: Engine::new(PER_OBJECT), path: String::new(), errors, ended: false };
    walk.check(schema, object, old);
}

struct Walk<'e> {
    engine: Engine,
    path: String,
    errors: &'e mut Vec<FieldError>,
    /// The budget is gone: nothing more is checked.
    ended: bool,
}

impl Walk<'_> {
    fn check(&mut self, schema: &Schema, value: &Value, old: Option<&Value>) {
        if self.ended || value.is_null() || !schema.lenient {
            return;
        }
        let old = old.filter(|old| !old.is_null());
        for rule in schema.checks.iter().flat_map(|checks| &checks.rules) {
            self.rule(rule, schema, value, old);
            if self.ended {
                return;
            }
        }
        let length = self.path.len();
        match (&schema.shape, value) {
            (Shape::Object(shape), Value::Object(fields)) => {
                for (name, value) in fields {
                    let Some(field) = shape.fields.get(name.as_str()) else { continue };
                    step(&mut self.path, name);
                    self.check(&field.schema, value, old.and_then(|old| old.get(name)));
                    self.path.truncate(length);
                }
            }
            (Shape::Map { values, .. }, Value::Object(entries)) => {
                for (name, value) in entries {
                    step_key(&mut self.path, name);
                    self.check(values, value, old.and_then(|old| old.get(name)));
                    self.path.truncate(length);
                }
            }
            (Shape::List { items, kind, .. }, Value::Array(list)) => {
                for (index, item) in list.iter().enumerate() {
                    self.path.push_str(&format!("[{index}]"));
                    self.check(items, item, old_item(kind, old, item));
                    self.path.truncate(length);
                }
            }
            _ => {}
        }
    }

    fn rule(&mut self, rule: &Rule, schema: &Schema, value: &Value, old: Option<&Value>) {
        if rule.uses_old() && old.is_none() && !rule.optional_old {
            return;
        }
        // What was wrong before the rule was may stay until it is touched.
        if !rule.uses_old() && old == Some(value) {
            return;
        }
        let Ok(program) = &rule.program else {
            return self.fail(schema, &format!("rule compile error: {}", rule.problem().unwrap_or_default()));
        };
        let before = old.map(|old| load(old, Some(schema)));
        let before = match rule.optional_old {
            true => Val::Optional(before.map(Rc::new)),
            false => before.unwrap_or(Val::Null),
        };
        let root = Scope { name: "oldSelf", value: Ok(before), parent: None };
        let scope = Scope { name: "self", value: Ok(load(value, Some(schema))), parent: Some(&root) };
        match self.engine.run(program, &scope) {
            Ok(Val::Bool(true)) => return,
            Ok(Val::Bool(false)) => {}
            Ok(_) => return self.fail(schema, "cel expression must evaluate to a bool"),
            Err(Fault::Budget) if self.engine.is_spent() => {
                self.ended = true;
                let why =
                    "validation failed due to running out of cost budget, no further validation rules will be run";
                return self.fail(schema, why);
            }
            Err(Fault::Budget) => {
                self.ended = true;
                let why = format!(
                    "'operation cancelled: actual cost limit exceeded': no further validation rules will be run due to call cost exceeds limit for rule: {}",
                    rule.shown()
                );
                return self.fail(schema, &why);
            }
            Err(Fault::Error(why)) if why.starts_with("no such overload") => {
                let why = format!(
                    "'{why}': call arguments did not match a supported operator, function or macro signature for rule: {}",
                    rule.shown()
                );
                return self.fail(schema, &why);
            }
            Err(Fault::Error(why)) => {
                return self.fail(schema, &format!("{why} evaluating rule: {}", rule.shown()));
            }
        }
        let own = rule.message_program.as_ref().and_then(|program| program.as_ref().ok());
        let own = own.and_then(|program| match self.engine.run(program, &scope) {
            Ok(Val::Text(text)) if !text.trim().is_empty() && !text.contains('\n') => Some(text.trim().to_string()),
            _ => None,
        });
        let detail = own.unwrap_or_else(|| rule.default_message());
        let mut field = self.path.clone();
        let below = rule.field_path.trim_start_matches('.');
        if !below.is_empty() {
            step(&mut field, below);
        }
        if field.is_empty() {
            field = "<nil>".into();
        }
        let shown = match (rule.reason, value) {
            ("FieldValueRequired", _) => format!("Required value: {detail}"),
            ("FieldValueForbidden", _) => format!("Forbidden: {detail}"),
            ("FieldValueDuplicate", value) => format!("Duplicate value: {value}"),
            (_, Value::Object(_) | Value::Array(_)) => format!("Invalid value: {detail}"),
            (_, value) => format!("Invalid value: {value}: {detail}"),
        };
        self.errors.push(FieldError { reason: rule.reason, field, detail: shown });
    }

    /// A rule that could not be checked.
    fn fail(&mut self, schema: &Schema, why: &str) {
        let kind = schema.checks.as_ref().and_then(|checks| checks.kind).map_or("", |kind| kind.name());
        let field = if self.path.is_empty() { "<nil>".to_string() } else { self.path.clone() };
        self.errors.push(FieldError::invalid(field, &kind.into(), why));
    }
}
