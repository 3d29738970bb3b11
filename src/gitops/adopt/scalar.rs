//! One scalar of a text replaced, in the style it was written in.

use crate::gitops::render::scalar::plain;
use serde_json::Value;
use std::ops::Range;

/// The text with `new` where `old` stands at this line and column, both counted from 1. `None`: what
/// stands there is not `old` on a single line.
pub fn replace(text: &str, (line, column): (u32, u32), old: &Value, new: &Value, is_json: bool) -> Option<String> {
    let range = find(text, line, column, old)?;
    let style = text[range.clone()].chars().next().filter(|first| matches!(first, '"' | '\''));
    let written = write(new, if is_json { Some('"') } else { style })?;
    Some(format!("{}{written}{}", &text[..range.start], &text[range.end..]))
}

fn find(text: &str, line: u32, column: u32, old: &Value) -> Option<Range<usize>> {
    let mark = text.len() - text.trim_start_matches('\u{feff}').len();
    let (line, column) = (usize::try_from(line).ok()?.checked_sub(1)?, usize::try_from(column).ok()?.checked_sub(1)?);
    let before: usize = text[mark..].split_inclusive('\n').take(line).map(str::len).sum();
    let rest = text[mark + before..].lines().next()?;
    let skipped: usize = rest.chars().take(column).map(char::len_utf8).sum();
    let (start, rest) = (mark + before + skipped, &rest[skipped..]);
    let length = match rest.chars().next()? {
        quote @ ('"' | '\'') => quoted(rest, quote)?,
        // Anchors, aliases, tags and blocks are not for a single place.
        '&' | '*' | '!' | '|' | '>' => return None,
        _ => unquoted(rest, old)?,
    };
    Some(start..start + length)
}

/// The length with both quotes.
fn quoted(rest: &str, quote: char) -> Option<usize> {
    let mut all = rest.char_indices().skip(1).peekable();
    while let Some((at, found)) = all.next() {
        if quote == '"' && found == '\\' {
            all.next();
        } else if found == quote {
            if quote == '\'' && all.peek().is_some_and(|(_, next)| *next == '\'') {
                all.next();
                continue;
            }
            return Some(at + 1);
        }
    }
    None
}

/// The shortest or whole part of the line that means `old`.
fn unquoted(rest: &str, old: &Value) -> Option<usize> {
    let ends = rest.char_indices().filter(|(_, found)| matches!(found, ',' | ']' | '}' | '#')).map(|(at, _)| at);
    let candidates = [rest.len()].into_iter().chain(ends);
    let lengths = candidates.map(|end| rest[..end].trim_end().len());
    lengths.into_iter().find(|length| plain(&rest[..*length]).is_ok_and(|value| value == *old))
}

fn write(new: &Value, style: Option<char>) -> Option<String> {
    let Value::String(text) = new else { return Some(new.to_string()) };
    let is_plain = |text: &str| {
        let safe = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '/' | ':' | '@' | '+' | '-');
        text.starts_with(|c: char| c.is_ascii_alphanumeric() || c == '/')
            && text.chars().all(safe)
            && !text.ends_with(':')
            && plain(text).is_ok_and(|value| value == text)
    };
    match style {
        Some('\'') => Some(format!("'{}'", text.replace('\'', "''"))),
        None if is_plain(text) => Some(text.clone()),
        _ => serde_json::to_string(text).ok(),
    }
}
