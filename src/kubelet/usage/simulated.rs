//! What simulated containers use. Pure.

use super::{container, running};
use crate::api::quantity::Quantity;
use crate::apiserver::usage::{ContainerReading, Reading};
use jiff::{SignedDuration, Timestamp};
use k8s_openapi::api::core::v1::Pod;
use std::sync::Arc;

/// Annotations of a pod: quantities that each of its containers uses.
pub const CPU: &str = "hollow.selkie.dev/cpu";
pub const MEMORY: &str = "hollow.selkie.dev/memory";

/// Bytes that each container of the pod uses, where its annotation says so.
pub fn memory(pod: &Pod) -> Option<u64> {
    let text = pod.metadata.annotations.as_ref()?.get(MEMORY)?;
    text.parse::<Quantity>().ok().and_then(|quantity| u64::try_from(quantity.value()).ok())
}

/// The readings after `last`, given that nothing changed since.
pub fn read(pods: &[Arc<Pod>], last: impl Fn(&str, &str) -> Option<Reading>, now: Timestamp) -> Vec<ContainerReading> {
    let readings = running(pods).map(|(pod, status, started)| {
        let amount = |annotation, resource| amount(pod, &status.name, annotation, resource);
        let uid = pod.metadata.uid.as_deref().unwrap_or_default();
        let known = last(uid, &status.name).filter(|known| known.started == started);
        let (since, before) = known.map_or((started, 0), |known| (known.time, known.cpu_nanos));
        let passed = now.duration_since(since).max(SignedDuration::ZERO).unsigned_abs().as_nanos();
        let used = passed.saturating_mul(u128::from(amount(CPU, "cpu").0)) / 1000;
        let cpu_nanos = before.saturating_add(u64::try_from(used).unwrap_or(u64::MAX));
        container(pod, status, Reading { started, time: now, cpu_nanos, memory: amount(MEMORY, "memory").1 })
    });
    readings.collect()
}

/// In thousandths and in units: as the annotation says, or the container's request; 0 where neither is
/// there.
fn amount(pod: &Pod, container: &str, annotation: &str, resource: &str) -> (u64, u64) {
    let said = pod.metadata.annotations.as_ref().and_then(|all| all.get(annotation));
    let requested = || {
        let spec = pod.spec.as_ref()?;
        let mut containers = spec.containers.iter().chain(spec.init_containers.iter().flatten());
        let found = containers.find(|known| known.name == container)?;
        Some(&found.resources.as_ref()?.requests.as_ref()?.get(resource)?.0)
    };
    let amount = said.or_else(requested).and_then(|text| text.parse::<Quantity>().ok()).unwrap_or_default();
    (u64::try_from(amount.milli_value()).unwrap_or(0), u64::try_from(amount.value()).unwrap_or(0))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use serde_json::{Value, json};

    fn pod(annotations: Value) -> Vec<Arc<Pod>> {
        let statuses = ["c", "idle"].map(|name| {
            json!({"name": name, "image": "i", "imageID": "", "ready": true, "restartCount": 0,
                "state": {"running": {"startedAt": "2026-01-01T00:00:00Z"}}})
        });
        let pod = json!({
            "metadata": {"name": "p", "uid": "u", "annotations": annotations},
            "spec": {"containers": [
                {"name": "c", "resources": {"requests": {"cpu": "250m", "memory": "64Mi"}}}, {"name": "idle"}]},
            "status": {"containerStatuses": statuses},
        });
        vec![Arc::new(serde_json::from_value(pod).unwrap())]
    }

    fn at(second: i64) -> Timestamp {
        "2026-01-01T00:00:00Z".parse::<Timestamp>().unwrap() + SignedDuration::from_secs(second)
    }

    #[test]
    fn containers_use_their_requests_unless_told_otherwise() {
        let read_at = |pods: &[Arc<Pod>], second| read(pods, |_, _| None, at(second));
        let first = read_at(&pod(json!({})), 8);
        assert_eq!((first[0].reading.cpu_nanos, first[0].reading.memory), (2_000_000_000, 64 << 20));
        assert_eq!((first[1].reading.cpu_nanos, first[1].reading.memory), (0, 0));
        let told = read_at(&pod(json!({CPU: "2", MEMORY: "1Gi"})), 8);
        assert_eq!((told[1].reading.cpu_nanos, told[1].reading.memory), (16_000_000_000, 1 << 30));
        assert_eq!(read_at(&pod(json!({CPU: "much"})), 8)[0].reading.cpu_nanos, 0);
    }

    #[test]
    fn load_that_changes_counts_from_then_on() {
        let first = read(&pod(json!({CPU: "1"})), |_, _| None, at(10))[0].reading;
        let second = read(&pod(json!({CPU: "3"})), |_, container| (container == "c").then_some(first), at(12));
        assert_eq!(second[0].reading.cpu_nanos, 16_000_000_000);
        let restarted = Reading { started: at(-5), ..first };
        let anew = read(&pod(json!({CPU: "3"})), |_, _| Some(restarted), at(12));
        assert_eq!(anew[0].reading.cpu_nanos, 36_000_000_000);
    }
}
