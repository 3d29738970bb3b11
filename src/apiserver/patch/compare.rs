//! What differs between two versions of an object, as sets of fields.

use super::fieldset::FieldSet;
use super::typed::{Form, elements, field, field_element, form, is_bare, item_schema};
use crate::api::schema::Schema;
use serde_json::{Map, Value};
use std::collections::BTreeMap;

#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Comparison {
    pub added: FieldSet,
    pub modified: FieldSet,
    pub removed: FieldSet,
}

impl Comparison {
    pub fn is_same(&self) -> bool {
        self.added.is_empty() && self.modified.is_empty() && self.removed.is_empty()
    }

    fn put(&mut self, element: &str, child: Comparison) {
        for (set, below) in
            [(&mut self.added, child.added), (&mut self.modified, child.modified), (&mut self.removed, child.removed)]
        {
            if !below.is_empty() {
                set.children.insert(element.into(), below);
            }
        }
    }
}

/// Parts that a typed object of Kubernetes has even when it is new: writing them creates their
/// fields, not the part itself.
const ALWAYS: &[&str] = &[
    "metadata",
    "spec",
    "status",
    "template",
    "containers",
    "strategy",
    "updateStrategy",
    "jobTemplate",
    "loadBalancer",
    "involvedObject",
    "source",
    "nodeInfo",
    "daemonEndpoints",
    "kubeletEndpoint",
];

/// Everything in a value, containers included: what appears with it, or goes with it.
pub fn whole(value: &Value, schema: Option<&Schema>) -> FieldSet {
    all(value, schema, false)
}

/// Everything in an object that is created.
pub fn created(object: &Value, schema: &Schema) -> FieldSet {
    // Kubernetes has no types for custom resources: writing one creates all of its parts.
    if schema.lenient {
        let mut set = whole(object, Some(schema));
        if let Some(metadata) = set.children.get_mut("f:metadata") {
            metadata.member = false;
        }
        set.member = false;
        return set;
    }
    all(object, Some(schema), true)
}

fn all(value: &Value, schema: Option<&Schema>, always: bool) -> FieldSet {
    let mut set = FieldSet { member: !always, children: BTreeMap::new() };
    if is_bare(value) {
        return set;
    }
    let form = form(schema, value);
    match (form, value) {
        (Form::Struct(_) | Form::Map(_), Value::Object(fields)) => {
            for (name, value) in fields {
                let always = always && ALWAYS.contains(&name.as_str());
                set.put(field_element(name), all(value, field(form, name), always));
            }
        }
        (Form::ListMap(..) | Form::Set, Value::Array(list)) => {
            for (element, item) in elements(form, list) {
                let child = match item_schema(form) {
                    Some(schema) => all(item, Some(schema), false),
                    None => FieldSet::leaf(),
                };
                set.put(element, child);
            }
        }
        _ => set.member = true,
    }
    set
}

/// Compares two values of one type.
pub fn compare(before: &Value, after: &Value, schema: Option<&Schema>) -> Comparison {
    let mut result = Comparison::default();
    let how = form(schema, after);
    let both_bare = is_bare(before) && is_bare(after);
    match (how, before, after) {
        (Form::Struct(_) | Form::Map(_), Value::Object(old), Value::Object(new)) if !both_bare => {
            fields(old, new, how, &mut result);
        }
        (Form::ListMap(..) | Form::Set, Value::Array(old), Value::Array(new)) if !both_bare => {
            lists(old, new, how, &mut result);
        }
        _ => result.modified.member = before != after,
    }
    result
}

fn fields(old: &Map<String, Value>, new: &Map<String, Value>, form: Form<'_>, result: &mut Comparison) {
    for (name, after) in new {
        let schema = field(form, name);
        match old.get(name) {
            Some(before) => {
                let child = compare(before, after, schema);
                if !child.is_same() {
                    result.put(&field_element(name), child);
                }
            }
            None => result.added.put(field_element(name), whole(after, schema)),
        }
    }
    for (name, before) in old.iter().filter(|(name, _)| !new.contains_key(*name)) {
        result.removed.put(field_element(name), whole(before, field(form, name)));
    }
}

fn lists(old: &[Value], new: &[Value], form: Form<'_>, result: &mut Comparison) {
    if old == new {
        return;
    }
    let schema = item_schema(form);
    let before: BTreeMap<Box<str>, &Value> = elements(form, old).into_iter().collect();
    let after: BTreeMap<Box<str>, &Value> = elements(form, new).into_iter().collect();
    let parts = |item: &Value| if schema.is_some() { whole(item, schema) } else { FieldSet::leaf() };
    for (element, item) in &after {
        match before.get(element) {
            Some(other) => {
                let child = compare(other, item, schema);
                if !child.is_same() {
                    result.put(element, child);
                }
            }
            None => result.added.put(element.clone(), parts(item)),
        }
    }
    for (element, item) in before.iter().filter(|(element, _)| !after.contains_key(*element)) {
        result.removed.put(element.clone(), parts(item));
    }
}
