//! An object on its way through the transformers, with what was done to it so far.

use super::id::{Gvk, ResId};
use crate::gitops::render::error::{Origin, RenderError};
use crate::gitops::render::tree::{Body, Entry, Node};
use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::Arc;

#[derive(Debug, Clone, Default)]
pub struct Resource {
    pub node: Node,
    /// Where the object is from: its file, or the kustomization that generates it.
    pub file: Arc<str>,
    /// Kind, name and namespace before each change of them, the first first.
    previous: Vec<(String, String, String)>,
    pub prefixes: Vec<String>,
    pub suffixes: Vec<String>,
    /// Made by a generator.
    pub generated: bool,
    /// What a generated object does to one of its name.
    pub behavior: Behavior,
    /// Its name is to end in a hash of its contents.
    pub needs_hash: bool,
    /// Names of the vars that take their values from it.
    pub vars: Vec<String>,
    /// What `buildMetadata` is to tell, if it was asked for.
    pub history: Option<History>,
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Behavior {
    #[default]
    Create,
    Replace,
    Merge,
}

/// Texts of the annotations of `buildMetadata`.
#[derive(Debug, Clone, Default)]
pub struct History {
    pub origin: String,
    pub transformations: String,
}

impl Resource {
    pub fn new(node: Node, file: Arc<str>) -> Self {
        Self { node, file, ..Self::default() }
    }

    fn text(&self, path: &[&str]) -> &str {
        self.node.at_path(path).map(Node::text).unwrap_or_default()
    }

    pub fn kind(&self) -> &str {
        self.text(&["kind"])
    }

    pub fn name(&self) -> &str {
        self.text(&["metadata", "name"])
    }

    pub fn namespace(&self) -> &str {
        let namespace = self.node.at_path(&["metadata", "namespace"]).filter(|namespace| !namespace.is_null());
        namespace.map(Node::text).unwrap_or_default()
    }

    pub fn gvk(&self) -> Gvk {
        Gvk::new(self.text(&["apiVersion"]), self.kind())
    }

    /// What it is called now.
    pub fn id(&self) -> ResId {
        ResId { gvk: self.gvk(), name: self.name().to_owned(), namespace: self.namespace().to_owned() }
    }

    /// What it was called before, the oldest first.
    pub fn previous_ids(&self) -> impl Iterator<Item = ResId> + '_ {
        let gvk = self.gvk();
        self.previous.iter().map(move |(kind, name, namespace)| ResId {
            gvk: Gvk { kind: kind.clone(), ..gvk.clone() },
            name: name.clone(),
            namespace: namespace.clone(),
        })
    }

    pub fn original_id(&self) -> ResId {
        self.previous_ids().next().unwrap_or_else(|| self.id())
    }

    /// All names it has or had.
    pub fn any_id(&self, fits: impl Fn(&ResId) -> bool) -> bool {
        self.previous_ids().any(|id| fits(&id)) || fits(&self.id())
    }

    /// Remembers what it is called, before that changes.
    pub fn store_id(&mut self) {
        let id = self.id();
        let namespace = id.effective_namespace().to_owned();
        self.previous.push((id.gvk.kind, id.name, namespace));
    }

    /// Whether kustomize would keep something about it in its annotations.
    pub fn has_notes(&self) -> bool {
        self.generated || !self.previous.is_empty() || self.history.is_some()
    }

    /// Takes on another's history.
    pub fn continue_from(&mut self, other: &Self) {
        self.previous.clone_from(&other.previous);
        self.prefixes.clone_from(&other.prefixes);
        self.suffixes.clone_from(&other.suffixes);
        self.behavior = other.behavior;
        self.generated = other.generated;
        self.vars.clone_from(&other.vars);
        self.needs_hash &= other.needs_hash;
    }

    /// Sets an entry of `metadata`. A plain scalar stays one.
    pub fn set_metadata(&mut self, key: &str, text: &str) {
        let Some(metadata) = self.node.make_map("metadata") else { return };
        match metadata.get_mut(key) {
            Some(old) => old.set_text(text),
            None => metadata.set(key, Node::string(text)),
        }
    }

    /// Labels or annotations.
    pub fn metadata_map(&self, key: &str) -> HashMap<String, String> {
        let map = self.node.at_path(&["metadata", key]);
        map.map(|map| map.texts().map(|(key, value)| (key.to_owned(), value.to_owned())).collect()).unwrap_or_default()
    }

    /// Sets labels or annotations as a whole; there are none without entries.
    pub fn set_metadata_map(&mut self, key: &str, texts: &BTreeMap<String, String>) {
        let Some(metadata) = self.node.make_map("metadata") else { return };
        let old = metadata.remove(key).unwrap_or_default();
        if texts.is_empty() {
            return;
        }
        let places: HashMap<&str, _> = old.entries().iter().map(|entry| (&*entry.key.text, entry)).collect();
        let entry = |(name, text): (&String, &String)| {
            let mut entry = Entry::new(name, Node::string(text.as_str()));
            if let Some(old) = places.get(name.as_str()) {
                (entry.at, entry.value.at) = (old.at, old.value.at);
            }
            entry
        };
        let map = Node { at: old.at, body: Body::Map(texts.iter().map(entry).collect()) };
        metadata.set(key, map);
    }

    pub fn origin(&self) -> Origin {
        Origin { file: self.file.clone(), line: self.node.at.line, column: self.node.at.column }
    }

    pub fn error(&self, what: impl std::fmt::Display) -> RenderError {
        RenderError::new(self.origin(), format!("{}: {what}", self.id()))
    }

    /// Whether both were given names in the same places. `lenient`: none at all fits anything.
    pub fn same_affixes(&self, other: &Self, lenient: bool) -> bool {
        let same = |own: &[String], theirs: &[String]| {
            let either_empty = own.is_empty() || theirs.is_empty();
            match either_empty {
                true => lenient || own.is_empty() && theirs.is_empty(),
                false => own.ends_with(theirs) || theirs.ends_with(own),
            }
        };
        same(&self.prefixes, &other.prefixes) && same(&self.suffixes, &other.suffixes)
    }
}

/// What tells objects apart: two of one key cannot be in one set.
fn key(id: &ResId) -> (Gvk, String, String) {
    (id.gvk.clone(), id.name.clone(), id.effective_namespace().to_owned())
}

/// Adds objects, none of which may be there yet.
pub fn append(all: &mut Vec<Resource>, more: Vec<Resource>) -> Result<(), RenderError> {
    let mut known: HashMap<_, Origin> = all.iter().map(|one| (key(&one.id()), one.origin())).collect();
    for resource in more {
        if let Some(first) = known.insert(key(&resource.id()), resource.origin()) {
            let what = format!("{} is already there, from {first}", resource.id());
            let hint = "remove one of the two, or give one another name, e.g. by a namePrefix";
            return Err(RenderError::new(resource.origin(), what).hint(hint));
        }
        all.push(resource);
    }
    Ok(())
}

/// Two objects that have become one by what was done to them.
pub fn refuse_clashes(all: &[Resource], at: &Origin, doing: &str) -> Result<(), RenderError> {
    let mut known = HashSet::new();
    match all.iter().find(|one| !known.insert(key(&one.id()))) {
        None => Ok(()),
        Some(clash) => {
            let what = format!("{doing} makes two objects of one name: {}, from {}", clash.id(), clash.origin());
            Err(RenderError::new(at.clone(), what).hint("rename one of the two"))
        }
    }
}
