//! YAML and JSON text to a tree that keeps each scalar as it was written, with the position of each
//! part. What a scalar means is decided by whoever reads the tree: Kubernetes and kustomize differ.
//!
//! Aliases and merge keys (`<<`) are resolved, duplicate keys refused, and what aliases may expand to
//! is bounded. The event parser is used directly, not through serde: every value needs its line, and
//! empty documents must not shift those that follow.

use super::error::{Origin, RenderError};
use super::spans::Position;
use granit_parser::{Event, Parser, ScalarStyle, ScanError, Span, Tag};
use std::collections::{HashMap, HashSet};
use std::sync::Arc;

/// Values that aliases may add to one file: far above any honest manifest, far below a bomb.
const ALIAS_BUDGET: usize = 20_000;
/// Each so many bytes of a text count as a value.
const LONG_TEXT: usize = 256;
/// Values of one file altogether.
const VALUE_BUDGET: usize = 1_000_000;

/// A value and where it begins.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Node {
    pub at: Position,
    pub body: Body,
}

#[derive(Debug, Clone, PartialEq)]
pub enum Body {
    Scalar(Scalar),
    List(Vec<Node>),
    Map(Vec<Entry>),
}

impl Default for Body {
    fn default() -> Self {
        Self::Scalar(Scalar::default())
    }
}

#[derive(Debug, Clone, PartialEq)]
pub struct Entry {
    pub key: Scalar,
    pub at: Position,
    pub value: Node,
}

/// The text of a scalar, unescaped, and what was written around it.
#[derive(Debug, Clone, Default, PartialEq, Eq, Hash)]
pub struct Scalar {
    pub text: Arc<str>,
    pub form: Form,
}

#[derive(Debug, Clone, Default, PartialEq, Eq, Hash)]
pub enum Form {
    /// Without quotes: its text decides what it is.
    #[default]
    Plain,
    /// In quotes, or a block: a string.
    Quoted,
    /// A block whose lines are folded (`>`): a string, too.
    Folded,
    /// With an explicit tag of the core schema: `str` of `!!str`.
    Core(Arc<str>),
    /// With a tag of someone's own.
    Foreign,
}

/// Reads all documents of `text`, empty ones left out. The first error ends the file: what follows it
/// cannot be trusted to mean what its author meant.
pub fn documents(file: &Arc<str>, text: &str) -> Result<Vec<Node>, RenderError> {
    let options = granit_parser::options! { emit_comments: false };
    let parser = Parser::new_from_str_with_options(text, options);
    let mut composer = Composer { parser, file, anchors: HashMap::new(), aliased: 0, values: 0 };
    let mut documents = Vec::new();
    while let Some((event, span)) = composer.next()? {
        match event {
            Event::DocumentStart(..) => composer.anchors.clear(),
            Event::StreamStart | Event::DocumentEnd => {}
            Event::StreamEnd => break,
            node => documents.push(composer.node(node, span)?.node),
        }
    }
    Ok(documents)
}

#[derive(Clone)]
struct Composed {
    node: Node,
    /// Values in here, itself included.
    size: usize,
    /// An unquoted `<<`, which merges when it is a key.
    merge: bool,
}

struct Composer<'a> {
    parser: Parser<'a, granit_parser::StrInput<'a>>,
    file: &'a Arc<str>,
    anchors: HashMap<usize, Composed>,
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
        let found = self.error(at, format!("not valid YAML: {text}"));
        if text.contains("tab") { found.hint("indent with spaces, not tabs") } else { found }
    }

    fn error(&self, at: Position, what: impl Into<String>) -> RenderError {
        RenderError::new(Origin { file: self.file.clone(), line: at.line, column: at.column }, what)
    }

    fn node(&mut self, event: Event<'a>, span: Span) -> Result<Composed, RenderError> {
        let at = position(span.start);
        self.values += 1;
        if self.values > VALUE_BUDGET {
            return Err(self.error(at, format!("the file has more than {VALUE_BUDGET} values")));
        }
        match event {
            Event::Scalar(text, style, anchor, tag) => {
                let merge = style == ScalarStyle::Plain && tag.is_none() && text == "<<";
                // The parser gives a value that is not there the text of a null that is.
                let text: Arc<str> =
                    if text == "~" && span.end.index() <= span.start.index() { "".into() } else { text.into() };
                let scalar = Scalar { text, form: form(style, tag.as_deref()) };
                let size = 1 + scalar.text.len() / LONG_TEXT;
                let node = Node { at, body: Body::Scalar(scalar) };
                Ok(self.keep(anchor, Composed { node, size, merge }))
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

    fn keep(&mut self, anchor: usize, node: Composed) -> Composed {
        if anchor != 0 {
            self.anchors.insert(anchor, node.clone());
        }
        node
    }

    fn alias(&mut self, anchor: usize, at: Position) -> Result<Composed, RenderError> {
        let Some(found) = self.anchors.get(&anchor) else {
            return Err(self.error(at, "an alias refers to the value it is part of"));
        };
        self.aliased += found.size;
        if self.aliased > ALIAS_BUDGET {
            let what = format!("the file's aliases expand to more than {ALIAS_BUDGET} values");
            return Err(self.error(at, what).hint("write the values out, or generate the manifests"));
        }
        let mut found = found.clone();
        found.node.at = at;
        found.merge = false;
        Ok(found)
    }

    fn sequence(&mut self, at: Position) -> Result<Composed, RenderError> {
        let (mut items, mut size) = (Vec::new(), 1);
        loop {
            let (event, span) = self.need()?;
            if matches!(event, Event::SequenceEnd) {
                break;
            }
            let item = self.node(event, span)?;
            size += item.size;
            items.push(item.node);
        }
        Ok(Composed { node: Node { at, body: Body::List(items) }, size, merge: false })
    }

    fn mapping(&mut self, at: Position) -> Result<Composed, RenderError> {
        let mut entries: Vec<Entry> = Vec::new();
        let mut known: HashSet<Arc<str>> = HashSet::new();
        let mut merges = Vec::new();
        let mut size = 1;
        loop {
            let (event, span) = self.need()?;
            if matches!(event, Event::MappingEnd) {
                break;
            }
            let key = self.node(event, span)?;
            let (event, span) = self.need()?;
            let value = self.node(event, span)?;
            size += value.size + 1;
            if key.merge {
                merges.push(value.node);
                continue;
            }
            let key_at = key.node.at;
            let key = match key.node.body {
                Body::Scalar(scalar) => scalar,
                Body::List(_) => return Err(self.error(key_at, "a map key must be text, found a list")),
                Body::Map(_) => return Err(self.error(key_at, "a map key must be text, found a map")),
            };
            if !known.insert(key.text.clone()) {
                let first = entries.iter().find(|entry| entry.key.text == key.text).map_or(0, |entry| entry.at.line);
                return Err(self.duplicate(&key.text, key_at, first));
            }
            entries.push(Entry { key, at: key_at, value: value.node });
        }
        for node in merges {
            self.merge(node, &mut entries, &mut known)?;
        }
        Ok(Composed { node: Node { at, body: Body::Map(entries) }, size, merge: false })
    }

    fn duplicate(&self, key: &str, at: Position, first: u32) -> RenderError {
        duplicate(Origin { file: self.file.clone(), line: at.line, column: at.column }, key, first)
    }

    /// `<<: *base` or `<<: [*a, *b]`: adds keys that are not there yet.
    fn merge(&self, node: Node, entries: &mut Vec<Entry>, known: &mut HashSet<Arc<str>>) -> Result<(), RenderError> {
        match node.body {
            Body::Map(fresh) => {
                entries.extend(fresh.into_iter().filter(|entry| known.insert(entry.key.text.clone())));
                Ok(())
            }
            Body::List(items) if items.iter().all(|item| matches!(item.body, Body::Map(_))) => {
                items.into_iter().try_for_each(|item| self.merge(item, entries, known))
            }
            _ => Err(self.error(node.at, "map merge requires a map or a list of maps as the value")),
        }
    }
}

/// Two entries of a map with one key.
pub fn duplicate(at: Origin, key: &str, first_line: u32) -> RenderError {
    let what = format!("key {key:?} already set in this map, at line {first_line}");
    RenderError::new(at, what).hint("keep one of the two")
}

fn form(style: ScalarStyle, tag: Option<&Tag>) -> Form {
    match tag {
        Some(tag) => match tag.core_suffix().or((tag.handle() == "tag:yaml.org,2002:").then(|| tag.suffix())) {
            Some(core) => Form::Core(core.into()),
            None => Form::Foreign,
        },
        None if style == ScalarStyle::Plain => Form::Plain,
        None if style == ScalarStyle::Folded => Form::Folded,
        None => Form::Quoted,
    }
}

fn position(marker: granit_parser::Marker) -> Position {
    let line = u32::try_from(marker.line()).unwrap_or(u32::MAX);
    let column = u32::try_from(marker.col()).unwrap_or(u32::MAX).saturating_add(1);
    Position { line, column }
}
