//! The kinds this server has: one row each.

pub mod custom;
pub mod discovery;
mod rows;

pub use rows::METRICS;

use super::kinds::{self, Kind};
use super::schema::builtin::Builder;
use super::schema::openapi::OpenApi;
use super::schema::table::Table;
use super::schema::{SchemaRef, application, application_set};
use parking_lot::RwLock;
use serde_json::Value;
use std::collections::HashMap;
use std::sync::Arc;

/// A served resource: what discovery, decoding and the verbs need to know of a kind.
pub struct Resource {
    pub group: String,
    pub version: String,
    /// Plural, lower case: `deployments`.
    pub plural: String,
    pub singular: String,
    pub kind: String,
    pub short_names: Vec<String>,
    pub categories: Vec<String>,
    pub namespaced: bool,
    pub verbs: Vec<&'static str>,
    pub subresources: Vec<Subresource>,
    pub schema: SchemaRef,
    pub rules: Arc<dyn Kind>,
    /// Of what a list is: `DeploymentList`.
    pub list_kind: String,
    /// Set for rows that come from a definition.
    pub custom: Option<Definition>,
}

/// What a row has from its CustomResourceDefinition beyond what every row has.
#[derive(Debug, Clone)]
pub struct Definition {
    /// Of the definition's object, with the revision it was read at; 0 when it is not stored.
    pub uid: String,
    pub revision: u64,
    /// Objects are stored under this version.
    pub storage_version: String,
    /// Being deleted: nothing is created any more.
    pub terminating: bool,
    /// Told to whoever uses the version.
    pub warning: Option<String>,
    /// The schema as the definition has it, JSON: what OpenAPI shows.
    pub source: Arc<str>,
}

impl std::fmt::Debug for Resource {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} {}", self.api_version(), self.kind)
    }
}

impl Resource {
    pub fn is_custom(&self) -> bool {
        self.custom.is_some()
    }

    /// `apps/v1`; `v1` for the core group.
    pub fn api_version(&self) -> String {
        if self.group.is_empty() { self.version.clone() } else { format!("{}/{}", self.group, self.version) }
    }

    /// False for kinds that are answered and never stored (reviews, bindings, metrics).
    pub fn is_stored(&self) -> bool {
        self.verbs.contains(&"watch")
    }

    pub fn subresource(&self, name: &str) -> Option<&Subresource> {
        self.subresources.iter().find(|sub| sub.name == name)
    }
}

/// `deployments/scale` and the like. `status` is one of them.
#[derive(Debug, Clone)]
pub struct Subresource {
    pub name: &'static str,
    /// Group, version and kind of the body where it is not the parent's (Scale: autoscaling/v1).
    pub body: Option<(&'static str, &'static str, &'static str)>,
    pub verbs: &'static [&'static str],
}

/// A consistent view of the rows.
pub type Rows = Arc<[Arc<Resource>]>;

/// The rows, and where they are by group and plural, and by group and kind.
struct Snapshot {
    rows: Rows,
    by_plural: HashMap<String, Vec<usize>>,
    by_kind: HashMap<String, Vec<usize>>,
}

impl Snapshot {
    fn new(rows: Rows) -> Self {
        let (mut by_plural, mut by_kind): (HashMap<_, Vec<_>>, HashMap<_, Vec<_>>) = Default::default();
        for (at, row) in rows.iter().enumerate() {
            by_plural.entry(row.plural.clone()).or_default().push(at);
            by_kind.entry(row.kind.clone()).or_default().push(at);
        }
        Self { rows, by_plural, by_kind }
    }
}

/// The rows, in discovery order: built-in ones first, then those added at run time.
pub struct Registry {
    table: Arc<Table>,
    /// Bodies that are no resource of their own: Scale, Eviction, DeleteOptions ...
    bodies: HashMap<(&'static str, &'static str, &'static str), SchemaRef>,
    rows: RwLock<Arc<Snapshot>>,
    /// The schema of `metadata`, for custom kinds.
    metadata: SchemaRef,
    /// Made when first asked for, with the rows it was made from.
    openapi: RwLock<Option<(Rows, Arc<OpenApi>)>>,
}

/// Kinds that travel as bodies only.
const BODIES: [(&str, &str, &str); 4] = [
    ("", "v1", "DeleteOptions"),
    ("autoscaling", "v1", "Scale"),
    ("policy", "v1", "Eviction"),
    ("authentication.k8s.io", "v1", "TokenRequest"),
];

impl Registry {
    /// All kinds this build knows.
    pub fn builtin() -> Self {
        let table = Arc::new(Table::builtin());
        let mut schemas = Builder::new(table.clone());
        let metadata = schemas.named("io.k8s.apimachinery.pkg.apis.meta.v1", "ObjectMeta").unwrap_or_default();
        let rows: Rows = rows::ROWS
            .iter()
            .map(|row| {
                let schema = schemas.of_kind(row.group, row.version, row.kind).unwrap_or_else(|| match row.kind {
                    "ApplicationSet" => application_set::schema(metadata.clone()),
                    _ => application::schema(metadata.clone()),
                });
                Arc::new(resource(row, schema))
            })
            .collect();
        let bodies = BODIES.into_iter().filter_map(|gvk| Some((gvk, schemas.of_kind(gvk.0, gvk.1, gvk.2)?))).collect();
        let rows = RwLock::new(Arc::new(Snapshot::new(rows)));
        Self { table, bodies, rows, metadata, openapi: RwLock::default() }
    }

    /// Another registry with the present rows, whose rows come and go on their own.
    pub fn fork(&self) -> Self {
        Self {
            table: self.table.clone(),
            bodies: self.bodies.clone(),
            rows: RwLock::new(self.snapshot()),
            metadata: self.metadata.clone(),
            openapi: RwLock::new(self.openapi.read().clone()),
        }
    }

    fn snapshot(&self) -> Arc<Snapshot> {
        self.rows.read().clone()
    }

    /// All rows, in discovery order: by group, then version, then plural.
    pub fn resources(&self) -> Rows {
        self.snapshot().rows.clone()
    }

    /// By URL, e.g. `apps`, `v1`, `deployments`.
    pub fn resource(&self, group: &str, version: &str, plural: &str) -> Option<Arc<Resource>> {
        let snapshot = self.rows.read();
        let places = snapshot.by_plural.get(plural)?;
        let found = places.iter().map(|at| &snapshot.rows[*at]);
        found.into_iter().find(|row| row.group == group && row.version == version).cloned()
    }

    /// By `apiVersion` and `kind`, e.g. `apps`, `v1`, `Deployment`.
    pub fn by_kind(&self, group: &str, version: &str, kind: &str) -> Option<Arc<Resource>> {
        let snapshot = self.rows.read();
        let places = snapshot.by_kind.get(kind)?;
        let found = places.iter().map(|at| &snapshot.rows[*at]);
        found.into_iter().find(|row| row.group == group && row.version == version).cloned()
    }

    /// By group and plural, in the preferred version: what a storage key or an owner names.
    pub fn by_plural(&self, group: &str, plural: &str) -> Option<Arc<Resource>> {
        let snapshot = self.rows.read();
        let places = snapshot.by_plural.get(plural)?;
        places.iter().map(|at| &snapshot.rows[*at]).find(|row| row.group == group).cloned()
    }

    /// Replaces all rows that come from definitions. They follow the built-in ones by group, the
    /// preferred version of each first.
    pub fn set_custom(&self, mut custom: Vec<Arc<Resource>>) {
        custom.sort_by_cached_key(|row| {
            let preferred = std::cmp::Reverse(custom::priority(&row.version));
            (row.group.clone(), preferred, row.version.clone(), row.plural.clone())
        });
        let mut rows = self.rows.write();
        let builtin = rows.rows.iter().filter(|row| !row.is_custom()).cloned();
        *rows = Arc::new(Snapshot::new(builtin.chain(custom).collect()));
    }

    /// The rows of a definition, served or not.
    pub fn rows_of(&self, definition: &Value) -> Vec<Arc<Resource>> {
        custom::rows(definition, &self.metadata)
    }

    /// Adds the kinds of a definition that is known from elsewhere: a manifest, another server.
    pub fn learn(&self, definition: &Value) {
        let new = self.rows_of(definition);
        let known: Vec<_> = self.resources().iter().filter(|row| row.is_custom()).cloned().collect();
        let kept =
            known.into_iter().filter(|row| !new.iter().any(|new| new.group == row.group && new.plural == row.plural));
        self.set_custom(kept.chain(new.iter().cloned()).collect());
    }

    /// The OpenAPI documents of the present rows.
    pub fn openapi(&self) -> Arc<OpenApi> {
        let rows = self.resources();
        let last = self.openapi.read().clone();
        if let Some((from, made)) = &last
            && Arc::ptr_eq(from, &rows)
        {
            return made.clone();
        }
        let made = Arc::new(OpenApi::generate(&rows, last.as_ref().map(|(_, made)| &**made)));
        *self.openapi.write() = Some((rows, made.clone()));
        made
    }

    /// The schema of a body by its kind: a resource's, or one that travels as a body only
    /// (Scale, Eviction, TokenRequest, DeleteOptions in any group and version).
    pub fn schema(&self, group: &str, version: &str, kind: &str) -> Option<SchemaRef> {
        let body = match kind {
            "DeleteOptions" => self.bodies.get(&("", "v1", kind)),
            _ => self.bodies.iter().find(|(gvk, _)| **gvk == (group, version, kind)).map(|(_, schema)| schema),
        };
        body.cloned().or_else(|| Some(self.by_kind(group, version, kind)?.schema.clone()))
    }

    /// The table of built-in types: what protobuf bodies are decoded by.
    pub fn table(&self) -> &Arc<Table> {
        &self.table
    }
}

fn resource(row: &rows::Row, schema: SchemaRef) -> Resource {
    Resource {
        group: row.group.into(),
        version: row.version.into(),
        plural: row.plural.into(),
        singular: row.kind.to_lowercase(),
        kind: row.kind.into(),
        short_names: row.short_names.iter().map(|name| (*name).into()).collect(),
        categories: row.categories.iter().map(|name| (*name).into()).collect(),
        namespaced: row.namespaced,
        verbs: row.verbs.list(),
        subresources: row.subresources.to_vec(),
        schema,
        rules: kinds::for_kind(row.group, row.kind),
        list_kind: format!("{}List", row.kind),
        custom: None,
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::api::schema::Shape;

    #[test]
    fn every_builtin_row_has_its_own_schema() {
        let registry = Registry::builtin();
        for row in registry.resources().iter() {
            let name = row.schema.name.as_deref().unwrap();
            assert!(name.ends_with(&format!(".{}", row.kind)), "{} has {name}", row.kind);
            let Shape::Object(object) = &row.schema.shape else { panic!("{name}") };
            assert!(object.fields.contains_key("kind") && object.fields.contains_key("metadata"), "{name}");
        }
        assert!(registry.resources().len() >= 39);
    }

    #[test]
    fn rows_are_found_by_url_and_by_kind() {
        let registry = Registry::builtin();
        let deployments = registry.resource("apps", "v1", "deployments").unwrap();
        assert_eq!(deployments.api_version(), "apps/v1");
        assert_eq!(deployments.subresource("scale").unwrap().body, Some(("autoscaling", "v1", "Scale")));
        assert!(Arc::ptr_eq(&deployments, &registry.by_kind("apps", "v1", "Deployment").unwrap()));
        assert!(Arc::ptr_eq(&deployments, &registry.by_plural("apps", "deployments").unwrap()));
        assert!(registry.resource("apps", "v1", "pods").is_none());
        assert!(!registry.resource("", "v1", "bindings").unwrap().is_stored());
        assert!(!registry.resource(METRICS, "v1beta1", "pods").unwrap().is_stored());
        assert_eq!(registry.by_kind("selkie.dev", "v1alpha1", "Application").unwrap().plural, "applications");
    }

    #[test]
    fn bodies_have_schemas() {
        let registry = Registry::builtin();
        for (group, version, kind) in BODIES {
            assert!(registry.schema(group, version, kind).is_some(), "{kind}");
        }
        assert!(registry.schema("policy", "v1", "DeleteOptions").is_some());
        assert!(registry.schema("", "v1", "Pod").is_some());
        assert!(registry.schema("", "v1", "Nope").is_none());
    }

    #[test]
    fn rows_come_and_go() {
        let registry = Registry::builtin();
        let before = registry.resources().len();
        let definition = serde_json::json!({"metadata": {"name": "crons.example.org"}, "spec": {"group": "example.org",
            "scope": "Namespaced", "names": {"plural": "crons", "singular": "cron", "kind": "Cron", "listKind": "CronList"},
            "versions": [{"name": "v1", "served": true, "storage": true, "schema": {"openAPIV3Schema": {"type": "object",
                "properties": {"spec": {"type": "object"}}}}}]}});
        let fork = registry.fork();
        registry.set_custom(registry.rows_of(&definition));
        registry.set_custom(registry.rows_of(&definition));
        assert_eq!(registry.resources().len(), before + 1);
        assert!(registry.resource("example.org", "v1", "crons").unwrap().is_custom());
        assert!(registry.openapi().document("apis/example.org/v1").is_some());
        assert!(fork.by_kind("example.org", "v1", "Cron").is_none());
        registry.set_custom(Vec::new());
        assert!(registry.openapi().document("apis/example.org/v1").is_none());
        assert_eq!(registry.resources().len(), before);
    }
}
