//! LimitRanges: what containers of a namespace get that ask for nothing, and how much they may ask
//! for.

use crate::api::error::ApiError;
use crate::api::kinds::resources::sums::{Amounts, amounts};
use crate::api::kinds::resources::{amount, whole};
use crate::apiserver::resources::Writer;
use crate::apiserver::resources::object::parse;
use crate::store;
use serde_json::{Value, json};

const ANNOTATION: &str = "kubernetes.io/limit-ranger";

/// Fills in a pod that is new, or whose resources change.
pub fn default(writer: &Writer<'_>, pod: &mut Value) {
    of_namespace(writer).iter().for_each(|limits| default_pod(pod, limits));
}

/// Checks a pod or a claim: the first LimitRange that it does not keep to is named.
pub fn check(writer: &Writer<'_>, object: &Value) -> Result<(), ApiError> {
    let spec = &object["spec"];
    for limits in of_namespace(writer) {
        let errors = match writer.at.resource.plural.as_str() {
            "pods" => limits.iter().flat_map(|limit| check_pod(limit, spec)).collect::<Vec<_>>(),
            _ => {
                let claims = limits.iter().filter(|limit| limit["type"] == "PersistentVolumeClaim");
                claims.flat_map(|limit| check_claim(limit, spec)).collect()
            }
        };
        verdict(writer, &errors)?;
    }
    Ok(())
}

/// The limits of each LimitRange.
fn of_namespace(writer: &Writer<'_>) -> Vec<Vec<Value>> {
    let ranges = writer.view.scan(&store::key("", "limitranges", writer.at.namespace, ""));
    ranges.iter().map(|record| parse(record)["spec"]["limits"].as_array().cloned().unwrap_or_default()).collect()
}

fn verdict(writer: &Writer<'_>, errors: &[String]) -> Result<(), ApiError> {
    let why = match errors {
        [] => return Ok(()),
        [one] => one.clone(),
        several => format!("[{}]", several.join(", ")),
    };
    Err(ApiError::forbidden(writer.at.target(), writer.at.name, why))
}

fn default_pod(pod: &mut Value, limits: &[Value]) {
    let mut said = Vec::new();
    for limit in limits.iter().filter(|limit| limit["type"] == "Container") {
        for list in ["initContainers", "containers"] {
            let containers = pod["spec"].get_mut(list).and_then(Value::as_array_mut);
            for container in containers.into_iter().flatten() {
                said.extend(default_container(container, limit, list == "initContainers"));
            }
        }
    }
    if !said.is_empty() {
        let text = format!("LimitRanger plugin set: {}", said.join("; "));
        if !pod["metadata"]["annotations"].is_object() {
            pod["metadata"]["annotations"] = json!({});
        }
        pod["metadata"]["annotations"][ANNOTATION] = text.into();
    }
}

/// What was set, in words.
fn default_container(container: &mut Value, limit: &Value, init: bool) -> Vec<String> {
    let mut said = Vec::new();
    for (from, to, word) in [("defaultRequest", "requests", "request"), ("default", "limits", "limit")] {
        let mut set = Vec::new();
        for (name, amount) in limit[from].as_object().into_iter().flatten() {
            if container["resources"][to][name].is_null() {
                container["resources"][to][name] = amount.clone();
                set.push(name.clone());
            }
        }
        if !set.is_empty() {
            let kind = if init { "init container" } else { "container" };
            let name = container["name"].as_str().unwrap_or_default();
            said.push(format!("{} {word} for {kind} {name}", set.join(", ")));
        }
    }
    said
}

fn check_pod(limit: &Value, spec: &Value) -> Vec<String> {
    let kind = limit["type"].as_str().unwrap_or_default();
    let all = |containers: &Value| containers.as_array().cloned().unwrap_or_default();
    let asked: Vec<(Amounts, Amounts)> = match kind {
        "Container" => all(&spec["containers"])
            .iter()
            .chain(&all(&spec["initContainers"]))
            .map(|c| (amounts(&c["resources"]["requests"]), amounts(&c["resources"]["limits"])))
            .collect(),
        "Pod" => vec![(whole::total(spec, "requests"), whole::total(spec, "limits"))],
        _ => return Vec::new(),
    };
    asked.iter().flat_map(|(requests, limits)| bounds(limit, kind, requests, limits)).collect()
}

fn bounds(limit: &Value, kind: &str, requests: &Amounts, limits: &Amounts) -> Vec<String> {
    let mut errors = Vec::new();
    let each = |field: &str| amounts(&limit[field]).into_iter();
    for (name, least) in each("min") {
        let head = format!("minimum {name} usage per {kind} is {least}");
        match (requests.get(&name), limits.get(&name)) {
            (None, _) => errors.push(format!("{head}.  No request is specified")),
            (Some(request), _) if *request < least => errors.push(format!("{head}, but request is {request}")),
            (_, Some(limit)) if *limit < least => errors.push(format!("{head}, but limit is {limit}")),
            _ => {}
        }
    }
    for (name, most) in each("max") {
        let head = format!("maximum {name} usage per {kind} is {most}");
        match (limits.get(&name), requests.get(&name)) {
            (None, _) => errors.push(format!("{head}.  No limit is specified")),
            (Some(limit), _) if *limit > most => errors.push(format!("{head}, but limit is {limit}")),
            (_, Some(request)) if *request > most => errors.push(format!("{head}, but request is {request}")),
            _ => {}
        }
    }
    for (name, ratio) in each("maxLimitRequestRatio") {
        let head = format!("{name} max limit to request ratio per {kind} is {ratio}, but");
        let known = |map: &Amounts| map.get(&name).copied().filter(|amount| !amount.is_zero());
        match (known(requests), known(limits)) {
            (None, _) => errors.push(format!("{head} no request is specified or request is 0")),
            (_, None) => errors.push(format!("{head} no limit is specified or limit is 0")),
            (Some(request), Some(limit)) => {
                let found = limit.milli_value() as f64 / request.milli_value() as f64;
                if found > ratio.milli_value() as f64 / 1000.0 {
                    errors.push(format!("{head} provided ratio is {found:.6}"));
                }
            }
        }
    }
    errors
}

fn check_claim(limit: &Value, spec: &Value) -> Vec<String> {
    let Some(asked) = amount(&spec["resources"]["requests"]["storage"]) else { return Vec::new() };
    let mut errors = Vec::new();
    if let Some(least) = amount(&limit["min"]["storage"]).filter(|least| asked < *least) {
        errors.push(format!("minimum storage usage per PersistentVolumeClaim is {least}, but request is {asked}"));
    }
    if let Some(most) = amount(&limit["max"]["storage"]).filter(|most| asked > *most) {
        errors.push(format!("maximum storage usage per PersistentVolumeClaim is {most}, but request is {asked}"));
    }
    errors
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn defaults_are_recorded_and_bounds_explained() {
        let limit = json!({"type": "Container", "default": {"cpu": "1"}, "defaultRequest": {"cpu": "500m"},
            "min": {"cpu": "100m"}, "max": {"cpu": "2", "memory": "1Gi"}, "maxLimitRequestRatio": {"cpu": "4"}});
        let mut pod = json!({"metadata": {}, "spec": {"containers": [{"name": "c", "resources": {}}]}});
        default_pod(&mut pod, std::slice::from_ref(&limit));
        assert!(pod["spec"].get("initContainers").is_none(), "nothing is added that has no limits");
        let resources = &pod["spec"]["containers"][0]["resources"];
        assert_eq!(resources, &json!({"requests": {"cpu": "500m"}, "limits": {"cpu": "1"}}));
        let said = "LimitRanger plugin set: cpu request for container c; cpu limit for container c";
        assert_eq!(pod["metadata"]["annotations"][ANNOTATION], said);
        assert_eq!(
            check_pod(&limit, &pod["spec"]),
            ["maximum memory usage per Container is 1Gi.  No limit is specified"]
        );
        let spec = json!({"containers": [{"resources":
            {"requests": {"cpu": "50m"}, "limits": {"cpu": "3", "memory": "1Gi"}}}]});
        assert_eq!(
            check_pod(&limit, &spec),
            [
                "minimum cpu usage per Container is 100m, but request is 50m",
                "maximum cpu usage per Container is 2, but limit is 3",
                "cpu max limit to request ratio per Container is 4, but provided ratio is 60.000000"
            ]
        );
    }

    #[test]
    fn a_pod_is_bound_by_what_it_has_as_a_whole() {
        let limit = json!({"type": "Pod", "max": {"cpu": "2"}, "min": {"memory": "1Gi"}});
        let mut spec = json!({"overhead": {"cpu": "5"}, "containers": [
            {"resources": {"requests": {"memory": "1Gi"}, "limits": {"cpu": "1500m"}}},
            {"resources": {"limits": {"cpu": "1"}}}]});
        assert_eq!(check_pod(&limit, &spec), ["maximum cpu usage per Pod is 2, but limit is 2500m"]);
        spec["resources"] = json!({"limits": {"cpu": "2"}, "requests": {"memory": "512Mi"}});
        assert_eq!(check_pod(&limit, &spec), ["minimum memory usage per Pod is 1Gi, but request is 512Mi"]);
    }
}
