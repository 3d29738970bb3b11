//! Which resources the server has, and what `deploy/web` or `pods,rs` on a command line means.

use super::CliError;
use crate::client::raw;
use kube::api::{ApiResource, DynamicObject};
use kube::discovery::Scope;
use kube::{Api, Client};

/// A resource of the server under the names people type.
#[derive(Clone, Debug)]
pub struct Known {
    pub api: ApiResource,
    pub namespaced: bool,
    names: Vec<String>,
    categories: Vec<String>,
    verbs: Vec<String>,
}

impl Known {
    /// The API of one namespace, or of all when `namespace` is `None`.
    pub fn api(&self, client: &Client, namespace: Option<&str>) -> Api<DynamicObject> {
        match namespace {
            Some(namespace) if self.namespaced => Api::namespaced_with(client.clone(), namespace, &self.api),
            _ => Api::all_with(client.clone(), &self.api),
        }
    }

    /// Whether there are objects of it, to be listed and deleted.
    pub fn is_stored(&self) -> bool {
        ["list", "delete"].iter().all(|verb| self.verbs.iter().any(|known| known == verb))
    }

    /// `deployment.apps`.
    pub fn kind(&self) -> String {
        let kind = self.api.kind.to_lowercase();
        if self.api.group.is_empty() { kind } else { format!("{kind}.{}", self.api.group) }
    }

    /// `deployment.apps "web"`, as kubectl speaks of what it deletes.
    pub fn quoted(&self, name: &str) -> String {
        format!("{} {name:?}", self.kind())
    }

    /// `/apis/apps/v1/namespaces/default/deployments`.
    pub fn path(&self, namespace: Option<&str>) -> String {
        DynamicObject::url_path(&self.api, namespace.filter(|_| self.namespaced))
    }
}

use kube::Resource as _;

/// Asks the server once.
pub async fn discover(client: &Client) -> Result<Vec<Known>, CliError> {
    let mut groups = client.list_core_api_versions_aggregated().await?.items;
    groups.extend(client.list_api_groups_aggregated().await?.items);
    let mut known = Vec::new();
    for group in groups {
        let group_name = group.metadata.and_then(|meta| meta.name).unwrap_or_default();
        for version in group.versions {
            let version_name = version.version.clone().unwrap_or_default();
            for resource in version.resources {
                let plural = resource.resource.unwrap_or_default();
                let kind = resource.response_kind.and_then(|kind| kind.kind).unwrap_or_default();
                let singular = resource.singular_resource.unwrap_or_default();
                let mut names = vec![plural.clone(), singular, kind.to_lowercase()];
                names.extend(resource.short_names);
                if !group_name.is_empty() {
                    names.push(format!("{plural}.{group_name}"));
                }
                known.push(Known {
                    api: ApiResource {
                        group: group_name.clone(),
                        version: version_name.clone(),
                        api_version: if group_name.is_empty() {
                            version_name.clone()
                        } else {
                            format!("{group_name}/{version_name}")
                        },
                        kind,
                        plural,
                    },
                    namespaced: resource.scope.as_deref() == Some("Namespaced"),
                    names,
                    categories: resource.categories,
                    verbs: resource.verbs,
                });
            }
        }
    }
    Ok(known)
}

/// The definitions of custom resources that the server has.
pub async fn definitions(client: &Client) -> Result<Vec<serde_json::Value>, CliError> {
    let path = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions";
    let body = raw::request(client, http::Method::GET, path, None).await?;
    let list: serde_json::Value = serde_json::from_slice(&body).map_err(kube::Error::SerdeError)?;
    Ok(list["items"].as_array().cloned().unwrap_or_default())
}

/// The resources `pods,deploy` or `all` names.
pub fn find(known: &[Known], types: &str) -> Result<Vec<Known>, CliError> {
    let mut found = Vec::new();
    for name in types.split(',').filter(|name| !name.is_empty()) {
        let name = name.to_lowercase();
        if let Some(resource) = known.iter().find(|resource| resource.names.contains(&name)) {
            found.push(resource.clone());
            continue;
        }
        let category: Vec<Known> =
            known.iter().filter(|resource| resource.categories.contains(&name)).cloned().collect();
        if category.is_empty() {
            return Err(CliError::new(format!("the server doesn't have a resource type {name:?}"))
                .hint("resource types are named as with kubectl: pods, deploy, rs, svc, cm, ..."));
        }
        found.extend(category);
    }
    Ok(found)
}

/// What `TYPE`, `TYPE NAME...` or `TYPE/NAME...` asks for.
pub struct Asked {
    pub resource: Known,
    /// `None`: all objects.
    pub name: Option<String>,
}

pub fn parse(known: &[Known], args: &[String]) -> Result<Vec<Asked>, CliError> {
    let (first, rest) =
        args.split_first().ok_or_else(|| CliError::new("name a resource type, e.g. pods or deploy/web").code(2))?;
    if first.contains('/') {
        return args
            .iter()
            .map(|arg| {
                let (kind, name) =
                    arg.split_once('/').filter(|(kind, name)| !kind.is_empty() && !name.is_empty()).ok_or_else(
                        || CliError::new(format!("{arg:?}: expected TYPE/NAME like the arguments before it")).code(2),
                    )?;
                let resource = find(known, kind)?.swap_remove(0);
                Ok(Asked { resource, name: Some(name.to_string()) })
            })
            .collect();
    }
    let resources = find(known, first)?;
    if rest.is_empty() {
        return Ok(resources.into_iter().map(|resource| Asked { resource, name: None }).collect());
    }
    Ok(resources
        .iter()
        .flat_map(|resource| rest.iter().map(|name| Asked { resource: resource.clone(), name: Some(name.clone()) }))
        .collect())
}

/// `Scope` of kube, for callers that speak it.
impl From<&Known> for Scope {
    fn from(known: &Known) -> Self {
        if known.namespaced { Scope::Namespaced } else { Scope::Cluster }
    }
}
