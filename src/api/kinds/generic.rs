//! Rules for kinds without rules of their own: stored as they are, shown by name and age.

use super::{Column, Kind};
use jiff::Timestamp;
use serde_json::Value;

/// How a generic kind is stored and shown.
#[derive(Debug, Clone, Copy)]
pub struct Generic {
    /// Main-resource writes leave `status` alone.
    pub status: bool,
    /// `metadata.generation` counts changes of the spec.
    pub generation: bool,
}

impl Kind for Generic {
    fn has_status(&self) -> bool {
        self.status
    }

    fn has_generation(&self) -> bool {
        self.generation
    }

    fn columns(&self) -> Vec<Column> {
        vec![
            Column {
                name: "Name".into(),
                kind: "string".into(),
                format: "name".into(),
                priority: 0,
                description: "Name of the object".into(),
            },
            Column {
                name: "Created At".into(),
                kind: "date".into(),
                format: String::new(),
                priority: 0,
                description: "When the object was created".into(),
            },
        ]
    }

    fn row(&self, object: &Value, _now: Timestamp) -> Vec<Value> {
        let metadata = &object["metadata"];
        vec![metadata["name"].clone(), metadata["creationTimestamp"].clone()]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shows_name_and_creation() {
        let object =
            serde_json::json!({"metadata": {"name": "a", "creationTimestamp": "2026-01-02T03:04:05Z"}, "spec": {}});
        let rules = Generic { status: false, generation: false };
        let row = rules.row(&object, Timestamp::UNIX_EPOCH);
        assert_eq!(row, [Value::from("a"), Value::from("2026-01-02T03:04:05Z")]);
        assert_eq!(row.len(), rules.columns().len());
    }
}
