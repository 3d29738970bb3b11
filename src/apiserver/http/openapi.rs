//! OpenAPI: the index, one document a group and version, and the constant that stands for v2.

use super::body::Body;
use super::discovery::hex;
use super::query::Query;
use super::respond::{self, Style};
use crate::api::registry::Resource;
use crate::apiserver::ApiServer;
use bytes::Bytes;
use http::header::{CACHE_CONTROL, ETAG, EXPIRES, HeaderValue, LOCATION};
use http::request::Parts;
use http::{Response, StatusCode};
use parking_lot::Mutex;
use serde_json::{Map, Value, json};
use sha2::Digest;
use std::collections::BTreeMap;
use std::sync::Arc;

/// OpenAPI v2 as protobuf: `swagger: "2.0"`, an info, no paths. Clients that get it go on to v3 or
/// to what they have built in; without it they report an unreadable document.
const V2: &[u8] = b"\x0a\x032.0\x12\x06\x0a\x01K\x12\x011B\x00";
const V2_MEDIA: &str = "application/com.github.proto-openapi.spec.v2.v1.0+protobuf";

/// A document and the hash of its bytes.
#[derive(Clone)]
struct Document {
    bytes: Bytes,
    hash: String,
}

/// The documents of one state of the registry, by path (`api/v1`, `apis/apps/v1`).
#[derive(Default)]
pub struct Documents(Mutex<Option<(Arc<[Arc<Resource>]>, Arc<BTreeMap<String, Document>>)>>);

impl ApiServer {
    fn openapi(&self) -> Arc<BTreeMap<String, Document>> {
        let rows = self.registry.resources();
        let mut cached = self.documents.0.lock();
        if let Some((of, documents)) = cached.as_ref()
            && Arc::ptr_eq(of, &rows)
        {
            return documents.clone();
        }
        let documents = Arc::new(build(&rows));
        *cached = Some((rows, documents.clone()));
        documents
    }

    pub(super) fn openapi_v2(&self) -> Response<Body> {
        respond::build(StatusCode::OK, V2_MEDIA, Bytes::from_static(V2).into())
    }

    /// The index for an empty path, else a document. `None`: there is no such document.
    pub(super) fn openapi_v3(&self, path: &str, parts: &Parts, style: Style) -> Option<Response<Body>> {
        let documents = self.openapi();
        if path.is_empty() {
            let paths: Map<String, Value> = documents
                .iter()
                .map(|(path, d)| (path.clone(), json!({"serverRelativeURL": url(path, &d.hash)})))
                .collect();
            return Some(respond::json(StatusCode::OK, &json!({"paths": paths}), style));
        }
        let document = documents.get(path)?;
        let query = Query::parse(parts.uri.query());
        if let Some(hash) = query.get("hash")
            && hash != document.hash
        {
            let mut response = respond::build(StatusCode::MOVED_PERMANENTLY, "text/html; charset=utf-8", Body::empty());
            if let Ok(location) = HeaderValue::from_str(&url(path, &document.hash)) {
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

fn url(path: &str, hash: &str) -> String {
    format!("/openapi/v3/{path}?hash={hash}")
}

fn build(rows: &[Arc<Resource>]) -> BTreeMap<String, Document> {
    let mut by_path: BTreeMap<String, Vec<&Arc<Resource>>> = BTreeMap::new();
    for row in rows.iter().filter(|row| row.is_stored()) {
        by_path.entry(root(row)).or_default().push(row);
    }
    let document = |rows: Vec<&Arc<Resource>>| {
        let bytes = Bytes::from(describe(&rows).to_string());
        let hash = hex(&sha2::Sha512::digest(&bytes));
        Document { bytes, hash }
    };
    by_path.into_iter().map(|(path, rows)| (path, document(rows))).collect()
}

fn root(row: &Resource) -> String {
    if row.group.is_empty() { format!("api/{}", row.version) } else { format!("apis/{}/{}", row.group, row.version) }
}

/// The paths clients look for (the kind and the fieldValidation of its PATCH).
fn describe(rows: &[&Arc<Resource>]) -> Value {
    let mut paths = Map::new();
    for row in rows {
        let scope = if row.namespaced { "/namespaces/{namespace}" } else { "" };
        let collection = format!("/{}{scope}/{}", root(row), row.plural);
        let gvk = json!({"group": row.group, "version": row.version, "kind": row.kind});
        let parameter =
            |name: &str| json!({"name": name, "in": "query", "schema": {"type": "string", "uniqueItems": true}});
        let content: Map<String, Value> = [
            "application/apply-patch+yaml",
            "application/json-patch+json",
            "application/merge-patch+json",
            "application/strategic-merge-patch+json",
        ]
        .into_iter()
        .map(|media| (media.to_string(), json!({"schema": {"type": "object"}})))
        .collect();
        let get = json!({"x-kubernetes-action": "get", "x-kubernetes-group-version-kind": gvk});
        let patch = json!({
            "parameters": [parameter("dryRun"), parameter("fieldManager"), parameter("fieldValidation")],
            "requestBody": {"content": content},
            "x-kubernetes-action": "patch", "x-kubernetes-group-version-kind": gvk,
        });
        let list = json!({"x-kubernetes-action": "list", "x-kubernetes-group-version-kind": gvk});
        paths.insert(collection.clone(), json!({"get": list}));
        paths.insert(format!("{collection}/{{name}}"), json!({"get": get, "patch": patch}));
    }
    json!({"openapi": "3.0.0", "info": {"title": "Kubernetes", "version": "v1.36.0"}, "paths": paths,
        "components": {"schemas": {}}})
}
