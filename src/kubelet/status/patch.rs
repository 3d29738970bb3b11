//! The difference between a reported status and the true one, as a strategic merge patch of the
//! status subresource: conditions that others add meanwhile survive it.

use k8s_openapi::api::core::v1::{Pod, PodStatus};
use serde_json::{Map, Value, json};

/// `None`: nothing to report. The patch carries the uid, so that it never hits a namesake.
pub fn patch(pod: &Pod, new: &PodStatus) -> Option<Value> {
    if pod.status.as_ref() == Some(new) {
        return None;
    }
    let none = PodStatus::default();
    let old = serde_json::to_value(pod.status.as_ref().unwrap_or(&none)).ok()?;
    let new = serde_json::to_value(new).ok()?;
    let (Value::Object(old), Value::Object(new)) = (old, new) else { return None };
    let mut changes = Map::new();
    for (key, value) in &new {
        if old.get(key) != Some(value) {
            changes.insert(key.clone(), value.clone());
        }
    }
    for key in old.keys().filter(|key| !new.contains_key(*key)) {
        changes.insert(key.clone(), Value::Null);
    }
    if changes.is_empty() {
        return None;
    }
    // Conditions merge field by field: what a condition no longer says must be taken back.
    if let (Some(Value::Array(new)), Some(Value::Array(old))) = (changes.get_mut("conditions"), old.get("conditions")) {
        new.iter_mut().for_each(|condition| take_back(condition, old));
        let gone = old.iter().filter(|before| new.iter().all(|condition| condition["type"] != before["type"]));
        let gone: Vec<Value> = gone.map(|before| json!({"type": before["type"], "$patch": "delete"})).collect();
        new.extend(gone);
    }
    // Merged by key in Kubernetes' schema, but addresses replace each other.
    for key in ["podIPs", "hostIPs"] {
        if let Some(Value::Array(list)) = changes.get_mut(key)
            && old.contains_key(key)
        {
            list.insert(0, json!({"$patch": "replace"}));
        }
    }
    Some(json!({"metadata": {"uid": pod.metadata.uid}, "status": changes}))
}

/// Names, with null, what the condition of the same type said before and `condition` does not.
fn take_back(condition: &mut Value, old: &[Value]) {
    let before = old.iter().find(|other| other["type"] == condition["type"]).and_then(Value::as_object);
    let (Some(before), Some(now)) = (before, condition.as_object_mut()) else { return };
    for name in before.keys() {
        now.entry(name.as_str()).or_insert(Value::Null);
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn reports_only_what_changed() {
        let pod: Pod = serde_json::from_value(json!({"metadata": {"uid": "u"},
            "status": {"phase": "Running", "message": "x", "podIPs": [{"ip": "1"}], "conditions": [{"type": "Theirs", "status": "True"}]}}))
        .unwrap();
        let mut new = pod.status.clone().unwrap();
        assert_eq!(patch(&pod, &new), None);
        new.phase = Some("Failed".into());
        new.message = None;
        new.pod_ips.as_mut().unwrap()[0].ip = "2".into();
        let expect = json!({"phase": "Failed", "message": null, "podIPs": [{"$patch": "replace"}, {"ip": "2"}]});
        assert_eq!(patch(&pod, &new).unwrap(), json!({"metadata": {"uid": "u"}, "status": expect}));
    }

    #[test]
    fn a_condition_that_is_over_goes() {
        let (ready, pending) = (json!({"type": "Ready", "status": "True"}), json!({"type": "P", "status": "True"}));
        let pod = json!({"metadata": {"uid": "u"}, "status": {"conditions": [pending, ready]}});
        let pod: Pod = serde_json::from_value(pod).unwrap();
        let new = serde_json::from_value(json!({"conditions": [ready]})).unwrap();
        let expect = json!([ready, {"type": "P", "$patch": "delete"}]);
        assert_eq!(patch(&pod, &new).unwrap()["status"]["conditions"], expect);
    }

    #[test]
    fn a_condition_takes_back_what_it_no_longer_says() {
        let unready = json!({"type": "Ready", "status": "False", "reason": "ContainersNotReady", "message": "m"});
        let pod: Pod =
            serde_json::from_value(json!({"metadata": {"uid": "u"}, "status": {"conditions": [unready]}})).unwrap();
        let new = serde_json::from_value(json!({"conditions": [{"type": "Ready", "status": "True"}]})).unwrap();
        let expect = json!([{"type": "Ready", "status": "True", "reason": null, "message": null}]);
        assert_eq!(patch(&pod, &new).unwrap()["status"]["conditions"], expect);
    }
}
