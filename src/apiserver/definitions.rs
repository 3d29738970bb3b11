//! Keeps the registry's custom rows in step with the CustomResourceDefinitions in the store.
//!
//! The store decides: after every write of a definition it is read anew, so that writers who finish
//! out of order leave the same rows.

use super::resources::object::parse;
use crate::api::kinds::customresourcedefinition::established;
use crate::api::registry::{Registry, Resource};
use crate::store::{Record, Store, Write, bucket};
use parking_lot::Mutex;
use serde_json::Value;
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

/// Settles one at a time: the last one to read leaves the rows.
#[derive(Default)]
pub struct Definitions {
    settling: Mutex<()>,
}

impl Definitions {
    /// Reads the definitions in the store and gives the registry their rows. Definitions that the
    /// registry has already are not compiled again.
    pub fn settle(&self, store: &dyn Store, registry: &Registry) {
        let _one = self.settling.lock();
        let records: Vec<Arc<Record>> =
            store.range(&place(), None, None, 0).map(|range| range.records).unwrap_or_default();
        let present: Vec<Arc<Resource>> = registry.resources().iter().filter(|row| row.is_custom()).cloned().collect();
        if records.is_empty() && present.is_empty() {
            return;
        }
        let mut rows = Vec::new();
        for record in records {
            let is = |row: &&Arc<Resource>| {
                let from = row.custom.as_ref().map(|definition| (&definition.uid, definition.revision));
                from == Some((&record.envelope.uid, record.modified))
            };
            let known: Vec<_> = present.iter().filter(is).cloned().collect();
            rows.extend(if known.is_empty() { self::rows(registry, &parse(&record)) } else { known });
        }
        registry.set_custom(rows);
    }
}
