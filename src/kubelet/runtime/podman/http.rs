//! A thin HTTP/1.1 client for a Podman service: one connection per request, every call with a
//! deadline, every failure with its method, object and Podman's own words.
//!
//! A connection per request costs 0.1 ms on a socket and spares us every question of reuse: a hung
//! call, a restarted service or a hijacked stream concerns nobody else.

use super::fault;
use crate::kubelet::runtime::{Result, RuntimeError};
use bytes::Bytes;
use http::{Method, StatusCode, header};
use http_body_util::{BodyExt, Full};
use hyper::{body::Incoming, client::conn::http1, upgrade::Upgraded};
use hyper_util::rt::TokioIo;
use rustix::net::sockopt;
use serde::{Serialize, de::DeserializeOwned};
use std::{fmt::Write, path::PathBuf, time::Duration};
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::{TcpStream, UnixStream},
    time::timeout,
};

/// For calls that Podman answers from its database.
pub const QUICK: Duration = Duration::from_secs(20);
/// For calls that start or end processes; a busy host starts a container in seconds.
pub const SLOW: Duration = Duration::from_secs(120);
const CONNECT: Duration = Duration::from_secs(5);
/// The largest answer read into memory, a listing of thousands of containers being a few MB.
const LARGEST_ANSWER: usize = 256 << 20;

/// Where a Podman service listens.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Endpoint {
    Unix(PathBuf),
    /// `host:port`
    Tcp(String),
}

impl Endpoint {
    /// `unix:///path`, `tcp://host:port` or `http://host:port`.
    pub fn parse(url: &str) -> Result<Self> {
        let bad = |why: &str| RuntimeError::Invalid {
            object: format!("host address \"{url}\""),
            message: format!("{why}; give unix:///path/to/podman.sock or tcp://host:port"),
        };
        match url.split_once("://") {
            Some(("unix", path)) if path.starts_with('/') => Ok(Self::Unix(PathBuf::from(path))),
            Some(("unix", _)) => Err(bad("the socket's path must be absolute")),
            Some(("tcp" | "http", rest)) => {
                let host = rest.trim_end_matches('/');
                match host.rsplit_once(':') {
                    Some((name, port)) if !name.is_empty() && port.parse::<u16>().is_ok() => {
                        Ok(Self::Tcp(host.to_owned()))
                    }
                    _ => Err(bad("the port is missing")),
                }
            }
            Some((scheme, _)) => Err(bad(&format!("cannot speak {scheme}"))),
            None => Err(bad("not a URL")),
        }
    }
}

/// Speaks to one service.
#[derive(Clone, Debug)]
pub struct Client {
    endpoint: Endpoint,
    url: String,
}

impl Client {
    pub fn new(url: &str) -> Result<Self> {
        Ok(Self { endpoint: Endpoint::parse(url)?, url: url.to_owned() })
    }

    pub fn url(&self) -> &str {
        &self.url
    }

    pub fn endpoint(&self) -> &Endpoint {
        &self.endpoint
    }

    /// A call below `/libpod/`; `object` is what errors say it was about.
    pub fn call(&self, method: Method, path: impl Into<String>, object: impl Into<String>) -> Call<'_> {
        Call {
            client: self,
            method,
            path: path.into(),
            query: String::new(),
            headers: Vec::new(),
            body: Bytes::new(),
            deadline: QUICK,
            object: object.into(),
        }
    }

    pub fn get(&self, path: impl Into<String>, object: impl Into<String>) -> Call<'_> {
        self.call(Method::GET, path, object)
    }

    pub fn post(&self, path: impl Into<String>, object: impl Into<String>) -> Call<'_> {
        self.call(Method::POST, path, object)
    }

    pub fn delete(&self, path: impl Into<String>, object: impl Into<String>) -> Call<'_> {
        self.call(Method::DELETE, path, object)
    }

    fn unreachable(&self, cause: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> RuntimeError {
        RuntimeError::Unreachable { url: self.url.clone(), cause: cause.into() }
    }

    async fn connect(&self) -> Result<Box<dyn Io>> {
        let connecting = async {
            Ok::<Box<dyn Io>, std::io::Error>(match &self.endpoint {
                Endpoint::Unix(path) => Box::new(UnixStream::connect(path).await?),
                Endpoint::Tcp(address) => {
                    let stream = TcpStream::connect(address).await?;
                    stream.set_nodelay(true)?;
                    keep_alive(&stream)?;
                    Box::new(stream)
                }
            })
        };
        match timeout(CONNECT, connecting).await {
            Ok(Ok(stream)) => Ok(stream),
            Ok(Err(error)) => Err(self.unreachable(error)),
            Err(_) => Err(self.unreachable(format!("no connection within {CONNECT:?}"))),
        }
    }
}

/// A host that loses power says no goodbye, and who only reads, as from an event stream, would wait
/// for ever. Asks after five silent seconds; three unanswered questions end the connection.
fn keep_alive(stream: &TcpStream) -> std::io::Result<()> {
    sockopt::set_socket_keepalive(stream, true)?;
    sockopt::set_tcp_keepidle(stream, Duration::from_secs(5))?;
    sockopt::set_tcp_keepintvl(stream, Duration::from_secs(2))?;
    sockopt::set_tcp_keepcnt(stream, 3)?;
    Ok(())
}

trait Io: AsyncRead + AsyncWrite + Send + Unpin {}
impl<T: AsyncRead + AsyncWrite + Send + Unpin> Io for T {}

/// One request under construction.
#[must_use]
#[derive(Clone)]
pub struct Call<'a> {
    client: &'a Client,
    method: Method,
    path: String,
    query: String,
    headers: Vec<(header::HeaderName, String)>,
    body: Bytes,
    deadline: Duration,
    object: String,
}

impl Call<'_> {
    pub fn query(mut self, key: &str, value: impl std::fmt::Display) -> Self {
        self.query.push(if self.query.is_empty() { '?' } else { '&' });
        self.query.push_str(key);
        self.query.push('=');
        escape(&value.to_string(), &mut self.query);
        self
    }

    pub fn header(mut self, name: &'static str, value: String) -> Self {
        self.headers.push((header::HeaderName::from_static(name), value));
        self
    }

    pub fn body(mut self, content_type: &'static str, body: Bytes) -> Self {
        self.headers.push((header::CONTENT_TYPE, content_type.into()));
        self.body = body;
        self
    }

    pub fn json(self, value: &impl Serialize) -> Result<Self> {
        let body = serde_json::to_vec(value).map_err(|error| self.other("cannot be written as JSON", error))?;
        Ok(self.body("application/json", body.into()))
    }

    pub fn deadline(mut self, deadline: Duration) -> Self {
        self.deadline = deadline;
        self
    }

    /// What errors call this: `POST container web`.
    fn what(&self) -> String {
        format!("{} {}", self.method, self.object)
    }

    fn other(&self, message: &str, cause: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> RuntimeError {
        RuntimeError::Other {
            method: self.method.to_string(),
            object: self.object.clone(),
            message: message.to_owned(),
            cause: Some(cause.into()),
        }
    }

    /// Performs the call and decodes its answer.
    pub async fn fetch<T: DeserializeOwned>(self) -> Result<T> {
        let (call, answer) = self.whole().await?;
        serde_json::from_slice(&answer).map_err(|error| call.other("Podman's answer is not understood", error))
    }

    /// Performs the call for its effect. An answer of 304, "in that state already", is success.
    pub async fn send(self) -> Result<()> {
        self.whole().await.map(|_| ())
    }

    /// Performs the call and returns the answer's bytes.
    pub async fn bytes(self) -> Result<Bytes> {
        self.whole().await.map(|(_, bytes)| bytes)
    }

    async fn whole(self) -> Result<(Self, Bytes)> {
        let (what, deadline) = (self.what(), self.deadline);
        let work = async {
            let response = self.respond(false).await?;
            let body = http_body_util::Limited::new(response.into_body(), LARGEST_ANSWER);
            let bytes = body.collect().await.map_err(|error| self.other("the answer broke off", error))?.to_bytes();
            Ok((self, bytes))
        };
        timeout(deadline, work).await.unwrap_or(Err(RuntimeError::Timeout { what, after: deadline }))
    }

    /// Performs the call and returns a body that flows for as long as it likes; the deadline covers
    /// the answer's head only.
    pub async fn stream(self) -> Result<Incoming> {
        let (what, after) = (self.what(), self.deadline);
        let head = timeout(after, self.respond(false)).await;
        Ok(head.unwrap_or(Err(RuntimeError::Timeout { what, after }))?.into_body())
    }

    /// Performs the call and takes the connection over as a two-way stream of bytes.
    pub async fn hijack(self) -> Result<TokioIo<Upgraded>> {
        let (what, after) = (self.what(), self.deadline);
        let work = async {
            let response = self.respond(true).await?;
            let upgraded = hyper::upgrade::on(response).await;
            upgraded.map(TokioIo::new).map_err(|error| self.other("the connection could not be taken over", error))
        };
        timeout(after, work).await.unwrap_or(Err(RuntimeError::Timeout { what, after }))
    }

    async fn respond(&self, upgrade: bool) -> Result<http::Response<Incoming>> {
        let stream = self.client.connect().await?;
        let lost = |error: hyper::Error| self.client.unreachable(error);
        let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await.map_err(lost)?;
        tokio::spawn(connection.with_upgrades());
        let request = self.request(upgrade).map_err(|error| self.other("not a valid request", error))?;
        let response = sender.send_request(request).await.map_err(lost)?;
        let status = response.status();
        if status.is_success() || status == StatusCode::NOT_MODIFIED || status == StatusCode::SWITCHING_PROTOCOLS {
            return Ok(response);
        }
        let body = response.into_body().collect().await.map_err(lost)?.to_bytes();
        Err(fault::classify(self.method.as_str(), &self.object, status, &fault::message(&body)))
    }

    fn request(&self, upgrade: bool) -> http::Result<http::Request<Full<Bytes>>> {
        // Podman serves every path of 4.0 to this day, in the shapes of version 4.
        let mut request = http::Request::builder()
            .method(self.method.clone())
            .uri(format!("/v4.0.0/libpod/{}{}", self.path, self.query))
            .header(header::HOST, "podman");
        for (name, value) in &self.headers {
            request = request.header(name, value);
        }
        if upgrade {
            request = request.header(header::CONNECTION, "Upgrade").header(header::UPGRADE, "tcp");
        }
        request.body(Full::new(self.body.clone()))
    }
}

/// Percent-encodes for a query's value or a path's segment.
pub fn escape(text: &str, into: &mut String) {
    for byte in text.bytes() {
        match byte {
            b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'_' | b'.' | b'~' => into.push(byte as char),
            _ => _ = write!(into, "%{byte:02X}"),
        }
    }
}

/// A path segment made of any text.
pub fn segment(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    escape(text, &mut escaped);
    escaped
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn addresses() {
        assert_eq!(Endpoint::parse("unix:///run/p.sock").unwrap(), Endpoint::Unix("/run/p.sock".into()));
        assert_eq!(Endpoint::parse("tcp://10.0.0.1:8080/").unwrap(), Endpoint::Tcp("10.0.0.1:8080".into()));
        for bad in ["unix://relative", "tcp://host", "ssh://host:22", "/run/p.sock"] {
            assert!(Endpoint::parse(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn queries_are_escaped() {
        let client = Client::new("unix:///x").unwrap();
        let call = client.get("images/json", "images").query("filters", r#"{"a":["b=c"]}"#).query("all", true);
        assert_eq!(call.query, "?filters=%7B%22a%22%3A%5B%22b%3Dc%22%5D%7D&all=true");
        assert_eq!(segment("localhost/a:1"), "localhost%2Fa%3A1");
    }

    /// What makes or starts something must not happen twice because Podman was slow or went away.
    #[tokio::test]
    async fn nothing_is_sent_twice() {
        use tokio::io::{AsyncReadExt, AsyncWriteExt};
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("podman.sock");
        let listener = tokio::net::UnixListener::bind(&path).unwrap();
        let url = format!("unix://{}", path.display());
        // Answers the first request, hangs up on the second, is silent about the third.
        let server = tokio::spawn(async move {
            let mut held = Vec::new();
            for number in 0.. {
                let (mut stream, _) = listener.accept().await.unwrap();
                let mut request = [0; 4096];
                let size = stream.read(&mut request).await.unwrap();
                assert!(request[..size].starts_with(b"POST "), "request {number}");
                match number {
                    0 => stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}").await.unwrap(),
                    1 => continue,
                    2 => {}
                    _ => panic!("a request too many"),
                }
                held.push(stream);
            }
        });
        let client = Client::new(&url).unwrap();
        let call = || client.post("containers/create", "container c").deadline(Duration::from_millis(300));
        call().send().await.unwrap();
        assert!(matches!(call().send().await.unwrap_err(), RuntimeError::Unreachable { .. }));
        assert!(matches!(call().send().await.unwrap_err(), RuntimeError::Timeout { .. }));
        assert!(!server.is_finished());
        server.abort();
    }

    #[tokio::test]
    async fn no_service_is_unreachable() {
        let client = Client::new("unix:///nowhere/podman.sock").unwrap();
        let error = client.get("info", "host").send().await.unwrap_err();
        assert!(matches!(error, RuntimeError::Unreachable { .. }), "{error:?}");
        assert!(error.chain().contains("No such file"), "{}", error.chain());
    }
}
