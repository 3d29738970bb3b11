//! A report as a comment on a pull request: the counts, then what folds out. Never longer than what
//! GitHub and GitLab take.

use super::{consequences, plan};
use crate::gitops::plan::Report;
use crate::gitops::render::describe;
use std::fmt::Write;

/// GitHub takes 65,536 characters.
const LIMIT: usize = 60_000;
/// What is left for a block that had to be cut.
const NOTE: &str = "\n... cut here: the comment would be too long; `selkie plan` shows all of it\n";

pub fn markdown(report: &Report) -> String {
    let mut text = format!("### selkie plan\n\n**Plan:** {}\n", report.totals());
    let problems = report.consequences.as_ref().map(|found| found.problems.as_slice()).unwrap_or_default();
    let claims = report.consequences.as_ref().map(|found| found.claims.as_slice()).unwrap_or_default();
    let lost: Vec<_> = claims.iter().filter(|claim| claim.loses_data()).collect();
    let takeovers = &report.takeovers;
    if !problems.is_empty() || !lost.is_empty() || !takeovers.is_empty() || report.cut_short().is_some() {
        let _ = writeln!(text, "\n> [!WARNING]");
        if let Some(why) = report.cut_short() {
            let _ = writeln!(text, "> Not known to the end: {}", consequences::cut_short(why));
        }
        for claim in lost.iter().take(20) {
            let (name, becomes) = (describe(&claim.claim), consequences::what_becomes_of(claim));
            let _ = writeln!(text, "> {name}: {}", escape(&becomes.replace(['\n', '\r'], " ")));
        }
        if lost.len() > 20 {
            let _ = writeln!(text, "> and {} claims more whose data is deleted", lost.len() - 20);
        }
        for takeover in takeovers.iter().take(20) {
            let _ = writeln!(text, "> {}", escape(&takeover.to_string().replace(['\n', '\r'], " ")));
        }
        if takeovers.len() > 20 {
            let _ = writeln!(text, "> and {} takeovers more", takeovers.len() - 20);
        }
        for problem in problems.iter().take(20) {
            let name = describe(&problem.object);
            let message = problem.message.replace(['\n', '\r'], " ");
            let _ = writeln!(text, "> {name}: {}: {}", problem.reason, escape(&message));
        }
    }
    if report.is_empty() {
        text.push_str("\nNo changes. What runs is what the manifests say.\n");
    }
    let changes = plain(&plan::changes(report));
    fold(&mut text, "Changes", &changes);
    if let Some(found) = &report.consequences {
        fold(&mut text, "What the cluster does", &plain(&consequences::text(found)));
    }
    text
}

/// A block that folds out, cut where the limit is reached.
fn fold(text: &mut String, title: &str, content: &str) {
    if content.trim().is_empty() {
        return;
    }
    // A fence longer than any in the content.
    let longest = content.split(|c| c != '`').map(str::len).max().unwrap_or(0);
    let fence = "`".repeat(longest.max(2) + 1);
    let frame = format!("\n<details><summary>{title}</summary>\n\n{fence}diff\n");
    let end = format!("{fence}\n\n</details>\n");
    let room = LIMIT.saturating_sub(text.len() + frame.len() + end.len() + NOTE.len());
    text.push_str(&frame);
    let mut left = room;
    for line in content.lines().map(to_the_margin) {
        if line.len() + 1 > left {
            text.push_str(NOTE);
            break;
        }
        left -= line.len() + 1;
        text.push_str(&line);
        text.push('\n');
    }
    text.push_str(&end);
}

/// The sign first, where a renderer of differences colours by it.
fn to_the_margin(line: &str) -> String {
    let trimmed = line.trim_start();
    let indent = &line[..line.len() - trimmed.len()];
    let (sign, rest) = match trimmed.split_once(' ') {
        Some(("-/+", rest)) => ("!", format!("-/+ {rest}")),
        Some(("~", rest)) => ("!", rest.to_owned()),
        Some((sign @ ("+" | "-" | "!"), rest)) => (sign, rest.to_owned()),
        _ => return line.to_owned(),
    };
    format!("{sign} {indent}{rest}")
}

fn plain(text: &str) -> String {
    anstream::adapter::strip_str(text).to_string()
}

/// No markup from messages.
fn escape(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for c in text.chars() {
        if matches!(c, '\\' | '`' | '*' | '_' | '[' | ']' | '<' | '>' | '#' | '|' | '@') {
            escaped.push('\\');
        }
        escaped.push(c);
    }
    escaped
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::api::changeset::ObjectId;
    use crate::gitops::plan::{Action, ObjectChange};

    fn change(name: &str) -> ObjectChange {
        ObjectChange {
            action: Action::Create,
            id: ObjectId { kind: "ConfigMap".into(), name: name.into(), ..ObjectId::default() },
            origin: None,
            fields: Vec::new(),
            note: "1 key".into(),
            author: None,
            restarts: 0,
            warnings: Vec::new(),
        }
    }

    #[test]
    fn a_comment_is_never_too_long() {
        let objects = (0..5000).map(|n| change(&format!("object-{n}"))).collect();
        let text = markdown(&Report { objects, ..Report::default() });
        assert!(text.len() <= LIMIT && text.contains("cut here") && text.ends_with("</details>\n"), "{}", text.len());
        assert!(text.contains("5000 to add"));
    }

    #[test]
    fn a_manifest_cannot_end_its_block() {
        let mut evil = change("x");
        evil.note = "````\n<script>".into();
        let text = markdown(&Report { objects: vec![evil], ..Report::default() });
        assert!(text.contains("`````diff"), "{text}");
        assert_eq!(to_the_margin("      ~ spec.a  1 -> 2"), "!       spec.a  1 -> 2");
    }
}
