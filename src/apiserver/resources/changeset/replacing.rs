//! What cannot change in place: it ends, and is made again.
//!
//! Where the old object can go at once, its end and the new one's beginning are one commit with the rest of the
//! set. What has finalizers, and a pod that may be running, ends in its own time: then the commit only begins the
//! end, the new object is validated with the rest, and whoever posted the set makes it when the old one has gone.

use super::{Draft, Kinds, failure, place};
use crate::api::changeset::{ChangeAction, ObjectId, PRUNE};
use crate::api::error::ApiError;
use crate::apiserver::ApiServer;
use crate::apiserver::resources::delete::DeleteOptions;
use crate::apiserver::resources::object::parse;
use crate::apiserver::resources::view::{Overlay, View};
use crate::apiserver::resources::{At, Effect, WriteOptions, Writer};
use crate::store::{Txn, bucket};
use serde_json::Value;
use std::sync::Arc;

/// An object to be deleted and made again.
pub(super) struct Replacement<'a> {
    pub index: usize,
    pub id: ObjectId,
    pub intent: &'a Value,
    pub options: &'a WriteOptions,
    /// What of it refused to change.
    pub refused: String,
}

/// The end of an object.
struct End {
    before: Value,
    /// `None`: it has begun already.
    txn: Option<Txn>,
    /// What it has to wait for; empty: it goes at once.
    holds: String,
}

impl ApiServer {
    /// Prepares the deletion of what refused a change, and its making anew.
    pub(super) fn replace(
        &self,
        draft: &mut Draft,
        (overlay, kinds): (&mut Overlay<'_>, &Kinds<'_>),
        replacement: Replacement<'_>,
    ) {
        let Replacement { index, id, intent, options, refused } = replacement;
        let ended = self.prepare_end((overlay, kinds), options, &id);
        let prepared = ended.and_then(|(end, key)| {
            overlay.delete(&key);
            Ok((end, self.prepare_object((&*overlay, kinds), options, &id, intent)?))
        });
        let (end, prepared) = match prepared {
            Ok(prepared) => prepared,
            Err(error) => return draft.results[index] = failure(id, error),
        };
        let reason = if end.holds.is_empty() {
            let txn = end.txn.unwrap_or_default();
            draft.first.preconditions.extend(txn.preconditions);
            draft.first.writes.extend(txn.writes);
            draft.add(index, id, Ok(prepared), overlay);
            refused
        } else {
            if let Some(txn) = end.txn {
                draft.txn.preconditions.extend(txn.preconditions);
                draft.txn.writes.extend(txn.writes);
            }
            draft.foresee(index, id, prepared, overlay);
            format!("{refused}; it ends first, then it is made again: {}", end.holds)
        };
        let result = &mut draft.results[index];
        result.pending = !end.holds.is_empty();
        (result.action, result.before, result.reason) = (ChangeAction::Replaced, Some(end.before), reason);
    }

    /// Prepares the end of an object, with its key.
    fn prepare_end(
        &self,
        (overlay, kinds): (&Overlay<'_>, &Kinds<'_>),
        options: &WriteOptions,
        id: &ObjectId,
    ) -> Result<(End, Arc<str>), ApiError> {
        let resource = kinds.find(id)?;
        let at = place(&resource, id)?;
        keeps_data(overlay, at)?;
        let delete = DeleteOptions { propagation: Some("Background".into()), ..DeleteOptions::default() };
        let prepared = Writer { server: self, view: overlay, at, options }.delete(&delete)?;
        let txn = prepared.txn();
        let end = match &prepared.effect {
            Effect::Delete { before, .. } => End { before: parse(before), txn, holds: String::new() },
            Effect::Update { before, packed } => {
                let after = serde_json::from_slice(&packed.value).unwrap_or_default();
                End { before: parse(before), txn, holds: holds(&after) }
            }
            Effect::Unchanged(before) => {
                let before = parse(before);
                End { holds: holds(&before), before, txn }
            }
            Effect::Create(_) => return Err(ApiError::internal("a deletion that creates")),
        };
        Ok((end, prepared.key))
    }
}

/// Refuses to end what data would go with, unless that is confirmed.
fn keeps_data(view: &dyn View, at: At<'_>) -> Result<(), ApiError> {
    if !["PersistentVolumeClaim", "StatefulSet", "CustomResourceDefinition"].contains(&at.resource.kind.as_str()) {
        return Ok(());
    }
    let object = parse(&*at.get(view)?);
    let confirmed = object.pointer("/metadata/annotations").and_then(|all| all.get(PRUNE)?.as_str());
    let Some(lost) = lost(view, at, &object).filter(|_| confirmed != Some("confirmed")) else { return Ok(()) };
    let (plural, name) = (&at.resource.plural, at.name);
    let place = if at.namespace.is_empty() { String::new() } else { format!("-n {} ", at.namespace) };
    let message = format!(
        "{lost} would go with what is replaced (if that may go: kubectl annotate --overwrite {place}{plural} {name} \
         {PRUNE}=confirmed)"
    );
    Err(ApiError::new(409, "Conflict", message))
}

/// The data that the end of an object takes along.
fn lost(view: &dyn View, at: At<'_>, object: &Value) -> Option<String> {
    let spec = &object["spec"];
    match (at.resource.group.as_str(), at.resource.kind.as_str()) {
        ("", "PersistentVolumeClaim") => Some("its data".to_owned()),
        ("apps", "StatefulSet") => {
            let deletes = spec["persistentVolumeClaimRetentionPolicy"]["whenDeleted"] == "Delete";
            let claims = spec["volumeClaimTemplates"].as_array().is_some_and(|templates| !templates.is_empty());
            (deletes && claims)
                .then(|| "its claims and their data, by its persistentVolumeClaimRetentionPolicy,".to_owned())
        }
        ("apiextensions.k8s.io", "CustomResourceDefinition") => {
            let (group, plural) = (spec["group"].as_str()?, spec["names"]["plural"].as_str()?);
            let count = view.scan(&bucket(group, plural)).len();
            (count > 0).then(|| format!("all its objects, {count} now,"))
        }
        _ => None,
    }
}

/// What an object that is being deleted waits for: `finalizer a/b`, `up to 30 s for its containers to stop`.
fn holds(object: &Value) -> String {
    let metadata = &object["metadata"];
    let mut holds = Vec::new();
    let finalizers: Vec<&str> =
        metadata["finalizers"].as_array().into_iter().flatten().filter_map(Value::as_str).collect();
    match finalizers.as_slice() {
        [] => {}
        [one] => holds.push(format!("its finalizer {one} has to be taken away")),
        several => holds.push(format!("its finalizers {} have to be taken away", several.join(", "))),
    }
    match metadata["deletionGracePeriodSeconds"].as_i64() {
        Some(seconds) if seconds > 0 => holds.push(format!("its containers have {seconds} s to stop")),
        _ if holds.is_empty() => holds.push("it is being deleted".to_owned()),
        _ => {}
    }
    holds.join(", ")
}

/// How the rules of kinds say that a field cannot change in place.
const IMMUTABLE: [&str; 3] = ["immutable", "may not change", "updates to "];

/// Whether nothing is wrong but that fields cannot change in place.
pub(super) fn is_immutable(error: &ApiError) -> bool {
    let causes = error.details.as_ref().map(|details| details.causes.as_slice()).unwrap_or_default();
    let immutable = |message: &str| IMMUTABLE.iter().any(|words| message.contains(words));
    error.code == 422 && !causes.is_empty() && causes.iter().all(|cause| immutable(&cause.message))
}

/// `spec.selector cannot change in place`.
pub(super) fn immutable_fields(error: &ApiError) -> String {
    let causes = error.details.as_ref().map(|details| details.causes.as_slice()).unwrap_or_default();
    let fields: Vec<&str> = causes.iter().map(|cause| cause.field.as_str()).collect();
    format!("{} cannot change in place", fields.join(", "))
}
