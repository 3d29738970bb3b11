//! Deletes the objects of custom resources whose definition is being deleted, then lets the
//! definition go. All state is in the API: a restart goes on where the last run stopped.

use super::garbage_collector::monitor::{self, Told};
use super::objects::{self, Identity, Meta, Propagation, Resource};
use crate::client::{Context, WorkQueue, raw, run_workers};
use http::Method;
use serde_json::Value;
use std::sync::Arc;
use std::time::Duration;
use tokio::task::JoinSet;

/// While this finalizer is there, instances may be.
const CLEANUP: &str = "customresourcecleanup.apiextensions.k8s.io";
/// Deletions on their way at once: they share the store's commits.
const AT_ONCE: usize = 32;
/// Instances with finalizers of their own take as long as their controllers do.
const PAUSE: Duration = Duration::from_secs(1);

#[derive(Debug, thiserror::Error)]
enum SyncError {
    #[error("the definition could not be read")]
    Read(#[source] kube::Error),
    #[error("the objects of the kind could not be deleted")]
    Instances(#[source] kube::Error),
    #[error("the definition could not be let go")]
    Release(#[source] kube::Error),
}

struct Controller {
    client: kube::Client,
    kind: Arc<Resource>,
}

/// Runs until shutdown.
pub async fn run(ctx: Context, workers: usize) {
    let queue = WorkQueue::<Arc<str>>::new();
    let kind = Arc::new(Resource {
        api_version: "apiextensions.k8s.io/v1".into(),
        plural: "customresourcedefinitions".into(),
        kind: "CustomResourceDefinition".into(),
        namespaced: false,
    });
    let controller = Arc::new(Controller { client: ctx.client.clone(), kind: kind.clone() });
    let to = queue.clone();
    let look = move |meta: &Meta| {
        if meta.is_terminating() && meta.has_finalizer(CLEANUP) {
            to.add(meta.name.as_str().into());
        }
    };
    let monitor = monitor::run(ctx.client.clone(), kind, move |told| match told {
        Told::Listed { objects, .. } => objects.iter().for_each(&look),
        Told::Seen(meta) => look(&meta),
        Told::Gone(_) => {}
    });
    tokio::spawn(ctx.shutdown.clone().run_until_cancelled_owned(monitor));
    let work = run_workers(queue.clone(), workers, move |name| {
        let controller = controller.clone();
        async move { controller.sync(&name).await }
    });
    super::until_shutdown(&ctx.shutdown, &queue, work).await;
}

impl Controller {
    async fn sync(&self, name: &str) -> Result<Option<Duration>, SyncError> {
        let path = format!("{}/{name}", self.kind.collection(""));
        let definition: Value = match raw::request(&self.client, Method::GET, &path, None).await {
            Err(error) if raw::is_not_found(&error) => return Ok(None),
            Err(error) => return Err(SyncError::Read(error)),
            Ok(body) => {
                serde_json::from_slice(&body).map_err(|error| SyncError::Read(kube::Error::SerdeError(error)))?
            }
        };
        let meta: Meta = serde_json::from_value(definition["metadata"].clone()).unwrap_or_default();
        if !meta.is_terminating() || !meta.has_finalizer(CLEANUP) {
            return Ok(None);
        }
        if let Some(resource) = served(&definition)
            && !self.empty(&Arc::new(resource)).await.map_err(SyncError::Instances)?
        {
            return Ok(Some(PAUSE));
        }
        let kept: Vec<&String> = meta.finalizers.iter().filter(|finalizer| *finalizer != CLEANUP).collect();
        let change = serde_json::json!({ "finalizers": kept });
        let identity = meta.identity(&self.kind);
        match objects::patch(&self.client, &identity, &meta.resource_version, change).await {
            // It changed meanwhile: the change wakes us again.
            Err(error) if raw::is_conflict(&error) => Ok(Some(PAUSE)),
            outcome => outcome.map(|()| None).map_err(SyncError::Release),
        }
    }

    /// Deletes every object of the kind; true when none is left.
    async fn empty(&self, resource: &Arc<Resource>) -> Result<bool, kube::Error> {
        let left = match objects::list(&self.client, &resource.collection("")).await {
            // Names that were never accepted: there can be no objects.
            Err(error) if raw::is_not_found(&error) => return Ok(true),
            outcome => outcome?.1,
        };
        let doomed: Vec<Identity> =
            left.iter().filter(|meta| !meta.is_terminating()).map(|meta| meta.identity(resource)).collect();
        let mut deletions = JoinSet::new();
        for object in doomed {
            if deletions.len() >= AT_ONCE {
                joined(deletions.join_next().await)?;
            }
            let client = self.client.clone();
            deletions.spawn(async move { objects::delete(&client, &object, "", Propagation::Background).await });
        }
        while let Some(finished) = deletions.join_next().await {
            joined(Some(finished))?;
        }
        if left.is_empty() {
            return Ok(true);
        }
        Ok(objects::list(&self.client, &resource.collection("")).await?.1.is_empty())
    }
}

fn joined(finished: Option<Result<Result<(), kube::Error>, tokio::task::JoinError>>) -> Result<(), kube::Error> {
    match finished {
        // Another object of the same name: the next look finds it.
        Some(Ok(Err(error))) if raw::is_conflict(&error) => Ok(()),
        Some(Ok(outcome)) => outcome,
        Some(Err(panic)) => Err(kube::Error::Service(panic.into())),
        None => Ok(()),
    }
}

/// A version of the definition that can be asked for.
fn served(definition: &Value) -> Option<Resource> {
    let spec = &definition["spec"];
    let version = spec["versions"].as_array()?.iter().find(|version| version["served"] == true)?;
    Some(Resource {
        api_version: format!("{}/{}", spec["group"].as_str()?, version["name"].as_str()?),
        plural: spec["names"]["plural"].as_str()?.into(),
        kind: spec["names"]["kind"].as_str()?.into(),
        namespaced: spec["scope"] != "Cluster",
    })
}

#[cfg(test)]
mod tests;
