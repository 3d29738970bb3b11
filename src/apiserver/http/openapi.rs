//! OpenAPI: the index, one document a group and version, and the constant that stands for v2.

use super::body::Body;
use super::query::Query;
use super::respond;
use crate::api::schema::openapi;
use crate::apiserver::ApiServer;
use bytes::Bytes;
use http::header::{CACHE_CONTROL, ETAG, EXPIRES, HeaderValue, LOCATION};
use http::request::Parts;
use http::{Response, StatusCode};

impl ApiServer {
    pub(super) fn openapi_v2(&self) -> Response<Body> {
        respond::build(StatusCode::OK, openapi::V2_CONTENT_TYPE, Bytes::from_static(&openapi::V2).into())
    }

    /// The index for an empty path, else a document. `None`: there is no such document.
    pub(super) fn openapi_v3(&self, path: &str, parts: &Parts) -> Option<Response<Body>> {
        let documents = self.registry.openapi();
        if path.is_empty() {
            return Some(respond::build(StatusCode::OK, "application/json", documents.index.clone().into()));
        }
        let document = documents.document(path)?;
        let query = Query::parse(parts.uri.query());
        if let Some(hash) = query.get("hash")
            && hash != document.hash
        {
            let mut response = respond::build(StatusCode::MOVED_PERMANENTLY, "text/html; charset=utf-8", Body::empty());
            if let Ok(location) = HeaderValue::from_str(&openapi::url(path, &document.hash)) {
                response.headers_mut().insert(LOCATION, location);
            }
            return Some(response);
        }
        let mut response = respond::build(StatusCode::OK, "application/json", document.bytes.clone().into());
        let headers = response.headers_mut();
        if let Ok(tag) = HeaderValue::from_str(&format!("\"{}\"", document.hash)) {
            headers.insert(ETAG, tag);
        }
        if query.get("hash").is_some() {
            headers.insert(CACHE_CONTROL, HeaderValue::from_static("public, immutable"));
            headers.insert(EXPIRES, HeaderValue::from_static("Thu, 31 Dec 2099 23:59:59 GMT"));
        }
        Some(response)
    }
}
