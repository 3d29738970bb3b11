//! The rules of `spec.helm`: values are a map, and each object that holds some is one that can.

use super::post_build::holders;
use crate::api::error::FieldError;
use crate::api::kinds::json::{list, text};
use crate::base::value_path;
use serde_json::Value;

pub(super) fn validate(spec: &Value) -> Vec<FieldError> {
    let mut errors = holders(spec, &["helm", "valuesFrom"]);
    let values = &spec["helm"]["values"];
    if !values.is_null() && !values.is_object() {
        errors.push(FieldError::invalid("spec.helm.values", values, "must be a map"));
    }
    for (index, from) in list(spec, &["helm", "valuesFrom"]).iter().enumerate() {
        let path = text(from, &["targetPath"]);
        if !path.is_empty()
            && let Err(why) = value_path::parse(path)
        {
            errors.push(FieldError::invalid(format!("spec.helm.valuesFrom[{index}].targetPath"), &path.into(), why));
        }
    }
    errors
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn values_are_maps_and_from_objects_that_hold_some() {
        let wrong = [
            json!({"name": "a"}),
            json!({"kind": "Secret"}),
            json!({"kind": "Secret", "name": "a", "targetPath": "a[x]"}),
        ];
        let good =
            json!({"kind": "ConfigMap", "name": "a", "valuesKey": "x", "targetPath": "a.b-c[0].d_e", "optional": true});
        let from: Vec<_> = wrong.into_iter().chain([good]).collect();
        let fields: Vec<String> = validate(&json!({"helm": {"values": [], "valuesFrom": from}}))
            .into_iter()
            .map(|error| error.field.to_string())
            .collect();
        let expected = [
            "spec.helm.valuesFrom[0].kind",
            "spec.helm.valuesFrom[1].name",
            "spec.helm.values",
            "spec.helm.valuesFrom[2].targetPath",
        ];
        assert_eq!(fields, expected);
        assert!(validate(&json!({})).is_empty());
    }
}
