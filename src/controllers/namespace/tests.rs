//! Namespaces in an API server.
#![allow(clippy::unwrap_used)]
use super::*;
use crate::controllers::rig::Rig;

async fn doomed(rig: &Rig) {
    rig.post("/api/v1/namespaces", json!({"metadata": {"name": "doomed"}})).await;
    for (path, extra) in [("configmaps", json!({})), ("secrets", json!({"type": "Opaque"}))] {
        let mut object = extra;
        object["metadata"] = json!({"name": "content"});
        rig.post(&format!("/api/v1/namespaces/doomed/{path}"), object).await;
    }
}

#[tokio::test(start_paused = true)]
async fn a_namespace_goes_with_its_content() {
    let rig = Rig::new().await;
    rig.spawn(run(rig.ctx.clone(), 1));
    doomed(&rig).await;
    rig.delete("/api/v1/namespaces/doomed").await;
    rig.until("/api/v1/namespaces/doomed", Value::is_null).await;
    assert!(rig.items("/api/v1/configmaps").await.is_empty());
    assert!(rig.items("/api/v1/secrets").await.is_empty());
}

#[tokio::test(start_paused = true)]
async fn it_waits_for_what_holds_its_content() {
    let rig = Rig::new().await;
    doomed(&rig).await;
    let held = json!({"metadata": {"name": "held", "finalizers": ["example.org/guard"]}});
    rig.post("/api/v1/namespaces/doomed/configmaps", held).await;
    rig.delete("/api/v1/namespaces/doomed").await;
    // The deletion was asked for before the controller started.
    rig.spawn(run(rig.ctx.clone(), 1));
    let remaining = |namespace: &Value| {
        let conditions = namespace["status"]["conditions"].as_array().cloned().unwrap_or_default();
        conditions.iter().any(|condition| {
            condition["type"] == "NamespaceFinalizersRemaining"
                && condition["message"] == "Some content in the namespace has finalizers remaining: example.org/guard in 1 resource instances"
        })
    };
    rig.until("/api/v1/namespaces/doomed", remaining).await;
    assert_eq!(rig.items("/api/v1/configmaps").await.len(), 1);
    let path = "/api/v1/namespaces/doomed/configmaps/held";
    let mut held = rig.get(path).await;
    held["metadata"]["finalizers"] = json!([]);
    rig.put(path, held).await;
    rig.until("/api/v1/namespaces/doomed", Value::is_null).await;
}

#[test]
fn pods_are_last() {
    let resource = |plural: &str, namespaced| {
        Arc::new(Resource { api_version: "v1".into(), plural: plural.into(), kind: String::new(), namespaced })
    };
    let resources = vec![resource("nodes", false), resource("pods", true), resource("secrets", true)];
    let order: Vec<_> = plan::order(resources).iter().map(|resource| resource.plural.clone()).collect();
    assert_eq!(order, ["secrets", "pods"]);
}
