//! YAML and JSON files, and files that are encrypted as a whole. Pure.

use super::cipher::Plain;
use super::keys::Keys;
use super::metadata::{self, FIELD};
use super::text::{Edits, literal};
use super::values::Values;
use super::{CHANGED, wrong};
use crate::gitops::render::RenderError;
use crate::gitops::render::tree::{Body, Entry, Node, Scalar};
use serde_json::Value;
use std::sync::Arc;

/// The field of a file that is encrypted as a whole.
const DATA: &str = "data";
const ELSEWHERE: &str = "is not written as SOPS writes it, without anchors, aliases and blocks";

/// Whether SOPS encrypted a document.
pub fn is_encrypted(document: &Node) -> bool {
    document.get(FIELD).is_some_and(|metadata| metadata::mac(metadata).is_some())
}

/// Whether a file holds nothing but one value: it was encrypted as a whole.
pub fn is_whole(documents: &[Node]) -> bool {
    let [document] = documents else { return false };
    let keys: Vec<&str> = document.entries().iter().map(|entry| &*entry.key.text).collect();
    matches!(keys[..], [DATA, FIELD] | [FIELD, DATA])
}

/// The same text, line by line, with the values that were encrypted.
pub fn decrypt(file: &Arc<str>, text: &str, documents: &[Node], keys: &Keys) -> Result<String, RenderError> {
    let mut edits = Edits::new(text);
    for group in groups(documents) {
        read(file, group, keys, &mut |node, old, plain| {
            let new = written(plain).ok_or("is not text")?;
            edits.replace(node.at, old, new).ok_or(ELSEWHERE)
        })?;
        for document in group {
            let removed = edits.remove(document, FIELD);
            removed.ok_or_else(|| wrong(file, document.at, format!("the document {ELSEWHERE}")))?;
        }
    }
    edits.finish().ok_or_else(|| wrong(file, Default::default(), format!("the file {ELSEWHERE}")))
}

/// What a file was that is encrypted as a whole.
pub fn decrypt_whole(file: &Arc<str>, documents: &[Node], keys: &Keys) -> Result<Vec<u8>, RenderError> {
    // An empty file is not encrypted.
    let mut content = Vec::new();
    read(file, documents, keys, &mut |_, _, plain| match plain {
        Plain::Text(bytes) => {
            content = bytes;
            Ok(())
        }
        _ => Err("is not text"),
    })?;
    Ok(content)
}

/// Documents that were encrypted together: they have one MAC.
fn groups(documents: &[Node]) -> impl Iterator<Item = &[Node]> {
    let mac = |document: &Node| document.get(FIELD).and_then(metadata::mac).map(str::to_owned);
    let groups = documents.chunk_by(move |a, b| mac(a).is_some() && mac(a) == mac(b));
    groups.filter(|group| group.first().is_some_and(is_encrypted))
}

/// A literal of YAML and JSON; `None`: it has none.
fn written(plain: Plain) -> Option<String> {
    Some(match plain {
        Plain::Text(bytes) => literal(std::str::from_utf8(&bytes).ok()?),
        Plain::Int(number) => number.to_string(),
        Plain::Float(number) => number.to_string(),
        Plain::Bool(flag) => flag.to_string(),
        Plain::Comment(_) => return None,
    })
}

/// What is done with a value: its node, its text, and what it was.
type Take<'t> = dyn FnMut(&Node, &str, Plain) -> Result<(), &'static str> + 't;

/// Decrypts all values of documents that were encrypted together.
fn read(file: &Arc<str>, group: &[Node], keys: &Keys, take: &mut Take<'_>) -> Result<(), RenderError> {
    let first = group.first().into_iter().flat_map(Node::entries);
    let Some(metadata) = first.into_iter().find(|entry| &*entry.key.text == FIELD) else { return Ok(()) };
    let refused = |why: String| wrong(file, metadata.at, format!("the file is encrypted with SOPS: {why}"));
    let mut reader = Reader { file, values: Values::new(&metadata.value, keys).map_err(refused)?, take };
    for document in group {
        for entry in document.entries().iter().filter(|entry| &*entry.key.text != FIELD) {
            reader.entry(entry, &mut Vec::new(), false)?;
        }
    }
    reader.values.check().map_err(|why| refused(why.to_owned()).hint(CHANGED))
}

struct Reader<'r, 't> {
    file: &'r Arc<str>,
    values: Values,
    take: &'r mut Take<'t>,
}

impl Reader<'_, '_> {
    /// `matches`: the rule names one of the keys of the path.
    fn entry<'n>(&mut self, entry: &'n Entry, path: &mut Vec<&'n str>, matches: bool) -> Result<(), RenderError> {
        path.push(&entry.key.text);
        let matches = matches || self.values.matches(&entry.key.text);
        self.value(&entry.value, path, matches)?;
        path.pop();
        Ok(())
    }

    fn value<'n>(&mut self, node: &'n Node, path: &mut Vec<&'n str>, matches: bool) -> Result<(), RenderError> {
        match &node.body {
            Body::Map(entries) => entries.iter().try_for_each(|entry| self.entry(entry, path, matches)),
            Body::List(items) => items.iter().try_for_each(|item| self.value(item, path, matches)),
            Body::Scalar(scalar) if scalar.is_null() => Ok(()),
            Body::Scalar(scalar) => {
                let opened = self.values.open(path, matches, &scalar.text, || authenticated(scalar));
                let done = opened.and_then(|plain| match plain {
                    Some(plain) => (self.take)(node, &scalar.text, plain),
                    None => Ok(()),
                });
                done.map_err(|why| wrong(self.file, node.at, format!("the value of {} {why}", path.join("."))))
            }
        }
    }
}

/// What the MAC has of a value that is not encrypted: what it means to SOPS, which reads YAML as go-yaml v3 does.
fn authenticated(scalar: &Scalar) -> Result<Vec<u8>, &'static str> {
    Ok(match scalar.value().map_err(|_| "has no meaning in JSON")? {
        Value::String(text) => text.into_bytes(),
        Value::Bool(flag) => Plain::Bool(flag).authenticated(),
        Value::Number(number) => match number.as_f64().filter(|_| number.is_f64()) {
            Some(float) => Plain::Float(float).authenticated(),
            None => number.to_string().into_bytes(),
        },
        _ => Vec::new(),
    })
}
