//! Workloads on simulated hosts under virtual time: what becomes of their pods, jobs and claims, and when.
//!
//! A scenario is a text file. Its first lines say what it shows. Commands follow, each on a line that begins with `> `;
//! lines below it, up to `----`, are its input, and those after that what is expected to be seen: a line for each thing
//! that happened, with the seconds since the scenario began. What happens in one second is in the order of names.
//! `SELKIE_SCENARIOS=write` writes what is seen in their place.
//!
//! | command | |
//! |---|---|
//! | `hosts NAME...` | hosts join, each with the labels and taints of the input (a Node's metadata and spec) |
//! | `apply`, `patch KIND NAME`, `delete KIND NAME` | as kubectl does; the input is YAML |
//! | `drain HOST` | its pods are deleted |
//! | `wait SECONDS` | time passes |
//! | `lose HOST...`, `return HOST...` | nobody hears of a host, whose containers run on; it is back |
//! | `rest`, `resume` | the controllers go by the clock no more; they do again |
//! | `clock TIME` | when the scenario begins; first |
//! | `show KIND NAME POINTER...` | values of an object |

#[path = "scenarios/log.rs"]
mod log;
#[path = "scenarios/world.rs"]
mod world;

use std::fs;
use std::path::{Path, PathBuf};
use world::World;

struct Block {
    command: String,
    input: String,
    expected: String,
}

/// What comes before the first command, and the commands.
fn parse(text: &str) -> (String, Vec<Block>) {
    let mut parts = text.split("\n> ");
    let about = parts.next().unwrap_or_default().to_owned();
    let block = |part: &str| {
        let (command, rest) = part.split_once('\n').unwrap_or((part, ""));
        let (input, expected) = match rest.split_once("----\n") {
            Some((input, expected)) => (input, expected),
            None => (rest, ""),
        };
        Block { command: command.into(), input: input.into(), expected: expected.trim_end().into() }
    };
    (about, parts.map(block).collect())
}

fn print(about: &str, blocks: &[(Block, String)]) -> String {
    let mut text = about.trim_end().to_owned() + "\n";
    for (block, seen) in blocks {
        text += &format!("\n> {}\n{}", block.command, block.input.trim_end_matches('\n'));
        if !block.input.trim().is_empty() {
            text += "\n";
        }
        if !seen.is_empty() {
            text += &format!("----\n{seen}\n");
        }
    }
    text
}

fn run(file: &Path) {
    let text = fs::read_to_string(file).unwrap();
    let (about, blocks) = parse(&text);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().start_paused(true).build().unwrap();
    let seen = runtime.block_on(async {
        let begin = blocks.iter().find_map(|block| block.command.strip_prefix("clock "));
        let mut world = World::new(begin.unwrap_or("2026-01-01T00:00:00Z").parse().unwrap()).await;
        let mut seen = Vec::new();
        for block in blocks {
            let lines = world.act(&block.command, &block.input).await;
            seen.push((block, lines));
        }
        seen
    });
    if std::env::var("SELKIE_SCENARIOS").is_ok_and(|what| what == "write") {
        return fs::write(file, print(&about, &seen)).unwrap();
    }
    for (block, lines) in &seen {
        let name = file.file_name().unwrap_or_default().display();
        assert_eq!(*lines, block.expected, "{name}, after {:?}: seen on the left", block.command);
    }
}

fn run_all(kind: &str, least: usize) {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/controllers/scenarios").join(kind);
    let mut files: Vec<PathBuf> = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    files.sort();
    assert!(files.len() >= least, "{files:?}");
    files.iter().for_each(|file| run(file));
}

#[test]
fn statefulsets() {
    run_all("statefulset", 10);
}

#[test]
fn daemonsets() {
    run_all("daemonset", 6);
}

#[test]
fn cronjobs() {
    run_all("cronjob", 8);
}
