//! YAML as kustomize and kubectl print it: sigs.k8s.io/yaml over go-yaml v2. Keys in natural order, lists
//! at their key's indentation, quotes only where they are needed, long lines folded after column 80.

use super::kustomize::node::time;
use super::scalar;
use serde_json::{Map, Number, Value};
use std::cmp::Ordering;
use std::fmt::Write as _;

/// A line is folded at the next space behind this column.
const BEST_WIDTH: usize = 80;
/// Longer keys are written with `? `.
const SIMPLE_KEY: usize = 128;
const INDENT: usize = 2;

/// The documents, with `---` in between.
pub fn documents<'a>(values: impl IntoIterator<Item = &'a Value>) -> String {
    values.into_iter().map(document).collect::<Vec<_>>().join("---\n")
}

pub fn document(value: &Value) -> String {
    let mut printer = Printer::default();
    match value {
        Value::Object(map) if !map.is_empty() => printer.map(map, 0),
        Value::Array(items) if !items.is_empty() => printer.list(items, 0),
        other => printer.flat(other, 0),
    }
    printer.end_line();
    printer.out
}

#[derive(Default)]
struct Printer {
    out: String,
    /// Characters in the line so far.
    column: usize,
    /// A line break other than `\n` has just ended the line.
    broken: bool,
}

#[derive(Clone, Copy, PartialEq)]
enum Style {
    Plain,
    Single,
    Double,
    Literal,
}

impl Printer {
    fn put(&mut self, text: &str) {
        self.out.push_str(text);
        self.column += text.chars().count();
    }

    fn put_char(&mut self, c: char) {
        self.out.push(c);
        self.column += 1;
    }

    fn end_line(&mut self) {
        if !std::mem::take(&mut self.broken) {
            self.out.push('\n');
        }
    }

    fn line(&mut self, indent: usize) {
        self.end_line();
        self.column = 0;
        self.put(&" ".repeat(indent));
    }

    /// The first entry goes where the writer stands.
    fn map(&mut self, map: &Map<String, Value>, indent: usize) {
        let mut keys: Vec<&String> = map.keys().collect();
        keys.sort_by(|a, b| natural(a, b));
        for (at, key) in keys.into_iter().enumerate() {
            if at > 0 {
                self.line(indent);
            }
            let simple = key.len() <= SIMPLE_KEY && !Traits::of(key).multiline;
            if simple {
                self.string(key, indent, true);
                self.put_char(':');
            } else {
                self.put_char('?');
                self.put_char(' ');
                self.string(key, indent + INDENT, false);
                self.line(indent);
                self.put_char(':');
            }
            self.value(&map[key], indent, simple);
        }
    }

    /// What follows a colon.
    fn value(&mut self, value: &Value, indent: usize, simple: bool) {
        match value {
            Value::Object(map) if !map.is_empty() => {
                if simple {
                    self.line(indent + INDENT);
                } else {
                    self.put_char(' ');
                }
                self.map(map, indent + INDENT);
            }
            Value::Array(items) if !items.is_empty() => {
                if simple {
                    self.line(indent);
                    self.list(items, indent);
                } else {
                    self.put_char(' ');
                    self.list(items, indent + INDENT);
                }
            }
            other => {
                self.put_char(' ');
                self.flat(other, indent + INDENT);
            }
        }
    }

    fn list(&mut self, items: &[Value], indent: usize) {
        for (at, item) in items.iter().enumerate() {
            if at > 0 {
                self.line(indent);
            }
            self.put("- ");
            match item {
                Value::Object(map) if !map.is_empty() => self.map(map, indent + INDENT),
                Value::Array(items) if !items.is_empty() => self.list(items, indent + INDENT),
                other => self.flat(other, indent + INDENT),
            }
        }
    }

    /// A scalar or something empty. `indent` is that of lines that follow.
    fn flat(&mut self, value: &Value, indent: usize) {
        match value {
            Value::Null => self.put("null"),
            Value::Bool(flag) => self.put(if *flag { "true" } else { "false" }),
            Value::Number(number) => self.put(&go_number(number)),
            Value::String(text) => self.string(text, indent, false),
            Value::Array(_) => self.put("[]"),
            Value::Object(_) => self.put("{}"),
        }
    }

    fn string(&mut self, text: &str, indent: usize, key: bool) {
        match style(text, key) {
            Style::Plain => self.words(text, indent, !key, 0..text.len(), false),
            Style::Single => {
                self.put_char('\'');
                // A space at either end is no place to fold.
                self.words(text, indent, !key, 1..text.len().saturating_sub(1), true);
                self.put_char('\'');
            }
            Style::Double => self.double(text, indent, !key),
            Style::Literal => self.literal(text, indent),
        }
    }

    /// Text without escapes, folded at single spaces within `places`. Line breaks are doubled.
    fn words(&mut self, text: &str, indent: usize, fold: bool, places: std::ops::Range<usize>, quoted: bool) {
        let (mut spaces, mut breaks) = (false, false);
        let mut chars = text.char_indices().peekable();
        while let Some((at, c)) = chars.next() {
            let next_is_space = chars.peek().is_some_and(|(_, next)| *next == ' ');
            match c {
                ' ' => {
                    if fold && !spaces && self.column > BEST_WIDTH && places.contains(&at) && !next_is_space {
                        self.line(indent);
                    } else {
                        self.put_char(' ');
                    }
                    spaces = true;
                }
                _ if is_break(c) => {
                    if !breaks && c == '\n' {
                        self.out.push('\n');
                    }
                    self.out.push(c);
                    self.column = 0;
                    breaks = true;
                }
                _ => {
                    if breaks {
                        self.put(&" ".repeat(indent));
                    }
                    if quoted && c == '\'' {
                        self.put_char('\'');
                    }
                    self.put_char(c);
                    (spaces, breaks) = (false, false);
                }
            }
        }
    }

    fn double(&mut self, text: &str, indent: usize, fold: bool) {
        self.put_char('"');
        // Go looks for a byte order mark in the first place only, and then finds it in every place.
        let all = text.starts_with('\u{feff}');
        let mut spaces = false;
        let mut chars = text.char_indices().peekable();
        while let Some((at, c)) = chars.next() {
            if all || !is_printable(c) || is_break(c) || c == '"' || c == '\\' {
                self.escaped(c);
                spaces = false;
            } else if c == ' ' {
                let inside = at > 0 && at < text.len() - 1;
                if fold && !spaces && self.column > BEST_WIDTH && inside {
                    self.line(indent);
                    if chars.peek().is_some_and(|(_, next)| *next == ' ') {
                        self.put_char('\\');
                    }
                } else {
                    self.put_char(' ');
                }
                spaces = true;
            } else {
                self.put_char(c);
                spaces = false;
            }
        }
        self.put_char('"');
    }

    fn escaped(&mut self, c: char) {
        let short = match c {
            '\0' => '0',
            '\u{7}' => 'a',
            '\u{8}' => 'b',
            '\t' => 't',
            '\n' => 'n',
            '\u{b}' => 'v',
            '\u{c}' => 'f',
            '\r' => 'r',
            '\u{1b}' => 'e',
            '"' => '"',
            '\\' => '\\',
            '\u{85}' => 'N',
            '\u{a0}' => '_',
            '\u{2028}' => 'L',
            '\u{2029}' => 'P',
            _ => {
                let code = u32::from(c);
                let escaped = match code {
                    0..=0xff => format!("\\x{code:02X}"),
                    0x100..=0xffff => format!("\\u{code:04X}"),
                    _ => format!("\\U{code:08X}"),
                };
                return self.put(&escaped);
            }
        };
        self.put_char('\\');
        self.put_char(short);
    }

    fn literal(&mut self, text: &str, indent: usize) {
        self.put_char('|');
        if text.starts_with(' ') || text.starts_with(is_break) {
            let _ = write!(self.out, "{INDENT}");
        }
        let mut backwards = text.chars().rev();
        match backwards.next() {
            Some(last) if !is_break(last) => self.out.push('-'),
            _ if backwards.next().is_none_or(is_break) => self.out.push('+'),
            _ => {}
        }
        self.out.push('\n');
        let mut lines: Vec<&str> = text.split_inclusive(is_break).collect();
        // The line break that ends it is the one before whatever follows.
        if let Some(last) = lines.last_mut().filter(|last| last.ends_with('\n')) {
            *last = &last[..last.len() - 1];
        }
        self.broken = !text.ends_with('\n') && text.ends_with(is_break);
        for line in lines {
            if !line.is_empty() && !line.starts_with(is_break) {
                self.out.push_str(&" ".repeat(indent));
            }
            self.out.push_str(line);
        }
    }
}

/// Whether a text that stands for itself needs no quotes.
pub fn is_plain(text: &str) -> bool {
    style(text, false) == Style::Plain
}

fn style(text: &str, key: bool) -> Style {
    let traits = Traits::of(text);
    let wanted = if text.contains('\n') {
        Style::Literal
    } else if is_plain_string(text) && !(key && text == MERGE) {
        Style::Plain
    } else {
        Style::Double
    };
    let single = if traits.single { Style::Single } else { Style::Double };
    match wanted {
        _ if key && traits.multiline => Style::Double,
        Style::Plain if !traits.plain => single,
        Style::Literal if !traits.block || key => Style::Double,
        wanted => wanted,
    }
}

/// As a key it takes over the entries of its value.
const MERGE: &str = "<<";

/// Whether a string that is not quoted is read as a string again.
fn is_plain_string(text: &str) -> bool {
    let string = matches!(scalar::plain(text), Ok(Value::String(_))) && time(text).is_none();
    string && !is_base_60(text)
}

/// `[-+]?[0-9][0-9_]*(?::[0-5]?[0-9])+(?:\.[0-9_]*)?`: numbers of YAML 1.1 that go-yaml does not read,
/// but others do.
fn is_base_60(text: &str) -> bool {
    let unsigned = text.strip_prefix(['-', '+']).unwrap_or(text);
    let (whole, fraction) = unsigned.split_once('.').unwrap_or((unsigned, ""));
    let digits = |text: &str| text.bytes().all(|byte| byte.is_ascii_digit() || byte == b'_');
    let mut parts = whole.split(':');
    let Some(first) = parts.next().filter(|first| first.starts_with(|c: char| c.is_ascii_digit())) else {
        return false;
    };
    let mut rest = parts.peekable();
    let sixtieth = |part: &str| match part.as_bytes() {
        [one] => one.is_ascii_digit(),
        [ten, one] => (b'0'..=b'5').contains(ten) && one.is_ascii_digit(),
        _ => false,
    };
    digits(first) && digits(fraction) && rest.peek().is_some() && rest.all(sixtieth)
}

/// What a text allows, as libyaml sees it.
struct Traits {
    multiline: bool,
    plain: bool,
    single: bool,
    block: bool,
}

impl Traits {
    fn of(text: &str) -> Self {
        if text.is_empty() {
            return Self { multiline: false, plain: true, single: true, block: false };
        }
        let mut indicators = text.starts_with("---") || text.starts_with("...");
        let (mut line_breaks, mut special, mut break_space, mut space_break) = (false, false, false, false);
        let (mut after_space, mut after_break, mut after_blank) = (false, false, true);
        let mut chars = text.chars().peekable();
        let mut first = true;
        while let Some(c) = chars.next() {
            let before_blank = chars.peek().is_none_or(|next| matches!(next, ' ' | '\t'));
            indicators |= match c {
                '#' if first || after_blank => true,
                ':' => before_blank,
                '?' | '-' => first && before_blank,
                _ => first && ",[]{}&*!|>'\"%@`".contains(c),
            };
            special |= !is_printable(c);
            break_space |= c == ' ' && after_break;
            space_break |= is_break(c) && after_space;
            line_breaks |= is_break(c);
            (after_space, after_break) = (c == ' ', is_break(c));
            after_blank = matches!(c, ' ' | '\t') || is_break(c);
            first = false;
        }
        let edge = |c: char| c == ' ' || is_break(c);
        let edges = text.starts_with(edge) || text.ends_with(edge);
        let odd = space_break || special;
        Self {
            multiline: line_breaks,
            plain: !(edges || break_space || odd || line_breaks || indicators),
            single: !(break_space || odd),
            block: !(text.ends_with(' ') || odd),
        }
    }
}

fn is_break(c: char) -> bool {
    matches!(c, '\r' | '\n' | '\u{85}' | '\u{2028}' | '\u{2029}')
}

fn is_printable(c: char) -> bool {
    matches!(c, '\n' | ' '..='~' | '\u{a0}'..='\u{d7ff}' | '\u{e000}'..='\u{fffd}') && c != '\u{feff}'
}

/// Numbers within the text count as numbers, and letters come behind everything else.
fn natural(a: &str, b: &str) -> Ordering {
    let (a, b): (Vec<char>, Vec<char>) = (a.chars().collect(), b.chars().collect());
    for i in 0..a.len().min(b.len()) {
        if a[i] == b[i] {
            continue;
        }
        return match (a[i].is_alphabetic(), b[i].is_alphabetic()) {
            (true, true) => a[i].cmp(&b[i]),
            (false, true) => Ordering::Less,
            (true, false) => Ordering::Greater,
            (false, false) => {
                let within_number = (a[i] == '0' || b[i] == '0')
                    && a[..i].iter().rev().take_while(|c| c.is_ascii_digit()).any(|c| *c != '0');
                let (an, ai) = digits(&a, i, within_number);
                let (bn, bi) = digits(&b, i, within_number);
                an.cmp(&bn).then(ai.cmp(&bi)).then(a[i].cmp(&b[i]))
            }
        };
    }
    a.len().cmp(&b.len())
}

/// The number that stands at `from`, and where it ends.
fn digits(text: &[char], from: usize, within_number: bool) -> (i64, usize) {
    let mut value = i64::from(within_number);
    let mut at = from;
    while let Some(digit) = text.get(at).and_then(|c| c.to_digit(10)) {
        value = value.wrapping_mul(10).wrapping_add(i64::from(digit));
        at += 1;
    }
    (value, at)
}

/// Integers as they are, others as Go's `strconv.FormatFloat(f, 'g', -1, 64)`.
fn go_number(number: &Number) -> String {
    match number.as_f64().filter(|_| number.is_f64()) {
        Some(float) => go_float(float, number),
        None => number.to_string(),
    }
}

/// The shortest digits, with an exponent below 1e-4 and from 1e6 on. Whole numbers that fit into 64 bits
/// have become integers on their way through JSON.
fn go_float(float: f64, number: &Number) -> String {
    const U64_END: f64 = 18_446_744_073_709_551_616.0;
    if float.fract() == 0.0 && (-U64_END / 2.0..U64_END).contains(&float) {
        return format!("{float}");
    }
    // Of two that are as short and as near, Go and serde_json take the even one, the standard library does not.
    let text = number.to_string();
    let (sign, text) = text.strip_prefix('-').map_or(("", text.as_str()), |text| ("-", text));
    let (mantissa, power) = text.split_once('e').unwrap_or((text, "0"));
    let (whole, fraction) = mantissa.split_once('.').unwrap_or((mantissa, ""));
    let all = format!("{whole}{fraction}");
    let digits = all.trim_start_matches('0');
    let zeros = all.len() - digits.len();
    let power: i32 = power.parse().unwrap_or(0);
    let exponent = power + i32::try_from(whole.len()).unwrap_or(0) - i32::try_from(zeros).unwrap_or(0) - 1;
    let digits = digits.trim_end_matches('0');
    if (-4..6).contains(&exponent) {
        return format!("{float}");
    }
    let (first, rest) = digits.split_at(1.min(digits.len()));
    let dot = if rest.is_empty() { "" } else { "." };
    let minus = if exponent < 0 { '-' } else { '+' };
    format!("{sign}{first}{dot}{rest}e{minus}{:02}", exponent.abs())
}

#[cfg(test)]
mod tests;
