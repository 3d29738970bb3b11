//! Definitions of custom resources: defaults, and everything that may be wrong with one. Their
//! status (accepted names, Established) is decided where other definitions can be seen.

mod names;
mod version;

use super::json::{child, ensure, list, put_text, text};
use super::{Column, Kind};
use crate::api::error::FieldError;
use jiff::Timestamp;
use serde_json::{Value, json};

/// The rules of apiextensions.k8s.io/v1 CustomResourceDefinition.
pub struct CustomResourceDefinition;

/// While this finalizer is there, instances are being deleted.
pub const CLEANUP: &str = "customresourcecleanup.apiextensions.k8s.io";

impl Kind for CustomResourceDefinition {
    fn default(&self, object: &mut Value) {
        let Some(spec) = object.as_object_mut().and_then(|object| child(object, "spec")) else { return };
        let kind = spec.get("names").map(|names| text(names, &["kind"]).to_string()).unwrap_or_default();
        if let Some(names) = child(spec, "names").filter(|_| !kind.is_empty()) {
            put_text(names, "singular", &kind.to_lowercase());
            put_text(names, "listKind", &format!("{kind}List"));
        }
        if let Some(conversion) = ensure(spec, "conversion") {
            put_text(conversion, "strategy", "None");
        }
    }

    fn has_status(&self) -> bool {
        true
    }

    fn has_generation(&self) -> bool {
        true
    }

    fn unconditional_update(&self) -> bool {
        false
    }

    fn validate(&self, object: &Value) -> Vec<FieldError> {
        let spec = &object["spec"];
        let mut errors = names::of_object(object);
        errors.extend(names::group(spec));
        errors.extend(names::scope(spec));
        errors.extend(versions(spec));
        errors.extend(names::names(&spec["names"]));
        errors.extend(conversion(spec));
        errors.extend(approval(object));
        errors
    }

    fn validate_update(&self, new: &Value, old: &Value) -> Vec<FieldError> {
        let mut errors = Vec::new();
        if established(old) {
            for (path, field) in [("scope", "scope"), ("names.kind", "kind")] {
                let at = |object: &Value| match field {
                    "kind" => object["spec"]["names"]["kind"].clone(),
                    field => object["spec"][field].clone(),
                };
                immutable(&format!("spec.{path}"), &at(new), &at(old), &mut errors);
            }
        }
        immutable("spec.group", &new["spec"]["group"], &old["spec"]["group"], &mut errors);
        let plural = |object: &Value| object["spec"]["names"]["plural"].clone();
        immutable("spec.names.plural", &plural(new), &plural(old), &mut errors);
        errors.extend(stored_versions(new));
        errors
    }

    fn validate_status(&self, new: &Value, _old: &Value) -> Vec<FieldError> {
        stored_versions(new)
    }

    fn warnings(&self, object: &Value) -> Vec<String> {
        if text(object, &["spec", "conversion", "strategy"]) != "Webhook" {
            return Vec::new();
        }
        let why = "conversion webhooks are not called: objects are the same in all versions but for their apiVersion";
        vec![format!("spec.conversion.strategy: {why}")]
    }

    fn columns(&self) -> Vec<Column> {
        super::table::columns("Name:string:name, Created At:date")
    }

    fn row(&self, object: &Value, _now: Timestamp) -> Vec<Value> {
        let metadata = &object["metadata"];
        vec![metadata["name"].clone(), metadata["creationTimestamp"].clone()]
    }
}

/// Whether its instances can be served.
pub fn established(definition: &Value) -> bool {
    super::table::condition(definition, "Established") == Some("True")
}

fn immutable(path: &str, new: &Value, old: &Value, errors: &mut Vec<FieldError>) {
    if new != old {
        errors.push(FieldError::invalid(path, new, "field is immutable"));
    }
}

fn versions(spec: &Value) -> Vec<FieldError> {
    let mut errors = Vec::new();
    let all = list(spec, &["versions"]);
    for (index, one) in all.iter().enumerate() {
        version::check(one, &format!("spec.versions[{index}]"), &mut errors);
    }
    let mut seen: Vec<&str> = all.iter().map(|version| text(version, &["name"])).collect();
    seen.sort_unstable();
    if seen.windows(2).any(|pair| pair[0] == pair[1]) {
        errors.push(FieldError::invalid("spec.versions", &summary(all), "must contain unique version names"));
    }
    if all.iter().filter(|version| version["storage"] == true).count() != 1 {
        let why = "must have exactly one version marked as storage version";
        errors.push(FieldError::invalid("spec.versions", &summary(all), why));
    }
    errors
}

/// The versions without what makes them long.
fn summary(versions: &[Value]) -> Value {
    versions
        .iter()
        .map(|version| json!({"name": version["name"], "served": version["served"], "storage": version["storage"]}))
        .collect()
}

fn conversion(spec: &Value) -> Vec<FieldError> {
    let strategy = &spec["conversion"]["strategy"];
    let mut errors = Vec::new();
    match strategy.as_str().unwrap_or_default() {
        "None" => {
            if !spec["conversion"]["webhook"].is_null() {
                let why = "should not be set when strategy is not set to Webhook";
                errors.push(FieldError::forbidden("spec.conversion.webhookClientConfig", why));
            }
        }
        "Webhook" => {
            if spec["conversion"]["webhook"]["clientConfig"].is_null() {
                let why = "required when strategy is set to Webhook";
                errors.push(FieldError::required("spec.conversion.webhookClientConfig", why));
            }
        }
        _ => errors.push(FieldError::not_supported("spec.conversion.strategy", strategy, &["None", "Webhook"])),
    }
    if spec["preserveUnknownFields"] == true {
        let why =
            "cannot set to true, set x-kubernetes-preserve-unknown-fields to true in spec.versions[*].schema instead";
        errors.push(FieldError::invalid("spec.preserveUnknownFields", &true.into(), why));
    }
    errors
}

/// Groups of Kubernetes itself need a word about who approved the API.
fn approval(object: &Value) -> Vec<FieldError> {
    const ANNOTATION: &str = "api-approved.kubernetes.io";
    let group = text(object, &["spec", "group"]);
    let owned = ["k8s.io", "kubernetes.io"]
        .iter()
        .any(|owner| group == *owner || group.strip_suffix(owner).is_some_and(|head| head.ends_with('.')));
    let value = object["metadata"]["annotations"][ANNOTATION].as_str();
    let fine = value.is_some_and(|value| value.starts_with("https://") || value.starts_with("unapproved"));
    if !owned || fine {
        return Vec::new();
    }
    let field = format!("metadata.annotations[{ANNOTATION}]");
    let why = "protected groups must have approval annotation \"api-approved.kubernetes.io\", see https://github.com/kubernetes/enhancements/pull/1111";
    vec![match value {
        None => FieldError::required(field, why),
        Some(value) => FieldError::invalid(
            field,
            &value.into(),
            "protected groups must have approval annotation \"api-approved.kubernetes.io\" with either a URL or a reason starting with \"unapproved\", see https://github.com/kubernetes/enhancements/pull/1111",
        ),
    }]
}

fn stored_versions(object: &Value) -> Vec<FieldError> {
    let field = "status.storedVersions";
    let stored = &object["status"]["storedVersions"];
    let names: Vec<&str> = list(object, &["status", "storedVersions"]).iter().filter_map(Value::as_str).collect();
    if names.is_empty() {
        return vec![FieldError::invalid(field, stored, "must have at least one stored version")];
    }
    let versions = list(object, &["spec", "versions"]);
    let mut errors = Vec::new();
    for version in versions.iter().filter(|version| version["storage"] == true) {
        let name = text(version, &["name"]);
        if !names.contains(&name) {
            errors.push(FieldError::invalid(field, stored, &format!("must have the storage version {name}")));
        }
    }
    for (index, name) in names.iter().enumerate() {
        if !versions.iter().any(|version| text(version, &["name"]) == *name) {
            let why = format!(
                "missing from spec.versions; {name} was previously a storage version, and must remain in spec.versions until a storage migration ensures no data remains persisted in {name} and removes {name} from status.storedVersions"
            );
            errors.push(FieldError::invalid(format!("{field}[{index}]"), &(*name).into(), &why));
        }
    }
    errors
}
