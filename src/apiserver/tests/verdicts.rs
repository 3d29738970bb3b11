//! The scheduler's last word on a pod, as it is served.

use super::Rig;
use crate::api::plan::Verdict;
use crate::api::verdict::{PodName, PodVerdict};
use crate::apiserver::User;
use http_body_util::Full;
use serde_json::json;

const PODS: &str = "/api/v1/namespaces/default/pods";
const VERDICT: &str = "/apis/selkie.dev/v1alpha1/namespaces/default/verdicts/web";

#[tokio::test]
async fn a_verdict_is_that_of_the_pod_of_this_name_now() {
    let rig = Rig::new().await;
    assert_eq!(rig.get(VERDICT).await.1["message"], "pods \"web\" not found");
    let pod = json!({"metadata": {"name": "web"}, "spec": {"containers": [{"name": "web", "image": "web:1"}]}});
    let (code, made) = rig.post(PODS, pod.clone()).await;
    assert_eq!(code, 201, "{made}");
    let (code, refused) = rig.get(VERDICT).await;
    assert_eq!((code, &refused["message"]), (404, &json!("verdicts.selkie.dev \"web\" not found")));

    let uid = made["metadata"]["uid"].as_str().unwrap().to_owned();
    let metadata = PodName { namespace: "default".into(), name: "web".into(), uid };
    let verdict = Verdict { message: "0/0".into(), ..Verdict::default() };
    rig.server.verdicts.keep(PodVerdict { kind: "Verdict".into(), metadata, verdict, ..PodVerdict::default() });
    let (code, said) = rig.get(VERDICT).await;
    assert_eq!((code, &said["message"], &said["metadata"]["name"]), (200, &json!("0/0"), &json!("web")));
    assert_eq!(rig.delete(VERDICT).await.0, 405);
    assert_eq!(rig.get("/apis/selkie.dev/v1alpha1/verdicts").await.0, 404);

    // Another pod of that name is another pod.
    rig.delete(&format!("{PODS}/web?gracePeriodSeconds=0")).await;
    rig.post(PODS, pod).await;
    assert_eq!(rig.get(VERDICT).await.0, 404);
}

#[tokio::test]
async fn a_verdict_needs_a_role() {
    let rig = Rig::new().await;
    let request = ::http::Request::get(VERDICT).body(Full::new(bytes::Bytes::new())).unwrap();
    let response = rig.server.handle(&User::plain("ann"), request).await;
    assert_eq!(response.status().as_u16(), 403);
}
