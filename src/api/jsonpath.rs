//! The JSONPath of printer columns and selectable fields: `.status.conditions[?(@.type=="Ready")].status`.
//! A small part of kubectl's: fields, indices, `[*]`, quoted names, filters that compare.

use serde_json::Value;

/// A parsed path.
#[derive(Debug, Clone, PartialEq)]
pub struct JsonPath(Vec<Step>);

#[derive(Debug, Clone, PartialEq)]
enum Step {
    Field(String),
    Index(i64),
    All,
    /// Anywhere below.
    Descent(String),
    /// Elements where a path below them compares so with a value.
    Filter(JsonPath, Option<(String, Value)>),
}

impl JsonPath {
    /// Reads a path without its braces; the error says what is not understood.
    pub fn parse(text: &str) -> Result<Self, String> {
        let mut rest = text.trim().strip_prefix('$').unwrap_or(text.trim());
        let mut steps = Vec::new();
        while !rest.is_empty() {
            let (step, after) = step(rest)?;
            steps.extend(step);
            rest = after;
        }
        Ok(Self(steps))
    }

    /// Everything the path leads to.
    pub fn find<'v>(&self, value: &'v Value) -> Vec<&'v Value> {
        let mut found = vec![value];
        for step in &self.0 {
            found = found.into_iter().flat_map(|value| step.of(value)).collect();
        }
        found
    }

    /// The field names of a path of fields alone.
    pub fn fields(&self) -> Option<Vec<&str>> {
        self.0.iter().map(|step| if let Step::Field(name) = step { Some(name.as_str()) } else { None }).collect()
    }
}

impl Step {
    fn of<'v>(&self, value: &'v Value) -> Vec<&'v Value> {
        match (self, value) {
            (Self::Field(name), Value::Object(fields)) => fields.get(name).into_iter().collect(),
            (Self::Index(index), Value::Array(list)) => {
                let at = if *index < 0 { list.len() as i64 + index } else { *index };
                usize::try_from(at).ok().and_then(|at| list.get(at)).into_iter().collect()
            }
            (Self::All, Value::Array(list)) => list.iter().collect(),
            (Self::All, Value::Object(fields)) => fields.values().collect(),
            (Self::Filter(path, wanted), Value::Array(list)) => {
                list.iter().filter(|item| passes(path, wanted.as_ref(), item)).collect()
            }
            (Self::Descent(name), value) => descend(name, value),
            _ => Vec::new(),
        }
    }
}

fn descend<'v>(name: &str, value: &'v Value) -> Vec<&'v Value> {
    let mut found = Vec::new();
    match value {
        Value::Object(fields) => {
            found.extend(fields.get(name));
            fields.values().for_each(|value| found.extend(descend(name, value)));
        }
        Value::Array(list) => list.iter().for_each(|value| found.extend(descend(name, value))),
        _ => {}
    }
    found
}

fn passes(path: &JsonPath, wanted: Option<&(String, Value)>, item: &Value) -> bool {
    let found = path.find(item);
    let Some((operator, wanted)) = wanted else { return !found.is_empty() };
    let Some(found) = found.first() else { return false };
    let order = match (found, wanted) {
        (Value::Number(a), Value::Number(b)) => a.as_f64().partial_cmp(&b.as_f64()),
        (Value::String(a), Value::String(b)) => Some(a.cmp(b)),
        (a, b) if *a == b => Some(std::cmp::Ordering::Equal),
        _ => None,
    };
    match operator.as_str() {
        "==" => order.is_some_and(|order| order.is_eq()),
        "!=" => !order.is_some_and(|order| order.is_eq()),
        "<" => order.is_some_and(|order| order.is_lt()),
        "<=" => order.is_some_and(|order| order.is_le()),
        ">" => order.is_some_and(|order| order.is_gt()),
        _ => order.is_some_and(|order| order.is_ge()),
    }
}

fn step(text: &str) -> Result<(Option<Step>, &str), String> {
    if let Some(rest) = text.strip_prefix("..") {
        let (name, rest) = name(rest)?;
        return Ok((Some(Step::Descent(name)), rest));
    }
    if let Some(rest) = text.strip_prefix(".*") {
        return Ok((Some(Step::All), rest));
    }
    if let Some(rest) = text.strip_prefix('.') {
        if rest.is_empty() || rest.starts_with('[') {
            return Ok((None, rest));
        }
        let (name, rest) = name(rest)?;
        return Ok((Some(Step::Field(name)), rest));
    }
    if text.starts_with('[') {
        let end = closing(text).ok_or_else(|| format!("unterminated array in {text:?}"))?;
        return Ok((Some(bracket(text[1..end].trim())?), &text[end + 1..]));
    }
    let (name, rest) = name(text)?;
    Ok((Some(Step::Field(name)), rest))
}

/// A field name up to the next step; a backslash escapes a dot.
fn name(text: &str) -> Result<(String, &str), String> {
    let mut name = String::new();
    let mut chars = text.char_indices();
    while let Some((at, c)) = chars.next() {
        match c {
            '\\' => name.extend(chars.next().map(|(_, c)| c)),
            '.' | '[' => return if name.is_empty() { Err(unreadable(text)) } else { Ok((name, &text[at..])) },
            '{' | '}' | '(' | ')' | ' ' | '|' => return Err(unreadable(text)),
            c => name.push(c),
        }
    }
    if name.is_empty() { Err(unreadable(text)) } else { Ok((name, "")) }
}

fn unreadable(text: &str) -> String {
    format!("unrecognized character in {text:?}")
}

/// Where the bracket that opens `text` closes.
fn closing(text: &str) -> Option<usize> {
    let (mut depth, mut quote) = (0, None);
    for (at, c) in text.char_indices() {
        match (quote, c) {
            (Some(open), c) if c == open => quote = None,
            (Some(_), _) => {}
            (None, '"' | '\'') => quote = Some(c),
            (None, '[') => depth += 1,
            (None, ']') => depth -= 1,
            _ => {}
        }
        if depth == 0 {
            return Some(at);
        }
    }
    None
}

fn bracket(inner: &str) -> Result<Step, String> {
    if inner == "*" {
        return Ok(Step::All);
    }
    if let Some(filter) = inner.strip_prefix("?(").and_then(|inner| inner.strip_suffix(')')) {
        return comparison(filter.trim());
    }
    if let Some(Value::String(name)) = literal(inner) {
        return Ok(Step::Field(name));
    }
    inner.parse().map(Step::Index).map_err(|_| format!("invalid array index {inner:?}"))
}

fn comparison(filter: &str) -> Result<Step, String> {
    let body = filter.strip_prefix('@').ok_or_else(|| format!("unrecognized filter {filter:?}"))?;
    for operator in ["==", "!=", "<=", ">=", "<", ">"] {
        if let Some((path, wanted)) = body.split_once(operator) {
            let wanted = literal(wanted.trim()).ok_or_else(|| format!("unrecognized value {wanted:?}"))?;
            return Ok(Step::Filter(JsonPath::parse(path.trim())?, Some((operator.into(), wanted))));
        }
    }
    Ok(Step::Filter(JsonPath::parse(body.trim())?, None))
}

fn literal(text: &str) -> Option<Value> {
    let quoted = |quote: char| text.strip_prefix(quote)?.strip_suffix(quote);
    if let Some(text) = quoted('\'').or_else(|| quoted('"')) {
        return Some(Value::String(text.replace("\\.", ".")));
    }
    serde_json::from_str(text).ok()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use serde_json::json;

    #[test]
    fn paths_lead_to_values() {
        let object = json!({"spec": {"a": 1, "list": [{"n": "x", "v": 1}, {"n": "y", "v": 2}]},
            "metadata": {"labels": {"app.io/x": "y"}}});
        let find = |path: &str| JsonPath::parse(path).unwrap().find(&object).into_iter().cloned().collect::<Vec<_>>();
        assert_eq!(find(".spec.a"), [json!(1)]);
        assert_eq!(find(".spec.list[1].n"), [json!("y")]);
        assert_eq!(find(".spec.list[-1].n"), [json!("y")]);
        assert_eq!(find(".spec.list[*].n"), [json!("x"), json!("y")]);
        assert_eq!(find(r#".spec.list[?(@.n=="y")].v"#), [json!(2)]);
        assert_eq!(find(".spec.list[?(@.v > 1)].n"), [json!("y")]);
        assert_eq!(find(r".metadata.labels.app\.io/x"), [json!("y")]);
        assert_eq!(find(".metadata.labels['app.io/x']"), [json!("y")]);
        assert_eq!(find("..v"), [json!(1), json!(2)]);
        assert!(find(".spec.none.at[3]").is_empty());
    }

    #[test]
    fn nonsense_is_refused() {
        for path in [".spec[", ".spec[x]", ".a{b}", ".spec[?(x)]"] {
            assert!(JsonPath::parse(path).is_err(), "{path}");
        }
    }
}
