//! What each Application holds and what its source wants, as the tasks know it: ahead of the statuses.

use super::claims::Claim;
use super::owners::{Identity, identity};
use crate::api::changeset::ObjectId;
use crate::gitops::render::Rendered;
use parking_lot::Mutex;
use std::collections::{BTreeMap, HashMap, HashSet};
use tokio::time::Instant;

#[derive(Default)]
pub(super) struct Ledger(Mutex<BTreeMap<String, Entry>>);

#[derive(Default)]
struct Entry {
    held: HashMap<Identity, ObjectId>,
    /// With the place in the source. `None`: the source was not read yet, and may want all that is held.
    wanted: Option<HashMap<Identity, (ObjectId, String)>>,
    /// When the last look at the source that has ended began.
    looked: Option<Instant>,
}

impl Entry {
    fn wants(&self, id: &Identity) -> bool {
        self.wanted.as_ref().map_or_else(|| self.held.contains_key(id), |wanted| wanted.contains_key(id))
    }

    fn claim(&self, id: &Identity) -> Option<Claim> {
        let (holds, wants) = (self.held.get(id), self.wants(id));
        let wanted = self.wanted.as_ref().and_then(|wanted| wanted.get(id));
        let object = holds.or(wanted.map(|(id, _)| id))?.clone();
        let origin = wanted.map(|(_, origin)| origin.clone()).unwrap_or_default();
        Some(Claim { id: object, holds: holds.is_some(), wants, origin, ..Claim::default() })
    }
}

impl Ledger {
    pub fn new(inventories: impl IntoIterator<Item = (String, Vec<ObjectId>)>) -> Self {
        let ledger = Self::default();
        for (name, inventory) in inventories {
            ledger.hold(&name, &inventory);
        }
        ledger
    }

    /// Forgets Applications that are gone; who is to look again.
    pub fn retain(&self, names: &[String]) -> Vec<String> {
        let mut all = self.0.lock();
        let gone: Vec<String> = all.keys().filter(|name| !names.contains(name)).cloned().collect();
        let mut concerned = Vec::new();
        for name in gone {
            let entry = all.remove(&name).unwrap_or_default();
            concerned.extend(concerned_by(&all, &name, entry.held.keys()));
        }
        concerned
    }

    /// Notes what an Application holds now; who is to look again.
    pub fn hold(&self, name: &str, inventory: &[ObjectId]) -> Vec<String> {
        let mut all = self.0.lock();
        let held = inventory.iter().map(|id| (identity(id), id.clone())).collect();
        let before = std::mem::replace(&mut all.entry(name.to_owned()).or_default().held, held);
        let after: HashSet<Identity> = all[name].held.keys().cloned().collect();
        let before: HashSet<Identity> = before.into_keys().collect();
        concerned_by(&all, name, before.symmetric_difference(&after))
    }

    /// Notes what an Application's source wants; who is to look again.
    pub fn want(&self, name: &str, rendered: &Rendered) -> Vec<String> {
        let mut all = self.0.lock();
        let wanted = rendered.objects.iter().map(|manifest| {
            let place = format!("{}:{}", manifest.origin.file, manifest.origin.line);
            (identity(&manifest.id), (manifest.id.clone(), place))
        });
        let entry = all.entry(name.to_owned()).or_default();
        let before: HashSet<Identity> = match entry.wanted.take() {
            Some(before) => before.into_keys().collect(),
            None => entry.held.keys().cloned().collect(),
        };
        let after = wanted.collect();
        let dropped: Vec<Identity> = before.into_iter().filter(|id| !HashMap::contains_key(&after, id)).collect();
        entry.wanted = Some(after);
        concerned_by(&all, name, dropped.iter())
    }

    /// What others have to do with what this one holds or wants.
    pub fn claims(&self, name: &str, adopts: impl Fn(&str) -> bool) -> Vec<Claim> {
        let all = self.0.lock();
        let Some(mine) = all.get(name) else { return Vec::new() };
        let ids: HashSet<&Identity> = mine.held.keys().chain(mine.wanted.iter().flat_map(HashMap::keys)).collect();
        let others = all.iter().filter(|(other, _)| *other != name);
        let claims = others.flat_map(|(other, entry)| {
            let (application, adopts) = (other.clone(), adopts(other));
            let found = ids.iter().filter_map(|id| entry.claim(id));
            found.map(move |claim| Claim { application: application.clone(), adopts, ..claim })
        });
        claims.collect()
    }

    /// Whether the source wants this object, as far as that is known.
    pub fn wants(&self, name: &str, id: &ObjectId) -> bool {
        self.0.lock().get(name).is_some_and(|entry| entry.wants(&identity(id)))
    }

    /// Whether another's source wants this object, as far as that is known.
    pub fn is_wanted_elsewhere(&self, name: &str, id: &ObjectId) -> bool {
        let id = identity(id);
        self.0.lock().iter().any(|(other, entry)| other != name && entry.wants(&id))
    }

    /// Whether a look at the source has found what it wants.
    pub fn is_read(&self, name: &str) -> bool {
        self.0.lock().get(name).is_some_and(|entry| entry.wanted.is_some())
    }

    /// A look at the source that began then has ended.
    pub fn looked(&self, name: &str, began: Instant) {
        self.0.lock().entry(name.to_owned()).or_default().looked = Some(began);
    }

    pub fn last_look(&self, name: &str) -> Option<Instant> {
        self.0.lock().get(name)?.looked
    }
}

/// Others that want or hold one of these.
fn concerned_by<'a>(
    all: &BTreeMap<String, Entry>,
    name: &str,
    ids: impl IntoIterator<Item = &'a Identity>,
) -> Vec<String> {
    let ids: Vec<&Identity> = ids.into_iter().collect();
    let is = |entry: &Entry| ids.iter().any(|id| entry.held.contains_key(*id) || entry.wants(id));
    all.iter().filter(|(other, entry)| *other != name && is(entry)).map(|(other, _)| other.clone()).collect()
}
