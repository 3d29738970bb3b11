//! ConfigMaps and Secrets from literals, files and env files, and the hashes of their contents.

use super::kustomization::{At, GeneratorArgs, GeneratorOptions};
use super::load::{Build, Place};
use super::resource::{Behavior, Resource};
use crate::gitops::render::error::{Origin, RenderError};
use crate::gitops::render::tree::Node;
use base64::Engine;
use serde_json::{Value, json};
use sha2::{Digest, Sha256};
use std::collections::BTreeMap;
use std::sync::Arc;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    ConfigMap,
    Secret,
}

impl Kind {
    pub fn name(self) -> &'static str {
        match self {
            Self::ConfigMap => "ConfigMap",
            Self::Secret => "Secret",
        }
    }
}

/// Makes one object. `file` is the kustomization, or the generator's own file.
pub fn generate(
    build: &mut Build<'_>,
    place: &Place,
    kind: Kind,
    args: &At<GeneratorArgs>,
    global: Option<&GeneratorOptions>,
) -> Result<Resource, RenderError> {
    let At { value: args, at } = args;
    let wrong = |what: String| RenderError::new(at.clone(), what);
    if args.name.is_empty() {
        return Err(wrong(format!("the {} has no name", kind.name())));
    }
    if kind == Kind::ConfigMap && !args.r#type.is_empty() {
        return Err(wrong("unknown field \"type\": a ConfigMap has none".to_owned()));
    }
    let options = args.options.clone().unwrap_or_default();
    let options = global.map_or(options.clone(), |global| options.with_global(global));
    let data = data(build, place, kind, args, at)?;
    let mut resource = Resource::new(object(kind, args, data, &options), at.file.clone());
    resource.node.at.line = at.line;
    resource.node.at.column = at.column;
    resource.generated = true;
    resource.needs_hash = !options.disable_name_suffix_hash;
    resource.behavior = match args.behavior.as_str() {
        "replace" => Behavior::Replace,
        "merge" => Behavior::Merge,
        // Kustomize takes anything else for `create`.
        _ => Behavior::Create,
    };
    Ok(resource)
}

fn object(kind: Kind, args: &GeneratorArgs, data: BTreeMap<String, Vec<u8>>, options: &GeneratorOptions) -> Node {
    let mut node = Node::map();
    node.set("apiVersion", Node::string("v1"));
    node.set("kind", Node::string(kind.name()));
    let mut metadata = Node::map();
    metadata.set("name", Node::string(args.name.as_str()));
    if !args.namespace.is_empty() {
        metadata.set("namespace", Node::string(args.namespace.as_str()));
    }
    for (key, texts) in [("labels", &options.labels), ("annotations", &options.annotations)] {
        if !texts.is_empty() {
            metadata.set(key, Node::of_texts(texts));
        }
    }
    node.set("metadata", metadata);
    if kind == Kind::Secret {
        let r#type = if args.r#type.is_empty() { "Opaque" } else { &args.r#type };
        node.set("type", Node::string(r#type));
    }
    let (mut texts, mut binary) = (Vec::new(), Vec::new());
    for (key, bytes) in data {
        match String::from_utf8(bytes) {
            Ok(text) if kind == Kind::ConfigMap => texts.push((key, text)),
            Err(bytes) if kind == Kind::ConfigMap => binary.push((key, base64(bytes.as_bytes()))),
            Ok(text) => texts.push((key, base64(text.as_bytes()))),
            Err(bytes) => texts.push((key, base64(bytes.as_bytes()))),
        }
    }
    if !texts.is_empty() || kind == Kind::Secret {
        node.set("data", Node::of_texts(texts));
    }
    if !binary.is_empty() {
        node.set("binaryData", Node::of_texts(binary));
    }
    if options.immutable {
        node.set("immutable", Node::from_json(&Value::Bool(true)));
    }
    node
}

/// As go-yaml writes it: lines of 70 characters, if there is more than one.
fn base64(bytes: &[u8]) -> String {
    const LINE: usize = 70;
    let whole = base64::engine::general_purpose::STANDARD.encode(bytes);
    if whole.len() < LINE {
        return whole;
    }
    let mut lines = String::new();
    let mut rest = whole.as_str();
    while !rest.is_empty() {
        let (line, more) = rest.split_at(rest.len().min(LINE));
        lines.push_str(line);
        lines.push('\n');
        rest = more;
    }
    lines
}

fn data(
    build: &mut Build<'_>,
    place: &Place,
    kind: Kind,
    args: &GeneratorArgs,
    at: &Origin,
) -> Result<BTreeMap<String, Vec<u8>>, RenderError> {
    let wrong = |what: String, hint: &str| RenderError::new(at.clone(), what).hint(hint);
    // What is encrypted is not for a ConfigMap, which anyone may read.
    let mut read = |path: &str| match kind {
        Kind::ConfigMap => build.raw(place, path, at),
        Kind::Secret => build.bytes(place, path, at),
    };
    let mut pairs: Vec<(String, Vec<u8>)> = Vec::new();
    for path in args.envs.iter().chain(Some(&args.env).filter(|env| !env.is_empty())) {
        let (file, bytes) = read(path)?;
        pairs.extend(env_file(&file, &bytes)?);
    }
    for literal in &args.literals {
        match literal.split_once('=').filter(|(key, _)| !key.is_empty()) {
            Some((key, value)) => pairs.push((key.to_owned(), unquoted(value).as_bytes().to_vec())),
            // The literal may be a secret.
            None => return Err(wrong("a literal is not KEY=VALUE".to_owned(), "write - KEY=VALUE")),
        }
    }
    for source in &args.files {
        let (key, path) = match source.split('=').collect::<Vec<_>>()[..] {
            [path] => (path.rsplit('/').next().unwrap_or(path), path),
            [key, path] if !key.is_empty() && !path.is_empty() => (key, path),
            _ => return Err(wrong(format!("the file {source:?} is not [KEY=]PATH"), "neither may hold =")),
        };
        pairs.push((key.to_owned(), read(path)?.1.to_vec()));
    }
    let mut data = BTreeMap::new();
    for (key, value) in pairs {
        if data.contains_key(&key) {
            let what = format!("{} has the key {key:?} twice", args.name);
            return Err(wrong(what, "keep one of the two"));
        }
        data.insert(key, value);
    }
    Ok(data)
}

/// Lines of `KEY=VALUE`; empty ones and those that begin with `#` are left out.
fn env_file(file: &Arc<str>, bytes: &[u8]) -> Result<Vec<(String, Vec<u8>)>, RenderError> {
    let mut pairs = Vec::new();
    for (index, line) in bytes.split(|byte| *byte == b'\n').enumerate() {
        let line = line.strip_suffix(b"\r").unwrap_or(line);
        let Ok(text) = std::str::from_utf8(line) else {
            let at = Origin { file: file.clone(), line: u32::try_from(index + 1).unwrap_or(0), column: 0 };
            return Err(RenderError::new(at, "the line is not UTF-8 text"));
        };
        let text = if index == 0 { text.trim_start_matches('\u{feff}') } else { text };
        let text = text.trim_start();
        if text.is_empty() || text.starts_with('#') {
            continue;
        }
        let (key, value) = text.split_once('=').unwrap_or((text, ""));
        if !key.is_empty() {
            pairs.push((key.to_owned(), value.as_bytes().to_vec()));
        }
    }
    Ok(pairs)
}

fn unquoted(text: &str) -> &str {
    ['"', '\''].iter().find_map(|quote| text.strip_prefix(*quote)?.strip_suffix(*quote)).unwrap_or(text)
}

/// Ten letters that stand for the contents of a ConfigMap or Secret.
pub fn hash(node: &Node) -> Result<String, String> {
    let kind = node.get("kind").map(Node::text).unwrap_or_default();
    let value = |field: &str| match node.get(field) {
        None => Ok(json!("")),
        Some(scalar) if scalar.as_scalar().is_some() => Ok(json!(scalar.text())),
        Some(map) => map.to_json().map(|(value, _)| value),
    };
    // The name is part of what is hashed, but kustomize always finds it empty.
    let mut hashed = json!({"kind": kind, "name": "", "data": value("data")?});
    let more: &[&str] = if kind == "Secret" { &["stringData"] } else { &["binaryData"] };
    for field in more {
        let found = value(field)?;
        if found.is_object() {
            hashed[*field] = found;
        }
    }
    if kind == "Secret" {
        hashed["type"] = value("type")?;
    }
    let mut text = String::new();
    go_json(&hashed, &mut text);
    let digest = Sha256::digest(text.as_bytes());
    let digits: String = digest.iter().map(|byte| format!("{byte:02x}")).collect();
    // Letters that make no words.
    let letter = |digit: char| match digit {
        '0' => 'g',
        '1' => 'h',
        '3' => 'k',
        'a' => 'm',
        'e' => 't',
        other => other,
    };
    Ok(digits.chars().take(10).map(letter).collect())
}

/// JSON as Go's encoder writes it: sorted keys, and nothing that HTML takes for its own.
fn go_json(value: &Value, into: &mut String) {
    match value {
        Value::Object(map) => {
            let mut entries: Vec<_> = map.iter().collect();
            entries.sort_by_key(|(key, _)| key.as_str());
            into.push('{');
            for (at, (key, value)) in entries.into_iter().enumerate() {
                if at > 0 {
                    into.push(',');
                }
                go_json(&Value::String(key.clone()), into);
                into.push(':');
                go_json(value, into);
            }
            into.push('}');
        }
        Value::Array(items) => {
            into.push('[');
            for (at, item) in items.iter().enumerate() {
                if at > 0 {
                    into.push(',');
                }
                go_json(item, into);
            }
            into.push(']');
        }
        scalar => {
            for c in scalar.to_string().chars() {
                match c {
                    '<' | '>' | '&' | '\u{2028}' | '\u{2029}' => into.push_str(&format!("\\u{:04x}", u32::from(c))),
                    c => into.push(c),
                }
            }
        }
    }
}
