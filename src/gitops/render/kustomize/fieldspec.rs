//! Field specs: which fields of which kinds a transformer changes, and walking to them.

use super::id::{self, Gvk};
use crate::gitops::render::tree::{Body, Node};
use serde::Deserialize;

/// A path of keys with `/` in between (`\/` within a key), through all items of lists. `name[]` is a list
/// that is never made.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct FieldSpec {
    pub group: String,
    pub version: String,
    pub kind: String,
    pub path: String,
    /// Make the field where it is missing.
    pub create: bool,
}

impl FieldSpec {
    pub fn any(path: &str, create: bool) -> Self {
        Self { path: path.to_owned(), create, ..Self::default() }
    }

    pub fn of(kind: &str, path: impl Into<String>, create: bool) -> Self {
        Self { kind: kind.to_owned(), path: path.into(), create, ..Self::default() }
    }

    pub fn in_group(mut self, group: &str) -> Self {
        self.group = group.to_owned();
        self
    }

    pub fn in_version(mut self, version: &str) -> Self {
        self.version = version.to_owned();
        self
    }

    /// Whether it is for objects of the kind.
    pub fn selects(&self, gvk: &Gvk) -> bool {
        self.is_for(&gvk.group, &gvk.version, &gvk.kind)
    }

    fn is_for(&self, group: &str, version: &str, kind: &str) -> bool {
        let fits = |own: &str, other: &str| own.is_empty() || own == other;
        fits(&self.kind, kind) && fits(&self.group, group) && fits(&self.version, version)
    }

    /// The kinds it is for.
    pub fn gvk(&self) -> Gvk {
        Gvk { group: self.group.clone(), version: self.version.clone(), kind: self.kind.clone() }
    }
}

/// Adds what is not there yet. Two specs of one field must agree on making it.
pub fn merge(specs: &mut Vec<FieldSpec>, more: &[FieldSpec]) -> Result<(), String> {
    for spec in more {
        let is_known = |own: &&FieldSpec| own.path == spec.path && spec.is_for(&own.group, &own.version, &own.kind);
        match specs.iter().find(is_known) {
            None => specs.push(spec.clone()),
            Some(own) if own.create == spec.create => {}
            Some(_) => {
                return Err(format!("two field specs of {} disagree on `create`", spec.path));
            }
        }
    }
    Ok(())
}

/// What is made of a missing or null field at the path's end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Make {
    Nothing,
    Text,
    Map,
}

pub type Setter<'a> = &'a mut dyn FnMut(&mut Node) -> Result<(), String>;

/// Calls `set` with every field that the spec leads to, if it is for objects like this.
pub fn apply(object: &mut Node, spec: &FieldSpec, make: Make, set: Setter<'_>) -> Result<(), String> {
    let text = |key| object.get(key).map(Node::text).unwrap_or_default();
    let (group, version) = id::split(text("apiVersion"));
    if !spec.is_for(group, version, text("kind")) {
        return Ok(());
    }
    let path = split(&spec.path, '/');
    let make = if spec.create { make } else { Make::Nothing };
    walk(object, &path, make, set).map_err(|why| format!("field {}: {why}", spec.path))
}

fn walk(node: &mut Node, path: &[String], make: Make, set: Setter<'_>) -> Result<(), String> {
    let Some((first, rest)) = path.split_first() else { return set(node) };
    if node.is_null() {
        return Ok(());
    }
    if let Body::List(items) = &mut node.body {
        return items.iter_mut().try_for_each(|item| walk(item, path, make, set));
    }
    if !node.is_map() {
        return Err(format!("expected a map or a list, found {}", node.kind_name()));
    }
    let (name, is_list) = match first.strip_suffix("[]") {
        Some(name) => (name, true),
        None => (first.as_str(), false),
    };
    if name.is_empty() {
        return Err("a part of the path is empty".to_owned());
    }
    let made = match make {
        _ if is_list => Some(Node::list()),
        Make::Nothing => None,
        _ if !rest.is_empty() => Some(Node::map()),
        Make::Map => Some(Node::map()),
        Make::Text => Some(Node::string("")),
    };
    match (node.get(name), made) {
        (None, Some(made)) if !is_list => node.set(name, made),
        (Some(old), Some(made)) if old.is_null() => node.set(name, made),
        _ => {}
    }
    match node.get_mut(name) {
        Some(field) => walk(field, rest, make, set),
        None => Ok(()),
    }
}

/// Splits a path at a separator that no backslash precedes.
pub fn split(path: &str, separator: char) -> Vec<String> {
    let mut parts: Vec<String> = Vec::new();
    let mut pieces = path.split(separator).peekable();
    if path.starts_with(separator) {
        pieces.next();
    }
    for piece in pieces {
        match parts.last_mut().filter(|last| last.ends_with('\\')) {
            Some(last) => {
                last.pop();
                last.push(separator);
                last.push_str(piece);
            }
            None => parts.push(piece.to_owned()),
        }
    }
    parts
}
