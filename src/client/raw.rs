//! Requests whose bodies stay bytes, for callers that do not want a typed object back.

use crate::base::json;
use bytes::Bytes;
use http::{Method, Request, Response, header};
use http_body_util::BodyExt;
use kube::client::Body;
use kube::core::Status;
use serde::de::DeserializeOwned;

/// Sends one request and returns its response once the status is known; a status of 400 and above
/// becomes [`kube::Error::Api`] with the server's `Status`.
pub async fn open(
    client: &kube::Client,
    method: Method,
    path: &str,
    body: Option<(&str, Bytes)>,
) -> Result<Response<Body>, kube::Error> {
    let mut request = Request::builder().method(method).uri(path).header(header::ACCEPT, "application/json");
    let body = match body {
        Some((content_type, bytes)) => {
            request = request.header(header::CONTENT_TYPE, content_type);
            Body::from(Vec::from(bytes))
        }
        None => Body::empty(),
    };
    let response = client.send(request.body(body).map_err(kube::Error::HttpError)?).await?;
    let status = response.status();
    if !(status.is_client_error() || status.is_server_error()) {
        return Ok(response);
    }
    let bytes = response.into_body().collect().await?.to_bytes();
    let refusal = serde_json::from_slice::<Status>(&bytes).unwrap_or_else(|_| {
        // Proxies and load balancers answer in their own words.
        let text = String::from_utf8_lossy(&bytes[..bytes.len().min(300)]).into_owned();
        Status::failure(&text, status.canonical_reason().unwrap_or("Unknown")).with_code(status.as_u16())
    });
    Err(kube::Error::Api(refusal.with_code(status.as_u16()).boxed()))
}

/// [`open`], and the whole body.
pub async fn request(
    client: &kube::Client,
    method: Method,
    path: &str,
    body: Option<(&str, Bytes)>,
) -> Result<Bytes, kube::Error> {
    Ok(open(client, method, path, body).await?.into_body().collect().await?.to_bytes())
}

/// The metadata of the object in a body, as far as `T` wants it; nothing else of the object is read,
/// nor who owns which fields, which is most of it.
pub fn metadata<T: DeserializeOwned>(body: &[u8]) -> Result<T, serde_json::Error> {
    let text = json::start(body, &["metadata"]).map_or(&b"{}"[..], |at| &body[at..]);
    let read = |text: &[u8]| T::deserialize(&mut serde_json::Deserializer::from_slice(text));
    match json::find(text, &["managedFields"]) {
        Some(at) => read(&[&text[..at.start], b"null", &text[at.end..]].concat()),
        None => read(text),
    }
}

/// The HTTP status the API server refused with; `None` when the request never got an answer.
pub fn code(error: &kube::Error) -> Option<u16> {
    match error {
        kube::Error::Api(status) => Some(status.code),
        _ => None,
    }
}

/// Whether the API server refused for this reason, among others.
pub fn has_cause(error: &kube::Error, reason: &str) -> bool {
    let kube::Error::Api(status) = error else { return false };
    status.details.iter().flat_map(|details| &details.causes).any(|cause| cause.reason == reason)
}

/// `404 NotFound`: the object is gone, which most writers take as done.
pub fn is_not_found(error: &kube::Error) -> bool {
    code(error) == Some(404)
}

/// `409`: someone else wrote first (or the name is taken); look again.
pub fn is_conflict(error: &kube::Error) -> bool {
    code(error) == Some(409)
}
