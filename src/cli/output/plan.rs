//! A report as text, in the manner of Terraform: a line for each object, its changed fields below,
//! the counts last.

use super::color::{ADD, CHANGE, DELETE, FAINT, STRONG, WARNING, paint};
use super::consequences;
use super::{clean, near, one_line};
use crate::gitops::plan::diff::SecretChange;
use crate::gitops::plan::{Action, FieldChange, ObjectChange, Report};
use crate::gitops::render::describe;
use anstyle::Style;
use serde_json::Value;
use std::fmt::Write;

/// Longer values are cut in the middle of a line.
const LONGEST_VALUE: usize = 120;

/// The whole report with `Plan: ...` as its last line.
pub fn text(report: &Report) -> String {
    let mut text = changes(report);
    if report.is_empty() {
        text.push_str("No changes. What runs is what the manifests say.\n");
    }
    if let Some(found) = &report.consequences {
        text.push_str(&consequences::text(found));
    }
    let _ = writeln!(text, "{} {}", paint(STRONG, "Plan:"), report.totals());
    text
}

/// The objects that change and the warnings, without the last line.
pub fn changes(report: &Report) -> String {
    let mut text = String::new();
    let width = report.changes().map(|object| describe(&object.id).chars().count()).max().unwrap_or(0);
    let least = if report.totals().partial { "at least " } else { "" };
    for object in report.changes() {
        object_lines(&mut text, object, width, least);
    }
    for takeover in &report.takeovers {
        let _ = writeln!(text, "{} {}", paint(WARNING, "  !"), one_line(&takeover.to_string()));
    }
    for run in &report.runs {
        let _ = writeln!(text, "{} {run}", paint(CHANGE, "  >"));
    }
    for object in &report.objects {
        for warning in &object.warnings {
            warn(&mut text, &format!("{}: {warning}", describe(&object.id)));
        }
    }
    for warning in &report.warnings {
        warn(&mut text, warning);
    }
    text
}

fn warn(text: &mut String, warning: &str) {
    let _ = writeln!(text, "{} {}", paint(WARNING, "Warning:"), one_line(warning));
}

/// The sign of an action and its colour.
pub fn sign(action: Action) -> (&'static str, Style) {
    match action {
        Action::Create => ("+", ADD),
        Action::Change => ("~", CHANGE),
        Action::Delete => ("-", DELETE),
        Action::Replace => ("-/+", DELETE),
        Action::Unchanged => (" ", FAINT),
    }
}

fn object_lines(text: &mut String, object: &ObjectChange, width: usize, least: &str) {
    let (sign, style) = sign(object.action);
    let name = describe(&object.id);
    let mut notes = Vec::new();
    if !object.note.is_empty() {
        notes.push(one_line(&object.note));
    }
    match object.restarts {
        0 => {}
        1 => notes.push(format!("restarts {least}1 pod")),
        pods => notes.push(format!("restarts {least}{pods} pods")),
    }
    let note = if notes.is_empty() { String::new() } else { format!("  {}", notes.join(", ")) };
    let place = object
        .origin
        .as_ref()
        .map(|origin| format!("  {}:{}", clean(near(&origin.file)), origin.line))
        .unwrap_or_default();
    let padding = if note.is_empty() && place.is_empty() { 0 } else { width.saturating_sub(name.chars().count()) };
    let padded = format!("{}{}", paint(STRONG, &name), " ".repeat(padding));
    let _ = writeln!(text, "{} {padded}{note}{}", paint(style, format!("{sign:>3}")), paint(FAINT, place));
    let widest = object.fields.iter().map(|field| field.path().chars().count()).max().unwrap_or(0).min(60);
    for field in &object.fields {
        field_lines(text, field, widest);
    }
}

fn field_lines(text: &mut String, field: &FieldChange, width: usize) {
    let path = clean(field.path());
    let padded = format!("{path:<width$}");
    let mut line = |sign: &str, style: Style, rest: &str| {
        let _ = writeln!(text, "      {} {}", paint(style, sign), format!("{padded}  {rest}").trim_end());
    };
    match field {
        FieldChange::Added { after, .. } => match block(after) {
            Some(lines) => {
                line("+", ADD, "");
                below(text, "+", ADD, &lines);
            }
            None => line("+", ADD, &show(after)),
        },
        FieldChange::Removed { before, .. } => match block(before) {
            Some(lines) => {
                line("-", DELETE, "");
                below(text, "-", DELETE, &lines);
            }
            None => line("-", DELETE, &show(before)),
        },
        FieldChange::Changed { before, after, .. } => {
            line("~", CHANGE, &format!("{} -> {}", show(before), show(after)));
        }
        FieldChange::Secret { what, .. } => match what {
            SecretChange::Added => line("+", ADD, "(hidden)"),
            SecretChange::Removed => line("-", DELETE, "(hidden)"),
            SecretChange::Changed => line("~", CHANGE, "(hidden) -> (hidden)"),
        },
        FieldChange::Text { lines, .. } => {
            line("~", CHANGE, "");
            for changed in lines {
                let style = match changed.sign {
                    '+' => ADD,
                    '-' => DELETE,
                    _ => FAINT,
                };
                let shown = format!("{} {}", changed.sign, clean(&changed.text));
                let _ = writeln!(text, "          {}", paint(style, shown.trim_end()));
            }
        }
    }
}

fn below(text: &mut String, sign: &str, style: Style, lines: &str) {
    for line in lines.lines() {
        let _ = writeln!(text, "          {}", paint(style, format!("{sign} {line}")));
    }
}

/// Maps, and lists of maps, as YAML lines; scalars and short lists have none.
fn block(value: &Value) -> Option<String> {
    let nested = match value {
        Value::Object(map) => !map.is_empty(),
        Value::Array(items) => items.iter().any(|item| item.is_object() || item.is_array()),
        Value::String(text) => text.trim_end().contains('\n'),
        _ => false,
    };
    if !nested {
        return None;
    }
    let text = match value {
        Value::String(text) => text.clone(),
        _ => serde_yaml::to_string(value).ok()?,
    };
    Some(text.lines().map(clean).collect::<Vec<_>>().join("\n"))
}

fn show(value: &Value) -> String {
    let text = match value {
        Value::String(text) => format!("{text:?}"),
        _ => value.to_string(),
    };
    if text.chars().count() <= LONGEST_VALUE {
        return text;
    }
    let half = LONGEST_VALUE / 2;
    let head: String = text.chars().take(half).collect();
    let tail: String = text.chars().skip(text.chars().count() - half).collect();
    format!("{head} … {tail}")
}
