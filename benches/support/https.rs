//! Keep-alive HTTPS connections that cost little themselves, so that the server is what is measured.

use bytes::Bytes;
use http::{Method, Request};
use http_body_util::{BodyExt, Full};
use hyper::client::conn::http1::SendRequest;
use hyper_util::rt::TokioIo;
use rustls::pki_types::{CertificateDer, ServerName, pem::PemObject};
use serde_json::Value;
use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

/// Where the server is and how to get in.
#[derive(Clone)]
pub struct Target {
    address: SocketAddr,
    connector: TlsConnector,
    token: String,
}

impl Target {
    pub fn of(kubeconfig: &Path) -> Self {
        use base64::Engine;
        let text = std::fs::read_to_string(kubeconfig).expect("a kubeconfig");
        let config: Value = serde_yaml::from_str(&text).expect("YAML");
        let cluster = &config["clusters"][0]["cluster"];
        let text = |value: &Value| value.as_str().expect("a string").to_string();
        let ca = base64::engine::general_purpose::STANDARD
            .decode(text(&cluster["certificate-authority-data"]))
            .expect("base64");
        let address = text(&cluster["server"]).trim_start_matches("https://").parse().expect("an address");
        Self { address, connector: trusting(&ca), token: text(&config["users"][0]["user"]["token"]) }
    }

    pub fn at(address: SocketAddr, ca: &[u8]) -> Self {
        Self { address, connector: trusting(ca), token: "none".into() }
    }

    pub async fn connect(&self) -> Connection {
        let stream = TcpStream::connect(self.address).await.expect("a connection");
        stream.set_nodelay(true).expect("no delay");
        let name = ServerName::try_from("localhost").expect("a name");
        let tls = self.connector.connect(name, stream).await.expect("a TLS session");
        let (sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(tls)).await.expect("HTTP");
        tokio::spawn(connection);
        Connection { sender, token: format!("Bearer {}", self.token) }
    }
}

fn trusting(ca: &[u8]) -> TlsConnector {
    let mut roots = rustls::RootCertStore::empty();
    roots.add(CertificateDer::from_pem_slice(ca).expect("a certificate")).expect("a CA");
    TlsConnector::from(Arc::new(rustls::ClientConfig::builder().with_root_certificates(roots).with_no_client_auth()))
}

pub struct Connection {
    sender: SendRequest<Full<Bytes>>,
    token: String,
}

impl Connection {
    /// Sends one request and reads the whole answer; panics unless it is a success.
    pub async fn send(&mut self, method: Method, path: &str, body: Bytes) -> Bytes {
        let response = self.open(method, path, body).await;
        let status = response.status();
        let body = response.into_body().collect().await.expect("a body").to_bytes();
        assert!(status.is_success(), "{path}: {status}: {}", String::from_utf8_lossy(&body));
        body
    }

    /// Opens an answer that goes on, such as a watch.
    pub async fn stream(&mut self, path: &str) -> Lines {
        let response = self.open(Method::GET, path, Bytes::new()).await;
        assert!(response.status().is_success(), "{path}: {}", response.status());
        Lines { body: response.into_body(), rest: Vec::new() }
    }

    async fn open(&mut self, method: Method, path: &str, body: Bytes) -> http::Response<hyper::body::Incoming> {
        let request = Request::builder()
            .method(method)
            .uri(path)
            .header("host", "localhost")
            .header("authorization", &self.token)
            .header("content-type", "application/json")
            .header("accept", "application/json")
            .body(Full::new(body))
            .expect("a request");
        self.sender.ready().await.expect("an open connection");
        self.sender.send_request(request).await.expect("an answer")
    }
}

/// The lines of an answer as they come.
pub struct Lines {
    body: hyper::body::Incoming,
    rest: Vec<u8>,
}

impl Lines {
    /// The next complete lines.
    pub async fn lines(&mut self) -> Vec<Vec<u8>> {
        let frame = self.body.frame().await.expect("the stream goes on").expect("a frame");
        self.rest.extend_from_slice(frame.data_ref().expect("data"));
        let Some(end) = self.rest.iter().rposition(|byte| *byte == b'\n') else { return Vec::new() };
        let rest = self.rest.split_off(end + 1);
        let whole = std::mem::replace(&mut self.rest, rest);
        whole.split(|byte| *byte == b'\n').filter(|line| !line.is_empty()).map(<[u8]>::to_vec).collect()
    }
}

/// What a load came to.
pub struct Outcome {
    pub per_second: f64,
    pub p50: Duration,
    pub p99: Duration,
}

/// `connections` clients send requests one after the other for `time`. `request` makes the n-th
/// request of a client.
pub async fn load(
    target: &Target,
    connections: usize,
    time: Duration,
    request: impl Fn(usize, usize) -> (Method, String, Bytes) + Send + Sync + 'static,
) -> Outcome {
    let request = Arc::new(request);
    let mut clients = Vec::new();
    for client in 0..connections {
        let mut connection = target.connect().await;
        let request = request.clone();
        clients.push(async move {
            let begun = Instant::now();
            let mut took = Vec::new();
            while begun.elapsed() < time {
                let (method, path, body) = request(client, took.len());
                let one = Instant::now();
                connection.send(method, &path, body).await;
                took.push(one.elapsed());
            }
            took
        });
    }
    let begun = Instant::now();
    let tasks: Vec<_> = clients.into_iter().map(tokio::spawn).collect();
    let mut all = Vec::new();
    for task in tasks {
        all.extend(task.await.expect("a client"));
    }
    let elapsed = begun.elapsed().as_secs_f64();
    all.sort();
    let at = |share: f64| all[((all.len() - 1) as f64 * share) as usize];
    Outcome { per_second: all.len() as f64 / elapsed, p50: at(0.5), p99: at(0.99) }
}
