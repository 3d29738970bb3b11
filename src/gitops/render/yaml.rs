//! YAML and JSON text to JSON values with the position of each part.
//!
//! Reads as sigs.k8s.io/yaml does (see [`super::scalar`]), but refuses duplicate keys, and bounds
//! what aliases may expand to. The event parser is used directly, not through serde: every value
//! needs its line, and empty documents must not shift those that follow.

use super::error::{Origin, RenderError};
use super::scalar;
use super::spans::{Children, Position, Spans};
use granit_parser::{Event, Parser, ScalarStyle, ScanError, Span, Tag};
use serde_json::{Map, Value};
use std::collections::HashMap;
use std::sync::Arc;

/// Values that aliases may add to one file: far above any honest manifest, far below a bomb.
const ALIAS_BUDGET: usize = 20_000;
/// Values of one file altogether.
const VALUE_BUDGET: usize = 1_000_000;

/// One document of a file. Empty documents are left out.
#[derive(Debug, Clone, PartialEq)]
pub struct Document {
    pub value: Value,
    pub spans: Spans,
}

/// Reads all documents of `text`. The first error ends the file: what follows it cannot be trusted
/// to mean what its author meant.
pub fn documents(file: &Arc<str>, text: &str) -> Result<Vec<Document>, RenderError> {
    let options = granit_parser::options! { emit_comments: false };
    let parser = Parser::new_from_str_with_options(text, options);
    let mut composer = Composer { parser, file, anchors: HashMap::new(), aliased: 0, values: 0 };
    let mut documents = Vec::new();
    while let Some((event, span)) = composer.next()? {
        match event {
            Event::DocumentStart(..) => composer.anchors.clear(),
            Event::StreamStart | Event::DocumentEnd => {}
            Event::StreamEnd => break,
            node => {
                let node = composer.node(node, span)?;
                if !node.value.is_null() {
                    documents.push(Document { value: node.value, spans: node.spans });
                }
            }
        }
    }
    Ok(documents)
}

#[derive(Clone)]
struct Node {
    value: Value,
    spans: Spans,
    /// Values in here, itself included.
    size: usize,
    /// An unquoted `<<`, which merges when it is a key.
    merge: bool,
}

struct Composer<'a> {
    parser: Parser<'a, granit_parser::StrInput<'a>>,
    file: &'a Arc<str>,
    anchors: HashMap<usize, Node>,
    aliased: usize,
    values: usize,
}

impl<'a> Composer<'a> {
    fn next(&mut self) -> Result<Option<(Event<'a>, Span)>, RenderError> {
        match self.parser.next_event() {
            None => Ok(None),
            Some(Ok(event)) => Ok(Some(event)),
            Some(Err(error)) => Err(self.syntax(&error)),
        }
    }

    fn need(&mut self) -> Result<(Event<'a>, Span), RenderError> {
        let whole = Origin { file: self.file.clone(), line: 0, column: 0 };
        self.next()?.ok_or_else(|| RenderError::new(whole, "the file ends in the middle of a document"))
    }

    fn syntax(&self, error: &ScanError) -> RenderError {
        let at = position(*error.marker());
        let text = error.info();
        let found = RenderError::new(self.origin(at), format!("not valid YAML: {text}"));
        if text.contains("tab") { found.hint("indent with spaces, not tabs") } else { found }
    }

    fn origin(&self, at: Position) -> Origin {
        Origin { file: self.file.clone(), line: at.line, column: at.column }
    }

    fn error(&self, at: Position, what: impl Into<String>) -> RenderError {
        RenderError::new(self.origin(at), what)
    }

    fn node(&mut self, event: Event<'a>, span: Span) -> Result<Node, RenderError> {
        let at = position(span.start);
        self.values += 1;
        if self.values > VALUE_BUDGET {
            return Err(self.error(at, format!("the file has more than {VALUE_BUDGET} values")));
        }
        match event {
            Event::Scalar(text, style, anchor, tag) => {
                let value = resolve(&text, style, tag.as_deref()).map_err(|what| self.error(at, what))?;
                let merge = style == ScalarStyle::Plain && tag.is_none() && text == "<<";
                let node = Node { value, spans: Spans { at, children: Children::None }, size: 1, merge };
                Ok(self.keep(anchor, node))
            }
            Event::SequenceStart(_, anchor, _) => {
                let node = self.sequence(at)?;
                Ok(self.keep(anchor, node))
            }
            Event::MappingStart(_, anchor, _) => {
                let node = self.mapping(at)?;
                Ok(self.keep(anchor, node))
            }
            Event::Alias(anchor) => self.alias(anchor, at),
            _ => Err(self.error(at, "not valid YAML: a value was expected here")),
        }
    }

    fn keep(&mut self, anchor: usize, node: Node) -> Node {
        if anchor != 0 {
            self.anchors.insert(anchor, node.clone());
        }
        node
    }

    fn alias(&mut self, anchor: usize, at: Position) -> Result<Node, RenderError> {
        let Some(node) = self.anchors.get(&anchor) else {
            return Err(self.error(at, "an alias refers to the value it is part of"));
        };
        self.aliased += node.size;
        if self.aliased > ALIAS_BUDGET {
            let what = format!("the file's aliases expand to more than {ALIAS_BUDGET} values");
            return Err(self.error(at, what).hint("write the values out, or generate the manifests"));
        }
        let mut node = node.clone();
        node.spans.at = at;
        node.merge = false;
        Ok(node)
    }

    fn sequence(&mut self, at: Position) -> Result<Node, RenderError> {
        let (mut items, mut spans, mut size) = (Vec::new(), Vec::new(), 1);
        loop {
            let (event, span) = self.need()?;
            if matches!(event, Event::SequenceEnd) {
                break;
            }
            let node = self.node(event, span)?;
            size += node.size;
            items.push(node.value);
            spans.push(node.spans);
        }
        let spans = Spans { at, children: Children::List(spans) };
        Ok(Node { value: Value::Array(items), spans, size, merge: false })
    }

    fn mapping(&mut self, at: Position) -> Result<Node, RenderError> {
        let mut map = Map::new();
        let mut spans: Vec<(Arc<str>, Position, Spans)> = Vec::new();
        let mut merges = Vec::new();
        let mut size = 1;
        loop {
            let (event, span) = self.need()?;
            if matches!(event, Event::MappingEnd) {
                break;
            }
            let key_node = self.node(event, span)?;
            let (event, span) = self.need()?;
            let node = self.node(event, span)?;
            size += node.size + 1;
            if key_node.merge {
                merges.push(node);
                continue;
            }
            let key_at = key_node.spans.at;
            let Some(key) = scalar::key(&key_node.value) else {
                return Err(self.error(key_at, format!("a map key must be text, found {}", kind_of(&key_node.value))));
            };
            if map.contains_key(&key) {
                let first = spans.iter().find(|(name, ..)| **name == *key).map_or(0, |(_, at, _)| at.line);
                let what = format!("key {key:?} already set in this map, at line {first}");
                return Err(self.error(key_at, what).hint("keep one of the two"));
            }
            map.insert(key.clone(), node.value);
            spans.push((key.into(), key_at, node.spans));
        }
        for node in merges {
            self.merge(node, &mut map, &mut spans)?;
        }
        let spans = Spans { at, children: Children::Map(spans) };
        Ok(Node { value: Value::Object(map), spans, size, merge: false })
    }

    /// `<<: *base` or `<<: [*a, *b]`: adds keys that are not there yet.
    fn merge(
        &self,
        node: Node,
        map: &mut Map<String, Value>,
        spans: &mut Vec<(Arc<str>, Position, Spans)>,
    ) -> Result<(), RenderError> {
        let at = node.spans.at;
        match (node.value, node.spans.children) {
            (Value::Object(values), Children::Map(positions)) => {
                let fresh: Vec<_> = positions.into_iter().filter(|(key, ..)| !map.contains_key(&**key)).collect();
                for (key, value) in values {
                    map.entry(key).or_insert(value);
                }
                spans.extend(fresh);
                Ok(())
            }
            (Value::Array(values), Children::List(positions)) => {
                for (value, spans_of) in values.into_iter().zip(positions) {
                    if !value.is_object() {
                        return Err(self.error(at, "map merge requires a map or a list of maps as the value"));
                    }
                    self.merge(Node { value, spans: spans_of, size: 0, merge: false }, map, spans)?;
                }
                Ok(())
            }
            _ => Err(self.error(at, "map merge requires a map or a list of maps as the value")),
        }
    }
}

fn resolve(text: &str, style: ScalarStyle, tag: Option<&Tag>) -> Result<Value, String> {
    match tag {
        Some(tag) => match tag.core_suffix().or((tag.handle() == "tag:yaml.org,2002:").then(|| tag.suffix())) {
            Some(core) => scalar::tagged(core, text),
            None => Ok(Value::String(text.to_string())),
        },
        None if style == ScalarStyle::Plain => scalar::plain(text),
        None => Ok(Value::String(text.to_string())),
    }
}

fn position(marker: granit_parser::Marker) -> Position {
    let line = u32::try_from(marker.line()).unwrap_or(u32::MAX);
    let column = u32::try_from(marker.col()).unwrap_or(u32::MAX).saturating_add(1);
    Position { line, column }
}

/// The JSON type's name with its article, for messages.
pub fn kind_of(value: &Value) -> &'static str {
    match value {
        Value::Null => "nothing",
        Value::Bool(_) => "a boolean",
        Value::Number(_) => "a number",
        Value::String(_) => "a string",
        Value::Array(_) => "a list",
        Value::Object(_) => "a map",
    }
}

#[cfg(test)]
mod tests;
