//! The objects of a file, as kustomize takes them: lists are taken apart, and each has a kind and a name.

use super::resource::Resource;
use crate::gitops::render::error::{Origin, RenderError};
use crate::gitops::render::tree::{self, Body, Node};
use std::collections::VecDeque;
use std::sync::Arc;

pub fn read(file: &Arc<str>, text: &str) -> Result<Vec<Resource>, RenderError> {
    let mut queue: VecDeque<Node> = tree::documents(file, text)?.into();
    let mut objects = Vec::new();
    while let Some(mut node) = queue.pop_front() {
        if node.is_empty() {
            continue;
        }
        let error = |at: &Node, what: &str| {
            RenderError::new(Origin { file: file.clone(), line: at.at.line, column: at.at.column }, what)
        };
        if !node.is_map() {
            return Err(error(&node, &format!("the document is {}, not an object", node.kind_name())));
        }
        let kind = node.get("kind").map(Node::text).unwrap_or_default().to_owned();
        if kind.is_empty() {
            return Err(error(&node, "the object has no kind").hint("every object has an apiVersion and a kind"));
        }
        if kind.ends_with("List") {
            match node.remove("items") {
                Some(Node { body: Body::List(items), .. }) => {
                    queue.extend(items);
                    continue;
                }
                Some(items) if items.is_null() => continue,
                Some(items) => {
                    return Err(error(&items, &format!("items of a {kind} is a list, found {}", items.kind_name())));
                }
                // A kind that only happens to be called so.
                None => {}
            }
        } else if node.at_path(&["metadata", "name"]).is_none_or(|name| name.is_null() || name.text().is_empty()) {
            return Err(error(&node, &format!("{kind} has no metadata.name")).hint("every object needs a name"));
        }
        objects.push(Resource::new(node, file.clone()));
    }
    Ok(objects)
}
