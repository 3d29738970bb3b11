//! Liveness, readiness and startup probes: one task per probe and container life ([`Probers`]), the
//! counting of results ([`Tally`], pure), and the checks themselves ([`check`]), commands among them in a [`shell`] that
//! is kept.

pub mod check;
mod grpc;
pub mod http;
pub mod reach;
mod shell;

use crate::kubelet::host::Host;
use crate::kubelet::inbox::Inbox;
use crate::kubelet::runtime::{ContainerState, ContainerStatus};
use check::{Miss, Target};
use jiff::Timestamp;
use k8s_openapi::api::core::v1::{Container, ObjectReference, Probe};
use shell::Shell;
use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;
use tokio_util::task::AbortOnDropHandle;

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Kind {
    Startup,
    Liveness,
    Readiness,
}

impl Kind {
    /// As events begin: `Liveness probe failed: ...`.
    pub fn title(self) -> &'static str {
        match self {
            Self::Startup => "Startup",
            Self::Liveness => "Liveness",
            Self::Readiness => "Readiness",
        }
    }

    pub fn of(self, container: &Container) -> Option<&Probe> {
        match self {
            Self::Startup => container.startup_probe.as_ref(),
            Self::Liveness => container.liveness_probe.as_ref(),
            Self::Readiness => container.readiness_probe.as_ref(),
        }
    }
}

/// A probe's verdict changed: its threshold was reached.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Report {
    pub container: String,
    pub id: String,
    pub kind: Kind,
    pub passed: bool,
}

/// Counts results until a threshold is reached.
#[derive(Clone, Debug)]
pub struct Tally {
    success: u32,
    failure: u32,
    run: u32,
    last: Option<bool>,
    verdict: Option<bool>,
}

impl Tally {
    pub fn new(probe: &Probe) -> Self {
        let threshold =
            |value: Option<i32>, default: u32| value.and_then(|v| u32::try_from(v).ok()).unwrap_or(default).max(1);
        Self {
            success: threshold(probe.success_threshold, 1),
            failure: threshold(probe.failure_threshold, 3),
            run: 0,
            last: None,
            verdict: None,
        }
    }

    /// The verdict if this result changed it.
    pub fn add(&mut self, passed: bool) -> Option<bool> {
        self.run = if self.last == Some(passed) { self.run + 1 } else { 1 };
        self.last = Some(passed);
        let enough = if passed { self.success } else { self.failure };
        if self.run < enough || self.verdict == Some(passed) {
            return None;
        }
        self.verdict = Some(passed);
        self.verdict
    }
}

/// The probe tasks of one pod. Dropping it ends them.
#[derive(Default)]
pub struct Probers(HashMap<(String, Kind), AbortOnDropHandle<()>>);

/// What a probe task needs to know of its pod.
#[derive(Clone)]
pub struct Subject {
    pub host: Arc<Host>,
    pub inbox: Arc<Inbox>,
    pub involved: ObjectReference,
    pub container: Container,
    pub life: ContainerStatus,
    pub target: Target,
}

impl Probers {
    /// Runs the probe of `subject` unless it runs already.
    pub fn ensure(&mut self, kind: Kind, subject: impl FnOnce() -> Subject, id: &str, container: &Container) {
        let key = (id.to_string(), kind);
        if self.0.contains_key(&key) {
            return;
        }
        let Some(probe) = kind.of(container).cloned() else { return };
        let task = tokio::spawn(run(kind, probe, subject()));
        self.0.insert(key, AbortOnDropHandle::new(task));
    }

    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Ends the probes that are not wanted any more.
    pub fn retain(&mut self, wanted: impl Fn(&str, Kind) -> bool) {
        self.0.retain(|(id, kind), _| wanted(id, *kind));
    }
}

fn seconds(value: Option<i32>, default: u64) -> Duration {
    Duration::from_secs(value.and_then(|v| u64::try_from(v).ok()).unwrap_or(default))
}

async fn run(kind: Kind, probe: Probe, subject: Subject) {
    let period = seconds(probe.period_seconds, 10).max(Duration::from_secs(1));
    let timeout = seconds(probe.timeout_seconds, 1).max(Duration::from_secs(1));
    wait_initially(&probe, &subject).await;
    let (mut tally, mut shell) = (Tally::new(&probe), Shell::default());
    loop {
        let outcome = check::check(&probe, &subject, &mut shell, timeout).await;
        let unhealthy = |text| subject.host.events.record(subject.involved.clone(), "Warning", "Unhealthy", text);
        match &outcome {
            Ok(None) => {}
            Ok(Some(warning)) => {
                let text = format!("{} probe warning: {warning}", kind.title());
                subject.host.events.record(subject.involved.clone(), "Warning", "ProbeWarning", text);
            }
            Err(Miss::Failed(message)) => unhealthy(format!("{} probe failed: {message}", kind.title())),
            Err(Miss::Unknown(message)) => {
                unhealthy(format!("{} probe errored and resulted in unknown state: {message}", kind.title()));
                tokio::time::sleep(period).await;
                continue;
            }
        }
        if let Some(passed) = tally.add(outcome.is_ok()) {
            let (container, id) = (subject.container.name.clone(), subject.life.id.clone());
            subject.inbox.post(|news| news.probes.push(Report { container, id, kind, passed }));
            // A container that is to be stopped is not asked again; one that has started is done.
            if kind == Kind::Startup || (kind == Kind::Liveness && !passed) {
                return;
            }
        }
        tokio::time::sleep(period).await;
    }
}

/// The initial delay counts from the container's start, which may be long ago after an adoption.
async fn wait_initially(probe: &Probe, subject: &Subject) {
    let ContainerState::Running { started, .. } = subject.life.state else { return };
    tokio::time::sleep(left_to_wait(probe, started, subject.host.ctx.clock.now())).await;
}

fn left_to_wait(probe: &Probe, started: Timestamp, now: Timestamp) -> Duration {
    let ran = Duration::try_from(now.duration_since(started)).unwrap_or(Duration::ZERO);
    seconds(probe.initial_delay_seconds, 0).saturating_sub(ran)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn verdicts_change_at_thresholds() {
        let probe = Probe { failure_threshold: Some(2), success_threshold: Some(2), ..Probe::default() };
        let mut tally = Tally::new(&probe);
        let verdicts: Vec<_> = [true, true, true, false, true, false, false, false].map(|r| tally.add(r)).into();
        assert_eq!(verdicts, [None, Some(true), None, None, None, None, Some(false), None]);
    }

    #[test]
    fn the_initial_delay_counts_from_the_start() {
        let wait = |delay, started, now| {
            let at = |second| Timestamp::from_second(second).unwrap_or_default();
            left_to_wait(&Probe { initial_delay_seconds: delay, ..Probe::default() }, at(started), at(now)).as_secs()
        };
        assert_eq!(wait(Some(30), 1000, 1000), 30);
        assert_eq!(wait(Some(30), 1000, 1012), 18, "adopted while it waits");
        assert_eq!(wait(Some(30), 1000, 5000), 0, "adopted long after its start");
        assert_eq!(wait(Some(30), 1000, 990), 30, "the host's clock is ahead");
        assert_eq!(wait(None, 1000, 1000), 0);
    }
}
