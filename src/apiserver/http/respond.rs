//! Responses: objects, Status errors, plain text; warnings, YAML, pretty printing.

use super::body::Body;
use super::negotiate::Accepts;
use super::yaml;
use crate::api::error::ApiError;
use crate::apiserver::resources::object::serialize;
use bytes::Bytes;
use http::header::{CACHE_CONTROL, CONTENT_LENGTH, CONTENT_TYPE, HeaderName, HeaderValue, RETRY_AFTER};
use http::{Response, StatusCode};
use serde_json::Value;

const WARNING: HeaderName = http::header::WARNING;

/// How bodies are written for this request.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Style {
    pub yaml: bool,
    pub pretty: bool,
}

impl Style {
    pub fn new(accepts: Accepts, pretty: bool) -> Self {
        Self { yaml: accepts.yaml, pretty }
    }

    /// Stored bytes can go out as they are.
    pub fn is_raw(self) -> bool {
        !self.yaml && !self.pretty
    }
}

pub fn build(code: StatusCode, media: &'static str, body: Body) -> Response<Body> {
    let mut response = Response::new(body);
    *response.status_mut() = code;
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(media));
    response.headers_mut().insert(CACHE_CONTROL, HeaderValue::from_static("no-cache, private"));
    response
}

/// What HEAD gets of a response.
pub fn headers_only(mut response: Response<Body>) -> Response<Body> {
    if let Some(length) = http_body::Body::size_hint(response.body()).exact() {
        response.headers_mut().insert(CONTENT_LENGTH, length.into());
    }
    *response.body_mut() = Body::empty();
    response
}

/// Stored bytes, as they are where the style allows.
pub fn bytes(code: StatusCode, value: Bytes, style: Style) -> Response<Body> {
    if style.is_raw() {
        return build(code, "application/json", Body::parts(vec![value, Bytes::from_static(b"\n")]));
    }
    json(code, &serde_json::from_slice(&value).unwrap_or_default(), style)
}

pub fn json(code: StatusCode, value: &Value, style: Style) -> Response<Body> {
    if style.yaml {
        let text = yaml::write(value);
        return build(code, "application/yaml", text.into());
    }
    let mut text = match style.pretty {
        true => serde_json::to_vec_pretty(value).unwrap_or_default(),
        false => serialize(value, false).0.to_vec(),
    };
    text.push(b'\n');
    build(code, "application/json", text.into())
}

pub fn error(error: &ApiError, style: Style) -> Response<Body> {
    status(error, error.to_status(), style)
}

/// An error whose Status carries more than an [`ApiError`] does.
pub fn status(error: &ApiError, status: Value, style: Style) -> Response<Body> {
    let code = StatusCode::from_u16(error.code).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    let mut response = json(code, &status, style);
    let retry = error.details.as_ref().map_or(0, |details| details.retry_after_seconds);
    if retry > 0 {
        response.headers_mut().insert(RETRY_AFTER, retry.into());
    }
    response
}

pub fn text(code: StatusCode, text: impl Into<Bytes>) -> Response<Body> {
    build(code, "text/plain; charset=utf-8", text.into().into())
}

/// One `Warning` header per text; kubectl prints them.
pub fn warn(response: &mut Response<Body>, warnings: &[String]) {
    for warning in warnings {
        let clean: String = warning.chars().map(|c| if c.is_control() { ' ' } else { c }).collect();
        let quoted = clean.replace('\\', "\\\\").replace('"', "\\\"");
        if let Ok(value) = HeaderValue::from_str(&format!("299 - \"{quoted}\"")) {
            response.headers_mut().append(WARNING, value);
        }
    }
}
