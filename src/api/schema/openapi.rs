//! OpenAPI v3 documents, one per group and version, made from the schemas: what kubectl needs to
//! validate, merge and explain.

mod component;
mod custom;
mod docs;

use crate::api::registry::Resource;
use bytes::Bytes;
use component::Components;
use serde_json::{Map, Value, json};
use sha2::{Digest, Sha256};
use std::collections::BTreeMap;
use std::sync::{Arc, LazyLock};

/// `/openapi/v2` in protobuf: an empty document. kubectl then looks no further there.
pub const V2: [u8; 15] = *b"\x0a\x032.0\x12\x06\x0a\x01K\x12\x011B\x00";
/// The content type of [`V2`].
pub const V2_CONTENT_TYPE: &str = "application/com.github.proto-openapi.spec.v2.v1.0+protobuf";

/// All documents, as served.
pub struct OpenApi {
    /// The index: `{"paths": {"apis/apps/v1": {"serverRelativeURL": ...}}}`.
    pub index: Bytes,
    documents: BTreeMap<String, (Vec<Arc<Resource>>, Document)>,
}

/// One document.
#[derive(Debug, Clone)]
pub struct Document {
    pub bytes: Bytes,
    /// Of the content: its entity tag (without quotes) and the `hash` parameter of its URL.
    pub hash: String,
}

impl OpenApi {
    /// Generates everything that `last` does not have yet: some tens of milliseconds for the
    /// built-in kinds, so on first use and not at start.
    pub fn generate(rows: &[Arc<Resource>], last: Option<&Self>) -> Self {
        let docs = LazyLock::new(docs::definitions);
        let mut by_path: BTreeMap<String, Vec<_>> = BTreeMap::new();
        for resource in rows {
            by_path.entry(path(resource)).or_default().push(resource.clone());
        }
        let documents: BTreeMap<String, _> = by_path
            .into_iter()
            .map(|(path, rows)| {
                let known = last.and_then(|last| last.documents.get(&path)).filter(|(from, _)| same(from, &rows));
                let made = match known {
                    Some((_, made)) => made.clone(),
                    None if rows.iter().all(|row| row.is_custom()) => Document::new(custom::document(&rows)),
                    None => Document::new(document(&docs, &rows).into()),
                };
                (path, (rows, made))
            })
            .collect();
        let paths: Map<String, Value> = documents
            .iter()
            .map(|(path, (_, made))| (path.clone(), json!({"serverRelativeURL": url(path, &made.hash)})))
            .collect();
        Self { index: Bytes::from(json!({"paths": paths}).to_string()), documents }
    }

    /// The document of a path of the index, e.g. `api/v1`, `apis/apps/v1`.
    pub fn document(&self, path: &str) -> Option<&Document> {
        self.documents.get(path).map(|(_, made)| made)
    }
}

impl Document {
    fn new(bytes: Bytes) -> Self {
        let hash = Sha256::digest(&bytes).iter().map(|byte| format!("{byte:02X}")).collect();
        Self { bytes, hash }
    }
}

fn same(a: &[Arc<Resource>], b: &[Arc<Resource>]) -> bool {
    a.len() == b.len() && a.iter().zip(b).all(|(a, b)| Arc::ptr_eq(a, b))
}

fn document(docs: &docs::Docs, rows: &[Arc<Resource>]) -> String {
    let mut components = Components::new(docs);
    let mut paths = Map::new();
    for row in rows {
        components.add_kind(row);
        paths.extend(operations(row));
    }
    json!({
        "openapi": "3.0.0",
        "info": {"title": "selkie", "version": env!("CARGO_PKG_VERSION")},
        "paths": paths,
        "components": {"schemas": components.finish()},
    })
    .to_string()
}

/// Where a document is served; the hash makes the URL as immutable as its content.
pub fn url(path: &str, hash: &str) -> String {
    format!("/openapi/v3/{path}?hash={hash}")
}

fn path(row: &Resource) -> String {
    if row.group.is_empty() { format!("api/{}", row.version) } else { format!("apis/{}/{}", row.group, row.version) }
}

/// The paths of a resource: what kubectl looks up by kind, verb and URL.
fn operations(row: &Resource) -> Vec<(String, Value)> {
    let scope = if row.namespaced { "namespaces/{namespace}/" } else { "" };
    let collection = format!("/{}/{scope}{}", path(row), row.plural);
    let Some(name) = row.schema.name.as_deref() else { return Vec::new() };
    let gvk = gvk(row);
    let reference = json!({"$ref": format!("#/components/schemas/{name}")});
    let body = json!({"description": "OK", "content": {"application/json": {"schema": reference}}});
    let answer = json!({"200": body});
    let input = json!({"content": {"*/*": {"schema": reference}}, "required": true});
    let operation = |action: &str| {
        let mut operation =
            json!({"x-kubernetes-action": action, "x-kubernetes-group-version-kind": gvk, "responses": answer});
        if action != "get" && action != "list" {
            operation["parameters"] = json!([query("dryRun"), query("fieldManager"), query("fieldValidation")]);
            operation["requestBody"] = input.clone();
        }
        operation
    };
    let has = |verb: &str| row.verbs.contains(&verb);
    let mut of_collection = json!({});
    for (method, verb, action) in [("get", "list", "list"), ("post", "create", "post")] {
        if has(verb) {
            of_collection[method] = operation(action);
        }
    }
    let of_item = |has: &dyn Fn(&str) -> bool| {
        let mut item = json!({});
        for (method, verb, action) in [("get", "get", "get"), ("put", "update", "put"), ("patch", "patch", "patch")] {
            if has(verb) {
                item[method] = operation(action);
            }
        }
        if has("patch") {
            item["patch"]["requestBody"]["content"] = patch_types(name.starts_with("io.k8s.") && !row.is_custom());
        }
        item
    };
    let mut paths = vec![(collection.clone(), of_collection)];
    if has("get") {
        paths.push((format!("{collection}/{{name}}"), of_item(&has)));
    }
    // Parts of the object that are written by themselves.
    for part in row.subresources.iter().filter(|part| part.body.is_none() && part.verbs.contains(&"patch")) {
        let item = of_item(&|verb| part.verbs.contains(&verb));
        paths.push((format!("{collection}/{{name}}/{}", part.name), item));
    }
    paths
}

/// The kinds of patch a resource takes; strategic merge is for Kubernetes' own types.
fn patch_types(strategic: bool) -> Value {
    let any = json!({"schema": {"type": "object"}});
    let mut types = json!({"application/json-patch+json": any, "application/merge-patch+json": any,
        "application/apply-patch+yaml": any});
    if strategic {
        types["application/strategic-merge-patch+json"] = any;
    }
    types
}

fn query(name: &str) -> Value {
    json!({"name": name, "in": "query", "schema": {"type": "string", "uniqueItems": true}})
}

fn gvk(row: &Resource) -> Value {
    json!({"group": row.group, "version": row.version, "kind": row.kind})
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::api::registry::Registry;
    use std::collections::BTreeSet;

    fn parsed(openapi: &OpenApi, path: &str) -> Value {
        serde_json::from_slice(&openapi.document(path).unwrap().bytes).unwrap()
    }

    /// Every `$ref` of a document.
    fn references(value: &Value, found: &mut BTreeSet<String>) {
        match value {
            Value::Object(fields) => {
                for (name, value) in fields {
                    match value {
                        Value::String(text) if name == "$ref" => drop(found.insert(text.clone())),
                        value => references(value, found),
                    }
                }
            }
            Value::Array(items) => items.iter().for_each(|item| references(item, found)),
            _ => {}
        }
    }

    #[test]
    fn every_document_is_whole_and_indexed() {
        let registry = Registry::builtin();
        let openapi = OpenApi::generate(&registry.resources(), None);
        let index: Value = serde_json::from_slice(&openapi.index).unwrap();
        assert!(index["paths"].as_object().unwrap().len() >= 12);
        for (path, document) in &openapi.documents {
            let url = index["paths"][path]["serverRelativeURL"].as_str().unwrap();
            assert_eq!(url, format!("/openapi/v3/{path}?hash={}", document.1.hash));
            let value = parsed(&openapi, path);
            let mut found = BTreeSet::new();
            references(&value, &mut found);
            for reference in found {
                let name = reference.strip_prefix("#/components/schemas/").unwrap();
                assert!(value["components"]["schemas"].get(name).is_some(), "{path}: {reference}");
            }
        }
    }

    #[test]
    fn kubectl_finds_what_it_looks_for() {
        let openapi = OpenApi::generate(&Registry::builtin().resources(), None);
        let apps = parsed(&openapi, "apis/apps/v1");
        let patch = &apps["paths"]["/apis/apps/v1/namespaces/{namespace}/deployments/{name}"]["patch"];
        assert_eq!(
            patch["x-kubernetes-group-version-kind"],
            json!({"group": "apps", "version": "v1", "kind": "Deployment"})
        );
        assert!(patch["parameters"].as_array().unwrap().iter().any(|parameter| parameter["name"] == "fieldValidation"));
        assert!(patch["requestBody"]["content"].get("application/strategic-merge-patch+json").is_some());
        let core = parsed(&openapi, "api/v1");
        for part in ["resize", "status"] {
            let path = format!("/api/v1/namespaces/{{namespace}}/pods/{{name}}/{part}");
            assert_eq!(core["paths"][path]["patch"]["x-kubernetes-group-version-kind"]["kind"], "Pod");
        }
        let schemas = &apps["components"]["schemas"];
        let containers = &schemas["io.k8s.api.core.v1.PodSpec"]["properties"]["containers"];
        assert_eq!(containers["x-kubernetes-patch-merge-key"], "name");
        assert_eq!(containers["x-kubernetes-list-map-keys"], json!(["name"]));
        assert!(containers["description"].as_str().unwrap().starts_with("List of containers belonging to the pod."));
        assert_eq!(schemas["io.k8s.api.core.v1.PodSpec"]["required"], json!(["containers"]));
        let deployment = &schemas["io.k8s.api.apps.v1.Deployment"];
        assert_eq!(deployment["x-kubernetes-group-version-kind"][0]["kind"], "Deployment");
        let strategy = &schemas["io.k8s.api.apps.v1.DeploymentSpec"]["properties"]["strategy"];
        assert_eq!(strategy["x-kubernetes-patch-strategy"], "retainKeys");
        let volumes = &schemas["io.k8s.api.core.v1.PodSpec"]["properties"]["volumes"];
        assert_eq!(volumes["x-kubernetes-patch-strategy"], "merge,retainKeys");
    }

    #[test]
    fn an_application_explains_itself() {
        let openapi = OpenApi::generate(&Registry::builtin().resources(), None);
        let selkie = parsed(&openapi, "apis/selkie.dev/v1alpha1");
        let path = "/apis/selkie.dev/v1alpha1/namespaces/{namespace}/applications/{name}";
        let content = &selkie["paths"][path]["patch"]["requestBody"]["content"];
        assert!(content.get("application/strategic-merge-patch+json").is_none());
        let spec = &selkie["components"]["schemas"]["dev.selkie.v1alpha1.ApplicationSpec"];
        assert!(spec["properties"]["prune"]["description"].as_str().unwrap().starts_with("Delete objects"));
    }

    #[test]
    fn the_constant_is_the_recorded_one() {
        let hex: String = V2.iter().map(|byte| format!("{byte:02x}")).collect();
        assert_eq!(hex, "0a03322e3012060a014b1201314200");
    }
}
