//! What a task writes into its Application's history.

use super::Task;
use crate::api::changeset::ObjectId;
use crate::gitops::application::Application;
use crate::gitops::inputs::Inputs;
use crate::gitops::plan::Totals;
use crate::gitops::render::Rendered;
use crate::gitops::sources::{Commit, Snapshot};
use crate::gitops::sync::history::{self, HistoryError, Record, Verdict, Writes};
use crate::gitops::sync::wait::Waited;
use crate::gitops::sync::{Options, SyncError};
use std::collections::BTreeMap;

/// The history as the task knows it.
#[derive(Default)]
pub(super) struct Recording {
    /// Oldest first; `None` until it was read.
    known: Option<Vec<Record>>,
    /// The newest entry is ahead of what is stored.
    unsaved: bool,
}

/// A revision that is about to be applied, as the history will tell it.
#[derive(Clone, Default)]
pub(super) struct Revision {
    pub revision: String,
    /// What it was rendered with; not known of what is returned to.
    pub inputs: String,
    /// Commits of other repositories, by where these are.
    pub bases: BTreeMap<String, String>,
    pub commit: Option<Commit>,
    pub source: String,
    /// How it came about, where not from the source.
    pub via: String,
    /// The plan that somebody asked for.
    pub planned: Option<Planned>,
}

/// How a saved plan is applied.
#[derive(Clone, Default)]
pub(super) struct Planned {
    pub force: bool,
    pub replace: bool,
    /// Of the objects that it changes.
    pub versions: Vec<(ObjectId, String)>,
}

impl Revision {
    /// Sets what follows from how it came about.
    pub fn adjust(&self, options: &mut Options) {
        // Who returns to a revision means all of it.
        if !self.via.is_empty() {
            (options.prune, options.prune_confirmed) = (true, true);
        }
        if let Some(planned) = &self.planned {
            options.force |= planned.force;
            options.replace = planned.replace;
        }
    }

    /// Somebody asked for just this one: it goes on although the Application is suspended.
    pub fn is_asked_for(&self) -> bool {
        !self.via.is_empty() || self.planned.is_some()
    }

    pub fn of(snapshot: &Snapshot, inputs: &Inputs) -> Self {
        Self {
            revision: snapshot.revision.clone(),
            inputs: inputs.version.clone(),
            bases: snapshot.bases(),
            commit: snapshot.commit.clone(),
            source: snapshot.origin.clone(),
            ..Self::default()
        }
    }
}

impl Task {
    /// The history, read once.
    pub(super) async fn history(&mut self) -> Result<&mut Vec<Record>, HistoryError> {
        if self.recording.known.is_none() {
            self.recording.known = Some(history::list(&self.shared.context.client, &self.name).await?);
        }
        Ok(self.recording.known.get_or_insert_default())
    }

    /// The next entry of the history; `None` where the manifests are those of the last one.
    pub(super) async fn record(
        &mut self,
        rendered: &Rendered,
        revision: &Revision,
    ) -> Result<Option<Record>, SyncError> {
        let (digest, applied) = (history::digest(rendered), self.shared.context.clock.now_seconds().to_string());
        // Numbers are not given twice, even where someone deleted entries.
        let given = self.status.revision_number;
        let known = self.history().await?;
        let last = known.last();
        if last.is_some_and(|last| last.digest == digest) {
            return Ok(None);
        }
        Ok(Some(Record {
            number: last.map_or(0, |last| last.number).max(given) + 1,
            revision: revision.revision.clone(),
            commit: revision.commit.clone(),
            applied,
            source: revision.source.clone(),
            via: revision.via.clone(),
            objects: rendered.objects.len(),
            digest,
            ..Record::default()
        }))
    }

    pub(super) fn writes(&self, application: &Application, record: &mut Record, rendered: &Rendered) -> Writes {
        history::writes(application, record, rendered, self.recording.known.as_deref().unwrap_or_default())
    }

    /// The revision was applied, and its entry with it. `ready`: there is nothing to wait for.
    pub(super) fn recorded(&mut self, application: &Application, mut record: Record, totals: Totals, ready: bool) {
        record.totals = Some(totals);
        if ready {
            record.result = Verdict::Ready;
        }
        self.status.revision_number = record.number;
        let known = self.recording.known.get_or_insert_default();
        known.push(record);
        let surplus = known.len().saturating_sub(application.history_limit());
        known.drain(..surplus);
        self.recording.unsaved = true;
    }

    pub(super) fn newest(&self) -> Option<&Record> {
        self.recording.known.as_ref()?.last()
    }

    /// What came of the newest entry.
    pub(super) fn conclude(&mut self, waited: &Waited) {
        let Some(record) = self.recording.known.as_mut().and_then(|known| known.last_mut()) else { return };
        let describe = crate::gitops::render::describe;
        record.failures = waited.failed.iter().map(|one| format!("{}: {}", describe(&one.id), one.message)).collect();
        record.result = if waited.failed.is_empty() { Verdict::Ready } else { Verdict::Failed };
        self.recording.unsaved = true;
    }

    /// Stores what became known of the newest entry.
    pub(super) async fn flush(&mut self) {
        let last = self.recording.known.as_ref().and_then(|known| known.last());
        let Some(record) = last.filter(|_| self.recording.unsaved) else { return };
        match history::save(&self.shared.context.client, &self.name, record).await {
            Ok(()) => self.recording.unsaved = false,
            Err(error) => {
                // Someone deleted it, or the server does not answer: the next look tells.
                tracing::debug!(application = self.name, %error, "cannot complete the revision in the history");
                self.recording = Recording::default();
            }
        }
    }
}
