//! A git server over HTTPS: git's own http-backend behind TLS with a CA of its own, a password, a bearer
//! token, and tokens for a GitHub App's installation, which it gives out itself. Ends when it is dropped.

use bytes::Bytes;
use http::{HeaderMap, Request, Response, StatusCode, header};
use http_body_util::{BodyExt, Full, StreamBody, combinators::UnsyncBoxBody};
use hyper::body::{Frame, Incoming};
use hyper_util::rt::TokioIo;
use rcgen::{BasicConstraints, CertificateParams, DnType, IsCa, Issuer, KeyPair};
use std::convert::Infallible;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
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
    /// Answers that stopped so.
    pub stalled: Arc<AtomicUsize>,
    /// Requests of somebody who may: what there is, and for a pack.
    pub asked: Arc<AtomicUsize>,
    /// Set: everybody may.
    pub open: Arc<AtomicBool>,
    pub app: Arc<App>,
    tls: Arc<rustls::ServerConfig>,
    root: PathBuf,
    runtime: Option<tokio::runtime::Runtime>,
}

/// A GitHub App as GitHub's API knows it.
#[derive(Default)]
pub struct App {
    /// Its RSA public key (PKCS #1, DER); empty: there is no such App.
    pub public_key: Mutex<Vec<u8>>,
    /// The tokens that were given out, the last of which is good.
    pub tokens: Mutex<Vec<String>>,
    /// How long they are said to be good.
    pub seconds: AtomicUsize,
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
        let mut names = CertificateParams::new(vec!["127.0.0.1".to_string()]).expect("parameters");
        // With the CA's name, which is the default, it would count as its own issuer.
        names.distinguished_name.push(DnType::CommonName, "127.0.0.1");
        let certificate = names.signed_by(&own, &issuer).expect("a certificate");
        let private = rustls::pki_types::PrivateKeyDer::try_from(own.serialize_der()).expect("a key");
        let tls = rustls::ServerConfig::builder().with_no_client_auth();
        let tls = tls.with_single_cert(vec![certificate.der().clone()], private).expect("TLS");
        let address = SocketAddr::from(([127, 0, 0, 1], crate::ports::free()));
        let (tls, root) = (Arc::new(tls), root.to_path_buf());
        let (stalls, stalled, asked) = (Arc::default(), Arc::default(), Arc::default());
        let (open, app, runtime) = (Arc::default(), Arc::default(), None);
        let mut server = Self { address, authority, stalls, stalled, asked, open, app, tls, root, runtime };
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
        let (stalls, stalled) = (self.stalls.clone(), self.stalled.clone());
        let (asked, open, app) = (self.asked.clone(), self.open.clone(), self.app.clone());
        let state = State { root, stalls, stalled, asked, open, app };
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

    /// A file with the CA, for programs that go by `SSL_CERT_FILE` and the like.
    pub fn ca(&self) -> PathBuf {
        let path = self.root.join("ca.crt");
        std::fs::write(&path, &self.authority).expect("a file");
        path
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
    stalled: Arc<AtomicUsize>,
    asked: Arc<AtomicUsize>,
    open: Arc<AtomicBool>,
    app: Arc<App>,
}

async fn answer(state: State, request: Request<Incoming>) -> Result<Answer, Infallible> {
    let State { root, stalls, stalled, asked, open, app } = state;
    if request.uri().path().starts_with("/api/") {
        return Ok(app.answer(&request));
    }
    if !open.load(Ordering::SeqCst) && !may_pass(request.headers()) && !app.admits(request.headers()) {
        let refusal = Response::builder().status(StatusCode::UNAUTHORIZED);
        let refusal = refusal.header(header::WWW_AUTHENTICATE, "Basic realm=\"git\"");
        return Ok(refusal.body(Full::new(Bytes::new()).boxed_unsync()).expect("an answer"));
    }
    asked.fetch_add(1, Ordering::SeqCst);
    let is_pack = request.method() == http::Method::POST;
    let (status, headers, body) = backend(&root, request).await;
    let body = if is_pack && stalls.load(Ordering::SeqCst) {
        stalled.fetch_add(1, Ordering::SeqCst);
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

impl App {
    /// Of installation 7 of App 42, at the API's base /api/v3.
    fn answer(&self, request: &Request<Incoming>) -> Answer {
        let right = request.method() == http::Method::POST
            && request.uri().path() == "/api/v3/app/installations/7/access_tokens"
            && self.is_signed(given(request.headers()).strip_prefix("Bearer ").unwrap_or_default());
        let (status, body) = match right {
            true => {
                let mut tokens = self.tokens.lock().expect("the tokens");
                let number = tokens.len();
                tokens.push(format!("hush-installation-token-{number}"));
                let expires = jiff::Timestamp::now().as_second() + self.seconds.load(Ordering::SeqCst) as i64;
                let expires = jiff::Timestamp::from_second(expires).expect("a time").to_string();
                (StatusCode::CREATED, serde_json::json!({"token": tokens.last(), "expires_at": expires}))
            }
            false => {
                (StatusCode::UNAUTHORIZED, serde_json::json!({"message": "A JSON web token could not be decoded"}))
            }
        };
        let mut answer = Response::new(Full::from(body.to_string()).boxed_unsync());
        *answer.status_mut() = status;
        answer
    }

    /// Whether App 42 signed this, and for now.
    fn is_signed(&self, token: &str) -> bool {
        use base64::Engine;
        let decode = |text: &str| base64::engine::general_purpose::URL_SAFE_NO_PAD.decode(text).unwrap_or_default();
        let Some((signed, signature)) = token.rsplit_once('.') else { return false };
        let Some((head, claims)) = signed.split_once('.') else { return false };
        let claims: serde_json::Value = serde_json::from_slice(&decode(claims)).unwrap_or_default();
        let public = self.public_key.lock().expect("the key").clone();
        let key = ring::signature::UnparsedPublicKey::new(&ring::signature::RSA_PKCS1_2048_8192_SHA256, public);
        let (now, time) = (jiff::Timestamp::now().as_second(), |name: &str| claims[name].as_i64().unwrap_or(0));
        decode(head) == br#"{"alg":"RS256","typ":"JWT"}"#
            && claims["iss"] == "42"
            && time("iat") <= now
            && (now..=now + 600).contains(&time("exp"))
            && key.verify(signed.as_bytes(), &decode(signature)).is_ok()
    }

    fn admits(&self, headers: &HeaderMap) -> bool {
        use base64::Engine;
        let tokens = self.tokens.lock().expect("the tokens");
        let login = |token| base64::engine::general_purpose::STANDARD.encode(format!("x-access-token:{token}"));
        tokens.last().is_some_and(|token| given(headers) == format!("Basic {}", login(token)))
    }
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
    let given = given(headers);
    given == format!("Basic {login}") || given == format!("Bearer {TOKEN}")
}

fn given(headers: &HeaderMap) -> &str {
    headers.get(header::AUTHORIZATION).and_then(|value| value.to_str().ok()).unwrap_or_default()
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
