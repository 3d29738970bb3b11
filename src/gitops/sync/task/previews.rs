//! Keeps the previews of an Application: an Application of its own for each branch that is to have one.

use super::Task;
use crate::client::raw;
use crate::gitops::application::{Application, NAMESPACE, Preview};
use crate::gitops::previews;
use crate::gitops::sync::wait::path;
use http::Method;
use std::sync::Arc;

impl Task {
    /// Makes those that are missing, and deletes those whose time is over. What fails is tried at the next look.
    pub(super) async fn preview(&mut self, application: &Application) {
        let Some(spec) = &application.spec.previews else {
            self.end_previews(application, &[]).await;
            self.status.previews.clear();
            return;
        };
        let Some(source) = self.source() else { return };
        let branches = match source.branches().await {
            Ok(branches) => branches,
            Err(error) => return self.warn(&format!("the branches cannot be listed: {error}")),
        };
        // The informer's may be behind.
        let known = Application { status: self.status.clone(), ..application.clone() };
        let wanted = previews::decide(&known, spec, &branches, self.shared.context.clock.now_seconds());
        for preview in wanted.iter().filter(|preview| !preview.ended) {
            self.make_preview(application, preview).await;
        }
        self.end_previews(application, &wanted).await;
        self.status.previews = wanted;
        self.save().await;
    }

    async fn make_preview(&mut self, application: &Application, preview: &Preview) {
        let name = &preview.name;
        let there = self.shared.applications.get(NAMESPACE, name);
        if there.is_some_and(|there| there.spec.preview_of != self.name || there.is_deleted()) {
            let who = format!("there is another application {name:?}, or it is being deleted");
            return self.warn(&format!("no preview of {}: {who}", preview.branch));
        }
        let path =
            path("selkie.dev/v1alpha1", "applications", NAMESPACE, name) + "?fieldManager=selkie-previews&force=true";
        let body = Some(("application/apply-patch+yaml", previews::copy(application, preview).to_string().into()));
        if let Err(error) = raw::request(&self.shared.context.client, Method::PATCH, &path, body).await {
            self.warn(&format!("no preview of {}: {error}", preview.branch));
        }
    }

    /// Deletes the previews that are not wanted any more, and with them all that they made.
    async fn end_previews(&mut self, application: &Application, wanted: &[Preview]) {
        let is_over = |app: &Arc<Application>| {
            app.spec.preview_of == application.name()
                && !app.is_deleted()
                && !wanted.iter().any(|preview| preview.name == app.name() && !preview.ended)
        };
        for app in self.shared.applications.list().iter().filter(|app| is_over(app)) {
            let path = path("selkie.dev/v1alpha1", "applications", NAMESPACE, app.name());
            if let Err(error) = raw::request(&self.shared.context.client, Method::DELETE, &path, None).await
                && !raw::is_not_found(&error)
            {
                self.warn(&format!("the preview {} cannot be deleted: {error}", app.name()));
            }
        }
    }
}
