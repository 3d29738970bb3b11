//! A Deployment is ready when the newest template runs everywhere and nothing older is left.

use super::{NOT_STARTED, Readiness, condition, count, observed, progressing, wanted};
use serde_json::Value;

pub(super) fn readiness(object: &Value) -> Readiness {
    if object.pointer("/spec/paused").and_then(Value::as_bool).unwrap_or(false) {
        return Readiness::Ready;
    }
    if !observed(object) {
        return progressing(NOT_STARTED);
    }
    if let Some(("False", "ProgressDeadlineExceeded", message)) = condition(object, "Progressing") {
        let seconds = count(object, "/spec/progressDeadlineSeconds");
        let what = if message.is_empty() { "the rollout does not progress" } else { message };
        return Readiness::Failed(format!("{what} (progress deadline of {seconds} s)"));
    }
    let wanted = wanted(object);
    let [total, updated, available] =
        ["replicas", "updatedReplicas", "availableReplicas"].map(|field| count(object, &format!("/status/{field}")));
    if updated < wanted {
        return progressing(format!("{updated} of {wanted} pods updated"));
    }
    if total > updated {
        let old = total - updated;
        let pods = if old == 1 { "pod" } else { "pods" };
        return progressing(format!("{old} old {pods} still there"));
    }
    if available < wanted {
        return progressing(format!("{available} of {wanted} pods ready"));
    }
    Readiness::Ready
}
