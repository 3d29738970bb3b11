//! The pass over a body: a deserializer driven by the schema.

use super::leaf;
use super::path::{Path, go_type, struct_name};
use crate::api::schema::{Field, ObjectShape, Schema, Shape};
use serde::de::value::{MapAccessDeserializer, SeqAccessDeserializer};
use serde::de::{Deserialize, DeserializeSeed, Deserializer, Error, IgnoredAny, MapAccess, SeqAccess, Visitor};
use serde_json::{Map, Number, Value};
use std::cell::RefCell;
use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

/// As many unknown and duplicate fields are reported, then no more.
const MAX_PROBLEMS: usize = 100;

/// What a pass finds.
pub struct Run {
    problems: RefCell<Vec<String>>,
    /// What ends the pass, without the position serde would add.
    fatal: RefCell<Option<String>>,
}

impl Run {
    pub fn new() -> Self {
        Self { problems: RefCell::default(), fatal: RefCell::default() }
    }

    pub fn fatal(&self) -> Option<String> {
        self.fatal.borrow().clone()
    }

    /// Unknown and duplicate fields, in the order found.
    pub fn into_problems(self) -> Vec<String> {
        self.problems.into_inner()
    }

    fn problem(&self, what: &str, path: &Path<'_>) {
        let mut problems = self.problems.borrow_mut();
        let text = format!("{what} field {:?}", path.full());
        if problems.len() < MAX_PROBLEMS && !problems.contains(&text) {
            problems.push(text);
        }
    }

    fn fail<E: Error>(&self, why: String) -> E {
        let error = E::custom(&why);
        self.fatal.borrow_mut().get_or_insert(why);
        error
    }
}

/// A place in the body and the schema it must fit. Reads to `Null` what is to be left out.
#[derive(Clone, Copy)]
pub struct Node<'a> {
    run: &'a Run,
    schema: &'a Schema,
    path: Path<'a>,
    /// The struct this value is a field of.
    owner: &'a str,
}

impl<'a> Node<'a> {
    pub fn root(run: &'a Run, schema: &'a Schema) -> Self {
        Self { run, schema, path: Path::ROOT, owner: "" }
    }

    fn unfit<E: Error>(&self, found: &str) -> E {
        let field = self.path.fields();
        let wanted = go_type(self.schema);
        self.run.fail(match (&self.schema.shape, self.owner) {
            // These read themselves, and know nothing of the field they are in.
            (Shape::IntOrString | Shape::Time | Shape::MicroTime | Shape::Duration, _) | (_, "") => {
                format!("json: cannot unmarshal {found} into Go value of type {wanted}")
            }
            (_, owner) => {
                format!("json: cannot unmarshal {found} into Go struct field {owner}.{field} of type {wanted}")
            }
        })
    }

    fn number<E: Error>(&self, number: &Number) -> Result<Value, E> {
        if self.schema.lenient && !matches!(self.schema.shape, Shape::Integer { .. }) {
            return Ok(Value::Number(number.clone()));
        }
        let integral = || number.as_i64().or_else(|| leaf::whole(number.as_f64()?));
        let named = || self.unfit(&format!("number {number}"));
        match &self.schema.shape {
            Shape::Number => Ok(Value::Number(number.clone())),
            Shape::Integer { bits: 32 } | Shape::IntOrString => {
                integral().and_then(|n| i32::try_from(n).ok()).map(Value::from).ok_or_else(named)
            }
            Shape::Integer { .. } if self.schema.lenient => {
                Ok(integral().map_or_else(|| Value::Number(number.clone()), Value::from))
            }
            Shape::Integer { .. } => integral().map(Value::from).ok_or_else(named),
            Shape::Quantity => leaf::quantity(&number.to_string()).map_err(|why| self.run.fail(why)),
            _ => Err(self.unfit("number")),
        }
    }

    fn text<E: Error>(&self, text: &str) -> Result<Value, E> {
        let failed = |why| self.run.fail(why);
        match &self.schema.shape {
            _ if self.schema.lenient => Ok(Value::from(text)),
            Shape::String | Shape::IntOrString => Ok(Value::from(text)),
            Shape::Bytes => leaf::base64(text).map_err(failed),
            Shape::Time => leaf::time(text).map_err(failed),
            Shape::MicroTime => leaf::micro_time(text).map_err(failed),
            Shape::Duration => leaf::duration(text).map_err(failed),
            Shape::Quantity => leaf::quantity(text).map_err(failed),
            _ => Err(self.unfit("string")),
        }
    }

    fn object<'de, A: MapAccess<'de>>(&self, shape: &ObjectShape, mut access: A) -> Result<Value, A::Error> {
        let mut fields = Map::new();
        let mut dropped: Vec<&str> = Vec::new();
        while let Some(key) = access.next_key_seed(Key(&shape.fields))? {
            match key {
                Found::Field(name, field) => {
                    let path = self.path.field(name);
                    let node = Node { schema: &field.schema, path, owner: struct_name(self.schema), run: self.run };
                    let value = access.next_value_seed(node)?;
                    let again = if is_left_out(field, &value) {
                        let again = dropped.contains(&&**name) || fields.remove(&**name).is_some();
                        dropped.push(name);
                        again
                    } else {
                        fields.insert(name.to_string(), value).is_some() || dropped.contains(&&**name)
                    };
                    if again {
                        self.run.problem("duplicate", &path);
                    }
                }
                Found::Unknown(name) if shape.preserve_unknown => {
                    let value = access.next_value()?;
                    fields.insert(name, value);
                }
                Found::Unknown(name) => {
                    self.run.problem("unknown", &self.path.field(&name));
                    access.next_value::<IgnoredAny>()?;
                }
            }
        }
        Ok(Value::Object(fields))
    }

    fn map<'de, A: MapAccess<'de>>(&self, values: &Schema, mut access: A) -> Result<Value, A::Error> {
        let mut entries = Map::new();
        while let Some(key) = access.next_key::<String>()? {
            let path = self.path.key(&key);
            let value = access.next_value_seed(Node { schema: values, path, ..*self })?;
            if entries.contains_key(&key) {
                self.run.problem("duplicate", &path);
            }
            if !(values.lenient && value.is_null() && !values.nullable) {
                entries.insert(key, or_zero(values, value));
            }
        }
        Ok(Value::Object(entries))
    }

    fn list<'de, A: SeqAccess<'de>>(&self, items: &Schema, mut access: A) -> Result<Value, A::Error> {
        let mut list = Vec::with_capacity(access.size_hint().unwrap_or(0).min(1024));
        loop {
            let path = self.path.item(list.len());
            match access.next_element_seed(Node { schema: items, path, ..*self })? {
                Some(value) => list.push(or_zero(items, value)),
                None => return Ok(Value::Array(list)),
            }
        }
    }
}

/// Whether Go would leave a field with this value out.
fn is_left_out(field: &Field, value: &Value) -> bool {
    match value {
        Value::Null => !field.schema.nullable,
        _ if !field.omit_empty => false,
        Value::Bool(value) => !value,
        Value::Number(number) => number.as_f64() == Some(0.0),
        Value::String(text) => text.is_empty(),
        Value::Array(items) => items.is_empty(),
        Value::Object(entries) => entries.is_empty(),
    }
}

/// What Go makes of a null among the items of a list or the values of a map.
fn or_zero(schema: &Schema, value: Value) -> Value {
    match (&schema.shape, &value) {
        (_, value) if !value.is_null() || schema.nullable || schema.lenient => {}
        (Shape::Any, _) => {}
        (Shape::Boolean, _) => return Value::Bool(false),
        (Shape::Integer { .. } | Shape::Number | Shape::IntOrString, _) => return Value::from(0),
        (Shape::String | Shape::Bytes, _) => return Value::from(""),
        (Shape::Quantity, _) => return Value::from("0"),
        (Shape::Object(_) | Shape::Map { .. }, _) => return Value::Object(Map::new()),
        (Shape::List { .. }, _) => return Value::Array(Vec::new()),
        (Shape::Time | Shape::MicroTime | Shape::Duration, _) => {}
    }
    value
}

impl<'de> DeserializeSeed<'de> for Node<'_> {
    type Value = Value;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Value, D::Error> {
        match self.schema.shape {
            Shape::Any => Value::deserialize(deserializer),
            _ => deserializer.deserialize_any(self),
        }
    }
}

impl<'de> Visitor<'de> for Node<'_> {
    type Value = Value;

    fn expecting(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(&go_type(self.schema))
    }

    fn visit_unit<E: Error>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_none<E: Error>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_some<D: Deserializer<'de>>(self, deserializer: D) -> Result<Value, D::Error> {
        self.deserialize(deserializer)
    }

    fn visit_bool<E: Error>(self, value: bool) -> Result<Value, E> {
        match self.schema.shape {
            Shape::Boolean => Ok(Value::Bool(value)),
            _ if self.schema.lenient => Ok(Value::Bool(value)),
            Shape::Quantity => leaf::quantity(if value { "true" } else { "false" }).map_err(|why| self.run.fail(why)),
            _ => Err(self.unfit("bool")),
        }
    }

    fn visit_i64<E: Error>(self, value: i64) -> Result<Value, E> {
        self.number(&value.into())
    }

    fn visit_u64<E: Error>(self, value: u64) -> Result<Value, E> {
        self.number(&value.into())
    }

    fn visit_f64<E: Error>(self, value: f64) -> Result<Value, E> {
        match Number::from_f64(value) {
            Some(number) => self.number(&number),
            None => Err(self.unfit("number")),
        }
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<Value, E> {
        self.text(text)
    }

    fn visit_string<E: Error>(self, text: String) -> Result<Value, E> {
        match self.schema.shape {
            Shape::String => Ok(Value::String(text)),
            _ => self.text(&text),
        }
    }

    fn visit_seq<A: SeqAccess<'de>>(self, access: A) -> Result<Value, A::Error> {
        match &self.schema.shape {
            Shape::List { items, .. } => self.list(items, access),
            _ if self.schema.lenient => Value::deserialize(SeqAccessDeserializer::new(access)),
            Shape::Quantity => Err(self.run.fail(leaf::no_quantity())),
            _ => Err(self.unfit("array")),
        }
    }

    fn visit_map<A: MapAccess<'de>>(self, access: A) -> Result<Value, A::Error> {
        match &self.schema.shape {
            Shape::Object(shape) => self.object(shape, access),
            Shape::Map { values, .. } => self.map(values, access),
            _ if self.schema.lenient => Value::deserialize(MapAccessDeserializer::new(access)),
            Shape::Quantity => Err(self.run.fail(leaf::no_quantity())),
            _ => Err(self.unfit("object")),
        }
    }
}

/// Looks a key up without making a string of it.
struct Key<'a>(&'a BTreeMap<Arc<str>, Field>);

enum Found<'a> {
    Field(&'a Arc<str>, &'a Field),
    Unknown(String),
}

impl<'de, 'a> DeserializeSeed<'de> for Key<'a> {
    type Value = Found<'a>;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Found<'a>, D::Error> {
        deserializer.deserialize_str(self)
    }
}

impl<'a> Visitor<'_> for Key<'a> {
    type Value = Found<'a>;

    fn expecting(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str("a field name")
    }

    fn visit_str<E: Error>(self, name: &str) -> Result<Found<'a>, E> {
        Ok(match self.0.get_key_value(name) {
            Some((name, field)) => Found::Field(name, field),
            None => Found::Unknown(name.into()),
        })
    }
}
