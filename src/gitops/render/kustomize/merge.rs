//! Strategic merge as kustomize does it (its `merge2` package): close to Kubernetes' own, but lists merge
//! by all their keys, elements of the patch go in front, and the order of the rest follows from how
//! kustomize puts lists together.

use super::id::Gvk;
use crate::api::schema::{ListKind, SchemaRef, Shape};
use crate::gitops::render::tree::{Body, Entry, Node, Scalar};
use serde_json::Value;
use std::collections::{HashMap, HashSet};
use std::sync::Arc;

const PATCH: &str = "$patch";
/// Elements of lists that merge by keys: each is compared with each.
const MAX_ITEMS: usize = 5_000;

/// What is known of the fields of kinds.
pub trait Schemas {
    /// `None`: nothing is known, and lists are replaced.
    fn of_kind(&self, gvk: &Gvk) -> Option<Place<'_>>;
}

/// A type in a schema.
#[derive(Clone)]
pub enum Place<'a> {
    /// Of the kinds that Kubernetes has.
    Builtin(SchemaRef),
    /// Of an OpenAPI document that the kustomization names.
    Document { schema: &'a Value, definitions: &'a Value },
}

impl<'a> Place<'a> {
    fn field(&self, name: &str) -> Option<Self> {
        match self {
            Self::Builtin(schema) => match &schema.shape {
                Shape::Object(object) => object.fields.get(name).map(|field| Self::Builtin(field.schema.clone())),
                Shape::Map { values, .. } => Some(Self::Builtin(values.clone())),
                _ => None,
            },
            Self::Document { schema, definitions } => {
                let properties = schema.get("properties").and_then(|all| all.get(name));
                let found = properties.or_else(|| schema.get("additionalProperties").filter(|s| s.is_object()))?;
                resolve(found, definitions)
            }
        }
    }

    fn items(&self) -> Option<Self> {
        match self {
            Self::Builtin(schema) => match &schema.shape {
                Shape::List { items, .. } => Some(Self::Builtin(items.clone())),
                _ => None,
            },
            Self::Document { schema, definitions } => resolve(schema.get("items")?, definitions),
        }
    }

    /// The keys by which a list merges; none for a set of scalars. `None`: it is replaced.
    fn merge_keys(&self) -> Option<Vec<String>> {
        match self {
            Self::Builtin(schema) => match &schema.shape {
                Shape::List { kind: ListKind::Map(keys), patch: Some(_), .. } => {
                    Some(keys.iter().map(ToString::to_string).collect())
                }
                Shape::List { patch: Some(patch), .. } => {
                    Some(patch.merge_key.iter().map(ToString::to_string).collect())
                }
                _ => None,
            },
            Self::Document { schema, .. } => {
                let text = |key: &str| schema.get(key).and_then(Value::as_str);
                text("x-kubernetes-patch-strategy")?.split(',').find(|strategy| *strategy == "merge")?;
                match schema.get("x-kubernetes-list-map-keys").and_then(Value::as_array) {
                    Some(keys) => Some(keys.iter().filter_map(Value::as_str).map(str::to_owned).collect()),
                    None => Some(text("x-kubernetes-patch-merge-key").map(str::to_owned).into_iter().collect()),
                }
            }
        }
    }
}

/// Follows `$ref`s into the definitions.
pub fn resolve<'a>(schema: &'a Value, definitions: &'a Value) -> Option<Place<'a>> {
    const MAX_REFERENCES: usize = 100;
    let mut schema = schema;
    for _ in 0..MAX_REFERENCES {
        match schema.get("$ref").and_then(Value::as_str) {
            Some(reference) => schema = definitions.get(reference.strip_prefix("#/definitions/")?)?,
            None => return Some(Place::Document { schema, definitions }),
        }
    }
    None
}

/// Merges a patch into an object. `None`: the patch deletes it.
pub fn merge(object: Node, mut patch: Node, schemas: &dyn Schemas) -> Result<Option<Node>, String> {
    let merged = Walk { schemas }.walk(Some(object), Some(&mut patch), None)?;
    Ok(merged.into_node().filter(|node| !node.is_empty()))
}

enum Merged {
    Nothing,
    /// What was there, changed.
    Changed(Node),
    /// The patch's own value, in place of what was there.
    Replaced(Node),
    /// A null that was there and that the patch does not mention.
    KeptNull(Node),
}

impl Merged {
    fn into_node(self) -> Option<Node> {
        match self {
            Self::Nothing => None,
            Self::Changed(node) | Self::Replaced(node) => Some(node).filter(|node| !node.is_null()),
            Self::KeptNull(node) => Some(node),
        }
    }
}

enum Directive {
    Merge,
    Replace,
    Delete,
}

struct Walk<'a> {
    schemas: &'a dyn Schemas,
}

impl Walk<'_> {
    fn walk(&self, dest: Option<Node>, patch: Option<&mut Node>, place: Option<Place<'_>>) -> Result<Merged, String> {
        let given = [dest.as_ref(), patch.as_deref()];
        let mut present = given.iter().flatten().filter(|node| !node.is_null());
        let kind = present.next().map(|node| node.kind_name());
        if let (Some(kind), Some(other)) = (kind, present.next())
            && other.kind_name() != kind
        {
            return Err(format!("the patch has {} where the object has {kind}", other.kind_name()));
        }
        let place = place.or_else(|| given.iter().flatten().find_map(|node| self.of_object(node)));
        match kind {
            Some("a scalar") => Ok(overwritten(dest, patch)),
            Some("a list") => match place.as_ref().and_then(Place::merge_keys) {
                Some(keys) => {
                    let keys: Vec<&str> = keys.iter().map(String::as_str).collect();
                    self.list(dest, patch, &keys, place.as_ref().and_then(Place::items))
                }
                None => Ok(overwritten(dest, patch)),
            },
            _ => self.map(dest, patch, place),
        }
    }

    /// Objects may be in others, in lists or templates of custom kinds.
    fn of_object(&self, node: &Node) -> Option<Place<'_>> {
        let text = |key| node.get(key).map(Node::text).filter(|text| !text.is_empty());
        self.schemas.of_kind(&Gvk::new(text("apiVersion")?, text("kind")?))
    }

    fn map(&self, dest: Option<Node>, patch: Option<&mut Node>, place: Option<Place<'_>>) -> Result<Merged, String> {
        let Some(dest) = dest else {
            return match patch {
                None => Ok(Merged::Nothing),
                Some(patch) => self.added(patch, place),
            };
        };
        if dest.is_null() {
            return match patch {
                None if dest.text().is_empty() => Ok(Merged::Nothing),
                None => Ok(Merged::KeptNull(dest)),
                Some(patch) => self.added(patch, place),
            };
        }
        let Some(patch) = patch else { return self.fields(dest, None, place).map(Merged::Changed) };
        if patch.is_null() {
            return Ok(Merged::Nothing);
        }
        let mut dest = dest;
        match directive_of_map(patch)? {
            Some(Directive::Delete) => return Ok(Merged::Nothing),
            Some(Directive::Replace) => {
                let own = patch.clone();
                return self.fields(own, Some(patch), place).map(Merged::Replaced);
            }
            Some(Directive::Merge) => {
                dest.remove(PATCH);
            }
            None => {}
        }
        self.fields(dest, Some(patch), place).map(Merged::Changed)
    }

    /// A part of the patch that meets nothing: merged with itself, nulls and directives go.
    fn added(&self, patch: &mut Node, place: Option<Place<'_>>) -> Result<Merged, String> {
        if patch.is_null() {
            return Ok(Merged::Nothing);
        }
        if let Some(Directive::Delete) = directive_of_map(patch)? {
            return Ok(Merged::Nothing);
        }
        let own = patch.clone();
        self.fields(own, Some(patch), place).map(Merged::Replaced)
    }

    fn fields(&self, dest: Node, patch: Option<&mut Node>, place: Option<Place<'_>>) -> Result<Node, String> {
        let field = |key: &str| place.as_ref().and_then(|place| place.field(key));
        let (Body::Map(ours), at) = (dest.body, dest.at) else { return Ok(Node::map()) };
        let theirs = match patch.map(|patch| &mut patch.body) {
            Some(Body::Map(entries)) => entries.as_mut_slice(),
            _ => &mut [],
        };
        let known: HashSet<Arc<str>> = ours.iter().map(|entry| entry.key.text.clone()).collect();
        let (met, new): (Vec<_>, Vec<_>) = theirs.iter_mut().partition(|entry| known.contains(&entry.key.text));
        let mut met: HashMap<Arc<str>, &mut Node> =
            met.into_iter().map(|entry| (entry.key.text.clone(), &mut entry.value)).collect();
        let mut merged = Vec::with_capacity(ours.len() + new.len());
        for Entry { key, at, value } in ours {
            let theirs = met.remove(&key.text);
            let done = self.walk(Some(value), theirs, field(&key.text)).map_err(|why| in_field(&key.text, why))?;
            merged.extend(done.into_node().map(|value| Entry { key, at, value }));
        }
        for Entry { key, at, value } in new {
            let done = self.walk(None, Some(value), field(&key.text)).map_err(|why| in_field(&key.text, why))?;
            merged.extend(done.into_node().map(|value| Entry { key: key.clone(), at: *at, value }));
        }
        Ok(Node { at, body: Body::Map(merged) })
    }

    fn list(
        &self,
        dest: Option<Node>,
        patch: Option<&mut Node>,
        keys: &[&str],
        items: Option<Place<'_>>,
    ) -> Result<Merged, String> {
        let mut none = Node::list();
        let (dest, patch) = match (dest.filter(|dest| !dest.is_null()), patch) {
            (None, None) => return Ok(Merged::Nothing),
            (_, Some(patch)) if patch.is_null() => return Ok(Merged::Nothing),
            (None, Some(patch)) => (patch.clone(), patch),
            (Some(dest), None) => (dest, &mut none),
            (Some(mut dest), Some(patch)) => {
                match directive_of_list(patch)? {
                    Some(Directive::Delete) => return Ok(Merged::Nothing),
                    Some(Directive::Replace) => dest = patch.clone(),
                    Some(Directive::Merge) | None => {}
                }
                (dest, patch)
            }
        };
        let (Body::List(dest_items), Body::List(patch_items)) = (dest.body, &mut patch.body) else {
            return Ok(Merged::Nothing);
        };
        if dest_items.len() + patch_items.len() > MAX_ITEMS {
            return Err(format!("the patch merges lists of more than {MAX_ITEMS} elements"));
        }
        let merged = match keys {
            [] => union(dest_items, patch_items),
            keys => self.keyed(dest_items, patch_items, keys, items)?,
        };
        Ok(Merged::Changed(Node { at: dest.at, body: Body::List(merged) }))
    }

    fn keyed(
        &self,
        mut dest: Vec<Node>,
        patch: &mut [Node],
        keys: &[&str],
        items: Option<Place<'_>>,
    ) -> Result<Vec<Node>, String> {
        let mut known = HashSet::new();
        let all = patch.iter().chain(&dest).map(|item| identity(item, keys));
        let mut identities: Vec<Vec<String>> = all.filter(|identity| known.insert(identity.clone())).collect();
        if keys.len() > 1 {
            complete(&mut identities);
        }
        // Keys that no item has cannot tell items apart.
        let used: Vec<usize> =
            (0..keys.len()).filter(|at| identities.iter().any(|identity| !identity[*at].is_empty())).collect();
        let used = if used.is_empty() { (0..keys.len()).collect() } else { used };
        let keys: Vec<&str> = used.iter().map(|at| keys[*at]).collect();
        let mut added: Vec<Node> = Vec::new();
        for identity in &identities {
            let wanted: Vec<(&str, &str)> =
                used.iter().zip(&keys).map(|(at, key)| (*key, identity[*at].as_str())).collect();
            let set: Vec<_> = wanted.iter().copied().filter(|(_, value)| !value.is_empty()).collect();
            let lookup = if set.is_empty() { &wanted } else { &set };
            let ours = dest.iter().position(|item| has_exactly(item, lookup));
            let theirs = patch.iter_mut().find(|item| has_exactly(item, lookup));
            let old = ours.map(|at| dest[at].clone());
            let merged = self.walk(old, theirs, items.clone()).map_err(|why| in_item(lookup, why))?;
            if let (Merged::Changed(node), Some(at)) = (&merged, ours) {
                dest[at] = node.clone();
            }
            match merged.into_node().filter(|node| !node.is_map() || !node.is_empty()) {
                None => remove(&mut dest, &wanted),
                Some(mut node) => {
                    for (key, value) in &set {
                        if node.get(key).is_none() {
                            node.set(key, Node::scalar(Scalar::plain(*value)));
                        }
                    }
                    put(&mut added, node, &wanted);
                }
            }
        }
        let mut result = added;
        for item in dest {
            let identity = identity(&item, &keys);
            let present: Vec<_> = keys
                .iter()
                .copied()
                .zip(identity.iter().map(String::as_str))
                .filter(|(key, _)| item.get(key).is_some())
                .collect();
            if present.len() < keys.len() && present.is_empty() {
                result.push(item);
                continue;
            }
            if keys.len() > 1 {
                remove(&mut result, &present);
            }
            put(&mut result, item, &present);
        }
        Ok(result)
    }
}

fn overwritten(dest: Option<Node>, patch: Option<&mut Node>) -> Merged {
    match (patch, dest) {
        (Some(patch), _) => Merged::Replaced(patch.clone()),
        (None, Some(dest)) => Merged::Changed(dest),
        (None, None) => Merged::Nothing,
    }
}

fn in_field(key: &str, why: String) -> String {
    if why.starts_with("the patch") || why.starts_with("unknown") {
        format!("{key}: {why}")
    } else {
        format!("{key}.{why}")
    }
}

fn in_item(wanted: &[(&str, &str)], why: String) -> String {
    let named: Vec<_> = wanted.iter().map(|(key, value)| format!("{key}={value}")).collect();
    in_field(&format!("[{}]", named.join(",")), why)
}

fn directive(text: &str) -> Result<Directive, String> {
    match text {
        "merge" => Ok(Directive::Merge),
        "replace" => Ok(Directive::Replace),
        "delete" => Ok(Directive::Delete),
        other => Err(format!("unknown {PATCH} directive {other:?}: merge, replace and delete are known")),
    }
}

/// Takes the directive out of the patch.
fn directive_of_map(patch: &mut Node) -> Result<Option<Directive>, String> {
    let found = patch.remove(PATCH);
    found.map(|found| directive(found.text())).transpose()
}

/// The element that is only a directive, which is taken out of the patch.
fn directive_of_list(patch: &mut Node) -> Result<Option<Directive>, String> {
    let Body::List(items) = &mut patch.body else { return Ok(None) };
    let Some(text) = items.iter().find_map(|item| item.get(PATCH).filter(|_| item.entries().len() == 1)) else {
        return Ok(None);
    };
    let text = text.text().to_owned();
    items.retain(|item| item.get(PATCH).is_none_or(|other| other.text() != text));
    directive(&text).map(Some)
}

fn identity(item: &Node, keys: &[&str]) -> Vec<String> {
    keys.iter().map(|key| item.get(key).map(Node::text).unwrap_or_default().to_owned()).collect()
}

/// Items that name the same values for the keys both have are the same: a port without a protocol is
/// the one with.
fn complete(identities: &mut [Vec<String>]) {
    for i in 0..identities.len() {
        for j in 0..identities.len() {
            let (a, b) = (&identities[i], &identities[j]);
            let clash = a.iter().zip(b).any(|(a, b)| a != b && !a.is_empty() && !b.is_empty());
            let common = a.iter().zip(b).any(|(a, b)| a == b);
            if clash || !common {
                continue;
            }
            let both: Vec<_> = a.iter().zip(b).map(|(a, b)| if a.is_empty() { b } else { a }.clone()).collect();
            identities[i].clone_from(&both);
            identities[j] = both;
        }
    }
}

/// Whether an item has all these values.
fn has_exactly(item: &Node, wanted: &[(&str, &str)]) -> bool {
    item.is_map() && wanted.iter().all(|(key, value)| item.get(key).is_some_and(|own| own.text() == *value))
}

/// Whether an item is the one meant: an empty value stands for any.
fn is_meant(item: &Node, wanted: &[(&str, &str)]) -> bool {
    let fits = |key: &str, value: &str| item.get(key).is_some_and(|own| value.is_empty() || own.text() == value);
    item.is_map() && wanted.iter().all(|(key, value)| fits(key, value))
}

fn remove(items: &mut Vec<Node>, wanted: &[(&str, &str)]) {
    items.retain(|item| !is_meant(item, wanted));
}

/// Puts an item in place of those it is, else at the end.
fn put(items: &mut Vec<Node>, node: Node, wanted: &[(&str, &str)]) {
    match items.iter().position(|item| is_meant(item, wanted)) {
        Some(at) => items[at] = node,
        None => items.push(node),
    }
}

/// Lists of scalars: the patch's first, then the others.
fn union(dest: Vec<Node>, patch: &[Node]) -> Vec<Node> {
    let mut all: Vec<Node> = Vec::new();
    for item in patch.iter().cloned().chain(dest) {
        if !all.iter().any(|known| known.text() == item.text()) {
            all.push(item);
        }
    }
    all
}
