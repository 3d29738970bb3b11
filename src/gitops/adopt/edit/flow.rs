//! Changes within braces and brackets: JSON, too.

use super::{Editor, Splice};
use crate::gitops::adopt::layout::Node;
use crate::gitops::adopt::write;
use serde_json::Value;

impl Editor<'_> {
    /// Puts an entry before the one at `index`, or behind all.
    pub(super) fn flow_add(&self, holder: &Node, key: Option<&str>, index: usize, new: &Value) -> Vec<Vec<Splice>> {
        let parts = parts(holder);
        let is_quoted = |text: &str| text.starts_with('"');
        let json = self.style.json
            || holder.entries().first().is_some_and(|first| is_quoted(&self.layout.text[first.key.start..]));
        let neighbour = parts.get(index).or(parts.last());
        let Some((start, _)) = neighbour.copied() else { return Vec::new() };
        let has_lines = self.layout.is_first_on_line(start);
        let column = self.layout.column(start);
        let value =
            if json && has_lines { write::json_lines(new, column, self.style.step) } else { write::flow(new, json) };
        let line_break = self.layout.line_break();
        let value = value.replace('\n', line_break);
        let text = match key {
            Some(key) => format!("{}: {value}", write::scalar(&Value::from(key), json.then_some('"'))),
            None => value,
        };
        if parts.get(index).is_some() {
            let between = if has_lines { format!("{line_break}{}", " ".repeat(column)) } else { " ".to_owned() };
            return vec![vec![(start..start, format!("{text},{between}"))]];
        }
        let Some((_, end)) = parts.last().copied() else { return Vec::new() };
        let comma = self.comma(end, holder.end);
        let mut splices = Vec::new();
        if comma.is_none() {
            splices.push((end..end, ",".to_owned()));
        }
        let behind = comma.map_or(end, |comma| comma + 1);
        let trailing = if comma.is_some() { "," } else { "" };
        if has_lines {
            // Comments in the last line are about what stands there.
            let at = self.layout.eol(behind).min(holder.end - 1);
            splices.push((at..at, format!("{line_break}{}{text}{trailing}", " ".repeat(column))));
        } else {
            splices.push((behind..behind, format!(" {text}{trailing}")));
        }
        // Two at one place are made in their order.
        if let [(first, comma), (second, _)] = &mut splices[..]
            && first == second
        {
            let comma = std::mem::take(comma);
            splices.remove(0);
            splices[0].1.insert_str(0, &comma);
        }
        vec![splices]
    }

    pub(super) fn flow_remove(&self, holder: &Node, at: usize) -> Vec<Vec<Splice>> {
        let parts = parts(holder);
        let Some((start, end)) = parts.get(at).copied() else { return Vec::new() };
        let comma = self.comma(end, holder.end);
        let behind = comma.map_or(end, |comma| comma + 1);
        let mut splices = Vec::new();
        // The last goes with the comma before it.
        if comma.is_none()
            && let Some((_, before)) = at.checked_sub(1).and_then(|before| parts.get(before))
            && let Some(comma) = self.comma(*before, holder.end)
        {
            splices.push((comma..comma + 1, String::new()));
        }
        let line_end = self.layout.eol(behind);
        let rest = self.layout.text[behind..line_end.max(behind)].trim_start();
        let has_lines = self.layout.is_first_on_line(start) && (rest.is_empty() || rest.starts_with('#'));
        if has_lines && behind < holder.end {
            let from = self.layout.comments_above(start).start;
            splices.push((from..self.layout.next_line(behind), String::new()));
            return vec![splices];
        }
        let blanks = |text: &str| text.len() - text.trim_start_matches(' ').len();
        let (mut from, mut to) = (start, behind);
        if at + 1 < parts.len() {
            to += blanks(&self.layout.text[behind..]);
        } else if at > 0 {
            let before = &self.layout.text[..start];
            from -= before.len() - before.trim_end_matches(' ').len();
        }
        splices.push((from..to, String::new()));
        vec![splices]
    }

    /// The comma that follows, if one does.
    fn comma(&self, from: usize, until: usize) -> Option<usize> {
        let comments = self.layout.comments();
        let found = self.layout.text.get(from..until)?.char_indices().map(|(at, c)| (from + at, c));
        let mut found =
            found.filter(|(at, c)| !c.is_whitespace() && !comments.iter().any(|comment| comment.contains(at)));
        found.next().filter(|(_, c)| *c == ',').map(|(at, _)| at)
    }
}

/// Where each entry begins and ends.
fn parts(holder: &Node) -> Vec<(usize, usize)> {
    let entries = holder.entries().iter().map(|entry| (entry.key.whole, entry.value.end));
    entries.chain(holder.items().iter().map(|item| (item.value.whole, item.value.end))).collect()
}
