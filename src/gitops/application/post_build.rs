//! What an Application says about variables in its manifests; see [`crate::gitops::render::substitute`].

use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// As Flux writes it.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct PostBuild {
    /// Comes before what is read from elsewhere.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub substitute: BTreeMap<String, String>,
    /// The later ones come first.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub substitute_from: Vec<SubstituteFrom>,
    /// Variables that are not set and have no default are errors.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub strict: bool,
}

/// A ConfigMap or Secret in the Application's namespace whose keys are variables.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct SubstituteFrom {
    /// `ConfigMap` or `Secret`.
    pub kind: String,
    pub name: String,
    /// Without it there are just no variables of it.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub optional: bool,
}

impl PostBuild {
    /// Variables are looked for only where some may be set.
    pub fn is_empty(&self) -> bool {
        self.substitute.is_empty() && self.substitute_from.is_empty() && !self.strict
    }
}
