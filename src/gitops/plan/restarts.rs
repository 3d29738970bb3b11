//! How many running pods a change replaces.

use serde_json::Value;

/// Pods that are restarted when `before` becomes `after`: those of a workload whose pod template
/// changes, as far as they outlive a change of the replica count.
pub(super) fn restarts(before: &Value, after: &Value) -> u64 {
    let kind = after.get("kind").and_then(Value::as_str).unwrap_or_default();
    let differs = |pointer: &str| before.pointer(pointer) != after.pointer(pointer);
    match kind {
        "Deployment" | "StatefulSet" if differs("/spec/template") => {
            let paused = after.pointer("/spec/paused").and_then(Value::as_bool).unwrap_or(false);
            if paused { 0 } else { replicas(before).min(replicas(after)) }
        }
        "DaemonSet" if differs("/spec/template") => {
            before.pointer("/status/desiredNumberScheduled").and_then(Value::as_u64).unwrap_or(0)
        }
        "Pod" if differs("/spec/containers") || differs("/spec/initContainers") => 1,
        _ => 0,
    }
}

/// Running pods that go and come again when `before` is deleted and `after` made in its place.
pub(super) fn replaced(before: &Value, after: &Value) -> u64 {
    let number = |pointer: &str| before.pointer(pointer).and_then(Value::as_u64).unwrap_or(0);
    match after.get("kind").and_then(Value::as_str).unwrap_or_default() {
        "Deployment" if after.pointer("/spec/paused").and_then(Value::as_bool).unwrap_or(false) => 0,
        "Deployment" | "StatefulSet" | "ReplicaSet" | "ReplicationController" => replicas(before).min(replicas(after)),
        "DaemonSet" => number("/status/desiredNumberScheduled"),
        // Those that are done stay gone with it.
        "Job" => number("/status/active"),
        "Pod" if !["Succeeded", "Failed"].contains(&phase(before)) => 1,
        _ => 0,
    }
}

fn phase(pod: &Value) -> &str {
    pod.pointer("/status/phase").and_then(Value::as_str).unwrap_or_default()
}

fn replicas(object: &Value) -> u64 {
    object.pointer("/spec/replicas").and_then(Value::as_u64).unwrap_or(1)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn what_is_replaced_takes_its_pods_along() {
        let of = |kind: &str, spec: Value| json!({"kind": kind, "spec": spec});
        let count = |kind: &str, before: u64, after: u64| {
            replaced(&of(kind, json!({"replicas": before})), &of(kind, json!({"replicas": after})))
        };
        assert_eq!((count("Deployment", 3, 2), count("StatefulSet", 1, 4), count("ConfigMap", 1, 1)), (2, 1, 0));
        let paused = of("Deployment", json!({"replicas": 2, "paused": true}));
        assert_eq!(replaced(&of("Deployment", json!({"replicas": 2})), &paused), 0, "it makes none");
        let with = |kind: &str, status: Value| json!({"kind": kind, "status": status});
        let again = |object: Value| replaced(&object, &object);
        assert_eq!(again(with("DaemonSet", json!({"desiredNumberScheduled": 4}))), 4);
        assert_eq!((again(with("Job", json!({"active": 2}))), again(with("Job", json!({"succeeded": 2})))), (2, 0));
        let pod = |phase: &str| again(with("Pod", json!({"phase": phase})));
        assert_eq!((pod("Running"), pod("Succeeded")), (1, 0));
    }
}
