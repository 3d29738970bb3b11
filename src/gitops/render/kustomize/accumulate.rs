//! What a kustomization is made of, from its bases up: resources, generators, components, and what is
//! done to all of them.

use super::defaults;
use super::generate::{Kind, generate};
use super::kustomization::{At, FILE_NAMES, Kustomization};
use super::load::{Build, Found, Place, tidy};
use super::objects;
use super::plugins;
use super::resource::{self, Behavior, History, Resource};
use super::transformer_config::TransformerConfig;
use super::transformers;
use super::vars::Vars;
use crate::gitops::render::error::{Origin, RenderError};
use crate::gitops::render::tree::Node;
use crate::gitops::render::yaml;
use std::collections::BTreeMap;

/// Objects, which fields transformers change, and vars, as bases have added to these.
#[derive(Default)]
pub struct Accumulated {
    pub all: Vec<Resource>,
    pub config: TransformerConfig,
    pub vars: Vars,
}

/// What the first kustomization says for all that it is made of.
#[derive(Debug, Clone, Copy, Default)]
pub struct Settings {
    /// Note in each object where it is from and what was done to it.
    pub history: bool,
}

/// Finds and reads the kustomization of a directory.
pub fn load(build: &mut Build<'_>, place: &Place, at: &Origin) -> Result<Kustomization, RenderError> {
    let mut found = Vec::new();
    for name in FILE_NAMES {
        let path = if place.path.is_empty() { name.to_owned() } else { format!("{}/{name}", place.path) };
        match build.tree.find(&path) {
            Ok(Found::File(_)) => found.push(name),
            Ok(_) => {}
            Err(why) => return Err(RenderError::new(at.clone(), format!("{path}: {why}"))),
        }
    }
    let shown = build.tree.show(&place.path);
    let shown = if shown.is_empty() { "the root" } else { &shown };
    let name = match found[..] {
        [name] => name,
        [] => {
            let error = RenderError::new(at.clone(), format!("there is no kustomization.yaml in {shown}"));
            return Err(error.hint("a base is a directory with one; name files one by one"));
        }
        _ => {
            let what = format!("{shown} has several kustomizations: {}", found.join(", "));
            return Err(RenderError::new(at.clone(), what).hint("keep one of them"));
        }
    };
    let (file, text) = build.text(place, name, at)?;
    let read = Kustomization::read(&file, &text)?;
    // A base that is used twice warns once.
    for warning in &read.deprecated {
        if !build.warnings.contains(warning) {
            build.warnings.push(warning.clone());
        }
    }
    schema(build, place, &read)?;
    Ok(read)
}

/// The first kustomization that brings a schema along brings it for all.
fn schema(build: &mut Build<'_>, place: &Place, read: &Kustomization) -> Result<(), RenderError> {
    const BUILTIN: &str = "v1.21.2";
    let Some(At { value: openapi, at }) = &read.openapi else { return Ok(()) };
    let wrong = |what: String| RenderError::new(at.clone(), what);
    if let Some(unknown) = openapi.keys().find(|key| !matches!(key.as_str(), "path" | "version")) {
        return Err(wrong(format!("unknown field {unknown:?} of openapi")).hint("there are path and version"));
    }
    match (openapi.get("path"), openapi.get("version")) {
        (Some(_), Some(_)) => Err(wrong("openapi has both a path and a version".to_owned()).hint("keep one")),
        (None, Some(version)) if version != BUILTIN => {
            Err(wrong(format!("there is no openapi version {version}")).hint(format!("there is {BUILTIN}")))
        }
        (Some(path), None) if build.openapi.is_none() => {
            let (file, text) = build.text(place, path, at)?;
            build.openapi = yaml::documents(&file, &text)?.into_iter().next().map(|document| document.value);
            Ok(())
        }
        _ => Ok(()),
    }
}

/// Carries out a kustomization on what its parent has so far (a component), or on nothing.
pub fn accumulate(
    build: &mut Build<'_>,
    place: &Place,
    from: &Kustomization,
    settings: Settings,
    mut into: Accumulated,
) -> Result<Accumulated, RenderError> {
    for path in &from.resources {
        resource(build, place, path, settings, &mut into)?;
    }
    into.config.merge(config(build, place, from)?).map_err(|why| RenderError::new(whole(from), why))?;
    for (kind, generators) in [(Kind::ConfigMap, &from.config_map_generator), (Kind::Secret, &from.secret_generator)] {
        for args in generators {
            let mut made = generate(build, place, kind, args, from.generator_options.as_ref())?;
            let configured = || configured_by(place, from, &format!("{}Generator", kind.name()));
            made.history = settings.history.then(|| History { origin: configured(), ..History::default() });
            absorb(&mut into.all, made, &args.at)?;
        }
    }
    for made in plugins::generate(build, place, from, settings)? {
        let at = made.origin();
        absorb(&mut into.all, made, &at)?;
    }
    build.check_count(into.all.len(), &whole(from))?;
    for path in &from.components {
        into = directory(build, place, path, settings, into, true)?;
    }
    transformers::run(build, place, from, settings, &mut into)?;
    plugins::transform(build, place, &from.transformers, settings, &mut into)?;
    plugins::validate(build, place, &from.validators, settings, &mut into)?;
    into.vars.declare(&from.vars, &mut into.all)?;
    Ok(into)
}

fn whole(from: &Kustomization) -> Origin {
    Origin { file: from.file.clone(), line: 0, column: 0 }
}

/// The text of an origin annotation for what a kustomization makes or does.
pub fn configured_by(place: &Place, from: &Kustomization, kind: &str) -> String {
    let file = own_path(place, &from.file);
    let repository = place.repository();
    format!("{repository}configuredIn: {file}\nconfiguredBy:\n  apiVersion: builtin\n  kind: {kind}\n")
}

/// The path of a kustomization file, from the first one's directory.
pub fn own_path(place: &Place, file: &str) -> String {
    let name = file.rsplit('/').next().unwrap_or(file);
    tidy(&format!("{}/{name}", place.route))
}

/// A file of objects, or a base.
pub fn resource(
    build: &mut Build<'_>,
    place: &Place,
    path: &At<String>,
    settings: Settings,
    into: &mut Accumulated,
) -> Result<(), RenderError> {
    let At { value: path, at } = path;
    if build.is_directory(place, path, at)? {
        let own = std::mem::take(into);
        *into = directory(build, place, &At { value: path.clone(), at: at.clone() }, settings, own, false)?;
        return Ok(());
    }
    let (file, text) = build.text(place, path, at)?;
    let mut objects = objects::read(&file, &text)?;
    if settings.history {
        let origin = place.origin(&tidy(&format!("{}/{path}", place.route)));
        for object in &mut objects {
            object.history = Some(History { origin: origin.clone(), ..History::default() });
        }
    }
    resource::append(&mut into.all, objects)?;
    build.check_count(into.all.len(), at)
}

fn directory(
    build: &mut Build<'_>,
    place: &Place,
    path: &At<String>,
    settings: Settings,
    mut into: Accumulated,
    component: bool,
) -> Result<Accumulated, RenderError> {
    let At { value: path, at } = path;
    let inner = build.enter(place, path, at)?;
    let from = load(build, &inner, at)?;
    match (component, from.component) {
        (true, false) => {
            let what = format!("{path} is a Kustomization, not a Component");
            return Err(RenderError::new(at.clone(), what).hint("name it in resources"));
        }
        (false, true) => {
            let what = format!("{path} is a Component, not a Kustomization");
            return Err(RenderError::new(at.clone(), what).hint("name it in components"));
        }
        (true, true) => return accumulate(build, &inner, &from, settings, into),
        (false, false) => {}
    }
    let made = accumulate(build, &inner, &from, settings, Accumulated::default())?;
    resource::append(&mut into.all, made.all)?;
    into.config.merge(made.config).map_err(|why| RenderError::new(whole(&from), why))?;
    into.vars.merge(made.vars)?;
    build.check_count(into.all.len(), at)?;
    Ok(into)
}

/// The defaults, with `configurations` and `crds`.
fn config(build: &mut Build<'_>, place: &Place, from: &Kustomization) -> Result<TransformerConfig, RenderError> {
    let mut config = defaults::config();
    for path in &from.configurations {
        let (file, text) = build.text(place, &path.value, &path.at)?;
        for document in yaml::documents(&file, &text)?.into_iter().take(1) {
            let wrong = |why: String| RenderError::new(Origin { file: file.clone(), line: 0, column: 0 }, why);
            let read: TransformerConfig = super::kustomization::decode_fields(document.value).map_err(wrong)?;
            config.merge(read).map_err(wrong)?;
        }
    }
    for path in &from.crds {
        let (file, text) = build.text(place, &path.value, &path.at)?;
        for document in yaml::documents(&file, &text)?.into_iter().take(1) {
            let wrong = |why: String| RenderError::new(Origin { file: file.clone(), line: 0, column: 0 }, why);
            config.merge(TransformerConfig::of_definitions(&document.value).map_err(wrong)?).map_err(wrong)?;
        }
    }
    Ok(config)
}

/// Adds what a generator made: as a new object, in place of one, or merged into one.
fn absorb(all: &mut Vec<Resource>, mut made: Resource, at: &Origin) -> Result<(), RenderError> {
    let id = made.id();
    let wrong = |what: String, hint: &str| RenderError::new(at.clone(), what).hint(hint);
    let mut found = all.iter_mut().filter(|resource| resource.any_id(|own| own.same(&id)));
    let old = match (found.next(), found.next(), made.behavior) {
        (None, _, Behavior::Create) => {
            all.push(made);
            return Ok(());
        }
        (None, _, _) => {
            return Err(wrong(
                format!("there is no {id} to merge into or replace"),
                "leave behavior out, to create it",
            ));
        }
        (Some(old), None, Behavior::Create) => {
            let what = format!("{id} is already there, from {}", old.origin());
            return Err(wrong(what, "set behavior: merge or replace, or choose another name"));
        }
        (Some(old), None, _) => old,
        (Some(first), Some(second), _) => {
            let what = format!("{id} may be {} or {}", first.origin(), second.origin());
            return Err(wrong(what, "give the generator a namespace"));
        }
    };
    for key in ["labels", "annotations"] {
        let texts: BTreeMap<_, _> = old.metadata_map(key).into_iter().chain(made.metadata_map(key)).collect();
        made.set_metadata_map(key, &texts);
    }
    if made.behavior == Behavior::Merge {
        merge_data(old, &mut made, "data");
        merge_data(old, &mut made, "binaryData");
    }
    made.set_metadata("name", old.name());
    match old.namespace() {
        "" => {
            if let Some(metadata) = made.node.get_mut("metadata") {
                metadata.remove("namespace");
            }
        }
        namespace => made.set_metadata("namespace", namespace),
    }
    made.history = match (old.history.take(), made.history.take()) {
        (Some(old), Some(new)) => {
            let origin = if made.behavior == Behavior::Merge { old.origin } else { new.origin };
            Some(History { origin, transformations: old.transformations })
        }
        (old, new) => new.or(old),
    };
    made.continue_from(old);
    *old = made;
    Ok(())
}

fn merge_data(old: &Resource, made: &mut Resource, field: &str) {
    let texts = |node: &Node| -> BTreeMap<String, String> {
        let map = node.get(field).map(|map| map.entries()).unwrap_or_default();
        let text = |value: &Node| if value.is_null() { String::new() } else { value.text().to_owned() };
        map.iter().map(|entry| (entry.key.text.to_string(), text(&entry.value))).collect()
    };
    let mut all = texts(&old.node);
    all.extend(texts(&made.node));
    made.node.remove(field);
    if !all.is_empty() {
        made.node.set(field, Node::of_texts(all));
    }
}
