//! Slices as pods come and go.
#![allow(clippy::unwrap_used)]
use super::*;
use crate::controllers::endpointslice::desired::{groups, subsets};
use k8s_openapi::api::core::v1::Pod;
use proptest::prelude::*;
use serde_json::{Value, from_value, json};

fn service() -> Service {
    from_value(json!({
        "metadata": {"name": "web", "namespace": "ns", "uid": "svc"},
        "spec": {"selector": {"app": "web"}, "clusterIP": "10.96.0.9", "ports": [
            {"name": "http", "port": 80, "targetPort": "http"}, {"name": "admin", "port": 81, "targetPort": 9000},
        ]},
    }))
    .unwrap()
}

fn pod(index: usize, port: i32, ready: bool) -> Value {
    let status = if ready { "True" } else { "False" };
    json!({
        "metadata": {"name": format!("p{index}"), "namespace": "ns", "uid": format!("u{index}"), "labels": {"app": "web"}},
        "spec": {"nodeName": "n", "containers": [{"name": "c", "ports": [{"name": "http", "containerPort": port}]}]},
        "status": {"phase": "Running", "podIP": format!("10.0.{}.{}", index / 250, index % 250), "conditions": [{"type": "Ready", "status": status}]},
    })
}

fn parsed(pods: impl IntoIterator<Item = Value>) -> Vec<Arc<Pod>> {
    pods.into_iter().map(|pod| Arc::new(from_value(pod).unwrap())).collect()
}

/// The slices after a plan is carried out.
fn carry_out(plan: Plan, slices: &mut Vec<Arc<EndpointSlice>>, made: &mut usize) {
    slices.retain(|slice| !plan.delete.contains(slice));
    for (old, new) in plan.update {
        *slices.iter_mut().find(|slice| **slice == old).unwrap() = Arc::new(new);
    }
    for mut slice in plan.create {
        *made += 1;
        slice.metadata.name = Some(format!("web-{made}"));
        slices.push(Arc::new(slice));
    }
}

#[test]
fn names_are_resolved_per_pod() {
    let groups = groups(&service(), &parsed([pod(0, 8080, true), pod(1, 8081, true), pod(2, 8080, false)]));
    assert_eq!(groups.len(), 2);
    assert_eq!((groups[0].ports[0].port, groups[0].ports[1].port), (Some(8080), Some(9000)));
    assert_eq!(groups[0].endpoints.len(), 2);
    let conditions = groups[0].endpoints[1].conditions.clone().unwrap();
    assert_eq!((conditions.ready, conditions.serving, conditions.terminating), (Some(false), Some(false), Some(false)));
}

#[test]
fn terminating_pods_serve_but_are_not_ready() {
    let mut leaving = pod(0, 8080, true);
    leaving["metadata"]["deletionTimestamp"] = json!("2024-01-01T00:00:00Z");
    let mut ended = pod(1, 8080, false);
    ended["status"]["phase"] = json!("Succeeded");
    let pods = parsed([leaving, ended]);
    let groups = groups(&service(), &pods);
    assert_eq!(groups[0].endpoints.len(), 1);
    let conditions = groups[0].endpoints[0].conditions.clone().unwrap();
    assert_eq!((conditions.ready, conditions.serving, conditions.terminating), (Some(false), Some(true), Some(true)));
    assert_eq!(subsets(&service(), &pods), (Vec::new(), false));
}

#[test]
fn no_endpoints_are_an_empty_slice() {
    let plan = plan(&service(), Vec::new(), &[]);
    assert_eq!(plan.create.len(), 1);
    assert_eq!(plan.create[0].metadata.labels.as_ref().unwrap()[SERVICE_NAME], "web");
    assert_eq!(plan.create[0].endpoints, Some(Vec::new()));
}

/// Also when its ports are others, which those of a slice without endpoints are: nobody sees the service without one.
#[test]
fn a_slice_becomes_what_would_replace_it() {
    let (mut slices, mut made) = (Vec::new(), 0);
    carry_out(plan(&service(), Vec::new(), &slices), &mut slices, &mut made);
    let names = |slices: &[Arc<EndpointSlice>]| -> Vec<_> { slices.iter().map(|s| s.metadata.name.clone()).collect() };
    let before = names(&slices);
    for port in [8080, 8081] {
        let plan = plan(&service(), groups(&service(), &parsed([pod(0, port, true)])), &slices);
        assert_eq!((plan.create.len(), plan.update.len(), plan.delete.len()), (0, 1, 0), "{plan:?}");
        carry_out(plan, &mut slices, &mut made);
        assert_eq!((names(&slices), slices[0].ports.as_ref().unwrap()[0].port), (before.clone(), Some(port)));
    }
    let mut of_another = EndpointSlice::clone(&slices[0]);
    of_another.metadata.owner_references.as_mut().unwrap()[0].uid = "old".into();
    let plan = plan(&service(), groups(&service(), &parsed([pod(0, 9, true)])), &[Arc::new(of_another)]);
    assert_eq!((plan.create.len(), plan.update.len(), plan.delete.len()), (1, 0, 1), "it goes with its owner");
}

#[test]
fn endpoints_objects_tell_ready_from_not() {
    let (subsets, truncated) = subsets(&service(), &parsed([pod(0, 8080, true), pod(1, 8080, false)]));
    assert!(!truncated);
    assert_eq!(subsets.len(), 1);
    assert_eq!(subsets[0].addresses.as_ref().unwrap()[0].ip, "10.0.0.0");
    assert_eq!(subsets[0].not_ready_addresses.as_ref().unwrap()[0].ip, "10.0.0.1");
    assert_eq!(subsets[0].ports.as_ref().unwrap()[0].port, 8080);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]
    /// Whatever pods come and go, one pass makes the slices right, a second one writes nothing, and
    /// no slice is overfull.
    #[test]
    fn slices_converge_at_once(rounds in proptest::collection::vec(proptest::collection::btree_map(0usize..300, (any::<bool>(), 0i32..2), 0..260), 1..4)) {
        let (mut slices, mut made) = (Vec::new(), 0);
        for round in rounds {
            let pods = parsed(round.iter().map(|(index, (ready, port))| pod(*index, 8080 + port, *ready)));
            let desired = groups(&service(), &pods);
            carry_out(plan(&service(), desired.clone(), &slices), &mut slices, &mut made);
            prop_assert_eq!(plan(&service(), desired.clone(), &slices), Plan::default());
            prop_assert!(!slices.is_empty() && slices.iter().all(|slice| slice.endpoints.as_ref().unwrap().len() <= FULL));
            let held: usize = slices.iter().map(|slice| slice.endpoints.as_ref().unwrap().len()).sum();
            prop_assert_eq!(held, round.len());
            for slice in &slices {
                let group = desired.iter().find(|group| group.ports == ports_of(slice));
                for endpoint in slice.endpoints.iter().flatten() {
                    prop_assert!(group.unwrap().endpoints.contains(endpoint));
                }
            }
        }
    }
}
