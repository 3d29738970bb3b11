//! Tells pod templates apart: which ReplicaSet belongs to a Deployment's current template, and what
//! a new one is called. Pure.

use k8s_openapi::api::core::v1::{PodSpec, PodTemplateSpec};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use serde_json::Value;

/// The label that keeps the pods of a Deployment's ReplicaSets apart.
pub const HASH_LABEL: &str = "pod-template-hash";

/// Whether both mean the same pods, the hash label aside.
pub fn same(a: &PodTemplateSpec, b: &PodTemplateSpec) -> bool {
    // Most are equal, or say another thing where nothing can mean nothing: neither needs the detour over JSON.
    if a.spec != b.spec && (essence(&a.spec).ne(essence(&b.spec)) || !same_text(&a.spec, &b.spec)) {
        return false;
    }
    same_labels(a, b) && annotations(a).eq(annotations(b))
}

fn same_labels(a: &PodTemplateSpec, b: &PodTemplateSpec) -> bool {
    let labels = |template| {
        let labels = metadata(template).and_then(|meta| meta.labels.as_ref()).into_iter().flatten();
        labels.filter(|(key, _)| *key != HASH_LABEL)
    };
    labels(a).eq(labels(b))
}

fn annotations(template: &PodTemplateSpec) -> impl Iterator<Item = (&String, &String)> {
    metadata(template).and_then(|meta| meta.annotations.as_ref()).into_iter().flatten()
}

fn metadata(template: &PodTemplateSpec) -> Option<&ObjectMeta> {
    template.metadata.as_ref()
}

/// Texts of which each means something: what most changes change.
fn essence(spec: &Option<PodSpec>) -> impl Iterator<Item = (&str, Option<&str>)> {
    let containers = spec.iter().flat_map(|spec| &spec.containers);
    containers.flat_map(|container| {
        let env = container.env.iter().flatten().map(|var| (&*var.name, var.value.as_deref()));
        env.chain([(&*container.name, container.image.as_deref())])
    })
}

/// Whether both are the same JSON, what means nothing aside.
fn same_text<T: serde::Serialize>(a: &T, b: &T) -> bool {
    let (Ok(a_text), Ok(b_text)) = (serde_json::to_string(a), serde_json::to_string(b)) else { return false };
    // Keys come in the same order, so that texts without what may mean nothing are canonical already.
    let is_plain = |text: &str| !text.contains("[]") && !text.contains("null");
    a_text == b_text || !(is_plain(&a_text) && is_plain(&b_text)) && canonical(a) == canonical(b)
}

/// A short name for the template: stable as long as the template means the same. `collisions` is
/// `status.collisionCount`, by which a name that is taken by another template is avoided.
pub fn hash(template: &PodTemplateSpec, collisions: Option<i32>) -> String {
    let mut bare = template.clone();
    if let Some(labels) = bare.metadata.as_mut().and_then(|meta| meta.labels.as_mut()) {
        labels.remove(HASH_LABEL);
    }
    let text = canonical(&bare).to_string();
    let salt = collisions.map(i32::to_le_bytes);
    let hash = text
        .bytes()
        .chain(salt.into_iter().flatten())
        .fold(0x811c_9dc5u32, |hash, byte| (hash ^ u32::from(byte)).wrapping_mul(0x0100_0193));
    safe(&hash.to_string())
}

/// No vowels and nothing easily misread, as in generated names.
fn safe(digits: &str) -> String {
    const LETTERS: &[u8; 27] = b"bcdfghjklmnpqrstvwxz2456789";
    digits.bytes().map(|byte| LETTERS[usize::from(byte) % LETTERS.len()] as char).collect()
}

/// JSON without what means nothing: nulls, empty lists and empty maps; keys in order.
fn canonical<T: serde::Serialize>(value: &T) -> Value {
    fn prune(value: Value) -> Option<Value> {
        match value {
            Value::Null => None,
            Value::Array(items) if items.is_empty() => None,
            // An empty map in a list or as `emptyDir: {}` says something: only absent keys are noise.
            Value::Array(items) => {
                Some(Value::Array(items.into_iter().map(|item| prune(item).unwrap_or(Value::Null)).collect()))
            }
            Value::Object(map) => {
                let mut kept: Vec<_> = map.into_iter().filter_map(|(key, value)| Some((key, prune(value)?))).collect();
                kept.sort_by(|(a, _), (b, _)| a.cmp(b));
                Some(Value::Object(kept.into_iter().collect()))
            }
            other => Some(other),
        }
    }
    serde_json::to_value(value).ok().and_then(prune).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use serde_json::{from_value, json};

    fn template(image: &str, hash: Option<&str>) -> PodTemplateSpec {
        let mut labels = json!({"app": "web"});
        if let Some(hash) = hash {
            labels[HASH_LABEL] = json!(hash);
        }
        from_value(json!({"metadata": {"labels": labels}, "spec": {"containers": [{"name": "c", "image": image}]}}))
            .unwrap()
    }

    #[test]
    fn the_hash_label_makes_no_difference() {
        assert!(same(&template("a", None), &template("a", Some("x"))));
        assert!(!same(&template("a", None), &template("b", None)));
        assert_eq!(hash(&template("a", None), None), hash(&template("a", Some("x")), None));
        assert_ne!(hash(&template("a", None), None), hash(&template("b", None), None));
    }

    #[test]
    fn collisions_give_another_name_of_safe_letters() {
        let names: Vec<_> = [None, Some(1), Some(2)].map(|count| hash(&template("a", None), count)).into();
        assert!(names[0] != names[1] && names[1] != names[2]);
        assert!(names.iter().all(|name| (1..=10).contains(&name.len())
            && name.bytes().all(|byte| b"bcdfghjklmnpqrstvwxz2456789".contains(&byte))));
    }

    #[test]
    fn empty_lists_mean_the_same_as_none() {
        let mut empty = template("a", None);
        empty.spec.as_mut().unwrap().containers[0].env = Some(Vec::new());
        assert!(same(&empty, &template("a", None)));
        assert_eq!(hash(&empty, None), hash(&template("a", None), None));
    }
}
