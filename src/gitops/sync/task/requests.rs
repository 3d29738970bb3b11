//! What people ask of a sync: a look now, a return to an earlier revision, the last removal undone.

use super::Task;
use super::recording::{Planned, Revision};
use crate::client::raw;
use crate::gitops::application::{Application, NAMESPACE, Request};
use crate::gitops::render::{Rendered, same_object};
use crate::gitops::sources::{self, SourceError};
use crate::gitops::sync::history::{self, HistoryError};
use crate::gitops::sync::live::live;
use crate::gitops::sync::wait::path;
use crate::gitops::sync::{Event, SyncError};
use crate::gitops::windows::{Closed, Who};
use http::Method;
use serde_json::json;
use std::time::Duration;

/// How long a change of the Application takes to come back, at most.
const ECHO: Duration = Duration::from_secs(10);
const LOOK: Duration = Duration::from_millis(20);

/// Why a request was not carried out.
#[derive(Debug, thiserror::Error)]
pub(super) enum Refusal {
    #[error("{0}")]
    Request(String),
    #[error(transparent)]
    Source(#[from] SourceError),
    #[error(transparent)]
    History(#[from] HistoryError),
    #[error(transparent)]
    Sync(#[from] SyncError),
    #[error("{0}; with manualSync: true in all spec.syncWindows that close, people may sync meanwhile")]
    Window(Closed),
    #[error("the application cannot be suspended: {0}")]
    Suspend(String),
}

impl Task {
    /// Carries out a request, once.
    pub(super) async fn obey(&mut self, application: &Application, asked: &str) {
        let result = match (Request::parse(asked), self.closed_to(application, Who::Person)) {
            (Err(why), _) => Err(Refusal::Request(why)),
            (Ok(Request::Sync { .. }), _) if application.spec.suspend => Err(Refusal::Request(format!(
                "application {:?} is suspended: `selkie app resume {}` follows the source again",
                self.name, self.name
            ))),
            (Ok(_), Some(closed)) => Err(Refusal::Window(closed)),
            (Ok(Request::Sync { force }), None) => {
                if force {
                    self.status.quarantine = None;
                }
                match self.pass(application, Who::Person).await {
                    // Changed meanwhile: carried out on what it is now.
                    None => return,
                    Some(succeeded) => {
                        self.failures = u32::from(!succeeded);
                        self.still_quarantined()
                    }
                }
            }
            (Ok(Request::Rollback(number)), None) => self.return_to(application, number).await,
            (Ok(Request::Undo), None) => self.undo(application).await,
            (Ok(Request::Apply { revision, plan, force, replace }), None) => {
                let planned = Planned { force, replace, ..Planned::default() };
                match self.apply_plan(application, &revision, &plan, planned).await {
                    None => return,
                    Some(result) => result,
                }
            }
        };
        let error = result.err().map(|error| error.to_string()).unwrap_or_default();
        if !error.is_empty() {
            self.tell(Event::Warning(error.clone()));
        }
        self.status.replacing = None;
        self.handled(asked, &error).await;
    }

    /// A sync that found nothing but what failed before has done nothing.
    fn still_quarantined(&self) -> Result<(), Refusal> {
        let Some(quarantine) = &self.status.quarantine else { return Ok(()) };
        let (revision, name) = (sources::short(&quarantine.revision), &self.name);
        Err(Refusal::Request(format!(
            "{revision} failed and was taken back: {}; `selkie app sync {name} --force` tries it again",
            quarantine.cause
        )))
    }

    /// Applies exactly the objects of an earlier revision, and leaves it at that.
    async fn return_to(&mut self, application: &Application, number: u64) -> Result<(), Refusal> {
        let client = self.shared.context.client.clone();
        let rendered = history::manifests(&client, &self.name, number).await?;
        let known = self.history().await?;
        let missing = || Refusal::Request(format!("revision {number} is not in the history"));
        let record = known.iter().find(|record| record.number == number).ok_or_else(missing)?.clone();
        self.suspend(application).await?;
        let revision = Revision {
            revision: record.revision.clone(),
            commit: record.commit.clone(),
            source: record.source.clone(),
            via: format!("rollback to {number}"),
            ..Revision::default()
        };
        self.enact(application, rendered, &revision).await?;
        self.pin(format!("rolled back to revision {}", record.describe()));
        Ok(())
    }

    /// Makes again what the newest revision no longer had.
    async fn undo(&mut self, application: &Application) -> Result<(), Refusal> {
        let client = self.shared.context.client.clone();
        let known = self.history().await?;
        let [.., before, last] = known.as_slice() else {
            return Err(Refusal::Request("there is nothing to undo: the history has one revision only".to_owned()));
        };
        let (before, last) = (before.number, last.clone());
        let mut now = history::manifests(&client, &self.name, last.number).await?;
        let removed = history::removed(&history::manifests(&client, &self.name, before).await?, &now);
        let objects = history::without_hooks(&removed);
        if objects.objects.is_empty() {
            let why = format!("revision {} removed nothing; `selkie app history {}`", last.describe(), self.name);
            return Err(Refusal::Request(why));
        }
        if !self.source_has(&removed) {
            self.suspend(application).await?;
        }
        let (gone, there) = self.count_gone(&objects).await;
        now.objects.extend(removed.objects);
        let revision = Revision {
            revision: last.revision.clone(),
            commit: last.commit.clone(),
            source: last.source.clone(),
            via: format!("undo of {}", last.number),
            ..Revision::default()
        };
        self.enact(application, now, &revision).await?;
        let counted = |count| if count == 1 { "1 object".to_owned() } else { format!("{count} objects") };
        let kept = match there {
            0 => String::new(),
            1 => "; 1 more was still there".to_owned(),
            _ => format!("; {there} more were still there"),
        };
        self.pin(match gone {
            0 => format!("took back {} that revision {} had left out, still there", counted(there), last.describe()),
            _ => format!("made {} again that revision {} had removed{kept}", counted(gone), last.describe()),
        });
        Ok(())
    }

    /// Of what the source has no more, how many objects are gone, and how many are there all the same: their data is
    /// kept, or pruning is off or held.
    async fn count_gone(&self, removed: &Rendered) -> (usize, usize) {
        let (client, kinds) = (&self.shared.context.client, &*self.shared.settings.kinds);
        let mut there = 0;
        for manifest in &removed.objects {
            let live = live(client, kinds, &manifest.id).await;
            there += usize::from(live.is_some_and(|object| object.pointer("/metadata/deletionTimestamp").is_none()));
        }
        (removed.objects.len() - there, there)
    }

    /// Whether the source, as it was read last, would leave these objects alone.
    fn source_has(&self, objects: &Rendered) -> bool {
        let Some(good) = &self.good else { return false };
        let in_source = |id| good.rendered.objects.iter().any(|manifest| same_object(&manifest.id, id));
        objects.objects.iter().all(|manifest| in_source(&manifest.id))
    }

    pub(super) fn pin(&mut self, what: String) {
        if self.application().is_some_and(|application| application.spec.suspend) {
            let warning = format!("{what}; suspended until `selkie app resume {}`", self.name);
            self.tell(Event::Warning(warning));
        }
        self.status.pinned = what;
    }

    /// Suspends the Application, and returns when this process knows: the source must not be applied
    /// over what comes next.
    async fn suspend(&self, application: &Application) -> Result<(), Refusal> {
        if application.spec.suspend {
            return Ok(());
        }
        let path = path("selkie.dev/v1alpha1", "applications", NAMESPACE, &self.name);
        let body = json!({"spec": {"suspend": true}}).to_string();
        let patched = raw::request(
            &self.shared.context.client,
            Method::PATCH,
            &path,
            Some(("application/merge-patch+json", body.into())),
        );
        patched.await.map_err(|error| Refusal::Suspend(error.to_string()))?;
        let seen = async {
            while self.application().is_some_and(|now| !now.spec.suspend) {
                tokio::time::sleep(LOOK).await;
            }
        };
        tokio::time::timeout(ECHO, seen).await.map_err(|_| Refusal::Suspend("it does not show".to_owned()))
    }
}
