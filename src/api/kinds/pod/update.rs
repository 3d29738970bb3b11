//! What an update of a pod may change: images, deadline, added tolerations, and while the pod is
//! gated, where it may run.

use crate::api::error::FieldError;
use crate::api::kinds::json::{Object, ensure, integer, items, list, text};
use crate::api::kinds::semantic;
use serde_json::Value;
use similar::TextDiff;

const ALLOWED: &str = "pod updates may not change fields other than `spec.containers[*].image`,`spec.initContainers[*].image`,`spec.activeDeadlineSeconds`,`spec.tolerations` (only additions to existing tolerations),`spec.terminationGracePeriodSeconds` (allow it to be set to 1 if it was previously negative)";

/// Everything the update changes that it may not.
pub fn validate(new: &Value, old: &Value) -> Vec<FieldError> {
    let (new, old) = (&new["spec"], &old["spec"]);
    if new == old {
        return Vec::new();
    }
    for kind in ["containers", "initContainers"] {
        if list(new, &[kind]).len() != list(old, &[kind]).len() {
            return vec![FieldError::forbidden(format!("spec.{kind}"), "pod updates may not add or remove containers")];
        }
    }
    let mut errors = Vec::new();
    let (wanted, had) = (integer(new, &["activeDeadlineSeconds"]), integer(old, &["activeDeadlineSeconds"]));
    if let Some(had) = had
        && wanted.is_none_or(|wanted| wanted > had)
    {
        let why = "must be less than or equal to previous value";
        errors.push(FieldError::invalid("spec.activeDeadlineSeconds", &new["activeDeadlineSeconds"], why));
    }
    if list(old, &["tolerations"]).iter().any(|toleration| !stays(toleration, list(new, &["tolerations"]))) {
        let why = "existing toleration can not be modified except its tolerationSeconds";
        errors.push(FieldError::forbidden("spec.tolerations", why));
    }
    let known = list(old, &["schedulingGates"]);
    for (i, gate) in list(new, &["schedulingGates"]).iter().enumerate().filter(|(_, gate)| !known.contains(gate)) {
        let why = format!("only deletion is allowed, but found new scheduling gate '{}'", text(gate, &["name"]));
        errors.push(FieldError::forbidden(format!("spec.schedulingGates[{i}].name"), &why));
    }
    let gated = !known.is_empty();
    if gated {
        errors.extend(placement(new, old));
    }
    let kept = kept(new, old, gated);
    if !semantic::equal(&kept, old) {
        errors.push(FieldError::forbidden("spec", &format!("{ALLOWED}\n{}", difference(old, &kept))));
    }
    errors
}

/// Whether a toleration is still there, for as long or not.
fn stays(old: &Value, all: &[Value]) -> bool {
    let plain = |toleration: &Value| {
        let mut plain = toleration.clone();
        plain.as_object_mut().map(|fields| fields.remove("tolerationSeconds"));
        plain
    };
    all.iter().any(|new| plain(new) == plain(old))
}

/// Where a gated pod may run can be narrowed.
fn placement(new: &Value, old: &Value) -> Vec<FieldError> {
    let mut errors = Vec::new();
    let mut labels = old["nodeSelector"].as_object().into_iter().flatten();
    if labels.any(|(name, value)| new["nodeSelector"][name] != *value) {
        let why = "only additions to spec.nodeSelector are allowed (no mutations or deletions)";
        errors.push(FieldError::invalid("spec.nodeSelector", &new["nodeSelector"], why));
    }
    const TERMS: [&str; 4] =
        ["affinity", "nodeAffinity", "requiredDuringSchedulingIgnoredDuringExecution", "nodeSelectorTerms"];
    let field = format!("spec.{}", TERMS.join("."));
    let (after, before) = (list(new, &TERMS), list(old, &TERMS));
    if !before.is_empty() && before.len() != after.len() {
        let why = "no additions/deletions to non-empty NodeSelectorTerms list are allowed";
        errors.push(FieldError::invalid(field, &after.into(), why));
        return errors;
    }
    let wrong = after.iter().zip(before).enumerate().filter(|(_, (after, before))| !narrows(after, before));
    for (i, (after, _)) in wrong {
        let why = "only additions are allowed (no mutations or deletions)";
        errors.push(FieldError::invalid(format!("{field}[{i}]"), after, why));
    }
    errors
}

/// Whether a term only asks for more. One that asks for nothing matches nothing, and must stay so.
fn narrows(new: &Value, old: &Value) -> bool {
    let parts = ["matchExpressions", "matchFields"];
    if parts.iter().all(|part| list(old, &[part]).is_empty()) {
        return parts.iter().all(|part| list(new, &[part]).is_empty());
    }
    parts.iter().all(|part| list(new, &[part]).starts_with(list(old, &[part])))
}

/// The new spec, with what may change as it was.
fn kept(new: &Value, old: &Value, gated: bool) -> Value {
    let mut spec = new.clone();
    let Some(fields) = spec.as_object_mut() else { return spec };
    // Removing gates is how a gated pod is released.
    for name in ["activeDeadlineSeconds", "tolerations", "schedulingGates"] {
        as_it_was(fields, old, name);
    }
    if gated {
        as_it_was(fields, old, "nodeSelector");
        let before = &old["affinity"];
        if !(before.is_null() && fields.get("affinity").is_none_or(Value::is_null))
            && let Some(affinity) = ensure(fields, "affinity")
        {
            as_it_was(affinity, before, "nodeAffinity");
            if affinity.is_empty() && before.is_null() {
                fields.remove("affinity");
            }
        }
    }
    // A grace that was negative by mistake can become the shortest.
    let grace = &old["terminationGracePeriodSeconds"];
    if grace.as_i64().is_some_and(|seconds| seconds < 0)
        && fields.get("terminationGracePeriodSeconds") == Some(&1.into())
    {
        fields.insert("terminationGracePeriodSeconds".into(), grace.clone());
    }
    for kind in ["containers", "initContainers"] {
        for (container, before) in items(fields, kind).zip(list(old, &[kind])) {
            as_it_was(container, before, "image");
        }
    }
    spec
}

fn as_it_was(fields: &mut Object, old: &Value, name: &str) {
    match old.get(name) {
        Some(value) => fields.insert(name.into(), value.clone()),
        None => fields.remove(name),
    };
}

/// What the update would change, as lines.
fn difference(old: &Value, new: &Value) -> String {
    let [old, new] = [old, new].map(|spec| format!("{spec:#}\n"));
    TextDiff::from_lines(&old, &new).unified_diff().context_radius(3).to_string()
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn only_images_deadlines_and_new_tolerations_change() {
        let old = json!({"spec": {"nodeName": "a", "tolerations": [{"key": "x"}], "resources": {"limits": {"memory": "1Gi"}},
            "containers": [{"name": "c", "image": "a:1", "resources": {"limits": {"memory": "1Gi"}}}]}});
        let check = |field: &str, value: Value| {
            let mut new = old.clone();
            if let Some(found) = new.pointer_mut(&format!("/spec/{field}")) {
                *found = value;
            }
            validate(&new, &old).into_iter().map(|e| e.field).collect::<Vec<_>>()
        };
        assert!(check("containers/0/image", json!("a:2")).is_empty());
        assert!(check("tolerations", json!([{"key": "x"}, {"key": "y"}])).is_empty());
        assert_eq!(check("tolerations", json!([])), ["spec.tolerations"]);
        assert_eq!(check("nodeName", json!("b")), ["spec"]);
        assert!(check("containers/0/resources/limits/memory", json!("1073741824")).is_empty(), "the same amount");
        assert_eq!(check("containers/0/resources/limits/memory", json!("2Gi")), ["spec"]);
        assert_eq!(check("resources/limits/memory", json!("2Gi")), ["spec"]);
        assert_eq!(check("containers", json!([])), ["spec.containers"]);
    }

    #[test]
    fn what_may_not_change_is_shown() {
        let old = json!({"spec": {"nodeName": "a", "containers": [{"name": "c", "image": "a:1"}]}});
        let mut new = old.clone();
        new["spec"]["containers"][0]["image"] = json!("a:2");
        new["spec"]["nodeName"] = json!("b");
        let detail = validate(&new, &old).remove(0).detail;
        let (said, shown) = detail.split_once('\n').unwrap_or_default();
        assert!(
            said.starts_with("Forbidden: pod updates may not change fields other than `spec.containers[*].image`,`")
        );
        assert!(shown.starts_with("@@ -"), "{shown}");
        assert!(shown.contains("-  \"nodeName\": \"a\"\n+  \"nodeName\": \"b\"\n"), "{shown}");
        assert!(!shown.contains("a:2"), "images may change: {shown}");
    }

    #[test]
    fn gated_pods_are_narrowed_and_released() {
        let terms = |list: Value| json!({"nodeAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": {"nodeSelectorTerms": list}}});
        let zone = json!({"key": "zone", "operator": "Exists"});
        let old = json!({"spec": {"schedulingGates": [{"name": "a"}, {"name": "b"}], "nodeSelector": {"x": "1"},
            "affinity": terms(json!([{"matchExpressions": [zone]}]))}});
        let check = |field: &str, value: Value| {
            let mut new = old.clone();
            new["spec"][field] = value;
            validate(&new, &old).into_iter().map(|e| e.field).collect::<Vec<_>>()
        };
        assert_eq!(check("schedulingGates", json!([{"name": "b"}])), [""; 0]);
        assert_eq!(check("schedulingGates", json!([{"name": "c"}])), ["spec.schedulingGates[0].name"]);
        assert_eq!(check("nodeSelector", json!({"x": "1", "y": "2"})), [""; 0]);
        assert_eq!(check("nodeSelector", json!({"y": "2"})), ["spec.nodeSelector"]);
        let disk = json!({"key": "disk", "operator": "Exists"});
        assert_eq!(check("affinity", terms(json!([{"matchExpressions": [zone, disk]}]))), [""; 0]);
        let at = "spec.affinity.nodeAffinity.requiredDuringSchedulingIgnoredDuringExecution.nodeSelectorTerms";
        assert_eq!(check("affinity", terms(json!([{"matchExpressions": [disk]}]))), [format!("{at}[0]")]);
        assert_eq!(check("affinity", terms(json!([]))), [at]);
        let mut spread = terms(json!([{"matchExpressions": [zone]}]));
        spread["podAntiAffinity"] = json!({"requiredDuringSchedulingIgnoredDuringExecution": []});
        assert_eq!(check("affinity", spread), ["spec"]);
        let mut running = old.clone();
        running["spec"]["schedulingGates"] = json!([]);
        let mut gated = running.clone();
        gated["spec"]["schedulingGates"] = json!([{"name": "a"}]);
        assert_eq!(validate(&gated, &running)[0].field, "spec.schedulingGates[0].name");
    }

    #[test]
    fn tolerations_may_last_longer_and_containers_join_elsewhere() {
        let old = json!({"spec": {"tolerations": [{"key": "x", "tolerationSeconds": 5}], "terminationGracePeriodSeconds": -1}});
        let mut new = old.clone();
        new["spec"]["tolerations"][0]["tolerationSeconds"] = 9.into();
        new["spec"]["terminationGracePeriodSeconds"] = 1.into();
        assert!(validate(&new, &old).is_empty());
        new["spec"]["ephemeralContainers"] = json!([{"name": "d"}]);
        assert_eq!(validate(&new, &old)[0].field, "spec");
    }
}
