//! Object metadata: the envelope extracted from an object's bytes, and helpers over JSON objects.

use super::kinds::Kind;
use serde::Deserialize;
use serde_json::Value;
use std::collections::BTreeMap;
use std::sync::Arc;

/// What selectors, controllers and the verbs need of an object without parsing it.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Envelope {
    pub name: String,
    pub namespace: String,
    pub uid: String,
    /// Shared, as far as that is known, among what one controller made; its owners too.
    pub labels: Arc<BTreeMap<String, String>>,
    pub generation: i64,
    /// RFC 3339, set while the object is being deleted.
    pub deletion_timestamp: Option<String>,
    pub finalizers: Vec<String>,
    pub owner_references: Arc<Vec<OwnerReference>>,
    /// Selectable fields beyond name and namespace, e.g. `spec.nodeName`; filled by the kind's rules.
    #[serde(skip)]
    pub fields: Vec<(&'static str, String)>,
}

#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct OwnerReference {
    pub api_version: String,
    pub kind: String,
    pub name: String,
    pub uid: String,
    pub controller: bool,
    pub block_owner_deletion: bool,
}

/// What [`Envelope::read`] looks at; everything else is skipped without being built.
#[derive(Deserialize)]
struct Head {
    #[serde(default)]
    metadata: Envelope,
}

impl Envelope {
    /// Of an object, with the selectable fields of its kind. Metadata of a wrong type reads as empty.
    pub fn of(object: &Value, rules: &dyn Kind) -> Self {
        let metadata = object.get("metadata").map(Self::deserialize);
        let mut envelope = metadata.and_then(Result::ok).unwrap_or_default();
        envelope.fields = rules.fields(object);
        envelope.tighten();
        envelope
    }

    /// Lists that were read have room for more than they hold, and there is an envelope for every object.
    fn tighten(&mut self) {
        if let Some(owners) = Arc::get_mut(&mut self.owner_references) {
            owners.shrink_to_fit();
        }
        self.finalizers.shrink_to_fit();
        self.fields.shrink_to_fit();
    }

    /// Of an object's JSON, reading no more than the kind's selectable fields need.
    pub fn read(bytes: &[u8], rules: &dyn Kind) -> Result<Self, serde_json::Error> {
        if rules.field_names().is_empty() {
            let mut envelope = serde_json::from_slice::<Head>(bytes)?.metadata;
            envelope.tighten();
            return Ok(envelope);
        }
        Ok(Self::of(&serde_json::from_slice(bytes)?, rules))
    }

    /// The owner that controls this object, if one does.
    pub fn controller(&self) -> Option<&OwnerReference> {
        self.owner_references.iter().find(|owner| owner.controller)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::api::kinds::generic::Generic;
    use serde_json::json;

    #[test]
    fn bytes_and_values_have_the_same_envelope() {
        let rules = Generic { status: false, generation: false };
        let object = json!({"kind": "X", "metadata": {
            "name": "a", "namespace": "b", "uid": "u", "generation": 3, "labels": {"k": "v"},
            "deletionTimestamp": "2026-01-01T00:00:00Z", "finalizers": ["f/g"], "managedFields": [{"fieldsV1": {"f:a": {}}}],
            "ownerReferences": [{"apiVersion": "apps/v1", "kind": "ReplicaSet", "name": "r", "uid": "w", "controller": true}],
        }, "spec": {"deep": [[[1]]]}});
        let read = Envelope::read(object.to_string().as_bytes(), &rules).unwrap();
        assert_eq!(read, Envelope::of(&object, &rules));
        assert_eq!((read.name.as_str(), read.generation, read.labels["k"].as_str()), ("a", 3, "v"));
        assert_eq!(read.controller().unwrap().uid, "w");
    }

    #[test]
    fn odd_objects_have_empty_envelopes() {
        let rules = Generic { status: false, generation: false };
        assert_eq!(Envelope::of(&json!([1]), &rules), Envelope::default());
        assert_eq!(Envelope::of(&json!({"metadata": 7}), &rules), Envelope::default());
        assert_eq!(Envelope::read(b"{}", &rules).unwrap(), Envelope::default());
        assert!(Envelope::read(b"{", &rules).is_err());
    }
}
