//! The writes controllers make: patches with preconditions, so that an outdated view changes nothing,
//! and fields that this program does not know survive.

use crate::client::{Kind, raw};
use bytes::Bytes;
use http::Method;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};

const MERGE: &str = "application/merge-patch+json";
const JSON: &str = "application/json";

/// What a write left, as far as writers care.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Written {
    pub name: String,
    pub uid: String,
    /// `None` of kinds that count none.
    pub generation: Option<i64>,
    resource_version: String,
}

impl Written {
    /// The store's revision of the write.
    pub fn revision(&self) -> u64 {
        self.resource_version.parse().unwrap_or(0)
    }
}

fn written(body: &Bytes) -> Result<Written, kube::Error> {
    raw::metadata(body).map_err(kube::Error::SerdeError)
}

fn path<K: Kind>(object: &K) -> String {
    let meta = object.meta();
    format!("{}/{}", K::url_path(&(), meta.namespace.as_deref()), meta.name.as_deref().unwrap_or_default())
}

/// An object as a request body; made once for many creations.
pub fn body<K: Serialize>(object: &K) -> Result<Bytes, kube::Error> {
    serde_json::to_vec(object).map(Bytes::from).map_err(kube::Error::SerdeError)
}

/// Creates an object of kind `K` from its JSON.
pub async fn create<K: Kind>(
    client: &kube::Client,
    namespace: Option<&str>,
    body: Bytes,
) -> Result<Written, kube::Error> {
    let path = K::url_path(&(), namespace);
    written(&raw::request(client, Method::POST, &path, Some((JSON, body))).await?)
}

/// Merges `change` into the object if it is still at the revision `object` shows; otherwise 409.
/// `subresource` is empty or like `/status`.
pub async fn patch<K: Kind>(
    client: &kube::Client,
    object: &K,
    subresource: &str,
    mut change: Value,
) -> Result<Written, kube::Error> {
    let meta = object.meta();
    change["metadata"]["resourceVersion"] = json!(meta.resource_version);
    change["metadata"]["uid"] = json!(meta.uid);
    let path = path(object) + subresource;
    written(&raw::request(client, Method::PATCH, &path, Some((MERGE, change.to_string().into()))).await?)
}

/// Deletes exactly this object (by uid); dependants follow in the background. An object that is
/// gone, or another by now, is no error.
pub async fn delete<K: Kind>(client: &kube::Client, object: &K) -> Result<(), kube::Error> {
    delete_within(client, object, None, "Background").await
}

/// As [`delete`], and the object itself goes last, after all that depend on it.
pub async fn delete_last<K: Kind>(client: &kube::Client, object: &K) -> Result<(), kube::Error> {
    delete_within(client, object, None, "Foreground").await
}

/// As [`delete`], without the grace that a kubelet would give: for pods that no kubelet has any more.
pub async fn delete_now<K: Kind>(client: &kube::Client, object: &K) -> Result<(), kube::Error> {
    delete_within(client, object, Some(0), "Background").await
}

async fn delete_within<K: Kind>(
    client: &kube::Client,
    object: &K,
    grace: Option<u32>,
    propagation: &str,
) -> Result<(), kube::Error> {
    let mut options = json!({
        "apiVersion": "v1",
        "kind": "DeleteOptions",
        "preconditions": { "uid": object.meta().uid },
        "propagationPolicy": propagation,
    });
    if let Some(seconds) = grace {
        options["gracePeriodSeconds"] = json!(seconds);
    }
    match raw::request(client, Method::DELETE, &path(object), Some((JSON, options.to_string().into()))).await {
        Err(error) if raw::is_not_found(&error) || raw::is_conflict(&error) => Ok(()),
        outcome => outcome.map(drop),
    }
}

/// The merge patch (RFC 7386) that makes `from` into `to`; `None` if they are equal.
pub fn difference(from: &Value, to: &Value) -> Option<Value> {
    if from == to {
        return None;
    }
    let (Value::Object(from), Value::Object(to)) = (from, to) else { return Some(to.clone()) };
    let removed = from.keys().filter(|key| !to.contains_key(*key)).map(|key| (key.clone(), Value::Null));
    let changed = to.iter().filter_map(|(key, value)| {
        let change = match from.get(key) {
            Some(known) => difference(known, value)?,
            None => value.clone(),
        };
        Some((key.clone(), change))
    });
    Some(Value::Object(removed.chain(changed).collect::<Map<_, _>>()))
}

/// [`difference`] of two status values as a patch of the status subresource.
pub fn status_difference<S: Serialize + PartialEq>(from: Option<&S>, to: &S) -> Option<Value> {
    // The rule, and cheaper to see than two trees of JSON.
    if from == Some(to) {
        return None;
    }
    let value = |status: &S| serde_json::to_value(status).unwrap_or_default();
    let from = from.map_or_else(|| json!({}), value);
    difference(&from, &value(to)).map(|change| json!({ "status": change }))
}

/// Writes an object's status where it differs; the revision of the write, if there was one. An object
/// that someone removed is no error: that wakes its controller again.
pub async fn put_status<K: Kind, S: Serialize + PartialEq>(
    client: &kube::Client,
    object: &K,
    from: Option<&S>,
    to: &S,
) -> Result<Option<u64>, kube::Error> {
    let Some(change) = status_difference(from, to) else { return Ok(None) };
    match patch(client, object, "/status", change).await {
        Ok(written) => Ok(Some(written.revision())),
        Err(error) if raw::is_not_found(&error) => Ok(None),
        Err(error) => Err(error),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn differences_name_only_what_changed() {
        let from = json!({"a": 1, "b": {"c": [1], "d": 2}, "e": 3});
        let to = json!({"a": 1, "b": {"c": [2], "d": 2}, "f": {}});
        assert_eq!(difference(&from, &to), Some(json!({"b": {"c": [2]}, "e": null, "f": {}})));
        assert_eq!(difference(&from, &from), None);
    }
}
