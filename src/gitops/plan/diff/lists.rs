//! Differences of lists: by key where the schema names keys, as sets, or by position.

use super::path::Path;
use super::{Differ, FieldChange, Intent};
use crate::api::schema::{ListKind, Schema, Shape};
use serde_json::Value;
use similar::{Algorithm, DiffOp, capture_diff_slices};

/// How entries of two versions of a list are matched.
enum Matching {
    Keys(Vec<String>),
    Set,
    Position,
}

impl Differ {
    pub(super) fn list(
        &mut self,
        path: &Path,
        before: &[Value],
        after: &[Value],
        intent: Intent<'_>,
        schema: Option<&Schema>,
    ) {
        let items = match schema.map(|schema| &schema.shape) {
            Some(Shape::List { items, .. }) => Some(&**items),
            _ => None,
        };
        match matching(schema, before, after) {
            Matching::Keys(keys) => self.keyed(path, before, after, intent, items, &keys),
            Matching::Set => self.set(path, before, after),
            Matching::Position => self.positional(path, before, after, intent, items),
        }
    }

    fn keyed(
        &mut self,
        path: &Path,
        before: &[Value],
        after: &[Value],
        intent: Intent<'_>,
        items: Option<&Schema>,
        keys: &[String],
    ) {
        let find = |list: &[Value], key: &str| list.iter().position(|item| name(item, keys) == key);
        for old in before {
            let key = name(old, keys);
            let path = path.item(&key);
            match find(after, &key) {
                Some(index) => self.value(&path, old, &after[index], meant(intent, &key, keys), items),
                None if self.is_given_later(&path, meant(intent, &key, keys)) => {}
                None => self.push(&path, Some(old), None),
            }
        }
        for new in after {
            let key = name(new, keys);
            if find(before, &key).is_none() {
                self.added(&path.item(&key), new, meant(intent, &key, keys));
            }
        }
        let order = |list: &[Value], other: &[Value]| -> Vec<Value> {
            let common = list.iter().map(|item| name(item, keys)).filter(|key| find(other, key).is_some());
            common.map(Value::String).collect()
        };
        let (old, new) = (order(before, after), order(after, before));
        if old != new && !self.is_given_anew(path, intent) {
            let path = format!("{path} (order)");
            self.changes.push(FieldChange::Changed { path, before: Value::Array(old), after: Value::Array(new) });
        }
    }

    fn set(&mut self, path: &Path, before: &[Value], after: &[Value]) {
        for old in before.iter().filter(|old| !after.contains(old)) {
            self.push(&path.item(plain(old)), Some(old), None);
        }
        for new in after.iter().filter(|new| !before.contains(new)) {
            self.push(&path.item(plain(new)), None, Some(new));
        }
    }

    fn positional(
        &mut self,
        path: &Path,
        before: &[Value],
        after: &[Value],
        intent: Intent<'_>,
        items: Option<&Schema>,
    ) {
        if before.len() == after.len() {
            for (index, (old, new)) in before.iter().zip(after).enumerate() {
                let intent = intent.step(|list| list.get(index));
                self.value(&path.item(index.to_string()), old, new, intent, items);
            }
            return;
        }
        let scalars = |list: &[Value]| list.iter().all(|item| !item.is_object() && !item.is_array());
        if scalars(before) && scalars(after) {
            let (old, new) = (Value::Array(before.to_vec()), Value::Array(after.to_vec()));
            return self.push(path, Some(&old), Some(&new));
        }
        let texts = |list: &[Value]| list.iter().map(Value::to_string).collect::<Vec<_>>();
        for op in capture_diff_slices(Algorithm::Myers, &texts(before), &texts(after)) {
            if let DiffOp::Equal { .. } = op {
                continue;
            }
            for index in op.old_range() {
                self.push(&path.item(index.to_string()), Some(&before[index]), None);
            }
            for index in op.new_range() {
                let intent = intent.step(|list| list.get(index));
                self.added(&path.item(index.to_string()), &after[index], intent);
            }
        }
    }
}

fn matching(schema: Option<&Schema>, before: &[Value], after: &[Value]) -> Matching {
    let (kind, patch) = match schema.map(|schema| &schema.shape) {
        Some(Shape::List { kind, patch, .. }) => (Some(kind), patch.as_ref()),
        _ => (None, None),
    };
    let unique = |keys: &[String]| is_unique(before, keys) && is_unique(after, keys);
    let candidates = match kind {
        Some(ListKind::Set) => return Matching::Set,
        Some(ListKind::Map(keys)) => vec![keys.iter().map(ToString::to_string).collect::<Vec<_>>()],
        _ => Vec::new(),
    };
    let merge_key = patch.and_then(|patch| patch.merge_key.as_ref()).map(|key| vec![key.to_string()]);
    let by_name = schema.is_none().then(|| vec!["name".to_owned()]);
    let found = candidates.into_iter().chain(merge_key).chain(by_name).find(|keys| unique(keys));
    found.map_or(Matching::Position, Matching::Keys)
}

/// All entries are maps that have at least one of the keys, and no two are the same.
fn is_unique(list: &[Value], keys: &[String]) -> bool {
    let mut names: Vec<String> = list.iter().map(|item| name(item, keys)).collect();
    if list.iter().any(|item| keys.iter().all(|key| item.get(key).is_none())) {
        return false;
    }
    names.sort();
    names.windows(2).all(|pair| pair[0] != pair[1])
}

/// `web`; of several keys `8080/TCP`.
fn name(item: &Value, keys: &[String]) -> String {
    let parts: Vec<String> = keys.iter().filter_map(|key| item.get(key)).map(plain).collect();
    parts.join("/")
}

fn plain(value: &Value) -> String {
    value.as_str().map_or_else(|| value.to_string(), str::to_owned)
}

/// The manifest's entry of that key. A key that has a default may be absent there (a port's protocol).
fn meant<'a>(intent: Intent<'a>, key: &str, keys: &[String]) -> Intent<'a> {
    intent.step(|list| {
        let items = list.as_array()?;
        let starts = |item: &&Value| {
            let name = name(item, keys);
            !name.is_empty() && key.starts_with(&format!("{name}/"))
        };
        items.iter().find(|item| name(item, keys) == key).or_else(|| items.iter().find(starts))
    })
}
