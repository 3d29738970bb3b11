//! One object of a source: its value, identity and place.

use super::error::{Origin, RenderError};
use super::spans::{Position, Spans};
use super::substitute::Substitution;
use super::yaml::{Document, kind_of};
use super::{Rendered, describe};
use crate::api::changeset::ObjectId;
use crate::gitops::adopt::Step;
use serde_json::Value;
use std::sync::Arc;

/// An object as its file says it, with the namespace filled in.
#[derive(Debug, Clone)]
pub struct Manifest {
    pub id: ObjectId,
    pub value: Value,
    /// Where the object starts.
    pub origin: Origin,
    pub spans: Spans,
    /// Its file is encrypted, or a value of a Secret was put into it: no value of it is shown.
    pub confidential: bool,
}

impl Manifest {
    /// Of an object that was rendered before.
    pub fn of(value: Value, origin: Origin) -> Self {
        let text = |pointer: &str| value.pointer(pointer).and_then(Value::as_str).unwrap_or_default().to_owned();
        let id = ObjectId {
            api_version: text("/apiVersion"),
            kind: text("/kind"),
            namespace: text("/metadata/namespace"),
            name: text("/metadata/name"),
            uid: String::new(),
        };
        Self { id, value, origin, spans: Spans::default(), confidential: false }
    }

    /// The place of a field: `spec.containers[0].image`; the nearest parent the file has.
    pub fn origin_of(&self, path: &str) -> Origin {
        let at = self.spans.find(path);
        if at.line == 0 {
            return self.origin.clone();
        }
        Origin { file: self.origin.file.clone(), line: at.line, column: at.column }
    }

    /// Where the value at this path begins, if the file has it.
    pub fn spans_at(&self, path: &[Step]) -> Option<Position> {
        let step = |spans: &Spans, step: &Step| match step {
            Step::Key(key) => spans.get(key).cloned(),
            Step::Index(index) => spans.item(*index).cloned(),
        };
        let found = path.iter().try_fold(self.spans.clone(), |spans, next| step(&spans, next))?;
        (found.at.line > 0).then_some(found.at)
    }

    /// `Deployment shop/web`.
    pub fn describe(&self) -> String {
        describe(&self.id)
    }

    pub(super) fn default_namespace(&mut self, namespace: &str) {
        if self.id.namespace.is_empty() {
            self.id.namespace = namespace.to_owned();
            if let Some(metadata) = self.value.get_mut("metadata").and_then(Value::as_object_mut) {
                metadata.insert("namespace".to_owned(), Value::String(namespace.to_owned()));
            }
        }
    }
}

/// Turns a document into objects; a `List` becomes its items. Errors go to `into.errors`.
pub(super) fn expand(
    file: &Arc<str>,
    document: Document,
    mut substitution: Option<&mut Substitution<'_>>,
    into: &mut Rendered,
) {
    let is_list = document.value.get("kind").and_then(Value::as_str).is_some_and(|kind| kind.ends_with("List"));
    let Document { mut value, spans } = document;
    let items = match value.get_mut("items").map(Value::take) {
        Some(Value::Array(items)) if is_list => items,
        Some(other) => {
            // Not a list of objects after all: `items` is a field of this kind.
            value["items"] = other;
            return single(file, value, spans, substitution, into);
        }
        None => return single(file, value, spans, substitution, into),
    };
    let positions = spans.get("items").cloned().unwrap_or_default();
    for (index, item) in items.into_iter().enumerate() {
        let spans = positions.item(index).cloned().unwrap_or_default();
        expand(file, Document { value: item, spans }, substitution.as_deref_mut(), into);
    }
}

fn single(
    file: &Arc<str>,
    mut value: Value,
    spans: Spans,
    substitution: Option<&mut Substitution<'_>>,
    into: &mut Rendered,
) {
    let confidential = match substitution.map(|substitution| substitution.apply(file, &mut value, &spans)) {
        None => false,
        Some(Ok(confidential)) => confidential,
        Some(Err(errors)) => {
            into.errors.extend(errors);
            return;
        }
    };
    let origin_of = |path: &str| {
        let at = spans.find(path);
        Origin { file: file.clone(), line: at.line, column: at.column }
    };
    match identity(&value) {
        Ok(id) => {
            let origin = origin_of("");
            into.objects.push(Manifest { id, value, origin, spans, confidential });
        }
        Err(Problem { path, .. }) if confidential => {
            let what = format!(
                "with its variables set, {} is not what it must be",
                if path.is_empty() { "the document" } else { path }
            );
            into.errors
                .push(RenderError::new(origin_of(path), what).hint("a value of a Secret was put into the object"));
        }
        Err(Problem { path, what, hint }) => into.errors.push(RenderError::new(origin_of(path), what).hint(hint)),
    }
}

struct Problem {
    path: &'static str,
    what: String,
    hint: &'static str,
}

fn identity(value: &Value) -> Result<ObjectId, Problem> {
    let problem = |path, what: String, hint| Problem { path, what, hint };
    if !value.is_object() {
        let what = format!("the document is {}, not an object", kind_of(value));
        return Err(problem("", what, "a manifest is a map with apiVersion, kind and metadata"));
    }
    let api_version = text(value, "/apiVersion", "apiVersion")?;
    let kind = text(value, "/kind", "kind")?;
    match value.get("metadata") {
        Some(Value::Object(_)) => {}
        Some(other) => {
            let what = format!("metadata must be a map, found {}", kind_of(other));
            return Err(problem("metadata", what, ""));
        }
        None => {
            let what = format!("{kind} has no metadata.name");
            return Err(problem("", what, "every object needs a name"));
        }
    }
    if value.pointer("/metadata/name").is_none() && value.pointer("/metadata/generateName").is_some() {
        let what = format!("{kind} has metadata.generateName but no name");
        let hint = "an object that is applied again needs a fixed metadata.name";
        return Err(problem("metadata.generateName", what, hint));
    }
    let name = text(value, "/metadata/name", "metadata.name")?;
    let namespace = match value.pointer("/metadata/namespace") {
        None | Some(Value::Null) => String::new(),
        Some(_) => text(value, "/metadata/namespace", "metadata.namespace")?,
    };
    Ok(ObjectId { api_version, kind, namespace, name, uid: String::new() })
}

fn text(value: &Value, pointer: &str, path: &'static str) -> Result<String, Problem> {
    let who = || match (value.get("kind").and_then(Value::as_str), path) {
        (Some(kind), "apiVersion" | "metadata.name" | "metadata.namespace") => kind.to_owned(),
        _ => "the document".to_owned(),
    };
    match value.pointer(pointer) {
        Some(Value::String(text)) if !text.is_empty() => Ok(text.clone()),
        None | Some(Value::Null) | Some(Value::String(_)) => {
            Err(Problem { path, what: format!("{} has no {path}", who()), hint: "" })
        }
        Some(other) => Err(Problem {
            path,
            what: format!("{path} must be a string, found {} ({other})", kind_of(other)),
            hint: "put it in quotes",
        }),
    }
}
