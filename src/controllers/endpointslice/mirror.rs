//! Shows Endpoints that people keep themselves, of services that select no pods, as EndpointSlices too.

use super::desired::{Group, selector};
use super::slices::{self, Head};
use super::{GATHER, act, managed};
use crate::client::{Context, Informer, ObjectKey, WorkQueue};
use crate::controllers::claim::controller_reference;
use crate::controllers::freshness::Freshness;
use crate::controllers::shell::{self, Reconcile};
use k8s_openapi::api::core::v1::{EndpointAddress, EndpointSubset, Endpoints, Service};
use k8s_openapi::api::discovery::v1::{Endpoint, EndpointConditions, EndpointPort, EndpointSlice};
use std::net::{Ipv4Addr, Ipv6Addr};
use std::sync::Arc;
use std::time::Duration;

const MANAGER: &str = "endpointslicemirroring-controller.k8s.io";
/// The index of mirrored slices by the name of their service.
const BY_SERVICE: &str = "mirrored";
const SKIP: &str = "endpointslice.kubernetes.io/skip-mirror";
/// On what is no Endpoints at all, but a lock of old.
const LEADER: &str = "control-plane.alpha.kubernetes.io/leader";
const LAST_APPLIED: &str = "kubectl.kubernetes.io/last-applied-configuration";
/// More addresses of a subset are not shown.
const MOST: usize = 1000;

#[derive(Debug, thiserror::Error)]
#[error("an EndpointSlice that mirrors the Endpoints {endpoints} could not be written")]
struct SyncError {
    endpoints: ObjectKey,
    source: kube::Error,
}

struct Controller {
    client: kube::Client,
    services: Informer<Service>,
    endpoints: Informer<Endpoints>,
    slices: Informer<EndpointSlice>,
    freshness: Freshness,
}

/// Runs until shutdown.
pub async fn run(ctx: Context, workers: usize) {
    let controller = Controller {
        client: ctx.client.clone(),
        services: ctx.informers.of(),
        endpoints: ctx.informers.of(),
        slices: ctx.informers.of(),
        freshness: Freshness::default(),
    };
    shell::run(&ctx, workers, controller).await;
}

impl Reconcile for Controller {
    type Error = SyncError;

    fn subscribe(&self, queue: &WorkQueue<ObjectKey>) {
        shell::own(&self.endpoints, queue);
        let to = queue.clone();
        self.services.subscribe(Box::new(move |change| {
            if selector(change.object()).is_empty() {
                to.add(ObjectKey::of(&**change.object()));
            }
        }));
        let to = queue.clone();
        self.slices.subscribe(Box::new(move |change| {
            let slice = change.object();
            if let Some(service) = service_of(slice) {
                to.add_after(ObjectKey::new(slice.metadata.namespace.as_deref().unwrap_or_default(), service), GATHER);
            }
        }));
    }

    async fn synced(&self) {
        self.services.synced().await;
        self.endpoints.synced().await;
        self.slices.synced().await;
    }

    async fn sync(&self, key: &ObjectKey) -> Result<Option<Duration>, SyncError> {
        if !self.freshness.caught_up(key, &self.slices).await {
            return Ok(Some(Duration::ZERO));
        }
        let all = self.slices.by_index(BY_SERVICE, service_of, &key.name);
        let own: Vec<_> =
            all.into_iter().filter(|slice| slice.metadata.namespace.as_deref() == Some(&*key.namespace)).collect();
        let endpoints = self.endpoints.get(&key.namespace, &key.name);
        let service = self.services.get(&key.namespace, &key.name);
        let endpoints = endpoints.filter(|endpoints| is_mirrored(endpoints, service.as_deref()));
        for plan in plans(endpoints.as_deref(), &own) {
            let outcome = act(&self.client, &self.freshness, key, plan).await;
            outcome.map_err(|source| SyncError { endpoints: key.clone(), source })?;
        }
        if endpoints.is_none() {
            self.freshness.forget(key);
        }
        Ok(None)
    }
}

fn service_of(slice: &EndpointSlice) -> Option<&str> {
    managed(slice, MANAGER)
}

fn is_mirrored(endpoints: &Endpoints, service: Option<&Service>) -> bool {
    let meta = &endpoints.metadata;
    let skips = meta.labels.as_ref().and_then(|labels| labels.get(SKIP)).is_some_and(|value| value == "true");
    let locks = meta.annotations.as_ref().is_some_and(|annotations| annotations.contains_key(LEADER));
    let going = meta.deletion_timestamp.is_some();
    !skips && !locks && !going && service.is_some_and(|service| selector(service).is_empty())
}

/// What to write, for each kind of address; `None`: nothing is to be shown.
fn plans(endpoints: Option<&Endpoints>, own: &[Arc<EndpointSlice>]) -> Vec<slices::Plan> {
    let Some(endpoints) = endpoints else {
        let delete = own.iter().filter(|slice| slice.metadata.deletion_timestamp.is_none()).cloned().collect();
        return vec![slices::Plan { delete, ..slices::Plan::default() }];
    };
    let of = |addresses: &'static str| {
        let own: Vec<_> = own.iter().filter(|slice| slice.address_type == addresses).cloned().collect();
        slices::plan_for(&head(endpoints, addresses), groups(endpoints, addresses), &own)
    };
    vec![of("IPv4"), of("IPv6")]
}

fn head(endpoints: &Endpoints, addresses: &'static str) -> Head {
    let meta = &endpoints.metadata;
    let name = meta.name.clone().unwrap_or_default();
    let mut labels = meta.labels.clone().unwrap_or_default();
    labels.insert(slices::SERVICE_NAME.into(), name.clone());
    labels.insert(slices::MANAGED_BY.into(), MANAGER.into());
    let mut annotations = meta.annotations.clone().unwrap_or_default();
    annotations.remove(LAST_APPLIED);
    Head {
        name,
        namespace: meta.namespace.clone(),
        labels,
        annotations: Some(annotations),
        owner: controller_reference(endpoints),
        addresses,
        keeps_one: false,
    }
}

fn groups(endpoints: &Endpoints, addresses: &str) -> Vec<Group> {
    let mut groups: Vec<Group> = Vec::new();
    for subset in endpoints.subsets.iter().flatten() {
        let found = of_subset(subset, addresses);
        if found.is_empty() {
            continue;
        }
        let ports = ports(subset);
        match groups.iter_mut().find(|group| group.ports == ports) {
            Some(group) => group.endpoints.extend(found),
            None => groups.push(Group { ports, endpoints: found }),
        }
    }
    groups
}

fn ports(subset: &EndpointSubset) -> Vec<EndpointPort> {
    let ports = subset.ports.iter().flatten();
    let ports = ports.map(|port| EndpointPort {
        name: Some(port.name.clone().unwrap_or_default()),
        port: Some(port.port),
        protocol: Some(port.protocol.clone().unwrap_or_else(|| "TCP".into())),
        app_protocol: port.app_protocol.clone(),
    });
    ports.collect()
}

fn of_subset(subset: &EndpointSubset, addresses: &str) -> Vec<Endpoint> {
    let is_kind = |address: &&EndpointAddress| match addresses {
        "IPv4" => address.ip.parse::<Ipv4Addr>().is_ok(),
        _ => address.ip.parse::<Ipv6Addr>().is_ok(),
    };
    let of = |list: &Option<Vec<EndpointAddress>>, ready: bool| -> Vec<Endpoint> {
        let list = list.iter().flatten().filter(is_kind);
        list.map(|address| endpoint(address, ready)).collect()
    };
    let mut all = of(&subset.addresses, true);
    all.extend(of(&subset.not_ready_addresses, false));
    all.truncate(MOST);
    all
}

fn endpoint(address: &EndpointAddress, ready: bool) -> Endpoint {
    Endpoint {
        addresses: vec![address.ip.clone()],
        conditions: Some(EndpointConditions { ready: Some(ready), ..EndpointConditions::default() }),
        hostname: address.hostname.clone(),
        node_name: address.node_name.clone(),
        target_ref: address.target_ref.clone(),
        ..Endpoint::default()
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::controllers::rig::Rig;
    use serde_json::{Value, json};

    const SERVICES: &str = "/api/v1/namespaces/default/services";
    const ENDPOINTS: &str = "/api/v1/namespaces/default/endpoints";
    const SLICES: &str = "/apis/discovery.k8s.io/v1/namespaces/default/endpointslices";

    fn endpoints(ips: &[&str], away: &[&str]) -> Value {
        let list = |ips: &[&str]| ips.iter().map(|ip| json!({"ip": ip})).collect::<Vec<_>>();
        json!({"metadata": {"name": "db", "labels": {"a": "b"}, "annotations": {"c": "d", LAST_APPLIED: "{}"}},
            "subsets": [{"addresses": list(ips), "notReadyAddresses": list(away), "ports": [{"port": 80, "name": "http"}]}]})
    }

    #[tokio::test(start_paused = true)]
    async fn endpoints_kept_by_hand_are_shown_in_slices() {
        let rig = Rig::new().await;
        rig.spawn(run(rig.ctx.clone(), 2));
        rig.post(SERVICES, json!({"metadata": {"name": "db"}, "spec": {"ports": [{"port": 80, "name": "http"}]}}))
            .await;
        rig.post(ENDPOINTS, endpoints(&["10.1.2.3", "10.1.2.4", "fd00::1"], &[])).await;
        let found = rig.until(SLICES, |slices| slices["items"].as_array().is_some_and(|all| all.len() == 2)).await;
        let of = |found: &Value, kind: &str| {
            found["items"].as_array().unwrap().iter().find(|slice| slice["addressType"] == kind).cloned().unwrap()
        };
        let slice = of(&found, "IPv4");
        let endpoint = |ip: &str, ready: bool| json!({"addresses": [ip], "conditions": {"ready": ready}});
        assert_eq!(slice["endpoints"], json!([endpoint("10.1.2.3", true), endpoint("10.1.2.4", true)]));
        assert_eq!(slice["ports"], json!([{"name": "http", "port": 80, "protocol": "TCP"}]));
        let labels = json!({"a": "b", slices::SERVICE_NAME: "db", slices::MANAGED_BY: MANAGER});
        assert_eq!((&slice["metadata"]["labels"], &slice["metadata"]["annotations"]), (&labels, &json!({"c": "d"})));
        assert_eq!(slice["metadata"]["ownerReferences"][0]["kind"], "Endpoints");
        assert_eq!(of(&found, "IPv6")["endpoints"], json!([endpoint("fd00::1", true)]));
        rig.stays(SLICES, Duration::from_secs(60), |now| now["items"] == found["items"]).await;
        rig.put(&format!("{ENDPOINTS}/db"), endpoints(&["10.1.2.9"], &["10.1.2.3"])).await;
        let moved = json!([endpoint("10.1.2.3", false), endpoint("10.1.2.9", true)]);
        rig.until(SLICES, |slices| {
            slices["items"].as_array().is_some_and(|all| all.len() == 1) && slices["items"][0]["endpoints"] == moved
        })
        .await;
        rig.delete(&format!("{ENDPOINTS}/db")).await;
        rig.until(SLICES, |slices| slices["items"] == json!([])).await;
    }

    #[test]
    fn not_everything_is_mirrored() {
        let parse = |value: Value| -> Endpoints { serde_json::from_value(value).unwrap() };
        let plain = parse(json!({"metadata": {"name": "db"}}));
        let service = |spec: Value| -> Service { serde_json::from_value(json!({"spec": spec})).unwrap() };
        assert!(is_mirrored(&plain, Some(&service(json!({})))));
        assert!(!is_mirrored(&plain, None), "there is no service");
        assert!(!is_mirrored(&plain, Some(&service(json!({"selector": {"a": "b"}})))), "the slices are of its pods");
        for metadata in [json!({"labels": {SKIP: "true"}}), json!({"annotations": {LEADER: "{}"}})] {
            assert!(!is_mirrored(&parse(json!({ "metadata": metadata })), Some(&service(json!({})))));
        }
    }
}
