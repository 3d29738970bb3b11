//! What a task writes to its Application's status; only when something changed.

use super::Task;
use crate::client::raw;
use crate::gitops::application::{Application, DriftCorrection, NAMESPACE};
use crate::gitops::plan::{Held, ObjectChange, Report};
use crate::gitops::render::describe;
use crate::gitops::sync::reporter::Progress;
use crate::gitops::sync::wait::{Waited, path};
use crate::gitops::sync::{Event, Outcome};
use http::Method;
use serde_json::{Value, json};

/// Changes of others that a status names.
const CHANGES: usize = 10;

impl Task {
    pub(super) async fn suspended(&mut self, application: &Application) {
        let now = self.now();
        self.status.observed_generation = generation(application);
        let message = match self.status.pinned.as_str() {
            "" => "spec.suspend is set".to_owned(),
            pinned => format!("{pinned}; `selkie app resume {}` follows the source again", self.name),
        };
        self.status.set("Synced", false, "Suspended", &message, &now);
        self.save().await;
    }

    /// There is no revision yet.
    pub(super) async fn unpushed(&mut self, message: &str) {
        let now = self.now();
        self.status.set("Synced", false, "NothingPushed", message, &now);
        self.save().await;
    }

    /// A revision failed and an earlier one is in force again.
    pub(super) async fn retreated(&mut self, revision: &str, message: &str) {
        let now = self.now();
        revision.clone_into(&mut self.status.attempted_revision);
        self.status.set("Synced", false, "RolledBack", message, &now);
        self.save().await;
    }

    /// A request was carried out, or cannot be.
    pub(super) async fn handled(&mut self, request: &str, error: &str) {
        request.clone_into(&mut self.status.handled_request);
        error.clone_into(&mut self.status.request_error);
        self.save().await;
    }

    pub(super) async fn deleting(&mut self, message: &str) {
        let now = self.now();
        self.status.set("Ready", false, "Deleting", message, &now);
        self.save().await;
    }

    /// Nothing was applied. The same errors are told once.
    pub(super) async fn failed(&mut self, reason: &str, revision: &str, errors: Vec<String>) {
        let now = self.now();
        let message = errors.first().cloned().unwrap_or_default();
        self.status.set("Synced", false, reason, &message, &now);
        self.status.errors.clone_from(&errors);
        if !revision.is_empty() {
            revision.clone_into(&mut self.status.attempted_revision);
        }
        let failure = (revision.to_owned(), errors);
        if self.told_failure.as_ref() != Some(&failure) {
            self.told_failure = Some(failure.clone());
            self.tell(Event::Failed { revision: failure.0, errors: failure.1 });
        }
        self.save().await;
    }

    pub(super) async fn succeeded(&mut self, application: &Application, revision: &str, outcome: &Outcome) {
        let now = self.now();
        let status = &mut self.status;
        status.observed_generation = generation(application);
        if status.revision != revision || !outcome.report.is_empty() || status.last_sync_time.is_empty() {
            now.clone_into(&mut status.last_sync_time);
        }
        revision.clone_into(&mut status.revision);
        revision.clone_into(&mut status.attempted_revision);
        status.errors.clear();
        self.told_failure = None;
        let status = &mut self.status;
        let message = format!("applied revision {}", crate::gitops::sources::short(revision));
        match outcome.held.as_ref().filter(|why| **why != Held::Disabled) {
            Some(why) => {
                let message = format!("{message}; {why}: nothing was deleted until that is confirmed");
                status.set("Synced", true, "PruneHeld", &message, &now);
            }
            None if !outcome.lost.is_empty() => status.set("Synced", false, "Lost", &outcome.lost.join("; "), &now),
            None => status.set("Synced", true, "Synced", &message, &now),
        }
        if !outcome.report.is_empty() {
            status.set("Ready", false, "Progressing", "waiting for changed objects", &now);
        }
        self.save().await;
    }

    pub(super) async fn ready_condition(&mut self, waited: &Waited) {
        let now = self.now();
        match waited.why() {
            None => self.status.set("Ready", true, "Ready", "all objects are ready", &now),
            // Whoever is told of each change of a condition has heard of this one.
            Some(_) if self.has_told(waited) => {}
            Some(why) => self.status.set("Ready", false, "Failed", &why, &now),
        }
        self.save().await;
    }

    /// Whether the status tells of this failure already, which was only looked at again: its container may have
    /// written other lines meanwhile, or wait to be started where it had just ended.
    fn has_told(&self, waited: &Waited) -> bool {
        let told = self.status.condition("Ready").filter(|known| known.reason == "Failed" && self.waits_again());
        let (Some(told), Some(first)) = (told, waited.failed.first()) else { return false };
        told.message.starts_with(&format!("{}: {}", describe(&first.id), first.message))
            && waited.cause.as_ref().is_none_or(|pod| told.message.contains(&pod.pod))
    }

    /// Others changed objects, and that is left as it is.
    pub(super) async fn drifted(&mut self, objects: &[String]) {
        let now = self.now();
        let left = match &self.closed {
            Some(closed) => format!("left while {closed}"),
            None => "left as spec.drift says".to_owned(),
        };
        let message = format!("changed by others, {left}: {}", objects.join(", "));
        self.status.set("Synced", false, "Drifted", &message, &now);
        self.save().await;
    }

    /// Others changed objects, and that was undone.
    pub(super) async fn corrected(&mut self, report: &Report) {
        let told = |object: &ObjectChange| match object.note.as_str() {
            "" => describe(&object.id),
            note => format!("{} ({note})", describe(&object.id)),
        };
        let mut changes: Vec<String> = report.changes().take(CHANGES).map(told).collect();
        let more = report.changes().count() - changes.len();
        if more > 0 {
            changes.push(format!("{more} more"));
        }
        let time = self.now();
        self.status.last_drift_correction = Some(DriftCorrection { time, changes });
        self.save().await;
    }

    /// A revision is not applied yet.
    pub(super) async fn not_yet(&mut self, application: &Application, revision: &str, reason: &str, why: &str) {
        let now = self.now();
        self.status.observed_generation = generation(application);
        revision.clone_into(&mut self.status.attempted_revision);
        self.status.set("Synced", false, reason, why, &now);
        self.save().await;
    }

    /// A revision is on its way.
    pub(super) async fn syncing(&mut self, application: &Application, revision: &str, doing: &str) {
        let now = self.now();
        self.status.observed_generation = generation(application);
        revision.clone_into(&mut self.status.attempted_revision);
        if self.status.revision != revision {
            self.status.set("Synced", false, "Syncing", doing, &now);
        }
        self.status.set("Ready", false, "Progressing", doing, &now);
        self.save().await;
    }

    /// What a stage waits for.
    pub(super) async fn waiting_for(&mut self, what: &str) {
        let now = self.now();
        self.status.set("Ready", false, "Progressing", &format!("waiting for {what}"), &now);
        self.save().await;
    }

    /// Something that was ready is so no more.
    pub(super) async fn not_ready(&mut self, first: &Progress) {
        let now = self.now();
        let message = format!("{}: {}", describe(&first.id), first.message);
        self.status.set("Ready", false, "Progressing", &message, &now);
        self.save().await;
    }

    pub(super) fn now(&self) -> String {
        self.shared.context.clock.now_seconds().to_string()
    }

    /// Writes what is not written yet. A wake-up may end the wait for the answer: then the next call
    /// writes it again.
    pub(super) async fn save(&mut self) {
        if self.written.as_ref() == Some(&self.status) {
            return;
        }
        let path = path("selkie.dev/v1alpha1", "applications", NAMESPACE, &self.name) + "/status";
        let mut status = json!(self.status);
        // What is not said any more is to go.
        let known = self.written.as_ref().map(|written| json!(written)).unwrap_or_default();
        for name in known.as_object().into_iter().flat_map(|fields| fields.keys()) {
            if status.get(name).is_none() {
                status[name.as_str()] = Value::Null;
            }
        }
        let body = Some(("application/merge-patch+json", json!({"status": status}).to_string().into()));
        match raw::request(&self.shared.context.client, Method::PATCH, &path, body).await {
            Ok(_) => self.written = Some(self.status.clone()),
            Err(error) if raw::is_not_found(&error) => {}
            Err(error) => {
                tracing::warn!(application = self.name, %error, "cannot write the application's status");
            }
        }
    }
}

fn generation(application: &Application) -> i64 {
    application.metadata.generation.unwrap_or(0)
}
