//! References: whoever names an object by what it was called before gets its name of now.

use super::fieldspec::{self, Make};
use super::id::{Gvk, ResId};
use super::resource::Resource;
use super::transformer_config::NameReference;
use crate::gitops::render::error::RenderError;
use crate::gitops::render::tree::{Body, Node};
use std::collections::{HashMap, HashSet};

/// Brings all references up to date.
pub fn update(all: &mut [Resource], references: &[NameReference]) -> Result<(), RenderError> {
    let index = Index::new(all);
    for at in 0..all.len() {
        let original = all[at].original_id();
        let referrer = Referrer::new(&all[at], at).map_err(|why| all[at].error(why))?;
        let mut node = std::mem::take(&mut all[at].node);
        let result = referrer.update(&mut node, &original.gvk, references, &index, all);
        all[at].node = node;
        result.map_err(|why| all[at].error(why))?;
    }
    Ok(())
}

/// What objects are called, which updating references does not change.
struct Index {
    names: Vec<Names>,
    /// By each name an object had.
    by_previous_name: HashMap<String, Vec<usize>>,
}

struct Names {
    id: ResId,
    original_namespace: String,
    previous: Vec<ResId>,
}

impl Index {
    fn new(all: &[Resource]) -> Self {
        let mut by_previous_name: HashMap<String, Vec<usize>> = HashMap::new();
        let mut names = Vec::with_capacity(all.len());
        for (at, resource) in all.iter().enumerate() {
            let previous: Vec<ResId> = resource.previous_ids().collect();
            for id in &previous {
                let places = by_previous_name.entry(id.name.clone()).or_default();
                if places.last() != Some(&at) {
                    places.push(at);
                }
            }
            let original_namespace = resource.original_id().effective_namespace().to_owned();
            names.push(Names { id: resource.id(), original_namespace, previous });
        }
        Self { names, by_previous_name }
    }
}

struct Referrer {
    at: usize,
    id: ResId,
    /// For role bindings: the namespaces of their service accounts.
    subject_namespaces: HashSet<String>,
    /// Group and kind of the role that a binding is for.
    role: Option<Gvk>,
}

impl Referrer {
    fn new(resource: &Resource, at: usize) -> Result<Self, String> {
        let text = |node: &Node, key: &str| node.get(key).map(|found| found.text().to_owned());
        let mut subject_namespaces = HashSet::new();
        if resource.kind() == "RoleBinding" {
            let subjects = resource.node.get("subjects").map(Node::items).unwrap_or_default();
            let accounts = subjects.iter().filter(|s| text(s, "kind").as_deref() == Some("ServiceAccount"));
            for namespace in accounts.filter_map(|subject| subject.get("namespace")) {
                if namespace.is_null() {
                    return Err("the namespace of a subject is empty: name one, or leave the field out".to_owned());
                }
                subject_namespaces.insert(namespace.text().to_owned());
            }
        }
        let role = resource.node.get("roleRef").and_then(|role| {
            Some(Gvk { group: text(role, "apiGroup")?, kind: text(role, "kind")?, version: String::new() })
        });
        Ok(Self { at, id: resource.id(), subject_namespaces, role })
    }

    fn update(
        &self,
        node: &mut Node,
        original: &Gvk,
        references: &[NameReference],
        index: &Index,
        all: &[Resource],
    ) -> Result<(), String> {
        for reference in references {
            let target = reference.gvk();
            for spec in reference.field_specs.iter().filter(|spec| spec.selects(original)) {
                let of_role = spec.path.ends_with("roleRef/name");
                let search = Search { referrer: self, target: &target, of_role, index, all };
                let mut own = spec.clone();
                (own.group, own.version, own.kind) = Default::default();
                fieldspec::apply(node, &own, Make::Nothing, &mut |field| search.set(field))?;
            }
        }
        Ok(())
    }
}

struct Search<'a> {
    referrer: &'a Referrer,
    target: &'a Gvk,
    of_role: bool,
    index: &'a Index,
    all: &'a [Resource],
}

impl Search<'_> {
    fn set(&self, field: &mut Node) -> Result<(), String> {
        if field.is_null() {
            return Ok(());
        }
        match &mut field.body {
            Body::Scalar(_) => self.set_name(field),
            Body::Map(_) => self.set_map(field),
            Body::List(items) => items.iter_mut().filter(|item| !item.is_null()).try_for_each(|item| match item.body {
                Body::Scalar(_) => self.set_name(item),
                Body::Map(_) => self.set_map(item),
                Body::List(_) => Err("expected a name or a map with one, found a list".to_owned()),
            }),
        }
    }

    fn set_name(&self, field: &mut Node) -> Result<(), String> {
        let candidates = self.candidates(field.text(), |_| true);
        let same_name = |a: &ResId, b: &ResId| a.name == b.name;
        if let Some(found) = self.choose(field.text(), candidates, same_name)?
            && found.name != field.text()
        {
            field.set_text(&found.name);
        }
        Ok(())
    }

    /// A reference with a name and perhaps a namespace.
    fn set_map(&self, map: &mut Node) -> Result<(), String> {
        let Some(name) = map.get("name").map(|name| name.text().to_owned()) else {
            return Err("the reference has no name".to_owned());
        };
        let candidates = match map.get("namespace").map(Node::text) {
            None => self.candidates(&name, |_| true),
            Some(namespace) => {
                let originally = |names: &Names| names.original_namespace == namespace;
                let any = self.index.names.iter().enumerate().any(|(at, names)| self.reaches(at) && originally(names));
                match any {
                    true => self.candidates(&name, originally),
                    false => self.candidates(&name, |names| names.id.effective_namespace() == namespace),
                }
            }
        };
        let same = |a: &ResId, b: &ResId| a.name == b.name && a.namespace == b.namespace;
        let Some(found) = self.choose(&name, candidates, same)? else { return Ok(()) };
        if found.name == name && found.namespace.is_empty() {
            return Ok(());
        }
        if let Some(field) = map.get_mut("name") {
            field.set_text(&found.name);
        }
        if !found.namespace.is_empty() {
            match map.get_mut("namespace") {
                Some(field) => field.set_text(&found.namespace),
                None => map.set("namespace", Node::string(found.namespace.as_str())),
            }
        }
        Ok(())
    }

    /// Objects that had the name and are, or were, of the kind.
    fn candidates(&self, name: &str, fits: impl Fn(&Names) -> bool) -> Vec<usize> {
        let had = self.index.by_previous_name.get(name).map(Vec::as_slice).unwrap_or_default();
        let fits = |at: &usize| {
            let names = &self.index.names[*at];
            let was = |gvk: &Gvk| names.previous.iter().any(|id| id.gvk.selected_by(gvk));
            let role = self.referrer.role.as_ref().filter(|_| self.of_role);
            self.reaches(*at) && fits(names) && was(self.target) && role.is_none_or(was) && self.is_near(names)
        };
        had.iter().copied().filter(fits).collect()
    }

    /// Whether the referrer can refer to an object at all.
    fn reaches(&self, at: usize) -> bool {
        let (own, other) = (&self.referrer.id, &self.index.names[at].id);
        own.gvk.is_cluster_scoped()
            || other.gvk.is_cluster_scoped()
            || own.same_namespace(other)
            || self.referrer.subject_namespaces.contains(&other.namespace)
    }

    /// Same namespace; service accounts may be meant from elsewhere.
    fn is_near(&self, names: &Names) -> bool {
        let own = &self.referrer.id;
        own.gvk.is_cluster_scoped()
            || names.id.gvk.is_cluster_scoped()
            || names.id.gvk.kind == "ServiceAccount"
            || own.same_namespace(&names.id)
    }

    /// Of several, the one whose name was changed in the same places.
    fn choose(
        &self,
        name: &str,
        mut candidates: Vec<usize>,
        same: impl Fn(&ResId, &ResId) -> bool,
    ) -> Result<Option<&ResId>, String> {
        let referrer = &self.all[self.referrer.at];
        if candidates.len() != 1 {
            candidates.retain(|at| self.all[*at].same_affixes(referrer, true));
        }
        if candidates.len() > 1 {
            candidates.retain(|at| self.all[*at].same_affixes(referrer, false));
        }
        let ids: Vec<&ResId> = candidates.iter().map(|at| &self.index.names[*at].id).collect();
        match ids[..] {
            [] => Ok(None),
            [first, ..] if ids.iter().all(|id| same(first, id)) => Ok(Some(first)),
            _ => {
                let shown: Vec<String> = ids.iter().map(ToString::to_string).collect();
                Err(format!("the name {name} may be any of {}", shown.join(", ")))
            }
        }
    }
}
