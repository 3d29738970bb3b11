//! What pods use, as `metrics.k8s.io` tells it. Pure.

use crate::api::cel::duration;
use crate::api::quantity::Quantity;
use jiff::{SignedDuration, Timestamp};
use serde::Deserialize;
use std::collections::BTreeMap;

/// A PodMetricsList.
#[derive(Debug, Clone, Default, Deserialize)]
pub struct PodMetricsList {
    #[serde(default)]
    items: Vec<PodMetrics>,
}

#[derive(Debug, Clone, Deserialize)]
struct PodMetrics {
    metadata: Name,
    timestamp: Timestamp,
    /// As Go prints durations.
    window: String,
    #[serde(default)]
    containers: Vec<ContainerMetrics>,
}

#[derive(Debug, Clone, Deserialize)]
struct Name {
    name: String,
}

#[derive(Debug, Clone, Deserialize)]
struct ContainerMetrics {
    name: String,
    usage: BTreeMap<String, String>,
}

/// One resource of one pod.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Metric {
    /// Thousandths of its unit.
    pub value: i64,
    pub time: Timestamp,
    /// What the value is averaged over.
    pub window: SignedDuration,
}

impl PodMetricsList {
    pub fn read(body: &[u8]) -> Result<Self, serde_json::Error> {
        serde_json::from_slice(body)
    }

    /// A resource by pod: of one container, or of all together. Why there is none, in Kubernetes' words.
    pub fn of(&self, resource: &str, container: Option<&str>) -> Result<BTreeMap<String, Metric>, String> {
        if self.items.is_empty() {
            return Err("no metrics returned from resource metrics API".into());
        }
        let mut metrics = BTreeMap::new();
        for pod in &self.items {
            let chosen = pod.containers.iter().filter(|one| container.is_none_or(|name| one.name == name));
            let values: Option<Vec<i64>> = chosen.map(|one| milli(one.usage.get(resource)?)).collect();
            let values = values.filter(|values| !values.is_empty());
            let Some(values) = values else {
                if let Some(container) = container {
                    return Err(format!("container {container} not present in metrics for pod {}", pod.metadata.name));
                }
                continue;
            };
            let window = SignedDuration::from_nanos(duration::parse(&pod.window).unwrap_or(0));
            let value = values.into_iter().fold(0, i64::saturating_add);
            metrics.insert(pod.metadata.name.clone(), Metric { value, time: pod.timestamp, window });
        }
        Ok(metrics)
    }
}

pub fn milli(quantity: &str) -> Option<i64> {
    Some(quantity.parse::<Quantity>().ok()?.milli_value())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use serde_json::json;

    #[test]
    fn one_container_or_all() {
        let container = |name, cpu| json!({"name": name, "usage": {"cpu": cpu, "memory": "1Ki"}});
        let pod = |name, containers| {
            json!({"metadata": {"name": name}, "timestamp": "2026-01-01T00:00:00Z",
            "window": "15.5s", "containers": containers})
        };
        let list = json!({"items": [pod("p", json!([container("a", "250m"), container("b", "1500000n")])), pod("q", json!([]))]});
        let list = PodMetricsList::read(list.to_string().as_bytes()).unwrap();
        let cpu = list.of("cpu", None).unwrap();
        assert_eq!(cpu.keys().collect::<Vec<_>>(), ["p"]);
        assert_eq!((cpu["p"].value, cpu["p"].window), (252, SignedDuration::from_millis(15_500)));
        assert_eq!(list.of("memory", None).unwrap()["p"].value, 2 * 1024 * 1000);
        assert!(list.of("disk", None).unwrap().is_empty());
        assert_eq!(list.of("cpu", Some("b")).unwrap_err(), "container b not present in metrics for pod q");
        let none = PodMetricsList::default().of("cpu", None).unwrap_err();
        assert_eq!(none, "no metrics returned from resource metrics API");
    }
}
