//! Names that are taken, through the API server.
#![allow(clippy::unwrap_used)]

use super::*;
use crate::controllers::rig::Rig;

const DEPLOYMENT: &str = "/apis/apps/v1/namespaces/default/deployments/web";
const SETS: &str = "/apis/apps/v1/namespaces/default/replicasets";

/// A set that somebody else made, with the name that a Deployment's template gives after so many collisions.
async fn take(rig: &Rig, deployment: &Deployment, collisions: Option<i32>) -> String {
    let template = deployment.spec.as_ref().unwrap().template.clone();
    let name = format!("web-{}", template::hash(&template, collisions));
    let labels = json!({"app": "other"});
    let spec = json!({"replicas": 0, "selector": {"matchLabels": labels},
        "template": {"metadata": {"labels": labels}, "spec": {"containers": [{"name": "c", "image": "other"}]}}});
    rig.post(SETS, json!({"metadata": {"name": name}, "spec": spec})).await;
    name
}

#[tokio::test(start_paused = true)]
async fn a_name_that_is_taken_is_avoided_by_counting() {
    let rig = Rig::new().await;
    let template =
        json!({"metadata": {"labels": {"app": "web"}}, "spec": {"containers": [{"name": "c", "image": "a"}]}});
    let spec = json!({"replicas": 2, "selector": {"matchLabels": {"app": "web"}}, "template": template});
    let made = rig
        .post("/apis/apps/v1/namespaces/default/deployments", json!({"metadata": {"name": "web"}, "spec": spec}))
        .await;
    let deployment: Deployment = serde_json::from_value(made).unwrap();
    let taken = [take(&rig, &deployment, None).await, take(&rig, &deployment, Some(1)).await];
    rig.spawn(run(rig.ctx.clone(), Timing::default(), 1));
    let counted = |seen: &Value| seen["status"]["collisionCount"] == 2;
    rig.until(DEPLOYMENT, counted).await;
    let free = format!("web-{}", template::hash(&deployment.spec.as_ref().unwrap().template, Some(2)));
    let own = rig.until(&format!("{SETS}/{free}"), |set| !set.is_null()).await;
    assert_eq!(own["metadata"]["ownerReferences"][0]["uid"].as_str(), deployment.metadata.uid.as_deref());
    assert_eq!(own["spec"]["selector"]["matchLabels"]["pod-template-hash"], free["web-".len()..]);
    for name in taken {
        let other = rig.get(&format!("{SETS}/{name}")).await;
        assert!(other["metadata"]["ownerReferences"].is_null() && other["spec"]["replicas"] == 0, "{other:#}");
    }
    // What is there is found again, and not counted once more.
    rig.patch(DEPLOYMENT, json!({"metadata": {"labels": {"look": "again"}}})).await;
    rig.stays(DEPLOYMENT, Duration::from_secs(60), counted).await;
    assert_eq!(rig.items(SETS).await.len(), 3);
}
