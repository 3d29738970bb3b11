//! Paths of fields as replacements and vars write them.

use super::fieldspec::split;
use crate::gitops::render::tree::Node;

/// A field for reading: `spec.containers.[name=web].image`, `spec.ports.0.port`.
pub fn lookup<'a>(node: &'a Node, path: &[String]) -> Option<&'a Node> {
    path.iter().filter(|step| !step.trim().is_empty()).try_fold(node, |node, step| {
        if let Ok(index) = step.parse::<usize>() {
            return node.items().get(index);
        }
        if step == "-" {
            return node.items().last();
        }
        match bracketed(step) {
            Some((key, value)) => node.items().iter().find(|item| match key {
                "" => item.text() == value,
                key => item.get(key).is_some_and(|own| own.text() == value),
            }),
            None => node.get(step),
        }
    })
}

/// Field and value of `[name=web]`.
pub fn bracketed(step: &str) -> Option<(&str, &str)> {
    step.strip_prefix('[')?.strip_suffix(']')?.split_once('=')
}

/// Splits at dots, but not within `[...]`, which may also hold a key with dots.
pub fn steps(path: &str) -> Vec<String> {
    let mut steps = Vec::new();
    let mut parts = split(path, '.').into_iter();
    while let Some(part) = parts.next() {
        if !part.starts_with('[') || part.ends_with(']') {
            steps.push(part);
            continue;
        }
        let mut whole = part;
        for next in parts.by_ref() {
            whole.push('.');
            whole.push_str(&next);
            if next.ends_with(']') {
                break;
            }
        }
        let is_match = whole.contains('=');
        steps.push(if is_match { whole } else { whole.trim_matches(['[', ']']).to_owned() });
    }
    steps
}
