//! Leases.

use super::json::text;
use super::pod_spec::Context;
use super::{Column, Kind, table};
use crate::api::error::FieldError;
use jiff::Timestamp;
use serde_json::Value;

/// The rules of coordination.k8s.io/v1 Lease.
pub struct Lease;

impl Kind for Lease {
    fn validate(&self, object: &Value) -> Vec<FieldError> {
        let mut cx = Context::new();
        let spec = &object["spec"];
        cx.at_least("spec.leaseDurationSeconds".into(), &spec["leaseDurationSeconds"], 1);
        cx.at_least("spec.leaseTransitions".into(), &spec["leaseTransitions"], 0);
        cx.errors
    }

    fn columns(&self) -> Vec<Column> {
        table::columns("Name:string:name, Holder:string, Age:string")
    }

    fn row(&self, object: &Value, now: Timestamp) -> Vec<Value> {
        vec![table::name(object), text(object, &["spec", "holderIdentity"]).into(), table::age(object, now)]
    }

    fn create_on_update(&self) -> bool {
        true
    }
}
