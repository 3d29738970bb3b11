//! Deletes objects whose owners are gone, and carries out foreground and orphaning deletions.
//!
//! [`monitor`]s tell of every object of every kind, [`graph`] remembers who depends on whom, and [`plan`]
//! decides about one object at a time, from its state as read from the API server at that moment.
//! The graph only says where to look: that an owner is absent is always verified before anything dies.

pub mod graph;
pub mod monitor;
pub mod plan;

use super::objects::{self, Identity, Meta, Resource};
use crate::client::{Context, EventRecorder, WorkQueue, raw, run_workers};
use graph::Graph;
use k8s_openapi::api::core::v1::ObjectReference;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::OwnerReference;
use monitor::Told;
use parking_lot::{Mutex, RwLock};
use plan::{Action, Observed, Standing};
use serde_json::json;
use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::{Notify, watch};
use tokio_util::sync::CancellationToken;
use tracing::{debug, warn};

/// How often kinds added and removed at run time are looked for.
const DISCOVERY: Duration = Duration::from_secs(30);
/// How long after a change of definitions the kinds are asked for.
const SETTLE: Duration = Duration::from_millis(100);
/// An owner of a kind that is not served may be of one that is served later.
const UNKNOWN_KIND: Duration = Duration::from_secs(60);

#[derive(Debug, thiserror::Error)]
enum SyncError {
    #[error("{what} {path} could not be read")]
    Read { what: &'static str, path: String, source: kube::Error },
    #[error("{path} could not be {done}")]
    Write { path: String, done: &'static str, source: kube::Error },
}

struct Collector {
    client: kube::Client,
    events: EventRecorder,
    graph: Mutex<Graph>,
    /// The kinds followed, and the ends of their monitors.
    kinds: RwLock<HashMap<Arc<Resource>, CancellationToken>>,
    /// Kinds whose first list has not arrived.
    unlisted: watch::Sender<HashSet<Arc<Resource>>>,
    queue: WorkQueue<Identity>,
    /// A definition came, changed or went.
    kinds_changed: Notify,
    shutdown: CancellationToken,
}

/// Runs until shutdown.
pub async fn run(ctx: Context, workers: usize) {
    let queue = WorkQueue::new();
    let collector = Arc::new(Collector {
        client: ctx.client.clone(),
        events: ctx.events.component("garbage-collector-controller", None),
        graph: Mutex::default(),
        kinds: RwLock::default(),
        unlisted: watch::Sender::default(),
        queue: queue.clone(),
        kinds_changed: Notify::new(),
        shutdown: ctx.shutdown.clone(),
    });
    // Before every kind is known, owners seem absent that are not.
    if ctx.shutdown.run_until_cancelled(collector.first_look()).await.is_none() {
        return;
    }
    tokio::spawn(ctx.shutdown.clone().run_until_cancelled_owned(collector.clone().rediscover()));
    let work = run_workers(queue.clone(), workers, move |object| {
        let collector = collector.clone();
        async move { collector.sync(&object).await }
    });
    super::until_shutdown(&ctx.shutdown, &queue, work).await;
}

impl Collector {
    async fn first_look(self: &Arc<Self>) {
        while !self.discover().await {
            tokio::time::sleep(Duration::from_millis(200)).await;
        }
        let mut unlisted = self.unlisted.subscribe();
        let _ = unlisted.wait_for(HashSet::is_empty).await;
    }

    async fn rediscover(self: Arc<Self>) {
        loop {
            let _ = tokio::time::timeout(DISCOVERY, self.kinds_changed.notified()).await;
            // The server serves a kind a moment after its definition is written.
            tokio::time::sleep(SETTLE).await;
            self.discover().await;
        }
    }

    /// Starts to follow kinds that are new and stops where they are gone; false when it could not find out.
    async fn discover(self: &Arc<Self>) -> bool {
        let found: HashSet<_> = match objects::deletable(&self.client).await {
            Ok(found) => found.into_iter().collect(),
            Err(error) => {
                debug!(%error, "discovery failed, keeping to the kinds known");
                return false;
            }
        };
        let mut kinds = self.kinds.write();
        kinds.retain(|kind, stop| {
            let stays = found.contains(kind);
            if !stays {
                stop.cancel();
                self.unlisted.send_if_modified(|unlisted| unlisted.remove(kind));
            }
            stays
        });
        for kind in found {
            if !kinds.contains_key(&kind) {
                kinds.insert(kind.clone(), self.follow(&kind));
            }
        }
        true
    }

    fn follow(self: &Arc<Self>, kind: &Arc<Resource>) -> CancellationToken {
        let stop = self.shutdown.child_token();
        self.unlisted.send_if_modified(|unlisted| unlisted.insert(kind.clone()));
        let (collector, resource) = (self.clone(), kind.clone());
        let monitor = monitor::run(self.client.clone(), kind.clone(), move |told| collector.told(&resource, told));
        tokio::spawn(stop.clone().run_until_cancelled_owned(monitor));
        stop
    }

    fn told(&self, resource: &Arc<Resource>, told: Told) {
        if resource.kind == "CustomResourceDefinition" {
            self.kinds_changed.notify_one();
        }
        let mut graph = self.graph.lock();
        match told {
            Told::Seen(meta) => graph.observe(resource, &meta).into_iter().for_each(|look| self.queue.add(look)),
            Told::Gone(uid) => graph.removed(&uid).into_iter().for_each(|look| self.queue.add(look)),
            Told::Listed { objects, gone } => {
                for uid in gone {
                    graph.removed(&uid).into_iter().for_each(|look| self.queue.add(look));
                }
                for meta in objects {
                    graph.observe(resource, &meta).into_iter().for_each(|look| self.queue.add(look));
                }
                self.unlisted.send_if_modified(|unlisted| unlisted.remove(resource));
            }
        }
    }

    async fn sync(&self, object: &Identity) -> Result<Option<Duration>, SyncError> {
        if self.graph.lock().is_held(&object.uid) {
            return Ok(None);
        }
        let read = |source| SyncError::Read { what: "the object", path: object.path(), source };
        let meta = match objects::get(&self.client, &object.path()).await.map_err(read)? {
            Some(meta) if *meta.uid == *object.uid => meta,
            _ => {
                let look = self.graph.lock().removed(&object.uid);
                look.into_iter().for_each(|look| self.queue.add(look));
                return Ok(None);
            }
        };
        let (mut owners, mut again) = (Vec::new(), None);
        for owner in &meta.owner_references {
            match self.standing(object, owner).await? {
                Some(standing) => owners.push(standing),
                // What cannot be looked up must not be taken for absent.
                None => {
                    owners.push(Standing::Solid);
                    again = Some(UNKNOWN_KIND);
                }
            }
        }
        let dependents = self.graph.lock().dependents_of(&object.uid);
        let circular = {
            let graph = self.graph.lock();
            dependents.iter().any(|edge| graph.is_leaving(&edge.dependent.uid))
        };
        let action = plan::plan(&Observed { meta: &meta, owners: &owners, dependents: &dependents, circular });
        self.act(object, &meta, action).await?;
        Ok(again)
    }

    /// What has become of one owner of `object`; `None` if that cannot be said.
    async fn standing(&self, object: &Identity, owner: &OwnerReference) -> Result<Option<Standing>, SyncError> {
        let kind = {
            let kinds = self.kinds.read();
            let group = objects::group(&owner.api_version);
            kinds.keys().find(|kind| kind.kind == owner.kind && kind.group() == group).cloned()
        };
        let Some(kind) = kind else {
            warn!(object = %object.path(), api_version = owner.api_version, kind = owner.kind, "an owner is of a kind that is not served; keeping its dependent");
            return Ok(None);
        };
        if kind.namespaced && object.namespace.is_empty() {
            self.invalid(object, owner, "cluster-scoped resources cannot have namespaced owners");
            return Ok(Some(Standing::Solid));
        }
        let elsewhere = {
            let graph = self.graph.lock();
            if graph.is_alive(&owner.uid, &object.namespace) && !graph.is_leaving(&owner.uid) {
                return Ok(Some(Standing::Solid));
            }
            graph.place(&owner.uid).is_some() && !graph.is_alive(&owner.uid, &object.namespace)
        };
        let path = format!("{}/{}", kind.collection(&object.namespace), owner.name);
        let read = |source| SyncError::Read { what: "the owner", path: path.clone(), source };
        let standing = match objects::get(&self.client, &path).await.map_err(read)? {
            Some(meta) if meta.uid == owner.uid => {
                let waiting = meta.is_terminating() && meta.has_finalizer(graph::FOREGROUND);
                if waiting { Standing::Waiting } else { Standing::Solid }
            }
            _ => Standing::Absent,
        };
        if elsewhere && standing == Standing::Absent {
            self.invalid(object, owner, &format!("does not exist in namespace {:?}", &*object.namespace));
        }
        Ok(Some(standing))
    }

    fn invalid(&self, object: &Identity, owner: &OwnerReference, why: &str) {
        let involved = ObjectReference {
            api_version: Some(object.resource.api_version.clone()),
            kind: Some(object.resource.kind.clone()),
            namespace: Some(object.namespace.to_string()).filter(|namespace| !namespace.is_empty()),
            name: Some(object.name.to_string()),
            uid: Some(object.uid.to_string()),
            ..ObjectReference::default()
        };
        let message = format!(
            "ownerRef [{}/{}, namespace: {}, name: {}, uid: {}] {why}",
            owner.api_version, owner.kind, object.namespace, owner.name, owner.uid
        );
        self.events.record(involved, "Warning", "OwnerRefInvalidNamespace", message);
    }

    async fn act(&self, object: &Identity, meta: &Meta, action: Action) -> Result<(), SyncError> {
        let failed = |done| move |source| SyncError::Write { path: object.path(), done, source };
        match action {
            Action::Nothing => Ok(()),
            Action::Await(dependents) => {
                dependents.into_iter().for_each(|dependent| self.queue.add(dependent));
                Ok(())
            }
            Action::Release(finalizer) => self.release(object, meta, finalizer).await,
            Action::Orphan(dependents) => {
                for dependent in dependents {
                    self.orphan(&dependent, &object.uid).await?;
                }
                self.release(object, meta, graph::ORPHAN).await
            }
            Action::Keep(owners) => self.own(object, meta, &owners).await,
            Action::Unblock(owners) => {
                self.own(object, meta, &owners).await?;
                self.queue.add(object.clone());
                Ok(())
            }
            Action::Delete(propagation) => {
                // With the revision: an object that got a new owner meanwhile must live.
                let deletion = objects::delete(&self.client, object, &meta.resource_version, propagation);
                deletion.await.map_err(failed("deleted"))
            }
        }
    }

    async fn own(&self, object: &Identity, meta: &Meta, owners: &[OwnerReference]) -> Result<(), SyncError> {
        let change = json!({ "ownerReferences": owners });
        let failed = |source| SyncError::Write { path: object.path(), done: "given its owners", source };
        objects::patch(&self.client, object, &meta.resource_version, change).await.map_err(failed)
    }

    /// Takes the references to `owner` off a dependent.
    async fn orphan(&self, dependent: &Identity, owner: &str) -> Result<(), SyncError> {
        let read = |source| SyncError::Read { what: "the dependent", path: dependent.path(), source };
        let Some(meta) = objects::get(&self.client, &dependent.path()).await.map_err(read)? else { return Ok(()) };
        let owners: Vec<_> = meta.owner_references.iter().filter(|known| known.uid != owner).cloned().collect();
        if *meta.uid != *dependent.uid || owners.len() == meta.owner_references.len() {
            return Ok(());
        }
        self.own(dependent, &meta, &owners).await
    }

    async fn release(&self, object: &Identity, meta: &Meta, finalizer: &str) -> Result<(), SyncError> {
        let finalizers: Vec<_> = meta.finalizers.iter().filter(|known| *known != finalizer).collect();
        let change = json!({ "finalizers": finalizers });
        match objects::patch(&self.client, object, &meta.resource_version, change).await {
            Err(error) if raw::is_not_found(&error) => Ok(()),
            outcome => outcome.map_err(|source| SyncError::Write { path: object.path(), done: "released", source }),
        }
    }
}

#[cfg(test)]
mod tests;
