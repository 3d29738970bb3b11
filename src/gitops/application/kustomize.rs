//! What an Application says about kustomizations of its source; see [`crate::gitops::render::kustomize`].

use serde::{Deserialize, Serialize};

#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Kustomize {
    /// They may name directories of git repositories elsewhere, which are fetched.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub remote_bases: bool,
}
