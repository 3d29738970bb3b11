//! The kinds this server has: one row each.

use super::kinds::Kind;
use super::schema::SchemaRef;
use std::sync::Arc;

/// A served resource: what discovery, decoding and the verbs need to know of a kind.
pub struct Resource {
    pub group: String,
    pub version: String,
    /// Plural, lower case: `deployments`.
    pub plural: String,
    pub singular: String,
    pub kind: String,
    pub short_names: Vec<String>,
    pub categories: Vec<String>,
    pub namespaced: bool,
    pub verbs: Vec<&'static str>,
    pub subresources: Vec<Subresource>,
    pub schema: SchemaRef,
    pub rules: Arc<dyn Kind>,
}

/// `deployments/scale` and the like. `status` is one of them.
#[derive(Debug, Clone)]
pub struct Subresource {
    pub name: &'static str,
    /// Group, version and kind of the body where it is not the parent's (Scale: autoscaling/v1).
    pub body: Option<(&'static str, &'static str, &'static str)>,
    pub verbs: &'static [&'static str],
}
