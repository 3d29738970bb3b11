//! Which workload a pod belongs to: its controller's controller, up to one that has none.

use super::Base;
use crate::api::changeset::ObjectId;
use crate::api::meta::{Envelope, OwnerReference};
use crate::api::registry::Registry;
use crate::store::{Record, Store, key};
use std::sync::Arc;

/// Controllers of controllers; more is a loop.
const DEPTH: usize = 8;

/// Looks in the copy, and in what it was made from for what is gone there.
pub struct Owners<'a> {
    pub registry: &'a Registry,
    pub store: &'a dyn Store,
    pub base: &'a Base,
}

impl Owners<'_> {
    /// The workload of an object, which may be the object itself. Without uid.
    pub fn root(&self, api_version: &str, kind: &str, envelope: &Envelope) -> ObjectId {
        let mut root = ObjectId {
            api_version: api_version.into(),
            kind: kind.into(),
            namespace: envelope.namespace.clone(),
            name: envelope.name.clone(),
            uid: String::new(),
        };
        let mut next = envelope.controller().cloned();
        for _ in 0..DEPTH {
            let Some(owner) = next else { break };
            let found = self.find(&envelope.namespace, &owner);
            root.namespace = found.as_ref().map_or(root.namespace, |record| record.envelope.namespace.clone());
            (root.api_version, root.kind, root.name) = (owner.api_version, owner.kind, owner.name);
            next = found.and_then(|record| record.envelope.controller().cloned());
        }
        root
    }

    fn find(&self, namespace: &str, owner: &OwnerReference) -> Option<Arc<Record>> {
        let key = self.key(&owner.api_version, &owner.kind, namespace, &owner.name)?;
        let same = |record: &Arc<Record>| record.envelope.uid == owner.uid;
        self.store.get(&key).filter(same).or_else(|| self.base.get(&key).filter(|record| same(record)).cloned())
    }

    /// Where an object is stored; `None` for a kind nobody serves.
    pub fn key(&self, api_version: &str, kind: &str, namespace: &str, name: &str) -> Option<String> {
        let (group, version) = api_version.split_once('/').unwrap_or(("", api_version));
        let resource = self.registry.by_kind(group, version, kind)?;
        let namespace = if resource.namespaced { namespace } else { "" };
        Some(key(&resource.group, &resource.plural, namespace, name))
    }

    /// Where the object with this identity is stored.
    pub fn key_of(&self, id: &ObjectId) -> Option<String> {
        self.key(&id.api_version, &id.kind, &id.namespace, &id.name)
    }
}
