//! The words of a resize's events. Pure.

use super::{Pending, Progress};
use crate::kubelet::pod::{Role, all_containers, spec};
use k8s_openapi::api::core::v1::{Pod, ResourceRequirements};
use serde::Serialize;

/// Type, reason and message of an event.
pub type Words = (&'static str, &'static str, String);

#[derive(Serialize)]
struct One<'a> {
    name: &'a str,
    resources: Asked<'a>,
}

/// In the order in which Kubernetes writes them.
#[derive(Default, Serialize)]
struct Asked<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    limits: Option<&'a std::collections::BTreeMap<String, k8s_openapi::apimachinery::pkg::api::resource::Quantity>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    requests: Option<&'a std::collections::BTreeMap<String, k8s_openapi::apimachinery::pkg::api::resource::Quantity>>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Summary<'a> {
    /// What the pod has as a whole.
    #[serde(skip_serializing_if = "Option::is_none")]
    resources: Option<Asked<'a>>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    init_containers: Vec<One<'a>>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    containers: Vec<One<'a>>,
    generation: i64,
    #[serde(skip_serializing_if = "str::is_empty")]
    error: &'a str,
}

/// It was allocated. `pod` has the resources that it is to have.
pub fn started(pod: &Pod, generation: i64) -> Words {
    ("Normal", "ResizeStarted", said("Pod resize started", pod, generation, ""))
}

/// Its containers have what was allocated.
pub fn completed(pod: &Pod, progress: &Progress) -> Words {
    ("Normal", "ResizeCompleted", said("Pod resize completed", pod, progress.generation, ""))
}

/// A container cannot be given what was allocated.
pub fn failed(pod: &Pod, generation: i64, error: &str) -> Words {
    ("Warning", "ResizeError", said("Pod resize error", pod, generation, error))
}

/// It cannot be allocated.
pub fn pending(pod: &Pod, pending: &Pending) -> Words {
    let reason = if pending.reason == super::INFEASIBLE { "ResizeInfeasible" } else { "ResizeDeferred" };
    let text = said(&format!("Pod resize {}", pending.reason), pod, pending.generation, &pending.message);
    ("Warning", reason, text)
}

fn said(what: &str, pod: &Pod, generation: i64, error: &str) -> String {
    let of = |wanted: fn(Role) -> bool| {
        let chosen = all_containers(spec(pod)).filter(move |(role, _)| wanted(*role));
        chosen.map(|(_, one)| One { name: &one.name, resources: asked(one.resources.as_ref()) }).collect()
    };
    let (init_containers, containers) = (of(|role| role != Role::Main), of(|role| role == Role::Main));
    let resources = spec(pod).resources.as_ref().map(|all| asked(Some(all)));
    let summary = Summary { resources, init_containers, containers, generation, error };
    match serde_json::to_string(&summary) {
        Ok(text) => format!("{what}: {text}"),
        Err(_) => what.into(),
    }
}

fn asked(resources: Option<&ResourceRequirements>) -> Asked<'_> {
    resources.map(|all| Asked { limits: all.limits.as_ref(), requests: all.requests.as_ref() }).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use serde_json::json;

    #[test]
    fn events_list_what_is_asked_for() {
        let pod: Pod = serde_json::from_value(json!({"spec": {
            "initContainers": [{"name": "c0", "restartPolicy": "Always", "resources": {"requests": {"cpu": "100m"}, "limits": {"cpu": "200m"}}}],
            "containers": [{"name": "c1", "resources": {"requests": {"memory": "100"}}}]}}))
        .unwrap();
        let list = r#""initContainers":[{"name":"c0","resources":{"limits":{"cpu":"200m"},"requests":{"cpu":"100m"}}}],"containers":[{"name":"c1","resources":{"requests":{"memory":"100"}}}],"generation":2"#;
        let progress = Progress { generation: 2, error: None };
        assert_eq!(
            completed(&pod, &progress),
            ("Normal", "ResizeCompleted", format!("Pod resize completed: {{{list}}}"))
        );
        let refused = Pending { reason: super::super::DEFERRED, message: "no room".into(), generation: 2 };
        let text = format!(r#"Pod resize Deferred: {{{list},"error":"no room"}}"#);
        assert_eq!(pending(&pod, &refused), ("Warning", "ResizeDeferred", text));
        let bare: Pod = serde_json::from_value(json!({"spec": {"containers": [{"name": "c0"}]}})).unwrap();
        let text = r#"Pod resize started: {"containers":[{"name":"c0","resources":{}}],"generation":3}"#;
        assert_eq!(started(&bare, 3).2, text);
        let whole = json!({"spec": {"resources": {"limits": {"cpu": "2"}}, "containers": [{"name": "c0"}]}});
        let text = r#"Pod resize started: {"resources":{"limits":{"cpu":"2"}},"containers":[{"name":"c0","resources":{}}],"generation":3}"#;
        assert_eq!(started(&serde_json::from_value(whole).unwrap(), 3).2, text);
    }
}
