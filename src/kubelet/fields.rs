//! What a pod can be told about itself: `fieldRef` and `resourceFieldRef`, shared by environment
//! variables and downward API volumes. Pure.

use crate::kubelet::resources::{Amounts, milli, whole};
use k8s_openapi::api::core::v1::{Container, Pod, ResourceFieldSelector};
use std::collections::BTreeMap;

/// What the pod object does not say itself.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct HostFacts {
    pub host_ips: Vec<String>,
    pub pod_ips: Vec<String>,
    /// The default of a limit that is not set.
    pub allocatable: Amounts,
}

/// The value of a `fieldRef`. Errors name the path.
pub fn field(pod: &Pod, facts: &HostFacts, path: &str) -> Result<String, String> {
    let meta = &pod.metadata;
    let spec = pod.spec.as_ref();
    if let Some((map, key)) = subscript(path) {
        let entries = match map {
            "metadata.labels" => meta.labels.as_ref(),
            "metadata.annotations" => meta.annotations.as_ref(),
            _ => return Err(format!("fieldPath {path:?} does not support subscript")),
        };
        return Ok(entries.and_then(|m| m.get(key)).cloned().unwrap_or_default());
    }
    let text = |value: Option<&String>| Ok(value.cloned().unwrap_or_default());
    match path {
        "metadata.name" => text(meta.name.as_ref()),
        "metadata.namespace" => text(meta.namespace.as_ref()),
        "metadata.uid" => text(meta.uid.as_ref()),
        "metadata.labels" => Ok(format_map(meta.labels.as_ref())),
        "metadata.annotations" => Ok(format_map(meta.annotations.as_ref())),
        "spec.nodeName" => text(spec.and_then(|s| s.node_name.as_ref())),
        "spec.serviceAccountName" => text(spec.and_then(|s| s.service_account_name.as_ref())),
        "status.hostIP" => text(facts.host_ips.first()),
        "status.hostIPs" => Ok(facts.host_ips.join(",")),
        "status.podIP" => text(facts.pod_ips.first()),
        "status.podIPs" => Ok(facts.pod_ips.join(",")),
        _ => Err(format!("unsupported fieldPath: {path}")),
    }
}

/// The value of a `resourceFieldRef`; `own` is the container that asks, used where the reference
/// names none.
pub fn resource(pod: &Pod, facts: &HostFacts, own: &str, wanted: &ResourceFieldSelector) -> Result<String, String> {
    let name = wanted.container_name.as_deref().filter(|n| !n.is_empty()).unwrap_or(own);
    let container = find(pod, name).ok_or_else(|| format!("container {name} not found"))?;
    let (list, resource) = wanted
        .resource
        .split_once('.')
        .ok_or_else(|| format!("unsupported container resource : {:?}", wanted.resource))?;
    let resources = container.resources.as_ref();
    let listed = match list {
        "limits" => resources.and_then(|r| r.limits.as_ref()),
        "requests" => resources.and_then(|r| r.requests.as_ref()),
        _ => return Err(format!("unsupported container resource : {:?}", wanted.resource)),
    };
    let amount = listed
        .and_then(|l| l.get(resource))
        .and_then(|q| milli(&q.0))
        .or_else(|| (list == "limits").then(|| of_pod(pod, resource).or(facts.allocatable.milli(resource))).flatten())
        .unwrap_or(0);
    let divisor = wanted.divisor.as_ref().and_then(|q| milli(&q.0)).filter(|d| *d > 0).unwrap_or(1000);
    Ok(((amount + divisor - 1) / divisor).to_string())
}

/// The pod's own limit.
fn of_pod(pod: &Pod, resource: &str) -> Option<i128> {
    milli(&whole(pod.spec.as_ref()?)?.limits.as_ref()?.get(resource)?.0)
}

fn find<'a>(pod: &'a Pod, name: &str) -> Option<&'a Container> {
    let spec = pod.spec.as_ref()?;
    spec.containers.iter().chain(spec.init_containers.iter().flatten()).find(|c| c.name == name)
}

fn subscript(path: &str) -> Option<(&str, &str)> {
    let (map, rest) = path.split_once("['")?;
    Some((map, rest.strip_suffix("']")?))
}

/// `key="value"` lines in key order, quoted as Go's `%q` quotes.
fn format_map(map: Option<&BTreeMap<String, String>>) -> String {
    let lines: Vec<String> = map.into_iter().flatten().map(|(k, v)| format!("{k}={}", quote(v))).collect();
    lines.join("\n")
}

fn quote(text: &str) -> String {
    let mut out = String::from("\"");
    for c in text.chars() {
        match c {
            '"' => out.push_str("\\\""),
            '\\' => out.push_str("\\\\"),
            '\n' => out.push_str("\\n"),
            '\t' => out.push_str("\\t"),
            '\r' => out.push_str("\\r"),
            c if c.is_control() => out.push_str(&format!("\\x{:02x}", c as u32)),
            c => out.push(c),
        }
    }
    out.push('"');
    out
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use serde_json::json;

    fn pod() -> Pod {
        serde_json::from_value(json!({
            "metadata": {"name": "web-1", "namespace": "default", "uid": "u1",
                "labels": {"app": "web", "app.kubernetes.io/name": "x"}, "annotations": {"note": "a \"b\"\nc"}},
            "spec": {"nodeName": "h1", "containers": [{"name": "web", "resources":
                {"requests": {"cpu": "250m", "memory": "64Mi"}, "limits": {"memory": "128Mi"}}}]}
        }))
        .unwrap()
    }

    #[test]
    fn reads_fields_labels_and_annotations() {
        let facts = HostFacts { pod_ips: vec!["10.1.0.2".into()], ..HostFacts::default() };
        let get = |path: &str| field(&pod(), &facts, path);
        assert_eq!(get("metadata.name").unwrap(), "web-1");
        assert_eq!(get("metadata.labels['app.kubernetes.io/name']").unwrap(), "x");
        assert_eq!(get("metadata.labels['none']").unwrap(), "");
        assert_eq!(get("metadata.labels").unwrap(), "app=\"web\"\napp.kubernetes.io/name=\"x\"");
        assert_eq!(get("metadata.annotations").unwrap(), "note=\"a \\\"b\\\"\\nc\"");
        assert_eq!(get("status.podIP").unwrap(), "10.1.0.2");
        assert!(get("spec.nope").is_err());
    }

    #[test]
    fn divides_resources_and_falls_back_to_the_node() {
        let facts =
            HostFacts { allocatable: Amounts { cpu_milli: 2500, memory: 1 << 30, storage: 0 }, ..HostFacts::default() };
        let get = |resource: &str, divisor: Option<&str>| {
            let wanted = json!({"resource": resource, "divisor": divisor});
            super::resource(&pod(), &facts, "web", &serde_json::from_value(wanted).unwrap()).unwrap()
        };
        assert_eq!(get("requests.cpu", None), "1");
        assert_eq!(get("requests.cpu", Some("1m")), "250");
        assert_eq!(get("limits.memory", Some("1Mi")), "128");
        assert_eq!(get("limits.cpu", None), "3");
        let mut shared = pod();
        let whole = json!({"limits": {"cpu": "2"}, "requests": {"cpu": "1"}});
        shared.spec.as_mut().unwrap().resources = serde_json::from_value(whole).unwrap();
        let wanted = serde_json::from_value(json!({"resource": "limits.cpu"})).unwrap();
        assert_eq!(super::resource(&shared, &facts, "web", &wanted).unwrap(), "2", "the pod's before the node's");
    }
}
