//! Where each part of a YAML or JSON text stands, byte for byte: values with their styles, keys, dashes, comments.

mod lines;

use crate::gitops::render::scalar;
use crate::gitops::render::spans::Position;
use granit_parser::{Event, Parser, ScalarStyle, Span, StructureStyle};
use std::collections::VecDeque;
use std::ops::Range;

pub struct Layout<'a> {
    pub text: &'a str,
    /// The documents' values.
    pub roots: Vec<Node>,
    /// What is written as scalars, keys and aliases, in order.
    words: Vec<Range<usize>>,
}

pub struct Node {
    /// Where its anchor or tag begins, if it has one, else where it does.
    pub whole: usize,
    /// Where the parser sees it: of a list in its key's column behind the first dash, of a block at its text.
    pub at: usize,
    pub start: usize,
    /// Of a block: the end of its last value, without the line's end.
    pub end: usize,
    pub form: Form,
    /// Its number in the document.
    pub anchor: Option<usize>,
}

pub enum Form {
    /// Nothing is written.
    Empty,
    Plain,
    Single,
    Double,
    /// `|` or `>`, where the node starts; its text is here.
    Block(Range<usize>),
    Alias(usize),
    Map {
        flow: bool,
        entries: Vec<Entry>,
    },
    List {
        flow: bool,
        items: Vec<Item>,
    },
}

pub struct Entry {
    /// `None`: entries of another map are merged here.
    pub name: Option<String>,
    pub key: Node,
    /// Right behind the colon.
    pub colon: usize,
    pub value: Node,
}

pub struct Item {
    /// Of a block.
    pub dash: usize,
    pub value: Node,
}

impl Node {
    pub fn entries(&self) -> &[Entry] {
        match &self.form {
            Form::Map { entries, .. } => entries,
            _ => &[],
        }
    }

    pub fn items(&self) -> &[Item] {
        match &self.form {
            Form::List { items, .. } => items,
            _ => &[],
        }
    }

    /// A map or list over lines of its own.
    pub fn is_block(&self) -> bool {
        matches!(self.form, Form::Map { flow: false, .. } | Form::List { flow: false, .. })
    }

    /// In braces or brackets.
    pub fn is_flow(&self) -> bool {
        matches!(self.form, Form::Map { flow: true, .. } | Form::List { flow: true, .. })
    }

    pub fn is_empty_collection(&self) -> bool {
        self.is_flow() && self.entries().is_empty() && self.items().is_empty()
    }

    /// It and all values in it, from the front.
    pub fn each<'n>(&'n self, visit: &mut impl FnMut(&'n Node)) {
        visit(self);
        self.entries().iter().for_each(|entry| entry.value.each(visit));
        self.items().iter().for_each(|item| item.value.each(visit));
    }
}

impl<'a> Layout<'a> {
    /// `None`: the text is not valid YAML.
    pub fn of(text: &'a str) -> Option<Self> {
        let options = granit_parser::options! { emit_comments: false, emit_anchor_events: true };
        let events = Parser::new_from_str_with_options(text, options).collect::<Result<VecDeque<_>, _>>().ok()?;
        let mut reader = Reader { text, events, words: Vec::new() };
        let mut roots = Vec::new();
        while let Some((event, span)) = reader.events.front() {
            match event {
                Event::StreamStart | Event::StreamEnd | Event::DocumentEnd | Event::DocumentStart(..) => {
                    reader.events.pop_front();
                }
                _ => {
                    let from = span.start.byte_offset()?;
                    roots.push(reader.node(from)?);
                }
            }
        }
        let mut words = reader.words;
        words.sort_by_key(|word| word.start);
        Some(Self { text, roots, words })
    }

    /// The byte of a line and a column.
    pub fn offset(&self, at: Position) -> Option<usize> {
        let (line, column) =
            (usize::try_from(at.line).ok()?.checked_sub(1)?, usize::try_from(at.column).ok()?.checked_sub(1)?);
        let before: usize = self.text.split_inclusive('\n').take(line).map(str::len).sum();
        let skipped: usize = self.text[before..].chars().take(column).map(char::len_utf8).sum();
        Some(before + skipped)
    }

    /// All comments, from the front.
    pub fn comments(&self) -> Vec<Range<usize>> {
        let mut found = Vec::new();
        let mut from = 0;
        let ends = self.words.iter().cloned().chain(std::iter::once(self.text.len()..self.text.len()));
        for word in ends {
            self.comments_in(from..word.start.max(from), &mut found);
            from = from.max(word.end);
        }
        found
    }

    fn comments_in(&self, gap: Range<usize>, found: &mut Vec<Range<usize>>) {
        let mut at = gap.start;
        while let Some(next) = self.text[at..gap.end].find('#') {
            let start = at + next;
            let is_apart = self.text[..start]
                .chars()
                .next_back()
                .is_none_or(|before| before.is_whitespace() || before == '\u{feff}');
            if is_apart {
                at = self.eol(start).min(gap.end.max(start + 1));
                found.push(start..self.eol(start));
            } else {
                at = start + 1;
            }
        }
    }
}

/// A block without the lines at its end that have nothing in them; `column` is that of its text.
fn without_blank_lines(mut raw: &str, column: usize) -> &str {
    loop {
        let (before, last) = raw.rsplit_once('\n').unwrap_or(("", raw));
        let is_blank = last.trim_end_matches('\r').chars().all(|c| c == ' ') && last.len() <= column;
        if before.is_empty() || !is_blank {
            return raw.trim_end_matches('\r');
        }
        raw = before;
    }
}

/// Of `!!str`, `!mine` or `!<tag:of,mine>`, which the text begins with.
fn tag_length(text: &str) -> usize {
    let end = if text.starts_with("!<") {
        text.find('>').map(|end| end + 1)
    } else {
        text.find(|c: char| c.is_whitespace() || ",[]{}".contains(c))
    };
    end.unwrap_or(text.len())
}

struct Reader<'a> {
    text: &'a str,
    events: VecDeque<(Event<'a>, Span)>,
    words: Vec<Range<usize>>,
}

impl Reader<'_> {
    /// The next value. `from`: where it may begin at the earliest.
    fn node(&mut self, from: usize) -> Option<Node> {
        let (event, span) = self.events.pop_front()?;
        let (mut start, mut end) = (span.start.byte_offset()?, span.end.byte_offset()?);
        let at = start;
        let mut whole = start;
        let mut behind = from;
        if let Some(tag) = span.tag_start.and_then(|tag| tag.byte_offset()) {
            whole = whole.min(tag);
            behind = behind.max(tag + tag_length(&self.text[tag..]));
        }
        let mut anchor = None;
        if let Some((Event::Anchor(number, _), place)) = self.events.front() {
            anchor = Some(*number);
            whole = whole.min(place.start.byte_offset()?);
            behind = behind.max(place.end.byte_offset()?);
            self.events.pop_front();
        }
        let form = match event {
            Event::Scalar(text, ScalarStyle::Plain, ..) if start == end && (text == "~" || text.is_empty()) => {
                (start, end) = (behind, behind);
                whole = if anchor.is_some() || whole < start { whole } else { start };
                Form::Empty
            }
            Event::Scalar(_, ScalarStyle::Literal | ScalarStyle::Folded, ..) => {
                // The parser goes on to what is next in line.
                let lines = self.text[start..end.max(start)].trim_end_matches(' ');
                let content = if lines.ends_with('\n') { start..start + lines.len() } else { start..end.max(start) };
                start = self.header(behind)?;
                whole = if whole == at { start } else { whole };
                // Of one without a text at the end of a file the parser tells the header instead.
                let content = if content.start <= start {
                    let line = self.text[start..].lines().next().unwrap_or_default().len();
                    start + line..content.end.max(start + line)
                } else {
                    content
                };
                self.words.push(content.clone());
                let raw = &self.text[start..content.end];
                let header = raw.lines().next().unwrap_or_default();
                end = if header.split('#').next().is_some_and(|header| header.contains('+')) {
                    let raw = raw.strip_suffix('\n').unwrap_or(raw);
                    start + raw.strip_suffix('\r').unwrap_or(raw).len()
                } else {
                    let column = content.start - self.text[..content.start].rfind('\n').map_or(0, |end| end + 1);
                    start + without_blank_lines(raw, column).len()
                };
                Form::Block(content)
            }
            Event::Scalar(_, style, ..) => {
                self.words.push(start..end);
                match style {
                    ScalarStyle::SingleQuoted => Form::Single,
                    ScalarStyle::DoubleQuoted => Form::Double,
                    _ => Form::Plain,
                }
            }
            Event::Alias(number) => {
                self.words.push(start..end);
                Form::Alias(number)
            }
            Event::SequenceStart(style, ..) => {
                let flow = style == StructureStyle::Flow;
                if !flow {
                    start = self.behind_blanks(behind);
                    whole = if whole == at { start } else { whole };
                }
                let (items, closed) = self.items(if flow { end } else { start }, flow)?;
                end = if flow { closed } else { items.last()?.value.end };
                Form::List { flow, items }
            }
            Event::MappingStart(style, ..) => {
                let flow = style == StructureStyle::Flow;
                let (entries, closed) = self.entries(start, end)?;
                end = if flow { closed } else { entries.last()?.value.end };
                Form::Map { flow, entries }
            }
            _ => return None,
        };
        Some(Node { whole, at, start, end, form, anchor })
    }

    fn items(&mut self, start: usize, flow: bool) -> Option<(Vec<Item>, usize)> {
        let mut items: Vec<Item> = Vec::new();
        let mut from = start;
        loop {
            if let Some((Event::SequenceEnd, span)) = self.events.front() {
                let closed = span.end.byte_offset()?;
                self.events.pop_front();
                return Some((items, closed));
            }
            let dash = if flow { from } else { self.behind_blanks(from) };
            if !flow && !self.text[dash..].starts_with('-') {
                return None;
            }
            let value = self.node(if flow { from } else { dash + 1 })?;
            from = value.end;
            items.push(Item { dash, value });
        }
    }

    fn entries(&mut self, start: usize, opened: usize) -> Option<(Vec<Entry>, usize)> {
        let mut entries = Vec::new();
        let mut from = start.max(opened);
        loop {
            if let Some((Event::MappingEnd, span)) = self.events.front() {
                let closed = span.end.byte_offset()?;
                self.events.pop_front();
                return Some((entries, closed));
            }
            let name = match &self.events.front()?.0 {
                Event::Scalar(text, ScalarStyle::Plain, _, None) if text == "<<" => None,
                Event::Scalar(text, ScalarStyle::Plain, _, None) => Some(
                    scalar::plain(text).ok().and_then(|value| scalar::key(&value)).unwrap_or_else(|| text.to_string()),
                ),
                Event::Scalar(text, ..) => Some(text.to_string()),
                _ => return None,
            };
            let key = self.node(from)?;
            let place = self.behind_blanks(key.end);
            let colon = if self.text[place..].starts_with(':') { place + 1 } else { key.end };
            let value = self.node(colon)?;
            from = value.end;
            entries.push(Entry { name, key, colon, value });
        }
    }

    /// The `|` or `>` of a block.
    fn header(&self, from: usize) -> Option<usize> {
        let at = self.behind_blanks(from);
        self.text[at..].starts_with(['|', '>']).then_some(at)
    }

    /// Behind white space, line ends and comments.
    fn behind_blanks(&self, mut at: usize) -> usize {
        loop {
            let rest = &self.text[at..];
            let skipped = rest.len() - rest.trim_start().len();
            at += skipped;
            let is_apart = skipped > 0 || self.text[..at].ends_with('\n');
            if !(is_apart && self.text[at..].starts_with('#')) {
                return at;
            }
            at += self.text[at..].find('\n').unwrap_or(self.text.len() - at);
        }
    }
}
