//! A Job is ready when it is done.

use super::{Readiness, condition, count, progressing};
use serde_json::Value;

pub(super) fn readiness(object: &Value) -> Readiness {
    if object.pointer("/spec/suspend").and_then(Value::as_bool).unwrap_or(false) {
        return Readiness::Ready;
    }
    if let Some(("True", reason, message)) = condition(object, "Failed") {
        return Readiness::Failed(format!("{reason}: {message}"));
    }
    if let Some(("True", ..)) = condition(object, "Complete") {
        return Readiness::Ready;
    }
    let done = count(object, "/status/succeeded");
    let wanted = object.pointer("/spec/completions").and_then(Value::as_u64).unwrap_or(1);
    progressing(format!("{done} of {wanted} completions"))
}
