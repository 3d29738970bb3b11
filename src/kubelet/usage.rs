//! Reads what a host and its containers use, for as long as somebody asks the API server.
//!
//! A real host is asked through its runtime, in one go. A simulated one uses what its pods' annotations
//! say, now, so that load can be turned up and down; else what they request.

mod machine;
mod simulated;

use super::host::Host;
use super::pod::all_statuses;
use super::runtime::{ContainerStats, ContainerStatus as ContainerLife, RuntimeError};
use crate::apiserver::usage::{ContainerReading, FIRST_PERIOD, HostReadings, PERIOD, Reading};
use jiff::Timestamp;
use k8s_openapi::api::core::v1::{ContainerStatus, Pod};
use std::collections::HashMap;
use std::sync::Arc;
use tracing::warn;

pub use simulated::{CPU, MEMORY};

/// Until shutdown.
pub async fn run(host: Arc<Host>) {
    let (usage, name) = (&host.usage, &host.node.name);
    usage.join(name);
    let reading = async {
        loop {
            usage.wanted().await;
            let (mut period, mut complained) = (FIRST_PERIOD, false);
            while usage.is_wanted() {
                // Boxed here and in the host's other loops: while they wait, which is nearly always, there is no room kept
                // for their work, of which thousands of hosts would have much.
                let read = Box::pin(read(&host)).await;
                if let Err(error) = &read
                    && !std::mem::replace(&mut complained, true)
                {
                    warn!(node = name, error = error.chain(), "cannot read what the host's containers use");
                }
                usage.record(name, read.ok());
                tokio::time::sleep(std::mem::replace(&mut period, PERIOD)).await;
            }
            usage.pause(name);
        }
    };
    host.ctx.shutdown.run_until_cancelled(reading).await;
    usage.leave(name);
}

/// Bytes in use by a container that runs, where that can be told.
pub async fn memory_of(host: &Host, pod: &Pod, life: &ContainerLife) -> Result<Option<u64>, RuntimeError> {
    if host.node.simulated {
        return Ok(simulated::memory(pod));
    }
    let stats = host.runtime.stats().await?;
    Ok(stats.into_iter().find(|stats| stats.id == life.id).map(|stats| stats.memory))
}

/// Bytes of memory of this machine that can still be had.
pub fn memory_available() -> Option<u64> {
    machine::available()
}

/// Bytes that the pods of a simulated host use, if any of them says how much.
pub fn simulated_memory(host: &Host) -> Option<u64> {
    let pods = host.pods.on_node(&host.node.name);
    if !pods.iter().any(|pod| simulated::memory(pod).is_some()) {
        return None;
    }
    Some(simulated::read(&pods, |_, _| None, host.ctx.clock.now()).iter().map(|read| read.reading.memory).sum())
}

/// What the host's containers use now.
pub async fn read(host: &Host) -> Result<HostReadings, RuntimeError> {
    if host.node.simulated {
        let pods = host.pods.on_node(&host.node.name);
        let last = |uid: &str, container: &str| host.usage.last(&host.node.name, uid, container);
        return Ok(HostReadings { machine: None, containers: simulated::read(&pods, last, host.ctx.clock.now()) });
    }
    let stats = host.runtime.stats().await?;
    let machine = if host.info().local { machine::read() } else { None };
    Ok(HostReadings { machine, containers: containers(&host.pods.on_node(&host.node.name), &stats) })
}

/// What was measured of the containers that these pods run.
fn containers(pods: &[Arc<Pod>], stats: &[ContainerStats]) -> Vec<ContainerReading> {
    let by_id: HashMap<&str, &ContainerStats> = stats.iter().map(|stats| (stats.id.as_str(), stats)).collect();
    let measured = running(pods).filter_map(|(pod, status, started)| {
        let id = status.container_id.as_deref()?.rsplit('/').next()?;
        let stats = by_id.get(id)?;
        let reading = Reading { started, time: stats.time, cpu_nanos: stats.cpu_nanos, memory: stats.memory };
        Some(container(pod, status, reading))
    });
    measured.collect()
}

/// The running containers of the pods, and since when.
fn running(pods: &[Arc<Pod>]) -> impl Iterator<Item = (&Pod, &ContainerStatus, Timestamp)> {
    pods.iter().flat_map(|pod| {
        all_statuses(pod).filter_map(|status| {
            let started = status.state.as_ref()?.running.as_ref()?.started_at.as_ref()?.0;
            Some((&**pod, status, started))
        })
    })
}

fn container(pod: &Pod, status: &ContainerStatus, reading: Reading) -> ContainerReading {
    let pod_uid = pod.metadata.uid.clone().unwrap_or_default();
    ContainerReading { pod_uid, container: status.name.clone(), reading }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use serde_json::json;

    #[test]
    fn measured_are_containers_that_run_now() {
        let started = "2026-01-01T00:00:00Z";
        let status = |name: &str, id: &str| {
            json!({"name": name, "containerID": format!("podman://{id}"), "ready": true,
            "restartCount": 0, "image": "i", "imageID": "", "state": {"running": {"startedAt": started}}})
        };
        let mut ended = status("ended", "c");
        ended["state"] = json!({"terminated": {"exitCode": 0}});
        let pod: Pod = serde_json::from_value(json!({"metadata": {"uid": "u"}, "status": {
            "initContainerStatuses": [status("sidecar", "b")],
            "containerStatuses": [status("main", "a"), ended, status("unknown", "x")]}}))
        .unwrap();
        let stats = ["a", "b", "c", "stranger"].map(|id| ContainerStats {
            id: id.into(),
            time: Timestamp::UNIX_EPOCH,
            cpu_nanos: 5,
            memory: 7,
        });
        let read = containers(&[Arc::new(pod)], &stats);
        let mut names: Vec<&str> = read.iter().map(|one| one.container.as_str()).collect();
        names.sort_unstable();
        assert_eq!(names, ["main", "sidecar"]);
        let reading = &read[0].reading;
        assert_eq!((reading.started.to_string().as_str(), reading.cpu_nanos, reading.memory), (started, 5, 7));
    }
}
