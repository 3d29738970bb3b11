//! Sets of field paths, as `FieldsV1` writes them: a tree whose edges are path elements in their
//! written form (`f:name`, `k:{...}`, `v:...`, `i:0`).

use serde_json::{Map, Value};
use std::collections::BTreeMap;

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

    /// `fieldsV1` of this set.
    pub fn to_json(&self) -> Value {
        let mut fields = Map::new();
        if self.member && !self.children.is_empty() {
            fields.insert(".".into(), Value::Object(Map::new()));
        }
        for (element, child) in &self.children {
            fields.insert(element.to_string(), child.to_json());
        }
        Value::Object(fields)
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

    #[test]
    fn the_written_form_is_kept() {
        let written = json!({"f:metadata": {"f:labels": {".": {}, "f:a": {}}},
            "f:spec": {"f:containers": {"k:{\"name\":\"c\"}": {".": {}, "f:image": {}}}, "f:replicas": {}}});
        assert_eq!(FieldSet::parse(&written).to_json(), written);
        assert_eq!(
            FieldSet::parse(&written).paths(),
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
    fn sets_combine() {
        let a = FieldSet::parse(&json!({"f:x": {}, "f:y": {"f:z": {}, "f:w": {}}}));
        let b = FieldSet::parse(&json!({"f:y": {"f:z": {}}, "f:v": {}}));
        assert_eq!(a.minus(&b).to_json(), json!({"f:x": {}, "f:y": {"f:w": {}}}));
        assert_eq!(a.intersection(&b).to_json(), json!({"f:y": {"f:z": {}}}));
        assert!(a.intersection(&b).is_subset(&a) && !b.is_subset(&a));
        let mut union = a.clone();
        union.union(&b);
        assert!(a.is_subset(&union) && b.is_subset(&union));
        assert!(a.minus(&a).is_empty());
    }
}
