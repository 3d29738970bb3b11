//! Objects of any kind by their metadata alone: what the garbage collector and the namespace
//! controller need, kinds added at run time included.

use crate::base::json;
use crate::client::raw;
use http::Method;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::OwnerReference;
use serde::Deserialize;
use serde_json::{Value, json};
use std::hash::{Hash, Hasher};
use std::sync::Arc;

const JSON: &str = "application/json";
const MERGE: &str = "application/merge-patch+json";

/// A kind of objects that can be listed, watched and deleted.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Resource {
    /// `apps/v1`; `v1` for the core group.
    pub api_version: String,
    pub plural: String,
    pub kind: String,
    pub namespaced: bool,
}

impl Resource {
    /// Empty for the core group.
    pub fn group(&self) -> &str {
        group(&self.api_version)
    }

    /// The path of all objects, or of those in `namespace` if it is not empty.
    pub fn collection(&self, namespace: &str) -> String {
        let root = if self.group().is_empty() { "api" } else { "apis" };
        match self.namespaced && !namespace.is_empty() {
            true => format!("/{root}/{}/namespaces/{namespace}/{}", self.api_version, self.plural),
            false => format!("/{root}/{}/{}", self.api_version, self.plural),
        }
    }
}

/// The group of an `apiVersion`.
pub fn group(api_version: &str) -> &str {
    api_version.split_once('/').map_or("", |(group, _)| group)
}

/// One object, once in its life: equal when the uids are.
#[derive(Debug, Clone)]
pub struct Identity {
    pub resource: Arc<Resource>,
    pub namespace: Arc<str>,
    pub name: Arc<str>,
    pub uid: Arc<str>,
}

impl Identity {
    pub fn path(&self) -> String {
        format!("{}/{}", self.resource.collection(&self.namespace), self.name)
    }
}

impl PartialEq for Identity {
    fn eq(&self, other: &Self) -> bool {
        self.uid == other.uid
    }
}

impl Eq for Identity {}

impl Hash for Identity {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.uid.hash(state);
    }
}

/// The part of an object's metadata that decides whether it may live.
#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Meta {
    pub name: String,
    pub namespace: String,
    pub uid: String,
    pub resource_version: String,
    pub deletion_timestamp: Option<String>,
    pub finalizers: Vec<String>,
    pub owner_references: Vec<OwnerReference>,
}

impl Meta {
    pub fn is_terminating(&self) -> bool {
        self.deletion_timestamp.is_some()
    }

    pub fn has_finalizer(&self, name: &str) -> bool {
        self.finalizers.iter().any(|finalizer| finalizer == name)
    }

    pub fn identity(&self, resource: &Arc<Resource>) -> Identity {
        Identity {
            resource: resource.clone(),
            namespace: self.namespace.as_str().into(),
            name: self.name.as_str().into(),
            uid: self.uid.as_str().into(),
        }
    }
}

/// An object of which only the metadata is read.
#[derive(Deserialize)]
pub struct Head {
    #[serde(default)]
    pub metadata: Meta,
}

#[derive(Deserialize)]
struct List {
    #[serde(default)]
    items: Option<Vec<Head>>,
}

/// The kinds whose objects can be deleted, each in its group's preferred version. Events are left
/// out: they expire.
pub async fn deletable(client: &kube::Client) -> Result<Vec<Arc<Resource>>, kube::Error> {
    let mut lists = vec![client.list_core_api_resources("v1").await?];
    for group in client.list_api_groups().await?.groups {
        let preferred = group.preferred_version.or_else(|| group.versions.into_iter().next());
        if let Some(version) = preferred {
            lists.push(client.list_api_group_resources(&version.group_version).await?);
        }
    }
    let mut found = Vec::new();
    for list in lists {
        for row in list.resources {
            let can = |verb: &str| row.verbs.iter().any(|known| known == verb);
            if row.name.contains('/') || row.kind == "Event" || !(can("delete") && can("list") && can("watch")) {
                continue;
            }
            found.push(Arc::new(Resource {
                api_version: list.group_version.clone(),
                plural: row.name,
                kind: row.kind,
                namespaced: row.namespaced,
            }));
        }
    }
    Ok(found)
}

/// The metadata of an object as it is now; `None` if there is no object of that name.
pub async fn get(client: &kube::Client, path: &str) -> Result<Option<Meta>, kube::Error> {
    match raw::request(client, Method::GET, path, None).await {
        Ok(body) => Ok(Some(raw::metadata(&body).map_err(kube::Error::SerdeError)?)),
        Err(error) if raw::is_not_found(&error) => Ok(None),
        Err(error) => Err(error),
    }
}

/// The metadata of all objects of a collection, and the revision of the list.
pub async fn list(client: &kube::Client, collection: &str) -> Result<(String, Vec<Meta>), kube::Error> {
    let body = raw::request(client, Method::GET, collection, None).await?;
    let head = raw::metadata::<Meta>(&body).map_err(kube::Error::SerdeError)?;
    // Most of every object is nothing that anybody reads here.
    if let Some(items) = json::elements(&body, &["items"]) {
        let items: Result<_, _> = items.into_iter().map(raw::metadata).collect();
        return Ok((head.resource_version, items.map_err(kube::Error::SerdeError)?));
    }
    let list: List = serde_json::from_slice(&body).map_err(kube::Error::SerdeError)?;
    let items = list.items.unwrap_or_default().into_iter().map(|head| head.metadata).collect();
    Ok((head.resource_version, items))
}

/// What an object's deletion does to its dependents.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Propagation {
    Background,
    Foreground,
    Orphan,
}

/// Deletes this object, if it is still the one with this uid and, unless `revision` is empty, at this
/// revision. An object that is gone is no error; one that changed is (409).
pub async fn delete(
    client: &kube::Client,
    object: &Identity,
    revision: &str,
    propagation: Propagation,
) -> Result<(), kube::Error> {
    let mut options = json!({
        "apiVersion": "v1",
        "kind": "DeleteOptions",
        "preconditions": { "uid": &*object.uid },
        "propagationPolicy": format!("{propagation:?}"),
    });
    if !revision.is_empty() {
        options["preconditions"]["resourceVersion"] = json!(revision);
    }
    let body = Some((JSON, options.to_string().into()));
    match raw::request(client, Method::DELETE, &object.path(), body).await {
        Err(error) if raw::is_not_found(&error) => Ok(()),
        outcome => outcome.map(drop),
    }
}

/// Merges `change` into the metadata of this object if it is still at `revision`; otherwise 409. An
/// object that is gone is no error.
pub async fn patch(
    client: &kube::Client,
    object: &Identity,
    revision: &str,
    mut change: Value,
) -> Result<(), kube::Error> {
    change["uid"] = json!(&*object.uid);
    change["resourceVersion"] = json!(revision);
    let body = json!({ "metadata": change }).to_string();
    match raw::request(client, Method::PATCH, &object.path(), Some((MERGE, body.into()))).await {
        Err(error) if raw::is_not_found(&error) => Ok(()),
        outcome => outcome.map(drop),
    }
}
