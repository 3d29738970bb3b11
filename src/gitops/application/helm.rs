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
    /// Cover those of all files.
    #[serde(skip_serializing_if = "Value::is_null")]
    pub values: Value,
}
