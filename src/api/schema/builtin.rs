//! Schemas of the built-in kinds, made from the table of types. Each type is built once and shared.

use super::table::{Card, Merge, Row, Table, Wire};
use super::{Field, ListKind, ListPatch, ObjectShape, Schema, SchemaRef, Shape};
use serde_json::Value;
use std::collections::BTreeMap;
use std::sync::Arc;

/// Builds and keeps the schemas of a [`Table`].
pub struct Builder {
    table: Arc<Table>,
    built: Vec<State>,
    scalars: Scalars,
}

#[derive(Clone)]
enum State {
    Unbuilt,
    /// On the stack: a type that contains itself is cut here, and holds anything below.
    Building,
    Built(SchemaRef),
}

/// One shared schema for each type without parts.
struct Scalars {
    any: SchemaRef,
    boolean: SchemaRef,
    int32: SchemaRef,
    int64: SchemaRef,
    number: SchemaRef,
    string: SchemaRef,
    bytes: SchemaRef,
    time: SchemaRef,
    micro_time: SchemaRef,
    quantity: SchemaRef,
    int_or_string: SchemaRef,
    strings: SchemaRef,
}

impl Builder {
    pub fn new(table: Arc<Table>) -> Self {
        let built = vec![State::Unbuilt; table.types.len()];
        Self { table, built, scalars: Scalars::new() }
    }

    /// The schema of bodies of a kind, if the table has it.
    pub fn of_kind(&mut self, group: &str, version: &str, kind: &str) -> Option<SchemaRef> {
        let index = self.table.of_kind(group, version, kind)?;
        Some(self.of_type(index))
    }

    /// The schema of any type of the table, e.g. `io.k8s.api.core.v1` `PodTemplateSpec`.
    pub fn named(&mut self, package: &str, name: &str) -> Option<SchemaRef> {
        let index = self.table.find(package, name)?;
        Some(self.of_type(index))
    }

    fn of_type(&mut self, index: usize) -> SchemaRef {
        match &self.built[index] {
            State::Built(schema) => return schema.clone(),
            State::Building => return self.scalars.any.clone(),
            State::Unbuilt => {}
        }
        self.built[index] = State::Building;
        let atomic = self.table.types[index].atomic;
        let schema = self.object(index, atomic);
        self.built[index] = State::Built(schema.clone());
        schema
    }

    fn object(&mut self, index: usize, atomic: bool) -> SchemaRef {
        let table = self.table.clone();
        let kind = &table.types[index];
        let mut fields = BTreeMap::new();
        if kind.typed {
            for name in ["apiVersion", "kind"] {
                let field = Field { schema: self.scalars.string.clone(), omit_empty: true, ..Field::default() };
                fields.insert(name.into(), field);
            }
        }
        self.collect(index, &mut fields);
        let shape = Shape::Object(ObjectShape { fields, atomic, ..ObjectShape::default() });
        Arc::new(Schema { shape, name: Some(format!("{}.{}", kind.package, kind.name).into()), ..Schema::default() })
    }

    fn collect(&mut self, index: usize, fields: &mut BTreeMap<Arc<str>, Field>) {
        let table = self.table.clone();
        for row in &table.types[index].fields {
            match (row.card, row.wire) {
                (Card::Inline, Wire::Message(inner)) => self.collect(inner, fields),
                _ => {
                    fields.insert(row.json.into(), self.field(row));
                }
            }
        }
    }

    fn field(&mut self, row: &Row) -> Field {
        // Go leaves out empty slices, maps and scalars; a pointer or a struct says something by being there.
        let scalar = !matches!(row.wire, Wire::Message(_) | Wire::Json | Wire::Time | Wire::MicroTime);
        let has_empty = matches!(row.card, Card::List | Card::Map) || scalar;
        // To Go these are structs, which `omitempty` does not leave out.
        let is_struct = matches!(row.wire, Wire::Message(_) | Wire::Quantity | Wire::IntOrString);
        Field {
            schema: self.valued(row),
            retain_keys: row.merge.retain && row.card != Card::List,
            replace: row.merge.replace,
            omit_empty: row.omit_empty && !row.pointer && has_empty,
            always: row.card == Card::One && !row.pointer && (is_struct || !row.omit_empty),
        }
    }

    fn valued(&mut self, row: &Row) -> SchemaRef {
        let merge = &row.merge;
        let one = match row.wire {
            Wire::Message(index) if merge.granular && row.card == Card::One => self.object(index, false),
            wire => self.wire(wire),
        };
        match row.card {
            Card::List => shaped(Shape::List { items: one, kind: list_kind(merge), patch: list_patch(merge) }),
            Card::Map => shaped(Shape::Map { values: one, atomic: merge.atomic }),
            Card::One | Card::Inline if merge.default.is_empty() => one,
            Card::One | Card::Inline => {
                let default = Some(Value::String(merge.default.into()));
                Arc::new(Schema { shape: Shape::String, default, ..Schema::default() })
            }
        }
    }

    fn wire(&mut self, wire: Wire) -> SchemaRef {
        let scalars = &self.scalars;
        match wire {
            Wire::Bool => scalars.boolean.clone(),
            Wire::Int32 => scalars.int32.clone(),
            Wire::Int64 => scalars.int64.clone(),
            Wire::Double => scalars.number.clone(),
            Wire::String => scalars.string.clone(),
            Wire::Bytes => scalars.bytes.clone(),
            Wire::Time => scalars.time.clone(),
            Wire::MicroTime => scalars.micro_time.clone(),
            Wire::Quantity => scalars.quantity.clone(),
            Wire::IntOrString => scalars.int_or_string.clone(),
            Wire::Json => scalars.any.clone(),
            Wire::Strings => scalars.strings.clone(),
            Wire::Message(index) => self.of_type(index),
            Wire::Messages(index) => {
                let items = self.of_type(index);
                shaped(Shape::List { items, kind: ListKind::Atomic, patch: None })
            }
        }
    }
}

impl Scalars {
    fn new() -> Self {
        let string = shaped(Shape::String);
        Self {
            any: shaped(Shape::Any),
            boolean: shaped(Shape::Boolean),
            int32: shaped(Shape::Integer { bits: 32 }),
            int64: shaped(Shape::Integer { bits: 64 }),
            number: shaped(Shape::Number),
            bytes: shaped(Shape::Bytes),
            time: shaped(Shape::Time),
            micro_time: shaped(Shape::MicroTime),
            quantity: shaped(Shape::Quantity),
            int_or_string: shaped(Shape::IntOrString),
            strings: shaped(Shape::List { items: string.clone(), kind: ListKind::Atomic, patch: None }),
            string,
        }
    }
}

fn shaped(shape: Shape) -> SchemaRef {
    Arc::new(Schema { shape, ..Schema::default() })
}

fn list_kind(merge: &Merge) -> ListKind {
    match (merge.set, merge.keys) {
        (true, _) => ListKind::Set,
        (false, "") => ListKind::Atomic,
        (false, keys) => ListKind::Map(keys.split(',').map(Arc::from).collect()),
    }
}

fn list_patch(merge: &Merge) -> Option<ListPatch> {
    let key = merge.patch?;
    Some(ListPatch { merge_key: (!key.is_empty()).then(|| key.into()), retain_keys: merge.retain })
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn builder() -> Builder {
        Builder::new(Arc::new(Table::builtin()))
    }

    /// The schema at a path of field names; `[]` steps into items or values.
    fn at(root: &SchemaRef, path: &str) -> SchemaRef {
        path.split('.').fold(root.clone(), |schema, step| match &schema.shape {
            Shape::Object(object) => object.fields[step].schema.clone(),
            Shape::List { items, .. } => items.clone(),
            Shape::Map { values, .. } => values.clone(),
            other => panic!("{step} of {other:?}"),
        })
    }

    #[test]
    fn a_pod_has_its_lists_with_keys() {
        let pod = builder().of_kind("", "v1", "Pod").unwrap();
        let Shape::List { kind, patch, items } = &at(&pod, "spec.containers").shape else { panic!() };
        assert_eq!(*kind, ListKind::Map(vec!["name".into()]));
        assert_eq!(patch.as_ref().unwrap().merge_key.as_deref(), Some("name"));
        assert_eq!(items.name.as_deref(), Some("io.k8s.api.core.v1.Container"));
        let protocol = at(&pod, "spec.containers.[].ports.[].protocol");
        assert_eq!(protocol.default, Some("TCP".into()));
        assert!(matches!(at(&pod, "spec.volumes.[].configMap.defaultMode").shape, Shape::Integer { bits: 32 }));
        assert!(matches!(at(&pod, "spec.nodeSelector").shape, Shape::Map { atomic: true, .. }));
        assert!(matches!(at(&pod, "spec.containers.[].resources.limits.[]").shape, Shape::Quantity));
    }

    #[test]
    fn named_types_are_shared() {
        let mut builder = builder();
        let pod = builder.of_kind("", "v1", "Pod").unwrap();
        let deployment = builder.of_kind("apps", "v1", "Deployment").unwrap();
        assert!(Arc::ptr_eq(&at(&pod, "spec"), &at(&deployment, "spec.template.spec")));
    }

    #[test]
    fn facts_about_fields_are_kept() {
        let mut builder = builder();
        let deployment = builder.of_kind("apps", "v1", "Deployment").unwrap();
        let Shape::Object(spec) = &at(&deployment, "spec").shape else { panic!() };
        assert!(spec.fields["strategy"].retain_keys);
        assert!(spec.fields["minReadySeconds"].omit_empty && !spec.fields["replicas"].omit_empty);
        let volume = builder.of_kind("", "v1", "PersistentVolume").unwrap();
        let Shape::Object(claim) = &at(&volume, "spec.claimRef").shape else { panic!() };
        assert!(!claim.atomic);
        let budget = builder.of_kind("policy", "v1", "PodDisruptionBudget").unwrap();
        let Shape::Object(spec) = &at(&budget, "spec").shape else { panic!() };
        assert!(spec.fields["selector"].replace);
    }

    #[test]
    fn a_type_within_itself_ends() {
        let definition = builder().of_kind("apiextensions.k8s.io", "v1", "CustomResourceDefinition").unwrap();
        let schema = at(&definition, "spec.versions.[].schema.openAPIV3Schema");
        assert!(matches!(at(&schema, "properties.[]").shape, Shape::Any));
    }

    #[test]
    fn inline_fields_are_flat() {
        let pod = builder().of_kind("", "v1", "Pod").unwrap();
        assert!(matches!(at(&pod, "spec.ephemeralContainers.[].image").shape, Shape::String));
        assert!(matches!(at(&pod, "spec.containers.[].livenessProbe.httpGet.port").shape, Shape::IntOrString));
    }
}
