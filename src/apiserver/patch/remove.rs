//! Taking a set of fields out of an object.

use super::fieldset::FieldSet;
use super::typed::{Form, elements, field, form, is_bare, item_schema};
use crate::api::schema::Schema;
use serde_json::Value;

/// Removes every path of `set`, with all below it. A container that becomes empty goes too.
pub fn remove(value: &mut Value, set: &FieldSet, schema: Option<&Schema>) {
    if set.children.is_empty() {
        return;
    }
    let how = form(schema, value);
    match value {
        Value::Object(fields) => {
            for (element, below) in &set.children {
                let Some(name) = element.strip_prefix("f:") else { continue };
                let Some(child) = fields.get_mut(name) else { continue };
                let had = !is_bare(child);
                if !below.member {
                    remove(child, below, field(how, name));
                }
                if below.member || (had && is_bare(child)) {
                    fields.remove(name);
                }
            }
        }
        Value::Array(list) if matches!(how, Form::ListMap(..) | Form::Set) => {
            let names: Vec<Box<str>> = elements(how, list).into_iter().map(|(name, _)| name).collect();
            let mut names = names.into_iter();
            list.retain_mut(|item| {
                let Some(below) = names.next().and_then(|name| set.children.get(&name)) else { return true };
                if below.member {
                    return false;
                }
                remove(item, below, item_schema(how));
                true
            });
        }
        _ => {}
    }
}

/// The set with every declared field on the way to a path as a member: what a removal of the
/// fields takes along when nothing else is below.
pub fn with_containers(set: &FieldSet, schema: Option<&Schema>, value: &Value) -> FieldSet {
    let how = form(schema, value);
    let mut result = FieldSet { member: set.member, ..FieldSet::default() };
    let named = match (how, value) {
        (Form::ListMap(..) | Form::Set, Value::Array(list)) => elements(how, list),
        _ => Vec::new(),
    };
    for (element, below) in &set.children {
        let (schema, found) = match element.strip_prefix("f:") {
            Some(name) => (field(how, name), value.get(name)),
            None => (item_schema(how), named.iter().find(|(name, _)| name == element).map(|(_, item)| *item)),
        };
        let mut child = with_containers(below, schema, found.unwrap_or(&Value::Null));
        let declared = matches!((how, element.strip_prefix("f:")),
            (Form::Struct(shape), Some(name)) if shape.fields.contains_key(name));
        child.member |= declared;
        result.children.insert(element.clone(), child);
    }
    result
}
