//! A git server over HTTPS: git's own http-backend behind TLS with a CA of its own, a password and a
//! bearer token. Ends when it is dropped.

use bytes::Bytes;
use http::{HeaderMap, Request, Response, StatusCode, header};
use http_body_util::{BodyExt, Full, StreamBody, combinators::UnsyncBoxBody};
use hyper::body::{Frame, Incoming};
use hyper_util::rt::TokioIo;
use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair};
use std::convert::Infallible;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use tokio::io::AsyncWriteExt;

pub const USER: &str = "deployer";
pub const PASSWORD: &str = "hush-password";
pub const TOKEN: &str = "hush-bearer-token";

pub struct HttpsServer {
    pub address: SocketAddr,
    /// The CA's certificate in PEM format.
    pub authority: String,
    /// Set: an answer with a pack stops in its middle and never goes on.
    pub stalls: Arc<AtomicBool>,
    /// Requests of somebody with the right credentials: what there is, and for a pack.
    pub asked: Arc<AtomicUsize>,
    tls: Arc<rustls::ServerConfig>,
    root: PathBuf,
    runtime: Option<tokio::runtime::Runtime>,
}

type Answer = Response<UnsyncBoxBody<Bytes, Infallible>>;

impl HttpsServer {
    /// Serves the repositories in `root`.
    pub fn start(root: &Path) -> Self {
        let _ = rustls::crypto::ring::default_provider().install_default();
        let key = KeyPair::generate().expect("a key");
        let mut params = CertificateParams::new(Vec::<String>::new()).expect("parameters");
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let authority = params.self_signed(&key).expect("a CA").pem();
        let issuer = Issuer::new(params, key);
        let own = KeyPair::generate().expect("a key");
        let names = CertificateParams::new(vec!["127.0.0.1".to_string()]).expect("parameters");
        let certificate = names.signed_by(&own, &issuer).expect("a certificate");
        let private = rustls::pki_types::PrivateKeyDer::try_from(own.serialize_der()).expect("a key");
        let tls = rustls::ServerConfig::builder().with_no_client_auth();
        let tls = tls.with_single_cert(vec![certificate.der().clone()], private).expect("TLS");
        let address = SocketAddr::from(([127, 0, 0, 1], 0));
        let (tls, root) = (Arc::new(tls), root.to_path_buf());
        let (stalls, asked) = (Arc::default(), Arc::default());
        let mut server = Self { address, authority, stalls, asked, tls, root, runtime: None };
        server.serve();
        server
    }

    /// Ends the server with all its connections.
    pub fn stop(&mut self) {
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_background();
        }
    }

    /// Starts, or starts again at the same address.
    pub fn serve(&mut self) {
        let runtime =
            tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().expect("a runtime");
        let listener = runtime.block_on(tokio::net::TcpListener::bind(self.address)).expect("an address");
        self.address = listener.local_addr().expect("an address");
        let (tls, root) = (tokio_rustls::TlsAcceptor::from(self.tls.clone()), self.root.clone());
        let state = State { root, stalls: self.stalls.clone(), asked: self.asked.clone() };
        runtime.spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let (tls, state) = (tls.clone(), state.clone());
                tokio::spawn(async move {
                    let Ok(stream) = tls.accept(stream).await else { return };
                    let service = hyper::service::service_fn(move |request| answer(state.clone(), request));
                    let _ = hyper::server::conn::http1::Builder::new()
                        .serve_connection(TokioIo::new(stream), service)
                        .await;
                });
            }
        });
        self.runtime = Some(runtime);
    }

    pub fn url(&self) -> String {
        format!("https://{}/repo.git", self.address)
    }
}

impl Drop for HttpsServer {
    fn drop(&mut self) {
        self.stop();
    }
}

#[derive(Clone)]
struct State {
    root: PathBuf,
    stalls: Arc<AtomicBool>,
    asked: Arc<AtomicUsize>,
}

async fn answer(state: State, request: Request<Incoming>) -> Result<Answer, Infallible> {
    let State { root, stalls, asked } = state;
    if !may_pass(request.headers()) {
        let refusal = Response::builder().status(StatusCode::UNAUTHORIZED);
        let refusal = refusal.header(header::WWW_AUTHENTICATE, "Basic realm=\"git\"");
        return Ok(refusal.body(Full::new(Bytes::new()).boxed_unsync()).expect("an answer"));
    }
    asked.fetch_add(1, Ordering::SeqCst);
    let is_pack = request.method() == http::Method::POST;
    let (status, headers, body) = backend(&root, request).await;
    let body = if is_pack && stalls.load(Ordering::SeqCst) {
        let half = body.slice(..body.len() / 2);
        let frames = futures::stream::iter([Ok(Frame::data(half))]).chain_pending();
        StreamBody::new(frames).boxed_unsync()
    } else {
        Full::new(body).boxed_unsync()
    };
    let mut response = Response::new(body);
    *response.status_mut() = status;
    *response.headers_mut() = headers;
    Ok(response)
}

/// A stream that never ends after its last item.
trait ChainPending: futures::Stream + Sized {
    fn chain_pending(self) -> futures::stream::Chain<Self, futures::stream::Pending<Self::Item>> {
        futures::StreamExt::chain(self, futures::stream::pending())
    }
}

impl<S: futures::Stream> ChainPending for S {}

fn may_pass(headers: &HeaderMap) -> bool {
    use base64::Engine;
    let login = base64::engine::general_purpose::STANDARD.encode(format!("{USER}:{PASSWORD}"));
    let given = headers.get(header::AUTHORIZATION).and_then(|value| value.to_str().ok()).unwrap_or_default();
    given == format!("Basic {login}") || given == format!("Bearer {TOKEN}")
}

/// One CGI call of `git http-backend`.
async fn backend(root: &Path, request: Request<Incoming>) -> (StatusCode, HeaderMap, Bytes) {
    let (parts, body) = request.into_parts();
    let body = body.collect().await.expect("a body").to_bytes();
    let text = |name| parts.headers.get(name).and_then(|value| value.to_str().ok()).unwrap_or_default();
    let mut child = tokio::process::Command::new("git")
        .arg("http-backend")
        .env("GIT_PROJECT_ROOT", root)
        .env("GIT_HTTP_EXPORT_ALL", "1")
        .env("REQUEST_METHOD", parts.method.as_str())
        .env("PATH_INFO", parts.uri.path())
        .env("QUERY_STRING", parts.uri.query().unwrap_or_default())
        .env("CONTENT_TYPE", text("content-type"))
        .env("CONTENT_LENGTH", body.len().to_string())
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .kill_on_drop(true)
        .spawn()
        .expect("git http-backend");
    let mut input = child.stdin.take().expect("its input");
    input.write_all(&body).await.expect("its input");
    drop(input);
    let output = child.wait_with_output().await.expect("its output").stdout;
    let end = output.windows(4).position(|window| window == b"\r\n\r\n").expect("CGI headers");
    let (mut status, mut headers) = (StatusCode::OK, HeaderMap::new());
    for line in String::from_utf8_lossy(&output[..end]).lines() {
        let Some((name, value)) = line.split_once(':') else { continue };
        if name == "Status" {
            status = value.trim()[..3].parse().expect("a status");
        } else {
            let name: http::HeaderName = name.parse().expect("a header");
            headers.insert(name, value.trim().parse().expect("its value"));
        }
    }
    (status, headers, Bytes::copy_from_slice(&output[end + 4..]))
}
