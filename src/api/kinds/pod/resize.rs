//! What a resize of a pod may change: what its containers ask for of cpu and memory, and how much of
//! them they may use. Source: Kubernetes' resize strategy and `ValidatePodResize`.

use crate::api::error::FieldError;
use crate::api::kinds::json::{Object, list, text};
use crate::api::kinds::resources::{self, amount};
use serde_json::{Value, json};

/// The resources that a running pod can be given more or less of.
const RESIZABLE: [&str; 2] = ["cpu", "memory"];
/// A pod that some host made by itself, and that is only shown here.
const MIRROR: &str = "kubernetes.io/config.mirror";

/// Puts back what a resize does not speak of. Containers that were added, removed or renamed stay, to be
/// refused.
pub fn prepare(new: &mut Value, old: &Value) {
    let kinds = ["containers", "initContainers"];
    if kinds.iter().any(|kind| !same_names(list(new, &["spec", kind]), list(old, &["spec", kind]))) {
        return;
    }
    let mut spec = old["spec"].clone();
    for kind in kinds {
        let wanted = list(new, &["spec", kind]);
        let containers = spec.get_mut(kind).and_then(Value::as_array_mut);
        for (container, wanted) in containers.into_iter().flatten().zip(wanted) {
            for field in ["resources", "resizePolicy"] {
                match (container.as_object_mut(), wanted.get(field)) {
                    (Some(container), Some(value)) => drop(container.insert(field.into(), value.clone())),
                    (Some(container), None) => drop(container.remove(field)),
                    (None, _) => {}
                }
            }
        }
    }
    if let Some(resources) = new["spec"].get("resources") {
        spec["resources"] = resources.clone();
    } else if let Some(spec) = spec.as_object_mut() {
        spec.remove("resources");
    }
    new["spec"] = spec;
}

fn same_names(new: &[Value], old: &[Value]) -> bool {
    new.len() == old.len() && new.iter().zip(old).all(|(new, old)| new["name"] == old["name"])
}

/// Everything the resize changes that it may not.
pub fn validate(new: &Value, old: &Value) -> Vec<FieldError> {
    if old["metadata"]["annotations"][MIRROR].is_string() {
        return vec![FieldError::forbidden("[]", "static pods cannot be resized")];
    }
    if text(old, &["spec", "os", "name"]) == "windows" {
        return vec![FieldError::forbidden("[]", "windows pods cannot be resized")];
    }
    let (new_spec, old_spec) = (&new["spec"], &old["spec"]);
    for kind in ["containers", "initContainers"] {
        if list(new_spec, &[kind]).len() != list(old_spec, &[kind]).len() {
            return vec![FieldError::forbidden(format!("spec.{kind}"), "pod updates may not add or remove containers")];
        }
    }
    let mut errors = Vec::new();
    if resources::pod_qos(old) != resources::qos_class(new_spec) {
        let why = "Pod QOS Class may not change as a result of resizing";
        errors.push(FieldError::invalid("spec", &new["status"]["qosClass"], why));
    }
    errors.extend(removed(&new_spec["resources"], &old_spec["resources"], "spec.resources"));
    for kind in ["initContainers", "containers"] {
        for (i, (new, old)) in list(new_spec, &[kind]).iter().zip(list(old_spec, &[kind])).enumerate() {
            errors.extend(removed(&new["resources"], &old["resources"], &format!("spec.{kind}[{i}].resources")));
            if frozen_container(new) != frozen_container(old) {
                errors.push(FieldError::forbidden("spec", only_resizable(kind, old)));
            }
        }
    }
    if errors.is_empty() && frozen(new_spec) != frozen(old_spec) {
        errors.push(FieldError::forbidden("spec", only_resizable("containers", &Value::Null)));
    }
    errors
}

fn only_resizable(kind: &str, container: &Value) -> &'static str {
    match kind {
        "initContainers" if container["restartPolicy"] == "Always" => {
            "only cpu and memory resources for sidecar containers are mutable"
        }
        _ => "only cpu and memory resources are mutable",
    }
}

/// Neither requests nor limits can be taken back: what would hold then is not known.
fn removed(new: &Value, old: &Value, field: &str) -> Vec<FieldError> {
    let gone = |kind: &str| {
        let before = old[kind].as_object().into_iter().flatten();
        before.filter(|(_, amount)| !amount.is_null()).any(|(name, _)| new[kind][name].is_null())
    };
    [("requests", "resource requests cannot be removed"), ("limits", "resource limits cannot be removed")]
        .into_iter()
        .filter(|(kind, _)| gone(kind))
        .map(|(kind, why)| FieldError::forbidden(format!("{field}.{kind}"), why))
        .collect()
}

/// A spec without what may change.
fn frozen(spec: &Value) -> Value {
    let mut spec = spec.clone();
    for kind in ["containers", "initContainers"] {
        if spec[kind].is_array() {
            spec[kind] = list(&spec, &[kind]).iter().map(frozen_container).collect();
        }
    }
    if let Some(fields) = spec.as_object_mut() {
        freeze(fields);
    }
    spec
}

fn frozen_container(container: &Value) -> Value {
    let mut container = container.clone();
    if let Some(fields) = container.as_object_mut() {
        freeze(fields);
    }
    container
}

/// Leaves of `resources` what a resize cannot change, in numbers: the same amount can be written in many
/// ways.
fn freeze(fields: &mut Object) {
    let resources = fields.remove("resources").unwrap_or_default();
    let mut kept = Object::new();
    for kind in ["requests", "limits"] {
        let others = resources[kind].as_object().into_iter().flatten();
        let others = others.filter(|(name, _)| !RESIZABLE.contains(&name.as_str()));
        let others: Object =
            others.map(|(name, value)| (name.clone(), json!(amount(value).map(|n| n.to_string())))).collect();
        kept.insert(kind.into(), others.into());
    }
    kept.insert("claims".into(), resources["claims"].clone());
    fields.insert("resources".into(), kept.into());
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn pod() -> Value {
        json!({"metadata": {"name": "p", "labels": {"a": "b"}}, "status": {"qosClass": "Burstable"}, "spec": {
            "restartPolicy": "Always",
            "initContainers": [
                {"name": "first", "image": "i", "resources": {"requests": {"cpu": "100m"}}},
                {"name": "side", "image": "i", "restartPolicy": "Always", "resources": {"requests": {"cpu": "100m"}}},
            ],
            "containers": [{"name": "c", "image": "i", "resizePolicy": [{"resourceName": "cpu", "restartPolicy": "NotRequired"}],
                "resources": {"requests": {"cpu": "100m", "memory": "64Mi", "ephemeral-storage": "1Gi"}, "limits": {"memory": "64Mi"}}}]}})
    }

    fn resized(pointer: &str, value: Value) -> Vec<String> {
        let old = pod();
        let mut new = old.clone();
        let (parent, name) = pointer.rsplit_once('/').unwrap();
        new.pointer_mut(parent).unwrap()[name] = value;
        prepare(&mut new, &old);
        validate(&new, &old).into_iter().map(|e| format!("{}: {}", e.field, e.detail)).collect()
    }

    #[test]
    fn cpu_and_memory_change_and_nothing_else() {
        let none: [String; 0] = [];
        let of = |kind: &str, i: usize, rest: &str| format!("/spec/{kind}/{i}/resources/{rest}");
        assert_eq!(resized(&of("containers", 0, "requests/cpu"), json!("2")), none);
        assert_eq!(resized(&of("containers", 0, "limits/memory"), json!("32Mi")), none, "less is tried");
        assert_eq!(resized(&of("containers", 0, "limits/cpu"), json!("1")), none);
        assert_eq!(resized(&of("initContainers", 0, "requests/cpu"), json!("2")), none);
        assert_eq!(resized(&of("initContainers", 1, "requests/cpu"), json!("2")), none);
        let only = "spec: Forbidden: only cpu and memory resources are mutable";
        assert_eq!(resized(&of("containers", 0, "requests/ephemeral-storage"), json!("2Gi")), [only]);
        assert_eq!(resized(&of("containers", 0, "requests/ephemeral-storage"), json!("1024Mi")), none);
        let policy = json!([{"resourceName": "cpu", "restartPolicy": "RestartContainer"}]);
        assert_eq!(resized("/spec/containers/0/resizePolicy", policy), [only]);
        let side = "spec: Forbidden: only cpu and memory resources for sidecar containers are mutable";
        assert_eq!(resized(&of("initContainers", 1, "requests/x.y~1z"), json!("2")), [side]);
    }

    #[test]
    fn what_it_does_not_speak_of_stays() {
        let mut old = pod();
        old["spec"].as_object_mut().unwrap().remove("initContainers");
        let mut new = old.clone();
        new["spec"]["containers"][0]["image"] = "other".into();
        new["spec"]["nodeName"] = "n".into();
        new["spec"]["containers"][0]["resources"]["requests"]["cpu"] = "3".into();
        prepare(&mut new, &old);
        assert!(validate(&new, &old).is_empty());
        assert_eq!(new["spec"]["containers"][0]["image"], "i");
        assert_eq!(new["spec"]["containers"][0]["resources"]["requests"]["cpu"], "3");
        assert!(new["spec"].get("nodeName").is_none());
    }

    #[test]
    fn classes_stay_and_nothing_is_taken_back() {
        let of = |rest: &str| format!("/spec/containers/0/resources/{rest}");
        let gone = "spec.containers[0].resources.limits: Forbidden: resource limits cannot be removed";
        assert_eq!(resized(&of("limits"), json!({})), [gone]);
        let gone = "spec.containers[0].resources.requests: Forbidden: resource requests cannot be removed";
        assert_eq!(resized(&of("requests/cpu"), Value::Null), [gone]);
        let old =
            json!({"status": {"qosClass": "BestEffort"}, "spec": {"containers": [{"name": "c", "resources": {}}]}});
        let mut new = old.clone();
        new["spec"]["containers"][0]["resources"] = json!({"requests": {"cpu": "1"}});
        let error = &validate(&new, &old)[0];
        let class = "Invalid value: \"BestEffort\": Pod QOS Class may not change as a result of resizing";
        assert_eq!((error.field.as_str(), error.detail.as_str()), ("spec", class));
    }

    #[test]
    fn some_pods_are_not_resized() {
        for (field, value, why) in [
            ("/metadata/annotations", json!({MIRROR: "x"}), "static pods cannot be resized"),
            ("/spec/os", json!({"name": "windows"}), "windows pods cannot be resized"),
        ] {
            let mut old = pod();
            let (parent, name) = field.rsplit_once('/').unwrap();
            old.pointer_mut(parent).unwrap()[name] = value;
            let error = &validate(&old, &old)[0];
            assert_eq!((error.field.as_str(), error.detail.as_str()), ("[]", &*format!("Forbidden: {why}")));
        }
        let mut more = pod();
        more["spec"]["containers"].as_array_mut().unwrap().push(json!({"name": "d"}));
        prepare(&mut more, &pod());
        assert_eq!(validate(&more, &pod())[0].field, "spec.containers");
    }
}
