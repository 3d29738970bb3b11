//! `generators`, `transformers` and `validators`: the built-in ones, configured by objects of their own.
//! Others would be programs, and nothing of a source is run.

use super::accumulate::{self, Accumulated, Settings};
use super::field_names;
use super::fieldspec::FieldSpec;
use super::generate::{self, Kind};
use super::kustomization::{
    At, GeneratorArgs, Image, Kustomization, Patch, ReplacementField, Replica, Selector, Texts, decode,
};
use super::load::{Build, Place};
use super::objects;
use super::patch;
use super::replace;
use super::resource::{self, History, Resource};
use super::transform::{self, Affix, Namespace, Subjects};
use super::transformers;
use crate::gitops::render::error::RenderError;
use crate::gitops::render::spans::Position;
use serde::Deserialize;
use serde_json::{Map, Value};

/// A configuration, with what a kustomization file would hold of it.
#[derive(Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct Config {
    metadata: Metadata,
    prefix: String,
    suffix: String,
    labels: Texts,
    annotations: Texts,
    field_specs: Option<Vec<FieldSpec>>,
    unset_only: bool,
    set_role_binding_subjects: Subjects,
    image_tag: Image,
    replica: Replica,
    path: String,
    patch: String,
    json_op: String,
    target: Option<Selector>,
    options: std::collections::BTreeMap<String, bool>,
    paths: Vec<String>,
    patches: String,
    replacements: Vec<ReplacementField>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Metadata {
    namespace: String,
}

/// The configurations that a list names: files, directories, or the objects themselves.
fn configurations(
    build: &mut Build<'_>,
    place: &Place,
    entries: &[At<String>],
    settings: Settings,
) -> Result<Vec<Resource>, RenderError> {
    let mut into = Accumulated::default();
    for entry in entries {
        match objects::read(&entry.at.file, &entry.value) {
            Ok(mut inline) if !inline.is_empty() => {
                for one in &mut inline {
                    one.node.at = Position { line: entry.at.line, column: entry.at.column };
                    let origin = place.origin(&accumulate::own_path(place, &entry.at.file));
                    one.history = settings.history.then(|| History { origin, ..History::default() });
                }
                resource::append(&mut into.all, inline)?;
            }
            _ => accumulate::resource(build, place, entry, settings, &mut into)?,
        }
    }
    match into.all.iter().find(|one| one.gvk().api_version() != "builtin") {
        Some(other) => Err(other
            .error("only built-in plugins are there")
            .hint("plugins are programs, and none of a source is run")),
        None => Ok(into.all),
    }
}

fn read<T: serde::de::DeserializeOwned>(config: &Resource) -> Result<T, RenderError> {
    let (value, _) = config.node.to_json().map_err(|why| config.error(why))?;
    lenient(value, config)
}

/// Unlike a kustomization, configurations may have fields that nobody knows.
fn lenient<T: serde::de::DeserializeOwned>(mut value: Value, config: &Resource) -> Result<T, RenderError> {
    let known = |map: &mut Map<String, Value>, keys: &[&str]| map.retain(|key, _| keys.contains(&key.as_str()));
    field_names::inner(&mut value);
    if config.kind().ends_with("Generator")
        && let Value::Object(map) = &mut value
    {
        known(map, &["name", "namespace", "behavior", "literals", "files", "envs", "env", "options", "type"]);
    }
    // Texts need no quotes here.
    for field in ["labels", "annotations"] {
        for text in value.get_mut(field).and_then(Value::as_object_mut).into_iter().flat_map(Map::values_mut) {
            if text.is_boolean() || text.is_number() {
                *text = Value::String(text.to_string());
            }
        }
    }
    if let Some(Value::Array(specs)) = value.get_mut("fieldSpecs") {
        let specs = specs.iter_mut().filter_map(Value::as_object_mut);
        specs.for_each(|spec| known(spec, &["group", "version", "kind", "path", "create"]));
    }
    decode(value).map_err(|why| config.error(why))
}

fn unknown(config: &Resource) -> RenderError {
    config.error("there is no such built-in plugin, or it is not supported")
}

pub fn generate(
    build: &mut Build<'_>,
    place: &Place,
    from: &Kustomization,
    settings: Settings,
) -> Result<Vec<Resource>, RenderError> {
    let mut made = Vec::new();
    for config in configurations(build, place, &from.generators, settings)? {
        let kind = match config.kind() {
            "ConfigMapGenerator" => Kind::ConfigMap,
            "SecretGenerator" => Kind::Secret,
            _ => return Err(unknown(&config)),
        };
        let (mut value, _) = config.node.to_json().map_err(|why| config.error(why))?;
        let mut name = |key: &str, from: &Value| {
            if value.get(key).is_none_or(Value::is_null) {
                value[key] = from.clone();
            }
        };
        name("name", &Value::String(config.name().to_owned()));
        name("namespace", &Value::String(config.namespace().to_owned()));
        let args: GeneratorArgs = lenient(value, &config)?;
        let mut one = generate::generate(build, place, kind, &At { value: args, at: config.origin() }, None)?;
        one.history = settings.history.then(|| History { origin: told(&config), ..History::default() });
        made.push(one);
    }
    Ok(made)
}

/// The text of the origin annotation for what a plugin makes or does.
fn told(config: &Resource) -> String {
    let path = config.history.as_ref().and_then(|history| history.origin.strip_prefix("path: ")).unwrap_or_default();
    let mut text = format!(
        "configuredIn: {}\nconfiguredBy:\n  apiVersion: builtin\n  kind: {}\n  name: {}\n",
        path.trim_end(),
        config.kind(),
        config.name()
    );
    if !config.namespace().is_empty() {
        text.push_str(&format!("  namespace: {}\n", config.namespace()));
    }
    text
}

pub fn transform(
    build: &mut Build<'_>,
    place: &Place,
    entries: &[At<String>],
    settings: Settings,
    into: &mut Accumulated,
) -> Result<(), RenderError> {
    for config in configurations(build, place, entries, settings)? {
        apply(build, place, &config, &mut into.all)?;
        if settings.history {
            transformers::note(&mut into.all, &told(&config));
        }
    }
    Ok(())
}

/// A validator may look at everything and change nothing.
pub fn validate(
    build: &mut Build<'_>,
    place: &Place,
    entries: &[At<String>],
    settings: Settings,
    into: &mut Accumulated,
) -> Result<(), RenderError> {
    for config in configurations(build, place, entries, settings)? {
        let nodes = |all: &[Resource]| all.iter().map(|one| one.node.to_json().map(|read| read.0)).collect::<Vec<_>>();
        let before = nodes(&into.all);
        apply(build, place, &config, &mut into.all)?;
        if nodes(&into.all) != before {
            return Err(config.error("a validator must not change objects").hint("name it in transformers"));
        }
    }
    Ok(())
}

fn apply(
    build: &mut Build<'_>,
    place: &Place,
    resource: &Resource,
    all: &mut Vec<Resource>,
) -> Result<(), RenderError> {
    let config: Config = read(resource)?;
    let at = resource.origin();
    let specs = config.field_specs.as_deref().unwrap_or_default();
    let wrong = |why: String| resource.error(why);
    let entry = |patch: String| {
        let value =
            Patch { path: config.path.clone(), patch, target: config.target.clone(), options: config.options.clone() };
        At { value, at: at.clone() }
    };
    match resource.kind() {
        "PrefixTransformer" | "SuffixTransformer" | "PrefixSuffixTransformer" if config.field_specs.is_none() => {
            Err(wrong("it has no fieldSpecs".to_owned()).hint("e.g. fieldSpecs: [{path: metadata/name}]"))
        }
        "PrefixTransformer" => transform::affix(all, Affix::Prefix, &config.prefix, specs),
        "SuffixTransformer" => transform::affix(all, Affix::Suffix, &config.suffix, specs),
        "PrefixSuffixTransformer" => {
            transform::affix(all, Affix::Prefix, &config.prefix, specs)?;
            transform::affix(all, Affix::Suffix, &config.suffix, specs)
        }
        "LabelTransformer" => transformers::texts(build, all, &config.labels, specs, &at),
        "AnnotationsTransformer" => transformers::texts(build, all, &config.annotations, specs, &at),
        "NamespaceTransformer" if config.metadata.namespace.is_empty() => Ok(()),
        "NamespaceTransformer" => {
            let Config { unset_only, set_role_binding_subjects: subjects, .. } = config;
            Namespace { name: &config.metadata.namespace, specs, unset_only, subjects }.apply(all)?;
            resource::refuse_clashes(all, &at, "the namespace")
        }
        "ImageTagTransformer" => transform::images(all, &config.image_tag, specs).map_err(wrong),
        "ReplicaCountTransformer" => match transform::replicas(all, &config.replica, specs)? {
            true => Ok(()),
            false => Err(wrong(format!("there is nothing named {:?} that has replicas", config.replica.name))),
        },
        "PatchTransformer" => patch::patch(build, place, &entry(config.patch.clone()), all),
        "PatchJson6902Transformer" => patch::json6902(build, place, &entry(config.json_op.clone()), all),
        "PatchStrategicMergeTransformer" => {
            let paths = config.paths.into_iter().chain(Some(config.patches).filter(|patches| !patches.is_empty()));
            let entries: Vec<_> = paths.map(|value| At { value, at: at.clone() }).collect();
            if entries.is_empty() {
                return Err(wrong("it has neither paths nor patches".to_owned()).hint("give it one of the two"));
            }
            transformers::strategic(build, place, &entries, all)
        }
        "ReplacementTransformer" => {
            let entries: Vec<_> = config.replacements.into_iter().map(|value| At { value, at: at.clone() }).collect();
            let entries = replace::load(build, place, &entries)?;
            entries.iter().try_for_each(|entry| replace::replace(build, entry, all))
        }
        "HashTransformer" => super::add_hashes(all),
        _ => Err(unknown(resource)),
    }
}
