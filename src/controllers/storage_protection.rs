//! Keeps claims that a pod uses, and volumes that a claim is bound to, until they are free: their
//! deletion waits for a finalizer that the API server gave them, and that is taken away here.

use super::shell::{self, Reconcile};
use super::volume_binder::{claims, uses};
use super::{pods, write};
use crate::api::storage::{CLAIM_PROTECTION, VOLUME_PROTECTION};
use crate::client::{Context, Informer, Kind, ObjectKey, WorkQueue, raw};
use k8s_openapi::api::core::v1::{PersistentVolume, PersistentVolumeClaim, Pod};
use kube::ResourceExt;
use serde_json::json;
use std::time::Duration;

struct Controller {
    client: kube::Client,
    claims: Informer<PersistentVolumeClaim>,
    volumes: Informer<PersistentVolume>,
    pods: Informer<Pod>,
}

/// Runs until shutdown.
pub async fn run(ctx: Context, workers: usize) {
    let (claims, volumes, pods) = (ctx.informers.of(), ctx.informers.of(), ctx.informers.of());
    shell::run(&ctx, workers, Controller { client: ctx.client.clone(), claims, volumes, pods }).await;
}

impl Reconcile for Controller {
    type Error = kube::Error;

    fn subscribe(&self, queue: &WorkQueue<ObjectKey>) {
        shell::own(&self.claims, queue);
        shell::own(&self.volumes, queue);
        let to = queue.clone();
        self.pods.subscribe(Box::new(move |change| {
            let pod = change.object();
            let namespace = pod.metadata.namespace.as_deref().unwrap_or_default();
            claims(pod).for_each(|name| to.add(ObjectKey::new(namespace, &name)));
        }));
    }

    async fn synced(&self) {
        self.claims.synced().await;
        self.volumes.synced().await;
        self.pods.synced().await;
    }

    async fn sync(&self, key: &ObjectKey) -> Result<Option<Duration>, kube::Error> {
        if key.namespace.is_empty() {
            let Some(volume) = self.volumes.get("", &key.name) else { return Ok(None) };
            let phase = volume.status.as_ref().and_then(|status| status.phase.as_deref());
            return self.release(&*volume, VOLUME_PROTECTION, phase != Some("Bound")).await;
        }
        let Some(claim) = self.claims.get(&key.namespace, &key.name) else { return Ok(None) };
        // The scheduler gives no host to a pod whose claim is about to go.
        let used = |pod: &Pod| pods::node(pod).is_some() && uses(pod, &key.name);
        let free = !self.pods.list_namespace(&key.namespace).iter().any(|pod| used(pod));
        self.release(&*claim, CLAIM_PROTECTION, free).await
    }
}

impl Controller {
    async fn release<K: Kind>(&self, object: &K, name: &str, free: bool) -> Result<Option<Duration>, kube::Error> {
        let held = object.finalizers().iter().any(|one| one == name);
        if !held || !free || object.meta().deletion_timestamp.is_none() {
            return Ok(None);
        }
        let left: Vec<_> = object.finalizers().iter().filter(|one| *one != name).collect();
        match write::patch(&self.client, object, "", json!({"metadata": {"finalizers": left}})).await {
            Err(error) if raw::is_not_found(&error) => Ok(None),
            // Changed meanwhile: that change wakes it again.
            Err(error) if raw::is_conflict(&error) => Ok(None),
            outcome => outcome.map(|_| None),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::controllers::rig::Rig;
    use serde_json::Value;

    const CLAIMS: &str = "/api/v1/namespaces/default/persistentvolumeclaims";

    #[tokio::test(start_paused = true)]
    async fn a_claim_goes_when_its_last_pod_has_gone() {
        let rig = Rig::new().await;
        rig.spawn(run(rig.ctx.clone(), 1));
        let claim = json!({"metadata": {"name": "data"},
            "spec": {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "1Gi"}}}});
        let made = rig.post(CLAIMS, claim).await;
        assert_eq!(made["metadata"]["finalizers"], json!([CLAIM_PROTECTION]));
        let pod = json!({"metadata": {"name": "p"}, "spec": {"nodeName": "h1", "terminationGracePeriodSeconds": 0,
            "containers": [{"name": "c", "image": "i"}],
            "volumes": [{"name": "v", "persistentVolumeClaim": {"claimName": "data"}}]}});
        rig.post("/api/v1/namespaces/default/pods", pod).await;
        let path = format!("{CLAIMS}/data");
        rig.delete(&path).await;
        rig.stays(&path, Duration::from_secs(5), |claim| claim["metadata"]["deletionTimestamp"].is_string()).await;
        rig.delete("/api/v1/namespaces/default/pods/p?gracePeriodSeconds=0").await;
        rig.until(&path, Value::is_null).await;
    }
}
