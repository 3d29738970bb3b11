//! `openAPIV3Schema` to [`Schema`].

use super::{Bound, Checks, JsonType, Pattern, formats};
use crate::api::cel::Rule;
use crate::api::schema::{Field, ListKind, ObjectShape, Schema, SchemaRef, Shape};
use serde_json::{Map, Value};
use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

/// Compiles the schemas of one definition; what they have in common is shared.
pub struct Compiler {
    /// The schema of `metadata`.
    metadata: SchemaRef,
    patterns: HashMap<String, Arc<Pattern>>,
    /// Types that are the same everywhere: no checks, no parts.
    plain: HashMap<&'static str, SchemaRef>,
}

impl Compiler {
    pub fn new(metadata: SchemaRef) -> Self {
        Self { metadata, patterns: HashMap::new(), plain: HashMap::new() }
    }

    /// The schema of a kind; `name` is its OpenAPI name.
    pub fn root(&mut self, source: &Value, name: &str) -> SchemaRef {
        let mut schema = self.schema(source, false);
        if !matches!(schema.shape, Shape::Object(_)) {
            schema.shape = Shape::Object(ObjectShape { preserve_unknown: true, ..ObjectShape::default() });
        }
        self.add_identity(&mut schema.shape);
        if source["properties"]["metadata"]["properties"].is_object() {
            // Name and generateName may be restricted; the rest of metadata is Kubernetes' own.
            let restricted = serde_json::json!({"properties": {"metadata": source["properties"]["metadata"]}});
            let beside = self.node(&restricted, true);
            schema.checks.get_or_insert_default().beside = Some(beside);
        }
        schema.name = Some(name.into());
        Arc::new(schema)
    }

    fn node(&mut self, source: &Value, nested: bool) -> SchemaRef {
        if let Some(name) = plain_type(source) {
            return match self.plain.get(name) {
                Some(shared) => shared.clone(),
                None => {
                    let made = Arc::new(self.schema(source, nested));
                    self.plain.insert(name, made.clone());
                    made
                }
            };
        }
        Arc::new(self.schema(source, nested))
    }

    /// `nested`: within `allOf` and the like, where a schema says nothing of the shape.
    fn schema(&mut self, source: &Value, nested: bool) -> Schema {
        let flag = |name: &str| source[name] == true;
        let kind = source["type"].as_str().and_then(JsonType::of);
        let preserve = flag("x-kubernetes-preserve-unknown-fields") || nested;
        let atomic = source["x-kubernetes-map-type"] == "atomic";
        let mut shape = if flag("x-kubernetes-int-or-string") {
            Shape::IntOrString
        } else {
            match kind {
                Some(JsonType::Boolean) => Shape::Boolean,
                Some(JsonType::Integer) => Shape::Integer { bits: 64 },
                Some(JsonType::Number) => Shape::Number,
                Some(JsonType::String) => Shape::String,
                Some(JsonType::Array) => self.list(source, nested),
                None if nested && source["items"].is_object() => self.list(source, nested),
                None if !nested && !source["properties"].is_object() => Shape::Any,
                _ => self.object(source, preserve, atomic, nested),
            }
        };
        if flag("x-kubernetes-embedded-resource") {
            self.add_identity(&mut shape);
        }
        let checks = self.checks(source, kind);
        Schema {
            shape,
            default: source.get("default").cloned(),
            nullable: flag("nullable"),
            lenient: true,
            checks,
            ..Schema::default()
        }
    }

    fn list(&mut self, source: &Value, nested: bool) -> Shape {
        let items = match &source["items"] {
            Value::Object(_) => self.node(&source["items"], nested),
            _ => Arc::new(Schema { lenient: true, ..Schema::default() }),
        };
        let kind = match source["x-kubernetes-list-type"].as_str() {
            Some("set") => ListKind::Set,
            Some("map") => ListKind::Map(texts(&source["x-kubernetes-list-map-keys"])),
            _ => ListKind::Atomic,
        };
        Shape::List { items, kind, patch: None }
    }

    fn object(&mut self, source: &Value, preserve: bool, atomic: bool, nested: bool) -> Shape {
        let properties = source["properties"].as_object();
        match (&source["additionalProperties"], properties) {
            (values @ Value::Object(_), None) => {
                return Shape::Map { values: self.node(values, nested), atomic };
            }
            (Value::Bool(true), None) => {
                return Shape::Map { values: Arc::new(Schema { lenient: true, ..Schema::default() }), atomic };
            }
            _ => {}
        }
        let fields: BTreeMap<Arc<str>, Field> = properties
            .into_iter()
            .flatten()
            .map(|(name, source)| {
                let field = Field { schema: self.node(source, nested), ..Field::default() };
                (Arc::from(name.as_str()), field)
            })
            .collect();
        Shape::Object(ObjectShape { fields, required: texts(&source["required"]), atomic, preserve_unknown: preserve })
    }

    /// apiVersion, kind and metadata of a resource.
    fn add_identity(&mut self, shape: &mut Shape) {
        let Shape::Object(shape) = shape else { return };
        let string = self.node(&serde_json::json!({"type": "string"}), false);
        for name in ["apiVersion", "kind"] {
            shape.fields.entry(name.into()).or_insert_with(|| Field { schema: string.clone(), ..Field::default() });
        }
        let metadata = Field { schema: self.metadata.clone(), ..Field::default() };
        shape.fields.insert("metadata".into(), metadata);
    }

    fn checks(&mut self, source: &Value, kind: Option<JsonType>) -> Option<Box<Checks>> {
        let number = |name: &str| source[name].as_f64();
        let count = |name: &str| source[name].as_u64();
        let bound = |name: &str, exclusive: &str| {
            number(name).map(|value| Bound { value, exclusive: source[exclusive] == true })
        };
        let int_or_string = source["x-kubernetes-int-or-string"] == true;
        let pattern = source["pattern"]
            .as_str()
            .filter(|text| !text.is_empty())
            .map(|text| self.patterns.entry(text.into()).or_insert_with(|| Arc::new(Pattern::new(text))).clone());
        let mut all = |name: &str| -> Vec<SchemaRef> {
            source[name].as_array().into_iter().flatten().map(|part| self.node(part, true)).collect()
        };
        let (all_of, mut any_of, one_of) = (all("allOf"), all("anyOf"), all("oneOf"));
        if int_or_string && is_int_or_string(&source["anyOf"]) {
            any_of.clear();
        }
        let rules = source["x-kubernetes-validations"].as_array().into_iter().flatten().map(Rule::compile).collect();
        Some(Box::new(Checks {
            kind: if int_or_string { Some(JsonType::IntOrString) } else { kind },
            format: source["format"].as_str().and_then(formats::Format::of),
            one_of_values: source["enum"].as_array().cloned().unwrap_or_default(),
            pattern,
            minimum: bound("minimum", "exclusiveMinimum"),
            maximum: bound("maximum", "exclusiveMaximum"),
            multiple_of: number("multipleOf"),
            min_length: count("minLength"),
            max_length: count("maxLength"),
            min_items: count("minItems"),
            max_items: count("maxItems"),
            min_properties: count("minProperties"),
            max_properties: count("maxProperties"),
            all_of,
            any_of,
            one_of,
            not: source["not"].is_object().then(|| self.node(&source["not"], true)),
            embedded: source["x-kubernetes-embedded-resource"] == true,
            beside: None,
            rules,
        }))
    }
}

/// A type with nothing but a description: shared by all its uses.
fn plain_type(source: &Value) -> Option<&'static str> {
    let fields: &Map<String, Value> = source.as_object()?;
    let only = fields.keys().all(|name| matches!(name.as_str(), "type" | "description" | "title" | "example"));
    let kind = only.then(|| JsonType::of(source["type"].as_str()?)).flatten()?;
    matches!(kind, JsonType::Boolean | JsonType::Integer | JsonType::Number | JsonType::String).then(|| kind.name())
}

fn is_int_or_string(any_of: &Value) -> bool {
    *any_of == serde_json::json!([{"type": "integer"}, {"type": "string"}])
}

fn texts(list: &Value) -> Vec<Arc<str>> {
    list.as_array().into_iter().flatten().filter_map(Value::as_str).map(Arc::from).collect()
}
