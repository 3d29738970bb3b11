//! What a service's endpoints should be: from its selector, its ports and the pods there are. Pure.

use crate::controllers::pods;
use k8s_openapi::api::core::v1::EndpointPort as LegacyPort;
use k8s_openapi::api::core::v1::{EndpointAddress, EndpointSubset, ObjectReference, Pod, Service, ServicePort};
use k8s_openapi::api::discovery::v1::{Endpoint, EndpointConditions, EndpointPort};
use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;
use std::collections::BTreeMap;
use std::net::Ipv4Addr;
use std::sync::Arc;

/// An Endpoints object holds no more addresses than this.
pub const MOST_ADDRESSES: usize = 1000;

/// Endpoints that are reached at the same port numbers.
#[derive(Debug, Clone, PartialEq)]
pub struct Group {
    pub ports: Vec<EndpointPort>,
    /// Ordered by pod name.
    pub endpoints: Vec<Endpoint>,
}

/// Whether the controller keeps endpoints for this service at all.
pub fn selects(service: &Service) -> bool {
    let is_name = service.spec.as_ref().is_some_and(|spec| spec.type_.as_deref() == Some("ExternalName"));
    !is_name && !selector(service).is_empty()
}

/// The labels that the service's pods have; empty for a service that selects none.
pub fn selector(service: &Service) -> &BTreeMap<String, String> {
    static NONE: BTreeMap<String, String> = BTreeMap::new();
    service.spec.as_ref().and_then(|spec| spec.selector.as_ref()).unwrap_or(&NONE)
}

pub fn matches(service: &Service, labels: Option<&BTreeMap<String, String>>) -> bool {
    let has = |(key, value)| labels.and_then(|labels| labels.get(key)) == Some(value);
    selects(service) && selector(service).iter().all(has)
}

pub fn is_headless(service: &Service) -> bool {
    service.spec.as_ref().and_then(|spec| spec.cluster_ip.as_deref()) == Some("None")
}

fn publishes_unready(service: &Service) -> bool {
    service.spec.as_ref().and_then(|spec| spec.publish_not_ready_addresses) == Some(true)
}

/// The IPv4 address of a pod that has not run to its end.
fn address(pod: &Pod) -> Option<&str> {
    let ip = pod.status.as_ref()?.pod_ip.as_deref()?;
    (!pods::is_finished(pod) && ip.parse::<Ipv4Addr>().is_ok()).then_some(ip)
}

/// The port of the pod that a service's port leads to; a name is looked up among its containers' ports.
fn target(port: &ServicePort, pod: &Pod) -> Option<i32> {
    match &port.target_port {
        None => Some(port.port),
        Some(IntOrString::Int(0)) => Some(port.port),
        Some(IntOrString::Int(number)) => Some(*number),
        Some(IntOrString::String(name)) => {
            let spec = pod.spec.as_ref()?;
            let sidecars = spec.init_containers.iter().flatten();
            let sidecars = sidecars.filter(|container| container.restart_policy.as_deref() == Some("Always"));
            let ports = spec.containers.iter().chain(sidecars).flat_map(|container| container.ports.iter().flatten());
            let protocol = port.protocol.as_deref().unwrap_or("TCP");
            let fits = |found: &&k8s_openapi::api::core::v1::ContainerPort| {
                found.name.as_ref() == Some(name) && found.protocol.as_deref().unwrap_or("TCP") == protocol
            };
            ports.into_iter().find(fits).map(|found| found.container_port)
        }
    }
}

/// The service's ports as this pod has them; ports it does not have are left out.
fn ports(service: &Service, pod: &Pod) -> Vec<EndpointPort> {
    let ports = service.spec.as_ref().and_then(|spec| spec.ports.as_ref()).into_iter().flatten();
    let resolved = ports.filter_map(|port| {
        Some(EndpointPort {
            name: Some(port.name.clone().unwrap_or_default()),
            port: Some(target(port, pod)?),
            protocol: Some(port.protocol.clone().unwrap_or_else(|| "TCP".into())),
            app_protocol: port.app_protocol.clone(),
        })
    });
    resolved.collect()
}

fn reference(pod: &Pod) -> ObjectReference {
    ObjectReference {
        kind: Some("Pod".into()),
        namespace: pod.metadata.namespace.clone(),
        name: pod.metadata.name.clone(),
        uid: pod.metadata.uid.clone(),
        ..ObjectReference::default()
    }
}

/// The name under which a headless service's pod is known in DNS.
fn hostname(service: &Service, pod: &Pod) -> Option<String> {
    let spec = pod.spec.as_ref()?;
    let named = spec.subdomain.is_some() && spec.subdomain == service.metadata.name;
    spec.hostname.clone().filter(|hostname| named && !hostname.is_empty())
}

fn endpoint(service: &Service, pod: &Pod, ip: &str) -> Endpoint {
    let (ready, terminating) = (pods::is_ready(pod), pods::is_terminating(pod));
    Endpoint {
        addresses: vec![ip.to_owned()],
        conditions: Some(EndpointConditions {
            ready: Some(publishes_unready(service) || ready && !terminating),
            serving: Some(ready),
            terminating: Some(terminating),
        }),
        hostname: hostname(service, pod),
        node_name: pods::node(pod).map(str::to_owned),
        target_ref: Some(reference(pod)),
        ..Endpoint::default()
    }
}

/// The service's endpoints, by the ports they have. `pods` are those of its namespace, in order.
pub fn groups(service: &Service, pods: &[Arc<Pod>]) -> Vec<Group> {
    let mut groups: Vec<Group> = Vec::new();
    for (pod, ip) in selected(service, pods) {
        let (ports, endpoint) = (ports(service, pod), endpoint(service, pod, ip));
        match groups.iter_mut().find(|group| group.ports == ports) {
            Some(group) => group.endpoints.push(endpoint),
            None => groups.push(Group { ports, endpoints: vec![endpoint] }),
        }
    }
    groups
}

fn selected<'a>(service: &'a Service, pods: &'a [Arc<Pod>]) -> impl Iterator<Item = (&'a Arc<Pod>, &'a str)> {
    let fitting = pods.iter().filter(|pod| matches(service, pod.metadata.labels.as_ref()));
    fitting.filter_map(|pod| Some((pod, address(pod)?)))
}

/// The subsets of the Endpoints object of the same name, and whether addresses had to be left out.
pub fn subsets(service: &Service, pods: &[Arc<Pod>]) -> (Vec<EndpointSubset>, bool) {
    let headless = is_headless(service);
    let mut subsets: Vec<EndpointSubset> = Vec::new();
    let (mut count, mut truncated) = (0, false);
    for (pod, ip) in selected(service, pods) {
        let ports: Vec<_> = ports(service, pod).into_iter().filter_map(legacy).collect();
        let unpublished = pods::is_terminating(pod) && !publishes_unready(service);
        if unpublished || ports.is_empty() && !headless {
            continue;
        }
        if count >= MOST_ADDRESSES {
            truncated = true;
            break;
        }
        count += 1;
        let ports = Some(ports).filter(|ports| !ports.is_empty());
        let at = subsets.iter().position(|subset| subset.ports == ports).unwrap_or_else(|| {
            subsets.push(EndpointSubset { ports, ..EndpointSubset::default() });
            subsets.len() - 1
        });
        let address = EndpointAddress {
            ip: ip.to_owned(),
            hostname: hostname(service, pod),
            node_name: pods::node(pod).map(str::to_owned),
            target_ref: Some(reference(pod)),
        };
        let subset = &mut subsets[at];
        let list = match publishes_unready(service) || pods::is_ready(pod) {
            true => &mut subset.addresses,
            false => &mut subset.not_ready_addresses,
        };
        list.get_or_insert_default().push(address);
    }
    (subsets, truncated)
}

fn legacy(port: EndpointPort) -> Option<LegacyPort> {
    Some(LegacyPort {
        name: port.name.filter(|name| !name.is_empty()),
        port: port.port?,
        protocol: port.protocol,
        app_protocol: port.app_protocol,
    })
}
