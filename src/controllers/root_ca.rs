//! Gives every namespace the ConfigMap `kube-root-ca.crt`, by which pods know the API server.

use super::write;
use crate::api::access::ROOT_CA as NAME;
use crate::client::{Change, Context, Informer, WorkQueue, raw, run_workers};
use http::Method;
use k8s_openapi::api::core::v1::{ConfigMap, Namespace};
use kube::ResourceExt;
use serde_json::{Value, json};
use std::sync::Arc;
use std::time::Duration;

const KEY: &str = "ca.crt";
/// ConfigMaps are not watched for this one: there may be very many of them.
const AGAIN: Duration = Duration::from_secs(10);

struct Controller {
    client: kube::Client,
    namespaces: Informer<Namespace>,
    certificate: String,
}

/// Runs until shutdown. `certificate`: the CA, PEM.
pub async fn run(ctx: Context, certificate: String) {
    let queue = WorkQueue::<Arc<str>>::new();
    let controller = Arc::new(Controller { client: ctx.client.clone(), namespaces: ctx.informers.of(), certificate });
    let to = queue.clone();
    controller.namespaces.subscribe(Box::new(move |change| {
        if !matches!(change, Change::Deleted(_)) {
            to.add(change.object().name_any().into());
        }
    }));
    let work = run_workers(queue.clone(), 1, move |namespace| {
        let controller = controller.clone();
        async move { controller.sync(&namespace).await }
    });
    super::until_shutdown(&ctx.shutdown, &queue, work).await;
}

impl Controller {
    async fn sync(&self, name: &str) -> Result<Option<Duration>, kube::Error> {
        let namespace = self.namespaces.get("", name);
        if namespace.is_none_or(|namespace| namespace.metadata.deletion_timestamp.is_some()) {
            return Ok(None);
        }
        let path = format!("/api/v1/namespaces/{name}/configmaps/{NAME}");
        let data = json!({ KEY: self.certificate });
        let outcome = match raw::request(&self.client, Method::GET, &path, None).await {
            Ok(found) => {
                let mut found: Value = serde_json::from_slice(&found).map_err(kube::Error::SerdeError)?;
                if found["data"] == data {
                    return Ok(Some(AGAIN));
                }
                found["data"] = data;
                let body = found.to_string().into();
                raw::request(&self.client, Method::PUT, &path, Some(("application/json", body))).await.map(drop)
            }
            Err(error) if raw::is_not_found(&error) => {
                let about = "Contains a CA bundle that can be used to verify the kube-apiserver when using internal endpoints such as the internal service IP or kubernetes.default.svc. No other usage is guaranteed across distributions of Kubernetes clusters.";
                let metadata = json!({"name": NAME, "annotations": {"kubernetes.io/description": about}});
                let body = json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": metadata, "data": data});
                write::create::<ConfigMap>(&self.client, Some(name), body.to_string().into()).await.map(drop)
            }
            Err(error) => Err(error),
        };
        match outcome {
            // Somebody was faster, or the namespace is gone or going.
            Err(error) if matches!(raw::code(&error), Some(403 | 404 | 409)) => Ok(Some(AGAIN)),
            outcome => outcome.map(|()| Some(AGAIN)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::controllers::rig::Rig;

    #[tokio::test(start_paused = true)]
    async fn every_namespace_gets_the_certificate_and_keeps_it() {
        let rig = Rig::new().await;
        rig.spawn(run(rig.ctx.clone(), "PEM".into()));
        let path = "/api/v1/namespaces/default/configmaps/kube-root-ca.crt";
        let made = rig.until(path, |map| map["data"]["ca.crt"] == "PEM").await;
        rig.delete(path).await;
        rig.until(path, |map| map["data"]["ca.crt"] == "PEM" && map["metadata"]["uid"] != made["metadata"]["uid"])
            .await;
    }
}
