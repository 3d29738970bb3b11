//! What each Application holds and what its source wants, as the tasks know it: ahead of the statuses.

use super::claims::Claim;
use super::owners::{Identity, identity};
use crate::api::changeset::ObjectId;
use crate::gitops::render::Rendered;
use parking_lot::Mutex;
use std::collections::{BTreeSet, HashMap, HashSet};
use tokio::time::Instant;

#[derive(Default)]
pub(super) struct Ledger(Mutex<Book>);

#[derive(Default)]
struct Book {
    entries: HashMap<String, Entry>,
    /// Who holds or wants an object: what concerns a few is not asked of all.
    concerned: HashMap<Identity, BTreeSet<String>>,
}

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

    /// What it holds or wants; what it holds and wants comes twice.
    fn ids(&self) -> impl Iterator<Item = &Identity> {
        self.held.keys().chain(self.wanted.iter().flat_map(HashMap::keys))
    }

    fn claim(&self, id: &Identity) -> Option<Claim> {
        let (holds, wants) = (self.held.get(id), self.wants(id));
        let wanted = self.wanted.as_ref().and_then(|wanted| wanted.get(id));
        let object = holds.or(wanted.map(|(id, _)| id))?.clone();
        let origin = wanted.map(|(_, origin)| origin.clone()).unwrap_or_default();
        Some(Claim { id: object, holds: holds.is_some(), wants, origin, ..Claim::default() })
    }
}

impl Book {
    /// Changes an entry by `change`; who else is concerned by the objects that `change` returns.
    fn change<I: IntoIterator<Item = Identity>>(
        &mut self,
        name: &str,
        change: impl FnOnce(&mut Entry) -> I,
    ) -> BTreeSet<String> {
        let mut entry = self.entries.remove(name).unwrap_or_default();
        self.drop_concerns(name, &entry);
        let ids = change(&mut entry);
        for id in entry.ids() {
            self.concerned.entry(id.clone()).or_default().insert(name.to_owned());
        }
        self.entries.insert(name.to_owned(), entry);
        ids.into_iter().flat_map(|id| self.others(name, &id)).map(str::to_owned).collect()
    }

    /// Forgets an Application; who else is concerned by what it held.
    fn forget(&mut self, name: &str) -> BTreeSet<String> {
        let Some(entry) = self.entries.remove(name) else { return BTreeSet::new() };
        self.drop_concerns(name, &entry);
        entry.held.keys().flat_map(|id| self.others(name, id)).map(str::to_owned).collect()
    }

    fn drop_concerns(&mut self, name: &str, entry: &Entry) {
        for id in entry.ids() {
            let Some(names) = self.concerned.get_mut(id) else { continue };
            names.remove(name);
            if names.is_empty() {
                self.concerned.remove(id);
            }
        }
    }

    /// Others that want or hold this.
    fn others<'a>(&'a self, name: &'a str, id: &Identity) -> impl Iterator<Item = &'a str> + use<'a> {
        let names = self.concerned.get(id).into_iter().flatten();
        names.map(String::as_str).filter(move |other| *other != name)
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
    pub fn retain(&self, names: &HashSet<String>) -> BTreeSet<String> {
        let mut book = self.0.lock();
        let gone: Vec<String> = book.entries.keys().filter(|name| !names.contains(*name)).cloned().collect();
        gone.iter().flat_map(|name| book.forget(name)).collect()
    }

    /// Notes what an Application holds now; who is to look again.
    pub fn hold(&self, name: &str, inventory: &[ObjectId]) -> BTreeSet<String> {
        let held: HashMap<_, _> = inventory.iter().map(|id| (identity(id), id.clone())).collect();
        self.0.lock().change(name, |entry| {
            let after: HashSet<Identity> = held.keys().cloned().collect();
            let before: HashSet<Identity> = std::mem::replace(&mut entry.held, held).into_keys().collect();
            before.symmetric_difference(&after).cloned().collect::<Vec<_>>()
        })
    }

    /// Notes what an Application's source wants; who is to look again.
    pub fn want(&self, name: &str, rendered: &Rendered) -> BTreeSet<String> {
        let wanted = rendered.objects.iter().map(|manifest| {
            let place = format!("{}:{}", manifest.origin.file, manifest.origin.line);
            (identity(&manifest.id), (manifest.id.clone(), place))
        });
        let wanted: HashMap<_, _> = wanted.collect();
        self.0.lock().change(name, |entry| {
            let mut dropped: HashSet<Identity> = match entry.wanted.take() {
                Some(before) => before.into_keys().collect(),
                None => entry.held.keys().cloned().collect(),
            };
            dropped.retain(|id| !wanted.contains_key(id));
            entry.wanted = Some(wanted);
            dropped
        })
    }

    /// What others have to do with what this one holds or wants.
    pub fn claims(&self, name: &str) -> Vec<Claim> {
        let book = self.0.lock();
        let Some(mine) = book.entries.get(name) else { return Vec::new() };
        let ids: HashSet<&Identity> = mine.ids().collect();
        let found = ids.into_iter().flat_map(|id| book.others(name, id).map(move |other| (other, id)));
        let mut found: Vec<_> = found.collect();
        found.sort_unstable();
        let claims = found.into_iter().filter_map(|(other, id)| {
            let claim = book.entries.get(other)?.claim(id)?;
            Some(Claim { application: other.to_owned(), ..claim })
        });
        claims.collect()
    }

    /// Whether the source wants this object, as far as that is known.
    pub fn wants(&self, name: &str, id: &ObjectId) -> bool {
        self.0.lock().entries.get(name).is_some_and(|entry| entry.wants(&identity(id)))
    }

    /// Whether another's source wants this object, as far as that is known.
    pub fn is_wanted_elsewhere(&self, name: &str, id: &ObjectId) -> bool {
        let (book, id) = (self.0.lock(), identity(id));
        book.others(name, &id).any(|other| book.entries.get(other).is_some_and(|entry| entry.wants(&id)))
    }

    /// Whether a look at the source has found what it wants.
    pub fn is_read(&self, name: &str) -> bool {
        self.0.lock().entries.get(name).is_some_and(|entry| entry.wanted.is_some())
    }

    /// A look at the source that began then has ended.
    pub fn looked(&self, name: &str, began: Instant) {
        self.0.lock().entries.entry(name.to_owned()).or_default().looked = Some(began);
    }

    pub fn last_look(&self, name: &str) -> Option<Instant> {
        self.0.lock().entries.get(name)?.looked
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::gitops::render::{Manifest, Origin};
    use serde_json::json;

    fn id(name: &str) -> ObjectId {
        let text = str::to_owned;
        let (api_version, kind, namespace) = (text("v1"), text("ConfigMap"), text("default"));
        ObjectId { api_version, kind, namespace, name: text(name), uid: String::new() }
    }

    fn rendered(names: &[&str]) -> Rendered {
        let map = |name: &&str| {
            let metadata = json!({"name": name, "namespace": "default"});
            let object = json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": metadata});
            Manifest::of(object, Origin::default())
        };
        Rendered { objects: names.iter().map(map).collect(), errors: Vec::new() }
    }

    fn names(names: BTreeSet<String>) -> Vec<String> {
        names.into_iter().collect()
    }

    /// Of a hundred that hold an object each, and one that wants another's.
    fn hundred() -> Ledger {
        let ledger = Ledger::new((0..100).map(|number| (format!("app-{number:02}"), vec![id(&number.to_string())])));
        assert_eq!(names(ledger.want("shop", &rendered(&["7", "own"]))), [""; 0], "it drops nothing");
        ledger
    }

    #[test]
    fn only_those_are_asked_that_have_to_do_with_the_same_objects() {
        let ledger = hundred();
        let claims = ledger.claims("shop");
        assert_eq!(claims.len(), 1);
        assert!(claims[0].holds && claims[0].wants && claims[0].application == "app-07");
        assert!(ledger.claims("app-08").is_empty());
        assert!(ledger.is_wanted_elsewhere("app-07", &id("7")) && !ledger.is_wanted_elsewhere("shop", &id("own")));
    }

    #[test]
    fn those_look_again_that_have_to_do_with_what_another_leaves() {
        let ledger = hundred();
        assert_eq!(names(ledger.want("app-07", &rendered(&["7"]))), [""; 0], "nothing has changed");
        assert_eq!(names(ledger.want("app-07", &rendered(&[]))), ["shop"]);
        assert!(!ledger.is_wanted_elsewhere("shop", &id("7")), "it is still held, but not wanted");
        assert_eq!(names(ledger.hold("app-07", &[])), ["shop"]);
        assert!(ledger.claims("shop").is_empty());
        assert_eq!(names(ledger.hold("shop", &[id("7"), id("8")])), ["app-08"]);
        let stay = (0..100).map(|number| format!("app-{number:02}")).collect();
        assert_eq!(names(ledger.retain(&stay)), ["app-08"], "shop is gone");
        assert_eq!(names(ledger.hold("app-08", &[])), [""; 0]);
    }
}
