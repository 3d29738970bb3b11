//! What was taken from an Application for good.

use super::Task;
use crate::api::changeset::ObjectId;
use crate::gitops::application::Application;
use crate::gitops::render::same_object;
use crate::gitops::sync::taking;

impl Task {
    /// Takes note of what was taken from the Application, or is its own again.
    pub(super) async fn let_go(&mut self, application: &Application) -> Result<(), String> {
        if let Some(text) = application.taken_text() {
            let uid = application.metadata.uid.as_deref().unwrap_or_default();
            let is_back = || self.shared.readopting.lock().get(uid).is_some_and(|known| known == text);
            if (application.spec.adopt || is_back()) && taking::forget(&self.shared.context.client, application).await {
                self.shared.readopting.lock().remove(uid);
            }
        }
        let taken = application.taken_over()?;
        if taken != self.taken {
            self.taken = taken;
            self.shared.ring(&self.shared.ledger.hold(&self.name, &self.ours()));
        }
        Ok(())
    }

    /// The inventory without what was taken.
    pub(super) fn ours(&self) -> Vec<ObjectId> {
        let is_taken = |id: &ObjectId| self.taken.iter().any(|taken| same_object(taken, id));
        self.status.inventory.iter().filter(|id| !is_taken(id)).cloned().collect()
    }
}
