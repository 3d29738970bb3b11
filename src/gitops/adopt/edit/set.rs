//! A value replaced by another one, in the style of what was there.

use super::{Editor, Splice};
use crate::gitops::adopt::layout::{Form, Node};
use crate::gitops::adopt::place::{Holder, Place};
use crate::gitops::adopt::write::{self, Header};
use serde_json::Value;
use std::ops::Range;

/// What a new value comes to: something behind the colon or dash, and lines below.
struct New {
    beside: String,
    below: Vec<String>,
    column: usize,
}

impl Editor<'_> {
    pub(super) fn set(&self, place: Place<'_>, new: &Value) -> Vec<Vec<Splice>> {
        let node = place.node;
        if matches!(node.form, Form::Alias(_)) {
            return Vec::new();
        }
        if place.in_flow || self.style.json || matches!(place.holder, Holder::Root) {
            return self.in_line(place, new);
        }
        let mut edits = Vec::new();
        if write::is_nested(new) {
            // What was in braces stays so, as long as it can be read.
            let written = write::flow(new, false);
            if node.is_flow() && !node.is_empty_collection() && written.len() <= 80 {
                edits.push(self.replaced(place, &New { beside: written, below: Vec::new(), column: 0 }));
            }
            edits.push(self.nested(place, new));
            return edits;
        }
        let quote = self.quote(node);
        if let Some(text) = new.as_str().filter(|_| write::is_text(new)) {
            if let Form::Block(content) = &node.form {
                edits.extend(self.reblocked(place, content, text));
            }
            let was_escaped = quote == Some('"') && self.layout.text[node.start..node.end].contains("\\n");
            if !was_escaped && let Some((header, below)) = write::literal(text) {
                let column = self.column_of(place) + self.step_of(place);
                let beside = header.written(self.step_of(place));
                edits.push(self.replaced(place, &New { beside, below, column }));
            }
        }
        let beside = if new.is_string() { write::scalar(new, quote) } else { write::flow(new, false) };
        edits.push(self.replaced(place, &New { beside, below: Vec::new(), column: 0 }));
        let beside = write::flow(new, true);
        edits.push(self.replaced(place, &New { beside, below: Vec::new(), column: 0 }));
        edits
    }

    fn quote(&self, node: &Node) -> Option<char> {
        match node.form {
            Form::Single => Some('\''),
            Form::Double => Some('"'),
            _ if self.style.json => Some('"'),
            _ => None,
        }
    }

    /// Where no lines below are possible.
    fn in_line(&self, place: Place<'_>, new: &Value) -> Vec<Vec<Splice>> {
        let node = place.node;
        let line = self.layout.line_start(node.start);
        let spans_lines = self.layout.text[node.start..node.end].contains('\n');
        let written = if self.style.json
            && write::is_nested(new)
            && (spans_lines || self.layout.column(node.start) == 0 || self.is_on_its_line(place))
        {
            let column = self.layout.text[line..].chars().take_while(|c| *c == ' ').count();
            write::json_lines(new, column, self.style.step).replace('\n', self.layout.line_break())
        } else if new.is_string() {
            write::scalar(new, self.quote(node))
        } else {
            write::flow(new, self.style.json)
        };
        let blank = if matches!(node.form, Form::Empty) { " " } else { "" };
        let mut edits = vec![vec![(node.start..node.end, format!("{blank}{written}"))]];
        if !self.style.json {
            edits.push(vec![(node.start..node.end, format!("{blank}{}", write::flow(new, true)))]);
        }
        edits
    }

    /// Its entry begins a line, so that its file is one of many lines.
    fn is_on_its_line(&self, place: Place<'_>) -> bool {
        match place.holder {
            Holder::Root => true,
            Holder::Entry(holder, at) => self.layout.is_first_on_line(holder.entries()[at].key.whole),
            Holder::Item(..) => self.layout.is_first_on_line(place.node.whole),
        }
    }

    /// The column of the key or dash.
    fn column_of(&self, place: Place<'_>) -> usize {
        match place.holder {
            Holder::Root => 0,
            Holder::Entry(holder, _) | Holder::Item(holder, _) => self.layout.column(holder.start),
        }
    }

    fn step_of(&self, place: Place<'_>) -> usize {
        if matches!(place.holder, Holder::Item(..)) { 2 } else { self.style.step }
    }

    /// Right behind the colon or dash, or behind the anchor that follows.
    fn behind(&self, place: Place<'_>) -> usize {
        let colon = match place.holder {
            Holder::Root => place.node.start,
            Holder::Entry(holder, at) => holder.entries()[at].colon,
            Holder::Item(holder, at) => holder.items()[at].dash + 1,
        };
        let node = place.node;
        if node.whole == node.start {
            return colon;
        }
        // Behind what is written in the line of the anchor or tag.
        let properties = &self.layout.text[node.whole..node.start];
        node.whole
            + properties.lines().next().unwrap_or_default().split(" #").next().unwrap_or_default().trim_end().len()
    }

    /// A map or list over lines.
    fn nested(&self, place: Place<'_>, new: &Value) -> Vec<Splice> {
        let node = place.node;
        let same_form = node.is_block() && (new.is_object() == matches!(node.form, Form::Map { .. }));
        let held = self.column_of(place);
        let column = match place.holder {
            _ if same_form => self.layout.column(node.start),
            Holder::Item(holder, at) => held + self.gap(holder, at) + 1,
            _ if new.is_object() || self.style.lists_in => held + self.style.step,
            _ => held,
        };
        self.replaced(place, &New { beside: String::new(), below: write::block(new, self.style), column })
    }

    fn gap(&self, list: &Node, at: usize) -> usize {
        let item = &list.items()[at];
        let gap = item.value.whole.saturating_sub(item.dash + 1);
        if (1..=6).contains(&gap) && !self.layout.text[item.dash..item.value.whole].contains('\n') { gap } else { 1 }
    }

    /// A block with another text, in the columns of the old one; folded if that was.
    fn reblocked(&self, place: Place<'_>, content: &Range<usize>, text: &str) -> Vec<Vec<Splice>> {
        let old = &self.layout.text[place.node.start..self.layout.eol(place.node.start)];
        let held = self.column_of(place);
        let first = content.start;
        let told = old.split('#').next().is_some_and(|header| header.contains(|c: char| c.is_ascii_digit()));
        let has_text =
            !told && first < content.end && self.layout.text[self.layout.line_start(first)..first].trim().is_empty();
        let column = self.layout.column(first);
        let column = if has_text && column > held { column } else { held + self.step_of(place) };
        let mut forms = Vec::new();
        if old.starts_with('>') {
            let widest = self.layout.text[content.clone()].lines().map(|line| line.trim().chars().count()).max();
            forms.extend(write::folded(text, widest.unwrap_or(80).clamp(40, 120)));
        }
        forms.extend(write::literal(text));
        let made = forms.into_iter().map(|(header, below): (Header, Vec<String>)| {
            self.replaced(place, &New { beside: header.written(column - held), below, column })
        });
        made.collect()
    }

    /// Puts the new value where the old one is. Comments in the line of the key or dash stay.
    fn replaced(&self, place: Place<'_>, new: &New) -> Vec<Splice> {
        let (layout, node) = (self.layout, place.node);
        let behind = self.behind(place);
        let is_item = matches!(place.holder, Holder::Item(..));
        let below = self.lines_below(new.below.clone(), new.column);
        let begins_beside = layout.line_start(behind) == layout.line_start(node.start);
        // A block in the line of its dash: what follows it there is part of it.
        if node.is_block() && begins_beside {
            let all = node.start..layout.eol(node.end);
            let text =
                if new.beside.is_empty() { below.trim_start().to_owned() } else { format!("{}{below}", new.beside) };
            return vec![(all, text)];
        }
        let mut splices = Vec::new();
        let beside = if new.beside.is_empty() { String::new() } else { format!(" {}", new.beside) };
        let line_end = layout.eol(behind);
        let (inline, rest) = match &node.form {
            _ if node.is_block() => (behind..behind, line_end..layout.eol(node.end)),
            Form::Block(content) => {
                let header = &layout.text[node.start..layout.eol(node.start)];
                let length = header.find(|c: char| c.is_whitespace()).unwrap_or(header.len());
                let lines_end = layout.eol(node.start);
                let until = if content.is_empty() { lines_end } else { layout.eol(node.end).max(lines_end) };
                (behind..node.start + length, lines_end..until)
            }
            Form::Empty => (behind..behind, line_end..line_end),
            _ => (behind..node.end, layout.eol(node.end)..layout.eol(node.end)),
        };
        // In the line of a dash a map may begin, unless a comment is there.
        let after = &layout.text[inline.end..layout.eol(inline.end)];
        if is_item && new.beside.is_empty() && after.trim().is_empty() {
            let gap = new.column.saturating_sub(self.column_of(place) + 1).max(1);
            let text = format!("{}{}", " ".repeat(gap), below.trim_start());
            return vec![(inline.start..rest.end, text)];
        }
        splices.push((inline, beside));
        if !below.is_empty() || !rest.is_empty() {
            splices.push((rest, below));
        }
        splices
    }
}
