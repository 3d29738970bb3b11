//! Deletions as values, without a server.

use super::*;
use crate::gitops::application::{PRUNE, TAKEN_OVER};
use serde_json::json;

fn object(kind: &str, name: &str, owners: &[&str]) -> Value {
    let (api_version, namespace) = match kind {
        "StatefulSet" | "Deployment" | "ReplicaSet" => ("apps/v1", "shop"),
        "Application" => ("selkie.dev/v1alpha1", "selkie-system"),
        "Namespace" | "PersistentVolume" => ("v1", ""),
        _ => ("v1", "shop"),
    };
    let owner = |name: &&str| {
        json!({"apiVersion": "apps/v1", "kind": "ReplicaSet", "name": name, "uid": name, "controller": true,
            "blockOwnerDeletion": true})
    };
    let owners: Vec<Value> = owners.iter().map(owner).collect();
    json!({"apiVersion": api_version, "kind": kind,
        "metadata": {"name": name, "namespace": namespace, "uid": name, "ownerReferences": owners}})
}

fn with(mut object: Value, pointer: &str, value: Value) -> Value {
    let (parent, key) = pointer.rsplit_once('/').unwrap_or_default();
    let mut place = &mut object;
    for part in parent.split('/').filter(|part| !part.is_empty()) {
        place = &mut place[part];
    }
    place[key] = value;
    object
}

fn cluster(objects: &[Value]) -> Cluster {
    let served = [("apps".to_owned(), "ReplicaSet".to_owned())];
    Cluster { objects: objects.to_vec(), served: served.into() }
}

fn run(objects: &[Value], named: &[&str], cascade: Cascade) -> Preview {
    let cluster = cluster(objects);
    let ids = cluster.objects.iter().map(id_of).filter(|id| named.contains(&id.name.as_str()));
    preview(&cluster, &ids.collect::<Vec<_>>(), cascade)
}

fn names(preview: &Preview) -> Vec<&str> {
    preview.objects.iter().map(|going| going.id.name.as_str()).collect()
}

fn web() -> Vec<Value> {
    let pod = with(
        object("Pod", "pod", &["set"]),
        "/spec",
        json!({"nodeName": "one", "volumes": [
        {"name": "cache", "emptyDir": {}}, {"name": "data", "persistentVolumeClaim": {"claimName": "data"}}]}),
    );
    let claim = with(object("PersistentVolumeClaim", "data", &[]), "/spec", json!({"volumeName": "pv"}));
    let volume = json!({"capacity": {"storage": "1Gi"}, "persistentVolumeReclaimPolicy": "Delete"});
    let volume = with(object("PersistentVolume", "pv", &[]), "/spec", volume);
    vec![object("Deployment", "web", &[]), object("ReplicaSet", "set", &["web"]), pod, claim, volume]
}

#[test]
fn dependents_go_along_unless_they_are_orphaned_or_another_holds_them() {
    let all = web();
    for cascade in [Cascade::Foreground, Cascade::Background] {
        let found = run(&all, &["web"], cascade);
        assert_eq!((names(&found), found.pods), (vec!["web", "pod", "set"], 1));
        let pod = &found.objects[1];
        assert_eq!((pod.host.as_str(), pod.volumes.clone()), ("one", vec!["emptyDir cache".to_owned()]));
        assert_eq!(pod.with.as_ref().map(|with| with.name.as_str()), Some("set"));
        assert_eq!(found.data, [], "the claim is nobody's dependent");
    }
    assert_eq!(names(&run(&all, &["web"], Cascade::Orphan)), ["web"]);
    // The pod of an orphaned set's deployment stays, that of a set that goes does not.
    assert_eq!(names(&run(&all, &["web", "set"], Cascade::Orphan)), ["web", "set"]);
    let mut shared = web();
    shared[2] = object("Pod", "pod", &["set", "other"]);
    assert_eq!(names(&run(&shared, &["web"], Cascade::Background)), ["web", "pod", "set"], "other is gone");
    shared.push(object("ReplicaSet", "other", &[]));
    assert_eq!(names(&run(&shared, &["web"], Cascade::Background)), ["web", "set"], "other stays");
    shared[2]["metadata"]["ownerReferences"][1]["kind"] = json!("Unknown");
    shared.pop();
    assert_eq!(names(&run(&shared, &["web"], Cascade::Background)), ["web", "set"], "who knows what is not served");
}

#[test]
fn what_is_set_free_goes_where_its_other_owners_are_gone() {
    let mut all = vec![object("ReplicaSet", "a", &[]), object("Pod", "pod", &["a", "absent"])];
    assert_eq!(names(&run(&all, &["a"], Cascade::Orphan)), ["a", "pod"]);
    all[0]["metadata"]["finalizers"] = json!(["example.org/slow"]);
    let found = run(&all, &["a"], Cascade::Orphan);
    assert_eq!(found.objects[1].waits_for, [], "it is set free at once");
    all.push(object("ReplicaSet", "absent", &[]));
    assert_eq!(names(&run(&all, &["a"], Cascade::Orphan)), ["a"]);
}

#[test]
fn a_service_takes_the_endpoints_that_are_kept_for_it() {
    let mut all = vec![object("Service", "web", &[]), object("Endpoints", "web", &[])];
    let going = |all: &[Value]| preview(&cluster(all), &[id_of(&all[0])], Cascade::Foreground).objects.len();
    assert_eq!(going(&all), 1, "made by hand");
    all[1]["metadata"]["labels"] = json!({ENDPOINTS_MANAGED_BY: ENDPOINTS_MANAGER});
    assert_eq!(going(&all), 2);
}

#[test]
fn who_makes_it_again_and_who_uses_it_is_told() {
    let found = run(&web(), &["pod", "data", "pv"], Cascade::Foreground);
    let of = |name: &str| {
        found.objects.iter().find(|going| going.id.name == name).map(|going| {
            let waits: Vec<_> = going.waits_for.iter().map(|id| id.name.clone()).collect();
            (going.made_again_by.as_ref().map(|id| id.name.clone()), waits)
        })
    };
    assert_eq!(of("pod"), Some((Some("set".into()), vec![])));
    assert_eq!(of("data"), Some((None, vec![])), "its pod goes, too");
    let alone = run(&web(), &["data"], Cascade::Foreground);
    assert_eq!(alone.objects[0].waits_for[0].name, "pod");
    assert_eq!((alone.data[0].fate, alone.data[0].size.as_str()), ("deleted", "1Gi"));
    let volume = run(&web(), &["pv"], Cascade::Foreground);
    assert_eq!(volume.objects[0].waits_for[0].name, "data");
}

#[test]
fn a_finalizer_holds_what_it_is_on_and_what_waits_for_that() {
    let mut all = web();
    all[1]["metadata"]["finalizers"] = json!(["example.org/slow", "foregroundDeletion"]);
    let waits = |cascade: Cascade| {
        let found = run(&all, &["web"], cascade);
        let of = |going: &Going| (going.id.name.clone(), going.waits_for.iter().map(|id| id.name.clone()).collect());
        found.objects.iter().map(of).collect::<Vec<(String, Vec<String>)>>()
    };
    let none: Vec<String> = Vec::new();
    let (web, set, pod) = ("web".to_owned(), "set".to_owned(), "pod".to_owned());
    assert_eq!(
        waits(Cascade::Foreground),
        [(web.clone(), vec![set.clone()]), (pod.clone(), none.clone()), (set.clone(), none.clone())]
    );
    assert_eq!(waits(Cascade::Background), [(web, none.clone()), (pod, vec![set.clone()]), (set, none)]);
    assert_eq!(run(&all, &["web"], Cascade::Foreground).objects[2].finalizers, ["example.org/slow"]);
}

#[test]
fn a_namespace_takes_all_and_a_set_leaves_its_claims() {
    let mut all = web();
    all.push(object("Namespace", "shop", &[]));
    let found = run(&all, &["shop"], Cascade::Foreground);
    assert_eq!(names(&found), ["shop", "web", "data", "pod", "set"]);
    assert_eq!(found.data[0].fate, "deleted");
    all[4]["spec"]["persistentVolumeReclaimPolicy"] = json!("Retain");
    assert_eq!(run(&all, &["shop"], Cascade::Foreground).data[0].fate, "kept");

    let templates = json!({"volumeClaimTemplates": [{"metadata": {"name": "data"}}]});
    let set = with(object("StatefulSet", "db", &[]), "/spec", templates);
    let mut claim = with(object("PersistentVolumeClaim", "data-db-0", &[]), "/spec", json!({"volumeName": "pv"}));
    let found = run(&[set.clone(), claim.clone()], &["db"], Cascade::Foreground);
    assert_eq!((names(&found), found.data[0].fate), (vec!["db"], "kept"));
    // Where its policy says that they go, the controller has said whose they are.
    claim["metadata"]["ownerReferences"] = json!([{"apiVersion": "apps/v1", "kind": "ReplicaSet", "uid": "db"}]);
    let found = run(&[set, claim], &["db"], Cascade::Foreground);
    assert_eq!((names(&found), found.data[0].fate), (vec!["db", "data-db-0"], "deleted"));
}

#[test]
fn an_application_takes_what_it_holds_unless_that_is_to_stay() {
    let held = |name: &str, kind: &str| json!({"apiVersion": "v1", "kind": kind, "namespace": "shop", "name": name});
    let mut app = object("Application", "app", &[]);
    app["metadata"]["finalizers"] = json!(["selkie.dev/prune"]);
    app["spec"] = json!({"prune": true});
    app["status"] =
        json!({"inventory": [held("a", "ConfigMap"), held("b", "ConfigMap"), held("c", "PersistentVolumeClaim")]});
    let map = |name: &str| with(object("ConfigMap", name, &[]), "/metadata/labels", json!({LABEL: "app"}));
    let mut all = vec![app, map("a"), map("b"), object("PersistentVolumeClaim", "c", &[]), map("d")];
    assert_eq!(names(&run(&all, &["app"], Cascade::Foreground)), ["app", "a", "b"], "data outlives it");
    assert_eq!(names(&run(&all, &["app"], Cascade::Orphan)), ["app"]);
    all[2]["metadata"]["annotations"] = json!({PRUNE: "disabled"});
    all[3]["metadata"]["annotations"] = json!({PRUNE: "confirmed"});
    assert_eq!(names(&run(&all, &["app"], Cascade::Foreground)), ["app", "a", "c"]);
    let made = run(&all, &["a"], Cascade::Foreground);
    assert_eq!(made.objects[0].made_again_by.as_ref().map(|id| id.name.as_str()), Some("app"));
    all[0]["spec"]["suspend"] = json!(true);
    assert_eq!(names(&run(&all, &["app"], Cascade::Foreground)), ["app"]);
    assert_eq!(run(&all, &["a"], Cascade::Foreground).objects[0].made_again_by, None);
}

#[test]
fn an_application_leaves_a_namespace_with_what_stays_in_it() {
    let held =
        |name: &str, kind: &str, of: &str| json!({"apiVersion": "v1", "kind": kind, "namespace": of, "name": name});
    let mut app = object("Application", "app", &[]);
    app["metadata"]["finalizers"] = json!(["selkie.dev/prune"]);
    app["status"] = json!({"inventory": [held("shop", "Namespace", ""), held("data", "PersistentVolumeClaim", "shop"),
        held("a", "ConfigMap", "shop")]});
    let mut all = vec![app, object("Namespace", "shop", &[]), object("PersistentVolumeClaim", "data", &[])];
    all.push(object("ConfigMap", "a", &[]));
    let going = |all: &[Value]| {
        let found = run(all, &["app"], Cascade::Foreground);
        found.objects.into_iter().map(|going| going.id.name).collect::<Vec<_>>()
    };
    assert_eq!(going(&all), ["app", "a"], "the claim outlives it, and the namespace with it");
    all[2]["metadata"]["annotations"] = json!({PRUNE: "confirmed"});
    assert_eq!(going(&all), ["app", "shop", "a", "data"]);
    all[3]["metadata"]["annotations"] = json!({PRUNE: "disabled"});
    assert_eq!(going(&all), ["app", "data"]);
    all[3]["metadata"]["annotations"] = Value::Null;
    all[0]["status"]["inventory"][2]["uid"] = json!("another");
    assert_eq!(going(&all), ["app", "data"], "made again by somebody else");
    all[3]["metadata"]["deletionTimestamp"] = json!("2026-01-01T00:00:00Z");
    assert_eq!(going(&all), ["app", "shop", "a", "data"]);
    let mut hook = object("Pod", "hook", &[]);
    hook["metadata"]["labels"] = json!({LABEL: "app"});
    all.push(hook);
    assert_eq!(going(&all), ["app", "data"]);
    all[4]["metadata"]["annotations"] = json!({HOOK_RUN: "1"});
    assert_eq!(going(&all), ["app", "shop", "a", "data", "hook"]);
}

#[test]
fn an_application_that_cannot_tell_what_it_lost_is_held() {
    let mut app = object("Application", "app", &[]);
    app["metadata"]["finalizers"] = json!(["selkie.dev/prune"]);
    app["metadata"]["annotations"] = json!({TAKEN_OVER: "what?"});
    app["status"] = json!({"inventory": [{"apiVersion": "v1", "kind": "ConfigMap", "namespace": "shop", "name": "a"}]});
    let all = [app, object("ConfigMap", "a", &[])];
    let found = run(&all, &["app"], Cascade::Foreground);
    assert_eq!(names(&found), ["app"]);
    assert!(found.objects[0].stuck.contains("is no list of objects"), "{:?}", found.objects[0]);
    let orphaned = run(&all, &["app"], Cascade::Orphan);
    assert_eq!((names(&orphaned), orphaned.objects[0].stuck.as_str()), (vec!["app"], ""));
}
