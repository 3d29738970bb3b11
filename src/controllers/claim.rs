//! Who belongs to whom: label selectors and the adoption and release of dependants. Pure.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::{LabelSelector, ObjectMeta, OwnerReference};
use std::collections::BTreeMap;

/// The one owner that manages the object.
pub fn controller_of(meta: &ObjectMeta) -> Option<&OwnerReference> {
    meta.owner_references.as_ref()?.iter().find(|owner| owner.controller == Some(true))
}

/// Whether `labels` satisfy the selector. An empty selector matches everything, as in the API; a
/// requirement with an unknown operator matches nothing.
pub fn matches(selector: &LabelSelector, labels: Option<&BTreeMap<String, String>>) -> bool {
    let value = |key: &str| labels.and_then(|labels| labels.get(key));
    let equal = selector.match_labels.iter().flatten().all(|(key, wanted)| value(key) == Some(wanted));
    equal
        && selector.match_expressions.iter().flatten().all(|requirement| {
            let found = value(&requirement.key);
            let listed = || found.is_some_and(|found| requirement.values.iter().flatten().any(|value| value == found));
            match requirement.operator.as_str() {
                "In" => listed(),
                "NotIn" => !listed(),
                "Exists" => found.is_some(),
                "DoesNotExist" => found.is_none(),
                _ => false,
            }
        })
}

/// What an owner does about an object of the kind it manages.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Claim {
    /// It is ours already.
    Keep,
    /// It matches, and nobody owns it.
    Adopt,
    /// It is ours but matches no longer.
    Release,
    /// It is none of our business.
    Ignore,
}

/// Decides for one object. An owner on its way out claims nothing new and lets go of nothing.
pub fn claim(owner: &ObjectMeta, selector: &LabelSelector, object: &ObjectMeta) -> Claim {
    let leaving = owner.deletion_timestamp.is_some();
    let fits = matches(selector, object.labels.as_ref());
    match controller_of(object) {
        Some(controller) if Some(&controller.uid) != owner.uid.as_ref() => Claim::Ignore,
        Some(_) if fits => Claim::Keep,
        Some(_) if leaving => Claim::Keep,
        Some(_) => Claim::Release,
        None if fits && !leaving && object.deletion_timestamp.is_none() => Claim::Adopt,
        None => Claim::Ignore,
    }
}

/// The reference a controller puts on what it makes.
pub fn controller_reference<K: kube::Resource<DynamicType = ()>>(owner: &K) -> OwnerReference {
    let meta = owner.meta();
    OwnerReference {
        api_version: K::api_version(&()).into_owned(),
        kind: K::kind(&()).into_owned(),
        name: meta.name.clone().unwrap_or_default(),
        uid: meta.uid.clone().unwrap_or_default(),
        controller: Some(true),
        block_owner_deletion: Some(true),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use serde_json::{from_value, json};

    fn check(selector: serde_json::Value, labels: serde_json::Value, expect: bool) {
        let selector: LabelSelector = from_value(selector).unwrap();
        let labels: BTreeMap<String, String> = from_value(labels).unwrap();
        assert_eq!(matches(&selector, Some(&labels)), expect, "{selector:?} on {labels:?}");
    }

    #[test]
    fn selectors() {
        check(json!({}), json!({"a": "1"}), true);
        check(json!({"matchLabels": {"a": "1"}}), json!({"a": "1", "b": "2"}), true);
        check(json!({"matchLabels": {"a": "1"}}), json!({"a": "2"}), false);
        let one = |operator, values: &[&str]| json!({"matchExpressions": [{"key": "a", "operator": operator, "values": values}]});
        check(one("In", &["1", "2"]), json!({"a": "2"}), true);
        check(one("In", &["1"]), json!({}), false);
        check(one("NotIn", &["1"]), json!({}), true);
        check(one("NotIn", &["1"]), json!({"a": "1"}), false);
        check(one("Exists", &[]), json!({"a": ""}), true);
        check(one("DoesNotExist", &[]), json!({"a": ""}), false);
        check(one("Near", &[]), json!({"a": ""}), false);
    }

    #[test]
    fn claims() {
        let selector: LabelSelector = from_value(json!({"matchLabels": {"a": "1"}})).unwrap();
        let meta = |value| from_value::<ObjectMeta>(value).unwrap();
        let (owner, leaving) =
            (meta(json!({"uid": "u"})), meta(json!({"uid": "u", "deletionTimestamp": "2024-01-01T00:00:00Z"})));
        let object = |label: &str, uid: Option<&str>| {
            let owners =
                uid.map(|uid| json!([{"apiVersion": "v1", "kind": "K", "name": "n", "uid": uid, "controller": true}]));
            meta(json!({"labels": {"a": label}, "ownerReferences": owners}))
        };
        assert_eq!(claim(&owner, &selector, &object("1", Some("u"))), Claim::Keep);
        assert_eq!(claim(&owner, &selector, &object("2", Some("u"))), Claim::Release);
        assert_eq!(claim(&owner, &selector, &object("1", Some("other"))), Claim::Ignore);
        assert_eq!(claim(&owner, &selector, &object("1", None)), Claim::Adopt);
        assert_eq!(claim(&owner, &selector, &object("2", None)), Claim::Ignore);
        assert_eq!(claim(&leaving, &selector, &object("1", None)), Claim::Ignore);
        assert_eq!(claim(&leaving, &selector, &object("2", Some("u"))), Claim::Keep);
    }
}
