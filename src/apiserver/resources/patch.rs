//! PATCH: a new state computed from the stored one, then written as an update.

use super::object::parse;
use super::stored::Stored;
use super::update::{Part, check_identity, is_same};
use super::{At, Effect, Prepared, Writer, codec, convert, meta};
use crate::api::error::{ApiError, FieldError, Target};
use crate::api::kinds::scale;
use crate::api::schema::Schema;
use crate::apiserver::patch::{PatchType, apply_patch};
use serde_json::{Map, Value, json};

impl Writer<'_> {
    /// Prepares a patch of the object or its status; `text` is the patch as sent, for errors.
    pub fn patch(&self, kind: PatchType, patch: &Value, text: &str, part: Part) -> Result<Prepared, ApiError> {
        let at = self.at;
        let before = at.get(self.view)?;
        let old = match part {
            Part::Status if kind != PatchType::Json && is_of_status(patch) => Stored::for_status(at.resource, before),
            _ if kind != PatchType::Json && !is_of_ownership(patch) => Stored::for_fields(at.resource, before),
            _ => Stored::whole(before),
        };
        let patched = apply_patch(kind, &convert::shown(at.resource, &old.object), patch, &at.resource.schema)?;
        meta::keep_identity(at, &patched)?;
        let decoded =
            codec::conform(at.resource, patched, self.options.field_validation).map_err(|error| unfit(&error, text))?;
        let mut new = decoded.object;
        convert::incoming(at.resource, &mut new);
        codec::default(at.resource, &mut new);
        let mut prepared = self.replace(old, new, part, true)?;
        prepared.warnings.extend(decoded.warnings);
        Ok(prepared)
    }

    /// Prepares server-side apply of `intent` (decoded, as sent).
    pub fn apply(&self, mut intent: Value, part: Part) -> Result<Prepared, ApiError> {
        let at = self.at;
        // What is owned is recorded of the form that is stored.
        if let Some(home) = convert::home(&self.server.registry, at.resource) {
            convert::incoming(at.resource, &mut intent);
            return Writer { at: At { resource: &home, ..at }, ..*self }.apply(intent, part);
        }
        if intent["metadata"]["managedFields"].as_array().is_some_and(|list| !list.is_empty()) {
            return Err(ApiError::bad_request("metadata.managedFields must be nil"));
        }
        match self.view.get(&at.key()) {
            None if part != Part::Main => Err(ApiError::not_found(at.target(), at.name)),
            None => {
                meta::identify(at, &mut intent)?;
                reduce(&mut intent, part, at.resource.rules.has_status());
                self.create_missing(codec::merge_intent(self, None, &intent, part.name())?, false)
            }
            Some(before) => {
                let old = Stored::whole(before);
                check_identity(at, &old.object, &intent)?;
                meta::identify(at, &mut intent)?;
                meta::clear_server_fields(&mut intent);
                reduce(&mut intent, part, at.resource.rules.has_status());
                let mut new = codec::merge_intent(self, Some(&old.object), &intent, part.name())?;
                if is_same(&new, &old.object) {
                    // Most of what is applied is as it was; rules and defaults held when it was written.
                    return Ok(Prepared::new(at.key(), Effect::Unchanged(old.record)));
                }
                codec::default(at.resource, &mut new);
                self.replace(old, new, part, false)
            }
        }
    }

    /// Prepares a change of `spec.replicas` through the Scale.
    pub fn update_scale(&self, wanted: &Value) -> Result<Prepared, ApiError> {
        let at = self.at;
        let old = Stored::for_fields(at.resource, at.get(self.view)?);
        check_identity(at, &old.object, wanted)?;
        let replicas = scale::replicas(wanted).map_err(|error| {
            ApiError::invalid(Target { group: "autoscaling", resource: "", kind: "Scale" }, at.name, &[error])
        })?;
        let mut new = old.object.clone();
        at.resource.rules.set_replicas(&mut new, replicas);
        self.replace(old, new, Part::Scale, true)
    }

    /// Prepares a patch of the Scale.
    pub fn patch_scale(&self, kind: PatchType, patch: &Value) -> Result<Prepared, ApiError> {
        let before = self.at.get(self.view)?;
        let shown = self.at.resource.rules.scale(&parse(&before));
        self.update_scale(&apply_patch(kind, &shown, patch, &Schema::default())?)
    }
}

/// Takes out of an intent what a write of this part does not change: it is not owned either.
fn reduce(intent: &mut Value, part: Part, has_status: bool) {
    let Some(intent) = intent.as_object_mut() else { return };
    match part {
        Part::Main if has_status => drop(intent.remove("status")),
        Part::Main | Part::Scale => {}
        Part::Status => intent.retain(|name, _| name != "spec"),
        Part::Finalize => {
            let finalizers = intent.get("spec").and_then(|spec| spec.get("finalizers")).cloned();
            only_spec(intent, finalizers.map(|list| json!({"finalizers": list})));
        }
        Part::Resize => {
            let spec = intent.get("spec").map(resizable);
            only_spec(intent, spec);
        }
        Part::Ephemeral => {
            let joining = intent.get("spec").and_then(|spec| spec.get("ephemeralContainers")).cloned();
            only_spec(intent, joining.map(|list| json!({"ephemeralContainers": list})));
        }
    }
}

fn only_spec(intent: &mut Map<String, Value>, spec: Option<Value>) {
    intent.retain(|name, _| matches!(name.as_str(), "apiVersion" | "kind" | "metadata"));
    if let Some(metadata) = intent.get_mut("metadata").and_then(Value::as_object_mut) {
        metadata.retain(|name, _| matches!(name.as_str(), "name" | "namespace"));
    }
    intent.extend(spec.map(|spec| ("spec".to_owned(), spec)));
}

/// What a resize may speak of.
fn resizable(spec: &Value) -> Value {
    let mut kept = Map::new();
    kept.extend(spec.get("resources").map(|resources| ("resources".to_owned(), resources.clone())));
    for kind in ["containers", "initContainers"] {
        let Some(list) = spec.get(kind).and_then(Value::as_array) else { continue };
        let containers = list.iter().map(|container| {
            let fields = container.as_object().into_iter().flatten();
            let fields = fields.filter(|(name, _)| matches!(name.as_str(), "name" | "resources" | "resizePolicy"));
            Value::Object(fields.map(|(name, value)| (name.clone(), value.clone())).collect())
        });
        kept.insert(kind.to_owned(), containers.collect());
    }
    kept.into()
}

/// Whether a merge patch speaks of nothing that a write of the status would drop.
fn is_of_status(patch: &Value) -> bool {
    let known = ["apiVersion", "kind", "metadata", "status"];
    patch.as_object().is_some_and(|fields| fields.keys().all(|name| known.contains(&name.as_str())))
}

/// Whether a merge patch may change who owns which fields: by name, or with all metadata.
fn is_of_ownership(patch: &Value) -> bool {
    match patch.get("metadata") {
        None => false,
        Some(Value::Object(fields)) => fields.keys().any(|name| name == "managedFields" || name.starts_with('$')),
        Some(_) => true,
    }
}

/// A patch whose result does not fit the schema is an invalid patch.
fn unfit(error: &ApiError, text: &str) -> ApiError {
    let why = error.message.split_once(": ").map_or(error.message.as_str(), |(_, why)| why);
    let error = FieldError::invalid("patch", &Value::String(text.into()), why);
    ApiError::invalid(Target { group: "", resource: "", kind: "" }, "", &[error])
}
