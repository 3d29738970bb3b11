//! What this server serves: the aggregated documents and the older ones, made from the registry.

use super::body::Body;
use super::respond::{self, Style};
use crate::api::registry::discovery::etag;
use crate::apiserver::ApiServer;
use http::header::{ACCEPT, CACHE_CONTROL, CONTENT_TYPE, ETAG, HeaderValue, IF_NONE_MATCH, VARY};
use http::request::Parts;
use http::{Response, StatusCode};
use serde_json::Value;

const AGGREGATED: &str = "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList";

impl ApiServer {
    /// `/api` and `/apis`: everything at once, or only the names for older clients.
    pub(super) fn discover_groups(&self, core: bool, parts: &Parts, style: Style) -> Response<Body> {
        let accept = parts.headers.get(ACCEPT).and_then(|value| value.to_str().ok()).unwrap_or_default();
        let wanted = |clause: &str| {
            let has = |part: &str| clause.split(';').any(|piece| piece.trim() == part);
            has("g=apidiscovery.k8s.io") && has("v=v2") && has("as=APIGroupDiscoveryList")
        };
        if accept.split(',').any(wanted) {
            return aggregated(&self.registry.aggregated_discovery(core), parts);
        }
        let document = if core { self.registry.api_versions("") } else { self.registry.api_groups() };
        respond::json(StatusCode::OK, &document, style)
    }

    /// `/apis/{group}`.
    pub(super) fn discover_group(&self, name: &str, style: Style) -> Option<Response<Body>> {
        Some(respond::json(StatusCode::OK, &self.registry.api_group(name)?, style))
    }

    /// `/api/v1`, `/apis/{group}/{version}`.
    pub(super) fn discover_resources(&self, group: &str, version: &str, style: Style) -> Option<Response<Body>> {
        Some(respond::json(StatusCode::OK, &self.registry.api_resources(group, version)?, style))
    }
}

fn aggregated(document: &Value, parts: &Parts) -> Response<Body> {
    let mut text = document.to_string();
    text.push('\n');
    let tag = etag(text.as_bytes());
    let known = parts.headers.get(IF_NONE_MATCH).and_then(|value| value.to_str().ok()) == Some(&tag);
    let (code, body) = if known { (StatusCode::NOT_MODIFIED, Body::empty()) } else { (StatusCode::OK, text.into()) };
    let mut response = respond::build(code, AGGREGATED, body);
    let headers = response.headers_mut();
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("public"));
    headers.insert(VARY, HeaderValue::from_static("Accept"));
    if let Ok(tag) = HeaderValue::from_str(&tag) {
        headers.insert(ETAG, tag);
    }
    if known {
        headers.remove(CONTENT_TYPE);
    }
    response
}
