//! Files of `NAME=VALUE` lines, whose metadata are such lines, too. Pure.

use super::cipher::Plain;
use super::keys::Keys;
use super::values::Values;
use super::{CHANGED, wrong};
use crate::gitops::render::RenderError;
use crate::gitops::render::spans::Position;
use crate::gitops::render::tree::Node;
use std::sync::Arc;

/// What the names of the metadata begin with.
const PREFIX: &str = "sops_";

/// Whether SOPS encrypted the file.
pub fn is_encrypted(text: &str) -> bool {
    text.lines().any(|line| line.starts_with("sops_mac=ENC["))
}

/// The same lines with the values that were encrypted; those of the metadata are empty.
pub fn decrypt(file: &Arc<str>, text: &str, keys: &Keys) -> Result<String, RenderError> {
    let (metadata, first) = metadata(text);
    let refused = |why: String| {
        let at = Position { line: first, column: 1 };
        wrong(file, at, format!("the file is encrypted with SOPS: {why}"))
    };
    let mut values = Values::new(&metadata, keys).map_err(refused)?;
    let mut decrypted = String::with_capacity(text.len());
    for (line, number) in text.split('\n').zip(1..) {
        let here = |why: &str| wrong(file, Position { line: number, column: 1 }, why);
        if number > 1 {
            decrypted.push('\n');
        }
        if let Some(comment) = line.strip_prefix('#') {
            let plain = values.comment(&[], comment).map(String::from_utf8);
            let plain = plain.transpose().map_err(|_| here("the comment is not text"))?;
            decrypted.push_str(&format!("#{}", plain.as_deref().unwrap_or(comment)));
        } else if !line.starts_with(PREFIX) && !line.is_empty() {
            let (name, value) = line.split_once('=').ok_or_else(|| here("the line is not NAME=VALUE"))?;
            let value = value.replace("\\n", "\n");
            let matches = values.matches(name);
            let clear = || Ok(value.clone().into_bytes());
            let opened = values.open(&[name], matches, &value, clear).and_then(|plain| plain.map(text_of).transpose());
            let opened = opened.map_err(|why| here(&format!("the value of {name} {why}")))?;
            decrypted.push_str(&format!("{name}={}", opened.unwrap_or(value).replace('\n', "\\n")));
        }
    }
    values.check().map_err(|why| refused(why.to_owned()).hint(CHANGED))?;
    Ok(decrypted)
}

/// As it is written where all values are texts.
pub fn text_of(plain: Plain) -> Result<String, &'static str> {
    String::from_utf8(plain.authenticated()).map_err(|_| "is not text")
}

/// The metadata, and the number of their first line.
fn metadata(text: &str) -> (Node, u32) {
    let mut lines = text.lines().zip(1..).filter(|(line, _)| line.starts_with(PREFIX)).peekable();
    let first = lines.peek().map_or(0, |(_, number)| *number);
    let pairs = lines.filter_map(|(line, _)| line.strip_prefix(PREFIX)?.split_once('='));
    (flat(pairs), first)
}

/// Lines of metadata that are read: those of as many recipients as there may be, and some more.
const MAX_PAIRS: usize = 2_000;

/// Metadata whose maps and lists are written into their names: `age__list_0__map_enc`.
pub fn flat<'a>(pairs: impl Iterator<Item = (&'a str, &'a str)>) -> Node {
    let mut root = Node::map();
    for (name, value) in pairs.take(MAX_PAIRS) {
        let name = name.replace("__list_", "__map_");
        let mut keys: Vec<&str> = name.split("__map_").collect();
        let last = keys.pop().unwrap_or_default();
        let holder = keys.into_iter().try_fold(&mut root, |node, key| node.make_map(key));
        if let Some(holder) = holder {
            holder.set(last, Node::string(value.replace("\\n", "\n")));
        }
    }
    root
}
