//! Validation of a pod spec and of a workload's pod template, with Kubernetes' texts.

use super::{containers, ephemeral, placement, security, volumes};
use crate::api::error::FieldError;
use crate::api::kinds::json::{at, integer, list, text};
use crate::api::kinds::{labels, metadata, names, resources};
use serde_json::{Value, json};

/// What the checks of a spec gather and share.
pub struct Context {
    pub errors: Vec<FieldError>,
    /// Volumes that the pods get beside those of the template: a StatefulSet's claims.
    pub made: Vec<String>,
}

impl Context {
    pub fn new() -> Self {
        Self { errors: Vec::new(), made: Vec::new() }
    }

    pub fn invalid(&mut self, field: String, value: &Value, why: &str) {
        self.errors.push(FieldError::invalid(field, value, why));
    }

    pub fn required(&mut self, field: String, why: &str) {
        self.errors.push(FieldError::required(field, why));
    }

    /// One error per reason of a name check.
    pub fn names(&mut self, field: &str, value: &Value, reasons: Vec<String>) {
        self.errors.extend(reasons.iter().map(|why| FieldError::invalid(field, value, why)));
    }

    /// A value out of a fixed set; absent is not an error.
    pub fn one_of(&mut self, field: String, value: &Value, supported: &[&str]) {
        if !value.is_null() && !value.as_str().is_some_and(|text| supported.contains(&text)) {
            self.errors.push(FieldError::not_supported(field, value, supported));
        }
    }

    /// An integer of at least `minimum`; absent is not an error.
    pub fn at_least(&mut self, field: String, value: &Value, minimum: i64) {
        if value.as_i64().is_some_and(|number| number < minimum) {
            let why = match minimum {
                0 => "must be greater than or equal to 0".to_string(),
                1 => "must be greater than 0".to_string(),
                n => format!("must be greater than or equal to {n}"),
            };
            self.invalid(field, value, &why);
        }
    }
}

impl Default for Context {
    fn default() -> Self {
        Self::new()
    }
}

/// Everything wrong with a pod spec at `path`, e.g. `spec` or `spec.template.spec`.
pub fn validate(spec: &Value, path: &str, cx: &mut Context) {
    let made = std::mem::take(&mut cx.made);
    let mut volumes = volumes::validate(spec, path, cx);
    volumes.extend(made.iter().map(String::as_str));
    containers::validate(spec, path, &volumes, cx);
    ephemeral::validate(spec, path, &volumes, cx);
    resources::whole::validate(spec, path, cx);
    let field = |name: &str| format!("{path}.{name}");
    cx.one_of(field("restartPolicy"), &spec["restartPolicy"], &["Always", "OnFailure", "Never"]);
    cx.one_of(field("dnsPolicy"), &spec["dnsPolicy"], &["ClusterFirstWithHostNet", "ClusterFirst", "Default", "None"]);
    if text(spec, &["dnsPolicy"]) == "None" && list(spec, &["dnsConfig", "nameservers"]).is_empty() {
        cx.required(
            field("dnsConfig.nameservers"),
            "must provide at least one DNS nameserver when `dnsPolicy` is None",
        );
    }
    cx.at_least(field("terminationGracePeriodSeconds"), &spec["terminationGracePeriodSeconds"], 0);
    if integer(spec, &["activeDeadlineSeconds"]).is_some_and(|seconds| !(1..=i64::from(i32::MAX)).contains(&seconds)) {
        let why = "must be between 1 and 2147483647, inclusive";
        cx.invalid(field("activeDeadlineSeconds"), &spec["activeDeadlineSeconds"], why);
    }
    for (name, rule) in [
        ("serviceAccountName", names::subdomain as fn(&str) -> Vec<String>),
        ("nodeName", names::subdomain),
        ("hostname", names::label),
        ("subdomain", names::label),
        ("priorityClassName", names::subdomain),
        ("schedulerName", names::qualified),
        ("runtimeClassName", names::subdomain),
    ] {
        let value = text(spec, &[name]);
        if !value.is_empty() {
            cx.names(&field(name), &spec[name], rule(value));
        }
    }
    resources::validate(&json!({"limits": spec["overhead"]}), &field("overhead"), cx);
    metadata::labels(&spec["nodeSelector"], &field("nodeSelector"), &mut cx.errors);
    validate_tolerations(spec, path, cx);
    placement::validate(&spec["affinity"], &field("affinity"), cx);
    security::validate(spec, path, cx);
    for (i, server) in list(spec, &["dnsConfig", "nameservers"]).iter().enumerate() {
        ip_address(server, field(&format!("dnsConfig.nameservers[{i}]")), cx);
    }
    aliases(spec, path, cx);
    pull_secrets(spec, path, cx);
    placement::spreading(spec, path, cx);
}

/// The tolerations in `spec`, which is at `path`.
pub fn validate_tolerations(spec: &Value, path: &str, cx: &mut Context) {
    for (i, toleration) in list(spec, &["tolerations"]).iter().enumerate() {
        let field = format!("{path}.tolerations[{i}]");
        let (key, operator) = (text(toleration, &["key"]), text(toleration, &["operator"]));
        if key.is_empty() && operator != "Exists" {
            let why = "operator must be Exists when `key` is empty, which means \"match all values and all keys\"";
            cx.invalid(format!("{field}.operator"), &toleration["operator"], why);
        } else if !key.is_empty() {
            cx.names(&format!("{field}.key"), &toleration["key"], names::qualified(key));
        }
        if operator == "Exists" && !text(toleration, &["value"]).is_empty() {
            let why = "value must be empty when `operator` is 'Exists'";
            cx.invalid(format!("{field}.operator"), &toleration["value"], why);
        }
        let effect = text(toleration, &["effect"]);
        if !toleration["tolerationSeconds"].is_null() && effect != "NoExecute" {
            let why = "effect must be 'NoExecute' when `tolerationSeconds` is set";
            cx.invalid(format!("{field}.effect"), &toleration["effect"], why);
        }
        if !operator.is_empty() {
            cx.one_of(format!("{field}.operator"), &toleration["operator"], &["Equal", "Exists"]);
        }
        if !effect.is_empty() {
            let effects = ["NoSchedule", "PreferNoSchedule", "NoExecute"];
            cx.one_of(format!("{field}.effect"), &toleration["effect"], &effects);
        }
    }
}

fn ip_address(value: &Value, field: String, cx: &mut Context) {
    if value.as_str().is_none_or(|text| text.parse::<std::net::IpAddr>().is_err()) {
        cx.invalid(field, value, "must be a valid IP address, (e.g. 10.9.8.7 or 2001:db8::ffff)");
    }
}

fn aliases(spec: &Value, path: &str, cx: &mut Context) {
    for (i, alias) in list(spec, &["hostAliases"]).iter().enumerate() {
        ip_address(&text(alias, &["ip"]).into(), format!("{path}.hostAliases[{i}].ip"), cx);
        for (j, name) in list(alias, &["hostnames"]).iter().enumerate() {
            let wrong = names::subdomain(name.as_str().unwrap_or_default());
            cx.names(&format!("{path}.hostAliases[{i}].hostnames[{j}]"), name, wrong);
        }
    }
}

fn pull_secrets(spec: &Value, path: &str, cx: &mut Context) {
    for (i, secret) in list(spec, &["imagePullSecrets"]).iter().enumerate() {
        if text(secret, &["name"]).is_empty() {
            cx.required(format!("{path}.imagePullSecrets[{i}].name"), "");
        }
    }
}

/// Everything wrong with a workload's `spec.template`, and with how `spec.selector` (a label
/// selector) chooses it. `kind` as the text about an empty selector names it.
pub fn validate_template(spec: &Value, kind: &str, cx: &mut Context) {
    let template = &spec["template"];
    let selector = &spec["selector"];
    if selector.is_null() {
        cx.required("spec.selector".into(), "");
    } else {
        labels::validate_selector(selector, "spec.selector", &mut cx.errors);
        if labels::is_empty(selector) {
            cx.invalid("spec.selector".into(), selector, &format!("empty selector is invalid for {kind}"));
        }
    }
    // A selector that is missing chooses nothing.
    if selector.is_null() || !labels::matches(selector, &template["metadata"]["labels"]) {
        let found = at(template, &["metadata", "labels"]);
        cx.invalid("spec.template.metadata.labels".into(), found, "`selector` does not match template `labels`");
    }
    validate_template_body(template, cx);
}

/// The template alone, without the selector.
pub fn validate_template_body(template: &Value, cx: &mut Context) {
    metadata::labels(&template["metadata"]["labels"], "spec.template.labels", &mut cx.errors);
    metadata::annotations(&template["metadata"]["annotations"], "spec.template.annotations", &mut cx.errors);
    validate(&template["spec"], "spec.template.spec", cx);
    if !list(template, &["spec", "ephemeralContainers"]).is_empty() {
        let why = "ephemeral containers not allowed in pod template";
        cx.errors.push(FieldError::forbidden("spec.template.spec.ephemeralContainers", why));
    }
}
