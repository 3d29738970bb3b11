//! Pulls from a registry that has nothing, and hosts whose configuration relies on one.

use super::*;
use http_body_util::Full;
use hyper::{Request, Response, body::Incoming, service::service_fn};
use hyper_util::rt::TokioIo;
use std::convert::Infallible;

/// A registry over plain HTTP that knows repositories but no manifests, except that some want a login.
/// Returns its address.
async fn empty_registry() -> String {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap().to_string();
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let connection = hyper::server::conn::http1::Builder::new();
            tokio::spawn(connection.serve_connection(TokioIo::new(stream), service_fn(answer)));
        }
    });
    address
}

async fn answer(request: Request<Incoming>) -> std::result::Result<Response<Full<Bytes>>, Infallible> {
    let error = |status: u16, code: &str, message: &str| {
        let body = json!({"errors": [{"code": code, "message": message}]}).to_string();
        Response::builder().status(status).header("content-type", "application/json").body(Full::from(body))
    };
    let answer = match request.uri().path() {
        "/v2/" => Response::builder().status(200).body(Full::from("{}")),
        path if path.starts_with("/v2/secret/") => error(401, "UNAUTHORIZED", "authentication required"),
        path if path.contains("/manifests/") => error(404, "MANIFEST_UNKNOWN", "manifest unknown"),
        _ => error(404, "NAME_UNKNOWN", "repository name not known to registry"),
    };
    Ok(answer.unwrap())
}

#[tokio::test]
async fn what_a_registry_does_not_have_or_give() {
    let rig = Rig::shared().await;
    let podman = rig.podman("registry").await;
    let registry = empty_registry().await;
    let plain = RegistryAuth { tls_verify: Some(false), ..RegistryAuth::default() };
    let pull = async |image: String| match timeout(PATIENCE, podman.pull(&image, Some(&plain), None)).await.unwrap() {
        Err(RuntimeError::PullFailed { reason, message, .. }) => (reason, message),
        other => panic!("{other:?}"),
    };
    let (reason, message) = pull(format!("{registry}/web:9")).await;
    assert_eq!(reason, PullFailure::NotFound, "{message}");
    assert!(message.contains("manifest unknown"), "{message}");
    let (reason, message) = pull(format!("{registry}/secret/web:9")).await;
    assert_eq!(reason, PullFailure::Auth, "{message}");
    // Without leave to do so, it does not speak plain HTTP.
    let image = format!("{registry}/web:9");
    let refused = timeout(PATIENCE, podman.pull(&image, None, None)).await.unwrap().unwrap_err();
    assert!(matches!(&refused, RuntimeError::PullFailed { reason: PullFailure::Network, .. }), "{refused:?}");
}

#[tokio::test]
async fn a_configured_infra_image_that_cannot_be_pulled() {
    let registry = empty_registry().await;
    let rig = Rig::start().await;
    let service = rig.serve_configured(&format!("infra_image = \"{registry}/pause:3.1\"")).await;
    let podman = Podman::connect(&service.url, "infra").await.unwrap();
    let (made, id) = run(&podman, "infra", "hostname; sleep 600").await;
    assert!(made.ready && made.ips.len() == 1, "{made:?}");
    assert!(podman.inspect(&id).await.unwrap().state.is_running());
    // The second one does not ask the registry again, nor make another image.
    run(&podman, "infra", "sleep 600").await;
    let pause = |image: &ImageInfo| image.tags.iter().any(|tag| tag.contains("pause"));
    assert_eq!(podman.images().await.unwrap().into_iter().filter(pause).count(), 1);
}
