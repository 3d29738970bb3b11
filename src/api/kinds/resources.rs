//! Resources of containers and pods: validation of requests and limits, and the quality of service class
//! that follows from them.

pub mod sums;
pub mod whole;

use super::json::{list, text};
use super::names;
use super::pod_spec::Context;
use crate::api::error::FieldError;
use crate::api::quantity::Quantity;
use serde_json::Value;

const HUGE_PAGES: &str = "hugepages-";
/// The names without a domain that mean something somewhere.
const STANDARD: [&str; 20] = [
    "cpu",
    "memory",
    "ephemeral-storage",
    "storage",
    "requests.cpu",
    "requests.memory",
    "requests.storage",
    "requests.ephemeral-storage",
    "limits.cpu",
    "limits.memory",
    "limits.ephemeral-storage",
    "pods",
    "resourcequotas",
    "services",
    "services.nodeports",
    "services.loadbalancers",
    "replicationcontrollers",
    "secrets",
    "configmaps",
    "persistentvolumeclaims",
];

/// Whether a name without a domain is known, for a container or a quota.
pub fn is_standard(name: &str) -> bool {
    STANDARD.contains(&name) || is_huge_pages(name.strip_prefix("requests.").unwrap_or(name))
}

pub fn is_huge_pages(name: &str) -> bool {
    name.starts_with(HUGE_PAGES)
}

/// Of Kubernetes itself.
fn is_native(name: &str) -> bool {
    !name.contains('/') || name.contains("kubernetes.io/")
}

/// Of a device plugin: `example.com/gpu`.
pub fn is_extended(name: &str) -> bool {
    !is_native(name) && !name.starts_with("requests.") && names::qualified(&format!("requests.{name}")).is_empty()
}

/// Whether more may be promised of it than there is.
fn is_overcommitted(name: &str) -> bool {
    is_native(name) && !is_huge_pages(name)
}

/// Everything wrong with a container's `resources`.
pub fn validate(resources: &Value, field: &str, cx: &mut Context) {
    requirements(resources, field, container_resource, cx);
}

/// Everything wrong with requests and limits; `check_name` gets a resource's name and its field.
fn requirements(resources: &Value, field: &str, check_name: fn(&str, &str, &mut Context), cx: &mut Context) {
    let limits = &resources["limits"];
    let (mut computes, mut has_huge_pages) = (false, false);
    for kind in ["limits", "requests"] {
        for (name, value) in resources[kind].as_object().into_iter().flatten() {
            let key = format!("{field}.{kind}[{name}]");
            check_name(name, &key, cx);
            computes |= matches!(name.as_str(), "cpu" | "memory");
            has_huge_pages |= is_huge_pages(name);
            let Some(number) = amount(value) else { continue };
            check_amount(name, number, &key, cx);
            if kind == "requests" {
                check_request(name, number, amount(&limits[name]), field, cx);
            }
            if is_huge_pages(name) && !is_whole_pages(name, number) {
                let why = format!("{number} is not positive integer multiple of {name}");
                cx.invalid(key, &number.to_string().into(), &why);
            }
        }
    }
    if has_huge_pages && !computes {
        cx.errors.push(FieldError::forbidden(field, "HugePages require cpu or memory"));
    }
}

fn check_amount(name: &str, number: Quantity, key: &str, cx: &mut Context) {
    let shown = Value::from(number.to_string());
    if number.is_negative() {
        cx.invalid(key.into(), &shown, "must be greater than or equal to 0");
    }
    if is_extended(name) && number.milli_value() % 1000 != 0 {
        cx.invalid(key.into(), &shown, "must be an integer");
    }
}

fn check_request(name: &str, asked: Quantity, limit: Option<Quantity>, field: &str, cx: &mut Context) {
    let shown = Value::from(asked.to_string());
    match limit {
        Some(limit) if asked != limit && !is_overcommitted(name) => {
            let why = format!("must be equal to {name} limit of {limit}");
            cx.invalid(format!("{field}.requests"), &shown, &why);
        }
        Some(limit) if asked > limit => {
            let why = format!("must be less than or equal to {name} limit of {limit}");
            cx.invalid(format!("{field}.requests"), &shown, &why);
        }
        None if !is_overcommitted(name) => {
            cx.required(format!("{field}.limits"), "Limit must be set for non overcommitable resources");
        }
        _ => {}
    }
}

fn is_whole_pages(name: &str, number: Quantity) -> bool {
    let page = name.strip_prefix(HUGE_PAGES).and_then(|size| size.parse::<Quantity>().ok());
    let page = page.filter(|page| page.milli_value() % 1000 == 0).map_or(0, Quantity::value);
    page > 0 && number.value() % page == 0
}

/// Checks what is common to the names of all resources; whether that is all right.
fn resource_name(name: &str, key: &str, cx: &mut Context) -> bool {
    let wrong = names::qualified(name);
    let is_known = name.contains('/') || is_standard(name);
    if wrong.is_empty() && !is_known {
        cx.invalid(key.into(), &name.into(), "must be a standard resource type or fully qualified");
    }
    let is_right = wrong.is_empty() && is_known;
    cx.names(key, &name.into(), wrong);
    is_right
}

fn container_resource(name: &str, key: &str, cx: &mut Context) {
    resource_name(name, key, cx);
    if !name.contains('/') {
        if !matches!(name, "cpu" | "memory" | "ephemeral-storage") && !is_huge_pages(name) {
            cx.invalid(key.into(), &name.into(), "must be a standard resource for containers");
        }
    } else if !is_native(name) && !is_extended(name) {
        cx.invalid(key.into(), &name.into(), "doesn't follow extended resource name standard");
    }
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
/// none asks for either, else `Burstable`. A pod that says what it has as a whole is judged by that alone.
pub fn qos_class(pod_spec: &Value) -> &'static str {
    let mut guaranteed = true;
    let mut any = false;
    let mut judge = |resources: &Value| {
        for name in ["cpu", "memory"] {
            let request = amount(&resources["requests"][name]).filter(|n| !n.is_zero());
            let limit = amount(&resources["limits"][name]).filter(|n| !n.is_zero());
            any |= request.is_some() || limit.is_some();
            guaranteed &= limit.is_some() && (request.is_none() || request == limit);
        }
    };
    if pod_spec["resources"].is_object() {
        judge(&pod_spec["resources"]);
    } else {
        let containers = ["containers", "initContainers"].into_iter().flat_map(|kind| list(pod_spec, &[kind]));
        containers.for_each(|container| judge(&container["resources"]));
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

    fn wrong(resources: Value) -> Vec<String> {
        let mut cx = Context::new();
        validate(&resources, "r", &mut cx);
        cx.errors.into_iter().map(|error| format!("{}: {}", error.field, error.detail)).collect()
    }

    #[test]
    fn requests_keep_to_limits() {
        for (resources, expected) in [
            (
                json!({"limits": {"cpu": "1"}, "requests": {"cpu": "1500m"}}),
                "r.requests: Invalid value: \"1500m\": must be less than or equal to cpu limit of 1",
            ),
            (
                json!({"limits": {"x.y/gpu": "2"}, "requests": {"x.y/gpu": "1"}}),
                "r.requests: Invalid value: \"1\": must be equal to x.y/gpu limit of 2",
            ),
            (
                json!({"requests": {"x.y/gpu": "1"}}),
                "r.limits: Required value: Limit must be set for non overcommitable resources",
            ),
        ] {
            assert_eq!(wrong(resources), [expected]);
        }
    }

    #[test]
    fn names_and_amounts_are_checked() {
        for (name, amount, expected) in [
            ("cpu", "-1", "Invalid value: \"-1\": must be greater than or equal to 0"),
            ("x.y/gpu", "500m", "Invalid value: \"500m\": must be an integer"),
            ("storage", "1", "Invalid value: \"storage\": must be a standard resource for containers"),
            (
                "requests.x.y/gpu",
                "1",
                "Invalid value: \"requests.x.y/gpu\": doesn't follow extended resource name standard",
            ),
        ] {
            let found = wrong(json!({"limits": {name: amount}}));
            assert_eq!(found, [format!("r.limits[{name}]: {expected}")]);
        }
        let unknown = wrong(json!({"limits": {"gpus": "1"}}));
        assert!(unknown[0].ends_with("must be a standard resource type or fully qualified"), "{unknown:?}");
        assert!(unknown[1].ends_with("must be a standard resource for containers"), "{unknown:?}");
    }

    #[test]
    fn huge_pages_are_whole_and_need_a_process() {
        let pages = |size: &str| json!({"limits": {"cpu": "1", "hugepages-2Mi": size}});
        assert_eq!(wrong(pages("4Mi")), [""; 0]);
        let part =
            "r.limits[hugepages-2Mi]: Invalid value: \"3Mi\": 3Mi is not positive integer multiple of hugepages-2Mi";
        assert_eq!(wrong(pages("3Mi")), [part]);
        let alone = wrong(json!({"limits": {"hugepages-2Mi": "2Mi"}}));
        assert_eq!(alone, ["r: Forbidden: HugePages require cpu or memory"]);
    }

    #[test]
    fn the_class_follows_from_requests_and_limits() {
        let spec = |resources: Value| json!({"containers": [{"resources": resources}]});
        assert_eq!(qos_class(&spec(json!({}))), "BestEffort");
        assert_eq!(qos_class(&spec(json!({"limits": {"cpu": "1", "memory": "1Gi"}}))), "Guaranteed");
        assert_eq!(qos_class(&spec(json!({"requests": {"cpu": "1"}}))), "Burstable");
        let mut whole = spec(json!({"requests": {"cpu": "1"}}));
        whole["resources"] =
            json!({"limits": {"cpu": "1", "memory": "1Gi"}, "requests": {"cpu": "1", "memory": "1Gi"}});
        assert_eq!(qos_class(&whole), "Guaranteed");
        whole["resources"] = json!({"limits": {"cpu": "1"}});
        assert_eq!(qos_class(&whole), "Burstable");
    }
}
