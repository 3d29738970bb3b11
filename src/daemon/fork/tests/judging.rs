//! Readiness by the rules of an Application.

use super::rig::{Rig, deployment};
use crate::api::plan::Consequences;
use crate::daemon::fork::Request;
use crate::gitops::readiness::{Health, HealthCheck};
use serde_json::{Value, json};
use tokio_util::sync::CancellationToken;

fn plan(rig: &Rig, objects: Vec<Value>, checks: Value) -> Consequences {
    let checks: Vec<HealthCheck> = serde_json::from_value(checks).unwrap();
    let request = Request { spec: rig.spec(objects, vec![]), order: None, health: Health::in_a_copy(&checks) };
    rig.plan_until(request, CancellationToken::new()).consequences
}

fn problems(found: &Consequences) -> Vec<String> {
    found.problems.iter().map(|one| format!("{} {}: {}", one.object.name, one.reason, one.message)).collect()
}

#[tokio::test(start_paused = true)]
async fn what_a_cluster_makes_ready_is_judged_by_the_applications_rule() {
    let rig = Rig::new(&["h1"]).await;
    let web = || vec![deployment("web", 2, "web:1")];
    assert!(plan(&rig, web(), json!([])).settled);
    let of = |current: &str, failed: &str| json!([{"apiVersion": "apps/v1", "kind": "Deployment", "current": current, "failed": failed}]);
    let good = plan(&rig, web(), of("status.availableReplicas == 2", ""));
    assert!(good.settled && problems(&good).is_empty(), "{good:#?}");
    let never = plan(&rig, web(), of("status.availableReplicas == 3", ""));
    assert!(!never.settled, "{never:#?}");
    assert_eq!(problems(&never), ["web NotReady: not yet so: status.availableReplicas == 3"]);
    let failed = plan(&rig, web(), of("false", "status.availableReplicas == 2"));
    assert_eq!(problems(&failed), ["web NotReady: health check failed: status.availableReplicas == 2"]);
}

#[tokio::test(start_paused = true)]
async fn what_controllers_of_others_make_ready_is_taken_for_granted() {
    let rig = Rig::new(&["h1"]).await;
    let definition = json!({"apiVersion": "apiextensions.k8s.io/v1", "kind": "CustomResourceDefinition",
        "metadata": {"name": "databases.example.org"}, "spec": {"group": "example.org", "scope": "Namespaced",
            "names": {"kind": "Database", "plural": "databases"},
            "versions": [{"name": "v1", "served": true, "storage": true, "schema": {"openAPIV3Schema":
                {"type": "object", "x-kubernetes-preserve-unknown-fields": true}}}]}});
    let store = json!({"apiVersion": "example.org/v1", "kind": "Database",
        "metadata": {"name": "store", "namespace": "default"}, "spec": {"size": 1}});
    let checks = json!([{"apiVersion": "example.org/v1", "kind": "Database", "failed": "spec.size > 9",
        "current": "has(status.phase) && status.phase == 'Running'"}]);
    let found = plan(&rig, vec![definition.clone(), store.clone()], checks.clone());
    assert!(found.settled && problems(&found).is_empty(), "{found:#?}");
    assert!(found.assumptions.iter().any(|one| one.starts_with("Database: they become ready")), "{found:#?}");
    let mut large = store;
    large["spec"]["size"] = json!(10);
    let found = plan(&rig, vec![definition, large], checks);
    assert_eq!(problems(&found), ["store NotReady: health check failed: spec.size > 9"]);
}
