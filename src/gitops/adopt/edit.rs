//! One change made in a text: only the bytes of what is set, added or taken out are other ones then.

mod flow;
mod set;

use super::change::{Change, Op, Step};
use super::layout::{Form, Layout, Node};
use super::place::{self, Holder, Place};
use super::write::{self, Style};
use crate::gitops::render::Manifest;
use serde_json::{Map, Value};
use std::ops::Range;

/// What becomes of some bytes.
type Splice = (Range<usize>, String);

/// Texts that should have the change made, the best first; `Err` says why there is none, if there is a reason.
pub fn candidates(text: &str, manifest: &Manifest, change: &Change) -> Result<Vec<String>, String> {
    let bare = text.trim_start_matches('\u{feff}');
    let mark = &text[..text.len() - bare.len()];
    let layout = Layout::of(bare).ok_or_else(String::new)?;
    let place = place::find(&layout, manifest, change.place())?;
    let json = manifest.origin.file.ends_with(".json") || is_json(&layout);
    let editor = Editor { style: style(&layout, json), layout: &layout };
    let edits = editor.edits(place, change);
    let made = edits.into_iter().filter_map(|splices| spliced(bare, splices));
    Ok(made.map(|made| format!("{mark}{made}")).collect())
}

/// Why none of them would do.
pub fn why_not(text: &str, manifest: &Manifest, change: &Change) -> Option<String> {
    let layout = Layout::of(text.trim_start_matches('\u{feff}'))?;
    place::shared(&layout, manifest, change.place())
}

fn spliced(text: &str, mut splices: Vec<Splice>) -> Option<String> {
    splices.sort_by_key(|(range, _)| (range.start, range.end));
    let (mut made, mut from) = (String::with_capacity(text.len()), 0);
    for (range, new) in splices {
        made.push_str(text.get(from..range.start)?);
        made.push_str(&new);
        from = range.end;
    }
    made.push_str(text.get(from..)?);
    Some(made)
}

/// Whatever the file is called: braces around quoted keys.
fn is_json(layout: &Layout<'_>) -> bool {
    let is_one = |root: &Node| {
        let key = root.entries().first().map(|first| &layout.text[first.key.start..]);
        root.is_flow() && key.is_some_and(|key| key.starts_with('"'))
    };
    !layout.roots.is_empty() && layout.roots.iter().all(is_one)
}

/// As most of the file is written.
fn style(layout: &Layout<'_>, json: bool) -> Style {
    let (mut steps, mut inward, mut beside) = ([0_usize; 9], 0, 0);
    let mut look = |node: &Node| {
        for entry in node.entries().iter().filter(|entry| entry.value.is_block()) {
            let (key, value) = (layout.column(entry.key.start), layout.column(entry.value.start));
            let further = value.saturating_sub(key);
            match &entry.value.form {
                Form::Map { .. } => steps[further.min(8)] += 1,
                _ if further > 0 => inward += 1,
                _ => beside += 1,
            }
        }
        if json && let Some(first) = node.entries().first().filter(|first| layout.is_first_on_line(first.key.start)) {
            let further = layout
                .column(first.key.start)
                .saturating_sub(layout.text[layout.line_start(node.start)..].chars().take_while(|c| *c == ' ').count());
            steps[further.min(8)] += 1;
        }
    };
    layout.roots.iter().for_each(|root| root.each(&mut look));
    let step = (1..9).max_by_key(|step| (steps[*step], 9 - step)).filter(|step| steps[*step] > 0);
    Style { json, step: step.unwrap_or(2), lists_in: inward > beside }
}

struct Editor<'a> {
    layout: &'a Layout<'a>,
    style: Style,
}

impl Editor<'_> {
    fn edits(&self, place: Place<'_>, change: &Change) -> Vec<Vec<Splice>> {
        let node = place.node;
        match (&change.op, change.path.last()) {
            (Op::Set(new), _) => self.set(place, new),
            (Op::Add(new), Some(Step::Key(key))) => match &node.form {
                Form::Map { flow: true, entries } if !entries.is_empty() => {
                    self.flow_add(node, Some(key), entries.len(), new)
                }
                Form::Map { flow: false, .. } => vec![self.block_add(node, key, new)],
                _ => self.set(place, &Value::Object(Map::from_iter([(key.clone(), new.clone())]))),
            },
            (Op::Insert(new), Some(Step::Index(index))) => match &node.form {
                Form::List { flow: true, items } if !items.is_empty() => self.flow_add(node, None, *index, new),
                Form::List { flow: false, .. } => self.block_insert(node, *index, new),
                _ => self.set(place, &Value::Array(vec![new.clone()])),
            },
            (Op::Remove, _) => self.remove(place),
            _ => Vec::new(),
        }
    }

    /// Lines, so far in, with a line break before each.
    fn lines_below(&self, lines: Vec<String>, column: usize) -> String {
        let line_break = self.layout.line_break();
        write::indented(lines, column).into_iter().map(|line| format!("{line_break}{line}")).collect()
    }

    fn block_add(&self, map: &Node, key: &str, new: &Value) -> Vec<Splice> {
        let column = self.layout.column(map.start);
        let at = self.layout.eol(map.end);
        vec![(at..at, self.lines_below(write::entry(key, new, self.style), column))]
    }

    fn block_insert(&self, list: &Node, index: usize, new: &Value) -> Vec<Vec<Splice>> {
        let items = list.items();
        let column = self.layout.column(list.start);
        let gap = |item: &super::layout::Item| {
            let gap = item.value.whole.saturating_sub(item.dash + 1);
            let is_beside = self.layout.line_start(item.dash) == self.layout.line_start(item.value.whole);
            (is_beside && (1..=6).contains(&gap)).then_some(gap)
        };
        let gap = items.iter().find_map(gap).unwrap_or(1);
        let lines = write::item(new, gap, self.style);
        if let Some(before) = index.checked_sub(1).and_then(|before| items.get(before)) {
            let at = self.layout.eol(before.value.end);
            return vec![vec![(at..at, self.lines_below(lines, column))]];
        }
        let Some(first) = items.first() else { return Vec::new() };
        let line_break = self.layout.line_break();
        if self.layout.is_first_on_line(first.dash) {
            let at = self.layout.comments_above(first.dash).start;
            let text = write::indented(lines, column).into_iter().map(|line| format!("{line}{line_break}")).collect();
            return vec![vec![(at..at, text)]];
        }
        let text = self.lines_below(lines, column);
        let text = format!("{}{line_break}{}", text.trim_start(), " ".repeat(column));
        vec![vec![(first.dash..first.dash, text)]]
    }

    fn remove(&self, place: Place<'_>) -> Vec<Vec<Splice>> {
        let (holder, at) = match place.holder {
            Holder::Root => return Vec::new(),
            Holder::Entry(holder, at) | Holder::Item(holder, at) => (holder, at),
        };
        let count = holder.entries().len().max(holder.items().len());
        if count == 1 {
            return Vec::new();
        }
        if holder.is_flow() {
            return self.flow_remove(holder, at);
        }
        let start_of = |at: usize| match (holder.entries().get(at), holder.items().get(at)) {
            (Some(entry), _) => Some(entry.key.whole),
            (_, item) => item.map(|item| item.dash),
        };
        let Some(start) = start_of(at) else { return Vec::new() };
        let end = place.node.end;
        if self.layout.is_first_on_line(start) {
            // A file's first words are about all of it.
            let is_head = at == 0 && self.layout.roots.iter().any(|root| root.start == holder.start);
            let from = if is_head { self.layout.line_start(start) } else { self.layout.comments_above(start).start };
            return vec![vec![(from..self.layout.next_line(end), String::new())]];
        }
        let Some(next) = start_of(at + 1) else { return Vec::new() };
        let rest = self.layout.next_line(end)..next;
        if self.layout.text[rest.start.min(rest.end)..rest.end].trim().is_empty() {
            return vec![vec![(start..next, String::new())]];
        }
        // Comments between the two stay.
        let blanks = self.layout.text[..start].len() - self.layout.text[..start].trim_end_matches(' ').len();
        vec![vec![(start - blanks..self.layout.eol(end), String::new())]]
    }
}
