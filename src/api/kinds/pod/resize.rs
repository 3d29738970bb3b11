//! What a resize of a pod may change: what it and its containers ask for of cpu and memory, and how much of
//! them they may use. Source: Kubernetes' resize strategy and `ValidatePodResize`.

use super::MIRROR;
use crate::api::error::FieldError;
use crate::api::kinds::json::{has, list, text};
use crate::api::kinds::{resources, semantic};
use serde_json::{Map, Value, json};

/// The resources that a running pod can be given more or less of.
const RESIZABLE: [&str; 2] = ["cpu", "memory"];
const KINDS: [&str; 2] = ["containers", "initContainers"];

/// Puts back what a resize does not speak of. Containers that were added, removed or renamed stay, to be
/// refused.
pub fn prepare(new: &mut Value, old: &Value) {
    if KINDS.iter().any(|kind| !same_names(list(new, &["spec", kind]), list(old, &["spec", kind]))) {
        return;
    }
    let mut spec = old["spec"].clone();
    for kind in KINDS {
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
    let mut errors = Vec::new();
    if resources::pod_qos(old) != resources::qos_class(new_spec) {
        let why = "Pod QOS Class may not change as a result of resizing";
        errors.push(FieldError::invalid("spec", &new["status"]["qosClass"], why));
    }
    if !is_supported(old) {
        errors.push(FieldError::forbidden("spec", "Pod running on node without support for resize"));
    }
    errors.extend(of_pod(&new_spec["resources"], &old_spec["resources"]));
    let moved = moved(new_spec, old_spec);
    if !moved.is_empty() {
        errors.extend(moved);
        return errors;
    }
    let both = |kind| list(new_spec, &[kind]).iter().zip(list(old_spec, &[kind])).enumerate();
    for kind in ["initContainers", "containers"] {
        for (i, (new, old)) in both(kind) {
            errors.extend(removed(
                "resource",
                &new["resources"],
                &old["resources"],
                &format!("spec.{kind}[{i}].resources"),
            ));
        }
    }
    for (_, (new, old)) in both("containers") {
        if !semantic::equal(&frozen(new, old), old) {
            errors.push(FieldError::forbidden("spec", "only cpu and memory resources are mutable"));
        }
    }
    for (i, (new, old)) in both("initContainers") {
        let field = format!("spec.initContainers[{i}]");
        if !semantic::equal(&frozen(new, old), old) {
            let why = "only cpu and memory resources for init or sidecar containers are mutable";
            errors.push(FieldError::forbidden(&field, why));
        }
        let restarts = |policy: &Value| policy["restartPolicy"] == "RestartContainer";
        if new["restartPolicy"] != "Always"
            && list(new, &["resizePolicy"]).iter().any(restarts)
            && !semantic::equal(new, old)
        {
            let why = "non-sidecar init containers with a resize policy of RestartContainer cannot be resized";
            errors.push(FieldError::forbidden(&field, why));
        }
    }
    errors
}

/// A host tells what a running container has if it can change that.
fn is_supported(pod: &Value) -> bool {
    let running = |status: &&Value| has(&status["state"], "running");
    let status = list(pod, &["status", "containerStatuses"]).iter().find(running);
    status.is_none_or(|status| has(status, "resources"))
}

/// What is wrong with the change of what the pod has as a whole.
fn of_pod(new: &Value, old: &Value) -> Vec<FieldError> {
    let field = "spec.resources";
    if !old.is_null() && new.is_null() {
        return vec![FieldError::forbidden(field, "pod-level resources cannot be removed")];
    }
    let mut errors = removed("pod-level resource", new, old, field);
    let had = if old.is_null() { &json!({}) } else { old };
    if !semantic::equal(&kept(new, old), had) {
        errors.push(FieldError::forbidden("spec", "only cpu and memory resources are mutable at pod-level"));
    }
    errors
}

/// Containers that were added, removed, renamed or put into another order.
fn moved(new: &Value, old: &Value) -> Vec<FieldError> {
    let mut errors = Vec::new();
    for kind in KINDS {
        let (new, old) = (list(new, &[kind]), list(old, &[kind]));
        if new.len() != old.len() {
            let why = format!("{kind} may not be added or removed on resize");
            errors.push(FieldError::forbidden(format!("spec.{kind}"), &why));
            continue;
        }
        for (i, _) in new.iter().zip(old).enumerate().filter(|(_, (new, old))| new["name"] != old["name"]) {
            let why = format!("{kind} may not be renamed or reordered on resize");
            errors.push(FieldError::forbidden(format!("spec.{kind}[{i}].name"), &why));
        }
    }
    errors
}

/// Neither requests nor limits can be taken back: what would hold then is not known.
fn removed(what: &str, new: &Value, old: &Value, field: &str) -> Vec<FieldError> {
    let gone = |kind: &&str| {
        let before = old[*kind].as_object().into_iter().flatten();
        before.filter(|(_, amount)| !amount.is_null()).any(|(name, _)| new[*kind][name].is_null())
    };
    let kinds = ["requests", "limits"].into_iter().filter(gone);
    kinds
        .map(|kind| FieldError::forbidden(format!("{field}.{kind}"), &format!("{what} {kind} cannot be removed")))
        .collect()
}

/// The new container with as much of cpu and memory as the old one has.
fn frozen(new: &Value, old: &Value) -> Value {
    let mut container = new.clone();
    if let Some(fields) = container.as_object_mut() {
        fields.insert("resources".into(), kept(&new["resources"], &old["resources"]));
    }
    container
}

/// The new resources with what the old ones say of cpu and memory.
fn kept(new: &Value, old: &Value) -> Value {
    let mut kept = new.as_object().cloned().unwrap_or_default();
    for kind in ["requests", "limits"] {
        let of = |side: &Value, resizable: bool| -> Map<String, Value> {
            let all = side[kind].as_object().into_iter().flatten();
            let all = all.filter(|(name, _)| RESIZABLE.contains(&name.as_str()) == resizable);
            all.map(|(name, amount)| (name.clone(), amount.clone())).collect()
        };
        let mut map = of(new, false);
        map.extend(of(old, true));
        kept.insert(kind.into(), map.into());
    }
    kept.into()
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
        wrong(&new, &old)
    }

    fn wrong(new: &Value, old: &Value) -> Vec<String> {
        validate(new, old).into_iter().map(|e| format!("{}: {}", e.field, e.detail)).collect()
    }

    #[test]
    fn a_pod_as_a_whole_gets_more_or_less_too() {
        let with = |resources: Value| {
            let mut pod = pod();
            pod["status"] = json!({"qosClass": "Burstable"});
            pod["spec"]["resources"] = resources;
            pod
        };
        let old = with(json!({"requests": {"cpu": "1", "hugepages-2Mi": "2Mi"}, "limits": {"cpu": "2"}}));
        let check = |resources: Value| {
            let mut new = with(resources);
            prepare(&mut new, &old);
            wrong(&new, &old)
        };
        let none: [String; 0] = [];
        let more =
            json!({"requests": {"cpu": "2", "hugepages-2Mi": "2048Ki"}, "limits": {"cpu": "4", "memory": "1Gi"}});
        assert_eq!(check(more), none);
        let pages = json!({"requests": {"cpu": "1", "hugepages-2Mi": "4Mi"}, "limits": {"cpu": "2"}});
        assert_eq!(check(pages), ["spec: Forbidden: only cpu and memory resources are mutable at pod-level"]);
        let less = json!({"requests": {"cpu": "1", "hugepages-2Mi": "2Mi"}});
        let gone = "spec.resources.limits: Forbidden: pod-level resource limits cannot be removed";
        assert_eq!(check(less), [gone]);
        let gone = "spec.resources: Forbidden: pod-level resources cannot be removed";
        assert_eq!(check(Value::Null), [gone]);
        let new = with(json!({"requests": {"cpu": "1"}}));
        assert_eq!(wrong(&new, &pod()), none, "what had none may get some");
    }

    #[test]
    fn hosts_tell_whether_they_can() {
        let mut old = pod();
        old["status"]["containerStatuses"] = json!([{"name": "c", "state": {"running": {}}}]);
        let why = "spec: Forbidden: Pod running on node without support for resize";
        assert_eq!(wrong(&old, &old), [why]);
        old["status"]["containerStatuses"][0]["resources"] = json!({});
        assert!(wrong(&old, &old).is_empty());
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
        assert_eq!(resized("/spec/containers/0/resizePolicy", policy.clone()), [only]);
        let side = "spec.initContainers[1]: Forbidden: only cpu and memory resources for init or sidecar containers are mutable";
        assert_eq!(resized(&of("initContainers", 1, "requests/x.y~1z"), json!("2")), [side]);
        let mut old = pod();
        old["spec"]["initContainers"][0]["resizePolicy"] = policy;
        let mut new = old.clone();
        new["spec"]["initContainers"][0]["resources"]["requests"]["cpu"] = json!("2");
        let once = "spec.initContainers[0]: Forbidden: non-sidecar init containers with a resize policy of RestartContainer cannot be resized";
        assert_eq!(wrong(&new, &old), [once]);
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
    }

    #[test]
    fn containers_stay_who_they_are() {
        let mut other = pod();
        other["spec"]["containers"].as_array_mut().unwrap().push(json!({"name": "d"}));
        other["spec"]["initContainers"].as_array_mut().unwrap().reverse();
        prepare(&mut other, &pod());
        let renamed = "Forbidden: initContainers may not be renamed or reordered on resize";
        assert_eq!(
            wrong(&other, &pod()),
            [
                "spec.containers: Forbidden: containers may not be added or removed on resize",
                &format!("spec.initContainers[0].name: {renamed}"),
                &format!("spec.initContainers[1].name: {renamed}"),
            ]
        );
    }
}
