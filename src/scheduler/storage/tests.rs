//! What claims ask of hosts.
#![allow(clippy::unwrap_used)]

use super::*;
use crate::controllers::volume_binder::provision::PROVISIONER;
use crate::scheduler::cycle::{Verdict, decide};
use crate::scheduler::preemption::Preemption;
use crate::scheduler::rig::{self, cluster, schedule};
use crate::scheduler::snapshot::Snapshot;
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
fn directories_are_not_made_on_other_machines() {
    let mut storage = storage(&[claim("data", "disk")]);
    let class = json!({"metadata": {"name": "disk"}, "provisioner": PROVISIONER, "parameters": {"path": "/srv"},
        "volumeBindingMode": "WaitForFirstConsumer"});
    storage.set_class(Arc::new(from_value(class).unwrap()));
    let needs = storage.needs(&pod(&["data"]));
    let host = |directories: &str| {
        let mut node = node("h1");
        node.metadata.labels.as_mut().unwrap().insert(provision::DIRECTORIES.into(), directories.into());
        node
    };
    assert!(matches!(&storage.requests(&needs, &host("true")).unwrap()[..], [Request::Provision(_)]));
    let why = storage.requests(&needs, &host("false")).unwrap_err();
    assert_eq!(why.reason, "node(s) were other machines, where volumes cannot be directories");
    assert!(why.unresolvable, "nobody can make way for it");
}

#[test]
fn a_claim_for_one_pod_is_used_by_one() {
    let mut alone = claim("data", "podman");
    alone["spec"]["accessModes"] = json!(["ReadWriteOncePod"]);
    let mut storage = storage(&[alone]);
    storage.use_claims("default", &["data".into()], true);
    let host = HostState::new("h1");
    let needs = storage.needs(&pod(&["data"]));
    let why = storage.restrictions(&needs, &host).unwrap();
    assert_eq!(
        (why.reason.as_ref(), why.unresolvable),
        ("node has pod using PersistentVolumeClaim with the same name and ReadWriteOncePod access mode", false)
    );
    storage.use_claims("default", &["data".into()], false);
    assert!(storage.restrictions(&storage.needs(&pod(&["data"])), &host).is_none());
}

#[test]
fn the_zone_of_a_volume_is_that_of_its_pods() {
    let (zone, old) = ("topology.kubernetes.io/zone", "failure-domain.beta.kubernetes.io/zone");
    let cases = [
        // What the volume says, what the host says, and whether that fits.
        ((zone, "east__west"), None, true),
        ((zone, "east__west"), Some((zone, "west")), true),
        ((zone, "east__ west"), Some((zone, "west")), true),
        ((zone, "east__west"), Some((zone, "north")), false),
        ((old, "east"), Some((zone, "east")), true),
        ((old, "east"), Some((zone, "west")), false),
        ((zone, "east"), Some((old, "east")), false),
        ((zone, "east__"), Some((zone, "north")), true),
        (("zone", "east"), Some((zone, "north")), true),
    ];
    let labels = |(key, value): (&str, &str)| Some(BTreeMap::from([(key.to_owned(), value.to_owned())]));
    for (of_volume, of_host, fits) in cases {
        let mut zoned: PersistentVolume = (*volume("a", "h1")).clone();
        zoned.metadata.labels = labels(of_volume);
        let mut host = node("h1");
        host.metadata.labels = of_host.and_then(labels);
        assert_eq!(is_in_zone(&zoned, &host), fits, "{of_volume:?} on {of_host:?}");
    }
}

/// A host whose driver `d` attaches one volume; claims that are bound to a volume of it each.
fn limited(claims: &[&str]) -> Snapshot {
    let mut snapshot = cluster(&[("h1", "")]);
    let limit = json!([{"name": "d", "nodeID": "h1", "allocatable": {"count": 1}}]);
    let drivers = json!({"metadata": {"name": "h1"}, "spec": {"drivers": limit}});
    snapshot.storage.set_drivers(&from_value(drivers).unwrap());
    for name in claims {
        let volume = json!({"metadata": {"name": name}, "spec": {"csi": {"driver": "d", "volumeHandle": name}}});
        snapshot.storage.set_volume(Arc::new(from_value(volume).unwrap()));
        let mut bound = claim(name, "any");
        bound["spec"]["volumeName"] = json!(name);
        bound["metadata"]["annotations"][BIND_COMPLETED] = json!("yes");
        snapshot.storage.set_claim(Arc::new(from_value(bound).unwrap()));
    }
    snapshot
}

fn user(name: &str, claim: &str, priority: i32) -> Pod {
    let volume = json!({"name": "v", "persistentVolumeClaim": {"claimName": claim}});
    rig::pod(name, "web", &json!({"volumes": [volume], "priority": priority}))
}

#[test]
fn a_host_attaches_as_much_as_its_driver_can() {
    let mut snapshot = limited(&["one", "two"]);
    assert_eq!(schedule(&mut snapshot, &user("a", "one", 0)).as_deref(), Ok("h1"));
    assert_eq!(schedule(&mut snapshot, &user("b", "one", 0)).as_deref(), Ok("h1"), "it is attached once");
    let why = "0/1 nodes are available: 1 node(s) exceed max volume count. preemption: 0/1 nodes are available: 1 No preemption victims found for incoming pod.";
    assert_eq!(schedule(&mut snapshot, &user("c", "two", 0)).unwrap_err(), why);
    let Verdict::Unschedulable { preemption: Preemption::Nominated { victims, .. }, .. } =
        decide(&user("c", "two", 1), &mut snapshot)
    else {
        panic!("the others make way");
    };
    let victims: Vec<_> = victims.iter().map(|one| one.name.as_str()).collect();
    assert_eq!(victims, ["a", "b"]);
    ["a", "b"].into_iter().for_each(|uid| snapshot.forget(uid));
    // Their volume is still attached.
    let attached = json!({"metadata": {"name": "x"},
        "spec": {"attacher": "d", "nodeName": "h1", "source": {"persistentVolumeName": "one"}}});
    let attached: VolumeAttachment = from_value(attached).unwrap();
    snapshot.storage.set_attachment(&attached);
    assert!(schedule(&mut snapshot, &user("c", "two", 1)).unwrap_err().contains("exceed max volume count"));
    assert_eq!(schedule(&mut snapshot, &user("d", "one", 0)).as_deref(), Ok("h1"));
    snapshot.forget("d");
    snapshot.storage.remove_attachment(&attached);
    assert_eq!(schedule(&mut snapshot, &user("c", "two", 1)).as_deref(), Ok("h1"));
}

#[test]
fn what_waits_for_its_volume_counts_too() {
    let mut snapshot = limited(&["one"]);
    let class = json!({"metadata": {"name": "d"}, "provisioner": "d", "volumeBindingMode": "WaitForFirstConsumer"});
    snapshot.storage.set_class(Arc::new(from_value(class).unwrap()));
    snapshot.storage.set_claim(Arc::new(from_value(claim("new", "d")).unwrap()));
    assert_eq!(schedule(&mut snapshot, &user("a", "new", 0)).as_deref(), Ok("h1"));
    assert!(schedule(&mut snapshot, &user("b", "one", 0)).unwrap_err().contains("exceed max volume count"));
}

#[test]
fn pods_that_share_no_disk_are_kept_apart_and_make_way() {
    let mut snapshot = cluster(&[("h1", ""), ("h2", "")]);
    let with = |name: &str, priority: i32| {
        let volume = json!({"name": "v", "gcePersistentDisk": {"pdName": "disk"}});
        rig::pod(name, "web", &json!({"volumes": [volume], "priority": priority}))
    };
    let first = schedule(&mut snapshot, &with("a", 0)).unwrap();
    let second = schedule(&mut snapshot, &with("b", 0)).unwrap();
    assert_ne!(first, second);
    let why = "0/2 nodes are available: 2 node(s) had no available disk. preemption: 0/2 nodes are available: 2 No preemption victims found for incoming pod.";
    assert_eq!(schedule(&mut snapshot, &with("c", 0)).unwrap_err(), why);
    let Verdict::Unschedulable { preemption, .. } = decide(&with("c", 1), &mut snapshot) else { panic!("no room") };
    assert!(matches!(preemption, Preemption::Nominated { victims, .. } if victims.len() == 1));
}

#[test]
fn who_has_a_claim_for_one_pod_makes_way_for_one_of_higher_priority() {
    let mut snapshot = limited(&["one"]);
    let mut alone = claim("one", "any");
    alone["spec"]["volumeName"] = json!("one");
    alone["spec"]["accessModes"] = json!(["ReadWriteOncePod"]);
    alone["metadata"]["annotations"][BIND_COMPLETED] = json!("yes");
    snapshot.storage.set_claim(Arc::new(from_value(alone).unwrap()));
    snapshot.set_node(rig::node("h2", ""));
    let host = schedule(&mut snapshot, &user("a", "one", 0)).unwrap();
    let why = "0/2 nodes are available: 2 node has pod using PersistentVolumeClaim with the same name and ReadWriteOncePod access mode. preemption: 0/2 nodes are available: 2 No preemption victims found for incoming pod.";
    assert_eq!(schedule(&mut snapshot, &user("b", "one", 0)).unwrap_err(), why);
    let Verdict::Unschedulable { preemption, .. } = decide(&user("b", "one", 1), &mut snapshot) else {
        panic!("it is taken")
    };
    let Preemption::Nominated { host: nominated, victims } = preemption else { panic!("{preemption:?}") };
    assert_eq!((nominated, victims.len()), (host, 1));
}
