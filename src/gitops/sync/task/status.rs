//! What a task writes to its Application's status; only when something changed.

use super::Task;
use crate::client::raw;
use crate::gitops::application::{Application, ApplicationStatus, NAMESPACE};
use crate::gitops::sync::wait::{Waited, path};
use crate::gitops::sync::{Event, Outcome};
use http::Method;
use serde_json::json;

impl Task {
    pub(super) async fn suspended(&mut self, application: &Application) {
        let before = self.status.clone();
        let now = self.now();
        self.status.observed_generation = generation(application);
        let message = match self.status.pinned.as_str() {
            "" => "spec.suspend is set".to_owned(),
            pinned => format!("{pinned}; `selkie app resume {}` follows the source again", self.name),
        };
        self.status.set("Synced", false, "Suspended", &message, &now);
        self.save(&before).await;
    }

    /// A revision failed and an earlier one is in force again.
    pub(super) async fn retreated(&mut self, revision: &str, message: &str) {
        let before = self.status.clone();
        let now = self.now();
        revision.clone_into(&mut self.status.attempted_revision);
        self.status.set("Synced", false, "RolledBack", message, &now);
        self.save(&before).await;
    }

    /// A request was carried out, or cannot be.
    pub(super) async fn handled(&mut self, request: &str, error: &str) {
        let before = self.status.clone();
        request.clone_into(&mut self.status.handled_request);
        error.clone_into(&mut self.status.request_error);
        self.save(&before).await;
    }

    pub(super) async fn deleting(&mut self, message: &str) {
        let before = self.status.clone();
        let now = self.now();
        self.status.set("Ready", false, "Deleting", message, &now);
        self.save(&before).await;
    }

    /// Nothing was applied. The same errors are told once.
    pub(super) async fn failed(&mut self, reason: &str, revision: &str, errors: Vec<String>) {
        let before = self.status.clone();
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
        self.save(&before).await;
    }

    pub(super) async fn succeeded(&mut self, application: &Application, revision: &str, outcome: &Outcome) {
        // These are in memory already; they count as changed all the same.
        let ApplicationStatus { inventory, revision_number, pinned, quarantine, .. } = self.saved();
        let before = ApplicationStatus { inventory, revision_number, pinned, quarantine, ..self.status.clone() };
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
        status.set("Synced", true, "Synced", &message, &now);
        if !outcome.report.is_empty() {
            status.set("Ready", false, "Progressing", "waiting for changed objects", &now);
        }
        self.save(&before).await;
    }

    pub(super) async fn ready_condition(&mut self, waited: &Waited) {
        let before = self.status.clone();
        let now = self.now();
        match waited.failed.first() {
            None => self.status.set("Ready", true, "Ready", "all objects are ready", &now),
            Some(first) => {
                let message = format!("{}: {}", crate::gitops::render::describe(&first.id), first.message);
                self.status.set("Ready", false, "Failed", &message, &now);
            }
        }
        self.save(&before).await;
    }

    pub(super) fn now(&self) -> String {
        self.shared.context.clock.now_seconds().to_string()
    }

    /// The status as it was saved, where that may be behind what is in memory.
    fn saved(&self) -> ApplicationStatus {
        self.application().map(|application| application.status.clone()).unwrap_or_default()
    }

    pub(super) async fn save(&self, before: &ApplicationStatus) {
        if *before == self.status {
            return;
        }
        let path = path("selkie.dev/v1alpha1", "applications", NAMESPACE, &self.name) + "/status";
        let body = json!({"status": self.status}).to_string();
        let body = Some(("application/merge-patch+json", body.into()));
        let client = &self.shared.context.client;
        if let Err(error) = raw::request(client, Method::PATCH, &path, body).await
            && !raw::is_not_found(&error)
        {
            tracing::warn!(application = self.name, %error, "cannot write the application's status");
        }
    }
}

fn generation(application: &Application) -> i64 {
    application.metadata.generation.unwrap_or(0)
}
