//! The data at stake when something is deleted.

use super::rig::{Rig, deployment, pod};
use super::things::storage_class;
use crate::api::changeset::{ChangeSetSpec, ObjectId};
use crate::api::plan::{ClaimAtStake, ClaimFate};
use crate::store::{Store, bucket};
use serde_json::{Value, json};

fn set(name: &str, namespace: &str, replicas: u32, policy: Value) -> Value {
    json!({"apiVersion": "apps/v1", "kind": "StatefulSet", "metadata": {"name": name, "namespace": namespace}, "spec": {
        "replicas": replicas, "serviceName": name, "selector": {"matchLabels": {"app": name}},
        "persistentVolumeClaimRetentionPolicy": policy,
        "template": {"metadata": {"labels": {"app": name}}, "spec": {
            "terminationGracePeriodSeconds": 1, "containers": [{"name": "c", "image": "db:1"}]}},
        "volumeClaimTemplates": [{"metadata": {"name": "data"}, "spec": claim()}]}})
}

fn claim() -> Value {
    json!({"accessModes": ["ReadWriteOnce"], "storageClassName": "podman",
        "resources": {"requests": {"storage": "1Gi"}}})
}

fn id(api_version: &str, kind: &str, namespace: &str, name: &str) -> ObjectId {
    ObjectId {
        api_version: api_version.into(),
        kind: kind.into(),
        namespace: namespace.into(),
        name: name.into(),
        uid: String::new(),
    }
}

/// `name fate with: reason`, for each.
fn told(claims: &[ClaimAtStake]) -> Vec<String> {
    let one = |one: &ClaimAtStake| {
        assert!(one.size == "1Gi" && one.reclaim_policy == "Delete" && !one.volume.is_empty(), "{one:?}");
        let with = format!("{} {}", one.with.kind, one.with.name);
        format!("{} {:?} {with}: {}", one.claim.name, one.fate, one.reason)
    };
    claims.iter().map(one).collect()
}

async fn rig(objects: Vec<Value>) -> Rig {
    let rig = Rig::new(&["h1", "h2"]).await;
    let mut all = vec![storage_class()];
    all.extend(objects);
    rig.apply(all).await;
    rig.until(|| {
        let claims = rig.store.range(&bucket("", "persistentvolumeclaims"), None, None, 0).unwrap().records;
        let bound = |value: &[u8]| {
            let claim: Value = serde_json::from_slice(value).unwrap();
            claim["status"]["phase"] == "Bound"
        };
        !claims.is_empty() && claims.iter().all(|record| bound(&record.value.bytes()))
    })
    .await;
    rig.quiet().await;
    rig
}

const WHEN: &str = "persistentVolumeClaimRetentionPolicy.when";

#[tokio::test(start_paused = true)]
async fn a_retention_policy_decides_about_the_claims_of_a_set() {
    let policy = json!({"whenDeleted": "Delete", "whenScaled": "Delete"});
    let (kept, gone) = (set("kept", "default", 2, json!({})), set("gone", "default", 2, policy.clone()));
    let rig = rig(vec![kept, gone]).await;
    let deletions = ["gone", "kept"].map(|name| id("apps/v1", "StatefulSet", "default", name));
    let found = rig.plan(vec![], deletions.into()).consequences;
    assert!(found.settled, "{found:#?}");
    let expected = [
        format!("data-gone-0 Deleted StatefulSet gone: {WHEN}Deleted is Delete"),
        format!("data-gone-1 Deleted StatefulSet gone: {WHEN}Deleted is Delete"),
        format!("data-kept-0 Kept StatefulSet kept: {WHEN}Deleted is Retain"),
        format!("data-kept-1 Kept StatefulSet kept: {WHEN}Deleted is Retain"),
    ];
    assert_eq!(told(&found.claims), expected);
    assert!(found.claims[0].loses_data() && !found.claims[2].loses_data());

    let scaled = vec![set("gone", "default", 1, policy), set("kept", "default", 1, json!({}))];
    let found = rig.plan(scaled, vec![]).consequences;
    assert_eq!(told(&found.claims), [format!("data-gone-1 Deleted StatefulSet gone: {WHEN}Scaled is Delete")]);

    let mut other = set("kept", "default", 2, json!({}));
    other["spec"]["serviceName"] = json!("other");
    let spec = ChangeSetSpec { replace: true, ..rig.spec(vec![other], vec![]) };
    let found = rig.plan_spec(spec).consequences;
    assert!(found.settled, "{found:#?}");
    let reason = format!("{WHEN}Deleted is Retain; the new StatefulSet takes it up again");
    let expected = ["0", "1"].map(|n| format!("data-kept-{n} Kept StatefulSet kept: {reason}"));
    assert_eq!(told(&found.claims), expected);
    assert_eq!(rig.plan(vec![set("kept", "default", 3, json!({}))], vec![]).consequences.claims, []);
}

#[tokio::test(start_paused = true)]
async fn a_namespace_takes_its_claims_along_and_a_pruned_claim_itself() {
    let namespace = json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "shop"}});
    let alone = json!({"apiVersion": "v1", "kind": "PersistentVolumeClaim",
        "metadata": {"name": "alone", "namespace": "default"}, "spec": claim()});
    let mut user = pod("user", "web:1");
    user["spec"]["volumes"] = json!([{"name": "v", "persistentVolumeClaim": {"claimName": "alone"}}]);
    let rig = rig(vec![namespace, set("db", "shop", 1, json!({})), alone, user]).await;
    let found = rig.plan(vec![], vec![id("v1", "Namespace", "", "shop")]).consequences;
    assert_eq!(
        told(&found.claims),
        ["data-db-0 Deleted Namespace shop: its namespace is deleted with all that it holds"]
    );

    let claim = || id("v1", "PersistentVolumeClaim", "default", "alone");
    let both = vec![claim(), id("v1", "Pod", "default", "user")];
    let found = rig.plan(vec![], both).consequences;
    let expected = ["alone Deleted PersistentVolumeClaim alone: it is no longer in the source"];
    assert_eq!(told(&found.claims), expected);
    let found = rig.plan(vec![], vec![claim()]).consequences;
    assert_eq!(told(&found.claims), expected, "also while a pod uses it, and it only waits for its end");
    assert_eq!(found.claims[0].fate, ClaimFate::Deleted);
}

#[tokio::test(start_paused = true)]
async fn claims_of_pods_go_with_their_workload() {
    let mut web = deployment("web", 1, "web:1");
    web["spec"]["template"]["spec"]["volumes"] =
        json!([{"name": "scratch", "ephemeral": {"volumeClaimTemplate": {"spec": claim()}}}]);
    let rig = rig(vec![web]).await;
    let found = rig.plan(vec![], vec![id("apps/v1", "Deployment", "default", "web")]).consequences;
    let [one] = told(&found.claims).try_into().unwrap();
    assert!(one.ends_with("Deleted Deployment web: it belongs to a pod, and goes with it"), "{one}");
}
