//! Where each value of a document stands in its file, so that an error about
//! `spec.containers[0].image` can name a line.

use std::sync::Arc;

/// Line and column, counted from 1.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Position {
    pub line: u32,
    pub column: u32,
}

/// The shape of a value with positions instead of contents.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Spans {
    pub at: Position,
    pub children: Children,
}

#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub enum Children {
    #[default]
    None,
    /// Key, the key's position, the value.
    Map(Vec<(Arc<str>, Position, Spans)>),
    List(Vec<Spans>),
}

/// One step of a field path.
#[derive(Debug, PartialEq, Eq)]
enum Step {
    Key(String),
    /// `[0]`, or a map key in brackets: `[app.kubernetes.io/name]`.
    Bracket(String),
}

impl Spans {
    /// The position of the deepest part of `path` that the document has: the key for a field, the
    /// item for a list entry. Understands `spec.containers[0].image`, a leading dot, and map keys
    /// in brackets. An unknown or empty path gives the document's start.
    pub fn find(&self, path: &str) -> Position {
        let mut here = self;
        let mut position = self.at;
        for step in steps(path) {
            let next = match (&here.children, &step) {
                (Children::Map(entries), Step::Key(key) | Step::Bracket(key)) => entries
                    .iter()
                    .find(|(name, ..)| **name == **key)
                    .map(|(_, key_position, value)| (*key_position, value)),
                (Children::List(items), Step::Bracket(index)) => {
                    index.parse::<usize>().ok().and_then(|i| items.get(i)).map(|item| (item.at, item))
                }
                _ => None,
            };
            let Some((at, spans)) = next else { break };
            (position, here) = (at, spans);
        }
        position
    }

    /// The entry of a map.
    pub fn get(&self, key: &str) -> Option<&Spans> {
        match &self.children {
            Children::Map(entries) => entries.iter().find(|(name, ..)| **name == *key).map(|(.., value)| value),
            _ => None,
        }
    }

    /// The item of a list.
    pub fn item(&self, index: usize) -> Option<&Spans> {
        match &self.children {
            Children::List(items) => items.get(index),
            _ => None,
        }
    }
}

fn steps(path: &str) -> Vec<Step> {
    let mut steps = Vec::new();
    let mut rest = path.trim_start_matches('.');
    while !rest.is_empty() {
        if let Some(inner) = rest.strip_prefix('[') {
            let end = inner.find(']').unwrap_or(inner.len());
            let quoted = inner[..end].trim_matches(['"', '\'']);
            steps.push(Step::Bracket(quoted.to_owned()));
            rest = inner.get(end + 1..).unwrap_or_default();
        } else {
            let end = rest.find(['.', '[']).unwrap_or(rest.len());
            steps.push(Step::Key(rest[..end].to_owned()));
            rest = &rest[end..];
        }
        rest = rest.strip_prefix('.').unwrap_or(rest);
    }
    steps
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_split_into_keys_and_brackets() {
        let key = |s: &str| Step::Key(s.into());
        let bracket = |s: &str| Step::Bracket(s.into());
        assert_eq!(steps(".spec.containers[0].image"), [key("spec"), key("containers"), bracket("0"), key("image")]);
        assert_eq!(
            steps("metadata.labels[app.kubernetes.io/name]"),
            [key("metadata"), key("labels"), bracket("app.kubernetes.io/name")]
        );
        assert_eq!(steps("a[0"), [key("a"), bracket("0")]);
        assert_eq!(steps(""), []);
    }
}
