//! The schema engine: one description of a type drives decoding, strict validation, pruning,
//! defaulting, strategic merge, server-side apply and OpenAPI, for built-in kinds and custom ones
//! alike. There is no per-kind merge or decode code anywhere.

pub mod application;
pub mod application_set;
pub mod builtin;
pub mod custom;
pub mod decode;
pub mod defaults;
pub mod openapi;
pub mod table;
pub mod zeros;

use serde_json::Value;
use std::collections::BTreeMap;
use std::sync::Arc;

pub type SchemaRef = Arc<Schema>;

/// A type. Shared by reference; named types (`io.k8s.api.core.v1.Container`) are built once.
#[derive(Debug, Default)]
pub struct Schema {
    pub shape: Shape,
    /// The definition's name in OpenAPI, for named types.
    pub name: Option<Arc<str>>,
    pub description: Arc<str>,
    pub default: Option<Value>,
    pub nullable: bool,
    /// From a custom resource's definition: a value of another type is kept as it is when it is
    /// read, for validation to refuse.
    pub lenient: bool,
    /// What validation checks beyond the shape; `None` for built-in types, whose kinds have code.
    pub checks: Option<Box<custom::Checks>>,
}

#[derive(Debug, Default)]
pub enum Shape {
    /// Anything, kept as it is (RawExtension, JSON, preserve-unknown).
    #[default]
    Any,
    Boolean,
    /// `bits` is 32 or 64.
    Integer {
        bits: u8,
    },
    Number,
    String,
    /// base64 in JSON.
    Bytes,
    /// RFC 3339, whole seconds.
    Time,
    /// RFC 3339 with microseconds.
    MicroTime,
    Duration,
    Quantity,
    IntOrString,
    Object(ObjectShape),
    /// String keys, one type of value. `atomic`: server-side apply owns it as one value.
    Map {
        values: SchemaRef,
        atomic: bool,
    },
    List {
        items: SchemaRef,
        kind: ListKind,
        patch: Option<ListPatch>,
    },
}

#[derive(Debug, Default)]
pub struct ObjectShape {
    pub fields: BTreeMap<Arc<str>, Field>,
    pub required: Vec<Arc<str>>,
    /// Server-side apply owns it as one value.
    pub atomic: bool,
    /// Fields the schema does not know are kept.
    pub preserve_unknown: bool,
}

#[derive(Debug, Default)]
pub struct Field {
    pub schema: SchemaRef,
    /// Strategic merge: `retainKeys` strategy (deployment strategy, volumes).
    pub retain_keys: bool,
    /// Strategic merge: `replace` strategy (the selector of a disruption budget).
    pub replace: bool,
    /// Left out of the stored object when empty: `false`, `0`, `""`, `[]`, `{}` of a map. What
    /// Go's `omitempty` drops, so that bodies in JSON and protobuf store the same bytes.
    pub omit_empty: bool,
    /// Part of the stored object even when not set, with its zero. See [`zeros`].
    pub always: bool,
}

/// How server-side apply sees a list.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub enum ListKind {
    #[default]
    Atomic,
    Set,
    /// A map by these keys of its items.
    Map(Vec<Arc<str>>),
}

/// How a strategic merge patch sees a list; lists without are replaced.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ListPatch {
    /// The key that identifies items; `None` for lists of primitives (union).
    pub merge_key: Option<Arc<str>>,
    pub retain_keys: bool,
}
