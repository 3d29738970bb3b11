//! Where a live object differs from what its manifest means: fields that have another value, fields that are gone,
//! and fields that somebody added.

mod lists;

use super::change::{Change, Op, Step};
use super::owned::{Own, Owned};
use super::rules::Rules;
use crate::api::schema::{Schema, Shape};
use crate::gitops::plan::diff::METADATA_NOISE;
use serde_json::{Map, Value};

/// All of them, those of a list from its beginning to its end, so that made in the opposite order each finds its
/// indexes as they were.
pub fn changes(manifest: &Value, live: &Value, rules: &Rules<'_>) -> Vec<Change> {
    let text = |field: &str| manifest.get(field).and_then(Value::as_str).unwrap_or_default();
    let schema = rules.schema(text("apiVersion"), text("kind"));
    let kept = rules.kept(manifest);
    let owned = Owned::of(live, |manager| rules.is_asked_for(manager));
    let mut compare = Compare { kind: text("kind"), path: Vec::new(), found: Vec::new() };
    compare.value(manifest, kept.as_ref(), live, schema.as_deref(), owned.whole());
    let found = compare.found;
    let Some(kept) = kept else { return found };
    found.into_iter().filter_map(|change| rules.without_defaults(manifest, &kept, change)).collect()
}

struct Compare<'a> {
    kind: &'a str,
    path: Vec<Step>,
    found: Vec<Change>,
}

impl Compare<'_> {
    /// `set` is what the manifest says, `kept` what the server makes of that, if it is known.
    fn value(&mut self, set: &Value, kept: Option<&Value>, live: &Value, schema: Option<&Schema>, own: Own<'_>) {
        match (set, live) {
            (Value::Object(set), Value::Object(live)) => self.map(set, kept, live, schema, own),
            (Value::Array(set), Value::Array(live)) => self.list(set, kept, live, schema, own),
            _ if set == live || kept == Some(live) => {}
            (Value::Null, _) => {
                if let Some(new) = own.of(live) {
                    self.push(Op::Set(new));
                }
            }
            (_, Value::Null) => self.gone(set, kept),
            _ => self.push(Op::Set(live.clone())),
        }
    }

    fn map(
        &mut self,
        set: &Map<String, Value>,
        kept: Option<&Value>,
        live: &Map<String, Value>,
        schema: Option<&Schema>,
        own: Own<'_>,
    ) {
        let own = if is_atomic(schema) { Own::All } else { own };
        let before = self.found.len();
        for (key, set) in set {
            if self.is_bookkeeping(key) {
                continue;
            }
            self.path.push(Step::Key(key.clone()));
            let kept_there = kept.map(|kept| kept.get(key).unwrap_or(&Value::Null));
            match live.get(key) {
                Some(live) => {
                    let kept = kept_there.filter(|kept| !kept.is_null());
                    self.value(set, kept, live, child(schema, key), own.field(key));
                }
                None => self.gone(set, kept_there),
            }
            self.path.pop();
        }
        let mut added = Map::new();
        for (key, live) in live.iter().filter(|(key, _)| !set.contains_key(*key) && !self.is_others(key)) {
            let is_default = kept.is_some_and(|kept| kept.get(key) == Some(live));
            if let Some(mut new) = own.field(key).of(live).filter(|new| !new.is_null() && !is_default) {
                drop_tools_notes(key, &mut new);
                if key != "annotations" || !is_empty(&new) {
                    added.insert(key.clone(), new);
                }
            }
        }
        let removed = |change: &Change| change.op == Op::Remove && change.path.len() == self.path.len() + 1;
        if !set.is_empty() && self.found.len() - before == set.len() && self.found[before..].iter().all(removed) {
            // A map in a file cannot lose all that it has and go on.
            self.found.truncate(before);
            return self.push(Op::Set(Value::Object(added)));
        }
        // They are made from the last to the first, each behind all that there is.
        for (key, new) in added.into_iter().rev() {
            self.path.push(Step::Key(key));
            self.push(Op::Add(new));
            self.path.pop();
        }
    }

    /// The live object has none. What the server drops, like `false` or an empty map, is as good as there.
    fn gone(&mut self, set: &Value, kept: Option<&Value>) {
        if !is_empty(set) && !kept.is_some_and(is_empty) {
            self.push(Op::Remove);
        }
    }

    fn push(&mut self, op: Op) {
        self.found.push(Change { path: self.path.clone(), op });
    }

    /// A path of keys alone.
    fn is_at(&self, path: &[&str]) -> bool {
        self.path.len() == path.len()
            && self.path.iter().zip(path).all(|(step, key)| matches!(step, Step::Key(at) if at == key))
    }

    /// What only the server can say.
    fn is_bookkeeping(&self, key: &str) -> bool {
        (self.path.is_empty() && key == "status") || (self.is_at(&["metadata"]) && METADATA_NOISE.contains(&key))
    }

    /// What is not added to a manifest, whoever set it: bookkeeping, and what was allotted to this one object.
    fn is_others(&self, key: &str) -> bool {
        let annotations = matches!(self.path.last(), Some(Step::Key(last)) if last == "annotations");
        let allotted = match self.kind {
            "Service" => ["clusterIP", "clusterIPs", "ipFamilies", "ipFamilyPolicy"].contains(&key),
            "PersistentVolumeClaim" => key == "volumeName",
            "Pod" => key == "nodeName",
            _ => false,
        };
        self.is_bookkeeping(key)
            || (annotations && is_tools_note(key))
            || (self.is_at(&["metadata"]) && ["ownerReferences", "finalizers"].contains(&key))
            || (self.is_at(&["spec"]) && allotted)
    }
}

/// An annotation that kubectl or a controller keeps for itself.
fn is_tools_note(key: &str) -> bool {
    key.starts_with("kubectl.kubernetes.io/") || key == "deployment.kubernetes.io/revision"
}

/// Takes them out of what is added as a whole.
fn drop_tools_notes(key: &str, value: &mut Value) {
    if let Value::Object(map) = value {
        map.retain(|inner, _| key != "annotations" || !is_tools_note(inner));
        map.iter_mut().for_each(|(key, value)| drop_tools_notes(key, value));
    }
}

/// Whether server-side apply sets it as one value, with all that it says and nothing else.
fn is_atomic(schema: Option<&Schema>) -> bool {
    match schema.map(|schema| &schema.shape) {
        Some(Shape::Object(object)) => object.atomic,
        Some(Shape::Map { atomic, .. }) => *atomic,
        _ => false,
    }
}

fn child<'a>(schema: Option<&'a Schema>, key: &str) -> Option<&'a Schema> {
    match &schema?.shape {
        Shape::Object(object) => Some(&object.fields.get(key)?.schema),
        Shape::Map { values, .. } => Some(values),
        _ => None,
    }
}

fn is_empty(value: &Value) -> bool {
    match value {
        Value::Object(map) => map.values().all(is_empty),
        Value::Array(list) => list.is_empty(),
        other => other.is_null(),
    }
}
