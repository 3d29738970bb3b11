//! `resources` of a pod as a whole, which its containers share. Source: Kubernetes' defaults and
//! `validatePodResources`.

use super::sums::{Amounts, amounts, of_containers, to_value};
use super::{is_huge_pages, requirements, resource_name};
use crate::api::error::FieldError;
use crate::api::kinds::json::{Object, has, list, text};
use crate::api::kinds::pod_spec::Context;
use serde_json::Value;

/// Whether a pod can ask for this as a whole.
pub fn is_known(name: &str) -> bool {
    matches!(name, "cpu" | "memory") || is_huge_pages(name)
}

/// Whether a pod's spec says anything of the pod as a whole.
pub fn is_set(spec: &Value) -> bool {
    ["requests", "limits"].iter().any(|kind| says(spec, kind))
}

fn says(spec: &Value, kind: &str) -> bool {
    spec["resources"][kind].as_object().is_some_and(|map| map.keys().any(|name| is_known(name)))
}

/// Puts what the pod has as a whole in the place of what its containers come to.
pub fn put_over(total: &mut Amounts, whole: Amounts) {
    total.extend(whole.into_iter().filter(|(name, _)| is_known(name)));
}

/// What a pod asks for or may use: its containers together, and for what it says so of, as a whole.
/// Without its overhead.
pub fn total(spec: &Value, kind: &str) -> Amounts {
    let mut total = of_containers(spec, kind);
    put_over(&mut total, amounts(&spec["resources"][kind]));
    total
}

/// Fills in a pod (templates stay as written) that says something of itself as a whole: limits of huge
/// pages are those of the containers, requests what the containers ask for together, else the limits.
/// The containers' requests are filled in already.
pub fn default(spec: &mut Object) {
    let view = Value::Object(spec.clone());
    let own = |kind: &str| amounts(&view["resources"][kind]);
    let (mut limits, mut requests) = (own("limits"), own("requests"));
    if limits.is_empty() && requests.is_empty() {
        return;
    }
    for (name, limit) in of_containers(&view, "limits") {
        if is_huge_pages(&name) && !requests.contains_key(&name) {
            limits.entry(name).or_insert(limit);
        }
    }
    if !limits.is_empty() {
        for (name, request) in of_containers(&view, "requests") {
            if is_known(&name) && !is_huge_pages(&name) {
                requests.entry(name).or_insert(request);
            }
        }
        for (name, limit) in &limits {
            if is_known(name) {
                requests.entry(name.clone()).or_insert(*limit);
            }
        }
    }
    let Some(resources) = spec.get_mut("resources").and_then(Value::as_object_mut) else { return };
    for (kind, found) in [("limits", limits), ("requests", requests)] {
        let all = to_value(&found);
        let new = all.as_object().into_iter().flatten().filter(|(name, _)| view["resources"][kind][*name].is_null());
        let new: Vec<_> = new.map(|(name, amount)| (name.clone(), amount.clone())).collect();
        if new.is_empty() {
            continue;
        }
        let map = resources.entry(kind).or_insert_with(|| Value::Object(Object::new()));
        if map.is_null() {
            *map = Value::Object(Object::new());
        }
        if let Some(map) = map.as_object_mut() {
            map.extend(new);
        }
    }
}

/// Everything wrong with the `resources` of the pod spec at `path`.
pub fn validate(spec: &Value, path: &str, cx: &mut Context) {
    if !has(spec, "resources") {
        return;
    }
    let (resources, field) = (&spec["resources"], format!("{path}.resources"));
    if text(spec, &["os", "name"]) == "windows" {
        cx.errors.push(FieldError::forbidden(field, "may not be set for a windows pod"));
        return;
    }
    if has(resources, "claims") {
        let why = "claims may not be set for Resources at pod-level";
        cx.errors.push(FieldError::forbidden(format!("{field}.claims"), why));
    }
    requirements(resources, &field, name, cx);
    let (requests, limits) = (amounts(&resources["requests"]), amounts(&resources["limits"]));
    for (kind, own, word) in [("requests", &requests, "requests"), ("limits", &limits, "limits")] {
        for (name, sum) in of_containers(spec, kind) {
            // Limits of single containers may come to more than the pod's, but not those that are set aside.
            let counts = kind == "requests" || is_huge_pages(&name);
            if let Some(own) = own.get(&name).filter(|own| counts && sum > **own) {
                let why = format!("must be greater than or equal to aggregate container {word} of {sum}");
                cx.invalid(format!("{field}.{kind}[{name}]"), &own.to_string().into(), &why);
            }
        }
    }
    for (i, container) in list(spec, &["containers"]).iter().enumerate() {
        for (name, limit) in amounts(&container["resources"]["limits"]) {
            if let Some(most) = limits.get(&name).filter(|most| limit > **most) {
                // Kubernetes names the field so.
                let field = format!("{field}.containers[{i}][{name}].limits");
                let why = format!("must be less than or equal to pod limits of {most}");
                cx.invalid(field, &limit.to_string().into(), &why);
            }
        }
    }
}

fn name(name: &str, key: &str, cx: &mut Context) {
    if resource_name(name, key, cx) && !is_known(name) {
        cx.errors.push(FieldError::not_supported(key, &name.into(), &["cpu", "hugepages-", "memory"]));
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use serde_json::json;

    fn defaulted(resources: Value, container: Value) -> Value {
        let mut spec = json!({"resources": resources, "containers": [{"name": "c", "resources": container}]});
        default(spec.as_object_mut().unwrap());
        let once = spec.clone();
        default(spec.as_object_mut().unwrap());
        assert_eq!(spec, once);
        spec["resources"].clone()
    }

    #[test]
    fn requests_are_those_of_the_containers_or_the_limits() {
        let limits = json!({"cpu": "2", "memory": "1Gi"});
        assert_eq!(
            defaulted(json!({"limits": limits}), json!({"requests": {"cpu": "500m", "ephemeral-storage": "1Gi"}})),
            json!({"limits": limits, "requests": {"cpu": "500m", "memory": "1Gi"}})
        );
        assert_eq!(
            defaulted(json!({"limits": limits, "requests": {"cpu": "1"}}), json!({"requests": {"cpu": "500m"}})),
            json!({"limits": limits, "requests": {"cpu": "1", "memory": "1Gi"}})
        );
        let requests = json!({"requests": {"cpu": "1"}});
        assert_eq!(defaulted(requests.clone(), json!({"requests": {"memory": "1Gi"}})), requests, "no limits");
        assert_eq!(defaulted(json!({}), json!({"requests": {"memory": "1Gi"}})), json!({}), "nothing is said");
    }

    #[test]
    fn huge_pages_are_limited_as_the_containers_are() {
        let pages = json!({"hugepages-2Mi": "4Mi"});
        assert_eq!(
            defaulted(json!({"requests": {"cpu": "1"}}), json!({"requests": pages, "limits": pages})),
            json!({"requests": {"cpu": "1", "hugepages-2Mi": "4Mi"}, "limits": pages})
        );
    }

    fn wrong(resources: Value, container: Value) -> Vec<String> {
        let spec = json!({"resources": resources, "containers": [{"name": "c", "resources": container}]});
        let mut cx = Context::new();
        validate(&spec, "spec", &mut cx);
        cx.errors.into_iter().map(|error| format!("{}: {}", error.field, error.detail)).collect()
    }

    #[test]
    fn what_is_wrong_is_named() {
        let ok = json!({"requests": {"cpu": "1"}, "limits": {"cpu": "2", "memory": "1Gi"}});
        assert_eq!(wrong(ok.clone(), json!({"requests": {"cpu": "1"}, "limits": {"cpu": "2"}})), [""; 0]);
        for (resources, container, expected) in [
            (
                json!({"requests": {"cpu": "-1"}}),
                json!({}),
                "spec.resources.requests[cpu]: Invalid value: \"-1\": must be greater than or equal to 0",
            ),
            (
                json!({"requests": {"ephemeral-storage": "1Gi"}}),
                json!({}),
                "spec.resources.requests[ephemeral-storage]: Unsupported value: \"ephemeral-storage\": supported values: \"cpu\", \"hugepages-\", \"memory\"",
            ),
            (
                json!({"requests": {"cpu": "3"}, "limits": {"cpu": "2"}}),
                json!({}),
                "spec.resources.requests: Invalid value: \"3\": must be less than or equal to cpu limit of 2",
            ),
            (
                json!({"claims": [{"name": "gpu"}]}),
                json!({}),
                "spec.resources.claims: Forbidden: claims may not be set for Resources at pod-level",
            ),
            (
                ok.clone(),
                json!({"requests": {"cpu": "1500m"}}),
                "spec.resources.requests[cpu]: Invalid value: \"1\": must be greater than or equal to aggregate container requests of 1500m",
            ),
            (
                ok,
                json!({"limits": {"memory": "2Gi"}}),
                "spec.resources.containers[0][memory].limits: Invalid value: \"2Gi\": must be less than or equal to pod limits of 1Gi",
            ),
        ] {
            assert_eq!(wrong(resources, container), [expected]);
        }
        let mut cx = Context::new();
        validate(&json!({"os": {"name": "windows"}, "resources": {"requests": {"x": "-1"}}}), "spec", &mut cx);
        assert_eq!(cx.errors[0].detail, "Forbidden: may not be set for a windows pod");
        assert_eq!(cx.errors.len(), 1);
    }
}
