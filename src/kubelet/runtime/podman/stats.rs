//! What running containers use.

use super::{Podman, http::SLOW, wire::Listed};
use crate::kubelet::runtime::{ContainerStats, Result};

impl Podman {
    pub(super) async fn usage(&self) -> Result<Vec<ContainerStats>> {
        let call = self.client.get("containers/json", "containers").query("filters", self.filter(None));
        let listed: Option<Vec<Listed>> = call.deadline(SLOW).fetch().await?;
        let running: Vec<Listed> = listed.unwrap_or_default().into_iter().filter(Listed::is_running).collect();
        if running.is_empty() {
            // Asked about nobody, Podman would answer about everybody.
            return Ok(Vec::new());
        }
        self.library.usage(running.into_iter().map(|container| container.id)).await
    }
}
