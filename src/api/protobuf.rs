//! Protobuf bodies to JSON values, driven by the table of types. Current Go clients send nothing
//! else for built-in kinds; nothing here ever writes protobuf.
//!
//! What comes out still holds fields that Go would leave out of JSON (empty `omitempty` ones): the
//! schema's pass over the value removes them.

#[cfg(test)]
mod tests;
mod wire;

use super::schema::table::{Card, Row, Table, Wire};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use jiff::Timestamp;
use serde_json::{Map, Value};
use wire::{Item, Reader};

/// Deeper messages are refused; the API's own types nest less than 20 deep.
const MAX_DEPTH: usize = 64;
const MAGIC: &[u8] = b"k8s\0";

/// Why bytes are no Kubernetes object in protobuf.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ProtobufError {
    #[error("provided data does not appear to be a protobuf message, expected prefix 6b 38 73 00")]
    NoPrefix,
    #[error("no kind {kind:?} is registered for version {api_version:?} in protobuf")]
    UnknownKind { api_version: String, kind: String },
    #[error("proto: unexpected end of data")]
    Truncated,
    #[error("proto: illegal tag or wire type {0}")]
    Illegal(u64),
    #[error("proto: wrong wireType = {found} for field {field}")]
    WrongWire { field: &'static str, found: u8 },
    #[error("proto: field {0} is not valid UTF-8")]
    NotText(&'static str),
    #[error("proto: field {field} is not valid JSON: {why}")]
    NotJson { field: &'static str, why: String },
    #[error("proto: messages are nested too deep")]
    TooDeep,
}

/// Reads the envelope and the object in it. `expected` (group, version, kind) stands in for what
/// the envelope leaves out.
pub fn decode(table: &Table, expected: (&str, &str, &str), bytes: &[u8]) -> Result<Value, ProtobufError> {
    let body = bytes.strip_prefix(MAGIC).ok_or(ProtobufError::NoPrefix)?;
    let envelope = Envelope::read(body)?;
    let (group, version, kind) = envelope.kind_or(expected);
    let index = table.of_kind(group, version, kind).ok_or_else(|| ProtobufError::UnknownKind {
        api_version: if group.is_empty() { version.into() } else { format!("{group}/{version}") },
        kind: kind.into(),
    })?;
    let mut object = Map::new();
    for (name, value) in [("apiVersion", envelope.api_version), ("kind", envelope.kind)] {
        if !value.is_empty() {
            object.insert(name.into(), value.into());
        }
    }
    message(table, index, envelope.raw, MAX_DEPTH, &mut object)?;
    Ok(Value::Object(object))
}

/// `runtime.Unknown`: what the object is, and its bytes.
#[derive(Default)]
struct Envelope<'a> {
    api_version: &'a str,
    kind: &'a str,
    raw: &'a [u8],
}

impl<'a> Envelope<'a> {
    fn read(bytes: &'a [u8]) -> Result<Self, ProtobufError> {
        let mut envelope = Self::default();
        let mut reader = Reader::new(bytes);
        while let Some((number, item)) = reader.next()? {
            match number {
                1 => {
                    let mut meta = Reader::new(item.bytes("typeMeta")?);
                    while let Some((number, item)) = meta.next()? {
                        match number {
                            1 => envelope.api_version = text("apiVersion", item)?,
                            2 => envelope.kind = text("kind", item)?,
                            _ => {}
                        }
                    }
                }
                2 => envelope.raw = item.bytes("raw")?,
                _ => {}
            }
        }
        Ok(envelope)
    }

    fn kind_or(&self, expected: (&'a str, &'a str, &'a str)) -> (&'a str, &'a str, &'a str) {
        let (group, version) = match self.api_version {
            "" => (expected.0, expected.1),
            both => both.split_once('/').unwrap_or(("", both)),
        };
        (group, version, if self.kind.is_empty() { expected.2 } else { self.kind })
    }
}

fn text<'a>(field: &'static str, item: Item<'a>) -> Result<&'a str, ProtobufError> {
    std::str::from_utf8(item.bytes(field)?).map_err(|_| ProtobufError::NotText(field))
}

/// Adds the fields of a message to `object`. Unknown fields are skipped.
fn message(
    table: &Table,
    index: usize,
    bytes: &[u8],
    depth: usize,
    object: &mut Map<String, Value>,
) -> Result<(), ProtobufError> {
    let depth = depth.checked_sub(1).ok_or(ProtobufError::TooDeep)?;
    let rows = &table.types[index].fields;
    let mut reader = Reader::new(bytes);
    while let Some((number, item)) = reader.next()? {
        let Ok(at) = rows.binary_search_by_key(&number, |row| row.number) else { continue };
        field(table, &rows[at], item, depth, object)?;
    }
    Ok(())
}

fn field(
    table: &Table,
    row: &Row,
    item: Item<'_>,
    depth: usize,
    object: &mut Map<String, Value>,
) -> Result<(), ProtobufError> {
    match row.card {
        Card::Inline => {
            if let Wire::Message(index) = row.wire {
                message(table, index, item.bytes(row.json)?, depth, object)?;
            }
        }
        Card::One => {
            object.insert(row.json.into(), value(table, row, item, depth)?);
        }
        Card::List => {
            let packed = matches!(row.wire, Wire::Bool | Wire::Int32 | Wire::Int64);
            let items = match item {
                Item::Bytes(bytes) if packed => {
                    let mut reader = Reader::new(bytes);
                    let mut items = Vec::new();
                    while !reader.is_empty() {
                        items.push(value(table, row, Item::Varint(reader.varint()?), depth)?);
                    }
                    items
                }
                item => vec![value(table, row, item, depth)?],
            };
            if let Value::Array(list) = object.entry(row.json).or_insert_with(|| Value::Array(Vec::new())) {
                list.extend(items);
            }
        }
        Card::Map => {
            let (key, found) = entry(table, row, item, depth)?;
            if let Value::Object(map) = object.entry(row.json).or_insert_with(|| Value::Object(Map::new())) {
                map.insert(key, found);
            }
        }
    }
    Ok(())
}

/// One pair of a map; a missing value is the empty one of its type.
fn entry(table: &Table, row: &Row, item: Item<'_>, depth: usize) -> Result<(String, Value), ProtobufError> {
    let (mut key, mut found) = (String::new(), None);
    let mut reader = Reader::new(item.bytes(row.json)?);
    while let Some((number, item)) = reader.next()? {
        match number {
            1 => key = text(row.json, item)?.into(),
            2 => found = Some(value(table, row, item, depth)?),
            _ => {}
        }
    }
    let empty = match row.wire {
        Wire::Bool | Wire::Int32 | Wire::Int64 => Item::Varint(0),
        Wire::Double => Item::Fixed64(0),
        _ => Item::Bytes(&[]),
    };
    Ok((key, found.map_or_else(|| value(table, row, empty, depth), Ok)?))
}

fn value(table: &Table, row: &Row, item: Item<'_>, depth: usize) -> Result<Value, ProtobufError> {
    let name = row.json;
    Ok(match row.wire {
        Wire::Bool => Value::Bool(item.varint(name)? != 0),
        // A negative int32 travels as ten bytes; the low half is the number.
        Wire::Int32 => Value::from(item.varint(name)? as i32),
        Wire::Int64 => Value::from(item.varint(name)? as i64),
        Wire::Double => Value::from(item.double(name)?),
        Wire::String => Value::from(text(name, item)?),
        Wire::Bytes => Value::from(STANDARD.encode(item.bytes(name)?)),
        Wire::Time => time(name, item, "%Y-%m-%dT%H:%M:%SZ")?,
        Wire::MicroTime => time(name, item, "%Y-%m-%dT%H:%M:%S%.6fZ")?,
        Wire::Quantity => quantity(name, item)?,
        Wire::IntOrString => int_or_string(name, item)?,
        Wire::Json => json(name, item)?,
        Wire::Strings => {
            let mut items = Vec::new();
            let mut reader = Reader::new(item.bytes(name)?);
            while let Some((number, item)) = reader.next()? {
                if number == 1 {
                    items.push(Value::from(text(name, item)?));
                }
            }
            Value::Array(items)
        }
        Wire::Messages(index) => {
            let mut items = Vec::new();
            let mut reader = Reader::new(item.bytes(name)?);
            while let Some((number, item)) = reader.next()? {
                if number == 1 {
                    items.push(nested(table, index, name, item, depth)?);
                }
            }
            Value::Array(items)
        }
        Wire::Message(index) => nested(table, index, name, item, depth)?,
    })
}

fn nested(
    table: &Table,
    index: usize,
    name: &'static str,
    item: Item<'_>,
    depth: usize,
) -> Result<Value, ProtobufError> {
    let mut object = Map::new();
    message(table, index, item.bytes(name)?, depth, &mut object)?;
    Ok(Value::Object(object))
}

/// `{1: seconds, 2: nanoseconds}`; no bytes at all are no time.
fn time(name: &'static str, item: Item<'_>, format: &str) -> Result<Value, ProtobufError> {
    let bytes = item.bytes(name)?;
    if bytes.is_empty() {
        return Ok(Value::Null);
    }
    let (mut seconds, mut nanos) = (0, 0);
    let mut reader = Reader::new(bytes);
    while let Some((number, item)) = reader.next()? {
        match number {
            1 => seconds = item.varint(name)? as i64,
            2 => nanos = item.varint(name)? as i32,
            _ => {}
        }
    }
    // Times beyond the calendar are no times.
    Ok(Timestamp::new(seconds, nanos).map_or(Value::Null, |time| time.strftime(format).to_string().into()))
}

/// `{1: text}`; no text is zero.
fn quantity(name: &'static str, item: Item<'_>) -> Result<Value, ProtobufError> {
    let mut found = "0";
    let mut reader = Reader::new(item.bytes(name)?);
    while let Some((number, item)) = reader.next()? {
        if number == 1 {
            found = text(name, item)?;
        }
    }
    Ok(Value::from(if found.is_empty() { "0" } else { found }))
}

/// `{1: 0 for a number, 1 for text; 2: number; 3: text}`
fn int_or_string(name: &'static str, item: Item<'_>) -> Result<Value, ProtobufError> {
    let (mut is_text, mut number, mut words) = (false, 0, "");
    let mut reader = Reader::new(item.bytes(name)?);
    while let Some((field, item)) = reader.next()? {
        match field {
            1 => is_text = item.varint(name)? == 1,
            2 => number = item.varint(name)? as i32,
            3 => words = text(name, item)?,
            _ => {}
        }
    }
    Ok(if is_text { words.into() } else { number.into() })
}

/// `{1: JSON}`
fn json(name: &'static str, item: Item<'_>) -> Result<Value, ProtobufError> {
    let mut reader = Reader::new(item.bytes(name)?);
    let mut raw: &[u8] = &[];
    while let Some((number, item)) = reader.next()? {
        if number == 1 {
            raw = item.bytes(name)?;
        }
    }
    if raw.is_empty() {
        return Ok(Value::Null);
    }
    serde_json::from_slice(raw).map_err(|e| ProtobufError::NotJson { field: name, why: e.to_string() })
}
