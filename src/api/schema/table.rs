//! The table of Kubernetes types (`types.txt`), read once at start: what the protobuf decoder and
//! the built-in schemas are made from.

use std::collections::HashMap;

/// All types; [`Type`]s refer to each other by index.
#[derive(Debug)]
pub struct Table {
    pub types: Vec<Type>,
    by_name: HashMap<&'static str, usize>,
}

/// A struct of the Kubernetes API.
#[derive(Debug)]
pub struct Type {
    /// Package as in OpenAPI, e.g. `io.k8s.api.core.v1`.
    pub package: &'static str,
    /// Name in its package, e.g. `Container`.
    pub name: &'static str,
    /// Has `kind` and `apiVersion`.
    pub typed: bool,
    /// Server-side apply owns it as one value.
    pub atomic: bool,
    /// By wire number.
    pub fields: Vec<Row>,
}

/// A field of a [`Type`].
#[derive(Debug)]
pub struct Row {
    pub number: u32,
    /// Empty for an inline field.
    pub json: &'static str,
    pub omit_empty: bool,
    pub pointer: bool,
    pub card: Card,
    pub wire: Wire,
    pub merge: Merge,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Card {
    One,
    List,
    Map,
    /// Nested on the wire, flat in JSON.
    Inline,
}

/// How one value travels.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Wire {
    Bool,
    Int32,
    Int64,
    Double,
    String,
    Bytes,
    Time,
    MicroTime,
    Quantity,
    IntOrString,
    /// A message whose field 1 is JSON text.
    Json,
    /// A message whose field 1 repeats strings.
    Strings,
    /// A message whose field 1 repeats messages of this type.
    Messages(usize),
    Message(usize),
}

/// How lists and maps merge; empty for the default.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Merge {
    /// Comma-separated keys of a list of type map.
    pub keys: &'static str,
    pub set: bool,
    pub atomic: bool,
    pub granular: bool,
    /// Strategic merge of a list; the key is empty for primitives.
    pub patch: Option<&'static str>,
    pub retain: bool,
    pub replace: bool,
    pub default: &'static str,
}

/// What is wrong with a line of the table.
#[derive(Debug, thiserror::Error)]
#[error("types.txt line {line}: {why}")]
pub struct TableError {
    line: usize,
    why: &'static str,
}

impl Table {
    /// The types this build knows.
    pub fn builtin() -> Self {
        // Part of the program, checked by the tests below.
        Self::parse(include_str!("types.txt")).expect("the embedded table of types is well-formed")
    }

    fn parse(text: &'static str) -> Result<Self, TableError> {
        let mut names = Names::default();
        for (at, line) in lines(text) {
            names.declare(line).map_err(|why| TableError { line: at, why })?;
        }
        let mut table = Self { types: Vec::with_capacity(names.indices.len()), by_name: HashMap::new() };
        let mut package = "";
        for (at, line) in lines(text) {
            let fail = |why| TableError { line: at, why };
            let mut words = line.split(' ');
            match words.next() {
                Some("package") => package = words.next().unwrap_or_default(),
                Some("type") => table.types.push(Type {
                    package: names.package(package),
                    name: words.next().unwrap_or_default(),
                    typed: line.contains(" typed"),
                    atomic: line.contains(" atomic"),
                    fields: Vec::new(),
                }),
                Some(number) => {
                    let row = row(number, words, package, &names).map_err(fail)?;
                    table.types.last_mut().ok_or(fail("a field before the first type"))?.fields.push(row);
                }
                None => {}
            }
        }
        for kind in &mut table.types {
            kind.fields.sort_by_key(|row| row.number);
        }
        table.by_name = names.indices.iter().map(|((_, name), index)| (*name, *index)).collect();
        for (index, entry) in table.types.iter().enumerate() {
            // Names that several packages share are found by `find` only.
            if table.by_name.get(entry.name) != Some(&index) {
                table.by_name.remove(entry.name);
            }
        }
        Ok(table)
    }

    /// The type with this package (`io.k8s.api.core.v1`) and name.
    pub fn find(&self, package: &str, name: &str) -> Option<usize> {
        match self.by_name.get(name) {
            Some(index) => (self.types[*index].package == package).then_some(*index),
            None => self.types.iter().position(|entry| entry.name == name && entry.package == package),
        }
    }

    /// The type of bodies of a kind; `DeleteOptions` is known in every group.
    pub fn of_kind(&self, group: &str, version: &str, kind: &str) -> Option<usize> {
        if kind == "DeleteOptions" {
            return self.find("io.k8s.apimachinery.pkg.apis.meta.v1", kind);
        }
        let group = group.split('.').next().unwrap_or_default();
        let package = match group {
            "" => format!("io.k8s.api.core.{version}"),
            "metrics" => format!("io.k8s.metrics.pkg.apis.metrics.{version}"),
            "apiextensions" => format!("io.k8s.apiextensions-apiserver.pkg.apis.apiextensions.{version}"),
            group => format!("io.k8s.api.{group}.{version}"),
        };
        self.find(&package, kind).filter(|found| self.types[*found].typed)
    }
}

fn lines(text: &'static str) -> impl Iterator<Item = (usize, &'static str)> {
    text.lines().enumerate().map(|(at, line)| (at + 1, line)).filter(|(_, line)| !line.starts_with('#'))
}

/// The first pass: which index each type has.
#[derive(Default)]
struct Names {
    current: &'static str,
    packages: Vec<(&'static str, &'static str)>,
    indices: HashMap<(&'static str, &'static str), usize>,
}

impl Names {
    fn declare(&mut self, line: &'static str) -> Result<(), &'static str> {
        let mut words = line.split(' ');
        match (words.next(), words.next(), words.next()) {
            (Some("package"), Some(alias), Some(full)) => {
                self.current = alias;
                self.packages.push((alias, full));
            }
            (Some("package"), ..) => return Err("a package needs an alias and a name"),
            (Some("type"), Some(name), _) => {
                let index = self.indices.len();
                if self.indices.insert((self.current, name), index).is_some() {
                    return Err("declared twice");
                }
            }
            _ => {}
        }
        Ok(())
    }

    fn package(&self, alias: &str) -> &'static str {
        self.packages.iter().find(|(known, _)| *known == alias).map_or("", |(_, full)| full)
    }

    fn resolve(&self, name: &'static str, package: &'static str) -> Result<usize, &'static str> {
        let key = name.split_once('.').unwrap_or((package, name));
        self.indices.get(&key).copied().ok_or("names a type that is not in the table")
    }
}

fn row(
    number: &'static str,
    mut words: std::str::Split<'static, char>,
    package: &'static str,
    names: &Names,
) -> Result<Row, &'static str> {
    let number = number.parse().map_err(|_| "starts with no wire number")?;
    let (Some(json), Some(kind)) = (words.next(), words.next()) else { return Err("needs a name and a type") };
    let (kind, pointer) = kind.strip_prefix('*').map_or((kind, false), |rest| (rest, true));
    let (card, kind) = match (json, kind.strip_prefix("[]"), kind.strip_prefix("{}")) {
        (">", ..) => (Card::Inline, kind),
        (_, Some(item), _) => (Card::List, item),
        (_, _, Some(value)) => (Card::Map, value),
        _ => (Card::One, kind),
    };
    let (json, omit_empty) = match json {
        ">" => ("", false),
        json => json.strip_suffix('?').map_or((json, false), |json| (json, true)),
    };
    let mut merge = Merge::default();
    for fact in words {
        match fact.split_once('=').unwrap_or((fact, "")) {
            ("keys", keys) => merge.keys = keys,
            ("set", _) => merge.set = true,
            ("atomic", _) => merge.atomic = true,
            ("granular", _) => merge.granular = true,
            ("merge", key) => merge.patch = Some(key),
            ("retain", _) => merge.retain = true,
            ("replace", _) => merge.replace = true,
            ("default", value) => merge.default = value,
            _ => return Err("unknown fact"),
        }
    }
    Ok(Row { number, json, omit_empty, pointer, card, wire: wire(kind, package, names)?, merge })
}

fn wire(kind: &'static str, package: &'static str, names: &Names) -> Result<Wire, &'static str> {
    Ok(match kind {
        "bool" => Wire::Bool,
        "int32" => Wire::Int32,
        "int64" => Wire::Int64,
        "float64" => Wire::Double,
        "string" => Wire::String,
        "bytes" => Wire::Bytes,
        "Time" => Wire::Time,
        "MicroTime" => Wire::MicroTime,
        "Quantity" => Wire::Quantity,
        "IntOrString" => Wire::IntOrString,
        "Raw" | "JSON" | "FieldsV1" => Wire::Json,
        "items:string" => Wire::Strings,
        kind => match kind.strip_prefix("items:") {
            Some(item) => Wire::Messages(names.resolve(item, package)?),
            None => Wire::Message(names.resolve(kind, package)?),
        },
    })
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn the_embedded_table_is_whole() {
        let table = Table::builtin();
        assert!(table.types.len() > 300);
        let pod = &table.types[table.of_kind("", "v1", "Pod").unwrap()];
        assert_eq!(pod.fields.iter().map(|row| row.json).collect::<Vec<_>>(), ["metadata", "spec", "status"]);
        let scale = &table.types[table.of_kind("autoscaling", "v1", "Scale").unwrap()];
        assert_eq!((scale.package, scale.typed), ("io.k8s.api.autoscaling.v1", true));
        assert!(table.of_kind("apps", "v1", "Pod").is_none());
        assert!(table.of_kind("apps", "v1beta1", "Deployment").is_none());
        assert!(table.of_kind("apps", "v1", "DeleteOptions").is_some());
    }

    #[test]
    fn types_of_one_name_in_two_packages_are_told_apart() {
        let table = Table::builtin();
        let core = table.of_kind("", "v1", "Event").unwrap();
        let events = table.of_kind("events.k8s.io", "v1", "Event").unwrap();
        assert_ne!(core, events);
        assert!(table.types[events].fields.iter().any(|row| row.json == "regarding"));
    }

    #[test]
    fn merge_facts_are_read() {
        let table = Table::builtin();
        let container = &table.types[table.find("io.k8s.api.core.v1", "Container").unwrap()];
        let ports = container.fields.iter().find(|row| row.json == "ports").unwrap();
        assert_eq!((ports.merge.keys, ports.merge.patch), ("containerPort,protocol", Some("containerPort")));
        assert_eq!(ports.card, Card::List);
    }

    #[test]
    fn a_bad_line_is_named() {
        for (text, why) in [
            ("1 name string", "before the first type"),
            ("package a b\ntype X\n1 y Nope", "not in the table"),
            ("package a b\ntype X\nq y string", "wire number"),
        ] {
            assert!(Table::parse(text).unwrap_err().to_string().contains(why));
        }
    }
}
