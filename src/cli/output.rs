//! Showing results: text with colours for people, JSON and YAML for programs.
//!
//! Text goes through `anstream`, which drops the colours where they do not belong (NO_COLOR, a pipe,
//! `--color=never`); here they are always written.

pub mod color;
pub mod consequences;
pub mod events;
pub mod json;
pub mod live;
pub mod markdown;
pub mod plan;
pub mod screen;
mod words;

pub use events::Printer;
pub use words::Words;

use crate::gitops::plan::Report;

/// `-o`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, clap::ValueEnum)]
pub enum Format {
    #[default]
    Text,
    Json,
    Yaml,
    /// For comments on pull requests
    Markdown,
    Name,
}

/// `-o` of what is text for people or one document for programs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum Either {
    Text,
    Json,
    Yaml,
}

/// A path, or a text that begins with one, as its user named it: relative to where the process was
/// started, if below. Applications keep absolute paths.
pub fn near(text: &str) -> &str {
    let here = std::env::current_dir().ok().filter(|here| here.parent().is_some());
    let below = here.as_ref().and_then(|here| text.strip_prefix(here.to_str()?)?.strip_prefix('/'));
    below.filter(|below| !below.is_empty()).unwrap_or(text)
}

/// What others wrote must not be able to move the cursor, nor to turn the direction of what follows.
pub fn clean(text: &str) -> String {
    let turns = |c| matches!(c, '\u{200e}' | '\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}');
    text.chars().map(|c| if c.is_control() && c != '\t' || turns(c) { '�' } else { c }).collect()
}

/// What others wrote, where a line is all the room there is: of a registry, a probe, a container.
pub fn one_line(text: &str) -> String {
    clean(&text.split_whitespace().collect::<Vec<_>>().join(" "))
}

/// What others wrote, with its lines.
pub fn lines(text: &str) -> String {
    text.split('\n').map(|line| clean(line.trim_end_matches('\r'))).collect::<Vec<_>>().join("\n")
}

/// `1 pod`, `2 pods`.
pub fn count(number: usize, one: &str) -> String {
    if number == 1 { format!("1 {one}") } else { format!("{number} {one}s") }
}

/// A report in a format, with a final newline.
pub fn report(report: &Report, format: Format) -> String {
    match format {
        Format::Text => plan::text(report),
        Format::Json => json::json(report),
        Format::Yaml => json::yaml(report),
        Format::Markdown => markdown::markdown(report),
        Format::Name => json::names(report),
    }
}

/// Any value as YAML.
pub fn yaml(value: &serde_json::Value) -> String {
    serde_yaml::to_string(value).unwrap_or_default()
}

#[cfg(test)]
mod tests;
