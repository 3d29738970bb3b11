//! ConfigMaps and Secrets that pods are to have and will not find, all of them: a pod that lacks one is not asked
//! for the next, and a CronJob has no pods yet. Pure.

use super::owners::Owners;
use super::problems::Problems;
use crate::api::access::ROOT_CA;
use crate::api::changeset::{ChangeAction, ChangeSetStatus, ObjectId};
use crate::store::bucket;
use serde_json::Value;
use std::collections::BTreeSet;

/// Kinds that make pods, with their groups and plurals, and where their pods' spec is.
const WORKLOADS: [(&str, &str, &str, &str); 8] = [
    ("Pod", "", "pods", "/spec"),
    ("ReplicationController", "", "replicationcontrollers", "/spec/template/spec"),
    ("DaemonSet", "apps", "daemonsets", "/spec/template/spec"),
    ("Deployment", "apps", "deployments", "/spec/template/spec"),
    ("ReplicaSet", "apps", "replicasets", "/spec/template/spec"),
    ("StatefulSet", "apps", "statefulsets", "/spec/template/spec"),
    ("CronJob", "batch", "cronjobs", "/spec/jobTemplate/spec/template/spec"),
    ("Job", "batch", "jobs", "/spec/template/spec"),
];

/// One that a pod cannot do without.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
struct Reference {
    /// `ConfigMap` or `Secret`.
    kind: &'static str,
    name: String,
    /// Empty: any.
    key: String,
    /// `volume config`, `container web`.
    by: String,
}

/// Notes what the objects of the change set lack, and what others lack that it deletes.
pub fn note(change: &ChangeSetStatus, owners: &Owners<'_>, problems: &mut Problems) {
    let comes = |id: &ObjectId| !matches!(id.kind.as_str(), "ConfigMap" | "Secret");
    for result in change.results.iter().filter(|result| comes(&result.id)) {
        let is_new = matches!(result.action, ChangeAction::Created | ChangeAction::Configured | ChangeAction::Replaced);
        if let Some(after) = result.after.as_ref().filter(|_| is_new) {
            check(&result.id, after, change, owners, None, problems);
        }
    }
    let gone = change.results.iter().filter(|result| result.action == ChangeAction::Deleted).map(|result| &result.id);
    let gone: Vec<&ObjectId> = gone.filter(|id| !comes(id)).collect();
    if gone.is_empty() {
        return;
    }
    let namespaces: BTreeSet<&str> = gone.iter().map(|id| id.namespace.as_str()).collect();
    for (kind, group, plural, _) in WORKLOADS {
        let records = owners.store.range(&bucket(group, plural), None, None, 0).map(|range| range.records);
        let records = records.unwrap_or_default();
        // Those that others make are as their makers say, and old ReplicaSets keep what is not used any more.
        let own = records.iter().filter(|record| record.envelope.controller().is_none());
        for record in own.filter(|record| namespaces.contains(record.envelope.namespace.as_str())) {
            let Ok(object) = serde_json::from_slice::<Value>(&record.value.bytes()) else { continue };
            let id = ObjectId {
                api_version: object["apiVersion"].as_str().unwrap_or_default().to_owned(),
                kind: kind.to_owned(),
                namespace: record.envelope.namespace.clone(),
                name: record.envelope.name.clone(),
                uid: String::new(),
            };
            check(&id, &object, change, owners, Some(&gone), problems);
        }
    }
}

/// Notes what a workload lacks; with `only`, of these alone.
fn check(
    id: &ObjectId,
    object: &Value,
    change: &ChangeSetStatus,
    owners: &Owners<'_>,
    only: Option<&[&ObjectId]>,
    problems: &mut Problems,
) {
    let (group, _) = id.api_version.rsplit_once('/').unwrap_or_default();
    let workload = WORKLOADS.iter().find(|(kind, of, ..)| *kind == id.kind && *of == group);
    let Some(spec) = workload.and_then(|(.., at)| object.pointer(at)) else { return };
    let workload = ObjectId { uid: String::new(), ..id.clone() };
    for Reference { kind, name, key, by } in references(spec) {
        // Every namespace gets it from what no copy of a cluster has: the daemon's CA.
        if kind == "ConfigMap" && name == ROOT_CA {
            continue;
        }
        let is = |other: &ObjectId| other.kind == kind && other.namespace == id.namespace && other.name == name;
        if only.is_some_and(|only| !only.iter().any(|gone| is(gone))) {
            continue;
        }
        // What a later stage brings counts, though a sync that stops does not come that far.
        let brought = change.results.iter().find(|result| is(&result.id)).and_then(|result| result.after.clone());
        let (names, message) = match get(owners, kind, &id.namespace, &name).or(brought) {
            None if only.is_some() => (vec![&name], format!("{kind} {name:?} goes, and {by} needs it")),
            None => (vec![&name], format!("{kind} {name:?} is not there, and {by} needs it")),
            Some(found) if !key.is_empty() && !has_key(&found, &key) => {
                (vec![&name, &key], format!("{kind} {name:?} has no key {key:?}, and {by} needs it"))
            }
            Some(_) => continue,
        };
        problems.reference(&workload, &names, message);
    }
}

/// As it is in the end.
fn get(owners: &Owners<'_>, kind: &str, namespace: &str, name: &str) -> Option<Value> {
    let record = owners.store.get(&owners.key("v1", kind, namespace, name)?)?;
    serde_json::from_slice(&record.value.bytes()).ok()
}

fn has_key(object: &Value, key: &str) -> bool {
    ["data", "binaryData"].iter().any(|field| object[field].get(key).is_some())
}

/// What pods with this spec cannot do without.
fn references(spec: &Value) -> BTreeSet<Reference> {
    let mut found = BTreeSet::new();
    let list = |value: &Value| value.as_array().cloned().unwrap_or_default();
    let mut add = |kind: &'static str, source: &Value, field: &str, key: &str, by: &str| {
        let name = source[field].as_str().unwrap_or_default();
        if !name.is_empty() && source["optional"] != true {
            found.insert(Reference { kind, name: name.to_owned(), key: key.to_owned(), by: by.to_owned() });
        }
    };
    for volume in list(&spec["volumes"]) {
        let by = format!("volume {}", volume["name"].as_str().unwrap_or_default());
        let projected = list(&volume["projected"]["sources"]);
        for (source, field) in std::iter::once((&volume, "secretName")).chain(projected.iter().map(|one| (one, "name")))
        {
            for (kind, source, field) in
                [("ConfigMap", &source["configMap"], "name"), ("Secret", &source["secret"], field)]
            {
                add(kind, source, field, "", &by);
                for item in list(&source["items"]) {
                    add(kind, source, field, item["key"].as_str().unwrap_or_default(), &by);
                }
            }
        }
    }
    for container in ["initContainers", "containers"].iter().flat_map(|field| list(&spec[field])) {
        let by = format!("container {}", container["name"].as_str().unwrap_or_default());
        for source in list(&container["envFrom"]) {
            add("ConfigMap", &source["configMapRef"], "name", "", &by);
            add("Secret", &source["secretRef"], "name", "", &by);
        }
        for variable in list(&container["env"]) {
            for (kind, field) in [("ConfigMap", "configMapKeyRef"), ("Secret", "secretKeyRef")] {
                let source = &variable["valueFrom"][field];
                add(kind, source, "name", source["key"].as_str().unwrap_or_default(), &by);
            }
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn what_a_pod_can_do_without_is_no_reference() {
        let spec = json!({
            "volumes": [
                {"name": "a", "configMap": {"name": "one", "items": [{"key": "k", "path": "p"}]}},
                {"name": "b", "secret": {"secretName": "two", "optional": true}},
                {"name": "c", "projected": {"sources": [{"secret": {"name": "three"}}, {"serviceAccountToken": {}}]}},
            ],
            "containers": [{"name": "d", "envFrom": [{"configMapRef": {"name": "four"}}],
                "env": [{"name": "E", "valueFrom": {"secretKeyRef": {"name": "five", "key": "k"}}}]}],
        });
        let found: Vec<String> = references(&spec)
            .into_iter()
            .map(|one| format!("{} {} {} {}", one.kind, one.name, one.key, one.by))
            .collect();
        assert_eq!(
            found,
            [
                "ConfigMap four  container d",
                "ConfigMap one  volume a",
                "ConfigMap one k volume a",
                "Secret five k container d",
                "Secret three  volume c"
            ]
        );
    }
}
