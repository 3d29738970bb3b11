//! A file's text with its encrypted values replaced where they stand: all lines stay where they are, so that
//! what is wrong in it is told by the lines of the file as people have it. Pure.

use crate::gitops::render::spans::Position;
use crate::gitops::render::tree::{Entry, Node};
use std::ops::Range;

pub struct Edits<'a> {
    text: &'a str,
    /// Where each line begins.
    lines: Vec<usize>,
    /// The place looked for last, and where it is: a line may be as long as the file, and hold all its values.
    last: (Position, usize),
    edits: Vec<(Range<usize>, String)>,
}

impl<'a> Edits<'a> {
    pub fn new(text: &'a str) -> Self {
        let ends = text.bytes().enumerate().filter(|(_, byte)| *byte == b'\n').map(|(at, _)| at + 1);
        let last = (Position { line: 1, column: 1 }, 0);
        Self { text, lines: std::iter::once(0).chain(ends).collect(), last, edits: Vec::new() }
    }

    /// Puts a literal in place of a scalar whose text is `old`, in quotes or not. `None`: it is written in another way.
    pub fn replace(&mut self, at: Position, old: &str, literal: String) -> Option<()> {
        let start = self.offset(at)?;
        let rest = &self.text[start..];
        let quote = ["\"", "'"].into_iter().find(|quote| rest.starts_with(quote)).unwrap_or_default();
        let inside = rest.strip_prefix(quote)?.strip_prefix(old)?;
        let after = inside.strip_prefix(quote)?;
        self.edits.push((start..start + rest.len() - after.len(), literal));
        Some(())
    }

    /// Takes an entry out of the map that is a whole document. `None`: it is written in another way.
    pub fn remove(&mut self, map: &Node, key: &str) -> Option<()> {
        let entries = map.entries();
        let index = entries.iter().position(|entry| &*entry.key.text == key)?;
        let start = self.offset(map.at)?;
        let range = if self.text[start..].starts_with('{') {
            self.in_braces(&entries[index])?
        } else {
            self.on_lines(&entries[index], entries.get(index + 1))?
        };
        let kept = self.text[range.clone()].chars().filter(|c| *c == '\n').collect();
        self.edits.push((range, kept));
        Some(())
    }

    /// From the entry's key to its value's end, with a comma next to it.
    fn in_braces(&mut self, entry: &Entry) -> Option<Range<usize>> {
        let (start, value) = (self.offset(entry.at)?, self.offset(entry.value.at)?);
        let end = value + length(&self.text[value..])?;
        let before = self.text[..start].trim_end();
        if before.ends_with(',') {
            return Some(before.len() - 1..end);
        }
        let after = self.text[end..].trim_start();
        let comma = after.strip_prefix(',').map(|rest| self.text.len() - rest.len());
        Some(start..comma.unwrap_or(end))
    }

    /// Whole lines, up to the next entry or the document's end.
    fn on_lines(&mut self, entry: &Entry, next: Option<&Entry>) -> Option<Range<usize>> {
        if entry.at.column != 1 {
            return None;
        }
        let first = usize::try_from(entry.at.line).ok()?;
        let start = *self.lines.get(first.checked_sub(1)?)?;
        let end = match next {
            Some(next) => self.offset(next.at)?,
            None => {
                let ends = |at: &&usize| ["---", "..."].iter().any(|mark| self.text[**at..].starts_with(mark));
                self.lines[first..].iter().find(ends).copied().unwrap_or(self.text.len())
            }
        };
        Some(start..end)
    }

    fn offset(&mut self, at: Position) -> Option<usize> {
        let (known, offset) = self.last;
        let (skipped, start) = if at.line == known.line && at.column >= known.column {
            (at.column - known.column, offset)
        } else {
            (at.column.checked_sub(1)?, *self.lines.get(usize::try_from(at.line).ok()?.checked_sub(1)?)?)
        };
        let rest = &self.text[start..];
        let mut places = rest.char_indices().map(|(inside, _)| inside).chain([rest.len()]);
        let found = start + places.nth(usize::try_from(skipped).ok()?)?;
        self.last = (at, found);
        Some(found)
    }

    /// `None`: what was to be replaced overlaps.
    pub fn finish(mut self) -> Option<String> {
        self.edits.sort_by_key(|(range, _)| range.start);
        let (mut text, mut at) = (String::with_capacity(self.text.len()), 0);
        for (range, new) in self.edits {
            text.push_str(self.text.get(at..range.start)?);
            text.push_str(&new);
            at = range.end;
        }
        text.push_str(self.text.get(at..)?);
        Some(text)
    }
}

/// Of the map or list in braces at the beginning of a text.
fn length(text: &str) -> Option<usize> {
    let (mut depth, mut quoted, mut escaped) = (0_usize, false, false);
    for (at, byte) in text.bytes().enumerate() {
        match byte {
            _ if escaped => escaped = false,
            b'\\' if quoted => escaped = true,
            b'"' => quoted = !quoted,
            _ if quoted => {}
            b'{' | b'[' => depth += 1,
            b'}' | b']' => {
                depth = depth.checked_sub(1)?;
                if depth == 0 {
                    return Some(at + 1);
                }
            }
            _ => {}
        }
    }
    None
}

/// A string as JSON and YAML both read it.
pub fn literal(text: &str) -> String {
    let mut written = String::with_capacity(text.len() + 2);
    written.push('"');
    for c in text.chars() {
        match c {
            '"' => written.push_str("\\\""),
            '\\' => written.push_str("\\\\"),
            '\n' => written.push_str("\\n"),
            '\r' => written.push_str("\\r"),
            '\t' => written.push_str("\\t"),
            // What YAML takes for an end of a line, or does not allow.
            '\0'..='\u{1f}' | '\u{7f}'..='\u{9f}' | '\u{2028}' | '\u{2029}' | '\u{feff}' => {
                written.push_str(&format!("\\u{:04x}", u32::from(c)));
            }
            c => written.push(c),
        }
    }
    written.push('"');
    written
}
