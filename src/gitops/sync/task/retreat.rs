//! A rollout that fails returns to the last revision that was ready, where the Application asks for
//! it; the revision that failed is not applied again by itself.

use super::recording::Revision;
use super::{Good, Task};
use crate::gitops::application::{Application, Quarantine};
use crate::gitops::sources::short;
use crate::gitops::sync::history::{self, Record, Verdict};
use crate::gitops::sync::wait::Waited;
use crate::gitops::sync::{Event, SyncError};
use jiff::Timestamp;

/// The revision to return to: the last one that was ready, if the newest came from the source. What
/// was returned to already and fails, too, is left to people.
fn target(known: &[Record]) -> Option<&Record> {
    let (newest, earlier) = known.split_last()?;
    let fits = |record: &&Record| record.result == Verdict::Ready && record.digest != newest.digest;
    if newest.via.is_empty() { earlier.iter().rev().find(fits) } else { None }
}

impl Task {
    /// Whether what is waited for is to be taken back if it fails.
    pub(super) async fn may_retreat(&mut self, application: &Application) -> bool {
        application.rolls_back()
            && !application.spec.suspend
            && self.history().await.is_ok_and(|known| target(known).is_some())
    }

    /// When the newest revision was applied.
    pub(super) fn applied_at(&self) -> Option<Timestamp> {
        self.newest()?.applied.parse().ok()
    }

    /// Returns to the last revision that was ready.
    pub(super) async fn retreat(&mut self, application: &Application, failure: Waited) {
        let (failed, inputs) = match &self.operation {
            Some(operation) => (operation.revision(), operation.inputs()),
            None => (self.status.revision.as_str(), self.status.inputs.as_str()),
        };
        let (failed, inputs) = (failed.to_owned(), inputs.to_owned());
        let quarantine = Quarantine { inputs, ..quarantine(&failed, self.now(), &failure) };
        let cause = quarantine.cause.clone();
        // First, so that a daemon that ends here does not try the revision again.
        self.status.quarantine = Some(quarantine);
        self.save().await;
        let number = match self.return_to_ready(application).await {
            Ok(number) => number,
            Err(error) => {
                // What is waited for is found to have failed again, and that leads here.
                self.failures += 1;
                self.failed("RollbackFailed", &failed, error.lines()).await;
                tokio::time::sleep(self.shared.settings.retry.after(self.failures)).await;
                return;
            }
        };
        let (failed_short, back, name) = (short(&failed), short(&self.status.revision).to_owned(), &self.name);
        let message = format!(
            "{failed_short} failed: {cause}; back at revision {number} ({back}) until there is a newer one, or \
             `selkie app sync {name} --force`"
        );
        self.tell(Event::Warning(message.clone()));
        self.status.pinned = format!("{failed_short} failed and was taken back");
        self.retreated(&failed, &message).await;
    }

    async fn return_to_ready(&mut self, application: &Application) -> Result<u64, SyncError> {
        let client = self.shared.context.client.clone();
        let Some(record) = target(self.history().await?).cloned() else { return Ok(self.status.revision_number) };
        let rendered = history::manifests(&client, &self.name, record.number).await?;
        let number = record.number;
        let Record { revision, commit, source, .. } = record;
        let via = format!("automatic rollback to {number}");
        self.enact(application, rendered, &Revision { revision, commit, source, via, ..Revision::default() }).await?;
        Ok(number)
    }

    pub(super) fn is_quarantined(&self, revision: &str, inputs: &str) -> bool {
        let quarantine = self.status.quarantine.as_ref();
        quarantine.is_some_and(|quarantine| quarantine.revision == revision && quarantine.inputs == inputs)
    }

    /// Keeps in force what was returned to. False: it could not.
    pub(super) async fn stay(&mut self, application: &Application) -> bool {
        if self.good.is_none()
            && let Some((number, revision)) = self.newest().map(|newest| (newest.number, newest.revision.clone()))
            && let Ok(rendered) = history::manifests(&self.shared.context.client, &self.name, number).await
        {
            let (namespace, inputs) = (application.namespace().to_owned(), String::new());
            self.good = Some(Good { revision, inputs, namespace, rendered, followed: false });
        }
        self.repair(application, false).await
    }
}

fn quarantine(revision: &str, since: String, failure: &Waited) -> Quarantine {
    let cause = failure.why().unwrap_or_default();
    let log = failure.cause.as_ref().map(|pod| pod.log.clone()).unwrap_or_default();
    Quarantine { revision: revision.to_owned(), since, cause, log, ..Quarantine::default() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_was_ready_and_differs_is_returned_to() {
        let record = |number: u64, digest: &str, result, via: &str| Record {
            number,
            digest: digest.into(),
            result,
            via: via.into(),
            ..Record::default()
        };
        let (ready, failed) = (Verdict::Ready, Verdict::Failed);
        let known = [record(1, "a", ready, ""), record(2, "b", failed, ""), record(3, "c", failed, "")];
        assert_eq!(target(&known).map(|record| record.number), Some(1));
        assert_eq!(target(&known[..1]), None, "there is nothing before");
        assert_eq!(target(&[record(1, "a", ready, ""), record(2, "a", failed, "")]), None, "it is the same");
        let again = [record(1, "a", ready, ""), record(2, "b", failed, ""), record(3, "a", failed, "rollback to 1")];
        assert_eq!(target(&again), None, "what was returned to is left to people");
    }
}
