//! What is worth telling of an Application: the edges of its status. Pure.
//!
//! A sync says in the status, and nowhere else, how it goes. Events, metrics and notifications all read
//! the same notices from it, so that none of them can hold a sync up, and a daemon that starts again
//! knows what is old news.

use super::application::{Application, Condition, Request};

/// What happened. The names are those of Events and of `spec.notifications[].events`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Reason {
    /// A revision is being applied in stages.
    Syncing,
    /// A revision is in force.
    Synced,
    /// It could not be applied, for a reason that may pass.
    SyncFailed,
    /// It is not applied, or not all of it, until somebody changes something.
    Refused,
    /// The source cannot be read.
    SourceFailed,
    /// The newest commit is signed by nobody whose signature counts, and is not looked at.
    SignatureRefused,
    /// There is no revision yet: the first push is waited for.
    NothingPushed,
    /// Another Application comes first.
    DependencyNotReady,
    /// A revision waits for `spec.syncWindows`.
    WindowClosed,
    /// All objects are ready.
    Healthy,
    /// An object failed, or was not ready in time.
    HealthDegraded,
    /// Others changed objects, and they stay as they are.
    DriftDetected,
    /// Others changed objects, and that was undone.
    DriftCorrected,
    /// An earlier revision is in force again, by itself or because somebody asked for it.
    RolledBack,
    /// A revision failed, and the one before could not be returned to.
    RollbackFailed,
    /// What the last revision removed was made again.
    Undone,
    Suspended,
    Resumed,
}

impl Reason {
    pub const ALL: [Self; 18] = [
        Self::Syncing,
        Self::Synced,
        Self::SyncFailed,
        Self::Refused,
        Self::SourceFailed,
        Self::SignatureRefused,
        Self::NothingPushed,
        Self::DependencyNotReady,
        Self::WindowClosed,
        Self::Healthy,
        Self::HealthDegraded,
        Self::DriftDetected,
        Self::DriftCorrected,
        Self::RolledBack,
        Self::RollbackFailed,
        Self::Undone,
        Self::Suspended,
        Self::Resumed,
    ];

    pub fn name(self) -> &'static str {
        match self {
            Self::Syncing => "Syncing",
            Self::Synced => "Synced",
            Self::SyncFailed => "SyncFailed",
            Self::Refused => "Refused",
            Self::SourceFailed => "SourceFailed",
            Self::SignatureRefused => "SignatureRefused",
            Self::NothingPushed => "NothingPushed",
            Self::DependencyNotReady => "DependencyNotReady",
            Self::WindowClosed => "WindowClosed",
            Self::Healthy => "Healthy",
            Self::HealthDegraded => "HealthDegraded",
            Self::DriftDetected => "DriftDetected",
            Self::DriftCorrected => "DriftCorrected",
            Self::RolledBack => "RolledBack",
            Self::RollbackFailed => "RollbackFailed",
            Self::Undone => "Undone",
            Self::Suspended => "Suspended",
            Self::Resumed => "Resumed",
        }
    }

    /// Whether people should look.
    pub fn is_warning(self) -> bool {
        match self {
            Self::SyncFailed
            | Self::Refused
            | Self::SourceFailed
            | Self::SignatureRefused
            | Self::HealthDegraded
            | Self::DriftDetected
            | Self::RolledBack
            | Self::RollbackFailed => true,
            Self::Syncing
            | Self::Synced
            | Self::NothingPushed
            | Self::DependencyNotReady
            | Self::WindowClosed
            | Self::Healthy
            | Self::DriftCorrected
            | Self::Undone
            | Self::Suspended
            | Self::Resumed => false,
        }
    }
}

/// Something that happened to an Application.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Notice {
    pub reason: Reason,
    /// What it is about; empty: no single revision.
    pub revision: String,
    /// One or more lines for people, without secrets.
    pub message: String,
}

/// What happened between two states of an Application, in the order in which it is told.
pub fn between(old: &Application, new: &Application) -> Vec<Notice> {
    let mut notices = passing(old, new);
    for of in [sync as fn(&Application) -> Option<Notice>, health] {
        let now = of(new);
        if now != of(old) {
            notices.extend(now);
        }
    }
    notices
}

/// What happened, and is not the state that the Application is in now.
pub fn passing(old: &Application, new: &Application) -> Vec<Notice> {
    let mut notices = Vec::new();
    if old.spec.suspend && !new.spec.suspend {
        let message = "the source is followed again".to_owned();
        notices.push(Notice { reason: Reason::Resumed, revision: new.status.revision.clone(), message });
    }
    let corrected = &new.status.last_drift_correction;
    if old.status.last_drift_correction != *corrected
        && let Some(drift) = corrected
    {
        let message = format!("changed by others, set right: {}", drift.changes.join("; "));
        notices.push(Notice { reason: Reason::DriftCorrected, revision: new.status.revision.clone(), message });
    }
    notices.extend(answered(old, new));
    notices
}

/// A return that somebody asked for.
fn answered(old: &Application, new: &Application) -> Option<Notice> {
    let (before, now) = (&old.status, &new.status);
    if before.handled_request == now.handled_request || !now.request_error.is_empty() {
        return None;
    }
    let reason = match Request::parse(&now.handled_request).ok()? {
        Request::Rollback(_) => Reason::RolledBack,
        Request::Undo => Reason::Undone,
        Request::Sync { .. } | Request::Apply { .. } => return None,
    };
    Some(Notice { reason, revision: now.revision.clone(), message: now.pinned.clone() })
}

/// How the sync stands.
pub fn sync(application: &Application) -> Option<Notice> {
    let status = &application.status;
    let condition = status.condition("Synced")?;
    let (in_force, tried) = (status.revision.as_str(), status.attempted_revision.as_str());
    let (reason, revision) = match condition.reason.as_str() {
        "Synced" => (Reason::Synced, in_force),
        "Syncing" => (Reason::Syncing, tried),
        "SyncFailed" => (Reason::SyncFailed, tried),
        "Refused" => (Reason::Refused, tried),
        "PruneHeld" | "Lost" => (Reason::Refused, in_force),
        "SourceFailed" => (Reason::SourceFailed, ""),
        "SignatureRefused" => (Reason::SignatureRefused, tried),
        "NothingPushed" => (Reason::NothingPushed, ""),
        "DependencyNotReady" => (Reason::DependencyNotReady, tried),
        "WindowClosed" => (Reason::WindowClosed, tried),
        "Drifted" => (Reason::DriftDetected, in_force),
        "RolledBack" => (Reason::RolledBack, tried),
        "RollbackFailed" => (Reason::RollbackFailed, tried),
        "Suspended" => (Reason::Suspended, in_force),
        _ => return None,
    };
    let message = match reason {
        // The stages are progress, not news.
        Reason::Syncing => "a revision is being applied in stages".to_owned(),
        _ => with_count(condition, status.errors.len()),
    };
    Some(Notice { reason, revision: revision.to_owned(), message })
}

/// How the objects are, once that is known.
pub fn health(application: &Application) -> Option<Notice> {
    let status = &application.status;
    let condition = status.condition("Ready")?;
    let reason = match (condition.status.as_str(), condition.reason.as_str()) {
        ("True", _) => Reason::Healthy,
        ("False", "Failed") => Reason::HealthDegraded,
        _ => return None,
    };
    let under_way = status.operation.as_ref().map(|operation| &operation.revision);
    let revision = under_way.unwrap_or(&status.revision).clone();
    Some(Notice { reason, revision, message: condition.message.clone() })
}

/// The first of several errors, and that there are more.
fn with_count(condition: &Condition, errors: usize) -> String {
    let message = &condition.message;
    if condition.status == "False" && errors > 1 {
        format!("{message} (and {} more in status.errors)", errors - 1)
    } else {
        message.clone()
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use serde_json::{Value, json};

    fn app(spec: Value, status: Value) -> Application {
        serde_json::from_value(json!({"metadata": {"name": "shop"}, "spec": spec, "status": status})).unwrap()
    }

    fn status(synced: (&str, &str), ready: (&str, &str)) -> Value {
        json!({"revision": "old", "attemptedRevision": "new", "conditions": [
            {"type": "Synced", "status": synced.0, "reason": synced.1, "message": "m"},
            {"type": "Ready", "status": ready.0, "reason": ready.1, "message": "h"}]})
    }

    fn told(old: Value, new: Value) -> Vec<(&'static str, String)> {
        let notices = between(&app(json!({}), old), &app(json!({}), new));
        notices.into_iter().map(|notice| (notice.reason.name(), notice.revision)).collect()
    }

    fn one(reason: &'static str, revision: &str) -> Vec<(&'static str, String)> {
        vec![(reason, revision.to_owned())]
    }

    #[test]
    fn every_state_of_a_sync_is_told_once() {
        let good = || status(("True", "Synced"), ("True", "Ready"));
        for (synced, reason, revision) in [
            (("False", "SyncFailed"), "SyncFailed", "new"),
            (("False", "Refused"), "Refused", "new"),
            (("True", "PruneHeld"), "Refused", "old"),
            (("False", "Lost"), "Refused", "old"),
            (("False", "SourceFailed"), "SourceFailed", ""),
            (("False", "SignatureRefused"), "SignatureRefused", "new"),
            (("False", "NothingPushed"), "NothingPushed", ""),
            (("False", "DependencyNotReady"), "DependencyNotReady", "new"),
            (("False", "WindowClosed"), "WindowClosed", "new"),
            (("False", "Drifted"), "DriftDetected", "old"),
            (("False", "RolledBack"), "RolledBack", "new"),
            (("False", "RollbackFailed"), "RollbackFailed", "new"),
            (("False", "Syncing"), "Syncing", "new"),
            (("False", "Suspended"), "Suspended", "old"),
        ] {
            let now = || status(synced, ("True", "Ready"));
            assert_eq!(told(good(), now()), one(reason, revision));
            assert_eq!(told(now(), now()), []);
            assert_eq!(told(now(), good()), one("Synced", "old"), "after {reason}");
        }
    }

    #[test]
    fn health_is_told_when_it_is_known() {
        let with = |ready| status(("True", "Synced"), ready);
        let (progressing, failed, ready) = (("False", "Progressing"), ("False", "Failed"), ("True", "Ready"));
        assert_eq!(told(json!({}), with(progressing)), one("Synced", "old"));
        assert_eq!(told(with(progressing), with(ready)), one("Healthy", "old"));
        assert_eq!(told(with(ready), with(progressing)), []);
        assert_eq!(told(with(progressing), with(failed)), one("HealthDegraded", "old"));
        let mut newer = with(ready);
        newer["revision"] = json!("new");
        let both = [one("Synced", "new"), one("Healthy", "new")].concat();
        assert_eq!(told(with(ready), newer), both);
    }

    #[test]
    fn other_errors_are_other_news_and_are_counted() {
        let refused = |message: &str, errors: &[&str]| {
            app(
                json!({}),
                json!({"errors": errors, "conditions": [
                    {"type": "Synced", "status": "False", "reason": "Refused", "message": message}]}),
            )
        };
        let now = between(&refused("a", &["a"]), &refused("b", &["b", "c", "d"]));
        assert_eq!(now[0].message, "b (and 2 more in status.errors)");
    }

    #[test]
    fn stages_of_a_revision_are_one_piece_of_news() {
        let stage = |doing: &str| {
            let mut status = status(("False", "Syncing"), ("False", "Progressing"));
            status["conditions"][0]["message"] = json!(doing);
            status
        };
        assert_eq!(told(json!({}), stage("wave 0")), one("Syncing", "new"));
        assert_eq!(told(stage("wave 0"), stage("wave 1")), []);
    }

    #[test]
    fn what_people_and_drift_do_is_told() {
        let suspended = app(json!({"suspend": true}), json!({}));
        assert_eq!(between(&suspended, &app(json!({}), json!({})))[0].reason, Reason::Resumed);
        let asked = |request: &str, error: &str| json!({"handledRequest": request, "requestError": error});
        assert_eq!(told(json!({}), asked("rollback/3@now", "")), one("RolledBack", ""));
        assert_eq!(told(json!({}), asked("undo@now", "")), one("Undone", ""));
        assert_eq!(told(json!({}), asked("sync@now", "")), []);
        assert_eq!(told(json!({}), asked("rollback/3@now", "no such revision")), []);
        let drift = |time: &str| json!({"lastDriftCorrection": {"time": time, "changes": ["ConfigMap default/a"]}});
        assert_eq!(told(drift("t1"), drift("t1")), []);
        assert_eq!(told(drift("t1"), drift("t2")), one("DriftCorrected", ""));
    }

    #[test]
    fn names_are_those_that_may_be_chosen() {
        assert_eq!(Reason::ALL.map(Reason::name), crate::api::notifications::EVENTS);
    }
}
