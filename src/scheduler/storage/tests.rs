//! What claims ask of hosts.
#![allow(clippy::unwrap_used)]

use super::*;
use crate::controllers::volume_binder::provision::PROVISIONER;
use serde_json::from_value;

fn node(name: &str) -> Node {
    from_value(json!({"metadata": {"name": name, "labels": {"kubernetes.io/hostname": name}}})).unwrap()
}

fn pod(claims: &[&str]) -> Pod {
    let volumes: Vec<Value> =
        claims.iter().map(|name| json!({"name": name, "persistentVolumeClaim": {"claimName": name}})).collect();
    from_value(json!({"metadata": {"name": "p", "namespace": "default"},
        "spec": {"containers": [{"name": "c"}], "volumes": volumes}}))
    .unwrap()
}

fn claim(name: &str, class: &str) -> Value {
    json!({"metadata": {"name": name, "namespace": "default", "uid": name, "resourceVersion": "7", "annotations": {}},
        "spec": {"accessModes": ["ReadWriteOnce"], "storageClassName": class,
            "resources": {"requests": {"storage": "1Gi"}}}})
}

fn volume(name: &str, host: &str) -> Arc<PersistentVolume> {
    let here = json!({"key": "kubernetes.io/hostname", "operator": "In", "values": [host]});
    let affinity = json!({"required": {"nodeSelectorTerms": [{"matchExpressions": [here]}]}});
    let spec = json!({"capacity": {"storage": "1Gi"}, "accessModes": ["ReadWriteOnce"], "storageClassName": "static",
        "local": {"path": "/d"}, "nodeAffinity": affinity});
    Arc::new(from_value(json!({"metadata": {"name": name}, "spec": spec, "status": {"phase": "Available"}})).unwrap())
}

fn storage(claims: &[Value]) -> Storage {
    let mut storage = Storage::default();
    for (name, provisioner, mode) in [
        ("podman", PROVISIONER, "WaitForFirstConsumer"),
        ("static", "kubernetes.io/no-provisioner", "WaitForFirstConsumer"),
        ("now", "example.com/x", "Immediate"),
    ] {
        let class = json!({"metadata": {"name": name}, "provisioner": provisioner, "volumeBindingMode": mode});
        storage.set_class(Arc::new(from_value(class).unwrap()));
    }
    claims.iter().for_each(|claim| storage.set_claim(Arc::new(from_value(claim.clone()).unwrap())));
    storage
}

#[test]
fn a_pod_whose_claims_cannot_be_had_is_refused_everywhere() {
    let storage = storage(&[claim("now", "now")]);
    let why = |name: &str| storage.needs(&pod(&[name])).refused().map(str::to_owned);
    assert_eq!(why("none").as_deref(), Some("persistentvolumeclaim \"none\" not found"));
    assert_eq!(why("now").as_deref(), Some("pod has unbound immediate PersistentVolumeClaims"));
    assert!(storage.needs(&pod(&[])).is_empty());
}

#[test]
fn a_bound_claim_ties_the_pod_to_its_volume() {
    let mut bound = claim("data", "static");
    bound["spec"]["volumeName"] = json!("a");
    bound["metadata"]["annotations"][BIND_COMPLETED] = json!("yes");
    let mut storage = storage(&[bound]);
    let needs = storage.needs(&pod(&["data"]));
    assert!(storage.requests(&needs, &node("h1")).unwrap_err().reason.contains("non-existent pv(s)"));
    storage.set_volume(volume("a", "h1"));
    let needs = storage.needs(&pod(&["data"]));
    assert!(storage.requests(&needs, &node("h1")).unwrap().is_empty());
    assert_eq!(storage.requests(&needs, &node("h2")).unwrap_err().reason, "node(s) had volume node affinity conflict");
}

#[test]
fn one_volume_is_promised_once() {
    let mut storage = storage(&[claim("a", "static"), claim("b", "static")]);
    storage.set_volume(volume("v1", "h1"));
    let both = storage.needs(&pod(&["a", "b"]));
    let why = "node(s) didn't find available persistent volumes to bind";
    assert_eq!(storage.requests(&both, &node("h1")).unwrap_err().reason, why, "two claims, one volume");
    let one = storage.needs(&pod(&["a"]));
    let requests = storage.requests(&one, &node("h1")).unwrap();
    assert!(matches!(&requests[..], [Request::Reserve(volume, _)] if volume.metadata.name.as_deref() == Some("v1")));
    storage.promise(&requests);
    let other = storage.needs(&pod(&["b"]));
    assert_eq!(storage.requests(&other, &node("h1")).unwrap_err().reason, why);
    assert_eq!(storage.requests(&one, &node("h1")).unwrap().len(), 1, "it is still the first one's");
    storage.break_promises(requests[0].claim());
    assert_eq!(storage.requests(&other, &node("h1")).unwrap().len(), 1);
}

#[test]
fn a_claim_that_has_a_host_keeps_it() {
    let mut chosen = claim("data", "podman");
    let mut storage = storage(std::slice::from_ref(&chosen));
    let needs = storage.needs(&pod(&["data"]));
    let asked = storage.requests(&needs, &node("h1")).unwrap().remove(0);
    assert!(matches!(asked, Request::Provision(_)));
    assert!(!storage.has_failed(&asked, "h1", None), "it was not written yet");
    assert!(storage.has_failed(&asked, "h1", Some(7)), "someone took the host away");
    assert!(!storage.has_failed(&asked, "h1", Some(8)), "what is seen is older than what was written");
    chosen["metadata"]["annotations"][SELECTED_NODE] = json!("h1");
    storage.set_claim(Arc::new(from_value(chosen).unwrap()));
    assert!(!storage.has_failed(&asked, "h1", Some(7)));
    let needs = storage.needs(&pod(&["data"]));
    assert!(storage.requests(&needs, &node("h1")).is_ok());
    assert!(storage.requests(&needs, &node("h2")).is_err());
}

#[test]
fn a_claim_for_one_pod_is_used_by_one() {
    let mut alone = claim("data", "podman");
    alone["spec"]["accessModes"] = json!(["ReadWriteOncePod"]);
    let mut storage = storage(&[alone]);
    storage.use_claims("default", &["data".into()], true);
    let needs = storage.needs(&pod(&["data"]));
    let why = storage.requests(&needs, &node("h1")).unwrap_err();
    assert_eq!(
        (why.reason.as_ref(), why.unresolvable),
        ("node has pod using PersistentVolumeClaim with the same name and ReadWriteOncePod access mode", false)
    );
    storage.use_claims("default", &["data".into()], false);
    assert!(storage.requests(&storage.needs(&pod(&["data"])), &node("h1")).is_ok());
}

#[test]
fn the_zone_of_a_volume_is_that_of_its_pods() {
    let mut zoned: PersistentVolume = (*volume("a", "h1")).clone();
    zoned.metadata.labels = Some(BTreeMap::from([("topology.kubernetes.io/zone".into(), "east__west".into())]));
    let mut host = node("h1");
    assert!(is_in_zone(&zoned, &host), "no zones here");
    for (zone, expected) in [("west", true), ("north", false)] {
        host.metadata.labels = Some(BTreeMap::from([("topology.kubernetes.io/zone".into(), zone.into())]));
        assert_eq!(is_in_zone(&zoned, &host), expected);
    }
}
