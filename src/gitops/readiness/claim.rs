//! A PersistentVolumeClaim is ready when it is bound, or when nothing will bind it before a pod uses it.

use super::{Readiness, progressing};
use crate::api::storage::{BETA_CLASS, SELECTED_NODE};
use serde_json::Value;

pub(super) fn readiness(object: &Value) -> Readiness {
    match phase(object) {
        "Bound" => Readiness::Ready,
        "Lost" => Readiness::Failed("its volume is lost".to_owned()),
        phase => progressing(phase.to_lowercase()),
    }
}

/// The class of a claim that nobody is about to bind: no volume and no host is chosen. Whether it is
/// still to be waited for is for the class to say ([`waits_for_consumer`]).
pub fn class_of_idle_claim(object: &Value) -> Option<&str> {
    if object["kind"] != "PersistentVolumeClaim" || object["apiVersion"] != "v1" {
        return None;
    }
    let (annotations, spec) = (&object["metadata"]["annotations"], &object["spec"]);
    let class = text(annotations, BETA_CLASS).or(text(spec, "storageClassName"));
    let chosen = text(annotations, SELECTED_NODE).or(text(spec, "volumeName"));
    class.filter(|_| phase(object) == "Pending" && chosen.is_none() && !super::is_going(object))
}

/// Whether claims of the class stay unbound until a pod uses them: such a one is as ready as it can be,
/// and pods that do use it are waited for themselves.
pub fn waits_for_consumer(class: &Value) -> bool {
    class["volumeBindingMode"] == "WaitForFirstConsumer"
}

/// `None` also where it is empty.
fn text<'a>(fields: &'a Value, name: &str) -> Option<&'a str> {
    fields.get(name)?.as_str().filter(|text| !text.is_empty())
}

fn phase(object: &Value) -> &str {
    object.pointer("/status/phase").and_then(Value::as_str).unwrap_or("Pending")
}
