//! Files that SOPS encrypted for age keys become what they were, in memory, before anything else is done with them.
//!
//! A file counts as a whole: its MAC is checked, as SOPS does it, over all of its values. What was decrypted stands in
//! the file's text where it was encrypted, so that lines stay what they are. Nothing is written anywhere, and no error
//! holds a value or a key. Other key services than age are refused. Charts are left as they are: Helm would need them
//! on disk. What a Secret holds in its data is decrypted once it is rendered.

mod age;
mod cipher;
mod document;
mod dotenv;
mod embedded;
mod groups;
mod ini;
mod keys;
mod metadata;
mod shamir;
mod text;
mod values;

pub use embedded::decrypt_data;
pub use keys::Keys;

use super::render::spans::Position;
use super::render::{Origin, RenderError, Rendered, tree};
use super::sources::{Snapshot, is_manifest};
use bytes::Bytes;
use serde_json::Value;
use std::sync::Arc;

/// What to do about values that are not those that were encrypted.
const CHANGED: &str = "edit encrypted files with `sops edit` only";

/// The snapshot's files and kustomizations as they were before they were encrypted, and the keys for what only
/// rendering brings to light. What cannot be decrypted is in `rejected`, and nowhere else; of a kustomization, it is
/// an error of rendering it.
pub fn decrypt(mut snapshot: Snapshot, keys: &Keys) -> Snapshot {
    let Snapshot { files, kustomizations, rejected, decrypted, .. } = &mut snapshot;
    files.retain_mut(|file| {
        match plain(&file.path, &file.bytes, keys) {
            Ok(None) => {}
            Ok(Some(bytes)) => {
                file.bytes = bytes;
                decrypted.insert(file.path.clone());
            }
            Err(error) => {
                rejected.push(error);
                return false;
            }
        }
        true
    });
    for record in kustomizations {
        if record.files().any(|(_, bytes)| may_be_encrypted(bytes)) {
            let (opened, names) = record.opened(|path, bytes| plain(path, bytes, keys).transpose());
            *record = Arc::new(opened);
            decrypted.extend(names);
        }
    }
    snapshot.keys = Some(keys.clone());
    snapshot
}

/// Whether any file of it has to be decrypted.
pub fn has_encrypted(snapshot: &Snapshot) -> bool {
    let files = snapshot.files.iter().map(|file| (&*file.path, &file.bytes));
    let mut all = files.chain(snapshot.kustomizations.iter().flat_map(|record| record.files()));
    all.any(|(path, bytes)| is_encrypted(path, bytes))
}

/// Whether a file, or a value of a Secret in it, is encrypted.
pub fn is_encrypted(path: &str, bytes: &[u8]) -> bool {
    format(&path.into(), bytes).is_some() || embedded::may_hold(bytes)
}

/// Takes objects out that are still encrypted, and says so.
pub fn refuse_encrypted(rendered: &mut Rendered) {
    let Rendered { objects, errors } = rendered;
    objects.retain(|manifest| {
        let mac = manifest.value.get(metadata::FIELD).and_then(|metadata| metadata.get("mac"));
        let is_encrypted = mac.and_then(Value::as_str).is_some_and(|mac| !mac.is_empty());
        if is_encrypted {
            let what = format!("{} is encrypted with SOPS, and nothing says with which keys", manifest.describe());
            let error = RenderError::new(manifest.origin_of(metadata::FIELD), what);
            errors.push(error.hint("name the Secret with its age keys in spec.decryption"));
        }
        !is_encrypted
    });
}

/// How a file is encrypted.
enum Format {
    /// YAML or JSON whose values are.
    Values(String, Vec<tree::Node>),
    /// The one value of a JSON document is the file.
    Whole(Vec<tree::Node>),
    Dotenv(String),
    Ini(String),
}

/// What a file was; `None`: it is not encrypted.
fn plain(path: &Arc<str>, bytes: &[u8], keys: &Keys) -> Result<Option<Bytes>, RenderError> {
    Ok(match format(path, bytes) {
        None => None,
        Some(Format::Ini(text)) => Some(ini::decrypt(path, &text, keys)?.into()),
        Some(Format::Values(text, documents)) => Some(document::decrypt(path, &text, &documents, keys)?.into()),
        Some(Format::Whole(documents)) => Some(document::decrypt_whole(path, &documents, keys)?.into()),
        Some(Format::Dotenv(text)) => Some(dotenv::decrypt(path, &text, keys)?.into()),
    })
}

/// Every MAC is one.
pub(super) fn may_be_encrypted(bytes: &[u8]) -> bool {
    memchr::memmem::find(bytes, cipher::PREFIX.as_bytes()).is_some()
}

fn format(path: &Arc<str>, bytes: &[u8]) -> Option<Format> {
    if !may_be_encrypted(bytes) {
        return None;
    }
    // What is not text, or not YAML, is for its reader to refuse.
    let Ok(text) = std::str::from_utf8(bytes) else { return None };
    let text = text.trim_start_matches('\u{feff}');
    if dotenv::is_encrypted(text) {
        return Some(Format::Dotenv(text.to_owned()));
    }
    if ini::is_encrypted(text) {
        return Some(Format::Ini(text.to_owned()));
    }
    let documents = tree::documents(path, text).unwrap_or_default();
    match documents.iter().any(document::is_encrypted) {
        false => None,
        // SOPS goes by the name.
        true if document::is_whole(&documents) && !is_manifest(path) => Some(Format::Whole(documents)),
        true => Some(Format::Values(text.to_owned(), documents)),
    }
}

fn wrong(file: &Arc<str>, at: Position, what: impl Into<String>) -> RenderError {
    RenderError::new(Origin { file: file.clone(), line: at.line, column: at.column }, what)
}

#[cfg(test)]
mod tests;
