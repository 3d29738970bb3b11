//! What the status of a commit is to say, as an Application's status has it. Pure.

use crate::gitops::application::{Application, ApplicationStatus};

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum State {
    Pending,
    Success,
    Failure,
}

impl State {
    pub fn name(self) -> &'static str {
        match self {
            Self::Pending => "pending",
            Self::Success => "success",
            Self::Failure => "failure",
        }
    }
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CommitStatus {
    pub revision: String,
    pub state: State,
    pub message: String,
}

impl CommitStatus {
    /// What tells one from the next, as `status.notifications` keeps it.
    pub fn key(&self) -> String {
        format!("{}@{}", self.state.name(), self.revision)
    }
}

/// How the commit tried last fares. `None`: that is not known, or it is no commit.
pub fn status(application: &Application) -> Option<CommitStatus> {
    let status = &application.status;
    let revision = &status.attempted_revision;
    let is_commit = matches!(revision.len(), 40 | 64) && revision.bytes().all(|byte| byte.is_ascii_hexdigit());
    let (state, message) = state(status).filter(|_| is_commit)?;
    Some(CommitStatus { revision: revision.clone(), state, message })
}

fn state(status: &ApplicationStatus) -> Option<(State, String)> {
    let sync = status.condition("Synced")?;
    if let Some(failed) = status.quarantine.as_ref().filter(|failed| failed.revision == status.attempted_revision) {
        return Some((State::Failure, format!("rolled back: {}", failed.cause)));
    }
    match sync.reason.as_str() {
        "SyncFailed" | "Refused" | "SignatureRefused" | "RolledBack" | "RollbackFailed" | "Lost" => {
            Some((State::Failure, sync.message.clone()))
        }
        "Syncing" | "DependencyNotReady" | "WindowClosed" => Some((State::Pending, sync.message.clone())),
        // What others changed, and that pruning waits, says nothing of the commit.
        "Synced" | "PruneHeld" | "Drifted" => {
            let ready = status.condition("Ready")?;
            Some(match (ready.status.as_str(), ready.reason.as_str()) {
                ("True", _) => (State::Success, ready.message.clone()),
                (_, "Failed") => (State::Failure, ready.message.clone()),
                _ => (State::Pending, ready.message.clone()),
            })
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use serde_json::{Value, json};

    const COMMIT: &str = "0123456789abcdef0123456789abcdef01234567";

    fn told(mut more: Value, synced: &str, ready: (&str, &str)) -> Option<&'static str> {
        more["conditions"] = json!([{"type": "Synced", "reason": synced},
            {"type": "Ready", "status": ready.0, "reason": ready.1}]);
        if more["attemptedRevision"].is_null() {
            more["attemptedRevision"] = json!(COMMIT);
        }
        let application = serde_json::from_value(json!({"spec": {}, "status": more})).unwrap();
        status(&application).map(|status| status.state.name())
    }

    #[test]
    fn a_commit_succeeds_when_all_of_it_is_ready() {
        let (ready, progressing, failed) = (("True", "Ready"), ("False", "Progressing"), ("False", "Failed"));
        for synced in ["Synced", "PruneHeld", "Drifted"] {
            assert_eq!(told(json!({}), synced, progressing), Some("pending"));
            assert_eq!(told(json!({}), synced, ready), Some("success"));
            assert_eq!(told(json!({}), synced, failed), Some("failure"));
        }
        for synced in ["SyncFailed", "Refused", "SignatureRefused", "RolledBack", "RollbackFailed", "Lost"] {
            assert_eq!(told(json!({}), synced, ready), Some("failure"), "{synced}");
        }
        for synced in ["Syncing", "DependencyNotReady", "WindowClosed"] {
            assert_eq!(told(json!({}), synced, ready), Some("pending"), "{synced}");
        }
        let taken_back = json!({"quarantine": {"revision": COMMIT, "cause": "it crashed"}});
        assert_eq!(told(taken_back, "Synced", ready), Some("failure"));
    }

    #[test]
    fn nothing_is_said_of_what_is_not_known() {
        let ready = ("True", "Ready");
        assert_eq!(told(json!({}), "SourceFailed", ready), None);
        assert_eq!(told(json!({}), "Suspended", ready), None);
        assert_eq!(told(json!({"attemptedRevision": "sha256:00"}), "Synced", ready), None, "a directory has no commit");
    }
}
