//! The forms an object or a list takes on its way out: as stored, as table rows, as metadata only.

use super::negotiate::Shape;
use crate::api::kinds::{self, Column};
use crate::api::registry::Resource;
use crate::apiserver::resources::convert;
use bytes::Bytes;
use jiff::Timestamp;
use serde_json::{Value, json};

/// What `includeObject` puts beside a table's cells.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Include {
    #[default]
    Metadata,
    Object,
    None,
}

/// The form of this response.
#[derive(Debug, Clone, Copy)]
pub struct Form {
    pub shape: Shape,
    pub include: Include,
    /// Ages in tables are relative to this.
    pub now: Timestamp,
}

impl Form {
    /// One object.  `columns`: whether a table defines its columns.
    pub fn one(&self, resource: &Resource, value: &Bytes, columns: bool) -> Bytes {
        let value = convert::outgoing(resource, value);
        match self.shape {
            Shape::Object => value,
            Shape::Metadata => partial(&parse(&value)).to_string().into(),
            Shape::Table => {
                let object = parse(&value);
                let version = object["metadata"]["resourceVersion"].clone();
                let mut table = self.table(resource, json!({"resourceVersion": version}), columns);
                table["rows"] = json!([self.row(resource, object)]);
                table.to_string().into()
            }
        }
    }

    /// A list around `values`, with this list metadata.
    pub fn list(&self, resource: &Resource, metadata: Value, values: Vec<Bytes>) -> Vec<Bytes> {
        let values = values.into_iter().map(|value| convert::outgoing(resource, &value));
        match self.shape {
            Shape::Object => wrap(&resource.list_kind, &resource.api_version(), &metadata, values),
            Shape::Metadata => {
                let items = values.map(|value| Bytes::from(partial(&parse(&value)).to_string()));
                wrap("PartialObjectMetadataList", "meta.k8s.io/v1", &metadata, items)
            }
            Shape::Table => {
                let mut table = self.table(resource, metadata, true);
                table["rows"] = values.map(|value| self.row(resource, parse(&value))).collect();
                vec![table.to_string().into(), Bytes::from_static(b"\n")]
            }
        }
    }

    /// A Scale, or its table.
    pub fn scale(&self, scale: Value) -> Value {
        match self.shape {
            Shape::Object => scale,
            Shape::Metadata => partial(&scale),
            Shape::Table => {
                let definitions: Value = kinds::scale::columns().iter().map(definition).collect();
                let cells = kinds::scale::row(&scale, self.now);
                json!({"kind": "Table", "apiVersion": "meta.k8s.io/v1", "metadata": {}, "columnDefinitions": definitions,
                    "rows": [{"cells": cells, "object": partial(&scale)}]})
            }
        }
    }

    fn table(&self, resource: &Resource, metadata: Value, columns: bool) -> Value {
        let definitions: Value =
            if columns { resource.rules.columns().iter().map(definition).collect() } else { Value::Null };
        json!({"kind": "Table", "apiVersion": "meta.k8s.io/v1", "metadata": metadata, "columnDefinitions": definitions})
    }

    fn row(&self, resource: &Resource, object: Value) -> Value {
        let mut row = json!({"cells": resource.rules.row(&convert::stored(resource, &object), self.now)});
        match self.include {
            Include::Metadata => row["object"] = partial(&object),
            Include::Object => row["object"] = object,
            Include::None => {}
        }
        row
    }
}

/// A bookmark in the form of the watch it belongs to.
pub fn bookmark(form: &Form, resource: &Resource, metadata: Value, columns: bool) -> Bytes {
    match form.shape {
        Shape::Object => json!({"kind": resource.kind, "apiVersion": resource.api_version(), "metadata": metadata}),
        Shape::Metadata => {
            json!({"kind": "PartialObjectMetadata", "apiVersion": "meta.k8s.io/v1", "metadata": metadata})
        }
        Shape::Table => {
            let mut table = form.table(resource, json!({"resourceVersion": metadata["resourceVersion"]}), columns);
            let count = resource.rules.columns().len();
            let cells: Vec<Value> = (0..count).map(|i| if i == 0 { json!("") } else { Value::Null }).collect();
            table["rows"] = json!([{"cells": cells, "object": {
                "kind": "PartialObjectMetadata", "apiVersion": "meta.k8s.io/v1", "metadata": metadata}}]);
            table
        }
    }
    .to_string()
    .into()
}

fn definition(column: &Column) -> Value {
    json!({"name": column.name, "type": column.kind, "format": column.format,
        "description": column.description, "priority": column.priority})
}

fn partial(object: &Value) -> Value {
    json!({"kind": "PartialObjectMetadata", "apiVersion": "meta.k8s.io/v1", "metadata": object["metadata"]})
}

fn parse(value: &Bytes) -> Value {
    serde_json::from_slice(value).unwrap_or_default()
}

/// `{"kind":..,"items":[..]}` as parts, items uncopied.
fn wrap(kind: &str, version: &str, metadata: &Value, items: impl Iterator<Item = Bytes>) -> Vec<Bytes> {
    let mut parts = Vec::with_capacity(items.size_hint().0 * 2 + 2);
    parts
        .push(format!("{{\"kind\":\"{kind}\",\"apiVersion\":\"{version}\",\"metadata\":{metadata},\"items\":[").into());
    for (index, item) in items.enumerate() {
        if index > 0 {
            parts.push(Bytes::from_static(b","));
        }
        parts.push(item);
    }
    parts.push(Bytes::from_static(b"]}\n"));
    parts
}
