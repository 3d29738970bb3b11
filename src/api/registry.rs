//! The kinds this server has: one row each.

pub mod discovery;
mod rows;

use super::kinds::{self, Kind};
use super::schema::builtin::Builder;
use super::schema::openapi::OpenApi;
use super::schema::table::Table;
use super::schema::{SchemaRef, application};
use parking_lot::RwLock;
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
}

impl Resource {
    /// `apps/v1`; `v1` for the core group.
    pub fn api_version(&self) -> String {
        if self.group.is_empty() { self.version.clone() } else { format!("{}/{}", self.group, self.version) }
    }

    /// False for kinds that are answered and never stored (reviews, bindings).
    pub fn is_stored(&self) -> bool {
        self.verbs.contains(&"get")
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

/// The rows, in discovery order: built-in ones first, then those added at run time.
pub struct Registry {
    table: Arc<Table>,
    /// Bodies that are no resource of their own: Scale, Eviction, DeleteOptions ...
    bodies: HashMap<(&'static str, &'static str, &'static str), SchemaRef>,
    rows: RwLock<Rows>,
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
        let rows = rows::ROWS
            .iter()
            .map(|row| {
                let schema = schemas
                    .of_kind(row.group, row.version, row.kind)
                    .unwrap_or_else(|| application::schema(metadata.clone()));
                Arc::new(resource(row, schema))
            })
            .collect();
        let bodies = BODIES.into_iter().filter_map(|gvk| Some((gvk, schemas.of_kind(gvk.0, gvk.1, gvk.2)?))).collect();
        Self { table, bodies, rows: RwLock::new(rows), openapi: RwLock::default() }
    }

    /// All rows, in discovery order: by group, then version, then plural.
    pub fn resources(&self) -> Rows {
        self.rows.read().clone()
    }

    /// By URL, e.g. `apps`, `v1`, `deployments`.
    pub fn resource(&self, group: &str, version: &str, plural: &str) -> Option<Arc<Resource>> {
        self.find(|row| row.plural == plural && row.group == group && row.version == version)
    }

    /// By `apiVersion` and `kind`, e.g. `apps`, `v1`, `Deployment`.
    pub fn by_kind(&self, group: &str, version: &str, kind: &str) -> Option<Arc<Resource>> {
        self.find(|row| row.kind == kind && row.group == group && row.version == version)
    }

    /// By group and plural, in the preferred version: what a storage key or an owner names.
    pub fn by_plural(&self, group: &str, plural: &str) -> Option<Arc<Resource>> {
        self.find(|row| row.plural == plural && row.group == group)
    }

    fn find(&self, matches: impl Fn(&Resource) -> bool) -> Option<Arc<Resource>> {
        self.rows.read().iter().find(|row| matches(row)).cloned()
    }

    /// Adds or replaces rows at run time; a row replaces the one with its group, version and plural.
    pub fn add(&self, added: Vec<Resource>) {
        let mut rows = self.rows.write();
        let mut kept: Vec<_> = rows.iter().filter(|row| !added.iter().any(|new| same(new, row))).cloned().collect();
        kept.extend(added.into_iter().map(Arc::new));
        *rows = kept.into();
    }

    /// Removes a row added at run time.
    pub fn remove(&self, group: &str, plural: &str) {
        let mut rows = self.rows.write();
        *rows = rows.iter().filter(|row| row.group != group || row.plural != plural).cloned().collect();
    }

    /// A registry that begins with the rows of this one and goes its own way.
    pub fn fork(&self) -> Self {
        let rows = RwLock::new(self.resources());
        Self { table: self.table.clone(), bodies: self.bodies.clone(), rows, openapi: RwLock::default() }
    }

    /// The OpenAPI documents of the present rows.
    pub fn openapi(&self) -> Arc<OpenApi> {
        let rows = self.resources();
        if let Some((from, made)) = self.openapi.read().as_ref()
            && Arc::ptr_eq(from, &rows)
        {
            return made.clone();
        }
        let made = Arc::new(OpenApi::generate(&rows));
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

fn same(a: &Resource, b: &Resource) -> bool {
    a.group == b.group && a.version == b.version && a.plural == b.plural
}

fn resource(row: &rows::Row, schema: SchemaRef) -> Resource {
    Resource {
        group: row.group.into(),
        version: row.version.into(),
        plural: row.plural.into(),
        singular: row.kind.to_lowercase(),
        kind: row.kind.into(),
        short_names: row.short_names.iter().map(|name| (*name).into()).collect(),
        categories: if row.all { vec!["all".into()] } else { Vec::new() },
        namespaced: row.namespaced,
        verbs: row.verbs.list(),
        subresources: row.subresources.to_vec(),
        schema,
        rules: kinds::for_kind(row.group, row.kind),
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
        let row = || resource(&rows::Row { group: "example.org", ..rows::ROWS[1] }, SchemaRef::default());
        registry.add(vec![row()]);
        registry.add(vec![row()]);
        assert_eq!(registry.resources().len(), before + 1);
        assert!(registry.openapi().document("apis/example.org/v1").is_some());
        registry.remove("example.org", "configmaps");
        assert!(registry.openapi().document("apis/example.org/v1").is_none());
        assert_eq!(registry.resources().len(), before);
    }
}
