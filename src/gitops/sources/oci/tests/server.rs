//! A registry for tests that misbehaves as it is told: the parts of the distribution specification that
//! clients of artifacts use, with basic and token authentication, over plain HTTP.

use super::super::artifact::digest;
use bytes::Bytes;
use http::{HeaderMap, Method, Request, Response, StatusCode, header};
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use parking_lot::Mutex;
use std::collections::BTreeMap;
use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::Arc;
use tokio_util::task::AbortOnDropHandle;

pub const USER: &str = "me";
pub const PASSWORD: &str = "hush-password";
const BASIC: &str = "Basic bWU6aHVzaC1wYXNzd29yZA==";
const BEARER: &str = "Bearer hush-token";

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Login {
    #[default]
    None,
    Basic,
    Token,
}

#[derive(Default)]
pub struct Behaviour {
    pub login: Login,
    /// Blobs are elsewhere.
    pub redirects: bool,
    /// HEAD does not tell the digest.
    pub silent: bool,
    /// Blobs and manifests end otherwise than they should.
    pub lies: bool,
    pub hangs: bool,
    /// The error's words repeat what was sent.
    pub parrots: bool,
}

#[derive(Default)]
struct State {
    behaviour: Behaviour,
    blobs: BTreeMap<String, Bytes>,
    manifests: BTreeMap<String, Bytes>,
    /// `GET /v2/app/tags/list`
    asked: Vec<String>,
}

pub struct Server {
    pub address: SocketAddr,
    state: Arc<Mutex<State>>,
    _serving: AbortOnDropHandle<()>,
}

impl Server {
    pub async fn start() -> Self {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let (address, state) = (listener.local_addr().unwrap(), Arc::<Mutex<State>>::default());
        let serving = state.clone();
        let task = tokio::spawn(async move {
            let mut connections = tokio::task::JoinSet::new();
            while let Ok((stream, _)) = listener.accept().await {
                let state = serving.clone();
                let service = service_fn(move |request| answer(state.clone(), address, request));
                let connection = hyper::server::conn::http1::Builder::new();
                connections.spawn(connection.serve_connection(TokioIo::new(stream), service));
            }
        });
        Self { address, state, _serving: AbortOnDropHandle::new(task) }
    }

    pub fn behave(&self, behaviour: Behaviour) {
        self.state.lock().behaviour = behaviour;
    }

    /// What was asked since the last time.
    pub fn asked(&self) -> Vec<String> {
        std::mem::take(&mut self.state.lock().asked)
    }

    pub fn manifest(&self, reference: &str) -> Bytes {
        self.state.lock().manifests[reference].clone()
    }
}

async fn answer(
    state: Arc<Mutex<State>>,
    address: SocketAddr,
    request: Request<Incoming>,
) -> Result<Response<Full<Bytes>>, Infallible> {
    let (head, body) = request.into_parts();
    let body = body.collect().await.map(|body| body.to_bytes()).unwrap_or_default();
    let hangs = {
        let mut state = state.lock();
        state.asked.push(format!("{} {}", head.method, head.uri.path()));
        state.behaviour.hangs
    };
    if hangs {
        std::future::pending::<()>().await;
    }
    Ok(state.lock().answer(address, &head, body))
}

fn plain(status: StatusCode, body: impl Into<Bytes>) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::new(body.into()));
    *response.status_mut() = status;
    response
}

fn with(mut response: Response<Full<Bytes>>, name: &'static str, value: &str) -> Response<Full<Bytes>> {
    response.headers_mut().insert(name, value.parse().unwrap());
    response
}

impl State {
    fn answer(&mut self, address: SocketAddr, head: &http::request::Parts, body: Bytes) -> Response<Full<Bytes>> {
        let path = head.uri.path();
        if path == "/token" {
            let asked = head.uri.query().unwrap_or_default();
            let good = given(&head.headers) == BASIC && asked.contains("service=test");
            return match good {
                true => plain(StatusCode::OK, r#"{"token": "hush-token"}"#),
                false => plain(StatusCode::UNAUTHORIZED, ""),
            };
        }
        if let Some(digest) = path.strip_prefix("/elsewhere/") {
            // Who we are is none of its business.
            return match given(&head.headers).is_empty() {
                true => plain(StatusCode::OK, self.blobs[digest].clone()),
                false => plain(StatusCode::BAD_REQUEST, ""),
            };
        }
        if !self.is_allowed(&head.headers) {
            let challenge = match self.behaviour.login {
                Login::Token => format!("Bearer realm=\"http://{address}/token\",service=\"test\""),
                _ => "Basic realm=\"test\"".to_owned(),
            };
            let words = if self.behaviour.parrots { given(&head.headers) } else { "" };
            let body = format!(r#"{{"errors": [{{"message": "not with {PASSWORD} {words}"}}]}}"#);
            return with(plain(StatusCode::UNAUTHORIZED, body), "www-authenticate", &challenge);
        }
        let path = path.strip_prefix("/v2/").unwrap_or_default();
        if path.is_empty() {
            return plain(StatusCode::OK, "{}");
        }
        match path.strip_prefix("team/app/") {
            Some(rest) => self.repository(head, rest, body),
            None => plain(StatusCode::NOT_FOUND, ""),
        }
    }

    fn is_allowed(&self, headers: &HeaderMap) -> bool {
        match self.behaviour.login {
            Login::None => true,
            Login::Basic => given(headers) == BASIC,
            Login::Token => given(headers) == BEARER,
        }
    }

    fn repository(&mut self, head: &http::request::Parts, rest: &str, body: Bytes) -> Response<Full<Bytes>> {
        let (kind, name) = rest.split_once('/').unwrap_or((rest, ""));
        let put = head.method == Method::PUT;
        match (kind, name) {
            ("tags", "list") => {
                // A page for each tag, by the specification's own links.
                let all: Vec<_> = self.manifests.keys().filter(|key| !key.contains(':')).collect();
                let at: usize = head.uri.query().and_then(|q| q.split_once("at=")?.1.parse().ok()).unwrap_or(0);
                let page = serde_json::json!({"tags": all.get(at).into_iter().collect::<Vec<_>>()}).to_string();
                let next = format!("</v2/team/app/tags/list?at={}>; rel=\"next\"", at + 1);
                let page = plain(StatusCode::OK, page);
                if at + 1 < all.len() { with(page, "link", &next) } else { page }
            }
            ("manifests", reference) if put => {
                self.manifests.insert(digest(&body), body.clone());
                self.manifests.insert(reference.to_owned(), body);
                plain(StatusCode::CREATED, "")
            }
            ("manifests", reference) => {
                let Some(found) = self.manifests.get(reference) else { return plain(StatusCode::NOT_FOUND, "") };
                let told = with(plain(StatusCode::OK, self.body(found)), "docker-content-digest", &digest(found));
                let head = head.method == Method::HEAD;
                if head && self.behaviour.silent { plain(StatusCode::OK, "") } else { told }
            }
            ("blobs", "uploads/") if put => {
                let query = head.uri.query().unwrap_or_default().replace("%3A", ":");
                let told = query.split_once("digest=").map(|(_, told)| told.to_owned());
                let right = query.starts_with("state=1&") && told == Some(digest(&body));
                self.blobs.insert(digest(&body), body);
                plain(if right { StatusCode::CREATED } else { StatusCode::BAD_REQUEST }, "")
            }
            ("blobs", "uploads/") => {
                with(plain(StatusCode::ACCEPTED, ""), "location", "/v2/team/app/blobs/uploads/?state=1")
            }
            ("blobs", digest) => match self.blobs.get(digest) {
                None => plain(StatusCode::NOT_FOUND, ""),
                Some(_) if self.behaviour.redirects => {
                    // Another origin: the same machine by another name.
                    let port = head.headers[header::HOST].to_str().unwrap().rsplit_once(':').unwrap().1;
                    let place = format!("http://localhost:{port}/elsewhere/{digest}");
                    with(plain(StatusCode::TEMPORARY_REDIRECT, ""), "location", &place)
                }
                Some(found) => plain(StatusCode::OK, self.body(found)),
            },
            _ => plain(StatusCode::NOT_FOUND, ""),
        }
    }

    fn body(&self, bytes: &Bytes) -> Bytes {
        let mut bytes = bytes.to_vec();
        if self.behaviour.lies
            && let Some(last) = bytes.last_mut()
        {
            *last ^= 1;
        }
        bytes.into()
    }
}

fn given(headers: &HeaderMap) -> &str {
    headers.get(header::AUTHORIZATION).and_then(|value| value.to_str().ok()).unwrap_or_default()
}
