//! What a write of `pods/x/ephemeralcontainers` may change: containers may join, and stay as they are.

use super::MIRROR;
use crate::api::error::FieldError;
use crate::api::kinds::json::{list, text};
use crate::api::kinds::semantic;
use serde_json::{Value, json};

/// Puts back everything else.
pub fn prepare(new: &mut Value, old: &Value) {
    let joining = new["spec"].get("ephemeralContainers").cloned();
    let mut spec = old["spec"].clone();
    if let Some(fields) = spec.as_object_mut() {
        match joining {
            Some(joining) => fields.insert("ephemeralContainers".into(), joining),
            None => fields.remove("ephemeralContainers"),
        };
    }
    new["spec"] = spec;
}

pub fn validate(new: &Value, old: &Value) -> Vec<FieldError> {
    if old["metadata"]["annotations"][MIRROR].is_string() {
        return vec![FieldError::forbidden("[]", "static pods do not support ephemeral containers")];
    }
    let of = |pod| list(pod, &["spec", "ephemeralContainers"]);
    let mut errors = Vec::new();
    for before in of(old) {
        let name = text(before, &["name"]);
        let change = match of(new).iter().find(|after| after["name"] == before["name"]) {
            None => "removed",
            Some(after) if !semantic::equal(after, before) => "changed",
            Some(_) => continue,
        };
        let why = format!("existing ephemeral containers {} may not be {change}\n", json!(name));
        errors.push(FieldError::forbidden("spec.ephemeralContainers", &why));
    }
    errors
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn containers_join_and_stay() {
        let pod = |list: Value| json!({"spec": {"nodeName": "n", "ephemeralContainers": list}});
        let old = pod(json!([{"name": "a", "image": "i"}]));
        let check = |list: Value| {
            let mut new = pod(list);
            new["spec"]["nodeName"] = "other".into();
            prepare(&mut new, &old);
            assert_eq!(new["spec"]["nodeName"], "n");
            validate(&new, &old).into_iter().map(|error| error.detail).collect::<Vec<_>>()
        };
        assert_eq!(check(json!([{"name": "b", "image": "i"}, {"name": "a", "image": "i"}])), [""; 0]);
        assert_eq!(check(json!([])), ["Forbidden: existing ephemeral containers \"a\" may not be removed\n"]);
        let other = check(json!([{"name": "a", "image": "j"}]));
        assert_eq!(other, ["Forbidden: existing ephemeral containers \"a\" may not be changed\n"]);
    }
}
