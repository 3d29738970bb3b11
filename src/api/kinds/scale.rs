//! `autoscaling/v1` Scale: the view of a workload's replicas at `/scale`.

use super::json::text;
use super::{Column, table};
use crate::api::error::FieldError;
use jiff::Timestamp;
use serde_json::{Value, json};

/// The Scale of a Deployment, ReplicaSet, StatefulSet or ReplicationController.
pub fn of(object: &Value) -> Value {
    let selector = &object["spec"]["selector"];
    // A ReplicationController's selector is a plain map.
    let is_labels = selector["matchLabels"].is_object() || selector["matchExpressions"].is_array();
    let printed = if is_labels { table::selector(selector) } else { table::pairs(selector) };
    let mut metadata = json!({});
    for field in ["name", "namespace", "uid", "resourceVersion", "creationTimestamp"] {
        if !object["metadata"][field].is_null() {
            metadata[field] = object["metadata"][field].clone();
        }
    }
    let mut scale = json!({
        "kind": "Scale", "apiVersion": "autoscaling/v1", "metadata": metadata,
        "spec": {}, "status": {"replicas": table::number(object, &["status", "replicas"]), "selector": printed},
    });
    let replicas = table::number(object, &["spec", "replicas"]);
    if replicas != 0 {
        scale["spec"]["replicas"] = replicas.into();
    }
    scale
}

/// The replicas a Scale asks for, or what is wrong with it.
pub fn replicas(scale: &Value) -> Result<i64, FieldError> {
    match table::number(scale, &["spec", "replicas"]) {
        negative if negative < 0 => {
            let why = "must be greater than or equal to 0";
            Err(FieldError::invalid("spec.replicas", &negative.into(), why))
        }
        replicas => Ok(replicas),
    }
}

pub fn columns() -> Vec<Column> {
    table::columns("Name:string:name, Desired:integer, Available:integer, Age:string")
}

pub fn row(scale: &Value, now: Timestamp) -> Vec<Value> {
    vec![
        text(scale, &["metadata", "name"]).into(),
        table::number(scale, &["spec", "replicas"]).into(),
        table::number(scale, &["status", "replicas"]).into(),
        table::age(scale, now),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_scale_shows_counts_and_selector() {
        let deployment = json!({"metadata": {"name": "d", "labels": {}},
            "spec": {"replicas": 3, "selector": {"matchLabels": {"app": "d"}}}, "status": {"replicas": 2}});
        let scale = of(&deployment);
        assert_eq!(scale["spec"], json!({"replicas": 3}));
        assert_eq!(scale["status"], json!({"replicas": 2, "selector": "app=d"}));
        assert_eq!(scale["metadata"], json!({"name": "d"}));
        assert!(replicas(&json!({"spec": {"replicas": -1}})).is_err());
    }
}
