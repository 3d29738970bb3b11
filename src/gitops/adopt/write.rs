//! Values as text: in a line, over lines, and in the style of what was there.

use crate::gitops::render::print::is_plain;
use crate::gitops::render::scalar::plain;
use serde_json::{Map, Value};

/// How a file is written.
#[derive(Clone, Copy)]
pub struct Style {
    pub json: bool,
    /// Columns that a map stands further in than what holds it.
    pub step: usize,
    /// Lists stand further in than their keys, too.
    pub lists_in: bool,
}

/// A string that a block shows better than quotes do.
pub fn is_text(value: &Value) -> bool {
    value.as_str().is_some_and(|text| text.contains('\n') && literal(text).is_some())
}

pub fn is_nested(value: &Value) -> bool {
    match value {
        Value::Object(map) => !map.is_empty(),
        Value::Array(list) => !list.is_empty(),
        _ => false,
    }
}

/// One line, in the quotes that are given if it is a string.
pub fn scalar(value: &Value, quote: Option<char>) -> String {
    let Value::String(text) = value else { return value.to_string() };
    match quote {
        Some('\'') if !text.contains(|c: char| c.is_control() || !is_shown(c)) => {
            format!("'{}'", text.replace('\'', "''"))
        }
        None if stands_for_itself(text) => text.clone(),
        _ => double(text),
    }
}

/// Between braces, brackets and colons, too.
fn stands_for_itself(text: &str) -> bool {
    let safe = |c: char| c.is_alphanumeric() || " ._/:@+-=()~%$^;<>?!&*|".contains(c);
    text.starts_with(|c: char| c.is_alphanumeric() || "._/-+$(~".contains(c))
        && text.chars().all(safe)
        && text != "<<"
        && is_plain(text)
        && plain(text).is_ok_and(|value| value == text)
}

fn is_shown(c: char) -> bool {
    !c.is_control()
        && !matches!(c, '\u{7f}'..='\u{9f}' | '\u{2028}' | '\u{2029}' | '\u{feff}' | '\u{fffe}' | '\u{ffff}')
}

fn double(text: &str) -> String {
    let escaped = Value::String(text.to_owned()).to_string();
    let shown = |c: char| if is_shown(c) { c.to_string() } else { format!("\\u{:04x}", u32::from(c)) };
    escaped.chars().map(shown).collect()
}

/// All of a value in a line, as in `{a: 1, b: [x]}`.
pub fn flow(value: &Value, json: bool) -> String {
    let word = |text: &str| scalar(&Value::from(text), json.then_some('"'));
    match value {
        Value::Object(map) => {
            let pairs: Vec<_> =
                in_order(map).map(|(key, value)| format!("{}: {}", word(key), flow(value, json))).collect();
            format!("{{{}}}", pairs.join(", "))
        }
        Value::Array(items) => {
            format!("[{}]", items.iter().map(|item| flow(item, json)).collect::<Vec<_>>().join(", "))
        }
        Value::String(text) => word(text),
        other => other.to_string(),
    }
}

/// JSON over lines; those after the first are further in by `indent`.
pub fn json_lines(value: &Value, indent: usize, step: usize) -> String {
    let by = " ".repeat(step);
    let mut out = Vec::new();
    let formatter = serde_json::ser::PrettyFormatter::with_indent(by.as_bytes());
    let mut serializer = serde_json::Serializer::with_formatter(&mut out, formatter);
    let written = serde::Serialize::serialize(value, &mut serializer).is_ok();
    let text = String::from_utf8(out).ok().filter(|_| written).unwrap_or_else(|| value.to_string());
    text.replace('\n', &format!("\n{}", " ".repeat(indent)))
}

/// The lines of a map or list that is not empty, the first column being 0.
pub fn block(value: &Value, style: Style) -> Vec<String> {
    let mut lines = Vec::new();
    match value {
        Value::Object(map) => {
            for (key, value) in in_order(map) {
                lines.extend(entry(key, value, style));
            }
        }
        Value::Array(items) => items.iter().for_each(|value| lines.extend(item(value, 1, style))),
        other => lines.push(scalar(other, None)),
    }
    lines
}

/// The lines of `key: value`.
pub fn entry(key: &str, value: &Value, style: Style) -> Vec<String> {
    let key = scalar(&Value::from(key), None);
    if is_nested(value) {
        let by = if value.is_object() || style.lists_in { style.step } else { 0 };
        return [format!("{key}:")].into_iter().chain(indented(block(value, style), by)).collect();
    }
    if let Some((header, lines)) = closed(value) {
        let header = header.written(style.step);
        return [format!("{key}: {header}")].into_iter().chain(indented(lines, style.step)).collect();
    }
    vec![format!("{key}: {}", flow(value, false))]
}

/// The lines of `- value`, with so many blanks behind the dash.
pub fn item(value: &Value, gap: usize, style: Style) -> Vec<String> {
    let dash = format!("-{}", " ".repeat(gap));
    let mut lines = if is_nested(value) {
        block(value, style)
    } else if let Some((header, lines)) = closed(value) {
        [header.written(gap + 1)].into_iter().chain(lines).collect()
    } else {
        vec![flow(value, false)]
    };
    let first = format!("{dash}{}", lines.remove(0));
    [first].into_iter().chain(indented(lines, gap + 1)).collect()
}

/// Lines further in; those with nothing in them stay empty.
pub fn indented(lines: Vec<String>, by: usize) -> Vec<String> {
    let put = |line: String| if line.is_empty() { line } else { format!("{}{line}", " ".repeat(by)) };
    lines.into_iter().map(put).collect()
}

/// What follows `|` or `>`.
#[derive(Clone, Copy)]
pub struct Header {
    pub folded: bool,
    /// The text begins with a blank, so that its column must be told.
    pub told: bool,
    pub chomping: &'static str,
}

impl Header {
    /// `step`: how much further in the text is.
    pub fn written(self, step: usize) -> String {
        let sign = if self.folded { '>' } else { '|' };
        let told = if self.told { step.to_string() } else { String::new() };
        format!("{sign}{told}{}", self.chomping)
    }
}

/// A string as a block; `None` for one that none can show.
pub fn literal(text: &str) -> Option<(Header, Vec<String>)> {
    let shown = |c: char| c == '\n' || c == '\t' || is_shown(c);
    // A last line of blanks would not be seen.
    let ends_in_blanks = text.trim_end_matches('\n').rsplit('\n').next().is_some_and(|last| last.trim().is_empty());
    if ends_in_blanks || !text.chars().all(shown) {
        return None;
    }
    let chomping = match text.strip_suffix('\n') {
        None => "-",
        Some(rest) if rest.ends_with('\n') => "+",
        Some(_) => "",
    };
    let lines: Vec<String> = text.strip_suffix('\n').unwrap_or(text).split('\n').map(str::to_owned).collect();
    let told = text.trim_start_matches('\n').starts_with([' ', '\t']) || text.starts_with('\n');
    Some((Header { folded: false, told, chomping }, lines))
}

/// A text as a block that ends by itself: others would take blank lines that follow for their own.
fn closed(value: &Value) -> Option<(Header, Vec<String>)> {
    value.as_str().filter(|_| is_text(value)).and_then(literal).filter(|(header, _)| header.chomping != "+")
}

/// A string as a folded block, no line wider than `width` where it can be helped.
pub fn folded(text: &str, width: usize) -> Option<(Header, Vec<String>)> {
    let (header, literal) = literal(text)?;
    if literal.iter().any(|line| line.starts_with([' ', '\t']) || line.ends_with([' ', '\t'])) || header.chomping == "+"
    {
        return None;
    }
    let mut lines = Vec::new();
    for (index, line) in literal.iter().enumerate() {
        if index > 0 && !line.is_empty() && !literal[index - 1].is_empty() {
            lines.push(String::new());
        }
        if line.is_empty() {
            // The first of some blank lines ends the line before.
            if index > 0 && !literal[index - 1].is_empty() {
                lines.push(String::new());
            }
            lines.push(String::new());
            continue;
        }
        lines.extend(wrapped(line, width));
    }
    Some((Header { folded: true, ..header }, lines))
}

/// Broken at single blanks.
fn wrapped(line: &str, width: usize) -> Vec<String> {
    let mut lines = vec![String::new()];
    let mut after_blank = false;
    for word in line.split(' ') {
        let last = lines.len() - 1;
        let here = &mut lines[last];
        let wide = here.chars().count() + 1 + word.chars().count() > width;
        if here.is_empty() && !after_blank {
            here.push_str(word);
        } else if wide && !word.is_empty() && !here.ends_with(' ') && !after_blank {
            lines.push(word.to_owned());
        } else {
            here.push(' ');
            here.push_str(word);
        }
        after_blank = word.is_empty();
    }
    lines
}

/// What people put first comes first.
fn in_order(map: &Map<String, Value>) -> impl Iterator<Item = (&String, &Value)> {
    let first = |key: &str| matches!(key, "name" | "apiVersion");
    let (front, back): (Vec<_>, Vec<_>) = map.iter().partition(|(key, _)| first(key));
    front.into_iter().chain(back)
}
