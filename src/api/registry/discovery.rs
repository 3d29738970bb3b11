//! Discovery documents: the aggregated form of current clients and the older lists.

use super::{Registry, Resource};
use serde_json::{Value, json};
use sha2::{Digest, Sha512};
use std::sync::Arc;

/// The entity tag of a document, as the `Etag` header carries it: quoted, upper-case SHA-512.
pub fn etag(document: &[u8]) -> String {
    let digest = Sha512::digest(document);
    format!("\"{}\"", digest.iter().map(|byte| format!("{byte:02X}")).collect::<String>())
}

/// The rows of one group, by version, both in discovery order.
struct Group<'a> {
    name: &'a str,
    versions: Vec<(&'a str, Vec<&'a Resource>)>,
}

fn groups(rows: &[Arc<Resource>]) -> Vec<Group<'_>> {
    let mut groups: Vec<Group<'_>> = Vec::new();
    for row in rows {
        let at = groups.iter().position(|group| group.name == row.group).unwrap_or_else(|| {
            groups.push(Group { name: &row.group, versions: Vec::new() });
            groups.len() - 1
        });
        let versions = &mut groups[at].versions;
        match versions.iter_mut().find(|(version, _)| *version == row.version) {
            Some((_, rows)) => rows.push(row),
            None => versions.push((&row.version, vec![row])),
        }
    }
    groups
}

impl Registry {
    /// `APIGroupDiscoveryList` (apidiscovery.k8s.io/v2): of the core group for `/api`, of all others for `/apis`.
    pub fn aggregated_discovery(&self, core: bool) -> Value {
        let rows = self.resources();
        let items: Vec<Value> = groups(&rows)
            .iter()
            .filter(|group| group.name.is_empty() == core)
            .map(|group| {
                let versions: Vec<Value> = group
                    .versions
                    .iter()
                    .map(|(version, rows)| {
                        let resources: Vec<Value> = rows.iter().map(|row| aggregated(row)).collect();
                        json!({"version": version, "resources": resources, "freshness": "Current"})
                    })
                    .collect();
                let metadata = if core { json!({}) } else { json!({"name": group.name}) };
                json!({"metadata": metadata, "versions": versions})
            })
            .collect();
        json!({"kind": "APIGroupDiscoveryList", "apiVersion": "apidiscovery.k8s.io/v2", "metadata": {}, "items": items})
    }

    /// `APIVersions` for `/api`; `address` is this server's `host:port`.
    pub fn api_versions(&self, address: &str) -> Value {
        json!({"kind": "APIVersions", "versions": ["v1"], "serverAddressByClientCIDRs":
            [{"clientCIDR": "0.0.0.0/0", "serverAddress": address}]})
    }

    /// `APIGroupList` for `/apis`.
    pub fn api_groups(&self) -> Value {
        let rows = self.resources();
        let groups: Vec<Value> = groups(&rows).iter().filter(|group| !group.name.is_empty()).map(described).collect();
        json!({"kind": "APIGroupList", "apiVersion": "v1", "groups": groups})
    }

    /// `APIGroup` for `/apis/<group>`.
    pub fn api_group(&self, name: &str) -> Option<Value> {
        let rows = self.resources();
        let mut group = described(groups(&rows).iter().find(|group| !name.is_empty() && group.name == name)?);
        group["kind"] = "APIGroup".into();
        group["apiVersion"] = "v1".into();
        Some(group)
    }

    /// `APIResourceList` for `/api/v1` (group empty) and `/apis/<group>/<version>`.
    pub fn api_resources(&self, group: &str, version: &str) -> Option<Value> {
        let rows = self.resources();
        let mut resources = Vec::new();
        for row in rows.iter().filter(|row| row.group == group && row.version == version) {
            resources.extend(listed(row));
        }
        let group_version = if group.is_empty() { version.to_string() } else { format!("{group}/{version}") };
        (!resources.is_empty()).then(|| {
            json!({"kind": "APIResourceList", "apiVersion": "v1", "groupVersion": group_version, "resources": resources})
        })
    }
}

fn described(group: &Group<'_>) -> Value {
    let versions: Vec<Value> = group
        .versions
        .iter()
        .map(|(version, _)| json!({"groupVersion": format!("{}/{version}", group.name), "version": version}))
        .collect();
    let preferred = versions.first().cloned().unwrap_or_default();
    json!({"name": group.name, "versions": versions, "preferredVersion": preferred})
}

/// A resource in the aggregated form; empty group and version stand for the enclosing ones.
fn aggregated(row: &Resource) -> Value {
    let mut resource = json!({
        "resource": row.plural,
        "responseKind": {"group": "", "version": "", "kind": row.kind},
        "scope": if row.namespaced { "Namespaced" } else { "Cluster" },
        "singularResource": row.singular,
        "verbs": row.verbs,
    });
    names(row, &mut resource);
    let subresources: Vec<Value> = row
        .subresources
        .iter()
        .map(|sub| {
            let (group, version, kind) = sub.body.unwrap_or(("", "", &row.kind));
            let kind = json!({"group": group, "version": version, "kind": kind});
            json!({"subresource": sub.name, "responseKind": kind, "verbs": sub.verbs})
        })
        .collect();
    if !subresources.is_empty() {
        resource["subresources"] = subresources.into();
    }
    resource
}

/// A resource and its subresources in the older form.
fn listed(row: &Resource) -> Vec<Value> {
    let mut resource = json!({
        "name": row.plural,
        "singularName": row.singular,
        "namespaced": row.namespaced,
        "kind": row.kind,
        "verbs": row.verbs,
    });
    names(row, &mut resource);
    let mut entries = vec![resource];
    for sub in &row.subresources {
        let mut entry = json!({
            "name": format!("{}/{}", row.plural, sub.name),
            "singularName": "",
            "namespaced": row.namespaced,
            "kind": row.kind,
            "verbs": sub.verbs,
        });
        if let Some((group, version, kind)) = sub.body {
            entry["kind"] = kind.into();
            if group != row.group || version != row.version {
                entry["group"] = group.into();
                entry["version"] = version.into();
            }
        }
        entries.push(entry);
    }
    entries
}

fn names(row: &Resource, resource: &mut Value) {
    for (name, values) in [("shortNames", &row.short_names), ("categories", &row.categories)] {
        if !values.is_empty() {
            resource[name] = values.clone().into();
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn named<'a>(list: &'a Value, key: &str, name: &str) -> &'a Value {
        list.as_array().unwrap().iter().find(|item| item[key] == name).unwrap()
    }

    #[test]
    fn the_aggregated_form() {
        let registry = Registry::builtin();
        let core = registry.aggregated_discovery(true);
        assert_eq!(core["items"].as_array().unwrap().len(), 1);
        assert_eq!(core["items"][0]["metadata"], json!({}));
        let pods = named(&core["items"][0]["versions"][0]["resources"], "resource", "pods");
        assert_eq!(pods["shortNames"], json!(["po"]));
        assert_eq!(pods["scope"], "Namespaced");
        let eviction = named(&pods["subresources"], "subresource", "eviction");
        assert_eq!(eviction["responseKind"], json!({"group": "policy", "version": "v1", "kind": "Eviction"}));

        let others = registry.aggregated_discovery(false);
        assert_eq!(others["items"][0]["metadata"]["name"], "apps");
        let apps = &others["items"][0]["versions"][0];
        assert_eq!((&apps["version"], &apps["freshness"]), (&json!("v1"), &json!("Current")));
        let names: Vec<_> =
            others["items"].as_array().unwrap().iter().map(|group| &group["metadata"]["name"]).collect();
        assert!(names.contains(&&json!("selkie.dev")) && !names.contains(&&json!("")));
    }

    #[test]
    fn the_older_lists() {
        let registry = Registry::builtin();
        let apps = registry.api_resources("apps", "v1").unwrap();
        assert_eq!(apps["groupVersion"], "apps/v1");
        let scale = named(&apps["resources"], "name", "deployments/scale");
        assert_eq!(
            (&scale["group"], &scale["version"], &scale["kind"]),
            (&json!("autoscaling"), &json!("v1"), &json!("Scale"))
        );
        let status = named(&apps["resources"], "name", "deployments/status");
        assert_eq!((&status["kind"], status.get("group")), (&json!("Deployment"), None));
        assert!(registry.api_resources("apps", "v2").is_none());
        assert_eq!(registry.api_resources("", "v1").unwrap()["groupVersion"], "v1");

        let batch = registry.api_group("batch").unwrap();
        assert_eq!(batch["preferredVersion"], json!({"groupVersion": "batch/v1", "version": "v1"}));
        assert!(registry.api_group("").is_none() && registry.api_group("nope").is_none());
        assert!(named(&registry.api_groups()["groups"], "name", "batch").get("kind").is_none());
        assert_eq!(registry.api_versions("h:1")["versions"], json!(["v1"]));
    }

    #[test]
    fn tags_are_quoted_sums() {
        let tag = etag(b"x");
        assert_eq!(tag.len(), 130);
        assert!(tag.starts_with("\"A4ABD4448C49562D828115D13A1FCCEA") && tag.ends_with('"'));
    }
}
