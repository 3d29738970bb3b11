//! Who wants to hear of which object: pods of the ConfigMaps, Secrets and claims they use. One subscription
//! per kind and process, made when the first pod refers to one.

use crate::base::few::Few;
use crate::client::Informers;
use crate::kubelet::inbox::Inbox;
use k8s_openapi::api::core::v1::{ConfigMap, PersistentVolumeClaim, Secret};
use parking_lot::Mutex;
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::{Arc, Weak};

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Object {
    ConfigMap,
    Secret,
    /// A pod that comes before its claim is bound starts as soon as that is.
    Claim,
}

type Key = (Object, String, String);
type Name = (String, String, String);

/// Which pods use which objects; pods by uid.
#[derive(Default)]
struct Uses {
    by_object: HashMap<Key, BTreeMap<String, Weak<Inbox>>>,
    by_pod: HashMap<String, BTreeSet<Key>>,
}

#[derive(Default)]
pub struct Interests {
    uses: Mutex<Uses>,
    by_pod: Mutex<HashMap<Name, Few<Weak<Inbox>>>>,
    subscribed: Mutex<BTreeSet<Object>>,
}

impl Interests {
    /// The pod `uid` uses these objects of its namespace.
    pub fn register(
        self: &Arc<Self>,
        informers: &Informers,
        uid: &str,
        namespace: &str,
        objects: &BTreeSet<(Object, String)>,
        inbox: &Arc<Inbox>,
    ) {
        objects.iter().for_each(|(object, _)| self.subscribe(informers, *object));
        let mut uses = self.uses.lock();
        for (object, name) in objects {
            let key = (*object, namespace.to_string(), name.clone());
            uses.by_object.entry(key.clone()).or_default().insert(uid.to_string(), Arc::downgrade(inbox));
            uses.by_pod.entry(uid.to_string()).or_default().insert(key);
        }
    }

    /// A worker of a pod of that name; there can be two while one pod makes way for its namesake.
    pub fn enter(&self, node: &str, namespace: &str, name: &str, uid: &str, inbox: &Arc<Inbox>) {
        let key = (node.to_string(), namespace.to_string(), name.to_string());
        *self.by_pod.lock().entry(key).or_default().at(uid) = Arc::downgrade(inbox);
    }

    pub fn workers_of(&self, node: &str, (namespace, name): (&str, &str)) -> Vec<Arc<Inbox>> {
        let key = (node.to_string(), namespace.to_string(), name.to_string());
        let by_pod = self.by_pod.lock();
        by_pod.get(&key).into_iter().flat_map(Few::values).filter_map(Weak::upgrade).collect()
    }

    /// Forgets a pod's worker.
    pub fn leave(&self, node: &str, namespace: &str, name: &str, uid: &str) {
        let key = (node.to_string(), namespace.to_string(), name.to_string());
        let mut by_pod = self.by_pod.lock();
        if let Some(workers) = by_pod.get_mut(&key) {
            workers.remove(uid);
            if workers.is_empty() {
                by_pod.remove(&key);
            }
        }
        drop(by_pod);
        let mut uses = self.uses.lock();
        for key in uses.by_pod.remove(uid).unwrap_or_default() {
            let Some(pods) = uses.by_object.get_mut(&key) else { continue };
            pods.remove(uid);
            if pods.is_empty() {
                uses.by_object.remove(&key);
            }
        }
    }

    fn subscribe(self: &Arc<Self>, informers: &Informers, object: Object) {
        if !self.subscribed.lock().insert(object) {
            return;
        }
        let this = Arc::downgrade(self);
        match object {
            Object::ConfigMap => informers.of::<ConfigMap>().subscribe(Box::new(move |change| {
                tell(&this, object, &change.object().metadata);
            })),
            Object::Secret => informers.of::<Secret>().subscribe(Box::new(move |change| {
                tell(&this, object, &change.object().metadata);
            })),
            Object::Claim => informers.of::<PersistentVolumeClaim>().subscribe(Box::new(move |change| {
                tell(&this, object, &change.object().metadata);
            })),
        }
    }
}

fn tell(interests: &Weak<Interests>, object: Object, meta: &kube::api::ObjectMeta) {
    let Some(interests) = interests.upgrade() else { return };
    let key = (object, meta.namespace.clone().unwrap_or_default(), meta.name.clone().unwrap_or_default());
    let waiting: Vec<_> = match interests.uses.lock().by_object.get(&key) {
        Some(pods) => pods.values().filter_map(Weak::upgrade).collect(),
        None => return,
    };
    waiting.iter().for_each(|inbox| inbox.post(|news| news.objects = true));
}
