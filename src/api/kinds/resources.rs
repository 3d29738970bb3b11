//! Container resources: validation of requests and limits, and the quality of service class that
//! follows from them.

use super::json::{list, text};
use super::names;
use super::pod_spec::Context;
use crate::api::error::FieldError;
use crate::api::quantity::Quantity;
use serde_json::Value;

/// Everything wrong with a `resources` object.
pub fn validate(resources: &Value, field: &str, cx: &mut Context) {
    for kind in ["limits", "requests"] {
        for (name, value) in resources[kind].as_object().into_iter().flatten() {
            let field = format!("{field}.{kind}");
            let key = format!("{field}[{name}]");
            cx.names(&key, &name.as_str().into(), names::qualified(name));
            if !name.contains('/') && !is_container_resource(name) {
                let shown = Value::from(name.as_str());
                cx.invalid(key.clone(), &shown, "must be a standard resource type or fully qualified");
                cx.invalid(key.clone(), &shown, "must be a standard resource for containers");
            }
            match amount(value) {
                Some(number) if number.is_negative() => {
                    cx.invalid(key, &shown(value).into(), "must be greater than or equal to 0");
                }
                Some(_) | None => {}
            }
        }
    }
    let Some(limits) = resources["limits"].as_object() else { return };
    for (name, request) in resources["requests"].as_object().into_iter().flatten() {
        let Some(limit) = limits.get(name) else { continue };
        let (Some(asked), Some(allowed)) = (amount(request), amount(limit)) else { continue };
        if asked > allowed {
            let why = format!("must be less than or equal to {name} limit of {}", shown(limit));
            cx.errors.push(FieldError::invalid(format!("{field}.requests"), &shown(request).into(), &why));
        }
    }
}

fn is_container_resource(name: &str) -> bool {
    matches!(name, "cpu" | "memory" | "ephemeral-storage") || name.starts_with("hugepages-")
}

fn shown(quantity: &Value) -> String {
    quantity.as_str().map_or_else(|| quantity.to_string(), str::to_string)
}

/// The quantity in a field, if it is one.
pub fn amount(value: &Value) -> Option<Quantity> {
    match value {
        Value::String(text) => text.parse().ok(),
        Value::Number(number) => number.to_string().parse().ok(),
        _ => None,
    }
}

/// `Guaranteed` when every container limits cpu and memory to what it requests, `BestEffort` when
/// none asks for either, else `Burstable`.
pub fn qos_class(pod_spec: &Value) -> &'static str {
    let mut guaranteed = true;
    let mut any = false;
    for kind in ["containers", "initContainers"] {
        for container in list(pod_spec, &[kind]) {
            let resources = &container["resources"];
            for name in ["cpu", "memory"] {
                let request = amount(&resources["requests"][name]).filter(|n| !n.is_zero());
                let limit = amount(&resources["limits"][name]).filter(|n| !n.is_zero());
                any |= request.is_some() || limit.is_some();
                guaranteed &= limit.is_some() && (request.is_none() || request == limit);
            }
        }
    }
    match (any, guaranteed) {
        (false, _) => "BestEffort",
        (true, true) => "Guaranteed",
        (true, false) => "Burstable",
    }
}

/// The quality of service class of a pod, as its status says or its spec implies.
pub fn pod_qos(pod: &Value) -> &str {
    match text(pod, &["status", "qosClass"]) {
        "" => qos_class(&pod["spec"]),
        class => class,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn requests_above_limits_are_refused() {
        let mut cx = Context::new();
        validate(&json!({"limits": {"cpu": "1"}, "requests": {"cpu": "1500m"}}), "r", &mut cx);
        assert_eq!(cx.errors[0].field, "r.requests");
        assert_eq!(cx.errors[0].detail, "Invalid value: \"1500m\": must be less than or equal to cpu limit of 1");
    }

    #[test]
    fn the_class_follows_from_requests_and_limits() {
        let spec = |resources: Value| json!({"containers": [{"resources": resources}]});
        assert_eq!(qos_class(&spec(json!({}))), "BestEffort");
        assert_eq!(qos_class(&spec(json!({"limits": {"cpu": "1", "memory": "1Gi"}}))), "Guaranteed");
        assert_eq!(qos_class(&spec(json!({"requests": {"cpu": "1"}}))), "Burstable");
    }
}
