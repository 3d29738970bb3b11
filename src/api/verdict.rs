//! The scheduler's last word on a pod, served at
//! `/apis/selkie.dev/v1alpha1/namespaces/NAMESPACE/verdicts/POD`.
//!
//! Read only and never stored: it is as old as the process that keeps it, or younger.

use super::plan::Verdict;
use serde::{Deserialize, Serialize};

#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct PodVerdict {
    pub api_version: String,
    pub kind: String,
    pub metadata: PodName,
    /// RFC 3339: when it was said.
    pub time: String,
    /// The host that was chosen; empty: none could take the pod.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub host: String,
    #[serde(flatten)]
    pub verdict: Verdict,
}

/// The pod that it is about.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct PodName {
    pub namespace: String,
    pub name: String,
    pub uid: String,
}
