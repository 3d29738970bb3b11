//! Requests that kubectl does not make, as a careless or hostile client would send them.

use crate::Server;
use selkie::apiserver::{ApiServer, Body};
use serde_json::{Value, json};
use std::sync::Arc;

const APPLY: &str = "application/apply-patch+yaml";
const CONFIGMAPS: &str = "/api/v1/namespaces/default/configmaps";

/// Code and body (`Null` unless it is JSON) of a request with the administrator's token.
pub async fn ask(
    server: &Server,
    method: &str,
    path: &str,
    headers: &[(&str, &str)],
    body: impl Into<Vec<u8>>,
) -> (u16, Value) {
    let mut request = http::Request::builder().method(method).uri(path);
    request = request.header("Authorization", format!("Bearer {}", server.token));
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    let body = http_body_util::Full::new(bytes::Bytes::from(body.into()));
    let api: &Arc<ApiServer> = &server.api;
    let response: http::Response<Body> = api.handle_authenticated(request.body(body).unwrap()).await;
    let code = response.status().as_u16();
    let bytes = http_body_util::BodyExt::collect(response.into_body()).await.unwrap().to_bytes();
    (code, serde_json::from_slice(&bytes).unwrap_or_default())
}

pub async fn refused(server: &Server, request: (&str, &str), media: &str, body: &str, code: u16, message: &str) {
    let (found, status) = ask(server, request.0, request.1, &[("Content-Type", media)], body).await;
    let text = status["message"].as_str().unwrap_or_default();
    assert!(found == code && text.contains(message), "{request:?} {body}: {found} {text:?} lacks {message:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_apply_names_what_it_does_not_know() {
    let server = Server::start().await;
    let path = format!("{CONFIGMAPS}/a?fieldManager=m");
    let ask = ("PATCH", path.as_str());
    let intent = |more: &str| format!("apiVersion: v1\nkind: ConfigMap\nmetadata: {{name: a}}\n{more}");
    let untyped = "failed to create typed patch object (/a; /v1, Kind=ConfigMap): .bogus: field not declared in schema";
    refused(&server, ask, APPLY, &intent("bogus: 1\n"), 500, untyped).await;
    refused(&server, ask, APPLY, "data: {a: z}", 400, "Incorrect version specified in apply patch").await;
    refused(&server, ask, APPLY, "apiVersion: v1\nkind: Secret", 400, "invalid object type: /v1, Kind=Secret").await;
    refused(&server, ask, APPLY, "{", 400, "error decoding YAML").await;
    let unnamed = format!("{CONFIGMAPS}/a");
    refused(&server, ("PATCH", &unnamed), APPLY, &intent(""), 422, "fieldManager: Required value").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn patches_are_json_and_never_forced() {
    let server = Server::start().await;
    let path = format!("{CONFIGMAPS}/a?force=true");
    let merge = "application/merge-patch+json";
    let why = "force: Forbidden: may not be specified for non-apply patch";
    refused(&server, ("PATCH", &path), merge, "{}", 422, why).await;
    let path = format!("{CONFIGMAPS}/a");
    refused(&server, ("PATCH", &path), merge, "{", 400, "error decoding patch: EOF").await;
    refused(&server, ("PATCH", &path), merge, "a: b", 400, "error decoding patch").await;
    refused(&server, ("PATCH", &path), "foo/bar", "{}", 415, "accepted media types include").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn scopes_are_kept_apart() {
    let server = Server::start().await;
    let unknown = "the server could not find the requested resource";
    refused(&server, ("GET", "/api/v1/namespaces/default/nodes"), "", "", 404, unknown).await;
    refused(&server, ("GET", "/api/v1/configmaps/a"), "", "", 404, unknown).await;
    let method = "the server does not allow this method";
    refused(&server, ("POST", "/api/v1/configmaps"), "", "{}", 405, method).await;
    refused(&server, ("DELETE", "/api/v1/configmaps"), "", "", 405, method).await;
    assert_eq!(ask(&server, "GET", "/api/v1/configmaps", &[], "").await.0, 200);
    assert_eq!(ask(&server, "GET", "/api/v1/namespaces/default", &[], "").await.0, 200);
}

#[tokio::test(flavor = "multi_thread")]
async fn hostile_bodies_get_clean_answers() {
    let server = Server::start().await;
    let json = "application/json";
    let post = ("POST", CONFIGMAPS);
    refused(&server, post, json, &"[".repeat(200_000), 400, "").await;
    refused(&server, post, json, &"{\"a\":".repeat(100_000), 400, "json parse error").await;
    refused(&server, post, json, &"a".repeat(4 << 20), 413, "limit is 3145728").await;
    refused(&server, post, "application/cbor", "x", 415, "unknown format").await;
    let protobuf = [("Content-Type", "application/vnd.kubernetes.protobuf")];
    for bytes in
        [b"zzzz".to_vec(), b"k8s\0\xff\xff\xff\xff\xff\xff".to_vec(), b"k8s\0\x12\xff\xff\xff\xff\x0f".to_vec()]
    {
        assert_eq!(ask(&server, "POST", CONFIGMAPS, &protobuf, bytes).await.0, 400);
    }
    let invalid = b"{\"metadata\":{\"name\":\"\xff\xfe\"}}".to_vec();
    assert_eq!(ask(&server, "POST", CONFIGMAPS, &[], invalid).await.0, 400);
    let bomb: String = (b'b'..b'k')
        .map(|c| {
            let (name, last) = (c as char, (c - 1) as char);
            format!("{name}: &{name} [{}]\n", vec![format!("*{last}"); 10].join(","))
        })
        .collect();
    let bomb = format!("a: &a [x]\n{bomb}");
    refused(&server, post, "application/yaml", &bomb, 400, "budget").await;
    let query = format!("{CONFIGMAPS}?{}&labelSelector={}", "a=b&".repeat(5000), "(".repeat(5000));
    assert_eq!(ask(&server, "GET", &query, &[], "").await.0, 400);
    assert_eq!(ask(&server, "GET", "/livez", &[], "").await.0, 200);
}

#[tokio::test(flavor = "multi_thread")]
async fn masters_act_as_others() {
    let server = Server::start().await;
    let bob = [("Impersonate-User", "bob"), ("Impersonate-Group", "devs")];
    let (code, status) = ask(&server, "GET", CONFIGMAPS, &bob, "").await;
    let expected = "configmaps is forbidden: User \"bob\" cannot list resource \"configmaps\" in API group \"\" in the namespace \"default\"";
    assert_eq!((code, &status["message"]), (403, &json!(expected)));
    let master = [("Impersonate-User", "root"), ("Impersonate-Group", "system:masters")];
    assert_eq!(ask(&server, "GET", CONFIGMAPS, &master, "").await.0, 200);
    assert_eq!(ask(&server, "GET", CONFIGMAPS, &[("Impersonate-Group", "x")], "").await.0, 400);
    let answer = server.kubectl(&["auth", "can-i", "create", "pods", "--as=bob"], "");
    assert_eq!((answer.ok, answer.text.trim()), (false, "no"));
    server.says(&["auth", "whoami", "--as=bob", "--as-group=devs"], "", "[devs system:authenticated]");
}

#[tokio::test(flavor = "multi_thread")]
async fn large_lists_come_in_pages() {
    let server = Server::start().await;
    for n in 0..1203 {
        let body = json!({"metadata": {"name": format!("c{n:04}"), "labels": {"even": (n % 2 == 0).to_string()}}});
        assert_eq!(ask(&server, "POST", CONFIGMAPS, &[], body.to_string()).await.0, 201);
    }
    let count = |text: String| text.lines().count();
    assert_eq!(count(server.ok(&["get", "cm", "-o", "name"], "")), 1203);
    assert_eq!(count(server.ok(&["get", "cm", "-o", "name", "--chunk-size=100", "-l", "even=true"], "")), 602);
    let (_, page) = ask(&server, "GET", &format!("{CONFIGMAPS}?limit=500"), &[], "").await;
    assert_eq!(page["metadata"]["remainingItemCount"], 703);
    let next = format!("{CONFIGMAPS}?limit=500&continue={}", page["metadata"]["continue"].as_str().unwrap());
    // A later page shows the state of the first.
    assert_eq!(ask(&server, "DELETE", &format!("{CONFIGMAPS}/c0700"), &[], "").await.0, 200);
    let (_, second) = ask(&server, "GET", &next, &[], "").await;
    assert_eq!(second["items"][200]["metadata"]["name"], "c0700");
    assert_eq!(second["metadata"]["resourceVersion"], page["metadata"]["resourceVersion"]);
}
