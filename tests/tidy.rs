//! What reviews would forget: layers, sizes, first lines, leftovers. Reads the tree as text.

use std::fs;
use std::path::{Path, PathBuf};

/// The layers, from the top; a module may use only those below it.
const LAYERS: [&str; 13] = [
    "cli",
    "daemon",
    "gitops",
    "network",
    "kubelet",
    "scheduler",
    "controllers",
    "client",
    "apiserver",
    "store",
    "api",
    "base",
    "telemetry",
];
/// Usable from everywhere.
const COMMON: [&str; 2] = ["base", "telemetry"];
const MAX_LINES: usize = 500;

struct Source {
    path: PathBuf,
    text: String,
}

fn sources(folders: &[&str]) -> Vec<Source> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut found = Vec::new();
    let mut queue: Vec<PathBuf> = folders.iter().map(|folder| root.join(folder)).collect();
    while let Some(folder) = queue.pop() {
        let Ok(entries) = fs::read_dir(&folder) else { continue };
        for entry in entries {
            let path = entry.expect("a readable tree").path();
            if path.is_dir() {
                queue.push(path);
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                let text = fs::read_to_string(&path).expect("UTF-8 source");
                found.push(Source { path: path.strip_prefix(root).expect("below the root").into(), text });
            }
        }
    }
    assert!(!found.is_empty(), "no sources found below {folders:?}");
    found
}

/// The part of a file before its unit tests.
fn production(text: &str) -> &str {
    text.split("\n#[cfg(test)]\nmod ").next().unwrap_or(text)
}

fn layer(path: &Path) -> Option<usize> {
    let name = path.components().nth(1)?.as_os_str().to_str()?.trim_end_matches(".rs");
    LAYERS.iter().position(|layer| *layer == name)
}

/// Every `crate::x` in a line that is code, `use crate::{a, b}` included.
fn used_modules(line: &str) -> Vec<&str> {
    let mut used = Vec::new();
    for (at, _) in line.match_indices("crate::") {
        let rest = &line[at + "crate::".len()..];
        let names = match rest.strip_prefix('{') {
            Some(list) => list.split('}').next().unwrap_or(list),
            None => rest,
        };
        for name in names.split(',').take(if rest.starts_with('{') { usize::MAX } else { 1 }) {
            let name = name.trim();
            used.push(&name[..name.find(|c: char| !c.is_alphanumeric() && c != '_').unwrap_or(name.len())]);
        }
    }
    used
}

#[test]
fn modules_use_only_the_layers_below() {
    let mut wrong = Vec::new();
    for source in sources(&["src"]) {
        let Some(own) = layer(&source.path) else { continue };
        for (number, line) in production(&source.text).lines().enumerate() {
            if line.trim_start().starts_with("//") {
                continue;
            }
            for used in used_modules(line) {
                let Some(theirs) = LAYERS.iter().position(|layer| *layer == used) else { continue };
                if theirs < own && !COMMON.contains(&used) {
                    wrong.push(format!(
                        "{}:{}: {} uses {used}, a layer above it",
                        source.path.display(),
                        number + 1,
                        LAYERS[own]
                    ));
                }
            }
        }
    }
    assert!(wrong.is_empty(), "\n{}", wrong.join("\n"));
}

#[test]
fn only_the_api_server_writes_the_store() {
    // The daemon opens the store and hands it to the API server; nobody else may name it.
    let allowed = ["apiserver", "store", "daemon"];
    let mut wrong = Vec::new();
    for source in sources(&["src"]) {
        let name = layer(&source.path).map(|own| LAYERS[own]).unwrap_or_default();
        if allowed.contains(&name) {
            continue;
        }
        for (number, line) in production(&source.text).lines().enumerate() {
            if !line.trim_start().starts_with("//") && used_modules(line).contains(&"store") {
                wrong.push(format!("{}:{}: the store is behind the API", source.path.display(), number + 1));
            }
        }
    }
    assert!(wrong.is_empty(), "\n{}", wrong.join("\n"));
}

#[test]
fn files_say_what_they_own_and_stay_small() {
    let mut wrong = Vec::new();
    for source in sources(&["src", "tests", "benches"]) {
        let lines = source.text.lines().count();
        if lines > MAX_LINES {
            wrong.push(format!(
                "{}: {lines} lines, at most {MAX_LINES}: cut it along what it owns",
                source.path.display()
            ));
        }
        if !source.text.starts_with("//! ") {
            wrong.push(format!("{}: the first line does not say (//!) what the file owns", source.path.display()));
        }
        if source.path.file_name().is_some_and(|name| name == "mod.rs") {
            wrong.push(format!("{}: name it after its folder, not mod.rs", source.path.display()));
        }
    }
    assert!(wrong.is_empty(), "\n{}", wrong.join("\n"));
}

#[test]
fn nothing_is_left_unfinished_or_silenced() {
    // Put together so that this file does not find itself.
    let leftovers = [
        concat!("todo", "!("),
        concat!("unimplemented", "!("),
        concat!("#[", "ignore"),
        concat!("allow(", "dead_code"),
        concat!("allow(", "unused"),
        concat!("clippy::too_", "many"),
        concat!("FIX", "ME"),
        concat!("XX", "X"),
    ];
    let mut wrong = Vec::new();
    for source in sources(&["src", "tests", "benches"]) {
        for (number, line) in source.text.lines().enumerate() {
            for leftover in leftovers {
                if line.contains(leftover) {
                    wrong.push(format!("{}:{}: {leftover}", source.path.display(), number + 1));
                }
            }
        }
    }
    assert!(wrong.is_empty(), "\n{}", wrong.join("\n"));
}

#[test]
fn the_top_level_holds_what_belongs_there() {
    let expected =
        ["Cargo.lock", "Cargo.toml", "LICENSE", "README.md", "benches", "examples", "manifests", "src", "tests"];
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let listing = std::process::Command::new("git").args(["ls-files"]).current_dir(root).output().expect("git");
    let listing = String::from_utf8(listing.stdout).expect("UTF-8 names");
    let mut wrong: Vec<&str> = listing
        .lines()
        .map(|path| path.split('/').next().unwrap_or(path))
        .filter(|top| !top.starts_with('.') && !expected.contains(top))
        .collect();
    wrong.dedup();
    assert!(wrong.is_empty(), "unexpected at the top level: {wrong:?}");
}
