//! Rules of `metadata` that the verbs keep for every kind: identity, what an update may not touch.

use super::object::metadata;
use super::{At, convert};
use crate::api::error::{ApiError, FieldError};
use serde_json::Value;

/// Fills in and checks apiVersion, kind and namespace against what the URL says.
pub fn identify(at: At<'_>, object: &mut Value) -> Result<(), ApiError> {
    let resource = at.resource;
    let version = convert::stored_version(resource);
    let given = |name: &str| object[name].as_str().unwrap_or_default().to_string();
    let (given_version, given_kind) = (given("apiVersion"), given("kind"));
    if !given_kind.is_empty() && given_kind != resource.kind {
        return Err(ApiError::bad_request(format!(
            "{given_kind} in version {given_version:?} cannot be handled as a {}: the object provided is unrecognized (must be of type {})",
            resource.kind, resource.kind
        )));
    }
    if !given_version.is_empty() && given_version != version {
        return Err(ApiError::bad_request(format!(
            "the API version in the data ({given_version}) does not match the expected API version ({version})"
        )));
    }
    let fields = metadata(object);
    if resource.namespaced {
        match fields.get("namespace").and_then(Value::as_str).unwrap_or_default() {
            "" => {
                fields.insert("namespace".into(), at.namespace.into());
            }
            same if same == at.namespace => {}
            _ => {
                return Err(ApiError::bad_request(
                    "the namespace of the provided object does not match the namespace sent on the request",
                ));
            }
        }
    } else {
        fields.remove("namespace");
    }
    object["apiVersion"] = version.into();
    object["kind"] = resource.kind.clone().into();
    Ok(())
}

/// Takes out of an intent what only the server sets.
pub fn clear_server_fields(object: &mut Value) {
    let fields = metadata(object);
    for name in ["resourceVersion", "uid", "creationTimestamp", "generation", "deletionTimestamp", "selfLink"] {
        fields.remove(name);
    }
}

pub fn name_required(at: At<'_>) -> ApiError {
    let error = FieldError::required("metadata.name", "name or generateName is required");
    ApiError::invalid(at.target(), "", &[error])
}

/// 400 when an object's name is not the one of the URL.
pub fn keep_identity(at: At<'_>, object: &Value) -> Result<(), ApiError> {
    match object["metadata"]["name"].as_str().unwrap_or_default() {
        "" => Ok(()),
        name if name == at.name => Ok(()),
        name => Err(ApiError::bad_request(format!(
            "the name of the object ({name}) does not match the name on the URL ({})",
            at.name
        ))),
    }
}

/// What an update may not change, put back from the stored object; `deleting` objects take no new
/// finalizers.
pub fn keep(object: &mut Value, old: &Value) -> Vec<FieldError> {
    let mut errors = Vec::new();
    let before = &old["metadata"];
    let fields = metadata(object);
    for name in [
        "uid",
        "creationTimestamp",
        "deletionTimestamp",
        "deletionGracePeriodSeconds",
        "generation",
        "generateName",
        "selfLink",
    ] {
        match before.get(name) {
            Some(value) => fields.insert(name.into(), value.clone()),
            None if name == "generateName" => None,
            None => fields.remove(name),
        };
    }
    if before["deletionTimestamp"].is_string() {
        let known = items(&before["finalizers"]);
        let new: Vec<_> = items(&object["metadata"]["finalizers"]).iter().filter(|f| !known.contains(f)).collect();
        if !new.is_empty() {
            let list = new.iter().map(|f| f.to_string()).collect::<Vec<_>>().join(", ");
            let why = format!(
                "no new finalizers can be added if the object is being deleted, found new finalizers []string{{{list}}}"
            );
            errors.push(FieldError::forbidden("metadata.finalizers", &why));
        }
    }
    errors
}

fn items(list: &Value) -> &[Value] {
    list.as_array().map(Vec::as_slice).unwrap_or_default()
}
