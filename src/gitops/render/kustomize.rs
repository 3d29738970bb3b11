//! Kustomize, natively: a directory with a kustomization becomes objects, as `kubectl kustomize` (release
//! 5.5) makes them, byte for byte.
//!
//! Pure: files come through [`Tree`], those of repositories elsewhere through [`Roots`]. Nothing is run: no plugins,
//! no Helm, no git. Nothing outside of a kustomization's own directory is read but bases, and nothing outside of
//! these trees. `helmCharts` are refused with what to do instead.

mod accumulate;
mod defaults;
mod field_names;
mod fieldspec;
mod generate;
mod id;
mod kustomization;
mod load;
mod merge;
mod names;
pub mod node;
mod objects;
mod openapi;
mod patch;
mod path;
mod plugins;
mod reach;
mod record;
mod remote;
mod replace;
mod resource;
mod select;
mod sort;
mod transform;
mod transformer_config;
mod transformers;
mod vars;

pub use id::Gvk;
pub use kustomization::FILE_NAMES;
pub use load::{Found, Tree};
pub use merge::{Place, Schemas};
pub use record::Record;
pub use remote::{Elsewhere, Mount, NoRoots, Remote, Roots};

use super::error::{Origin, RenderError};
use super::spans::Spans;
use super::tree::Node;
use crate::gitops::kinds::Kinds;
use accumulate::{Accumulated, Settings, accumulate};
use load::Build;
use resource::Resource;
use serde_json::Value;
use std::sync::Arc;

/// An object that a kustomization renders to.
#[derive(Debug, Clone)]
pub struct Object {
    pub value: Value,
    /// The file it is from, or the kustomization that generates it.
    pub file: Arc<str>,
    /// Of what is still as its file says it.
    pub spans: Spans,
}

/// What a kustomization renders to.
#[derive(Debug, Clone, Default)]
pub struct Built {
    /// In the order they are to be printed.
    pub objects: Vec<Object>,
    /// Fields that are deprecated, each with what to use instead.
    pub warnings: Vec<RenderError>,
}

/// Renders the kustomization in a directory of the tree.
pub fn build(tree: &dyn Tree, directory: &str, schemas: &dyn Schemas) -> Result<Built, RenderError> {
    let mut build = Build::new(tree, schemas);
    let place = load::Place::root(directory);
    let from = accumulate::load(&mut build, &place, &Origin::default())?;
    let asked = |option: &str| from.build_metadata.iter().any(|asked| asked.value == option);
    let settings = Settings { history: !from.build_metadata.is_empty() };
    let Accumulated { mut all, config, vars } =
        accumulate(&mut build, &place, &from, settings, Accumulated::default())?;
    add_hashes(&mut all)?;
    names::update(&mut all, &config.name_reference)?;
    vars.resolve(&mut build, &mut all, &config.var_reference)?;
    all.retain(|resource| {
        let local = resource.node.at_path(&["metadata", "annotations", "config.kubernetes.io/local-config"]);
        local.is_none_or(|local| local.text() == "false")
    });
    let options = from.sort_options.as_ref();
    sort::sort(&mut all, options.map(|options| &options.value))
        .map_err(|why| RenderError::new(options.map(|options| options.at.clone()).unwrap_or_default(), why))?;
    let told = Told {
        origin: asked("originAnnotations"),
        transformations: asked("transformerAnnotations"),
        managed_by: asked("managedByLabel"),
    };
    let objects = all.into_iter().map(|resource| finish(resource, told)).collect::<Result<_, _>>()?;
    Ok(Built { objects, warnings: build.warnings })
}

/// What `buildMetadata` asks for.
#[derive(Clone, Copy)]
struct Told {
    origin: bool,
    transformations: bool,
    managed_by: bool,
}

/// The names of generated objects end in a hash of their contents.
fn add_hashes(all: &mut [Resource]) -> Result<(), RenderError> {
    for resource in all.iter_mut().filter(|resource| resource.needs_hash) {
        let hash = generate::hash(&resource.node).map_err(|why| resource.error(why))?;
        resource.store_id();
        let name = format!("{}-{hash}", resource.name());
        resource.set_metadata("name", &name);
    }
    Ok(())
}

fn finish(mut resource: Resource, told: Told) -> Result<Object, RenderError> {
    const MANAGED_BY: &str = "app.kubernetes.io/managed-by";
    if told.managed_by
        && let Some(labels) = resource.node.make_map("metadata").and_then(|metadata| metadata.make_map("labels"))
    {
        // What kubectl's own kustomize calls itself.
        labels.set(MANAGED_BY, Node::string("kustomize-(devel)"));
    }
    /// Notes that kustomize and its like make for themselves in annotations, and take out again.
    const NOTES: [&str; 18] = [
        "config.k8s.io/id",
        "config.kubernetes.io/index",
        "config.kubernetes.io/path",
        "internal.config.kubernetes.io/allowKindChange",
        "internal.config.kubernetes.io/allowNameChange",
        "internal.config.kubernetes.io/annotations-migration-resource-id",
        "internal.config.kubernetes.io/generatorBehavior",
        "internal.config.kubernetes.io/id",
        "internal.config.kubernetes.io/index",
        "internal.config.kubernetes.io/needsHashSuffix",
        "internal.config.kubernetes.io/path",
        "internal.config.kubernetes.io/prefixes",
        "internal.config.kubernetes.io/previousKinds",
        "internal.config.kubernetes.io/previousNames",
        "internal.config.kubernetes.io/previousNamespaces",
        "internal.config.kubernetes.io/refBy",
        "internal.config.kubernetes.io/seqindent",
        "internal.config.kubernetes.io/suffixes",
    ];
    let mut annotations: std::collections::BTreeMap<_, _> = resource.metadata_map("annotations").into_iter().collect();
    let history = resource.history.take().unwrap_or_default();
    for (key, asked, text) in [
        ("config.kubernetes.io/origin", told.origin, history.origin),
        ("alpha.config.kubernetes.io/transformations", told.transformations, history.transformations),
    ] {
        match asked && !text.is_empty() {
            true => annotations.insert(key.to_owned(), text),
            false => annotations.remove(key),
        };
    }
    annotations.retain(|key, _| !NOTES.contains(&key.as_str()));
    resource.set_metadata_map("annotations", &annotations);
    let (value, spans) = resource.node.to_json().map_err(|why| resource.error(why))?;
    Ok(Object { value, file: resource.file, spans })
}

/// The schemas of the kinds that kustomize knows, from those of the kinds that are known here.
pub struct Known<'a>(pub &'a dyn Kinds);

impl Schemas for Known<'_> {
    fn of_kind(&self, gvk: &Gvk) -> Option<Place<'_>> {
        if !gvk.has_schema() {
            return None;
        }
        // What is no longer served in an old version has the lists of the new one.
        let stable = Gvk { version: "v1".to_owned(), ..gvk.clone() };
        let served = |gvk: &Gvk| self.0.schema(&gvk.api_version(), &gvk.kind);
        let found = served(gvk).or_else(|| served(&stable));
        found.map(Place::Builtin).or_else(openapi::of_remaining_kinds)
    }
}
