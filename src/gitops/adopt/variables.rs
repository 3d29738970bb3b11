//! Variables of post-build substitution: what a manifest says with their values stands in its file with their names.

use super::change::{Change, Op, Step};
use super::layout::Layout;
use super::place;
use crate::gitops::render::Manifest;
use serde_json::Value;

/// Takes out the changes that would put a value where the file has a variable, and says why. Of a list whose own entries
/// are such, no other entry is changed either: half of that is neither what was said nor what is live.
pub fn kept(found: &mut Vec<Change>, text: &str, manifest: &Manifest) -> Vec<(String, String)> {
    let text = text.trim_start_matches('\u{feff}');
    let Some(layout) = Some(text).filter(|text| text.contains("${")).and_then(Layout::of) else { return Vec::new() };
    let variable = |change: &Change| {
        let place = place::find(&layout, manifest, change.place()).ok()?;
        let said = at(&manifest.value, &change.path)?.to_string();
        let written = &layout.text[place.node.start..place.node.end];
        expressions(written).find(|(whole, _)| !said.contains(whole)).map(|(_, name)| name.to_owned())
    };
    let mut lists: Vec<Vec<Step>> = Vec::new();
    let mut left = Vec::new();
    found.retain(|change| match (&change.op, variable(change)) {
        (Op::Set(_), Some(name)) => {
            let why = format!(
                "${{{name}}} stands there, which has another value than what is live: change the variable, or the \
                 manifest by hand"
            );
            left.push((change.describe(), why));
            lists.extend(list_of(change).map(<[Step]>::to_vec));
            false
        }
        _ => true,
    });
    found.retain(|change| {
        let stays = list_of(change).is_some_and(|list| lists.iter().any(|other| other == list));
        if stays {
            let why = "it is in a list with variables that differ, too: change that by hand".to_owned();
            left.push((change.describe(), why));
        }
        !stays
    });
    left
}

/// The list of which an entry as a whole is changed.
fn list_of(change: &Change) -> Option<&[Step]> {
    match change.path.split_last() {
        Some((Step::Index(_), list)) => Some(list),
        _ => None,
    }
}

fn at<'a>(object: &'a Value, path: &[Step]) -> Option<&'a Value> {
    path.iter().try_fold(object, |value, step| match step {
        Step::Key(key) => value.get(key),
        Step::Index(index) => value.get(index),
    })
}

/// Each `${NAME...`, up to where its name ends, and the name. What follows may be a default that nobody is to see.
fn expressions(text: &str) -> impl Iterator<Item = (&str, &str)> {
    text.match_indices("${").filter_map(|(at, _)| {
        let from = &text[at + 2..];
        let begin = from.len() - from.trim_start_matches('#').len();
        let length = from[begin..].find(|c: char| !c.is_ascii_alphanumeric() && c != '_').unwrap_or(from.len() - begin);
        (length > 0).then(|| (&text[at..at + 2 + begin + length], &from[begin..begin + length]))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_names_are_told() {
        let found: Vec<_> = expressions("a${TAG}b${P_1:=hunter2}${#LEN} ${} $X ${").collect();
        assert_eq!(found, [("${TAG", "TAG"), ("${P_1", "P_1"), ("${#LEN", "LEN")]);
    }
}
