//! Who depends on whom, as far as the watches have told. Plain data.
//!
//! Only objects with owners are kept whole; of the others, that they exist is enough (48 bytes or so).

use crate::controllers::objects::{Identity, Meta, Resource};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::OwnerReference;
use std::collections::{BTreeSet, HashMap, HashSet};
use std::sync::Arc;

pub const ORPHAN: &str = "orphan";
pub const FOREGROUND: &str = "foregroundDeletion";

#[derive(Debug, Clone, PartialEq, Eq)]
struct Owner {
    uid: Arc<str>,
    blocks: bool,
}

struct Dependent {
    identity: Identity,
    owners: Vec<Owner>,
}

/// An object that depends on another.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Edge {
    pub dependent: Identity,
    /// Its owner may not go before it, if it goes in the foreground.
    pub blocks: bool,
}

#[derive(Default)]
pub struct Graph {
    /// Namespaces of the objects that exist, by uid. Server-made uids are UUIDs; others count as unknown.
    alive: HashMap<u128, Arc<str>>,
    /// Each namespace's name once.
    names: HashSet<Arc<str>>,
    dependents: HashMap<Arc<str>, Dependent>,
    by_owner: HashMap<Arc<str>, BTreeSet<Arc<str>>>,
    /// Objects whose deletion waits for us.
    leaving: HashMap<Arc<str>, Identity>,
}

impl Graph {
    /// The object is there, in this state. Returns the objects that need a look.
    pub fn observe(&mut self, resource: &Arc<Resource>, meta: &Meta) -> Vec<Identity> {
        let mut look = self.forget_owners(&meta.uid, &meta.owner_references);
        let namespace = self.name(&meta.namespace);
        if let Some(uid) = number(&meta.uid) {
            self.alive.insert(uid, namespace.clone());
        }
        let leaving = meta.is_terminating() && (meta.has_finalizer(ORPHAN) || meta.has_finalizer(FOREGROUND));
        if !leaving {
            self.leaving.remove(&*meta.uid);
        }
        if !leaving && meta.owner_references.is_empty() {
            return look;
        }
        let identity = Identity { namespace, ..meta.identity(resource) };
        if leaving {
            self.leaving.insert(identity.uid.clone(), identity.clone());
        }
        if !meta.owner_references.is_empty() {
            self.add_owners(&identity, &meta.owner_references);
        }
        let suspicious =
            |owner: &OwnerReference| !self.is_alive(&owner.uid, &identity.namespace) || self.is_leaving(&owner.uid);
        if leaving || meta.owner_references.iter().any(suspicious) {
            look.push(identity);
        }
        look
    }

    /// The object is gone. Returns the objects that need a look: its dependents, and owners that waited for it.
    pub fn removed(&mut self, uid: &str) -> Vec<Identity> {
        let mut look = self.forget_owners(uid, &[]);
        if let Some(uid) = number(uid) {
            self.alive.remove(&uid);
        }
        self.leaving.remove(uid);
        look.extend(self.dependents_of(uid).into_iter().map(|edge| edge.dependent));
        look
    }

    /// Takes the object off its owners; returns those that wait for it and are not among `kept` as before.
    fn forget_owners(&mut self, uid: &str, kept: &[OwnerReference]) -> Vec<Identity> {
        let Some(known) = self.dependents.remove(uid) else { return Vec::new() };
        let mut look = Vec::new();
        for owner in known.owners {
            if let Some(dependents) = self.by_owner.get_mut(&owner.uid) {
                dependents.remove(uid);
                if dependents.is_empty() {
                    self.by_owner.remove(&owner.uid);
                }
            }
            let same = |kept: &OwnerReference| *kept.uid == *owner.uid && blocks(kept) == owner.blocks;
            if !kept.iter().any(same) {
                look.extend(self.leaving.get(&owner.uid).cloned());
            }
        }
        look
    }

    fn add_owners(&mut self, identity: &Identity, references: &[OwnerReference]) {
        let owners: Vec<_> =
            references.iter().map(|owner| Owner { uid: owner.uid.as_str().into(), blocks: blocks(owner) }).collect();
        for owner in &owners {
            self.by_owner.entry(owner.uid.clone()).or_default().insert(identity.uid.clone());
        }
        self.dependents.insert(identity.uid.clone(), Dependent { identity: identity.clone(), owners });
    }

    /// Whether an object with this uid exists where a dependent in `namespace` may name it as its owner.
    pub fn is_alive(&self, uid: &str, namespace: &str) -> bool {
        self.place(uid).is_some_and(|place| place.is_empty() || &**place == namespace)
    }

    /// The namespace of a living object; empty for cluster-scoped ones.
    pub fn place(&self, uid: &str) -> Option<&Arc<str>> {
        self.alive.get(&number(uid)?)
    }

    /// Being deleted, and waiting for us to see to its dependents.
    pub fn is_leaving(&self, uid: &str) -> bool {
        self.leaving.contains_key(uid)
    }

    /// Whether nothing needs to be done about a dependent: it is not leaving itself, and each of its owners is
    /// there and stays. An owner may be told of after its dependents: then a look that seemed due is none.
    pub fn is_held(&self, uid: &str) -> bool {
        let Some(dependent) = self.dependents.get(uid).filter(|_| !self.is_leaving(uid)) else { return false };
        let namespace = &dependent.identity.namespace;
        dependent.owners.iter().all(|owner| self.is_alive(&owner.uid, namespace) && !self.is_leaving(&owner.uid))
    }

    /// Ordered by uid.
    pub fn dependents_of(&self, uid: &str) -> Vec<Edge> {
        let uids = self.by_owner.get(uid).into_iter().flatten();
        let known = uids.filter_map(|dependent| self.dependents.get(dependent));
        let edge = |dependent: &Dependent| Edge {
            dependent: dependent.identity.clone(),
            blocks: dependent.owners.iter().any(|owner| &*owner.uid == uid && owner.blocks),
        };
        known.map(edge).collect()
    }

    fn name(&mut self, namespace: &str) -> Arc<str> {
        if let Some(known) = self.names.get(namespace) {
            return known.clone();
        }
        let name: Arc<str> = namespace.into();
        self.names.insert(name.clone());
        name
    }
}

fn blocks(owner: &OwnerReference) -> bool {
    owner.block_owner_deletion == Some(true)
}

fn number(uid: &str) -> Option<u128> {
    uuid::Uuid::parse_str(uid).ok().map(|uuid| uuid.as_u128())
}
