//! What a pod's worker does besides its plan: asks once whether the host takes the pod, and keeps the
//! volumes of a running pod with the objects and tokens that they show.

use crate::kubelet::pod::ops;
use crate::kubelet::pod::worker::{WHOLE, Worker};
use crate::kubelet::{admission, volumes};
use kube::Resource;

impl Worker {
    /// Once, before anything of the pod was here.
    pub(super) fn admit(&mut self) {
        let begun = self.pod.status.as_ref().is_some_and(|status| status.start_time.is_some());
        if begun || self.sandbox.is_some() || !self.lives.is_empty() || self.pod.metadata.deletion_timestamp.is_some() {
            return;
        }
        let others = || self.host.pods.on_node(&self.host.node.name);
        self.refused = admission::refusal(&self.pod, others);
        if let Some(failure) = &self.refused {
            let involved = self.pod.object_ref(&());
            self.host.events.record(involved, "Warning", failure.reason, failure.message.clone());
        }
    }

    /// Follows objects that changed under a running pod.
    pub(super) fn refresh(&mut self) {
        self.stale_volumes |= self.token_due().is_some_and(|due| due <= self.host.ctx.clock.now());
        let quiet = self.busy.is_empty() && self.sandbox.is_some();
        if !self.stale_volumes || !quiet || self.pod.metadata.deletion_timestamp.is_some() {
            return;
        }
        self.stale_volumes = false;
        if volumes::of(&self.pod).any(volumes::is_projected) {
            let job = self.job();
            self.spawn(WHOLE, &job.cancel.clone(), ops::refresh(job));
        }
    }

    /// When a token in the pod's volumes is to be replaced; `None` while nothing could be done then.
    pub(super) fn token_due(&self) -> Option<jiff::Timestamp> {
        let quiet = self.busy.is_empty() && self.sandbox.is_some() && self.pod.metadata.deletion_timestamp.is_none();
        if quiet { self.host.tokens.due(&self.identity.uid) } else { None }
    }
}
