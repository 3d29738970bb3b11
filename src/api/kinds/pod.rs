//! Pods.

mod ephemeral;
mod label_keys;
mod resize;
mod status;
mod update;

pub use status::summarize;

use super::json::{at, child, ensure, integer, list, put, put_text, text};
use super::{Column, Deletion, Kind, pod_spec, resources, table};
use crate::api::error::FieldError;
use jiff::Timestamp;
use serde_json::{Value, json};

/// The rules of core/v1 Pod.
pub struct Pod;

/// On the pod that shows a static pod: the hash of its manifest.
pub const MIRROR: &str = "kubernetes.io/config.mirror";

/// Taints a pod tolerates for five minutes unless it says otherwise, so that a short outage of a
/// node does not move its pods.
const TOLERATED: [&str; 2] = ["node.kubernetes.io/not-ready", "node.kubernetes.io/unreachable"];

impl Kind for Pod {
    fn default(&self, object: &mut Value) {
        let Some(spec) = object.as_object_mut().and_then(|pod| ensure(pod, "spec")) else { return };
        pod_spec::default_spec(spec);
        pod_spec::default_requests(spec);
        resources::whole::default(spec);
        pod_spec::default_host_ports(spec);
        put(spec, "enableServiceLinks", true);
    }

    fn prepare_create(&self, object: &mut Value) {
        let class = resources::qos_class(&object["spec"]);
        let Some(pod) = object.as_object_mut() else { return };
        pod.insert("status".into(), json!({"phase": "Pending", "qosClass": class}));
        label_keys::merge(pod);
        tell_of_gates(pod);
        let Some(spec) = child(pod, "spec") else { return };
        if spec.get("priorityClassName").is_none_or(Value::is_null) {
            put(spec, "priority", 0);
        }
        put_text(spec, "preemptionPolicy", "PreemptLowerPriority");
        tolerate(spec);
    }

    fn has_status(&self) -> bool {
        true
    }

    fn status_stands_alone(&self) -> bool {
        true
    }

    fn has_generation(&self) -> bool {
        true
    }

    fn validate(&self, object: &Value) -> Vec<FieldError> {
        let mut cx = pod_spec::Context::new();
        pod_spec::validate(&object["spec"], "spec", &mut cx);
        cx.errors
    }

    fn validate_update(&self, new: &Value, old: &Value) -> Vec<FieldError> {
        update::validate(new, old)
    }

    fn check(&self, object: &Value, old: Option<&Value>) -> Vec<FieldError> {
        let mut errors = self.validate(object);
        errors.extend(old.map_or_else(|| on_create(object), |old| self.validate_update(object, old)));
        errors
    }

    fn prepare_ephemeral(&self, object: &mut Value, old: &Value) {
        super::keep_status(object, old);
        ephemeral::prepare(object, old);
    }

    fn validate_ephemeral(&self, new: &Value, old: &Value) -> Vec<FieldError> {
        ephemeral::validate(new, old)
    }

    fn prepare_resize(&self, object: &mut Value, old: &Value) {
        super::keep_status(object, old);
        resize::prepare(object, old);
    }

    fn validate_resize(&self, new: &Value, old: &Value) -> Vec<FieldError> {
        resize::validate(new, old)
    }

    fn field_names(&self) -> &'static [&'static str] {
        &[
            "spec.nodeName",
            "spec.restartPolicy",
            "spec.schedulerName",
            "spec.serviceAccountName",
            "spec.hostNetwork",
            "status.phase",
            "status.podIP",
            "status.podIPs",
            "status.nominatedNodeName",
        ]
    }

    fn fields(&self, object: &Value) -> Vec<(&'static str, String)> {
        self.field_names().iter().map(|name| (*name, field(object, name))).collect()
    }

    fn unknown_field(&self, field: &str) -> String {
        super::label_not_supported(field)
    }

    fn columns(&self) -> Vec<Column> {
        table::columns(
            "Name:string:name, Ready:string, Status:string, Restarts:string, Age:string, IP:string:1, Node:string:1, Nominated Node:string:1, Readiness Gates:string:1",
        )
    }

    fn row(&self, object: &Value, now: Timestamp) -> Vec<Value> {
        let summary = summarize(object, now);
        let ip = match list(object, &["status", "podIPs"]).first() {
            Some(ip) => text(ip, &["ip"]),
            None => text(object, &["status", "podIP"]),
        };
        vec![
            table::name(object),
            summary.ready.into(),
            summary.status.into(),
            summary.restarts.into(),
            table::age(object, now),
            table::or_none(ip),
            table::or_none(text(object, &["spec", "nodeName"])),
            table::or_none(text(object, &["status", "nominatedNodeName"])),
            status::readiness_gates(object).into(),
        ]
    }

    fn deletion(&self) -> Deletion {
        Deletion::Graceful
    }
}

/// What a new pod cannot have yet.
fn on_create(pod: &Value) -> Vec<FieldError> {
    let mut errors = Vec::new();
    if !list(pod, &["spec", "ephemeralContainers"]).is_empty() {
        errors.push(FieldError::forbidden("spec.ephemeralContainers", "cannot be set on create"));
    }
    if !text(pod, &["spec", "nodeName"]).is_empty() && !list(pod, &["spec", "schedulingGates"]).is_empty() {
        let why = "cannot be set until all schedulingGates have been cleared";
        errors.push(FieldError::forbidden("spec.nodeName", why));
    }
    errors
}

fn field(object: &Value, name: &str) -> String {
    let Some((part, name)) = name.split_once('.') else { return String::new() };
    match at(object, &[part, name]) {
        Value::String(text) => text.clone(),
        Value::Bool(flag) => flag.to_string(),
        Value::Array(ips) => ips.iter().map(|ip| text(ip, &["ip"])).collect::<Vec<_>>().join(","),
        _ if name == "hostNetwork" => "false".into(),
        _ => String::new(),
    }
}

/// A gated pod says so until its gates are gone.
fn tell_of_gates(pod: &mut super::json::Object) {
    let gates = pod.get("spec").and_then(|spec| spec["schedulingGates"].as_array());
    if gates.is_some_and(|gates| !gates.is_empty())
        && let Some(status) = child(pod, "status")
    {
        let condition = json!({"type": "PodScheduled", "status": "False", "reason": "SchedulingGated",
            "message": "Scheduling is blocked due to non-empty scheduling gates"});
        status.insert("conditions".into(), json!([condition]));
    }
}

fn tolerate(spec: &mut super::json::Object) {
    put(spec, "tolerations", json!([]));
    let Some(tolerations) = spec.get_mut("tolerations").and_then(Value::as_array_mut) else { return };
    for key in TOLERATED {
        let covered = tolerations.iter().any(|toleration| {
            let (found, effect) = (text(toleration, &["key"]), text(toleration, &["effect"]));
            (found == key || found.is_empty()) && (effect == "NoExecute" || effect.is_empty())
        });
        if !covered {
            let toleration = json!({"key": key, "operator": "Exists", "effect": "NoExecute", "tolerationSeconds": 300});
            tolerations.push(toleration);
        }
    }
}

/// `spec.terminationGracePeriodSeconds`, 30 when unset.
pub fn grace_period(pod: &Value) -> i64 {
    integer(pod, &["spec", "terminationGracePeriodSeconds"]).unwrap_or(30)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn made() -> Value {
        let mut pod = json!({"metadata": {"name": "web"}, "spec": {"containers": [{"name": "c", "image": "a:1"}]}});
        Pod.default(&mut pod);
        Pod.prepare_create(&mut pod);
        pod
    }

    #[test]
    fn a_new_pod_is_pending_and_filled_in() {
        let pod = made();
        assert_eq!(pod["status"], json!({"phase": "Pending", "qosClass": "BestEffort"}));
        assert_eq!(pod["spec"]["priority"], 0);
        assert_eq!(pod["spec"]["preemptionPolicy"], "PreemptLowerPriority");
        assert_eq!(pod["spec"]["enableServiceLinks"], true);
        assert_eq!(list(&pod, &["spec", "tolerations"]).len(), 2);
        assert!(Pod.validate(&pod).is_empty());
    }

    #[test]
    fn what_is_wrong_is_named() {
        let mut pod = json!({"spec": {"containers": [
            {"name": "c", "ports": [{"containerPort": 70000}], "volumeMounts": [{"name": "v", "mountPath": "/v"}]},
            {"name": "c", "image": "a"}]}});
        Pod.default(&mut pod);
        let errors: Vec<_> = Pod.validate(&pod).into_iter().map(|e| format!("{}: {}", e.field, e.detail)).collect();
        assert_eq!(
            errors,
            [
                "spec.containers[0].image: Required value",
                "spec.containers[0].ports[0].containerPort: Invalid value: 70000: must be between 1 and 65535, inclusive",
                "spec.containers[0].volumeMounts[0].name: Not found: \"v\"",
                "spec.containers[1].name: Duplicate value: \"c\"",
            ]
        );
    }

    #[test]
    fn some_things_come_later() {
        let mut pod = made();
        pod["spec"]["schedulingGates"] = json!([{"name": "a"}]);
        pod["spec"]["nodeName"] = "n".into();
        pod["spec"]["ephemeralContainers"] = json!([{"name": "d", "image": "i"}]);
        let fields = |errors: Vec<FieldError>| errors.into_iter().map(|error| error.field).collect::<Vec<_>>();
        assert_eq!(fields(Pod.check(&pod, None)), ["spec.ephemeralContainers", "spec.nodeName"]);
        assert_eq!(fields(Pod.check(&pod, Some(&pod))), [""; 0]);
    }

    #[test]
    fn selectable_fields_are_there_even_when_unset() {
        let fields = Pod.fields(&made());
        assert!(fields.contains(&("spec.nodeName", String::new())));
        assert!(fields.contains(&("status.phase", "Pending".into())));
        assert!(fields.contains(&("spec.hostNetwork", "false".into())));
    }
}
