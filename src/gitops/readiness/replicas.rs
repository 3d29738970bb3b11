//! Kinds that keep a number of pods without rolling them like a Deployment.

use super::{Readiness, count, observed, progressing, wanted};
use serde_json::Value;

pub(super) fn replica_set(object: &Value) -> Readiness {
    let (wanted, available) = (wanted(object), count(object, "/status/availableReplicas"));
    let total = count(object, "/status/replicas");
    if !observed(object) || total != wanted || available < wanted {
        return progressing(format!("{available} of {wanted} pods ready"));
    }
    Readiness::Ready
}

pub(super) fn stateful_set(object: &Value) -> Readiness {
    let (wanted, ready) = (wanted(object), count(object, "/status/readyReplicas"));
    let updated = count(object, "/status/updatedReplicas");
    if !observed(object) || ready < wanted {
        return progressing(format!("{ready} of {wanted} pods ready"));
    }
    let partition = count(object, "/spec/updateStrategy/rollingUpdate/partition");
    if updated < wanted.saturating_sub(partition) {
        return progressing(format!("{updated} of {wanted} pods updated"));
    }
    Readiness::Ready
}

pub(super) fn daemon_set(object: &Value) -> Readiness {
    let wanted = count(object, "/status/desiredNumberScheduled");
    let updated = count(object, "/status/updatedNumberScheduled");
    let ready = count(object, "/status/numberAvailable");
    if !observed(object) || updated < wanted || ready < wanted {
        return progressing(format!("{ready} of {wanted} pods ready"));
    }
    Readiness::Ready
}
