//! What this server serves: the aggregated documents and the older ones, made from the registry.

use super::body::Body;
use super::respond::{self, Style};
use crate::api::registry::{Resource, Subresource};
use crate::apiserver::ApiServer;
use http::header::{ACCEPT, CACHE_CONTROL, CONTENT_TYPE, ETAG, HeaderValue, IF_NONE_MATCH, VARY};
use http::request::Parts;
use http::{Response, StatusCode};
use serde_json::{Value, json};
use sha2::Digest;
use std::sync::Arc;

const AGGREGATED: &str = "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList";

/// Rows by group, then version, in the registry's order.
type Groups<'a> = Vec<(&'a str, Vec<(&'a str, Vec<&'a Arc<Resource>>)>)>;

fn groups(rows: &[Arc<Resource>]) -> Groups<'_> {
    let mut groups: Groups<'_> = Vec::new();
    for row in rows {
        let at = groups.iter().position(|(name, _)| *name == row.group).unwrap_or_else(|| {
            groups.push((&row.group, Vec::new()));
            groups.len() - 1
        });
        let versions = &mut groups[at].1;
        match versions.iter_mut().find(|(name, _)| *name == row.version) {
            Some((_, rows)) => rows.push(row),
            None => versions.push((&row.version, vec![row])),
        }
    }
    groups
}

impl ApiServer {
    /// `/api` and `/apis`: everything at once, or only the names for older clients.
    pub(super) fn discover_groups(&self, core: bool, parts: &Parts, style: Style) -> Response<Body> {
        let rows = self.registry.resources();
        let groups: Groups<'_> = groups(&rows).into_iter().filter(|(name, _)| name.is_empty() == core).collect();
        let accept = parts.headers.get(ACCEPT).and_then(|value| value.to_str().ok()).unwrap_or_default();
        let wanted = |clause: &str| {
            let has = |part: &str| clause.split(';').any(|piece| piece.trim() == part);
            has("g=apidiscovery.k8s.io") && has("v=v2") && has("as=APIGroupDiscoveryList")
        };
        if !accept.split(',').any(wanted) {
            let document = if core { versions(&groups) } else { group_list(&groups) };
            return respond::json(StatusCode::OK, &document, style);
        }
        aggregated(&groups, parts)
    }

    /// `/apis/{group}`.
    pub(super) fn discover_group(&self, name: &str, style: Style) -> Option<Response<Body>> {
        let rows = self.registry.resources();
        let groups = groups(&rows);
        let (name, versions) = groups.iter().find(|(group, _)| *group == name && !name.is_empty())?;
        let mut document = group(name, versions);
        document["kind"] = "APIGroup".into();
        document["apiVersion"] = "v1".into();
        Some(respond::json(StatusCode::OK, &document, style))
    }

    /// `/api/v1`, `/apis/{group}/{version}`.
    pub(super) fn discover_resources(&self, group: &str, version: &str, style: Style) -> Option<Response<Body>> {
        let rows = self.registry.resources();
        let of_version: Vec<_> = rows.iter().filter(|row| row.group == group && row.version == version).collect();
        let first = of_version.first()?;
        let resources: Vec<Value> = of_version.iter().flat_map(|row| legacy(row)).collect();
        let document = json!({
            "kind": "APIResourceList", "apiVersion": "v1", "groupVersion": first.api_version(), "resources": resources,
        });
        Some(respond::json(StatusCode::OK, &document, style))
    }
}

fn aggregated(groups: &Groups<'_>, parts: &Parts) -> Response<Body> {
    let items: Vec<Value> = groups
        .iter()
        .map(|(name, versions)| {
            let versions: Vec<Value> = versions
                .iter()
                .map(|(version, rows)| {
                    let resources: Vec<Value> = rows.iter().map(|row| discovered(row)).collect();
                    json!({"version": version, "resources": resources, "freshness": "Current"})
                })
                .collect();
            let metadata = if name.is_empty() { json!({}) } else { json!({"name": name}) };
            json!({"metadata": metadata, "versions": versions})
        })
        .collect();
    let document = json!({
        "kind": "APIGroupDiscoveryList", "apiVersion": "apidiscovery.k8s.io/v2", "metadata": {}, "items": items,
    });
    let mut text = document.to_string();
    text.push('\n');
    let tag = format!("\"{}\"", hex(&sha2::Sha512::digest(text.as_bytes())));
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

/// Upper-case hexadecimal.
pub fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02X}")).collect()
}

fn discovered(row: &Resource) -> Value {
    let mut found = json!({
        "resource": row.plural,
        "responseKind": {"group": "", "version": "", "kind": row.kind},
        "scope": if row.namespaced { "Namespaced" } else { "Cluster" },
        "singularResource": row.singular,
        "verbs": row.verbs,
    });
    if !row.short_names.is_empty() {
        found["shortNames"] = json!(row.short_names);
    }
    if !row.categories.is_empty() {
        found["categories"] = json!(row.categories);
    }
    if !row.subresources.is_empty() {
        let subresources = row.subresources.iter().map(|sub| {
            let (group, version, kind) = sub.body.unwrap_or(("", "", &row.kind));
            json!({"subresource": sub.name, "verbs": sub.verbs,
                "responseKind": {"group": group, "version": version, "kind": kind}})
        });
        found["subresources"] = subresources.collect();
    }
    found
}

fn legacy(row: &Resource) -> Vec<Value> {
    let mut main = json!({
        "name": row.plural, "singularName": row.singular, "namespaced": row.namespaced, "kind": row.kind, "verbs": row.verbs,
    });
    if !row.short_names.is_empty() {
        main["shortNames"] = json!(row.short_names);
    }
    if !row.categories.is_empty() {
        main["categories"] = json!(row.categories);
    }
    let sub = |sub: &Subresource| {
        let mut found = json!({
            "name": format!("{}/{}", row.plural, sub.name), "singularName": "", "namespaced": row.namespaced,
            "kind": sub.body.map_or(row.kind.as_str(), |(.., kind)| kind), "verbs": sub.verbs,
        });
        if let Some((group, version, _)) = sub.body {
            found["group"] = group.into();
            found["version"] = version.into();
        }
        found
    };
    std::iter::once(main).chain(row.subresources.iter().map(sub)).collect()
}

fn versions(groups: &Groups<'_>) -> Value {
    let names: Vec<&str> = groups.iter().flat_map(|(_, versions)| versions.iter().map(|(name, _)| *name)).collect();
    json!({"kind": "APIVersions", "versions": names,
        "serverAddressByClientCIDRs": [{"clientCIDR": "0.0.0.0/0", "serverAddress": ""}]})
}

fn group_list(groups: &Groups<'_>) -> Value {
    let groups: Vec<Value> = groups.iter().map(|(name, versions)| group(name, versions)).collect();
    json!({"kind": "APIGroupList", "apiVersion": "v1", "groups": groups})
}

fn group(name: &str, versions: &[(&str, Vec<&Arc<Resource>>)]) -> Value {
    let versions: Vec<Value> = versions
        .iter()
        .map(|(version, _)| json!({"groupVersion": format!("{name}/{version}"), "version": version}))
        .collect();
    json!({"name": name, "versions": versions, "preferredVersion": versions[0]})
}
