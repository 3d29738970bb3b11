//! A PersistentVolumeClaim is ready when it is bound.

use super::{Readiness, progressing};
use serde_json::Value;

pub(super) fn readiness(object: &Value) -> Readiness {
    match object.pointer("/status/phase").and_then(Value::as_str).unwrap_or("Pending") {
        "Bound" => Readiness::Ready,
        "Lost" => Readiness::Failed("its volume is lost".to_owned()),
        phase => progressing(phase.to_lowercase()),
    }
}
