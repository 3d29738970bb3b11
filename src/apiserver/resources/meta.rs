//! Rules of `metadata` that hold for every kind: identity, names, labels, what an update keeps.

use super::At;
use super::object::metadata;
use crate::api::error::{ApiError, FieldError};
use serde_json::{Value, json};

const SUBDOMAIN: &str = "a lowercase RFC 1123 subdomain must consist of lower case alphanumeric characters, '-' or '.', and must start and end with an alphanumeric character (e.g. 'example.com', regex used for validation is '[a-z0-9]([-a-z0-9]*[a-z0-9])?(\\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*')";
const LABEL: &str = "a lowercase RFC 1123 label must consist of lower case alphanumeric characters or '-', and must start and end with an alphanumeric character (e.g. 'my-name',  or '123-abc', regex used for validation is '[a-z0-9]([-a-z0-9]*[a-z0-9])?')";
const DNS_1035: &str = "a DNS-1035 label must consist of lower case alphanumeric characters or '-', start with an alphabetic character, and end with an alphanumeric character (e.g. 'my-name',  or 'abc-123', regex used for validation is '[a-z]([-a-z0-9]*[a-z0-9])?')";
const QUALIFIED: &str = "name part must consist of alphanumeric characters, '-', '_' or '.', and must start and end with an alphanumeric character (e.g. 'MyName',  or 'my.name',  or '123-abc', regex used for validation is '([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9]')";
const LABEL_VALUE: &str = "a valid label must be an empty string or consist of alphanumeric characters, '-', '_' or '.', and must start and end with an alphanumeric character (e.g. 'MyValue',  or 'my_value',  or '12345', regex used for validation is '(([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9])?')";

/// Fills in and checks apiVersion, kind and namespace against what the URL says.
pub fn identify(at: At<'_>, object: &mut Value) -> Result<(), ApiError> {
    let resource = at.resource;
    let version = match resource.group.as_str() {
        "" => resource.version.clone(),
        group => format!("{group}/{}", resource.version),
    };
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

pub fn name_required(at: At<'_>) -> ApiError {
    let mut error = FieldError::required("metadata.name", "name or generateName is required");
    error.field = "metadata.name".into();
    ApiError::invalid(at.target(), "", &[error])
}

/// Everything wrong with the metadata of an object about to be stored.
pub fn validate(at: At<'_>, object: &Value) -> Vec<FieldError> {
    let mut errors = Vec::new();
    let fields = &object["metadata"];
    let name = fields["name"].as_str().unwrap_or_default();
    if let Some(why) = bad_name(at, name) {
        errors.push(FieldError::invalid("metadata.name", &json!(name), &why));
    }
    for (key, value) in entries(&fields["labels"]) {
        if let Some(why) = bad_qualified(key) {
            errors.push(FieldError::invalid("metadata.labels", &json!(key), why));
        }
        if let Some(why) = bad_label_value(value.as_str().unwrap_or_default()) {
            errors.push(FieldError::invalid("metadata.labels", value, why));
        }
    }
    let mut size = 0;
    for (key, value) in entries(&fields["annotations"]) {
        size += key.len() + value.as_str().unwrap_or_default().len();
        if let Some(why) = bad_qualified(&key.to_ascii_lowercase()) {
            errors.push(FieldError::invalid("metadata.annotations", &json!(key), why));
        }
    }
    if size > 256 * 1024 {
        errors.push(FieldError::too_long("metadata.annotations", "may not be more than 262144 bytes"));
    }
    for (index, finalizer) in items(&fields["finalizers"]).iter().enumerate() {
        let text = finalizer.as_str().unwrap_or_default();
        let standard = matches!(text, "orphan" | "foregroundDeletion" | "kubernetes");
        if let Some(why) = bad_qualified(text) {
            errors.push(FieldError::invalid("metadata.finalizers", finalizer, why));
        } else if !text.contains('/') && !standard {
            errors.push(FieldError::invalid(
                format!("metadata.finalizers[{index}]"),
                finalizer,
                "name is neither a standard finalizer name nor is it fully qualified",
            ));
        }
    }
    errors.extend(owner_errors(&fields["ownerReferences"]));
    errors
}

fn owner_errors(references: &Value) -> Vec<FieldError> {
    let mut errors = Vec::new();
    let mut controllers = 0;
    for (index, reference) in items(references).iter().enumerate() {
        for name in ["apiVersion", "kind", "name", "uid"] {
            if reference[name].as_str().unwrap_or_default().is_empty() {
                let field = format!("metadata.ownerReferences[{index}].{name}");
                errors.push(FieldError::invalid(field, &json!(""), &format!("{name} must not be empty")));
            }
        }
        controllers += usize::from(reference["controller"] == true);
    }
    if controllers > 1 {
        errors.push(FieldError::invalid(
            "metadata.ownerReferences",
            references,
            "Only one reference can have Controller set to true.",
        ));
    }
    errors
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

fn entries(map: &Value) -> impl Iterator<Item = (&String, &Value)> {
    map.as_object().into_iter().flatten()
}

fn items(list: &Value) -> &[Value] {
    list.as_array().map(Vec::as_slice).unwrap_or_default()
}

fn bad_name(at: At<'_>, name: &str) -> Option<String> {
    let group = at.resource.group.as_str();
    match at.resource.plural.as_str() {
        _ if group == "rbac.authorization.k8s.io" => bad_path_segment(name),
        "services" if group.is_empty() => bad_label(name, true),
        "namespaces" if group.is_empty() => bad_label(name, false),
        _ => bad_subdomain(name),
    }
}

fn bad_path_segment(name: &str) -> Option<String> {
    match name {
        "." | ".." => Some(format!("may not be '{name}'")),
        _ if name.contains('/') => Some("may not contain '/'".into()),
        _ if name.contains('%') => Some("may not contain '%'".into()),
        _ => None,
    }
}

fn bad_subdomain(name: &str) -> Option<String> {
    if name.len() > 253 {
        return Some("must be no more than 253 characters".into());
    }
    (!name.split('.').all(|part| is_label(part, false))).then(|| SUBDOMAIN.into())
}

fn bad_label(name: &str, letter_first: bool) -> Option<String> {
    if name.len() > 63 {
        return Some("must be no more than 63 characters".into());
    }
    (!is_label(name, letter_first)).then(|| if letter_first { DNS_1035.into() } else { LABEL.into() })
}

fn is_label(text: &str, letter_first: bool) -> bool {
    let inner = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit();
    let (Some(first), Some(last)) = (text.bytes().next(), text.bytes().last()) else { return false };
    inner(first)
        && inner(last)
        && !(letter_first && first.is_ascii_digit())
        && text.bytes().all(|b| inner(b) || b == b'-')
}

fn bad_qualified(key: &str) -> Option<&'static str> {
    let (prefix, name) = match key.split_once('/') {
        Some((prefix, name)) => (Some(prefix), name),
        None => (None, key),
    };
    if name.is_empty() {
        return Some("name part must be non-empty");
    }
    if name.len() > 63 {
        return Some("name part must be no more than 63 characters");
    }
    if prefix.is_some_and(|prefix| bad_subdomain(prefix).is_some()) {
        return Some("prefix part must be a valid DNS subdomain");
    }
    (!is_word(name)).then_some(QUALIFIED)
}

fn bad_label_value(value: &str) -> Option<&'static str> {
    if value.len() > 63 {
        return Some("must be no more than 63 characters");
    }
    (!value.is_empty() && !is_word(value)).then_some(LABEL_VALUE)
}

fn is_word(text: &str) -> bool {
    let ends = |b: Option<u8>| b.is_some_and(|b| b.is_ascii_alphanumeric());
    ends(text.bytes().next())
        && ends(text.bytes().last())
        && text.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_' | b'.'))
}
