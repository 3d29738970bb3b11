//! Fingerprints in the place of Secrets' values: the same value has the same one within a file, and
//! guessing costs. Pure.

use crate::base::url::redact as without_credentials;
use base64::{Engine, engine::general_purpose::STANDARD};
use serde_json::{Map, Value, json};
use sha2::{Digest, Sha256};

/// Rounds of the hash: a value that can be guessed should not be so at a million tries a second.
const ROUNDS: usize = 2_000;
const LAST_APPLIED: &str = "kubectl.kubernetes.io/last-applied-configuration";

/// Takes out what must not leave the cluster.
pub fn object(object: &mut Value, salt: &str) {
    match object["kind"].as_str() {
        Some("Secret") => secret(object, salt),
        Some("Application") => {
            if let Some(Value::String(url)) = object.pointer_mut("/spec/source/repoURL") {
                *url = without_credentials(url);
            }
        }
        _ => {}
    }
}

fn secret(object: &mut Value, salt: &str) {
    let json_file = object["type"].as_str().is_some_and(|kind| kind.starts_with("kubernetes.io/dockerc"));
    let place = format!("{}/{}", object["metadata"]["namespace"], object["metadata"]["name"]);
    let mut values = Map::new();
    for (key, value) in object["data"].as_object().into_iter().flatten() {
        let bytes = value.as_str().and_then(|text| STANDARD.decode(text).ok()).unwrap_or_default();
        values.insert(key.clone(), fingerprint(salt, &place, key, &bytes, json_file));
    }
    for (key, value) in object["stringData"].as_object().into_iter().flatten() {
        let text = value.as_str().unwrap_or_default();
        values.insert(key.clone(), fingerprint(salt, &place, key, text.as_bytes(), json_file));
    }
    let Some(fields) = object.as_object_mut() else { return };
    fields.remove("stringData");
    if !values.is_empty() {
        fields.insert("data".into(), Value::Object(values));
    }
    if let Some(annotations) = object.pointer_mut("/metadata/annotations").and_then(Value::as_object_mut) {
        annotations.remove(LAST_APPLIED);
    }
}

/// `json_file`: the API server looks into such a value.
fn fingerprint(salt: &str, place: &str, key: &str, value: &[u8], json_file: bool) -> Value {
    let mut hash =
        Sha256::digest([salt.as_bytes(), b"\0", place.as_bytes(), b"\0", key.as_bytes(), b"\0", value].concat());
    for _ in 0..ROUNDS {
        hash = Sha256::digest(hash);
    }
    let digits: String = hash.iter().take(16).map(|byte| format!("{byte:02x}")).collect();
    let text = if json_file {
        json!({"auths": {}, "fingerprint": digits}).to_string()
    } else {
        format!("fingerprint:{digits}")
    };
    STANDARD.encode(text).into()
}
