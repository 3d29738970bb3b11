//! Trees as they are printed.

#![allow(clippy::unwrap_used)]
use super::build::{Facts, Tree, build, of_set};
use super::text::text;
use crate::api::registry::Registry;
use crate::cli::health::Judges;
use crate::cli::objects::{Family, id_of};
use crate::gitops::kinds::Kinds;
use crate::gitops::render::render;
use crate::gitops::sources::Snapshot;
use serde_json::{Value, json};

const MANIFESTS: &str = "apiVersion: v1\nkind: Namespace\nmetadata: {name: shop}\n---\napiVersion: apps/v1\nkind: Deployment\nmetadata: {name: web, namespace: shop}\n---\napiVersion: v1\nkind: Service\nmetadata: {name: web, namespace: shop}\n---\napiVersion: v1\nkind: ConfigMap\nmetadata: {name: conf, namespace: shop}\n";

fn object(api_version: &str, kind: &str, name: &str, owner: &str, more: Value) -> Value {
    let mut object = json!({"apiVersion": api_version, "kind": kind, "metadata": {"name": name, "namespace": "shop", "uid": format!("{kind}-{name}")}});
    if !owner.is_empty() {
        object["metadata"]["ownerReferences"] = json!([{"uid": owner, "controller": true}]);
    }
    for (key, value) in more.as_object().unwrap() {
        object[key] = value.clone();
    }
    object
}

fn pod(name: &str, status: Value) -> Value {
    let spec = json!({"nodeName": "h1", "containers": [{"name": "web", "image": "web:2"}]});
    object("v1", "Pod", name, "ReplicaSet-web-6d4c", json!({"spec": spec, "status": status}))
}

fn example() -> Tree {
    let rollout = json!({"spec": {"replicas": 2}, "status": {"replicas": 2, "readyReplicas": 1, "updatedReplicas": 2}});
    let deployment = object("apps/v1", "Deployment", "web", "", rollout.clone());
    let mut namespace = object("v1", "Namespace", "shop", "", json!({"status": {"phase": "Active"}}));
    namespace["metadata"].as_object_mut().unwrap().remove("namespace");
    let service = object("v1", "Service", "web", "", json!({"spec": {}}));
    let running = json!({"phase": "Running", "conditions": [{"type": "Ready", "status": "True"}],
        "containerStatuses": [{"name": "web", "ready": true, "restartCount": 0, "state": {"running": {}}}]});
    let crashing = json!({"phase": "Running", "containerStatuses": [{"name": "web", "ready": false, "restartCount": 2,
        "state": {"waiting": {"reason": "CrashLoopBackOff", "message": "back-off 20s\nrestarting"}}}]});
    let endpoints = json!({"endpoints": [{"conditions": {"ready": true}}, {"conditions": {"ready": false}}]});
    let family = Family::of(vec![
        pod("web-6d4c-b", crashing),
        pod("web-6d4c-a", running),
        object("apps/v1", "ReplicaSet", "web-6d4c", "Deployment-web", rollout),
        object("discovery.k8s.io/v1", "EndpointSlice", "web-x", "Service-web", endpoints),
    ]);
    let leftover = object("v1", "PersistentVolumeClaim", "data", "", json!({"status": {"phase": "Bound"}}));
    let conf = object("v1", "ConfigMap", "conf", "", json!({}));
    let objects = [conf, service, deployment, leftover, namespace];
    let inventory = objects.iter().map(id_of).collect();
    let registry = Registry::builtin();
    let application = json!({"metadata": {"name": "shop"}, "spec": {"source": {"repoURL": "https://me:secret@host/shop.git"}},
        "status": {"revision": "0123456789abcdef", "conditions": [
            {"type": "Ready", "status": "False", "reason": "Progressing", "message": "waiting for Deployment shop/web"}]}});
    let facts = Facts {
        application,
        inventory,
        objects: objects.into_iter().enumerate().map(|(at, object)| (at > 0).then_some(object)).collect(),
        manifests: render(&Snapshot::of(&[("shop.yaml", MANIFESTS)]), &registry as &dyn Kinds, "default"),
        family,
        judges: Judges::default(),
    };
    build(&facts, "2026-05-01T12:00:00Z".parse().unwrap())
}

#[test]
fn a_tree_as_text() {
    let coloured = text(&example());
    insta::assert_snapshot!(anstream::adapter::strip_str(&coloured).to_string());
    insta::assert_snapshot!(coloured.replace('\u{1b}', "␛"));
}

#[test]
fn a_set_shows_its_applications() {
    let ready = json!([{"type": "Ready", "status": "True", "reason": "Generated", "message": "1 application"}]);
    let git = json!({"git": {"repoURL": "https://me:secret@host/shop.git", "directories": [{"path": "apps/*"}]}});
    let set = json!({"metadata": {"name": "shops"}, "spec": {"generators": [git]}, "status": {"conditions": ready}});
    let failed = json!([{"type": "Synced", "status": "False", "reason": "Failed", "message": "web.yaml:2:1: wrong"}]);
    let one = json!({"metadata": {"name": "shop-a", "namespace": "selkie-system"},
        "status": {"inventory": [{}, {}], "conditions": failed}});
    let shown = text(&of_set(&set, &[one]));
    let expected = "shops  Ready  applications of https://***@host/shop.git\n\
                    \u{2514}\u{2500} Application selkie-system/shop-a  Failed: web.yaml:2:1: wrong  2 objects\n";
    assert_eq!(anstream::adapter::strip_str(&shown).to_string(), expected);
}

#[test]
fn a_tree_for_programs() {
    let tree = serde_json::to_value(example()).unwrap();
    assert!(!tree.to_string().contains("secret"));
    insta::assert_json_snapshot!(tree);
    let yaml: Value = serde_yaml::from_str(&crate::cli::output::yaml(&tree)).unwrap();
    assert_eq!(yaml, tree);
}
