//! A Service is ready when it has its address. Whether pods answer behind it is theirs to say.

use super::{Readiness, progressing};
use serde_json::Value;

pub(super) fn readiness(object: &Value) -> Readiness {
    let text = |pointer: &str| object.pointer(pointer).and_then(Value::as_str).unwrap_or_default();
    if text("/spec/type") != "ExternalName" && text("/spec/clusterIP").is_empty() {
        return progressing("waiting for an address");
    }
    Readiness::Ready
}
