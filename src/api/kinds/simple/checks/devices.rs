//! Claims on devices, their templates, and the classes of devices. With Kubernetes' texts.

use crate::api::cel;
use crate::api::error::FieldError;
use crate::api::kinds::json::{integer, list, text};
use crate::api::kinds::pod_spec::Context;
use crate::api::kinds::{metadata, names, resources, workloads};
use serde_json::Value;

/// How many entries the lists of a claim or class may have.
const REQUESTS: usize = 32;
const CONSTRAINTS: usize = 32;
pub(super) const CONFIGS: usize = 32;
const SELECTORS: usize = 32;
const CHOICES: usize = 8;
pub(super) const TOLERATIONS: usize = 16;
const BINDING_CONDITIONS: usize = 4;
/// In bytes: of an expression, and of what only a driver understands.
const EXPRESSION: usize = 10 * 1024;
const PARAMETERS: usize = 10 * 1024;
const POOL_NAME: usize = 253;
const EFFECTS: [&str; 3] = ["NoExecute", "NoSchedule", "None"];
const NO_REQUEST: &str =
    "must be the name of a request in the claim or the name of a request and a subrequest separated by '/'";

/// Checks each entry of a list, unless there are too many.
pub(super) fn each(of: &Value, name: &str, field: &str, most: usize, cx: &mut Context, check: Check<'_>) {
    let (items, field) = (list(of, &[name]), format!("{field}.{name}"));
    if items.len() > most {
        return cx.errors.push(FieldError::too_many(field, items.len(), most));
    }
    for (i, item) in items.iter().enumerate() {
        check(item, &format!("{field}[{i}]"), cx);
    }
}

pub(super) type Check<'c> = &'c dyn Fn(&Value, &str, &mut Context);

/// Says of each entry whose key came before, that it did.
pub(super) fn unique(of: &Value, name: &str, field: &str, cx: &mut Context, key: impl Fn(&Value) -> Value) {
    let keys: Vec<_> = list(of, &[name]).iter().map(key).collect();
    for (i, key) in keys.iter().enumerate() {
        if keys[..i].contains(key) {
            cx.errors.push(FieldError::duplicate(format!("{field}.{name}[{i}]"), key));
        }
    }
}

pub(super) fn unique_names(of: &Value, name: &str, field: &str, key: &str, cx: &mut Context) {
    unique(of, name, field, cx, |item| item[key].clone());
}

pub(super) fn too_long(field: String, most: usize) -> FieldError {
    FieldError::too_long(field, &format!("may not be more than {most} bytes"))
}

/// The name of a pool: domain names, joined by slashes.
pub(super) fn pool_name(name: &Value, field: &str, cx: &mut Context) {
    let text = name.as_str().unwrap_or_default();
    if text.is_empty() {
        return cx.required(field.into(), "");
    }
    if text.len() > POOL_NAME {
        cx.errors.push(too_long(field.into(), POOL_NAME));
    }
    for part in text.split('/') {
        cx.names(field, &part.into(), names::subdomain(part));
    }
}

pub(super) fn label(name: &Value, field: &str, cx: &mut Context) {
    cx.names(field, name, names::label(name.as_str().unwrap_or_default()));
}

fn selectors(of: &Value, field: &str, cx: &mut Context) {
    each(of, "selectors", field, SELECTORS, cx, &|selector, field, cx| {
        if selector["cel"].is_null() {
            return cx.required(format!("{field}.cel"), "");
        }
        let (expression, field) = (&selector["cel"]["expression"], format!("{field}.cel.expression"));
        let source = expression.as_str().unwrap_or_default();
        if source.len() > EXPRESSION {
            return cx.errors.push(too_long(field, EXPRESSION));
        }
        if let Some(why) = cel::device_selector(source) {
            cx.invalid(field, expression, &why);
        }
    });
}

/// What only a driver understands: an object.
pub(super) fn raw(value: &Value, field: &str, cx: &mut Context) {
    match value {
        Value::Null => cx.required(field.into(), ""),
        value if value.to_string().len() > PARAMETERS => cx.errors.push(too_long(field.into(), PARAMETERS)),
        Value::Object(_) => {}
        _ => cx.invalid(field.into(), &"<value omitted>".into(), "must be a valid JSON object"),
    }
}

pub(super) fn configuration(config: &Value, field: &str, cx: &mut Context) {
    let (opaque, field) = (&config["opaque"], format!("{field}.opaque"));
    if opaque.is_null() {
        return cx.required(field, "");
    }
    super::storage::driver(&opaque["driver"], &format!("{field}.driver"), cx);
    raw(&opaque["parameters"], &format!("{field}.parameters"), cx);
}

pub fn class(object: &Value) -> Vec<FieldError> {
    let (mut cx, spec) = (Context::new(), &object["spec"]);
    selectors(spec, "spec", &mut cx);
    each(spec, "config", "spec", CONFIGS, &mut cx, &configuration);
    let extended = &spec["extendedResourceName"];
    if extended.as_str().is_some_and(|name| !resources::is_extended(name)) {
        cx.invalid("spec.extendedResourceName".into(), extended, "must be a valid extended resource name");
    }
    cx.errors
}

pub fn claim(object: &Value) -> Vec<FieldError> {
    let mut cx = Context::new();
    devices(&object["spec"]["devices"], "spec.devices", &mut cx);
    cx.errors
}

pub fn template(object: &Value) -> Vec<FieldError> {
    let (mut cx, spec) = (Context::new(), &object["spec"]);
    metadata::labels(&spec["metadata"]["labels"], "spec.metadata.labels", &mut cx.errors);
    devices(&spec["spec"]["devices"], "spec.spec.devices", &mut cx);
    cx.errors
}

pub fn fixed_spec(new: &Value, old: &Value) -> Vec<FieldError> {
    let mut errors = Vec::new();
    workloads::immutable(new, old, &["spec"], &mut errors);
    errors
}

fn devices(claim: &Value, field: &str, cx: &mut Context) {
    each(claim, "requests", field, REQUESTS, cx, &request);
    unique_names(claim, "requests", field, "name", cx);
    each(claim, "constraints", field, CONSTRAINTS, cx, &|constraint, field, cx| {
        references(constraint, field, claim, cx);
        match (&constraint["matchAttribute"], &constraint["distinctAttribute"]) {
            (Value::Null, Value::Null) => {
                let why = r#"exactly one of "matchAttribute" or "distinctAttribute" is required, but multiple fields are set"#;
                cx.required(field.into(), why);
            }
            (Value::Null, name) => full_name(name, &format!("{field}.distinctAttribute"), cx),
            (name, _) => full_name(name, &format!("{field}.matchAttribute"), cx),
        }
    });
    each(claim, "config", field, CONFIGS, cx, &|config, field, cx| {
        references(config, field, claim, cx);
        configuration(config, field, cx);
    });
}

fn request(request: &Value, field: &str, cx: &mut Context) {
    label(&request["name"], &format!("{field}.name"), cx);
    let (exactly, first) = (!request["exactly"].is_null(), !list(request, &["firstAvailable"]).is_empty());
    let why = "exactly one of `exactly` or `firstAvailable` is required";
    match (exactly, first) {
        (false, false) => cx.required(field.into(), why),
        (true, true) => cx.invalid(field.into(), &Value::Null, &format!("{why}, but multiple fields are set")),
        (true, false) => wanted(&request["exactly"], &format!("{field}.exactly"), cx),
        (false, true) => {
            each(request, "firstAvailable", field, CHOICES, cx, &|choice, field, cx| {
                label(&choice["name"], &format!("{field}.name"), cx);
                wanted(choice, field, cx);
            });
            unique_names(request, "firstAvailable", field, "name", cx);
        }
    }
}

/// Which devices a request, or one choice of it, is for.
fn wanted(of: &Value, field: &str, cx: &mut Context) {
    match text(of, &["deviceClassName"]) {
        "" => cx.required(format!("{field}.deviceClassName"), ""),
        name => cx.names(&format!("{field}.deviceClassName"), &name.into(), names::subdomain(name)),
    }
    selectors(of, field, cx);
    let count = integer(of, &["count"]).unwrap_or(0);
    match text(of, &["allocationMode"]) {
        "All" if count != 0 => {
            let why = "must not be specified when allocationMode is 'All'";
            cx.invalid(format!("{field}.count"), &count.into(), why);
        }
        "ExactCount" if count <= 0 => cx.invalid(format!("{field}.count"), &count.into(), "must be greater than zero"),
        "All" | "ExactCount" => {}
        other => {
            let field = format!("{field}.allocationMode");
            cx.errors.push(FieldError::not_supported(field, &other.into(), &["All", "ExactCount"]));
        }
    }
    each(of, "tolerations", field, TOLERATIONS, cx, &toleration);
}

pub(super) fn toleration(of: &Value, field: &str, cx: &mut Context) {
    let (key, value) = (text(of, &["key"]), text(of, &["value"]));
    if !key.is_empty() {
        cx.names(&format!("{field}.key"), &of["key"], names::qualified(key));
    }
    match text(of, &["operator"]) {
        "Exists" if !value.is_empty() => {
            cx.invalid(format!("{field}.value"), &of["value"], "must be empty for operator `Exists`");
        }
        "Exists" => {}
        "Equal" => cx.names(&format!("{field}.value"), &of["value"], names::label_value(value)),
        "" => cx.required(format!("{field}.operator"), ""),
        _ => cx.one_of(format!("{field}.operator"), &of["operator"], &["Equal", "Exists"]),
    }
    if !text(of, &["effect"]).is_empty() {
        cx.one_of(format!("{field}.effect"), &of["effect"], &EFFECTS);
    }
}

pub(super) fn taint(of: &Value, field: &str, cx: &mut Context) {
    cx.names(&format!("{field}.key"), &of["key"], names::qualified(text(of, &["key"])));
    cx.names(&format!("{field}.value"), &of["value"], names::label_value(text(of, &["value"])));
    match text(of, &["effect"]) {
        "" => cx.required(format!("{field}.effect"), ""),
        _ => cx.one_of(format!("{field}.effect"), &of["effect"], &EFFECTS),
    }
}

/// The name of an attribute or capacity, with or without the domain of who defines it.
pub(super) fn attribute_name(name: &str, field: &str, cx: &mut Context) {
    let parts: Vec<_> = name.split('/').collect();
    let local = match parts[..] {
        [local] => local,
        ["", local] => {
            cx.invalid(field.into(), &"".into(), "the domain must not be empty");
            local
        }
        [domain, local] => {
            super::storage::driver(&domain.into(), field, cx);
            local
        }
        _ => return cx.invalid(field.into(), &name.into(), "must not contain more than one slash"),
    };
    if local.is_empty() && parts.len() > 1 {
        return cx.invalid(field.into(), &"".into(), "the name must not be empty");
    }
    if local.len() > 32 {
        cx.errors.push(too_long(field.into(), 32));
    }
    cx.names(field, &local.into(), names::identifier(local));
}

fn full_name(name: &Value, field: &str, cx: &mut Context) {
    let text = name.as_str().unwrap_or_default();
    attribute_name(text, field, cx);
    if !text.contains('/') {
        let why = "a fully qualified name must be a domain and a name separated by a slash";
        cx.invalid(field.into(), name, why);
    }
}

/// Whether a claim has the request, or choice of a request, that is named.
fn has_request(claim: &Value, name: &str) -> bool {
    let mut parts = name.split('/');
    let (first, second) = (parts.next().unwrap_or_default(), parts.next());
    let found = list(claim, &["requests"]).iter().find(|request| text(request, &["name"]) == first);
    found.is_some_and(|request| {
        let choices = list(request, &["firstAvailable"]);
        second.is_none_or(|second| choices.iter().any(|choice| text(choice, &["name"]) == second))
    })
}

pub(super) fn reference(name: &Value, field: &str, claim: &Value, cx: &mut Context) {
    let text = name.as_str().unwrap_or_default();
    if text.split('/').count() > 2 {
        return cx.invalid(field.into(), name, NO_REQUEST);
    }
    for part in text.split('/') {
        label(&part.into(), field, cx);
    }
    if !has_request(claim, text) {
        cx.invalid(field.into(), name, NO_REQUEST);
    }
}

pub(super) fn references(of: &Value, field: &str, claim: &Value, cx: &mut Context) {
    each(of, "requests", field, REQUESTS, cx, &|name, field, cx| reference(name, field, claim, cx));
    unique(of, "requests", field, cx, Value::clone);
}

/// Conditions that a device must have, or must not have, before a pod is bound.
pub(super) fn binding_conditions(of: &Value, field: &str, cx: &mut Context) {
    const GOOD: &str = "bindingConditions";
    const BAD: &str = "bindingFailureConditions";
    for name in [GOOD, BAD] {
        each(of, name, field, BINDING_CONDITIONS, cx, &|condition, field, cx| {
            cx.names(field, condition, names::qualified(condition.as_str().unwrap_or_default()));
        });
        unique(of, name, field, cx, Value::clone);
    }
    let (good, bad) = (list(of, &[GOOD]), list(of, &[BAD]));
    for (i, condition) in bad.iter().enumerate().filter(|(_, condition)| good.contains(condition)) {
        let why = "bindingFailureConditions must not overlap with bindingConditions";
        cx.invalid(format!("{field}.{BAD}[{i}]"), condition, why);
    }
    for (missing, given, name, other) in [(good, bad, GOOD, BAD), (bad, good, BAD, GOOD)] {
        if missing.is_empty() && !given.is_empty() {
            cx.invalid(format!("{field}.{name}"), &Value::Null, &format!("{name} are required to use {other}"));
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use serde_json::json;

    fn texts(errors: Vec<FieldError>) -> Vec<String> {
        errors.into_iter().map(|error| format!("{}: {}", error.field, error.detail)).collect()
    }

    fn wanting(request: Value) -> Value {
        json!({"spec": {"devices": {"requests": [request]}}})
    }

    #[test]
    fn requests_say_which_devices_and_how_many() {
        let exactly = |count: Value, mode: &str| json!({"deviceClassName": "gpu.example.com", "count": count, "allocationMode": mode});
        assert!(claim(&wanting(json!({"name": "a", "exactly": exactly(json!(1), "ExactCount")}))).is_empty());
        for (request, wrong) in [
            (json!({"name": "a"}), "spec.devices.requests[0]: Required value: exactly one of `exactly` or"),
            (
                json!({"name": "A", "exactly": exactly(json!(1), "ExactCount")}),
                "spec.devices.requests[0].name: Invalid",
            ),
            (
                json!({"name": "a", "exactly": exactly(json!(0), "ExactCount")}),
                "exactly.count: Invalid value: 0: must be",
            ),
            (json!({"name": "a", "exactly": exactly(json!(2), "All")}), "must not be specified when allocationMode is"),
            (json!({"name": "a", "exactly": exactly(json!(1), "Some")}), "supported values: \"All\", \"ExactCount\""),
        ] {
            let found = texts(claim(&wanting(request)));
            assert!(found[0].contains(wrong), "{found:?}");
        }
    }

    #[test]
    fn selectors_are_compiled() {
        let class_of = |expression: &str| json!({"spec": {"selectors": [{"cel": {"expression": expression}}]}});
        for good in ["false", "1 == 0", "device.driver == 'a' && device.attributes['a.example.com'].count > 2"] {
            assert_eq!(texts(class(&class_of(good))), Vec::<String>::new());
        }
        for (bad, why) in [
            ("pod.name == 'a'", "compilation failed: undeclared reference to 'pod'"),
            ("device.driver ==", "compilation failed: "),
            ("'yes'", "must evaluate to bool"),
        ] {
            let found = texts(class(&class_of(bad)));
            assert!(found[0].starts_with("spec.selectors[0].cel.expression: Invalid value: "), "{found:?}");
            assert!(found[0].contains(why), "{found:?}");
        }
    }

    #[test]
    fn configurations_name_requests_of_the_claim() {
        let opaque = json!({"driver": "a.example.com", "parameters": {"a": 1}});
        let mut object = wanting(json!({"name": "r", "firstAvailable": [
            {"name": "big", "deviceClassName": "c", "allocationMode": "All"}]}));
        object["spec"]["devices"]["config"] = json!([{"requests": ["r", "r/big"], "opaque": opaque}]);
        assert_eq!(texts(claim(&object)), Vec::<String>::new());
        object["spec"]["devices"]["config"][0]["requests"] = json!(["r/small"]);
        assert!(texts(claim(&object))[0].contains("must be the name of a request in the claim"));
        object["spec"]["devices"]["config"][0] = json!({"opaque": {"driver": "a.example.com", "parameters": [1]}});
        assert!(texts(claim(&object))[0].ends_with("must be a valid JSON object"));
    }
}
