//! Whether two values say the same, as Kubernetes' semantic equality has it: amounts compare in numbers,
//! however they are written, and what is empty is as what is absent.

use super::resources::amount;
use serde_json::Value;

/// Fields whose values are amounts by the resource's name.
const LISTS: [&str; 7] = ["allocatable", "allocatedResources", "capacity", "hard", "limits", "overhead", "requests"];
/// Fields that are amounts themselves.
const AMOUNTS: [&str; 2] = ["divisor", "sizeLimit"];
/// Maps; an empty object elsewhere may be a choice, as `emptyDir: {}` is.
const MAPS: [&str; 4] = ["annotations", "labels", "matchLabels", "nodeSelector"];

pub fn equal(a: &Value, b: &Value) -> bool {
    same("", a, b)
}

fn same(field: &str, a: &Value, b: &Value) -> bool {
    match (a, b) {
        (Value::Object(a), Value::Object(b)) => {
            let is_list = LISTS.contains(&field);
            let mut names = a.keys().chain(b.keys().filter(|name| !a.contains_key(*name)));
            names.all(|name| {
                let (a, b) = (a.get(name).unwrap_or(&Value::Null), b.get(name).unwrap_or(&Value::Null));
                if is_list { same_amount(a, b) } else { same(name, a, b) }
            })
        }
        (Value::Array(a), Value::Array(b)) => a.len() == b.len() && a.iter().zip(b).all(|(a, b)| same("", a, b)),
        (Value::Null, one) | (one, Value::Null) => is_absent(field, one),
        _ if AMOUNTS.contains(&field) => same_amount(a, b),
        _ => a == b,
    }
}

fn same_amount(a: &Value, b: &Value) -> bool {
    a == b || amount(a).is_some_and(|a| Some(a) == amount(b))
}

fn is_absent(field: &str, value: &Value) -> bool {
    match value {
        Value::Null => true,
        Value::Array(list) => list.is_empty(),
        Value::Object(map) => map.is_empty() && (LISTS.contains(&field) || MAPS.contains(&field)),
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn amounts_compare_in_numbers_and_nothing_else_does() {
        for (a, b, expected) in [
            (json!({"limits": {"memory": "1Gi"}}), json!({"limits": {"memory": "1073741824"}}), true),
            (json!({"limits": {"memory": "1Gi"}}), json!({"limits": {"memory": "1G"}}), false),
            (json!({"limits": {"cpu": "1"}}), json!({"limits": {"cpu": "1", "memory": "0"}}), false),
            (json!({"emptyDir": {"sizeLimit": "1Ki"}}), json!({"emptyDir": {"sizeLimit": "1024"}}), true),
            (json!({"labels": {"a": "1"}}), json!({"labels": {"a": "1000m"}}), false),
            (json!({"args": ["1"]}), json!({"args": ["1000m"]}), false),
        ] {
            assert_eq!(equal(&a, &b), expected, "{a} {b}");
        }
    }

    #[test]
    fn what_is_empty_is_as_what_is_absent() {
        let empty = json!({"limits": {}, "tolerations": [], "nodeSelector": {}, "x": null});
        assert!(equal(&empty, &json!({})) && equal(&json!({}), &empty));
        assert!(!equal(&json!({"emptyDir": {}}), &json!({})), "says which volume it is");
    }
}
