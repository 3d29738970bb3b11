//! Tells where each service's pods are: EndpointSlices, and Endpoints for clients that know no slices.
//!
//! Slices are owned by their service and go with it; an Endpoints object has no owner and is removed here.

pub mod desired;
pub mod mirror;
pub mod slices;

use super::freshness::Freshness;
use super::shell::{self, Reconcile};
use super::{pods, write};
use crate::client::{Change, Context, Informer, ObjectKey, WorkQueue, label, raw};
use k8s_openapi::api::core::v1::{Endpoints, Pod, Service};
use k8s_openapi::api::discovery::v1::EndpointSlice;
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

/// Pods change in bursts; a look after this long sees many at once.
const GATHER: Duration = Duration::from_millis(10);
/// The index of slices by the name of their service.
const BY_SERVICE: &str = "service";
/// The index of services by a label that their selector asks for.
const BY_SELECTOR: &str = "spec.selector";
/// The label on Endpoints that tells who keeps them.
pub const ENDPOINTS_MANAGED_BY: &str = "endpoints.kubernetes.io/managed-by";
/// Its value on those that are kept here, and go with their service.
pub const ENDPOINTS_MANAGER: &str = "endpoint-controller";
const OVER_CAPACITY: &str = "endpoints.kubernetes.io/over-capacity";

#[derive(Debug, thiserror::Error)]
#[error("{what} of service {service} could not be written")]
struct SyncError {
    what: &'static str,
    service: ObjectKey,
    source: kube::Error,
}

struct Controller {
    client: kube::Client,
    services: Informer<Service>,
    pods: Informer<Pod>,
    slices: Informer<EndpointSlice>,
    endpoints: Informer<Endpoints>,
    freshness: Freshness,
}

/// Runs until shutdown.
pub async fn run(ctx: Context, workers: usize) {
    let controller = Controller {
        client: ctx.client.clone(),
        services: ctx.informers.of(),
        pods: ctx.informers.of(),
        slices: ctx.informers.of(),
        endpoints: ctx.informers.of(),
        freshness: Freshness::default(),
    };
    shell::run(&ctx, workers, controller).await;
}

impl Reconcile for Controller {
    type Error = SyncError;

    fn subscribe(&self, queue: &WorkQueue<ObjectKey>) {
        shell::own(&self.services, queue);
        let (to, services) = (queue.clone(), self.services.clone());
        self.pods.subscribe(Box::new(move |change| {
            if let Change::Updated { old, new } = change {
                if !matters(old, new) {
                    return;
                }
                selecting(&services, old).for_each(|key| to.add_after(key, GATHER));
            }
            selecting(&services, change.object()).for_each(|key| to.add_after(key, GATHER));
        }));
        let to = queue.clone();
        self.slices.subscribe(Box::new(move |change| {
            let slice = change.object();
            if let Some(service) = service_of(slice) {
                to.add_after(ObjectKey::new(slice.metadata.namespace.as_deref().unwrap_or_default(), service), GATHER);
            }
        }));
        let to = queue.clone();
        self.endpoints.subscribe(Box::new(move |change| to.add_after(ObjectKey::of(&**change.object()), GATHER)));
    }

    async fn synced(&self) {
        self.services.synced().await;
        self.pods.synced().await;
        self.slices.synced().await;
        self.endpoints.synced().await;
    }

    async fn sync(&self, key: &ObjectKey) -> Result<Option<Duration>, SyncError> {
        let fresh = self.freshness.caught_up(key, &self.slices).await;
        if !fresh {
            return Ok(Some(Duration::ZERO));
        }
        let failed = |what| move |source| SyncError { what, service: key.clone(), source };
        let known = self.endpoints.get(&key.namespace, &key.name);
        let Some(service) = self.services.get(&key.namespace, &key.name) else {
            self.freshness.forget(key);
            if let Some(endpoints) = known.filter(|endpoints| is_managed(endpoints)) {
                write::delete(&self.client, &*endpoints).await.map_err(failed("the Endpoints"))?;
            }
            return Ok(None);
        };
        if !desired::selects(&service) || service.metadata.deletion_timestamp.is_some() {
            return Ok(None);
        }
        let pods = self.pods.labelled(&key.namespace, desired::selector(&service));
        let slices = self.slices.by_index(BY_SERVICE, service_of, &key.name);
        let own: Vec<_> =
            slices.into_iter().filter(|slice| slice.metadata.namespace.as_deref() == Some(&*key.namespace)).collect();
        let plan = slices::plan(&service, desired::groups(&service, &pods), &own);
        act(&self.client, &self.freshness, key, plan).await.map_err(failed("an EndpointSlice"))?;
        self.write_endpoints(key, &service, &pods, known).await.map_err(failed("the Endpoints"))?;
        Ok(None)
    }
}

/// Writes slices.
async fn act(
    client: &kube::Client,
    freshness: &Freshness,
    key: &ObjectKey,
    plan: slices::Plan,
) -> Result<(), kube::Error> {
    for (old, new) in plan.update {
        let (before, after) = (&old.metadata, &new.metadata);
        let mut change = json!({
            "metadata": {
                "labels": map_change(before.labels.as_ref(), after.labels.as_ref()),
                "ownerReferences": after.owner_references,
            },
            "endpoints": new.endpoints,
            "ports": new.ports,
        });
        if after.annotations.is_some() {
            change["metadata"]["annotations"] = map_change(before.annotations.as_ref(), after.annotations.as_ref());
        }
        let written = write::patch(client, &*old, "", change).await?;
        freshness.wrote(key, written.revision());
    }
    for slice in plan.create {
        let body = write::body(&slice)?;
        match write::create::<EndpointSlice>(client, Some(&key.namespace), body).await {
            Ok(written) => freshness.wrote(key, written.revision()),
            Err(error) if is_leaving(&error) => return Ok(()),
            Err(error) => return Err(error),
        }
    }
    for slice in plan.delete {
        write::delete(client, &*slice).await?;
    }
    Ok(())
}

impl Controller {
    async fn write_endpoints(
        &self,
        key: &ObjectKey,
        service: &Service,
        pods: &[Arc<Pod>],
        known: Option<Arc<Endpoints>>,
    ) -> Result<(), kube::Error> {
        let (subsets, truncated) = desired::subsets(service, pods);
        let mut labels = slices::labels(service);
        labels.insert(ENDPOINTS_MANAGED_BY.into(), ENDPOINTS_MANAGER.into());
        let over = truncated.then_some("truncated");
        let Some(known) = known else {
            let body = json!({
                "apiVersion": "v1",
                "kind": "Endpoints",
                "metadata": { "name": &*key.name, "labels": labels, "annotations": { OVER_CAPACITY: over } },
                "subsets": subsets,
            });
            let body = stripped(body).to_string().into();
            return match write::create::<Endpoints>(&self.client, Some(&key.namespace), body).await {
                // Our own, which the cache does not show yet: its arrival wakes us.
                Err(error) if raw::is_conflict(&error) || is_leaving(&error) => Ok(()),
                outcome => outcome.map(drop),
            };
        };
        let annotations = known.metadata.annotations.as_ref();
        let said = annotations.and_then(|annotations| annotations.get(OVER_CAPACITY)).map(String::as_str);
        let same = known.subsets.as_deref().unwrap_or_default() == subsets.as_slice()
            && known.metadata.labels.as_ref() == Some(&labels)
            && said == over;
        if same {
            return Ok(());
        }
        let old = known.metadata.labels.as_ref();
        let gone = old.into_iter().flatten().filter(|(name, _)| !labels.contains_key(*name));
        let mut change: serde_json::Map<String, Value> = gone.map(|(name, _)| (name.clone(), Value::Null)).collect();
        change.extend(labels.iter().map(|(name, value)| (name.clone(), json!(value))));
        let change =
            json!({ "metadata": { "labels": change, "annotations": { OVER_CAPACITY: over } }, "subsets": subsets });
        match write::patch(&self.client, &*known, "", change).await {
            // The newer state wakes us again.
            Err(error) if raw::is_conflict(&error) || raw::is_not_found(&error) => Ok(()),
            outcome => outcome.map(drop),
        }
    }
}

/// The merge patch of labels or annotations that leaves no others.
fn map_change(old: Option<&BTreeMap<String, String>>, new: Option<&BTreeMap<String, String>>) -> Value {
    let is_gone = |name: &String| new.is_none_or(|wanted| !wanted.contains_key(name));
    let gone = old.into_iter().flatten().filter(|(name, _)| is_gone(name));
    let mut change: serde_json::Map<String, Value> = gone.map(|(name, _)| (name.clone(), Value::Null)).collect();
    change.extend(new.into_iter().flatten().map(|(name, value)| (name.clone(), json!(value))));
    Value::Object(change)
}

/// Without the annotation that says nothing.
fn stripped(mut body: Value) -> Value {
    if body["metadata"]["annotations"][OVER_CAPACITY].is_null()
        && let Some(metadata) = body["metadata"].as_object_mut()
    {
        metadata.remove("annotations");
    }
    body
}

/// The namespace is gone or going.
fn is_leaving(error: &kube::Error) -> bool {
    matches!(raw::code(error), Some(403 | 404))
}

fn is_managed(endpoints: &Endpoints) -> bool {
    let labels = endpoints.metadata.labels.as_ref();
    labels.and_then(|labels| labels.get(ENDPOINTS_MANAGED_BY)).is_some_and(|manager| manager == ENDPOINTS_MANAGER)
}

/// The service a slice of ours belongs to.
fn service_of(slice: &EndpointSlice) -> Option<&str> {
    managed(slice, slices::MANAGER)
}

/// The service a slice belongs to, if it is this manager's.
fn managed<'a>(slice: &'a EndpointSlice, manager: &str) -> Option<&'a str> {
    let labels = slice.metadata.labels.as_ref()?;
    (labels.get(slices::MANAGED_BY)? == manager).then(|| labels.get(slices::SERVICE_NAME))?.map(String::as_str)
}

/// The services whose selector the pod fits.
fn selecting<'a>(services: &'a Informer<Service>, pod: &'a Pod) -> impl Iterator<Item = ObjectKey> + 'a {
    let namespace = pod.metadata.namespace.as_deref().unwrap_or_default();
    let labels = pod.metadata.labels.iter().flatten().map(move |(name, value)| label(namespace, name, value));
    let found = labels.flat_map(|label| services.by_values(BY_SELECTOR, selected_label, &label));
    let fitting = found.filter(|service| desired::matches(service, pod.metadata.labels.as_ref()));
    fitting.map(|service| ObjectKey::of(&*service))
}

/// One label that all pods of the service have: that with the longest value, mostly the rarest.
fn selected_label(service: &Service) -> Vec<Box<str>> {
    let namespace = service.metadata.namespace.as_deref().unwrap_or_default();
    let longest = desired::selector(service).iter().max_by_key(|(_, value)| value.len());
    longest.map(|(name, value)| label(namespace, name, value)).into_iter().collect()
}

/// Whether a service's endpoints may change with the pod.
fn matters(old: &Pod, new: &Pod) -> bool {
    let ip = |pod: &Pod| pod.status.as_ref().and_then(|status| status.pod_ip.clone());
    pods::is_ready(old) != pods::is_ready(new)
        || pods::is_terminating(old) != pods::is_terminating(new)
        || pods::is_finished(old) != pods::is_finished(new)
        || pods::node(old) != pods::node(new)
        || ip(old) != ip(new)
        || old.metadata.labels != new.metadata.labels
        || old.metadata.uid != new.metadata.uid
}

#[cfg(test)]
mod tests;
