//! Variables of post-build substitution: where a manifest has `${TAG}`, what is live has the value, and writing that
//! would lose the variable.

use super::change::{Change, Op, Step};
use crate::gitops::application::LABEL;
use serde_json::Value;

/// Takes out the changes that are none but for variables, and those that would overwrite some: these are left, with
/// the reason. Only what an Application applied has had its variables replaced.
pub fn kept(found: &mut Vec<Change>, manifest: &Value, live: &Value) -> Vec<(String, String)> {
    let mut left = Vec::new();
    if live.pointer("/metadata/labels").and_then(|labels| labels.get(LABEL)).is_none() {
        return left;
    }
    found.retain(|change| {
        let Op::Set(new) = &change.op else { return true };
        match at(manifest, &change.path).map_or(Sense::Other, |old| sense(old, new)) {
            Sense::Other => true,
            Sense::Same => false,
            Sense::Loses(variable) => {
                let why = format!(
                    "{variable} stands there, which has another value in the cluster: change the variable, or the \
                     manifest by hand"
                );
                left.push((change.describe(), why));
                false
            }
        }
    });
    left
}

fn at<'a>(object: &'a Value, path: &[Step]) -> Option<&'a Value> {
    path.iter().try_fold(object, |value, step| match step {
        Step::Key(key) => value.get(key),
        Step::Index(index) => value.get(index),
    })
}

#[derive(Debug, PartialEq)]
enum Sense {
    /// With some values of the variables it is what is live.
    Same,
    /// Has this variable, and cannot be what is live.
    Loses(String),
    /// There are no variables in it, or what is live has them too.
    Other,
}

fn sense(old: &Value, new: &Value) -> Sense {
    let Value::String(old) = old else {
        let (old, new) = (old.to_string(), new.to_string());
        let lost = pattern(&old).1.into_iter().find(|variable| !new.contains(variable));
        return lost.map_or(Sense::Other, |variable| Sense::Loses(variable.to_owned()));
    };
    // `replicas: ${COUNT}` is a number once it is replaced.
    let new = match new {
        Value::String(text) => text.clone(),
        other => other.to_string(),
    };
    let (texts, variables) = pattern(old);
    let lost = variables.iter().find(|variable| !new.contains(**variable));
    let is_written_otherwise = texts.concat() != *old;
    match lost {
        // What is live has them too: nobody replaced them.
        None if !variables.is_empty() => Sense::Other,
        _ if is_written_otherwise && matches(&texts, &new) => Sense::Same,
        Some(variable) => Sense::Loses((*variable).to_owned()),
        None => Sense::Other,
    }
}

/// The texts around the variables, and these as they are written.
fn pattern(text: &str) -> (Vec<String>, Vec<&str>) {
    let (mut texts, mut variables, mut rest) = (vec![String::new()], Vec::new(), text);
    while let Some((before, after)) = rest.split_once('$') {
        texts.last_mut().into_iter().for_each(|last| last.push_str(before));
        let from = text.len() - after.len() - 1;
        match (after.strip_prefix('$'), length(after)) {
            (None, Some(length)) => {
                variables.push(&text[from..=from + length]);
                texts.push(String::new());
                rest = &after[length..];
            }
            (escaped, _) => {
                texts.last_mut().into_iter().for_each(|last| last.push('$'));
                rest = escaped.unwrap_or(after);
            }
        }
    }
    texts.last_mut().into_iter().for_each(|last| last.push_str(rest));
    (texts, variables)
}

/// How long what follows a `$` is: `{NAME}` and all that a default may have in it.
fn length(text: &str) -> Option<usize> {
    let inner = text.strip_prefix('{')?;
    inner.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_' || c == '#').then_some(())?;
    let mut depth = 0_usize;
    for (at, c) in text.char_indices() {
        match c {
            '{' => depth += 1,
            '}' if depth == 1 => return Some(at + 1),
            '}' => depth -= 1,
            _ => {}
        }
    }
    None
}

/// Whether the texts stand in `whole` in this order, the first at its beginning and the last at its end.
fn matches(texts: &[String], whole: &str) -> bool {
    let [first, between @ .., last] = texts else { return texts.concat() == whole };
    let Some(rest) = whole.strip_prefix(first.as_str()).and_then(|rest| rest.strip_suffix(last.as_str())) else {
        return false;
    };
    let mut rest = rest;
    between.iter().all(|text| match rest.split_once(text.as_str()) {
        Some((_, after)) => {
            rest = after;
            true
        }
        None => false,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn what_stands_there_for_a_variable() {
        let same = |old: &str, new: Value| assert_eq!(sense(&json!(old), &new), Sense::Same, "{old} {new}");
        same("nginx:${TAG}", json!("nginx:1.2"));
        same("${COUNT}", json!(3));
        same("${A:-${B}}/x/${C}.", json!("1/x/2."));
        same("a $${X} $$", json!("a ${X} $"));
        same("${A}${B}", json!(""));
        let loses = |old: Value, new: Value, variable: &str| {
            assert_eq!(sense(&old, &new), Sense::Loses(variable.to_owned()), "{old} {new}");
        };
        loses(json!("nginx:${TAG}"), json!("httpd:1.2"), "${TAG}");
        loses(json!("${A}/x/${B}"), json!("1/y"), "${A}");
        loses(json!("aa${A}aa"), json!("aaa"), "${A}");
        loses(json!({"a": ["é${A:=x}"]}), json!("b"), "${A:=x}");
        let other = |old: Value, new: Value| assert_eq!(sense(&old, &new), Sense::Other, "{old} {new}");
        other(json!("nginx:1"), json!("nginx:2"));
        other(json!("echo ${A}"), json!("echo -n ${A}"));
        other(json!("$(POD_IP) $5 ${1} ${"), json!("x"));
        other(json!(5), json!("${A}"));
        other(json!(["${A}"]), json!(["${A}", 1]));
    }
}
