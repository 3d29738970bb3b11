//! Encrypted files that Secrets hold in their data, whatever put them there: as Flux does it, they are decrypted once
//! everything is rendered. Pure.

use super::keys::Keys;
use super::{may_be_encrypted, plain};
use crate::gitops::render::{Manifest, RenderError, Rendered};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::Value;

const DATA: &str = "data";
/// What an encrypted value begins with, in base64: after as many bytes as three divide, after one and two more. What
/// depends on the bytes around it is left out.
const ENCODED: [&str; 3] = ["RU5DW0FFUzI1Nl9HQ00s", "VOQ1tBRVMyNTZfR0NNL", "FTkNbQUVTMjU2X0dDTS"];

/// Decrypts what Secrets hold. An error takes the Secret out.
pub fn decrypt_data(rendered: &mut Rendered, keys: &Keys) {
    let Rendered { objects, errors } = rendered;
    objects.retain_mut(|manifest| match decrypt(manifest, keys) {
        Ok(any) => {
            manifest.confidential |= any;
            true
        }
        Err(error) => {
            errors.push(*error);
            false
        }
    });
}

/// Whether a file may have a Secret with such data. Base64 may go over several lines.
pub fn may_hold(bytes: &[u8]) -> bool {
    if memchr::memmem::find(bytes, b"Secret").is_none() {
        return false;
    }
    let compact: Vec<u8> = bytes.iter().copied().filter(|byte| !byte.is_ascii_whitespace()).collect();
    ENCODED.iter().any(|encoded| memchr::memmem::find(&compact, encoded.as_bytes()).is_some())
}

/// Whether anything was encrypted.
fn decrypt(manifest: &mut Manifest, keys: &Keys) -> Result<bool, Box<RenderError>> {
    if (manifest.id.api_version.as_str(), manifest.id.kind.as_str()) != ("v1", "Secret") {
        return Ok(false);
    }
    let Some(mut data) = manifest.value.get_mut(DATA).map(Value::take) else { return Ok(false) };
    let mut any = false;
    for (key, value) in data.as_object_mut().into_iter().flatten() {
        let Some(bytes) = value.as_str().and_then(decoded) else { continue };
        let opened = plain(&key.as_str().into(), &bytes, keys).map_err(|error| told(manifest, key, error))?;
        if let Some(opened) = opened {
            *value = STANDARD.encode(opened).into();
            any = true;
        }
    }
    manifest.value[DATA] = data;
    Ok(any)
}

/// What may be an encrypted file. What is no base64 is for the API to refuse.
fn decoded(text: &str) -> Option<Vec<u8>> {
    let compact: String = text.split(['\n', '\r']).collect();
    STANDARD.decode(compact).ok().filter(|bytes| may_be_encrypted(bytes))
}

/// With the line of the Secret's file, and that of the file that it holds.
fn told(manifest: &Manifest, key: &str, error: RenderError) -> Box<RenderError> {
    let line = match error.origin.line {
        0 => String::new(),
        line => format!(" in line {line}"),
    };
    let what = format!("data[{key}] of {}{line}: {}", manifest.describe(), error.what);
    Box::new(RenderError::new(manifest.origin_of(&format!("{DATA}[{key}]")), what).hint(error.hint))
}
