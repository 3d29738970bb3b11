//! Files to objects, each with the place it came from. Pure: no I/O, no API.
//!
//! Every error of every file is collected; one bad file never hides another's errors. What to do
//! with a partly broken source is the caller's decision (a sync applies nothing of it).

pub mod error;
pub mod kustomize;
pub mod print;
pub mod scalar;
pub mod spans;
pub mod substitute;
pub mod tree;
pub mod yaml;

mod manifest;

pub use error::{Origin, RenderError};
pub use manifest::Manifest;
pub use substitute::Variables;

use crate::api::changeset::ObjectId;
use crate::base::cores;
use crate::gitops::kinds::{Kinds, Scope};
use crate::gitops::sops;
use crate::gitops::sources::{File, Snapshot};
use std::collections::HashMap;
use std::collections::hash_map::Entry;
use substitute::Substitution;

/// Bytes of manifests that take longer to read than a thread takes to start.
const WORTH_A_THREAD: usize = 32 * 1024;

/// What a source's files say.
#[derive(Debug, Clone, Default)]
pub struct Rendered {
    /// In the order of files and documents.
    pub objects: Vec<Manifest>,
    /// In the order of files and lines. Not empty: the objects are incomplete.
    pub errors: Vec<RenderError>,
}

impl Rendered {
    /// The manifest of an object.
    pub fn find(&self, id: &ObjectId) -> Option<&Manifest> {
        self.objects.iter().find(|manifest| same_object(&manifest.id, id))
    }
}

/// Whether two ids name the same object: versions of one group are the same object, uids do not count.
pub fn same_object(a: &ObjectId, b: &ObjectId) -> bool {
    identity(a) == identity(b)
}

/// What [`same_object`] compares, for sets of many.
pub type Identity<'a> = (&'a str, &'a str, &'a str, &'a str);

pub fn identity(id: &ObjectId) -> Identity<'_> {
    (&id.name, &id.namespace, &id.kind, group(&id.api_version))
}

/// `apps` of `apps/v1`; empty for the core group.
pub fn group(api_version: &str) -> &str {
    api_version.split_once('/').map_or("", |(group, _)| group)
}

/// `v1` of `apps/v1`.
pub fn version(api_version: &str) -> &str {
    api_version.split_once('/').map_or(api_version, |(_, version)| version)
}

/// What counts besides the files.
#[derive(Debug, Clone, Copy)]
pub struct Settings<'a> {
    /// Given to objects of namespaced kinds that name none.
    pub namespace: &'a str,
    /// What is substituted; `None`: dollars are letters like others.
    pub variables: Option<&'a Variables>,
}

/// [`render_with`] no variables.
pub fn render(snapshot: &Snapshot, kinds: &dyn Kinds, namespace: &str) -> Rendered {
    render_with(snapshot, kinds, Settings { namespace, variables: None })
}

/// Reads all files, and renders all kustomizations.
pub fn render_with(snapshot: &Snapshot, kinds: &dyn Kinds, settings: Settings<'_>) -> Rendered {
    let mut rendered = unscoped(snapshot, kinds, settings.variables);
    sops::refuse_encrypted(&mut rendered);
    scope_all(&mut rendered, kinds, settings.namespace);
    refuse_duplicates(&mut rendered);
    rendered.errors.sort();
    rendered
}

/// As the files have it: without the namespaces that are left to whoever applies it, and with kinds that
/// nobody serves.
pub fn unscoped(snapshot: &Snapshot, kinds: &dyn Kinds, variables: Option<&Variables>) -> Rendered {
    let mut rendered = Rendered { objects: Vec::new(), errors: snapshot.rejected.clone() };
    let mut substitution = variables.map(Substitution::new);
    for (file, documents) in snapshot.files.iter().zip(read_all(&snapshot.files)) {
        match documents {
            Ok(documents) => {
                for document in documents {
                    manifest::expand(&file.path, document, substitution.as_mut(), &mut rendered);
                }
            }
            Err(error) => rendered.errors.push(error),
        }
    }
    for chart in &snapshot.charts {
        let origin = Origin { file: chart.root.clone(), line: 0, column: 0 };
        rendered.errors.push(RenderError::new(origin, "this is a Helm chart, which is not rendered here"));
    }
    for record in &snapshot.kustomizations {
        match kustomize::build(&**record, &record.root, &kustomize::Known(kinds)) {
            Ok(built) => {
                for kustomize::Object { value, file, spans } in built.objects {
                    let document = yaml::Document { value, spans };
                    manifest::expand(&file, document, substitution.as_mut(), &mut rendered);
                }
            }
            Err(error) => rendered.errors.push(error),
        }
    }
    for manifest in &mut rendered.objects {
        manifest.confidential |= snapshot.decrypted.contains(&manifest.origin.file);
    }
    if let Some(keys) = &snapshot.keys {
        sops::decrypt_data(&mut rendered, keys);
    }
    rendered
}

/// What each file says, in their order. Many are read on all cores.
fn read_all(files: &[File]) -> Vec<Result<Vec<yaml::Document>, RenderError>> {
    let size: usize = files.iter().map(|file| file.bytes.len()).sum();
    cores::map(files, size / WORTH_A_THREAD + 1, read)
}

fn read(file: &File) -> Result<Vec<yaml::Document>, RenderError> {
    match std::str::from_utf8(&file.bytes) {
        Ok(text) => yaml::documents(&file.path, text.trim_start_matches('\u{feff}')),
        Err(error) => {
            let line = file.bytes[..error.valid_up_to()].iter().filter(|b| **b == b'\n').count() + 1;
            let origin = Origin { file: file.path.clone(), line: u32::try_from(line).unwrap_or(0), column: 0 };
            Err(RenderError::new(origin, "the file is not UTF-8 text").hint("save it as UTF-8"))
        }
    }
}

/// Fills in namespaces, and finds kinds that nobody serves.
fn scope_all(rendered: &mut Rendered, kinds: &dyn Kinds, namespace: &str) {
    let defined = defined_here(&rendered.objects);
    let Rendered { objects, errors } = rendered;
    objects.retain_mut(|manifest| {
        let (api_version, kind) = (manifest.id.api_version.clone(), manifest.id.kind.clone());
        let by_definition = defined.get(&(group(&api_version).to_owned(), kind.clone())).copied();
        match kinds.scope(&api_version, &kind).or(by_definition) {
            Some(Scope::Namespaced) => {
                manifest.default_namespace(namespace);
                true
            }
            Some(Scope::Cluster) => {
                if !manifest.id.namespace.is_empty() {
                    let origin = manifest.origin_of("metadata.namespace");
                    let what = format!("{kind} {:?} has a namespace, but the kind has none", manifest.id.name);
                    errors.push(RenderError::new(origin, what).hint("remove metadata.namespace"));
                    return false;
                }
                true
            }
            None => {
                let what = format!("no kind {kind:?} in {api_version}");
                let error = RenderError::new(manifest.origin_of("kind"), what);
                errors.push(match kinds.suggest(&api_version, &kind) {
                    Some(suggestion) => error.hint(format!("did you mean {suggestion}?")),
                    None => error.hint("check apiVersion and kind; `kubectl api-resources` lists what is served"),
                });
                false
            }
        }
    });
}

/// Kinds that CustomResourceDefinitions of the same source bring along.
fn defined_here(objects: &[Manifest]) -> HashMap<(String, String), Scope> {
    let definitions = objects.iter().filter(|manifest| manifest.id.kind == "CustomResourceDefinition");
    definitions
        .filter_map(|manifest| {
            let spec = manifest.value.get("spec")?;
            let text = |pointer: &str| spec.pointer(pointer).and_then(|v| v.as_str());
            let scope = if text("/scope")? == "Cluster" { Scope::Cluster } else { Scope::Namespaced };
            Some(((text("/group")?.to_owned(), text("/names/kind")?.to_owned()), scope))
        })
        .collect()
}

pub(super) fn refuse_duplicates(rendered: &mut Rendered) {
    let mut seen: HashMap<(String, String, String, String), Origin> = HashMap::new();
    for manifest in &rendered.objects {
        let id = &manifest.id;
        let key = (group(&id.api_version).to_owned(), id.kind.clone(), id.namespace.clone(), id.name.clone());
        match seen.entry(key) {
            Entry::Vacant(place) => {
                place.insert(manifest.origin.clone());
            }
            Entry::Occupied(first) => {
                let what = format!("{} is already defined at {}", describe(id), first.get());
                let error = RenderError::new(manifest.origin.clone(), what);
                rendered.errors.push(error.hint("remove one of the two, or rename it"));
            }
        }
    }
}

/// `Deployment shop/web`; cluster-scoped: `Namespace shop`.
pub fn describe(id: &ObjectId) -> String {
    if id.namespace.is_empty() {
        format!("{} {}", id.kind, id.name)
    } else {
        format!("{} {}/{}", id.kind, id.namespace, id.name)
    }
}

#[cfg(test)]
mod tests;
