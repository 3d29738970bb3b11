//! PUT, and the outcome of a PATCH: a new state for an existing object, of the object itself or of
//! one of its subresources.

use super::object::{Packed, metadata};
use super::stored::Stored;
use super::{At, Effect, Prepared, Writer, codec, meta};
use crate::api::error::{ApiError, FieldError};
use crate::api::kinds::metadata::validate_metadata;
use crate::apiserver::admission;
use serde_json::{Value, json};

/// Which part of the object a request may change.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Part {
    Main,
    Status,
    /// `spec.replicas`, by way of a Scale.
    Scale,
    /// A namespace's `spec.finalizers`.
    Finalize,
    /// What a running pod's containers ask for and may use.
    Resize,
    /// The containers that join a running pod.
    Ephemeral,
}

impl Part {
    /// The subresource's name in managed fields; empty for the object itself.
    pub fn name(self) -> &'static str {
        match self {
            Self::Main => "",
            Self::Status => "status",
            Self::Scale => "scale",
            Self::Finalize => "finalize",
            Self::Resize => "resize",
            Self::Ephemeral => "ephemeralcontainers",
        }
    }
}

impl Writer<'_> {
    /// Prepares replacing the stored object by `object` (decoded, not defaulted).
    pub fn update(&self, mut object: Value, part: Part) -> Result<Prepared, ApiError> {
        let at = self.at;
        meta::identify(at, &mut object)?;
        meta::keep_identity(at, &object)?;
        metadata(&mut object).insert("name".into(), at.name.into());
        let Some(before) = self.view.get(&at.key()) else {
            if part == Part::Main && at.resource.rules.create_on_update() {
                return self.create_missing(object, true);
            }
            return Err(ApiError::not_found(at.target(), at.name));
        };
        let old = match part {
            Part::Status => Stored::for_status(at.resource, before),
            _ => Stored::whole(before),
        };
        check_identity(at, &old.object, &object)?;
        if !at.resource.rules.unconditional_update()
            && object["metadata"]["resourceVersion"].as_str().is_none_or(str::is_empty)
        {
            let error = FieldError::invalid("metadata.resourceVersion", &json!(0), "must be specified for an update");
            return Err(ApiError::invalid(at.target(), at.name, &[error]));
        }
        codec::default(at.resource, &mut object);
        self.replace(old, object, part, true)
    }

    /// The common end of PUT and PATCH: `new` (defaulted) becomes the object's state as far as
    /// `part` goes. With `track`, ownership of what changed is recorded for the field manager
    /// (server-side apply has recorded its own).
    pub fn replace(&self, stored: Stored, mut new: Value, part: Part, track: bool) -> Result<Prepared, ApiError> {
        let at = self.at;
        let is_whole = stored.is_whole();
        let Stored { record: before, object, mut rest } = stored;
        let old = &object;
        let rules = &at.resource.rules;
        check_identity(at, old, &new)?;
        let mut errors = meta::keep(&mut new, old);
        match part {
            Part::Main | Part::Scale => rules.prepare_update(&mut new, old),
            Part::Status => only_status(&mut new, old, rules.kept_by_status()),
            Part::Finalize => only_finalizers(&mut new, old),
            Part::Resize => {
                admission::limits::default(self, &mut new);
                keep_other_metadata(&mut new, old);
                rules.prepare_resize(&mut new, old);
            }
            Part::Ephemeral => {
                keep_other_metadata(&mut new, old);
                rules.prepare_ephemeral(&mut new, old);
            }
        }
        let mut admitted = match part {
            Part::Main | Part::Ephemeral => admission::update(self, &mut new, old, part)?,
            Part::Status | Part::Scale | Part::Finalize | Part::Resize => admission::Admitted::default(),
        };
        codec::complete(&self.server.registry, at.resource, &mut new);
        rest.take_out_of(&mut new);
        if track {
            codec::track_around(self, old, &mut new, part.name(), &mut rest)?;
        }
        if is_same(&new, old) {
            let mut prepared = Prepared::new(at.key(), Effect::Unchanged(before));
            prepared.warnings = admitted.warnings;
            return Ok(prepared);
        }
        bump_generation(at, &mut new, old);
        errors.extend(validate_metadata(&new, at.resource.namespaced, rules.name_rule()));
        errors.extend(match part {
            Part::Main | Part::Scale => rules.check(&new, Some(old)),
            Part::Status => rules.validate_status(&new, old),
            Part::Finalize => Vec::new(),
            Part::Resize => {
                let mut errors = rules.validate(&new);
                errors.extend(rules.validate_resize(&new, old));
                errors
            }
            Part::Ephemeral => {
                let mut errors = rules.validate(&new);
                errors.extend(rules.validate_ephemeral(&new, old));
                errors
            }
        });
        if !errors.is_empty() {
            return Err(ApiError::invalid(at.target(), at.name, &errors));
        }
        match part {
            Part::Main => {
                admitted.warnings.extend(rules.warnings(&new));
                admission::judge_update(self, &new, old, &mut admitted)?;
            }
            Part::Resize => admission::resize(self, &new, old, &mut admitted)?,
            Part::Status | Part::Scale | Part::Finalize | Part::Ephemeral => {}
        }
        let packed = Packed::around(at.resource, &new, &rest, &before);
        let effect = match is_released(&new) {
            true => Effect::Delete { before, last: Some(packed) },
            false => Effect::Update { before, packed },
        };
        let mut prepared = Prepared::new(at.key(), effect);
        prepared.preconditions = admitted.preconditions;
        prepared.also = admitted.also;
        prepared.warnings = admitted.warnings;
        prepared.objects = is_whole.then_some((object, new));
        Ok(prepared)
    }
}

/// uid and resourceVersion in a body are preconditions.
pub fn check_identity(at: At<'_>, old: &Value, new: &Value) -> Result<(), ApiError> {
    let text = |object: &Value, name: &str| object["metadata"][name].as_str().unwrap_or_default().to_string();
    let (given, stored) = (text(new, "uid"), text(old, "uid"));
    if !given.is_empty() && given != stored {
        return Err(ApiError::conflict(
            at.target(),
            at.name,
            format!("Precondition failed: UID in precondition: {given}, UID in object meta: {stored}"),
        ));
    }
    let given = text(new, "resourceVersion");
    if given.is_empty() || given == "0" || given == text(old, "resourceVersion") {
        return Ok(());
    }
    if given.parse::<u64>().is_err() {
        let error = FieldError::invalid("metadata.resourceVersion", &json!(given), "must be an integer");
        return Err(ApiError::invalid(at.target(), at.name, &[error]));
    }
    Err(ApiError::modified(at.target(), at.name))
}

/// A status write changes `status` and the metadata besides `kept`; the rest stays.
fn only_status(new: &mut Value, old: &Value, kept: &[&str]) {
    let Some(fields) = new.as_object_mut() else { return };
    fields.retain(|name, _| matches!(name.as_str(), "apiVersion" | "kind" | "metadata" | "status"));
    for (name, value) in old.as_object().into_iter().flatten() {
        if !matches!(name.as_str(), "metadata" | "status") {
            fields.insert(name.clone(), value.clone());
        }
    }
    let metadata = metadata(new);
    for name in kept {
        match old["metadata"].get(name) {
            Some(value) => metadata.insert((*name).into(), value.clone()),
            None => metadata.remove(*name),
        };
    }
}

/// Of the metadata such a write changes who owns which fields.
fn keep_other_metadata(new: &mut Value, old: &Value) {
    let written = metadata(new);
    let kept = ["managedFields", "resourceVersion"].map(|name| (name, written.remove(name)));
    *written = old["metadata"].as_object().cloned().unwrap_or_default();
    for (name, value) in kept {
        match value {
            Some(value) => written.insert(name.into(), value),
            None => written.remove(name),
        };
    }
}

fn only_finalizers(new: &mut Value, old: &Value) {
    let finalizers = new["spec"].get("finalizers").cloned();
    let mut kept = old.clone();
    if !kept["spec"].is_object() {
        kept["spec"] = json!({});
    }
    match (finalizers, kept["spec"].as_object_mut()) {
        (Some(finalizers), Some(spec)) => drop(spec.insert("finalizers".into(), finalizers)),
        (None, Some(spec)) => drop(spec.remove("finalizers")),
        _ => {}
    }
    *new = kept;
}

/// Equal but for the revision and the times of field ownership.
pub(super) fn is_same(new: &Value, old: &Value) -> bool {
    let (Some(new), Some(old)) = (new.as_object(), old.as_object()) else { return false };
    let others = |fields: &serde_json::Map<String, Value>| fields.len();
    if others(new) != others(old) || new.iter().any(|(name, value)| name != "metadata" && old.get(name) != Some(value))
    {
        return false;
    }
    let (Some(new), Some(old)) = (new["metadata"].as_object(), old["metadata"].as_object()) else { return false };
    let count =
        |fields: &serde_json::Map<String, Value>| fields.len() - usize::from(fields.contains_key("resourceVersion"));
    count(new) == count(old)
        && new.iter().all(|(name, value)| match name.as_str() {
            "resourceVersion" => true,
            "managedFields" => old.get(name).is_some_and(|before| same_ownership(value, before)),
            _ => old.get(name) == Some(value),
        })
}

fn same_ownership(new: &Value, old: &Value) -> bool {
    let (Some(new), Some(old)) = (new.as_array(), old.as_array()) else { return new == old };
    new.len() == old.len()
        && new.iter().zip(old).all(|(new, old)| {
            ["manager", "operation", "apiVersion", "subresource", "fieldsV1"]
                .iter()
                .all(|name| new.get(name) == old.get(name))
        })
}

/// +1 when anything but metadata and status changed; Deployments also count annotations.
fn bump_generation(at: At<'_>, new: &mut Value, old: &Value) {
    if !at.resource.rules.has_generation() {
        return;
    }
    // A custom resource without that subresource has no status apart from the rest.
    let apart = |name: &str| {
        name == "metadata" || (name == "status" && (at.resource.rules.has_status() || !at.resource.is_custom()))
    };
    fn specs<'a>(
        object: &'a Value,
        apart: impl Fn(&str) -> bool + 'a,
    ) -> impl Iterator<Item = (&'a String, &'a Value)> {
        object.as_object().into_iter().flatten().filter(move |(name, _)| !apart(name))
    }
    let annotated =
        at.resource.plural == "deployments" && new["metadata"].get("annotations") != old["metadata"].get("annotations");
    if annotated || !specs(new, apart).eq(specs(old, apart)) {
        let generation = old["metadata"]["generation"].as_i64().unwrap_or_default();
        metadata(new).insert("generation".into(), (generation + 1).into());
    }
}

/// Deletion was asked for, and nothing holds the object any more.
pub fn is_released(object: &Value) -> bool {
    let held = |list: &Value| list.as_array().is_some_and(|list| !list.is_empty());
    let metadata = &object["metadata"];
    metadata["deletionTimestamp"].is_string()
        && metadata["deletionGracePeriodSeconds"].as_i64().unwrap_or_default() == 0
        && !held(&metadata["finalizers"])
        && !(object["kind"] == "Namespace" && held(&object["spec"]["finalizers"]))
}
