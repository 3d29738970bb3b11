//! What an Application says about the Helm chart that is its source; see [`crate::gitops::helm`].

use serde::{Deserialize, Serialize};
use serde_json::Value;

#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Helm {
    /// Default: the Application's name.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub release_name: String,
    /// Files of the chart with values; a later one covers an earlier one.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub value_files: Vec<String>,
    /// ConfigMaps and Secrets with values; a later one covers an earlier one, and all cover those of files.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub values_from: Vec<ValuesFrom>,
    /// Cover all others.
    #[serde(skip_serializing_if = "Value::is_null")]
    pub values: Value,
}

/// A ConfigMap or Secret in the Application's namespace with values, as Flux writes it.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct ValuesFrom {
    /// `ConfigMap` or `Secret`.
    pub kind: String,
    pub name: String,
    /// The key that holds them. Default: [`VALUES_KEY`].
    #[serde(skip_serializing_if = "String::is_empty")]
    pub values_key: String,
    /// What the key holds is one value, for this path: `auth.password`, `hosts[0].name`. Default: it holds a YAML map of values.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub target_path: String,
    /// Without it, or without its key, there are just no values of it.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub optional: bool,
}

/// What the key with values is called unless something else is said.
pub const VALUES_KEY: &str = "values.yaml";

impl ValuesFrom {
    pub fn key(&self) -> &str {
        if self.values_key.is_empty() { VALUES_KEY } else { &self.values_key }
    }
}
