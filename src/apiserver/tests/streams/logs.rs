//! `pods/x/log`.

use super::rig;
use crate::apiserver::User;
use futures::AsyncBufReadExt;
use k8s_openapi::api::core::v1::Pod;
use kube::Api;
use kube::api::LogParams;

const PODS: &str = "/api/v1/namespaces/default/pods";

#[tokio::test]
async fn options_reach_the_kubelet() {
    let rig = rig().await;
    let (code, text) = rig.get(&format!("{PODS}/one/log")).await;
    assert_eq!((code, text.as_str().unwrap()), (200, "n c tail=None limit=None since=None false\ntwo\n"));
    let query = "container=a&tailLines=3&limitBytes=9&sinceTime=2026-01-01T00:00:00Z&timestamps=true&follow=false";
    let (_, text) = rig.get(&format!("{PODS}/web/log?{query}")).await;
    assert_eq!(text.as_str().unwrap(), "n a tail=Some(3) limit=Some(9) since=Some(2026-01-01T00:00:00Z) true\ntwo\n");
    let (_, text) = rig.get(&format!("{PODS}/one/log?sinceSeconds=60")).await;
    assert!(text.as_str().unwrap().contains("since=Some(20"), "{text}");
    let (_, text) = rig.get(&format!("{PODS}/one/log?stream=Stderr&restartCount=3")).await;
    assert_eq!(text.as_str().unwrap(), "(Some(Stderr), Some(3))\ntwo\n");
    let (_, text) = rig.get(&format!("{PODS}/one/log?stream=All&tailLines=3")).await;
    assert!(text.as_str().unwrap().starts_with("n c tail=Some(3)"), "{text}");
    let (_, text) = rig.get(&format!("{PODS}/one/log?previous=true")).await;
    assert!(text.as_str().unwrap().ends_with("two\nthe log breaks off: no such file\n"), "{text}");
}

#[tokio::test]
async fn refusals() {
    let rig = rig().await;
    let refused = async |path: &str, code: u16, expected: &str| {
        let (found, status) = rig.get(&format!("{PODS}/{path}")).await;
        assert_eq!((found, status["message"].as_str().unwrap_or_default()), (code, expected), "{path}");
    };
    assert_eq!(rig.get(&format!("{PODS}/homeless/log")).await, (204, "".into()));
    refused("none/log", 404, "pods \"none\" not found").await;
    refused("web/log", 400, "a container name must be specified for pod web, choose one of: [a b]").await;
    refused("web/log?container=x", 400, "container x is not valid for pod web").await;
    let waiting = "container \"b\" in pod \"web\" is waiting to start: ContainerCreating";
    refused("web/log?container=b", 400, waiting).await;
    let negative = "PodLogOptions \"one\" is invalid: tailLines: Invalid value: -1: must be greater than or equal to 0";
    refused("one/log?tailLines=-1", 422, negative).await;
    let both =
        "PodLogOptions \"one\" is invalid: : Forbidden: at most one of `sinceTime` or `sinceSeconds` may be specified";
    refused("one/log?sinceSeconds=1&sinceTime=2026-01-01T00:00:00Z", 422, both).await;
    let stream = "PodLogOptions \"one\" is invalid: stream: Unsupported value: \"stdout\": supported values: \"All\", \"Stderr\", \
                  \"Stdout\"";
    refused("one/log?stream=stdout", 422, stream).await;
    let tail = "PodLogOptions \"one\" is invalid: : Forbidden: `tailLines` and specific `stream` are mutually exclusive for now";
    refused("one/log?stream=Stdout&tailLines=1", 422, tail).await;
    assert_eq!(rig.get(&format!("{PODS}/one/log?restartCount=-1")).await.0, 400);
    assert_eq!(rig.get(&format!("{PODS}/one/log?sinceTime=yesterday")).await.0, 400);
    assert_eq!(rig.get(&format!("{PODS}/one/log?limitBytes=x")).await.0, 400);
}

#[tokio::test]
async fn a_followed_log_streams_to_a_client_in_the_process() {
    let rig = rig().await;
    let pods: Api<Pod> =
        Api::default_namespaced(kube::Client::new(rig.server.service(User::master("test")), "default"));
    let follow = LogParams { follow: true, ..LogParams::default() };
    let mut lines = pods.log_stream("one", &follow).await.unwrap();
    let mut line = String::new();
    lines.read_line(&mut line).await.unwrap();
    lines.read_line(&mut line).await.unwrap();
    assert!(line.ends_with("\ntwo\n"), "{line}");
}
