//! Deployments.

use super::json::{ensure, put, put_text};
use super::pod_spec::{self, Context};
use super::{Column, Kind, table, workloads};
use crate::api::error::FieldError;
use jiff::Timestamp;
use serde_json::Value;

/// The rules of apps/v1 Deployment.
pub struct Deployment;

impl Kind for Deployment {
    fn default(&self, object: &mut Value) {
        let Some(spec) = object.as_object_mut().and_then(|object| ensure(object, "spec")) else { return };
        put(spec, "replicas", 1);
        put(spec, "revisionHistoryLimit", 10);
        put(spec, "progressDeadlineSeconds", 600);
        if let Some(strategy) = ensure(spec, "strategy") {
            put_text(strategy, "type", "RollingUpdate");
            if strategy["type"] == "RollingUpdate"
                && let Some(rolling) = ensure(strategy, "rollingUpdate")
            {
                put(rolling, "maxUnavailable", "25%");
                put(rolling, "maxSurge", "25%");
            }
        }
        pod_spec::default_template(spec);
    }

    fn has_status(&self) -> bool {
        true
    }

    fn status_stands_alone(&self) -> bool {
        true
    }

    fn kept_by_status(&self) -> &'static [&'static str] {
        &["labels", "ownerReferences"]
    }

    fn has_generation(&self) -> bool {
        true
    }

    fn generation_counts_annotations(&self) -> bool {
        true
    }

    fn validate(&self, object: &Value) -> Vec<FieldError> {
        let spec = &object["spec"];
        let mut cx = Context::new();
        workloads::validate_counts(spec, &["replicas"], &mut cx);
        pod_spec::validate_template(spec, "deployment", &mut cx);
        workloads::validate_endless(spec, "ReplicaSet", &mut cx);
        validate_strategy(&spec["strategy"], &mut cx);
        workloads::validate_counts(
            spec,
            &["minReadySeconds", "revisionHistoryLimit", "progressDeadlineSeconds"],
            &mut cx,
        );
        if spec["progressDeadlineSeconds"].as_i64().unwrap_or(600) <= spec["minReadySeconds"].as_i64().unwrap_or(0) {
            let value = &spec["progressDeadlineSeconds"];
            cx.invalid("spec.progressDeadlineSeconds".into(), value, "must be greater than minReadySeconds");
        }
        cx.errors
    }

    fn validate_update(&self, new: &Value, old: &Value) -> Vec<FieldError> {
        workloads::fixed_selector(new, old)
    }

    fn columns(&self) -> Vec<Column> {
        table::columns(
            "Name:string:name, Ready:string, Up-to-date:string, Available:string, Age:string, Containers:string:1, Images:string:1, Selector:string:1",
        )
    }

    fn row(&self, object: &Value, now: Timestamp) -> Vec<Value> {
        let ready = format!("{}/{}", workloads::status(object, "readyReplicas"), workloads::replicas(object));
        let mut cells = vec![
            table::name(object),
            ready.into(),
            workloads::status(object, "updatedReplicas").into(),
            workloads::status(object, "availableReplicas").into(),
            table::age(object, now),
        ];
        cells.extend(workloads::wide(object));
        cells
    }
}

fn validate_strategy(strategy: &Value, cx: &mut Context) {
    let rolling = &strategy["rollingUpdate"];
    match strategy["type"].as_str().unwrap_or_default() {
        "Recreate" if !rolling.is_null() => cx.errors.push(FieldError::forbidden(
            "spec.strategy.rollingUpdate",
            "may not be specified when strategy `type` is 'Recreate'",
        )),
        "RollingUpdate" if rolling.is_null() => {
            let why = "this should be defaulted and never be nil";
            cx.required("spec.strategy.rollingUpdate".into(), why);
        }
        "RollingUpdate" => validate_rolling(rolling, "spec.strategy.rollingUpdate", cx),
        _ => cx.one_of("spec.strategy.type".into(), &strategy["type"], &["Recreate", "RollingUpdate"]),
    }
}

fn validate_rolling(rolling: &Value, field: &str, cx: &mut Context) {
    for name in ["maxUnavailable", "maxSurge"] {
        workloads::validate_int_or_percent(&rolling[name], &format!("{field}.{name}"), cx);
    }
    if workloads::is_zero(&rolling["maxUnavailable"]) && workloads::is_zero(&rolling["maxSurge"]) {
        let why = "may not be 0 when `maxSurge` is 0";
        cx.invalid(format!("{field}.maxUnavailable"), &rolling["maxUnavailable"], why);
    }
    if workloads::is_over_hundred(&rolling["maxUnavailable"]) {
        cx.invalid(format!("{field}.maxUnavailable"), &rolling["maxUnavailable"], "must not be greater than 100%");
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn made(spec: Value) -> Value {
        let mut object = json!({"metadata": {"name": "web"}, "spec": spec});
        Deployment.default(&mut object);
        object
    }

    fn template(labels: Value) -> Value {
        json!({"metadata": {"labels": labels}, "spec": {"containers": [{"name": "c", "image": "a:1"}]}})
    }

    #[test]
    fn defaults_are_those_of_kubernetes_and_idempotent() {
        let object =
            made(json!({"selector": {"matchLabels": {"app": "a"}}, "template": template(json!({"app": "a"}))}));
        let strategy = json!({"type": "RollingUpdate", "rollingUpdate": {"maxUnavailable": "25%", "maxSurge": "25%"}});
        assert_eq!(object["spec"]["strategy"], strategy);
        assert_eq!(object["spec"]["replicas"], 1);
        assert_eq!(object["spec"]["template"]["spec"]["restartPolicy"], "Always");
        assert!(object["spec"]["template"]["spec"]["enableServiceLinks"].is_null());
        assert!(Deployment.validate(&object).is_empty());
        let mut again = object.clone();
        Deployment.default(&mut again);
        assert_eq!(again, object);
    }

    #[test]
    fn the_selector_must_choose_the_template() {
        let object =
            made(json!({"selector": {"matchLabels": {"app": "a"}}, "template": template(json!({"app": "b"}))}));
        let errors = Deployment.validate(&object);
        assert_eq!(errors[0].field, "spec.template.metadata.labels");
        assert_eq!(errors[0].detail, "Invalid value: {\"app\":\"b\"}: `selector` does not match template `labels`");
    }

    #[test]
    fn a_rolling_update_must_be_able_to_move() {
        let object = made(json!({"selector": {"matchLabels": {"app": "a"}}, "template": template(json!({"app": "a"})),
            "strategy": {"rollingUpdate": {"maxSurge": 0, "maxUnavailable": "0%"}}}));
        let errors: Vec<_> = Deployment.validate(&object).into_iter().map(|e| e.field).collect();
        assert_eq!(errors, ["spec.strategy.rollingUpdate.maxUnavailable"]);
    }
}
