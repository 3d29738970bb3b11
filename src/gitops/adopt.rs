//! Live values written back into the manifests they differ from: scalar by scalar, each at its place,
//! all other bytes as they are. Pure.

mod compare;
mod scalar;

pub use compare::{Change, Step, changes};

use crate::api::changeset::ObjectId;
use crate::gitops::render::{Manifest, Origin, Rendered};
use serde_json::Value;

/// A file with what could be written back, and what could not.
#[derive(Debug, Clone, PartialEq)]
pub struct Adopted {
    pub text: String,
    /// The place of each that was left, and why.
    pub left: Vec<(Origin, String)>,
}

/// Writes what `live` has into `text`, the file that all of `objects` are from. `read` renders a text of
/// the file; each edit is checked by it: the file then says the new value there, and else what it said.
pub fn adopt(text: &str, objects: &[(&Manifest, &Value)], read: impl Fn(&str) -> Rendered) -> Adopted {
    let mut adopted = Adopted { text: text.to_owned(), left: Vec::new() };
    let mut edits = Vec::new();
    for (manifest, live) in objects {
        for change in changes(&manifest.value, live) {
            let place = manifest.spans_at(&change.path);
            edits.push((place.map(|at| (at.line, at.column)), *manifest, change));
        }
    }
    // From the end, so that the places before stay.
    edits.sort_by_key(|(place, ..)| std::cmp::Reverse(*place));
    let mut expected = values(&read(text));
    for (place, manifest, change) in edits {
        let origin = manifest.origin_of(&change.describe());
        let left = |why: &str| (origin.clone(), format!("{}: {}: {why}", manifest.describe(), change.describe()));
        let new = match &change.new {
            Ok(new) => new,
            Err(why) => {
                adopted.left.push(left(why));
                continue;
            }
        };
        let edited = place.and_then(|(line, column)| {
            let is_json = manifest.origin.file.ends_with(".json");
            scalar::replace(&adopted.text, (line, column), &change.old, new, is_json)
        });
        let mut wanted = expected.clone();
        let slot = wanted.iter_mut().find(|(id, _)| *id == manifest.id);
        if let (Some(edited), Some((_, slot))) =
            (edited, slot.and_then(|(id, value)| Some((id, value.pointer_mut(&change.pointer())?))))
        {
            slot.clone_from(new);
            if values(&read(&edited)) == wanted {
                (adopted.text, expected) = (edited, wanted);
                continue;
            }
        }
        adopted.left.push(left("cannot be written in its place"));
    }
    adopted.left.sort();
    adopted
}

/// Empty for a text with errors, which no edit may lead to.
fn values(rendered: &Rendered) -> Vec<(ObjectId, Value)> {
    if !rendered.errors.is_empty() {
        return Vec::new();
    }
    rendered.objects.iter().map(|manifest| (manifest.id.clone(), manifest.value.clone())).collect()
}

#[cfg(test)]
mod tests;
