//! What a Namespace holds that would be lost with it.

use super::leaving::is_disabled;
use super::stages::RUN;
use super::wait::path;
use crate::api::changeset::ObjectId;
use crate::client::raw;
use crate::gitops::application::LABEL;
use crate::gitops::kinds::{Kinds, Scope};
use crate::gitops::render::same_object;
use http::Method;
use serde_json::Value;
use std::collections::BTreeMap;

/// Objects in a namespace that are neither `going`, nor made by the system, nor anyone's dependents: the
/// owner of a dependent tells whether it stays.
pub(super) async fn staying(
    client: &kube::Client,
    kinds: &dyn Kinds,
    namespace: &str,
    going: &[&ObjectId],
) -> Result<Vec<ObjectId>, kube::Error> {
    // By uid: an object is served in each version of its kind.
    let mut found = BTreeMap::new();
    for (api_version, kind) in kinds.all() {
        let is_kept =
            kinds.scope(&api_version, &kind) == Some(Scope::Namespaced) && kinds.is_stored(&api_version, &kind);
        if !is_kept || kind == "Event" {
            continue;
        }
        let Some(plural) = kinds.plural(&api_version, &kind) else { continue };
        let list = match raw::request(client, Method::GET, &path(&api_version, &plural, namespace, ""), None).await {
            Ok(bytes) => serde_json::from_slice::<Value>(&bytes).unwrap_or_default(),
            // Reviews and the like are not listed.
            Err(kube::Error::Api(status)) if matches!(status.code, 403..=405) => continue,
            Err(error) => return Err(error),
        };
        for item in list["items"].as_array().into_iter().flatten() {
            let id = identify(&api_version, &kind, item);
            let goes = |other: &&ObjectId| {
                same_object(other, &id) && (other.uid.is_empty() || other.uid == id.uid) && !is_disabled(item)
            };
            if !is_made_by_the_system(&id, item) && !going.iter().any(goes) {
                found.entry(id.uid.clone()).or_insert(id);
            }
        }
    }
    let mut found: Vec<ObjectId> = found.into_values().collect();
    found.sort();
    Ok(found)
}

fn identify(api_version: &str, kind: &str, item: &Value) -> ObjectId {
    let text = |name: &str| item["metadata"][name].as_str().unwrap_or_default().to_owned();
    let (api_version, kind) = (api_version.to_owned(), kind.to_owned());
    ObjectId { api_version, kind, namespace: text("namespace"), name: text("name"), uid: text("uid") }
}

/// Made again by itself, or gone soon by itself.
fn is_made_by_the_system(id: &ObjectId, item: &Value) -> bool {
    let metadata = &item["metadata"];
    let is_owned = metadata["ownerReferences"].as_array().is_some_and(|owners| !owners.is_empty());
    let is_hook = metadata["annotations"].get(RUN).is_some() && metadata["labels"].get(LABEL).is_some();
    let is_usual = match id.kind.as_str() {
        "ServiceAccount" => id.name == "default",
        "ConfigMap" => id.name == "kube-root-ca.crt",
        // Kept beside a Service, without a reference to it.
        "Endpoints" => true,
        _ => false,
    };
    is_owned || is_hook || is_usual || !metadata["deletionTimestamp"].is_null()
}
