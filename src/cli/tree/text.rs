//! The tree as text. Pure.

use super::build::{Node, Tree};
use crate::cli::output::color::{FAINT, STRONG, paint};
use crate::cli::output::{clean, near, one_line};
use crate::cli::status::painted;
use crate::gitops::sources::short;
use std::fmt::Write;

pub fn text(tree: &Tree) -> String {
    let revision = match short(&tree.revision) {
        "" if tree.is_set => "applications".to_owned(),
        "" => "nothing applied yet".to_owned(),
        revision => revision.to_owned(),
    };
    let mut text =
        format!("{}  {}  {revision} of {}", paint(STRONG, &tree.application), painted(tree.health), near(&tree.source));
    if tree.health != "Ready" && !tree.message.is_empty() {
        let _ = write!(text, ": {}", one_line(&tree.message));
    }
    text.push('\n');
    branches(&mut text, &tree.objects, "", "");
    text
}

/// `prefix`: what is drawn left of the branches; `namespace`: that of the parent.
fn branches(text: &mut String, nodes: &[Node], prefix: &str, namespace: &str) {
    for (at, node) in nodes.iter().enumerate() {
        let (branch, below) = if at + 1 == nodes.len() { ("└─ ", "   ") } else { ("├─ ", "│  ") };
        let _ = writeln!(text, "{prefix}{branch}{}", line(node, namespace));
        branches(text, &node.children, &format!("{prefix}{below}"), &node.namespace);
    }
}

fn line(node: &Node, namespace: &str) -> String {
    let name = if node.namespace.is_empty() || node.namespace == namespace {
        clean(&node.name)
    } else {
        format!("{}/{}", node.namespace, clean(&node.name))
    };
    let mut line = format!("{} {}  {}", node.kind, paint(STRONG, name), painted(node.health));
    if !node.message.is_empty() {
        let _ = write!(line, ": {}", one_line(&node.message));
    }
    if !node.status.is_empty() {
        let _ = write!(line, "  {}", one_line(&node.status));
    }
    if let Some(origin) = &node.origin {
        let _ = write!(line, "  {}", paint(FAINT, format!("{}:{}", clean(near(&origin.file)), origin.line)));
    }
    line
}
