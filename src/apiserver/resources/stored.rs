//! Stored objects, read as far as a write needs: what it cannot change stays the bytes it is.

use super::object::parse;
use crate::api::registry::Resource;
use crate::store::Record;
use bytes::Bytes;
use serde_json::value::RawValue;
use serde_json::{Map, Value};
use std::collections::BTreeMap;
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

type Fields<'a> = BTreeMap<&'a str, &'a RawValue>;

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
        match split(&record.value) {
            Ok((object, rest)) => Self { object, record, rest },
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

fn split(value: &Bytes) -> serde_json::Result<(Value, Rest)> {
    let kept = |raw: &RawValue| value.slice_ref(raw.get().as_bytes());
    let parsed = |raw: &RawValue| serde_json::from_str::<Value>(raw.get());
    let (mut object, mut rest) = (Map::new(), Rest::default());
    for (name, raw) in serde_json::from_slice::<Fields>(value)? {
        match name {
            "metadata" => {
                let mut metadata = Map::new();
                for (name, raw) in serde_json::from_str::<Fields>(raw.get())? {
                    match name {
                        "managedFields" => rest.ownership = Some(kept(raw)),
                        _ => drop(metadata.insert(name.to_string(), parsed(raw)?)),
                    }
                }
                object.insert(name.to_string(), Value::Object(metadata));
            }
            "apiVersion" | "kind" | "status" => drop(object.insert(name.to_string(), parsed(raw)?)),
            _ => rest.fields.push((name.to_string(), kept(raw))),
        }
    }
    Ok((Value::Object(object), rest))
}
