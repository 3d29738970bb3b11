//! Variables in manifests: `${NAME}` and bash's operators on it, by the rules of Flux's post-build
//! substitution. Pure.
//!
//! Flux substitutes in the object's YAML and reads that again. Here each text is substituted by itself: the
//! result is the same for every value that leaves the YAML whole, and no value can break out of its field.

mod expand;
mod pattern;

use super::error::{Origin, RenderError};
use super::spans::Spans;
use super::{print, scalar, yaml};
use crate::base::template::is_variable_name;
use expand::Spent;
use serde_json::{Map, Value};
use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::sync::Arc;

/// Labels or annotations with the value `disabled`: nothing is substituted in the object.
const SUBSTITUTE: [&str; 2] = ["selkie.dev/substitute", "kustomize.toolkit.fluxcd.io/substitute"];
/// Characters that all substitutions of a source may write and compare.
const BUDGET: usize = 200_000_000;

/// Variables and their values, which may be secret.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Variables {
    values: BTreeMap<String, String>,
    /// Those whose values are never shown.
    secret: BTreeSet<String>,
    /// A variable that is not set and has no default is an error; otherwise it is empty.
    pub strict: bool,
}

impl fmt::Debug for Variables {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.values.keys()).finish()
    }
}

impl Variables {
    pub fn new(strict: bool) -> Self {
        Self { strict, ..Self::default() }
    }

    /// Sets a variable, over what it was. Line breaks are left out of the value, as Flux does.
    pub fn set(&mut self, name: &str, value: &str) -> Result<(), String> {
        if !is_variable_name(name) {
            return Err(format!("{name:?} is no name of a variable: letters, digits and _, not a digit first"));
        }
        self.values.insert(name.to_owned(), value.replace('\n', ""));
        self.secret.remove(name);
        Ok(())
    }

    /// The same with a value that is never shown, nor is any other of an object that it is put into.
    pub fn set_secret(&mut self, name: &str, value: &str) -> Result<(), String> {
        self.set(name, value)?;
        self.secret.insert(name.to_owned());
        Ok(())
    }

    fn is_secret(&self, name: &str) -> bool {
        self.secret.contains(name)
    }

    fn get(&self, name: &str) -> Option<&str> {
        self.values.get(name).map(String::as_str)
    }
}

/// The substitution of one source.
pub(super) struct Substitution<'a> {
    variables: &'a Variables,
    spent: Spent,
}

impl<'a> Substitution<'a> {
    pub fn new(variables: &'a Variables) -> Self {
        Self { variables, spent: Spent { left: BUDGET, secret: false } }
    }

    /// Substitutes in one object; true: something secret was put into it. The errors hold no values of variables.
    pub fn apply(&mut self, file: &Arc<str>, object: &mut Value, spans: &Spans) -> Result<bool, Vec<RenderError>> {
        let mut errors = Vec::new();
        self.spent.secret = false;
        if !is_disabled(object) {
            self.value(file, object, spans, &mut errors);
        }
        if errors.is_empty() { Ok(self.spent.secret) } else { Err(errors) }
    }

    fn value(&mut self, file: &Arc<str>, value: &mut Value, spans: &Spans, errors: &mut Vec<RenderError>) {
        match value {
            Value::String(text) if has_variables(text) => match self.text(file, text, spans) {
                Ok(expanded) if print::is_plain(text) => *value = meaning(expanded),
                Ok(expanded) => *value = Value::String(expanded),
                Err(error) => errors.push(error),
            },
            Value::Array(items) => {
                for (index, item) in items.iter_mut().enumerate() {
                    self.value(file, item, spans.item(index).unwrap_or(spans), errors);
                }
            }
            Value::Object(map) => {
                for (key, value) in map.iter_mut() {
                    self.value(file, value, spans.get(key).unwrap_or(spans), errors);
                }
                if map.keys().any(|key| has_variables(key)) {
                    self.keys(file, map, spans, errors);
                }
            }
            _ => {}
        }
    }

    fn keys(&mut self, file: &Arc<str>, map: &mut Map<String, Value>, spans: &Spans, errors: &mut Vec<RenderError>) {
        for (key, value) in std::mem::take(map) {
            let at = spans.get(&key).unwrap_or(spans);
            let key = match has_variables(&key).then(|| self.text(file, &key, at)).transpose() {
                Ok(expanded) => expanded.unwrap_or(key),
                Err(error) => {
                    errors.push(error);
                    continue;
                }
            };
            if map.insert(key, value).is_some() {
                let what = "with its variables set, this key is already set in this map";
                errors.push(RenderError::new(origin(file, at), what).hint("keep one of the two"));
            }
        }
    }

    fn text(&mut self, file: &Arc<str>, text: &str, spans: &Spans) -> Result<String, RenderError> {
        expand::expand(text, self.variables, &mut self.spent)
            .map_err(|wrong| RenderError::new(origin(file, spans), wrong.what).hint(wrong.hint))
    }
}

fn origin(file: &Arc<str>, spans: &Spans) -> Origin {
    Origin { file: file.clone(), line: spans.at.line, column: spans.at.column }
}

fn has_variables(text: &str) -> bool {
    text.contains("${") || text.contains("$$")
}

fn is_disabled(object: &Value) -> bool {
    ["labels", "annotations"].iter().any(|field| {
        let marks = object.get("metadata").and_then(|metadata| metadata.get(field));
        marks.is_some_and(|marks| SUBSTITUTE.iter().any(|mark| marks.get(mark).is_some_and(|is| is == "disabled")))
    })
}

/// What a text without quotes means in YAML once its variables are set: `3` is a number, `[a, b]` a list. What
/// means nothing there is the text as it is.
fn meaning(text: String) -> Value {
    let read = if text.starts_with(['[', '{', '"', '\'']) {
        let mut documents = yaml::documents(&Arc::from(""), &text).unwrap_or_default();
        documents.pop().filter(|_| documents.is_empty()).map(|document| document.value)
    } else {
        scalar::plain(&text).ok()
    };
    read.unwrap_or(Value::String(text))
}

#[cfg(test)]
mod tests;
