//! Empties namespaces that are being deleted, then lets them go.
//!
//! Content goes first and pods last, so that nobody makes the pods anew; they get their grace. All
//! state is in the API: a restart goes on where the last run stopped.

pub mod plan;

use super::objects::{self, Identity, Meta, Propagation, Resource};
use super::write;
use crate::base::clock::Clock;
use crate::client::{Change, Context, Informer, WorkQueue, raw, run_workers};
use http::Method;
use k8s_openapi::api::core::v1::{Namespace, Pod};
use kube::ResourceExt;
use serde_json::{Value, json};
use std::sync::Arc;
use std::time::Duration;
use tokio::task::JoinSet;

/// Deletions on their way at once, per namespace: they share the store's commits.
const AT_ONCE: usize = 32;

#[derive(Debug, thiserror::Error)]
enum SyncError {
    #[error("the kinds of objects could not be found out")]
    Discovery(#[source] kube::Error),
    #[error("{what} of the namespace could not be deleted")]
    Content { what: String, source: kube::Error },
    #[error("the namespace's status could not be written")]
    Status(#[source] kube::Error),
    #[error("the namespace could not be let go")]
    Finalize(#[source] kube::Error),
}

struct Controller {
    client: kube::Client,
    namespaces: Informer<Namespace>,
    clock: Clock,
}

/// Runs until shutdown.
pub async fn run(ctx: Context, workers: usize) {
    let queue = WorkQueue::<Arc<str>>::new();
    let controller =
        Arc::new(Controller { client: ctx.client.clone(), namespaces: ctx.informers.of(), clock: ctx.clock.clone() });
    let to = queue.clone();
    controller.namespaces.subscribe(Box::new(move |change| {
        if !matches!(change, Change::Deleted(_)) && plan::is_leaving(change.object()) {
            to.add(change.object().name_any().into());
        }
    }));
    // What a namespace waits for longest are its pods.
    let (to, namespaces) = (queue.clone(), controller.namespaces.clone());
    ctx.informers.of::<Pod>().subscribe(Box::new(move |change| {
        if let Change::Deleted(pod) = change
            && let Some(namespace) = namespaces.get("", &pod.namespace().unwrap_or_default())
            && plan::is_leaving(&namespace)
        {
            to.add(namespace.name_any().into());
        }
    }));
    let work = run_workers(queue.clone(), workers, move |namespace| {
        let controller = controller.clone();
        async move { controller.sync(&namespace).await }
    });
    super::until_shutdown(&ctx.shutdown, &queue, work).await;
}

impl Controller {
    async fn sync(&self, name: &str) -> Result<Option<Duration>, SyncError> {
        let Some(namespace) = self.namespaces.get("", name).filter(|namespace| plan::is_leaving(namespace)) else {
            return Ok(None);
        };
        let resources = match objects::deletable(&self.client).await {
            Ok(found) => found,
            Err(error) => {
                self.report(&namespace, &plan::discovery_failed(&error.to_string())).await?;
                return Err(SyncError::Discovery(error));
            }
        };
        let (content, failure) = self.empty(name, plan::order(resources)).await;
        if content.is_empty() && failure.is_none() {
            return self.finalize(name).await.map(|()| None).map_err(SyncError::Finalize);
        }
        let said = failure.as_ref().map(ToString::to_string);
        self.report(&namespace, &plan::conditions(&content, said.as_deref())).await?;
        match failure {
            Some(error) => Err(error),
            None => Ok(Some(plan::pause(&namespace, self.clock.now()))),
        }
    }

    /// Deletes what is left; returns what is still there, and the first failure.
    async fn empty(&self, name: &str, resources: Vec<Arc<Resource>>) -> (Vec<plan::Content>, Option<SyncError>) {
        let (mut content, mut failure) = (Vec::new(), None);
        for resource in resources {
            match self.empty_of(name, &resource).await {
                Ok(left) if left.is_empty() => {}
                Ok(left) => content.push(plan::Content::of(&resource, &left)),
                Err(source) => {
                    let what = plan::label(&resource);
                    failure.get_or_insert(SyncError::Content { what, source });
                }
            }
        }
        (content, failure)
    }

    async fn empty_of(&self, name: &str, resource: &Arc<Resource>) -> Result<Vec<Meta>, kube::Error> {
        let collection = resource.collection(name);
        let (_, found) = objects::list(&self.client, &collection).await?;
        let alive: Vec<_> = found.iter().filter(|meta| !meta.is_terminating()).collect();
        if alive.is_empty() {
            return Ok(found);
        }
        let doomed: Vec<Identity> = alive.into_iter().map(|meta| meta.identity(resource)).collect();
        let mut deletions = JoinSet::new();
        let mut outcome = Ok(());
        for object in doomed {
            if deletions.len() >= AT_ONCE {
                outcome = outcome.and(joined(deletions.join_next().await));
            }
            deletions.spawn(delete(self.client.clone(), object));
        }
        while let Some(finished) = deletions.join_next().await {
            outcome = outcome.and(joined(Some(finished)));
        }
        outcome?;
        Ok(objects::list(&self.client, &collection).await?.1)
    }

    async fn report(&self, namespace: &Namespace, found: &[plan::Finding]) -> Result<(), SyncError> {
        let status = plan::status(namespace, found, self.clock.now_seconds());
        let Some(change) = write::status_difference(namespace.status.as_ref(), &status) else { return Ok(()) };
        match write::patch(&self.client, namespace, "/status", change).await {
            // Someone was faster: the change wakes us again.
            Err(error) if raw::is_not_found(&error) || raw::is_conflict(&error) => Ok(()),
            outcome => outcome.map(drop).map_err(SyncError::Status),
        }
    }

    /// Takes our finalizer off the namespace as it is now.
    async fn finalize(&self, name: &str) -> Result<(), kube::Error> {
        let path = format!("/api/v1/namespaces/{name}");
        let body = match raw::request(&self.client, Method::GET, &path, None).await {
            Err(error) if raw::is_not_found(&error) => return Ok(()),
            outcome => outcome?,
        };
        let mut namespace: Value = serde_json::from_slice(&body).map_err(kube::Error::SerdeError)?;
        // Another namespace of the same name, made in between, must live.
        if namespace["metadata"]["deletionTimestamp"].is_null() {
            return Ok(());
        }
        if let Some(finalizers) = namespace["spec"]["finalizers"].as_array_mut() {
            finalizers.retain(|finalizer| finalizer != plan::FINALIZER);
        }
        let body = json!(namespace).to_string().into();
        let path = path + "/finalize";
        match raw::request(&self.client, Method::PUT, &path, Some(("application/json", body))).await {
            Err(error) if raw::is_not_found(&error) => Ok(()),
            outcome => outcome.map(drop),
        }
    }
}

async fn delete(client: kube::Client, object: Identity) -> Result<(), kube::Error> {
    match objects::delete(&client, &object, "", Propagation::Background).await {
        // Another object of the same name: the next look finds it.
        Err(error) if raw::is_conflict(&error) => Ok(()),
        outcome => outcome,
    }
}

fn joined(finished: Option<Result<Result<(), kube::Error>, tokio::task::JoinError>>) -> Result<(), kube::Error> {
    match finished {
        Some(Ok(outcome)) => outcome,
        Some(Err(panic)) => Err(kube::Error::Service(panic.into())),
        None => Ok(()),
    }
}

#[cfg(test)]
mod tests;
