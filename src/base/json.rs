//! Finds a value in JSON text, reading no more of it than what comes before that value. For texts of
//! which little is wanted: parsing the rest to drop it is most of the work.

use memchr::memchr2;
use std::ops::Range;

/// Where the value at the end of `path` is, a field of a field and so on. `None` if there is no such
/// field, or if its name is written with an escape. Text that is no JSON gives anything, but no panic.
pub fn find(text: &[u8], path: &[&str]) -> Option<Range<usize>> {
    let start = start(text, path)?;
    let mut scan = Scan { text, at: start };
    scan.skip()?;
    Some(start..scan.at)
}

/// Where that value begins; it may not end.
pub fn start(text: &[u8], path: &[&str]) -> Option<usize> {
    let mut scan = Scan { text, at: 0 };
    path.iter().try_for_each(|name| scan.enter(name))?;
    Some(scan.at)
}

/// The strings that these fields of an object hold, in one pass that ends with the last of them. `None` of a
/// field that is not there, that holds no string, or where name or string are written with an escape.
pub fn strings<'a, const N: usize>(text: &'a [u8], names: [&str; N]) -> [Option<&'a str>; N] {
    let (mut found, mut missing) = ([None; N], N);
    let mut scan = Scan { text, at: 0 };
    let mut more = scan.expect(b'{');
    while more.is_some() && missing > 0 {
        more = scan.name().and_then(|name| {
            let start = scan.at;
            scan.skip()?;
            if let Some(at) = names.iter().position(|wanted| wanted.as_bytes() == name) {
                found[at] = plain(&text[start..scan.at]);
                missing -= 1;
            }
            scan.expect(b',')
        });
    }
    found
}

/// A string that reads as it is written.
fn plain(value: &[u8]) -> Option<&str> {
    let inside = value.strip_prefix(b"\"")?.strip_suffix(b"\"")?;
    std::str::from_utf8(inside).ok().filter(|text| !text.contains('\\'))
}

/// The elements of the list at the end of `path`, each as it is written. `None` if there is no such
/// list, or if it does not end.
pub fn elements<'a>(text: &'a [u8], path: &[&str]) -> Option<Vec<&'a [u8]>> {
    let mut scan = Scan { text, at: start(text, path)? };
    let mut found = Vec::new();
    scan.expect(b'[')?;
    scan.blank();
    if scan.expect(b']').is_some() {
        return Some(found);
    }
    loop {
        scan.blank();
        let start = scan.at;
        scan.skip()?;
        found.push(&text[start..scan.at]);
        if scan.expect(b',').is_none() {
            return scan.expect(b']').map(|()| found);
        }
    }
}

struct Scan<'a> {
    text: &'a [u8],
    at: usize,
}

impl<'a> Scan<'a> {
    /// From an object to the value of one of its fields.
    fn enter(&mut self, name: &str) -> Option<()> {
        self.expect(b'{')?;
        while self.name()? != name.as_bytes() {
            self.skip()?;
            self.expect(b',')?;
        }
        Some(())
    }

    /// To the value of the next field; the field's name, as it is written.
    fn name(&mut self) -> Option<&'a [u8]> {
        self.blank();
        let start = self.at + 1;
        self.string()?;
        let name = self.text.get(start..self.at - 1)?;
        self.expect(b':')?;
        self.blank();
        Some(name)
    }

    fn expect(&mut self, byte: u8) -> Option<()> {
        self.blank();
        (*self.text.get(self.at)? == byte).then(|| self.at += 1)
    }

    fn blank(&mut self) {
        while self.text.get(self.at).is_some_and(|byte| byte.is_ascii_whitespace()) {
            self.at += 1;
        }
    }

    /// Past a string.
    fn string(&mut self) -> Option<()> {
        self.expect(b'"')?;
        loop {
            self.at += memchr2(b'"', b'\\', self.text.get(self.at..)?)? + 1;
            match self.text[self.at - 1] {
                b'"' => return Some(()),
                // Whatever is escaped does not end the string.
                _ => self.at += 1,
            }
        }
    }

    /// Past a value of any kind.
    fn skip(&mut self) -> Option<()> {
        match *self.text.get(self.at)? {
            b'"' => self.string(),
            b'{' | b'[' => self.container(),
            _ => {
                let ends = |byte: &u8| matches!(byte, b',' | b'}' | b']') || byte.is_ascii_whitespace();
                let left = &self.text[self.at..];
                self.at += left.iter().position(ends).unwrap_or(left.len());
                Some(())
            }
        }
    }

    /// Past an object or a list: only brackets outside of strings count.
    fn container(&mut self) -> Option<()> {
        let mut depth = 0usize;
        loop {
            match *self.text.get(self.at)? {
                b'"' => {
                    self.string()?;
                    continue;
                }
                b'{' | b'[' => depth += 1,
                b'}' | b']' if depth == 1 => {
                    self.at += 1;
                    return Some(());
                }
                b'}' | b']' => depth -= 1,
                _ => {}
            }
            self.at += 1;
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use proptest::prelude::*;
    use serde_json::{Value, json};

    fn values() -> impl Strategy<Value = Value> {
        let leaf = prop_oneof![
            Just(Value::Null),
            any::<bool>().prop_map(Value::from),
            any::<i32>().prop_map(Value::from),
            "[a-z\"\\\\{}\\[\\],: ä]{0,6}".prop_map(Value::from),
        ];
        leaf.prop_recursive(4, 40, 5, |inner| {
            prop_oneof![
                prop::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
                prop::collection::btree_map("[abc]", inner, 0..4)
                    .prop_map(|map| Value::Object(map.into_iter().collect())),
            ]
        })
    }

    proptest! {
        #[test]
        fn finds_what_a_parser_finds(value in values(), pretty: bool) {
            let text = if pretty { serde_json::to_string_pretty(&value) } else { serde_json::to_string(&value) }.unwrap();
            for path in [&["a"][..], &["b", "a"], &["c", "b", "a"]] {
                let found = find(text.as_bytes(), path).map(|at| serde_json::from_str::<Value>(&text[at]).unwrap());
                prop_assert_eq!(found.as_ref(), value.pointer(&format!("/{}", path.join("/"))).filter(|_| value.is_object()));
            }
        }

        #[test]
        fn finds_the_elements_of_lists(list in prop::collection::vec(values(), 0..5), pretty: bool) {
            let value = json!({"a": 1, "items": list});
            let text = if pretty { serde_json::to_string_pretty(&value) } else { serde_json::to_string(&value) }.unwrap();
            let found = elements(text.as_bytes(), &["items"]).unwrap();
            let found: Vec<Value> = found.into_iter().map(|at| serde_json::from_slice(at).unwrap()).collect();
            prop_assert_eq!(found, list);
            prop_assert_eq!(elements(text.as_bytes(), &["a"]), None);
        }

        #[test]
        fn finds_the_strings_of_an_object(value in values(), pretty: bool) {
            let text = if pretty { serde_json::to_string_pretty(&value) } else { serde_json::to_string(&value) }.unwrap();
            let found = strings(text.as_bytes(), ["c", "a"]);
            for (name, found) in ["c", "a"].into_iter().zip(found) {
                let expected = value[name].as_str().filter(|text| !text.contains(['"', '\\']));
                prop_assert_eq!(found, expected);
            }
        }

        #[test]
        fn survives_what_is_no_json(text in "[a\"\\\\{}\\[\\],:]{0,20}") {
            find(text.as_bytes(), &["a", "a"]);
            elements(text.as_bytes(), &["a"]);
            strings(text.as_bytes(), ["a", "b"]);
        }
    }

    #[test]
    fn names_within_strings_do_not_count() {
        let text = json!({"a": "\"b\":1", "b": {"a": 2}}).to_string();
        assert_eq!(find(text.as_bytes(), &["b", "a"]).map(|at| &text[at]), Some("2"));
        assert_eq!(find(text.as_bytes(), &["a", "b"]), None);
    }
}
