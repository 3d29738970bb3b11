//! What kustomize does with the parts of a tree: finding, setting, and telling what a scalar is.
//!
//! Scalars are read as go-yaml v3 reads them into untyped values: `yes` and `on` are strings (for
//! Kubernetes they are booleans), `0o17` is an octal number, and dates are times.

use crate::gitops::render::scalar;
use crate::gitops::render::spans::{Children, Spans};
use crate::gitops::render::tree::{Body, Entry, Form, Node, Scalar};
use serde_json::{Map, Value};
use std::sync::Arc;

impl Scalar {
    pub fn plain(text: impl Into<Arc<str>>) -> Self {
        Self { text: text.into(), form: Form::Plain }
    }

    pub fn string(text: impl Into<Arc<str>>) -> Self {
        Self { text: text.into(), form: Form::Quoted }
    }

    /// The value in JSON, or why it has none.
    pub fn value(&self) -> Result<Value, String> {
        match &self.form {
            Form::Folded => Ok(Value::String(refolded(&self.text))),
            Form::Quoted | Form::Foreign => Ok(Value::String(self.text.to_string())),
            Form::Core(tag) => match scalar::tagged(tag, &self.text) {
                // What is a boolean for Kubernetes is none here.
                Ok(Value::Bool(_)) if !is_bool(&self.text) => Err(format!("cannot read {:?} as !!{tag}", self.text)),
                read => read,
            },
            Form::Plain if is_bool_of_yaml_1_1(&self.text) => Ok(Value::String(self.text.to_string())),
            Form::Plain => match time(&self.text) {
                Some(time) => Ok(Value::String(time)),
                None => scalar::plain(&self.text),
            },
        }
    }

    pub fn is_null(&self) -> bool {
        match &self.form {
            Form::Plain => matches!(&*self.text, "" | "~" | "null" | "Null" | "NULL"),
            Form::Core(tag) => &**tag == "null",
            Form::Quoted | Form::Folded | Form::Foreign => false,
        }
    }
}

/// What is left of a folded text after kustomize has written it down and read it again, as it does in between. It
/// writes each line break twice, but for those behind an indented line, or all of them where the first line is
/// indented; when it is read, breaks next to an indented line count as they are, and one less elsewhere.
fn refolded(text: &str) -> String {
    let indented = |line: &str| line.starts_with([' ', '\t']);
    let body = text.trim_end_matches('\n');
    let doubled = !(body.is_empty() || indented(body.trim_start_matches('\n')));
    let mut whole = String::new();
    let mut lines = body.split_inclusive('\n').peekable();
    let mut first = true;
    while let Some(line) = lines.next() {
        let line = line.trim_end_matches('\n');
        whole.push_str(line);
        let mut breaks = usize::from(lines.peek().is_some());
        while lines.next_if_eq(&"\n").is_some() {
            breaks += 1;
        }
        let Some(next) = lines.peek() else { break };
        let leading = std::mem::take(&mut first) && line.is_empty();
        let written = breaks + usize::from(doubled && !leading && !indented(line));
        let read = match leading || indented(line) || indented(next) {
            true => written,
            false => written - 1,
        };
        whole.push_str(if read == 0 { " " } else { "" });
        whole.extend(std::iter::repeat_n('\n', read));
    }
    let breaks = text.len() - body.len();
    let last_is_indented = body.rsplit('\n').next().is_some_and(indented);
    // One at the end is one at the end; more are kept as they are written.
    let more = breaks > 1 && doubled && !last_is_indented;
    whole.extend(std::iter::repeat_n('\n', breaks + usize::from(more)));
    whole
}

fn is_bool(text: &str) -> bool {
    matches!(text, "true" | "True" | "TRUE" | "false" | "False" | "FALSE")
}

fn is_bool_of_yaml_1_1(text: &str) -> bool {
    !is_bool(text) && matches!(scalar::plain(text), Ok(Value::Bool(_)))
}

/// A date or time in one of the forms that go-yaml knows, as Go's JSON encoder prints it.
pub fn time(text: &str) -> Option<String> {
    let bytes = text.as_bytes();
    if bytes.len() < 8 || !bytes[..4].iter().all(u8::is_ascii_digit) || bytes[4] != b'-' {
        return None;
    }
    let (date, rest) = match text.find(['T', 't', ' ']) {
        Some(at) => (&text[..at], Some((&text[at..=at], &text[at + 1..]))),
        None => (text, None),
    };
    let mut numbers = date.split('-').map(short_number);
    let (year, month, day) = (numbers.next()??, numbers.next()??, numbers.next()??);
    if numbers.next().is_some() {
        return None;
    }
    let date = jiff::civil::Date::new(i16::try_from(year).ok()?, month as i8, day as i8).ok()?;
    let Some((separator, clock)) = rest else { return Some(format!("{date}T00:00:00Z")) };
    let zoned = separator != " ";
    let zone_at = clock.find(['Z', '+', '-']);
    let (clock, zone) = match zone_at {
        Some(at) if zoned => (&clock[..at], &clock[at..]),
        None if !zoned => (clock, "Z"),
        _ => return None,
    };
    if zone != "Z" && !is_offset(zone) {
        return None;
    }
    let (clock, fraction) = clock.split_once('.').unwrap_or((clock, ""));
    let mut numbers = clock.split(':').map(short_number);
    let (hour, minute, second) = (numbers.next()??, numbers.next()??, numbers.next()??);
    let wrong = numbers.next().is_some() || hour > 23 || minute > 59 || second > 59;
    if wrong || !fraction.bytes().all(|byte| byte.is_ascii_digit()) || fraction.len() > 9 {
        return None;
    }
    let fraction = fraction.trim_end_matches('0');
    let dot = if fraction.is_empty() { "" } else { "." };
    let zone = if zone == "+00:00" || zone == "-00:00" { "Z" } else { zone };
    Some(format!("{date}T{hour:02}:{minute:02}:{second:02}{dot}{fraction}{zone}"))
}

/// `+02:00`
fn is_offset(zone: &str) -> bool {
    matches!(zone.as_bytes(), [b'+' | b'-', h, o, b':', m, n] if [h, o, m, n].iter().all(|byte| byte.is_ascii_digit()))
}

/// A number of a date, whose leading zeros may be left out.
fn short_number(digits: &str) -> Option<u16> {
    let fits = matches!(digits.len(), 1 | 2 | 4) && digits.bytes().all(|byte| byte.is_ascii_digit());
    digits.parse().ok().filter(|_| fits)
}

impl Entry {
    pub fn new(key: &str, value: Node) -> Self {
        Self { key: Scalar::string(key), at: value.at, value }
    }
}

impl Node {
    pub fn scalar(scalar: Scalar) -> Self {
        Self { body: Body::Scalar(scalar), ..Self::default() }
    }

    pub fn string(text: impl Into<Arc<str>>) -> Self {
        Self::scalar(Scalar::string(text))
    }

    pub fn map() -> Self {
        Self { body: Body::Map(Vec::new()), ..Self::default() }
    }

    /// A map of strings, whose keys differ.
    pub fn of_texts<K: AsRef<str>, V: AsRef<str>>(texts: impl IntoIterator<Item = (K, V)>) -> Self {
        let entry = |(key, text): (K, V)| Entry::new(key.as_ref(), Self::string(text.as_ref()));
        Self { body: Body::Map(texts.into_iter().map(entry).collect()), ..Self::default() }
    }

    pub fn list() -> Self {
        Self { body: Body::List(Vec::new()), ..Self::default() }
    }

    pub fn from_json(value: &Value) -> Self {
        let body = match value {
            Value::Null => Body::Scalar(Scalar::plain("null")),
            Value::Bool(flag) => Body::Scalar(Scalar::plain(flag.to_string())),
            Value::Number(number) => Body::Scalar(Scalar::plain(number.to_string())),
            Value::String(text) => Body::Scalar(Scalar::string(text.as_str())),
            Value::Array(items) => Body::List(items.iter().map(Self::from_json).collect()),
            Value::Object(map) => {
                Body::Map(map.iter().map(|(key, value)| Entry::new(key, Self::from_json(value))).collect())
            }
        };
        Self { body, ..Self::default() }
    }

    /// The values with their positions. Parts without one (from elsewhere, or generated) are left out of
    /// the spans, so that their parent is named instead.
    pub fn to_json(&self) -> Result<(Value, Spans), String> {
        let (value, children) = match &self.body {
            Body::Scalar(scalar) => (scalar.value()?, Children::None),
            Body::List(items) => {
                let read = items.iter().map(Self::to_json).collect::<Result<Vec<_>, _>>()?;
                let (values, spans) = read.into_iter().unzip();
                (Value::Array(values), Children::List(spans))
            }
            Body::Map(entries) => {
                let (mut map, mut spans) = (Map::new(), Vec::new());
                for Entry { key, at, value } in entries {
                    let (value, inner) = value.to_json()?;
                    map.insert(key.text.to_string(), value);
                    if at.line > 0 {
                        spans.push((key.text.clone(), *at, inner));
                    }
                }
                (Value::Object(map), Children::Map(spans))
            }
        };
        Ok((value, Spans { at: self.at, children }))
    }

    /// Makes it a value without a place: it goes into an object of another file.
    pub fn displaced(mut self) -> Self {
        self.forget_places();
        self
    }

    fn forget_places(&mut self) {
        self.at = Default::default();
        match &mut self.body {
            Body::Scalar(_) => {}
            Body::List(items) => items.iter_mut().for_each(Self::forget_places),
            Body::Map(entries) => {
                for entry in entries {
                    entry.at = Default::default();
                    entry.value.forget_places();
                }
            }
        }
    }

    pub fn is_null(&self) -> bool {
        matches!(&self.body, Body::Scalar(scalar) if scalar.is_null())
    }

    pub fn is_map(&self) -> bool {
        matches!(self.body, Body::Map(_))
    }

    /// Null, or a map or list without entries.
    pub fn is_empty(&self) -> bool {
        match &self.body {
            Body::Scalar(scalar) => scalar.is_null(),
            Body::List(items) => items.is_empty(),
            Body::Map(entries) => entries.is_empty(),
        }
    }

    pub fn kind_name(&self) -> &'static str {
        match &self.body {
            Body::Scalar(scalar) if scalar.is_null() => "nothing",
            Body::Scalar(_) => "a scalar",
            Body::List(_) => "a list",
            Body::Map(_) => "a map",
        }
    }

    /// The text of a scalar, whatever it means; empty for anything else.
    pub fn text(&self) -> &str {
        self.as_scalar().map_or("", |scalar| &scalar.text)
    }

    pub fn as_scalar(&self) -> Option<&Scalar> {
        match &self.body {
            Body::Scalar(scalar) => Some(scalar),
            _ => None,
        }
    }

    pub fn items(&self) -> &[Node] {
        match &self.body {
            Body::List(items) => items,
            _ => &[],
        }
    }

    pub fn entries(&self) -> &[Entry] {
        match &self.body {
            Body::Map(entries) => entries,
            _ => &[],
        }
    }

    pub fn get(&self, key: &str) -> Option<&Node> {
        self.entries().iter().find(|entry| &*entry.key.text == key).map(|entry| &entry.value)
    }

    pub fn get_mut(&mut self, key: &str) -> Option<&mut Node> {
        let Body::Map(entries) = &mut self.body else { return None };
        entries.iter_mut().find(|entry| &*entry.key.text == key).map(|entry| &mut entry.value)
    }

    /// The value of a path of keys.
    pub fn at_path(&self, path: &[&str]) -> Option<&Node> {
        path.iter().try_fold(self, |node, key| node.get(key))
    }

    /// Sets an entry of a map; anything but a map stays as it is.
    pub fn set(&mut self, key: &str, value: Node) {
        if let Some(old) = self.get_mut(key) {
            *old = value;
        } else if let Body::Map(entries) = &mut self.body {
            entries.push(Entry::new(key, value));
        }
    }

    pub fn remove(&mut self, key: &str) -> Option<Node> {
        let Body::Map(entries) = &mut self.body else { return None };
        let at = entries.iter().position(|entry| &*entry.key.text == key)?;
        Some(entries.remove(at).value)
    }

    /// The entry of a map, made as an empty map where there is none or null.
    pub fn make_map(&mut self, key: &str) -> Option<&mut Node> {
        if self.get(key).is_none_or(Node::is_null) {
            self.set(key, Self::map());
        }
        self.get_mut(key)
    }

    /// Gives a scalar another text. A plain one stays plain, and means what its new text says.
    pub fn set_text(&mut self, text: &str) {
        match &mut self.body {
            Body::Scalar(scalar) => scalar.text = text.into(),
            _ => self.body = Body::Scalar(Scalar::plain(text)),
        }
    }

    /// Makes it a string.
    pub fn set_string(&mut self, text: &str) {
        self.body = Body::Scalar(Scalar::string(text));
    }

    /// The entries of a map as texts.
    pub fn texts(&self) -> impl Iterator<Item = (&str, &str)> {
        self.entries().iter().map(|entry| (&*entry.key.text, entry.value.text()))
    }
}
