//! Revisions that are too old, and answers in YAML.

use crate::Server;
use crate::raw::ask;

const CONFIGMAPS: &str = "/api/v1/namespaces/default/configmaps";

#[tokio::test(flavor = "multi_thread")]
async fn what_was_compacted_is_gone() {
    let server = Server::start().await;
    for name in ["a", "b", "c"] {
        server.ok(&["create", "cm", name], "");
    }
    let (_, page) = ask(&server, "GET", &format!("{CONFIGMAPS}?limit=1"), &[], "").await;
    let token = page["metadata"]["continue"].as_str().unwrap().to_string();
    server.ok(&["delete", "cm", "c"], "");
    server.store.compact(server.store.revision()).await.unwrap();

    let (code, gone) = ask(&server, "GET", &format!("{CONFIGMAPS}?limit=1&continue={token}"), &[], "").await;
    assert_eq!((code, gone["reason"].as_str()), (410, Some("Expired")));
    let fresh = gone["metadata"]["continue"].as_str().unwrap();
    let (code, rest) = ask(&server, "GET", &format!("{CONFIGMAPS}?limit=1&continue={fresh}"), &[], "").await;
    assert_eq!((code, &rest["items"][0]["metadata"]["name"]), (200, &"b".into()));

    let exact = format!("{CONFIGMAPS}?resourceVersion=2&resourceVersionMatch=Exact");
    let (code, gone) = ask(&server, "GET", &exact, &[], "").await;
    assert_eq!(code, 410);
    assert_eq!(gone["message"], "The resourceVersion for the provided list is too old.");
    let watch = format!("{CONFIGMAPS}?watch=1&resourceVersion=1&timeoutSeconds=2");
    let (code, event) = ask(&server, "GET", &watch, &[], "").await;
    assert_eq!((code, &event["type"], &event["object"]["code"]), (200, &"ERROR".into(), &410.into()));
    let message = event["object"]["message"].as_str().unwrap();
    assert!(message.starts_with("too old resource version: 1 ("), "{message}");
}

#[tokio::test(flavor = "multi_thread")]
async fn yaml_keeps_what_is_text() {
    let server = Server::start().await;
    server.ok(&["create", "cm", "a", "--from-literal=on=yes"], "");
    let request = http::Request::get(format!("{CONFIGMAPS}/a"))
        .header("Authorization", format!("Bearer {}", server.token))
        .header("Accept", "application/yaml")
        .body(http_body_util::Empty::<bytes::Bytes>::new())
        .unwrap();
    let answer = server.api.handle_authenticated(request).await;
    assert_eq!(answer.headers()["content-type"], "application/yaml");
    let body = http_body_util::BodyExt::collect(answer.into_body()).await.unwrap().to_bytes();
    let text = String::from_utf8(body.to_vec()).unwrap();
    assert!(text.contains("\"on\": \"yes\"") && text.contains("creationTimestamp: \"20"), "{text}");
}

#[tokio::test(flavor = "multi_thread")]
async fn head_has_headers_and_no_body() {
    let server = Server::start().await;
    let request = http::Request::head("/version").body(http_body_util::Empty::<bytes::Bytes>::new()).unwrap();
    let answer = server.api.handle_authenticated(request).await;
    assert!(answer.headers()["content-length"].to_str().unwrap().parse::<u64>().unwrap() > 10);
    assert!(http_body_util::BodyExt::collect(answer.into_body()).await.unwrap().to_bytes().is_empty());
}
