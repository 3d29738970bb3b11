//! HTTP checks against small servers.

#![allow(clippy::unwrap_used)]

use super::*;
use k8s_openapi::api::core::v1::HTTPHeader;
use std::sync::Arc;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::TcpListener;
use tokio::sync::mpsc::{UnboundedReceiver, unbounded_channel};
use tokio_rustls::TlsAcceptor;

const SOON: Duration = Duration::from_secs(20);

/// Answers requests with what `answer` makes of their paths, and tells what they were.
async fn server(tls: Option<TlsAcceptor>, answer: fn(&str) -> String) -> (u16, UnboundedReceiver<String>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let (tell, told) = unbounded_channel();
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let (tls, tell) = (tls.clone(), tell.clone());
            tokio::spawn(async move {
                let request = match tls {
                    Some(tls) => serve(tls.accept(stream).await.ok()?, answer).await,
                    None => serve(stream, answer).await,
                };
                tell.send(request?).ok()
            });
        }
    });
    (port, told)
}

async fn serve(mut stream: impl AsyncRead + AsyncWrite + Unpin, answer: fn(&str) -> String) -> Option<String> {
    let mut request = Vec::new();
    while !request.ends_with(b"\r\n\r\n") {
        request.push(stream.read_u8().await.ok()?);
    }
    let request = String::from_utf8(request).unwrap();
    let answer = answer(request.split(' ').nth(1).unwrap_or_default());
    stream.write_all(answer.as_bytes()).await.ok()?;
    if answer.ends_with("never") {
        tokio::time::sleep(SOON).await;
    }
    stream.shutdown().await.ok()?;
    Some(request)
}

fn status(code: &str, more: &str, body: &str) -> String {
    format!("HTTP/1.1 {code} x\r\n{more}Content-Length: {}\r\n\r\n{body}", body.len())
}

fn way() -> Way {
    Way { ip: "127.0.0.1".into(), host_network: true, local: true, ..Way::default() }
}

fn action(path: &str) -> HTTPGetAction {
    HTTPGetAction { path: Some(path.into()), ..HTTPGetAction::default() }
}

fn with_headers(path: &str, headers: &[(&str, &str)]) -> HTTPGetAction {
    let header = |(name, value): &(&str, &str)| HTTPHeader { name: (*name).into(), value: (*value).into() };
    HTTPGetAction { http_headers: Some(headers.iter().map(header).collect()), ..action(path) }
}

fn failed(text: &str) -> Result<Option<String>, Miss> {
    Err(Miss::Failed(text.into()))
}

#[tokio::test]
async fn codes_from_200_to_399_pass() {
    let (port, _told) = server(None, |path| status(&path[1..], "", "words")).await;
    for code in ["200", "204", "299"] {
        assert_eq!(http_check(&action(code), &way(), port, SOON).await, Ok(None), "{code}");
    }
    for code in ["301", "304", "399"] {
        let warning = http_check(&action(code), &way(), port, SOON).await.unwrap().unwrap();
        assert!(warning.starts_with("Probe terminated redirects, Response body: "), "{code}: {warning}");
    }
    for code in ["400", "404", "500", "503"] {
        let text = format!("HTTP probe failed with statuscode: {code}");
        assert_eq!(http_check(&action(code), &way(), port, SOON).await, failed(&text));
    }
}

#[tokio::test]
async fn headers_are_those_of_kubernetes_unless_given() {
    let (port, mut told) = server(None, |_| status("200", "", "")).await;
    let mut lines = async |get: HTTPGetAction, purpose| {
        http::get(&get, &way(), port, purpose, SOON).await.unwrap();
        let request = told.recv().await.unwrap();
        let mut lines = request.trim_end().lines().map(str::to_owned).collect::<Vec<_>>();
        lines[1..].sort_by_key(|line| line.to_lowercase());
        lines.iter_mut().skip(1).for_each(|line| *line = line.replace(&port.to_string(), "PORT").to_lowercase());
        lines
    };
    let plain = ["accept: */*", "connection: close", "host: 127.0.0.1:port", "user-agent: kube-probe/1.36"];
    let asked = lines(action("/healthz?deep=1"), "probe").await;
    assert_eq!((asked[0].as_str(), &asked[1..]), ("GET /healthz?deep=1 HTTP/1.1", &plain.map(String::from)[..]));
    let asked = lines(action("no slash"), "lifecycle").await;
    assert_eq!((asked[0].as_str(), asked[4].as_str()), ("GET /no%20slash HTTP/1.1", "user-agent: kube-lifecycle/1.36"));
    let given = [("host", "web.example"), ("user-agent", "mine"), ("Accept", ""), ("X-One", "a"), ("X-One", "b")];
    let asked = lines(with_headers("/", &given), "probe").await;
    assert_eq!(asked[1..], ["connection: close", "host: web.example", "user-agent: mine", "x-one: a", "x-one: b"]);
}

#[tokio::test]
async fn a_host_is_asked_instead_of_the_pod() {
    let (port, mut told) = server(None, |_| status("200", "", "")).await;
    let elsewhere = Way { ip: "192.0.2.1".into(), host_network: false, ..way() };
    let get = HTTPGetAction { host: Some("localhost".into()), ..action("/") };
    assert_eq!(http_check(&get, &elsewhere, port, SOON).await, Ok(None));
    assert!(told.recv().await.unwrap().to_lowercase().contains(&format!("host: localhost:{port}\r\n")));
}

#[tokio::test]
async fn certificates_are_not_checked() {
    let made = rcgen::generate_simple_self_signed(["another.example".to_owned()]).unwrap();
    let key = rustls::pki_types::PrivateKeyDer::try_from(made.signing_key.serialize_der()).unwrap();
    let config = rustls::ServerConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()))
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![made.cert.der().clone()], key)
        .unwrap();
    let (port, _told) = server(Some(Arc::new(config).into()), |_| status("200", "", "")).await;
    let secure = HTTPGetAction { scheme: Some("HTTPS".into()), ..action("/") };
    assert_eq!(http_check(&secure, &way(), port, SOON).await, Ok(None));
    let plain = http_check(&action("/"), &way(), port, SOON).await.unwrap_err().text();
    assert!(plain.starts_with(&format!("Get \"http://127.0.0.1:{port}/\": ")), "{plain}");
}

#[tokio::test]
async fn redirects_lead_to_the_same_host_only() {
    let (port, mut told) = server(None, |path| match path {
        "/good" => status("302", "Location: /fine\r\n", ""),
        "/bad" => status("307", "Location: broken\r\n", ""),
        "/fine" => status("200", "", ""),
        "/away" => status("302", "Location: http://192.0.2.1/\r\n", "over there"),
        "/round" => status("301", "Location: /round\r\n", ""),
        "/named" => status("308", "Location: //127.0.0.1:1/\r\n", ""),
        _ => status("500", "", ""),
    })
    .await;
    let get = with_headers("/good", &[("Host", "web.example")]);
    assert_eq!(http_check(&get, &way(), port, SOON).await, Ok(None));
    told.recv().await.unwrap();
    let second = told.recv().await.unwrap().to_lowercase();
    assert!(second.starts_with("get /fine ") && second.contains("host: web.example\r\n"), "{second}");
    assert!(second.contains(&format!("referer: http://127.0.0.1:{port}/good\r\n")), "{second}");
    let text = "HTTP probe failed with statuscode: 500";
    assert_eq!(http_check(&action("/bad"), &way(), port, SOON).await, failed(text));
    let warning = "Probe terminated redirects, Response body: over there";
    assert_eq!(http_check(&action("/away"), &way(), port, SOON).await, Ok(Some(warning.into())));
    let text = format!("Get \"http://127.0.0.1:{port}/round\": stopped after 10 redirects");
    assert_eq!(http_check(&action("/round"), &way(), port, SOON).await, failed(&text));
    let text = "Get \"http://127.0.0.1:1/\": dial tcp 127.0.0.1:1: connect: connection refused";
    assert_eq!(http_check(&action("/named"), &way(), port, SOON).await, failed(text), "another port of that host");
}

#[tokio::test]
async fn answers_that_break_off_or_do_not_come() {
    let (port, _told) = server(None, |path| match path {
        "/half" => "HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nhalf".into(),
        "/late" => "HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nnever".into(),
        "/silent" => "HTTP/1.1 200 OK\r\nX-Comes: never".into(),
        _ => String::new(),
    })
    .await;
    let short = Duration::from_millis(300);
    let half = http_check(&action("/half"), &way(), port, SOON).await;
    assert!(matches!(half, Err(Miss::Unknown(_))), "{half:?}");
    let late = http_check(&action("/late"), &way(), port, short).await;
    assert!(matches!(&late, Err(Miss::Unknown(text)) if text.contains("while reading body")), "{late:?}");
    let why = "context deadline exceeded (Client.Timeout exceeded while awaiting headers)";
    let text = format!("Get \"http://127.0.0.1:{port}/silent\": {why}");
    assert_eq!(http_check(&action("/silent"), &way(), port, short).await, failed(&text));
    let text = format!("Get \"http://127.0.0.1:{port}/closed\": EOF");
    assert_eq!(http_check(&action("/closed"), &way(), port, SOON).await, failed(&text));
}
