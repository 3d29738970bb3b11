//! POST: a new object from a decoded body.

use super::object::{Packed, metadata};
use super::{At, Effect, Prepared, Writer, codec, meta};
use crate::api::error::{ApiError, Details};
use crate::api::kinds::metadata::validate_metadata;
use crate::apiserver::admission;
use serde_json::Value;

/// Names tried for `metadata.generateName` before giving up.
const NAME_TRIES: usize = 8;

impl<'a> Writer<'a> {
    /// Prepares the creation of `object` (decoded, not defaulted). The name comes from the object;
    /// `at.name` may hold the one of the URL (PUT and apply create too).
    pub fn create(&self, object: Value) -> Result<Prepared, ApiError> {
        let prepared = self.create_missing(object, true)?;
        match self.view.get(&prepared.key) {
            None => Ok(prepared),
            Some(existing) => Err(exists(self.at, &prepared.key, existing.envelope.deletion_timestamp.is_some())),
        }
    }

    /// Prepares the creation of an object that PUT or apply found missing. One that came since then
    /// is met at the commit, so that the request is prepared again, as a change of it. Server-side
    /// apply has recorded the owner: no `track`.
    pub fn create_missing(&self, mut object: Value, track: bool) -> Result<Prepared, ApiError> {
        meta::identify(self.at, &mut object)?;
        if object["metadata"]["resourceVersion"].as_str().is_some_and(|version| !version.is_empty() && version != "0") {
            return Err(ApiError::bad_request("resourceVersion should not be set on objects to be created"));
        }
        if at_end(self.at) {
            let message = "create not allowed while custom resource definition is terminating";
            return Err(ApiError::new(405, "MethodNotAllowed", message).with_details(Details::default()));
        }
        let name = self.pick_name(&mut object)?;
        let at = At { name: &name, ..self.at };
        let here = Writer { at, ..*self };
        let key = at.key();
        here.stamp(&mut object);
        codec::default(at.resource, &mut object);
        let mut admitted = admission::create(&here, &mut object)?;
        at.resource.rules.prepare_create(&mut object);
        admission::tell(&here, &mut object);
        codec::complete(&self.server.registry, at.resource, &mut object);
        let mut errors = validate_metadata(&object, at.resource.namespaced, at.resource.rules.name_rule());
        errors.extend(at.resource.rules.check(&object, None));
        if !errors.is_empty() {
            return Err(ApiError::invalid(at.target(), &name, &errors));
        }
        admission::judge(&here, &object, &mut admitted)?;
        // An intent that owns nothing (a bare namespace) leaves no entry: without one, the next apply
        // would take the object for one from before the first apply, and write.
        if track || object["metadata"]["managedFields"].is_null() {
            codec::track(&here, None, &mut object, "");
        }
        admitted.warnings.extend(at.resource.rules.warnings(&object));
        admission::finish(&admitted, &mut object);
        let mut prepared = Prepared::new(key, Effect::Create(Packed::new(at.resource, &object)));
        prepared.preconditions = admitted.preconditions;
        prepared.also = admitted.also;
        prepared.warnings = admitted.warnings;
        prepared.objects = Some((Value::Null, object));
        Ok(prepared)
    }

    /// The object's name: the URL's, its own, or a generated one that is free.
    fn pick_name(&self, object: &mut Value) -> Result<String, ApiError> {
        let at = self.at;
        let fields = metadata(object);
        let given = fields.get("name").and_then(Value::as_str).unwrap_or_default();
        let given = if given.is_empty() { at.name } else { given };
        if !given.is_empty() {
            let name = given.to_string();
            fields.insert("name".into(), Value::String(name.clone()));
            return Ok(name);
        }
        let prefix = fields.get("generateName").and_then(Value::as_str).unwrap_or_default();
        if prefix.is_empty() {
            return Err(meta::name_required(at));
        }
        // Names are cut so that a pod's hostname and a label value can hold them.
        let prefix: String = prefix.chars().take(58).collect();
        let mut name = String::new();
        for _ in 0..NAME_TRIES {
            name = format!("{prefix}{}", self.server.ids.suffix(5));
            if self.view.get(&at.key_of(&name)).is_none() {
                metadata(object).insert("name".into(), Value::String(name.clone()));
                return Ok(name);
            }
        }
        Err(ApiError::already_exists(at.target(), &name))
    }

    /// What the server alone decides about a new object.
    fn stamp(&self, object: &mut Value) {
        let fields = metadata(object);
        for name in ["resourceVersion", "selfLink", "deletionTimestamp", "deletionGracePeriodSeconds", "generation"] {
            fields.remove(name);
        }
        fields.insert("uid".into(), self.server.ids.uid().into());
        fields.insert("creationTimestamp".into(), self.server.clock.now_seconds().to_string().into());
        if self.at.resource.rules.has_generation() {
            fields.insert("generation".into(), 1.into());
        }
    }
}

/// The kind itself is being deleted.
fn at_end(at: At<'_>) -> bool {
    at.resource.custom.as_ref().is_some_and(|definition| definition.terminating)
}

fn exists(at: At<'_>, key: &str, deleting: bool) -> ApiError {
    let mut error = ApiError::already_exists(at.target(), key.rsplit('/').next().unwrap_or(key));
    if deleting {
        error.message = format!("object is being deleted: {}", error.message);
    }
    error
}
