//! Which fields of an object change.
//!
//! Entries of lists are matched by their keys (a container by its name), not by position. Left out:
//! status, bookkeeping metadata, and defaults that come along with what the manifest sets.

mod given;
mod lists;
mod path;

use crate::api::schema::{Schema, Shape};
use path::Path;
use serde::Serialize;
use serde_json::{Map, Value};
use similar::{ChangeTag, TextDiff};

/// One field that changes. `path` reads `spec.template.spec.containers[web].image`.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(tag = "change", rename_all = "lowercase")]
pub enum FieldChange {
    Added {
        path: String,
        after: Value,
    },
    Removed {
        path: String,
        before: Value,
    },
    Changed {
        path: String,
        before: Value,
        after: Value,
    },
    /// A text of several lines: the changed lines with three of context.
    Text {
        path: String,
        lines: Vec<Line>,
    },
    /// A value of a Secret, or from an encrypted file: that it changes, never what it is.
    Secret {
        path: String,
        what: SecretChange,
    },
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum SecretChange {
    Added,
    Removed,
    Changed,
}

/// One line of a text difference; `...` between distant parts has the sign `…`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Line {
    /// `+`, `-`, a blank for context, `…` for lines left out.
    pub sign: char,
    pub text: String,
}

impl FieldChange {
    pub fn path(&self) -> &str {
        match self {
            Self::Added { path, .. }
            | Self::Removed { path, .. }
            | Self::Changed { path, .. }
            | Self::Text { path, .. }
            | Self::Secret { path, .. } => path,
        }
    }
}

/// How two states are compared.
#[derive(Debug, Clone, Copy, Default)]
pub struct How {
    /// No value is shown.
    pub confidential: bool,
    /// The second state is that of another object in the place of the first: what each is given when it is made is
    /// no difference.
    pub replaced: bool,
}

/// The differences of two states of one object. `manifest` tells defaults from intent; without it
/// every added field counts.
pub fn diff(
    before: &Value,
    after: &Value,
    manifest: Option<&Value>,
    schema: Option<&Schema>,
    how: &How,
) -> Vec<FieldChange> {
    let kind = after.get("kind").or(before.get("kind")).and_then(Value::as_str).unwrap_or_default();
    let hidden = match kind {
        _ if how.confidential => Hidden::Everything,
        "Secret" => Hidden::Data,
        _ => Hidden::Nothing,
    };
    let replaced = how.replaced.then(|| kind.to_owned());
    let mut differ = Differ { hidden, replaced, changes: Vec::new() };
    let (before, after) = (without_noise(before), without_noise(after));
    differ.value(&Path::root(), &before, &after, Intent::of(manifest), schema);
    differ.changes
}

pub const METADATA_NOISE: [&str; 6] =
    ["managedFields", "generation", "resourceVersion", "uid", "creationTimestamp", "selfLink"];
/// Annotations that controllers and kubectl keep for themselves. The second would show a Secret's values.
const ANNOTATION_NOISE: [&str; 2] =
    ["deployment.kubernetes.io/revision", "kubectl.kubernetes.io/last-applied-configuration"];

/// An object without what no manifest sets; also what drift detection compares.
pub fn without_noise(object: &Value) -> Value {
    let Some(fields) = object.as_object() else { return object.clone() };
    let mut kept: Map<String, Value> = fields
        .iter()
        .filter(|(key, _)| !matches!(key.as_str(), "status" | "metadata"))
        .map(|(key, value)| (key.clone(), value.clone()))
        .collect();
    if let Some(Value::Object(metadata)) = fields.get("metadata") {
        let mut metadata = metadata.clone();
        metadata.retain(|key, _| !METADATA_NOISE.contains(&key.as_str()));
        if let Some(Value::Object(annotations)) = metadata.get_mut("annotations") {
            annotations.retain(|key, _| !ANNOTATION_NOISE.contains(&key.as_str()));
            if annotations.is_empty() {
                metadata.remove("annotations");
            }
        }
        kept.insert("metadata".to_owned(), Value::Object(metadata));
    }
    Value::Object(kept)
}

/// What the manifest says at the place being compared.
#[derive(Clone, Copy)]
enum Intent<'a> {
    /// There is no manifest to ask.
    Unknown,
    Silent,
    Says(&'a Value),
}

impl<'a> Intent<'a> {
    fn of(manifest: Option<&'a Value>) -> Self {
        manifest.map_or(Self::Unknown, Self::Says)
    }

    fn field(self, key: &str) -> Self {
        self.step(|value| value.get(key))
    }

    fn step(self, find: impl FnOnce(&'a Value) -> Option<&'a Value>) -> Self {
        match self {
            Self::Says(value) => find(value).map_or(Self::Silent, Self::Says),
            other => other,
        }
    }
}

/// Whose values are not shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Hidden {
    Nothing,
    /// A Secret's.
    Data,
    Everything,
}

struct Differ {
    hidden: Hidden,
    /// The kind of what is replaced.
    replaced: Option<String>,
    changes: Vec<FieldChange>,
}

impl Differ {
    fn value(&mut self, path: &Path, before: &Value, after: &Value, intent: Intent<'_>, schema: Option<&Schema>) {
        if before == after {
            return;
        }
        match (before, after) {
            (Value::Object(_), Value::Object(_)) | (Value::Array(_), Value::Array(_)) => {}
            _ if self.is_given_anew(path, intent) => return,
            _ => {}
        }
        match (before, after) {
            (Value::Object(before), Value::Object(after)) => self.map(path, before, after, intent, schema),
            (Value::Array(before), Value::Array(after)) => self.list(path, before, after, intent, schema),
            (Value::String(before), Value::String(after)) if !self.hides(path) && is_text(before, after) => {
                self.changes.push(FieldChange::Text { path: path.to_string(), lines: lines(before, after) });
            }
            _ => self.push(path, Some(before), Some(after)),
        }
    }

    fn map(
        &mut self,
        path: &Path,
        before: &Map<String, Value>,
        after: &Map<String, Value>,
        intent: Intent<'_>,
        schema: Option<&Schema>,
    ) {
        let mut keys: Vec<&String> =
            before.keys().chain(after.keys().filter(|key| !before.contains_key(*key))).collect();
        keys.sort();
        for key in keys {
            let path = path.field(key);
            let intent = intent.field(key);
            match (before.get(key), after.get(key)) {
                (Some(old), Some(new)) => self.value(&path, old, new, intent, child(schema, key)),
                (Some(_), None) if self.is_given_later(&path, intent) => {}
                (Some(old), None) => self.push(&path, Some(old), None),
                (None, Some(new)) => self.added(&path, new, intent),
                (None, None) => {}
            }
        }
    }

    /// Shows what the manifest asks for; a field it is silent about is a default.
    fn added(&mut self, path: &Path, value: &Value, intent: Intent<'_>) {
        match intent {
            Intent::Silent => {}
            Intent::Says(meant) if meant.is_object() || meant.is_array() => self.push(path, None, Some(meant)),
            Intent::Says(_) | Intent::Unknown => self.push(path, None, Some(value)),
        }
    }

    fn push(&mut self, path: &Path, before: Option<&Value>, after: Option<&Value>) {
        if self.hides(path) {
            return self.push_secret(path, before, after);
        }
        let path = path.to_string();
        let change = match (before, after) {
            (Some(before), Some(after)) => FieldChange::Changed { path, before: before.clone(), after: after.clone() },
            (Some(before), None) => FieldChange::Removed { path, before: before.clone() },
            (None, Some(after)) => FieldChange::Added { path, after: after.clone() },
            (None, None) => return,
        };
        self.changes.push(change);
    }

    /// One entry for each key, so that which keys change is seen.
    fn push_secret(&mut self, path: &Path, before: Option<&Value>, after: Option<&Value>) {
        let what = match (before, after) {
            (Some(_), Some(_)) => SecretChange::Changed,
            (Some(_), None) => SecretChange::Removed,
            (None, _) => SecretChange::Added,
        };
        match before.or(after) {
            Some(Value::Object(entries)) => {
                for key in entries.keys() {
                    self.changes.push(FieldChange::Secret { path: path.field(key).to_string(), what });
                }
            }
            _ => self.changes.push(FieldChange::Secret { path: path.to_string(), what }),
        }
    }

    fn hides(&self, path: &Path) -> bool {
        match self.hidden {
            Hidden::Nothing => false,
            Hidden::Data => matches!(path.first(), Some("data" | "stringData")),
            Hidden::Everything => true,
        }
    }
}

/// The schema of a field.
fn child<'a>(schema: Option<&'a Schema>, key: &str) -> Option<&'a Schema> {
    match &schema?.shape {
        Shape::Object(object) => Some(&object.fields.get(key)?.schema),
        Shape::Map { values, .. } => Some(values),
        _ => None,
    }
}

fn is_text(before: &str, after: &str) -> bool {
    before.trim_end().contains('\n') || after.trim_end().contains('\n')
}

fn lines(before: &str, after: &str) -> Vec<Line> {
    let text = TextDiff::from_lines(before, after);
    let mut lines = Vec::new();
    for (index, group) in text.grouped_ops(3).iter().enumerate() {
        if index > 0 {
            lines.push(Line { sign: '…', text: String::new() });
        }
        for change in group.iter().flat_map(|op| text.iter_changes(op)) {
            let sign = match change.tag() {
                ChangeTag::Delete => '-',
                ChangeTag::Insert => '+',
                ChangeTag::Equal => ' ',
            };
            lines.push(Line { sign, text: change.value().trim_end_matches('\n').to_owned() });
        }
    }
    lines
}

#[cfg(test)]
mod tests;
