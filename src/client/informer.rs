//! Shared informers: one list and watch per kind and process, every object parsed once.
//!
//! What an informer shows may be behind the API server, never ahead: writers use preconditions, and
//! [`Informer::revision`] tells how far it has come. Objects are shared and must be treated as
//! immutable; to save memory, `metadata.managedFields` is dropped, and of pods the volume that all have
//! ([`crate::api::access`]).

mod cache;
pub mod lines;
mod origin;
mod reflect;
mod specs;

pub use cache::{ObjectKey, label};
pub use origin::{Extent, Origin};

use crate::base::ids::Ids;
use cache::{By, Cache};
use k8s_openapi::api::core::v1::Pod;
use parking_lot::{Mutex, RwLock, RwLockReadGuard};
use serde::de::DeserializeOwned;
use specs::{Read, Reader};
use std::any::{Any, TypeId};
use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use tokio::runtime::Handle;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

/// Any typed object an informer can hold: every `k8s-openapi` kind, and kinds of our own.
pub trait Kind: kube::Resource<DynamicType = ()> + DeserializeOwned + Send + Sync + 'static {}
impl<K: kube::Resource<DynamicType = ()> + DeserializeOwned + Send + Sync + 'static> Kind for K {}

/// One step of an object's life, as the informer saw it: steps in between may be missing.
#[derive(Debug)]
pub enum Change<K> {
    Added(Arc<K>),
    Updated {
        old: Arc<K>,
        new: Arc<K>,
    },
    /// The last state seen.
    Deleted(Arc<K>),
}

impl<K> Change<K> {
    /// The newest state the change carries.
    pub fn object(&self) -> &Arc<K> {
        match self {
            Self::Added(object) | Self::Deleted(object) | Self::Updated { new: object, .. } => object,
        }
    }
}

impl<K> Clone for Change<K> {
    fn clone(&self) -> Self {
        match self {
            Self::Added(object) => Self::Added(object.clone()),
            Self::Updated { old, new } => Self::Updated { old: old.clone(), new: new.clone() },
            Self::Deleted(object) => Self::Deleted(object.clone()),
        }
    }
}

/// Called for each change, in order, on the informer's task: must be quick, must not block, and
/// must not subscribe to the informer that calls it.
pub type Handler<K> = Box<dyn Fn(&Change<K>) + Send + Sync>;

/// The informers of a process, started at first use. They end when this is dropped.
pub struct Informers {
    client: kube::Client,
    ids: Ids,
    stop: CancellationToken,
    origin: Option<Origin>,
    /// Where they run, whoever asks for one first.
    runtime: Option<Handle>,
    running: Mutex<HashMap<TypeId, Arc<dyn Any + Send + Sync>>>,
}

impl Drop for Informers {
    fn drop(&mut self) {
        self.stop.cancel();
    }
}

impl Informers {
    pub fn new(client: kube::Client) -> Arc<Self> {
        Self::with(client, Ids::random(), CancellationToken::new())
    }

    /// `ids` gives the jitter of retries; `stop` ends all watches.
    pub fn with(client: kube::Client, ids: Ids, stop: CancellationToken) -> Arc<Self> {
        Arc::new(Self::from(client, ids, stop, None))
    }

    fn from(client: kube::Client, ids: Ids, stop: CancellationToken, origin: Option<Origin>) -> Self {
        Self { client, ids, stop, origin, runtime: Handle::try_current().ok(), running: Mutex::default() }
    }

    /// As [`Self::with`], in a copy of a cluster: what the informers of the cluster hold of it by now is not
    /// parsed again.
    pub fn in_copy(client: kube::Client, ids: Ids, stop: CancellationToken, origin: Origin) -> Arc<Self> {
        Arc::new(Self::from(client, ids, stop, Some(origin)))
    }

    /// The informer of kind `K`. The first call starts its list and watch: on the tokio runtime that all of these were
    /// made on, as parts with threads of lower priority read by them, too; on the current one if that was none.
    pub fn of<K: Kind>(&self) -> Informer<K> {
        let mut running = self.running.lock();
        if let Some(shared) = shared_of(&running) {
            return Informer { shared };
        }
        let known = self.origin.as_ref().and_then(Origin::of::<K>);
        let reader = known.as_ref().map_or_else(Reader::new, |known| known.reader().clone());
        let shared = Arc::new(Shared::<K>::new(self.stop.clone(), reader));
        running.insert(TypeId::of::<K>(), shared.clone());
        let task = reflect::run(self.client.clone(), shared.clone(), self.ids.clone(), known);
        let task = self.stop.clone().run_until_cancelled_owned(task);
        match &self.runtime {
            Some(runtime) => drop(runtime.spawn(task)),
            None => drop(tokio::spawn(task)),
        }
        Informer { shared }
    }

    /// The informer of kind `K` if it was started.
    fn started<K: Kind>(&self) -> Option<Informer<K>> {
        shared_of(&self.running.lock()).map(|shared| Informer { shared })
    }
}

fn shared_of<K: Kind>(running: &HashMap<TypeId, Arc<dyn Any + Send + Sync>>) -> Option<Arc<Shared<K>>> {
    running.get(&TypeId::of::<K>()).cloned()?.downcast().ok()
}

/// What an informer's handles and its task share.
struct Shared<K> {
    reader: Reader,
    cache: RwLock<Cache<K>>,
    /// Held while a change is applied and told, so that a subscriber misses and doubles nothing.
    handlers: Mutex<Vec<Handler<K>>>,
    synced: watch::Sender<bool>,
    revision: watch::Sender<u64>,
    stop: CancellationToken,
}

impl<K: Kind> Shared<K> {
    fn new(stop: CancellationToken, reader: Reader) -> Self {
        Self {
            reader,
            cache: RwLock::new(Cache::new()),
            handlers: Mutex::default(),
            synced: watch::Sender::new(false),
            revision: watch::Sender::new(0),
            stop,
        }
    }

    /// Applies `change` to the cache, then tells the handlers what it amounted to.
    fn apply(&self, revision: u64, change: impl FnOnce(&mut Cache<K>) -> Option<Change<K>>) {
        let handlers = self.handlers.lock();
        let told = change(&mut self.cache.write());
        self.revision.send_if_modified(|seen| std::mem::replace(seen, revision) != revision);
        if let Some(change) = told {
            handlers.iter().for_each(|handler| handler(&change));
        }
    }

    /// Begins with all of `cache`, as if that had been listed.
    fn begin(&self, revision: u64, cache: Cache<K>) {
        let handlers = self.handlers.lock();
        let added: Vec<_> = cache.iter().filter(|_| !handlers.is_empty()).cloned().map(Change::Added).collect();
        *self.cache.write() = cache;
        self.revision.send_replace(revision);
        added.iter().for_each(|change| handlers.iter().for_each(|handler| handler(change)));
        drop(handlers);
        self.synced.send_replace(true);
    }

    /// Replaces everything by a fresh list.
    fn replace(&self, revision: u64, objects: Vec<Read<K>>) {
        let handlers = self.handlers.lock();
        let changes = self.cache.write().replace(objects);
        self.revision.send_replace(revision);
        for change in &changes {
            handlers.iter().for_each(|handler| handler(change));
        }
        drop(handlers);
        self.synced.send_replace(true);
    }
}

/// A handle on the shared cache of one kind. Cheap to clone.
pub struct Informer<K> {
    shared: Arc<Shared<K>>,
}

impl<K> Clone for Informer<K> {
    fn clone(&self) -> Self {
        Self { shared: self.shared.clone() }
    }
}

impl<K: Kind> Informer<K> {
    /// `namespace` is empty for cluster-scoped kinds.
    pub fn get(&self, namespace: &str, name: &str) -> Option<Arc<K>> {
        self.shared.cache.read().get(namespace, name)
    }

    /// Everything, ordered by namespace and name.
    pub fn list(&self) -> Vec<Arc<K>> {
        self.shared.cache.read().iter().cloned().collect()
    }

    pub fn list_namespace(&self, namespace: &str) -> Vec<Arc<K>> {
        self.shared.cache.read().namespace(namespace)
    }

    pub fn len(&self) -> usize {
        self.shared.cache.read().len()
    }

    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Objects whose controlling owner has this uid, ordered by namespace and name.
    pub fn owned_by(&self, uid: &str) -> Vec<Arc<K>> {
        self.shared.cache.read().lookup(cache::BY_CONTROLLER, uid)
    }

    /// Objects for which `value` gives `wanted`. The first call with a new `index` name builds the
    /// index, later ones only read it: the same name must always come with the same function.
    pub fn by_index(&self, index: &'static str, value: fn(&K) -> Option<&str>, wanted: &str) -> Vec<Arc<K>> {
        self.with_index(index, By::Value(value)).lookup(index, wanted)
    }

    /// As [`Self::by_index`], of objects that are found under several values.
    pub fn by_values(&self, index: &'static str, values: fn(&K) -> Vec<Box<str>>, wanted: &str) -> Vec<Arc<K>> {
        self.with_index(index, By::Values(values)).lookup(index, wanted)
    }

    /// The objects of a namespace that have all these labels, ordered by name; quick where one of the labels
    /// is rare.
    pub fn labelled(&self, namespace: &str, labels: &BTreeMap<String, String>) -> Vec<Arc<K>> {
        self.with_index(cache::BY_LABEL, By::Values(cache::labels)).labelled(namespace, labels)
    }

    fn with_index(&self, index: &'static str, by: By<K>) -> RwLockReadGuard<'_, Cache<K>> {
        if !self.shared.cache.read().has_index(index) {
            self.shared.cache.write().add_index(index, by);
        }
        self.shared.cache.read()
    }

    /// Returns when the first list is in the cache and told to the handlers, or at shutdown.
    pub async fn synced(&self) {
        let mut synced = self.shared.synced.subscribe();
        tokio::select! {
            biased;
            _ = synced.wait_for(|done| *done) => {}
            () = self.shared.stop.cancelled() => {}
        }
    }

    pub fn is_synced(&self) -> bool {
        *self.shared.synced.borrow()
    }

    /// The cache shows everything up to this revision of the store.
    pub fn revision(&self) -> u64 {
        *self.shared.revision.borrow()
    }

    /// Returns when [`Self::revision`] is at least `revision`, or at shutdown.
    pub async fn reached(&self, revision: u64) {
        let mut seen = self.shared.revision.subscribe();
        tokio::select! {
            biased;
            _ = seen.wait_for(|seen| *seen >= revision) => {}
            () = self.shared.stop.cancelled() => {}
        }
    }

    /// Tells `handler` of every object there is (as added), then of every change.
    pub fn subscribe(&self, handler: Handler<K>) {
        let mut handlers = self.shared.handlers.lock();
        let present = self.list();
        present.into_iter().for_each(|object| handler(&Change::Added(object)));
        handlers.push(handler);
    }
}

impl Informer<Pod> {
    /// Pods bound to a node, ordered by namespace and name.
    pub fn on_node(&self, node: &str) -> Vec<Arc<Pod>> {
        self.by_index("spec.nodeName", |pod| pod.spec.as_ref()?.node_name.as_deref(), node)
    }
}

#[cfg(test)]
mod tests;
