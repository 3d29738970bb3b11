//! Answers in YAML. Strings that YAML 1.1 readers would take for something else (times, numbers, `yes`)
//! are quoted, as Kubernetes' own writer does.

use serde_json::Value;
use std::fmt::Write;

/// A document, ending in a newline.
pub fn write(value: &Value) -> String {
    let mut out = String::new();
    block(&mut out, value, 0, false);
    out
}

/// A value on lines of its own; `inside`: what comes first goes on the line already begun.
fn block(out: &mut String, value: &Value, depth: usize, inside: bool) {
    match value {
        Value::Object(fields) if !fields.is_empty() => {
            for (index, (name, value)) in fields.iter().enumerate() {
                if index > 0 || !inside {
                    indent(out, depth);
                }
                let _ = write!(out, "{}:", scalar(name));
                match value {
                    // Lists in a map begin at the map's own depth.
                    Value::Array(items) if !items.is_empty() => {
                        out.push('\n');
                        block(out, value, depth, false);
                    }
                    Value::Object(fields) if !fields.is_empty() => {
                        out.push('\n');
                        block(out, value, depth + 1, false);
                    }
                    other => leaf(out, other, depth + 1),
                }
            }
        }
        Value::Array(items) if !items.is_empty() => {
            for (index, item) in items.iter().enumerate() {
                if index > 0 || !inside {
                    indent(out, depth);
                }
                match item {
                    Value::Object(_) | Value::Array(_) if !is_empty(item) => {
                        out.push_str("- ");
                        block(out, item, depth + 1, true);
                    }
                    other => {
                        out.push('-');
                        leaf(out, other, depth + 1);
                    }
                }
            }
        }
        other => {
            let _ = writeln!(out, "{}", inline(other));
        }
    }
}

fn is_empty(value: &Value) -> bool {
    value.as_object().is_some_and(serde_json::Map::is_empty) || value.as_array().is_some_and(Vec::is_empty)
}

fn indent(out: &mut String, depth: usize) {
    out.extend(std::iter::repeat_n("  ", depth));
}

/// A space and a value that fits behind a key; text of several lines as a block below it.
fn leaf(out: &mut String, value: &Value, depth: usize) {
    let lines = value.as_str().filter(|text| is_literal(text));
    let Some(text) = lines else {
        let _ = writeln!(out, " {}", inline(value));
        return;
    };
    let (body, mark) = match text.strip_suffix('\n') {
        Some(body) => (body, "|"),
        None => (text, "|-"),
    };
    let _ = writeln!(out, " {mark}");
    for line in body.split('\n') {
        if !line.is_empty() {
            indent(out, depth);
            out.push_str(line);
        }
        out.push('\n');
    }
}

/// Text that a literal block keeps as it is.
fn is_literal(text: &str) -> bool {
    let body = text.strip_suffix('\n').unwrap_or(text);
    body.contains('\n')
        && !body.starts_with([' ', '\n'])
        && !body.ends_with('\n')
        && body.chars().all(|c| c == '\n' || c == '\t' || !c.is_control() && c != '\u{feff}' && c != '\u{85}')
}

fn inline(value: &Value) -> String {
    match value {
        Value::String(text) => scalar(text),
        Value::Object(_) => "{}".into(),
        Value::Array(_) => "[]".into(),
        other => other.to_string(),
    }
}

fn scalar(text: &str) -> String {
    if is_plain(text) { text.to_string() } else { Value::from(text).to_string() }
}

/// Text that every reader takes for a string without quotes.
fn is_plain(text: &str) -> bool {
    const WORDS: [&str; 12] = ["null", "true", "false", "yes", "no", "on", "off", "y", "n", "~", "<<", "="];
    let Some(first) = text.chars().next() else { return false };
    // Numbers, times and merge keys begin with none of these.
    (first.is_ascii_alphabetic() || matches!(first, '/' | '_' | '$'))
        && !WORDS.contains(&text.to_ascii_lowercase().as_str())
        && text.chars().all(|c| c.is_ascii_graphic() || c == ' ')
        && !text.contains([':', '#']) | text.chars().all(|c| c != ' ' && c != '#') & !text.ends_with(':')
        && !text.ends_with(' ')
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use serde_json::json;

    #[test]
    fn what_looks_like_something_else_is_quoted() {
        let value = json!({"a": "2026-01-01T00:00:00Z", "b": ["1", "x y", {"c": [], "d": {"e": "yes"}}], "f": "a\nb\n",
            "i": "nginx:1.2", "k": "a: b", "m": {}, "nil": null, "t": true, "v": 1.5, "0x": "#x"});
        let expected = "\"0x\": \"#x\"\na: \"2026-01-01T00:00:00Z\"\nb:\n- \"1\"\n- x y\n- c: []\n  d:\n    e: \"yes\"\nf: |\n  a\n  b\ni: nginx:1.2\nk: \"a: b\"\nm: {}\nnil: null\nt: true\nv: 1.5\n";
        assert_eq!(write(&value), expected);
        assert_eq!(serde_saphyr::from_str::<Value>(expected).unwrap(), value);
    }

    #[test]
    fn any_text_comes_back() {
        for text in [
            "", " ", "-", "- a", "a #b", "a:", "é", "\t", "\n", "a\n\nb", " a\nb", "1e3", "0o7", ".5", "[x]", "*a",
            "@", "%", "|", "'", "\"", "No", "a\u{0}b",
        ] {
            let value = json!({"k": text, "l": [text]});
            assert_eq!(serde_saphyr::from_str::<Value>(&write(&value)).unwrap(), value, "{text:?}");
        }
    }
}
