//! Services and pods in an API server.
#![allow(clippy::unwrap_used)]
use super::*;
use crate::controllers::rig::Rig;

const NAMESPACE: &str = "/api/v1/namespaces/default";
const SLICES: &str = "/apis/discovery.k8s.io/v1/namespaces/default/endpointslices";

async fn pod(rig: &Rig, name: &str, ip: &str) {
    let spec = json!({"nodeName": "n", "containers": [{"name": "c", "image": "i", "ports": [{"name": "web", "containerPort": 8080}]}]});
    rig.post(&format!("{NAMESPACE}/pods"), json!({"metadata": {"name": name, "labels": {"app": "web"}}, "spec": spec}))
        .await;
    let status = json!({"phase": "Running", "podIP": ip, "podIPs": [{"ip": ip}], "conditions": [{"type": "Ready", "status": "True"}]});
    rig.status(&format!("{NAMESPACE}/pods/{name}"), status).await;
}

#[tokio::test(start_paused = true)]
async fn endpoints_follow_pods() {
    let rig = Rig::new().await;
    rig.spawn(run(rig.ctx.clone(), 2));
    let spec = json!({"selector": {"app": "web"}, "ports": [{"port": 80, "targetPort": "web"}]});
    rig.post(
        &format!("{NAMESPACE}/services"),
        json!({"metadata": {"name": "web", "labels": {"a": "b"}}, "spec": spec}),
    )
    .await;
    rig.until(SLICES, |slices| slices["items"][0]["endpoints"] == json!([])).await;
    pod(&rig, "one", "10.0.0.1").await;
    pod(&rig, "two", "10.0.0.2").await;
    let endpoints = |count: usize| {
        move |slices: &Value| {
            slices["items"][0]["endpoints"].as_array().is_some_and(|endpoints| endpoints.len() == count)
        }
    };
    let slices = rig.until(SLICES, endpoints(2)).await;
    assert_eq!(slices["items"].as_array().unwrap().len(), 1);
    let slice = &slices["items"][0];
    assert_eq!(slice["ports"], json!([{"name": "", "port": 8080, "protocol": "TCP"}]));
    assert_eq!(slice["metadata"]["labels"]["kubernetes.io/service-name"], "web");
    assert_eq!(
        (&slice["metadata"]["labels"]["a"], &slice["metadata"]["ownerReferences"][0]["name"]),
        (&json!("b"), &json!("web"))
    );
    assert_eq!(slice["endpoints"][0]["nodeName"], "n");
    let legacy =
        rig.until(&format!("{NAMESPACE}/endpoints/web"), |found| found["subsets"][0]["addresses"][1].is_object()).await;
    assert_eq!(legacy["subsets"][0]["ports"], json!([{"port": 8080, "protocol": "TCP"}]));
    // Nothing changes, nothing is written.
    rig.stays(SLICES, Duration::from_secs(60), |now| now["items"] == slices["items"]).await;
    rig.delete(&format!("{NAMESPACE}/pods/one?gracePeriodSeconds=0")).await;
    rig.until(SLICES, endpoints(1)).await;
    rig.delete(&format!("{NAMESPACE}/services/web")).await;
    rig.until(&format!("{NAMESPACE}/endpoints/web"), Value::is_null).await;
}
