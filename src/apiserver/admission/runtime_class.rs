//! What a pod gets of its RuntimeClass: overhead, and where it may run.
//! Source: Kubernetes' RuntimeClass admission plugin.

use crate::api::error::ApiError;
use crate::api::quota::amounts;
use crate::apiserver::resources::Writer;
use crate::apiserver::resources::object::parse;
use crate::store;
use serde_json::Value;

const GROUP: &str = "node.k8s.io";
const PLURAL: &str = "runtimeclasses";

/// Completes a pod's spec; the pods that a class excludes are refused.
pub fn admit(writer: &Writer<'_>, spec: &mut Value) -> Result<(), ApiError> {
    let forbidden = |why: String| ApiError::forbidden(writer.at.target(), writer.at.name, why);
    let class = match spec["runtimeClassName"].as_str().map(str::to_owned) {
        Some(name) => match writer.view.get(&store::key(GROUP, PLURAL, "", &name)) {
            Some(record) => parse(&record),
            None => return Err(forbidden(format!("pod rejected: RuntimeClass {name:?} not found"))),
        },
        None => Value::Null,
    };
    add_overhead(spec, &class["overhead"]).map_err(|why| forbidden(why.into()))?;
    restrict(spec, &class["scheduling"]).map_err(forbidden)
}

/// A pod's overhead is what its class says, or none.
fn add_overhead(spec: &mut Value, overhead: &Value) -> Result<(), &'static str> {
    match (spec["overhead"].is_null(), overhead.is_null()) {
        (true, true) => Ok(()),
        (true, false) => {
            spec["overhead"] = overhead["podFixed"].clone();
            Ok(())
        }
        (false, true) => Err("pod rejected: Pod Overhead set without corresponding RuntimeClass defined Overhead"),
        (false, false) if amounts(&spec["overhead"]) == amounts(&overhead["podFixed"]) => Ok(()),
        (false, false) => Err("pod rejected: Pod's Overhead doesn't match RuntimeClass's defined Overhead"),
    }
}

/// Adds the class's node selector and tolerations.
fn restrict(spec: &mut Value, scheduling: &Value) -> Result<(), String> {
    let mut selector = spec["nodeSelector"].as_object().cloned().unwrap_or_default();
    for (key, wanted) in scheduling["nodeSelector"].as_object().into_iter().flatten() {
        if let Some(own) = selector.insert(key.clone(), wanted.clone()).filter(|own| own != wanted) {
            let (wanted, own) = (wanted.as_str().unwrap_or_default(), own.as_str().unwrap_or_default());
            return Err(format!(
                "conflict: runtimeClass.scheduling.nodeSelector[{key}] = {wanted}; pod.spec.nodeSelector[{key}] = {own}"
            ));
        }
    }
    if !selector.is_empty() {
        spec["nodeSelector"] = selector.into();
    }
    let of = |value: &Value| value["tolerations"].as_array().cloned().unwrap_or_default();
    let more = of(scheduling);
    if !more.is_empty() {
        spec["tolerations"] = without_redundant([of(spec), more].concat()).into();
    }
    Ok(())
}

/// Leaves out what another toleration covers; of equal ones the first stays.
fn without_redundant(all: Vec<Value>) -> Vec<Value> {
    let mut kept: Vec<Value> = Vec::new();
    for (at, one) in all.iter().enumerate() {
        let later = all.iter().skip(at + 1).any(|other| other != one && covers(other, one));
        if !later && !kept.iter().any(|earlier| covers(earlier, one)) {
            kept.push(one.clone());
        }
    }
    kept
}

/// Whether `wide` tolerates all that `narrow` does, and for as long.
fn covers(wide: &Value, narrow: &Value) -> bool {
    if wide == narrow {
        return true;
    }
    let text = |toleration: &Value, name: &str| toleration[name].as_str().unwrap_or_default().to_owned();
    let exists = text(wide, "operator") == "Exists";
    let any_key = text(wide, "key").is_empty() && exists;
    let any_effect = text(wide, "effect").is_empty();
    if !any_key && text(wide, "key") != text(narrow, "key")
        || !any_effect && text(wide, "effect") != text(narrow, "effect")
    {
        return false;
    }
    let seconds = |toleration: &Value| toleration["tolerationSeconds"].as_i64();
    let long_enough = match (seconds(wide), seconds(narrow)) {
        (Some(wide), Some(narrow)) => wide >= narrow,
        (Some(_), None) => false,
        (None, _) => true,
    };
    let same_value = text(narrow, "operator") != "Exists" && text(wide, "value") == text(narrow, "value");
    (text(wide, "effect") != "NoExecute" || long_enough) && (exists || same_value)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn overhead_is_what_the_class_says() {
        let class = json!({"podFixed": {"cpu": "10m", "memory": "1Mi"}});
        let mut spec = json!({});
        add_overhead(&mut spec, &class).expect("the pod says nothing");
        assert_eq!(spec["overhead"], class["podFixed"]);
        add_overhead(&mut json!({"overhead": {"cpu": "0.01", "memory": "1024Ki"}}), &class).expect("the same");
        let refused = |overhead: Value, class: &Value| add_overhead(&mut json!({"overhead": overhead}), class);
        assert!(refused(json!({"cpu": "10m"}), &class).is_err_and(|why| why.contains("doesn't match")));
        assert!(refused(json!({"cpu": "10m"}), &Value::Null).is_err_and(|why| why.contains("without corresponding")));
    }

    #[test]
    fn the_class_restricts_where_its_pods_run() {
        let class = json!({"nodeSelector": {"kata": "yes", "zone": "a"}, "tolerations": [{"key": "kata", "operator": "Exists"}]});
        let mut spec = json!({"nodeSelector": {"zone": "a"}, "tolerations": [{"key": "other", "operator": "Exists"}]});
        restrict(&mut spec, &class).expect("they agree");
        assert_eq!(spec["nodeSelector"], json!({"kata": "yes", "zone": "a"}));
        assert_eq!(spec["tolerations"].as_array().map(Vec::len), Some(2));
        let why = restrict(&mut json!({"nodeSelector": {"zone": "b"}}), &class).expect_err("another zone");
        assert_eq!(why, "conflict: runtimeClass.scheduling.nodeSelector[zone] = a; pod.spec.nodeSelector[zone] = b");
        let mut spec = json!({});
        restrict(&mut spec, &Value::Null).expect("no class");
        assert_eq!(spec, json!({}));
    }

    #[test]
    fn tolerations_that_others_cover_are_left_out() {
        let all = |key: &str, seconds: Option<i64>| {
            let mut one = json!({"key": key, "operator": "Exists", "effect": "NoExecute"});
            if let Some(seconds) = seconds {
                one["tolerationSeconds"] = seconds.into();
            }
            one
        };
        let equal = json!({"key": "a", "operator": "Equal", "value": "x", "effect": "NoExecute"});
        let (long, short) = (all("a", Some(300)), all("a", Some(5)));
        assert_eq!(without_redundant(vec![short, long.clone()]), vec![long.clone()]);
        assert_eq!(without_redundant(vec![long.clone(), all("a", None), equal.clone()]), vec![all("a", None)]);
        assert_eq!(
            without_redundant(vec![equal.clone(), long.clone()]),
            vec![equal.clone(), long.clone()],
            "not as long"
        );
        let every = json!({"operator": "Exists"});
        assert_eq!(without_redundant(vec![long.clone(), every.clone(), equal.clone()]), vec![every]);
        assert_eq!(without_redundant(vec![equal.clone(), equal.clone()]), vec![equal]);
    }
}
