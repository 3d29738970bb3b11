//! Makes the claims of generic ephemeral volumes: each belongs to its pod, and the garbage collector
//! removes it after the pod.

use super::claim::{controller_of, controller_reference};
use super::replicaset::refusal;
use super::shell::{self, Reconcile};
use super::volume_binder::claim_of;
use super::{pods, write};
use crate::client::{Context, EventRecorder, Informer, ObjectKey, WorkQueue, raw};
use k8s_openapi::api::core::v1::{PersistentVolumeClaim, Pod, Volume};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use std::time::Duration;

struct Controller {
    client: kube::Client,
    pods: Informer<Pod>,
    claims: Informer<PersistentVolumeClaim>,
    events: EventRecorder,
}

/// Runs until shutdown.
pub async fn run(ctx: Context, workers: usize) {
    let (pods, claims) = (ctx.informers.of(), ctx.informers.of());
    let events = ctx.events.component("ephemeral_volume", None);
    shell::run(&ctx, workers, Controller { client: ctx.client.clone(), pods, claims, events }).await;
}

impl Reconcile for Controller {
    type Error = kube::Error;

    fn subscribe(&self, queue: &WorkQueue<ObjectKey>) {
        let to = queue.clone();
        self.pods.subscribe(Box::new(move |change| {
            if ephemeral(change.object()).next().is_some() {
                to.add(ObjectKey::of(&**change.object()));
            }
        }));
    }

    async fn synced(&self) {
        self.pods.synced().await;
        self.claims.synced().await;
    }

    async fn sync(&self, key: &ObjectKey) -> Result<Option<Duration>, kube::Error> {
        let Some(pod) = self.pods.get(&key.namespace, &key.name) else { return Ok(None) };
        if pods::is_terminating(&pod) || pods::is_finished(&pod) {
            return Ok(None);
        }
        for volume in ephemeral(&pod) {
            let Some(claim) = claim(&pod, volume) else { continue };
            let name = claim.metadata.name.clone().unwrap_or_default();
            if let Some(known) = self.claims.get(&key.namespace, &name) {
                self.check(&pod, &name, &known);
                continue;
            }
            let made = write::create::<PersistentVolumeClaim>(&self.client, Some(&key.namespace), write::body(&claim)?);
            match made.await {
                // The informer shows it soon, and whose it is.
                Err(error) if raw::is_conflict(&error) => {}
                Err(error) => {
                    let why = format!("ephemeral volume controller: create PVC {name}: {}", refusal(&error));
                    self.events.warning(&*pod, "EphemeralVolumeCreationFailed", why);
                    return Err(error);
                }
                Ok(_) => {}
            }
        }
        Ok(None)
    }
}

impl Controller {
    fn check(&self, pod: &Pod, name: &str, claim: &PersistentVolumeClaim) {
        if controller_of(&claim.metadata).map(|owner| &owner.uid) != pod.metadata.uid.as_ref() {
            let why = format!("PVC \"{name}\" was not created for pod \"{}\" (pod is not owner)", pods::name(pod));
            self.events.warning(pod, "EphemeralVolumeCreationFailed", why);
        }
    }
}

fn ephemeral(pod: &Pod) -> impl Iterator<Item = &Volume> {
    pod.spec.iter().flat_map(|spec| spec.volumes.iter().flatten()).filter(|volume| volume.ephemeral.is_some())
}

/// The claim of one volume, after its template.
fn claim(pod: &Pod, volume: &Volume) -> Option<PersistentVolumeClaim> {
    let template = volume.ephemeral.as_ref()?.volume_claim_template.as_ref()?;
    let meta = template.metadata.clone().unwrap_or_default();
    Some(PersistentVolumeClaim {
        metadata: ObjectMeta {
            name: claim_of(pod, volume),
            namespace: pod.metadata.namespace.clone(),
            labels: meta.labels,
            annotations: meta.annotations,
            owner_references: Some(vec![controller_reference(pod)]),
            ..ObjectMeta::default()
        },
        spec: Some(template.spec.clone()),
        status: None,
    })
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::controllers::rig::Rig;
    use serde_json::json;

    #[tokio::test(start_paused = true)]
    async fn a_pod_gets_a_claim_of_its_own() {
        let rig = Rig::new().await;
        rig.spawn(run(rig.ctx.clone(), 1));
        let template = json!({"metadata": {"labels": {"a": "b"}},
            "spec": {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "1Gi"}}}});
        let pod = json!({"metadata": {"name": "p"}, "spec": {"containers": [{"name": "c", "image": "i"}],
            "volumes": [{"name": "scratch", "ephemeral": {"volumeClaimTemplate": template}}]}});
        let pod = rig.post("/api/v1/namespaces/default/pods", pod).await;
        let path = "/api/v1/namespaces/default/persistentvolumeclaims/p-scratch";
        let claim = rig.until(path, |claim| !claim.is_null()).await;
        assert_eq!(claim["metadata"]["ownerReferences"][0]["uid"], pod["metadata"]["uid"]);
        assert_eq!(claim["metadata"]["labels"]["a"], "b");
    }
}
