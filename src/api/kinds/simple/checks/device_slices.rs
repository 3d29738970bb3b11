//! What devices there are, as drivers publish it. With Kubernetes' texts.

use super::devices::{attribute_name, binding_conditions, each, label, pool_name, taint, unique_names};
use crate::api::cel;
use crate::api::error::FieldError;
use crate::api::kinds::json::{integer, list, text};
use crate::api::kinds::pod_spec::{Context, node_selector};
use crate::api::kinds::{names, resources, semantic, workloads};
use crate::api::quantity::Quantity;
use serde_json::Value;

const DEVICES: usize = 128;
/// Where devices have taints, use counters or have lists as attributes.
const INTRICATE_DEVICES: usize = 64;
const ATTRIBUTES: usize = 32;
/// Lists count by their items.
const ATTRIBUTE_VALUES: usize = 48;
const VALUE: usize = 64;
const TAINTS: usize = 16;
const COUNTER_SETS: usize = 8;
const COUNTERS: usize = 32;
const CONSUMPTIONS: usize = 2;
const VALID_VALUES: usize = 10;
const LISTS: [&str; 4] = ["bools", "ints", "strings", "versions"];
const PER_DEVICE: &str = "when `perDeviceNodeSelection` is set to true in the ResourceSlice spec";

pub fn slice(object: &Value) -> Vec<FieldError> {
    let (mut cx, spec) = (Context::new(), &object["spec"]);
    super::storage::driver(&spec["driver"], "spec.driver", &mut cx);
    pool_name(&spec["pool"]["name"], "spec.pool.name", &mut cx);
    let count = integer(spec, &["pool", "resourceSliceCount"]).unwrap_or(0);
    if count <= 0 {
        cx.invalid("spec.pool.resourceSliceCount".into(), &count.into(), "must be greater than zero");
    }
    let generation = integer(spec, &["pool", "generation"]).unwrap_or(0);
    if generation < 0 {
        cx.invalid("spec.pool.generation".into(), &generation.into(), "must be greater than or equal to zero");
    }
    let places = ["nodeName", "nodeSelector", "allNodes", "perDeviceNodeSelection"];
    let why = "exactly one of `nodeName`, `nodeSelector`, `allNodes`, `perDeviceNodeSelection` is required";
    place(spec, "spec", &places, why, &format!("{why}, but multiple fields are set"), &mut cx);
    let terms = &spec["nodeSelector"]["nodeSelectorTerms"];
    if terms.as_array().is_some_and(|terms| terms.len() != 1) {
        let why = "must have exactly one node selector term";
        cx.invalid("spec.nodeSelector.nodeSelectorTerms".into(), terms, why);
    }
    if !spec["sharedCounters"].is_null() && !spec["devices"].is_null() {
        let why = "only one of `sharedCounters` or `devices` is allowed";
        cx.invalid("spec".into(), &"".into(), why);
    }
    let intricate = |device: &Value| {
        !list(device, &["taints"]).is_empty() || !list(device, &["consumesCounters"]).is_empty() || has_lists(device)
    };
    let most = if list(spec, &["devices"]).iter().any(intricate) { INTRICATE_DEVICES } else { DEVICES };
    let apart = spec["perDeviceNodeSelection"] == true;
    each(spec, "devices", "spec", most, &mut cx, &|one, field, cx| device(one, field, apart, cx));
    unique_names(spec, "devices", "spec", "name", &mut cx);
    each(spec, "sharedCounters", "spec", COUNTER_SETS, &mut cx, &|set, field, cx| {
        counters(set, "name", field, cx);
    });
    unique_names(spec, "sharedCounters", "spec", "name", &mut cx);
    cx.errors
}

pub fn slice_update(new: &Value, old: &Value) -> Vec<FieldError> {
    let mut errors = Vec::new();
    for path in [["spec", "pool", "name"].as_slice(), &["spec", "driver"], &["spec", "nodeName"]] {
        workloads::immutable(new, old, path, &mut errors);
    }
    errors
}

/// Exactly one of these fields says on which nodes devices can be had.
fn place(of: &Value, field: &str, names: &[&str], none: &str, several: &str, cx: &mut Context) {
    let mut set = Vec::new();
    for name in names {
        let (value, field) = (&of[*name], format!("{field}.{name}"));
        match value {
            Value::Null => continue,
            Value::Bool(false) => {
                cx.invalid(field, value, "must be either unset or set to true");
                continue;
            }
            Value::String(node) if node.is_empty() => {
                cx.invalid(field, value, "must be either unset or set to a non-empty string");
                continue;
            }
            Value::String(node) => cx.names(&field, value, names::subdomain(node)),
            Value::Object(_) => node_selector(value, &field, cx),
            _ => {}
        }
        set.push(format!("`{name}`"));
    }
    match set.len() {
        0 => cx.required(field.into(), none),
        1 => {}
        _ => cx.invalid(field.into(), &format!("{{{}}}", set.join(", ")).into(), several),
    }
}

fn entries(map: &Value) -> impl Iterator<Item = (&String, &Value)> {
    map.as_object().into_iter().flatten()
}

fn has_lists(device: &Value) -> bool {
    entries(&device["attributes"]).any(|(_, attribute)| LISTS.iter().any(|name| !attribute[*name].is_null()))
}

fn device(device: &Value, field: &str, apart: bool, cx: &mut Context) {
    label(&device["name"], &format!("{field}.name"), cx);
    let count = entries(&device["attributes"]).count() + entries(&device["capacity"]).count();
    if count > ATTRIBUTES {
        let why = format!("the total number of attributes and capacities must not exceed {ATTRIBUTES}");
        cx.invalid(field.into(), &count.into(), &why);
    }
    let of = |attribute: &Value| LISTS.iter().map(|name| list(attribute, &[name]).len()).sum::<usize>().max(1);
    let values: usize = entries(&device["attributes"]).map(|(_, attribute)| of(attribute)).sum();
    if values > ATTRIBUTE_VALUES {
        let why = format!("the total number of attribute values must not exceed {ATTRIBUTE_VALUES}");
        cx.invalid(field.into(), &values.into(), &why);
    }
    for (name, value) in entries(&device["attributes"]) {
        attribute_name(name, &format!("{field}.attributes"), cx);
        attribute(value, &format!("{field}.attributes[{name}]"), cx);
    }
    for (name, capacity) in entries(&device["capacity"]) {
        attribute_name(name, &format!("{field}.capacity"), cx);
        let field = format!("{field}.capacity[{name}].requestPolicy");
        match &capacity["requestPolicy"] {
            Value::Null => {}
            _ if device["allowMultipleAllocations"] != true => {
                cx.errors.push(FieldError::forbidden(field, "allowMultipleAllocations must be true"));
            }
            policy => request_policy(policy, &capacity["value"], &field, cx),
        }
    }
    each(device, "taints", field, TAINTS, cx, &taint);
    each(device, "consumesCounters", field, CONSUMPTIONS, cx, &|used, field, cx| {
        counters(used, "counterSet", field, cx);
    });
    unique_names(device, "consumesCounters", field, "counterSet", cx);
    let places = ["nodeName", "nodeSelector", "allNodes"];
    if apart {
        let why = format!("exactly one of `nodeName`, `nodeSelector`, or `allNodes` is required {PER_DEVICE}");
        place(device, field, &places, &why, &why, cx);
    } else if places.iter().any(|name| !device[*name].is_null()) {
        let why = "`nodeName`, `nodeSelector` and `allNodes` can only be set if `perDeviceNodeSelection` is set to true \
                   in the ResourceSlice spec";
        cx.invalid(field.into(), &Value::Null, why);
    }
    binding_conditions(device, field, cx);
}

fn counters(of: &Value, name: &str, field: &str, cx: &mut Context) {
    match text(of, &[name]) {
        "" => cx.required(format!("{field}.{name}"), ""),
        _ => label(&of[name], &format!("{field}.{name}"), cx),
    }
    let (count, field) = (entries(&of["counters"]).count(), format!("{field}.counters"));
    match count {
        0 => cx.required(field, ""),
        many if many > COUNTERS => cx.errors.push(FieldError::too_many(field, many, COUNTERS)),
        _ => entries(&of["counters"]).for_each(|(name, _)| label(&name.as_str().into(), &field, cx)),
    }
}

fn attribute(attribute: &Value, field: &str, cx: &mut Context) {
    let given = entries(attribute).filter(|(_, value)| !value.is_null()).count();
    if given != 1 {
        let value = if given == 0 { "".into() } else { attribute.clone() };
        cx.invalid(field.into(), &value, "exactly one value must be specified");
    }
    for name in LISTS {
        let field = format!("{field}.{name}");
        if attribute[name].as_array().is_some_and(Vec::is_empty) {
            cx.invalid(field.clone(), &attribute[name], "must not be empty if specified");
        }
        for (i, value) in list(attribute, &[name]).iter().enumerate().filter(|(_, value)| value.is_string()) {
            words(value, &format!("{field}[{i}]"), name == "versions", cx);
        }
    }
    for name in ["string", "version"].into_iter().filter(|name| attribute[*name].is_string()) {
        words(&attribute[name], &format!("{field}.{name}"), name == "version", cx);
    }
}

fn words(value: &Value, field: &str, version: bool, cx: &mut Context) {
    let text = value.as_str().unwrap_or_default();
    if version && !cel::is_semver(text) {
        cx.invalid(field.into(), value, "must be a string compatible with semver.org spec 2.0.0");
    }
    if text.len() > VALUE {
        cx.errors.push(FieldError::too_long(field, &format!("may not be more than {VALUE} bytes")));
    }
}

/// Which part of a capacity claims may ask for.
fn request_policy(policy: &Value, capacity: &Value, field: &str, cx: &mut Context) {
    let (values, range) = (list(policy, &["validValues"]), &policy["validRange"]);
    let default = &policy["default"];
    if !values.is_empty() && !range.is_null() {
        let why =
            r#"exactly one policy can be specified, cannot specify "validValues" and "validRange" at the same time"#;
        return cx.errors.push(FieldError::forbidden(field, why));
    }
    for (name, given) in [("validValues", !values.is_empty()), ("validRange", !range.is_null())] {
        if given && default.is_null() {
            return cx.required(format!("{field}.default"), &format!("required when {name} is defined"));
        }
    }
    if !values.is_empty() {
        valid_values(policy, capacity, field, cx);
    } else if !range.is_null() {
        valid_range(range, default, capacity, &format!("{field}.validRange"), cx);
    }
}

fn exceeds(value: &Value, most: &Value) -> bool {
    match (resources::amount(value), resources::amount(most)) {
        (Some(value), Some(most)) => value > most,
        _ => false,
    }
}

fn shown(value: &Value) -> String {
    value.as_str().map_or_else(|| value.to_string(), str::to_owned)
}

fn valid_values(policy: &Value, capacity: &Value, field: &str, cx: &mut Context) {
    let (values, default) = (list(policy, &["validValues"]), &policy["default"]);
    for (i, pair) in values.windows(2).enumerate().filter(|(_, pair)| exceeds(&pair[0], &pair[1])) {
        let field = format!("{field}.validValues[{}]", i + 1);
        cx.invalid(field, &pair[1], "values must be sorted in ascending order");
    }
    each(policy, "validValues", field, VALID_VALUES, cx, &|value, field, cx| {
        if exceeds(value, capacity) {
            cx.invalid(field.into(), value, &format!("option is larger than capacity value: {}", shown(capacity)));
        }
    });
    if !values.iter().any(|value| semantic::equal(value, default)) {
        let why = "default value is not valid according to the requestPolicy";
        cx.invalid(format!("{field}.validValues"), default, why);
    }
}

fn valid_range(range: &Value, default: &Value, capacity: &Value, field: &str, cx: &mut Context) {
    let (min, max, step) = (&range["min"], &range["max"], &range["step"]);
    if min.is_null() {
        return cx.required(format!("{field}.min"), "required when validRange is defined");
    }
    for (place, value, a, b, why) in [
        ("min", min, min, capacity, format!("min is larger than capacity value: {}", shown(capacity))),
        ("default", default, min, default, format!("default is less than min: {}", shown(min))),
        ("max", min, min, max, format!("min is larger than max: {}", shown(max))),
        ("max", max, max, capacity, format!("max is larger than capacity value: {}", shown(capacity))),
        ("default", default, default, max, format!("default is more than max: {}", shown(max))),
    ] {
        if exceeds(a, b) {
            cx.invalid(format!("{field}.{place}"), value, &why);
        }
    }
    let Some(each) = resources::amount(step) else { return };
    if each <= Quantity::default() {
        return cx.invalid(format!("{field}.step"), step, "must be greater than zero");
    }
    for value in [default, max] {
        let (Some(value_of), Some(from)) = (resources::amount(value), resources::amount(min)) else { continue };
        if (value_of.milli_value() - from.milli_value()) % each.milli_value().max(1) != 0 {
            let why = format!("value is not a multiple of a given step ({}) from ({})", shown(step), shown(min));
            cx.invalid(format!("{field}.step"), value, &why);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn texts(spec: Value) -> Vec<String> {
        let errors = slice(&json!({"spec": spec}));
        errors.into_iter().map(|error| format!("{}: {}", error.field, error.detail)).collect()
    }

    fn with(more: Value) -> Value {
        let mut spec = json!({"driver": "a.example.com", "pool": {"name": "p", "resourceSliceCount": 1}});
        spec.as_object_mut().into_iter().for_each(|spec| spec.extend(more.as_object().cloned().unwrap_or_default()));
        spec
    }

    #[test]
    fn devices_are_somewhere() {
        assert_eq!(texts(with(json!({"nodeName": "n", "devices": [{"name": "d"}]}))), Vec::<String>::new());
        for (more, wrong) in [
            (json!({}), "spec: Required value: exactly one of `nodeName`, `nodeSelector`, `allNodes`"),
            (json!({"nodeName": "n", "allNodes": true}), "spec: Invalid value: \"{`nodeName`, `allNodes`}\": exactly"),
            (json!({"allNodes": false}), "spec.allNodes: Invalid value: false: must be either unset or set to true"),
            (json!({"perDeviceNodeSelection": true, "devices": [{"name": "d"}]}), "spec.devices[0]: Required value"),
            (json!({"allNodes": true, "devices": [{"name": "d", "nodeName": "n"}]}), "can only be set if `perDevice"),
            (
                json!({"allNodes": true, "devices": [{"name": "d"}, {"name": "d"}]}),
                "devices[1]: Duplicate value: \"d\"",
            ),
        ] {
            let found = texts(with(more));
            assert!(found[0].contains(wrong), "{found:?}");
        }
    }

    #[test]
    fn attributes_have_one_value_and_a_name() {
        let having = |attributes: Value| {
            texts(with(json!({"allNodes": true, "devices": [{"name": "d", "attributes": attributes}]})))
        };
        let good = json!({"model": {"string": "x"}, "b.example.com/version": {"version": "1.2.3"}, "n": {"int": 3}});
        assert_eq!(having(good), Vec::<String>::new());
        for (attributes, wrong) in [
            (json!({"a": {}}), "attributes[a]: Invalid value: \"\": exactly one value must be specified"),
            (json!({"a": {"version": "1"}}), "must be a string compatible with semver.org spec 2.0.0"),
            (json!({"9": {"int": 1}}), "a valid C identifier must start with"),
            (json!({"a/b/c": {"int": 1}}), "must not contain more than one slash"),
            (json!({"/c": {"int": 1}}), "the domain must not be empty"),
        ] {
            let found = having(attributes);
            assert!(found.iter().any(|text| text.contains(wrong)), "{found:?}");
        }
    }

    #[test]
    fn parts_of_capacities_fit_in_them() {
        let having = |policy: Value| {
            let capacity = json!({"memory": {"value": "4Gi", "requestPolicy": policy}});
            let device = json!({"name": "d", "allowMultipleAllocations": true, "capacity": capacity});
            texts(with(json!({"allNodes": true, "devices": [device]})))
        };
        let range = json!({"default": "2Gi", "validRange": {"min": "1Gi", "max": "4Gi", "step": "1Gi"}});
        assert_eq!(having(range), Vec::<String>::new());
        for (policy, wrong) in [
            (json!({"validValues": ["1Gi"]}), "requestPolicy.default: Required value: required when validValues"),
            (json!({"default": "1Gi", "validValues": ["2Gi", "1Gi"]}), "values must be sorted in ascending order"),
            (json!({"default": "1Gi", "validValues": ["1Gi", "8Gi"]}), "option is larger than capacity value: 4Gi"),
            (json!({"default": "1Gi", "validRange": {"min": "2Gi"}}), "default is less than min: 2Gi"),
            (
                json!({"default": "1Gi", "validRange": {"min": "0", "step": "3Gi"}}),
                "value is not a multiple of a given",
            ),
        ] {
            let found = having(policy);
            assert!(found.iter().any(|text| text.contains(wrong)), "{found:?}");
        }
    }

    #[test]
    fn what_a_slice_is_of_stays() {
        let old = json!({"spec": with(json!({"nodeName": "n"}))});
        let mut new = old.clone();
        new["spec"]["nodeName"] = json!("m");
        new["spec"]["devices"] = json!([{"name": "d"}]);
        let errors = slice_update(&new, &old);
        assert_eq!(errors.iter().map(|error| error.field.as_str()).collect::<Vec<_>>(), ["spec.nodeName"]);
    }
}
