//! Schemas of custom resources: made from the `openAPIV3Schema` of a definition, with what
//! validation checks of each value.

pub mod compile;
pub mod defaults;
mod formats;
pub mod lists;
pub mod structural;
pub mod validate;

pub use formats::Format;

use super::SchemaRef;
use crate::api::cel::Rule;
use regex::Regex;
use serde_json::Value;
use std::sync::{Arc, OnceLock};

/// What a value must be. Everything unset takes anything.
#[derive(Debug, Default)]
pub struct Checks {
    pub kind: Option<JsonType>,
    pub format: Option<formats::Format>,
    pub one_of_values: Vec<Value>,
    pub pattern: Option<Arc<Pattern>>,
    pub minimum: Option<Bound>,
    pub maximum: Option<Bound>,
    pub multiple_of: Option<f64>,
    pub min_length: Option<u64>,
    pub max_length: Option<u64>,
    pub min_items: Option<u64>,
    pub max_items: Option<u64>,
    pub min_properties: Option<u64>,
    pub max_properties: Option<u64>,
    pub all_of: Vec<SchemaRef>,
    pub any_of: Vec<SchemaRef>,
    pub one_of: Vec<SchemaRef>,
    pub not: Option<SchemaRef>,
    /// A whole object of some kind: it must say which.
    pub embedded: bool,
    /// Checked as well, without a message of its own: what a definition says of `metadata`.
    pub beside: Option<SchemaRef>,
    /// `x-kubernetes-validations`.
    pub rules: Vec<Rule>,
}

/// A limit of a number.
#[derive(Debug, Clone, Copy)]
pub struct Bound {
    pub value: f64,
    pub exclusive: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum JsonType {
    Array,
    Boolean,
    Integer,
    Number,
    Object,
    String,
    /// Integer or string, as Kubernetes' IntOrString.
    IntOrString,
}

impl JsonType {
    pub fn of(name: &str) -> Option<Self> {
        Some(match name {
            "array" => Self::Array,
            "boolean" => Self::Boolean,
            "integer" => Self::Integer,
            "number" => Self::Number,
            "object" => Self::Object,
            "string" => Self::String,
            _ => return None,
        })
    }

    pub fn name(self) -> &'static str {
        match self {
            Self::Array => "array",
            Self::Boolean => "boolean",
            Self::Integer => "integer",
            Self::Number => "number",
            Self::Object => "object",
            Self::String => "string",
            Self::IntOrString => "integer,string",
        }
    }

    pub fn takes(self, value: &Value) -> bool {
        match self {
            Self::Array => value.is_array(),
            Self::Boolean => value.is_boolean(),
            Self::Integer => is_integer(value),
            Self::Number => value.is_number(),
            Self::Object => value.is_object(),
            Self::String => value.is_string(),
            Self::IntOrString => value.is_string() || is_integer(value),
        }
    }
}

fn is_integer(value: &Value) -> bool {
    value.is_i64() || value.is_u64() || value.as_f64().is_some_and(|number| number.fract() == 0.0)
}

/// The name of a value's type in messages.
pub fn type_of(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "boolean",
        Value::Number(_) if is_integer(value) => "integer",
        Value::Number(_) => "number",
        Value::String(_) => "string",
        Value::Array(_) => "array",
        Value::Object(_) => "object",
    }
}

/// A regular expression, compiled when it is first needed: most of a big definition's never are.
#[derive(Debug)]
pub struct Pattern {
    pub text: String,
    compiled: OnceLock<Option<Regex>>,
}

impl Pattern {
    pub fn new(text: &str) -> Self {
        Self { text: text.into(), compiled: OnceLock::new() }
    }

    /// One that does not compile (the definition was refused then) matches everything.
    pub fn matches(&self, text: &str) -> bool {
        let compiled = self.compiled.get_or_init(|| compile(&self.text).ok());
        compiled.as_ref().is_none_or(|regex| regex.is_match(text))
    }
}

/// Go's syntax, as far as it is another: `\d` and `\w` are ASCII there, and a class knows no
/// operators.
pub fn compile(pattern: &str) -> Result<Regex, regex::Error> {
    let mut plain = String::with_capacity(pattern.len());
    let mut rest = pattern.chars();
    let mut in_class = false;
    while let Some(c) = rest.next() {
        match c {
            '\\' => match (rest.next(), in_class) {
                (Some('d'), false) => plain.push_str("[0-9]"),
                (Some('d'), true) => plain.push_str("0-9"),
                (Some('w'), false) => plain.push_str("[0-9A-Za-z_]"),
                (Some('w'), true) => plain.push_str("0-9A-Za-z_"),
                (Some('/'), _) => plain.push('/'),
                (Some(other), _) => plain.extend(['\\', other]),
                (None, _) => plain.push('\\'),
            },
            '[' if in_class => match rest.as_str().split_once(":]").filter(|(name, _)| is_posix(name)) {
                Some((name, after)) => {
                    plain.push_str(&format!("[{name}:]"));
                    rest = after.chars();
                }
                None => plain.push_str("\\["),
            },
            '[' => {
                in_class = true;
                plain.push(c);
                // A bracket right after the opening one is itself.
                for (found, written) in [("^", "^"), ("]", "\\]")] {
                    if let Some(after) = rest.as_str().strip_prefix(found) {
                        plain.push_str(written);
                        rest = after.chars();
                    }
                }
            }
            ']' => {
                in_class = false;
                plain.push(c);
            }
            '&' | '~' if in_class => plain.extend(['\\', c]),
            other => plain.push(other),
        }
    }
    regex::RegexBuilder::new(&plain).size_limit(4 << 20).dfa_size_limit(1 << 20).build()
}

/// `:alpha` of `[:alpha:]`.
fn is_posix(name: &str) -> bool {
    name.strip_prefix(':').is_some_and(|name| name.trim_start_matches('^').bytes().all(|b| b.is_ascii_lowercase()))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn patterns_are_those_of_go() {
        let matches = |pattern: &str, text: &str| compile(pattern).unwrap().is_match(text);
        assert!(matches("^[A-Za-z]([A-Za-z0-9_,:]*[A-Za-z0-9_])?$", "Pending"));
        assert!(matches(r"^\d+[\d/]\w$", "12/x") && !matches(r"^\d$", "\u{663}"));
        assert!(matches("^[[:alpha:][:digit:]-]+$", "a1-") && matches("^[][a]+$", "[a]") && matches("^[^]]$", "x"));
        assert!(matches("^[a&&b~~]+$", "&~a") && matches(r"^a\/b$", "a/b"));
        assert!(compile("(").is_err() && compile("(a{1000}){1000}").is_err());
    }
}
