//! Patches: strategic merge and JSON (RFC 6902), in the kustomization or in files of their own.

use super::id::Gvk;
use super::kustomization::{At, Patch};
use super::load::{Build, Place};
use super::merge;
use super::objects;
use super::resource::{self, Resource};
use super::select::Compiled;
use crate::gitops::render::error::{Origin, RenderError};
use crate::gitops::render::tree::Node;
use crate::gitops::render::yaml;
use serde_json::Value;
use std::sync::Arc;

/// Operations of one JSON patch.
const MAX_OPERATIONS: usize = 10_000;
/// Values that the `copy` operations of one JSON patch may make.
const MAX_COPIED: usize = 100_000;

/// What a patch's text says.
pub enum Loaded {
    Strategic(Vec<Resource>),
    Json(Vec<Operation>),
}

/// One of a JSON patch, and the line of its text that it begins at.
pub struct Operation {
    value: Value,
    line: u32,
}

/// A patch whose text is known, and where the text is.
pub struct Text {
    pub file: Arc<str>,
    pub text: String,
    /// The text stands in the kustomization itself, whose lines it does not count.
    pub inline: Option<Origin>,
}

impl Text {
    /// Places in an inline patch are those of the whole patch.
    pub fn place(&self, mut error: RenderError) -> RenderError {
        if let Some(at) = &self.inline {
            if error.origin.line > 0 {
                error.what = format!("{} (line {} of the patch)", error.what, error.origin.line);
            }
            error.origin = at.clone();
        }
        error
    }

    pub fn at(&self) -> Origin {
        self.inline.clone().unwrap_or_else(|| Origin { file: self.file.clone(), line: 0, column: 0 })
    }
}

/// Reads the text of an entry of `patches`.
pub fn text(build: &mut Build<'_>, place: &Place, path: &str, inline: &str, at: &Origin) -> Result<Text, RenderError> {
    let wrong = |what: &str| RenderError::new(at.clone(), what);
    match (path, inline.trim()) {
        ("", "") => Err(wrong("the patch has neither path nor patch").hint("give it one of the two")),
        ("", inline) => Ok(Text { file: at.file.clone(), text: inline.to_owned(), inline: Some(at.clone()) }),
        (path, "") => {
            let (file, text) = build.text(place, path, at)?;
            Ok(Text { file, text, inline: None })
        }
        _ => Err(wrong("the patch has both path and patch").hint("keep one of the two")),
    }
}

/// Tells which of the two kinds of patch a text is.
pub fn load(text: &Text) -> Result<Loaded, RenderError> {
    let documents = yaml::documents(&text.file, &text.text).map_err(|error| text.place(error))?;
    let is_list = |document: &yaml::Document| document.value.is_array();
    match documents.first() {
        None => Err(RenderError::new(text.at(), "the patch is empty")),
        Some(first) if is_list(first) => json(text).map(Loaded::Json),
        Some(_) => {
            let objects = objects::read(&text.file, &text.text).map_err(|error| text.place(error))?;
            Ok(Loaded::Strategic(objects))
        }
    }
}

/// The operations of a JSON patch.
pub fn json(text: &Text) -> Result<Vec<Operation>, RenderError> {
    let wrong = |what: String| RenderError::new(text.at(), what);
    if text.text.starts_with('[') {
        serde_json::from_str::<serde::de::IgnoredAny>(&text.text).map_err(|error| {
            let what = format!("a JSON patch that begins with [ is JSON: {error}");
            wrong(what).hint("quote its keys and texts, or write it as a YAML list, - op: ...")
        })?;
    }
    let documents = yaml::documents(&text.file, &text.text).map_err(|error| text.place(error))?;
    let Some(yaml::Document { value: Value::Array(operations), spans }) = documents.into_iter().next() else {
        return Err(wrong("a JSON patch is a list of operations".to_owned()));
    };
    if operations.len() > MAX_OPERATIONS {
        return Err(wrong(format!("the JSON patch has more than {MAX_OPERATIONS} operations")));
    }
    let line = |index: usize| spans.item(index).map_or(0, |spans| spans.at.line);
    Ok(operations.into_iter().enumerate().map(|(index, value)| Operation { value, line: line(index) }).collect())
}

/// Carries out an entry of `patches`.
pub fn patch(
    build: &mut Build<'_>,
    place: &Place,
    entry: &At<Patch>,
    all: &mut Vec<Resource>,
) -> Result<(), RenderError> {
    let At { value: patch, at } = entry;
    let text = text(build, place, &patch.path, &patch.patch, at)?;
    build.visit(all.len(), at)?;
    let selector = match &patch.target {
        Some(target) => Some(Compiled::new(target).map_err(|why| RenderError::new(at.clone(), why))?),
        None => None,
    };
    let allowed = |option: &str| patch.options.get(option).copied().unwrap_or_default();
    let allowed = Allowed { name: allowed("allowNameChange"), kind: allowed("allowKindChange") };
    match (load(&text)?, selector) {
        (Loaded::Strategic(patches), None) => {
            patches.into_iter().try_for_each(|patch| strategic(build, patch, allowed, &text, all))
        }
        (Loaded::Strategic(patches), Some(selector)) => match <[Resource; 1]>::try_from(patches) {
            Ok([patch]) => selected(build, patch, allowed, &text, &selector, all),
            Err(_) => Err(RenderError::new(text.at(), "a patch with a target is one object, this has several")
                .hint("write one entry for each, or leave the target out")),
        },
        (Loaded::Json(operations), Some(selector)) => {
            let chosen = all.iter_mut().filter(|resource| selector.matches(resource));
            chosen.into_iter().try_for_each(|resource| {
                build.spend(text.text.len(), at)?;
                resource.store_id();
                operate(resource, &operations)
                    .map_err(|(line, why)| at_line(failed(&text, resource, &why), &text, line))
            })
        }
        (Loaded::Json(_), None) => {
            let hint = "say which objects it is for: target: {kind: ..., name: ...}";
            Err(RenderError::new(at.clone(), "a JSON patch needs a target").hint(hint))
        }
    }
}

/// What a patch may change of an object's identity.
#[derive(Debug, Clone, Copy, Default)]
pub struct Allowed {
    name: bool,
    kind: bool,
}

/// A strategic merge patch for the object it names.
pub fn strategic(
    build: &mut Build<'_>,
    patch: Resource,
    allowed: Allowed,
    text: &Text,
    all: &mut Vec<Resource>,
) -> Result<(), RenderError> {
    let id = patch.id();
    build.visit(all.len(), &text.at())?;
    let mut found = all.iter().enumerate().filter(|(_, resource)| resource.any_id(|own| own.same(&id)));
    let index = match (found.next(), found.next()) {
        (Some((index, _)), None) => index,
        (None, _) => {
            let error = RenderError::new(patch_origin(&patch, text), format!("there is no {id} to patch"));
            return Err(error.hint("check apiVersion, kind, name and namespace of the patch"));
        }
        (Some((_, first)), Some((_, second))) => {
            let what = format!("{id} is more than one object: {} and {}", first.origin(), second.origin());
            return Err(RenderError::new(patch_origin(&patch, text), what).hint("give the patch a target"));
        }
    };
    build.spend(text.text.len(), &text.at())?;
    if !merge_into(build, &mut all[index], &patch, allowed).map_err(|why| failed(text, &all[index], &why))? {
        all.remove(index);
    }
    Ok(())
}

fn selected(
    build: &mut Build<'_>,
    patch: Resource,
    allowed: Allowed,
    text: &Text,
    selector: &Compiled,
    all: &mut Vec<Resource>,
) -> Result<(), RenderError> {
    let mut kept = Vec::with_capacity(all.len());
    for mut resource in std::mem::take(all) {
        if selector.matches(&resource) {
            build.spend(text.text.len(), &text.at())?;
            // The patch is taken to be of the object's own version.
            let mut own = patch.clone();
            let Gvk { kind, .. } = own.gvk();
            own.node.set("apiVersion", Node::string(resource.gvk().api_version()));
            own.node.set("kind", Node::string(kind));
            // Kustomize takes these for maps of texts here: null is the text "null", and removes nothing.
            for key in ["labels", "annotations"] {
                let texts = own.metadata_map(key).into_iter().collect();
                own.set_metadata_map(key, &texts);
            }
            if !merge_into(build, &mut resource, &own, allowed).map_err(|why| failed(text, &resource, &why))? {
                continue;
            }
        }
        kept.push(resource);
    }
    *all = kept;
    resource::refuse_clashes(all, &text.at(), "the patch")
}

/// `false`: the patch deletes the object.
fn merge_into(build: &Build<'_>, target: &mut Resource, patch: &Resource, allowed: Allowed) -> Result<bool, String> {
    let id = target.id();
    if allowed.name || allowed.kind {
        target.store_id();
    }
    let node = std::mem::take(&mut target.node);
    let Some(merged) = merge::merge(node.clone(), patch.node.clone().displaced(), build).inspect_err(|_| {
        target.node = node;
    })?
    else {
        return Ok(false);
    };
    target.node = merged;
    if !allowed.kind {
        target.node.set("kind", Node::string(id.gvk.kind));
    }
    if !allowed.name {
        target.set_metadata("name", &id.name);
    }
    match id.namespace.as_str() {
        "" => {
            if let Some(metadata) = target.node.get_mut("metadata") {
                metadata.remove("namespace");
            }
        }
        namespace => target.set_metadata("namespace", namespace),
    }
    Ok(true)
}

/// An entry of `patchesJson6902`.
pub fn json6902(
    build: &mut Build<'_>,
    place: &Place,
    entry: &At<Patch>,
    all: &mut [Resource],
) -> Result<(), RenderError> {
    let At { value: patch, at } = entry;
    let wrong = |what: String| RenderError::new(at.clone(), what);
    let Some(target) = patch.target.as_ref().filter(|target| !target.name.is_empty()) else {
        return Err(wrong("the patch does not say whom it is for".to_owned()).hint("give it a target with a name"));
    };
    build.visit(all.len(), at)?;
    let selector = Compiled::new(target).map_err(wrong)?;
    let text = text(build, place, &patch.path, &patch.patch, at)?;
    let operations = json(&text)?;
    if operations.is_empty() {
        return Err(RenderError::new(text.at(), "the patch has no operations"));
    }
    for resource in all.iter_mut().filter(|resource| selector.matches(resource)) {
        build.spend(text.text.len(), at)?;
        operate(resource, &operations).map_err(|(line, why)| at_line(failed(&text, resource, &why), &text, line))?;
    }
    Ok(())
}

/// Carries out a JSON patch; what fails is told with its line.
fn operate(resource: &mut Resource, operations: &[Operation]) -> Result<(), (u32, String)> {
    // Kustomize keeps notes in annotations, which are there for an `add` below them.
    if resource.has_notes()
        && let Some(metadata) = resource.node.make_map("metadata")
    {
        metadata.make_map("annotations");
    }
    let at = resource.node.at;
    let (mut value, _) = resource.node.to_json().map_err(|why| (0, why))?;
    let mut copied = 0;
    for Operation { value: operation, line } in operations {
        let failed = |why: String| (*line, format!("{}: {why}", told(operation)));
        if operation.get("op").and_then(Value::as_str) == Some("copy") {
            let from = operation.get("from").and_then(Value::as_str).and_then(|from| value.pointer(from));
            copied += from.map_or(0, size);
            if copied > MAX_COPIED {
                return Err(failed(format!("the patch copies more than {MAX_COPIED} values")));
            }
        }
        let one: json_patch::PatchOperation =
            serde_json::from_value(operation.clone()).map_err(|error| failed(error.to_string()))?;
        json_patch::patch(&mut value, &[one]).map_err(|error| failed(error.kind.to_string()))?;
    }
    through_floats(&mut value);
    resource.node = Node::from_json(&value);
    resource.node.at = at;
    Ok(())
}

/// Numbers as they are after Go has read them from JSON without knowing their type: with 53 bits.
fn through_floats(value: &mut Value) {
    const EXACT: u64 = 1 << 53;
    match value {
        Value::Array(items) => items.iter_mut().for_each(through_floats),
        Value::Object(map) => map.values_mut().for_each(through_floats),
        Value::Number(number)
            if !number.is_f64() && number.as_i64().is_none_or(|whole| whole.unsigned_abs() > EXACT) =>
        {
            let rounded = number.as_f64().map(|float| float.to_string());
            if let Some(read) = rounded.and_then(|text| text.parse().ok()) {
                *number = read;
            }
        }
        _ => {}
    }
}

/// `replace /spec/replicas`
fn told(operation: &Value) -> String {
    let text = |key: &str| operation.get(key).and_then(Value::as_str).unwrap_or("?").to_owned();
    format!("{} {}", text("op"), text("path"))
}

fn size(value: &Value) -> usize {
    match value {
        Value::Array(items) => 1 + items.iter().map(size).sum::<usize>(),
        Value::Object(map) => 1 + map.values().map(size).sum::<usize>(),
        Value::String(text) => 1 + text.len() / 256,
        _ => 1,
    }
}

fn failed(text: &Text, resource: &Resource, why: &str) -> RenderError {
    RenderError::new(text.at(), format!("the patch does not fit {}, from {}: {why}", resource.id(), resource.origin()))
}

/// Names the line of a patch; that of one in the kustomization is counted from its own first.
fn at_line(mut error: RenderError, text: &Text, line: u32) -> RenderError {
    error.origin.line = line;
    text.place(error)
}

fn patch_origin(patch: &Resource, text: &Text) -> Origin {
    text.inline.clone().unwrap_or_else(|| patch.origin())
}
