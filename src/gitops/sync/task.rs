//! One Application: fetch, render, apply, wait, look again.
//!
//! What went wrong is told once, not at every look. While a source is broken, the last good
//! manifests stay in force, and drift from them is still set right.

mod dependencies;
mod ending;
mod operation;
mod planned;
mod previews;
mod recording;
mod requests;
mod retreat;
mod source;
mod status;
mod taken;
mod waiting;
mod windows;

use super::bell::Bell;
use super::engine::Shared;
use super::reporter::{Event, Summary};
use super::{Claim, How, Options, Outcome, SyncError, once, wait};
use crate::api::changeset::ObjectId;
use crate::gitops::application::{Application, ApplicationStatus};
use crate::gitops::plan::{Held, ObjectChange, Report, Totals};
use crate::gitops::render::{Rendered, describe, same_object};
use crate::gitops::sources::{self, SourceError};
use crate::gitops::windows::{Closed, Who};
use recording::Revision;
use std::sync::Arc;
use std::time::Duration;
use tokio::time::Instant;
use waiting::Waiting;

struct Task {
    shared: Arc<Shared>,
    name: String,
    bell: Bell,
    source: Option<source::Opened>,
    /// The manifests in force.
    good: Option<Good>,
    status: ApplicationStatus,
    /// The status as it was written last; what differs is still to be written.
    written: Option<ApplicationStatus>,
    /// Warnings told already.
    told: Vec<String>,
    /// What the source warned of last.
    source_warnings: Vec<String>,
    /// The failure told last: revision and errors.
    told_failure: Option<(String, Vec<String>)>,
    /// The drift told last that is left as it is.
    told_drift: Vec<ObjectChange>,
    /// Why the newest revision is not applied yet, as told last.
    told_blocked: String,
    /// Why nothing may be synced now, as the last look found.
    closed: Option<Closed>,
    failures: u32,
    waiting: Waiting,
    /// Since when everything has been ready, while that is still to prove itself.
    ready_since: Option<Instant>,
    ending: ending::Ending,
    recording: recording::Recording,
    /// A revision on its way, where that is applied in stages.
    operation: Option<operation::Operation>,
    /// A rollout that failed and is to be taken back.
    failure: Option<wait::Waited>,
    /// What was taken from the Application for good.
    taken: Vec<ObjectId>,
}

struct Good {
    revision: String,
    /// What it was rendered with; see [`crate::gitops::inputs::Inputs`].
    inputs: String,
    /// Where objects without a namespace went.
    namespace: String,
    rendered: Rendered,
    /// It is what the source says at the revision, not what was returned to.
    followed: bool,
}

pub(super) async fn run(shared: Arc<Shared>, name: String, bell: Bell) {
    let Some(application) = shared.applications.get(crate::gitops::application::NAMESPACE, &name) else { return };
    let mut status = application.status.clone();
    // Others write these.
    status.notifications.clear();
    shared.drift.cover(&status.inventory);
    let waiting = Waiting::resumed(&status);
    let mut task = Task {
        shared,
        name,
        bell,
        source: None,
        good: None,
        written: Some(status.clone()),
        status,
        told: Vec::new(),
        source_warnings: Vec::new(),
        told_failure: None,
        told_drift: Vec::new(),
        told_blocked: String::new(),
        closed: None,
        failures: 0,
        waiting,
        ready_since: None,
        ending: ending::Ending::default(),
        recording: recording::Recording::default(),
        operation: None,
        failure: None,
        taken: Vec::new(),
    };
    loop {
        let Some(application) = task.application() else { return };
        if let Err(why) = task.let_go(&application).await
            && !task.ends_alone(&application)
        {
            task.failed("Refused", "", vec![why]).await;
            task.rest(&application, Some(application.interval())).await;
            continue;
        }
        task.judge(&application);
        if application.is_deleted() {
            if task.end(&application).await {
                return;
            }
            continue;
        }
        if let Some(failure) = task.failure.take() {
            task.retreat(&application, failure).await;
            continue;
        }
        if let Some(asked) = application.request(&task.status.handled_request) {
            task.obey(&application, asked).await;
            continue;
        }
        if application.spec.suspend {
            task.suspended(&application).await;
            task.rest(&application, None).await;
            continue;
        }
        if let Some(succeeded) = task.pass(&application, Who::Engine).await {
            task.failures = if succeeded { 0 } else { task.failures + 1 };
        }
        task.rest(&application, Some(application.interval())).await;
    }
}

impl Task {
    fn application(&self) -> Option<Arc<Application>> {
        self.shared.applications.get(crate::gitops::application::NAMESPACE, &self.name)
    }

    /// Takes over `spec.healthChecks`; other ones judge what was ready anew.
    fn judge(&self, application: &Application) {
        if self.bell.judge_by(&application.spec.health_checks) {
            let health = self.bell.health();
            let judged = self.status.inventory.iter().filter(|id| health.judges(&id.api_version, &id.kind));
            judged.for_each(|id| self.bell.ring_unready(id.clone()));
        }
    }

    fn tell(&self, event: Event) {
        if let Event::Done(summary) = &event {
            self.shared.settings.metrics.rolled_out(&self.name, summary);
        }
        self.shared.settings.reporter.event(&self.name, event);
    }

    /// One look at the source. False: try again soon. `None`: the Application was changed meanwhile.
    async fn pass(&mut self, application: &Application, who: Who) -> Option<bool> {
        self.hold(application).await;
        self.flush().await;
        let began = Instant::now();
        let fetched = self.fetch(application).await;
        if !matches!(fetched, Ok(None)) {
            // A repository that is still empty has been read all the same.
            let read = matches!(fetched, Ok(_) | Err(SourceError::NothingPushed { .. }));
            self.shared.settings.metrics.fetched(&self.name, began.elapsed(), read);
        }
        let (snapshot, inputs) = match fetched {
            Ok(Some(fetched)) => fetched,
            Ok(None) => {
                self.bell.look.ring();
                return None;
            }
            Err(error) => {
                if matches!(error, SourceError::NothingPushed { .. }) {
                    self.want(&Rendered::default());
                }
                self.shared.ledger.looked(&self.name, began);
                let passing = self.no_snapshot(&error).await;
                self.keep(application).await;
                return Some(!passing);
            }
        };
        self.preview(application).await;
        for warning in &snapshot.warnings {
            self.warn(warning);
        }
        self.source_warnings.clone_from(&snapshot.warnings);
        self.closed = self.closed_to(application, who);
        let was_blocked = std::mem::take(&mut self.told_blocked);
        if self.is_quarantined(&snapshot.revision, &inputs.version) {
            self.shared.ledger.looked(&self.name, began);
            return Some(self.stay(application).await);
        }
        let namespace = application.namespace();
        if self.operation.as_ref().is_some_and(|operation| operation.follows(&snapshot.revision, &inputs.version)) {
            self.shared.ledger.looked(&self.name, began);
            return Some(self.go_on(application).await);
        }
        let good = self.good.as_ref();
        let is_read = |good: &Good| good.revision == snapshot.revision && good.inputs == inputs.version;
        let known = good.is_some_and(|good| good.followed && good.namespace == namespace && is_read(good));
        if known {
            self.shared.ledger.looked(&self.name, began);
            return Some(self.repair(application, true).await);
        }
        let snapshot = inputs.expand(application, snapshot).await;
        let rendered = inputs.render(application, &snapshot, &*self.shared.settings.kinds);
        self.want(&rendered);
        self.shared.ledger.looked(&self.name, began);
        let revision = Revision::of(&snapshot, &inputs);
        let is_in_force = self.is_in_force(&snapshot.revision, &inputs.version);
        if is_in_force && rendered.errors.is_empty() && self.closed.is_some() {
            let (revision, namespace) = (snapshot.revision.clone(), namespace.to_owned());
            self.good = Some(Good { revision, inputs: inputs.version, namespace, rendered, followed: true });
            return Some(self.repair(application, true).await);
        }
        if let Some(block) = self.blocked(application, &revision, &rendered) {
            self.wait_until_free(application, &snapshot.revision, block, &was_blocked).await;
            self.keep(application).await;
            return Some(true);
        }
        self.settle(&rendered, began).await;
        let new = self.status.attempted_revision != snapshot.revision || !was_blocked.is_empty();
        if new {
            self.tell(Event::Started { origin: snapshot.origin.clone(), revision: snapshot.revision.clone() });
        }
        match self.enact(application, rendered, &revision).await {
            Ok(()) => {
                if new && self.waiting.since.is_none() {
                    let (totals, elapsed) = (Totals::default(), Duration::ZERO);
                    let revision = snapshot.revision.clone();
                    self.tell(Event::Done(Summary { revision, totals, ready: 0, failed: Vec::new(), elapsed }));
                }
                Some(true)
            }
            Err(error) => {
                self.failed(error.reason(), &snapshot.revision, error.lines()).await;
                self.keep(application).await;
                Some(!error.is_temporary())
            }
        }
    }

    /// Keeps what is in force, or on its way, while the source has nothing better.
    async fn keep(&mut self, application: &Application) {
        if self.operation.is_some() {
            self.go_on(application).await;
        } else {
            self.repair(application, false).await;
        }
    }

    /// Applies a revision, and makes it the one in force and an entry of the history.
    async fn enact(
        &mut self,
        application: &Application,
        rendered: Rendered,
        revision: &Revision,
    ) -> Result<(), SyncError> {
        let began = Instant::now();
        let result = self.put_in_force(application, rendered, revision).await;
        self.shared.settings.metrics.synced(&self.name, began.elapsed(), result.as_ref().err());
        result
    }

    async fn put_in_force(
        &mut self,
        application: &Application,
        rendered: Rendered,
        revision: &Revision,
    ) -> Result<(), SyncError> {
        self.want(&rendered);
        let mut options = self.options(application, &revision.revision);
        revision.adjust(&mut options);
        let mut record = self.record(&rendered, revision).await?;
        let course = self.course(&rendered).await?;
        if !course.is_plain() && (record.is_some() || self.interrupted(revision).is_some()) {
            return self.begin(application, rendered, course, revision.clone(), record).await;
        }
        if let Some(record) = &mut record {
            options.record = self.writes(application, record, &rendered);
        }
        if let Some(planned) = &revision.planned {
            options.versions.clone_from(&planned.versions);
        }
        let all = rendered;
        let rendered = course.kept(&all);
        let applied = self.apply(&rendered, &options).await;
        if matches!(applied, Err(SyncError::ReplacedStays { .. })) {
            // The rest was applied, and the entry of the history with it.
            self.recording = recording::Recording::default();
        }
        let outcome = applied?;
        self.abandon();
        self.forget_hooks(&all).await;
        if let Some(record) = record {
            let ready = outcome.to_wait_for(&options.health).is_empty() && self.waiting.objects.is_empty();
            self.recorded(application, record, outcome.report.totals(), ready);
        }
        self.now_in_force(application, revision, rendered);
        // Before the status: whoever waits for that finds the history complete.
        self.flush().await;
        self.applied(application, &revision.revision, outcome).await;
        Ok(())
    }

    /// The revision was applied.
    fn now_in_force(&mut self, application: &Application, revision: &Revision, rendered: Rendered) {
        let Revision { revision, inputs, bases, via, .. } = revision.clone();
        self.status.remote_bases = bases;
        let (namespace, followed) = (application.namespace().to_owned(), via.is_empty());
        self.status.inputs.clone_from(&inputs);
        self.good = Some(Good { revision, inputs, namespace, rendered, followed });
        if followed {
            self.status.pinned.clear();
            self.status.quarantine = None;
        }
    }

    /// Tells others what is wanted now; of manifests with errors nothing is known.
    fn want(&self, rendered: &Rendered) {
        if rendered.errors.is_empty() && self.taken.is_empty() {
            self.shared.ring(&self.shared.ledger.want(&self.name, rendered));
        } else if rendered.errors.is_empty() {
            let mut rendered = rendered.clone();
            rendered.objects.retain(|manifest| !self.taken.iter().any(|taken| same_object(taken, &manifest.id)));
            self.shared.ring(&self.shared.ledger.want(&self.name, &rendered));
        }
    }

    /// Where an object leaves, or is another's, hears first what other sources say.
    async fn settle(&self, rendered: &Rendered, began: Instant) {
        let leaves = self.status.inventory.iter().any(|id| rendered.find(id).is_none());
        let is_contested = |claim: &Claim| claim.holds && rendered.find(&claim.id).is_some();
        if rendered.errors.is_empty() && (leaves || self.shared.claims(&self.name).iter().any(is_contested)) {
            self.shared.settle(&self.name, began).await;
        }
    }

    /// Leaves out of the manifests in force what the source has no more and another has by now.
    fn without_moved(&self, rendered: &Rendered) -> Rendered {
        let mut rendered = rendered.clone();
        for claim in self.shared.claims(&self.name).iter().filter(|claim| claim.holds && claim.wants) {
            if !self.shared.ledger.wants(&self.name, &claim.id) {
                rendered.objects.retain(|manifest| !same_object(&manifest.id, &claim.id));
            }
        }
        rendered
    }

    fn options(&self, application: &Application, revision: &str) -> Options {
        let claims = self.shared.claims(&self.name);
        // The status that others see may be behind.
        let inventory = self.status.inventory.clone();
        Options { inventory, health: self.bell.health(), ..Options::of(application, revision, claims) }
    }

    async fn apply(&self, rendered: &Rendered, options: &Options) -> Result<Outcome, SyncError> {
        self.try_on(rendered, options, How::Apply).await
    }

    async fn try_on(&self, rendered: &Rendered, options: &Options, how: How) -> Result<Outcome, SyncError> {
        once(&self.shared.context.client, &*self.shared.settings.kinds, rendered, options, how).await
    }

    async fn applied(&mut self, application: &Application, revision: &str, outcome: Outcome) {
        self.told.retain(|told| outcome.report.warnings.contains(told) || self.source_warnings.contains(told));
        for warning in &outcome.report.warnings {
            self.warn(warning);
        }
        self.held(outcome.held, revision);
        self.remember(&outcome);
        if !outcome.report.is_empty() {
            self.tell(Event::Applied(outcome.report.clone()));
        }
        self.succeeded(application, revision, &outcome).await;
    }

    /// Sets right what others changed since the last good apply. `current`: that is what the source
    /// says now, so that success clears earlier errors. False: it could not.
    async fn repair(&mut self, application: &Application, current: bool) -> bool {
        let Some(good) = self.good.take() else { return true };
        let options = self.options(application, &good.revision);
        let corrects = application.corrects_drift() && self.closed.is_none();
        let how = if corrects { How::Apply } else { How::DryRun };
        let result = self.try_on(&self.without_moved(&good.rendered), &options, how).await;
        let revision = good.revision.clone();
        self.good = Some(good);
        match result {
            Ok(outcome) if how == How::DryRun && !outcome.report.is_empty() => {
                self.leave_drift(outcome.report).await;
                true
            }
            Ok(mut outcome) => {
                self.told_drift.clear();
                outcome.report.warnings.iter().for_each(|warning| self.warn(warning));
                self.held(outcome.held, &revision);
                if how == How::Apply {
                    self.remember(&outcome);
                }
                if !outcome.report.is_empty() {
                    outcome.report.name_authors();
                    self.tell(Event::Drift(outcome.report.clone()));
                    self.corrected(&outcome.report).await;
                }
                if current {
                    self.succeeded(application, &revision, &outcome).await;
                }
                true
            }
            Err(error) => {
                self.failed(error.reason(), &revision, error.lines()).await;
                false
            }
        }
    }

    /// Tells what others changed, once, and leaves it.
    async fn leave_drift(&mut self, mut report: Report) {
        report.name_authors();
        let changed: Vec<String> = report.changes().map(|object| describe(&object.id)).collect();
        if self.told_drift != report.objects {
            self.told_drift.clone_from(&report.objects);
            self.tell(Event::DriftLeft(report));
        }
        // What holds the newest revision up says more.
        if self.told_blocked.is_empty() {
            self.drifted(&changed).await;
        }
    }

    /// Keeps the new inventory, and what is to be waited for.
    fn remember(&mut self, outcome: &Outcome) {
        self.take_inventory(outcome);
        if outcome.report.is_empty() {
            return;
        }
        self.waiting.add(outcome, &self.bell.health());
    }

    fn take_inventory(&mut self, outcome: &Outcome) {
        self.status.inventory.clone_from(&outcome.inventory);
        self.shared.ring(&self.shared.ledger.hold(&self.name, &outcome.inventory));
        self.shared.drift.cover(&outcome.inventory);
    }

    /// How to let held-back pruning go on.
    fn held(&mut self, held: Option<Held>, revision: &str) {
        if held.is_some_and(|why| why != Held::Disabled) {
            let name = &self.name;
            let digits = sources::short(revision);
            self.warn(&format!(
                "to delete them: kubectl -n {} annotate --overwrite application {name} {}={digits}",
                crate::gitops::application::NAMESPACE,
                crate::gitops::application::CONFIRM_PRUNE
            ));
        }
    }

    /// Tells a warning once.
    fn warn(&mut self, warning: &str) {
        if !self.told.iter().any(|told| told == warning) {
            self.told.push(warning.to_owned());
            self.tell(Event::Warning(warning.to_owned()));
        }
    }
}
