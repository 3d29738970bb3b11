//! Fits a service's endpoints into its slices with as few and as small changes as can be. Pure.

use super::desired::{Group, is_headless};
use crate::controllers::claim::controller_reference;
use k8s_openapi::api::core::v1::Service;
use k8s_openapi::api::discovery::v1::{Endpoint, EndpointPort, EndpointSlice};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{ObjectMeta, OwnerReference};
use std::collections::{BTreeMap, HashSet};
use std::sync::Arc;

/// Endpoints per slice.
pub const FULL: usize = 100;
pub const MANAGER: &str = "endpointslice-controller.k8s.io";
pub const MANAGED_BY: &str = "endpointslice.kubernetes.io/managed-by";
pub const SERVICE_NAME: &str = "kubernetes.io/service-name";
pub const HEADLESS: &str = "service.kubernetes.io/headless";

/// What to write.
#[derive(Debug, Default, PartialEq)]
pub struct Plan {
    pub create: Vec<EndpointSlice>,
    /// The slice as it is, and as it should be.
    pub update: Vec<(Arc<EndpointSlice>, EndpointSlice)>,
    pub delete: Vec<Arc<EndpointSlice>>,
}

/// What a slice will hold, and which one it is.
struct Draft {
    of: Option<Arc<EndpointSlice>>,
    ports: Vec<EndpointPort>,
    endpoints: Vec<Endpoint>,
}

/// What all slices of one owner have.
pub struct Head {
    /// Of the service.
    pub name: String,
    pub namespace: Option<String>,
    pub labels: BTreeMap<String, String>,
    /// `None`: they are nobody's business here.
    pub annotations: Option<BTreeMap<String, String>>,
    pub owner: OwnerReference,
    /// `IPv4` or `IPv6`.
    pub addresses: &'static str,
    /// Without endpoints there is one empty slice, which says that this is known.
    pub keeps_one: bool,
}

impl Head {
    fn of(service: &Service) -> Self {
        let name = service.metadata.name.clone().unwrap_or_default();
        let mut labels = labels(service);
        labels.insert(SERVICE_NAME.into(), name.clone());
        labels.insert(MANAGED_BY.into(), MANAGER.into());
        let (namespace, owner) = (service.metadata.namespace.clone(), controller_reference(service));
        Self { name, namespace, labels, annotations: None, owner, addresses: "IPv4", keeps_one: true }
    }
}

/// `slices` are the service's own, in order.
pub fn plan(service: &Service, groups: Vec<Group>, slices: &[Arc<EndpointSlice>]) -> Plan {
    plan_for(&Head::of(service), groups, slices)
}

/// `slices` are the owner's own, in order; no two groups have the same ports.
pub fn plan_for(head: &Head, groups: Vec<Group>, slices: &[Arc<EndpointSlice>]) -> Plan {
    let (usable, mut doomed): (Vec<_>, Vec<_>) = slices
        .iter()
        .cloned()
        .partition(|slice| slice.address_type == head.addresses && slice.metadata.deletion_timestamp.is_none());
    doomed.retain(|slice| slice.metadata.deletion_timestamp.is_none());
    let mut drafts = Vec::new();
    let mut left: Vec<_> = usable;
    for group in groups {
        let (fitting, others) = left.into_iter().partition(|slice| ports_of(slice) == group.ports);
        left = others;
        drafts.extend(fill(group, fitting));
    }
    if drafts.is_empty() && head.keeps_one {
        let of = if left.is_empty() { None } else { Some(left.remove(0)) };
        drafts.push(Draft { of, ports: Vec::new(), endpoints: Vec::new() });
    }
    let mut plan = Plan::default();
    let keep_one = head.keeps_one && drafts.iter().all(|draft| draft.endpoints.is_empty());
    for (index, draft) in drafts.into_iter().enumerate() {
        match draft.of {
            Some(slice) if draft.endpoints.is_empty() && !(keep_one && index == 0) => doomed.push(slice),
            Some(slice) => {
                let wanted = slice_of(head, Some(&slice), draft.ports, draft.endpoints);
                if differs(&slice, &wanted) {
                    plan.update.push((slice, wanted));
                }
            }
            None => plan.create.push(slice_of(head, None, draft.ports, draft.endpoints)),
        }
    }
    doomed.extend(left);
    for slice in doomed {
        // Rather than one that goes and one that comes: whoever watches is never without. Not one of an earlier owner
        // of that name, which the garbage collector takes.
        let is_own = || slice.metadata.owner_references.iter().flatten().any(|owner| owner.uid == head.owner.uid);
        match plan.create.pop_if(|_| slice.address_type == head.addresses && is_own()) {
            Some(new) => {
                let (ports, endpoints) = (new.ports.unwrap_or_default(), new.endpoints.unwrap_or_default());
                let wanted = slice_of(head, Some(&slice), ports, endpoints);
                plan.update.push((slice, wanted));
            }
            None => plan.delete.push(slice),
        }
    }
    plan
}

/// Leaves every endpoint in the slice it is in; new ones go where there is room, to slices that change
/// anyway first.
fn fill(group: Group, slices: Vec<Arc<EndpointSlice>>) -> Vec<Draft> {
    let key = |endpoint: &Endpoint| {
        let pod = endpoint.target_ref.as_ref().and_then(|target| target.uid.clone()).unwrap_or_default();
        (pod, endpoint.addresses.first().cloned().unwrap_or_default())
    };
    let wanted: BTreeMap<_, _> = group.endpoints.iter().map(|endpoint| (key(endpoint), endpoint)).collect();
    let mut placed = HashSet::new();
    let mut drafts: Vec<(bool, Draft)> = Vec::new();
    for slice in slices {
        let known = slice.endpoints.as_deref().unwrap_or_default();
        let mut endpoints = Vec::new();
        for endpoint in known {
            if let Some(wanted) = wanted.get(&key(endpoint))
                && placed.insert(key(endpoint))
            {
                endpoints.push((*wanted).clone());
            }
        }
        drafts.push((endpoints != known, Draft { of: Some(slice), ports: group.ports.clone(), endpoints }));
    }
    drafts.sort_by_key(|(changes, _)| !changes);
    let mut new = group.endpoints.iter().filter(|endpoint| !placed.contains(&key(endpoint))).cloned();
    for (_, draft) in &mut drafts {
        let room = FULL.saturating_sub(draft.endpoints.len());
        draft.endpoints.extend(new.by_ref().take(room));
    }
    let mut drafts: Vec<_> = drafts.into_iter().map(|(_, draft)| draft).collect();
    loop {
        let endpoints: Vec<_> = new.by_ref().take(FULL).collect();
        if endpoints.is_empty() {
            return drafts;
        }
        drafts.push(Draft { of: None, ports: group.ports.clone(), endpoints });
    }
}

fn ports_of(slice: &EndpointSlice) -> Vec<EndpointPort> {
    slice.ports.clone().unwrap_or_default()
}

/// The labels of a service's slices and Endpoints.
pub fn labels(service: &Service) -> BTreeMap<String, String> {
    let mut labels = service.metadata.labels.clone().unwrap_or_default();
    labels.remove(HEADLESS);
    if is_headless(service) {
        labels.insert(HEADLESS.into(), String::new());
    }
    labels
}

fn slice_of(
    head: &Head,
    of: Option<&EndpointSlice>,
    ports: Vec<EndpointPort>,
    endpoints: Vec<Endpoint>,
) -> EndpointSlice {
    EndpointSlice {
        metadata: ObjectMeta {
            name: of.and_then(|slice| slice.metadata.name.clone()),
            generate_name: of.is_none().then(|| format!("{}-", head.name)),
            namespace: head.namespace.clone(),
            labels: Some(head.labels.clone()),
            annotations: head.annotations.clone(),
            owner_references: Some(vec![head.owner.clone()]),
            ..ObjectMeta::default()
        },
        address_type: head.addresses.into(),
        endpoints: Some(endpoints),
        ports: Some(ports),
    }
}

fn differs(slice: &EndpointSlice, wanted: &EndpointSlice) -> bool {
    ports_of(slice) != ports_of(wanted)
        || slice.endpoints.as_deref().unwrap_or_default() != wanted.endpoints.as_deref().unwrap_or_default()
        || slice.metadata.labels != wanted.metadata.labels
        || slice.metadata.owner_references != wanted.metadata.owner_references
        || (wanted.metadata.annotations.as_ref())
            .is_some_and(|wanted| *wanted != slice.metadata.annotations.clone().unwrap_or_default())
}

#[cfg(test)]
mod tests;
