//! What the GitOps engine must know of kinds: scope, plural, schema.

use crate::api::registry::{Registry, Resource};
use crate::api::schema::SchemaRef;
use std::sync::Arc;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Scope {
    Namespaced,
    Cluster,
}

/// Looks kinds up; from the registry in the daemon, from a fixed table in tests.
pub trait Kinds: Send + Sync {
    /// `None`: nobody serves the kind.
    fn scope(&self, api_version: &str, kind: &str) -> Option<Scope>;
    /// The plural that URLs use.
    fn plural(&self, api_version: &str, kind: &str) -> Option<String>;
    /// Its objects are kept. Others are answers only: reviews, and what is measured when somebody asks.
    fn is_stored(&self, api_version: &str, kind: &str) -> bool;
    /// For merge keys of lists; `None` compares lists by position.
    fn schema(&self, api_version: &str, kind: &str) -> Option<SchemaRef>;
    /// All served (apiVersion, kind), for suggestions.
    fn all(&self) -> Vec<(String, String)>;

    /// What an unknown kind was probably meant to be: `apiVersion: apps/v1`, or a kind's name.
    fn suggest(&self, api_version: &str, kind: &str) -> Option<String> {
        let all = self.all();
        if let Some((right, _)) = all.iter().find(|(_, known)| known == kind) {
            return Some(format!("apiVersion: {right}"));
        }
        let lower = kind.to_lowercase();
        let near = all.iter().filter(|(version, _)| version == api_version).chain(&all);
        near.map(|(_, known)| (distance(&lower, &known.to_lowercase()), known))
            // Any three letters are two edits from "Pod".
            .filter(|(distance, _)| *distance <= 2 && distance * 2 < lower.len())
            .min_by_key(|(distance, _)| *distance)
            .map(|(_, known)| known.clone())
    }
}

impl Kinds for Registry {
    fn scope(&self, api_version: &str, kind: &str) -> Option<Scope> {
        let resource = find(self, api_version, kind)?;
        Some(if resource.namespaced { Scope::Namespaced } else { Scope::Cluster })
    }

    fn plural(&self, api_version: &str, kind: &str) -> Option<String> {
        Some(find(self, api_version, kind)?.plural.clone())
    }

    fn is_stored(&self, api_version: &str, kind: &str) -> bool {
        find(self, api_version, kind).is_some_and(|resource| resource.is_stored())
    }

    fn schema(&self, api_version: &str, kind: &str) -> Option<SchemaRef> {
        Some(find(self, api_version, kind)?.schema.clone())
    }

    fn all(&self) -> Vec<(String, String)> {
        let resources = self.resources();
        resources.iter().map(|resource| (resource.api_version(), resource.kind.clone())).collect()
    }
}

fn find(registry: &Registry, api_version: &str, kind: &str) -> Option<Arc<Resource>> {
    let (group, version) = api_version.split_once('/').unwrap_or(("", api_version));
    registry.by_kind(group, version, kind)
}

/// Edits (insert, delete, replace) between two short words.
fn distance(a: &str, b: &str) -> usize {
    let b: Vec<char> = b.chars().collect();
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, ca) in a.chars().enumerate() {
        let mut diagonal = std::mem::replace(&mut row[0], i + 1);
        for (j, cb) in b.iter().enumerate() {
            let replaced = diagonal + usize::from(ca != *cb);
            diagonal = row[j + 1];
            row[j + 1] = replaced.min(row[j] + 1).min(diagonal + 1);
        }
    }
    row[b.len()]
}

/// A table of (apiVersion, kind, namespaced), without schemas.
#[cfg(test)]
pub struct FixedKinds(Vec<(String, String, bool)>);

#[cfg(test)]
impl FixedKinds {
    pub fn new(rows: &[(&str, &str, bool)]) -> Self {
        Self(rows.iter().map(|(version, kind, namespaced)| ((*version).into(), (*kind).into(), *namespaced)).collect())
    }
}

#[cfg(test)]
impl Kinds for FixedKinds {
    fn scope(&self, api_version: &str, kind: &str) -> Option<Scope> {
        let row = self.0.iter().find(|(version, known, _)| version == api_version && known == kind)?;
        Some(if row.2 { Scope::Namespaced } else { Scope::Cluster })
    }

    fn plural(&self, _: &str, kind: &str) -> Option<String> {
        Some(format!("{}s", kind.to_lowercase()))
    }

    fn is_stored(&self, _: &str, _: &str) -> bool {
        true
    }

    fn schema(&self, _: &str, _: &str) -> Option<SchemaRef> {
        None
    }

    fn all(&self) -> Vec<(String, String)> {
        self.0.iter().map(|(version, kind, _)| (version.clone(), kind.clone())).collect()
    }
}
