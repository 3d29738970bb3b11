//! Sets of field paths, as `FieldsV1` writes them: a tree whose edges are path elements in their
//! written form (`f:name`, `k:{...}`, `v:...`, `i:0`).

use serde::de::{Deserialize, Deserializer, IgnoredAny, MapAccess, SeqAccess, Visitor};
use serde::ser::{Serialize, SerializeMap, Serializer};
use serde_json::{Map, Value};
use std::borrow::Cow;
use std::collections::BTreeMap;
use std::fmt;

/// A set of paths. `member`: the path up to here is itself in the set.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct FieldSet {
    pub(super) member: bool,
    pub(super) children: BTreeMap<Box<str>, FieldSet>,
}

impl FieldSet {
    /// The set that holds just this path.
    pub fn leaf() -> Self {
        Self { member: true, children: BTreeMap::new() }
    }

    /// Reads `fieldsV1`. What is not an object counts as a leaf.
    pub fn parse(fields: &Value) -> Self {
        let mut set = Self::default();
        for (element, below) in fields.as_object().into_iter().flatten() {
            if element == "." {
                set.member = true;
                continue;
            }
            let mut child = Self::parse(below);
            child.member |= child.children.is_empty();
            set.children.insert(element.as_str().into(), child);
        }
        set
    }

    pub fn is_empty(&self) -> bool {
        !self.member && self.children.is_empty()
    }

    /// Adds what lies below an element, unless it is empty.
    pub fn put(&mut self, element: Box<str>, child: FieldSet) {
        if !child.is_empty() {
            self.children.insert(element, child);
        }
    }

    pub fn union(&mut self, other: &Self) {
        self.member |= other.member;
        for (element, theirs) in &other.children {
            match self.children.get_mut(element) {
                Some(ours) => ours.union(theirs),
                None => {
                    self.children.insert(element.clone(), theirs.clone());
                }
            }
        }
    }

    /// Takes every path of `other` out.
    pub fn subtract(&mut self, other: &Self) {
        self.member &= !other.member;
        for (element, theirs) in &other.children {
            if let Some(ours) = self.children.get_mut(element) {
                ours.subtract(theirs);
                if ours.is_empty() {
                    self.children.remove(element);
                }
            }
        }
    }

    pub fn minus(&self, other: &Self) -> Self {
        let mut set = self.clone();
        set.subtract(other);
        set
    }

    pub fn intersection(&self, other: &Self) -> Self {
        let mut set = Self { member: self.member && other.member, children: BTreeMap::new() };
        for (element, ours) in &self.children {
            if let Some(theirs) = other.children.get(element) {
                set.put(element.clone(), ours.intersection(theirs));
            }
        }
        set
    }

    /// Whether every path of this set is in `other`.
    pub fn is_subset(&self, other: &Self) -> bool {
        (!self.member || other.member)
            && self
                .children
                .iter()
                .all(|(element, ours)| other.children.get(element).is_some_and(|theirs| ours.is_subset(theirs)))
    }

    /// Takes a path and everything below it out.
    pub fn remove(&mut self, path: &[&str]) {
        let [first, rest @ ..] = path else { return };
        if rest.is_empty() {
            self.children.remove(*first);
        } else if let Some(child) = self.children.get_mut(*first) {
            child.remove(rest);
            if child.is_empty() {
                self.children.remove(*first);
            }
        }
    }

    /// Leaves only what is at these paths, or below them; `*` stands for any element.
    pub fn keep(&mut self, paths: &[&[&str]]) {
        self.member = false;
        self.children.retain(|element, child| {
            let below: Vec<&[&str]> = paths
                .iter()
                .filter_map(|path| path.split_first())
                .filter(|(first, _)| **first == "*" || **first == element.as_ref())
                .map(|(_, rest)| rest)
                .collect();
            if below.iter().all(|rest| !rest.is_empty()) {
                child.keep(&below);
            }
            !child.is_empty()
        });
    }

    /// The paths as messages show them, e.g. `.spec.containers[name="c"].image`.
    pub fn paths(&self) -> Vec<String> {
        let mut paths = Vec::new();
        self.collect(&mut String::new(), &mut paths);
        paths
    }

    fn collect(&self, prefix: &mut String, paths: &mut Vec<String>) {
        if self.member {
            paths.push(prefix.clone());
        }
        for (element, child) in &self.children {
            let length = prefix.len();
            prefix.push_str(&readable(element));
            child.collect(prefix, paths);
            prefix.truncate(length);
        }
    }
}

/// As [`FieldSet::parse`], straight from what is written.
impl<'de> Deserialize<'de> for FieldSet {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(Written)
    }
}

struct Written;

impl<'de> Visitor<'de> for Written {
    type Value = FieldSet;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a set of fields")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<FieldSet, A::Error> {
        let mut set = FieldSet::default();
        while let Some(Element(element)) = map.next_key()? {
            if element == "." {
                map.next_value::<IgnoredAny>()?;
                set.member = true;
                continue;
            }
            let mut child: FieldSet = map.next_value()?;
            child.member |= child.children.is_empty();
            set.children.insert(element.into(), child);
        }
        Ok(set)
    }

    // What is no object counts as one without fields.

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<FieldSet, A::Error> {
        while seq.next_element::<IgnoredAny>()?.is_some() {}
        Ok(FieldSet::default())
    }

    fn visit_unit<E>(self) -> Result<FieldSet, E> {
        Ok(FieldSet::default())
    }

    fn visit_bool<E>(self, _: bool) -> Result<FieldSet, E> {
        Ok(FieldSet::default())
    }

    fn visit_i64<E>(self, _: i64) -> Result<FieldSet, E> {
        Ok(FieldSet::default())
    }

    fn visit_u64<E>(self, _: u64) -> Result<FieldSet, E> {
        Ok(FieldSet::default())
    }

    fn visit_f64<E>(self, _: f64) -> Result<FieldSet, E> {
        Ok(FieldSet::default())
    }

    fn visit_str<E>(self, _: &str) -> Result<FieldSet, E> {
        Ok(FieldSet::default())
    }
}

/// Copied only where it is written with an escape, as keys of list entries are.
#[derive(serde::Deserialize)]
struct Element<'a>(#[serde(borrow)] Cow<'a, str>);

/// `fieldsV1` of this set.
impl Serialize for FieldSet {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let listed = self.member && !self.children.is_empty();
        let mut map = serializer.serialize_map(Some(self.children.len() + usize::from(listed)))?;
        // Sorts before every element.
        if listed {
            map.serialize_entry(".", &BTreeMap::<&str, ()>::new())?;
        }
        for (element, child) in &self.children {
            map.serialize_entry(&**element, child)?;
        }
        map.end()
    }
}

/// A path element as messages show it.
pub fn readable(element: &str) -> String {
    match element.split_at_checked(2) {
        Some(("f:", name)) => format!(".{name}"),
        Some(("k:", keys)) => {
            let keys: Map<String, Value> = serde_json::from_str(keys).unwrap_or_default();
            let keys: Vec<String> = keys.iter().map(|(key, value)| format!("{key}={value}")).collect();
            format!("[{}]", keys.join(","))
        }
        Some(("v:", value)) => format!("[={value}]"),
        Some(("i:", index)) => format!("[{index}]"),
        _ => format!(".{element}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn written(set: &FieldSet) -> Value {
        serde_json::to_value(set).unwrap_or_default()
    }

    #[test]
    fn the_written_form_is_kept() {
        let fields = json!({"f:metadata": {"f:labels": {".": {}, "f:a": {}}},
            "f:spec": {"f:containers": {"k:{\"name\":\"c\"}": {".": {}, "f:image": {}}}, "f:replicas": {}}});
        assert_eq!(written(&FieldSet::parse(&fields)), fields);
        assert_eq!(
            FieldSet::parse(&fields).paths(),
            [
                ".metadata.labels",
                ".metadata.labels.a",
                ".spec.containers[name=\"c\"]",
                ".spec.containers[name=\"c\"].image",
                ".spec.replicas"
            ]
        );
    }

    #[test]
    fn bytes_and_values_are_the_same_sets() {
        for fields in [
            json!({"f:metadata": {"f:labels": {".": {}, "f:a": {}}}, "f:spec": {"f:containers":
                {"k:{\"name\":\"c\"}": {".": {}, "f:image": {}}}, "v:\"a\\\\\"": {}, "i:0": {}}}),
            json!({"f:a": null, "f:b": [1, {"f:c": {}}], "f:d": "x", "f:e": -1, "f:g": 1.5, "f:h": true, ".": {}}),
            json!([]),
            json!(null),
        ] {
            let set = FieldSet::parse(&fields);
            assert_eq!(serde_json::from_str::<FieldSet>(&fields.to_string()).ok().as_ref(), Some(&set), "{fields}");
            assert_eq!(serde_json::to_string(&set).ok(), Some(written(&set).to_string()), "{fields}");
        }
    }

    #[test]
    fn paths_can_be_picked() {
        let mut set = FieldSet::parse(&json!({"f:metadata": {"f:labels": {}}, "f:spec": {".": {}, "f:c": {
            "k:a": {".": {}, "f:name": {}, "f:r": {"f:x": {}}}, "k:b": {".": {}, "f:name": {}}}}}));
        set.keep(&[&["f:spec", "f:c", "*", "f:r"], &["f:other"]]);
        assert_eq!(written(&set), json!({"f:spec": {"f:c": {"k:a": {"f:r": {"f:x": {}}}}}}));
    }

    #[test]
    fn sets_combine() {
        let a = FieldSet::parse(&json!({"f:x": {}, "f:y": {"f:z": {}, "f:w": {}}}));
        let b = FieldSet::parse(&json!({"f:y": {"f:z": {}}, "f:v": {}}));
        assert_eq!(written(&a.minus(&b)), json!({"f:x": {}, "f:y": {"f:w": {}}}));
        assert_eq!(written(&a.intersection(&b)), json!({"f:y": {"f:z": {}}}));
        assert!(a.intersection(&b).is_subset(&a) && !b.is_subset(&a));
        let mut union = a.clone();
        union.union(&b);
        assert!(a.is_subset(&union) && b.is_subset(&union));
        assert!(a.minus(&a).is_empty());
    }
}
