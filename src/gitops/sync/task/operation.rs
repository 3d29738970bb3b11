//! A revision that is applied in stages, as a task goes through it.
//!
//! The status tells which stage was begun, so that a daemon that starts in the middle goes on there
//! and runs no hook twice.

use super::Task;
use super::recording::Revision;
use super::waiting::Waiting;
use crate::api::changeset::ObjectId;
use crate::gitops::application::{Application, Operation as Begun};
use crate::gitops::plan::Totals;
use crate::gitops::render::{Rendered, same_object};
use crate::gitops::sync::course::Course;
use crate::gitops::sync::history::{self, Record};
use crate::gitops::sync::stages::{Steps, delete};
use crate::gitops::sync::wait::Waited;
use crate::gitops::sync::{Event, Options, Outcome, SyncError};
use std::sync::Arc;
use tokio::time::Instant;

/// What does not change on the way.
struct Plan {
    rendered: Rendered,
    course: Course,
    revision: Revision,
}

pub(super) struct Operation {
    plan: Arc<Plan>,
    at: usize,
    /// The stage was applied and is waited for.
    applied: bool,
    /// The hooks for failure were run.
    failed: bool,
    begun: Instant,
    totals: Totals,
    /// The entry of the history, until it is written.
    record: Option<Record>,
}

impl Operation {
    pub fn revision(&self) -> &str {
        &self.plan.revision.revision
    }

    pub fn inputs(&self) -> &str {
        &self.plan.revision.inputs
    }

    /// It is what the source says at this revision, rendered with these inputs.
    pub fn follows(&self, revision: &str, inputs: &str) -> bool {
        self.revision() == revision && self.inputs() == inputs && self.plan.revision.via.is_empty()
    }

    /// It goes on although the Application is suspended.
    pub fn is_asked_for(&self) -> bool {
        self.plan.revision.is_asked_for()
    }

    fn is_last(&self) -> bool {
        self.at + 1 >= self.plan.course.stages().len()
    }
}

impl Task {
    /// The order of a revision's manifests.
    pub(super) async fn course(&mut self, rendered: &Rendered) -> Result<Course, SyncError> {
        if !rendered.errors.is_empty() {
            return Ok(Course::default());
        }
        let digest = history::digest(rendered);
        let first = self.history().await?.iter().all(|record| record.digest == digest);
        Course::of(rendered, first).map_err(SyncError::Manifests)
    }

    /// The stage at which an earlier daemon was in this revision.
    pub(super) fn interrupted(&self, revision: &Revision) -> Option<usize> {
        let begun = self.status.operation.as_ref()?;
        (begun.revision == revision.revision && begun.inputs == revision.inputs).then_some(begun.stage)
    }

    /// Validates everything, and applies the first stage.
    pub(super) async fn begin(
        &mut self,
        application: &Application,
        rendered: Rendered,
        course: Course,
        revision: Revision,
        record: Option<Record>,
    ) -> Result<(), SyncError> {
        let at = self.interrupted(&revision).filter(|at| *at < course.stages().len()).unwrap_or(0);
        let plan = Arc::new(Plan { rendered, course, revision });
        let options = self.options_of(application, &plan);
        let report = self.steps(&plan, &options).check().await?;
        let totals = report.totals();
        if !report.is_empty() {
            self.tell(Event::Applied(report));
        }
        let begun = Instant::now();
        self.waiting = Waiting::default();
        self.operation = Some(Operation { plan, at, applied: false, failed: false, begun, totals, record });
        self.apply_stage(application).await
    }

    fn options_of(&self, application: &Application, plan: &Plan) -> Options {
        let mut options = self.options(application, &plan.revision.revision);
        plan.revision.adjust(&mut options);
        options
    }

    fn steps<'a>(&'a self, plan: &'a Plan, options: &'a Options) -> Steps<'a> {
        let Plan { rendered, course, revision } = plan;
        let client = &self.shared.context.client;
        Steps { client, kinds: &*self.shared.settings.kinds, rendered, course, options, run: &revision.revision }
    }

    /// Applies the stage that the operation is at. On an error the operation stays where it is.
    async fn apply_stage(&mut self, application: &Application) -> Result<(), SyncError> {
        let Some(operation) = &self.operation else { return Ok(()) };
        let (plan, at, begun) = (operation.plan.clone(), operation.at, operation.begun);
        let mut record = operation.record.clone();
        let mut options = self.options_of(application, &plan);
        if let Some(record) = &mut record {
            options.record = self.writes(application, record, &plan.rendered);
        }
        let stage = &plan.course.stages()[at];
        self.tell(Event::Stage { name: stage.name(), what: stage.describe(&plan.rendered) });
        // Before the first hook: they are not to be run twice.
        let what = format!("{}: {}", stage.name(), stage.describe(&plan.rendered));
        let (revision, inputs) = (plan.revision.revision.clone(), plan.revision.inputs.clone());
        self.status.operation = Some(Begun { revision, inputs, stage: at, doing: what.clone() });
        for id in self.steps(&plan, &options).ids_of_hooks() {
            if !self.status.hooks.iter().any(|known| same_object(known, &id)) {
                self.status.hooks.push(id);
            }
        }
        self.shared.drift.cover(&self.status.hooks);
        self.syncing(application, &plan.revision.revision, &what).await;
        let outcome = self.steps(&plan, &options).apply(at).await?;
        if let Some(record) = record {
            let totals = self.operation.as_ref().map(|operation| operation.totals).unwrap_or_default();
            self.recorded(application, record, totals, false);
            self.flush().await;
        }
        let to_wait_for = self.steps(&plan, &options).to_wait_for(stage);
        if let Some(operation) = &mut self.operation {
            operation.record = None;
            operation.applied = true;
            self.waiting = Waiting::stage(to_wait_for, begun, operation.totals);
        }
        self.staged(application, &plan, at, outcome).await;
        Ok(())
    }

    /// Keeps what a stage left behind.
    async fn staged(&mut self, application: &Application, plan: &Plan, at: usize, outcome: Outcome) {
        self.take_inventory(&outcome);
        if at == plan.course.prunes_at() {
            let revision = plan.revision.revision.clone();
            for warning in &outcome.report.warnings {
                self.warn(warning);
            }
            self.held(outcome.held, &revision);
            self.now_in_force(application, &plan.revision, plan.course.kept(&plan.rendered));
            self.succeeded(application, &revision, &outcome).await;
        }
        let waiting = plan.course.stages()[at].describe(&plan.rendered);
        self.waiting_for(&format!("{}: {waiting}", plan.course.stages()[at].name())).await;
    }

    /// Another look at the source while its revision is being applied. False: try again soon.
    pub(super) async fn go_on(&mut self, application: &Application) -> bool {
        let Some(operation) = &self.operation else { return true };
        let (plan, at, applied) = (operation.plan.clone(), operation.at, operation.applied);
        let options = self.options_of(application, &plan);
        let result = if applied {
            match self.steps(&plan, &options).repair(at).await {
                Ok(outcome) => {
                    self.take_inventory(&outcome);
                    if !outcome.report.is_empty() {
                        self.tell(Event::Drift(outcome.report.clone()));
                        self.corrected(&outcome.report).await;
                    }
                    Ok(())
                }
                Err(error) => Err(error),
            }
        } else {
            self.apply_stage(application).await
        };
        match result {
            Ok(()) => true,
            Err(error) => {
                self.failed(error.reason(), &plan.revision.revision, error.lines()).await;
                false
            }
        }
    }

    /// What was waited for in a stage ended. True: the next stage goes on, or could not.
    pub(super) async fn stage_ended(&mut self, application: &Application, waited: &Waited) -> bool {
        let Some(operation) = &mut self.operation else { return false };
        let (plan, at, good) = (operation.plan.clone(), operation.at, waited.failed.is_empty());
        let run_failure_hooks = !good && !std::mem::replace(&mut operation.failed, !good);
        let last = operation.is_last();
        if good && !last {
            (operation.at, operation.applied) = (at + 1, false);
        }
        let options = self.options_of(application, &plan);
        let steps = self.steps(&plan, &options);
        steps.tidy(&plan.course.stages()[at], &waited.failed).await;
        if run_failure_hooks && let Err(error) = steps.make(&plan.course.on_failure()).await {
            self.warn(&format!("the hooks for a failed sync cannot be made: {}", error.lines().join("; ")));
        }
        match (good, last) {
            (true, true) => {
                self.operation = None;
                self.status.operation = None;
                self.forget_hooks(&plan.rendered).await;
                false
            }
            (true, false) => {
                self.waiting = Waiting::default();
                if !self.go_on(application).await {
                    self.failures += 1;
                }
                true
            }
            (false, _) => false,
        }
    }

    /// Deletes the hooks of earlier revisions that the source has no more.
    pub(super) async fn forget_hooks(&mut self, rendered: &Rendered) {
        let has = |id: &ObjectId| rendered.objects.iter().any(|manifest| same_object(&manifest.id, id));
        let (kept, gone): (Vec<_>, Vec<_>) = std::mem::take(&mut self.status.hooks).into_iter().partition(has);
        self.status.hooks = kept;
        for id in &gone {
            delete(&self.shared.context.client, &*self.shared.settings.kinds, id).await;
        }
        self.save().await;
    }

    /// Ends an operation that something newer takes the place of.
    pub(super) fn abandon(&mut self) {
        self.status.operation = None;
        if self.operation.take().is_some() {
            self.waiting = Waiting::default();
        }
    }
}
