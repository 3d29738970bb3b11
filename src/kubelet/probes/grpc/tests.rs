//! Health checks against a small server without TLS.

#![allow(clippy::unwrap_used)]

use super::*;
use futures::stream;
use http::{HeaderValue, Response};
use http_body_util::{StreamBody, combinators::BoxBody};
use hyper::body::{Frame, Incoming};
use hyper::service::service_fn;
use std::convert::Infallible;
use tokio::io::AsyncWriteExt;
use tokio::net::TcpListener;

const SECOND: Duration = Duration::from_secs(1);
const SOON: Duration = Duration::from_secs(20);

/// One with a message, one that is only headers and trailers in one, or no gRPC at all.
fn reply(data: Option<&[u8]>, trailers: &[(&'static str, &'static str)]) -> Response<BoxBody<Bytes, Infallible>> {
    let pairs = trailers.iter().map(|(name, value)| (name.parse().unwrap(), HeaderValue::from_static(value)));
    let trailers: HeaderMap = pairs.collect();
    let mut frames = Vec::new();
    let mut answer = Response::builder().header("content-type", "application/grpc+proto");
    match data {
        Some(data) => frames.extend([Frame::data(framed(data)), Frame::trailers(trailers)]),
        None => answer.headers_mut().unwrap().extend(trailers),
    }
    answer.body(BodyExt::boxed(StreamBody::new(stream::iter(frames.into_iter().map(Ok))))).unwrap()
}

async fn health(request: Request<Incoming>) -> Result<Response<BoxBody<Bytes, Infallible>>, Infallible> {
    let (head, body) = request.into_parts();
    let asked = body.collect().await.unwrap().to_bytes();
    let service = unframed(&asked).unwrap();
    let service = String::from_utf8(service.get(2..).unwrap_or_default().to_vec()).unwrap();
    let expected = [("te", "trailers"), ("content-type", "application/grpc"), ("user-agent", "kube-probe/1.36")];
    let proper = expected.iter().all(|(name, value)| head.headers[*name] == *value)
        && head.headers.contains_key("grpc-timeout")
        && (head.method.as_str(), head.uri.path()) == ("POST", "/grpc.health.v1.Health/Check");
    let ok = [("grpc-status", "0")];
    Ok(match service.as_str() {
        _ if !proper => reply(None, &[("grpc-status", "3"), ("grpc-message", "that is no health check")]),
        "" | "web" => reply(Some(&[0x08, 1]), &ok),
        "down" => reply(Some(&[0x08, 2]), &ok),
        "silent" => reply(Some(&[]), &ok),
        "odd" => reply(Some(&[0x12, 1, 0, 0x08, 9]), &ok),
        "garbage" => reply(Some(&[0x08]), &ok),
        "lost" => reply(None, &[("grpc-status", "5"), ("grpc-message", "unknown service: 100%25")]),
        "old" => reply(None, &[("grpc-status", "12"), ("grpc-message", "unknown service grpc.health.v1.Health")]),
        "slow" => {
            tokio::time::sleep(SOON).await;
            reply(Some(&[0x08, 1]), &ok)
        }
        _ => {
            let page = StreamBody::new(stream::iter([Ok(Frame::data(Bytes::from("no such page")))]));
            let answer = Response::builder().status(404).header("content-type", "text/plain");
            answer.body(BodyExt::boxed(page)).unwrap()
        }
    })
}

async fn serve(listener: TcpListener) {
    while let Ok((stream, _)) = listener.accept().await {
        let server = hyper::server::conn::http2::Builder::new(TokioExecutor::new());
        tokio::spawn(server.serve_connection(TokioIo::new(stream), service_fn(health)));
    }
}

async fn listener() -> (TcpListener, u16) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    (listener, port)
}

fn way() -> Way {
    Way { ip: "127.0.0.1".into(), host_network: true, local: true, ..Way::default() }
}

fn failed(text: &str) -> Result<(), String> {
    Err(text.into())
}

#[tokio::test]
async fn services_are_asked_as_kubernetes_asks_them() {
    let (listener, port) = listener().await;
    tokio::spawn(serve(listener));
    let asked = async |service: &str| check(&way(), port, service, SOON).await;
    assert_eq!(asked("").await, Ok(()));
    assert_eq!(asked("web").await, Ok(()));
    assert_eq!(asked("down").await, failed("service unhealthy (responded with \"NOT_SERVING\")"));
    assert_eq!(asked("silent").await, failed("service unhealthy (responded with \"UNKNOWN\")"));
    assert_eq!(asked("odd").await, failed("service unhealthy (responded with \"9\")"));
    let broken = "error: health rpc probe failed: rpc error: code";
    let text = format!("{broken} = NotFound desc = unknown service: 100%");
    assert_eq!(asked("lost").await, failed(&text));
    let text = format!("{broken} = Internal desc = grpc: failed to unmarshal the received message");
    assert_eq!(asked("garbage").await, failed(&text));
    let text = "error: this server does not implement the grpc health protocol (grpc.health.v1.Health): ";
    assert_eq!(asked("old").await, failed(&format!("{text}unknown service grpc.health.v1.Health")));
    let page = "unexpected HTTP status code received from server: 404 (Not Found); \
        transport: received unexpected content-type \"text/plain\"";
    assert_eq!(asked("page").await, failed(&format!("{text}{page}")));
    let slow = check(&way(), port, "slow", SECOND).await;
    assert_eq!(slow, failed("timeout: health rpc did not complete within 1s"));
}

#[tokio::test]
async fn who_does_not_answer_yet_is_asked_until_the_time_is_up() {
    let (listener, port) = listener().await;
    drop(listener);
    let why = "within 1s: context deadline exceeded";
    let text = format!("timeout: failed to connect service \"127.0.0.1:{port}\" {why}");
    assert_eq!(check(&way(), port, "", SECOND).await, failed(&text), "refused");
    tokio::spawn(async move {
        tokio::time::sleep(Duration::from_millis(300)).await;
        serve(TcpListener::bind(("127.0.0.1", port)).await.unwrap()).await;
    });
    assert_eq!(check(&way(), port, "", SOON).await, Ok(()), "it listens a little later");
}

#[tokio::test]
async fn another_protocol_is_no_connection() {
    let (listener, port) = listener().await;
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            _ = stream.write_all(b"HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n").await;
        }
    });
    let text = check(&way(), port, "", SECOND).await.unwrap_err();
    assert!(text.starts_with("timeout: failed to connect service \"127.0.0.1:"), "{text}");
}

#[test]
fn long_names_and_times() {
    let name = "s".repeat(300);
    let message = question(&name);
    assert_eq!((&message[..3], &message[3..]), (&[0x0a, 0xac, 0x02][..], name.as_bytes()));
    let written = [1, 90, 3600].map(|seconds| go_duration(Duration::from_secs(seconds)));
    assert_eq!(written, ["1s", "1m30s", "1h0m0s"]);
}
