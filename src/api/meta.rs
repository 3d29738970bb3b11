//! Object metadata: the envelope extracted from an object's bytes, and helpers over JSON objects.

use serde::Deserialize;
use std::collections::BTreeMap;

/// What selectors, controllers and the verbs need of an object without parsing it.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Envelope {
    pub name: String,
    pub namespace: String,
    pub uid: String,
    pub labels: BTreeMap<String, String>,
    pub generation: i64,
    /// RFC 3339, set while the object is being deleted.
    pub deletion_timestamp: Option<String>,
    pub finalizers: Vec<String>,
    pub owner_references: Vec<OwnerReference>,
    /// Selectable fields beyond name and namespace, e.g. `spec.nodeName`; filled by the kind's rules.
    #[serde(skip)]
    pub fields: Vec<(&'static str, String)>,
}

#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct OwnerReference {
    pub api_version: String,
    pub kind: String,
    pub name: String,
    pub uid: String,
    pub controller: bool,
    pub block_owner_deletion: bool,
}
