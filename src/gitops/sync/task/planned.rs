//! Saved plans, as an Application carries them out: exactly so, or not at all.
//!
//! Who asks has made the plan again and found it to hold, hosts included. That nothing has moved since is
//! for the task to see to: it compares what the change set would do, and commits it on the objects that
//! it was computed on.

use super::dependencies::Block;
use super::recording::{Planned, Revision};
use super::requests::Refusal;
use super::{How, Task};
use crate::api::changeset::ObjectId;
use crate::gitops::application::{Application, Replacing};
use crate::gitops::plan::{Action, ObjectChange, Report};
use crate::gitops::render::{Rendered, describe, same_object};
use crate::gitops::sources::short;
use tokio::time::Instant;

impl Task {
    /// Applies the source at exactly this revision, also of a suspended Application. `None`: the Application
    /// was changed meanwhile, look at it anew.
    pub(super) async fn apply_plan(
        &mut self,
        application: &Application,
        wanted: &str,
        plan: &str,
        how: Planned,
    ) -> Option<Result<(), Refusal>> {
        self.hold(application).await;
        let began = Instant::now();
        let (snapshot, inputs) = match self.fetch(application).await {
            Ok(fetched) => fetched?,
            Err(error) => return Some(Err(error.into())),
        };
        if snapshot.revision != wanted {
            let (wanted, found) = (short(wanted), short(&snapshot.revision));
            let why =
                format!("the plan is for {wanted}, but the source is at {found}; make a new plan with `selkie plan`");
            return Some(Err(Refusal::Request(why)));
        }
        let snapshot = inputs.expand(application, snapshot).await;
        let rendered = inputs.render(application, &snapshot, &*self.shared.settings.kinds);
        let revision = Revision { planned: Some(how), ..Revision::of(&snapshot, &inputs) };
        // A window that is closed to people has refused the request itself.
        if let Some(Block::Dependency(why)) = self.blocked(application, &revision, &rendered) {
            return Some(Err(Refusal::Request(why)));
        }
        self.want(&rendered);
        self.shared.ledger.looked(&self.name, began);
        self.settle(&rendered, began).await;
        Some(self.apply_as_planned(application, rendered, revision, plan).await)
    }

    async fn apply_as_planned(
        &mut self,
        application: &Application,
        rendered: Rendered,
        mut revision: Revision,
        plan: &str,
    ) -> Result<(), Refusal> {
        let course = self.course(&rendered).await?;
        let mut options = self.options(application, &revision.revision);
        revision.adjust(&mut options);
        let kept = if course.has_hooks() { course.kept(&rendered) } else { rendered.clone() };
        let now = self.try_on(&kept, &options, How::DryRun).await?;
        // Of a plan that was interrupted, what is left are the objects to be made again.
        let begun = self.status.replacing.as_ref().filter(|begun| begun.plan == plan);
        let is_rest = begun.is_some_and(|begun| {
            now.report.changes().all(|one| begun.objects.iter().any(|id| same_object(id, &one.id)))
        });
        if now.report.fingerprint() != plan && !is_rest {
            return Err(Refusal::Request(format!(
                "something has moved since the plan was looked at again: now it would {}; make a new plan with \
                 `selkie plan`",
                changes(&now.report)
            )));
        }
        let replaced = now.report.changes().filter(|one| one.action == Action::Replace);
        let objects: Vec<ObjectId> = replaced.map(|one| one.id.clone()).collect();
        if !objects.is_empty() && self.status.replacing.is_none() {
            self.status.replacing = Some(Replacing { plan: plan.to_owned(), objects });
            self.save().await;
        }
        let what = format!("applied the plan for {}", short(&revision.revision));
        if let Some(planned) = &mut revision.planned {
            let is_changed = |id: &ObjectId| {
                now.report.changes().any(|one| one.action == Action::Change && same_object(&one.id, id))
            };
            planned.versions = now.versions.into_iter().filter(|(id, _)| is_changed(id)).collect();
        }
        self.enact(application, rendered, &revision).await?;
        if application.spec.suspend {
            self.pin(what);
        }
        Ok(())
    }
}

/// `change Deployment default/web, delete ConfigMap default/old`, the first few.
fn changes(report: &Report) -> String {
    const SHOWN: usize = 5;
    let verb = |action| serde_json::to_value(action).ok().and_then(|verb| verb.as_str().map(str::to_owned));
    let one = |change: &ObjectChange| format!("{} {}", verb(change.action).unwrap_or_default(), describe(&change.id));
    let mut all: Vec<String> = report.changes().take(SHOWN).map(one).collect();
    match report.changes().count() {
        0 => return "change nothing".to_owned(),
        more if more > SHOWN => all.push(format!("{} more", more - SHOWN)),
        _ => {}
    }
    all.join(", ")
}
