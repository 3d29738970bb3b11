//! The defaults of kinds without a file of their own.

use crate::api::kinds::json::{Object, child, ensure, items, put, put_text};
use crate::api::kinds::pod_spec;
use serde_json::{Value, json};

fn spec(object: &mut Value) -> Option<&mut Object> {
    ensure(object.as_object_mut()?, "spec")
}

pub fn stateful_set(object: &mut Value) {
    let Some(spec) = spec(object) else { return };
    put(spec, "replicas", 1);
    put_text(spec, "podManagementPolicy", "OrderedReady");
    put(spec, "revisionHistoryLimit", 10);
    put(spec, "serviceName", "");
    put(spec, "persistentVolumeClaimRetentionPolicy", json!({"whenDeleted": "Retain", "whenScaled": "Retain"}));
    if let Some(strategy) = ensure(spec, "updateStrategy") {
        put_text(strategy, "type", "RollingUpdate");
        if strategy["type"] == "RollingUpdate"
            && let Some(rolling) = ensure(strategy, "rollingUpdate")
        {
            put(rolling, "partition", 0);
        }
    }
    for claim in items(spec, "volumeClaimTemplates") {
        put_text(claim, "kind", "PersistentVolumeClaim");
        put_text(claim, "apiVersion", "v1");
        default_claim(claim);
    }
    pod_spec::default_template(spec);
}

pub fn daemon_set(object: &mut Value) {
    let annotations = object
        .as_object_mut()
        .and_then(|object| ensure(object, "metadata"))
        .and_then(|metadata| ensure(metadata, "annotations"));
    if let Some(annotations) = annotations {
        put_text(annotations, "deprecated.daemonset.template.generation", "1");
    }
    let Some(spec) = spec(object) else { return };
    put(spec, "revisionHistoryLimit", 10);
    if let Some(strategy) = ensure(spec, "updateStrategy") {
        put_text(strategy, "type", "RollingUpdate");
        if strategy["type"] == "RollingUpdate"
            && let Some(rolling) = ensure(strategy, "rollingUpdate")
        {
            put(rolling, "maxUnavailable", 1);
            put(rolling, "maxSurge", 0);
        }
    }
    pod_spec::default_template(spec);
}

pub fn cron_job(object: &mut Value) {
    let Some(spec) = spec(object) else { return };
    put_text(spec, "concurrencyPolicy", "Allow");
    put(spec, "suspend", false);
    put(spec, "successfulJobsHistoryLimit", 3);
    put(spec, "failedJobsHistoryLimit", 1);
    // A job's own defaults are set when it is made from the template; only pods' are shown here.
    if let Some(job_spec) = child(spec, "jobTemplate").and_then(|template| ensure(template, "spec")) {
        pod_spec::default_template(job_spec);
    }
}

/// How many devices each request of a claim is for.
fn device_requests(spec: &mut Object) {
    let Some(devices) = child(spec, "devices") else { return };
    for request in items(devices, "requests") {
        if let Some(exactly) = child(request, "exactly") {
            device_request(exactly);
        }
        for choice in items(request, "firstAvailable") {
            device_request(choice);
        }
    }
}

fn device_request(request: &mut Object) {
    put_text(request, "allocationMode", "ExactCount");
    if request["allocationMode"] == "ExactCount" && request.get("count").and_then(Value::as_i64).unwrap_or(0) == 0 {
        request.insert("count".into(), 1.into());
    }
    for toleration in items(request, "tolerations") {
        put_text(toleration, "operator", "Equal");
    }
}

pub fn device_claim(object: &mut Value) {
    if let Some(spec) = spec(object) {
        device_requests(spec);
    }
}

pub fn device_claim_template(object: &mut Value) {
    if let Some(spec) = spec(object).and_then(|spec| child(spec, "spec")) {
        device_requests(spec);
    }
}

pub fn replication_controller(object: &mut Value) {
    let Some(spec) = spec(object) else { return };
    put(spec, "replicas", 1);
    let labels = spec.get("template").map(|template| template["metadata"]["labels"].clone()).unwrap_or_default();
    if !labels.is_null() {
        put(spec, "selector", labels);
    }
    pod_spec::default_template(spec);
}

pub fn pod_template(object: &mut Value) {
    if let Some(object) = object.as_object_mut() {
        pod_spec::default_template(object);
    }
}

pub fn claim(object: &mut Value) {
    if let Some(object) = object.as_object_mut() {
        default_claim(object);
    }
}

fn default_claim(claim: &mut Object) {
    if let Some(spec) = ensure(claim, "spec") {
        put_text(spec, "volumeMode", "Filesystem");
    }
    if let Some(status) = ensure(claim, "status") {
        put_text(status, "phase", "Pending");
    }
}

pub fn volume(object: &mut Value) {
    if let Some(spec) = spec(object) {
        put_text(spec, "persistentVolumeReclaimPolicy", "Retain");
        put_text(spec, "volumeMode", "Filesystem");
    }
    if let Some(status) = object.as_object_mut().and_then(|object| ensure(object, "status")) {
        put_text(status, "phase", "Pending");
    }
}

pub fn binding(object: &mut Value) {
    const GROUP: &str = "rbac.authorization.k8s.io";
    let Some(object) = object.as_object_mut() else { return };
    if let Some(role) = child(object, "roleRef") {
        put_text(role, "apiGroup", GROUP);
    }
    for subject in items(object, "subjects") {
        if subject.get("kind").is_some_and(|kind| kind != "ServiceAccount") {
            put_text(subject, "apiGroup", GROUP);
        }
    }
}

pub fn network_policy(object: &mut Value) {
    let egress = object["spec"]["egress"].as_array().is_some_and(|rules| !rules.is_empty());
    let types = if egress { json!(["Ingress", "Egress"]) } else { json!(["Ingress"]) };
    if let Some(spec) = spec(object) {
        put(spec, "policyTypes", types);
    }
}

pub fn storage_class(object: &mut Value) {
    if let Some(class) = object.as_object_mut() {
        put_text(class, "reclaimPolicy", "Delete");
        put_text(class, "volumeBindingMode", "Immediate");
    }
}

pub fn csi_driver(object: &mut Value) {
    let Some(spec) = spec(object) else { return };
    put(spec, "attachRequired", true);
    for name in ["podInfoOnMount", "requiresRepublish", "seLinuxMount", "storageCapacity"] {
        put(spec, name, false);
    }
    put_text(spec, "fsGroupPolicy", "ReadWriteOnceWithFSType");
    if spec.get("volumeLifecycleModes").and_then(Value::as_array).is_none_or(Vec::is_empty) {
        spec.insert("volumeLifecycleModes".into(), json!(["Persistent"]));
    }
}

/// Without metrics, an autoscaler aims at 80 % of the requested CPU. Its rules, where it has any, are
/// completed for both directions.
pub fn autoscaler(object: &mut Value) {
    let Some(spec) = spec(object) else { return };
    put(spec, "minReplicas", 1);
    let target = json!({"type": "Utilization", "averageUtilization": 80});
    put(spec, "metrics", json!([{"type": "Resource", "resource": {"name": "cpu", "target": target}}]));
    let Some(behavior) = spec.get_mut("behavior").and_then(Value::as_object_mut) else { return };
    let policy = |kind: &str, value: i64| json!({"type": kind, "value": value, "periodSeconds": 15});
    if let Some(up) = ensure(behavior, "scaleUp") {
        put(up, "stabilizationWindowSeconds", 0);
        put_text(up, "selectPolicy", "Max");
        put(up, "policies", json!([policy("Pods", 4), policy("Percent", 100)]));
    }
    if let Some(down) = ensure(behavior, "scaleDown") {
        put_text(down, "selectPolicy", "Max");
        put(down, "policies", json!([policy("Percent", 100)]));
    }
}

/// Defaults of containers: the limit is the maximum, the request the limit, else the minimum.
pub fn limit_range(object: &mut Value) {
    let Some(spec) = spec(object) else { return };
    for limit in items(spec, "limits") {
        if limit.get("type").is_none_or(|kind| kind != "Container") {
            continue;
        }
        for (from, to) in [("max", "default"), ("default", "defaultRequest"), ("min", "defaultRequest")] {
            let known = limit.get(from).and_then(Value::as_object).cloned().unwrap_or_default();
            if let Some(defaults) = (!known.is_empty()).then(|| ensure(limit, to)).flatten() {
                known.into_iter().for_each(|(name, amount)| put(defaults, &name, amount));
            }
        }
    }
}
