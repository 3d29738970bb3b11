//! Hooks that are run when an Application is deleted: before its objects go, and after they are gone.
//!
//! They are those of the revision in force, as the history keeps it: by now the source may be gone, or say
//! something else. One that fails holds the deletion: what it was to save is not deleted.

use crate::api::changeset::ObjectId;
use crate::gitops::application::{Application, DELETE_HOOKS, Operation};
use crate::gitops::hooks::Phase;
use crate::gitops::render::{Rendered, describe, same_object};
use crate::gitops::sources::SourceError;
use crate::gitops::sync::course::{Course, Stage};
use crate::gitops::sync::history::{self, HistoryError};
use crate::gitops::sync::stages::Steps;
use crate::gitops::sync::task::Task;
use crate::gitops::sync::wait::{Memory, Wait};
use crate::gitops::sync::{Event, Options};
use std::sync::Arc;
use std::time::Duration;
use tokio::time::Instant;

/// Names a deletion in the status, where a sync has its revision.
const DELETION: &str = "deletion";

/// What does not change on the way.
struct InForce {
    rendered: Rendered,
    course: Course,
}

/// The hooks under way.
#[derive(Default)]
pub(super) struct Running {
    in_force: Option<Arc<InForce>>,
    /// Of the stage under way.
    begun: Option<Instant>,
    memory: Memory,
    failures: u32,
}

impl Task {
    /// Runs the hooks of a phase, wave by wave. True: all of them are done, or not wanted.
    pub(super) async fn run_delete_hooks(&mut self, application: &Application, phase: Phase) -> bool {
        if application.skips_delete_hooks() {
            return true;
        }
        let in_force = match self.in_force(application).await {
            Ok(in_force) => in_force,
            Err(why) => {
                self.held_up(format!("the hooks for its deletion are not known: {why}")).await;
                return false;
            }
        };
        let first = if phase == Phase::PreDelete { 0 } else { in_force.course.of_phase(Phase::PreDelete).count() };
        let done = self.status.operation.as_ref().filter(|one| one.revision == DELETION).map_or(0, |one| one.stage);
        for (at, stage) in (first..).zip(in_force.course.of_phase(phase)) {
            if at >= done && !self.run_delete_stage(application, &in_force, at, stage).await {
                return false;
            }
        }
        true
    }

    /// One wave. A daemon that starts in the middle goes on with it, and runs no hook twice.
    async fn run_delete_stage(
        &mut self,
        application: &Application,
        in_force: &InForce,
        at: usize,
        stage: &Stage,
    ) -> bool {
        let InForce { rendered, course } = in_force;
        let shared = self.shared.clone();
        // What another Application has now is run when that one is deleted.
        let mut stage = stage.clone();
        stage.hooks.retain(|index| !shared.ledger.is_wanted_elsewhere(&self.name, &rendered.objects[*index].id));
        if stage.hooks.is_empty() {
            return true;
        }
        if self.ending.hooks.begun.is_none() {
            let what = stage.describe(rendered);
            self.tell(Event::Stage { name: stage.name(), what: what.clone() });
            self.enter(at, format!("{}: {what}", stage.name()), rendered, &stage).await;
        }
        let begun = *self.ending.hooks.begun.get_or_insert_with(Instant::now);
        let options = Options { application: self.name.clone(), health: self.bell.health(), ..Options::default() };
        let run = format!("{DELETION}-{}", application.metadata.uid.as_deref().unwrap_or_default());
        let (client, kinds) = (&shared.context.client, &*shared.settings.kinds);
        let steps = Steps { client, kinds, rendered, course, options: &options, run: &run };
        if let Err(error) = steps.make(&stage.hooks).await {
            let why = format!("{} cannot be run: {}", stage.describe(rendered), error.lines().join("; "));
            return self.failed_stage(why).await;
        }
        let wait = Wait {
            client,
            kinds,
            health: &options.health,
            limit: application.ready_timeout(shared.settings.ready_limit).saturating_sub(begun.elapsed()),
            application: &self.name,
            reporter: &*shared.settings.reporter,
            patience: Duration::ZERO,
            give_up: None,
            settle: Duration::ZERO,
            moved: Some(&self.bell.moved),
        };
        let (ids, bell) = (steps.to_wait_for(&stage), self.bell.clone());
        let waited = tokio::select! {
            waited = wait.until_ready(&ids, &mut self.ending.hooks.memory) => waited,
            // The Application may say now that they are not wanted.
            () = bell.look.wait() => return false,
        };
        let Some(failed) = waited.failed.first() else {
            // First, so that a daemon that ends here does not run them again.
            self.ending.hooks = Running { in_force: self.ending.hooks.in_force.take(), ..Running::default() };
            self.enter(at + 1, String::new(), rendered, &stage).await;
            steps.tidy(&stage, &[]).await;
            return true;
        };
        let why = format!("{} of {}: {}", stage.name(), describe(&failed.id), failed.message);
        steps.tidy(&stage, &waited.failed).await;
        self.failed_stage(format!("{why} (delete it, and it is run again)")).await
    }

    async fn failed_stage(&mut self, why: String) -> bool {
        self.held_up(why).await;
        // All its time again.
        self.ending.hooks.begun = Some(Instant::now());
        false
    }

    /// Notes how far the deletion is. What is run before the objects go goes with them.
    async fn enter(&mut self, at: usize, doing: String, rendered: &Rendered, stage: &Stage) {
        self.status.operation =
            Some(Operation { revision: DELETION.to_owned(), stage: at, doing: doing.clone(), ..Operation::default() });
        let ids: Vec<_> = stage.hooks.iter().map(|index| rendered.objects[*index].id.clone()).collect();
        // Somebody may delete one, for it to be run again.
        self.shared.drift.cover(&ids);
        if stage.phase == Phase::PreDelete {
            let known = |hooks: &[ObjectId], id: &ObjectId| hooks.iter().any(|known| same_object(known, id));
            let new: Vec<_> = ids.into_iter().filter(|id| !known(&self.status.hooks, id)).collect();
            self.status.hooks.extend(new);
        }
        if doing.is_empty() {
            self.save().await;
        } else {
            self.wait_to_end(doing).await;
        }
    }

    /// Says why the deletion does not go on, and how it would; returns when it may be worth another look.
    async fn held_up(&mut self, why: String) {
        let name = &self.name;
        let why = format!(
            "the deletion does not go on: {why}; to go on without hooks: kubectl -n {} annotate application {name} \
             {DELETE_HOOKS}=disabled",
            crate::gitops::application::NAMESPACE
        );
        self.warn(&why);
        self.wait_to_end(why).await;
        self.ending.hooks.failures += 1;
        let bell = self.bell.clone();
        tokio::select! {
            () = tokio::time::sleep(self.shared.settings.retry.after(self.ending.hooks.failures)) => {}
            () = bell.look.wait() => {}
        }
    }

    /// The manifests of the revision in force.
    async fn in_force(&mut self, application: &Application) -> Result<Arc<InForce>, String> {
        if let Some(in_force) = &self.ending.hooks.in_force {
            return Ok(in_force.clone());
        }
        let number = self.status.revision_number;
        let rendered = match history::manifests(&self.shared.context.client, &self.name, number).await {
            Ok(rendered) => rendered,
            // Nothing was ever recorded: the first revision was not applied whole.
            Err(_) if number == 0 => Rendered::default(),
            Err(error @ HistoryError::Api { .. }) => return Err(error.to_string()),
            Err(error) => self.what_the_source_says(application).await.map_err(|why| format!("{error}, and {why}"))?,
        };
        let course = Course::of(&rendered, false)
            .map_err(|errors| errors.iter().map(ToString::to_string).collect::<Vec<_>>().join("; "))?;
        let in_force = Arc::new(InForce { rendered, course });
        self.ending.hooks.in_force = Some(in_force.clone());
        Ok(in_force)
    }

    /// What the source says now.
    async fn what_the_source_says(&mut self, application: &Application) -> Result<Rendered, String> {
        let unreadable = |error: SourceError| format!("the source cannot be read: {error}");
        let source = self.open(application).await.map_err(unreadable)?;
        let snapshot = source.fetch().await.map_err(unreadable)?;
        let inputs = self.inputs(application).await.map_err(unreadable)?;
        let snapshot = inputs.expand(application, snapshot).await;
        let rendered = inputs.render(application, &snapshot, &*self.shared.settings.kinds);
        match rendered.errors.first() {
            None => Ok(rendered),
            Some(error) => Err(format!("the source has errors: {error}")),
        }
    }
}
