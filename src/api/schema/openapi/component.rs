//! Schemas as OpenAPI components.

use super::docs::Docs;
use super::gvk;
use crate::api::registry::Resource;
use crate::api::schema::{Field, ListKind, ObjectShape, Schema, Shape};
use serde_json::{Map, Value, json};

const QUANTITY: &str = "io.k8s.apimachinery.pkg.api.resource.Quantity";
const INT_OR_STRING: &str = "io.k8s.apimachinery.pkg.util.intstr.IntOrString";
const TIME: &str = "io.k8s.apimachinery.pkg.apis.meta.v1.Time";
const MICRO_TIME: &str = "io.k8s.apimachinery.pkg.apis.meta.v1.MicroTime";

/// The components of one document.
pub struct Components<'a> {
    docs: &'a Docs,
    schemas: Map<String, Value>,
}

impl<'a> Components<'a> {
    pub fn new(docs: &'a Docs) -> Self {
        Self { docs, schemas: Map::new() }
    }

    /// Adds a kind and everything it refers to.
    pub fn add_kind(&mut self, row: &Resource) {
        self.schema(&row.schema);
        self.describe(&row.schema);
        if let Some(component) = row.schema.name.as_deref().and_then(|name| self.schemas.get_mut(name)) {
            component["x-kubernetes-group-version-kind"] = json!([gvk(row)]);
        }
    }

    pub fn finish(self) -> Map<String, Value> {
        self.schemas
    }

    /// A schema where it is used: in full, or a reference to its component.
    fn schema(&mut self, schema: &Schema) -> Value {
        let mut value = match &schema.shape {
            Shape::Any => json!({"type": "object", "x-kubernetes-preserve-unknown-fields": true}),
            Shape::Boolean => json!({"type": "boolean"}),
            Shape::Integer { bits } => json!({"type": "integer", "format": format!("int{bits}")}),
            Shape::Number => json!({"type": "number", "format": "double"}),
            Shape::String | Shape::Duration => json!({"type": "string"}),
            Shape::Bytes => json!({"type": "string", "format": "byte"}),
            Shape::Time => self.special(TIME, json!({"type": "string", "format": "date-time"})),
            Shape::MicroTime => self.special(MICRO_TIME, json!({"type": "string", "format": "date-time"})),
            Shape::Quantity => self.special(QUANTITY, json!({"oneOf": [{"type": "string"}, {"type": "number"}]})),
            Shape::IntOrString => {
                let either = json!({"oneOf": [{"type": "integer"}, {"type": "string"}], "format": "int-or-string"});
                self.special(INT_OR_STRING, either)
            }
            Shape::Object(shape) => self.object(schema, shape),
            Shape::Map { values, atomic } => {
                let mut map = json!({"type": "object", "additionalProperties": self.schema(values)});
                if *atomic {
                    map["x-kubernetes-map-type"] = "atomic".into();
                }
                map
            }
            Shape::List { items, kind, .. } => {
                let mut list = json!({"type": "array", "items": self.schema(items)});
                self.describe(items);
                list_type(kind, &mut list);
                list
            }
        };
        if let Some(default) = &schema.default {
            value["default"] = default.clone();
        }
        if schema.nullable {
            value["nullable"] = true.into();
        }
        value
    }

    fn special(&mut self, name: &str, value: Value) -> Value {
        if !self.schemas.contains_key(name) {
            let mut value = value;
            if let Some(text) = self.docs.of_type(name) {
                value["description"] = text.into();
            }
            self.schemas.insert(name.into(), value);
        }
        reference(name)
    }

    /// A struct becomes a component if it has a name.
    fn object(&mut self, schema: &Schema, shape: &ObjectShape) -> Value {
        let Some(name) = schema.name.as_deref() else { return self.properties("", shape) };
        if !self.schemas.contains_key(name) {
            // In place first, so that a type within itself ends.
            self.schemas.insert(name.into(), Value::Null);
            let mut component = self.properties(name, shape);
            if let Some(text) = self.docs.of_type(name) {
                component["description"] = text.into();
            }
            self.schemas.insert(name.into(), component);
        }
        reference(name)
    }

    /// Gives a component what its own schema says of it. Not where it is a field's type: there the field says
    /// it, and readers such as `kubectl explain` print both.
    fn describe(&mut self, schema: &Schema) {
        let component = schema.name.as_deref().and_then(|name| self.schemas.get_mut(name));
        let Some(component) = component.and_then(Value::as_object_mut) else { return };
        if let (Some(text), false) = (described(schema), component.contains_key("description")) {
            component.insert("description".into(), text.into());
        }
    }

    fn properties(&mut self, name: &str, shape: &ObjectShape) -> Value {
        let mut component = json!({"type": "object"});
        let mut properties = Map::new();
        for (field, facts) in &shape.fields {
            properties.insert(field.to_string(), self.property(name, field, facts));
        }
        if !properties.is_empty() {
            component["properties"] = properties.into();
        }
        let own: Vec<&str> = shape.required.iter().map(|field| &**field).collect();
        let mut required = if own.is_empty() { self.docs.required(name) } else { own };
        // k8s-openapi's types cannot do without it; the API can.
        required.retain(|field| *field != "metadata");
        if !required.is_empty() {
            component["required"] = required.into();
        }
        if shape.atomic {
            component["x-kubernetes-map-type"] = "atomic".into();
        }
        if shape.preserve_unknown {
            component["x-kubernetes-preserve-unknown-fields"] = true.into();
        }
        component
    }

    fn property(&mut self, owner: &str, name: &str, field: &Field) -> Value {
        let mut property = self.schema(&field.schema);
        if property.get("allOf").is_some() {
            property["default"] = json!({});
        }
        if let Some(text) = self.docs.of_field(owner, name).or(described(&field.schema)) {
            property["description"] = text.into();
        }
        let patch = match &field.schema.shape {
            Shape::List { patch, .. } => patch.as_ref(),
            _ => None,
        };
        let retain = field.retain_keys || patch.is_some_and(|patch| patch.retain_keys);
        let strategies = [("merge", patch.is_some()), ("retainKeys", retain), ("replace", field.replace)];
        let strategies: Vec<&str> = strategies.into_iter().filter(|(_, has)| *has).map(|(name, _)| name).collect();
        if !strategies.is_empty() {
            property["x-kubernetes-patch-strategy"] = strategies.join(",").into();
        }
        if let Some(key) = patch.and_then(|patch| patch.merge_key.as_deref()) {
            property["x-kubernetes-patch-merge-key"] = key.into();
        }
        property
    }
}

fn reference(name: &str) -> Value {
    json!({"allOf": [{"$ref": format!("#/components/schemas/{name}")}]})
}

fn described(schema: &Schema) -> Option<&str> {
    (!schema.description.is_empty()).then_some(&*schema.description)
}

fn list_type(kind: &ListKind, list: &mut Value) {
    match kind {
        ListKind::Atomic => list["x-kubernetes-list-type"] = "atomic".into(),
        ListKind::Set => list["x-kubernetes-list-type"] = "set".into(),
        ListKind::Map(keys) => {
            list["x-kubernetes-list-type"] = "map".into();
            list["x-kubernetes-list-map-keys"] = keys.iter().map(|key| Value::from(&**key)).collect();
        }
    }
}
