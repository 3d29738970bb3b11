//! Gives every namespace its `default` ServiceAccount, and again if someone deletes it.

use super::write;
use crate::client::{Change, Context, Informer, WorkQueue, raw, run_workers};
use k8s_openapi::api::core::v1::{Namespace, ServiceAccount};
use kube::ResourceExt;
use serde_json::json;
use std::sync::Arc;
use std::time::Duration;

const NAME: &str = "default";

struct Controller {
    client: kube::Client,
    namespaces: Informer<Namespace>,
    accounts: Informer<ServiceAccount>,
}

/// Runs until shutdown.
pub async fn run(ctx: Context, workers: usize) {
    let queue = WorkQueue::<Arc<str>>::new();
    let controller = Arc::new(Controller {
        client: ctx.client.clone(),
        namespaces: ctx.informers.of(),
        accounts: ctx.informers.of(),
    });
    controller.accounts.synced().await;
    let to = queue.clone();
    controller.namespaces.subscribe(Box::new(move |change| {
        if !matches!(change, Change::Deleted(_)) {
            to.add(change.object().name_any().into());
        }
    }));
    let to = queue.clone();
    controller.accounts.subscribe(Box::new(move |change| {
        if let Change::Deleted(account) = change
            && account.name_any() == NAME
        {
            to.add(account.namespace().unwrap_or_default().into());
        }
    }));
    let work = run_workers(queue.clone(), workers, move |namespace| {
        let controller = controller.clone();
        async move { controller.sync(&namespace).await }
    });
    super::until_shutdown(&ctx.shutdown, &queue, work).await;
}

impl Controller {
    async fn sync(&self, name: &str) -> Result<Option<Duration>, kube::Error> {
        let missing = self.accounts.get(name, NAME).is_none();
        let alive =
            self.namespaces.get("", name).is_some_and(|namespace| namespace.metadata.deletion_timestamp.is_none());
        if !missing || !alive {
            return Ok(None);
        }
        let body = json!({ "apiVersion": "v1", "kind": "ServiceAccount", "metadata": { "name": NAME } });
        match write::create::<ServiceAccount>(&self.client, Some(name), body.to_string().into()).await {
            // It is there by now, or the namespace is gone or going.
            Err(error) if matches!(raw::code(&error), Some(403 | 404 | 409)) => Ok(None),
            outcome => outcome.map(|_| None),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::controllers::rig::Rig;

    #[tokio::test(start_paused = true)]
    async fn every_namespace_has_its_account() {
        let rig = Rig::new().await;
        rig.spawn(run(rig.ctx.clone(), 1));
        let path = "/api/v1/namespaces/default/serviceaccounts/default";
        let made = rig.until(path, |account| account["metadata"]["uid"].is_string()).await;
        rig.delete(path).await;
        rig.until(path, |account| account["metadata"]["uid"].is_string() && account != &made).await;
        rig.post("/api/v1/namespaces", json!({"metadata": {"name": "other"}})).await;
        rig.until("/api/v1/namespaces/other/serviceaccounts/default", |account| !account.is_null()).await;
    }
}
