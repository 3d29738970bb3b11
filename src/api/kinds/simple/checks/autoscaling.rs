//! HorizontalPodAutoscalers, with Kubernetes' texts.

use crate::api::error::FieldError;
use crate::api::kinds::json::{integer, list, text};
use crate::api::kinds::pod_spec::Context;
use crate::api::kinds::resources;
use crate::api::quantity::Quantity;
use serde_json::Value;

/// Metric types, and the fields that tell of each.
const SOURCES: [(&str, &str); 5] = [
    ("ContainerResource", "containerResource"),
    ("External", "external"),
    ("Object", "object"),
    ("Pods", "pods"),
    ("Resource", "resource"),
];
/// Seconds: the longest window and the longest period of a policy.
const WINDOW: i64 = 3600;
const PERIOD: i64 = 1800;

pub fn autoscaler(object: &Value) -> Vec<FieldError> {
    let (mut cx, spec) = (Context::new(), &object["spec"]);
    for name in ["kind", "name"] {
        if text(spec, &["scaleTargetRef", name]).is_empty() {
            cx.required(format!("spec.scaleTargetRef.{name}"), "");
        }
    }
    let (least, most) = (integer(spec, &["minReplicas"]).unwrap_or(1), integer(spec, &["maxReplicas"]).unwrap_or(0));
    cx.at_least("spec.minReplicas".into(), &spec["minReplicas"], 1);
    cx.at_least("spec.maxReplicas".into(), &most.into(), 1);
    if most < least {
        let why = "must be greater than or equal to `minReplicas`";
        cx.invalid("spec.maxReplicas".into(), &most.into(), why);
    }
    for (i, one) in list(spec, &["metrics"]).iter().enumerate() {
        metric(one, &format!("spec.metrics[{i}]"), &mut cx);
    }
    for direction in ["scaleUp", "scaleDown"] {
        rules(&spec["behavior"][direction], &format!("spec.behavior.{direction}"), &mut cx);
    }
    cx.errors
}

fn metric(metric: &Value, field: &str, cx: &mut Context) {
    let kind = text(metric, &["type"]);
    if kind.is_empty() {
        return cx.required(format!("{field}.type"), "must specify a metric source type");
    }
    let Some((_, own)) = SOURCES.iter().find(|(known, _)| *known == kind) else {
        return cx.one_of(format!("{field}.type"), &metric["type"], &SOURCES.map(|(known, _)| known));
    };
    for (_, other) in SOURCES.iter().filter(|(_, other)| other != own && !metric[*other].is_null()) {
        let why = "must populate the given metric source only";
        cx.errors.push(FieldError::forbidden(format!("{field}.{other}"), why));
    }
    let (source, field) = (&metric[*own], format!("{field}.{own}"));
    if source.is_null() {
        return cx.required(field, "must populate information for the given metric source");
    }
    target(&source["target"], &format!("{field}.target"), cx);
    match kind {
        "Resource" | "ContainerResource" => resource(source, kind, &field, cx),
        _ if text(source, &["metric", "name"]).is_empty() => {
            cx.required(format!("{field}.metric.name"), "must specify a metric name");
        }
        _ => {}
    }
}

fn resource(source: &Value, kind: &str, field: &str, cx: &mut Context) {
    if text(source, &["name"]).is_empty() {
        cx.required(format!("{field}.name"), "must specify a resource name");
    }
    if kind == "ContainerResource" && text(source, &["container"]).is_empty() {
        cx.required(format!("{field}.container"), "must specify a container");
    }
    let target = &source["target"];
    match (target["averageUtilization"].is_null(), target["averageValue"].is_null()) {
        (true, true) => {
            let why = "must set either a target raw value or a target utilization";
            cx.required(format!("{field}.target.averageUtilization"), why);
        }
        (false, false) => {
            let why = "may not set both a target raw value and a target utilization";
            cx.errors.push(FieldError::forbidden(format!("{field}.target.averageValue"), why));
        }
        _ => {}
    }
}

fn target(target: &Value, field: &str, cx: &mut Context) {
    match text(target, &["type"]) {
        "" => cx.required(format!("{field}.type"), "must specify a metric target type"),
        "Utilization" | "Value" | "AverageValue" => {}
        other => {
            cx.invalid(format!("{field}.type"), &other.into(), "must be either Utilization, Value, or AverageValue")
        }
    }
    for name in ["value", "averageValue"] {
        let amount = resources::amount(&target[name]);
        if amount.is_some_and(|amount| amount <= Quantity::default()) {
            cx.invalid(format!("{field}.{name}"), &target[name], "must be positive");
        }
    }
    cx.at_least(format!("{field}.averageUtilization"), &target["averageUtilization"], 1);
}

fn rules(rules: &Value, field: &str, cx: &mut Context) {
    if rules.is_null() {
        return;
    }
    let window = &rules["stabilizationWindowSeconds"];
    within(window, 0, WINDOW, &format!("{field}.stabilizationWindowSeconds"), cx);
    cx.one_of(format!("{field}.selectPolicy"), &rules["selectPolicy"], &["Disabled", "Max", "Min"]);
    if resources::amount(&rules["tolerance"]).is_some_and(Quantity::is_negative) {
        cx.invalid(format!("{field}.tolerance"), &rules["tolerance"], "must be greater or equal to zero");
    }
    let policies = list(rules, &["policies"]);
    if policies.is_empty() {
        cx.required(format!("{field}.policies"), "must specify at least one Policy");
    }
    for (i, policy) in policies.iter().enumerate() {
        let field = format!("{field}.policies[{i}]");
        cx.one_of(format!("{field}.type"), &policy["type"], &["Percent", "Pods"]);
        within(&policy["value"], 1, i64::MAX, &format!("{field}.value"), cx);
        within(&policy["periodSeconds"], 1, PERIOD, &format!("{field}.periodSeconds"), cx);
    }
}

/// A number in a range whose lower end is 0 or 1; absent is not an error.
fn within(value: &Value, least: i64, most: i64, field: &str, cx: &mut Context) {
    let Some(number) = value.as_i64() else { return };
    if number < least {
        let why = if least == 0 { "must be greater than or equal to zero" } else { "must be greater than zero" };
        cx.invalid(field.into(), value, why);
    }
    if number > most {
        cx.invalid(field.into(), value, &format!("must be less than or equal to {most}"));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn wrong(metrics: Value, behavior: Value) -> Vec<String> {
        let object = json!({"spec": {"scaleTargetRef": {"kind": "Deployment", "name": "web"}, "maxReplicas": 3,
            "metrics": metrics, "behavior": behavior}});
        autoscaler(&object).into_iter().map(|error| format!("{}: {}", error.field, error.detail)).collect()
    }

    #[test]
    fn metrics_say_what_they_measure_and_aim_at() {
        let resource = |target| json!([{"type": "Resource", "resource": {"name": "cpu", "target": target}}]);
        assert!(wrong(resource(json!({"type": "Utilization", "averageUtilization": 50})), Value::Null).is_empty());
        for (metrics, why) in [
            (json!([{}]), "spec.metrics[0].type: Required value: must specify a metric source type"),
            (
                json!([{"type": "Resource"}]),
                "spec.metrics[0].resource: Required value: must populate information for the given metric source",
            ),
            (
                resource(json!({"type": "Utilization"})),
                "spec.metrics[0].resource.target.averageUtilization: Required value: must set either a target raw value or a target utilization",
            ),
            (
                resource(json!({"type": "Utilization", "averageUtilization": 0})),
                "spec.metrics[0].resource.target.averageUtilization: Invalid value: 0: must be greater than 0",
            ),
            (
                resource(json!({"type": "AverageValue", "averageValue": "0"})),
                "spec.metrics[0].resource.target.averageValue: Invalid value: \"0\": must be positive",
            ),
            (
                resource(json!({"type": "Most", "averageValue": "1"})),
                "spec.metrics[0].resource.target.type: Invalid value: \"Most\": must be either Utilization, Value, or AverageValue",
            ),
        ] {
            assert_eq!(wrong(metrics, Value::Null), [why]);
        }
    }

    #[test]
    fn rules_are_within_bounds() {
        let rules = json!({"stabilizationWindowSeconds": 4000, "selectPolicy": "Most",
            "policies": [{"type": "Pods", "value": 0, "periodSeconds": 1801}]});
        let found = wrong(json!([]), json!({ "scaleDown": rules }));
        assert_eq!(found.len(), 4, "{found:#?}");
        assert_eq!(
            found[0],
            "spec.behavior.scaleDown.stabilizationWindowSeconds: Invalid value: 4000: must be less than or equal to 3600"
        );
        assert_eq!(found[2], "spec.behavior.scaleDown.policies[0].value: Invalid value: 0: must be greater than zero");
    }
}
