//! YAML and JSON text to JSON values with the position of each part, as sigs.k8s.io/yaml reads them
//! (see [`super::scalar`]).

use super::error::{Origin, RenderError};
use super::scalar;
use super::spans::{Children, Position, Spans};
use super::tree::{self, Body, Form, Node, Scalar};
use serde_json::{Map, Value};
use std::sync::Arc;

/// One document of a file. Empty documents are left out.
#[derive(Debug, Clone, PartialEq)]
pub struct Document {
    pub value: Value,
    pub spans: Spans,
}

/// Reads all documents of `text`. The first error ends the file.
pub fn documents(file: &Arc<str>, text: &str) -> Result<Vec<Document>, RenderError> {
    let mut documents = Vec::new();
    for node in tree::documents(file, text)? {
        let (value, spans) = read(node).map_err(|(at, problem)| problem.at(file, at))?;
        if !value.is_null() {
            documents.push(Document { value, spans });
        }
    }
    Ok(documents)
}

enum Problem {
    Value(String),
    Duplicate { key: String, first: u32 },
}

impl Problem {
    fn at(self, file: &Arc<str>, at: Position) -> RenderError {
        let origin = Origin { file: file.clone(), line: at.line, column: at.column };
        match self {
            Self::Value(what) => RenderError::new(origin, what),
            Self::Duplicate { key, first } => tree::duplicate(origin, &key, first),
        }
    }
}

fn read(node: Node) -> Result<(Value, Spans), (Position, Problem)> {
    let at = node.at;
    let (value, children) = match node.body {
        Body::Scalar(scalar) => (resolve(&scalar).map_err(|what| (at, Problem::Value(what)))?, Children::None),
        Body::List(items) => {
            let read = items.into_iter().map(read).collect::<Result<Vec<_>, _>>()?;
            let (values, spans) = read.into_iter().unzip();
            (Value::Array(values), Children::List(spans))
        }
        Body::Map(entries) => {
            let mut map = Map::new();
            let mut spans: Vec<(Arc<str>, Position, Spans)> = Vec::with_capacity(entries.len());
            for entry in entries {
                let key = key(&entry.key).map_err(|what| (entry.at, Problem::Value(what)))?;
                // Keys of two spellings may be one: `yes` and `true`.
                if map.contains_key(&*key) {
                    let first = spans.iter().find(|(name, ..)| *name == key).map_or(0, |(_, at, _)| at.line);
                    return Err((entry.at, Problem::Duplicate { key: key.to_string(), first }));
                }
                let (value, inner) = read(entry.value)?;
                map.insert(key.to_string(), value);
                spans.push((key, entry.at, inner));
            }
            (Value::Object(map), Children::Map(spans))
        }
    };
    Ok((value, Spans { at, children }))
}

fn key(scalar: &Scalar) -> Result<Arc<str>, String> {
    if matches!(scalar.form, Form::Quoted | Form::Folded) {
        return Ok(scalar.text.clone());
    }
    match resolve(scalar)? {
        Value::String(text) if *text == *scalar.text => Ok(scalar.text.clone()),
        value => {
            let text = scalar::key(&value);
            text.map(Into::into).ok_or_else(|| format!("a map key must be text, found {}", kind_of(&value)))
        }
    }
}

fn resolve(scalar: &Scalar) -> Result<Value, String> {
    match &scalar.form {
        Form::Plain => scalar::plain(&scalar.text),
        Form::Core(tag) => scalar::tagged(tag, &scalar.text),
        Form::Quoted | Form::Folded | Form::Foreign => Ok(Value::String(scalar.text.to_string())),
    }
}

/// The JSON type's name with its article, for messages.
pub fn kind_of(value: &Value) -> &'static str {
    match value {
        Value::Null => "nothing",
        Value::Bool(_) => "a boolean",
        Value::Number(_) => "a number",
        Value::String(_) => "a string",
        Value::Array(_) => "a list",
        Value::Object(_) => "a map",
    }
}

#[cfg(test)]
mod tests;
