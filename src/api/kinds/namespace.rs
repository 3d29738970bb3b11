//! Namespaces.

use super::json::{Object, ensure, put, text};
use super::{Column, Deletion, Kind, keep_status, names, table};
use jiff::Timestamp;
use serde_json::{Value, json};

/// The rules of core/v1 Namespace.
pub struct Namespace;

const NAME_LABEL: &str = "kubernetes.io/metadata.name";

impl Kind for Namespace {
    fn default(&self, object: &mut Value) {
        let name = text(object, &["metadata", "name"]).to_string();
        let metadata = object.as_object_mut().and_then(|object| ensure(object, "metadata"));
        if !name.is_empty()
            && let Some(labels) = metadata.and_then(|metadata| ensure(metadata, "labels"))
        {
            labels.insert(NAME_LABEL.into(), name.into());
        }
    }

    fn prepare_create(&self, object: &mut Value) {
        let Some(namespace) = object.as_object_mut() else { return };
        namespace.insert("status".into(), json!({"phase": "Active"}));
        if let Some(spec) = ensure(namespace, "spec") {
            add_finalizer(spec);
        }
    }

    /// The finalizers of the spec are changed through `/finalize` only.
    fn prepare_update(&self, object: &mut Value, old: &Value) {
        keep_status(object, old);
        let Some(namespace) = object.as_object_mut() else { return };
        match old.get("spec") {
            Some(spec) => namespace.insert("spec".into(), spec.clone()),
            None => namespace.remove("spec"),
        };
    }

    fn has_status(&self) -> bool {
        true
    }

    fn field_names(&self) -> &'static [&'static str] {
        &["status.phase"]
    }

    fn fields(&self, object: &Value) -> Vec<(&'static str, String)> {
        vec![("status.phase", text(object, &["status", "phase"]).into())]
    }

    fn unknown_field(&self, field: &str) -> String {
        super::label_not_supported(field)
    }

    fn columns(&self) -> Vec<Column> {
        table::columns("Name:string:name, Status:string, Age:string")
    }

    fn row(&self, object: &Value, now: Timestamp) -> Vec<Value> {
        vec![table::name(object), object["status"]["phase"].clone(), table::age(object, now)]
    }

    fn deletion(&self) -> Deletion {
        Deletion::Finalized
    }

    fn name_rule(&self) -> names::NameRule {
        names::NameRule::Label
    }
}

fn add_finalizer(spec: &mut Object) {
    put(spec, "finalizers", json!([]));
    if let Some(finalizers) = spec.get_mut("finalizers").and_then(Value::as_array_mut)
        && !finalizers.iter().any(|finalizer| finalizer == "kubernetes")
    {
        finalizers.push("kubernetes".into());
    }
}
