//! What a pod's worker does besides its plan: keeps the volumes of a running pod with the objects and tokens
//! that they show, and probes its containers.

use crate::kubelet::pod::facts::{Doom, Facts};
use crate::kubelet::pod::ops;
use crate::kubelet::pod::worker::{WHOLE, Worker};
use crate::kubelet::pod::{Role, all_containers, spec};
use crate::kubelet::probes::{Kind, Report};
use crate::kubelet::runtime::{ContainerState, ContainerStatus};
use crate::kubelet::{status, volumes};

impl Worker {
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

    /// Takes in what probes found.
    pub(super) fn hear(&mut self, reports: &[Report]) {
        for report in reports {
            let container = self.facts.container_mut(&report.container);
            let life = container.lives.at(&report.id);
            match (report.kind, report.passed) {
                (Kind::Readiness, passed) => life.ready = Some(passed),
                (Kind::Startup, true) => life.startup = Some(true),
                (Kind::Liveness, true) => {}
                (kind, false) => {
                    let title = kind.title().to_lowercase();
                    let message = format!("Container {} failed {title} probe, will be restarted", report.container);
                    let all = all_containers(spec(&self.pod));
                    let of_spec = all.map(|(_, c)| c).find(|c| c.name == report.container);
                    let grace = of_spec.and_then(|c| kind.of(c)).and_then(|p| p.termination_grace_period_seconds);
                    container.doom = Some(Box::new(Doom { id: report.id.clone(), message, grace }));
                }
            }
        }
    }

    /// Starts the probes whose time has come and ends the others.
    pub(super) fn probe(&mut self) {
        let mut wanted: Vec<(Kind, ContainerStatus, k8s_openapi::api::core::v1::Container)> = Vec::new();
        let busy = self.busy();
        let view = self.view(&busy);
        if !view.deleting() {
            for (role, container) in all_containers(view.spec()).filter(|(role, _)| *role != Role::Init) {
                debug_assert!(role != Role::Init);
                let Some(life) = status::running_life(&view, container) else { continue };
                let facts = view.facts.life(&container.name, &life.id);
                let kinds: &[Kind] = if container.startup_probe.is_some() && facts.startup != Some(true) {
                    &[Kind::Startup]
                } else if status::started(&view, container, life) {
                    &[Kind::Liveness, Kind::Readiness]
                } else {
                    &[]
                };
                let given = kinds.iter().filter(|kind| kind.of(container).is_some());
                wanted.extend(given.map(|kind| (*kind, life.clone(), container.clone())));
            }
        }
        self.probers.retain(|id, kind| wanted.iter().any(|(k, life, _)| *k == kind && life.id == id));
        if wanted.is_empty() {
            return;
        }
        let job = self.job();
        for (kind, life, container) in wanted {
            self.probers.ensure(kind, || job.subject(&container, &life), &life.id, &container);
        }
    }
}

/// A life whose process could not be run has ended so, whatever Podman says of it.
pub(super) fn count_failed_start(facts: &Facts, life: &mut ContainerStatus) {
    let ran = match &life.state {
        ContainerState::Created => false,
        ContainerState::Exited(exit) => exit.started.is_some(),
        _ => return,
    };
    if !ran && let Some(exit) = facts.life(&life.identity.container, &life.id).failed_start {
        life.state = ContainerState::Exited(*exit);
    }
}
