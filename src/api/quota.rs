//! What objects use of a namespace's ResourceQuotas. Pure: admission asks it before an object is
//! made, the controller when objects have changed or gone.

use super::kinds::resources::{self, amount, pod_qos, sums, whole};
use super::quantity::{Format, Quantity};
use jiff::{SignedDuration, Timestamp};
use serde_json::Value;
use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet};

pub use sums::{Amounts as Usage, add, amounts, to_value};

/// A condition of a pod that is to have more or less: it cannot have it now, or ever.
const PENDING: &str = "PodResizePending";

fn one() -> Quantity {
    Quantity::units(1, Format::DecimalSi)
}

/// What there is more of in `after` than in `before`.
pub fn growth(before: &Usage, after: &Usage) -> Usage {
    let more = after.iter().filter_map(|(name, amount)| {
        let was = before.get(name).copied().unwrap_or_default();
        (*amount > was).then(|| (name.clone(), amount.minus(was)))
    });
    more.collect()
}

/// The collections that a quota of these resources counts: group and plural.
pub fn counted(hard: &Usage) -> BTreeSet<(String, String)> {
    let core = |plural: &str| (String::new(), plural.to_string());
    let mut found = BTreeSet::new();
    for name in hard.keys() {
        if let Some(counted) = name.strip_prefix("count/") {
            let (plural, group) = counted.split_once('.').unwrap_or((counted, ""));
            found.insert((group.to_string(), plural.to_string()));
        } else if name.ends_with("requests.storage") || name.contains("persistentvolumeclaims") {
            found.insert(core("persistentvolumeclaims"));
        } else if name.starts_with("services") {
            found.insert(core("services"));
        } else if matches!(name.as_str(), "configmaps" | "secrets" | "replicationcontrollers" | "resourcequotas") {
            found.insert(core(name));
        } else {
            found.insert(core("pods"));
        }
    }
    found
}

/// What one object uses, of any quota.
pub fn usage(group: &str, plural: &str, object: &Value) -> Usage {
    let qualified = if group.is_empty() { plural.to_string() } else { format!("{plural}.{group}") };
    let mut usage = Usage::from([(format!("count/{qualified}"), one())]);
    match (group, plural) {
        ("", "pods") => pod(object, &mut usage),
        ("", "services") => service(&object["spec"], &mut usage),
        ("", "persistentvolumeclaims") => claim(object, &mut usage),
        ("", "configmaps" | "secrets" | "replicationcontrollers" | "resourcequotas") => {
            usage.insert(plural.to_string(), one());
        }
        _ => {}
    }
    usage
}

/// What one object uses at a moment. Of a pod that nobody ends, though its grace is over, that is nothing: it must not
/// keep others from taking its place. And when that will be so, if it can be told.
pub fn usage_at(group: &str, plural: &str, object: &Value, now: Timestamp) -> (Usage, Option<SignedDuration>) {
    let mut usage = usage(group, plural, object);
    let metadata = &object["metadata"];
    let (since, grace) = (metadata["deletionTimestamp"].as_str(), metadata["deletionGracePeriodSeconds"].as_i64());
    let end = match (group, plural, since.and_then(|since| since.parse::<Timestamp>().ok()), grace) {
        ("", "pods", Some(since), Some(grace)) => since.checked_add(SignedDuration::from_secs(grace)).ok(),
        _ => None,
    };
    let left = end.map(|end| end.duration_since(now));
    if left.is_some_and(|left| left.is_negative()) {
        usage.retain(|name, _| name.starts_with("count/"));
        return (usage, None);
    }
    (usage, left)
}

fn is_finished(pod: &Value) -> bool {
    matches!(pod["status"]["phase"].as_str(), Some("Succeeded" | "Failed"))
}

fn pod(pod: &Value, usage: &mut Usage) {
    if is_finished(pod) {
        return;
    }
    usage.insert("pods".into(), one());
    for (name, total) in held(pod, "requests") {
        let is_known =
            matches!(name.as_str(), "cpu" | "memory" | "ephemeral-storage") || resources::is_huge_pages(&name);
        if is_known || resources::is_extended(&name) {
            usage.insert(format!("requests.{name}"), total);
        }
        if is_known {
            usage.insert(name, total);
        }
    }
    for (name, total) in held(pod, "limits") {
        if matches!(name.as_str(), "cpu" | "memory" | "ephemeral-storage") {
            usage.insert(format!("limits.{name}"), total);
        }
    }
}

fn conditions(pod: &Value) -> impl Iterator<Item = &Value> {
    pod["status"]["conditions"].as_array().into_iter().flatten()
}

/// The pod as one whose resources are changed now: what was found of an earlier change says nothing of this one.
pub fn changed_now(pod: &Value) -> Cow<'_, Value> {
    if conditions(pod).all(|condition| condition["type"] != PENDING) {
        return Cow::Borrowed(pod);
    }
    let mut changed = pod.clone();
    if let Some(conditions) = changed["status"]["conditions"].as_array_mut() {
        conditions.retain(|condition| condition["type"] != PENDING);
    }
    Cow::Owned(changed)
}

/// What a pod takes: what it asks for, and while that is being changed, what its host has set aside for it
/// and its containers have, where that is more. A change that its host can never make does not count.
/// Source: Kubernetes' resource helper with `UseStatusResources`.
fn held(pod: &Value, kind: &str) -> Usage {
    let pending = conditions(pod).find(|condition| condition["type"] == PENDING);
    let infeasible = pending.is_some_and(|condition| condition["reason"] == "Infeasible");
    let statuses: Vec<&Value> = ["containerStatuses", "initContainerStatuses"]
        .into_iter()
        .flat_map(|list| pod["status"][list].as_array().into_iter().flatten())
        .collect();
    let said = |container: &Value, choices: &[&dyn Fn(&Value) -> Value]| {
        let status = statuses.iter().find(|status| status["name"] == container["name"]);
        let found = status.and_then(|status| choices.iter().map(|of| of(status)).find(Value::is_object));
        let asked = || if infeasible { Value::Null } else { container["resources"][kind].clone() };
        amounts(&found.unwrap_or_else(asked))
    };
    let (spec, status) = (&pod["spec"], &pod["status"]);
    let actual = |status: &Value| status["resources"][kind].clone();
    let allocated = |status: &Value| status["allocatedResources"].clone();
    let mut total = if infeasible { Usage::new() } else { sums::of_containers(spec, kind) };
    if kind == "requests" {
        sums::raise(&mut total, &sums::peak(spec, |container| said(container, &[&allocated])));
        sums::raise(&mut total, &sums::peak(spec, |container| said(container, &[&actual, &allocated])));
    } else {
        sums::raise(&mut total, &sums::peak(spec, |container| said(container, &[&actual])));
    }
    let mut own = amounts(&spec["resources"][kind]);
    if !own.is_empty() && status["resources"].is_object() {
        if infeasible {
            own.clear();
        }
        sums::raise(&mut own, &amounts(&status["resources"][kind]));
        if kind == "requests" {
            sums::raise(&mut own, &amounts(&status["allocatedResources"]));
        }
    }
    whole::put_over(&mut total, own);
    let mut overhead = amounts(&spec["overhead"]);
    if kind == "limits" {
        // What has no limit gets none by it.
        overhead.retain(|name, _| total.get(name).is_some_and(|limit| !limit.is_zero()));
    }
    add(&mut total, &overhead);
    total
}

fn service(spec: &Value, usage: &mut Usage) {
    usage.insert("services".into(), one());
    let kind = spec["type"].as_str().unwrap_or_default();
    if kind == "LoadBalancer" {
        usage.insert("services.loadbalancers".into(), one());
    }
    let bare = spec["allocateLoadBalancerNodePorts"] == Value::Bool(false);
    if kind == "NodePort" || (kind == "LoadBalancer" && !bare) {
        let ports = spec["ports"].as_array().map_or(0, Vec::len);
        let ports = i64::try_from(ports).unwrap_or(i64::MAX);
        usage.insert("services.nodeports".into(), Quantity::units(ports, Format::DecimalSi));
    }
}

fn claim(claim: &Value, usage: &mut Usage) {
    let spec = &claim["spec"];
    usage.insert("persistentvolumeclaims".into(), one());
    // A volume that has grown more than is still asked for.
    let allocated = amount(&claim["status"]["allocatedResources"]["storage"]);
    let asked = amount(&spec["resources"]["requests"]["storage"]);
    let asked = asked.map(|asked| allocated.map_or(asked, |allocated| allocated.max(asked)));
    let class = spec["storageClassName"].as_str().filter(|class| !class.is_empty());
    if let Some(class) = class {
        usage.insert(format!("{class}.storageclass.storage.k8s.io/persistentvolumeclaims"), one());
    }
    let Some(asked) = asked else { return };
    usage.insert("requests.storage".into(), asked);
    if let Some(class) = class {
        usage.insert(format!("{class}.storageclass.storage.k8s.io/requests.storage"), asked);
    }
}

/// Whether a quota's scopes include an object. Scopes speak of pods, and one of claims.
pub fn covers(quota: &Value, group: &str, plural: &str, object: &Value) -> bool {
    let mut scopes = quota["spec"]["scopes"].as_array().into_iter().flatten();
    let mut selected = quota["spec"]["scopeSelector"]["matchExpressions"].as_array().into_iter().flatten();
    let has = |scope: &str, operator: &str, values: &[Value]| match (plural, scope) {
        ("pods", "PriorityClass") => {
            let class = object["spec"]["priorityClassName"].as_str().filter(|class| !class.is_empty());
            is_selected(class.as_slice(), operator, values)
        }
        ("pods", scope) => in_scope(scope, object),
        (_, "VolumeAttributesClass") => is_selected(&attribute_classes(object), operator, values),
        _ => false,
    };
    if !group.is_empty() || !matches!(plural, "pods" | "persistentvolumeclaims") {
        return scopes.next().is_none() && selected.next().is_none();
    }
    scopes.all(|scope| has(scope.as_str().unwrap_or_default(), "Exists", &[]))
        && selected.all(|wanted| {
            let values = wanted["values"].as_array().map_or(&[][..], Vec::as_slice);
            has(
                wanted["scopeName"].as_str().unwrap_or_default(),
                wanted["operator"].as_str().unwrap_or_default(),
                values,
            )
        })
}

/// Whether one of an object's classes, of which it may have none, is what a scope selects.
fn is_selected(classes: &[&str], operator: &str, values: &[Value]) -> bool {
    let listed = |class: &&str| values.iter().any(|value| value == *class);
    match operator {
        "In" => classes.iter().any(listed),
        "NotIn" => classes.is_empty() || !classes.iter().all(listed),
        "DoesNotExist" => classes.is_empty(),
        _ => !classes.is_empty(),
    }
}

/// The classes of attributes that a claim asks for, has, and is on its way to.
fn attribute_classes(claim: &Value) -> Vec<&str> {
    let status = &claim["status"];
    let all = [
        &claim["spec"]["volumeAttributesClassName"],
        &status["currentVolumeAttributesClassName"],
        &status["modifyVolumeStatus"]["targetVolumeAttributesClassName"],
    ];
    all.into_iter().filter_map(Value::as_str).filter(|class| !class.is_empty()).collect()
}

fn in_scope(scope: &str, pod: &Value) -> bool {
    let ends = pod["spec"]["activeDeadlineSeconds"].is_number();
    let best_effort = pod_qos(pod) == "BestEffort";
    match scope {
        "Terminating" => ends,
        "NotTerminating" => !ends,
        "BestEffort" => best_effort,
        "NotBestEffort" => !best_effort,
        "PriorityClass" => !pod["spec"]["priorityClassName"].as_str().unwrap_or_default().is_empty(),
        "CrossNamespacePodAffinity" => looks_abroad(&pod["spec"]["affinity"]),
        _ => false,
    }
}

/// Whether where a pod may run depends on pods of other namespaces.
fn looks_abroad(affinity: &Value) -> bool {
    let is_abroad = |term: &Value| {
        term["namespaces"].as_array().is_some_and(|names| !names.is_empty()) || !term["namespaceSelector"].is_null()
    };
    let list = |rules: &Value, name: &str| rules[name].as_array().cloned().unwrap_or_default();
    ["podAffinity", "podAntiAffinity"].iter().map(|kind| &affinity[*kind]).any(|rules| {
        list(rules, "requiredDuringSchedulingIgnoredDuringExecution").iter().any(is_abroad)
            || list(rules, "preferredDuringSchedulingIgnoredDuringExecution")
                .iter()
                .any(|preferred| is_abroad(&preferred["podAffinityTerm"]))
    })
}

/// The resources that a quota limits and that some container of the pod does not set, with the
/// containers' names: such pods cannot be counted and are refused. Not where the pod says what it has as a whole.
pub fn unset(hard: &Usage, pod: &Value) -> BTreeMap<String, Vec<String>> {
    let mut missing: BTreeMap<String, Vec<String>> = BTreeMap::new();
    if whole::is_set(&pod["spec"]) {
        return missing;
    }
    for name in hard.keys() {
        let (kind, resource) = match name.split_once('.') {
            Some(("requests", resource)) if resource != "storage" => ("requests", resource),
            Some(("limits", resource)) => ("limits", resource),
            None if matches!(name.as_str(), "cpu" | "memory") => ("requests", name.as_str()),
            _ => continue,
        };
        if !matches!(resource, "cpu" | "memory") {
            continue;
        }
        for list in ["containers", "initContainers"] {
            for container in pod["spec"][list].as_array().into_iter().flatten() {
                if amount(&container["resources"][kind][resource]).is_none() {
                    let container = container["name"].as_str().unwrap_or_default().to_string();
                    missing.entry(name.clone()).or_default().push(container);
                }
            }
        }
    }
    missing
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn shown(usage: &Usage) -> Value {
        to_value(usage)
    }

    #[test]
    fn pods_count_what_they_ask_for_until_they_end() {
        let mut pod = json!({"spec": {
            "initContainers": [{"resources": {"requests": {"cpu": "3"}}}],
            "containers": [{"resources": {"requests": {"cpu": "1", "memory": "1Gi"}, "limits": {"cpu": "2"}}},
                {"resources": {"requests": {"cpu": "500m"}}}]}});
        assert_eq!(
            shown(&usage("", "pods", &pod)),
            json!({"count/pods": "1", "pods": "1", "requests.cpu": "3", "cpu": "3", "requests.memory": "1Gi",
                "memory": "1Gi", "limits.cpu": "2"})
        );
        pod["status"]["phase"] = "Succeeded".into();
        assert_eq!(shown(&usage("", "pods", &pod)), json!({"count/pods": "1"}));
    }

    #[test]
    fn a_pod_that_changes_holds_the_most_of_before_and_after() {
        let with = |asked: &str, allocated: &str, actual: &str, reason: &str| {
            let pod = json!({"spec": {"containers": [{"name": "c", "resources": {"requests": {"cpu": asked}}}]},
                "status": {"conditions": [{"type": "PodResizePending", "reason": reason}], "containerStatuses": [{"name": "c",
                    "allocatedResources": {"cpu": allocated}, "resources": {"requests": {"cpu": actual}}}]}});
            usage("", "pods", &pod)["requests.cpu"].to_string()
        };
        assert_eq!(with("3", "1", "1", "Deferred"), "3");
        assert_eq!(with("1", "1", "2", ""), "2", "it has not let go yet");
        assert_eq!(with("1", "2", "1", ""), "2");
        assert_eq!(with("9", "1", "1", "Infeasible"), "1", "it will never have that");
        let more = growth(&amounts(&json!({"cpu": "1", "pods": 1})), &amounts(&json!({"cpu": "1500m", "pods": 1})));
        assert_eq!(shown(&more), json!({"cpu": "500m"}));
    }

    #[test]
    fn what_was_found_of_an_earlier_change_does_not_count() {
        let mut pod = json!({"spec": {"containers": [{"name": "c", "resources": {"requests": {"cpu": "9"}}}]},
            "status": {"conditions": [{"type": "Ready"}, {"type": PENDING, "reason": "Infeasible"}],
                "containerStatuses": [{"name": "c", "allocatedResources": {"cpu": "1"}}]}});
        assert_eq!(usage("", "pods", &pod)["cpu"].to_string(), "1");
        assert_eq!(usage("", "pods", &changed_now(&pod))["cpu"].to_string(), "9");
        assert_eq!(changed_now(&pod)["status"]["conditions"], json!([{"type": "Ready"}]));
        pod["status"]["conditions"] = json!([{"type": "Ready"}]);
        assert!(matches!(changed_now(&pod), Cow::Borrowed(_)));
    }

    #[test]
    fn a_pod_counts_with_what_it_has_as_a_whole() {
        let mut pod = json!({"spec": {
            "resources": {"requests": {"cpu": "2", "hugepages-2Mi": "4Mi"}, "limits": {"cpu": "3"}},
            "overhead": {"cpu": "100m", "memory": "1Mi"},
            "containers": [{"name": "c", "resources": {
                "requests": {"cpu": "1", "memory": "1Gi", "x.y/gpu": "1"}, "limits": {"x.y/gpu": "1"}}}]}});
        let mut expected = json!({"count/pods": "1", "pods": "1", "requests.cpu": "2100m", "cpu": "2100m",
            "requests.memory": "1025Mi", "memory": "1025Mi", "limits.cpu": "3100m", "requests.x.y/gpu": "1",
            "requests.hugepages-2Mi": "4Mi", "hugepages-2Mi": "4Mi"});
        assert_eq!(shown(&usage("", "pods", &pod)), expected);
        pod["status"] = json!({"resources": {"requests": {"cpu": "4"}}, "allocatedResources": {"cpu": "3"}});
        (expected["requests.cpu"], expected["cpu"]) = (json!("4100m"), json!("4100m"));
        assert_eq!(shown(&usage("", "pods", &pod)), expected, "it has not let go yet");
        assert!(unset(&amounts(&json!({"limits.memory": 1})), &pod).is_empty());
    }

    #[test]
    fn scopes_choose_pods() {
        let quota = json!({"spec": {"scopes": ["BestEffort", "NotTerminating"]}});
        let pod = json!({"spec": {"containers": [{}]}});
        assert!(covers(&quota, "", "pods", &pod));
        assert!(!covers(&quota, "", "configmaps", &json!({})));
        let asking = json!({"spec": {"containers": [{"resources": {"requests": {"cpu": "1"}}}]}});
        assert!(!covers(&quota, "", "pods", &asking));
        let abroad = json!({"spec": {"scopes": ["CrossNamespacePodAffinity"]}});
        let term = json!({"topologyKey": "z", "namespaces": ["other"]});
        let preferred = json!([{"weight": 1, "podAffinityTerm": term}]);
        let looking = json!({"spec": {"affinity": {"podAntiAffinity": {"preferredDuringSchedulingIgnoredDuringExecution": preferred}}}});
        assert!(covers(&abroad, "", "pods", &looking) && !covers(&abroad, "", "pods", &asking));
    }

    #[test]
    fn a_pod_that_nobody_ends_counts_for_nothing_in_the_end() {
        let metadata = json!({"deletionTimestamp": "2026-01-01T00:00:30Z", "deletionGracePeriodSeconds": 30});
        let pod = json!({"metadata": metadata, "spec": {"containers": [{"resources": {"requests": {"cpu": "1"}}}]}});
        let at = |time: &str| usage_at("", "pods", &pod, time.parse().unwrap_or_default());
        let (usage, left) = at("2026-01-01T00:00:50Z");
        assert_eq!((usage.len(), left), (4, Some(SignedDuration::from_secs(10))));
        let (usage, left) = at("2026-01-01T00:01:01Z");
        assert_eq!((shown(&usage), left), (json!({"count/pods": "1"}), None));
    }

    #[test]
    fn claims_are_in_scope_by_their_attributes() {
        let claim = |spec: &str, current: &str| json!({"spec": {"volumeAttributesClassName": spec}, "status": {"currentVolumeAttributesClassName": current}});
        let covered = |operator: &str, values: Value, claim: &Value| {
            let wanted = json!([{"scopeName": "VolumeAttributesClass", "operator": operator, "values": values}]);
            let quota = json!({"spec": {"scopeSelector": {"matchExpressions": wanted}}});
            assert!(!covers(&quota, "", "pods", claim) && !covers(&quota, "", "services", claim));
            covers(&quota, "", "persistentvolumeclaims", claim)
        };
        let (none, gold, moving) = (claim("", ""), claim("gold", "gold"), claim("gold", "tin"));
        for (operator, values, wanted) in [
            ("Exists", json!([]), [false, true, true]),
            ("DoesNotExist", json!([]), [true, false, false]),
            ("In", json!(["tin"]), [false, false, true]),
            ("NotIn", json!(["gold"]), [true, false, true]),
        ] {
            let found = [&none, &gold, &moving].map(|claim| covered(operator, values.clone(), claim));
            assert_eq!(found, wanted, "{operator}");
        }
        let ending = json!({"spec": {"scopes": ["Terminating"]}});
        assert!(!covers(&ending, "", "persistentvolumeclaims", &gold));
        let grown = json!({"spec": {"resources": {"requests": {"storage": "1Gi"}}},
            "status": {"allocatedResources": {"storage": "2Gi"}}});
        assert_eq!(usage("", "persistentvolumeclaims", &grown)["requests.storage"].to_string(), "2Gi");
    }

    #[test]
    fn other_objects_are_counted_by_name() {
        let hard = amounts(&json!({"count/jobs.batch": 1, "requests.cpu": 1, "services.nodeports": 1}));
        let all: Vec<_> = counted(&hard).into_iter().map(|(group, plural)| format!("{group}/{plural}")).collect();
        assert_eq!(all, ["/pods", "/services", "batch/jobs"]);
        let service = json!({"spec": {"type": "NodePort", "ports": [{}, {}]}});
        assert_eq!(
            shown(&usage("", "services", &service)),
            json!({"count/services": "1", "services": "1", "services.nodeports": "2"})
        );
        let missing =
            unset(&amounts(&json!({"limits.cpu": 1, "pods": 1})), &json!({"spec": {"containers": [{"name": "c"}]}}));
        assert_eq!(missing, BTreeMap::from([("limits.cpu".to_string(), vec!["c".to_string()])]));
    }
}
