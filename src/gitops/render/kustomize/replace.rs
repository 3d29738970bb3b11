//! Replacements: a value of one object goes into fields of others.

use super::id::{Gvk, ResId};
use super::kustomization::{At, FieldOptions, ReplacementField, Source, Target, decode_fields};
use super::load::{Build, Place};
use super::path::{bracketed, lookup, steps};
use super::resource::Resource;
use super::select::{Meta, exact};
use crate::gitops::render::error::{Origin, RenderError};
use crate::gitops::render::tree::{Body, Form, Node, Scalar};
use crate::gitops::render::yaml;
use regex::Regex;
use serde_json::Value;

const DEFAULT_FIELD: &str = "metadata.name";

/// Reads the entries that name files.
pub fn load(
    build: &mut Build<'_>,
    place: &Place,
    entries: &[At<ReplacementField>],
) -> Result<Vec<At<ReplacementField>>, RenderError> {
    let mut all = Vec::new();
    for entry in entries {
        let At { value, at } = entry;
        if value.path.is_empty() {
            all.push(entry.clone());
            continue;
        }
        if value.source.is_some() || value.targets.is_some() {
            let what = "the replacement has both a path and a source or targets";
            return Err(RenderError::new(at.clone(), what).hint("keep one of the two"));
        }
        let (file, text) = build.text(place, &value.path, at)?;
        for document in yaml::documents(&file, &text)?.into_iter().take(1) {
            let items = match document.value {
                Value::Array(items) => items,
                one => vec![one],
            };
            for (index, item) in items.into_iter().enumerate() {
                let at = document.spans.item(index).map_or(document.spans.at, |spans| spans.at);
                let at = Origin { file: file.clone(), line: at.line, column: at.column };
                let value = decode_fields(item).map_err(|why| RenderError::new(at.clone(), why))?;
                all.push(At { value, at });
            }
        }
    }
    Ok(all)
}

pub fn replace(build: &mut Build<'_>, entry: &At<ReplacementField>, all: &mut [Resource]) -> Result<(), RenderError> {
    let At { value: entry, at } = entry;
    let (Some(source), Some(targets)) = (&entry.source, &entry.targets) else {
        return Err(RenderError::new(at.clone(), "a replacement has a source and at least one target"));
    };
    let wrong = |what: String| RenderError::new(at.clone(), what);
    let value = source_value(source, all).map_err(wrong)?;
    for target in targets {
        build.visit(all.len(), at)?;
        let Some(select) = &target.select else {
            return Err(wrong("a target does not select anything".to_owned()).hint("give it a select"));
        };
        let (wanted, meta) = (exact(select), Meta::new(select).map_err(wrong)?);
        let mut rejects = Vec::new();
        for reject in &target.reject {
            let has_meta = !(reject.label_selector.is_empty() && reject.annotation_selector.is_empty());
            let meta = has_meta.then(|| Meta::new(reject)).transpose().map_err(wrong)?;
            rejects.push((exact(reject), meta));
        }
        for resource in all.iter_mut() {
            let rejected = rejects.iter().any(|(id, meta)| {
                meta.as_ref().is_some_and(|meta| meta.matches(resource))
                    || *id != ResId::default() && resource.any_id(|own| own.selected_by(id))
            });
            if rejected || !meta.matches(resource) || !resource.any_id(|own| own.selected_by(&wanted)) {
                continue;
            }
            put(build, &value, target, resource, at)?;
        }
    }
    Ok(())
}

fn source_value(source: &Source, all: &[Resource]) -> Result<Node, String> {
    let Source { group, version, kind, name, namespace, .. } = source.clone();
    let wanted = ResId { gvk: Gvk { group, version, kind }, name, namespace };
    let mut found = all.iter().filter(|resource| resource.any_id(|id| id.selected_by(&wanted)));
    let resource = match (found.next(), found.next()) {
        (Some(one), None) => one,
        (Some(one), Some(two)) => {
            return Err(format!("the source is more than one object: {}, {}", one.id(), two.id()));
        }
        (None, _) => return Err(format!("there is no {wanted} to take a value from")),
    };
    let path = if source.field_path.is_empty() { DEFAULT_FIELD } else { &source.field_path };
    let field = lookup(&resource.node, &steps(path));
    let Some(field) = field.filter(|field| !field.is_empty()) else {
        return Err(format!("{} has no {path} to take", resource.id()));
    };
    let Some(options) = source.options.as_ref().filter(|options| !options.delimiter.is_empty()) else {
        return Ok(field.clone().displaced());
    };
    let Some(scalar) = field.as_scalar() else {
        return Err(format!("{path} is {}, which a delimiter cannot split", field.kind_name()));
    };
    let piece = usize::try_from(options.index).ok().and_then(|at| scalar.text.split(&options.delimiter).nth(at));
    match piece {
        Some(piece) => Ok(Node::scalar(Scalar { text: piece.into(), form: scalar.form.clone() })),
        None => Err(format!("{path} has no part {} between {:?}", options.index, options.delimiter)),
    }
}

fn put(
    build: &mut Build<'_>,
    value: &Node,
    target: &Target,
    resource: &mut Resource,
    at: &Origin,
) -> Result<(), RenderError> {
    let default = [DEFAULT_FIELD.to_owned()];
    let paths = if target.field_paths.is_empty() { &default[..] } else { &target.field_paths };
    let create = target.options.as_ref().is_some_and(|options| options.create);
    let cost = weight(value);
    let id = resource.id();
    for path in paths {
        let mut found = 0;
        let mut set = |field: &mut Node| {
            found += 1;
            build.spend(cost + field.text().len(), at).map_err(|error| error.what)?;
            assign(field, value, target.options.as_ref())
        };
        let done = visit(&mut resource.node, &steps(path), create.then_some(value), &mut set);
        let wrong = |why: &str| RenderError::new(at.clone(), format!("{id}: {path}: {why}"));
        done.map_err(|why| wrong(&why))?;
        if found == 0 {
            let hint = "options: {create: true} makes fields that are not there";
            return Err(wrong("there is no such field").hint(hint));
        }
    }
    Ok(())
}

/// Bytes that copying a value takes.
fn weight(node: &Node) -> usize {
    const NODE: usize = 64;
    match &node.body {
        Body::Scalar(scalar) => NODE + scalar.text.len(),
        Body::List(items) => NODE + items.iter().map(weight).sum::<usize>(),
        Body::Map(entries) => NODE + entries.iter().map(|entry| weight(&entry.value)).sum::<usize>(),
    }
}

type Set<'a> = &'a mut dyn FnMut(&mut Node) -> Result<(), String>;

/// Calls `set` with every field at the path; those that are not there are made in the shape of `create`.
fn visit(node: &mut Node, path: &[String], create: Option<&Node>, set: Set<'_>) -> Result<(), String> {
    let Some((step, rest)) = path.split_first() else { return set(node) };
    let made = || create.map(|value| shape(rest.first(), value));
    if let Ok(index) = step.parse::<usize>() {
        let items = list(node, step)?;
        if let Some(made) = made().filter(|_| items.len() == index) {
            items.push(made);
        }
        let count = items.len();
        return match items.get_mut(index) {
            Some(item) => visit(item, rest, create, set),
            None => Err(format!("there are only {count} elements, no element {index}")),
        };
    }
    if step == "*" {
        return list(node, step)?.iter_mut().try_for_each(|item| visit(item, rest, create, set));
    }
    if step.starts_with('[') && step.ends_with(']') {
        return matching(node, step, rest, create, set);
    }
    if node.is_null() && create.is_some() {
        node.body = Body::Map(Vec::new());
    }
    if node.is_null() {
        return Ok(());
    }
    if !node.is_map() {
        return Err(format!("{step}: expected a map, found {}", node.kind_name()));
    }
    if let Some(made) = made().filter(|_| node.get(step).is_none()) {
        node.set(step, made);
    }
    node.get_mut(step).map_or(Ok(()), |field| visit(field, rest, create, set))
}

/// `[name=web]`: all elements whose field has a match for the expression; `[=x]`: those that have one.
fn matching(node: &mut Node, step: &str, rest: &[String], create: Option<&Node>, set: Set<'_>) -> Result<(), String> {
    let Some((key, pattern)) = bracketed(step) else {
        return Err(format!("{step}: an element is chosen by [field=value]"));
    };
    let regex = Regex::new(pattern).map_err(|_| format!("{pattern:?} is no regular expression"))?;
    let items = list(node, step)?;
    let fits = |item: &Node| match key {
        "" => regex.is_match(item.text()),
        key => item.get(key).is_some_and(|own| regex.is_match(own.text())),
    };
    if create.is_some() && !items.iter().any(fits) {
        let value = Node::scalar(Scalar::plain(pattern));
        items.push(match key {
            "" => value,
            key => {
                let mut map = Node::map();
                map.set(key, value);
                map
            }
        });
    }
    let mut chosen = items.iter_mut().filter(|item| fits(item));
    match key {
        // Nothing is below an element that is no map.
        "" => chosen.try_for_each(set),
        _ => chosen.try_for_each(|item| visit(item, rest, create, set)),
    }
}

fn list<'a>(node: &'a mut Node, step: &str) -> Result<&'a mut Vec<Node>, String> {
    if node.is_null() {
        node.body = Body::List(Vec::new());
    }
    let found = node.kind_name();
    match &mut node.body {
        Body::List(items) => Ok(items),
        _ => Err(format!("{step}: expected a list, found {found}")),
    }
}

/// What is made where the next step wants to go on.
fn shape(next: Option<&String>, value: &Node) -> Node {
    match next {
        None => match value.body {
            Body::Scalar(_) => Node::scalar(Scalar::plain("")),
            Body::List(_) => Node::list(),
            Body::Map(_) => Node::map(),
        },
        Some(next) if next.starts_with('[') || next.parse::<usize>().is_ok() => Node::list(),
        Some(_) => Node::map(),
    }
}

/// A text with one of its parts replaced; one more in front where the index is negative, and at the end
/// where there is no such part.
fn with_part(old: &str, delimiter: &str, index: i64, part: &str) -> String {
    let Ok(index) = usize::try_from(index) else { return format!("{part}{delimiter}{old}") };
    let start = match index.checked_sub(1) {
        None => Some(0),
        Some(before) => old.match_indices(delimiter).nth(before).map(|(at, found)| at + found.len()),
    };
    let Some(start) = start else { return format!("{old}{delimiter}{part}") };
    let end = old[start..].find(delimiter).map_or(old.len(), |at| start + at);
    format!("{}{part}{}", &old[..start], &old[end..])
}

fn assign(field: &mut Node, value: &Node, options: Option<&FieldOptions>) -> Result<(), String> {
    let mut text = value.text().to_owned();
    if let Some(options) = options.filter(|options| !options.delimiter.is_empty()) {
        let Some(old) = field.as_scalar() else {
            return Err(format!("it is {}, which a delimiter cannot split", field.kind_name()));
        };
        text = with_part(&old.text, &options.delimiter, options.index, value.text());
    }
    let Body::Scalar(old) = &mut field.body else {
        field.body = value.body.clone();
        return Ok(());
    };
    let fresh = Scalar { text: text.into(), form: old.form.clone() };
    // A made field is what its new text says; others stay what they are.
    if !old.text.is_empty() || old.form != Form::Plain {
        let (was, is) = (old.value()?, fresh.value()?);
        if was.is_string() {
            *old = Scalar::string(fresh.text);
            return Ok(());
        }
        let fits = match (&was, &is) {
            (Value::Number(was), Value::Number(is)) => was.is_f64() || !is.is_f64(),
            _ => std::mem::discriminant(&was) == std::mem::discriminant(&is),
        };
        if !fits {
            return Err(format!("it is {}, and the value is {}", yaml::kind_of(&was), yaml::kind_of(&is)));
        }
    }
    *old = fresh;
    Ok(())
}
