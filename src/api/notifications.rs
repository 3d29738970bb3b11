//! The words of `spec.notifications` of an Application, for who checks them and for who acts on them.

use crate::base::template::Template;

/// Who is told: programs, people in a chat.
pub const LISTENERS: [&str; 2] = ["webhook", "slack"];
/// Where commits get a status.
pub const FORGES: [&str; 3] = ["github", "gitlab", "gitea"];
/// What may happen; also the reasons of Events.
pub const EVENTS: [&str; 18] = [
    "Syncing",
    "Synced",
    "SyncFailed",
    "Refused",
    "SourceFailed",
    "SignatureRefused",
    "NothingPushed",
    "DependencyNotReady",
    "WindowClosed",
    "Healthy",
    "HealthDegraded",
    "DriftDetected",
    "DriftCorrected",
    "RolledBack",
    "RollbackFailed",
    "Undone",
    "Suspended",
    "Resumed",
];
/// What templates may name.
pub const VARIABLES: [&str; 8] =
    ["name", "event", "severity", "revision", "shortRevision", "message", "source", "time"];

/// Reads a template; the error says what is wrong with it.
pub fn template(text: &str) -> Result<Template, String> {
    Template::parse(text, &VARIABLES)
}
