//! Quantities as the kubelet needs them: limits for the runtime, OOM scores, QoS classes. Pure.

use crate::api::quantity;
use crate::scheduler::requests;
use k8s_openapi::api::core::v1::{Container, Pod, PodSpec, ResourceRequirements};
use k8s_openapi::apimachinery::pkg::api::resource::Quantity;
use std::collections::BTreeMap;

/// A quantity in thousandths, rounded up; `None` where it is no quantity.
pub fn milli(text: &str) -> Option<i128> {
    text.parse::<quantity::Quantity>().ok().map(|quantity| i128::from(quantity.milli_value()))
}

/// Amounts of the resources that the kubelet knows.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Amounts {
    pub cpu_milli: i64,
    /// Bytes.
    pub memory: i64,
    /// Bytes of local storage.
    pub storage: i64,
}

impl Amounts {
    /// The amount of a resource by its name, in thousandths.
    pub fn milli(&self, resource: &str) -> Option<i128> {
        match resource {
            "cpu" => Some(i128::from(self.cpu_milli)),
            "memory" => Some(i128::from(self.memory) * 1000),
            "ephemeral-storage" => Some(i128::from(self.storage) * 1000),
            _ => None,
        }
    }
}

fn amount(list: Option<&BTreeMap<String, Quantity>>, resource: &str) -> Option<i128> {
    list?.get(resource).and_then(|q| milli(&q.0))
}

/// What a container may use and what weighs it against others.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Limits {
    /// 1/1000 of a CPU.
    pub cpu_limit_milli: Option<i64>,
    pub cpu_request_milli: Option<i64>,
    /// Bytes.
    pub memory_limit: Option<i64>,
    /// What the kernel adds to the badness of the container's processes.
    pub oom_score_adj: i64,
}

/// Limits of `container` on a node with `memory_capacity` bytes. What it does not limit itself is limited as its pod
/// is as a whole. Source: Kubernetes' kubelet.
pub fn limits(pod: &Pod, container: &Container, memory_capacity: i64) -> Limits {
    let resources = container.resources.as_ref();
    let of_pod = pod.spec.as_ref().and_then(whole);
    let own = |name| amount(resources.and_then(|r| r.limits.as_ref()), name).filter(|amount| *amount > 0);
    let limit = |name| own(name).or_else(|| amount(of_pod.and_then(|r| r.limits.as_ref()), name));
    let request = |name| amount(resources.and_then(|r| r.requests.as_ref()), name).or_else(|| own(name));
    let bytes = |milli: i128| i64::try_from((milli + 999) / 1000).unwrap_or(i64::MAX);
    let oom_score_adj = match pod.spec.as_ref().map(qos_class) {
        Some("Guaranteed") => -997,
        Some("BestEffort") | None => 1000,
        _ => {
            let wanted = request("memory").map(bytes).unwrap_or(0).saturating_add(pod.spec.as_ref().map_or(0, spare));
            let capacity = memory_capacity.max(1);
            (1000 - i64::try_from(1000i128 * i128::from(wanted) / i128::from(capacity)).unwrap_or(0)).clamp(3, 999)
        }
    };
    let cpu = |milli: i128| i64::try_from(milli).ok().filter(|m| *m > 0);
    Limits {
        cpu_limit_milli: limit("cpu").and_then(cpu),
        cpu_request_milli: request("cpu").or_else(|| limit("cpu")).and_then(cpu),
        memory_limit: limit("memory").map(bytes).filter(|b| *b > 0),
        oom_score_adj,
    }
}

/// What a pod has as a whole, where it says anything of that.
pub fn whole(spec: &PodSpec) -> Option<&ResourceRequirements> {
    let says = |list: &Option<BTreeMap<String, Quantity>>| {
        let known = |name: &String| matches!(name.as_str(), "cpu" | "memory") || name.starts_with("hugepages-");
        list.as_ref().is_some_and(|list| list.keys().any(known))
    };
    spec.resources.as_ref().filter(|all| says(&all.requests) || says(&all.limits))
}

/// Bytes of memory that a pod asks for beyond its containers, for each of them.
fn spare(spec: &PodSpec) -> i64 {
    let of_pod = amount(whole(spec).and_then(|all| all.requests.as_ref()), "memory");
    let Some(of_pod) = of_pod.filter(|amount| *amount > 0) else { return 0 };
    let of_pod = i64::try_from(of_pod / 1000).unwrap_or(i64::MAX);
    let count = spec.containers.len() + spec.init_containers.as_ref().map_or(0, Vec::len);
    let left = of_pod.saturating_sub(requests::of_containers(spec).memory).max(0);
    left / i64::try_from(count).unwrap_or(i64::MAX).max(1)
}

/// `Guaranteed`, `Burstable` or `BestEffort`, by the rule of the Kubernetes API.
pub fn qos_class(spec: &PodSpec) -> &'static str {
    let of_containers = || spec.containers.iter().chain(spec.init_containers.iter().flatten());
    let judged: Vec<_> = match whole(spec) {
        Some(of_pod) => vec![Some(of_pod)],
        None => of_containers().map(|container| container.resources.as_ref()).collect(),
    };
    let mut any = false;
    let mut guaranteed = true;
    for resources in judged {
        for name in ["cpu", "memory"] {
            let limit = amount(resources.and_then(|r| r.limits.as_ref()), name).filter(|v| *v > 0);
            let request = amount(resources.and_then(|r| r.requests.as_ref()), name).filter(|v| *v > 0);
            any |= limit.is_some() || request.is_some();
            guaranteed &= limit.is_some() && (request.is_none() || request == limit);
        }
    }
    match (any, guaranteed) {
        (false, _) => "BestEffort",
        (true, true) => "Guaranteed",
        (true, false) => "Burstable",
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use serde_json::json;

    #[test]
    fn reads_quantities() {
        let cases = [
            ("1", 1000),
            ("250m", 250),
            ("0.5", 500),
            ("1Ki", 1_024_000),
            ("1.5Gi", 1_610_612_736_000),
            ("1k", 1_000_000),
        ];
        for (text, expect) in
            cases.into_iter().chain([("1e3", 1_000_000), ("100u", 1), ("1P", 1_000_000_000_000_000_000)])
        {
            assert_eq!(milli(text), Some(expect), "{text}");
        }
        for bad in ["x", "", " 1", "1 Gi", "1ki"] {
            assert_eq!(milli(bad), None, "{bad:?}");
        }
    }

    fn pod(resources: serde_json::Value) -> Pod {
        serde_json::from_value(json!({"spec": {"containers": [{"name": "a", "resources": resources}]}})).unwrap()
    }

    #[test]
    fn classes_and_oom_scores() {
        let check = |resources, class: &str, score| {
            let pod = pod(resources);
            let spec = pod.spec.as_ref().unwrap();
            assert_eq!(qos_class(spec), class);
            assert_eq!(limits(&pod, &spec.containers[0], 1 << 30).oom_score_adj, score);
        };
        check(json!({}), "BestEffort", 1000);
        check(json!({"limits": {"cpu": "1", "memory": "1Gi"}}), "Guaranteed", -997);
        check(json!({"requests": {"memory": "512Mi"}}), "Burstable", 500);
        check(json!({"requests": {"cpu": "1"}}), "Burstable", 999);
    }

    #[test]
    fn containers_share_what_their_pod_has() {
        let pod: Pod = serde_json::from_value(json!({"spec": {
            "resources": {"requests": {"cpu": "1", "memory": "512Mi"}, "limits": {"cpu": "2", "memory": "1Gi"}},
            "containers": [{"name": "a"}, {"name": "b", "resources": {"requests": {"cpu": "100m", "memory": "256Mi"},
                "limits": {"memory": "300Mi"}}}]}}))
        .unwrap();
        let spec = pod.spec.as_ref().unwrap();
        assert_eq!(qos_class(spec), "Burstable");
        let [a, b] = [0, 1].map(|at| limits(&pod, &spec.containers[at], 1 << 30));
        assert_eq!((a.cpu_limit_milli, a.cpu_request_milli, a.memory_limit), (Some(2000), Some(2000), Some(1 << 30)));
        assert_eq!((b.cpu_limit_milli, b.cpu_request_milli), (Some(2000), Some(100)));
        assert_eq!(b.memory_limit, Some(300 << 20));
        // 256 MiB are left over, half of them for each.
        assert_eq!((a.oom_score_adj, b.oom_score_adj), (875, 625));
        let mut sure = pod.clone();
        let spec = sure.spec.as_mut().unwrap();
        let all = spec.resources.as_mut().unwrap();
        all.requests = all.limits.clone();
        assert_eq!(qos_class(spec), "Guaranteed", "whatever its containers say");
    }
}
