//! When the Application may be synced.

use super::Task;
use crate::gitops::application::Application;
use crate::gitops::windows::{Closed, Who, closed};
use std::time::Duration;

impl Task {
    pub(super) fn closed_to(&self, application: &Application, who: Who) -> Option<Closed> {
        closed(&application.spec.sync_windows, self.shared.context.clock.now(), who)
    }

    /// How long until syncs go on by themselves, where they do not now.
    pub(super) fn until_open(&self) -> Option<Duration> {
        let opens = self.closed.as_ref()?.opens?;
        let left = opens.duration_since(self.shared.context.clock.now());
        Some(Duration::try_from(left).unwrap_or_default())
    }

    /// An earlier daemon applied this revision, and this one was not there yet.
    pub(super) fn is_in_force(&self, revision: &str, inputs: &str) -> bool {
        let status = &self.status;
        let is_same = status.revision == revision && status.inputs == inputs;
        self.good.is_none() && is_same && status.pinned.is_empty() && status.operation.is_none()
    }
}
