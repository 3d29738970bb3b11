//! Leads a pod's changes, and those of a node, to its kubelet: one subscription for all nodes of a process.

use crate::base::wake::Wake;
use crate::client::{Change, Informer, ObjectKey};
use k8s_openapi::api::core::v1::{Node, Pod};
use parking_lot::{Mutex, RwLock};
use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;

/// Pods of one node that changed since the last look.
#[derive(Default)]
pub struct Route {
    wake: Wake,
    changed: Mutex<BTreeSet<(Arc<str>, Arc<str>)>>,
    /// Another capacity was written into the Node.
    capacity: Wake,
}

impl Route {
    /// The pod needs a look.
    pub fn post(&self, key: ObjectKey) {
        self.changed.lock().insert((key.namespace, key.name));
        self.wake.ring();
    }

    /// Makes the next wait return at once.
    pub fn ring(&self) {
        self.wake.ring();
    }

    pub fn take(&self) -> Vec<ObjectKey> {
        let changed = std::mem::take(&mut *self.changed.lock());
        changed.into_iter().map(|(namespace, name)| ObjectKey { namespace, name }).collect()
    }

    pub async fn wait(&self) {
        self.wake.wait().await;
    }

    /// Waits until what the Node has, or what of it can be asked for, is written anew.
    pub async fn capacity_changed(&self) {
        self.capacity.wait().await;
    }
}

/// The routes of a process, by node name.
#[derive(Default)]
pub struct Routes(RwLock<HashMap<String, Arc<Route>>>);

impl Routes {
    /// The routes of everything that `pods` and `nodes` tell from now on.
    pub fn subscribe(pods: &Informer<Pod>, nodes: &Informer<Node>) -> Arc<Self> {
        let routes = Arc::new(Self::default());
        let weak = Arc::downgrade(&routes);
        nodes.subscribe(Box::new(move |change| {
            let Change::Updated { old, new } = change else { return };
            let has =
                |node: &Node| node.status.as_ref().map(|status| (status.capacity.clone(), status.allocatable.clone()));
            if has(old) == has(new) {
                return;
            }
            let (Some(routes), Some(name)) = (weak.upgrade(), new.metadata.name.as_deref()) else { return };
            if let Some(route) = routes.0.read().get(name) {
                route.capacity.ring();
            }
        }));
        let weak = Arc::downgrade(&routes);
        pods.subscribe(Box::new(move |change| {
            let pod = change.object();
            let node = pod.spec.as_ref().and_then(|s| s.node_name.as_deref());
            let (Some(routes), Some(node)) = (weak.upgrade(), node) else { return };
            if let Some(route) = routes.0.read().get(node) {
                route.post(ObjectKey::of(pod.as_ref()));
            }
        }));
        routes
    }

    /// Changes of the pods of `node` from now on; list before relying on them.
    pub fn open(&self, node: &str) -> Arc<Route> {
        self.0.write().entry(node.to_string()).or_default().clone()
    }

    pub fn close(&self, node: &str) {
        self.0.write().remove(node);
    }
}
