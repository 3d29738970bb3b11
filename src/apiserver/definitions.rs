//! Keeps the registry's custom rows in step with the CustomResourceDefinitions in the store.
//!
//! The store decides: after every write of a definition it is read anew, so that writers who finish
//! out of order leave the same rows.

use super::resources::object::parse;
use crate::api::kinds::customresourcedefinition::established;
use crate::api::registry::{Registry, Resource};
use crate::store::{Record, Revision, Store, Write, bucket};
use parking_lot::Mutex;
use serde_json::Value;
use std::collections::BTreeMap;
use std::sync::Arc;

pub const GROUP: &str = "apiextensions.k8s.io";
pub const PLURAL: &str = "customresourcedefinitions";

/// Where definitions are stored.
pub fn place() -> String {
    bucket(GROUP, PLURAL)
}

/// Whether a transaction changes a definition.
pub fn touched(writes: &[Write]) -> bool {
    let place = place();
    writes.iter().any(|write| match write {
        Write::Put { key, .. } | Write::Delete { key, .. } => key.starts_with(&place),
    })
}

/// The rows of a definition that is served, else none.
pub fn rows(registry: &Registry, definition: &Value) -> Vec<Arc<Resource>> {
    if established(definition) { registry.rows_of(definition) } else { Vec::new() }
}

/// What was compiled, and from which revision.
#[derive(Default)]
pub struct Definitions {
    compiled: Mutex<BTreeMap<Arc<str>, Compiled>>,
}

type Compiled = (Revision, Vec<Arc<Resource>>);

impl Definitions {
    /// Reads the definitions in the store and gives the registry their rows.
    pub fn settle(&self, store: &dyn Store, registry: &Registry) {
        let mut compiled = self.compiled.lock();
        let records: Vec<Arc<Record>> =
            store.range(&place(), None, None, 0).map(|range| range.records).unwrap_or_default();
        if records.is_empty() && compiled.is_empty() {
            return;
        }
        let mut now = BTreeMap::new();
        for record in records {
            let known = compiled.remove(&record.key).filter(|(revision, _)| *revision == record.modified);
            let rows = known.map_or_else(|| rows(registry, &parse(&record)), |(_, rows)| rows);
            now.insert(record.key.clone(), (record.modified, rows));
        }
        *compiled = now;
        registry.set_custom(compiled.values().flat_map(|(_, rows)| rows.iter().cloned()).collect());
    }
}
