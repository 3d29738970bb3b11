//! Pods that are deleted once more, with less grace.

use super::Worker;
use crate::kubelet::pod::ops::Outcome;
use std::time::Duration;
use tracing::warn;

/// A container that is being stopped.
#[derive(Clone, Default)]
pub struct Stopping {
    pub id: String,
    /// The seconds that it was given.
    pub grace: i64,
}

impl Worker {
    /// Ends what is being stopped when less time is left than it was given: it is killed where it stands, in its
    /// preStop hook or after its signal.
    pub(super) fn hurry(&mut self) {
        let meta = &self.pod.metadata;
        let (Some(until), Some(grace)) = (&meta.deletion_timestamp, meta.deletion_grace_period_seconds) else { return };
        let left = Duration::try_from(until.0.duration_since(self.host.ctx.clock.now())).unwrap_or_default();
        for stopping in self.stopping.values_mut().filter(|stopping| stopping.grace > grace) {
            stopping.grace = grace;
            let (runtime, id) = (self.host.runtime.clone(), stopping.id.clone());
            self.operations.spawn(async move {
                tokio::time::sleep(left).await;
                if let Err(error) = runtime.kill(&id, "SIGKILL").await
                    && !error.is_not_found()
                {
                    warn!(container = id, error = error.chain(), "cannot kill what has no grace left");
                }
                (HURRY.to_owned(), Outcome::Refreshed)
            });
        }
    }
}

/// No container has this name.
const HURRY: &str = "/";
