//! Stored objects, read as far as a write needs: what it cannot change stays the bytes it is.

use super::object::parse;
use crate::api::registry::Resource;
use crate::store::Record;
use bytes::Bytes;
use serde::de::{DeserializeSeed, Deserializer, MapAccess, Visitor};
use serde_json::value::RawValue;
use serde_json::{Map, Value};
use std::fmt;
use std::sync::Arc;

/// What a write starts from.
pub struct Stored {
    pub record: Arc<Record>,
    /// Without the rest.
    pub object: Value,
    pub rest: Rest,
}

/// Parts of an object as they are stored.
#[derive(Default)]
pub struct Rest {
    /// Top-level fields.
    pub fields: Vec<(String, Bytes)>,
    /// `metadata.managedFields`.
    pub ownership: Option<Bytes>,
}

impl Stored {
    /// Everything.
    pub fn whole(record: Arc<Record>) -> Self {
        Self { object: parse(&record), record, rest: Rest::default() }
    }

    /// What a write of the status can change, and what identifies the object.
    pub fn for_status(resource: &Resource, record: Arc<Record>) -> Self {
        if !resource.rules.status_stands_alone() {
            return Self::whole(record);
        }
        Self::split(record, &|name| matches!(name, "apiVersion" | "kind" | "status"))
    }

    /// Everything but who owns which fields, for writes that do not speak of that. The forms that a
    /// custom resource is shown in may own fields under other names: those are read whole.
    pub fn for_fields(resource: &Resource, record: Arc<Record>) -> Self {
        if resource.is_custom() {
            return Self::whole(record);
        }
        Self::split(record, &|_| true)
    }

    pub fn is_whole(&self) -> bool {
        !self.rest.has_fields() && self.rest.ownership.is_none()
    }

    fn split(record: Arc<Record>, is_read: &dyn Fn(&str) -> bool) -> Self {
        let mut rest = Rest::default();
        let whole = record.value.bytes();
        let mut reader = serde_json::Deserializer::from_slice(&whole);
        let split = Split { whole: &whole, is_read, is_metadata: false, rest: &mut rest };
        match split.deserialize(&mut reader) {
            Ok(object) => Self { object, record, rest },
            // A field name that is written with an escape: rare enough.
            Err(_) => Self::whole(record),
        }
    }
}

impl Rest {
    pub fn has_fields(&self) -> bool {
        !self.fields.is_empty()
    }

    /// Removes what defaults and zeros put in the place of these fields.
    pub fn take_out_of(&self, object: &mut Value) {
        if let Some(object) = object.as_object_mut() {
            self.fields.iter().for_each(|(name, _)| drop(object.remove(name)));
        }
    }

    /// Bytes.
    pub fn size(&self) -> usize {
        let fields: usize = self.fields.iter().map(|(name, value)| name.len() + value.len() + 4).sum();
        fields + self.ownership.as_ref().map_or(0, Bytes::len)
    }
}

/// Reads an object, or its metadata, in one pass over the bytes.
struct Split<'a> {
    whole: &'a Bytes,
    /// Which top-level fields are read, metadata aside.
    is_read: &'a dyn Fn(&str) -> bool,
    is_metadata: bool,
    rest: &'a mut Rest,
}

impl<'de> DeserializeSeed<'de> for Split<'_> {
    type Value = Value;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Value, D::Error> {
        deserializer.deserialize_map(self)
    }
}

impl<'de> Visitor<'de> for Split<'_> {
    type Value = Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Value, A::Error> {
        let mut fields = Map::new();
        let kept = |raw: &RawValue| self.whole.slice_ref(raw.get().as_bytes());
        while let Some(name) = map.next_key::<&str>()? {
            let value = match (self.is_metadata, name) {
                (true, "managedFields") => {
                    self.rest.ownership = Some(kept(map.next_value()?));
                    continue;
                }
                (false, "metadata") => map.next_value_seed(Split { is_metadata: true, rest: self.rest, ..self })?,
                (false, name) if !(self.is_read)(name) => {
                    self.rest.fields.push((name.to_owned(), kept(map.next_value()?)));
                    continue;
                }
                _ => map.next_value()?,
            };
            fields.insert(name.to_owned(), value);
        }
        Ok(Value::Object(fields))
    }
}
