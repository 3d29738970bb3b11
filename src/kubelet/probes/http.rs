//! A GET as Kubernetes' probes and hooks send it, plain or TLS. Certificates are not checked, as theirs are not.
//!
//! Redirects are followed to where the request went in the first place and to no other host: what a pod
//! says may not send the node anywhere.

use crate::base::tls;
use crate::kubelet::probes::check::bracketed;
use crate::kubelet::probes::reach::Way;
use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, Request, Response, header};
use http_body_util::{BodyExt, Empty};
use hyper::body::Incoming;
use hyper_util::rt::TokioIo;
use k8s_openapi::api::core::v1::{HTTPGetAction, HTTPHeader};
use std::time::Duration;
use tokio::time::{Instant, timeout_at};
use tokio_util::task::AbortOnDropHandle;
use url::{Position, Url};

/// How much of an answer is read.
const READ: usize = 10 << 10;
const REDIRECTS: usize = 10;

/// An answer, good or bad.
#[derive(Debug)]
pub struct Answer {
    pub code: u16,
    /// Its beginning, or why it broke off.
    pub body: Result<String, String>,
}

/// What is asked for; redirects change it.
struct Target {
    url: Url,
    /// As errors name it.
    shown: String,
    /// Path and query as they are sent; what the manifest has there is not tidied up.
    path: String,
    /// For the header.
    host: String,
    referrer: Option<String>,
}

/// Asks for what `get` says. `purpose` goes into the name that this client gives itself.
pub async fn get(
    get: &HTTPGetAction,
    way: &Way,
    port: u16,
    purpose: &str,
    timeout: Duration,
) -> Result<Answer, String> {
    let deadline = Instant::now() + timeout;
    let own = get.host.as_deref().filter(|host| !host.is_empty());
    let headers = headers(get.http_headers.as_deref().unwrap_or_default(), purpose)?;
    let own_host = headers.get(header::HOST).and_then(|host| host.to_str().ok()).map(str::to_owned);
    let mut target = first(get, own.unwrap_or(&way.ip), port, own_host.as_deref())?;
    let hostname = target.url.host_str().map(str::to_owned);
    for _ in 0..REDIRECTS {
        let failed = |why: &str| format!("Get {:?}: {why}", target.shown);
        let (answer, driver) = match timeout_at(deadline, send(&target, own, way, &headers)).await {
            Ok(sent) => sent.map_err(|why| failed(&why))?,
            Err(_) => {
                return Err(failed("context deadline exceeded (Client.Timeout exceeded while awaiting headers)"));
            }
        };
        let Some(location) = redirect(&answer) else { return Ok(read(answer, driver, deadline).await) };
        let next = target.url.join(&location);
        let next = next.map_err(|why| failed(&format!("failed to parse Location header {location:?}: {why}")))?;
        if next.host_str().map(str::to_owned) != hostname {
            return Ok(read(answer, driver, deadline).await);
        }
        // Where the redirect names no host, the one in the manifest still counts.
        let relative = Url::parse(&location).is_err();
        let named = || next[Position::BeforeHost..Position::AfterPort].to_owned();
        let host = own_host.clone().filter(|_| relative).unwrap_or_else(named);
        let secret = target.url.scheme() == "https" && next.scheme() == "http";
        let referrer = (!secret).then(|| target.url.as_str().to_owned());
        let path = next[Position::BeforePath..Position::AfterQuery].to_owned();
        target = Target { shown: next.as_str().to_owned(), url: next, path, host, referrer };
    }
    Err(format!("Get {:?}: stopped after {REDIRECTS} redirects", target.shown))
}

fn first(get: &HTTPGetAction, host: &str, port: u16, own_host: Option<&str>) -> Result<Target, String> {
    let scheme = if get.scheme.as_deref() == Some("HTTPS") { "https" } else { "http" };
    let path = get.path.as_deref().unwrap_or_default();
    let slash = if path.starts_with('/') { "" } else { "/" };
    let shown = format!("{scheme}://{}:{port}{slash}{path}", bracketed(host));
    let url = Url::parse(&shown).map_err(|why| format!("parse {shown:?}: {why}"))?;
    let path = format!("{slash}{}", path.split('#').next().unwrap_or_default());
    let path = match path.parse::<http::Uri>() {
        Ok(_) => path,
        Err(_) => url[Position::BeforePath..Position::AfterQuery].to_owned(),
    };
    let host = own_host.map_or_else(|| format!("{}:{port}", bracketed(host)), str::to_owned);
    Ok(Target { url, shown, path, host, referrer: None })
}

/// Those of the manifest and what they leave out.
fn headers(given: &[HTTPHeader], purpose: &str) -> Result<HeaderMap, String> {
    let mut headers = HeaderMap::new();
    for HTTPHeader { name, value } in given {
        let parsed = HeaderName::try_from(name).map_err(|_| format!("net/http: invalid header field name {name:?}"))?;
        let value = HeaderValue::try_from(value)
            .map_err(|_| format!("net/http: invalid header field value for {:?}", parsed.as_str()))?;
        headers.append(parsed, value);
    }
    let agent = HeaderValue::try_from(format!("kube-{purpose}/1.36")).map_err(|why| why.to_string())?;
    headers.entry(header::USER_AGENT).or_insert(agent);
    headers.entry(header::ACCEPT).or_insert(HeaderValue::from_static("*/*"));
    // An empty one is how a manifest asks for none.
    for name in [header::USER_AGENT, header::ACCEPT, header::HOST] {
        if headers.get(&name).is_some_and(HeaderValue::is_empty) {
            headers.remove(name);
        }
    }
    headers.insert(header::CONNECTION, HeaderValue::from_static("close"));
    Ok(headers)
}

type Driver = AbortOnDropHandle<hyper::Result<()>>;

/// The answer's head, and what carries the rest of it for as long as it is kept.
async fn send(
    target: &Target,
    own: Option<&str>,
    way: &Way,
    headers: &HeaderMap,
) -> Result<(Response<Incoming>, Driver), String> {
    let port = target.url.port_or_known_default().unwrap_or(80);
    let mut stream = way.connect(own, port).await?;
    if target.url.scheme() == "https" {
        stream = Box::new(tls::unchecked(stream, own.unwrap_or(&way.ip)).await?);
    }
    let (mut sender, connection) =
        hyper::client::conn::http1::handshake(TokioIo::new(stream)).await.map_err(|error| error.to_string())?;
    let driver = AbortOnDropHandle::new(tokio::spawn(connection));
    let mut request = Request::get(&target.path).body(Empty::<Bytes>::new()).map_err(|error| error.to_string())?;
    *request.headers_mut() = headers.clone();
    let value = |text: &str| HeaderValue::try_from(text).map_err(|error| error.to_string());
    request.headers_mut().insert(header::HOST, value(&target.host)?);
    if let Some(referrer) = &target.referrer
        && !headers.contains_key(header::REFERER)
    {
        request.headers_mut().insert(header::REFERER, value(referrer)?);
    }
    let answer = sender.send_request(request).await.map_err(|error| match error.is_incomplete_message() {
        true => "EOF".to_string(),
        false => error.to_string(),
    })?;
    Ok((answer, driver))
}

/// Where the answer sends its client.
fn redirect(answer: &Response<Incoming>) -> Option<String> {
    let location = answer.headers().get(header::LOCATION)?;
    let location = String::from_utf8_lossy(location.as_bytes()).into_owned();
    (matches!(answer.status().as_u16(), 301 | 302 | 303 | 307 | 308) && !location.is_empty()).then_some(location)
}

async fn read(answer: Response<Incoming>, _driver: Driver, deadline: Instant) -> Answer {
    let code = answer.status().as_u16();
    let mut body = answer.into_body();
    let mut begun = Vec::new();
    let whole = async {
        while begun.len() < READ
            && let Some(frame) = body.frame().await
        {
            begun.extend(frame.map_err(|error| error.to_string())?.into_data().unwrap_or_default());
        }
        Ok(())
    };
    let late = "context deadline exceeded (Client.Timeout or context cancellation while reading body)";
    let read = timeout_at(deadline, whole).await.unwrap_or_else(|_| Err(late.into()));
    Answer { code, body: read.map(|()| String::from_utf8_lossy(&begun[..begun.len().min(READ)]).into_owned()) }
}
