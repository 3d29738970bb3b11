//! The objects of one kind with their indices. Plain data: no locks, no I/O.
//!
//! Ordered maps throughout, so that whoever iterates does so in the same order in every run.

use super::specs::Read;
use super::{Change, Kind};
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::fmt;
use std::sync::Arc;

/// Namespace (empty for cluster-scoped kinds) and name: what work queues carry.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ObjectKey {
    pub namespace: Arc<str>,
    pub name: Arc<str>,
}

impl ObjectKey {
    pub fn new(namespace: &str, name: &str) -> Self {
        Self { namespace: namespace.into(), name: name.into() }
    }

    pub fn of(object: &impl kube::Resource) -> Self {
        let meta = object.meta();
        Self::new(meta.namespace.as_deref().unwrap_or_default(), meta.name.as_deref().unwrap_or_default())
    }
}

impl fmt::Display for ObjectKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.namespace.is_empty() {
            true => f.write_str(&self.name),
            false => write!(f, "{}/{}", self.namespace, self.name),
        }
    }
}

/// The index every cache has: uid of the owner reference with `controller: true`.
pub(super) const BY_CONTROLLER: &str = "metadata.ownerReferences.controller";

/// The index of every label with its value, within a namespace.
pub(super) const BY_LABEL: &str = "metadata.labels";

/// What an index goes by.
pub(super) enum By<K> {
    Value(fn(&K) -> Option<&str>),
    Values(fn(&K) -> Vec<Box<str>>),
}

struct Index<K> {
    name: &'static str,
    by: By<K>,
    entries: HashMap<Box<str>, BTreeMap<ObjectKey, Arc<K>>>,
}

impl<K> Clone for Index<K> {
    fn clone(&self) -> Self {
        Self { name: self.name, by: self.by.clone(), entries: self.entries.clone() }
    }
}

impl<K> Index<K> {
    fn insert(&mut self, key: &ObjectKey, object: &Arc<K>) {
        for value in self.by.values(object) {
            self.entries.entry(value).or_default().insert(key.clone(), object.clone());
        }
    }

    fn remove(&mut self, key: &ObjectKey, object: &K) {
        for value in self.by.values(object) {
            let Some(entries) = self.entries.get_mut(&value) else { continue };
            entries.remove(key);
            if entries.is_empty() {
                self.entries.remove(&value);
            }
        }
    }
}

impl<K> Clone for By<K> {
    fn clone(&self) -> Self {
        match self {
            Self::Value(value) => Self::Value(*value),
            Self::Values(values) => Self::Values(*values),
        }
    }
}

impl<K> By<K> {
    fn values(&self, object: &K) -> Vec<Box<str>> {
        match self {
            Self::Value(value) => value(object).map(Box::from).into_iter().collect(),
            Self::Values(values) => values(object),
        }
    }
}

fn controller<K: Kind>(object: &K) -> Option<&str> {
    let owners = object.meta().owner_references.as_deref()?;
    Some(&*owners.iter().find(|owner| owner.controller == Some(true))?.uid)
}

/// Under which an object with this label is found. No namespace and no label's name holds a space or `=`.
pub fn label(namespace: &str, name: &str, value: &str) -> Box<str> {
    format!("{namespace} {name}={value}").into()
}

pub(super) fn labels<K: Kind>(object: &K) -> Vec<Box<str>> {
    let meta = object.meta();
    let namespace = meta.namespace.as_deref().unwrap_or_default();
    meta.labels.iter().flatten().map(|(name, value)| label(namespace, name, value)).collect()
}

pub(super) struct Cache<K> {
    objects: BTreeMap<Arc<str>, BTreeMap<Arc<str>, Read<K>>>,
    indices: Vec<Index<K>>,
    count: usize,
}

impl<K> Clone for Cache<K> {
    fn clone(&self) -> Self {
        Self { objects: self.objects.clone(), indices: self.indices.clone(), count: self.count }
    }
}

impl<K: Kind> Cache<K> {
    pub fn new() -> Self {
        let mut cache = Self { objects: BTreeMap::new(), indices: Vec::new(), count: 0 };
        cache.add_index(BY_CONTROLLER, By::Value(controller));
        cache
    }

    pub fn get(&self, namespace: &str, name: &str) -> Option<Arc<K>> {
        self.read(namespace, name).map(|read| read.object)
    }

    /// As it was read.
    pub fn read(&self, namespace: &str, name: &str) -> Option<Read<K>> {
        self.objects.get(namespace)?.get(name).cloned()
    }

    pub fn iter(&self) -> impl Iterator<Item = &Arc<K>> {
        self.objects.values().flat_map(BTreeMap::values).map(|read| &read.object)
    }

    pub fn namespace(&self, namespace: &str) -> Vec<Arc<K>> {
        self.objects.get(namespace).into_iter().flat_map(BTreeMap::values).map(|read| read.object.clone()).collect()
    }

    pub fn len(&self) -> usize {
        self.count
    }

    pub fn has_index(&self, name: &str) -> bool {
        self.indices.iter().any(|index| index.name == name)
    }

    pub fn add_index(&mut self, name: &'static str, by: By<K>) {
        if self.has_index(name) {
            return;
        }
        let mut index = Index { name, by, entries: HashMap::new() };
        for object in self.iter() {
            index.insert(&ObjectKey::of(&**object), object);
        }
        self.indices.push(index);
    }

    pub fn lookup(&self, index: &str, value: &str) -> Vec<Arc<K>> {
        self.found(index, value).map(|entries| entries.values().cloned().collect()).unwrap_or_default()
    }

    fn found(&self, index: &str, value: &str) -> Option<&BTreeMap<ObjectKey, Arc<K>>> {
        self.indices.iter().find(|known| known.name == index)?.entries.get(value)
    }

    /// The objects of a namespace that have all these labels, by name. Needs the index [`BY_LABEL`].
    pub fn labelled(&self, namespace: &str, wanted: &BTreeMap<String, String>) -> Vec<Arc<K>> {
        let mut rarest: Option<&BTreeMap<ObjectKey, Arc<K>>> = None;
        for (name, value) in wanted {
            let Some(entries) = self.found(BY_LABEL, &label(namespace, name, value)) else { return Vec::new() };
            rarest = Some(rarest.filter(|rarest| rarest.len() <= entries.len()).unwrap_or(entries));
        }
        let Some(rarest) = rarest else { return self.namespace(namespace) };
        let fits = |object: &&Arc<K>| {
            let labels = object.meta().labels.as_ref();
            wanted.iter().all(|(name, value)| labels.and_then(|labels| labels.get(name)) == Some(value))
        };
        rarest.values().filter(fits).cloned().collect()
    }

    /// Adds or replaces; `None` if the cache already holds exactly this revision of the object.
    pub fn put(&mut self, read: Read<K>) -> Option<Change<K>> {
        let object = read.object.clone();
        let key = ObjectKey::of(&*object);
        let known = self.get(&key.namespace, &key.name);
        if known.as_ref().is_some_and(|known| same_revision(&**known, &*object)) {
            return None;
        }
        for index in &mut self.indices {
            if let Some(known) = &known {
                index.remove(&key, known);
            }
            index.insert(&key, &object);
        }
        self.objects.entry(key.namespace).or_default().insert(key.name, read);
        match known {
            // A new uid under an old name is another object: its watchers must see the first one end,
            // which `Updated` says by carrying both.
            Some(old) => Some(Change::Updated { old, new: object }),
            None => {
                self.count += 1;
                Some(Change::Added(object))
            }
        }
    }

    pub fn remove(&mut self, key: &ObjectKey) -> Option<Change<K>> {
        let objects = self.objects.get_mut(&*key.namespace)?;
        let removed = objects.remove(&*key.name)?.object;
        if objects.is_empty() {
            self.objects.remove(&*key.namespace);
        }
        self.indices.iter_mut().for_each(|index| index.remove(key, &removed));
        self.count -= 1;
        Some(Change::Deleted(removed))
    }

    /// Becomes exactly `objects`; returns what that changed, deletions first.
    pub fn replace(&mut self, objects: Vec<Read<K>>) -> Vec<Change<K>> {
        let listed: BTreeSet<ObjectKey> = objects.iter().map(|read| ObjectKey::of(&*read.object)).collect();
        let gone: Vec<_> =
            self.iter().map(|object| ObjectKey::of(&**object)).filter(|key| !listed.contains(key)).collect();
        let mut changes: Vec<_> = gone.iter().filter_map(|key| self.remove(key)).collect();
        changes.extend(objects.into_iter().filter_map(|read| self.put(read)));
        changes
    }
}

fn same_revision<K: Kind>(known: &K, new: &K) -> bool {
    let (known, new) = (known.meta(), new.meta());
    known.resource_version.is_some() && known.resource_version == new.resource_version && known.uid == new.uid
}
