//! Live values written back into the manifests they differ from: each at its place, all other bytes as they are.
//! Pure.

mod change;
mod compare;
mod edit;
mod layout;
mod owned;
mod place;
mod rules;
mod variables;
mod write;

pub use change::{Change, Op, Step};
pub use compare::{changes, compared};
pub use rules::Rules;

use crate::api::changeset::ObjectId;
use crate::gitops::render::{Manifest, Origin, Rendered};
use layout::Layout;
use serde_json::Value;
use similar::{Algorithm, DiffOp, capture_diff_slices};

/// A file with what was written back, and what could not be.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Adopted {
    pub text: String,
    pub written: Vec<Written>,
    pub left: Vec<Left>,
    /// Comments that went with what they were about: their lines, and what they said.
    pub dropped: Vec<(usize, String)>,
}

/// A field that the file then says as it is.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Written {
    pub origin: Origin,
    /// `Deployment shop/web`.
    pub object: String,
    pub path: String,
    /// `changed`, `added` or `removed`.
    pub what: &'static str,
}

/// What stays as it is: the place, and why.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Left {
    pub origin: Origin,
    pub why: String,
}

/// Writes what `live` has into `text`, the file that all of `objects` are from. `read` renders a text of
/// the file; each edit is checked by it: the file then says the new value there, and else what it said. `hint` tells
/// where else a value could be from.
pub fn adopt(
    text: &str,
    objects: &[(&Manifest, &Value)],
    rules: &Rules<'_>,
    hint: &str,
    read: impl Fn(&str) -> Rendered,
) -> Adopted {
    let mut adopted = Adopted { text: text.to_owned(), ..Adopted::default() };
    let mut now = read(text);
    for (manifest, live) in objects {
        let (mut found, mut others) = compared(&manifest.value, live, rules);
        others.extend(variables::kept(&mut found, text, manifest));
        for (path, why) in others {
            let why = format!("{}: {path}: {why}", manifest.describe());
            adopted.left.push(Left { origin: manifest.origin_of(&path), why });
        }
        // From the end, so that the indexes before stay.
        for change in found.into_iter().rev() {
            let (origin, object, path) =
                (manifest.origin_of(&change.describe()), manifest.describe(), change.describe());
            match made(&adopted.text, &now, &manifest.id, &change, hint, &read) {
                Ok((text, rendered)) => {
                    (adopted.text, now) = (text, rendered);
                    adopted.written.push(Written { origin, object, path, what: change.op.word() });
                }
                Err(why) => {
                    let why = format!("{object}: {path}: cannot be written in its place{why}");
                    adopted.left.push(Left { origin, why });
                }
            }
        }
    }
    adopted.written.sort();
    adopted.left.sort();
    adopted.dropped = dropped(text, &adopted.text);
    adopted
}

/// The text with a change made, and what it renders to; `Err` says why there is none.
fn made(
    text: &str,
    now: &Rendered,
    id: &ObjectId,
    change: &Change,
    hint: &str,
    read: impl Fn(&str) -> Rendered,
) -> Result<(String, Rendered), String> {
    let Some(manifest) = now.objects.iter().find(|manifest| manifest.id == *id) else { return Err(String::new()) };
    let mut wanted = values(now);
    let slot = wanted.iter_mut().find(|(known, _)| known == id);
    let possible = slot.and_then(|(_, value)| change.apply(value)).is_some();
    let explained = |why: String| if why.is_empty() { hint.to_owned() } else { why };
    let told = |why: String| if why.is_empty() { why } else { format!(": {why}") };
    let candidates = edit::candidates(text, manifest, change).map_err(|why| told(explained(why)))?;
    for edited in candidates.into_iter().filter(|_| possible) {
        let rendered = read(&edited);
        if values(&rendered) == wanted {
            return Ok((edited, rendered));
        }
    }
    Err(told(explained(edit::why_not(text, manifest, change).unwrap_or_default())))
}

/// Empty for a text with errors, which no edit may lead to.
fn values(rendered: &Rendered) -> Vec<(ObjectId, Value)> {
    if !rendered.errors.is_empty() {
        return Vec::new();
    }
    rendered.objects.iter().map(|manifest| (manifest.id.clone(), manifest.value.clone())).collect()
}

/// Comments of the first text that the second one lacks, by their lines in the first.
fn dropped(before: &str, after: &str) -> Vec<(usize, String)> {
    let comments = |text: &str| -> Vec<(usize, String)> {
        let Some(layout) = Layout::of(text.trim_start_matches('\u{feff}')) else { return Vec::new() };
        let told = |at: std::ops::Range<usize>| (layout.line(at.start), layout.text[at].trim_end().to_owned());
        layout.comments().into_iter().map(told).collect()
    };
    let (before, after) = (comments(before), comments(after));
    let texts = |all: &[(usize, String)]| all.iter().map(|(_, text)| text.clone()).collect::<Vec<_>>();
    let ops = capture_diff_slices(Algorithm::Myers, &texts(&before), &texts(&after));
    let gone = ops.into_iter().filter(|op| !matches!(op, DiffOp::Equal { .. }));
    gone.flat_map(|op| before[op.old_range()].to_vec()).collect()
}

#[cfg(test)]
mod tests;
