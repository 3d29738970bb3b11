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

fn replicas(object: &Value) -> u64 {
    object.pointer("/spec/replicas").and_then(Value::as_u64).unwrap_or(1)
}
