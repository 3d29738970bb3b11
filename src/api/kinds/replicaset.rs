//! ReplicaSets.

use super::json::{ensure, put};
use super::pod_spec::{self, Context};
use super::{Column, Kind, table, workloads};
use crate::api::error::FieldError;
use jiff::Timestamp;
use serde_json::Value;

/// The rules of apps/v1 ReplicaSet.
pub struct ReplicaSet;

impl Kind for ReplicaSet {
    fn default(&self, object: &mut Value) {
        let Some(spec) = object.as_object_mut().and_then(|object| ensure(object, "spec")) else { return };
        put(spec, "replicas", 1);
        pod_spec::default_template(spec);
    }

    fn has_status(&self) -> bool {
        true
    }

    fn status_stands_alone(&self) -> bool {
        true
    }

    fn has_generation(&self) -> bool {
        true
    }

    fn validate(&self, object: &Value) -> Vec<FieldError> {
        let spec = &object["spec"];
        let mut cx = Context::new();
        workloads::validate_counts(spec, &["replicas", "minReadySeconds"], &mut cx);
        pod_spec::validate_template(spec, "deployment", &mut cx);
        workloads::validate_endless(spec, "ReplicaSet", &mut cx);
        cx.errors
    }

    fn validate_update(&self, new: &Value, old: &Value) -> Vec<FieldError> {
        workloads::fixed_selector(new, old)
    }

    fn columns(&self) -> Vec<Column> {
        table::columns(
            "Name:string:name, Desired:integer, Current:integer, Ready:integer, Age:string, Containers:string:1, Images:string:1, Selector:string:1",
        )
    }

    fn row(&self, object: &Value, now: Timestamp) -> Vec<Value> {
        let mut cells = vec![
            table::name(object),
            workloads::replicas(object).into(),
            workloads::status(object, "replicas").into(),
            workloads::status(object, "readyReplicas").into(),
            table::age(object, now),
        ];
        cells.extend(workloads::wide(object));
        cells
    }
}
