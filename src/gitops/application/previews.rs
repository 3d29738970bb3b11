//! What an Application says about its previews, and what it remembers of them.

use serde::{Deserialize, Serialize};
use std::time::Duration;

/// How long a branch may rest before its preview goes, unless the Application says otherwise.
pub const DEFAULT_TTL: Duration = Duration::from_secs(7 * 24 * 3600);

/// Copies of the Application for other branches of its repository.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Previews {
    /// Names of branches, or of refs such as `refs/pull/*/head`; `*` is any text.
    pub branches: Vec<String>,
    /// How long a branch may rest, as `interval` is written.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ttl: Option<String>,
}

/// A branch that has, or had, a preview.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Preview {
    /// Of the Application that is the copy, and of its namespace.
    pub name: String,
    pub branch: String,
    pub commit: String,
    /// RFC 3339; when the branch was first seen at that commit.
    pub since: String,
    /// It has rested for too long, and comes back with the next commit.
    pub ended: bool,
}
