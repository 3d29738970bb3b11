//! Secrets. Their values never reach an error text.

use super::configmap::{DATA_LIMIT, entries, immutable_data};
use super::json::{ensure, put_text, text};
use super::{Column, Kind, names, table};
use crate::api::error::FieldError;
use base64::Engine;
use jiff::Timestamp;
use serde_json::Value;

/// The rules of core/v1 Secret.
pub struct Secret;

const REQUIRED: &[(&str, &[&str])] = &[
    ("kubernetes.io/tls", &["tls.crt", "tls.key"]),
    ("kubernetes.io/dockerconfigjson", &[".dockerconfigjson"]),
    ("kubernetes.io/dockercfg", &[".dockercfg"]),
    ("kubernetes.io/ssh-auth", &["ssh-privatekey"]),
];

impl Kind for Secret {
    fn default(&self, object: &mut Value) {
        let Some(secret) = object.as_object_mut() else { return };
        put_text(secret, "type", "Opaque");
        // stringData is write-only: folded into data, where it wins.
        if let Some(Value::Object(texts)) = secret.remove("stringData")
            && let Some(data) = ensure(secret, "data")
        {
            for (key, value) in texts {
                let encoded = base64::engine::general_purpose::STANDARD.encode(value.as_str().unwrap_or_default());
                data.insert(key, encoded.into());
            }
        }
    }

    fn validate(&self, object: &Value) -> Vec<FieldError> {
        let mut errors = Vec::new();
        let data = &object["data"];
        let mut size = 0;
        for (key, value) in data.as_object().into_iter().flatten() {
            let wrong = names::config_key(key);
            let field = format!("data[{key}]");
            errors.extend(wrong.iter().map(|why| FieldError::invalid(field.clone(), &key.as_str().into(), why)));
            size += value.as_str().map_or(0, str::len) / 4 * 3;
        }
        if size > DATA_LIMIT {
            errors.push(FieldError::too_long("data", &format!("may not be more than {DATA_LIMIT} bytes")));
        }
        let kind = text(object, &["type"]);
        for (_, keys) in REQUIRED.iter().filter(|(name, _)| *name == kind) {
            let missing = keys.iter().filter(|key| data.get(**key).is_none());
            errors.extend(missing.map(|key| FieldError::required(format!("data[{key}]"), "")));
        }
        if kind == "kubernetes.io/basic-auth" && data.get("username").is_none() && data.get("password").is_none() {
            errors.extend(["username", "password"].map(|key| FieldError::required(format!("data[{key}]"), "")));
        }
        for key in [".dockerconfigjson", ".dockercfg"] {
            if kind.ends_with(&key[1..]) && data.get(key).is_some_and(|value| !is_json(value)) {
                // Never the value itself.
                let shown = "<secret contents redacted>".into();
                errors.push(FieldError::invalid(format!("data[{key}]"), &shown, "must be valid JSON"));
            }
        }
        let account = "kubernetes.io/service-account.name";
        if kind == "kubernetes.io/service-account-token"
            && text(object, &["metadata", "annotations", account]).is_empty()
        {
            errors.push(FieldError::required(format!("metadata.annotations[{account}]"), ""));
        }
        errors
    }

    fn validate_update(&self, new: &Value, old: &Value) -> Vec<FieldError> {
        let mut errors = immutable_data(new, old, &["data"]);
        super::workloads::immutable(new, old, &["type"], &mut errors);
        errors
    }

    fn field_names(&self) -> &'static [&'static str] {
        &["type"]
    }

    fn fields(&self, object: &Value) -> Vec<(&'static str, String)> {
        vec![("type", text(object, &["type"]).into())]
    }

    fn unknown_field(&self, field: &str) -> String {
        super::label_not_supported(field)
    }

    fn columns(&self) -> Vec<Column> {
        table::columns("Name:string:name, Type:string, Data:string, Age:string")
    }

    fn row(&self, object: &Value, now: Timestamp) -> Vec<Value> {
        vec![table::name(object), object["type"].clone(), entries(&object["data"]).into(), table::age(object, now)]
    }
}

/// Whether a base64 value holds JSON.
fn is_json(value: &Value) -> bool {
    let bytes = base64::engine::general_purpose::STANDARD.decode(value.as_str().unwrap_or_default());
    bytes.is_ok_and(|bytes| serde_json::from_slice::<serde::de::IgnoredAny>(&bytes).is_ok())
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn string_data_is_folded_into_data() {
        let mut secret = json!({"data": {"a": "b2xk", "b": "Yg=="}, "stringData": {"a": "new"}});
        Secret.default(&mut secret);
        assert_eq!(secret, json!({"type": "Opaque", "data": {"a": "bmV3", "b": "Yg=="}}));
        Secret.default(&mut secret);
        assert_eq!(secret["data"]["a"], "bmV3");
    }

    #[test]
    fn a_type_asks_for_its_keys_and_stays() {
        let secret = json!({"type": "kubernetes.io/tls", "data": {"tls.crt": "YQ=="}});
        let fields: Vec<_> = Secret.validate(&secret).into_iter().map(|e| e.field).collect();
        assert_eq!(fields, ["data[tls.key]"]);
        let errors = Secret.validate_update(&json!({"type": "Opaque"}), &secret);
        assert_eq!(errors[0].field, "type");
    }
}
