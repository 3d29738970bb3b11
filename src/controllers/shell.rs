//! What controllers have in common: a queue of the objects to look at, workers that reconcile them,
//! and an orderly end.

use super::claim::{controller_of, matches};
use crate::client::{Context, Informer, Kind, ObjectKey, WorkQueue, run_workers};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{LabelSelector, ObjectMeta};
use std::borrow::Cow;
use std::future::Future;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;

/// The index of [`orphans`].
const ORPHANS: &str = "orphans";

/// A controller whose keys are the names of its kind's objects.
pub(super) trait Reconcile: Send + Sync + 'static {
    type Error: std::error::Error + Send + Sync + 'static;

    /// Makes changes of objects add keys to the queue.
    fn subscribe(&self, queue: &WorkQueue<ObjectKey>);

    /// Returns when everything it reads from is there.
    fn synced(&self) -> impl Future<Output = ()> + Send;

    /// One pass over one object; when to look again without any change.
    fn sync(&self, key: &ObjectKey) -> impl Future<Output = Result<Option<Duration>, Self::Error>> + Send;
}

/// Runs until shutdown; work under way is finished.
pub(super) async fn run<C: Reconcile>(ctx: &Context, workers: usize, controller: C) {
    let (queue, controller) = (WorkQueue::new(), Arc::new(controller));
    controller.subscribe(&queue);
    controller.synced().await;
    let work = run_workers(queue.clone(), workers, move |key| {
        let controller = controller.clone();
        async move { controller.sync(&key).await }
    });
    super::until_shutdown(&ctx.shutdown, &queue, work).await;
}

/// Returns once there is an object of this kind; false at shutdown.
pub(super) async fn any<K: Kind>(informer: &Informer<K>, shutdown: &CancellationToken) -> bool {
    let found = Arc::new(Notify::new());
    let tell = found.clone();
    informer.subscribe(Box::new(move |_| tell.notify_one()));
    shutdown.run_until_cancelled(found.notified()).await.is_some()
}

/// Looks at each object of the controller's own kind that changes.
pub(super) fn own<K: Kind>(informer: &Informer<K>, queue: &WorkQueue<ObjectKey>) {
    let to = queue.clone();
    informer.subscribe(Box::new(move |change| to.add(ObjectKey::of(&**change.object()))));
}

/// Objects of a namespace that no controller owns, in the order of their names.
pub(super) fn orphans<K: Kind>(objects: &Informer<K>, namespace: &str) -> Vec<Arc<K>> {
    fn namespace_if_free<K: Kind>(object: &K) -> Option<&str> {
        let meta = object.meta();
        meta.namespace.as_deref().filter(|_| controller_of(meta).is_none())
    }
    objects.by_index(ORPHANS, namespace_if_free, namespace)
}

/// The owners that must look when this dependant changes: its controller, or all that might adopt it.
pub(super) fn owners_of<'a, K: Kind>(
    owners: &'a Informer<K>,
    dependant: &'a ObjectMeta,
    selector: impl Fn(&K) -> Option<Cow<'_, LabelSelector>> + 'a,
) -> impl Iterator<Item = ObjectKey> + 'a {
    let namespace = dependant.namespace.as_deref().unwrap_or_default();
    let owner = controller_of(dependant);
    let owning = owner.filter(|owner| owner.kind == K::kind(&())).map(|owner| ObjectKey::new(namespace, &owner.name));
    let might_adopt = if owner.is_some() { Vec::new() } else { owners.list_namespace(namespace) };
    let adopting = might_adopt
        .into_iter()
        .filter(move |one| selector(one).is_some_and(|selector| matches(&selector, dependant.labels.as_ref())));
    owning.into_iter().chain(adopting.map(|one| ObjectKey::of(&*one)))
}
