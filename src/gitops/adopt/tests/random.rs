//! Any manifest, in any style, with comments all over it, and any live change of it: the file then says what is live,
//! and every comment whose place is still there is still there.

use super::super::write;
use super::*;
use proptest::prelude::*;
use serde_json::Map;

/// Numbers that decide one thing after the other.
struct Choices(std::vec::IntoIter<u8>);

impl Choices {
    fn of(&mut self, count: u8) -> u8 {
        self.0.next().unwrap_or(1) % count
    }
}

fn scalar() -> impl Strategy<Value = Value> {
    prop_oneof![
        4 => "[a-z]{1,6}( [a-z]{1,4})?".prop_map(Value::from),
        2 => "[ -~]{0,10}".prop_map(Value::from),
        1 => "[a-z#:,\\[\\]{}'\" äß&*!|>-]{1,8}".prop_map(Value::from),
        2 => "([a-z #:-]{0,8}\n){1,4}[a-z ]{0,4}".prop_map(Value::from),
        2 => any::<i32>().prop_map(Value::from),
        1 => any::<bool>().prop_map(Value::from),
        1 => Just(Value::Null),
    ]
}

fn value() -> impl Strategy<Value = Value> {
    scalar().prop_recursive(4, 40, 4, |inner| {
        let map = prop::collection::btree_map("[a-e]", inner.clone(), 0..4);
        let maps = map.clone().prop_map(|map| map.into_iter().collect::<Value>());
        let keyed = prop::collection::btree_map("[p-u]", map, 1..4).prop_map(|named| {
            let item = |(name, mut map): (String, std::collections::BTreeMap<String, Value>)| {
                map.insert("name".to_owned(), name.into());
                map.into_iter().collect::<Value>()
            };
            Value::Array(named.into_iter().map(item).collect())
        });
        prop_oneof![3 => maps, 2 => keyed, 1 => prop::collection::vec(inner, 0..4).prop_map(Value::Array)]
    })
}

fn top() -> impl Strategy<Value = Value> {
    prop::collection::btree_map("[a-h]", value(), 1..6).prop_map(|map| map.into_iter().collect())
}

/// Names of the entries, if they are told apart by them.
fn names(list: &[Value]) -> Option<Vec<String>> {
    let names: Vec<String> = list.iter().map(|item| item.get("name").map(Value::to_string)).collect::<Option<_>>()?;
    let mut sorted = names.clone();
    sorted.sort();
    sorted.dedup();
    (sorted.len() == names.len()).then_some(names)
}

/// Something else in some places.
fn changed(value: &Value, choices: &mut Choices, pool: &[Value]) -> Value {
    let other = |choices: &mut Choices| pool[usize::from(choices.of(8)) % pool.len()].clone();
    match value {
        Value::Object(map) => {
            let mut new = Map::new();
            for (key, value) in map {
                match choices.of(6) {
                    0 if key != "name" => {}
                    1 if key != "name" => drop(new.insert(key.clone(), other(choices))),
                    2 | 3 if key != "name" => drop(new.insert(key.clone(), changed(value, choices, pool))),
                    _ => drop(new.insert(key.clone(), value.clone())),
                }
            }
            if choices.of(3) == 0 {
                new.insert("new".to_owned(), other(choices));
            }
            Value::Object(new)
        }
        Value::Array(list) => {
            let keyed = names(list).is_some() && !list.is_empty();
            let mut new = Vec::new();
            for (index, item) in list.iter().enumerate() {
                if choices.of(5) == 0 {
                    let fresh =
                        if keyed { json!({"name": format!("n{index}"), "v": other(choices)}) } else { other(choices) };
                    new.push(fresh);
                }
                match choices.of(5) {
                    0 => {}
                    1 | 2 => new.push(changed(item, choices, pool)),
                    _ => new.push(item.clone()),
                }
            }
            Value::Array(new)
        }
        _ if choices.of(2) == 0 => other(choices),
        same => same.clone(),
    }
}

/// A text in random style, whose comments know what they are about.
struct Writer<'a> {
    choices: &'a mut Choices,
    step: usize,
    lists_in: bool,
    lines: Vec<String>,
    comments: Vec<(String, Vec<Step>)>,
    path: Vec<Step>,
}

impl Writer<'_> {
    fn comment(&mut self) -> String {
        let text = format!("# c{}", self.comments.len());
        self.comments.push((text.clone(), self.path.clone()));
        text
    }

    fn above(&mut self, indent: usize) {
        match self.choices.of(6) {
            0 => {
                let comment = self.comment();
                self.lines.push(format!("{}{comment}", " ".repeat(indent)));
            }
            1 => self.lines.push(String::new()),
            _ => {}
        }
    }

    fn beside(&mut self, line: String) {
        let comment = if self.choices.of(4) == 0 { format!(" {}", self.comment()) } else { String::new() };
        self.lines.push(format!("{line}{comment}"));
    }

    /// What follows `head`, which is a key or a dash at this column.
    fn value(&mut self, head: String, value: &Value, indent: usize, in_list: bool) {
        let pad = " ".repeat(indent);
        if write::is_nested(value) && self.choices.of(5) > 0 {
            let further = if value.is_object() || self.lists_in || in_list { self.step.max(2) } else { 0 };
            if in_list {
                // In the line of the dash.
                let from = self.lines.len();
                self.block(value, indent + 2, true);
                let first = self.lines[from].trim_start().to_owned();
                self.lines[from] = format!("{pad}{head} {first}");
                return;
            }
            self.beside(format!("{pad}{head}"));
            return self.block(value, indent + further, false);
        }
        if let Some((header, lines)) = value.as_str().filter(|_| write::is_text(value)).and_then(write::literal)
            // Blank lines that follow would be part of it.
            && header.chomping != "+"
            && self.choices.of(3) > 0
        {
            let step = if in_list { 2 } else { self.step };
            self.beside(format!("{pad}{head} {}", header.written(step)));
            self.lines.extend(write::indented(lines, indent + step));
            return;
        }
        let quote = [None, Some('"'), Some('\'')][usize::from(self.choices.of(3))];
        let text = match value {
            Value::Null if self.choices.of(2) == 0 => String::new(),
            Value::String(_) => format!(" {}", write::scalar(value, quote)),
            other => format!(" {}", write::flow(other, false)),
        };
        self.beside(format!("{pad}{head}{text}"));
    }

    fn block(&mut self, value: &Value, indent: usize, beside_dash: bool) {
        match value {
            Value::Object(map) => {
                for (index, (key, value)) in map.iter().enumerate() {
                    self.path.push(Step::Key(key.clone()));
                    if index > 0 || !beside_dash {
                        self.above(indent);
                    }
                    self.value(format!("{key}:"), value, indent, false);
                    self.path.pop();
                }
            }
            Value::Array(items) => {
                for (index, value) in items.iter().enumerate() {
                    self.path.push(Step::Index(index));
                    if index > 0 || !beside_dash {
                        self.above(indent);
                    }
                    self.value("-".to_owned(), value, indent, true);
                    self.path.pop();
                }
            }
            _ => {}
        }
    }
}

/// Whether what a comment is about is still there.
fn is_there(path: &[Step], mut before: &Value, mut after: &Value) -> bool {
    for step in path {
        let next = match (step, before, after) {
            (Step::Key(key), _, _) => (before.get(key), after.get(key)),
            (Step::Index(index), Value::Array(old), Value::Array(new)) => match (names(old), names(new)) {
                (Some(olds), Some(news)) => {
                    let at = news.iter().position(|name| *name == olds[*index]);
                    (old.get(*index), at.and_then(|at| new.get(at)))
                }
                // Entries without names may be anything.
                _ if old != new => return false,
                _ => (old.get(*index), new.get(*index)),
            },
            _ => return false,
        };
        let (Some(old), Some(new)) = next else { return false };
        // A live null is as good as none.
        if new.is_null() && !old.is_null() {
            return false;
        }
        (before, after) = (old, new);
    }
    true
}

/// Without order where there are names, and without what is as good as nothing.
fn canonical(value: &Value) -> Value {
    match value {
        Value::Object(map) => {
            let kept = map.iter().map(|(key, value)| (key.clone(), canonical(value)));
            Value::Object(kept.filter(|(_, value)| !is_nothing(value)).collect())
        }
        Value::Array(list) => {
            let mut list: Vec<Value> = list.iter().map(canonical).collect();
            if names(&list).is_some() {
                list.sort_by_key(|item| item["name"].to_string());
            }
            Value::Array(list)
        }
        other => other.clone(),
    }
}

fn is_nothing(value: &Value) -> bool {
    value.is_null() || value.as_object().is_some_and(Map::is_empty) || value.as_array().is_some_and(Vec::is_empty)
}

fn subsequence<'a>(part: impl Iterator<Item = &'a str>, all: impl Iterator<Item = &'a str>) -> bool {
    let mut all = all;
    let mut part = part;
    part.all(|one| all.any(|other| other == one))
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    #[test]
    fn the_file_says_what_is_live_and_keeps_its_comments(
        spec in top(), pool in prop::collection::vec(value(), 4),
        styles in prop::collection::vec(any::<u8>(), 80), turns in prop::collection::vec(any::<u8>(), 80),
    ) {
        let mut choices = Choices(styles.into_iter());
        let (step, lists_in, crlf) = ([2, 2, 4, 3][usize::from(choices.of(4))], choices.of(2) == 0, choices.of(4) == 0);
        let mut writer = Writer {
            choices: &mut choices, step, lists_in, lines: Vec::new(), comments: Vec::new(), path: Vec::new(),
        };
        writer.block(&spec, step, false);
        let comments = writer.comments;
        let text = map(&format!("spec:\n{}\n# tail\n", writer.lines.join("\n")));
        let text = if crlf { text.replace('\n', "\r\n") } else { text };
        let rendered = read(&text);
        prop_assert!(rendered.errors.is_empty(), "{:?}\n{}", rendered.errors, text);
        prop_assert_eq!(&rendered.objects[0].value["spec"], &spec, "{}", text);

        let wanted = changed(&spec, &mut Choices(turns.into_iter()), &pool);
        let (adopted, _) = run(&text, |live| live["spec"] = wanted.clone());
        prop_assert!(adopted.left.is_empty(), "{:?}\n{}\n{}\n{}", adopted.left, text, wanted, adopted.text);
        let after = read(&adopted.text);
        prop_assert_eq!(canonical(&after.objects[0].value["spec"]), canonical(&wanted), "{}\n---\n{}", text, adopted.text);

        let layout = Layout::of(&adopted.text).unwrap();
        let kept: Vec<String> = layout.comments().into_iter().map(|at| adopted.text[at].to_owned()).collect();
        let all = comments.iter().map(|(comment, _)| comment.as_str()).chain(["# tail"]);
        prop_assert!(subsequence(kept.iter().map(String::as_str), all), "{}\n---\n{}", text, adopted.text);
        prop_assert!(kept.iter().any(|comment| comment == "# tail"));
        for (comment, path) in comments {
            let is_kept = kept.contains(&comment);
            prop_assert!(
                is_kept || !is_there(&path, &spec, &wanted),
                "{} is gone\n{}\n---\n{}\n{}", comment, text, adopted.text, wanted
            );
            let is_told = adopted.dropped.iter().any(|(_, dropped)| *dropped == comment);
            prop_assert_eq!(is_kept, !is_told, "{}", comment);
        }
        if crlf {
            prop_assert_eq!(adopted.text.matches('\n').count(), adopted.text.matches("\r\n").count());
        }
    }
}
