//! Small clusters for tests of decisions.
#![allow(clippy::unwrap_used)]

use super::cycle::{Verdict, decide};
use super::snapshot::{Placed, Snapshot};
use k8s_openapi::api::core::v1::{Node, Pod};
use serde_json::{Value, from_value, json};
use std::sync::Arc;

pub const HOSTNAME: &str = "kubernetes.io/hostname";
pub const REQUIRED: &str = "requiredDuringSchedulingIgnoredDuringExecution";
pub const PREFERRED: &str = "preferredDuringSchedulingIgnoredDuringExecution";

/// A host of eight cores; an empty zone is none.
pub fn node(name: &str, zone: &str) -> Arc<Node> {
    let mut labels = json!({ HOSTNAME: name });
    if !zone.is_empty() {
        labels["zone"] = zone.into();
    }
    let room = json!({"cpu": "8", "memory": "8Gi", "pods": "20"});
    let node = json!({"metadata": {"name": name, "labels": labels}, "status": {"allocatable": room}});
    Arc::new(from_value(node).unwrap())
}

/// Hosts by name and zone.
pub fn cluster(hosts: &[(&str, &str)]) -> Snapshot {
    let mut snapshot = Snapshot::default();
    hosts.iter().for_each(|(name, zone)| snapshot.set_node(node(name, zone)));
    snapshot
}

/// With the label `app`, and these fields of its spec.
pub fn pod(name: &str, app: &str, spec: &Value) -> Pod {
    let meta = json!({"name": name, "uid": name, "namespace": "default", "labels": {"app": app}});
    let mut all = json!({"containers": [{"name": "c"}]});
    for (field, value) in spec.as_object().into_iter().flatten() {
        all[field] = value.clone();
    }
    from_value(json!({"metadata": meta, "spec": all})).unwrap()
}

/// Where it was placed, or why not.
pub fn schedule(snapshot: &mut Snapshot, pod: &Pod) -> Result<String, String> {
    match decide(pod, snapshot) {
        Verdict::Bind { host, .. } => {
            snapshot.place(pod.metadata.uid.as_deref().unwrap(), &host, Placed::of(pod));
            Ok(host)
        }
        refused @ Verdict::Unschedulable { .. } => Err(refused.message()),
    }
}
