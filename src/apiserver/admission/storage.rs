//! Storage: the default class of claims, who may grow one, and the finalizers that protect what is in use.

use crate::api::error::ApiError;
use crate::api::kinds::resources::amount;
use crate::api::storage::{BETA_CLASS, CLAIM_PROTECTION, IS_DEFAULT_CLASS, VOLUME_PROTECTION};
use crate::apiserver::resources::Writer;
use crate::apiserver::resources::object::parse;
use crate::store;
use serde_json::{Value, json};

const IS_DEFAULT: [&str; 2] = [IS_DEFAULT_CLASS, "storageclass.beta.kubernetes.io/is-default-class"];

/// Completes a new claim.
pub fn admit_claim(writer: &Writer<'_>, claim: &mut Value) {
    protect(claim, CLAIM_PROTECTION);
    let beta = &claim["metadata"]["annotations"][BETA_CLASS];
    if claim["spec"]["storageClassName"].is_null()
        && beta.is_null()
        && let Some(class) = default_class(writer)
    {
        claim["spec"]["storageClassName"] = class.into();
    }
}

/// Completes a new volume.
pub fn admit_volume(volume: &mut Value) {
    protect(volume, VOLUME_PROTECTION);
}

fn protect(object: &mut Value, finalizer: &str) {
    let held = &mut object["metadata"]["finalizers"];
    match held.as_array_mut() {
        Some(held) if held.iter().any(|one| one == finalizer) => {}
        Some(held) => held.push(finalizer.into()),
        None => *held = json!([finalizer]),
    }
}

/// Of several the newest, as in Kubernetes; of equally new ones the first by name.
fn default_class(writer: &Writer<'_>) -> Option<String> {
    let classes = writer.view.scan(&store::key("storage.k8s.io", "storageclasses", "", ""));
    let is_default = |class: &Value| IS_DEFAULT.iter().any(|name| class["metadata"]["annotations"][*name] == "true");
    let of = |class: Value| {
        let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        (text(&class["metadata"]["creationTimestamp"]), text(&class["metadata"]["name"]))
    };
    let mut found: Vec<_> = classes.iter().map(|found| parse(found)).filter(is_default).map(of).collect();
    found.sort_by(|(a, first), (b, second)| b.cmp(a).then(first.cmp(second)));
    found.into_iter().next().map(|(_, name)| name)
}

/// A claim grows only when it is bound, and its class allows it.
pub fn admit_growth(writer: &Writer<'_>, claim: &Value, old: &Value) -> Result<(), ApiError> {
    let size = |claim: &Value| amount(&claim["spec"]["resources"]["requests"]["storage"]);
    if size(claim) <= size(old) {
        return Ok(());
    }
    let forbidden = |why: &str| Err(ApiError::forbidden(writer.at.target(), writer.at.name, why.to_owned()));
    if old["status"]["phase"] != "Bound" {
        return forbidden("Only bound persistent volume claims can be expanded");
    }
    let name = claim["spec"]["storageClassName"].as_str().unwrap_or_default();
    let class = writer.view.get(&store::key("storage.k8s.io", "storageclasses", "", name));
    if class.is_some_and(|class| parse(&class)["allowVolumeExpansion"] == true) {
        return Ok(());
    }
    forbidden(
        "only dynamically provisioned pvc can be resized and the storageclass that provisions the pvc must support resize",
    )
}
