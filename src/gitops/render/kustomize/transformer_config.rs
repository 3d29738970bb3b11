//! Which fields each transformer changes: the defaults, what `configurations` add, and what `crds` say of
//! custom kinds.

use super::fieldspec::{self, FieldSpec};
use super::id::Gvk;
use serde::Deserialize;
use serde_json::Value;

/// Fields of others that hold the name of objects of one kind.
#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
#[serde(default, deny_unknown_fields, rename_all = "camelCase")]
pub struct NameReference {
    pub group: String,
    pub version: String,
    pub kind: String,
    pub field_specs: Vec<FieldSpec>,
}

impl NameReference {
    pub fn gvk(&self) -> Gvk {
        Gvk { group: self.group.clone(), version: self.version.clone(), kind: self.kind.clone() }
    }
}

#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
#[serde(default, deny_unknown_fields, rename_all = "camelCase")]
pub struct TransformerConfig {
    pub name_prefix: Vec<FieldSpec>,
    pub name_suffix: Vec<FieldSpec>,
    pub namespace: Vec<FieldSpec>,
    pub common_labels: Vec<FieldSpec>,
    pub labels: Vec<FieldSpec>,
    pub template_labels: Vec<FieldSpec>,
    pub common_annotations: Vec<FieldSpec>,
    pub name_reference: Vec<NameReference>,
    /// Where `$(NAME)` stands for the value of a var.
    pub var_reference: Vec<FieldSpec>,
    pub images: Vec<FieldSpec>,
    pub replicas: Vec<FieldSpec>,
}

impl TransformerConfig {
    fn lists(&mut self) -> [&mut Vec<FieldSpec>; 10] {
        [
            &mut self.name_prefix,
            &mut self.name_suffix,
            &mut self.namespace,
            &mut self.common_labels,
            &mut self.labels,
            &mut self.template_labels,
            &mut self.common_annotations,
            &mut self.var_reference,
            &mut self.images,
            &mut self.replicas,
        ]
    }

    pub fn sort(&mut self) {
        for list in self.lists() {
            list.sort_by_cached_key(|spec| spec.gvk().order_key());
        }
        self.name_reference.sort_by_cached_key(|reference| reference.gvk().order_key());
    }

    /// Adds what another says. Specs of one field that disagree are an error. Even into nothing: a spec for
    /// all kinds is no longer added behind one of the same field for a single kind.
    pub fn merge(&mut self, mut other: Self) -> Result<(), String> {
        for (own, more) in self.lists().into_iter().zip(other.lists()) {
            fieldspec::merge(own, more)?;
        }
        for reference in other.name_reference {
            self.refer(reference)?;
        }
        self.sort();
        Ok(())
    }

    fn refer(&mut self, reference: NameReference) -> Result<(), String> {
        match self.name_reference.iter_mut().find(|own| own.gvk() == reference.gvk()) {
            Some(own) => fieldspec::merge(&mut own.field_specs, &reference.field_specs),
            None => {
                self.name_reference.push(reference);
                Ok(())
            }
        }
    }

    /// What OpenAPI definitions (`{NAME: {Schema: ...}}`) say of fields by their extensions
    /// `x-kubernetes-annotation`, `-label-selector`, `-identity` and `-object-ref-*`.
    pub fn of_definitions(definitions: &Value) -> Result<Self, String> {
        let mut config = Self::default();
        let Value::Object(all) = definitions else { return Err("expected a map of definitions".to_owned()) };
        for (name, definition) in all {
            let properties = properties(definition);
            if ["kind", "apiVersion", "metadata"].iter().any(|key| properties.is_none_or(|all| !all.contains_key(*key)))
            {
                continue;
            }
            let kind = name.rsplit('.').next().unwrap_or(name).to_owned();
            let mut reader = Definitions { all, kind: &kind, config: &mut config, left: MAX_DEFINITIONS };
            reader.read(name, &mut Vec::new())?;
        }
        config.sort();
        Ok(config)
    }
}

/// How far definitions may refer to others.
const MAX_DEPTH: usize = 30;
/// How many definitions one kind may be made of, each counted as often as it is used.
const MAX_DEFINITIONS: usize = 10_000;

fn properties(definition: &Value) -> Option<&serde_json::Map<String, Value>> {
    let schema = definition.get("Schema").or_else(|| definition.get("schema"))?;
    schema.get("properties")?.as_object()
}

struct Definitions<'a> {
    all: &'a serde_json::Map<String, Value>,
    kind: &'a str,
    config: &'a mut TransformerConfig,
    /// Definitions that may still be looked into.
    left: usize,
}

impl Definitions<'_> {
    fn read(&mut self, name: &str, path: &mut Vec<String>) -> Result<(), String> {
        if path.len() > MAX_DEPTH || self.left == 0 {
            return Err(format!("the definitions of {} refer to each other without end", self.kind));
        }
        self.left -= 1;
        let all = self.all;
        let Some(properties) = all.get(name).and_then(properties) else { return Ok(()) };
        for (property, schema) in properties {
            path.push(property.clone());
            self.property(schema, path)?;
            path.pop();
        }
        Ok(())
    }

    fn property(&mut self, schema: &Value, path: &mut Vec<String>) -> Result<(), String> {
        let has = |extension: &str| schema.get(extension).is_some_and(Value::is_string);
        let text = |extension: &str| schema.get(extension).and_then(Value::as_str);
        let spec = FieldSpec::of(self.kind, path.join("/"), false);
        let one = std::slice::from_ref(&spec);
        if has("x-kubernetes-annotation") {
            fieldspec::merge(&mut self.config.common_annotations, one)?;
        }
        if has("x-kubernetes-label-selector") {
            fieldspec::merge(&mut self.config.common_labels, one)?;
        }
        if has("x-kubernetes-identity") {
            fieldspec::merge(&mut self.config.name_prefix, one)?;
        }
        if let (Some(version), Some(kind)) =
            (text("x-kubernetes-object-ref-api-version"), text("x-kubernetes-object-ref-kind"))
        {
            let key = text("x-kubernetes-object-ref-name-key").unwrap_or("name");
            let field = FieldSpec::of(self.kind, format!("{}/{key}", path.join("/")), false);
            let (version, kind) = (version.to_owned(), kind.to_owned());
            self.config.refer(NameReference { group: String::new(), version, kind, field_specs: vec![field] })?;
        }
        match schema.get("$ref").and_then(Value::as_str) {
            Some(next) => self.read(next, path),
            None => Ok(()),
        }
    }
}
