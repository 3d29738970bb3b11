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
    compared(manifest, live, rules).0
}

/// The changes, and what is left, like what others than the managers asked for set: the paths, and why.
pub fn compared(manifest: &Value, live: &Value, rules: &Rules<'_>) -> (Vec<Change>, Vec<(String, String)>) {
    let text = |field: &str| manifest.get(field).and_then(Value::as_str).unwrap_or_default();
    let schema = rules.schema(text("apiVersion"), text("kind"));
    let kept = rules.kept(manifest);
    let owned = Owned::of(live, |manager| rules.is_asked_for(manager));
    let mut compare = Compare { kind: text("kind"), path: Vec::new(), found: Vec::new(), left: Vec::new() };
    compare.value(manifest, kept.as_ref(), live, schema.as_deref(), owned.whole());
    let (mut found, mut left) = (compare.found, compare.left);
    left.extend(without_others(&mut found, kept.as_ref().unwrap_or(manifest), live, rules));
    let Some(kept) = kept else { return (found, left) };
    let found = found.into_iter().filter_map(|change| rules.without_defaults(manifest, &kept, change));
    (found.collect(), left)
}

/// Takes out changes of what others set, like an autoscaler, and tells whose they are. `object` is what the manifest
/// means.
fn without_others(found: &mut Vec<Change>, object: &Value, live: &Value, rules: &Rules<'_>) -> Vec<(String, String)> {
    let is_ours = |manager: &str| rules.is_asked_for(manager) || manager.starts_with("selkie");
    let ours = Owned::of(live, is_ours);
    let others = Owned::each(live, |manager| !is_ours(manager));
    let mut left = Vec::new();
    found.retain(|change| {
        let depth = |owned: &Owned| depth_of(owned.whole(), change.place(), object);
        if depth(&ours).is_some() {
            return true;
        }
        let Some((manager, depth)) = others.iter().find_map(|(manager, owned)| Some((manager, depth(owned)?))) else {
            return true;
        };
        let told =
            (described(&change.path[..depth]), format!("it is set by {manager}: `--added-by {manager}` writes it"));
        if !left.contains(&told) {
            left.push(told);
        }
        false
    });
    left
}

fn described(path: &[Step]) -> String {
    Change { path: path.to_vec(), op: Op::Remove }.describe()
}

/// How many steps lead to a value that is theirs as a whole; `None`: it is not.
fn depth_of(own: Own<'_>, path: &[Step], object: &Value) -> Option<usize> {
    let (mut own, mut value) = (own, Some(object));
    for (depth, step) in path.iter().enumerate() {
        if matches!(own, Own::All) {
            return Some(depth);
        }
        (own, value) = match step {
            Step::Key(key) => (own.field(key), value.and_then(|value| value.get(key))),
            Step::Index(index) => {
                let item = value.and_then(|value| value.get(index));
                (item.map_or(Own::Nothing, |item| own.item(item)), item)
            }
        };
    }
    matches!(own, Own::All).then_some(path.len())
}

struct Compare<'a> {
    kind: &'a str,
    path: Vec<Step>,
    found: Vec<Change>,
    /// Differences that are not written, by their paths.
    left: Vec<(String, String)>,
}

impl Compare<'_> {
    /// `set` is what the manifest says, `kept` what the server makes of that, if it is known.
    fn value(&mut self, set: &Value, kept: Option<&Value>, live: &Value, schema: Option<&Schema>, own: Own<'_>) {
        match (set, live) {
            (Value::Object(set), Value::Object(live)) => self.map(set, kept, live, schema, own),
            (Value::Array(set), Value::Array(live)) => self.list(set, kept, live, schema, own),
            _ if set == live || kept == Some(live) => {}
            (Value::Null, Value::Object(map)) => self.unsaid(kept, map, schema, own),
            (Value::Null, _) => {
                if let Some(new) = own.of(live) {
                    self.push(Op::Set(new));
                }
            }
            (_, Value::Null) => self.gone(set, kept),
            _ => self.push(Op::Set(live.clone())),
        }
    }

    /// The manifest has the key of a map, and nothing in it.
    fn unsaid(&mut self, kept: Option<&Value>, live: &Map<String, Value>, schema: Option<&Schema>, own: Own<'_>) {
        if matches!(own, Own::Nothing) {
            return;
        }
        let before = self.found.len();
        self.map(&Map::new(), kept, live, schema, own);
        let entry = |mut change: Change| match (change.path.pop(), change.op) {
            (Some(Step::Key(key)), Op::Add(new)) => Some((key, new)),
            _ => None,
        };
        let added: Map<String, Value> = self.found.split_off(before).into_iter().filter_map(entry).collect();
        if !added.is_empty() || live.values().all(Value::is_null) {
            self.push(Op::Set(Value::Object(added)));
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
            let is_note = self.is_in_annotations() && is_tools_note(key);
            if self.is_bookkeeping(key) || is_note || (set.is_null() && self.is_others(key)) {
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

    fn is_in_annotations(&self) -> bool {
        matches!(self.path.last(), Some(Step::Key(last)) if last == "annotations")
    }

    /// What is not added to a manifest, whoever set it: bookkeeping, and what was allotted to this one object.
    fn is_others(&self, key: &str) -> bool {
        let allotted = match self.kind {
            "Service" => ["clusterIP", "clusterIPs", "ipFamilies", "ipFamilyPolicy"].contains(&key),
            "PersistentVolumeClaim" => key == "volumeName",
            "Pod" => key == "nodeName",
            _ => false,
        };
        self.is_bookkeeping(key)
            || (self.is_in_annotations() && is_tools_note(key))
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
