//! When a worker may go, and its pod stay.

use super::Worker;
use crate::kubelet::pod::arrival::Admission;
use crate::kubelet::pod::facts::ContainerFacts;
use std::sync::Arc;
use std::time::Duration;

impl Worker {
    /// How long nothing may happen until the worker goes, if it may: nothing is under way or to be told, and all that
    /// it knows another worker would find again.
    pub(super) fn may_rest(&self) -> Option<Duration> {
        let rest = self.host.node.rest?;
        let identity = &self.identity;
        let informed = self.host.pods.get(&identity.namespace, &identity.name);
        let shown = informed.is_some_and(|pod| Arc::ptr_eq(&pod, &self.informed) && Arc::ptr_eq(&pod, &self.pod));
        let calm = self.busy.is_empty()
            && self.operations.is_empty()
            && self.reports.is_idle()
            && self.probers.is_empty()
            && matches!(self.admission, Admission::Over);
        let ordinary = self.refused.is_none()
            && self.resize.is_none()
            && self.pod.metadata.deletion_timestamp.is_none()
            && self.facts.sandbox.is_none()
            && self.facts.whole_trouble.is_none()
            && self.facts.containers.values().all(is_ordinary);
        (shown && calm && ordinary).then_some(rest)
    }
}

fn is_ordinary(facts: &ContainerFacts) -> bool {
    facts.trouble.is_none()
        && facts.doom.is_none()
        && facts.resize.is_none()
        && facts.reborn.is_none()
        && facts.lives.values().all(|life| life.failed_start.is_none())
}
