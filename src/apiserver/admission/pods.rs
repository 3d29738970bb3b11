//! What a new pod gets from the cluster: service account, priority, tolerations, what its
//! runtime class adds.

use super::{Admitted, runtime_class, service_accounts};
use crate::api::error::{ApiError, Target};
use crate::api::kinds::pod::MIRROR;
use crate::apiserver::resources::Writer;
use crate::apiserver::resources::object::parse;
use crate::store;
use serde_json::{Value, json};

/// Seconds a pod stays on a node that is not ready or unreachable.
const TOLERATED_SECONDS: i64 = 300;
const PRIORITY_CLASSES: Target<'static> =
    Target { group: "scheduling.k8s.io", resource: "priorityclasses", kind: "PriorityClass" };

pub fn admit(writer: &Writer<'_>, pod: &mut Value, admitted: &mut Admitted) -> Result<(), ApiError> {
    if !pod["spec"].is_object() {
        return Ok(());
    }
    let is_mirror = !pod["metadata"]["annotations"][MIRROR].is_null();
    let spec = &mut pod["spec"];
    admitted.mounts_token = match is_mirror {
        true => service_accounts::admit_mirror(writer, spec).map(|()| false)?,
        false => service_accounts::admit(writer, spec)?,
    };
    tolerate(spec);
    prioritize(writer, spec)?;
    runtime_class::admit(writer, spec)
}

/// The new state of a pod. What its creation filled in stays where it is left out: who writes a pod anew need not know
/// of it.
pub fn admit_update(pod: &mut Value, old: &Value) {
    let (spec, old) = (&mut pod["spec"], &old["spec"]);
    if !spec.is_object() {
        return;
    }
    tolerate(spec);
    for name in ["priority", "preemptionPolicy"] {
        if spec[name].is_null() && !old[name].is_null() {
            spec[name] = old[name].clone();
        }
    }
}

/// Pods survive short outages of their node.
fn tolerate(spec: &mut Value) {
    let mut list = spec["tolerations"].as_array().cloned().unwrap_or_default();
    for key in ["node.kubernetes.io/not-ready", "node.kubernetes.io/unreachable"] {
        let tolerated = list.iter().any(|toleration| {
            let same_key = toleration["key"] == key || toleration["key"].as_str().unwrap_or_default().is_empty();
            let effect = toleration["effect"].as_str().unwrap_or_default();
            same_key && (effect.is_empty() || effect == "NoExecute")
        });
        if !tolerated {
            list.push(json!({
                "key": key, "operator": "Exists", "effect": "NoExecute", "tolerationSeconds": TOLERATED_SECONDS,
            }));
        }
    }
    spec["tolerations"] = list.into();
}

/// Resolves the priority class, the named one or the default.
fn prioritize(writer: &Writer<'_>, spec: &mut Value) -> Result<(), ApiError> {
    let name = spec["priorityClassName"].as_str().unwrap_or_default().to_string();
    let class = if name.is_empty() {
        let bucket = store::bucket(PRIORITY_CLASSES.group, PRIORITY_CLASSES.resource);
        let all = writer.view.scan(&bucket);
        let defaults = all.iter().map(|record| parse(record)).filter(|class| class["globalDefault"] == true);
        defaults.min_by_key(|class| class["value"].as_i64())
    } else {
        let key = store::key(PRIORITY_CLASSES.group, PRIORITY_CLASSES.resource, "", &name);
        let Some(record) = writer.view.get(&key) else {
            let why = format!("no PriorityClass with name {name} was found");
            return Err(ApiError::forbidden(writer.at.target(), writer.at.name, why));
        };
        Some(parse(&record))
    };
    let priority = class.as_ref().and_then(|class| class["value"].as_i64()).unwrap_or_default();
    let policy = class.as_ref().and_then(|class| class["preemptionPolicy"].as_str());
    if let Some(given) = spec["priority"].as_i64().filter(|given| *given != priority) {
        let why = format!(
            "the integer value of priority ({given}) must not be provided in pod spec; priority admission controller computed {priority} from the given PriorityClass name"
        );
        return Err(ApiError::forbidden(writer.at.target(), writer.at.name, why));
    }
    spec["priority"] = priority.into();
    spec["preemptionPolicy"] = policy.unwrap_or("PreemptLowerPriority").into();
    if let (true, Some(class)) = (name.is_empty(), &class) {
        spec["priorityClassName"] = class["metadata"]["name"].clone();
    }
    Ok(())
}
