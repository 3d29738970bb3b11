//! Change sets that delete what cannot change in place and make it again.

use super::*;
use crate::api::changeset::{ChangeAction, ChangeSetSpec, ChangeSetStatus};
use crate::store::Watch;
use serde_json::json;

const MAPS: &str = "/api/v1/namespaces/default/configmaps";
const PODS: &str = "/api/v1/namespaces/default/pods";

struct Replacing {
    rig: Rig,
    store: Arc<Memory>,
}

fn map(name: &str, value: &str) -> Value {
    json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name, "namespace": "default"},
        "immutable": true, "data": {"k": value}})
}

impl Replacing {
    async fn new() -> Self {
        let store = Memory::new();
        let config = Config { ids: Ids::seeded(1), ..Config::new(store.clone(), Arc::new(Registry::builtin())) };
        let rig = Rig { server: ApiServer::new(config) };
        rig.post("/api/v1/namespaces", json!({"metadata": {"name": "default"}})).await;
        Self { rig, store }
    }

    async fn change(&self, objects: Vec<Value>, dry_run: bool) -> ChangeSetStatus {
        let spec =
            ChangeSetSpec { field_manager: "selkie".into(), replace: true, dry_run, objects, ..Default::default() };
        self.rig.server.change(&spec).await.unwrap()
    }

    async fn uid(&self, path: &str) -> Value {
        self.rig.get(path).await.1["metadata"]["uid"].clone()
    }

    fn watch(&self, bucket: &str) -> Box<dyn Watch> {
        self.store.watch(bucket, self.store.revision()).unwrap()
    }
}

fn actions(status: &ChangeSetStatus) -> Vec<(ChangeAction, bool)> {
    status.results.iter().map(|result| (result.action, result.pending)).collect()
}

#[tokio::test]
async fn what_is_replaced_is_one_commit_with_the_rest_or_nothing() {
    let case = Replacing::new().await;
    case.change(vec![map("a", "1"), map("b", "1")], false).await;
    let path = format!("{MAPS}/a");
    let (uid, revision) = (case.uid(&path).await, case.store.revision());

    // Something else is wrong, with what is made again or with another object.
    let mut wrong = map("a", "2");
    wrong["metadata"]["labels"] = json!({"not a name": "x"});
    let refused = case.change(vec![wrong, map("b", "2")], false).await;
    assert!(!refused.applied, "{refused:#?}");
    let refused = case
        .change(
            vec![
                map("a", "2"),
                json!({"apiVersion": "v1", "kind": "ConfigMap",
        "metadata": {"name": "c", "namespace": "nowhere"}}),
            ],
            false,
        )
        .await;
    assert_eq!(actions(&refused), [(ChangeAction::Replaced, false), (ChangeAction::Failed, false)]);
    assert_eq!((case.store.revision(), case.uid(&path).await), (revision, uid.clone()));

    // The disk fails, at the first write and at the second, if there were one.
    for nth in [1, 2] {
        case.store.fail_commit(nth);
        let spec = ChangeSetSpec {
            field_manager: "selkie".into(),
            replace: true,
            objects: vec![map("a", "2"), map("c", "1")],
            ..Default::default()
        };
        let done = case.rig.server.change(&spec).await;
        let there = case.rig.get(&format!("{MAPS}/c")).await.0 == 200;
        assert_eq!((done.is_ok(), there), (nth == 2, nth == 2), "it is one write: {done:?}");
        assert_eq!(case.uid(&path).await == uid, nth == 1);
    }
    case.store.fail_commit(0);

    let mut watch = case.watch("/configmaps./");
    let before = case.store.revision();
    let done = case.change(vec![map("b", "9"), map("d", "1")], false).await;
    assert_eq!(actions(&done), [(ChangeAction::Replaced, false), (ChangeAction::Created, false)]);
    let events = watch.next().await.unwrap();
    let seen: Vec<_> = events.iter().map(|e| (e.revision, e.record.envelope.name.clone(), e.deleted)).collect();
    let at = |offset: u64, name: &str, deleted: bool| (before + offset, name.to_owned(), deleted);
    assert_eq!(
        seen,
        [at(1, "b", true), at(2, "b", false), at(2, "d", false)],
        "who watches sees an end and a beginning"
    );
    assert_eq!(done.revision, before + 2);
    let stored = case.rig.get(&format!("{MAPS}/b")).await.1;
    assert_eq!(done.results[0].after.as_ref(), Some(&stored));
    assert_eq!(stored["data"]["k"], "9");
}

#[tokio::test]
async fn what_has_to_end_first_is_validated_begun_and_made_when_it_has_gone() {
    let case = Replacing::new().await;
    let mut held = map("a", "1");
    held["metadata"]["finalizers"] = json!(["example.com/hold"]);
    case.change(vec![held.clone()], false).await;
    let path = format!("{MAPS}/a");
    let uid = case.uid(&path).await;
    held["data"]["k"] = json!("2");

    let tried = case.change(vec![held.clone(), map("b", "1")], true).await;
    assert_eq!(actions(&tried), [(ChangeAction::Replaced, true), (ChangeAction::Created, false)]);
    let reason = "data cannot change in place; it ends first, then it is made again: its finalizer example.com/hold has \
                  to be taken away";
    assert_eq!(tried.results[0].reason, reason);
    assert_eq!(tried.results[0].after.as_ref().unwrap()["data"]["k"], "2", "as it will be");
    let mut invalid = held.clone();
    invalid["metadata"]["labels"] = json!({"not a name": "x"});
    assert!(!case.change(vec![invalid, map("b", "1")], false).await.applied, "nothing is begun that could not end");
    assert_eq!(case.rig.get(&path).await.1["metadata"]["deletionTimestamp"], Value::Null);

    let begun = case.change(vec![held.clone(), map("b", "1")], false).await;
    assert_eq!(actions(&begun), actions(&tried));
    let going = case.rig.get(&path).await.1;
    assert!(going["metadata"]["deletionTimestamp"].is_string() && going["metadata"]["uid"] == uid, "{going}");
    assert_eq!(case.rig.get(&format!("{MAPS}/b")).await.0, 200, "the rest is applied");
    let again = case.change(vec![held.clone()], false).await;
    assert_eq!(actions(&again), [(ChangeAction::Replaced, true)], "it is still going");
    case.rig.send("PATCH", &path, "application/merge-patch+json", r#"{"metadata":{"finalizers":null}}"#).await;
    assert_eq!(case.rig.get(&path).await.0, 404);
    let made = case.change(vec![held], false).await;
    assert_eq!(actions(&made), [(ChangeAction::Created, false)]);
    assert_ne!(case.uid(&path).await, uid);
}

#[tokio::test]
async fn a_running_pod_gets_its_time_to_stop() {
    let case = Replacing::new().await;
    let pod = |command: &str| {
        json!({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "p", "namespace": "default"}, "spec": {
            "terminationGracePeriodSeconds": 7, "containers": [{"name": "c", "image": "i", "command": [command]}]}})
    };
    case.change(vec![pod("a")], false).await;
    let idle = case.change(vec![pod("b")], false).await;
    assert_eq!(actions(&idle), [(ChangeAction::Replaced, false)], "nobody runs it");
    let binding = json!({"metadata": {"name": "p"}, "target": {"kind": "Node", "name": "n1"}});
    case.rig.post(&format!("{PODS}/p/binding"), binding).await;
    let begun = case.change(vec![pod("c")], false).await;
    assert_eq!(actions(&begun), [(ChangeAction::Replaced, true)]);
    assert!(begun.results[0].reason.ends_with("its containers have 7 s to stop"), "{}", begun.results[0].reason);
    assert_eq!(case.rig.get(&format!("{PODS}/p")).await.1["metadata"]["deletionGracePeriodSeconds"], 7);
}

#[tokio::test]
async fn a_claim_keeps_its_data_until_somebody_says_that_it_may_go() {
    let case = Replacing::new().await;
    let claim = |class: &str| {
        json!({"apiVersion": "v1", "kind": "PersistentVolumeClaim", "metadata": {"name": "data", "namespace": "default"},
            "spec": {"accessModes": ["ReadWriteOnce"], "storageClassName": class,
                "resources": {"requests": {"storage": "1Gi"}}}})
    };
    case.change(vec![claim("a")], false).await;
    let refused = case.change(vec![claim("b")], false).await;
    let error = refused.results[0].error.as_ref().unwrap();
    assert!(error.code == 409 && error.message.contains("selkie.dev/prune=confirmed"), "{error:?}");
    let path = "/api/v1/namespaces/default/persistentvolumeclaims/data";
    let confirmed = r#"{"metadata":{"annotations":{"selkie.dev/prune":"confirmed"}}}"#;
    case.rig.send("PATCH", path, "application/merge-patch+json", confirmed).await;
    let begun = case.change(vec![claim("b")], false).await;
    assert_eq!(actions(&begun), [(ChangeAction::Replaced, true)], "it is protected while it may be in use");
}

#[tokio::test]
async fn what_takes_data_along_is_confirmed_too() {
    let case = Replacing::new().await;
    let set = |service: &str, policy: &str| {
        json!({"apiVersion": "apps/v1", "kind": "StatefulSet", "metadata": {"name": "db", "namespace": "default"}, "spec": {
            "serviceName": service, "selector": {"matchLabels": {"app": "db"}},
            "persistentVolumeClaimRetentionPolicy": {"whenDeleted": policy},
            "template": {"metadata": {"labels": {"app": "db"}}, "spec": {"containers": [{"name": "c", "image": "i"}]}},
            "volumeClaimTemplates": [{"metadata": {"name": "data"}, "spec": {"accessModes": ["ReadWriteOnce"],
                "resources": {"requests": {"storage": "1Gi"}}}}]}})
    };
    case.change(vec![set("a", "Retain")], false).await;
    let kept = case.change(vec![set("b", "Retain")], false).await;
    assert_eq!(actions(&kept), [(ChangeAction::Replaced, false)], "its claims stay");
    case.change(vec![set("b", "Delete")], false).await;
    let refused = case.change(vec![set("c", "Delete")], false).await;
    let error = refused.results[0].error.as_ref().unwrap();
    let expect = "its claims and their data, by its persistentVolumeClaimRetentionPolicy, would go with what is replaced (if \
                  that may go: kubectl annotate --overwrite -n default statefulsets db selkie.dev/prune=confirmed)";
    assert_eq!((error.code, error.message.as_str()), (409, expect));
    let path = "/apis/apps/v1/namespaces/default/statefulsets/db";
    let confirmed = r#"{"metadata":{"annotations":{"selkie.dev/prune":"confirmed"}}}"#;
    case.rig.send("PATCH", path, "application/merge-patch+json", confirmed).await;
    assert_eq!(actions(&case.change(vec![set("c", "Delete")], false).await), [(ChangeAction::Replaced, false)]);

    let definition = |scope: &str| {
        json!({"apiVersion": "apiextensions.k8s.io/v1", "kind": "CustomResourceDefinition",
            "metadata": {"name": "things.example.org"}, "spec": {"group": "example.org", "scope": scope,
                "names": {"plural": "things", "singular": "thing", "kind": "Thing", "listKind": "ThingList"},
                "versions": [{"name": "v1", "served": true, "storage": true, "schema": {"openAPIV3Schema": {
                    "type": "object", "x-kubernetes-preserve-unknown-fields": true}}}]}})
    };
    case.change(vec![definition("Namespaced")], false).await;
    let thing =
        json!({"apiVersion": "example.org/v1", "kind": "Thing", "metadata": {"name": "a", "namespace": "default"}});
    assert!(case.change(vec![thing], false).await.applied);
    let refused = case.change(vec![definition("Cluster")], false).await;
    let error = refused.results[0].error.as_ref().unwrap();
    assert!(error.message.starts_with("all its objects, 1 now, would go with what is replaced"), "{error:?}");
}
