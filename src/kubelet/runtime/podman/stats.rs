//! What running containers use.

use super::{Podman, http::SLOW, wire::Listed};
use crate::kubelet::runtime::{ContainerStats, Result};
use jiff::Timestamp;
use serde::Deserialize;

#[derive(Debug, Deserialize)]
struct Answer {
    #[serde(default, rename = "Stats")]
    stats: Option<Vec<Usage>>,
}

#[derive(Debug, Deserialize)]
struct Usage {
    #[serde(rename = "ContainerID")]
    id: String,
    #[serde(default, rename = "Name")]
    name: String,
    #[serde(default, rename = "CPUNano")]
    cpu_nanos: u64,
    #[serde(default, rename = "MemUsage")]
    memory: u64,
    #[serde(default, rename = "MemLimit")]
    memory_limit: u64,
    #[serde(default, rename = "PIDs")]
    pids: u64,
}

impl Podman {
    pub(super) async fn usage(&self) -> Result<Vec<ContainerStats>> {
        let call = self.client.get("containers/json", "containers").query("filters", self.filter(None));
        let listed: Option<Vec<Listed>> = call.deadline(SLOW).fetch().await?;
        let running: Vec<Listed> = listed.unwrap_or_default().into_iter().filter(Listed::is_running).collect();
        if running.is_empty() {
            // Asked about nobody, Podman would answer about everybody.
            return Ok(Vec::new());
        }
        let mut call = self.client.get("containers/stats", "containers").query("stream", false);
        for container in running {
            call = call.query("containers", container.id);
        }
        let usage = call.deadline(SLOW).fetch::<Answer>().await?.stats.unwrap_or_default();
        let time = Timestamp::now();
        let of = |usage: Usage| ContainerStats {
            id: usage.id,
            name: usage.name,
            time,
            cpu_nanos: usage.cpu_nanos,
            memory: usage.memory,
            memory_limit: usage.memory_limit,
            pids: usage.pids,
        };
        Ok(usage.into_iter().map(of).collect())
    }
}
