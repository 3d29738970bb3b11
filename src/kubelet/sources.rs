//! Fetches the objects that a pod refers to: from the shared informers, and from the API itself
//! what those do not show (yet).

use crate::api::access;
use crate::controllers::volume_binder;
use crate::kubelet::env::{self, Sources, services::service_variables};
use crate::kubelet::fields::HostFacts;
use crate::kubelet::host::Host;
use crate::kubelet::inbox::Inbox;
use crate::kubelet::interests::Object;
use crate::kubelet::runtime::Sandbox;
use crate::kubelet::{images, pod, tokens, volumes};
use k8s_openapi::NamespaceResourceScope;
use k8s_openapi::api::core::v1::{ConfigMap, Container, Pod, Secret, Service};
use k8s_openapi::api::node::v1::RuntimeClass;
use kube::Api;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

/// The pod with the volume that informers leave out. Nothing on a host that is pretended reads it.
pub fn whole(host: &Host, pod: Arc<Pod>) -> Arc<Pod> {
    if host.node.simulated { pod } else { access::restore(&pod).map(Arc::new).unwrap_or(pod) }
}

/// What a pod's containers and volumes read, but for the variables of [`services`]. Registers the pod's
/// interest in it.
pub async fn fetch(host: &Host, pod: &Pod, inbox: &Arc<Inbox>) -> Result<Sources, kube::Error> {
    let (mut config_maps, mut secrets) = env::references(pod);
    let (more_maps, more_secrets) = volumes::references(pod);
    config_maps.extend(more_maps);
    secrets.extend(more_secrets);
    secrets.extend(images::references(pod));
    let namespace = pod.metadata.namespace.as_deref().unwrap_or_default();
    let uid = pod.metadata.uid.as_deref().unwrap_or_default();
    let wanted: BTreeSet<_> = config_maps
        .iter()
        .map(|name| (Object::ConfigMap, name.clone()))
        .chain(secrets.iter().map(|name| (Object::Secret, name.clone())))
        .chain(volume_binder::claims(pod).map(|name| (Object::Claim, name)))
        .collect();
    host.interests.register(&host.ctx.informers, uid, namespace, &wanted, inbox);
    let mut config_maps = objects::<ConfigMap>(host, namespace, config_maps).await?;
    if volumes::of(pod).any(access::is_access) && !config_maps.contains_key(access::ROOT_CA) {
        // It hardly ever changes, and is read again with each new token: for its sake alone, not all ConfigMaps
        // of the cluster are kept in memory.
        let api: Api<ConfigMap> = Api::namespaced(host.ctx.client.clone(), namespace);
        config_maps.insert(access::ROOT_CA.into(), api.get_opt(access::ROOT_CA).await?.map(Arc::new));
    }
    Ok(Sources {
        config_maps,
        secrets: objects::<Secret>(host, namespace, secrets).await?,
        services: BTreeMap::new(),
        tokens: match host.node.simulated {
            true => tokens::pretended(pod),
            false => host.tokens.of(&host.ctx.client, pod, host.ctx.clock.now()).await?,
        },
        claims: volumes::claims::resolve(host, pod).await?,
    })
}

async fn objects<K>(
    host: &Host,
    namespace: &str,
    names: Vec<String>,
) -> Result<BTreeMap<String, Option<Arc<K>>>, kube::Error>
where
    K: crate::client::Kind + kube::Resource<DynamicType = (), Scope = NamespaceResourceScope> + Clone + std::fmt::Debug,
{
    let mut out = BTreeMap::new();
    if names.is_empty() {
        return Ok(out);
    }
    let informer = host.ctx.informers.of::<K>();
    informer.synced().await;
    for name in names {
        if out.contains_key(&name) {
            continue;
        }
        let found = match informer.get(namespace, &name) {
            Some(object) => Some(object),
            // Made by the same change set as the pod, perhaps, and not here yet.
            None => {
                let api: Api<K> = Api::namespaced(host.ctx.client.clone(), namespace);
                api.get_opt(&name).await?.map(Arc::new)
            }
        };
        out.insert(name, found);
    }
    Ok(out)
}

/// The variables that describe services to the pod's containers. They are many where services are, and
/// of a simulated container nothing reads them but paths in volumes.
pub async fn services(host: &Host, pod: &Pod) -> BTreeMap<String, String> {
    let mut containers = pod::all_containers(pod::spec(pod)).map(|(_, container)| container);
    let has_path = |container: &Container| container.volume_mounts.iter().flatten().any(|m| m.sub_path_expr.is_some());
    if host.node.simulated && !containers.any(has_path) {
        return BTreeMap::new();
    }
    let namespace = pod.metadata.namespace.as_deref().unwrap_or_default();
    let informer = host.ctx.informers.of::<Service>();
    informer.synced().await;
    let linked = pod::spec(pod).enable_service_links != Some(false);
    let mut services = if linked { informer.list_namespace(namespace) } else { Vec::new() };
    services.extend(informer.get("default", "kubernetes"));
    service_variables(services.iter().map(AsRef::as_ref))
}

/// Why the host cannot run the pod as its RuntimeClass asks. Podman's API runs every container by the one OCI
/// runtime that it is configured with: a class can name that one, and choose hosts that have it.
pub async fn check_runtime_class(host: &Host, pod: &Pod) -> Result<(), String> {
    let name = pod::spec(pod).runtime_class_name.as_deref().filter(|name| !name.is_empty());
    let Some(name) = name else { return Ok(()) };
    let class = Api::<RuntimeClass>::all(host.ctx.client.clone()).get(name).await;
    let (handler, ours) = (class.map_err(|error| error.to_string())?.handler, host.info().oci_runtime);
    if ours.is_empty() || ours == handler {
        return Ok(());
    }
    Err(format!(
        "no runtime for {handler:?} is configured: this host's Podman runs containers by {ours}; select other hosts in \
         RuntimeClass {name}, or set runtime = {handler:?} in this host's containers.conf"
    ))
}

/// What fields and resources refer to besides the pod.
pub fn facts(host: &Host, sandbox: Option<&Sandbox>) -> HostFacts {
    let host_ips = host.addresses().0;
    let pod_ips = match sandbox {
        Some(sandbox) if sandbox.host_network => host_ips.clone(),
        Some(sandbox) => sandbox.ips.iter().map(ToString::to_string).collect(),
        None => Vec::new(),
    };
    HostFacts { host_ips, pod_ips, allocatable: host.capacity() }
}
