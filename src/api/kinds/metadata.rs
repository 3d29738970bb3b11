//! Validation of `metadata`, the same for all kinds: names, labels, annotations, owner references,
//! finalizers, and what an update may not change.

use super::json::{list, text};
use super::names::{self, NameRule};
use crate::api::error::FieldError;
use serde_json::Value;

/// All annotations of an object together, keys included.
const ANNOTATIONS_LIMIT: usize = 256 * 1024;

/// Everything wrong with an object's `metadata`.
pub fn validate_metadata(object: &Value, namespaced: bool, rule: NameRule) -> Vec<FieldError> {
    let metadata = &object["metadata"];
    let mut errors = Vec::new();
    let prefix = text(metadata, &["generateName"]);
    if !prefix.is_empty() {
        let wrong = rule.check_prefix(prefix);
        errors.extend(wrong.iter().map(|why| FieldError::invalid("metadata.generateName", &prefix.into(), why)));
    }
    match text(metadata, &["name"]) {
        "" => errors.push(FieldError::required("metadata.name", "name or generateName is required")),
        name => {
            errors.extend(rule.check(name).iter().map(|why| FieldError::invalid("metadata.name", &name.into(), why)))
        }
    }
    let namespace = text(metadata, &["namespace"]);
    match (namespaced, namespace) {
        (true, "") => errors.push(FieldError::required("metadata.namespace", "")),
        (true, namespace) => errors.extend(
            names::label(namespace).iter().map(|why| FieldError::invalid("metadata.namespace", &namespace.into(), why)),
        ),
        (false, "") => {}
        (false, _) => errors.push(FieldError::forbidden("metadata.namespace", "not allowed on this type")),
    }
    labels(&metadata["labels"], "metadata.labels", &mut errors);
    annotations(&metadata["annotations"], "metadata.annotations", &mut errors);
    owners(metadata, &mut errors);
    finalizers(metadata, &mut errors);
    errors
}

/// What an update may not change in `metadata`.
pub fn validate_metadata_update(new: &Value, old: &Value) -> Vec<FieldError> {
    let mut errors = Vec::new();
    for field in ["name", "namespace", "uid", "creationTimestamp", "deletionTimestamp", "deletionGracePeriodSeconds"] {
        let (new, old) = (&new["metadata"][field], &old["metadata"][field]);
        if new != old {
            errors.push(FieldError::invalid(format!("metadata.{field}"), new, "field is immutable"));
        }
    }
    if !old["metadata"]["deletionTimestamp"].is_null() {
        let before = list(old, &["metadata", "finalizers"]);
        let added: Vec<String> = list(new, &["metadata", "finalizers"])
            .iter()
            .filter(|finalizer| !before.contains(finalizer))
            .map(ToString::to_string)
            .collect();
        if !added.is_empty() {
            let why = format!(
                "no new finalizers can be added if the object is being deleted, found new finalizers []string{{{}}}",
                added.join(", ")
            );
            errors.push(FieldError::forbidden("metadata.finalizers", &why));
        }
    }
    errors
}

/// Everything wrong with a map of labels.
pub fn labels(labels: &Value, field: &str, errors: &mut Vec<FieldError>) {
    for (key, value) in labels.as_object().into_iter().flatten() {
        let wrong = names::qualified(key);
        errors.extend(wrong.iter().map(|why| FieldError::invalid(field, &key.as_str().into(), why)));
        let wrong = names::label_value(value.as_str().unwrap_or_default());
        errors.extend(wrong.iter().map(|why| FieldError::invalid(field, value, why)));
    }
}

/// Everything wrong with a map of annotations.
pub fn annotations(annotations: &Value, field: &str, errors: &mut Vec<FieldError>) {
    let mut size = 0;
    for (key, value) in annotations.as_object().into_iter().flatten() {
        size += key.len() + value.as_str().map_or(0, str::len);
        let wrong = names::qualified(&key.to_lowercase());
        errors.extend(wrong.iter().map(|why| FieldError::invalid(field, &key.as_str().into(), why)));
    }
    if size > ANNOTATIONS_LIMIT {
        errors.push(FieldError::too_long(field, &format!("may not be more than {ANNOTATIONS_LIMIT} bytes")));
    }
}

fn owners(metadata: &Value, errors: &mut Vec<FieldError>) {
    let owners = list(metadata, &["ownerReferences"]);
    for (i, owner) in owners.iter().enumerate() {
        let field = |name: &str| format!("metadata.ownerReferences[{i}].{name}");
        let version = text(owner, &["apiVersion"]);
        if version.split('/').any(str::is_empty) || version.matches('/').count() > 1 {
            errors.push(FieldError::invalid(field("apiVersion"), &version.into(), "version must not be empty"));
        }
        for name in ["kind", "name", "uid"] {
            if text(owner, &[name]).is_empty() {
                errors.push(FieldError::invalid(field(name), &"".into(), "must not be empty"));
            }
        }
    }
    let controllers: Vec<&Value> = owners.iter().filter(|owner| owner["controller"] == Value::Bool(true)).collect();
    if let [first, second, ..] = controllers.as_slice() {
        let why = format!(
            "Only one reference can have Controller set to true. Found \"true\" in references for {} and {}",
            controller_name(first),
            controller_name(second)
        );
        errors.push(FieldError::invalid("metadata.ownerReferences", &metadata["ownerReferences"], &why));
    }
}

fn controller_name(owner: &Value) -> String {
    format!("{}/{}", text(owner, &["kind"]), text(owner, &["name"]))
}

fn finalizers(metadata: &Value, errors: &mut Vec<FieldError>) {
    const STANDARD: &[&str] = &["orphan", "foregroundDeletion", "kubernetes"];
    let mut standard = Vec::new();
    for value in list(metadata, &["finalizers"]) {
        let finalizer = value.as_str().unwrap_or_default();
        let wrong = names::qualified(finalizer);
        errors.extend(wrong.iter().map(|why| FieldError::invalid("metadata.finalizers", value, why)));
        if wrong.is_empty() && !finalizer.contains('/') && !STANDARD.contains(&finalizer) {
            let why = "name is neither a standard finalizer name nor is it fully qualified";
            errors.push(FieldError::invalid("metadata.finalizers", value, why));
        }
        if finalizer != "kubernetes" && STANDARD.contains(&finalizer) {
            standard.push(finalizer);
        }
    }
    if standard.contains(&"orphan") && standard.contains(&"foregroundDeletion") {
        let why = "finalizer orphan and foregroundDeletion cannot be both set";
        errors.push(FieldError::invalid("metadata.finalizers", &metadata["finalizers"], why));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn check(metadata: Value) -> Vec<String> {
        validate_metadata(&json!({ "metadata": metadata }), true, NameRule::Subdomain)
            .into_iter()
            .map(|error| error.field)
            .collect()
    }

    #[test]
    fn good_metadata_passes() {
        let metadata = json!({"name": "web", "namespace": "default", "labels": {"app.io/x": "y"},
            "annotations": {"Some/Key": "any text at all"}, "finalizers": ["example.com/keep", "orphan"],
            "ownerReferences": [{"apiVersion": "apps/v1", "kind": "ReplicaSet", "name": "a", "uid": "1", "controller": true}]});
        assert!(check(metadata).is_empty());
    }

    #[test]
    fn each_part_is_checked() {
        assert_eq!(check(json!({"namespace": "d"})), ["metadata.name"]);
        assert_eq!(check(json!({"name": "a"})), ["metadata.namespace"]);
        assert_eq!(check(json!({"name": "Web", "namespace": "d"})), ["metadata.name"]);
        assert_eq!(check(json!({"name": "a", "namespace": "d", "labels": {"a b": "c d"}})), ["metadata.labels"; 2]);
        assert_eq!(check(json!({"name": "a", "namespace": "d", "finalizers": ["mine"]})), ["metadata.finalizers"]);
    }

    #[test]
    fn identity_is_immutable_and_a_dying_object_gets_no_finalizers() {
        let old = json!({"metadata": {"name": "a", "uid": "1", "deletionTimestamp": "2026-01-01T00:00:00Z"}});
        let new = json!({"metadata": {"name": "a", "uid": "2", "deletionTimestamp": "2026-01-01T00:00:00Z", "finalizers": ["a/b"]}});
        let fields: Vec<_> = validate_metadata_update(&new, &old).into_iter().map(|e| e.field).collect();
        assert_eq!(fields, ["metadata.uid", "metadata.finalizers"]);
    }
}
