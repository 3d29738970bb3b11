//! Server-side apply: merges a manager's full intent into the live object, removes what the manager
//! applied before and no longer does, and refuses to take over fields that others own.
//! The semantics are those of structured-merge-diff.

#[cfg(test)]
mod tests;

use super::combine::combine;
use super::compare::compare;
use super::fieldset::FieldSet;
use super::managed::{self, Entry, Operation, Writer};
use super::remove::{remove, with_containers};
use super::typed::{check, to_set};
use crate::api::error::{ApiError, Cause, Details};
use crate::api::schema::Schema;
use serde_json::{Value, json};

/// The owner of what was there before anyone applied.
const BEFORE: &str = "before-first-apply";
/// Has an annotation of its own to keep in step.
const KUBECTL: &str = "kubectl";
const LAST_APPLIED: &str = "kubectl.kubernetes.io/last-applied-configuration";

/// The reason of causes that say which field is whose.
pub const CONFLICT: &str = "FieldManagerConflict";

/// Applies `intent` to `live` (`None`: creates it) and returns the new object, managed fields
/// included; it equals `live` when nothing changed. Not defaulted or validated.
///
/// The caller has checked the intent's identity and precondition, and taken out what the request's
/// subresource does not write (`status` for the main resource).
///
/// Errors: 400 for an intent with managedFields, 409 for fields of others without `force`, 500 for
/// fields the schema does not know and for list elements given twice.
pub fn apply(
    live: Option<&Value>,
    intent: &Value,
    schema: &Schema,
    writer: &Writer<'_>,
    force: bool,
) -> Result<Value, ApiError> {
    check_intent(intent, schema)?;
    let empty = json!({});
    let old = live.unwrap_or(&empty);
    let fields = managed::of_subresource(writer.subresource, managed::strip(to_set(intent, Some(schema))));
    let mut object = combine(old, intent, Some(schema));
    if object == *old && says_nothing_new(old, &fields, writer) {
        return Ok(object);
    }
    let mut entries = managed::read(old);
    if entries.is_empty() && live.is_some() {
        let fields = managed::strip(super::compare::created(old, schema));
        entries.push(Entry::new(Operation::Update, &Writer { manager: BEFORE, subresource: "", ..*writer }, fields));
    }
    let own = entries.iter().position(|entry| entry.is_by(Operation::Apply, writer)).map(|at| entries.remove(at));
    if let Some(own) = own.as_ref().filter(|own| !own.fields.is_subset(&fields)) {
        object = prune(object, &own.fields, &fields, &entries, schema);
        // Pruning takes emptied containers along; those the intent itself holds empty stay.
        object = combine(&object, intent, Some(schema));
    }
    let changes = managed::changes(old, &object, schema);
    let mut taken = changes.modified;
    taken.union(&changes.added);
    let conflicts: Vec<(&Entry, FieldSet)> = entries
        .iter()
        .map(|entry| (entry, entry.fields.intersection(&taken)))
        .filter(|(_, fields)| !fields.is_empty())
        .collect();
    if !conflicts.is_empty() && !force && !came_from_kubectl(live, &conflicts, schema, writer) {
        return Err(conflict(&conflicts));
    }
    for entry in &mut entries {
        entry.fields.subtract(&taken);
        entry.fields.subtract(&changes.removed);
    }
    entries.push(owned(own, fields, writer));
    refresh_last_applied(&mut object, intent, writer);
    managed::write(&mut object, entries);
    Ok(object)
}

/// Whether an apply of `fields` that changes no value changes no ownership either, which is the rule.
fn says_nothing_new(live: &Value, fields: &FieldSet, writer: &Writer<'_>) -> bool {
    writer.manager != KUBECTL
        && managed::applied(live, writer)
            .is_some_and(|own| own.fields == *fields && own.api_version == writer.api_version)
}

/// The manager's entry after the apply: as before when it says nothing new.
fn owned(own: Option<Entry>, fields: FieldSet, writer: &Writer<'_>) -> Entry {
    match own {
        Some(own) if own.fields == fields && own.api_version == writer.api_version => own,
        _ => Entry::new(Operation::Apply, writer, fields),
    }
}

/// 400 for an intent with managedFields, 500 for fields the schema does not know and for list
/// elements given twice.
pub fn check_intent(intent: &Value, schema: &Schema) -> Result<(), ApiError> {
    if !intent["metadata"]["managedFields"].is_null() {
        return Err(ApiError::bad_request("metadata.managedFields must be nil"));
    }
    let mut errors = Vec::new();
    check(intent, Some(schema), &mut String::new(), &mut errors);
    if errors.is_empty() {
        return Ok(());
    }
    let text = |value: &Value| value.as_str().unwrap_or_default().to_string();
    let why = if let [one] = errors.as_slice() {
        one.clone()
    } else {
        format!("errors:\n{}", errors.iter().map(|error| format!("  {error}")).collect::<Vec<_>>().join("\n"))
    };
    let metadata = &intent["metadata"];
    let (namespace, name) = (text(&metadata["namespace"]), text(&metadata["name"]));
    let version = text(&intent["apiVersion"]);
    let version = if version.contains('/') { version } else { format!("/{version}") };
    let kind = text(&intent["kind"]);
    let message = format!("failed to create typed patch object ({namespace}/{name}; {version}, Kind={kind}): {why}");
    Err(ApiError::new(500, "InternalError", message))
}

/// Takes out what the manager applied `before` and not `now`, unless someone else owns it or it
/// holds something that someone does.
fn prune(merged: Value, before: &FieldSet, now: &FieldSet, others: &[Entry], schema: &Schema) -> Value {
    let schema = Some(schema);
    let full = |set: &FieldSet, value: &Value| with_containers(set, schema, value);
    let last = full(before, &merged);
    let mut owned = now.clone();
    others.iter().for_each(|entry| owned.union(&entry.fields));
    let everything = full(&to_set(&merged, schema), &merged);
    let mut pruned = merged.clone();
    remove(&mut pruned, &last, schema);
    // What others own comes back ...
    let mut kept = full(&to_set(&pruned, schema), &pruned);
    kept.union(&full(&owned, &merged));
    let mut back = merged.clone();
    remove(&mut back, &everything.minus(&kept), schema);
    // ... and what nobody ever applied.
    let left = full(&to_set(&back, schema), &back);
    let gone = everything.minus(&left).intersection(&last);
    let mut result = merged;
    remove(&mut result, &gone, schema);
    result
}

fn conflict(conflicts: &[(&Entry, FieldSet)]) -> ApiError {
    let mut sorted: Vec<_> = conflicts.iter().map(|(entry, fields)| (described(entry), fields.paths())).collect();
    sorted.sort();
    let cause = |who: &str, field| Cause { reason: CONFLICT.into(), message: format!("conflict with {who}"), field };
    refuse(sorted.into_iter().flat_map(|(who, paths)| paths.into_iter().map(move |path| cause(&who, path))).collect())
}

/// The refusal for these conflicts, which are sorted by whom they are with.
pub fn refuse(causes: Vec<Cause>) -> ApiError {
    let mut lines = Vec::new();
    for with_one in causes.chunk_by(|a, b| a.message == b.message) {
        let who = with_one.first().map_or("", |cause| cause.message.trim_start_matches("conflict "));
        lines.push(format!("conflicts {who}:"));
        lines.extend(with_one.iter().map(|cause| format!("- {}", cause.field)));
    }
    let message = match causes.as_slice() {
        [one] => format!("Apply failed with 1 conflict: {}: {}", one.message, one.field),
        all => format!("Apply failed with {} conflicts: {}", all.len(), lines.join("\n")),
    };
    ApiError::new(409, "Conflict", message).with_details(Details { causes, ..Details::default() })
}

fn described(entry: &Entry) -> String {
    let mut text = format!("{:?}", entry.manager);
    if !entry.subresource.is_empty() {
        text.push_str(&format!(" with subresource {:?}", entry.subresource));
    }
    if entry.operation == Operation::Update {
        text.push_str(&format!(" using {}", entry.api_version));
    }
    text
}

fn last_applied(object: &Value) -> Option<&str> {
    object["metadata"]["annotations"][LAST_APPLIED].as_str()
}

/// Whether `kubectl apply --server-side` merely takes over what `kubectl apply` set before: every
/// contested field is in the last applied configuration and was not changed since.
fn came_from_kubectl(
    live: Option<&Value>,
    conflicts: &[(&Entry, FieldSet)],
    schema: &Schema,
    writer: &Writer<'_>,
) -> bool {
    if writer.manager != KUBECTL {
        return false;
    }
    let Some((live, text)) = live.and_then(|live| Some((live, last_applied(live)?))) else { return false };
    let Ok(applied) = serde_json::from_str::<Value>(text) else { return false };
    let mut unchanged = to_set(&applied, Some(schema));
    let since = compare(&applied, live, Some(schema));
    for changed in [&since.modified, &since.added, &since.removed] {
        unchanged.subtract(changed);
    }
    conflicts.iter().all(|(_, fields)| fields.is_subset(&unchanged))
}

/// `kubectl apply` of either sort may follow: the annotation of the client-side one stays true.
fn refresh_last_applied(object: &mut Value, intent: &Value, writer: &Writer<'_>) {
    if writer.manager != KUBECTL || last_applied(object).is_none() {
        return;
    }
    let mut intent = intent.clone();
    if let Some(annotations) =
        intent.get_mut("metadata").and_then(|m| m.get_mut("annotations")).and_then(Value::as_object_mut)
    {
        annotations.remove(LAST_APPLIED);
    }
    if let Some(annotation) = object
        .get_mut("metadata")
        .and_then(|metadata| metadata.get_mut("annotations"))
        .and_then(|annotations| annotations.get_mut(LAST_APPLIED))
    {
        *annotation = format!("{intent}\n").into();
    }
}
