//! What running containers use.

use super::{Podman, cgroup, http::SLOW, wire::Listed};
use crate::kubelet::runtime::{ContainerStats, Result};

impl Podman {
    pub(super) async fn usage(&self) -> Result<Vec<ContainerStats>> {
        let around = self.around().await?;
        let running = self.running().await?;
        let ids: Vec<String> = running.iter().map(|container| container.id.clone()).collect();
        if around.local {
            // The kernel is asked for next to nothing, and tells the working set: whether Podman counts page
            // cache depends on its version and that of the cgroups.
            let version = around.cgroup_version;
            let read = move || running.iter().filter_map(|container| cgroup::stats(container, version)).collect();
            let stats: Vec<ContainerStats> = tokio::task::spawn_blocking(read).await.unwrap_or_default();
            if !stats.is_empty() {
                return Ok(stats);
            }
        }
        match self.ask(ids).await {
            // One that ends meanwhile spoils the answer for all.
            Err(_) => self.ask(self.running().await?.into_iter().map(|container| container.id).collect()).await,
            answer => answer,
        }
    }

    pub(super) async fn layers(&self) -> Result<Vec<(String, u64)>> {
        let call = self.client.get("containers/json", "containers").query("filters", self.filter(None));
        let call = call.query("all", true).query("size", true);
        let listed: Option<Vec<Listed>> = call.deadline(SLOW).fetch().await?;
        let sized = listed.unwrap_or_default().into_iter().filter_map(|container| {
            let bytes = u64::try_from(container.size?.rw_size).ok()?;
            Some((container.id, bytes))
        });
        Ok(sized.collect())
    }

    async fn running(&self) -> Result<Vec<Listed>> {
        let call = self.client.get("containers/json", "containers").query("filters", self.filter(None));
        let listed: Option<Vec<Listed>> = call.deadline(SLOW).fetch().await?;
        Ok(listed
            .unwrap_or_default()
            .into_iter()
            .filter(|container| container.is_running() && !container.is_infra)
            .collect())
    }

    async fn ask(&self, ids: Vec<String>) -> Result<Vec<ContainerStats>> {
        if ids.is_empty() {
            // Asked about nobody, Podman would answer about everybody.
            return Ok(Vec::new());
        }
        self.library.usage(ids.into_iter()).await
    }
}
