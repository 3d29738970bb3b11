//! INI files, as SOPS reads and writes them: sections of names and values, the last one of them the metadata. Pure.

use super::cipher::Plain;
use super::dotenv::{flat, text_of};
use super::keys::Keys;
use super::values::Values;
use super::{CHANGED, wrong};
use crate::gitops::render::RenderError;
use crate::gitops::render::spans::Position;
use std::sync::Arc;

/// The section of the metadata.
const SECTION: &str = "sops";
/// What SOPS calls that of the names before the first one.
const DEFAULT: &str = "DEFAULT";

/// Whether SOPS encrypted the file. It indents nothing: what does only holds such a file.
pub fn is_encrypted(text: &str) -> bool {
    let unindented = text.lines().filter(|line| !line.starts_with([' ', '\t']));
    let mut inside = false;
    unindented.map(read).any(|line| match line {
        Line::Section(name) => {
            inside = name == SECTION;
            false
        }
        Line::Pair { name: "mac", value, .. } => inside && value.starts_with("ENC["),
        _ => false,
    })
}

/// The same lines with the values that were encrypted, without the metadata.
pub fn decrypt(file: &Arc<str>, text: &str, keys: &Keys) -> Result<String, RenderError> {
    let own = |(_, section, line): &(u32, &str, Line<'_>)| *section == SECTION && matches!(line, Line::Pair { .. });
    let pairs = lines(text).filter(own).filter_map(|(_, _, line)| match line {
        Line::Pair { name, value, .. } => Some((name, value)),
        _ => None,
    });
    let first = lines(text).find(|(_, section, _)| *section == SECTION).map_or(0, |(number, ..)| number);
    let refused = |why: String| {
        let at = Position { line: first, column: 1 };
        wrong(file, at, format!("the file is encrypted with SOPS: {why}"))
    };
    let mut values = Values::new(&flat(pairs), keys).map_err(refused)?;
    let mut decrypted = String::with_capacity(text.len());
    for (number, section, line) in lines(text).filter(|(_, section, _)| *section != SECTION) {
        let here = |why: &str| wrong(file, Position { line: number, column: 1 }, why);
        match line {
            Line::Comment { mark, text } => {
                let plain = values.comment(&[section], text).map(String::from_utf8).transpose();
                let plain = plain.map_err(|_| here("the comment is not text"))?;
                decrypted.push_str(&format!("{mark}{}", plain.as_deref().unwrap_or(text)));
            }
            Line::Pair { head, name, value } => {
                let value = literal(value).ok_or_else(|| {
                    here(&format!("the value of {name} goes over several lines, which is not supported"))
                })?;
                let opened = open(&mut values, section, name, value);
                let opened = opened.map_err(|why| here(&format!("the value of {section}.{name} {why}")))?;
                decrypted.push_str(head);
                decrypted.push_str(&written(opened.as_deref().unwrap_or(value)));
            }
            Line::Section(name) => decrypted.push_str(&format!("[{name}]")),
            Line::Empty => {}
            Line::Other => return Err(here("the line is not NAME = VALUE")),
        }
        decrypted.push('\n');
    }
    values.check().map_err(|why| refused(why.to_owned()).hint(CHANGED))?;
    let length = decrypted.trim_end_matches('\n').len();
    decrypted.truncate(length);
    decrypted.push('\n');
    Ok(decrypted)
}

fn open(values: &mut Values, section: &str, name: &str, value: &str) -> Result<Option<String>, &'static str> {
    let matches = values.matches(section) || values.matches(name);
    let plain: Option<Plain> = values.open(&[section, name], matches, value, || Ok(value.as_bytes().to_vec()))?;
    plain.map(text_of).transpose()
}

enum Line<'a> {
    Empty,
    /// `mark`: up to its text.
    Comment {
        mark: &'a str,
        text: &'a str,
    },
    Section(&'a str),
    /// `head`: up to its value.
    Pair {
        head: &'a str,
        name: &'a str,
        value: &'a str,
    },
    Other,
}

/// Each with its number, and the section that it is in; the line that begins one is in it.
fn lines(text: &str) -> impl Iterator<Item = (u32, &str, Line<'_>)> {
    let mut section = DEFAULT;
    text.lines().zip(1..).map(move |(line, number)| {
        let line = read(line);
        if let Line::Section(name) = line {
            section = name;
        }
        (number, section, line)
    })
}

fn read(line: &str) -> Line<'_> {
    let trimmed = line.trim();
    if trimmed.is_empty() {
        return Line::Empty;
    }
    let head = |rest: &str| &line[..line.trim_end().len() - rest.len()];
    if trimmed.starts_with([';', '#']) {
        let text = trimmed.trim_start_matches(&trimmed[..1]).trim_start_matches([' ', ';', '#']);
        return Line::Comment { mark: head(text), text };
    }
    if let Some(name) = trimmed.strip_prefix('[') {
        return name.strip_suffix(']').map_or(Line::Other, |name| Line::Section(name.trim()));
    }
    let quote = ["\"\"\"", "\"", "`"].into_iter().find(|quote| trimmed.starts_with(quote)).unwrap_or_default();
    let inside = &trimmed[quote.len()..];
    let found = if quote.is_empty() {
        inside.find(['=', ':']).map(|end| (end, end))
    } else {
        inside.find(quote).and_then(|end| {
            let after = end + quote.len();
            Some((end, after + inside[after..].find(['=', ':'])?))
        })
    };
    let Some((end, sign)) = found else { return Line::Other };
    let (name, value) = (inside[..end].trim(), inside[sign + 1..].trim());
    Line::Pair { head: head(value), name, value }
}

/// A value without its quotes, and without a comment after it. `None`: it does not end on its line.
fn literal(value: &str) -> Option<&str> {
    for quote in ["\"\"\"", "`"] {
        if let Some(inside) = value.strip_prefix(quote) {
            return inside.rfind(quote).map(|end| &inside[..end]);
        }
    }
    if value.ends_with('\\') {
        return None;
    }
    let value = value.find(['#', ';']).map_or(value, |end| value[..end].trim_end());
    let quoted = ["'", "\""].into_iter().find_map(|quote| value.strip_prefix(quote)?.strip_suffix(quote));
    Some(quoted.unwrap_or(value))
}

/// With the quotes that it takes.
fn written(value: &str) -> String {
    let quote = match value {
        value if value.contains(['\n', '`']) => "\"\"\"",
        value if value.contains(['#', ';']) => "`",
        value if value.trim().len() != value.len() => "\"",
        _ => "",
    };
    format!("{quote}{value}{quote}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_read_as_they_are_written() {
        for value in ["plain", "a;b#c", " space ", "", "a = b", "it's"] {
            assert_eq!(literal(&written(value)), Some(value), "{value:?}");
        }
        assert_eq!(written("two\nlines"), "\"\"\"two\nlines\"\"\"");
        assert_eq!(literal("\"quoted\" ; why"), Some("quoted"));
        assert_eq!((literal("goes on \\"), literal("\"\"\"goes on")), (None, None));
    }

    #[test]
    fn lines_are_told_apart() {
        let pair = |line| match read(line) {
            Line::Pair { head, name, value } => (head, name, value),
            _ => panic!("{line}"),
        };
        assert_eq!(pair("name   = some = value "), ("name   = ", "name", "some = value"));
        assert_eq!(pair("  `a:b` : c"), ("  `a:b` : ", "a:b", "c"));
        assert_eq!(pair("empty ="), ("empty =", "empty", ""));
        assert!(matches!(read("  # ; why"), Line::Comment { mark: "  # ; ", text: "why" }));
        assert!(matches!(read(" [db] "), Line::Section("db")));
        assert!(matches!((read("["), read("word"), read("`open")), (Line::Other, Line::Other, Line::Other)));
    }
}
