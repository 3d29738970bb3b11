//! Fields that a sync leaves as they are: what others set there is posted back, so that it neither
//! changes nor counts as drift. A new object gets what its manifest says.

use super::live::live;
use crate::gitops::application::IgnoreDifferences;
use crate::gitops::kinds::Kinds;
use crate::gitops::render::{Manifest, Rendered, group};
use serde_json::{Map, Value};

/// The manifests with the ignored fields as they are on the server now.
pub(super) async fn adjust(
    client: &kube::Client,
    kinds: &dyn Kinds,
    rendered: &Rendered,
    rules: &[IgnoreDifferences],
) -> Rendered {
    let mut adjusted = rendered.clone();
    for manifest in &mut adjusted.objects {
        let own: Vec<_> = rules.iter().filter(|rule| is_about(rule, manifest)).collect();
        if own.is_empty() {
            continue;
        }
        let Some(object) = live(client, kinds, &manifest.id).await else { continue };
        for rule in own {
            take(rule, &object, &mut manifest.value);
        }
    }
    adjusted
}

fn is_about(rule: &IgnoreDifferences, manifest: &Manifest) -> bool {
    let id = &manifest.id;
    let fits = |wanted: &str, found: &str| wanted == "*" || wanted == found;
    let chosen = |wanted: &str, found: &str| wanted.is_empty() || wanted == found;
    fits(&rule.kind, &id.kind)
        && fits(&rule.group, group(&id.api_version))
        && chosen(&rule.name, &id.name)
        && chosen(&rule.namespace, &id.namespace)
}

fn take(rule: &IgnoreDifferences, live: &Value, ours: &mut Value) {
    for pointer in &rule.json_pointers {
        take_at(pointer, live, ours);
    }
    let entries = live.pointer("/metadata/managedFields").and_then(Value::as_array);
    for entry in entries.into_iter().flatten() {
        let manager = entry.get("manager").and_then(Value::as_str).unwrap_or_default();
        let fields = entry.get("fieldsV1").and_then(Value::as_object);
        if let Some(fields) = fields.filter(|_| rule.managed_fields_managers.iter().any(|one| one == manager)) {
            take_fields(fields, live, ours);
        }
    }
}

/// Takes the value at an RFC 6901 pointer, where the manifest says anything there.
fn take_at(pointer: &str, live: &Value, ours: &mut Value) {
    match (live.pointer(pointer), ours.pointer_mut(pointer)) {
        (Some(value), Some(place)) => *place = value.clone(),
        (None, Some(_)) => {
            let Some((parent, key)) = pointer.rsplit_once('/') else { return };
            if let Some(Value::Object(fields)) = ours.pointer_mut(parent) {
                fields.remove(&key.replace("~1", "/").replace("~0", "~"));
            }
        }
        (_, None) => {}
    }
}

/// Takes the values that a manager owns, where the manifest says anything there.
fn take_fields(fields: &Map<String, Value>, live: &Value, ours: &mut Value) {
    for (key, below) in fields {
        let Some(below) = below.as_object() else { continue };
        if let Some(name) = key.strip_prefix("f:") {
            let Some(object) = ours.as_object_mut().filter(|object| object.contains_key(name)) else { continue };
            match live.get(name) {
                None => {
                    object.remove(name);
                }
                Some(value) if below.is_empty() => {
                    object.insert(name.to_owned(), value.clone());
                }
                Some(value) => {
                    if let Some(place) = object.get_mut(name) {
                        take_fields(below, value, place);
                    }
                }
            }
        } else if let Some(keys) = key.strip_prefix("k:").and_then(|text| serde_json::from_str::<Value>(text).ok()) {
            let is = |entry: &&Value| holds(entry, &keys);
            let theirs = live.as_array().and_then(|entries| entries.iter().find(is));
            let entry = ours.as_array_mut().and_then(|entries| entries.iter_mut().find(|entry| holds(entry, &keys)));
            if let (Some(theirs), Some(entry)) = (theirs, entry) {
                take_fields(below, theirs, entry);
            }
        }
    }
}

/// Whether a list's entry has these keys.
fn holds(entry: &Value, keys: &Value) -> bool {
    keys.as_object().is_some_and(|keys| keys.iter().all(|(key, value)| entry.get(key) == Some(value)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn pointers_take_what_is_there() {
        let rule = IgnoreDifferences {
            json_pointers: vec!["/spec/replicas".into(), "/data/a~1b".into(), "/spec/absent".into()],
            ..IgnoreDifferences::default()
        };
        let mut ours = json!({"spec": {"replicas": 1}, "data": {"a/b": "1", "c": "2"}});
        take(&rule, &json!({"spec": {"replicas": 7, "absent": 1}, "data": {"c": "3"}}), &mut ours);
        assert_eq!(ours, json!({"spec": {"replicas": 7}, "data": {"c": "2"}}));
    }

    #[test]
    fn managers_keep_what_they_own() {
        let rule = IgnoreDifferences { managed_fields_managers: vec!["scaler".into()], ..IgnoreDifferences::default() };
        let live = json!({
            "metadata": {"managedFields": [
                {"manager": "other", "fieldsV1": {"f:spec": {"f:paused": {}}}},
                {"manager": "scaler", "fieldsV1": {"f:spec": {"f:replicas": {}, "f:containers": {
                    "k:{\"name\":\"web\"}": {".": {}, "f:image": {}}, "k:{\"name\":\"gone\"}": {"f:image": {}}}}}}]},
            "spec": {"replicas": 7, "paused": true,
                "containers": [{"name": "side", "image": "s:1"}, {"name": "web", "image": "web:2", "tty": true}]}});
        let mut ours =
            json!({"spec": {"replicas": 1, "paused": false, "containers": [{"name": "web", "image": "web:1"}]}});
        take(&rule, &live, &mut ours);
        assert_eq!(
            ours,
            json!({"spec": {"replicas": 7, "paused": false, "containers": [{"name": "web", "image": "web:2"}]}})
        );
    }
}
