//! What an update of a pod may change: images, deadline, added tolerations, and while the pod is
//! gated, where it may run.

use crate::api::error::FieldError;
use crate::api::kinds::json::{integer, list};
use crate::api::kinds::semantic;
use serde_json::Value;

const ALLOWED: &str = "pod updates may not change fields other than `spec.containers[*].image`,`spec.initContainers[*].image`,`spec.activeDeadlineSeconds`,`spec.tolerations` (only additions to existing tolerations),`spec.terminationGracePeriodSeconds` (allow it to be set to 1 if it was previously negative)";

/// Everything the update changes that it may not.
pub fn validate(new: &Value, old: &Value) -> Vec<FieldError> {
    let (new, old) = (&new["spec"], &old["spec"]);
    if new == old {
        return Vec::new();
    }
    for kind in ["containers", "initContainers"] {
        if list(new, &[kind]).len() != list(old, &[kind]).len() {
            return vec![FieldError::forbidden(format!("spec.{kind}"), "pod updates may not add or remove containers")];
        }
    }
    let mut errors = Vec::new();
    let (wanted, had) = (integer(new, &["activeDeadlineSeconds"]), integer(old, &["activeDeadlineSeconds"]));
    if let Some(had) = had
        && wanted.is_none_or(|wanted| wanted > had)
    {
        let why = "must be less than or equal to previous value";
        errors.push(FieldError::invalid("spec.activeDeadlineSeconds", &new["activeDeadlineSeconds"], why));
    }
    if list(old, &["tolerations"]).iter().any(|toleration| !list(new, &["tolerations"]).contains(toleration)) {
        let why = "existing toleration can not be modified except its tolerationSeconds";
        errors.push(FieldError::forbidden("spec.tolerations", why));
    }
    let gated = !list(old, &["schedulingGates"]).is_empty();
    if !semantic::equal(&frozen(new, gated), &frozen(old, gated)) {
        errors.push(FieldError::forbidden("spec", ALLOWED));
    }
    errors
}

/// A spec without what may change.
fn frozen(spec: &Value, gated: bool) -> Value {
    let mut spec = spec.clone();
    let Some(fields) = spec.as_object_mut() else { return spec };
    for name in ["activeDeadlineSeconds", "tolerations", "ephemeralContainers"] {
        fields.remove(name);
    }
    // Removing gates is how a gated pod is released.
    fields.remove("schedulingGates");
    if gated {
        fields.remove("nodeSelector");
        fields.remove("affinity");
    }
    for kind in ["containers", "initContainers"] {
        for container in super::super::json::items(fields, kind) {
            container.remove("image");
        }
    }
    spec
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn only_images_deadlines_and_new_tolerations_change() {
        let old = json!({"spec": {"nodeName": "a", "tolerations": [{"key": "x"}], "resources": {"limits": {"memory": "1Gi"}},
            "containers": [{"name": "c", "image": "a:1", "resources": {"limits": {"memory": "1Gi"}}}]}});
        let check = |field: &str, value: Value| {
            let mut new = old.clone();
            if let Some(found) = new.pointer_mut(&format!("/spec/{field}")) {
                *found = value;
            }
            validate(&new, &old).into_iter().map(|e| e.field).collect::<Vec<_>>()
        };
        assert!(check("containers/0/image", json!("a:2")).is_empty());
        assert!(check("tolerations", json!([{"key": "x"}, {"key": "y"}])).is_empty());
        assert_eq!(check("tolerations", json!([])), ["spec.tolerations"]);
        assert_eq!(check("nodeName", json!("b")), ["spec"]);
        assert!(check("containers/0/resources/limits/memory", json!("1073741824")).is_empty(), "the same amount");
        assert_eq!(check("containers/0/resources/limits/memory", json!("2Gi")), ["spec"]);
        assert_eq!(check("resources/limits/memory", json!("2Gi")), ["spec"]);
        assert_eq!(check("containers", json!([])), ["spec.containers"]);
    }
}
